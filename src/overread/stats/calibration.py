"""Make probabilities mean what they say, and choose the operating point; both on the calibration cohort only.

A network's raw score (logit) ranks cases but need not be a probability. What the class weights of its training added
is known and is taken off; the rest is mended by a temperature, one number. Only where the calibration cohort itself
shows that a temperature is not enough does a yes-or-no label get a slope and an intercept. All of that is done again on
200 samples of patients drawn with replacement, the choice included: their spread is the doubt about each probability,
kept with the model so that the interval of a case is the same today and next year.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit, softmax

from overread.domain.canonical import plain
from overread.stats import curves
from overread.stats.curves import SLOPES
from overread.stats.resample import Cases, cases, draws

REFITS = 200
MINIMUM_CASES = 20
"""Fewer calibration cases than this teach nothing about probabilities; the raw score is kept, and said to be raw."""

NOT_ENOUGH = 0.05
"""Below this p-value of "a temperature is enough", the calibration cohort is taken to show that it is not."""

CHUNK = 200_000
"""Numbers worked on at once: they stay in the processor's cache."""

TEMPERATURE, CURVE, RAW = "temperature", "slope and intercept", "raw"


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
    methods : tuple of {"temperature", "slope and intercept", "raw"}
        One a label, or the one temperature.
    weights : tuple of float
        How much a positive case counted against a negative one in training, by label; 1 where classes were not weighed.
    p_values : tuple of float or None
        Of "a temperature is enough", by label; None where it was not asked.
    """

    kind: str
    slope: tuple[float, ...]
    intercept: tuple[float, ...]
    refits: tuple[tuple[tuple[float, float], ...], ...]
    n: int
    n_patients: int
    notes: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    weights: tuple[float, ...] = ()
    p_values: tuple[float | None, ...] = ()

    @property
    def method(self) -> str:
        """The calibration in a few words, for all labels."""
        if not self.methods:  # a run of an earlier version
            return TEMPERATURE if self._levels else CURVE
        return "; ".join(dict.fromkeys(self.methods))

    @property
    def in_words(self) -> tuple[str, ...]:
        """How each label's scores (or those of all levels) become probabilities, and why so, in a sentence each."""
        return tuple(self._told(j) for j in range(len(self.methods)))

    def _told(self, j: int) -> str:
        method, slope, intercept = self.methods[j], self.slope[j], self.intercept[j]
        weight = 1.0 if self._levels else self.weights[j]
        off = f"{_signed(np.log(weight))} that the class weights of the training added to the log-odds is taken off"
        if method == RAW:
            return "The raw score is taken as it is" + (f"; the {off}." if weight != 1 else ".")
        on = f"{self.n:,} calibration images"
        if method == CURVE:
            why = f"a temperature alone does not fit them ({_small(self.p_values[j])})"
            return f"Slope {slope:.2f} and intercept {_signed(intercept)}, fitted on {on}, as {why}."
        told = f"Temperature {1 / slope:.2f} (the scores are divided by it), fitted on {on}"
        told += f"; the {off}, by Bayes' rule" if weight != 1 else ""
        p = self.p_values[j]
        return told + (f". They do not show that more is needed ({_small(p)})." if p is not None else ".")

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
        return plain(self) | {"method": self.method, "in_words": list(self.in_words)}

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
            methods=tuple(record.get("methods", ())),
            weights=tuple(record.get("weights", ())),
            p_values=tuple(record.get("p_values", ())),
        )


