"""Several readers: Krippendorff's own example, readers of known skill, and intervals that hold."""

from __future__ import annotations

import numpy as np
import pytest

from overread.stats import readers

_ = -1
KRIPPENDORFF = np.array([
    [1, 2, 3, 3, 2, 1, 4, 1, 2, _, _, _],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, _, 3],
    [_, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, _],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, _],
]).T  # fmt: skip
"""Krippendorff 2011, Computing Krippendorff's Alpha-Reliability, example C: four observers, twelve units."""


def team(n=400, skills=(0.9, 0.8, 0.7), answers=2, seed=0, read=1.0):
    """Readers who are right with their own probability, and otherwise say any other answer."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, answers, n)
    said = np.stack(
        [np.where(rng.random(n) < s, truth, (truth + rng.integers(1, answers, n)) % answers) for s in skills], axis=1
    )
    return np.where(rng.random(said.shape) < read, said, -1), truth


def test_alpha_is_krippendorffs():
    assert readers.agreement(np.where(KRIPPENDORFF > 0, KRIPPENDORFF - 1, -1), 5).value == pytest.approx(
        0.743, abs=5e-4
    )


def test_two_readers_of_many_cases_have_scotts_pi():
    read, _truth = team(4000, (0.85, 0.85))
    share = np.bincount(read.ravel(), minlength=2) / read.size
    observed, chance = (read[:, 0] == read[:, 1]).mean(), (share**2).sum()
    pi = (observed - chance) / (1 - chance)
    assert readers.agreement(read, 2).value == pytest.approx(pi, abs=1e-3)


def test_readers_who_guess_agree_as_often_as_by_chance():
    read, _truth = team(3000, (0.5, 0.5, 0.5))
    assert abs(readers.agreement(read, 2).value) < 0.03


def test_the_interval_holds_the_truth_19_times_in_20():
    """Truth by the closed form: two readers right with probability s agree with probability s² + (1 − s)²."""
    s, held = 0.85, 0
    alpha = 2 * (s**2 + (1 - s) ** 2) - 1
    for seed in range(1000):
        found = readers.agreement(team(100, (s, s), seed=seed)[0], 2)
        held += found.low <= alpha <= found.high
    assert 0.93 <= held / 1000 <= 0.97


def test_a_majority_is_better_than_its_best_reader_and_ties_are_unknown():
    read, truth = team(4000, (0.8, 0.8, 0.8))
    merged = readers.merge(read, 2)
    assert (merged.answer == truth).mean() == pytest.approx(0.8**3 + 3 * 0.8**2 * 0.2, abs=0.02)
    assert not merged.divided.any()
    two = readers.merge(read[:, :2], 2)
    assert (two.answer[two.divided] == readers.UNREAD).all()
    assert two.divided.mean() == pytest.approx(2 * 0.8 * 0.2, abs=0.02)


def test_ties_go_to_the_reader_with_the_better_record_and_rightly():
    read, truth = team(2000, (0.98, 0.6, 0.65, 0.9), seed=3)
    merged = readers.merge(read, 2)
    assert merged.settled.sum() > 50
    assert (merged.answer[merged.settled] == truth[merged.settled]).mean() > 0.85
    equal, truth = team(2000, (0.7, 0.7, 0.7, 0.7), seed=3)
    assert readers.merge(equal, 2).settled.sum() < 0.2 * (readers.merge(equal, 2).divided.sum() + 1)


def test_records_find_each_readers_skill_without_the_truth():
    skills = (0.95, 0.8, 0.6)
    read, _truth = team(5000, skills, answers=3, seed=1, read=0.8)
    _p, calls = readers.records(read, 3)
    found = np.array([np.diag(c).mean() for c in calls])
    np.testing.assert_allclose(found, skills, atol=0.03)


def test_too_few_cases_settle_no_tie():
    read, _truth = team(20, (0.98, 0.6, 0.6, 0.9))
    assert not readers.merge(read, 2).settled.any()


@pytest.mark.parametrize(
    "read", [np.full((4, 2), -1), np.array([[0, -1], [1, -1]]), np.zeros((5, 2), int), np.zeros((0, 2), int)]
)
def test_nothing_to_compare_is_said_so(read):
    found = readers.agreement(read, 2)
    assert str(found) == "not defined" and found.method
