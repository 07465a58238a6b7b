"""Cross-validation that is honest about itself: who is in which part, one answer a patient, and an interval that holds.

A cohort of a hundred patients cannot spare a testing cohort. It is dealt into parts; each part is tested by networks
that never saw it, and this is done again with other parts. What is measured is the procedure, not one network, and
the parts are no independent witnesses: their training patients are nearly the same. No unbiased estimate of the
variance of a cross-validated figure exists (Bengio and Grandvalet 2004), so none is claimed. The interval stands on
patients, of whom each counts once with the mean of its answers, and is widened by how far the figure moves when the
parts are drawn again. ``docs/statistics.md`` says how often it holds the truth, by simulation.

References
----------
Bengio and Grandvalet 2004, JMLR 5:1089–1105; Nadeau and Bengio 2003, doi:10.1023/A:1024068626366; Bates, Hastie and
Tibshirani 2023, doi:10.1080/01621459.2023.2197686 (it is the procedure that cross-validation measures); Krstajic et al.
2014, doi:10.1186/1758-2946-6-10 (repeated and nested).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import special
from scipy.special import expit, logit, softmax

from overread.domain import Estimate
from overread.errors import CohortError
from overread.stats import calibration as calibrating
from overread.stats import conformal
from overread.stats.guarantee import operating_point

FEW = 300
"""Patients below which testing a fifth of them says too little, and cross-validation is advised (docs/decisions/0026)."""

FEWEST_FOLDS, MOST_FOLDS, MOST_REPEATS = 3, 20, 20

_TINY = 1e-9

ENDS = {
    "slope": (-np.inf, np.inf), "intercept": (-np.inf, np.inf), "brier_skill": (-np.inf, 1.0), "mcc": (-1.0, 1.0),
    "kappa_quadratic": (-1.0, 1.0), "brier": (0.0, 2.0), "lr_plus": (0.0, np.inf), "lr_minus": (0.0, np.inf),
}  # fmt: skip
"""Figure → between which values it can lie; all others are shares, or areas. (Of several levels the Brier score
reaches 2.)"""


def parts(truth: np.ndarray, units: Sequence[Hashable], *, folds: int, rng: np.random.Generator) -> np.ndarray:
    """Return the part of each row, (n,): whole units, and about the same share of each answer in every part.

    Units are dealt out in order of the rarest answer they have, so that each part gets its share even of an answer that
    few have.

    Parameters
    ----------
    truth : ndarray, (n, outputs)
        1, 0 or NaN; one-hot for labels with several levels.
    units : sequence, (n,)
        What is never torn apart: the patient, with all copies of its pictures.
    folds : int
    rng : numpy.random.Generator

    Raises
    ------
    CohortError
        Where an answer has fewer units than there are parts.

    Examples
    --------
    >>> y = np.array([[0.0]] * 8 + [[1.0]] * 4)
    >>> found = parts(y, [0, 0, *range(1, 11)], folds=4, rng=np.random.default_rng(0))
    >>> bool(found[0] == found[1]), sorted(found[8:].tolist())
    (True, [0, 1, 2, 3])
    """
    names, who = np.unique([str(u) for u in units], return_inverse=True)
    answer = _pattern(truth)
    kinds, kind = np.unique(answer, return_inverse=True)
    rarity = np.argsort(np.argsort(np.bincount(kind), kind="stable"))
    of = np.full(len(names), len(kinds))
    np.minimum.at(of, who, rarity[kind])  # a patient counts under the rarest answer it has
    for column, y in enumerate(np.asarray(truth, float).T):
        for value in (0.0, 1.0):
            have = len(np.unique(who[y == value]))
            if 0 < have < folds:
                raise CohortError(
                    f"{folds} parts, and {have} patients with one answer (output {column + 1} of {np.shape(truth)[1]})",
                    expected="at least one patient of each answer in every part",
                    do=f"ask for {have} folds or fewer, merge rare answers, or collect more",
                )
    dealt = np.lexsort((rng.random(len(names)), of))
    part = np.empty(len(names), int)
    part[dealt] = np.arange(len(names)) % folds
    return part[who]


def _pattern(truth: np.ndarray) -> np.ndarray:
    """Return one number for what is known of each row."""
    y = np.nan_to_num(np.asarray(truth, float), nan=2.0).astype(int)
    _, pattern = np.unique(y, axis=0, return_inverse=True)
    return pattern.ravel()


@dataclass(frozen=True, eq=False)
class Crossed:
    """What each row was answered by networks, calibrations and lines that never saw its patient.

    Parameters
    ----------
    probability : ndarray, (repeats, n, outputs)
        Calibrated on patients of other parts.
    interval : ndarray, (repeats, n, outputs, 2)
    threshold : ndarray, (repeats, n, outputs)
        The operating point that held for this row's part.
    slack : ndarray, (repeats, n, outputs, answers)
        How much stranger the answer might have been and still remain possible; below 0 it does not. Of several levels
        one output, the label, with its levels as answers.
    levels : bool
        True where the outputs exclude each other.
    folds : int
        Parts of one repeat.
    """

    probability: np.ndarray
    interval: np.ndarray
    threshold: np.ndarray
    slack: np.ndarray
    levels: bool = False
    folds: int = 5

    def at(self, rows: Sequence[int]) -> Crossed:
        """Return some rows."""
        return self._cut((slice(None), list(rows)))

    def once(self, repeat: int) -> Crossed:
        """Return one repeat alone."""
        return self._cut((slice(repeat, repeat + 1),))

    def _cut(self, where: tuple[Any, ...]) -> Crossed:
        parts = ("probability", "interval", "threshold", "slack")
        return replace(self, **{name: getattr(self, name)[where] for name in parts})

    @property
    def repeats(self) -> int:
        """How often the parts were drawn."""
        return len(self.probability)

    @property
    def mean(self) -> np.ndarray:
        """Return the mean of the answers over the repeats, on the scale of log-odds, (n, outputs)."""
        if self.levels:
            return softmax(np.log(np.maximum(self.probability, _TINY)).mean(axis=0), axis=1)
        return expit(_logit(self.probability).mean(axis=0))

    @property
    def line(self) -> np.ndarray:
        """Return the operating point of each row, meant likewise, (n, outputs)."""
        return expit(_logit(self.threshold).mean(axis=0))

    @property
    def called(self) -> np.ndarray:
        """Return which answers are called present, (n, outputs)."""
        return self.mean >= self.line

    @property
    def ends(self) -> np.ndarray:
        """Return the interval of each probability, (n, outputs, 2), holding the mean."""
        found = expit(_logit(self.interval).mean(axis=0))
        found[..., 0], found[..., 1] = np.minimum(found[..., 0], self.mean), np.maximum(found[..., 1], self.mean)
        return found

    def possible(self, output: int = 0) -> np.ndarray:
        """Return which answers of one label remain possible, (n, answers)."""
        with np.errstate(invalid="ignore"):
            return ~(self.slack[:, :, output].mean(axis=0) < -1e-12)


def _logit(p: np.ndarray) -> np.ndarray:
    return logit(np.clip(p, _TINY, 1 - _TINY))


@dataclass(frozen=True)
class Possible:
    """Answers that remain, decided already: stands in for `overread.stats.conformal.Sets` where cases are referred."""

    held: np.ndarray

    def possible(self, probabilities: np.ndarray) -> np.ndarray:
        """Return them, (n, answers)."""
        return self.held


def widened(
    figure: Estimate, each: Sequence[float], *, folds: int = 5, ends: tuple[float, float] = (0.0, 1.0)
) -> Estimate:
    """Return a figure whose interval also covers how far it moves when the parts are drawn again.

    The half of the interval on each side and the reach of the repeats are added as squares. The reach is that of the
    corrected resampled t: repeats use the same patients, so that the variance of their mean is (1/repeats +
    1/(folds − 1)) of theirs, not 1/repeats; two repeats count as three, or nothing could be said of them.

    Parameters
    ----------
    figure : Estimate
        Of the mean answers, each patient once.
    each : sequence of float
        The same figure of each repeat alone.
    folds : int
    ends : (float, float)
        Between which the figure can lie; a wider interval is cut there.

    References
    ----------
    Nadeau and Bengio 2003, doi:10.1023/A:1024068626366, section 4.

    Examples
    --------
    >>> print(widened(Estimate(0.8, 0.7, 0.9, 50), [0.78, 0.8, 0.82]))
    0.800 (0.680–0.920)
    >>> print(widened(Estimate(0.8, 0.7, 0.9, 50), [0.8]))
    0.800 (0.700–0.900)
    """
    told = np.array([v for v in each if np.isfinite(v)])
    if len(told) < 2 or not np.isfinite([figure.value, figure.low, figure.high]).all():
        return figure
    quantile = float(special.stdtrit(max(len(told) - 1, 2), 0.975))
    reach = quantile * float(np.sqrt(1 / len(told) + 1 / (folds - 1)) * told.std(ddof=1))
    low = figure.value - np.hypot(figure.value - figure.low, reach)
    high = figure.value + np.hypot(figure.high - figure.value, reach)
    bottom, top = min(ends[0], figure.low), max(ends[1], figure.high)
    method = f"{figure.method}; widened by the spread over {len(told)} repeats of the parts"
    return replace(figure, low=float(max(low, bottom)), high=float(min(high, top)), method=method)


def all_widened(figures: Any, each: Sequence[Any], *, folds: int = 5, name: str = "") -> Any:
    """Return nested figures (mappings of mappings of `Estimate`), each widened by the same figure of every repeat.

    What is no `Estimate` stays as it is.
    """
    if isinstance(figures, Estimate):
        return widened(
            figures, [e.value for e in each if isinstance(e, Estimate)], folds=folds, ends=ENDS.get(name, (0.0, 1.0))
        )
    if isinstance(figures, Mapping):
        return {
            k: all_widened(v, [e[k] for e in each if isinstance(e, Mapping) and k in e], folds=folds, name=str(k))
            for k, v in figures.items()
        }
    return figures


def answer(
    logits: np.ndarray,
    held: tuple[np.ndarray, np.ndarray, Sequence[Any]],
    *,
    kind: str,
    sensitivity: float,
    rng: np.random.Generator,
    weights: Sequence[float] | None = None,
) -> Crossed:
    """Return what a part is answered, with probabilities, line and sets learned on other patients: one repeat of it.

    Parameters
    ----------
    logits : ndarray, (n, outputs)
        Raw scores of the part, by a network that never saw its patients.
    held : (logits, truth, patients)
        Of other patients whom that network did not learn from either.
    kind : {"binary", "multilabel", "multiclass", "ordinal"}
    sensitivity : float
        What the operating point must reach.
    rng : numpy.random.Generator
    weights : sequence of float, optional
        How much a positive case counted in training, by output.
    """
    scores, truth, who = held
    fitted = calibrating.fit(scores, truth, who, kind=kind, rng=rng, weights=weights)
    p, ours = fitted.probabilities(scores), fitted.probabilities(logits)
    levels = kind in ("multiclass", "ordinal")
    lines = [
        0.5 if levels else operating_point(p[:, j], truth[:, j], who, sensitivity=sensitivity)["threshold"]
        for j in range(p.shape[1])
    ]
    if levels:
        warm = 1 / fitted.slope[0]
        level = np.where(np.isnan(truth).any(1), np.nan, np.nan_to_num(truth).argmax(1))
        sets = [conformal.fit(p, level, who, temperature=warm)]
        strange = [conformal.strangeness(ours, warm)]
    else:
        two = [np.stack([1 - q, q], axis=1) for q in p.T]
        sets = [conformal.fit(q, y, who) for q, y in zip(two, truth.T, strict=True)]
        strange = [conformal.strangeness(np.stack([1 - q, q], axis=1)) for q in ours.T]
    slack = np.stack([np.array(s.limits) - far for s, far in zip(sets, strange, strict=True)], axis=1)
    return Crossed(
        ours[None], fitted.interval(logits)[None], np.broadcast_to(np.array(lines, float), ours.shape)[None].copy(),
        slack[None], levels,
    )  # fmt: skip


def together(parts_of: np.ndarray, answered: Sequence[Sequence[Crossed]]) -> Crossed:
    """Return the answers of all rows from those of the parts: ``answered[repeat][part]``, rows in their order.

    Parameters
    ----------
    parts_of : ndarray, (repeats, n)
    answered : sequence of sequence of Crossed
    """
    first = answered[0][0]
    n = parts_of.shape[1]
    found: dict[str, np.ndarray] = {}
    for name in ("probability", "interval", "threshold", "slack"):
        shape = getattr(first, name).shape[2:]
        found[name] = np.full((len(parts_of), n, *shape), np.nan)
        for repeat, row in enumerate(parts_of):
            for part, one in enumerate(answered[repeat]):
                found[name][repeat, row == part] = getattr(one, name)[0]
    return Crossed(**found, levels=first.levels, folds=len(answered[0]))
