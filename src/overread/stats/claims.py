"""Who is better, and how sure that is: two models on the same cases, or one against a published figure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy import stats

from overread.domain import Estimate
from overread.stats.clustered import ap_pull, auroc_pull
from overread.stats.jackknife import jackknifed, limits, without_each
from overread.stats.ranking import seen_in
from overread.stats.resample import Cases, Z, per_patient
from overread.stats.shares import counted, mover, shares, together, wilson

MAY_CLAIM = 0.05
"""Above this one-sided p-value of "it is not better", "better" is not said."""


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


def difference_auroc(c: Cases, other: np.ndarray) -> Estimate:
    """Return AUROC(c.score) − AUROC(other) on the same cases, with a paired interval over patients.

    Parameters
    ----------
    c : Cases
    other : ndarray, (n,)
        The other model's scores of the same cases.

    Notes
    -----
    With one image a patient the variance is DeLong's of two correlated curves.

    References
    ----------
    DeLong, DeLong, Clarke-Pearson 1988, doi:10.2307/2531595; Obuchowski 1997, doi:10.2307/2533958.
    """
    return _difference(c, auroc_pull, np.asarray(other, float))


def difference_ap(c: Cases, other: np.ndarray) -> Estimate:
    """Return the average precision of c.score less that of ``other`` on the same cases, paired over patients."""
    return _difference(c, ap_pull, np.asarray(other, float))


def _difference(c: Cases, figure: Callable, other: np.ndarray) -> Estimate:
    if not 0 < c.truth.sum() < len(c.truth):
        return c.undefined("one answer only")
    (mine, pull), (its, other_pull) = figure(c), figure(c, other)
    if min(seen_in(c)) < 3:
        return c.estimate(mine - its, np.nan, np.nan, "an answer in fewer than 3 patients: no interval")
    return bounded(c, mine - its, pull - other_pull, least=min(seen_in(c)))


def difference_mean(c: Cases, first: np.ndarray, second: np.ndarray) -> Estimate:
    """Return the mean over the cases of ``first`` less that of ``second`` (errors from 0 to 1, (n,)), paired."""
    if not len(c.truth):
        return c.undefined("no cases")
    sums = np.stack([per_patient(c, first - second), per_patient(c, np.ones(len(first)))], axis=1)
    value, pull = without_each(sums, lambda s: s[..., 0] / s[..., 1])
    return bounded(c, value, pull, least=c.patients)


def bounded(c: Cases, value: float, pull: np.ndarray, *, least: int) -> Estimate:
    """Return a paired difference between −1 and 1; where no patient tells two models apart, as many as may yet."""
    low, _ = limits(value, pull)
    if np.isfinite(low):
        e = jackknifed(c, value, pull, paired=True)
        return c.estimate(e.value, max(-1.0, e.low), min(1.0, e.high), e.method)
    far = wilson(0, least)[1]
    told = f"Wilson on {least:,} patients, as none tells the two apart"
    return c.estimate(value, max(-1.0, value - far), min(1.0, value + far), told)


def difference_share(c: Cases, first: np.ndarray, second: np.ndarray, of: np.ndarray) -> Estimate:
    """Return the share of the cases ``of`` that are ``first``, less the share that are ``second``, paired.

    Parameters
    ----------
    c : Cases
    first, second, of : ndarray of bool, (n,)

    Notes
    -----
    What only the first has, less what only the second has: two shares of the same cases, each with Wilson's interval,
    combined with what they have in common (MOVER). Where the two never differ the interval is not ±0.

    Examples
    --------
    >>> from overread.stats.resample import cases
    >>> first, second = np.arange(100) < 90, np.arange(100) < 80
    >>> c = cases(np.ones(100), np.ones(100))
    >>> print(difference_share(c, first, second, np.ones(100, bool)))
    0.100 (0.042–0.174)
    """
    part = c.subset(np.flatnonzero(of))
    if not of.any():
        return part.undefined("no such case")
    mine, its = first[of], second[of]
    s = shares(counted(part, mine & ~its, its & ~mine), counted(part, *[np.ones(len(mine), bool)] * 2))
    value, low, high = mover(s.value, s.low, s.high, np.array([1.0, -1.0]), together(s.pull))
    return part.estimate(value, max(-1.0, low), min(1.0, high), "paired; Wilson on patients, combined by MOVER")


def gap(
    first: Estimate,
    second: Estimate,
    *,
    alike: float = 0.0,
    patients: int | None = None,
    pulls: Sequence[np.ndarray] | None = None,
) -> Estimate:
    """Return the difference of one figure between two groups of cases (first − second).

    The ends of both intervals are combined (MOVER), so that neither need be symmetric. Where both are the jackknife's, the
    difference has a jackknife of its own: its error is nearly symmetric where those of the two are not, and the combined
    ends are a tenth to a third too wide.

    Parameters
    ----------
    first, second : Estimate
    alike : float
        How far the errors of the two go together, as `alike` finds it; 0 where the groups share no patient.
    patients : int, optional
        Patients in both groups together, where some are in both.
    pulls : two ndarray, (patients,), optional
        What each group's figure loses without each of them; 0 for a patient who is not in it.

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
    ends = (np.array([getattr(e, end) for e in (first, second)]) for end in ("value", "low", "high"))
    value, low, high = mover(*ends, np.array([1.0, -1.0]), np.array([[1.0, alike], [alike, 1.0]]))
    if None in (first.n_patients, second.n_patients):
        patients = None
    elif patients is None:
        patients = first.n_patients + second.n_patients
    how, doubt, whose = "both intervals combined (MOVER)", "", _drawn(first, second)
    if pulls is not None and all(e.method.startswith("jackknife") for e in (first, second)):
        ends = limits(float(value), pulls[0] - pulls[1])
        if not np.isnan(ends[0]):
            low, high, how = max(-1.0, ends[0]), min(1.0, ends[1]), f"jackknife over {whose}"
            few = any("less sure" in e.method for e in (first, second))
            doubt = f"; an answer in few {whose} of a group: less sure than 95 %" if few else ""
    told = f"difference; {how}{f', with the {whose} in both' if alike else ''}{doubt}"
    n = first.n + second.n
    return Estimate(float(value), float(low), float(high), n=n, n_patients=patients, method=told)


