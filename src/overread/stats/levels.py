"""Figures of a label with several levels: the call is the most probable one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from overread.domain import Estimate
from overread.stats.jackknife import FISHER, LOG, few, jackknifed, limits, without_each
from overread.stats.ranking import macro_auroc
from overread.stats.resample import Cases, cases, per_patient
from overread.stats.shares import counted, mover, proportion, shares, together, wilson

Figures = dict[str, "Estimate | dict"]


def multiclass_figures(
    truth: Sequence,
    probability: np.ndarray,
    *,
    levels: Sequence[str],
    ordinal: bool = False,
    patients: Sequence | None = None,
) -> Figures:
    """Return the figures of a label with several levels; the call is the most probable level.

    Parameters
    ----------
    truth : sequence of float, (n,)
        Index of the level; NaN is unknown.
    probability : ndarray, (n, levels)
    levels : sequence of str
    ordinal : bool
        True adds Cohen's kappa with quadratic weights.

    Returns
    -------
    dict
        auroc (macro: mean over the levels of the one-against-the-rest AUROC, as MedMNIST defines it), accuracy,
        accuracy_at_half (the same figure: the most probable level), balanced_accuracy, brier (over all levels),
        kappa_quadratic when ordinal; confusion as ``{"levels", "counts"}``, truth down, call across.

    Examples
    --------
    >>> p = np.array([[.8, .1, .1], [.2, .6, .2], [.1, .2, .7], [.5, .3, .2]])
    >>> f = multiclass_figures([0, 1, 2, 1], p, levels=["a", "b", "c"])
    >>> f["confusion"]["counts"]
    [[1, 0, 0], [1, 1, 0], [0, 0, 1]]
    """
    c = cases(truth, probability, patients)
    k = len(levels)
    call = c.score.argmax(1) if len(c.truth) else np.zeros(0, int)
    counts = np.bincount(c.truth * k + call, minlength=k * k).reshape(k, k)
    accuracy = proportion(c, call == c.truth, np.ones(len(c.truth), bool), nobody="no cases")
    figures: Figures = {
        "auroc": macro_auroc(c, k),
        "accuracy": accuracy,
        "accuracy_at_half": accuracy,
        "balanced_accuracy": balanced_accuracy(c, call),
        "brier": mean_error(c, ((c.score - np.eye(k)[c.truth]) ** 2).sum(1), most=2.0),
    }
    if ordinal:
        figures["kappa_quadratic"] = kappa(c, call, k)
    return figures | {"confusion": {"levels": list(levels), "counts": counts.tolist()}}


def balanced_accuracy(c: Cases, call: np.ndarray) -> Estimate:
    """Return the mean over the answers (0 … levels − 1 in ``truth``) of the share called rightly.

    The intervals of the shares are combined (MOVER), with what they have in common by coming from the same patients.
    """
    levels = np.unique(c.truth)
    if len(levels) < 2:
        return c.undefined("one answer only")
    right, there = call == c.truth, [c.truth == v for v in levels]
    s = shares(counted(c, *(right & here for here in there)), counted(c, *there))
    weight = np.full(len(levels), 1 / len(levels))
    value, low, high = mover(s.value, s.low, s.high, weight, together(s.pull))
    return c.estimate(value, max(0.0, low), min(1.0, high), f"Wilson by answer, combined by MOVER{few(c)}")


def mean_error(c: Cases, error: np.ndarray, *, most: float = 1.0) -> Estimate:
    """Return the mean of an error (n,) between 0 and ``most``: the jackknife over patients on the log scale.

    Where fewer than three patients are far off (a quarter of ``most`` or more: called wrongly, or nearly), the upper end
    is at least that of Wilson's interval on patients: who is far off has then hardly been seen, and may yet come.
    """
    if not len(error):
        return c.undefined("no cases")
    value, pull = without_each(
        np.stack([per_patient(c, error), per_patient(c, np.ones(len(error)))], axis=1), lambda s: s[..., 0] / s[..., 1]
    )
    low, high = (end * most for end in wilson(min(value / most, 1.0) * c.patients, c.patients))
    if value > 0 and np.isfinite(limits(value, pull, LOG)[0]):
        e = jackknifed(c, value, pull, LOG)
        if far_off(c, error, most=most) >= 3:
            return c.estimate(e.value, e.low, min(most, e.high), e.method)
        told = f"{e.method}; upper end by Wilson, as hardly a patient is far off"
        return c.estimate(e.value, e.low, min(most, max(e.high, high)), told)
    return c.estimate(value, low, high, f"Wilson on {c.patients:,} patients, as no case differs")


def far_off(c: Cases, error: np.ndarray, *, most: float = 1.0) -> int:
    """Return how many patients have an image with an error of a quarter of ``most`` or more."""
    return int(np.count_nonzero(np.bincount(c.patient[error >= most / 4])))


def kappa(c: Cases, call: np.ndarray, k: int) -> Estimate:
    """Return Cohen's kappa with quadratic weights: agreement on an ordered scale beyond chance.

    The jackknife over patients, on Fisher's scale. With a kappa of 1 no case differs; as many as Wilson's interval on
    patients leaves open are then taken to lie as far off as by chance.

    References
    ----------
    Cohen 1968, doi:10.1037/h0026256.
    """
    if len(np.unique(c.truth)) < 2:
        return c.undefined("one answer only")
    value, pull = kappa_pull(c, call, k)
    if abs(value) < 1 and np.isfinite(limits(value, pull, FISHER)[0]):
        return jackknifed(c, value, pull, FISHER)
    return c.estimate(value, *wrong_by_chance(value, c.patients), _no_case_differs(c))


def kappa_pull(c: Cases, call: np.ndarray, k: int) -> tuple[float, np.ndarray]:
    """Return Cohen's kappa with quadratic weights, and what it loses without each patient (patients,)."""
    tables = np.bincount(c.patient * k * k + c.truth * k + call, minlength=c.patients * k * k).reshape(-1, k * k)
    distance = (np.arange(k)[:, None] - np.arange(k)) ** 2.0

    def agreement(sums: np.ndarray) -> np.ndarray:
        seen = sums.reshape(*sums.shape[:-1], k, k)
        apart = np.einsum("...i,ij,...j->...", seen.sum(-1), distance, seen.sum(-2)) / seen.sum((-1, -2))
        return 1 - (seen * distance).sum((-1, -2)) / apart

    return without_each(tables.astype(float), agreement)


def wrong_by_chance(value: float, patients: int) -> tuple[float, float]:
    """Return an interval of an agreement (−1 to 1) that no patient contradicts, on so many patients.

    Examples
    --------
    >>> "{:.3f} {:.3f}".format(*wrong_by_chance(1.0, 60))
    '0.940 1.000'
    """
    low, high = wilson(min(abs(value), 1.0) * patients, patients)
    return (low, high) if value >= 0 else (-high, -low)


def _no_case_differs(c: Cases) -> str:
    return f"Wilson on {c.patients:,} patients, as too few cases differ"
