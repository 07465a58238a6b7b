"""What stands in two cohorts is counted right, by every road; what does not, is not."""

from __future__ import annotations

import numpy as np
import pytest

from overread.domain import Study
from overread.stats.certificate import (
    NONE,
    Copies,
    conflicts,
    kept_together,
    least_likeness,
    overlaps,
    touched,
    within,
)

TRAIN = [("a", "S1", "P1"), ("b", "S2", "P2"), ("c", "S3", None), ("c2", "S4", "P4")]
TEST = [("d", "S5", "P1"), ("e", "S2", "P6"), ("c", "S7", None), ("f", "S8", "P8"), ("g", "S9", "P9")]
NEAR = Copies({"c": "c", "c2": "c"}, {"c": "c", "c2": "c", "a": "a", "f": "a"})


def test_each_road_of_a_leak_is_counted_by_itself():
    found = overlaps({"training": TRAIN, "testing": TEST}, NEAR)
    assert found == {"training|testing": {"patients": 1, "studies": 1, "exact": 1, "near": 1}}
    assert overlaps({"training": TRAIN, "testing": TEST}) == {
        "training|testing": {"patients": 1, "studies": 1, "exact": 1, "near": None}
    }


def test_two_patients_of_whom_nothing_is_known_are_not_one():
    found = overlaps({"training": [("a", "S1", None)], "testing": [("b", "S2", None)]}, Copies({}, {}))
    assert found["training|testing"] == {"patients": 0, "studies": 0, "exact": 0, "near": 0}
    assert touched([("b", "S2", None)], {"training": [("a", "S1", None)]}) == {}


def test_every_pair_of_cohorts_is_named_in_the_order_of_their_use():
    cohorts = {c: [(c, c, c)] for c in ("testing", "calibration", "training", "tuning")}
    assert list(overlaps(cohorts)) == [
        "training|tuning", "training|calibration", "training|testing",
        "tuning|calibration", "tuning|testing", "calibration|testing",
    ]  # fmt: skip


def test_what_is_left_out_is_told_with_the_first_reason_and_where_its_twin_stands():
    found = touched(TEST, {"training": TRAIN, "tuning": [("f", "S20", "P20")]}, NEAR)
    assert found == {
        ("d", "S5"): "the same patient stands in training",
        ("e", "S2"): "the same study stands in training",
        ("c", "S7"): "the same picture stands in training",
        ("f", "S8"): "the same picture stands in tuning",
    }


def test_an_exact_copy_is_not_counted_again_as_a_near_one():
    assert within(TRAIN, NEAR) == {"exact": 1, "near": 0}
    assert within([*TRAIN, ("f", "S8", None)], NEAR) == {"exact": 1, "near": 1}
    assert within(TRAIN) == {"exact": 0, "near": None}  # the hashes differ, and nobody compared the pixels


def test_groups_of_several_studies_on_one_side_are_counted():
    assert kept_together({"training": TRAIN, "testing": TEST}, NONE) == 0
    assert kept_together({"training": [*TRAIN, ("f", "S8", "P8")], "testing": []}, NEAR) == 2  # c with c2, a with f


def test_the_same_picture_under_two_answers_is_a_conflict_also_as_a_near_copy():
    def study(name, images, answer):
        return Study(name, images, labels={"mass": answer, "other": None})

    same = [study("S1", ("a",), True), study("S2", ("a",), True)]
    assert conflicts(same, ["mass", "other"], NEAR) == []
    near = [*same, study("S3", ("f",), False)]
    assert conflicts(near, ["mass"], NONE) == []
    (one,) = conflicts(near, ["mass"], NEAR)
    assert one == {"label": "mass", "answers": ["no", "yes"], "images": ["a", "f"], "studies": ["S1", "S2", "S3"]}
    several = [study("S1", ("a", "b"), True), study("S2", ("a",), False)]
    assert conflicts(several, ["mass"], NEAR) == []  # which picture of the first the label is about is not said


@pytest.mark.parametrize("spread", [0.05, 0.2, 0.35])
def test_chance_alone_brings_no_pair_over_the_limit(spread):
    """Simulated archives whose different pictures are more or less alike: pairs by chance are as rare as promised."""
    rng, over = np.random.default_rng(1), 0
    n = 300
    for _ in range(60):
        alike = np.tanh(rng.normal(0.4, spread, n * (n - 1) // 2))
        limit = least_likeness(rng.choice(alike, 20_000), pictures=n, least=0.5)
        over += int((alike >= limit).sum())
    assert over / 60 < 0.3  # 0.05 expected


def test_few_pictures_are_judged_by_the_ordinary_limit():
    assert least_likeness(np.array([0.99] * 3), pictures=3, least=0.92) == 0.92
    assert least_likeness(np.zeros(0), pictures=1, least=0.92) == 0.92
