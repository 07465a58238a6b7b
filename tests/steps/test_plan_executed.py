"""`train --plan` does what the plan says and nothing else: the same plan and seed give the same bytes."""

import csv
import json
import re

import numpy as np
import pytest

pytest.importorskip("keras")

from overread.errors import RunError
from overread.steps.plan import plan
from overread.steps.train import train


@pytest.fixture(scope="module")
def edited(archive, tmp_path_factory):
    """A plan that a person has made short: two networks of two epochs, mirrored in training and read mirrored too."""
    path = tmp_path_factory.mktemp("edited") / "plan.toml"
    plan(archive, label="blob", network="residual", out=path, progress=False)
    text = path.read_text()
    for old, new in (
        (r"epochs = \d+", "epochs = 2"),
        (r"networks = 1", "networks = 2"),
        (r"flips = \[.*\]", 'flips = ["left-right"]'),
        (r"turns = \[.*\]", "turns = []"),
        (r"mirrored = \[\]", 'mirrored = ["left-right"]'),
    ):
        text, n = re.subn(old, new, text, count=1)
        assert n == 1, old
    path.write_text(text)
    return path


@pytest.fixture(scope="module")
def together(archive, edited, tmp_path_factory):
    """The run of that plan."""
    out = tmp_path_factory.mktemp("together") / "run"
    train(archive, label="blob", plan=edited, out=out, baseline=False, progress=False)
    return out


def scores(path):
    with open(path, newline="") as sheet:
        return {(r["cohort"], r["image"], r["study"]): float(r["logit:blob"]) for r in csv.DictReader(sheet)}


def test_the_plan_is_kept_with_the_run_and_is_what_was_done(edited, together):
    import tomllib

    kept, asked = (tomllib.loads(p.read_text()) for p in (together / "plan.toml", edited))
    assert kept == asked
    done = json.loads((together / "plan.json").read_text())
    assert (done["epochs"], done["ensemble"], done["views"]) == (2, 2, ["left-right"])
    story = json.loads((together / "history.json").read_text())
    assert [(n["seed"], len(n["epochs"])) for n in story["networks"]] == [(0, 2), (1, 2)]


def test_the_answer_is_the_mean_of_the_networks_whose_own_scores_are_kept(together):
    mean = scores(together / "scores.csv")
    each = [scores(together / f"scores.seed-{seed}.csv") for seed in (0, 1)]
    assert mean.keys() == each[0].keys() == each[1].keys()
    found = np.array([[one[k] for k in mean] for one in each])
    np.testing.assert_allclose(found.mean(axis=0), list(mean.values()), atol=1e-3)
    assert np.abs(found[0] - found[1]).max() > 1e-2


def test_a_heat_map_of_several_networks_and_views_still_adds_up_to_the_answer(together, archive):
    from overread.learn.predict import Model
    from overread.store.archive import Archive

    model = Model.load(together)
    with Archive.open(archive) as store:
        image = store.image(next(store.studies()).images[0])
    ((logits, features),) = model.run_all([image])
    maps = features @ model.tail["kernel0"]
    np.testing.assert_allclose(maps.mean(axis=(0, 1)) + model.tail["bias0"], logits, atol=1e-4)


@pytest.mark.parametrize(
    "option", [{"network": "residual"}, {"seeds": 2}, {"seed": 1}, {"budget": "5m"}, {"side_matters": True}]
)
def test_nothing_is_chosen_beside_a_plan(archive, edited, tmp_path, option):
    with pytest.raises(RunError, match="beside --plan; expected the plan alone decides"):
        train(archive, label="blob", plan=edited, out=tmp_path / "r", progress=False, **option)
    assert not (tmp_path / "r").exists()


@pytest.mark.slow
def test_the_same_plan_gives_the_same_bytes_also_when_it_was_stopped_between_two_networks(
    archive, edited, together, tmp_path
):
    from overread.learn import fit as fitting

    before, calls = fitting.fit, []

    def stop_at_the_second(*args, **how):
        calls.append(how["checkpoint"].name)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return before(*args, **how)

    out = tmp_path / "again"
    fitting.fit = stop_at_the_second
    try:
        with pytest.raises(KeyboardInterrupt):
            train(archive, label="blob", plan=edited, out=out, baseline=False, progress=False)
    finally:
        fitting.fit = before
    assert calls == ["residual.npz", "residual.1.npz"]
    assert (out / "unfinished").exists()
    train(archive, label="blob", plan=edited, out=out, baseline=False, resume=True, progress=False)
    for name in (
        "model.onnx",
        "head.npz",
        "scores.csv",
        "scores.seed-0.csv",
        "scores.seed-1.csv",
        "calibration.json",
        "plan.toml",
    ):
        assert (out / name).read_bytes() == (together / name).read_bytes(), name
