"""What is learned on held-out cohorts knows how the network was trained."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.special import softmax

from overread.domain import Task
from overread.learn.predict import Model
from overread.stats import conformal
from overread.stats.calibration import Calibration
from overread.stats.curves import positive_weights
from overread.stats.splits import Split
from overread.steps.held_out import Held, calibrate
from overread.steps.question import truth
from overread.store.archive import Archive


def test_calibration_takes_off_what_the_training_of_this_run_weighed(run, archive):
    plan = json.loads((run / "plan.json").read_text())
    split = Split.from_json(json.loads((run / "split.json").read_text()))
    task = Task(**{**plan["task"], "labels": tuple(plan["task"]["labels"])})
    with Archive.open(archive) as store:
        studies = {s.pseudonym: s for s in store.studies()}
    known = truth([studies[study] for _, study, _ in split.cohorts["training"]], task)
    calibration = Model.load(run).calibration
    assert plan["weigh_classes"]
    assert calibration.weights == pytest.approx(positive_weights(known).tolist())
    if calibration.methods != ("slope and intercept",):
        assert calibration.intercept[0] == pytest.approx(-np.log(calibration.weights[0]))


def test_the_comparison_with_calibration_is_sealed_with_the_run(run):
    assert "exchangeability.json" in json.loads((run / "manifest.json").read_text())["files"]


def test_the_sets_of_levels_are_those_of_raw_scores_whatever_the_temperature(tmp_path):
    """Cases that taught a temperature may not judge by it; a set is learned and applied as if there were none."""
    rng = np.random.default_rng(0)
    y = rng.choice(3, size=500)
    z = 5 * (rng.normal(size=(500, 3)) + np.eye(3)[y])
    task = Task(tuple(f"class={name}" for name in "abc"), "multiclass", name="class")
    patients = [f"P{i // 2}" for i in range(250)]
    calibrate(tmp_path, Held(z[:250], np.eye(3)[y[:250]], patients), task, sensitivity=0.9, seed=0)
    kept = json.loads((tmp_path / "calibration.json").read_text())
    p = Calibration.from_json(kept["calibration"]).probabilities(z[250:])
    raw, learned = softmax(z, axis=1), conformal.Sets.from_json(kept["sets"]["class"])
    assert learned.temperature > 1.5  # there is something to take off
    assert (learned.possible(p) == conformal.fit(raw[:250], y[:250], patients).possible(raw[250:])).all()
    assert (conformal.fit(p, y[250:]).possible(p) != conformal.fit(raw[250:], y[250:]).possible(raw[250:])).any()
