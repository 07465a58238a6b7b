"""A start that goes on learning: the same network folded, what is held and what learns how fast, resumed, exported."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from overread.domain import Task
from overread.errors import RunError
from overread.learn import plan as planning
from overread.learn import plan_file, starts
from overread.learn.plan_cohort import Fingerprint
from overread.learn.plan_rules import choose

pytestmark = pytest.mark.skipif(not starts.available(), reason="the extra [starts] is not installed")
PICTURES = Fingerprint(n=60, shape=(1, 200, 180), channels=1, modality="", unit="stored", volumes=0, eight_bit=True)
TASK = Task(("mass",), "binary", "mass")


def textures(n=32, side=32, seed=0):
    """Stripes across or along, in noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side]
    truth = np.arange(n) % 2
    waves = [np.sin((x if t else y) * rng.uniform(0.8, 1.2) + rng.uniform(0, 6)) for t in truth]
    images = np.stack(waves) + rng.normal(size=(n, side, side))
    return images[..., None].astype(np.float32), truth[:, None].astype(float)


def drawn(task=TASK, *, depth=4, held=2, **training) -> planning.Plan:
    """The rule's plan for a short training of the lowest blocks, which is quickly built."""
    plan = planning.draw_up(task, PICTURES, network="fine-tuned", seed=0)
    plan = planning.changed(plan, "training", "for a test", **{"epochs": 2, "batch": 16, **training})
    start, build = {**plan.start, "held": held}, {**plan.build, "depth": depth}
    return replace(plan, input_shape=(32, 32, 1), build=build, start=start)


def fitted_on(plan, images, truth, checkpoint, **more):
    from overread.learn import fine_tuned

    return fine_tuned.fit(
        plan, training=(images, truth), tuning=(images[:0], truth[:0]), score=lambda z, t: 0.0, checkpoint=checkpoint,
        **more,
    )  # fmt: skip


@pytest.mark.parametrize("channels", [1, 3])
def test_the_folded_network_says_what_the_whole_one_says(channels):
    pytest.importorskip("keras")
    from overread.learn import starts_network

    images = np.random.default_rng(0).normal(size=(3, 64, 64, channels)).astype(np.float32)
    how = {"input_shape": (64, 64, channels), "outputs": 2, "start": starts.weights(), "scale": (0.5, 0.1)}
    (_, whole), (_, folded) = (
        starts_network.features(**how, folded=f).exported(images, training=False) for f in (False, True)
    )
    np.testing.assert_allclose(folded, whole, atol=2e-4)
    assert np.asarray(whole).std() > 0.1


def test_what_is_held_stays_and_the_rest_learns_the_slower_the_lower(tmp_path):
    pytest.importorskip("keras")
    from overread.learn.starts_network import block_of, built_for

    plan = drawn()
    images, truth = textures()
    before = built_for(plan).trained
    after = fitted_on(plan, images, truth, tmp_path / "c.npz").built.trained
    moved = {}
    for old, new in zip(before.layers, after.layers, strict=True):
        for a, b in zip(old.get_weights()[:1], new.get_weights()[:1], strict=True):
            moved[block_of(new.name)] = float(np.abs(a - b).max())
    held = plan.start["held"]
    assert [moved[k] for k in range(held + 1)] == [0] * (held + 1)
    assert 0 < moved[held + 1] < moved[held + 2] < moved[None]


def test_rates_fall_evenly_from_the_head_to_the_stem():
    pytest.importorskip("keras")
    from overread.learn import rates
    from overread.learn.starts_network import built_for

    model = built_for(drawn(depth=11)).trained
    found = rates.shares(model, 0.1)
    assert found["head/kernel"] == 1 and found["stem/kernel"] == pytest.approx(0.1)
    each = [found[f"{k}.narrow/kernel"] for k in range(11)]
    np.testing.assert_allclose(np.diff(np.log(each)), np.diff(np.log(each))[0], rtol=1e-6)
    assert set(rates.shares(model, 1.0).values()) == {1.0}


