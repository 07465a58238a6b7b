"""A start's weights: read without PyTorch and without trusting the file, and computing what their author's code computes."""

from __future__ import annotations

import hashlib
import io
import pickle
import struct

import numpy as np
import pytest

from overread.errors import IntegrityError, RunError
from overread.learn import starts, starts_file


def written(tensors: dict[str, np.ndarray], *, magic: int = 0x1950A86A20F9469CFC6C, extra=None) -> bytes:
    """A file as PyTorch wrote it before version 1.6: written here by hand, opcode by opcode where pickle cannot."""
    out = io.BytesIO()
    for value in (magic, 1001, {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}):
        pickle.dump(value, out, protocol=2)
    out.write(b"\x80\x02ccollections\nOrderedDict\n)R(")
    for i, (name, array) in enumerate(tensors.items()):
        raw = name.encode()
        out.write(b"X" + struct.pack("<I", len(raw)) + raw + b"ctorch._utils\n_rebuild_tensor_v2\n((")
        out.write(b"X\x07\x00\x00\x00storagectorch\nFloatStorage\n")
        key = str(i).encode()
        out.write(b"X" + struct.pack("<I", len(key)) + key + b"X\x03\x00\x00\x00cpu")
        out.write(b"J" + struct.pack("<i", array.size) + b"NtQK\x00(")  # persistent id, offset, shape, strides
        for n in array.shape:
            out.write(b"J" + struct.pack("<i", n))
        out.write(b"t(")
        for s in np.array(array.strides) // 4:
            out.write(b"J" + struct.pack("<i", int(s)))
        out.write(b"t\x89ccollections\nOrderedDict\n)RtR")
    out.write(b"u." if extra is None else extra + b"u.")
    pickle.dump([str(i) for i in range(len(tensors))], out, protocol=2)
    for array in tensors.values():
        out.write(struct.pack("<q", array.size) + array.astype("<f4").tobytes())
    return out.getvalue()


TENSORS = {"a.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 4), "b": np.float32([1.5, -2.0])}


def test_tensors_come_back_as_they_were_written():
    found = starts_file.arrays(written(TENSORS))
    assert list(found) == list(TENSORS)
    for name, want in TENSORS.items():
        np.testing.assert_array_equal(found[name], want)
        assert found[name].dtype == np.float32 and found[name].base is None


def test_a_file_can_name_no_code_to_run(tmp_path):
    """The twin: the same bytes do run their code in an ordinary reader of pickles."""
    mark = tmp_path / "ran"
    command = f"touch {mark}".encode()
    attack = b"X\x01\x00\x00\x00xcposix\nsystem\n(X" + struct.pack("<I", len(command)) + command + b"tR"
    raw = written({}, extra=attack)
    with pytest.raises(IntegrityError, match="cannot be read"):
        starts_file.arrays(raw)
    assert not mark.exists()
    stream = io.BytesIO(raw)
    for _ in range(4):
        pickle.load(stream)
    assert mark.exists()


@pytest.mark.parametrize(
    "name", [b"ctorch\nload\n", b"cbuiltins\neval\n", b"ccollections\nCounter\n", b"cnumpy\nndarray\n"]
)
def test_only_the_names_of_tensors_are_known(name):
    with pytest.raises(IntegrityError, match="cannot be read"):
        starts_file.arrays(written({}, extra=b"X\x01\x00\x00\x00x" + name))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda raw: raw[:-1],
        lambda raw: raw + b"\0",
        lambda raw: raw[: len(raw) // 2],
        lambda raw: b"",
        lambda raw: raw.replace(b"X\x03\x00\x00\x00cpuJ\x18\x00\x00\x00", b"X\x03\x00\x00\x00cpuJ\xff\xff\xff\x7f"),
        lambda raw: raw.replace(b"X\x03\x00\x00\x00cpuJ\x18\x00\x00\x00", b"X\x03\x00\x00\x00cpuJ\x17\x00\x00\x00"),
        lambda raw: raw.replace(b"QK\x00(", b"QK\x01(", 1),
    ],
)
def test_a_file_that_is_shorter_or_longer_or_larger_than_it_says_is_refused(spoil):
    raw = written(TENSORS)
    assert spoil(raw) != raw
    with pytest.raises(IntegrityError, match="not as expected"):
        starts_file.arrays(spoil(raw))


