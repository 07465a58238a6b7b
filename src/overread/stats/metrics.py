"""Every figure with its 95 % interval, the number of cases behind it, and how the interval was found.

Shares have Wilson's interval on as many single images as the patients' images count as (`overread.stats.shares`);
other figures that of leaving each patient out in turn (`overread.stats.jackknife`). ``docs/statistics.md`` says how
often each holds the truth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from overread.domain import Estimate
from overread.stats.claims import alike
from overread.stats.clustered import auroc_pull
from overread.stats.decisions import figures as worth
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
        auroc, ap, sensitivity, specificity, ppv, npv, accuracy, accuracy_at_half (calls at 0.5, only to compare
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


def brief_figures(truth, probability, *, threshold: float, patients) -> Figures:
    """Return prevalence, auroc, sensitivity and specificity alone, for a subgroup."""
    c = cases(truth, probability, patients)
    call, present = c.score >= threshold, c.truth == 1
    return {
        "prevalence": proportion(c, present, np.ones(len(c.truth), bool), nobody="no cases"),
        "auroc": auroc(c),
        "sensitivity": proportion(c, call, present, nobody="no case with the finding"),
        "specificity": proportion(c, ~call, ~present, nobody="no case without the finding"),
    }


def brief_alike(
    truth, probability, *, threshold: float, patients, groups: tuple[Sequence[int], Sequence[int]]
) -> dict[str, float]:
    """Return how far the errors of two groups' figures go together, for the figures of a subgroup.

    Parameters
    ----------
    groups : two sequences of int
        Rows of each group. A patient may have images in both: an older and a newer scanner, an older and a newer age.

    Returns
    -------
    dict
        auroc, sensitivity, specificity: -1 to 1, and 0 where no patient is in both; "patients" in both together.

    Examples
    --------
    >>> same = {"threshold": 0.5, "patients": list("aabbccdd")}
    >>> y, p = np.array([1, 1, 1, 1, 0, 0, 0, 0]), np.array([0.9, 0.8, 0.3, 0.2, 0.6, 0.7, 0.1, 0.2])
    >>> brief_alike(y, p, groups=([0, 2, 4, 6], [1, 3, 5, 7]), **same)["sensitivity"]
    1.0
    >>> brief_alike(y, p, groups=([0, 1, 4, 5], [2, 3, 6, 7]), **same)["sensitivity"]
    0.0
    """
    y = np.asarray(truth, float)
    rows = [np.asarray([i for i in group if not np.isnan(y[i])], int) for group in groups]
    every = np.concatenate(rows)
    both = cases(y[every], np.asarray(probability)[every], [patients[i] for i in every] if patients else None)
    parts = np.split(np.arange(len(every)), [len(rows[0])])
    found: dict[str, list[np.ndarray]] = {"auroc": [], "sensitivity": [], "specificity": []}
    for part in parts:
        c = Cases(both.truth[part], both.score[part], both.patient[part], both.known)
        call, present = c.score >= threshold, c.truth == 1
        for name, hit, of in (("sensitivity", call, present), ("specificity", ~call, ~present)):
            pull = shares(counted(c, hit & of), counted(c, of)).pull[:, 0] if of.any() else np.zeros(0)
            found[name].append(_placed(pull, both.patients))
        seen = present.any() and not present.all()
        found["auroc"].append(_placed(auroc_pull(c)[1] if seen else np.zeros(0), both.patients))
    return {name: alike(*pulls) for name, pulls in found.items()} | {"patients": both.patients}


def _placed(pull: np.ndarray, patients: int) -> np.ndarray:
    """Return the pulls with 0 for the patients behind the last: patients are numbered over both groups."""
    return np.pad(pull, (0, patients - len(pull)))


def label_figures(
    truth: np.ndarray,
    probability: np.ndarray,
    *,
    name: str,
    outputs: Sequence[str],
    kind: str,
    thresholds: Sequence[float],
    patients: Sequence[str | None] | None,
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
        every[output] = binary_figures(truth[:, j], probability[:, j], threshold=thresholds[j], **how)
        tick()
    return every
