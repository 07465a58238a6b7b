"""Weights that were learned before: put where they came from, inflated to volumes, and refused where they do not fit."""

from __future__ import annotations

import numpy as np
import pytest

from overread.errors import IntegrityError, RunError
from overread.learn import pretrained, pretrained_start

BUILD = {"widths": (4, 6, 8), "stem_stride": 2, "stem_kernel": 4}


def residual(shape, build=BUILD):
    from overread.learn.networks import residual

    return residual(input_shape=shape, outputs=1, kind="binary", **build)


def varied(weights, rng):
    """Weights that chance draws, so that no two layers, and neither side of a kernel, are alike."""
    out = {}
    for name, w in weights.items():
        low, high = (0.5, 1.5) if name.endswith(("gamma", "moving_variance")) else (-0.4, 0.4)
        out[name] = rng.uniform(low, high, w.shape).astype(np.float32)
    return out


@pytest.mark.parametrize("flat", [0, 2])
def test_a_volume_that_repeats_a_slice_looks_in_its_middle_as_the_slice_does(flat):
    """The closed form of inflation: k kernels that each count one k-th, over k equal slices, are the flat kernel."""
    pytest.importorskip("keras")
    rng = np.random.default_rng(3)
    flat_net, deep = residual((24, 24, 1)), residual((96, 24, 24, 1), {**BUILD, "flat": flat})
    weights = varied(pretrained.taken(flat_net.trained), rng)
    assert not pretrained.fill(flat_net.trained, weights)
    assert pretrained.fill(deep.trained, weights)
    slice_ = rng.normal(size=(1, 24, 24, 1)).astype(np.float32)
    maps = np.asarray(flat_net.exported(slice_, training=False)[1])[0]
    volume = np.repeat(slice_[:, None], 96, axis=1)
    deep_maps = np.asarray(deep.exported(volume, training=False)[1])[0]
    middle = deep_maps[len(deep_maps) // 2]
    assert np.abs(maps).max() > 0.1
    np.testing.assert_allclose(middle, maps, atol=1e-4 * np.abs(maps).max())
    assert np.abs(deep_maps[0] - maps).max() > 1e-2  # twin: at the end, beside the margin, it does not


def test_kernels_that_are_repeated_and_not_divided_are_found_out(monkeypatch):
    pytest.importorskip("keras")
    rng = np.random.default_rng(3)
    flat_net, deep = residual((16, 16, 1)), residual((64, 16, 16, 1))
    weights = varied(pretrained.taken(flat_net.trained), rng)
    pretrained.fill(flat_net.trained, weights)
    monkeypatch.setattr(pretrained, "inflated", lambda kernel, depth: np.repeat(kernel[None], depth, axis=0))
    pretrained.fill(deep.trained, weights)
    slice_ = rng.normal(size=(1, 16, 16, 1)).astype(np.float32)
    maps = np.asarray(flat_net.exported(slice_, training=False)[1])[0]
    found = np.asarray(deep.exported(np.repeat(slice_[:, None], 64, axis=1), training=False)[1])[0]
    assert np.abs(found[len(found) // 2] - maps).max() > 0.1 * np.abs(maps).max()


def test_grey_and_colour_fit_one_another_and_answer_grey_alike():
    pytest.importorskip("keras")
    rng = np.random.default_rng(4)
    grey, colour = residual((16, 16, 1)), residual((16, 16, 3))
    weights = varied(pretrained.taken(grey.trained), rng)
    pretrained.fill(grey.trained, weights)
    pretrained.fill(colour.trained, weights)
    x = rng.normal(size=(2, 16, 16, 1)).astype(np.float32)
    maps = [np.asarray(n.exported(v, training=False)[1]) for n, v in ((grey, x), (colour, np.repeat(x, 3, axis=-1)))]
    np.testing.assert_allclose(maps[0], maps[1], atol=1e-4)
    again = residual((16, 16, 1))
    pretrained.fill(again.trained, pretrained.taken(colour.trained))
    np.testing.assert_allclose(np.asarray(again.exported(x, training=False)[1]), maps[0], atol=1e-4)


def test_weights_of_another_network_are_refused_with_both_shapes():
    pytest.importorskip("keras")
    here = residual((16, 16, 1))
    wider = pretrained.taken(residual((16, 16, 1), {**BUILD, "widths": (4, 6, 10)}).trained)
    with pytest.raises(RunError, match="× 10, in a network"):
        pretrained.fill(here.trained, wider)
    fewer = pretrained.taken(residual((16, 16, 1), {**BUILD, "widths": (4, 6)}).trained)
    with pytest.raises(RunError, match="arrays"):
        pretrained.fill(here.trained, fewer)
    deep = pretrained.taken(residual((16, 16, 16, 1)).trained)
    with pytest.raises(RunError, match="one for pictures fits volumes"):
        pretrained.fill(here.trained, deep)


TOLD = {"method": "by hand", "images": 2, "patients": 2, "salt": "ab" * 16}


def made(folder, **more):
    folder.mkdir(exist_ok=True)
    weights = {"000.kernel": np.arange(4.0, dtype=np.float32)}
    return pretrained_start.write(folder, {**TOLD, **more}, weights, images=["i1", "i2"], people=["P1", "P2"])


def test_a_start_knows_whom_it_saw_and_nobody_can_read_it(tmp_path):
    given = made(tmp_path / "start")
    assert given.knows(["i2", "i3"], ["P1", "P2", "P7"]) == (1, 2)
    assert given.knows(["i3"], ["P7"]) == (0, 0)
    assert given.unseen(["i1", "i3", "i3"], ["P9", "P2", "P9"]).tolist() == [False, False, True]
    for file in (tmp_path / "start").iterdir():
        raw = file.read_bytes()
        assert b"P\x00\x00\x001" not in raw and b"P1" not in raw and b"i2" not in raw


def test_a_start_that_was_changed_is_refused(tmp_path):
    given = made(tmp_path / "start")
    assert pretrained_start.read(given.path, expected=given.sha256).sha256 == given.sha256
    with pytest.raises(IntegrityError, match="which the plan names"):
        pretrained_start.read(given.path, expected="0" * 64)
    np.savez(given.path / "weights.npz", **{"000.kernel": np.zeros(4, np.float32)})
    with pytest.raises(IntegrityError, match="weights"):
        pretrained_start.read(given.path)
    (given.path / "weights.npz").write_bytes(b"PK nothing")
    with pytest.raises(IntegrityError, match="weights"):
        pretrained_start.read(given.path)
    (given.path / "start.json").write_text("{")
    with pytest.raises(IntegrityError, match="damaged"):
        pretrained_start.read(given.path)
    with pytest.raises(RunError, match="is no start"):
        pretrained_start.read(tmp_path / "nowhere")


def test_the_same_weights_have_the_same_start(tmp_path):
    assert made(tmp_path / "a").sha256 == made(tmp_path / "b").sha256
    assert made(tmp_path / "a").sha256 != made(tmp_path / "c", images=3).sha256
