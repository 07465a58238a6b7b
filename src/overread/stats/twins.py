"""Does it help to take an image and its mirror image for the same? Asked of a line that reads the finding from patches."""

from __future__ import annotations

import numpy as np
from scipy import linalg, stats

from overread.domain import Estimate
from overread.stats.mirrors import FOLDS, LEAST
from overread.stats.resample import Who, Z

SHRINKAGES = (0.03, 0.3)
"""Strengths of the line's shrinkage, as shares of the mean variance; it says the mean of what they say."""

DIVISIONS = 8
"""Times that the patients are divided anew: what is said of a case is the mean, so that the luck of one division is gone."""


def gain(
    plain: np.ndarray, averaged: np.ndarray, truth: np.ndarray, patients: list[Who], *, rng: np.random.Generator
) -> Estimate:
    """Return by how much the AUROC grows when a line reads images averaged with their mirror images.

    What is measured is how well images are read as they are, of patients the line has not learned from: where the side
    tells something of the finding, the average loses it and the gain is negative.

    Parameters
    ----------
    plain : ndarray, (n, d)
        Descriptions of images (``imaging.patches``).
    averaged : ndarray, (n, d)
        The mean of each image's description and those of its mirrored or turned twins.
    truth : ndarray, (n, outputs)
        1, 0 or NaN; the mean over the outputs counts.
    patients : list
    rng : numpy.random.Generator
        Divides the patients.

    Notes
    -----
    The interval is the infinitesimal jackknife's over patients, of the difference (DeLong's for paired AUROCs where each
    patient has one image).

    References
    ----------
    DeLong, DeLong, Clarke-Pearson 1988, doi:10.2307/2531595.
    """
    own = [f"image {i}" if p is None else repr(p) for i, p in enumerate(patients)]
    _, group = np.unique(own, return_inverse=True)
    people = int(group.max()) + 1
    truth = np.asarray(truth, float)
    folds = [(rng.permutation(people) % FOLDS)[group] for _ in range(DIVISIONS)]
    before, after = (_read(x, truth, folds) for x in (plain, averaged))
    known = [j for j in range(truth.shape[1]) if min((truth[:, j] == v).sum() for v in (0, 1)) >= 3]
    if people < LEAST or not known:
        return Estimate(
            float("nan"), float("nan"), float("nan"), n=len(truth), n_patients=people, method="too few to tell"
        )
    value, pull = 0.0, np.zeros(people)
    for j in known:
        there = ~np.isnan(truth[:, j])
        for score, sign in ((after, 1), (before, -1)):
            one, pulls = _auroc(truth[there, j], score[there, j], group[there], people)
            value += sign * one / len(known)
            pull += sign * pulls / len(known)
    half = Z * float(np.sqrt(people / (people - 1) * (pull**2).sum()))
    return Estimate(value, value - half, value + half, n=len(truth), n_patients=people, method="jackknife over patients, paired")  # fmt: skip


def _auroc(truth: np.ndarray, score: np.ndarray, group: np.ndarray, people: int) -> tuple[float, np.ndarray]:
    """Return the AUROC and what each patient pulls it by."""
    positive, negative = score[truth == 1], score[truth == 0]
    m, n = len(positive), len(negative)
    ranks = stats.rankdata(np.concatenate([positive, negative]))
    place = np.zeros(len(truth))
    place[truth == 1] = (ranks[:m] - stats.rankdata(positive)) / n
    place[truth == 0] = 1 - (ranks[m:] - stats.rankdata(negative)) / m
    value = float(place[truth == 1].mean())
    return value, np.bincount(group, (place - value) / np.where(truth == 1, m, n), minlength=people)


def _read(rows: np.ndarray, truth: np.ndarray, folds: list[np.ndarray]) -> np.ndarray:
    """Return what a shrunken line says of each case, learned from the other folds; an unknown answer is its mean."""
    known = ~np.isnan(truth)
    mean = np.where(known, truth, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    wanted = np.where(known, truth - mean, 0.0)
    x = ((rows - rows.mean(axis=0)) / (rows.std(axis=0) + 1e-6)).astype(np.float32)
    alike = (x @ x.T / x.shape[1]).astype(np.float64)
    out = np.zeros(truth.shape)
    for fold in folds:
        for k in range(FOLDS):
            learn, judge = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
            square = alike[np.ix_(learn, learn)]
            for s in SHRINKAGES:
                more = s * np.trace(square) / len(learn) * np.eye(len(learn))
                line = linalg.solve(square + more, wanted[learn], assume_a="pos")
                said = alike[np.ix_(judge, learn)] @ line
                out[judge] += said / (np.abs(line).mean() + 1e-12)
    return out
