import math

import numpy as np
import pytest
from scipy.special import expit

from overread.stats.conformal import Sets, fewest_patients, fit


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
