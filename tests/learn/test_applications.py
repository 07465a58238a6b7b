"""Weights of Keras' applications from a file: Keras' own application is the oracle; wrong files are one clear line each."""

from __future__ import annotations

import os
import pickle
import zipfile

import numpy as np
import pytest

keras = pytest.importorskip("keras")
h5py = pytest.importorskip("h5py")

from overread.errors import IntegrityError, OverreadError, RunError
from overread.learn import applications, applications_network, export, saliency_gradient
from overread.learn.applications import APPLICATIONS

NAMES = tuple(APPLICATIONS)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Each application with weights by chance and statistics that are not those of one, saved in all three ways."""
    folder, rng = tmp_path_factory.mktemp("applications"), np.random.default_rng(0)
    for name in NAMES:
        keras.utils.set_random_seed(1)
        model = getattr(keras.applications, name)(weights=None, include_top=False, input_shape=(96, 96, 3))
        _alive(model, rng)
        model.save_weights(folder / f"{name}.weights.h5")
        model.save(folder / f"{name}.keras")
        model.save(folder / f"{name}.h5")
    return folder


def _alive(model, rng):
    """Give every normalisation a gain and an offset by chance, and the statistics of what it is shown.

    With statistics by chance as well nothing of a picture is left after forty layers, and no test could fail.
    """
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    scale = 2.0
    for layer in model.layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.adapt_mean.assign([0.485, 0.456, 0.406])
            layer.adapt_variance.assign([0.05, 0.06, 0.07])
            layer.finalize_state()
            scale = 255.0
    for layer in norms:
        shape = layer.gamma.shape
        layer.gamma.assign(rng.uniform(0.6, 1.4, shape))
        layer.beta.assign(rng.normal(0, 0.2, shape))
        layer.momentum = 0.0  # the averages become this batch's
    pictures = rng.random((16, 6, 6, 3)).repeat(16, 1).repeat(16, 2).astype(np.float32)
    model(pictures * scale - (1.0 if scale == 2.0 else 0.0), training=True)
    for layer in norms:
        layer.momentum = 0.99


def shown(n: int = 2, side: int = 96) -> np.ndarray:
    """Pictures from 0 (black) to 1 (white)."""
    y, x = np.mgrid[:side, :side] / (side / 2) - 1
    one = [np.stack([np.sin(3 * k * x), np.cos(2 * y + c), x * y], axis=-1) for k, c in ((1, 0.0), (2, 1.0))][:n]
    return (np.stack(one) / 2 + 0.5).clip(0, 1).astype(np.float32)


def planned_scale(pictures):
    return ((pictures - 0.5) / 0.25).astype(np.float32)


def built(home, name, *, side=96, **how):
    file = home / f"{name}.weights.h5"
    weights = applications.arrays(file, name)
    return applications_network.features(
        application=name, weights=weights, input_shape=(side, side, 3), outputs=2, **how
    )


def of_keras(home, name, pictures):
    """The maps of Keras' own application, with Keras' own preprocessing of pictures of 0 to 255."""
    model = keras.saving.load_model(home / f"{name}.keras", compile=False)
    own = {"MobileNetV2": keras.applications.mobilenet_v2, "EfficientNetB0": keras.applications.efficientnet}[name]
    maps = keras.Model(model.inputs[0], model.get_layer(APPLICATIONS[name].last).output)
    return np.asarray(maps(own.preprocess_input(pictures * 255.0)))


@pytest.mark.parametrize("name", NAMES)
def test_the_layers_that_are_needed_are_those_of_keras(name):
    model = getattr(keras.applications, name)(weights=None, include_top=False, input_shape=(96, 96, 3))
    want = applications.shapes_of(name)
    upto = keras.Model(model.inputs[0], model.get_layer(APPLICATIONS[name].last).output)
    have = {layer.name: [tuple(w.shape) for w in layer.weights] for layer in upto.layers if layer.weights}
    normal = next((n for n in have if n.startswith("normalization")), None)
    if normal:
        have["normalization"] = have.pop(normal)[:2]
    assert have == want


@pytest.mark.parametrize("name", NAMES)
def test_what_it_sees_is_what_keras_sees(home, name):
    """The oracle, and its twin: with the margin turned round, or another scale, it is not the same."""
    pictures = shown()
    want = of_keras(home, name, pictures)
    maps = np.asarray(built(home, name, centred=False).exported(planned_scale(pictures))[1])
    largest = np.abs(want).max()
    assert want.shape == (2, 6, 6, APPLICATIONS[name].maps) and want.std() > 1e-3 * largest
    np.testing.assert_allclose(maps, want, atol=1e-4 * max(1, largest))
    np.testing.assert_allclose(maps.mean((1, 2)), want.mean((1, 2)), atol=1e-4)
    turned = np.asarray(built(home, name).exported(planned_scale(pictures))[1])
    darker = np.asarray(built(home, name, centred=False).exported(planned_scale(pictures) * 0.9)[1])
    for other in (turned, darker):
        assert np.abs(other - want).max() > 0.01 * largest


@pytest.mark.parametrize("name", NAMES)
def test_a_cell_of_the_map_lies_over_the_pixels_it_comes_from(home, name):
    """As it came (the twin) it lies 7.5 pixels away; the centre is found by the slopes."""
    assert centre(home, name, centred=True) == pytest.approx(-0.5, abs=0.1)
    assert centre(home, name, centred=False) == pytest.approx(7.5, abs=0.1)


def centre(home, name, *, centred: bool) -> float:
    """Where the slopes of a cell lie, in pixels from the middle of its own; every weight alike, so that geometry speaks."""
    import tensorflow as tf

    weights = {}
    for layer, values in applications.arrays(home / f"{name}.weights.h5", name).items():
        if len(values) == 4:
            weights[layer] = [np.ones_like(v) if i in (0, 3) else np.zeros_like(v) for i, v in enumerate(values)]
        elif values[0].ndim == 4:
            few = values[0].shape[0] * values[0].shape[1] * (1 if values[0].shape[3] == 1 else values[0].shape[2])
            weights[layer] = [np.full_like(values[0], 1 / few), *(np.zeros_like(v) for v in values[1:])]
            if "se_" in layer:  # every map counts alike, whatever it holds
                weights[layer][0][:] = 0
        else:
            weights[layer] = [np.zeros_like(values[0]), np.full_like(values[1], 255.0**2 / 255.0**2)]
    side, row = 512, 15
    network = applications_network.features(application=name, weights=weights, input_shape=(side, side, 3), outputs=1, centred=centred)  # fmt: skip
    x = tf.Variable(np.full((1, side, side, 3), -1.9 if name == "EfficientNetB0" else 0.01, np.float32))
    with tf.GradientTape() as tape:
        cell = tf.reduce_sum(network.exported(x)[1][0, row, row])
    slope = np.asarray(tape.gradient(cell, x))[0].sum(-1).astype(np.float64)
    assert abs(slope.sum()) > 0
    return float(slope.sum(1) @ (np.arange(side) + 0.5) / slope.sum() - (row + 0.5) * 16)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_it_leaves_as_one_graph_with_its_slopes(home, name, tmp_path):
    keras.utils.set_random_seed(0)
    network, images = built(home, name), planned_scale(shown())
    graph, slopes = tmp_path / "model.onnx", tmp_path / "gradient.onnx"
    assert export.export(network, graph, examples=images) < 1e-4
    assert export.export_slopes(network, graph, slopes, examples=images) == ""
    assert saliency_gradient.check(slopes.read_bytes(), network.exported, images) < saliency_gradient.TOLERANCE


@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_known_by_its_layers_whatever_it_is_called(home, name, tmp_path):
    kinds = [home / f"{name}{end}" for end in (".weights.h5", ".keras", ".h5")]
    other = tmp_path / "ResNet50.h5"
    other.write_bytes(kinds[0].read_bytes())
    found = [applications.read(file) for file in (*kinds, other)]
    assert {f.application for f in found} == {name}
    assert found[0].sha256 == found[3].sha256 != found[1].sha256
    assert "licence: unknown" in found[0].in_words and found[0].sha256[:16] in found[0].in_words
    first, *rest = (applications.arrays(f.path, name) for f in found)
    for each in rest:
        for layer, values in first.items():
            for a, b in zip(values, each[layer], strict=True):
                np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("swapped", [False, True])
def test_a_file_of_before_keras_renamed_its_layers_is_read_in_their_order(home, tmp_path, swapped):
    """Keras reads such a file in that order, too; with two layers in each other's place (the twin) it is refused."""
    with h5py.File(home / "MobileNetV2.h5") as now, h5py.File(tmp_path / "old.h5", "w") as old:
        there = now["model_weights"]
        names = [n for n in map(str, there.attrs["layer_names"]) if len(there[n].attrs["weight_names"])]
        for number, name in enumerate(names):
            there.copy(name, old, f"mobl{number}")
        order = [f"mobl{number}".encode() for number in range(len(names))]
        if swapped:
            order[3], order[5] = order[5], order[3]
        old.attrs["layer_names"] = order
    if swapped:
        with pytest.raises(RunError, match="not known here"):
            applications.read(tmp_path / "old.h5")
        return
    assert applications.read(tmp_path / "old.h5").application == "MobileNetV2"
    for layer, values in applications.arrays(home / "MobileNetV2.h5", "MobileNetV2").items():
        for a, b in zip(values, applications.arrays(tmp_path / "old.h5", "MobileNetV2")[layer], strict=True):
            np.testing.assert_array_equal(a, b)


