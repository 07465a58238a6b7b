"""What a model must beat before anything may be claimed: saying the commonest answer, and a line through thumbnails.

A network that is no better than logistic regression on 16 × 16 pixels has learned brightness, not disease.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.preprocessing import StandardScaler

MOST_TRAINING = 20_000
"""More training thumbnails than this change a 256-number line no more; a drawn sample of them is used."""

SHRINKAGES = (0.001, 0.01, 0.1, 1.0)
"""Strengths to choose from (scikit-learn's C)."""


def majority(training_truth: np.ndarray, n: int) -> np.ndarray:
    """Return, for each of ``n`` cases, the share of each answer in training: the same for all (n, outputs).

    Examples
    --------
    >>> majority(np.array([[1.0], [0], [np.nan], [1], [1]]), 2).tolist()
    [[0.75], [0.75]]
    """
    known = ~np.isnan(training_truth)
    share = np.nansum(training_truth, axis=0) / np.maximum(known.sum(0), 1)
    return np.tile(share, (n, 1))


def logistic(
    training: np.ndarray,
    training_truth: np.ndarray,
    others: list[np.ndarray],
    *,
    kind: str,
    rng: np.random.Generator,
    tick: Callable[[], object] | None = None,
) -> list[np.ndarray]:
    """Return the probabilities that logistic regression on thumbnails gives to other cohorts.

    Everything (means, spreads, weights) is learned on the training cohort.

    Parameters
    ----------
    training : ndarray, (n, d)
        Thumbnails as rows of numbers.
    training_truth : ndarray, (n, outputs)
        1, 0 or NaN; one-hot for labels with several levels.
    others : list of ndarray, (m, d)
    kind : {"binary", "multilabel", "multiclass", "ordinal"}
    rng : numpy.random.Generator
        Draws the sample when there are more than 20,000 training cases.
    tick : callable, optional
        Called ``fits(kind, outputs)`` times, once after each regression: a large cohort takes half a minute.

    Returns
    -------
    list of ndarray, (m, outputs)

    Examples
    --------
    >>> x = np.linspace(-1, 1, 400)[:, None]
    >>> (p,) = logistic(x, (x > 0).astype(float), [np.array([[-0.9], [0.9]])], kind="binary", rng=np.random.default_rng(0))
    >>> bool(p[0, 0] < 0.2 and p[1, 0] > 0.8)
    True
    """
    tick = tick or (lambda: None)
    rows = np.arange(len(training))
    if len(rows) > MOST_TRAINING:
        rows = np.sort(rng.choice(rows, MOST_TRAINING, replace=False))
    x, y = np.asarray(training, float)[rows], np.asarray(training_truth, float)[rows]
    scale = StandardScaler().fit(x)
    x, targets = (
        scale.transform(x),
        [scale.transform(np.asarray(o, float)) if len(o) else np.asarray(o) for o in others],
    )
    if kind in ("multiclass", "ordinal"):
        known = ~np.isnan(y).any(1)
        return _probabilities(x[known], y[known].argmax(1), targets, levels=y.shape[1], tick=tick)
    columns = []
    for j in range(y.shape[1]):
        known = ~np.isnan(y[:, j])
        found = _probabilities(x[known], y[known, j].astype(int), targets, levels=2, tick=tick)
        columns.append([p[:, 1:] for p in found])
    return [np.concatenate(parts, axis=1) for parts in zip(*columns, strict=True)]


def nearest(training: np.ndarray, training_truth: np.ndarray, others: list[np.ndarray]) -> list[np.ndarray]:
    """Return, for each case of other cohorts, how near its nearest training case with each answer lies.

    The nearest neighbour on thumbnails, as a share: 1 when only a case with the finding is near, 0 when only one
    without is, so that cases can be ranked. A copy of a training case gets its answer.

    Parameters
    ----------
    training : ndarray, (n, d)
    training_truth : ndarray, (n, outputs)
        1, 0 or NaN; one-hot for labels with several levels.
    others : list of ndarray, (m, d)

    Returns
    -------
    list of ndarray, (m, outputs)

    Examples
    --------
    >>> x, y = np.array([[0.0], [1.0]]), np.array([[0.0], [1.0]])
    >>> nearest(x, y, [np.array([[0.25], [1.0]])])[0].ravel().tolist()
    [0.25, 1.0]
    """
    x, y = np.asarray(training, float), np.asarray(training_truth, float)
    out = [np.full((len(o), y.shape[1]), 0.5) for o in others]
    for j in range(y.shape[1]):
        there, absent = x[y[:, j] == 1], x[y[:, j] == 0]
        for o, target in zip(out, others, strict=True):
            if not len(there) or not len(absent):
                o[:, j] = float(len(there) > 0)
            elif len(target):
                with_it, without = _distance(target, there), _distance(target, absent)
                both = with_it + without
                o[:, j] = np.divide(without, both, out=np.full(len(o), 0.5), where=both > 0)
    return out


def _distance(target: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Return the distance of each row to the nearest row among others, in bounded memory."""
    squares, found = (among**2).sum(axis=1), np.empty(len(target))
    block = max(1, 20_000_000 // max(len(among), 1))
    for start in range(0, len(target), block):
        part = np.asarray(target[start : start + block], float)
        gap = (part**2).sum(axis=1)[:, None] - 2 * part @ among.T + squares
        found[start : start + block] = np.sqrt(np.maximum(gap.min(axis=1), 0))
    return np.where(found < 1e-6, 0.0, found)


def fits(kind: str, outputs: int) -> int:
    """Return how many regressions `logistic` fits: for each shrinkage one, and then the chosen one, for each label.

    Examples
    --------
    >>> fits("binary", 1), fits("multilabel", 3), fits("multiclass", 3)
    (5, 15, 5)
    """
    return (len(SHRINKAGES) + 1) * (1 if kind in ("multiclass", "ordinal") else outputs)


def _probabilities(
    x: np.ndarray, y: np.ndarray, targets: list[np.ndarray], *, levels: int, tick: Callable[[], object]
) -> list[np.ndarray]:
    """Fit one regression and return (m, levels) for each target; a level never seen gets probability 0."""
    seen = np.unique(y)
    out = [np.zeros((len(t), levels)) for t in targets]
    if len(seen) < 2:
        for _ in range(fits("binary", 1)):
            tick()
        for o in out:
            o[:, seen] = 1.0
        return out
    with warnings.catch_warnings():  # 200 steps are enough for a floor; that the last digit still moves is no news
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = LogisticRegression(C=_shrinkage(x, y, tick), max_iter=200).fit(x, y)
    tick()
    for o, t in zip(out, targets, strict=True):
        if len(t):
            o[:, model.classes_] = model.predict_proba(t)
    return out


def _shrinkage(x: np.ndarray, y: np.ndarray, tick: Callable[[], object]) -> float:
    """Choose how strongly to shrink, by cross-validation on training cases alone (at most 2,000 of them)."""
    fewest = np.bincount(y)[np.unique(y)].min()
    if fewest < 6:
        for _ in SHRINKAGES:
            tick()
        return 0.01  # too few of one answer to choose by: shrink strongly
    every = slice(None, None, max(1, len(x) // 2000))
    folds = StratifiedKFold(3)
    loss = {}
    for c in SHRINKAGES:
        line = LogisticRegression(C=c, max_iter=200)
        loss[c] = -cross_val_score(line, x[every], y[every], cv=folds, scoring="neg_log_loss").mean()
        tick()
    return min(loss, key=loss.get)
