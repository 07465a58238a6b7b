"""A pair: two networks over one grid, trained one after the other, that answer with their mean."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from overread.domain import Task
from overread.errors import RunError
from overread.learn import plan as planning
from overread.learn import starts
from overread.learn.plan_cohort import Fingerprint
from overread.learn.plan_rules import choose

pytestmark = pytest.mark.skipif(not starts.available(), reason="the extra [starts] is not installed")
TASK = Task(("mass",), "binary", "mass")


def seen(side: int, **more) -> Fingerprint:
    return Fingerprint(
        **{"n": 60, "shape": (1, side, side), "channels": 1, "modality": "", "unit": "stored", "volumes": 0}
        | {"eight_bit": True, **more}
    )


def spots(n=32, side=16, seed=0):
    """A bright spot or none, in noise."""
    rng = np.random.default_rng(seed)
    truth = np.arange(n) % 2
    images = rng.normal(size=(n, side, side, 1)).astype(np.float32)
    images[truth == 1, 5:9, 5:9] += 3
    return images, truth[:, None].astype(float)


def short(side=16) -> planning.Plan:
    plan = planning.draw_up(TASK, seen(side), network="pair", seed=0)
    plan = planning.changed(plan, "training", "for a test", epochs=2, batch=16)
    return planning.changed(plan, "start", "for a test", epochs=1, held=9)


def trained(plan, images, truth, checkpoint, **more):
    from overread.learn import pair

    return pair.fit_pair(
        plan, training=(images, truth), tuning=(images[:4], truth[:4]), score=lambda z, t: 0.5, checkpoint=checkpoint, **more,
    )  # fmt: skip


@pytest.mark.slow
def test_the_pair_answers_with_the_mean_of_its_halves_and_is_exported_with_its_slopes(tmp_path):
    pytest.importorskip("keras")
    from overread.learn import export, fit, pair

    plan, (images, truth) = short(), spots()
    news = []
    found = trained(plan, images, truth, tmp_path / "pair.npz", tell=news.append)
    first, second = planning.halves(plan)
    told = {"training": (images, truth), "tuning": (images[:0], truth[:0]), "score": lambda z, t: 0.5}
    halves = [
        fit.fit(first, **told, checkpoint=tmp_path / "pair.nothing.npz"),  # both are there already
        pair.fine_tuned.fit(second, **told, checkpoint=tmp_path / "pair.start.npz"),
    ]
    each = [fit.logits(half.built, images) for half in halves]
    np.testing.assert_allclose(fit.logits(found.built, images), np.mean(each, axis=0), atol=1e-4)
    assert np.abs(each[0] - each[1]).max() > 0.01
    assert [story["epoch"] for story in found.history] == [1, 2, 3]
    done = [n["epoch"] * n["steps"] + n["step"] for n in news]
    assert done == sorted(done) and done[-1] == pair.steps(plan, len(images)) == 6
    assert export.export(found.built, tmp_path / "model.onnx", examples=images[:3]) < export.TOLERANCE
    assert export.export_slopes(found.built, tmp_path / "model.onnx", tmp_path / "g.onnx", examples=images[:3]) == ""
    assert {n["epochs"] for n in news} == {3}


@pytest.mark.slow  # the halves' own resuming is tested with each of them
def test_a_killed_pair_goes_on_in_the_half_where_it_was(tmp_path):
    pytest.importorskip("keras")
    plan, (images, truth) = short(), spots()
    whole = trained(plan, images, truth, tmp_path / "whole.npz")

    class Killed(Exception):
        pass

    def kill(news):
        if news["epoch"] == 2:
            raise Killed

    with pytest.raises(Killed):
        trained(plan, images, truth, tmp_path / "part.npz", tell=kill)
    again = trained(plan, images, truth, tmp_path / "part.npz")
    for a, b in zip(whole.built.exported.weights, again.built.exported.weights, strict=True):
        assert np.array_equal(a, b), a.path


@pytest.mark.parametrize("side", [8, 20, 28, 64, 80, 500])
def test_both_halves_have_one_grid(side):
    pytest.importorskip("keras")
    from overread.learn import fit

    plan = planning.draw_up(TASK, seen(side), network="pair", seed=0)
    grids = [fit.build(half).exported.outputs[1].shape[1:3] for half in planning.halves(plan)]
    assert grids[0] == grids[1] and min(grids[0]) >= 2


def test_pictures_that_are_enlarged_keep_their_place_and_their_mean():
    pytest.importorskip("keras")
    from overread.learn.enlarge import Enlarge

    images = np.random.default_rng(0).normal(size=(2, 6, 8, 3)).astype(np.float32)
    large = np.asarray(Enlarge(4)(images))
    assert large.shape == (2, 24, 32, 3)
    np.testing.assert_allclose(large.mean((1, 2)), images.mean((1, 2)), atol=0.2)
    ramp = np.broadcast_to(np.arange(8.0, dtype=np.float32)[None, None, :, None], (1, 8, 8, 1))
    inside = np.asarray(Enlarge(2)(ramp))[0, 0, 1:-1, 0]
    np.testing.assert_allclose(inside, np.arange(0.25, 7, 0.5), atol=1e-6)


def test_volumes_are_read_by_the_network_from_nothing_alone():
    found = choose(TASK, seen(40, shape=(20, 40, 40), volumes=60), network="pair", seed=0)["network"]
    assert found["name"] == "residual" and "three slices" in found["reason"]


def test_only_small_pictures_in_colour_let_the_start_go_on_learning():
    assert choose(TASK, seen(28, channels=3), network="pair", seed=0)["start"]["epochs"] >= 15
    assert choose(TASK, seen(28), network="pair", seed=0)["start"]["epochs"] == 0
    assert choose(TASK, seen(224), network="pair", seed=0)["start"]["epochs"] == 0


@pytest.mark.parametrize(
    ("part", "values", "word"),
    [
        ("input", {"size": [100, 100]}, "multiple of 4, or above 64 of 32"),
        ("start", {"name": "random"}, "of weights drawn by chance"),
        ("optimiser", {"name": "adam"}, "adamw"),
        ("network", {"flat": 2}, "pictures have no slices"),
    ],
)
def test_a_plan_that_cannot_be_done_is_refused(part, values, word):
    from overread.learn.plan_checks import check_together

    parts = choose(TASK, seen(28), network="pair", seed=0)
    check_together(parts)
    with pytest.raises(RunError, match=word):
        check_together({**parts, part: {**parts[part], **values}})
    start = {k: v for k, v in parts["start"].items() if k != "lower"}
    with pytest.raises(RunError, match="without lower"):
        check_together({**parts, "start": start})
    assert replace(planning.planned(TASK, parts)).network == "pair"
