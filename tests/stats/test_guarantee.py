import numpy as np
import pytest
from scipy.stats import beta, binom, norm

from overread.stats.guarantee import fewest_patients, promised_threshold, too_much


def true_sensitivity(threshold, mean=1.5):
    return norm.sf(threshold - mean) if threshold is not None else 1.0


@pytest.mark.parametrize("n", [60, 150])
def test_the_promise_holds_in_new_patients(n):
    """Positive scores are normal, so the sensitivity of a threshold is known; it may fall short in 1 of 10 cohorts."""
    rng = np.random.default_rng(1)
    short = [
        true_sensitivity(promised_threshold(rng.normal(1.5, 1, n), np.ones(n))["threshold"]) < 0.95 for _ in range(2000)
    ]
    assert np.mean(short) <= 0.1 + 3 * np.sqrt(0.1 * 0.9 / 2000)
    assert np.mean(short) > 0.02  # and it is not bought with a threshold that calls everybody ill


def test_the_plain_quantile_breaks_the_promise_so_this_test_can_fail():
    rng = np.random.default_rng(2)
    short = [true_sensitivity(np.quantile(rng.normal(1.5, 1, 100), 0.05, method="lower")) < 0.95 for _ in range(1000)]
    assert np.mean(short) > 0.3


def test_patients_with_several_images_are_one_witness_each():
    """Images of a patient are found or missed together: counting images would promise too much."""
    rng = np.random.default_rng(3)
    who = np.repeat(np.arange(80).astype(str), 5)

    def short(patients):
        own = rng.normal(1.5, 0.95, 80).repeat(5) + rng.normal(0, np.sqrt(1 - 0.95**2), 400)
        return true_sensitivity(promised_threshold(own, np.ones(400), patients)["threshold"]) < 0.95

    assert np.mean([short(list(who)) for _ in range(400)]) <= 0.1 + 3 * np.sqrt(0.09 / 400)
    assert np.mean([short(None) for _ in range(400)]) > 0.2


def test_it_is_the_tolerance_limit_of_the_order_statistics():
    """One image a patient: P(sensitivity at the k-th lowest ≥ t) is a beta probability (Wilks 1941)."""
    for k, n in ((0, 45), (3, 200), (9, 300)):
        assert too_much(np.r_[np.ones(k), np.zeros(n - k)], allowed=0.05) == pytest.approx(beta.cdf(0.95, n - k, k + 1))


def test_the_bound_for_shares_is_never_below_the_exact_one_for_whole_patients():
    rng = np.random.default_rng(4)
    for _ in range(50):
        n = int(rng.integers(20, 300))
        k = int(rng.integers(0, n // 20 + 1))
        nearly = np.r_[np.full(k, 1 - 1e-9), np.zeros(n - k)]
        assert too_much(nearly, allowed=0.1) >= binom.cdf(k, n, 0.1) - 1e-9


def test_too_few_patients_get_no_promise():
    n = fewest_patients(0.95)
    scores = np.linspace(0.1, 1, n)
    assert promised_threshold(scores[1:], np.ones(n - 1))["threshold"] is None
    assert promised_threshold(scores, np.ones(n))["threshold"] == pytest.approx(0.1)
    assert promised_threshold(np.array([]), np.array([]))["threshold"] is None


def test_ties_and_unknown_truth_do_not_raise_the_threshold():
    p = np.r_[np.full(50, 0.3), np.linspace(0.5, 1, 150), 0.9]
    y = np.r_[np.ones(200), np.nan]
    told = promised_threshold(p, y)
    assert told["threshold"] == pytest.approx(0.3)
    assert told["missed"] == 0
    assert told["patients"] == 200
