"""The gap between subgroups is told in patients, also where a patient is in both."""

from __future__ import annotations

import numpy as np
import pytest

from overread.domain import Task
from overread.stats.splits import Split
from overread.steps.scores import Question, Scores
from overread.steps.subgroups import told_of

QUESTION = Question(
    Task(labels=("mass",), kind="binary", name="mass"),
    Split({"training": (), "tuning": (), "calibration": (), "testing": ()}),
    {"mass": {"threshold": 0.5}},
    0,
)


def drawn(*, patients=60, both=True):
    """Each patient twice, on an old scanner and on a new one; without ``both``, on one of them twice."""
    r = np.random.default_rng(0)
    ill = np.repeat(r.random(patients) < 0.5, 2)
    p = np.clip(0.3 + 0.4 * ill + np.repeat(r.normal(0, 0.2, patients), 2) + r.normal(0, 0.05, 2 * patients), 0, 1)
    new = np.arange(2 * patients) % 2 == 1 if both else np.arange(2 * patients) >= patients
    entries = tuple(("testing", f"{i:04}", f"S{i}", f"P{i // 2}") for i in range(2 * patients))
    groups = [("scanner", name, np.flatnonzero(new == is_new).tolist()) for name, is_new in (("old", 0), ("new", 1))]
    return Scores(entries, ill.astype(float)[:, None], p[:, None]), p[:, None], groups


def test_a_patient_on_both_scanners_is_one_patient_of_the_gap():
    old, _ = told_of(*drawn(), QUESTION, tick=lambda: None)
    for name, e in old["gap"].items():
        assert "patients in both" in e.method, name
    gap = old["gap"]
    assert gap["auroc"].n_patients == 60 == gap["sensitivity"].n_patients + gap["specificity"].n_patients
    apart, _ = told_of(*drawn(both=False), QUESTION, tick=lambda: None)
    assert apart["gap"]["auroc"].n_patients == 60 and "patients in both" not in apart["gap"]["auroc"].method


def test_the_twin_taken_for_strangers_the_same_gap_would_be_told_less_surely():
    scores, p, groups = drawn()
    paired = told_of(scores, p, groups, QUESTION, tick=lambda: None)[0]["gap"]
    renamed = tuple((c, i, s, f"{who}{int(i) % 2}") for c, i, s, who in scores.entries)  # as if each were two patients
    strangers = told_of(Scores(renamed, scores.truth, scores.logits), p, groups, QUESTION, tick=lambda: None)[0]["gap"]
    for name in paired:
        assert paired[name].value == pytest.approx(strangers[name].value)
        assert paired[name].high - paired[name].low < 0.8 * (strangers[name].high - strangers[name].low), name
