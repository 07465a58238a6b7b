"""What is answered and what is referred add up, and the figures among the answered are of the answered alone."""

from __future__ import annotations

import numpy as np
import pytest

from overread.stats import metrics, referral
from overread.stats.conformal import Sets
from overread.stats.conformal import fit as fit_sets
from overread.stats.shares import wilson


def rng(seed=0):
    return np.random.default_rng(seed)


def test_the_account_is_that_of_the_answered_cases_counted_by_hand():
    truth = rng(1).integers(0, 2, 400).astype(float)
    p = np.clip(0.3 + 0.4 * truth + rng(2).normal(0, 0.2, 400), 0, 1)
    truth[::10] = np.nan
    between = np.stack([p - 0.08, p + 0.08], axis=1)
    why = referral.why_label(p, between, threshold=0.5)
    told = referral.three_way(truth, p, why, threshold=0.5)
    refer = (p - 0.08 < 0.5) & (p + 0.08 >= 0.5)
    known = ~np.isnan(truth)
    assert told["all"] == 360 == told["answered"] + told["referred"]
    assert told["referred"] == (refer & known).sum() > 20
    share = told["share_referred"]
    assert (share.low, share.high) == pytest.approx(wilson(told["referred"], 360))
    clear = known & ~refer
    assert told["sensitivity"].value == pytest.approx((p[clear & (truth == 1)] >= 0.5).mean())
    assert told["specificity"].value == pytest.approx((p[clear & (truth == 0)] < 0.5).mean())
    every = metrics.binary_figures(truth, p, threshold=0.5)
    assert told["sensitivity"].value > every["sensitivity"].value  # the answered are the easier ones


def test_where_nothing_was_calibrated_everything_is_referred_and_nothing_is_claimed():
    p = rng(3).uniform(size=40)
    whole = np.tile([0.0, 1.0], (40, 1))
    why = referral.why_label(p, whole, threshold=0.5)
    told = referral.three_way(rng(4).integers(0, 2, 40), p, why, threshold=0.5)
    assert told["answered"] == 0 and told["share_referred"].value == 1
    assert np.isnan(told["sensitivity"].value) and "no answered case" in told["specificity"].method


def test_levels_are_answered_by_their_own_rule():
    p = np.array([[0.5, 0.4, 0.1], [0.8, 0.1, 0.1], [0.1, 0.1, 0.8], [0.1, 0.1, 0.8]])
    between = np.stack([p - 0.1, p + 0.1], axis=-1)
    why = referral.why_levels(p, between)
    told = referral.three_way_levels([0, 0, 1, np.nan], p, why)
    assert (told["all"], told["answered"], told["referred"]) == (3, 2, 1)
    assert told["accuracy"].value == 0.5


def test_each_level_against_the_rest_is_counted_at_the_call_that_prediction_makes():
    p = rng(5).dirichlet(np.ones(3), 200)
    truth = np.eye(3)[rng(6).integers(0, 3, 200)]
    truth[::9] = np.nan
    known = ~np.isnan(truth).any(1)
    every = metrics.label_figures(
        truth, p, name="class", outputs=("a", "b", "c"), kind="multiclass", thresholds=[0.01, 0.01, 0.01],
        patients=None,
    )  # fmt: skip
    call, was = p[known].argmax(1), truth[known].argmax(1)
    for j, level in enumerate("abc"):
        found = every[level]["confusion"]
        assert found["tp"] == ((call == j) & (was == j)).sum() and found["fp"] == ((call == j) & (was != j)).sum()
        assert found["threshold"] is None  # 0.01 would have called almost every case
        assert every[level]["sensitivity"].value == pytest.approx((call[was == j] == j).mean())


@pytest.mark.parametrize(
    ("p", "limits", "why"),
    [
        (0.9, (0.5, 0.5), ""),  # present remains (1 - 0.9 is within 0.5), absent does not
        (0.5, (0.6, 0.6), "several-possible"),
        (0.5, (0.4, 0.4), "none-possible"),
        (0.35, (0.4, 0.4), "contradicted"),  # called present at 0.3, and only absent remains
        (0.1, (0.4, 0.4), ""),
    ],
)
def test_a_case_is_answered_only_when_the_answer_called_is_the_one_that_remains(p, limits, why):
    p = np.array([p])
    sets = Sets(0.9, limits, (50, 50))
    clear = np.stack([p, p], axis=1)
    assert referral.why_label(p, clear, threshold=0.3, sets=sets).tolist() == [why]
    both = referral.why_levels(np.stack([1 - p, p], 1), np.stack([np.stack([1 - p, p], 1)] * 2, -1), sets=sets)
    assert (both[0] == "") == (why in ("", "contradicted"))  # of two levels the more probable is called


def test_the_reasons_add_up_and_the_strange_come_first():
    n = 500
    truth = rng(7).integers(0, 2, n).astype(float)
    p = np.clip(0.5 + 0.25 * (truth - 0.5) + rng(8).normal(0, 0.2, n), 0, 1)
    between, strange = np.stack([p - 0.05, p + 0.05], axis=1), rng(9).random(n) < 0.1
    why = referral.why_label(p, between, threshold=0.5, sets=Sets(0.9, (0.6, 0.6), (50, 50)), unlike=strange)
    told = referral.three_way(truth, p, why, threshold=0.5)
    assert sum(told["reasons"].values()) == told["referred"]
    assert told["reasons"]["unlike"] == strange.sum() and set(told["reasons"]) <= set(referral.REASONS)


def test_answered_cases_are_right_as_often_as_the_sets_promise():
    """Of new cases with the finding at most 1 in 10 is answered with absent, and the other way round."""
    wrong = {0: [], 1: []}
    for seed in range(200):
        r = rng(seed)

        def drawn(n, r=r):
            y = (r.random(n) < 0.4).astype(int)
            return y, 1 / (1 + np.exp(-3 * (r.normal(0, 1, n) + 1.5 * y - 0.5)))

        (y, p), (new, q) = drawn(300), drawn(400)
        sets = fit_sets(np.stack([1 - p, p], 1), y)
        why = referral.why_label(q, np.stack([q, q], 1), threshold=0.5, sets=sets)
        for answer in (0, 1):
            wrong[answer].append(((why == "") & ((q >= 0.5) != answer))[new == answer].mean())
    assert max(np.mean(wrong[0]), np.mean(wrong[1])) <= 0.105