def test_another_kind_of_file_is_refused():
    with pytest.raises(IntegrityError, match="another version"):
        starts_file.arrays(written(TENSORS, magic=7))


def test_mutated_files_are_read_or_refused():
    raw, rng = bytearray(written(TENSORS)), np.random.default_rng(0)
    for _ in range(3000):
        some = bytearray(raw)
        for place in rng.integers(0, len(raw), rng.integers(1, 4)):
            some[place] = rng.integers(256)
        try:
            starts_file.arrays(bytes(some))
        except IntegrityError:
            pass


def test_a_start_that_is_not_installed_is_refused_with_what_to_install(monkeypatch):
    monkeypatch.setattr(starts.util, "find_spec", lambda name: None)
    assert starts.available() == ()
    with pytest.raises(RunError, match=r"overread\[starts\]"):
        starts.weights()
    with pytest.raises(RunError, match="one of efficientnet-lite0"):
        starts.weights("vgg")


def test_another_file_of_the_same_name_is_refused(tmp_path, monkeypatch):
    other = tmp_path / "weights.pth"
    other.write_bytes(written(TENSORS))
    monkeypatch.setattr(starts, "_file", lambda start: other)
    with pytest.raises(IntegrityError, match=hashlib.sha256(other.read_bytes()).hexdigest()[:12]):
        starts.weights()


@pytest.fixture(scope="module")
def weights():
    if not starts.available():
        pytest.skip("the extra [starts] is not installed")
    return starts.weights()


def test_the_weights_are_those_of_the_published_network(weights):
    assert sum(w.size for w in weights.values()) == 4_694_073
    assert weights["_conv_stem.weight"].shape == (32, 3, 3, 3)
    assert all(np.isfinite(w).all() for w in weights.values())
    assert min(weights[n].min() for n in weights if n.endswith("running_var")) >= 0


