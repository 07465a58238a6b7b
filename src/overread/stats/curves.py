"""The curves from a raw score to a probability, fitted by maximum likelihood, for many weightings of the patients at once.

A temperature has one number to learn, a logistic curve two. What the class weights of the training added to the scores
is known beforehand and is no number to learn: it is taken off in closed form.
"""

from __future__ import annotations

import numpy as np
import scipy  # its statistics load when they are first asked for: a prediction asks for none
from scipy.special import expit, logit, softmax

from overread.stats.resample import Cases

SLOPES = (1e-3, 1e3)
"""A slope is positive: a calibration may stretch the scores, never reverse their order."""

MOST = 10.0
"""A positive case counts at most so many times a negative one in training, or as little as the inverse."""


def positive_weights(truth: np.ndarray) -> np.ndarray:
    """Return how much a positive case counts against a negative one in a training that weighs classes, (outputs,).

    Their inverse ratio, within 1/10 and 10: a network so trained answers as if both were equally common.

    Parameters
    ----------
    truth : ndarray, (n, outputs)
        1, 0 or NaN, of the training cohort.

    Examples
    --------
    >>> positive_weights(np.array([[1, 0], [0, 0], [0, np.nan], [0, 0]])).tolist()
    [3.0, 3.0]
    """
    positive, negative = np.nansum(truth == 1, axis=0), np.nansum(truth == 0, axis=0)
    return np.clip(negative / np.maximum(positive, 1), 1 / MOST, MOST)


def smoothed(c: Cases, weights: np.ndarray) -> np.ndarray:
    """Return what is aimed at in each case (replicates, n): 0 and 1 drawn in by one extra case of each answer (Platt)."""
    m, n = weights @ (c.truth == 1), weights @ (c.truth == 0)
    return np.where(c.truth == 1, ((m + 1) / (m + 2))[:, None], (1 / (n + 2))[:, None])


def temperature(c: Cases, weights: np.ndarray, offset: float = 0.0) -> np.ndarray:
    """Return slope (1 / temperature) and intercept (the offset) of a yes-or-no label, the slope within bounds.

    Parameters
    ----------
    c : Cases
    weights : ndarray, (replicates, n)
        How often each case counts.
    offset : float
        What is added to the log-odds after the score was stretched: −log(w) where a positive counted w times in training.

    Returns
    -------
    ndarray, (replicates, 2)

    Notes
    -----
    A network trained with a positive counted w times gives the log-odds of patients among whom the finding is w times
    as likely. The temperature mends its confidence among those; Bayes' rule then takes log(w) off, exactly: a stretched
    score less log(w), not a stretched difference.

    References
    ----------
    Guo et al. 2017, arXiv 1706.04599 (temperature); Saerens, Latinne, Decaestecker 2002,
    doi:10.1162/089976602753284446 (another prior, by Bayes' rule).
    """
    spread = float(np.sqrt(np.mean(c.score**2))) or 1.0
    x, target = c.score / spread, smoothed(c, weights)
    start = np.stack([np.ones(len(weights)), np.full(len(weights), offset)], axis=1)
    found = _newton(x, target, weights, start, free=(True, False))
    slope = np.clip(found[:, 0] / spread, *SLOPES)  # the problem is convex: the bounded best is on the bound
    return np.stack([slope, found[:, 1]], axis=1)


def logistic(c: Cases, weights: np.ndarray) -> np.ndarray:
    """Return slope and intercept (replicates, 2) of a yes-or-no label, the slope within bounds.

    References
    ----------
    Platt 1999, Probabilistic outputs for support vector machines; Van Calster et al. 2019,
    doi:10.1186/s12916-019-1466-7 (slope and intercept).
    """
    middle, spread = float(c.score.mean()), float(c.score.std()) or 1.0
    x = (c.score - middle) / spread  # a scale-free problem: Newton's steps are then well conditioned
    target = smoothed(c, weights)
    m, n = weights @ (c.truth == 1), weights @ (c.truth == 0)
    low, high = SLOPES[0] * spread, SLOPES[1] * spread
    start = np.stack([np.ones(len(m)), logit((m + 1) / (m + n + 2))], axis=1)
    found = _newton(x, target, weights, start)
    outside = (found[:, 0] < low) | (found[:, 0] > high)
    if outside.any():  # the problem is convex: the bounded best has its slope on the bound
        edge = np.clip(found[outside], [low, -np.inf], [high, np.inf])
        edge[:, 1] = start[outside, 1]
        found[outside] = _newton(x, target[outside], weights[outside], edge, free=(False, True))
    slope = found[:, 0] / spread
    return np.stack([slope, found[:, 1] - slope * middle], axis=1)


