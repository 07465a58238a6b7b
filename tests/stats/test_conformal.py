import math

import numpy as np
import pytest
from scipy.special import expit, softmax
from scipy.stats import beta, binomtest, kstest

from overread.stats import calibration
from overread.stats.conformal import Sets, by_chance, fewest_patients, fit


def drawn(rng, n, *, share=0.3):
    """A yes-or-no label with overconfident probabilities: wrong numbers, honest sets."""
    y = (rng.random(n) < share).astype(int)
    p = expit(3 * (rng.normal(0, 1, n) + 1.5 * y - 0.5))
    return np.stack([1 - p, p], 1), y


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
def test_each_answer_is_covered_over_many_cohorts(coverage):
    rng = np.random.default_rng(0)
    held = {0: [], 1: []}
    for _ in range(300):
        p, y = drawn(rng, 300)
        new, truth = drawn(rng, 400)
        possible = fit(p, y, coverage=coverage).possible(new)
        for answer in (0, 1):
            held[answer].append(possible[truth == answer, answer].mean())
    for answer in (0, 1):
        assert coverage - 0.01 <= np.mean(held[answer]) <= coverage + 0.02


def test_one_limit_for_both_answers_would_leave_the_rare_one_uncovered():
    """Why it is class-conditional: a marginal limit covers the common answer at the cost of the rare one."""
    rng = np.random.default_rng(1)

    def shy(n):
        p, y = drawn(rng, n, share=0.05)
        p = np.clip(p - np.array([0, 0.7]) * (y == 1)[:, None], 0, 1)  # the rare answer is seldom given much
        return np.stack([1 - p[:, 1], p[:, 1]], 1), y

    (p, y), (new, truth) = shy(4000), shy(20000)
    strange = np.sort(1 - p[np.arange(len(y)), y])
    marginal = Sets(0.9, (strange[int(0.9 * len(y))],) * 2, (len(y),) * 2).possible(new)
    assert marginal[truth == 1, 1].mean() < 0.8
    assert fit(p, y).possible(new)[truth == 1, 1].mean() > 0.85


def test_patients_with_several_images_are_covered_as_patients():
    rng = np.random.default_rng(2)
    whole = []
    for _ in range(200):
        base = rng.normal(1.2, 1, 120)
        z = base.repeat(4) + rng.normal(0, 0.5, 480)
        p = expit(z)
        sets = fit(np.stack([1 - p, p], 1)[:240], np.ones(240), [str(i) for i in np.arange(60).repeat(4)])
        whole.append(sets.possible(np.stack([1 - p, p], 1)[240:])[:, 1].reshape(-1, 4).all(1).mean())
    assert np.mean(whole) >= 0.89


def test_too_few_patients_exclude_nothing_and_json_keeps_it():
    n = fewest_patients(0.9)
    p = np.tile([0.2, 0.8], (n, 1))
    few = fit(p[1:], np.ones(n - 1))
    assert few.limits == (math.inf, math.inf)
    assert few.possible(np.array([[1.0, 0.0]])).all()
    enough = fit(p, np.ones(n))
    assert enough.limits[1] == pytest.approx(0.2)
    assert Sets.from_json(enough.to_json()) == enough
    assert enough.to_json()["limits"][0] is None


def test_the_limit_is_the_quantile_of_the_definition():
    rng = np.random.default_rng(3)
    p, y = drawn(rng, 300)
    for answer in (0, 1):
        strange = 1 - p[y == answer, answer]
        n = len(strange)
        at = np.quantile(strange, math.ceil(0.9 * (n + 1)) / n, method="inverted_cdf")
        assert fit(p, y).limits[answer] == pytest.approx(at)


def levels(rng, n, shares=(0.55, 0.3, 0.15)):
    """A label with three levels and probabilities that are wrong: too sure, and shy of the last level."""
    y = rng.choice(3, size=n, p=shares)
    z = 2.5 * (rng.normal(size=(n, 3)) + 1.2 * np.eye(3)[y]) - np.array([0, 0, 1.0])
    return softmax(z, axis=1), y


def test_each_level_is_covered_exactly_as_often_as_it_must_be_over_many_cohorts():
    """Over the drawing of the cohort a level's coverage is a beta variable: its mean, and its whole distribution."""
    rng = np.random.default_rng(4)
    held = [[] for _ in range(3)]
    fixed = np.array([60, 40, 25])  # calibration patients of each level
    for _ in range(400):
        p, y = levels(rng, 600)
        rows = np.concatenate([np.flatnonzero(y == level)[:n] for level, n in enumerate(fixed)])
        possible = fit(p[rows], y[rows]).possible((new := levels(rng, 3000))[0])
        for level in range(3):
            held[level].append(possible[new[1] == level, level].mean())
    for level, n in enumerate(fixed):
        k = math.ceil((n + 1) * 0.9)
        assert 0.9 <= k / (n + 1) <= 0.9 + 1 / (n + 1)  # the bound that is promised
        assert np.mean(held[level]) == pytest.approx(k / (n + 1), abs=0.008)
        assert kstest(held[level], beta(k, n + 1 - k).cdf).pvalue > 0.001


