"""Which labels a reader should look at again: two witnesses that have not heard the case's own label.

The first is a model that learned from other patients (confident learning); the second are the cases most alike, of
other patients. A list is a list of suspicions: some are errors, some are the hard cases that a model has yet to learn.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

NEIGHBOURS = 11
"""Cases most alike that are asked."""

FEWEST = 10
"""Cases of an answer below which nothing is said of it: what is rare looks like an error to both witnesses."""


@dataclass(frozen=True)
class Suspect:
    """One case whose label both witnesses doubt.

    Parameters
    ----------
    row : int
        Of the arrays that came.
    given, other : int
        The answer it has, and the one that the witnesses would expect.
    p_given, p_other : float
        Probability of either by a model that learned from other patients only.
    near_given, near_other : int
        How many of the ``NEIGHBOURS`` cases most alike, of other patients, have either.
    suspicion : float
        −1 to 1; the list is in its order.
    """

    row: int
    given: int
    other: int
    p_given: float
    p_other: float
    near_given: int
    near_other: int
    suspicion: float


def suspects(
    probabilities: np.ndarray, given: np.ndarray, features: np.ndarray, groups: Sequence[Hashable]
) -> list[Suspect]:
    """Return the cases whose label both witnesses doubt, the most suspicious first.

    A model's word counts where it is at least as sure of another answer as it is, on average, of that answer's own
    cases: a cautious model and a bold one, a rare answer and a common one are asked the same. The neighbours' word
    counts where, each answer taken as often as it comes, more of them have the other.

    Parameters
    ----------
    probabilities : ndarray, (n, answers)
        By models that learned from other patients (out of fold).
    given : ndarray, (n,)
        Answer of each case; −1 where nobody knows.
    features : ndarray, (n, d)
        What the cases look like; learned without these labels, or they would only repeat them.
    groups : sequence, (n,)
        Patient of each case: a patient's other images are no second witness.

    References
    ----------
    Northcutt, Jiang, Chuang 2021, doi:10.1613/jair.1.12125 (confident learning).

    Examples
    --------
    >>> x = np.concatenate([np.linspace(0, 1, 30), np.linspace(5, 6, 30)])[:, None]
    >>> given = np.repeat([0, 1], 30); given[3] = 1
    >>> p = np.clip((x > 3) * 0.9 + 0.05, 0, 1); p = np.concatenate([1 - p, p], axis=1)
    >>> [(s.row, s.given, s.other) for s in suspects(p, given, x, range(60))]
    [(3, 1, 0)]
    """
    p, given = np.asarray(probabilities, float), np.asarray(given)
    known = np.flatnonzero(given >= 0)
    counts = np.bincount(given[known], minlength=p.shape[1])
    if len(known) <= NEIGHBOURS or (counts >= FEWEST).sum() < 2:
        return []
    other = _confident(p[known], given[known], counts)
    votes = _votes(
        np.asarray(features, float)[known], given[known], np.asarray([str(g) for g in groups])[known], p.shape[1]
    )
    even = votes / np.maximum(counts, 1)
    even /= even.sum(axis=1, keepdims=True)
    out = []
    for i in np.flatnonzero(other >= 0):
        was, now = int(given[known[i]]), int(other[i])
        if counts[was] < FEWEST or even[i, now] <= even[i, was]:
            continue
        gap = 0.5 * (p[known[i], now] - p[known[i], was]) + 0.5 * (even[i, now] - even[i, was])
        out.append(
            Suspect(
                int(known[i]), was, now, float(p[known[i], was]), float(p[known[i], now]),
                int(votes[i, was]), int(votes[i, now]), float(gap),
            )
        )  # fmt: skip
    return sorted(out, key=lambda s: (-s.suspicion, s.row))


def _confident(p: np.ndarray, given: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return for each case the other answer that the model is sure of; −1 for none."""
    sure = np.full(p.shape[1], np.inf)
    for k in np.flatnonzero(counts >= FEWEST):
        sure[k] = p[given == k, k].mean()
    candidate = np.where(p >= sure, p, -1.0)
    best = candidate.argmax(axis=1)
    return np.where((candidate.max(axis=1) >= 0) & (best != given), best, -1)


def _votes(features: np.ndarray, given: np.ndarray, groups: np.ndarray, answers: int) -> np.ndarray:
    """Return how many of the cases most alike have each answer, (n, answers); a patient's own cases do not count."""
    spread = features.std(axis=0)
    x = (features - features.mean(axis=0)) / np.where(spread > 1e-9, spread, np.inf)
    x /= np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    votes = np.zeros((len(x), answers), int)
    for start in range(0, len(x), 512):
        part = slice(start, min(len(x), start + 512))
        alike = x[part] @ x.T
        alike[groups[part][:, None] == groups[None, :]] = -np.inf
        nearest = np.argpartition(-alike, NEIGHBOURS - 1, axis=1)[:, :NEIGHBOURS]
        for k in range(answers):
            votes[part, k] = ((given[nearest] == k) & np.isfinite(np.take_along_axis(alike, nearest, 1))).sum(axis=1)
    return votes