def _drawn(first: Estimate, second: Estimate) -> str:
    """What the intervals of two groups are over, in words: where patients are unknown, what stands in for them."""
    kinds = {
        "patients"
        if e.n_patients is not None
        else "patients or studies"
        if "patients or studies" in e.method
        else "images"
        for e in (first, second)
    }
    if len(kinds) == 1:
        return kinds.pop()
    return "patients or studies" if "patients or studies" in kinds else "patients or images"


def alike(first: np.ndarray, second: np.ndarray) -> float:
    """Return how far the errors of a figure in two groups go together: the correlation of the patients' pulls.

    Parameters
    ----------
    first, second : ndarray, (patients,)
        What the figure of each group loses without the patient; 0 for a patient who is not in it.

    Examples
    --------
    >>> alike(np.array([1.0, -1, 0, 0]), np.array([0.0, 0, 2, -2])), alike(np.array([1.0, -1]), np.array([2.0, -2]))
    (0.0, 1.0)
    """
    both = np.stack([np.where(np.isfinite(p), p, 0.0) for p in (first, second)], axis=1)
    return float(np.round(together(both)[0, 1], 12))


def false_claim(
    ours: Estimate,
    published: float,
    *,
    published_n: int | None = None,
    figure: str = "accuracy",
    share: float | None = None,
) -> dict[str, float | bool | str]:
    """Return how often a lead as large would come by chance if we were no better than a published figure.

    A one-sided p-value: it is not the probability that "better" is false, which would need to know how likely that was
    beforehand. Held to at most 0.05, "better" is said of about 1 in 20 models that only equal the published figure.

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
        p_value (one-sided, of "it is not better"), may_claim, in_words.

    Notes
    -----
    The lead over its standard error, held against the normal curve. Christodoulou et al. read the same number as the
    probability of a false claim: so it is for who held every lead for equally likely beforehand (a flat prior).

    References
    ----------
    Christodoulou et al. 2025, arXiv 2505.04720; Hanley and McNeil 1982, doi:10.1148/radiology.143.1.7063747.

    Examples
    --------
    >>> from overread.stats.shares import wilson
    >>> ours = Estimate(0.950, *wilson(593, 624), n=624, method="Wilson")
    >>> told = false_claim(ours, 0.946)
    >>> round(told["p_value"], 2), told["may_claim"]
    (0.34, False)
    >>> told = false_claim(ours, 0.90, published_n=100, figure="auroc", share=0.1)
    >>> round(told["p_value"], 2), told["in_words"][-80:]
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
        f"{ours.value:.3f} against a published {published:g}: one-sided p = {p:.2g} (how often a lead as large would come "
        "by chance if it were no better)" + ("" if may else ", so that it may not be called better") + aside
    )
    return {"p_value": p, "may_claim": may, "in_words": told}


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
