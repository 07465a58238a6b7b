"""Pulls against leaving each patient out by hand, and the errors they give against drawing patients."""

import numpy as np
import pytest
from scipy import stats
from scipy.special import expit
from sklearn import metrics as sk

from overread.stats.clustered import ap_pull, auroc_pull
from overread.stats.decisions import matthews
from overread.stats.jackknife import FISHER, LOG, LOGIT, PLAIN, SHORT_OF_1, few, freedom, limits, without_each
from overread.stats.levels import kappa
from overread.stats.metrics import brier
from overread.stats.reliability import reliability
from overread.stats.resample import bootstrap, cases, draws


def study(seed=0, patients=60, *, by_image=True):
    r = np.random.default_rng(seed)
    who = np.repeat(np.arange(patients), r.integers(1, 6, patients))
    own = r.normal(size=patients)[who]
    y = ((r.random(len(who)) if by_image else r.random(patients)[who]) < 0.4).astype(int)
    return cases(y, expit(1.2 * y - 0.5 + own + 0.7 * r.normal(size=len(who))), [str(i) for i in who])


def left_out(c, figure):
    """The figure, less what it is without each patient, one by one."""
    whole = figure(c.truth, c.score)
    rows = [c.patient != g for g in range(c.patients)]
    return whole, np.array([whole - figure(c.truth[keep], c.score[keep]) for keep in rows])


def test_the_pull_on_an_auroc_is_what_leaving_the_patient_out_does():
    c = study(by_image=False)  # each patient has one answer: then it is exact
    value, pull = auroc_pull(c)
    assert (value, pull) == (
        pytest.approx(sk.roc_auc_score(c.truth, c.score)),
        pytest.approx(left_out(c, sk.roc_auc_score)[1]),
    )
    c = study(1, patients=300)
    near, exact = auroc_pull(c)[1], left_out(c, sk.roc_auc_score)[1]
    assert np.corrcoef(near, exact)[0, 1] > 0.999 and near.std() == pytest.approx(exact.std(), rel=0.01)


def test_the_pull_on_an_average_precision_is_nearly_what_leaving_the_patient_out_does():
    c = study(2, patients=300)
    near, exact = ap_pull(c)[1], left_out(c, sk.average_precision_score)[1]
    assert np.corrcoef(near, exact)[0, 1] > 0.995 and near.std() == pytest.approx(exact.std(), rel=0.03)


@pytest.mark.parametrize("told", ["mcc", "kappa_quadratic", "brier", "brier_skill"])
def test_figures_of_counts_leave_each_patient_out_exactly(told):
    c = study(3)
    call = c.score >= 0.5
    ours, theirs, scale = {
        "mcc": (matthews(c, call), lambda y, s: sk.matthews_corrcoef(y, s >= 0.5), FISHER),
        "kappa_quadratic": (kappa(c, call.astype(int), 2), lambda y, s: sk.cohen_kappa_score(y, s >= 0.5, weights="quadratic"), FISHER),
        "brier": (brier(c)[0], sk.brier_score_loss, LOG),
        "brier_skill": (brier(c)[1], lambda y, s: 1 - sk.brier_score_loss(y, s) / (y.mean() * (1 - y.mean())), SHORT_OF_1),
    }[told]  # fmt: skip
    value, pull = left_out(c, theirs)
    assert (ours.value, ours.low, ours.high) == pytest.approx((value, *limits(value, pull, scale)), abs=1e-9)


def test_the_slope_moves_by_one_step_of_newton_as_by_fitting_again():
    c = study(4, patients=200)
    exact = []
    for g in range(c.patients):
        rest = c.subset(np.flatnonzero(c.patient != g))
        exact.append(reliability(rest)["slope"].value)
    told = reliability(c)["slope"]
    again = limits(told.value, told.value - np.array(exact))
    assert (told.low, told.high) == pytest.approx(again, abs=0.01)


def test_errors_are_those_of_drawing_patients():
    """In a large study both must say the same: a second author for what has no closed form elsewhere."""
    c = study(5, patients=400)
    r = np.random.default_rng(0)
    drawn = [sk.average_precision_score(c.truth, c.score, sample_weight=w[0][c.patient]) for w in
             (next(iter(draws(c, r, 1))) for _ in range(400))]  # fmt: skip
    pull = ap_pull(c)[1]
    assert np.sqrt((pull**2).sum()) == pytest.approx(np.std(drawn), rel=0.1)
    error = np.bincount(c.patient, (c.score - c.truth) ** 2)
    images = np.bincount(c.patient)
    again = bootstrap(c, lambda w: (w @ error) / (w @ images), rng=r, by_patient=True)
    pull = without_each(np.stack([error, images], axis=1), lambda s: s[..., 0] / s[..., 1])[1]
    assert np.sqrt((pull**2).sum()) == pytest.approx(np.std(again), rel=0.06)


def test_degrees_of_freedom_say_how_far_the_variance_is_off():
    """By definition: twice the squared mean of the summed squares over their variance, here in 2,000 studies."""
    r = np.random.default_rng(6)
    pulls = np.where(r.random((440, 2000)) < 0.1, 5.0, 0.5) * r.normal(
        size=(440, 2000)
    )  # one patient of ten pulls hard
    whole = (pulls**2).sum(0)
    assert np.median(freedom(pulls)) == pytest.approx(2 * whole.mean() ** 2 / whole.var(), rel=0.15)
    assert freedom(np.r_[1.0, -1.0]) == 1 and freedom(np.array([1.0])) == 1


def test_scales_go_there_and_back_and_their_slopes_are_right():
    for scale, at in ((PLAIN, 0.3), (LOG, 0.3), (LOGIT, 0.3), (FISHER, 0.3), (SHORT_OF_1, -0.3)):
        assert scale.back(scale.there(at)) == pytest.approx(at)
        assert scale.slope(at) == pytest.approx((scale.there(at + 1e-6) - scale.there(at - 1e-6)) / 2e-6, rel=1e-6)


def test_few_patients_are_said_and_one_has_no_interval():
    assert "in 1 patients only" in few(cases([1, 1, 0, 0], np.zeros(4), list("aabc")))
    assert few(cases(np.repeat([0, 1], 20), np.zeros(40))) == ""
    assert np.isnan(limits(0.5, np.array([0.1]))).all() and np.isnan(limits(0.5, np.zeros(9))).all()


def test_the_error_of_a_weighted_kappa_is_that_of_a_second_author():
    """statsmodels 0.15.0, ``cohens_kappa(table, wt="quadratic")``, one image a patient."""
    table = np.array([[50, 5, 0], [9, 57, 12], [0, 13, 61]])
    truth, call = (np.repeat(index, table.ravel()) for index in np.divmod(np.arange(9), 3))
    e = kappa(cases(truth, np.zeros(len(truth))), call, 3)
    error = (np.arctanh(e.high) - np.arctanh(e.low)) / 2 / stats.t.ppf(0.975, 206) * (1 - e.value**2)
    assert e.value == pytest.approx(0.8490886998784933, abs=1e-9)
    assert error == pytest.approx(0.024043303857726517, rel=0.01)
