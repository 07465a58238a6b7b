import numpy as np
import pytest
from scipy import stats

from overread.stats.clustered import auroc_pull
from overread.stats.ranking import auroc, delong, weighted_auroc
from overread.stats.resample import bootstrap, cases, interval

TRUE = stats.norm.cdf(1.5 / np.sqrt(2 * 1.25))


def study(seed, patients):
    """Two images a patient, one patient of five with the finding."""
    r = np.random.default_rng(seed)
    y = (r.random(patients) < 0.2).astype(int)
    y[:2] = [0, 1]
    score = np.repeat(r.normal(size=patients) + 1.5 * y, 2) + r.normal(0, 0.5, 2 * patients)
    return cases(np.repeat(y, 2), score, [str(i // 2) for i in range(2 * patients)]), r


def witnessed(c):
    """The AUROC and its variance."""
    value, pull = auroc_pull(c)
    return value, (pull**2).sum() * (1 - 1 / c.patients)


@pytest.mark.parametrize("patients", [30, 60])
def test_few_patients_with_two_images_each_are_told_with_the_doubt_they_leave(patients):
    held = 0
    for seed in range(1200):
        c, _ = study(seed, patients)
        e = auroc(c)
        held += e.low <= TRUE <= e.high
    assert 0.93 <= held / 1200 <= 0.975


def test_the_twin_drawing_patients_is_too_sure_of_few():
    held = 0
    for seed in range(300):
        c, r = study(seed, 30)
        low, high, _ = interval(bootstrap(c, weighted_auroc(c.truth, c.score), rng=r, replicates=200))
        held += low <= TRUE <= high
    assert held / 300 < 0.93


def test_one_image_a_patient_is_delong_and_the_variance_is_that_of_many_studies():
    r = np.random.default_rng(0)
    y = np.repeat([0, 1], [40, 20])
    score = r.normal(y, 1).round(1)
    c = cases(y, score)
    value, pull = auroc_pull(c)
    of = [c.patient[y == answer] for answer in (0, 1)]
    variance = sum(
        (pull[o] ** 2).sum() * (len(o) - 1) / len(o) for o in of
    )  # DeLong divides by n, a jackknife by n − 1
    assert (value, variance) == pytest.approx(delong(y, score), abs=1e-12)
    found = np.array([witnessed(study(seed, 120)[0]) for seed in range(800)])
    assert found[:, 1].mean() == pytest.approx(found[:, 0].var(), rel=0.15)


def test_patients_who_have_both_answers_are_paired_with_themselves():
    """A breast with and one without: what both share does not blur how well the one stands above the other."""
    found = []
    for seed in range(800):
        r = np.random.default_rng(seed)
        score = np.repeat(r.normal(size=60), 2) + np.tile([1.0, 0.0], 60) + r.normal(0, 0.5, 120)
        found.append(witnessed(cases(np.tile([1, 0], 60), score, [str(i // 2) for i in range(120)])))
    value, variance = np.array(found).T
    assert variance.mean() == pytest.approx(value.var(), rel=0.15)


def test_one_patient_with_the_finding_says_next_to_nothing():
    c = cases([1, 1, 0, 0, 0], np.array([0.9, 0.4, 0.5, 0.2, 0.1]), list("aabcd"))
    e = auroc(c)
    assert "in 1 patients only" in e.method
    assert e.low < 0.4 < 0.97 < e.high
