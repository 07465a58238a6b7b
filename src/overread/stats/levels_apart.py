"""A label with several levels in two groups of cases, or by two models on the same: figures and their differences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from overread.domain import Estimate
from overread.stats.claims import alike, bounded, difference_share, gap
from overread.stats.clustered import auroc_pull
from overread.stats.levels import kappa, kappa_pull
from overread.stats.ranking import macro_auroc, seen_in
from overread.stats.resample import Cases, cases
from overread.stats.shares import counted, proportion, shares


def level_cases(truth: np.ndarray, probability: np.ndarray, patients: Sequence | None) -> Cases:
    """Return the cases of a label with several levels: truth (n, levels) is 0, 1 or NaN, the probabilities likewise."""
    level = np.where(np.isnan(truth).any(1), np.nan, np.nan_to_num(truth).argmax(1))
    return cases(level, probability, patients)


def level_figures(c: Cases, k: int, *, ordinal: bool) -> dict[str, Estimate]:
    """Return mean AUROC, accuracy and, of an ordered label, quadratic kappa; the most probable level is called.

    Examples
    --------
    >>> p = np.array([[.8, .1, .1], [.2, .6, .2], [.1, .2, .7], [.5, .3, .2]])
    >>> found = level_figures(cases([0, 1, 2, 1], p), 3, ordinal=True)
    >>> list(found), found["accuracy"].value
    (['auroc', 'accuracy', 'kappa_quadratic'], 0.75)
    """
    call = _call(c)
    found = {
        "auroc": macro_auroc(c, k),
        "accuracy": proportion(c, call == c.truth, np.ones(len(c.truth), bool), nobody="no cases"),
    }
    return found | ({"kappa_quadratic": kappa(c, call, k)} if ordinal else {})


def level_gaps(
    truth: np.ndarray,
    probability: np.ndarray,
    *,
    patients: Sequence | None,
    groups: tuple[Sequence[int], Sequence[int]],
    ordinal: bool,
) -> dict[str, Estimate]:
    """Return by how much the figures of one group of cases differ from another's (first − second).

    A patient may have images in both: what the figures have in common by that is taken off. A mean AUROC over other
    levels is another figure: where the two groups do not hold the same levels, its gap is not defined.

    Parameters
    ----------
    truth, probability : ndarray, (n, levels)
    groups : two sequences of int
        Rows of each group.

    Examples
    --------
    >>> y, p = np.eye(2)[np.arange(40) % 2], np.eye(2)[np.arange(40) // 2 % 2]
    >>> rows = (range(20), range(20, 40))
    >>> print(level_gaps(y, p, patients=None, groups=rows, ordinal=False)["accuracy"].value)
    0.0
    """
    known = ~np.isnan(truth).any(1)
    rows = [np.asarray([i for i in group if known[i]], int) for group in groups]
    every, k = np.concatenate(rows), truth.shape[1]
    both = level_cases(truth[every], probability[every], [patients[i] for i in every] if patients else None)
    told, pulls, seen = [], [], []
    for part in np.split(np.arange(len(every)), [len(rows[0])]):
        c = Cases(both.truth[part], both.score[part], both.patient[part], both.known)  # patients counted over both
        told.append(level_figures(both.subset(part), k, ordinal=ordinal))
        pulls.append({name: np.pad(p, (0, both.patients - len(p))) for name, p in _pulls(c, k, ordinal).items()})
        seen.append(_levels_of(c, k))
    people = len(np.unique(both.patient))
    found = {
        name: gap(*(figures[name] for figures in told), alike=alike(*(p[name] for p in pulls)), patients=people)
        for name in told[0]
    }
    if seen[0] != seen[1]:
        found["auroc"] = both.undefined("the two groups do not hold the same levels")
    return found


def level_differences(c: Cases, other: np.ndarray, *, ordinal: bool) -> dict[str, Estimate]:
    """Return the figures of ``c.score`` less those of another model's probabilities (n, levels), paired over patients.

    Examples
    --------
    >>> r = np.random.default_rng(0)
    >>> y = np.arange(90) % 3
    >>> good, poor = (r.random((90, 3)) + weight * np.eye(3)[y] for weight in (1.0, 0.1))
    >>> better = level_differences(cases(y, good), poor, ordinal=True)
    >>> all(e.low > 0 for e in better.values())
    True
    """
    k = c.score.shape[1]
    its = Cases(c.truth, np.asarray(other, float), c.patient, c.known)
    mine, call = _call(c), _call(its)
    every = np.ones(len(c.truth), bool)
    found = {
        "auroc": auroc_apart(c, other),
        "accuracy": difference_share(c, mine == c.truth, call == c.truth, every),
    }
    if ordinal:
        found["kappa_quadratic"] = _paired_kappa(c, mine, call, k)
    return found


def auroc_apart(c: Cases, other: np.ndarray) -> Estimate:
    """Return the mean AUROC of ``c.score`` less that of another model's probabilities (n, levels), paired over patients.

    Examples
    --------
    >>> y = np.arange(90) % 3
    >>> c = cases(y, np.random.default_rng(0).random((90, 3)) + np.eye(3)[y])
    >>> auroc_apart(c, c.score).value
    0.0
    """
    its, there = Cases(c.truth, np.asarray(other, float), c.patient, c.known), _levels_of(c, c.score.shape[1])
    if len(there) < 2:
        return c.undefined("one answer only")
    (value, pull), (other, other_pull) = _macro(c, there), _macro(its, there)
    fewest = min(min(seen_in(_alone(c, level))) for level in there)
    if fewest < 3:
        return c.estimate(value - other, np.nan, np.nan, "a level in fewer than 3 patients: no interval")
    return bounded(c, value - other, pull - other_pull, least=fewest)


def _paired_kappa(c: Cases, mine: np.ndarray, call: np.ndarray, k: int) -> Estimate:
    if len(np.unique(c.truth)) < 2:
        return c.undefined("one answer only")
    (value, pull), (other, other_pull) = kappa_pull(c, mine, k), kappa_pull(c, call, k)
    return bounded(c, value - other, pull - other_pull, least=c.patients)


def _call(c: Cases) -> np.ndarray:
    return c.score.argmax(1) if len(c.truth) else np.zeros(0, int)


def _levels_of(c: Cases, k: int) -> list[int]:
    return [v for v in range(k) if 0 < (c.truth == v).sum() < len(c.truth)]


def _alone(c: Cases, level: int) -> Cases:
    return Cases((c.truth == level).astype(int), c.score[:, level], c.patient, c.known)


def _macro(c: Cases, levels: Sequence[int]) -> tuple[float, np.ndarray]:
    """Return the mean one-against-the-rest AUROC, and what it loses without each patient."""
    each = [auroc_pull(_alone(c, level)) for level in levels]
    return float(np.mean([value for value, _ in each])), np.mean([pull for _, pull in each], axis=0)


def _pulls(c: Cases, k: int, ordinal: bool) -> dict[str, np.ndarray]:
    """Return what each figure of `level_figures` loses without each patient; empty where it is not defined."""
    there, call = _levels_of(c, k), _call(c)
    every = np.ones(len(c.truth), bool)
    found = {
        "auroc": _macro(c, there)[1] if len(there) > 1 else np.zeros(0),
        "accuracy": shares(counted(c, call == c.truth), counted(c, every)).pull[:, 0] if len(every) else np.zeros(0),
    }
    if ordinal:
        found["kappa_quadratic"] = kappa_pull(c, call, k)[1] if len(there) > 1 else np.zeros(0)
    return found