def test_the_published_variance_is_a_spread():
    """Keras' published EfficientNet keeps spreads where variances belong; another file's variances are taken as they are."""
    layer = keras.layers.Normalization(axis=-1)
    layer.build((None, 4, 4, 3))
    x = np.full((1, 4, 4, 3), 0.7, np.float32)
    applications_network._normalise(layer, np.full(3, 0.5), np.array([0.229, 0.224, 0.225]))
    np.testing.assert_allclose(np.asarray(layer(x))[0, 0, 0], 0.2 / np.array([0.229, 0.224, 0.225]), rtol=1e-5)
    applications_network._normalise(layer, np.full(3, 0.5), np.array([0.05, 0.06, 0.07]))
    np.testing.assert_allclose(np.asarray(layer(x))[0, 0, 0], 0.2 / np.sqrt([0.05, 0.06, 0.07]), rtol=1e-5)


class Runs:
    """What a pickle could do."""

    def __reduce__(self):
        return os.mkdir, ("must-not-be",)


def test_a_wrong_file_is_one_clear_line(home, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    good = (home / "MobileNetV2.weights.h5").read_bytes()

    def refused(file, kind, words):
        with pytest.raises(kind, match=words) as told:
            applications.read(file)
        assert "\n" not in told.value.args[0] and isinstance(told.value, OverreadError)

    refused(tmp_path / "none.h5", RunError, "no file")
    (tmp_path / "pickle.h5").write_bytes(pickle.dumps(Runs()))
    refused(tmp_path / "pickle.h5", RunError, "no file of weights")
    assert not (tmp_path / "must-not-be").exists()
    (tmp_path / "short.weights.h5").write_bytes(good[: len(good) // 2])
    refused(tmp_path / "short.weights.h5", IntegrityError, "cannot be read to its end")
    packed = (home / "MobileNetV2.keras").read_bytes()
    (tmp_path / "short.keras").write_bytes(packed[: len(packed) // 2])
    refused(tmp_path / "short.keras", IntegrityError, "cut short")
    with zipfile.ZipFile(tmp_path / "other.keras", "w") as out:
        out.writestr("readme", "x")
    refused(tmp_path / "other.keras", RunError, "without")
    with h5py.File(tmp_path / "table.h5", "w") as out:
        out["numbers"] = np.zeros(3)
    refused(tmp_path / "table.h5", RunError, "without layers")

    small = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)])
    small.save_weights(tmp_path / "small.weights.h5")
    refused(tmp_path / "small.weights.h5", RunError, "not known here")


@pytest.mark.parametrize("change, kind, words", [
    ("renamed", RunError, "no layer block_3_expand"),
    ("narrow", RunError, "block_3_expand is 1 × 1 × 24 × 72"),
    ("not finite", IntegrityError, "not finite"),
    ("linked", IntegrityError, "cannot be read"),
])  # fmt: skip
def test_a_changed_layer_is_named(home, tmp_path, change, kind, words):
    file = tmp_path / "w.weights.h5"
    file.write_bytes((home / "MobileNetV2.weights.h5").read_bytes())
    with h5py.File(file, "r+") as kept:
        place = next(g["vars"] for g in kept["layers"].values() if g["vars"].attrs.get("name") == "block_3_expand")
        if change == "renamed":
            place.attrs["name"] = "other"
        elif change == "not finite":
            place["0"][0, 0, 0, 0] = np.nan
        else:
            values = place["0"][()]
            del place["0"]
            if change == "linked":
                place["0"] = h5py.ExternalLink("elsewhere.h5", "/0")
            else:
                place["0"] = values[..., :72]
    with pytest.raises(kind, match=words):
        applications.read(file)


def test_another_file_than_the_plan_names_is_refused(home):
    with pytest.raises(IntegrityError, match="another file"):
        applications.arrays(home / "MobileNetV2.weights.h5", "MobileNetV2", expected="0" * 64)


def test_without_a_network_it_is_said_what_to_do(monkeypatch, tmp_path):
    import socket

    def nowhere(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr(socket, "create_connection", nowhere)
    monkeypatch.setattr(socket, "getaddrinfo", nowhere)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(RunError, match="could not be fetched") as told:
        applications_network.fetched("imagenet:EfficientNetB0")
    assert "--start" in str(told.value) and "\n" not in told.value.args[0]
    with pytest.raises(RunError, match="ResNet50"):
        applications_network.fetched("imagenet:ResNet50")
