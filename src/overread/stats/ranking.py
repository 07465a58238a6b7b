"""Figures of ranking: AUROC and average precision, of one model and of two on the same cases."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy import optimize, stats

from overread.domain import Estimate
from overread.stats.clustered import ap_pull, auroc_pull
from overread.stats.jackknife import LOGIT, few, jackknifed, limits
from overread.stats.resample import Cases, Z
from overread.stats.shares import wilson


def delong(truth: np.ndarray, score: np.ndarray) -> tuple[float, float]:
    """Return the AUROC and DeLong's variance of it, in O(n log n).

    References
    ----------
    DeLong, DeLong, Clarke-Pearson 1988, doi:10.2307/2531595; ranks after Sun and Xu 2014, doi:10.1109/LSP.2014.2337313.

    Examples
    --------
    >>> value, variance = delong(np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.35, 0.8]))
    >>> value, variance
    (0.75, 0.125)
    """
    positive, negative = score[truth == 1], score[truth == 0]
    m, n = len(positive), len(negative)
    ranks = stats.rankdata(np.concatenate([positive, negative]))
    over = (ranks[:m] - stats.rankdata(positive)) / n  # share of negatives below each positive
    under = 1 - (ranks[m:] - stats.rankdata(negative)) / m  # share of positives above each negative
    variance = (over.var(ddof=1) / m if m > 1 else np.nan) + (under.var(ddof=1) / n if n > 1 else np.nan)
    return float(over.mean()), float(variance)


def weighted_auroc(truth: np.ndarray, score: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function from weights (replicates, n) to weighted AUROCs (replicates,); ties count one half."""
    present, absent = np.flatnonzero(truth == 1), np.flatnonzero(truth != 1)
    absent = absent[np.argsort(score[absent], kind="stable")]
    low = np.searchsorted(score[absent], score[present], side="left")  # negatives below each positive
    high = np.searchsorted(score[absent], score[present], side="right")  # and those that tie with it
    tied = bool((low != high).any())

    def figure(w: np.ndarray) -> np.ndarray:
        below = np.zeros((len(w), len(absent) + 1))
        np.cumsum(np.take(w, absent, axis=1), axis=1, out=below[:, 1:])
        pos, under = np.take(w, present, axis=1), np.take(below, low, axis=1)
        if tied:
            under = (under + np.take(below, high, axis=1)) / 2
        return np.einsum("ij,ij->i", pos, under) / (pos.sum(1) * below[:, -1])

    return figure


def newcombe(value: float, m: float, n: float) -> tuple[float, float]:
    """Return the 95 % interval of an AUROC of which nothing is known but the numbers with and without the finding.

    For groups that do not overlap, and for an answer seen in too few patients to see how these differ.

    References
    ----------
    Newcombe 2006, method 5, doi:10.1002/sim.2324.

    Examples
    --------
    >>> "{:.3f} {:.3f}".format(*newcombe(1.0, 12, 12)), "{:.2f} {:.2f}".format(*newcombe(0.9, 1, 50))
    ('0.832 1.000', '0.35 0.99')
    """
    middle = (m + n) / 2

    def beyond(a: float) -> float:
        spread = a * (1 - a) * (1 + (middle - 1) * ((1 - a) / (2 - a) + a / (1 + a))) / (m * n)
        return abs(a - value) - Z * np.sqrt(spread)

    least, most = 1e-12, 1 - 1e-12
    here = min(max(value, 1e-9), 1 - 1e-9)
    low = optimize.brentq(beyond, least, here) if value > 0 and beyond(least) > 0 else 0.0
    high = optimize.brentq(beyond, here, most) if value < 1 and beyond(most) > 0 else 1.0
    return float(low), float(high)


def seen_in(c: Cases) -> tuple[int, int]:
    """Return in how many patients the finding is there, and in how many it is not."""
    return c.seen(1), c.seen(0)