@pytest.mark.slow
def test_training_that_was_stopped_goes_on_to_the_same_weights(tmp_path):
    pytest.importorskip("keras")
    plan, (images, truth) = drawn(), textures()
    whole = fitted_on(plan, images, truth, tmp_path / "whole.npz")

    class Stopped(Exception):
        pass

    def stop(news):
        if news["epoch"] == 1:
            raise Stopped

    with pytest.raises(Stopped):
        fitted_on(plan, images, truth, tmp_path / "part.npz", tell=stop)
    again = fitted_on(plan, images, truth, tmp_path / "part.npz")
    for a, b in zip(whole.built.trained.weights, again.built.trained.weights, strict=True):
        assert np.array_equal(a, b), a.path
    assert again.history == whole.history


@pytest.mark.parametrize("kind", ["multiclass", "ordinal", "multilabel"])
def test_every_kind_of_label_is_learned(kind, tmp_path):
    pytest.importorskip("keras")
    from overread.learn import fit as fitting

    images, truth = textures()
    known = np.concatenate([1 - truth, truth], axis=1)
    if kind == "multilabel":
        known[:5, 0] = np.nan
    plan = drawn(Task(("grade=1", "grade=2"), kind, "grade"), epochs=10)
    said = fitting.logits(fitted_on(plan, images, known, tmp_path / "c.npz").built, images)
    assert (said.argmax(1) == truth[:, 0]).mean() > 0.9


def test_the_graph_and_its_slopes_agree_with_the_network(tmp_path):
    pytest.importorskip("keras")
    from overread.learn import export, members

    plan, (images, truth) = drawn(epochs=1), textures()
    built = fitted_on(plan, images, truth, tmp_path / "c.npz").built
    two = members.together([built, built])
    assert export.export(two, tmp_path / "model.onnx", examples=images[:3]) < export.TOLERANCE
    assert export.export_slopes(two, tmp_path / "model.onnx", tmp_path / "gradient.onnx", examples=images[:3]) == ""


@pytest.mark.parametrize("side", [28, 64, 65, 500])
@pytest.mark.parametrize("volumes", [0, 60])
def test_a_plan_is_written_read_and_executed_as_it_stands(side, volumes, tmp_path):
    alike = {"auroc": 0.5, "low": 0.45, "high": 0.55, "n": 60, "alike": True}
    axes = ("left-right", "slices", "turns rows-slices") if volumes else ("left-right",)
    seen = replace(
        PICTURES, shape=(30 if volumes else 1, side, side), volumes=volumes, sides=dict.fromkeys(axes, alike)
    )
    parts = choose(TASK, seen, network="fine-tuned", seed=0)
    plan = planning.planned(TASK, parts)
    assert plan.network == "fine-tuned" and plan.start["name"] == starts.DEFAULT
    assert len(plan.input_shape) == 3 and plan.input_shape[0] % 32 == 0
    assert plan.augmentation["flips"] == ("left-right",) and "turns" not in plan.augmentation
    (tmp_path / "plan.toml").write_text(plan_file.written({"question": {}, "cohort": {}, "machine": {}}, parts))
    again = planning.planned(TASK, plan_file.read(tmp_path / "plan.toml")[1])
    assert planning.executed(again) == planning.executed(plan)


@pytest.mark.parametrize(
    ("part", "values", "word"),
    [
        ("input", {"size": [100, 96]}, "multiple of 32"),
        ("input", {"size": [32, 96, 96]}, "two sides"),
        ("network", {"widths": [8, 16]}, "name and dropout"),
        ("start", {"name": "random"}, "of weights drawn by chance"),
        ("optimiser", {"name": "adam"}, "adamw"),
    ],
)
def test_a_plan_that_cannot_be_done_is_refused(part, values, word):
    from overread.learn.plan_checks import check_together

    parts = choose(TASK, PICTURES, network="fine-tuned", seed=0)
    check_together(parts)
    with pytest.raises(RunError, match=word):
        check_together({**parts, part: {**parts[part], **values}})
