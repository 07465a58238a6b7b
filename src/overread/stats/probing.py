"""What a network's last features give away: can it be told from them where an image comes from?

A network that has learned the finding and nothing else does not know which scanner made the picture. Whether it does is
asked by logistic regression from its features, in patients that the regression was not fitted on, and only between cases
with the same answer: where a source has more of the finding, features of the finding alone would tell it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from overread.domain import Estimate
from overread.stats.ranking import auroc
from overread.stats.resample import Z, cases

FOLDS = 3
FEWEST = 20
"""Images of a source, and of all others together, below which nothing is said."""

STRENGTH = 0.05
"""Inverse of the penalty: a hundred features and a few hundred images ask for a strong one."""


def reveals(
    features: np.ndarray,
    there: np.ndarray,
    answer: Sequence,
    patients: Sequence[str | None] | None,
    *,
    rng: np.random.Generator,
) -> Estimate:
    """Return how well features tell one source from the others, among cases with the same answer.

    Parameters
    ----------
    features : ndarray, (n, d)
    there : ndarray of bool, (n,)
        True where an image is of that source.
    answer : sequence, (n,)
        What is compared with its like only: the truth of each case.
    patients : sequence of str or None, (n,)
    rng : numpy.random.Generator

    Returns
    -------
    Estimate
        The mean AUROC over folds and answers, weighted by the pairs compared; its spread is widened as the folds share
        cases (Nadeau and Bengio 2003, doi:10.1023/A:1024068626366).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> site = rng.random(300) < 0.5
    >>> features = np.c_[site + 0.1 * rng.normal(size=300), rng.normal(size=300)]
    >>> reveals(features, site, [0] * 300, None, rng=rng).value
    1.0
    """
    there = np.asarray(there, bool)
    c = cases(there.astype(float), np.zeros(len(there)), patients)
    if min(there.sum(), (~there).sum()) < FEWEST or c.patients < 2 * FOLDS:
        return c.undefined(f"fewer than {FEWEST} images of the one or of the others")
    fold = (rng.permutation(c.patients) % FOLDS)[c.patient]
    words = np.array([str(a) for a in answer], dtype=object)
    found: list[tuple[float, Estimate]] = []
    for k in range(FOLDS):
        learn, test = fold != k, fold == k
        if len(np.unique(there[learn])) < 2:
            continue
        line = make_pipeline(StandardScaler(), LogisticRegression(C=STRENGTH, class_weight="balanced", max_iter=1000))
        score = np.zeros(len(there))
        score[test] = line.fit(features[learn], there[learn]).decision_function(features[test])
        for word in np.unique(words[test]):
            rows = np.flatnonzero(test & (words == word))
            pairs = float(there[rows].sum()) * float((~there[rows]).sum())
            if pairs:
                part = replace(c, score=score).subset(rows)
                found.append((pairs, auroc(part)))
    if not found:
        return c.undefined("no two cases with the same answer come from different sources")
    weights = np.array([pairs for pairs, _ in found]) / sum(pairs for pairs, _ in found)
    value = float(np.dot(weights, [e.value for _, e in found]))
    errors = np.array([(e.high - e.low) / (2 * Z) for _, e in found])
    half = Z * float(np.sqrt(np.nansum((weights * errors) ** 2) * (1 + FOLDS / (FOLDS - 1))))
    told = f"logistic regression in {FOLDS} folds by patient, among cases with the same answer"
    return c.estimate(value, max(0.0, value - half), min(1.0, value + half), told)