def auroc(c: Cases) -> Estimate:
    """Return the area under the ROC curve: the chance that a case with the finding scores above one without.

    The jackknife over patients on the logit scale. Where the groups do not overlap at all, or an answer is seen in
    fewer than three patients, it would say ±0 or hardly more: Newcombe's interval is given then, on patients.
    """
    ill, well = seen_in(c)
    if not ill or not well:
        return c.undefined(f"{(c.truth == 1).sum()} cases with the finding and {(c.truth == 0).sum()} without")
    value, pull = auroc_pull(c)
    if np.ptp(c.score) == 0:
        return c.estimate(0.5, 0.5, 0.5, "every case scores the same")
    if min(ill, well) < 3 or value in (0.0, 1.0) or np.isnan(limits(value, pull, LOGIT)[0]):
        why = ", as the groups do not overlap" if value in (0.0, 1.0) else ""
        return c.estimate(value, *newcombe(value, ill, well), f"Newcombe 2006 on patients{why}{few(c)}")
    return jackknifed(c, value, pull, LOGIT)


def average_precision(c: Cases) -> Estimate:
    """Return the average precision: the mean share of true alarms, over all alarm rates (chance: the prevalence).

    The jackknife over patients on the logit scale. Where no case without the finding scores above one with it, or the
    finding is seen in fewer than three patients, Wilson's interval on the patients who have it.

    References
    ----------
    Boyd, Eng, Page 2013, Area under the precision-recall curve, ECML PKDD (the logit scale).
    """
    ill, well = seen_in(c)
    if not ill or not well:
        return c.undefined(f"{(c.truth == 1).sum()} cases with the finding and {(c.truth == 0).sum()} without")
    value, pull = ap_pull(c)
    if ill < 3 or value == 1 or np.isnan(limits(value, pull, LOGIT)[0]):
        return c.estimate(value, *wilson(value * ill, ill), f"Wilson on the {ill:,} patients with the finding{few(c)}")
    return jackknifed(c, value, pull, LOGIT)


def macro_auroc(c: Cases, k: int) -> Estimate:
    """Return the mean one-against-the-rest AUROC over the levels that occur, of 0 … k − 1."""
    there = [v for v in range(k) if 0 < (c.truth == v).sum() < len(c.truth)]
    if len(there) < 2:
        return c.undefined("one answer only")
    alone = [Cases((c.truth == v).astype(int), c.score[:, v], c.patient, c.known) for v in there]
    each = [auroc_pull(part) for part in alone]
    value, pull = float(np.mean([v for v, _ in each])), np.mean([p for _, p in each], axis=0)
    missing = "" if len(there) == k else f"; mean over the {len(there)} of {k} levels that occur"
    witnesses = [seen_in(part) for part in alone]
    if (np.ptp(c.score[:, there], axis=0) == 0).all():
        return c.estimate(0.5, 0.5, 0.5, "every case scores the same" + missing)
    if min(map(min, witnesses)) < 3 or value in (0.0, 1.0) or np.isnan(limits(value, pull, LOGIT)[0]):
        ends = np.mean([newcombe(v, *w) for (v, _), w in zip(each, witnesses, strict=True)], axis=0)
        why = "no two levels overlap" if value == 1 else "a level in fewer than 3 patients"
        return c.estimate(value, *ends, f"mean of Newcombe 2006 on patients ({why}){missing}")
    e = jackknifed(c, value, pull, LOGIT)
    return c.estimate(e.value, e.low, e.high, e.method + missing)


def against_chance(auroc: Mapping[str, Any]) -> list[str]:
    """Return the warning that must stand beside every other figure of a model that ranks no better than a coin.

    Examples
    --------
    >>> against_chance({"value": 0.7, "low": 0.6, "high": 0.8})
    []
    >>> against_chance({"value": 0.44, "low": 0.36, "high": 0.52})
    ['! no better than chance: a coin has an AUROC of 0.5, and sensitivity or specificity alone say nothing']
    """
    if auroc["value"] is None or auroc["low"] is None or auroc["low"] > 0.5:
        return []
    worse = "worse than" if auroc["high"] < 0.5 else "no better than"
    return [f"! {worse} chance: a coin has an AUROC of 0.5, and sensitivity or specificity alone say nothing"]
