"""What is learned on held-out cohorts knows how the network was trained."""

from __future__ import annotations

import json

import numpy as np
import pytest

from overread.domain import Task
from overread.learn.predict import Model
from overread.stats.curves import positive_weights
from overread.stats.splits import Split
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