def test_levels_of_patients_with_several_images_are_covered_as_patients_over_many_cohorts():
    rng = np.random.default_rng(5)
    whole = [[] for _ in range(3)]
    for _ in range(250):
        base = rng.normal(size=(180, 3))
        y = rng.choice(3, size=180).repeat(3)
        p = softmax(2 * (base.repeat(3, axis=0) + 0.4 * rng.normal(size=(540, 3)) + np.eye(3)[y]), axis=1)
        who = [str(i) for i in np.arange(180).repeat(3)]
        possible = fit(p[:270], y[:270], who[:270]).possible(p[270:])
        for level in range(3):
            whole[level].append(possible[y[270:] == level, level].reshape(-1, 3).all(1).mean())
    for level in range(3):
        assert 0.89 <= np.mean(whole[level]) <= 0.95


def chances(rng, *, n, m, images=1, shift=0.0):
    """One chance of covering so few: n calibration and m new patients with the finding, some of them moved."""

    def drawn_patients(k, moved):
        z = (rng.normal(1.0, 1, k) - moved).repeat(images) + 0.3 * rng.normal(size=k * images) * (images > 1)
        p = expit(z)
        return np.stack([1 - p, p], axis=1), [str(i) for i in np.arange(k).repeat(images)]

    (p, who), (new, others) = drawn_patients(n, 0.0), drawn_patients(m, shift)
    return by_chance(fit(p, np.ones(len(p)), who), new, np.ones(len(new)), others)[1]


@pytest.mark.parametrize(("n", "m", "images"), [(12, 200, 1), (60, 150, 1), (40, 60, 4)])
def test_exchangeable_patients_are_called_broken_as_rarely_as_stated(n, m, images):
    rng = np.random.default_rng(6)
    found = np.array([chances(rng, n=n, m=m, images=images) for _ in range(600)])
    assert (found < 0.025).mean() <= 0.04
    assert (found < 0.5).mean() > 0.35  # a test of no use would never be small


def test_other_patients_are_called_broken():
    rng = np.random.default_rng(7)
    assert np.mean([chances(rng, n=100, m=100, shift=0.8) < 0.025 for _ in range(60)]) > 0.9


def test_an_interval_of_the_new_cases_alone_would_blame_them_for_a_poor_limit():
    """Why the chance is asked for: 12 calibration patients fix the limit poorly, and Wilson knows nothing of it."""
    rng = np.random.default_rng(8)
    blamed = []
    for _ in range(300):
        p, q = expit(rng.normal(1, 1, 12)), expit(rng.normal(1, 1, 400))
        sets = fit(np.stack([1 - p, p], 1), np.ones(12))
        blamed.append(realised_of(sets, q) < 0.9)
    assert np.mean(blamed) > 0.15


def realised_of(sets, p):
    """Upper end of Wilson's interval of the coverage."""
    covered = int(sets.possible(np.stack([1 - p, p], 1))[:, 1].sum())
    return binomtest(covered, len(p)).proportion_ci(method="wilson").high


def answered(rng, n):
    """Three levels as raw scores."""
    y = rng.choice(3, size=n, p=(0.5, 0.3, 0.2))
    return 2.5 * (rng.normal(size=(n, 3)) + 1.2 * np.eye(3)[y]) - np.array([0, 0, 1.0]), y


def test_the_sets_of_levels_do_not_depend_on_the_temperature_that_the_same_cases_taught():
    """Raw scores alone say how strange an answer is, whichever temperature comes between; its twin moves with it."""
    rng = np.random.default_rng(9)
    (z, y), (new, _) = answered(rng, 400), answered(rng, 4000)
    found, kept = [], []
    for t in (0.4, 1.0, 2.5, 6.0):
        sets = fit(softmax(z / t, axis=1), y, temperature=t)
        found.append(Sets.from_json(sets.to_json()).possible(softmax(new / t, axis=1)))
        kept.append(fit(softmax(z / t, axis=1), y).possible(softmax(new / t, axis=1)))
    assert all((other == found[1]).all() for other in found)
    assert any((other != kept[1]).any() for other in kept)  # without taking it off


def test_levels_are_covered_exactly_where_temperature_and_sets_are_learned_on_the_same_few_cases():
    rng = np.random.default_rng(10)
    held = []
    for _ in range(70):
        z, y = answered(rng, 90)
        fitted = calibration.fit(z, y, None, kind="multiclass", rng=rng)
        assert fitted.methods == ("temperature",)
        new, truth = answered(rng, 2000)
        sets = fit(fitted.probabilities(z), y, temperature=1 / fitted.slope[0])
        possible = sets.possible(fitted.probabilities(new))
        raw = fit(softmax(z, axis=1), y).possible(softmax(new, axis=1))
        assert (possible == raw).mean() > 0.99999  # what the proof is about: a function of raw scores
        n = sets.patients[0]
        held.append(possible[truth == 0, 0].mean() - math.ceil((n + 1) * 0.9) / (n + 1))
    assert abs(np.mean(held)) <= 3 * np.std(held) / np.sqrt(len(held))
