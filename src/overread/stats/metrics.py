"""Every figure with its 95 % interval, the number of cases behind it, and how the interval was found.

Closed forms where each patient has one image (DeLong, Wilson); else, and for figures without a closed form, whole
patients are drawn with replacement (`overread.stats.resample`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy import optimize, stats

from overread.domain import Estimate
from overread.stats.clustered import clustered_delong
from overread.stats.decisions import figures as worth
from overread.stats.reliability import reliability
from overread.stats.resample import REPLICATES, Cases, Z, bootstrap, cases, interval, per_patient, proportion, wilson

# --- ranking ----------------------------------------------------------------------------------------------------------


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


def weighted_ap(truth: np.ndarray, score: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function from weights (replicates, n) to weighted average precisions (replicates,)."""
    order = np.argsort(-score, kind="stable")
    present = np.flatnonzero(truth[order] == 1)
    last = np.searchsorted(-score[order], -score[order][present], side="right") - 1  # of the cases that score the same
    found = np.searchsorted(present, last, side="right") - 1  # the last positive among them

    def figure(w: np.ndarray) -> np.ndarray:
        w = np.take(w, order, axis=1)
        pos = np.take(w, present, axis=1)
        hits = np.take(np.cumsum(pos, axis=1), found, axis=1)
        seen = np.take(np.cumsum(w, axis=1), last, axis=1)
        precision = np.divide(hits, seen, out=np.zeros(seen.shape), where=seen > 0)
        return np.einsum("ij,ij->i", pos, precision) / pos.sum(1)

    return figure


def mean_auroc(truth: np.ndarray, score: np.ndarray) -> float:
    """Return the mean AUROC over the outputs that are defined, without an interval: to watch training by.

    ``truth`` (n, outputs) is 0, 1 or NaN; NaN comes back when no output has both answers.
    """
    found = []
    for y, s in zip(np.atleast_2d(truth.T), np.atleast_2d(score.T), strict=True):
        known = ~np.isnan(y)
        if 0 < y[known].sum() < known.sum():
            found.append(delong(y[known], s[known])[0])
    return float(np.mean(found)) if found else float("nan")


def _separated(m: int, n: int) -> float:
    """Return the lower 95 % limit of an AUROC of 1 seen on m positives and n negatives.

    References
    ----------
    Newcombe 2006, method 5, doi:10.1002/sim.2324.
    """
    middle = (m + n) / 2

    def gap(a: float) -> float:
        spread = a * (1 - a) * (1 + (middle - 1) * ((1 - a) / (2 - a) + a / (1 + a))) / (m * n)
        return (1 - a) - Z * np.sqrt(spread)

    return float(optimize.brentq(gap, 1e-9, 1 - 1e-12))


def auroc(c: Cases, *, rng: np.random.Generator, replicates: int = REPLICATES) -> Estimate:
    """Return the area under the ROC curve: the chance that a case with the finding scores above one without.

    DeLong's interval on the logit scale, over patients and with Student's t where some have several images
    (`overread.stats.clustered`); a patient bootstrap where an answer is seen in one patient only. When the two groups
    do not overlap at all all of them would say ±0; Newcombe's limit is given then.
    """
    m, n = int((c.truth == 1).sum()), int((c.truth == 0).sum())
    if not m or not n:
        return c.undefined(f"{m} cases with the finding and {n} without")
    value, variance = delong(c.truth, c.score)
    if value in (0.0, 1.0):
        who = [len(np.unique(c.patient[c.truth == answer])) for answer in (1, 0)]
        low = _separated(*who)
        low, high = (low, 1.0) if value == 1 else (0.0, 1 - low)
        return c.estimate(value, low, high, "Newcombe 2006 (the groups do not overlap)")
    told, wide = "DeLong (logit scale)", Z
    if not c.alone:
        _, variance, freedom = clustered_delong(c)
        told, wide = "DeLong over patients (Obuchowski; logit scale)", stats.t.ppf(0.975, freedom)
    if np.isfinite(variance) and variance > 0:
        centre, half = np.log(value / (1 - value)), wide * np.sqrt(variance) / (value * (1 - value))
        low, high = 1 / (1 + np.exp(-(centre + half * np.array([-1, 1]))))
        return c.estimate(value, low, high, told)
    samples = bootstrap(c, weighted_auroc(c.truth, c.score), rng=rng, replicates=replicates)
    return c.estimate(value, *interval(samples))


