"""Who is better, and how sure that is: two models on the same cases, or one against a published figure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy import stats

from overread.domain import Estimate
from overread.stats.resample import REPLICATES, Cases, Z, bootstrap, interval

MAY_CLAIM = 0.05
"""Above this probability of being false, "better" is not said."""


def paired_auroc(truth: np.ndarray, first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """Return the difference of two AUROCs on the same cases (first − second), and DeLong's variance of it.

    References
    ----------
    DeLong, DeLong, Clarke-Pearson 1988, doi:10.2307/2531595.

    Examples
    --------
    >>> y = np.array([0, 0, 1, 1, 1])
    >>> difference, variance = paired_auroc(y, np.array([.1, .2, .3, .4, .5]), np.array([.3, .1, .2, .4, .5]))
    >>> round(difference, 4), round(variance, 4)
    (0.1667, 0.0556)
    """
    parts = []
    for score in (first, second):
        positive, negative = score[truth == 1], score[truth == 0]
        ranks = stats.rankdata(np.concatenate([positive, negative]))
        m, n = len(positive), len(negative)
        over = (ranks[:m] - stats.rankdata(positive)) / n
        under = 1 - (ranks[m:] - stats.rankdata(negative)) / m
        parts.append((over, under))
    over, under = parts[0][0] - parts[1][0], parts[0][1] - parts[1][1]
    variance = over.var(ddof=1) / len(over) + under.var(ddof=1) / len(under)
    return float(over.mean()), float(variance)


def difference_auroc(c: Cases, other: np.ndarray, *, rng, replicates: int = REPLICATES) -> Estimate:
    """Return AUROC(c.score) − AUROC(other) on the same cases, with a paired interval.

    DeLong's where each patient has one image; else whole patients are drawn, for both models the same.

    Parameters
    ----------
    c : Cases
    other : ndarray, (n,)
        The other model's scores of the same cases.
    """
    from overread.stats.metrics import weighted_auroc

    if not 0 < c.truth.sum() < len(c.truth):
        return c.undefined("one answer only")
    value, variance = paired_auroc(c.truth, c.score, other)
    few = min((c.truth == 1).sum(), (c.truth == 0).sum()) < 2
    if c.alone and not few and variance > 0:
        half = Z * np.sqrt(variance)
        return c.estimate(value, max(-1.0, value - half), min(1.0, value + half), "paired DeLong")
    mine, its = weighted_auroc(c.truth, c.score), weighted_auroc(c.truth, np.asarray(other, float))
    return paired(c, lambda w: mine(w) - its(w), rng=rng, replicates=replicates)


def paired(c: Cases, difference: Callable[[np.ndarray], np.ndarray], *, rng, replicates: int = REPLICATES) -> Estimate:
    """Return a difference of two figures on the same cases; ``difference`` maps weights (replicates, n) to it."""
    value = float(difference(np.ones((1, len(c.truth))))[0])
    low, high, told = interval(bootstrap(c, difference, rng=rng, replicates=replicates))
    return c.estimate(value, low, high, f"paired {told}")


def gap(first: Estimate, second: Estimate) -> Estimate:
    """Return the difference of one figure between two groups that share no patient (first − second).

    The ends of both intervals are combined (MOVER), so that neither need be symmetric.

    References
    ----------
    Newcombe 1998, doi:10.1002/(SICI)1097-0258(19980430)17:8<873::AID-SIM779>3.0.CO;2-I; Zou and Donner 2008,
    doi:10.1002/sim.3095.

    Examples
    --------
    >>> told = gap(Estimate(0.9, 0.8, 0.95, n=80, method="Wilson"), Estimate(0.7, 0.6, 0.78, n=100, method="Wilson"))
    >>> print(told)
    0.200 (0.072–0.312)
    """
    value = first.value - second.value
    low = value - np.hypot(first.value - first.low, second.high - second.value)
    high = value + np.hypot(first.high - first.value, second.value - second.low)
    patients = None if None in (first.n_patients, second.n_patients) else first.n_patients + second.n_patients
    return Estimate(
        float(value),
        float(low),
        float(high),
        n=first.n + second.n,
        n_patients=patients,
        method="difference; both intervals combined (MOVER)",
    )


def false_claim(
    ours: Estimate,
    published: float,
    *,
    published_n: int | None = None,
    figure: str = "accuracy",
    share: float | None = None,
) -> dict[str, float | bool | str]:
    """Return the probability that "better than the published figure" is false.

    Parameters
    ----------
    ours : Estimate
        Its interval gives how far it may be off.
    published : float
        A share or an AUROC, between 0 and 1.
    published_n : int, optional
        Testing cases behind it; without it the published figure is taken as exact, which favours the claim.
    figure : str
        "auroc", "sensitivity", "specificity" and "balanced_accuracy" rest on how many of the published cases have the
        finding; any other figure is a share of all of them.
    share : float, optional
        Of our own testing cases that have the finding: the published ones are taken to have it as often, or in half of
        them where it is not known.

    Returns
    -------
    dict
        probability, may_claim, in_words.

    References
    ----------
    Christodoulou et al. 2025, arXiv 2505.04720; Hanley and McNeil 1982, doi:10.1148/radiology.143.1.7063747.

    Examples
    --------
    >>> from overread.stats.resample import wilson
    >>> ours = Estimate(0.950, *wilson(593, 624), n=624, method="Wilson")
    >>> told = false_claim(ours, 0.946)
    >>> round(told["probability"], 2), told["may_claim"]
    (0.34, False)
    >>> told = false_claim(ours, 0.90, published_n=100, figure="auroc", share=0.1)
    >>> round(told["probability"], 2), told["in_words"][-80:]
    (0.23, '(of the published 100 cases, 10 are taken to have the finding, as often as ours)')
    """
    error = (ours.value - ours.low) / Z  # the side that matters: near 1 an interval is longer downwards
    aside = " (the published figure taken as exact)"
    if published_n:
        by_answer = figure in BY_ANSWER
        present = min(max(round(published_n * (0.5 if share is None else share)), 1), max(published_n - 1, 1))
        absent = max(published_n - present, 1)
        error = float(np.hypot(error, np.sqrt(published_variance(published, figure, present, absent))))
        known = "as often as ours" if share is not None else "half of them, as the share is not known"
        aside = f" (of the published {published_n:,} cases, {present:,} are taken to have the finding, {known})"
        aside = aside if by_answer else ""
    gap = ours.value - published
    p = float(stats.norm.sf(gap / error)) if error > 0 else float(gap <= 0)
    may = p <= MAY_CLAIM
    told = (
        f"{ours.value:.3f} against a published {published:g}: the probability that it is not better is {p:.2g}"
        + ("" if may else ", so that it may not be called better")
        + aside
    )
    return {"probability": p, "may_claim": may, "in_words": told}


BY_ANSWER = ("auroc", "sensitivity", "specificity", "balanced_accuracy")
"""Figures whose precision rests on how many cases have the finding and how many do not."""


def published_variance(published: float, figure: str, present: int, absent: int) -> float:
    """Return the variance of a published figure on so many cases with the finding, and so many without.

    An AUROC's is exact for scores that fall off exponentially, and on the safe side for bell-shaped ones with few cases
    of the finding.

    References
    ----------
    Hanley and McNeil 1982, doi:10.1148/radiology.143.1.7063747 (of an AUROC).

    Examples
    --------
    >>> round(published_variance(0.9, "auroc", 10, 90) ** 0.5, 3), round(published_variance(0.9, "ppv", 10, 90) ** 0.5, 3)
    (0.066, 0.03)
    """
    a = published
    one = a * (1 - a)
    if figure == "auroc":
        q1, q2 = a / (2 - a), 2 * a**2 / (1 + a)
        return (one + (present - 1) * (q1 - a**2) + (absent - 1) * (q2 - a**2)) / (present * absent)
    if figure == "balanced_accuracy":
        return (one / present + one / absent) / 4
    return one / {"sensitivity": present, "specificity": absent}.get(figure, present + absent)


def spread(values: Sequence[float]) -> dict[str, float | int]:
    """Return mean, standard deviation, lowest and highest of a figure over seeds.

    Examples
    --------
    >>> spread([0.98, 0.99, 0.97])["sd"].__round__(4)
    0.01
    """
    v = np.asarray(values, float)
    return {
        "seeds": len(v),
        "mean": float(v.mean()),
        "sd": float(v.std(ddof=1)) if len(v) > 1 else float("nan"),
        "low": float(v.min()),
        "high": float(v.max()),
    }
