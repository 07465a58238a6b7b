"""What is answered and what is referred add up, and the figures among the answered are of the answered alone."""

from __future__ import annotations

import numpy as np
import pytest

from overread.stats import metrics, referral
from overread.stats.resample import wilson


def rng(seed=0):
    return np.random.default_rng(seed)


def test_the_account_is_that_of_the_answered_cases_counted_by_hand():
    truth = rng(1).integers(0, 2, 400).astype(float)
    p = np.clip(0.3 + 0.4 * truth + rng(2).normal(0, 0.2, 400), 0, 1)
    truth[::10] = np.nan
    between = np.stack([p - 0.08, p + 0.08], axis=1)
    told = referral.three_way(truth, p, between, threshold=0.5, rng=rng())
    refer = (p - 0.08 < 0.5) & (p + 0.08 >= 0.5)
    known = ~np.isnan(truth)
    assert told["all"] == 360 == told["answered"] + told["referred"]
    assert told["referred"] == (refer & known).sum() > 20
    share = told["share_referred"]
    assert (share.low, share.high) == pytest.approx(wilson(told["referred"], 360))
    clear = known & ~refer
    assert told["sensitivity"].value == pytest.approx((p[clear & (truth == 1)] >= 0.5).mean())
    assert told["specificity"].value == pytest.approx((p[clear & (truth == 0)] < 0.5).mean())
    every = metrics.binary_figures(truth, p, threshold=0.5, rng=rng(), replicates=20)
    assert told["sensitivity"].value > every["sensitivity"].value  # the answered are the easier ones


def test_where_nothing_was_calibrated_everything_is_referred_and_nothing_is_claimed():
    p = rng(3).uniform(size=40)
    whole = np.tile([0.0, 1.0], (40, 1))
    told = referral.three_way(rng(4).integers(0, 2, 40), p, whole, threshold=0.5, rng=rng())
    assert told["answered"] == 0 and told["share_referred"].value == 1
    assert np.isnan(told["sensitivity"].value) and "no answered case" in told["specificity"].method


def test_levels_are_answered_by_their_own_rule():
    p = np.array([[0.5, 0.4, 0.1], [0.8, 0.1, 0.1], [0.1, 0.1, 0.8], [0.1, 0.1, 0.8]])
    between = np.stack([p - 0.1, p + 0.1], axis=-1)
    told = referral.three_way_levels([0, 0, 1, np.nan], p, between, rng=rng())
    assert (told["all"], told["answered"], told["referred"]) == (3, 2, 1)
    assert told["accuracy"].value == 0.5


def test_each_level_against_the_rest_is_counted_at_the_call_that_prediction_makes():
    p = rng(5).dirichlet(np.ones(3), 200)
    truth = np.eye(3)[rng(6).integers(0, 3, 200)]
    truth[::9] = np.nan
    known = ~np.isnan(truth).any(1)
    every = metrics.label_figures(
        truth, p, name="class", outputs=("a", "b", "c"), kind="multiclass", thresholds=[0.01, 0.01, 0.01],
        patients=None, rng=rng(), replicates=20,
    )  # fmt: skip
    call, was = p[known].argmax(1), truth[known].argmax(1)
    for j, level in enumerate("abc"):
        found = every[level]["confusion"]
        assert found["tp"] == ((call == j) & (was == j)).sum() and found["fp"] == ((call == j) & (was != j)).sum()
        assert found["threshold"] is None  # 0.01 would have called almost every case
        assert every[level]["sensitivity"].value == pytest.approx((call[was == j] == j).mean())
