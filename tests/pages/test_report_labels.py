"""What a report says of a label is no more than its figures hold."""

from __future__ import annotations

import pytest

from overread.pages.plots import told
from overread.pages.report import headline
from overread.pages.report_labels import alarms, elsewhere, natural, promise, sets_told


def figure(value, low, high, n=100):
    return {"value": value, "low": low, "high": high, "n": n, "n_patients": n, "method": "Wilson"}


def point(specificity=0.8):
    return {
        "threshold": 0.4,
        "rule": "largest threshold",
        "cohort": "calibration",
        "specificity": specificity,
        "promise": {"threshold": 0.4, "sensitivity": 0.95},
    }


def evaluation(*, sensitivity, specificity, floors=None):
    figures = {
        "auroc": figure(0.9, 0.87, 0.93),
        "sensitivity": sensitivity,
        "specificity": specificity,
        "confusion": {"tp": 1, "fp": 1, "fn": 1, "tn": 1},
    }
    return {
        "name": "mass",
        "task": {"labels": ["mass"], "name": "mass"},
        "apart": True,
        "labels": {"mass": figures},
        "operating_points": {"mass": point()},
        "floors": floors or {},
    }


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (figure(0.98, 0.96, 0.99), "the promise was kept"),
        (figure(0.98, 0.90, 0.99), "not contradicted"),
        (figure(0.93, 0.90, 0.96), "not contradicted"),
        (figure(0.80, 0.75, 0.85), "the promise was not kept"),
    ],
)
def test_a_promise_was_kept_only_where_the_whole_interval_keeps_it(found, said):
    assert said in promise(point(), {"sensitivity": found})


def test_an_alarm_stands_where_the_specificity_fell_and_none_where_it_may_not_have():
    fell = alarms(evaluation(sensitivity=figure(0.98, 0.96, 0.99), specificity=figure(0.6, 0.55, 0.65)))
    assert fell == [
        "mass: more false alarms than on the calibration cohort: the specificity fell from 0.80 to 0.60 (0.55–0.65)."
    ]
    assert alarms(evaluation(sensitivity=figure(0.98, 0.96, 0.99), specificity=figure(0.75, 0.68, 0.81))) == []
    both = alarms(evaluation(sensitivity=figure(0.8, 0.75, 0.85), specificity=figure(0.6, 0.55, 0.65)))
    assert len(both) == 2 and "not kept" in both[0]


def test_so_many_of_a_hundred_are_rounded_outward():
    none = figure(None, None, None)
    figures = {"sensitivity": figure(0.9, 0.856, 0.934), "specificity": none, "ppv": none, "npv": none}
    assert natural(figures) == ["Of 100 images with it, about 90 are found (85 to 94)."]
    there = {"prevalence": 0.02, "ppv": figure(0.2, 0.158, 0.251), "npv": figure(0.9975, 0.9958, 0.9991)}
    assert "about 20 (15 to 26)" in elsewhere(there)[0] and "about 998 (995 to 1,000)" in elsewhere(there)[0]


def test_the_headline_is_held_against_the_small_network_too():
    how = {"sensitivity": figure(0.9, 0.85, 0.95), "specificity": figure(0.9, 0.85, 0.95)}
    thumbnails = {"nearest_thumbnail": {"mass": {"auroc": figure(0.7, 0.65, 0.75)}}}
    assert "clearly above" in headline(evaluation(**how, floors=thumbnails))
    small = {"simple-cnn": {"mass": {"auroc": figure(0.91, 0.88, 0.94)}}}
    said = headline(evaluation(**how, floors=thumbnails | small))
    assert "no better than" in said and "simple-cnn: 0.910" in said


def sets(*, held, chance, behind=50):
    return {
        "coverage": 0.9,
        "covered": {"absent": held, "present": figure(0.95, 0.91, 0.98)},
        "by_chance": {"absent": chance, "present": 0.7},
        "calibration_patients": {"absent": behind, "present": 60},
        "sizes": [1, 90, 9],
        "one_left": 0.9,
    }


@pytest.mark.parametrize(
    ("held", "chance", "said", "loud"),
    [
        (figure(0.39, 0.33, 0.45), 1e-9, "the promise does not hold here: exchangeability is broken", True),
        (figure(0.80, 0.75, 0.85), 0.2, "with 11 calibration patients that can be chance (p = 0.2)", False),
        (figure(0.88, 0.83, 0.92), 0.3, "not contradicted", False),
        (figure(0.97, 0.94, 0.99), 0.9, "kept", False),
        (figure(None, None, None, n=0), 1.0, "no such case", False),
    ],
)
def test_a_broken_promise_of_the_sets_is_said_loudly_and_bad_luck_is_not_called_broken(held, chance, said, loud):
    found = sets(held=held, chance=chance, behind=11)
    row = sets_told(found)["rows"][0]
    assert said in row["says"] and row["broken"] == loud
    assert row["cells"][0] == "90\xa0%" and row["cells"][1] == told(held, 2)
    e = evaluation(sensitivity=figure(0.98, 0.96, 0.99), specificity=figure(0.9, 0.85, 0.95))
    before = alarms({**e, "sets": {"mass": found}})
    assert any("Exchangeability is broken" in line and "absent 0.39 (0.33–0.45)" in line for line in before) == loud
