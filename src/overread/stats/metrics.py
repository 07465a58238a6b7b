"""Every figure with its 95 % interval, the number of cases behind it, and how the interval was found.

Shares have Wilson's interval on as many single images as the patients' images count as (`overread.stats.shares`);
other figures that of leaving each patient out in turn (`overread.stats.jackknife`). ``docs/statistics.md`` says how
often each holds the truth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from overread.domain import Estimate
from overread.stats.claims import alike, gap
from overread.stats.clustered import auroc_pull
from overread.stats.decisions import figures as worth
from overread.stats.guarantee import sensitivity_by_patient
from overread.stats.jackknife import SHORT_OF_1, jackknifed, limits, without_each
from overread.stats.levels import Figures, balanced_accuracy, far_off, mean_error, multiclass_figures
from overread.stats.ranking import auroc, average_precision, delong
from overread.stats.reliability import reliability
from overread.stats.resample import Cases, cases, per_patient
from overread.stats.shares import counted, proportion, shares


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


def brier(c: Cases) -> tuple[Estimate, Estimate]:
    """Return the Brier score (mean squared error of the probabilities; 0 is perfect) and the Brier skill.

    Skill is the share of the score of always saying the prevalence that is saved: 1 is perfect, 0 is no use, and
    below 0 is worse than saying the prevalence.
    """
    if not len(c.truth):
        return c.undefined("no cases"), c.undefined("no cases")
    error = (c.score - c.truth) ** 2
    plain = mean_error(c, error)
    if len(np.unique(c.truth)) < 2:
        return plain, c.undefined("one answer only")
    sums = np.stack([per_patient(c, part) for part in (error, np.ones(len(error)), c.truth.astype(float))], axis=1)

    def skill(s: np.ndarray) -> np.ndarray:
        wrong, images, positives = np.moveaxis(s, -1, 0)
        return 1 - wrong * images / (positives * (images - positives))

    value, pull = without_each(sums, skill)
    if far_off(c, error) >= 3 and np.isfinite(limits(value, pull, SHORT_OF_1)[0]):
        return plain, jackknifed(c, value, pull, SHORT_OF_1)
    share = float(np.mean(c.truth))
    ends = (1 - end / (share * (1 - share)) for end in (plain.high, plain.low))
    return plain, c.estimate(value, *ends, f"from the Brier score's: {plain.method}")


def binary_figures(
    truth: Sequence,
    probability: np.ndarray,
    *,
    threshold: float | None = None,
    called: np.ndarray | None = None,
    patients: Sequence[str | None] | None = None,
) -> Figures:
    """Return every figure of one yes-or-no label at a threshold fixed beforehand, or at the calls ``called`` (n,).

    Returns
    -------
    dict
        auroc, ap, sensitivity, sensitivity_by_patient (what an operating point promises), specificity, ppv, npv, accuracy, accuracy_at_half (calls at 0.5, only to compare
        with published tables), balanced_accuracy, brier, brier_skill, lr_plus, lr_minus, mcc, slope, intercept as
        `Estimate`; decision_curve (`overread.stats.decisions.decision_curve`); confusion as
        ``{"tp", "fp", "fn", "tn", "threshold"}``; prevalence as `Estimate`.

    Examples
    --------
    >>> f = binary_figures([1, 1, 0, 0], np.array([.9, .4, .3, .2]), threshold=.35)
    >>> f["confusion"]
    {'tp': 2, 'fp': 0, 'fn': 0, 'tn': 2, 'threshold': 0.35}
    >>> print(f["sensitivity"], f["accuracy_at_half"].value)
    1.000 (0.342–1.000) 0.75
    """
    c = cases(truth, probability, patients)
    call = c.score >= threshold if called is None else np.asarray(called)[~np.isnan(np.asarray(truth, float))]
    present = c.truth == 1
    every = np.ones(len(c.truth), bool)

    def share(hit: np.ndarray, of: np.ndarray, nobody: str) -> Estimate:
        return proportion(c, hit, of, nobody=nobody)

    plain, skill = brier(c)
    return {
        "auroc": auroc(c),
        "ap": average_precision(c),
        "sensitivity": share(call, present, "no case with the finding"),
        "sensitivity_by_patient": sensitivity_by_patient(c, call),
        "specificity": share(~call, ~present, "no case without the finding"),
        "ppv": share(present, call, "no case called present"),
        "npv": share(~present, ~call, "no case called absent"),
        "accuracy": share(call == present, every, "no cases"),
        "accuracy_at_half": share((c.score >= 0.5) == present, every, "no cases"),
        "balanced_accuracy": balanced_accuracy(c, call.astype(int)),
        "brier": plain,
        "brier_skill": skill,
        "prevalence": share(present, every, "no cases"),
        **worth(c, call),
        **reliability(c),
        "confusion": {
            "tp": int((call & present).sum()),
            "fp": int((call & ~present).sum()),
            "fn": int((~call & present).sum()),
            "tn": int((~call & ~present).sum()),
            "threshold": None if called is not None else float(threshold),
        },
    }


def brief_figures(truth, probability, *, threshold: float, patients, called: np.ndarray | None = None) -> Figures:
    """Return prevalence, auroc, sensitivity and specificity alone, for a subgroup; at ``called``, (n,), where that is given."""
    c = cases(truth, probability, patients)
    return _told(c, c.score >= threshold if called is None else _known(called, truth))


def _known(called: np.ndarray, truth: Sequence) -> np.ndarray:
    """Return the calls of the cases whose answer is known."""
    return np.asarray(called, bool)[~np.isnan(np.asarray(truth, float))]


def _told(c: Cases, call: np.ndarray) -> Figures:
    present = c.truth == 1
    return {
        "prevalence": proportion(c, present, np.ones(len(c.truth), bool), nobody="no cases"),
        "auroc": auroc(c),
        "sensitivity": proportion(c, call, present, nobody="no case with the finding"),
        "specificity": proportion(c, ~call, ~present, nobody="no case without the finding"),
    }


def brief_gaps(
    truth,
    probability,
    *,
    threshold: float,
    patients,
    groups: tuple[Sequence[int], Sequence[int]],
    called: np.ndarray | None = None,
) -> dict[str, Estimate]:
    """Return by how much a subgroup's figures differ from another's (first − second).

    Parameters
    ----------
    called : ndarray of bool, (n,), optional
        The calls, where each case has a line of its own.
    groups : two sequences of int
        Rows of each group. A patient may have images in both (an older scanner and a newer one): what the two groups'
        figures have in common by that is taken off, as in a paired comparison, and the patient is counted once.

    Returns
    -------
    dict
        auroc, sensitivity, specificity.

    Examples
    --------
    >>> y, p = np.ones(40), np.r_[np.full(30, 0.9), np.full(10, 0.1)]
    >>> here = {"threshold": 0.5, "groups": (range(0, 40, 2), range(1, 40, 2))}
    >>> paired = brief_gaps(y, p, patients=[f"P{i // 2}" for i in range(40)], **here)["sensitivity"]
    >>> strangers = brief_gaps(y, p, patients=[f"P{i}" for i in range(40)], **here)["sensitivity"]
    >>> print(paired, paired.n_patients, strangers, strangers.n_patients)
    0.000 (-0.081–0.081) 20 0.000 (-0.259–0.259) 40
    """
    y = np.asarray(truth, float)
    rows = [np.asarray([i for i in group if not np.isnan(y[i])], int) for group in groups]
    every = np.concatenate(rows)
    both = cases(y[every], np.asarray(probability)[every], [patients[i] for i in every] if patients else None)
    calls = both.score >= threshold if called is None else np.asarray(called, bool)[every]
    told, pulls, seen = [], [], []
    for part in np.split(np.arange(len(every)), [len(rows[0])]):
        c = Cases(both.truth[part], both.score[part], both.patient[part], both.known)
        call, present = calls[part], c.truth == 1
        ranked = present.any() and not present.all()
        pull = {"auroc": auroc_pull(c)[1] if ranked else np.zeros(0)}
        for name, hit, of in (("sensitivity", call, present), ("specificity", ~call, ~present)):
            pull[name] = shares(counted(c, hit & of), counted(c, of)).pull[:, 0] if of.any() else np.zeros(0)
        told.append(_told(both.subset(part), call))
        pulls.append({name: np.pad(p, (0, both.patients - len(p))) for name, p in pull.items()})
        seen.append({"auroc": c.patient, "sensitivity": c.patient[present], "specificity": c.patient[~present]})
    return {
        name: gap(
            *(figures[name] for figures in told),
            alike=alike(*(pull[name] for pull in pulls)),
            patients=len(np.union1d(*(patient[name] for patient in seen))),
            pulls=[pull[name] for pull in pulls] if name == "auroc" else None,
        )
        for name in pulls[0]
    }


def label_figures(
    truth: np.ndarray,
    probability: np.ndarray,
    *,
    name: str,
    outputs: Sequence[str],
    kind: str,
    thresholds: Sequence[float],
    patients: Sequence[str | None] | None,
    called: np.ndarray | None = None,
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
    called : ndarray of bool, (n, outputs), optional
        The calls, where each case has a threshold of its own; not of several levels.
    tick : callable, optional
        Called once for each output when its figures are known.
    """
    tick = tick or (lambda: None)
    how = {"patients": patients}
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
        line = {"threshold": thresholds[j]} if called is None else {"called": called[:, j]}
        every[output] = binary_figures(truth[:, j], probability[:, j], **line, **how)
        tick()
    return every
