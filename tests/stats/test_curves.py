"""Temperature by default: equal to scikit-learn's, the class weights taken off, and more only where it is shown."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy import optimize
from scipy.special import expit, softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression

from overread.stats import curves
from overread.stats.calibration import fit
from overread.stats.resample import cases


def rng(seed=0):
    return np.random.default_rng(seed)


class Scores(ClassifierMixin, BaseEstimator):
    """A network whose raw scores are handed in as features."""

    def __init__(self, levels=2):
        self.levels = levels

    def fit(self, x, y):
        self.classes_ = np.arange(self.levels)
        return self

    def predict(self, x):
        return (x[:, 0] > 0).astype(int) if self.levels == 2 else x.argmax(1)

    def decision_function(self, x):
        return x[:, 0] if self.levels == 2 else x


def theirs(z, aim):
    """Probabilities by scikit-learn's temperature; a drawn-in target is a case of every answer, weighed by it."""
    n, levels = aim.shape
    x, y = np.repeat(z, levels, axis=0), np.tile(np.arange(levels), n)
    network = FrozenEstimator(Scores(levels).fit(x, y))
    with warnings.catch_warnings():  # it says that the weights reach the calibration only: that is what is wanted
        warnings.simplefilter("ignore", UserWarning)
        model = CalibratedClassifierCV(network, method="temperature").fit(x, y, sample_weight=aim.ravel())
    return model.predict_proba(z)


@pytest.mark.parametrize("n", [60, 1500])
def test_the_temperature_of_a_yes_or_no_label_is_scikit_learns(n):
    z = rng(1).normal(size=(n, 1)) * 3
    y = (rng(2).random(n) < expit(0.4 * z[:, 0])).astype(float)
    c = fit(z, y, None, kind="binary", rng=rng())
    m = y.sum()
    high = np.where(y == 1, (m + 1) / (m + 2), 1 / (n - m + 2))
    assert c.method == "temperature" and c.intercept == (0.0,)
    ours = c.probabilities(z)[:, 0]
    assert np.abs(ours - theirs(z, np.stack([1 - high, high], axis=1))[:, 1]).max() < 1e-6


def test_the_temperature_of_several_levels_is_scikit_learns():
    z = rng(3).normal(size=(800, 4)) * 2
    y = np.array([rng(i).choice(4, p=p) for i, p in enumerate(softmax(z, axis=1))])
    e = 1 / 801
    c = fit(3 * z, np.eye(4)[y], None, kind="multiclass", rng=rng())
    assert np.abs(c.probabilities(3 * z) - theirs(3 * z, (1 - e) * np.eye(4)[y] + e / 4)).max() < 1e-6


@pytest.mark.parametrize(("wanted", "free"), [(curves.temperature, 1), (curves.logistic, 2)])
def test_each_curve_is_the_maximum_of_platts_likelihood(wanted, free):
    z, y = rng(4).normal(size=200) * 2, rng(5).integers(0, 2, 200).astype(float)
    y[z > 0.5] = np.round(0.2 + 0.6 * rng(6).random((z > 0.5).sum()))
    y[z < -2] = 0
    c, once = cases(y, z), np.ones((1, 200))
    m, n = y.sum(), (1 - y).sum()
    target = np.where(y == 1, (m + 1) / (m + 2), 1 / (n + 2))

    def loss(p):
        eta = p[0] * z + (p[1] if len(p) > 1 else -0.7)
        return (np.logaddexp(0, eta) - target * eta).sum()

    best = optimize.minimize(loss, [1, 0][:free], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12})
    found = wanted(c, once, -0.7)[0] if free == 1 else wanted(c, once)[0]
    assert loss(found[:free]) <= best.fun + 1e-8 and (free == 2 or found[1] == -0.7)


def trained(seed, *, n=1000, d=60):
    """A logistic model fitted too closely, a positive counting as much as all negatives: scores of new cases, truth, w."""
    g = rng(seed)
    line = g.normal(size=d)
    line, bias = 2 * line / np.linalg.norm(line), -3.2

    def draw(many):
        x = g.normal(size=(many, d))
        return x, (g.random(many) < expit(x @ line + bias)).astype(float)

    x, y = draw(n)
    weight = float(curves.positive_weights(y[:, None])[0])
    model = LogisticRegression(C=3.0, max_iter=2000).fit(x, y, sample_weight=np.where(y == 1, weight, 1.0))
    (held, known), (new, answer) = draw(300), draw(4000)
    return model.decision_function(held), known, model.decision_function(new), answer, weight


