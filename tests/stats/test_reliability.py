import numpy as np
import pytest
from scipy import stats
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from overread.stats.reliability import reliability
from overread.stats.resample import cases


def drawn(r, n, *, slope=0.7, intercept=0.4, images=1):
    """Truth drawn so that the probabilities told have a known slope and, at slope 1, a known shift."""
    z = r.normal(0, 1.5, n)
    y = (r.random(n) < expit(intercept + slope * z)).astype(float)
    return y.repeat(images), expit(z).repeat(images), [str(i) for i in np.arange(n).repeat(images)]


def test_the_slope_agrees_with_scikit_learn():
    y, p, _ = drawn(np.random.default_rng(0), 800)
    other = LogisticRegression(C=np.inf, tol=1e-10).fit(np.log(p / (1 - p))[:, None], y)
    told = reliability(cases(y, p))
    assert told["slope"].value == pytest.approx(other.coef_[0, 0], abs=1e-5)


def test_the_intercept_makes_the_expected_number_the_observed():
    y, p, _ = drawn(np.random.default_rng(1), 800)
    a = reliability(cases(y, p))["intercept"].value
    assert expit(np.log(p / (1 - p)) + a).sum() == pytest.approx(y.sum())


@pytest.mark.parametrize("images", [1, 3])
def test_both_intervals_hold_the_truth_19_times_of_20(images):
    y, p, _ = drawn(np.random.default_rng(2), 400_000)
    shift = reliability(cases(y, p))["intercept"].value
    held = np.zeros(2)
    for seed in range(1000):
        r = np.random.default_rng(seed)
        told = reliability(cases(*drawn(r, 300, images=images)))
        held += [
            told["slope"].low <= 0.7 <= told["slope"].high,
            told["intercept"].low <= shift <= told["intercept"].high,
        ]
    assert (held / 1000 >= 0.93).all() and (held / 1000 <= 0.97).all()


def test_few_cases_and_one_probability_have_no_line():
    told = reliability(cases([1, 0] * 4, np.linspace(0.1, 0.9, 8)))
    assert np.isnan(told["slope"].value) and "fewer than 5" in told["slope"].method
    flat = reliability(cases([1, 0] * 40, np.full(80, 0.5)))
    assert "one probability" in flat["intercept"].method
    apart = reliability(cases([1] * 20 + [0] * 20, np.r_[np.full(20, 0.9), np.full(20, 0.1)]))
    assert "do not overlap" in apart["slope"].method


def test_the_errors_are_those_of_a_second_author_though_patients_have_several_images():
    """statsmodels 0.15.0: GEE, independence, ``cov_type="bias_reduced"``, groups by patient, on the same numbers."""
    r = np.random.default_rng(12)
    who = np.repeat(np.arange(80), r.integers(1, 5, 80))
    own = r.normal(size=80)[who]
    x = own + r.normal(size=len(who))
    y = (r.random(len(who)) < expit(0.3 + 0.8 * x + 0.5 * own)).astype(int)
    told = reliability(cases(y, expit(x), [str(i) for i in who]))
    for name, value, error in (("slope", 0.74098826, 0.13007279), ("intercept", 0.44160608, 0.17874631)):
        e = told[name]
        assert e.value == pytest.approx(value, abs=1e-6)
        assert (e.high - e.low) / 2 / stats.t.ppf(0.975, 79) == pytest.approx(error, rel=0.02), name
