"""Several levels in two groups, or by two models: the figures are scikit-learn's, the intervals hold what is true."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, cohen_kappa_score, roc_auc_score

from overread.stats.levels_apart import level_cases, level_differences, level_figures, level_gaps


def drawn(r, *, patients=120, images=2, noise=1.0, noise_of_new=None):
    """Levels of patients with two images each, the second on a new scanner, and the probabilities of a model."""
    n = patients * images
    who = np.arange(n) // images
    level = r.integers(0, 3, patients)[who]
    spread = np.where(np.arange(n) % images == 1, noise if noise_of_new is None else noise_of_new, noise)
    score = 1.5 * np.eye(3)[level] + spread[:, None] * (r.normal(size=(patients, 3))[who] + r.normal(size=(n, 3))) / 1.4
    p = np.exp(score) / np.exp(score).sum(1, keepdims=True)
    return level, p, [f"P{i}" for i in who]


def oracle(level, p):
    call = p.argmax(1)
    return {
        "auroc": roc_auc_score(level, p, multi_class="ovr"),
        "accuracy": accuracy_score(level, call),
        "kappa_quadratic": cohen_kappa_score(level, call, weights="quadratic"),
    }


def test_figures_gaps_and_differences_are_those_of_a_second_author():
    r = np.random.default_rng(0)
    level, p, who = drawn(r, noise_of_new=2.5)
    truth, other = np.eye(3)[level], drawn(r)[1]
    c = level_cases(truth, p, who)
    for name, e in level_figures(c, 3, ordinal=True).items():
        assert e.value == pytest.approx(oracle(level, p)[name])
    for name, e in level_differences(c, other, ordinal=True).items():
        assert e.value == pytest.approx(oracle(level, p)[name] - oracle(level, other)[name])
    old, new = np.arange(0, 240, 2), np.arange(1, 240, 2)
    gaps = level_gaps(truth, p, patients=who, groups=(old, new), ordinal=True)
    for name, e in gaps.items():
        assert e.value == pytest.approx(oracle(level[old], p[old])[name] - oracle(level[new], p[new])[name])
        assert e.low > 0 and "patients in both" in e.method and e.n_patients == 120
    assert "kappa_quadratic" not in level_figures(c, 3, ordinal=False)


def test_the_intervals_hold_the_truth_and_the_twin_that_takes_images_for_patients_holds_it_less_often():
    r, held, twin, rounds = np.random.default_rng(1), {}, {}, 200
    for _ in range(rounds):
        level, _, who = drawn(r, patients=60, images=4)
        own, its = (np.repeat(part, 4, axis=0) for part in r.normal(size=(2, 60, 3)))  # both err by patient
        mine, other = (1.5 * np.eye(3)[level] + part + r.normal(size=(240, 3)) * 0.1 for part in (own, its))
        for patients, count in ((who, held), (None, twin)):
            c = level_cases(np.eye(3)[level], mine, patients)
            for name, e in level_differences(c, other, ordinal=True).items():
                count[name] = count.get(name, 0) + (e.low <= 0 <= e.high)  # two equals: the true difference is 0
    for name, times in held.items():
        assert times / rounds >= 0.91, (name, times)
        assert twin[name] / rounds < 0.85, (name, twin[name])


def test_a_gap_between_means_over_other_levels_is_not_told():
    level = np.repeat([0, 1, 2], 40)
    p = np.eye(3)[level] * 0.6 + np.random.default_rng(0).random((120, 3)) * 0.4
    gaps = level_gaps(np.eye(3)[level], p, patients=None, groups=(range(80), range(60, 120)), ordinal=False)
    assert np.isnan(gaps["auroc"].value) and "same levels" in gaps["auroc"].method
    assert np.isfinite(gaps["accuracy"].value)
