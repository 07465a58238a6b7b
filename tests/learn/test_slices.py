"""Volumes read slice by slice: what attention computes, what stays exact behind it, and that it finds the slice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from overread.domain import Task
from overread.errors import RunError
from overread.learn import plan as planning
from overread.learn import starts
from overread.learn.plan_checks import check_together
from overread.learn.plan_cohort import Fingerprint
from overread.learn.plan_rules import choose

pytest.importorskip("keras")
TASK = Task(("mass",), "binary", "mass")
SHAPE = (8, 16, 16, 1)
needs_start = pytest.mark.skipif(not starts.available(), reason="the extra [starts] is not installed")


def seen(*shape: int, **more) -> Fingerprint:
    return Fingerprint(
        **{"n": 60, "shape": shape, "channels": 1, "modality": "", "unit": "stored", "volumes": 60 if shape[0] > 1 else 0}
        | {"eight_bit": True, **more}
    )  # fmt: skip


def spots(n=48, seed=0, shape=SHAPE):
    """A bright spot in one slice, or none, in noise; and in which slice it lies."""
    rng = np.random.default_rng(seed)
    truth, where = np.arange(n) % 2, rng.integers(0, shape[0], n)
    volumes = rng.normal(size=(n, *shape)).astype(np.float32)
    for i in np.flatnonzero(truth):
        volumes[i, where[i], 5:9, 5:9] += 3
    return volumes, truth[:, None].astype(float), where


def built(*, learned: bool = True, outputs: int = 2, seed: int = 0, **more):
    """A small network; its attention and statistics moved by chance, as learning would."""
    from overread.learn.framework import keras
    from overread.learn.networks import slices

    keras.utils.set_random_seed(seed)
    network = slices(input_shape=SHAPE, outputs=outputs, kind="multiclass", widths=(4, 8), attention=5, **more)
    if learned:
        rng = np.random.default_rng(seed)
        network.trained.get_layer("attention").set_weights([rng.normal(0, 4, (5, 1))])
        for name in ("what", "gate"):  # far enough from zero to bend
            network.trained.get_layer(name).set_weights([rng.normal(0, 3, (8, 5)), rng.normal(0, 1, 5)])
        for layer in network.trained.layers:
            if "batch_normalization" in layer.name:
                layer.set_weights([w + rng.uniform(0, 0.3, w.shape) for w in layer.get_weights()])
    return network


def maps_of(network, volumes) -> np.ndarray:
    """What the network sees of each slice before attention, (n, slices, rows, columns, maps)."""
    from overread.learn.framework import keras

    stack = keras.Model(network.trained.inputs[0], network.trained.get_layer("stack").output)
    return np.asarray(stack(volumes, training=False), np.float64)


def test_attention_is_the_published_formula_and_the_answer_is_the_mean_of_its_maps():
    network, volumes = built(), spots(5)[0]
    z, features = (np.asarray(v, np.float64) for v in network.exported(volumes, training=False))
    maps = maps_of(network, volumes)
    h = maps.mean(axis=(2, 3))
    (v, bv), (u, bu), (w,) = (network.trained.get_layer(n).get_weights() for n in ("what", "gate", "attention"))
    score = (np.tanh(h @ v + bv) / (1 + np.exp(-(h @ u + bu)))) @ w  # Ilse et al. 2018, equation 9
    weight = np.exp(score) / np.exp(score).sum(axis=1, keepdims=True)
    assert np.ptp(weight, axis=1).max() > 0.05  # the slices are not counted alike here
    kernel, bias = network.trained.get_layer("head").get_weights()
    np.testing.assert_allclose((weight * h).sum(axis=1) @ kernel + bias, z, atol=1e-5)
    np.testing.assert_allclose(features, maps * (SHAPE[0] * weight)[..., None, None], atol=1e-4)
    np.testing.assert_allclose((features @ kernel).mean(axis=(1, 2, 3)) + bias, z, atol=1e-5)


def test_before_anything_is_learned_every_slice_counts_alike():
    network, volumes = built(learned=False), spots(3)[0]
    features = np.asarray(network.exported(volumes, training=False)[1])
    np.testing.assert_allclose(features, maps_of(network, volumes), atol=1e-6)


@pytest.mark.parametrize(("neighbours", "changed"), [(0, [3]), (1, [2, 3, 4]), (2, [1, 2, 3, 4, 5])])
def test_a_slice_is_seen_with_its_neighbours_and_no_further(neighbours, changed):
    network, volumes = built(neighbours=neighbours), spots(1)[0]
    other = volumes.copy()
    other[0, 3] += 1
    moved = np.abs(maps_of(network, other) - maps_of(network, volumes))[0].reshape(SHAPE[0], -1).max(axis=1)
    assert np.flatnonzero(moved > 1e-6).tolist() == changed


def test_graph_slopes_and_head_agree_with_the_framework(tmp_path, monkeypatch):
    from overread.learn import export, saliency_redraw, slopes

    network, volumes = built(), spots(4)[0]
    graph = tmp_path / "model.onnx"
    assert export.export(network, graph, examples=volumes) < export.TOLERANCE
    assert export.export_slopes(network, graph, tmp_path / "g.onnx", examples=volumes) == ""
    for wrong, rule in (
        ("Softmax", slopes._same),
        ("Tanh", slopes._same),
        ("Sigmoid", slopes._same),
    ):  # the check can fail
        with monkeypatch.context() as patch:
            patch.setitem(slopes.BACK, wrong, rule)
            assert "differs" in export.export_slopes(network, graph, tmp_path / "w.onnx", examples=volumes), wrong
    tail, raw = export.head(network), graph.read_bytes()
    new = saliency_redraw.drawn(raw, share=0, rng=np.random.default_rng(0))
    assert not np.allclose(saliency_redraw.tail_replaced(tail, raw, new)["kernel0"], tail["kernel0"])


def test_several_networks_and_mirrored_views_answer_with_their_mean():
    from overread.learn.fit import logits
    from overread.learn.members import together

    networks, volumes = [built(seed=s) for s in (0, 1)], spots(4)[0]
    views = [(), (1,), (3,), (1, 3)]
    want = np.mean([logits(n, np.flip(volumes, axes) if axes else volumes) for n in networks for axes in views], axis=0)
    one = together(networks, views=["left-right", "slices"])
    np.testing.assert_allclose(logits(one, volumes), want, atol=1e-5)
    _, features = one.exported(volumes, training=False)
    kernel, bias = one.trained.get_layer("head").get_weights()
    np.testing.assert_allclose(np.mean(features, axis=(1, 2, 3)) @ kernel + bias, want, atol=1e-5)


def short(network: str, *shape: int, epochs: int) -> planning.Plan:
    plan = planning.draw_up(TASK, seen(*shape), network=network, seed=0)
    return planning.changed(plan, "training", "for a test", epochs=epochs, batch=16)


def learned(plan: planning.Plan, volumes, truth, checkpoint: Path, **more):
    from overread.learn import fit, slice_features

    how = slice_features.fit if plan.network == "slice-features" else fit.fit
    return how(
        plan, training=(volumes, truth), tuning=(volumes[:4], truth[:4]), score=lambda z, t: 0.5, checkpoint=checkpoint, **more,
    )  # fmt: skip


@pytest.mark.slow
def test_the_heat_map_points_at_the_slice_that_decides(tmp_path):
    from overread.learn.fit import logits
    from overread.stats.metrics import mean_auroc

    plan = short("slices", *SHAPE[:-1], epochs=25)
    plan = planning.changed(
        plan, "augmentation", "none, for speed", **dict.fromkeys(plan.augmentation.keys() - {"flips"}, 0.0)
    )
    volumes, truth, _ = spots(64)
    network = learned(plan, volumes, truth, tmp_path / "c.npz").built
    volumes, truth, where = spots(40, seed=1)
    assert mean_auroc(truth, logits(network, volumes)) > 0.9
    maps = np.asarray(network.exported(volumes, training=False)[1]) @ network.trained.get_layer("head").get_weights()[0]
    strongest = maps[..., 0].mean(axis=(2, 3)).argmax(axis=1)
    ill = truth[:, 0] == 1
    assert (strongest == where)[ill].mean() > 0.8
    assert (strongest == where)[~ill].mean() < 0.5  # where there is no spot, its slice is only a number


@pytest.mark.slow
@needs_start
def test_a_start_sees_each_slice_once_and_attention_learns_on_from_the_line(tmp_path):
    from overread.learn import slice_features
    from overread.learn.fit import logits

    plan = short("slice-features", *SHAPE[:-1], epochs=2)
    volumes, truth, _ = spots(32)
    news = []
    found = learned(plan, volumes, truth, tmp_path / "c.npz", tell=news.append)
    done = [n["epoch"] * n["steps"] + n["step"] for n in news]
    assert done == sorted(done) and done[-1] == slice_features.steps(plan, len(volumes)) == 6
    above = slice_features.above(found.built, plan)
    numbers = slice_features.seen_of(found.built, volumes)
    assert numbers.shape == (32, 8, 672)
    np.testing.assert_allclose(logits(found.built, volumes), logits(above, numbers), atol=1e-4)

    class Killed(Exception):
        pass

    def kill(told):
        if told["epoch"] == 2:
            raise Killed

    with pytest.raises(Killed):
        learned(plan, volumes, truth, tmp_path / "part.npz", tell=kill)
    again = learned(plan, volumes, truth, tmp_path / "part.npz")
    for a, b in zip(found.built.exported.weights, again.built.exported.weights, strict=True):
        assert np.array_equal(a, b), a.path


@pytest.mark.slow
@needs_start
def test_a_start_over_slices_is_exported_with_its_slopes(tmp_path):
    from overread.learn import export
    from overread.learn.starts_network import built_for

    plan = planning.draw_up(TASK, seen(8, 16, 16), network="slice-features", seed=0)
    network, volumes = built_for(plan), spots(3, shape=(8, 16, 16, 1))[0]
    rng = np.random.default_rng(0)
    network.trained.get_layer("attention").set_weights([rng.normal(0, 4, (32, 1))])
    assert export.export(network, tmp_path / "m.onnx", examples=volumes) < export.TOLERANCE
    assert export.export_slopes(network, tmp_path / "m.onnx", tmp_path / "g.onnx", examples=volumes) == ""


@pytest.mark.parametrize(
    ("shape", "size", "batch"),
    [((28, 28, 28), [28, 28, 28], 32), ((20, 320, 320), [20, 96, 96], 16), ((200, 512, 512), [48, 96, 96], 8), ((3, 60, 50), [8, 60, 60], 32)],
)  # fmt: skip
def test_the_plan_takes_finer_pictures_and_as_many_volumes_as_memory_holds(shape, size, batch):
    parts = choose(TASK, seen(*shape, n=400), network="slices", seed=0)
    check_together(parts)
    assert parts["input"]["size"] == size and parts["training"]["batch"] == batch
    assert all(part.get("reason") for part in parts.values())


@needs_start
@pytest.mark.parametrize("side", [20, 28, 40, 64, 100, 512])
def test_a_start_is_shown_slices_of_sides_that_it_can_halve(side):
    from overread.learn import fit

    plan = planning.draw_up(TASK, seen(5, side, side), network="slice-features", seed=0)
    check_together(plan.parts)
    assert min(fit.build(plan).exported.outputs[1].shape[2:4]) >= 4


def test_narrower_ones_are_searched_and_taught_and_the_grid_is_left_alone():
    from overread.learn import distilled, search

    plan = planning.draw_up(TASK, seen(20, 320, 320), network="slices", seed=0)
    assert "side" not in search.space_of(plan, side=320)
    half = search.applied(plan, {"width": 0.5})
    pupils = distilled.students(plan)
    assert half.build["widths"] == (8, 16, 32) and "8-16-32" in pupils
    for one in (half, *pupils.values()):
        check_together(one.parts)
        assert one.network == "slices" and one.input_shape == plan.input_shape


def test_slices_are_never_turned_into_one_another_and_pictures_have_none():
    alike = {"auroc": 0.5, "low": 0.45, "high": 0.55, "n": 60, "alike": True}
    sides = dict.fromkeys(("left-right", "slices", "quarter turns", "turns rows-slices"), alike)
    told = choose(TASK, seen(28, 28, 28, sides=sides), network="slices", seed=0)["sides"]
    assert told["turns"] == ["quarter turns"] and "turns rows-slices left out" in told["reason"]
    picture = choose(TASK, seen(1, 40, 40), network="slices", seed=0)
    assert picture["network"]["name"] == "residual" and "no slices" in picture["network"]["reason"]


@pytest.mark.parametrize(
    ("network", "part", "values", "word"),
    [
        ("slices", "input", {"size": [28, 28]}, "pictures have no slices"),
        ("slices", "network", {"flat": 2}, "looks within slices"),
        ("slices", "network", {"pooled": 2}, "pooled of the network"),
        ("slices", "sides", {"turns": ["turns rows-slices"]}, "quarter turns within slices"),
        ("slices", "start", {"name": "efficientnet-lite0"}, "slice-features"),
        pytest.param("slice-features", "input", {"size": [28, 30, 30]}, "multiples of 16", marks=needs_start),
        pytest.param("slice-features", "network", {"widths": [8]}, "shape its start gives", marks=needs_start),
        pytest.param("slice-features", "start", {"name": "random"}, "no start", marks=needs_start),
    ],
)
def test_a_plan_that_cannot_be_done_is_refused(network, part, values, word):
    parts = choose(TASK, seen(28, 28, 28), network=network, seed=0)
    check_together(parts)
    with pytest.raises(RunError, match=word):
        check_together({**parts, part: {**parts[part], **values}})
    whole = {k: v for k, v in parts["network"].items() if k != "attention"}
    with pytest.raises(RunError, match="without attention"):
        check_together({**parts, "network": whole})
    assert planning.planned(TASK, parts).network == network