def average_precision(c: Cases, *, rng: np.random.Generator, replicates: int = REPLICATES) -> Estimate:
    """Return the average precision: the mean share of true alarms, over all alarm rates (chance: the prevalence)."""
    m, n = int((c.truth == 1).sum()), int((c.truth == 0).sum())
    if not m or not n:
        return c.undefined(f"{m} cases with the finding and {n} without")
    figure = weighted_ap(c.truth, c.score)
    return c.estimate(
        figure(np.ones((1, len(c.truth))))[0], *interval(bootstrap(c, figure, rng=rng, replicates=replicates))
    )


# --- decisions and probabilities --------------------------------------------------------------------------------------


def balanced_accuracy(c: Cases, call: np.ndarray, *, rng, replicates: int = REPLICATES) -> Estimate:
    """Return the mean over the answers (0 … levels − 1 in ``truth``) of the share called rightly."""
    levels = np.unique(c.truth)
    if len(levels) < 2:
        return c.undefined("one answer only")
    right = call == c.truth
    hits = np.stack([per_patient(c, (right & (c.truth == v)).astype(float)) for v in levels], axis=1)
    ones = np.stack([per_patient(c, (c.truth == v).astype(float)) for v in levels], axis=1)
    value = float(np.mean(hits.sum(0) / ones.sum(0)))
    if c.alone:
        return c.estimate(value, *_mover(hits.sum(0), ones.sum(0)), "Wilson, combined by MOVER")
    if value in (0.0, 1.0):
        seen = (ones > 0).sum(0)
        return c.estimate(
            value, *_mover(seen * value, seen), "Wilson on patients, combined by MOVER, as no case differs"
        )
    samples = bootstrap(
        c, lambda w: np.mean((w @ hits) / (w @ ones), axis=1), rng=rng, replicates=replicates, by_patient=True
    )
    return c.estimate(value, *interval(samples))


def _mover(hits: np.ndarray, of: np.ndarray) -> tuple[float, float]:
    """Return the interval of a mean of independent proportions from their Wilson intervals (Zou, Donner 2008)."""
    p = hits / of
    limits = np.array([wilson(k, n) for k, n in zip(hits, of, strict=True)])
    half = np.sqrt(((p[:, None] - limits) ** 2).sum(0)) / len(p)
    return float(max(0, p.mean() - half[0])), float(min(1, p.mean() + half[1]))


def brier(c: Cases, *, rng, replicates: int = REPLICATES) -> tuple[Estimate, Estimate]:
    """Return the Brier score (mean squared error of the probabilities; 0 is perfect) and the Brier skill.

    Skill is the share of the score of always saying the prevalence that is saved: 1 is perfect, 0 is no use, and
    below 0 is worse than saying the prevalence.
    """
    if not len(c.truth):
        return c.undefined("no cases"), c.undefined("no cases")
    error, ones = per_patient(c, (c.score - c.truth) ** 2), per_patient(c, np.ones(len(c.truth)))
    positives = per_patient(c, c.truth.astype(float))

    def score(w: np.ndarray) -> np.ndarray:
        return (w @ error) / (w @ ones)

    def skill(w: np.ndarray) -> np.ndarray:
        share = (w @ positives) / (w @ ones)
        return 1 - score(w) / (share * (1 - share))

    both = bootstrap(
        c, lambda w: np.stack([score(w), skill(w)], axis=1), rng=rng, replicates=replicates, by_patient=True
    )
    once = np.ones((1, c.patients))
    plain = c.estimate(score(once)[0], *interval(both[:, 0]))
    if len(np.unique(c.truth)) < 2:
        return plain, c.undefined("one answer only")
    return plain, c.estimate(skill(once)[0], *interval(both[:, 1]))


Figures = dict[str, "Estimate | dict"]