def same(x, kernel, *, stride=1, single=False):
    """A convolution with the margin that TensorFlow calls "same", in plain NumPy, channels first: a second author."""
    k = kernel.shape[-1]
    out = [-(-n // stride) for n in x.shape[1:]]
    whole = [max((o - 1) * stride + k - n, 0) for o, n in zip(out, x.shape[1:], strict=True)]
    x = np.pad(x, ((0, 0), *((w // 2, w - w // 2) for w in whole)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (k, k), (1, 2))[:, ::stride, ::stride]
    if single:
        return np.einsum("chwij,cij->chw", windows, kernel[:, 0])
    return np.tensordot(kernel, windows, ([1, 2, 3], [0, 3, 4]))


def by_hand(x: np.ndarray, w: dict[str, np.ndarray]) -> np.ndarray:
    """EfficientNet-Lite0 read off its paper and its file, (3, rows, columns) → 1000 logits."""

    def norm(x, name, *, six=True):
        m, v, g, b = (w[f"{name}.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias"))
        y = (x - m) / np.sqrt(v + 1e-3) * g + b
        return np.clip(y, 0, 6) if six else y

    x = norm(same(x, w["_conv_stem.weight"], stride=2), "_bn0")
    strides = {0: 1, 1: 2, 3: 2, 5: 2, 11: 2}
    for i in range(16):
        name, came = f"_blocks.{i}", x
        if f"{name}._expand_conv.weight" in w:
            x = norm(same(x, w[f"{name}._expand_conv.weight"]), f"{name}._bn0")
        x = norm(same(x, w[f"{name}._depthwise_conv.weight"], stride=strides.get(i, 1), single=True), f"{name}._bn1")
        x = norm(same(x, w[f"{name}._project_conv.weight"]), f"{name}._bn2", six=False)
        x = x + came if x.shape == came.shape else x
    x = norm(same(x, w["_conv_head.weight"]), "_bn1")
    return w["_fc.weight"] @ x.mean((1, 2)) + w["_fc.bias"]


def films(shared_data, side: int) -> np.ndarray:
    from PIL import Image

    names = ("chest_xray/test/NORMAL/IM-0001-0001.jpeg", "mammography/images/mdb001.png")
    shown = [Image.open(shared_data / n).convert("RGB").resize((side, side), Image.Resampling.BILINEAR) for n in names]
    return np.stack([np.asarray(s, np.float32) for s in shown])


def test_the_port_computes_what_its_authors_code_computes(weights, shared_data):
    """Two real films: our network, the paper read by hand in NumPy, and figures of the authors' own code in PyTorch."""
    pytest.importorskip("keras")
    from overread.learn import starts_network

    x = (films(shared_data, 224) - 127) / 128
    have = np.asarray(starts_network.original(side=224, start=weights)(x)[0])
    want = np.stack([by_hand(film.transpose(2, 0, 1).astype(np.float64), weights) for film in x])
    np.testing.assert_allclose(have, want, atol=1e-4)
    np.testing.assert_allclose(have[0, AUTHORS_PLACES], AUTHORS[0], atol=1e-4)
    np.testing.assert_allclose(have[1, AUTHORS_PLACES], AUTHORS[1], atol=1e-4)


AUTHORS_PLACES = [0, 111, 499, 644, 906, 999]
AUTHORS = [
    [-0.871218, 1.939143, 0.986368, 2.037159, 7.700027, 0.424392],
    [-1.173105, 5.507889, 3.382702, 6.378055, 0.123579, 2.786994],
]
"""Logits of efficientnet-lite-pytorch 0.1.0 on PyTorch 2.13 for these two films."""


@pytest.mark.parametrize("mistake", ["epsilon", "scale", "margin"])
def test_each_mistake_of_a_port_would_be_seen(weights, shared_data, mistake, monkeypatch):
    """The twin: another epsilon, another scale of the input, the margin on the other side."""
    pytest.importorskip("keras")
    from overread.learn import starts_network

    x = (films(shared_data, 96) - 127) / 128
    want = by_hand(x[0].transpose(2, 0, 1).astype(np.float64), weights)
    if mistake == "epsilon":
        monkeypatch.setattr(starts_network, "EPSILON", 1e-5)
    if mistake == "margin":
        monkeypatch.setattr(starts_network, "AS_TRAINED", starts_network.CENTRED)
    if mistake == "scale":
        x = (films(shared_data, 96) / 255 - 0.449) / 0.226
    have = np.asarray(starts_network.original(side=96, start=weights)(x[:1])[0])[0]
    assert np.abs(have - want).max() > 0.05


def test_photographs_are_named_rightly_only_on_the_scale_that_the_start_was_trained_with(weights):
    """A Chinese palace and a daisy (scikit-learn's two photographs) are what the network says they are."""
    pytest.importorskip("keras")
    from PIL import Image
    from sklearn.datasets import load_sample_images

    from overread.learn import starts_network

    shown = []
    for pixels in load_sample_images().images:
        image = Image.fromarray(pixels)
        left, top = ((n - min(image.size)) // 2 for n in image.size)
        square = image.crop((left, top, left + min(image.size), top + min(image.size)))
        shown.append(np.asarray(square.resize((224, 224), Image.Resampling.BICUBIC), np.float32) / 255)
    network, start = starts_network.original(side=224, start=weights), starts.STARTS["efficientnet-lite0"]

    def named(x):
        return np.asarray(network(x)[0]).argmax(1).tolist()

    palace, daisy = 698, 985
    assert named((np.stack(shown) - start.mean) / start.std) == [palace, daisy]
    assert named(np.stack(shown)) != [palace, daisy]
    factor, added = starts.scale(mean=0.5, std=0.25)
    assert named((np.stack(shown) - 0.5) / 0.25 * factor + added) == [palace, daisy]
