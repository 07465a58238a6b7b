"""Probabilities that mean what they say, found on calibration cases alone."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize
from scipy.special import expit, log_softmax, softmax

from overread.stats import calibration
from overread.stats.calibration import Calibration, fit, operating_point


def rng(seed=0):
    return np.random.default_rng(seed)


def test_the_curve_that_made_the_answers_is_found_again():
    z = rng(1).normal(size=8_000) * 4
    y = (rng(2).random(8_000) < expit(0.4 * z - 1)).astype(float)
    c = fit(z[:, None], y, None, kind="binary", rng=rng())
    assert c.slope[0] == pytest.approx(0.4, rel=0.06) and c.intercept[0] == pytest.approx(-1, abs=0.08)
    assert c.method == "slope and intercept" and "a temperature alone does not fit" in c.in_words[0]


def test_the_temperature_that_made_the_answers_is_found_again():
    z = rng(6).normal(size=(6000, 4)) * 2
    y = np.array([rng(i).choice(4, p=p) for i, p in enumerate(softmax(z, axis=1))])
    c = fit(3 * z, np.eye(4)[y], None, kind="multiclass", rng=rng())
    assert 1 / c.slope[0] == pytest.approx(3, rel=0.06) and c.method == "temperature"
    e = 1 / 6001
    aim = (1 - e) * np.eye(4)[y] + e / 4

    def loss(s):
        return -(aim * log_softmax(3 * z * s, axis=1)).sum()

    assert c.slope[0] == pytest.approx(optimize.minimize_scalar(loss, bounds=(0.01, 2), method="bounded").x, abs=1e-4)


def test_the_interval_of_a_probability_covers_the_curve_about_19_times_in_20():
    held = 0
    for s in range(120):
        g = rng(s)
        z = g.normal(size=150) * 2
        y = (g.random(150) < expit(0.8 * z - 0.5)).astype(float)
        low, high = fit(z[:, None], y, None, kind="binary", rng=g).interval(np.array([[1.0]]))[0, 0]
        held += low <= expit(0.3) <= high
    assert held / 120 > 0.87


def test_patients_widen_the_interval():
    z, y = rng(7).normal(size=60), rng(8).integers(0, 2, 60).astype(float)
    z, y, people = np.repeat(z, 8), np.repeat(y, 8), np.repeat([f"P{i}" for i in range(60)], 8).tolist()
    widths = []
    for who in (None, people):
        low, high = fit(z[:, None], y, who, kind="binary", rng=rng()).interval(np.array([[0.5]]))[0, 0]
        widths.append(high - low)
    assert widths[1] > 1.8 * widths[0]


def test_separable_scores_do_not_overflow_and_are_not_certainty():
    z = np.r_[np.linspace(-5000, -1000, 40), np.linspace(1000, 5000, 40)]
    with np.errstate(all="raise", under="ignore"):
        c = fit(z[:, None], (z > 0).astype(float), None, kind="binary", rng=rng())
        p = c.probabilities(np.array([[1e6], [-1e6], [1000.0]]))
    assert np.isfinite(p).all() and 0.7 < p[2, 0] < 1
    levels = np.repeat(np.eye(3) * 2000, 20, axis=0)
    several = fit(levels, np.repeat(np.eye(3), 20, axis=0), None, kind="multiclass", rng=rng())
    assert np.isfinite(several.interval(levels)).all() and several.probabilities(levels).max() < 1


def test_scores_that_rank_backwards_are_not_turned_round():
    z = rng(9).normal(size=300)
    c = fit(z[:, None], (rng(10).random(300) < expit(-2 * z)).astype(float), None, kind="binary", rng=rng())
    assert c.slope[0] == pytest.approx(1e-3) and "do not rank" in c.notes[0]


@pytest.mark.parametrize(("n", "truth"), [(10, "mixed"), (100, "one")])
def test_too_little_to_learn_from_is_said(n, truth):
    y = np.arange(n) % 2 if truth == "mixed" else np.ones(n)
    c = fit(rng().normal(size=(n, 1)), y.astype(float), None, kind="binary", rng=rng())
    assert c.slope == (1.0,) and c.intercept == (0.0,) and c.notes[0].startswith("not calibrated")
    assert c.interval(np.array([[2.0]])).tolist() == [[[0.0, 1.0]]]


def test_unknown_truth_of_one_label_leaves_the_other_alone():
    z, y = rng(11).normal(size=(200, 2)), rng(12).integers(0, 2, (200, 2)).astype(float)
    y[50:, 1] = np.nan
    both = fit(z, y, None, kind="multilabel", rng=rng())
    first = fit(z[:, :1], y[:, :1], None, kind="binary", rng=rng())
    assert both.slope[0] == pytest.approx(first.slope[0]) and both.n == 200


@pytest.mark.parametrize(("kind", "outputs"), [("binary", 1), ("multilabel", 3), ("ordinal", 3)])
def test_a_calibration_read_back_gives_the_same_bytes_alone_or_together(kind, outputs):
    z, y = rng(13).normal(size=(120, outputs)), rng(14).integers(0, 2, (120, outputs)).astype(float)
    y = np.eye(outputs)[rng(15).integers(0, outputs, 120)] if kind == "ordinal" else y
    c = fit(z, y, [f"P{i // 2}" for i in range(120)], kind=kind, rng=rng())
    back = Calibration.from_json(json.loads(json.dumps(c.to_json())))
    assert back == c and c.n_patients == 60
    assert np.array_equal(back.interval(z), c.interval(z))
    assert np.array_equal(c.interval(z[5:6])[0], c.interval(z)[5])
    low, high = np.moveaxis(c.interval(z), -1, 0)
    assert (low <= c.probabilities(z)).all() and (c.probabilities(z) <= high).all()


@given(st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=1, max_size=60), st.floats(0.05, 1))
def test_the_operating_point_is_the_largest_threshold_that_keeps_the_promise(cases, wanted):
    p, y = np.array([v / 20 for v, _ in cases]), np.array([float(t) for _, t in cases])
    point = operating_point(p, y, sensitivity=wanted)
    if not y.any():
        assert point["threshold"] == 0.5 and point["achieved"] is None
        return
    reached = {t: (p[y == 1] >= t).mean() for t in np.unique(p)}
    kept = [t for t, s in reached.items() if s >= wanted - 1e-9]
    assert point["threshold"] == max(kept) and point["achieved"] == reached[max(kept)]


def test_few_positives_are_mentioned_in_the_rule():
    rule = operating_point(np.linspace(0, 1, 20), np.arange(20) > 9)["rule"]
    assert "10 positive cases" in rule and "known poorly" in rule


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="kind 'other'"):
        calibration.fit(np.zeros((3, 1)), np.zeros(3), None, kind="other", rng=rng())