def binary_figures(
    truth: Sequence,
    probability: np.ndarray,
    *,
    threshold: float | None = None,
    called: np.ndarray | None = None,
    patients: Sequence[str | None] | None = None,
    rng: np.random.Generator,
    replicates: int = REPLICATES,
) -> Figures:
    """Return every figure of one yes-or-no label at a threshold fixed beforehand, or at the calls ``called`` (n,).

    Returns
    -------
    dict
        auroc, ap, sensitivity, specificity, ppv, npv, accuracy, accuracy_at_half (calls at 0.5, only to compare
        with published tables), balanced_accuracy, brier, brier_skill, lr_plus, lr_minus, mcc, slope, intercept as
        `Estimate`; decision_curve (`overread.stats.decisions.decision_curve`); confusion as
        ``{"tp", "fp", "fn", "tn", "threshold"}``; prevalence as `Estimate`.

    Examples
    --------
    >>> f = binary_figures([1, 1, 0, 0], np.array([.9, .4, .3, .2]), threshold=.35, rng=np.random.default_rng(0))
    >>> f["confusion"]
    {'tp': 2, 'fp': 0, 'fn': 0, 'tn': 2, 'threshold': 0.35}
    >>> print(f["sensitivity"], f["accuracy_at_half"].value)
    1.000 (0.342–1.000) 0.75
    """
    c = cases(truth, probability, patients)
    call = c.score >= threshold if called is None else np.asarray(called)[~np.isnan(np.asarray(truth, float))]
    present = c.truth == 1
    how = {"rng": rng, "replicates": replicates}
    every = np.ones(len(c.truth), bool)

    def share(hit: np.ndarray, of: np.ndarray, nobody: str) -> Estimate:
        return proportion(c, hit, of, nobody=nobody)

    plain, skill = brier(c, **how)
    return {
        "auroc": auroc(c, **how),
        "ap": average_precision(c, **how),
        "sensitivity": share(call, present, "no case with the finding"),
        "specificity": share(~call, ~present, "no case without the finding"),
        "ppv": share(present, call, "no case called present"),
        "npv": share(~present, ~call, "no case called absent"),
        "accuracy": share(call == present, every, "no cases"),
        "accuracy_at_half": share((c.score >= 0.5) == present, every, "no cases"),
        "balanced_accuracy": balanced_accuracy(c, call.astype(int), **how),
        "brier": plain,
        "brier_skill": skill,
        "prevalence": share(present, every, "no cases"),
        **worth(c, call, **how),
        **reliability(c),
        "confusion": {
            "tp": int((call & present).sum()),
            "fp": int((call & ~present).sum()),
            "fn": int((~call & present).sum()),
            "tn": int((~call & ~present).sum()),
            "threshold": None if called is not None else float(threshold),
        },
    }


def brief_figures(truth, probability, *, threshold: float, patients, rng, replicates: int = REPLICATES) -> Figures:
    """Return prevalence, auroc, sensitivity and specificity alone, for a subgroup."""
    c = cases(truth, probability, patients)
    call, present, how = c.score >= threshold, c.truth == 1, {"rng": rng, "replicates": replicates}
    return {
        "prevalence": proportion(c, present, np.ones(len(c.truth), bool), nobody="no cases"),
        "auroc": auroc(c, **how),
        "sensitivity": proportion(c, call, present, nobody="no case with the finding"),
        "specificity": proportion(c, ~call, ~present, nobody="no case without the finding"),
    }


