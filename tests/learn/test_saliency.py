"""Heat-maps against networks whose answer is known: linear ones in closed form, small ones against the framework."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from scipy import ndimage
from small_run import graph as filter_graph

from overread.errors import ExportError, RunError
from overread.learn import saliency, saliency_gradient, saliency_redraw, saliency_tests
from overread.learn.predict import open_graph, run_graph
from overread.learn.saliency import Network
from overread.stats import maps

QUIET = lambda n: None


def model(nodes, constants, *, shape, outputs=1, ir=8, opset=17) -> bytes:
    """A graph from ``image`` to ``logits`` and ``features``."""
    value = helper.make_tensor_value_info
    made = helper.make_graph(
        nodes,
        "small",
        [value("image", TensorProto.FLOAT, ["n", *shape])],
        [value("logits", TensorProto.FLOAT, ["n", outputs]), value("features", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(v, k) for k, v in constants.items()],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir).SerializeToString()


def linear(weight: np.ndarray, bias: float = 0.3) -> Network:
    """logit = sum of weight × image + bias, behind a Reshape and one matrix."""
    graph = model(
        [
            helper.make_node("Identity", ["image"], ["features"]),
            helper.make_node("Reshape", ["image", "flat"], ["row"]),
            helper.make_node("MatMul", ["row", "kernel"], ["product"]),
            helper.make_node("Add", ["product", "bias"], ["logits"]),
        ],
        {
            "flat": np.array([-1, weight.size], np.int64),
            "kernel": weight.reshape(-1, 1).astype(np.float32),
            "bias": np.array([bias], np.float32),
        },
        shape=weight.shape,
    )
    slopes = open_graph(saliency_gradient.derive(graph))
    return Network(open_graph(graph), {"tail": np.array("none")}, slopes)


def filters(kernel: np.ndarray) -> tuple[bytes, dict]:
    """The small network of the evaluation tests: filters, ReLU, global average, linear head."""
    bias = np.zeros(kernel.shape[1])
    return filter_graph(kernel, bias), {"tail": np.array("mean"), "kernel0": kernel.astype(np.float32), "bias0": bias}


def network(graph: bytes, tail: dict) -> Network:
    return Network(open_graph(graph), tail, open_graph(saliency_gradient.derive(graph)))


# --- linear networks: every method has a closed form ------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(12, 10, 1), (6, 8, 10, 2)])
def test_integrated_gradients_of_a_linear_network_are_weight_times_difference(shape):
    rng = np.random.default_rng(0)
    w, x = rng.normal(size=shape), rng.normal(size=shape).astype(np.float32)
    heat = saliency.integrated_gradients_field(linear(w), x, 0, tick=QUIET)
    np.testing.assert_allclose(heat, (w * (x - saliency.baseline(x))).sum(-1), atol=1e-4)


@pytest.mark.parametrize("shape", [(16, 16, 1), (8, 8, 16, 1)])
def test_occlusion_of_a_linear_network_is_the_mean_fall_over_the_covers(shape):
    rng = np.random.default_rng(1)
    w, x = rng.normal(size=shape), rng.normal(size=shape).astype(np.float32)
    blurred = ndimage.gaussian_filter(x[..., 0], [n / 8 for n in shape[:-1]], mode="nearest")
    part = w[..., 0] * (x[..., 0] - blurred)
    total, lain = np.zeros(shape[:-1]), np.zeros(shape[:-1])
    for corner in np.ndindex(*(2 * 4 - 1 for _ in shape[:-1])):  # covers of a quarter, moved by half of it
        cover = np.zeros(shape[:-1])
        cover[tuple(slice(c * n // 8, c * n // 8 + n // 4) for c, n in zip(corner, shape))] = 1
        cover = ndimage.gaussian_filter(cover, [n / 16 for n in shape[:-1]], mode="nearest")
        total += cover * (part * cover).sum()
        lain += cover
    heat = saliency.occlusion_field(linear(w), x, 0, tick=QUIET, parts=4)
    np.testing.assert_allclose(heat, total / lain, atol=1e-4)


def test_the_black_margin_of_a_film_is_no_finding(monkeypatch):
    """A network of edges, and a film whose edges are known to lie in its middle; the twin covers with grey, and fails."""
    rng = np.random.default_rng(4)
    y, there = np.mgrid[:48, :48][0], np.hypot(*(np.mgrid[:48, :48] - 23.5)) < 9
    x = np.where(there, 0.6 + 0.3 * np.sin(y) + 0.1 * rng.normal(size=(48, 48)), 0.0).astype(np.float32)[..., None]
    net = network(*filters(np.ones((8, 1))))

    def in_the_margin() -> float:
        heat = np.abs(saliency.occlusion_field(net, x, 0, tick=QUIET))
        return float(heat[~ndimage.binary_dilation(there, iterations=10)].mean() / heat[there].mean())

    good = in_the_margin()
    assert good < 0.1
    monkeypatch.setattr(saliency, "out_of_focus", saliency.baseline)
    assert in_the_margin() > 2 * good


def test_rise_of_a_linear_network_is_its_weights_spread_by_the_masks():
    """Slope on seeing a pixel = what all pixels contribute, by how much they are seen with it; from other masks."""
    rng = np.random.default_rng(2)
    w, x = rng.normal(size=(14, 14, 1)), rng.normal(size=(14, 14, 1)).astype(np.float32)
    heat = saliency.rise_field(linear(w), x, 0, tick=QUIET, count=6000, cells=7)
    other = np.random.default_rng(99)
    masks = np.stack([saliency._mask((14, 14), 7, other) for _ in range(20000)]).reshape(20000, -1)
    covariance = np.cov(masks.T)
    blurred = ndimage.gaussian_filter(x, [14 / 8, 14 / 8, 0], mode="nearest")
    want = (covariance @ (w * (x - blurred)).ravel()) / np.diag(covariance)
    assert np.corrcoef(heat.ravel(), want)[0, 1] > 0.95
    again = saliency.rise_field(linear(w), x, 0, tick=QUIET, count=50)
    assert np.array_equal(again, saliency.rise_field(linear(w), x, 0, tick=QUIET, count=50))  # its seed is fixed
    assert not np.array_equal(again, saliency.rise_field(linear(w), x, 0, tick=QUIET, count=50, seed=1))


def test_masks_show_half_of_the_image_in_two_and_three_dimensions():
    rng = np.random.default_rng(0)
    for grid in ((28, 30), (9, 16, 20), (3, 5)):
        masks = np.stack([saliency._mask(grid, 7, rng) for _ in range(300)])
        assert masks.shape[1:] == grid and masks.min() >= 0 and masks.max() <= 1
        assert abs(masks.mean() - 0.5) < 0.03


# --- completeness and the gradient graph ------------------------------------------------------------------------------


def test_integrated_gradients_sum_to_the_rise_of_the_score():
    rng = np.random.default_rng(3)
    net = network(*filters(rng.normal(size=(8, 2))))
    for k in (0, 1):
        x = rng.normal(0.5, 0.3, (28, 28, 1)).astype(np.float32)
        low, high = (z[k] for z, _ in net.run_inputs([saliency.baseline(x), x]))
        heat = saliency.integrated_gradients_field(net, x, k, tick=QUIET)
        assert abs(heat.sum() - (high - low)) <= saliency.UNEXPLAINED * max(1, abs(high - low))
    two = saliency.integrated_gradients_field(net, x, 1, tick=QUIET, steps=1, most=1)
    assert abs(two.sum() - (high - low)) > abs(heat.sum() - (high - low))  # the twin: one step is not enough


def slope_of(graph: bytes, x: np.ndarray, k: int = 0) -> np.ndarray:
    from overread.learn.graph import run_slopes

    return next(run_slopes(open_graph(saliency_gradient.derive(graph)), [x], k))


def test_every_known_operation_passes_slopes_back_as_small_steps_of_the_score_do():
    """Max and mean pools, strides that do not fit, groups, dilation, products, differences, quotients, means."""
    rng = np.random.default_rng(4)
    f = lambda *shape: rng.normal(size=shape).astype(np.float32)
    nodes = [
        helper.make_node("Transpose", ["image"], ["a"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["a", "c1", "b1"], ["b"], strides=[2, 2], pads=[1, 0, 1, 1], dilations=[1, 2]),
        helper.make_node("Mul", ["b", "b"], ["c"]),
        helper.make_node("Sub", ["c", "b"], ["d"]),
        helper.make_node("MaxPool", ["d"], ["e"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Div", ["e", "half"], ["g"]),
        helper.make_node("Conv", ["g", "c2"], ["h"], group=2, pads=[1, 1, 1, 1]),
        helper.make_node("AveragePool", ["h"], ["i"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Relu", ["i"], ["j"]),
        helper.make_node("Transpose", ["j"], ["features"], perm=[0, 2, 3, 1]),
        helper.make_node("ReduceMean", ["features"], ["m"], axes=[1, 2], keepdims=0),
        helper.make_node("Unsqueeze", ["m", "one"], ["n1"]),
        helper.make_node("Squeeze", ["n1", "one"], ["n2"]),
        helper.make_node("Gemm", ["n2", "kernel", "bias"], ["logits"], transB=1),
    ]
    constants = {
        "c1": f(4, 2, 3, 2), "b1": f(4), "half": np.array([0.5], np.float32), "c2": f(6, 2, 3, 3),
        "one": np.array([1], np.int64), "kernel": f(2, 6), "bias": f(2),
    }  # fmt: skip
    graph = model(nodes, constants, shape=(18, 17, 2), outputs=2)
    x, session = f(18, 17, 2), open_graph(graph)
    for k in (0, 1):
        slope = slope_of(graph, x, k)
        for _ in range(12):
            step = f(18, 17, 2) * 1e-3
            (high, _), (low, _) = run_graph(session, [x + step, x - step])
            assert (slope * step).sum() == pytest.approx((high[k] - low[k]) / 2, rel=0.03, abs=2e-5)
        assert np.abs(slope).max() > 0


def test_an_unknown_operation_is_refused_in_one_line():
    nodes = [
        helper.make_node("Sin", ["image"], ["features"]),
        helper.make_node("Reshape", ["features", "flat"], ["row"]),
        helper.make_node("MatMul", ["row", "kernel"], ["logits"]),
    ]
    graph = model(
        nodes, {"flat": np.array([-1, 16], np.int64), "kernel": np.ones((16, 1), np.float32)}, shape=(4, 4, 1)
    )
    with pytest.raises(ExportError, match="Sin, whose slope is not known here") as refusal:
        saliency_gradient.derive(graph)
    assert "\n" not in str(refusal.value) and "grad-cam, occlusion, rise" in str(refusal.value)


# --- behind a global average ------------------------------------------------------------------------------------------


def test_grad_cam_plus_plus_is_the_published_formula_with_numerical_derivatives():
    """Second and third derivatives of exp(logit) in each activation, by differences in double precision."""
    rng = np.random.default_rng(5)
    A, w = rng.uniform(0, 2, (3, 4, 5)), rng.normal(size=(5, 1))
    tail = {"tail": np.array("mean"), "kernel0": w, "bias0": np.array([0.2])}

    def score(features):
        return np.exp(features.mean(axis=(0, 1)) @ w[:, 0] + 0.2)

    h, want = 0.05, np.zeros((3, 4))
    for c in range(5):
        weight = 0.0
        for place in np.ndindex(3, 4):
            step = np.zeros_like(A)
            step[(*place, c)] = h
            s = {i: score(A + i * step) for i in (-2, -1, 0, 1, 2)}
            first = (s[1] - s[-1]) / (2 * h)
            second = (s[1] - 2 * s[0] + s[-1]) / h**2
            third = (s[2] - 2 * s[1] + 2 * s[-1] - s[-2]) / (2 * h**3)
            weight += second / (2 * second + A[..., c].sum() * third) * max(first, 0)
        want += weight * A[..., c]
    have = saliency.cam_plus_plus(A, tail, 0) * score(A)  # the closed form leaves the positive factor exp(logit) out
    np.testing.assert_allclose(have, np.maximum(want, 0), rtol=2e-3)


def test_slopes_in_the_features_of_a_dense_head_are_those_of_small_steps():
    rng = np.random.default_rng(6)
    A = rng.normal(size=(2, 3, 2))
    tail = {"tail": np.array("flatten"), "kernel0": rng.normal(size=(12, 7)), "bias0": rng.normal(size=7),
            "kernel1": rng.normal(size=(7, 2)), "bias1": np.zeros(2)}  # fmt: skip
    logit = lambda f: (np.maximum(f.ravel() @ tail["kernel0"] + tail["bias0"], 0) @ tail["kernel1"])[1]
    slope = saliency.slope_in_features(A, tail, 1)
    for place in np.ndindex(A.shape):
        step = np.zeros_like(A)
        step[place] = 1e-6
        assert slope[place] == pytest.approx((logit(A + step) - logit(A - step)) / 2e-6, abs=1e-6)


# --- redrawn weights ---------------------------------------------------------------------------------------------------


def test_redrawn_weights_are_the_ones_named_and_no_others():
    graph, _ = filters(np.random.default_rng(7).normal(size=(8, 2)))
    learned = {t.name: numpy_helper.to_array(t) for t in onnx.load_from_string(graph).graph.initializer}
    assert [w.name for w in saliency_redraw.weights(graph)] == ["bank", "kernel"]
    assert all(np.array_equal(w.of(graph), learned[w.name]) for w in saliency_redraw.weights(graph))
    for share, names in ((0.0, {"kernel"}), (1.0, {"kernel", "bank"})):
        new = saliency_redraw.drawn(graph, share=share, rng=np.random.default_rng(0))
        other = saliency_redraw.replaced(graph, new)
        held = {t.name: numpy_helper.to_array(t) for t in onnx.load_from_string(other).graph.initializer}
        assert set(new) == names
        assert {n for n in held if not np.array_equal(held[n], learned[n])} == names
        assert all(np.array_equal(held[n], new[n]) for n in names)
        both = saliency_redraw.replaced(saliency_gradient.derive(graph), new)  # the slopes follow the same numbers
        x = np.random.default_rng(1).normal(size=(28, 28, 1)).astype(np.float32)
        session = open_graph(both)
        slope = session.run(["slope"], {"image": x[None], "direction": np.array([[1, 0]], np.float32)})[0][0]
        np.testing.assert_allclose(slope, slope_of(other, x), atol=1e-6)


def test_the_head_beside_the_graph_follows_and_another_head_is_refused():
    graph, tail = filters(np.random.default_rng(8).normal(size=(8, 1)))
    new = saliency_redraw.drawn(graph, share=0, rng=np.random.default_rng(0))
    assert np.array_equal(saliency_redraw.tail_replaced(tail, graph, new)["kernel0"], new["kernel"])
    with pytest.raises(RunError, match="not the last layer"):
        saliency_redraw.tail_replaced({**tail, "kernel0": tail["kernel0"] + 1}, graph, new)


# --- the tests of a map ------------------------------------------------------------------------------------------------


def blob_images(n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:28, :28]
    made = rng.normal(0.35, 0.07, (n, 28, 28, 1))
    for picture in made:
        r, c = rng.uniform(4, 24, 2)
        picture[..., 0] += 0.8 * np.exp(-((y - r) ** 2 + (x - c) ** 2) / 6)
    return made.astype(np.float32)


def seeing(n: int = 60):
    """A network that adds up how much its blob filter finds, and networks with redrawn layers."""
    kernel = np.zeros((8, 1))
    kernel[6] = 40.0
    kernel[:6, 0] = -6.0
    graph, tail = filters(kernel)
    rng = np.random.default_rng(0)
    others = {}
    for depth, shares in saliency_tests.DEPTHS.items():
        others[depth] = []
        for share in shares:
            new = saliency_redraw.drawn(graph, share=share, rng=rng)
            redrawn = saliency_redraw.replaced(graph, new)
            others[depth].append(Network(open_graph(redrawn), saliency_redraw.tail_replaced(tail, graph, new)))
    return network(graph, tail), others, blob_images(n, 1)


def judged(net, others, images, method="grad-cam", learned=None):
    rng = np.random.default_rng(0)
    trials = [saliency_tests.trial(net, x, 0, method=method, others=others, several=False, rng=rng) for x in images]
    learned = learned or {"auroc": 0.9, "twins": 60_000, "as_good": 1e-4, "rarely": 0.7, "answers": 32, "n": 64}
    return maps.verdict(trials, None, rng, learned=learned)


def test_the_map_of_a_network_that_sees_the_blob_beats_chance_and_the_middle():
    net, others, images = seeing()
    found = judged(net, others, images)
    checks = {c["name"]: c["passed"] for c in found["checks"]}
    assert checks["deletion"] and checks["insertion"] and checks["border"]
    assert found["deletion"].n == 60 and found["deletion"].low > 0


def test_a_map_that_ignores_the_network_fails_the_randomisation(monkeypatch):
    """An edge detector looks like an explanation, and stays what it is when the head is redrawn."""
    edges = lambda network, x, k, *, tick: np.abs(np.diff(x[..., 0], axis=0, append=0))
    monkeypatch.setitem(saliency.METHODS, "edges", saliency.Method(edges, ""))
    found = judged(*seeing(), method="edges")
    assert found["randomisation"].value == 1.0
    assert not next(c for c in found["checks"] if c["name"] == "randomisation")["passed"]
    assert not found["passed"] and "what the head has learned hardly matters" in found["why"]


def test_a_level_is_scored_by_its_log_odds():
    assert saliency_tests._score(np.array([1.0, 3.0]), 0, several=True) == pytest.approx(-2.0)
    z = np.array([0.3, -1.0, 2.0])
    p = np.exp(z[2]) / np.exp(z).sum()
    assert saliency_tests._score(z, 2, several=True) == pytest.approx(np.log(p / (1 - p)))
    assert saliency_tests._score(z, 2, several=False) == 2.0
