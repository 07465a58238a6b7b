"""The start's network with our head: where its cells lie, what grey means to it, and that all of it leaves as a graph."""

from __future__ import annotations

import numpy as np
import pytest

keras = pytest.importorskip("keras")

from overread.errors import RunError
from overread.learn import export, saliency_gradient, starts, starts_network
from overread.learn.slopes import BACK

pytestmark = pytest.mark.skipif(not starts.available(), reason="the extra [starts] is not installed")


@pytest.fixture(scope="module")
def weights():
    return starts.weights()


def centre(weights, margins) -> np.ndarray:
    """Where on the input the slopes of the middle cell lie, in pixels from the middle of the cell's own pixels."""
    import tensorflow as tf

    positive = {n: np.abs(w) if n.endswith("weight") else np.zeros_like(w) for n, w in weights.items()}
    positive |= {n: np.ones_like(w) for n, w in weights.items() if n.endswith("running_var")}
    for (
        name,
        w,
    ) in positive.items():  # every weight alike, so that only the geometry speaks; small, so that ReLU6 is open
        positive[name] = np.full_like(w, 1 / w[0].size) if w.ndim == 4 else w
        if ("_bn" in name) and name.endswith(".weight"):
            positive[name] = np.ones_like(w)
    side = 512
    built = starts_network.features(input_shape=(side, side, 1), outputs=1, start=positive, margins=margins)
    x = tf.Variable(np.full((1, side, side, 1), 0.01, np.float32))
    row, column = 15, 17
    with tf.GradientTape() as tape:
        cell = tf.reduce_sum(built.exported(x)[1][0, row, column])
    slope = np.asarray(tape.gradient(cell, x))[0, ..., 0].astype(np.float64)
    assert slope.sum() > 0
    places = np.arange(side) + 0.5
    found = np.array([slope.sum(1) @ places, slope.sum(0) @ places]) / slope.sum()
    return found - (np.array([row, column]) + 0.5) * 16


def test_a_cell_of_the_map_lies_over_the_pixels_it_comes_from(weights):
    np.testing.assert_allclose(centre(weights, starts_network.CENTRED), 0.5, atol=0.05)


def test_with_the_margins_it_was_trained_with_a_cell_lies_half_a_cell_away(weights):
    """The twin: what the check above finds where the shifts do not cancel."""
    np.testing.assert_allclose(centre(weights, starts_network.AS_TRAINED), 7.5, atol=0.05)


def test_grey_is_red_green_and_blue_alike(weights):
    x = np.random.default_rng(0).normal(size=(2, 64, 64, 1)).astype(np.float32)
    one, three = (
        np.asarray(
            starts_network.features(
                input_shape=(64, 64, n), outputs=1, start=weights, scale=starts.scale(mean=0.5, std=0.25)
            ).exported(np.repeat(x, n, axis=-1))[1]
        )
        for n in (1, 3)
    )
    np.testing.assert_allclose(one, three, atol=1e-4)
    assert one.shape == (2, 4, 4, 672) and one.std() > 0.1


@pytest.mark.parametrize("shape", [(60, 64, 1), (64, 64, 2), (64, 64, 64, 1)])
def test_an_input_that_does_not_fit_is_refused(weights, shape):
    with pytest.raises(RunError, match="multiples of 32"):
        starts_network.features(input_shape=shape, outputs=1, start=weights)


def test_an_array_without_a_place_in_the_whole_network_is_refused(weights):
    with pytest.raises(RunError, match="1 arrays of the start"):
        starts_network.original(side=32, start={**weights, "_blocks.99.weight": np.zeros(1)})


def test_it_leaves_as_one_graph_with_its_slopes(weights, tmp_path, monkeypatch):
    """Graph, feature maps and slopes agree with the framework; a margin on the wrong side does not."""
    keras.utils.set_random_seed(0)
    built = starts_network.features(
        input_shape=(96, 96, 1), outputs=2, start=weights, scale=starts.scale(mean=0.5, std=0.25)
    )
    y, x = np.mgrid[:96, :96] / 48 - 1
    images = np.stack([np.sin(3 * x * k) + np.cos(2 * y) for k in (1, 2)])[..., None].astype(np.float32)
    graph, slopes = tmp_path / "model.onnx", tmp_path / "gradient.onnx"
    assert export.export(built, graph, examples=images) < 1e-4
    assert export.export_slopes(built, graph, slopes, examples=images) == ""
    assert saliency_gradient.check(slopes.read_bytes(), built.exported, images) < saliency_gradient.TOLERANCE
    assert graph.stat().st_size < 4_000_000

    head = export.head(built)
    from overread.learn.predict import open_graph

    logits, maps = open_graph(graph).run(["logits", "features"], {"image": images})
    np.testing.assert_allclose(maps.mean((1, 2)) @ head["kernel0"] + head["bias0"], logits, atol=1e-4)

    right = BACK["Pad"]

    def mirrored(tape, node, slope):
        name = node.input[1]
        tape.weights[name] = np.roll(tape.weights[name], len(tape.weights[name]) // 2)
        right(tape, node, slope)

    monkeypatch.setitem(BACK, "Pad", mirrored)
    assert "differs from the training framework's" in export.export_slopes(built, graph, slopes, examples=images)