def multiclass_figures(
    truth: Sequence,
    probability: np.ndarray,
    *,
    levels: Sequence[str],
    ordinal: bool = False,
    patients: Sequence[str | None] | None = None,
    rng: np.random.Generator,
    replicates: int = REPLICATES,
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
    >>> f = multiclass_figures([0, 1, 2, 1], p, levels=["a", "b", "c"], rng=np.random.default_rng(0))
    >>> f["confusion"]["counts"]
    [[1, 0, 0], [1, 1, 0], [0, 0, 1]]
    """
    c = cases(truth, probability, patients)
    k = len(levels)
    call = c.score.argmax(1) if len(c.truth) else np.zeros(0, int)
    counts = np.bincount(c.truth * k + call, minlength=k * k).reshape(k, k)
    how = {"rng": rng, "replicates": replicates}
    accuracy = proportion(c, call == c.truth, np.ones(len(c.truth), bool), nobody="no cases")
    figures: Figures = {
        "auroc": _macro_auroc(c, k, **how),
        "accuracy": accuracy,
        "accuracy_at_half": accuracy,
        "balanced_accuracy": balanced_accuracy(c, call, **how),
        "brier": _mean(c, ((c.score - np.eye(k)[c.truth]) ** 2).sum(1), **how),
    }
    if ordinal:
        figures["kappa_quadratic"] = _kappa(c, call, k, **how)
    return figures | {"confusion": {"levels": list(levels), "counts": counts.tolist()}}


def _macro_auroc(c: Cases, k: int, *, rng, replicates: int) -> Estimate:
    """Return the mean one-against-the-rest AUROC over the levels that occur."""
    there = [v for v in range(k) if 0 < (c.truth == v).sum() < len(c.truth)]
    if len(there) < 2:
        return c.undefined("one answer only")
    figures = [weighted_auroc((c.truth == v).astype(int), c.score[:, v]) for v in there]

    def macro(w: np.ndarray) -> np.ndarray:
        return np.mean([figure(w) for figure in figures], axis=0)

    if macro(np.ones((1, len(c.truth))))[0] == 1:  # no replicate can differ: that is not certainty
        who = [[len(np.unique(c.patient[part])) for part in (c.truth == v, c.truth != v)] for v in there]
        return c.estimate(1, np.mean([_separated(*w) for w in who]), 1, "mean of Newcombe 2006 (no two levels overlap)")
    low, high, method = interval(bootstrap(c, macro, rng=rng, replicates=replicates))
    missing = "" if len(there) == k else f"; mean over the {len(there)} of {k} levels that occur"
    return c.estimate(macro(np.ones((1, len(c.truth))))[0], low, high, method + missing)


def _mean(c: Cases, values: np.ndarray, *, rng, replicates: int) -> Estimate:
    """Return the mean of ``values`` (n,) over the cases."""
    if not len(values):
        return c.undefined("no cases")
    sums, ones = per_patient(c, values), per_patient(c, np.ones(len(values)))
    samples = bootstrap(c, lambda w: (w @ sums) / (w @ ones), rng=rng, replicates=replicates, by_patient=True)
    return c.estimate(values.mean(), *interval(samples))


def _kappa(c: Cases, call: np.ndarray, k: int, *, rng, replicates: int) -> Estimate:
    """Return Cohen's kappa with quadratic weights: agreement on an ordered scale beyond chance."""
    if len(np.unique(c.truth)) < 2:
        return c.undefined("one answer only")
    tables = np.zeros((c.patients, k * k))
    np.add.at(tables, (c.patient, c.truth * k + call), 1)
    distance = (np.arange(k)[:, None] - np.arange(k)) ** 2

    def kappa(w: np.ndarray) -> np.ndarray:
        seen = (w @ tables).reshape(-1, k, k)
        chance = seen.sum(2)[:, :, None] * seen.sum(1)[:, None, :] / seen.sum((1, 2))[:, None, None]
        return 1 - (seen * distance).sum((1, 2)) / (chance * distance).sum((1, 2))

    samples = bootstrap(c, kappa, rng=rng, replicates=replicates, by_patient=True)
    return c.estimate(kappa(np.ones((1, c.patients)))[0], *interval(samples))


def label_figures(
    truth: np.ndarray,
    probability: np.ndarray,
    *,
    name: str,
    outputs: Sequence[str],
    kind: str,
    thresholds: Sequence[float],
    patients: Sequence[str | None] | None,
    rng: np.random.Generator,
    replicates: int = REPLICATES,
    tick: Callable[[], object] | None = None,
) -> dict[str, Figures]:
    """Return the figures of every label of a task, as ``metrics.json`` holds them.

    Parameters
    ----------
    truth, probability : ndarray, (n, outputs)
        Truth is 1, 0 or NaN; one-hot for labels with several levels.
    name : str
        The label asked for; with several levels it holds the figures over all of them, beside one entry a level.
    outputs : sequence of str
    kind : {"binary", "multilabel", "multiclass", "ordinal"}
    thresholds : sequence of float
        One an output, fixed on the calibration cohort; with several levels no threshold is applied, but each level
        is counted as prediction calls it: where it is the most probable one.
    tick : callable, optional
        Called once for each output when its figures are known: 2,000 resamplings of a large cohort take seconds.
    """
    tick = tick or (lambda: None)
    how = {"patients": patients, "rng": rng, "replicates": replicates}
    every: dict[str, Figures] = {}
    if kind in ("multiclass", "ordinal"):
        level = np.where(np.isnan(truth).any(1), np.nan, truth.argmax(1))
        every[name] = multiclass_figures(level, probability, levels=outputs, ordinal=kind == "ordinal", **how)
        calls = probability.argmax(1)
        for j, output in enumerate(outputs):
            every[output] = binary_figures(truth[:, j], probability[:, j], called=calls == j, **how)
            tick()
        return every
    for j, output in enumerate(outputs):
        every[output] = binary_figures(truth[:, j], probability[:, j], threshold=thresholds[j], **how)
        tick()
    return every
