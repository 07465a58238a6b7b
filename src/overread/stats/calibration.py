"""Make probabilities mean what they say, and choose the operating point; both on the calibration cohort only.

A network's raw score (logit) ranks cases but need not be a probability. Yes-or-no labels are recalibrated by a
logistic curve (slope and intercept), labels with several levels by a temperature. Both are fitted again on 200 samples
of patients drawn with replacement: their spread is the doubt about each probability, kept with the model so that the
interval of a case is the same today and next year.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit, logit, softmax

from overread.domain.canonical import plain
from overread.stats.resample import Cases, cases, draws

REFITS = 200
MINIMUM_CASES = 20
"""Fewer calibration cases than this teach nothing about probabilities; the raw score is kept, and said to be raw."""

SLOPES = (1e-3, 1e3)
"""A slope is positive: a calibration may stretch the scores, never reverse their order."""


@dataclass(frozen=True)
class Calibration:
    """How raw scores become probabilities.

    Parameters
    ----------
    kind : {"binary", "multilabel", "multiclass", "ordinal"}
    slope, intercept : tuple of float
        One a label for binary and multi-label; for several levels one slope (1 / temperature) and intercept 0.
    refits : tuple of tuple of (slope, intercept)
        For each label (or the one temperature) its 200 refits; empty where it could not be calibrated.
    n, n_patients : int
        Calibration cases and patients.
    notes : tuple of str
        What a reader must know ("not calibrated: …").
    """

    kind: str
    slope: tuple[float, ...]
    intercept: tuple[float, ...]
    refits: tuple[tuple[tuple[float, float], ...], ...]
    n: int
    n_patients: int
    notes: tuple[str, ...] = ()

    @property
    def method(self) -> str:
        """The calibration in words."""
        return "temperature" if self._levels else "logistic recalibration (slope and intercept)"

    @property
    def _levels(self) -> bool:
        return self.kind in ("multiclass", "ordinal")

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Return calibrated probabilities (n, outputs) of raw scores (n, outputs).

        Examples
        --------
        >>> c = Calibration("binary", (2.0,), (-1.0,), ((),), n=0, n_patients=0)
        >>> c.probabilities(np.array([[0.5], [500.0]])).tolist()
        [[0.5], [1.0]]
        """
        z = np.asarray(logits, float)
        if self._levels:
            return softmax(z * self.slope[0], axis=1)
        return expit(z * np.array(self.slope) + np.array(self.intercept))

    def interval(self, logits: np.ndarray) -> np.ndarray:
        """Return the 95 % interval (n, outputs, 2) of each probability; (0, 1) where nothing could be learned."""
        z = np.asarray(logits, float)
        out = np.empty((*z.shape, 2))
        out[..., 0], out[..., 1] = 0.0, 1.0
        point = self.probabilities(z)
        block = max(1, 2_000_000 // (REFITS * max(z.shape[1], 1)))  # at most 16 MB at once
        for start in range(0, len(z), block):
            rows = slice(start, start + block)
            for j, refits in enumerate(self.refits):
                if not refits:
                    continue
                slope, intercept = np.array(refits).T[:, :, None]
                if self._levels:
                    samples = softmax(z[rows][None] * slope[:, :, None], axis=2)
                    out[rows] = np.moveaxis(np.percentile(samples, [2.5, 97.5], axis=0), 0, -1)
                else:
                    out[rows, j] = np.percentile(expit(slope * z[rows, j] + intercept), [2.5, 97.5], axis=0).T
        out[..., 0], out[..., 1] = np.minimum(out[..., 0], point), np.maximum(out[..., 1], point)
        return out

    def to_json(self) -> dict[str, Any]:
        """Return the calibration as it is written to ``calibration.json``."""
        return plain(self) | {"method": self.method}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Calibration:
        """Read a calibration back."""
        return cls(
            kind=record["kind"],
            slope=tuple(record["slope"]),
            intercept=tuple(record["intercept"]),
            refits=tuple(tuple((a, b) for a, b in refits) for refits in record["refits"]),
            n=record["n"],
            n_patients=record["n_patients"],
            notes=tuple(record["notes"]),
        )


def fit(
    logits: np.ndarray,
    truth: np.ndarray,
    patients: Sequence[str | None] | None,
    *,
    kind: str,
    rng: np.random.Generator,
) -> Calibration:
    """Fit the calibration on the calibration cohort, and 200 refits on patients drawn with replacement.

    Parameters
    ----------
    logits : ndarray, (n, outputs)
    truth : ndarray, (n, outputs) or (n,)
        1, 0, or NaN for unknown; for several levels one-hot rows, or the index of the level.
    patients : sequence of str or None, (n,)
    kind : {"binary", "multilabel", "multiclass", "ordinal"}
    rng : numpy.random.Generator

    Returns
    -------
    Calibration
        With fewer than 20 cases or one answer only, the raw probabilities, and a note that says so.

    Notes
    -----
    Targets are drawn in from 0 and 1 by one extra case of each answer (Platt), so that scores which separate the few
    calibration cases perfectly are not turned into certainty, and nothing overflows.

    References
    ----------
    Platt 1999, Probabilistic outputs for support vector machines; Guo et al. 2017, arXiv 1706.04599 (temperature);
    Van Calster et al. 2019, doi:10.1186/s12916-019-1466-7 (slope and intercept).
    """
    z = np.asarray(logits, float)
    y = np.asarray(truth, float)
    y = y[:, None] if y.ndim == 1 else y
    if kind in ("multiclass", "ordinal"):
        if y.shape[1] > 1:
            y = np.where(np.isnan(y).any(1), np.nan, y.argmax(1))[:, None]
        columns = [(cases(y[:, 0], z, patients), _temperature)]
    elif kind in ("binary", "multilabel"):
        columns = [(cases(y[:, j], z[:, j], patients), _logistic) for j in range(z.shape[1])]
    else:
        raise ValueError(f"kind {kind!r} is not binary, multilabel, multiclass or ordinal")
    fitted, notes = [], []
    for j, (c, method) in enumerate(columns):
        answers = len(np.unique(c.truth))
        if len(c.truth) < MINIMUM_CASES or answers < 2:
            which = f"output {j + 1}: " if len(columns) > 1 else ""
            notes.append(f"{which}not calibrated: {len(c.truth)} calibration cases with {answers} different answers")
            fitted.append(((1.0, 0.0), ()))
            continue
        ones = np.ones((1, len(c.truth)))
        weights = np.concatenate([w[:, c.patient] for w in draws(c, rng, REFITS)])
        point, refits = method(c, ones)[0], method(c, weights)
        if point[0] <= SLOPES[0]:
            notes.append("the scores do not rank the calibration cases: the slope is at its lower bound")
        fitted.append((tuple(point), tuple(tuple(r) for r in refits.tolist())))
    full = cases(np.where(np.isnan(y).all(1), np.nan, 0), z[:, 0], patients)
    return Calibration(
        kind=kind,
        slope=tuple(float(p[0]) for p, _ in fitted),
        intercept=tuple(float(p[1]) for p, _ in fitted),
        refits=tuple(r for _, r in fitted),
        n=len(full.truth),
        n_patients=full.patients,
        notes=tuple(notes),
    )


def _logistic(c: Cases, weights: np.ndarray) -> np.ndarray:
    """Return slope and intercept (replicates, 2) by weighted maximum likelihood, the slope within bounds."""
    middle, spread = float(c.score.mean()), float(c.score.std()) or 1.0
    x = (c.score - middle) / spread  # a scale-free problem: Newton's steps are then well conditioned
    m = weights @ (c.truth == 1)
    n = weights @ (c.truth == 0)
    target = np.where(c.truth == 1, ((m + 1) / (m + 2))[:, None], (1 / (n + 2))[:, None])
    low, high = SLOPES[0] * spread, SLOPES[1] * spread
    start = np.stack([np.ones(len(m)), logit((m + 1) / (m + n + 2))], axis=1)
    found = _newton(x, target, weights, start, slope_free=True)
    outside = (found[:, 0] < low) | (found[:, 0] > high)
    if outside.any():  # the problem is convex: the bounded best has its slope on the bound
        edge = np.clip(found[outside], [low, -np.inf], [high, np.inf])
        edge[:, 1] = start[outside, 1]
        found[outside] = _newton(x, target[outside], weights[outside], edge, slope_free=False)
    slope = found[:, 0] / spread
    return np.stack([slope, found[:, 1] - slope * middle], axis=1)


def _newton(x: np.ndarray, target: np.ndarray, w: np.ndarray, start: np.ndarray, *, slope_free: bool) -> np.ndarray:
    """Minimise the weighted cross-entropy of expit(slope · x + intercept), for many weightings at once."""

    def loss(p: np.ndarray) -> np.ndarray:
        eta = p[:, :1] * x + p[:, 1:]
        return (w * (np.logaddexp(0, eta) - target * eta)).sum(1)

    p, value = start.copy(), loss(start)
    for _ in range(50):
        q = expit(p[:, :1] * x + p[:, 1:])
        error, curve = w * (q - target), w * q * (1 - q)
        g0, g1 = (error * x).sum(1), error.sum(1)
        h00, h01, h11 = (curve * x * x).sum(1) + 1e-9, (curve * x).sum(1), curve.sum(1) + 1e-9
        if slope_free:
            det = h00 * h11 - h01**2
            step = np.stack([(h11 * g0 - h01 * g1) / det, (h00 * g1 - h01 * g0) / det], axis=1)
        else:
            step = np.stack([np.zeros_like(g1), g1 / h11], axis=1)
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


def _temperature(c: Cases, weights: np.ndarray) -> np.ndarray:
    """Return (1 / temperature, 0) by weighted maximum likelihood, within bounds: (replicates, 2)."""
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


def straddles(low: float | np.ndarray, high: float | np.ndarray, threshold: float | np.ndarray) -> bool | np.ndarray:
    """Say whether an interval holds the operating point, so that the case is too close to call and is referred.

    A case is called at or above its threshold: an interval that begins exactly there is called, one that ends exactly
    there is not clear of it.

    Examples
    --------
    >>> straddles(0.3, 0.6, 0.5), straddles(0.5, 0.6, 0.5), straddles(0.3, 0.5, 0.5)
    (True, False, True)
    """
    return (low < threshold) & (threshold <= high)


def levels_too_close(probabilities: np.ndarray, intervals: np.ndarray) -> np.ndarray:
    """Say of each case (n,) whether the interval of its most probable level reaches down to the second one.

    Parameters
    ----------
    probabilities : ndarray, (n, levels)
    intervals : ndarray, (n, levels, 2)

    Examples
    --------
    >>> p = np.array([[0.5, 0.4, 0.1], [0.8, 0.1, 0.1]])
    >>> levels_too_close(p, np.stack([p - 0.1, p + 0.1], axis=-1)).tolist()
    [True, False]
    """
    rows = np.arange(len(probabilities))
    first, second = np.argsort(-probabilities, axis=1, kind="stable")[:, :2].T
    return intervals[rows, first, 0] <= probabilities[rows, second]


def operating_point(probabilities: np.ndarray, truth: np.ndarray, *, sensitivity: float = 0.95) -> dict[str, Any]:
    """Return the largest threshold whose sensitivity on the calibration cohort is at least ``sensitivity``.

    A case is called present when its probability is at or above the threshold. Testing only applies it.

    Parameters
    ----------
    probabilities, truth : ndarray, (n,)
        Of one label on the calibration cohort; truth is 1, 0, or NaN for unknown.
    sensitivity : float

    Returns
    -------
    dict
        threshold, rule (in words), cohort ("calibration"), asked, n, positives, achieved (sensitivity), specificity.

    Examples
    --------
    >>> point = operating_point(np.array([.9, .8, .3, .6, .1]), np.array([1, 1, 1, 0, 0]), sensitivity=.66)
    >>> point["threshold"], round(point["achieved"], 3), point["specificity"]
    (0.8, 0.667, 1.0)
    """
    p, y = np.asarray(probabilities, float), np.asarray(truth, float)
    p, y = p[~np.isnan(y)], y[~np.isnan(y)]
    positive = np.sort(p[y == 1])[::-1]
    m, n = len(positive), len(p)
    rule = f"largest threshold with sensitivity of at least {sensitivity:g} on the calibration cohort"
    if m == 0:
        return {
            "threshold": 0.5,
            "rule": f"0.5, as the calibration cohort has no positive case ({rule} was asked for)",
            "cohort": "calibration",
            "asked": sensitivity,
            "n": n,
            "positives": 0,
            "achieved": None,
            "specificity": None,
        }
    needed = max(1, int(np.ceil(sensitivity * m - 1e-9)))
    threshold = float(positive[needed - 1])
    if m * (1 - sensitivity) < 1:
        rule += f"; with {m} positive cases none may be missed, and the sensitivity is known poorly"
    return {
        "threshold": threshold,
        "rule": rule,
        "cohort": "calibration",
        "asked": sensitivity,
        "n": n,
        "positives": m,
        "achieved": float((positive >= threshold).mean()),
        "specificity": float((p[y == 0] < threshold).mean()) if n > m else None,
    }
