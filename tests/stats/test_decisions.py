import numpy as np
import pytest
from sklearn.metrics import matthews_corrcoef

from overread.stats.decisions import decision_curve, likelihood_ratios, matthews, predictive_values
from overread.stats.resample import cases


def rng(seed=0):
    return np.random.default_rng(seed)


def called(r, n, *, se=0.8, sp=0.7, share=0.4, images=1):
    """Calls with known sensitivity and specificity; images of a patient are called together."""
    y = (r.random(n) < share).astype(int)
    call = np.where(y == 1, r.random(n) < se, r.random(n) >= sp)
    y, call = y.repeat(images), call.repeat(images).astype(bool)
    return cases(y, call.astype(float), [str(i) for i in np.arange(n).repeat(images)]), call


@pytest.mark.parametrize("images", [1, 3])
def test_intervals_of_likelihood_ratios_hold_the_truth_19_times_of_20(images):
    truth = (0.8 / 0.3, 0.2 / 0.7)
    held = np.zeros(2)
    for seed in range(500):
        r = rng(seed)
        c, call = called(r, 250, images=images)
        for j, e in enumerate(likelihood_ratios(c, call)):
            held[j] += e.low <= truth[j] <= e.high
    assert (held / 500 >= 0.925).all() and (held / 500 <= 0.975).all()


def test_counting_images_as_witnesses_breaks_the_coverage_so_the_test_can_fail():
    held = 0
    for seed in range(300):
        r = rng(seed)
        c, call = called(r, 250, images=3)
        alone = cases(c.truth, c.score)
        plus, _ = likelihood_ratios(alone, call)
        held += plus.low <= 0.8 / 0.3 <= plus.high
    assert held / 300 < 0.85


def test_empty_cells_have_an_interval_and_an_honest_value():
    c = cases([1, 1, 1, 0, 0, 0], np.zeros(6))
    plus, minus = likelihood_ratios(c, np.array([1, 1, 0, 0, 0, 0], bool))
    assert plus.value == np.inf and np.isfinite(plus.low)
    assert minus.value == pytest.approx(1 / 3)
    gone, _ = likelihood_ratios(cases([1, 1], np.zeros(2)), np.array([True, False]))
    assert np.isnan(gone.value) and "not defined" in gone.method


def test_predictive_values_are_bayes_and_hold_the_truth():
    """Sensitivity .8, specificity .7 at a prevalence of .05: PPV = .04 / (.04 + .285)."""
    truth, held = (0.04 / (0.04 + 0.3 * 0.95), 0.7 * 0.95 / (0.7 * 0.95 + 0.2 * 0.05)), np.zeros(2)
    for seed in range(1000):
        told = predictive_values(*likelihood_ratios(*called(rng(seed), 270)), prevalence=0.05)
        for j, e in enumerate(told):
            held[j] += e.low <= truth[j] <= e.high
            assert e.low <= e.value <= e.high
    assert (held / 1000 >= 0.935).all() and (held / 1000 <= 0.97).all()


def test_matthews_agrees_with_scikit_learn_and_covers():
    held = 0
    big, call = called(rng(9), 400_000)
    truth = matthews_corrcoef(big.truth, call)
    for seed in range(300):
        r = rng(seed)
        c, call = called(r, 300)
        e = matthews(c, call)
        assert e.value == pytest.approx(matthews_corrcoef(c.truth, call))
        held += e.low <= truth <= e.high
    assert 0.92 <= held / 300 <= 0.98


def test_the_decision_curve_is_the_definition_and_treat_all_its_closed_form():
    r = rng(3)
    y = (r.random(500) < 0.3).astype(float)
    p = np.clip(0.3 + 0.3 * (y - 0.3) + r.normal(0, 0.15, 500), 0.001, 0.999)
    curve = decision_curve(cases(y, p))
    for t, model, everybody in zip(curve["thresholds"], curve["model"], curve["everybody"], strict=True):
        tp, fp = (p >= t) @ y, (p >= t) @ (1 - y)
        assert model == pytest.approx(tp / 500 - fp / 500 * t / (1 - t))
        assert everybody == pytest.approx(y.mean() - (1 - y.mean()) * t / (1 - t))
    assert curve["best_from"] < 0.4 < curve["best_to"]


def test_a_model_of_noise_is_of_no_use_anywhere():
    r = rng(4)
    y = (r.random(2000) < 0.3).astype(float)
    curve = decision_curve(cases(y, np.full(2000, 0.3) + r.normal(0, 1e-6, 2000)))
    assert curve["best_from"] is None


def modest(seed, n=150):
    r = rng(seed)
    y = (r.random(n) < 0.3).astype(float)
    return cases(y, 1 / (1 + np.exp(1.2 - r.normal(size=n) - 1.2 * y))), r


def test_no_threshold_inside_the_range_fails():
    gaps = 0
    for seed in range(60):
        c, _ = modest(seed)
        curve = decision_curve(c)
        t, holds = np.array(curve["thresholds"]), np.array(curve["ahead_low"]) > 0
        inside = (t >= curve["best_from"]) & (t <= curve["best_to"]) if holds.any() else np.zeros(len(t), bool)
        assert holds[inside].all() and inside.any() == holds.any()
        assert inside.sum() == max(map(len, "".join("x" if h else " " for h in holds).split()), default=0)
        passing = np.flatnonzero(holds)
        gaps += len(passing) > 0 and not holds[passing[0] : passing[-1] + 1].all()
    assert gaps > 5  # the twin: from the first to the last threshold that passes there would be such as fail


def test_what_the_model_gains_is_measured_in_the_same_patients():
    """The lower end stands above the true gain in no more than about one study of forty."""
    big, _ = modest(999, 400_000)
    t = np.array([0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.7])  # the first are those at which hardly a patient is missed
    truth = decision_curve(big, thresholds=t)
    gain = np.array(truth["model"]) - np.maximum(truth["everybody"], 0)
    above = np.zeros(len(t))
    for seed in range(600):
        c, _ = modest(seed)
        above += np.array(decision_curve(c, thresholds=t)["ahead_low"]) > gain
    assert (above / 600 <= 0.045).all(), above / 600


def test_an_empty_cell_is_no_certainty_though_patients_have_several_images():
    truth = np.repeat([1, 0], 40)
    patients = [f"P{i // 2}" for i in range(80)]  # 20 patients with it, 20 without, two images each
    plus, minus = likelihood_ratios(
        cases(truth, truth.astype(float), patients),
        truth == 1,
    )
    assert np.isinf(plus.value) and 1 < plus.low < plus.high == np.inf
    assert minus.value == 0 and minus.low < minus.high < 1 and minus.high > 0.01
    alone = likelihood_ratios(
        cases(truth[::2], truth[::2].astype(float)),
        truth[::2] == 1,
    )
    assert minus.high == pytest.approx(alone[1].high)  # as many witnesses as patients