def intercept_test(c: Cases, drawn: np.ndarray, curve: np.ndarray) -> np.ndarray:
    """Return the p-value (replicates,) of "a temperature is enough", against a logistic curve with a free intercept.

    Parameters
    ----------
    c : Cases
    drawn : ndarray, (replicates, patients)
        How often each patient counts.
    curve : ndarray, (replicates, 2)
        From `temperature`.

    Notes
    -----
    The score test with a spread that adds each patient's images up before they are squared, so that several images of a
    patient are one witness; where each patient has one image it equals the likelihood-ratio test in large cohorts.

    References
    ----------
    Boos 1992, doi:10.1080/00031305.1992.10475921 (generalised score tests).
    """
    weights = drawn[:, c.patient]
    p = expit(curve[:, :1] * c.score + curve[:, 1:])
    bend = weights * p * (1 - p)
    tilt = (bend * c.score).sum(1) / np.maximum((bend * c.score**2).sum(1), 1e-300)
    tilt = np.where((curve[:, 0] <= SLOPES[0]) | (curve[:, 0] >= SLOPES[1]), 0.0, tilt)  # nothing left to be adjusted
    each = (smoothed(c, weights) - p) * (1 - tilt[:, None] * c.score)
    if not c.alone:
        order = np.argsort(c.patient, kind="stable")
        each = np.add.reduceat(each[:, order], np.searchsorted(c.patient[order], np.arange(c.patients)), axis=1)
    else:
        each = each[:, np.argsort(c.patient)]
    statistic = (drawn * each).sum(1) ** 2 / np.maximum((drawn * each**2).sum(1), 1e-300)
    return scipy.stats.f.sf(statistic, 1, max(1, c.patients - 2))


def levels_temperature(c: Cases, weights: np.ndarray) -> np.ndarray:
    """Return slope (1 / temperature) and 0 (replicates, 2) of a label with several levels: scores (n, levels)."""
    drawn_in = 1 / (weights.sum(1) + 1)  # one extra case, spread evenly over the levels
    spread = float(c.score.std(axis=1).mean()) or 1.0
    z = c.score / spread
    aim = (1 - drawn_in)[:, None] * z[np.arange(len(z)), c.truth] + drawn_in[:, None] * z.mean(1)
    low, high = np.full(len(weights), SLOPES[0] * spread), np.full(len(weights), SLOPES[1] * spread)
    slope = np.ones(len(weights))
    for _ in range(100):
        gradient, curve = np.empty(len(weights)), np.empty(len(weights))
        for b, s in enumerate(slope):
            p = softmax(z * s, axis=1)
            mean = (p * z).sum(1)
            gradient[b] = weights[b] @ (mean - aim[b])
            curve[b] = weights[b] @ ((p * z * z).sum(1) - mean**2)
        # the gradient rises steadily with the slope, so its zero stays between low and high
        low, high = np.where(gradient < 0, slope, low), np.where(gradient < 0, high, slope)
        newton = slope - gradient / np.maximum(curve, 1e-12)
        fresh = np.where((newton >= low) & (newton <= high), newton, np.sqrt(low * high))
        moved, slope = np.abs(fresh / slope - 1).max(), fresh
        if moved < 1e-10:
            break
    return np.stack([slope / spread, np.zeros(len(weights))], axis=1)


def _newton(x: np.ndarray, target: np.ndarray, w: np.ndarray, start: np.ndarray, *, free=(True, True)) -> np.ndarray:
    """Minimise the weighted cross-entropy of expit(slope · x + intercept), for many weightings at once."""
    if len(start) > 1:  # what is best for one weighting is near the best for all
        first = _newton(x, target[:1], w[:1], start[:1], free=free)
        start = np.where(free, first, start)

    def loss(p: np.ndarray) -> np.ndarray:
        eta = p[:, :1] * x + p[:, 1:]
        return (w * (np.logaddexp(0, eta) - target * eta)).sum(1)

    p, value = start.copy(), loss(start)
    for _ in range(50):
        q = expit(p[:, :1] * x + p[:, 1:])
        error, curve = w * (q - target), w * q * (1 - q)
        g0, g1 = (error * x).sum(1), error.sum(1)
        h00, h01, h11 = (curve * x * x).sum(1) + 1e-9, (curve * x).sum(1), curve.sum(1) + 1e-9
        if free == (True, True):
            det = h00 * h11 - h01**2
            step = np.stack([(h11 * g0 - h01 * g1) / det, (h00 * g1 - h01 * g0) / det], axis=1)
        else:
            step = np.stack([free[0] * g0 / h00, free[1] * g1 / h11], axis=1)
        size = np.ones(len(p))
        for _ in range(30):  # halve the step wherever it would climb
            fresh = loss(p - size[:, None] * step)
            worse = ~(fresh <= value + 1e-12)
            if not worse.any():
                break
            size[worse] /= 2
        size[worse] = 0
        p, value = p - size[:, None] * step, np.where(worse, value, fresh)
        if np.abs(size[:, None] * step).max() < 1e-10:
            break
    return p
