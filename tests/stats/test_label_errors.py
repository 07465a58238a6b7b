"""Doubted labels on cohorts whose truth is known: wrong labels put in, and how many of the listed are wrong."""

from __future__ import annotations

import numpy as np
import pytest

from overread.stats import label_errors


def cohort(n=400, answers=2, apart=2.5, d=8, seed=0):
    """Clouds around one centre each, their true posterior by Bayes' rule, and one patient in two with two images."""
    rng = np.random.default_rng(seed)
    centres = np.eye(d)[:answers] * apart
    truth = rng.integers(0, answers, n)
    x = centres[truth] + rng.normal(size=(n, d))
    log = -0.5 * ((x[:, None] - centres[None]) ** 2).sum(-1)
    p = np.exp(log - log.max(1, keepdims=True))
    return x, truth, p / p.sum(1, keepdims=True), np.arange(n) // 2 * 2 + np.arange(n) % 4 // 3


def flipped(truth, share, answers, seed=1):
    rng = np.random.default_rng(seed)
    wrong = rng.choice(len(truth), round(share * len(truth)), replace=False)
    given = truth.copy()
    given[wrong] = (given[wrong] + rng.integers(1, answers, len(wrong))) % answers
    return given, wrong


@pytest.mark.parametrize("answers", [2, 4])
def test_most_of_five_per_cent_wrong_labels_are_listed_and_most_listed_are_wrong(answers):
    precision, recall = [], []
    for seed in range(5):
        x, truth, p, who = cohort(answers=answers, apart=4.0, seed=seed)
        given, wrong = flipped(truth, 0.05, answers, seed)
        rows = [s.row for s in label_errors.suspects(p, given, x, who)]
        precision.append(np.isin(rows, wrong).mean())
        recall.append(np.isin(wrong, rows).mean())
    assert np.mean(precision) > 0.85 and np.mean(recall) > 0.9


def test_what_is_listed_first_is_wrong_most_often():
    hits = []
    for seed in range(10):
        x, truth, p, who = cohort(apart=2.5, seed=seed)
        given, wrong = flipped(truth, 0.05, 2, seed)
        rows = [s.row for s in label_errors.suspects(p, given, x, who)]
        hits.append((np.isin(rows[:8], wrong).mean(), np.isin(rows[-8:], wrong).mean()))
    first, last = np.mean(hits, axis=0)
    assert first > last + 0.1


def test_right_labels_of_clear_cases_are_not_doubted():
    x, truth, p, who = cohort(apart=8.0)
    assert label_errors.suspects(p, truth, x, who) == []


def test_one_witness_alone_lists_nothing():
    """The twin: where either knows nothing, the other's word is not enough."""
    x, truth, p, who = cohort(apart=6.0)
    given, wrong = flipped(truth, 0.05, 2)
    assert len(label_errors.suspects(p, given, x, who)) > 0.8 * len(wrong)
    rng = np.random.default_rng(0)
    nothing_seen = rng.normal(size=x.shape)
    listed = [s.row for s in label_errors.suspects(p, given, nothing_seen, who)]
    assert len(listed) < 0.75 * len(wrong)
    sure_of_all = np.stack([1 - given, given], axis=1).astype(float)  # it repeats what it was told
    assert label_errors.suspects(sure_of_all, given, x, who) == []


def test_a_patients_own_images_are_no_second_witness():
    """Copies of a wrong label beside each other vouch for it only where they count as other patients."""
    x, truth, p, _ = cohort(200, apart=6.0)
    given = truth.copy()
    crowd = np.flatnonzero(truth == 0)[:20]
    x[crowd] = x[crowd[0]] + 0.01 * np.random.default_rng(0).normal(size=(20, x.shape[1]))
    given[crowd] = 1
    p[crowd] = (1.0, 0.0)
    own = np.arange(200)
    assert not set(crowd) & {s.row for s in label_errors.suspects(p, given, x, own)}
    own[crowd] = crowd[0]
    assert set(crowd) <= {s.row for s in label_errors.suspects(p, given, x, own)}


def test_unknown_answers_and_rare_ones_are_left_alone():
    x, truth, p, who = cohort(apart=6.0)
    given, _ = flipped(truth, 0.05, 2)
    some = [s.row for s in label_errors.suspects(p, given, x, who)]
    hidden = given.copy()
    hidden[some[0]] = -1
    assert some[0] not in [s.row for s in label_errors.suspects(p, hidden, x, who)]
    few = np.where(np.cumsum(truth == 1) <= 9, truth, 0)
    assert label_errors.suspects(p, few, x, who) == []