def fit(
    logits: np.ndarray,
    truth: np.ndarray,
    patients: Sequence[str | None] | None,
    *,
    kind: str,
    rng: np.random.Generator,
    weights: Sequence[float] | None = None,
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
    weights : sequence of float, (outputs,), optional
        How much a positive case counted against a negative one in training (`overread.stats.curves.positive_weights`).
        Without them no class was weighed.

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
    Guo et al. 2017, arXiv 1706.04599 (temperature); Platt 1999, Probabilistic outputs for support vector machines.
    """
    z = np.asarray(logits, float)
    y = np.asarray(truth, float)
    y = y[:, None] if y.ndim == 1 else y
    if kind in ("multiclass", "ordinal"):
        if y.shape[1] > 1:
            y = np.where(np.isnan(y).any(1), np.nan, y.argmax(1))[:, None]
        columns, counted = [cases(y[:, 0], z, patients)], (1.0,)
    elif kind in ("binary", "multilabel"):
        columns = [cases(y[:, j], z[:, j], patients) for j in range(z.shape[1])]
        counted = tuple(float(w) for w in weights) if weights is not None else (1.0,) * z.shape[1]
    else:
        raise ValueError(f"kind {kind!r} is not binary, multilabel, multiclass or ordinal")
    fitted, notes = [], []
    for j, (c, weight) in enumerate(zip(columns, counted, strict=True)):
        answers = len(np.unique(c.truth))
        if len(c.truth) < MINIMUM_CASES or answers < 2:
            which = f"output {j + 1}: " if len(columns) > 1 else ""
            notes.append(f"{which}not calibrated: {len(c.truth)} calibration cases with {answers} different answers")
            fitted.append((RAW, (1.0, 0.0 - float(np.log(weight))), (), None))
            continue
        fitted.append(_fitted(c, rng, weight))
        if fitted[-1][1][0] <= SLOPES[0]:
            notes.append("the scores do not rank the calibration cases: the slope is at its lower bound")
    full = cases(np.where(np.isnan(y).all(1), np.nan, 0), z[:, 0], patients)
    return Calibration(
        kind=kind,
        slope=tuple(float(point[0]) for _, point, _, _ in fitted),
        intercept=tuple(float(point[1]) for _, point, _, _ in fitted),
        refits=tuple(refits for _, _, refits, _ in fitted),
        n=len(full.truth),
        n_patients=full.patients,
        notes=tuple(notes),
        methods=tuple(method for method, _, _, _ in fitted),
        weights=counted,
        p_values=tuple(p for _, _, _, p in fitted),
    )


def _fitted(c: Cases, rng: np.random.Generator, weight: float) -> tuple[str, tuple, tuple, float | None]:
    """Return the method of one label, its slope and intercept, the 200 refits, and the p-value of the choice."""
    drawn = np.concatenate([np.ones((1, c.patients)), *draws(c, rng, REFITS)])  # the cohort itself, then its samples
    blocks = [_curves(c, some, weight) for some in np.array_split(drawn, max(1, len(drawn) * len(c.truth) // CHUNK))]
    found, p = (np.concatenate(part) for part in zip(*blocks, strict=True))
    refits = tuple(tuple(r) for r in found[1:].tolist())
    if np.isnan(p[0]):
        return TEMPERATURE, tuple(found[0]), refits, None
    return CURVE if p[0] < NOT_ENOUGH else TEMPERATURE, tuple(found[0]), refits, float(p[0])


def _curves(c: Cases, drawn: np.ndarray, weight: float) -> tuple[np.ndarray, np.ndarray]:
    """Return slope and intercept (replicates, 2) by the rule, and the p-values (replicates,) that it rests on."""
    counts = drawn[:, c.patient]
    if c.score.ndim > 1:
        return curves.levels_temperature(c, counts), np.full(len(drawn), np.nan)
    found = curves.temperature(c, counts, offset=-float(np.log(weight)))
    p = curves.intercept_test(c, drawn, found)
    more = p < NOT_ENOUGH
    if more.any():
        found[more] = curves.logistic(c, counts[more])
    return found, p


def _signed(v: float) -> str:
    """Return a number with its sign, as it is printed.

    Examples
    --------
    >>> _signed(-0.432), _signed(1.5)
    ('−0.43', '+1.50')
    """
    return f"{v:+.2f}".replace("-", "−")


def _small(p: float) -> str:
    """Return a p-value as a person reads it.

    Examples
    --------
    >>> _small(0.314), _small(0.0021), _small(1e-9)
    ('p = 0.31', 'p = 0.002', 'p < 0.001')
    """
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


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
