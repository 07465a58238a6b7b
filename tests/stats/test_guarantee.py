import numpy as np
import pytest
from scipy.stats import beta, binom, norm

from overread.stats.guarantee import fewest_patients, promised_threshold, sensitivity_by_patient, too_much
from overread.stats.metrics import binary_figures
from overread.stats.resample import cases


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


def uneven(rng, n):
    """Half of the patients have one easy image, half have ten harder ones."""
    images = np.where(np.arange(n) % 2 == 0, 1, 10)
    scores = rng.normal(np.where(images == 1, 4.0, 1.5).repeat(images), 1)
    return scores, [str(i) for i in np.arange(n).repeat(images)]


def test_the_promise_is_about_the_mean_over_patients_where_those_with_many_images_are_the_harder_ones():
    """Both sensitivities of a threshold are known: what is promised holds, and the pooled one is another quantity."""
    rng = np.random.default_rng(5)
    by_patient, pooled = [], []
    for _ in range(60):
        scores, who = uneven(rng, 400)
        told = promised_threshold(scores, np.ones(len(scores)), who)
        easy, hard = true_sensitivity(told["threshold"], 4.0), true_sensitivity(told["threshold"])
        by_patient.append((easy + hard) / 2)
        pooled.append((easy + 10 * hard) / 11)
        assert "a patient's images with it, averaged over new patients" in told["in_words"]
    assert np.mean(np.array(by_patient) < 0.95) <= 0.1 + 3 * np.sqrt(0.09 / 60)
    assert np.mean(np.array(pooled) < 0.95) > 0.7  # judged by this, a promise that holds would be called broken


def test_what_is_judged_is_what_was_promised():
    """Its interval holds the mean over patients, which is known, and not the pooled sensitivity."""
    rng = np.random.default_rng(6)
    threshold = 0.4
    easy, hard = true_sensitivity(threshold, 4.0), true_sensitivity(threshold)
    held, pooled = [], []
    for _ in range(300):
        scores, who = uneven(rng, 300)
        found = binary_figures(np.ones(len(scores)), scores, threshold=threshold, patients=who)[
            "sensitivity_by_patient"
        ]
        held.append(found.low <= (easy + hard) / 2 <= found.high)
        pooled.append(found.low <= (easy + 10 * hard) / 11 <= found.high)
    assert np.mean(held) >= 0.93
    assert np.mean(pooled) < 0.5  # a figure that pools would not pass


def test_with_one_image_a_patient_it_is_the_sensitivity():
    rng = np.random.default_rng(7)
    y, p = np.r_[np.ones(80), np.zeros(40)], rng.random(120)
    figures = binary_figures(y, p, threshold=0.3, patients=[str(i) for i in range(120)])
    assert figures["sensitivity_by_patient"] == figures["sensitivity"]
    assert np.isnan(sensitivity_by_patient(cases(np.zeros(5), np.zeros(5)), np.ones(5, bool)).value)
