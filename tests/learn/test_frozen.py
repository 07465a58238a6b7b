"""Frozen features and a line as a network of ours: what is learned, what is left alone, and what a plan may say of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from overread.domain import Image, Recipe, Step, Task
from overread.errors import RunError
from overread.learn import plan as planning
from overread.learn import starts, starts_rules
from overread.learn.plan_cohort import Fingerprint
from overread.learn.plan_rules import choose

needed = pytest.mark.skipif(not starts.available(), reason="the extra [starts] is not installed")
PICTURES = Fingerprint(n=60, shape=(1, 200, 180), channels=1, modality="", unit="stored", volumes=0, eight_bit=True)
TASK = Task(("mass",), "binary", "mass")


def textures(n=48, side=64, seed=0):
    """Stripes across or along, in noise: what thumbnails and brightness do not tell."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side]
    truth = np.arange(n) % 2
    waves = [np.sin((x if t else y) * rng.uniform(0.8, 1.2) + rng.uniform(0, 6)) for t in truth]
    return (np.stack(waves) + rng.normal(size=(n, side, side)))[..., None].astype(np.float32), truth[:, None].astype(
        float
    )


def small(plan: planning.Plan, **changes) -> planning.Plan:
    return replace(plan, input_shape=(64, 64, 1), **changes)


@needed
def test_only_the_head_is_learned_and_the_network_says_what_the_line_says():
    pytest.importorskip("keras")
    from overread.learn import fit as fitting
    from overread.learn import frozen

    plan = small(planning.draw_up(TASK, PICTURES, network="features", seed=0))
    images, truth = textures()
    before = frozen.built_for(plan)
    news = []
    fitted = frozen.fit(
        plan,
        training=(images[:32], truth[:32]),
        tuning=(images[32:], truth[32:]),
        score=lambda z, t: float(z[t == 1].mean() - z[t == 0].mean()),
        groups=np.arange(32) // 2,
        tell=news.append,
    )
    said = fitting.logits(fitted.built, images[32:])[:, 0]
    assert said[truth[32:, 0] == 1].min() > said[truth[32:, 0] == 0].max()
    (story,) = fitted.history
    assert story["tuning"] == pytest.approx(said[1::2].mean() - said[::2].mean(), abs=1e-3)
    assert story["penalty"] in frozen.linear_head.PENALTIES
    for old, new in zip(before.trained.weights, fitted.built.trained.weights, strict=True):
        assert np.array_equal(old, new) == (not new.path.startswith("head/")), new.path
    assert [n["step"] for n in news][-1] == news[-1]["steps"] == frozen.steps(32)
    assert max(n["step"] for n in news) == frozen.steps(32)


@needed
@pytest.mark.parametrize("kind", ["multiclass", "ordinal", "multilabel"])
def test_every_kind_of_label_is_learned(kind):
    pytest.importorskip("keras")
    from overread.learn import fit as fitting
    from overread.learn import frozen

    images, truth = textures()
    labels = ("grade=1", "grade=2")
    known = np.concatenate([1 - truth, truth], axis=1)
    if kind == "multilabel":
        known[:5, 0] = np.nan
    plan = small(planning.draw_up(Task(labels, kind, "grade"), PICTURES, network="features", seed=0))
    fitted = frozen.fit(plan, training=(images, known), tuning=(images[:0], known[:0]), score=lambda z, t: 0.0)
    said = fitting.logits(fitted.built, images)
    assert (said.argmax(1) == truth[:, 0]).mean() > 0.95 and fitted.history[0]["tuning"] is None


@needed
def test_features_of_images_do_not_depend_on_their_company():
    pytest.importorskip("keras")
    from overread.learn import frozen
    from overread.learn.plan import CENTRED

    rng = np.random.default_rng(0)
    recipe = Recipe(
        (
            Step("channels", {"count": 3}),
            Step("normalise", {"by": "full_range"}),
            Step("resize", {"size": (64, 64)}),
            Step("standardise", CENTRED),
        )
    )
    images = [Image(rng.integers(0, 256, (1, 50, 40), np.uint8), full_range=(0, 255)) for _ in range(35)]
    rows = frozen.features_of(images, recipe)
    assert rows.shape == (35, 672) and rows.min() >= 0 and rows.max() <= 6
    np.testing.assert_allclose(frozen.features_of(images[33:], recipe), rows[33:], atol=1e-4)
    assert frozen.features_of([], recipe).shape[0] == 0


@needed
def test_a_plan_for_features_is_written_read_and_executed_as_it_stands(tmp_path):
    from overread.learn import plan_file

    for seen in (PICTURES, replace(PICTURES, volumes=60, shape=(30, 64, 64)), replace(PICTURES, channels=3)):
        parts = choose(TASK, seen, network="features", seed=0)
        plan = planning.planned(TASK, parts)
        assert plan.network == "features" and plan.start["name"] == starts.DEFAULT and not plan.weigh_classes
        assert plan.input_shape == (224, 224, 3 if seen.volumes or seen.channels == 3 else 1)
        assert (plan.recipe.steps[0].name == "three_slices") == bool(seen.volumes)
        head = {"question": {}, "cohort": {}, "machine": {}}
        path = tmp_path / "plan.toml"
        path.write_text(plan_file.written(head, parts), encoding="utf-8")
        assert planning.executed(planning.planned(TASK, plan_file.read(path)[1])) == planning.executed(plan)


@needed
@pytest.mark.parametrize(
    ("part", "values", "word"),
    [
        ("input", {"size": [100, 96]}, "multiple of 32"),
        ("input", {"size": [64, 64, 64]}, "multiple of 32"),
        ("input", {"channels": 2}, "one or three"),
        ("network", {"widths": [4, 8]}, "its name alone"),
        ("start", {"name": "random"}, "efficientnet-lite0"),
        ("optimiser", {"name": "adamw"}, "one go"),
        ("augmentation", {"noise": 0.1}, "none"),
        ("ensemble", {"networks": 3}, "networks = 1"),
        ("views", {"mirrored": ["left-right"]}, "mirrored = "),
    ],
)
def test_what_cannot_be_done_with_frozen_features_is_refused(part, values, word):
    parts = choose(TASK, PICTURES, network="features", seed=0)
    starts_rules.check(parts)
    with pytest.raises(RunError, match=word):
        starts_rules.check({**parts, part: {**parts[part], **values}})


def test_without_the_extra_the_network_is_refused_with_what_to_install(monkeypatch):
    monkeypatch.setattr(starts, "available", lambda: ())
    with pytest.raises(RunError, match=r"overread\[starts\]"):
        choose(TASK, PICTURES, network="features", seed=0)


@needed
@pytest.mark.slow
def test_a_run_on_features_is_a_run_like_any_other(archive, tmp_path):
    """Trained, exported, calibrated, measured; the card names whose weights they are, and the map is the answer."""
    pytest.importorskip("keras")
    import json

    from overread.learn.predict import Model
    from overread.learn.saliency import grad_cam
    from overread.steps.train import train
    from overread.store.archive import Archive

    run = train(archive, label="blob", network="features", out=tmp_path / "run", baseline=False, progress=False)
    card = json.loads((run.path / "card.json").read_text())
    assert "Apache-2.0" in card["network"]["start"] and "ImageNet" in card["network"]["start"]
    assert (run.path / "gradient.onnx").exists() and 'name = "features"' in (run.path / "plan.toml").read_text()
    model = Model.load(run.path)
    with Archive.open(archive) as store:
        image = store.image(next(iter(store.images())).hash)
    assert np.isfinite(model.logits([image])).all()
    assert grad_cam(model, image, "blob").shape == image.voxels.shape[:3]
