"""The line on frozen features against scikit-learn, against closed forms, and on cohorts whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from overread.learn import linear_head


def cohort(n=120, d=300, seed=0, signal=1.5):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d)) * rng.uniform(0.1, 3, d) + rng.normal(size=d)
    z = signal * (x[:, :5] - x[:, :5].mean(0)) @ np.array([1.0, -1, 1, -1, 1]) / x[:, :5].std()
    return x, (z + rng.logistic(size=n) > 0).astype(float)[:, None]


@pytest.mark.parametrize("shape", [(60, 200), (200, 30)])
@pytest.mark.parametrize("penalty", [1e-3, 1e-1])
def test_a_line_is_scikit_learns(shape, penalty):
    """More features than cases and fewer: the same minimum, found by another author in the whole space."""
    x, y = cohort(*shape)
    (line,) = linear_head.path(x, y, several=False, penalties=[penalty])
    z = (x - x.mean(0)) / x.std(0) / np.sqrt(x.shape[1])
    other = LogisticRegression(C=1 / (penalty * len(x)), tol=1e-10, max_iter=20_000).fit(z, y[:, 0])
    np.testing.assert_allclose(line.logits(x)[:, 0], other.decision_function(z), atol=2e-3)


def test_levels_are_scikit_learns():
    x, _ = cohort(90, 40)
    y = np.eye(3)[np.random.default_rng(1).integers(0, 3, 90)]
    (line,) = linear_head.path(x, y, several=True, penalties=[0.01])
    z = (x - x.mean(0)) / x.std(0) / np.sqrt(x.shape[1])
    other = LogisticRegression(C=1 / (0.01 * 90), tol=1e-10, max_iter=20_000).fit(z, y.argmax(1))

    def shares(logits):
        p = np.exp(logits - logits.max(1, keepdims=True))
        return p / p.sum(1, keepdims=True)

    np.testing.assert_allclose(shares(line.logits(x)), other.predict_proba(z), atol=1e-3)


def test_with_a_crushing_penalty_only_the_share_of_yes_is_left():
    x, y = cohort()
    (line,) = linear_head.path(x, y, several=False, penalties=[1e6])
    share = y.mean()
    np.testing.assert_allclose(line.logits(x), np.log(share / (1 - share)), atol=1e-3)


def test_an_unknown_answer_costs_nothing():
    x, y = cohort()
    known, unknown = np.arange(100), np.arange(100, 120)
    hidden = y.copy()
    hidden[unknown] = -1.0
    a = linear_head._fit(x[known][:, :5], y[known], 0.1, False, None, np.zeros(6))
    b = linear_head._fit(x[:, :5], np.where(hidden < 0, np.nan, hidden), 0.1, False, None, np.zeros(6))
    np.testing.assert_allclose(a, b, atol=1e-4)


def test_a_yes_that_weighs_twice_is_a_yes_that_comes_twice():
    x, y = cohort(80, 5)
    twice = np.concatenate([np.arange(80), np.flatnonzero(y[:, 0] == 1)])
    a = linear_head._fit(x, y, 0.0, False, np.array([2.0]), np.zeros(6))
    b = linear_head._fit(x[twice], y[twice], 0.0, False, None, np.zeros(6))
    np.testing.assert_allclose(a, b, atol=1e-3)


def test_the_slope_is_the_costs_own():
    rng = np.random.default_rng(0)
    z, soft = rng.normal(size=(7, 3)), rng.dirichlet(np.ones(3), 7)
    yes = rng.integers(0, 2, (7, 3)).astype(float)
    yes[0, 0] = np.nan
    for several, y, weight in ((True, soft, None), (False, yes, np.array([1.0, 3.0, 0.5]))):
        slope = linear_head._loss_and_slope(z, y, several, weight)[1]
        step = 1e-6
        for i, j in np.ndindex(z.shape):
            more, less = z.copy(), z.copy()
            more[i, j] += step
            less[i, j] -= step
            up, down = (linear_head._loss_and_slope(v, y, several, weight)[0] for v in (more, less))
            assert slope[i, j] == pytest.approx((up - down) / (2 * step), abs=1e-8)


def test_a_constant_feature_has_no_weight():
    x, y = cohort(50, 8)
    x[:, 2] = 7.0
    (line,) = linear_head.path(x, y, several=False, penalties=[0.01])
    assert line.kernel[2, 0] == 0 and np.isfinite(line.kernel).all()


def test_patients_are_never_on_both_sides_and_each_part_has_its_share():
    rng = np.random.default_rng(0)
    who = np.repeat(np.arange(60), rng.integers(1, 6, 60))
    y = np.isin(who, rng.choice(60, 6, replace=False)).astype(float)[:, None]
    seen = []
    for train, test in linear_head.folds(y, who, rng=rng, repeats=2):
        assert not set(who[train]) & set(who[test]) and len(train) + len(test) == len(who)
        assert 1 <= len(set(who[test][y[test, 0] == 1])) <= 2  # 6 patients with it over five parts
        seen.append(test)
    assert np.bincount(np.concatenate(seen)).tolist() == [2] * len(who)
    assert not all(np.array_equal(a, b) for a, b in zip(seen[:5], seen[5:], strict=True))


def test_the_penalty_grows_as_the_truth_gets_fainter():
    faint, clear = (
        np.median(
            [
                linear_head.choose(
                    *cohort(seed=s, signal=signal), several=False, groups=range(120), rng=np.random.default_rng(s)
                ).penalty
                for s in range(5)
            ]
        )
        for signal in (0.0, 6.0)
    )
    assert faint > 10 * clear


def test_penalties_chosen_by_image_instead_of_patient_are_too_small():
    """The twin of choosing by patient: with copies of each patient on both sides the line is shrunk far too little."""
    rng = np.random.default_rng(3)
    x, y = cohort(40, 200, seed=3, signal=1.0)
    who = np.repeat(np.arange(40), 6)
    many, answers = x[who] + 0.02 * rng.normal(size=(240, 200)), y[who]
    by_patient, by_image = (
        linear_head.choose(many, answers, several=False, groups=g, rng=np.random.default_rng(0)).penalty
        for g in (who, range(240))
    )
    assert by_image < 0.1 * by_patient
