"""The gap between subgroups is told in patients, also where a patient is in both."""

from __future__ import annotations

import numpy as np
import pytest

from overread.domain import Task
from overread.stats.splits import Split
from overread.steps.scores import Question, Scores
from overread.steps.subgroups import groups_of, told_of

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


def graded(*, patients=80, kind="ordinal"):
    """One image a patient; grades are read worse in men, and 10 patients come from a small site."""
    r = np.random.default_rng(3)
    level = r.integers(0, 3, patients)
    man = np.arange(patients) % 2 == 1
    p = np.exp(np.where(man, 0.0, 2.0)[:, None] * np.eye(3)[level] + r.normal(size=(patients, 3)))
    p /= p.sum(1, keepdims=True)
    names = ("grade=0", "grade=1", "grade=2")
    task = Task(labels=names, kind=kind, name="grade")
    how = Question(task, Split({"training": (), "tuning": (), "calibration": (), "testing": ()}), {}, 0)
    entries = tuple(("testing", f"{i:04}", f"S{i}", f"P{i}") for i in range(patients))
    strata = {f"S{i}": {"sex": "M" if man[i] else "F", "site": "small" if i < 10 else "large"} for i in range(patients)}
    return Scores(entries, np.eye(3)[level], p), p, how, strata


class Told:
    """What `groups_of` reads of a study."""

    def __init__(self, strata):
        self.strata = strata


def rows_of(**how_many):
    scores, p, how, strata = graded(**how_many)
    groups = groups_of(scores, {study: Told(of) for study, of in strata.items()}, how.task)
    why = {"grade": np.array(["" if i % 4 else "too-close" for i in range(len(p))])}
    ticks = []
    rows = told_of(scores, p, groups, how, why=why, tick=lambda: ticks.append(1))
    assert len(ticks) == len(groups) * len(how.task.labels)
    return {(row["stratum"], row["value"]): row for row in rows}


def test_a_label_with_several_levels_has_subgroups_with_gaps_and_too_few_to_say():
    rows = rows_of()
    assert list(rows) == [("sex", "F"), ("sex", "M"), ("site", "large"), ("site", "small")]
    women, men = rows["sex", "F"], rows["sex", "M"]
    for name in ("auroc", "accuracy", "kappa_quadratic"):
        assert women[name].value > men[name].value and women["gap"][name].low > 0
        assert women["gap"][name].value == pytest.approx(women[name].value - men[name].value)
    assert not women["few"] and women["label"] == "grade"
    assert rows["site", "small"]["few"] and rows["site", "large"]["gap"] == {}
    assert {way: part["accuracy"].n for way, part in men["three_ways"].items()} == {"answered": 40, "referred": 0}
    assert women["three_ways"]["referred"]["few"] and women["three_ways"]["referred"]["accuracy"].n == 20


def test_without_an_order_there_is_no_kappa():
    assert "kappa_quadratic" not in rows_of(kind="multiclass")["sex", "F"]