def test_what_class_weights_added_is_taken_off_and_a_temperature_without_it_is_systematically_wrong():
    """The network says 1 in 2 where it is 1 in 10: the mean of the probabilities tells."""
    off = {"with": [], "without": [], "stretched": []}
    for seed in range(12):
        z, y, new, answer, w = trained(seed)
        c, once = cases(y, z), np.ones((1, len(y)))
        shift = np.log(w)
        with_it, without = curves.temperature(c, once, -shift)[0], curves.temperature(c, once)[0]
        before = curves.temperature(cases(y, z - shift), once)[0]  # the other order: taken off, and then stretched
        off["with"].append(expit(with_it[0] * new + with_it[1]).mean() / answer.mean())
        off["without"].append(expit(without[0] * new).mean() / answer.mean())
        off["stretched"].append(expit(before[0] * (new - shift)).mean() / answer.mean())
    means = {name: np.mean(ratios) for name, ratios in off.items()}
    assert 0.8 < means["with"] < 1.1  # about as many as there are
    assert means["without"] > 2  # the twin
    assert abs(np.log(means["with"])) < abs(np.log(means["stretched"]))


def test_the_weights_are_those_of_the_training_and_the_calibration_says_so():
    z, y, *_, w = trained(3)
    c = fit(z[:, None], y, None, kind="binary", rng=rng(), weights=[w])
    assert c.weights == (w,) and 4 < w <= 10
    if c.method == "temperature":
        assert c.intercept[0] == -np.log(w)
        assert (
            f"{np.log(w):+.2f} that the class weights".replace("-", "−") in c.in_words[0] and "Bayes" in c.in_words[0]
        )
    few = fit(z[:9, None], y[:9], None, kind="binary", rng=rng(), weights=[w])
    assert few.intercept[0] == -np.log(w) and few.method == "raw"


def test_the_weights_reach_no_further_than_a_tenth_and_ten_and_unknown_truth_counts_for_nothing():
    truth = np.array([[1, 1, 1]] + [[0, np.nan, 0]] * 99 + [[np.nan, 1, 1]] * 5000)
    assert curves.positive_weights(truth).tolist() == [10.0, 0.1, 0.1]


def asked(seed, *, n, images, beyond):
    """One p-value of "a temperature is enough", where an intercept ``beyond`` is needed."""
    g = rng(seed)
    who = np.repeat(np.arange(n), images)
    truth = (g.random(n) < expit(1.5 * g.normal(size=n)))[who].astype(float)
    base = (g.normal(size=n) + 1.5 * (truth[::images] - 0.5))[who]
    z = base + beyond + (0.3 * g.normal(size=len(who)) if images > 1 else 0)
    c = cases(truth, z, [f"P{i}" for i in who])
    once = np.ones((1, n))
    return float(curves.intercept_test(c, once, curves.temperature(c, once[:, c.patient]))[0]), c


@pytest.mark.parametrize(("n", "images"), [(50, 1), (300, 1), (80, 4)])
def test_an_intercept_is_added_without_need_in_about_one_cohort_of_twenty(n, images):
    p = np.array([asked(s, n=n, images=images, beyond=0.0)[0] for s in range(500)])
    assert 0.02 < (p < 0.05).mean() < 0.085


def test_several_images_of_a_patient_taken_for_patients_would_add_it_far_too_often():
    found = [asked(s, n=80, images=4, beyond=0.0)[1] for s in range(200)]
    apart = [cases(c.truth, c.score) for c in found]
    once = np.ones((1, 320))
    p = [curves.intercept_test(c, once, curves.temperature(c, once))[0] for c in apart]
    assert np.mean(np.array(p) < 0.05) > 0.2


def test_an_intercept_that_is_needed_is_found_and_given():
    assert np.mean([asked(s, n=300, images=1, beyond=0.8)[0] < 0.05 for s in range(100)]) > 0.9
    _, c = asked(1, n=3000, images=1, beyond=0.8)
    fitted = fit(c.score[:, None], c.truth, None, kind="binary", rng=rng())
    assert fitted.method == "slope and intercept" and fitted.p_values[0] < 0.05
    assert fitted.intercept[0] == pytest.approx(-0.8 * 1.5, abs=0.2) and "Slope" in fitted.in_words[0]


def test_with_many_cases_the_test_equals_the_likelihood_ratio():
    from scipy.stats import chi2

    p, c = asked(7, n=20_000, images=1, beyond=0.03)
    once = np.ones((1, 20_000))
    target = curves.smoothed(c, once)

    def loss(curve):
        eta = curve[0, 0] * c.score + curve[0, 1]
        return (np.logaddexp(0, eta) - target * eta).sum()

    ratio = 2 * (loss(curves.temperature(c, once)) - loss(curves.logistic(c, once)))
    assert p == pytest.approx(chi2.sf(ratio, 1), rel=0.1)


def test_each_refit_chooses_anew_so_that_the_doubt_holds_the_choice():
    _, c = next((p, c) for p, c in (asked(s, n=150, images=1, beyond=0.35) for s in range(40)) if 0.05 < p < 0.15)
    fitted = fit(c.score[:, None], c.truth, None, kind="binary", rng=rng())
    free = np.mean([intercept != 0 for _, intercept in fitted.refits[0]])
    assert fitted.method == "temperature" and 0.05 < free < 0.95
