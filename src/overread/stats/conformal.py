"""Which answers remain possible: sets of answers that hold the right one as often as they say, for each answer alone.

A probability may be wrong; a conformal set needs only that new patients are like the calibration patients. It is
class-conditional (Mondrian): it holds among patients with the finding and among those without it, not on average only.
A case whose set is not exactly the answer called is for the doctor.

The promise needs a strangeness that the calibration cases had no part in. A temperature is fitted on those same cases:
of several levels it changes which case is the stranger. So it is taken off again, and how strange an answer is depends
on the network's raw scores alone. Of a yes-or-no label a slope and an intercept leave the order as it is, and with it
the sets: there the calibrated probability serves as well.

References
----------
Vovk, Gammerman, Shafer 2005, doi:10.1007/b106715 (Mondrian conformal predictors); Angelopoulos and Bates 2023,
doi:10.1561/2200000101.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy  # its statistics load when they are first asked for: a prediction asks for none
from scipy.special import softmax

from overread.domain import Estimate
from overread.domain.canonical import plain
from overread.stats.resample import Cases, cases
from overread.stats.shares import proportion

COVERAGE = 0.9


@dataclass(frozen=True)
class Sets:
    """What each answer must look like to remain possible.

    Parameters
    ----------
    coverage : float
        Of new cases of each answer, at least this share have it in their set.
    limits : tuple of float
        For each answer, the largest strangeness (1 − its probability, the temperature taken off) at which it remains;
        infinite where the calibration cohort has too few patients to exclude it.
    patients : tuple of int
        Calibration patients behind each limit.
    temperature : float
        By which the raw scores of several levels were divided to make the probabilities; 1 for a yes-or-no label.
    """

    coverage: float
    limits: tuple[float, ...]
    patients: tuple[int, ...]
    temperature: float = 1.0

    def possible(self, probabilities: np.ndarray) -> np.ndarray:
        """Return which answers remain: boolean (n, answers) for probabilities (n, answers).

        Examples
        --------
        >>> Sets(0.9, (0.6, 0.3), (50, 50)).possible(np.array([[0.5, 0.5], [0.1, 0.9]])).tolist()
        [[True, False], [False, True]]
        """
        return strangeness(probabilities, self.temperature) <= np.array(self.limits) + 1e-12

    def to_json(self) -> dict[str, Any]:
        """Return the sets as they are kept in ``calibration.json``; an infinite limit is null."""
        return plain(self) | {"limits": [v if math.isfinite(v) else None for v in self.limits]}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Sets:
        """Read the sets back."""
        limits = tuple(math.inf if v is None else float(v) for v in record["limits"])
        patients, temperature = tuple(int(n) for n in record["patients"]), float(record.get("temperature", 1.0))
        return cls(float(record["coverage"]), limits, patients, temperature)


def strangeness(probabilities: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Return how strange each answer would be (n, answers): 1 − its probability before the temperature.

    Examples
    --------
    >>> z = np.array([[2.0, 0.0, -1.0]])
    >>> raw, warm = softmax(z, axis=1), softmax(z / 3, axis=1)
    >>> strangeness(warm, 3.0).round(3).tolist() == (1 - raw).round(3).tolist()
    True
    """
    p = np.asarray(probabilities, float)
    if temperature == 1:
        return 1 - p
    return 1 - softmax(temperature * np.log(np.maximum(p, np.finfo(float).tiny)), axis=1)


def fewest_patients(coverage: float = COVERAGE) -> int:
    """Return how many calibration patients an answer needs before it can ever be excluded.

    Examples
    --------
    >>> fewest_patients(0.9), fewest_patients(0.95)
    (9, 19)
    """
    return math.ceil(coverage / (1 - coverage) - 1e-9)


def fit(
    probabilities: np.ndarray,
    truth: Sequence,
    patients: Sequence[str | None] | None = None,
    *,
    coverage: float = COVERAGE,
    temperature: float = 1.0,
) -> Sets:
    """Learn the sets on the calibration cohort.

    Parameters
    ----------
    probabilities : ndarray, (n, answers)
        For a yes-or-no label the columns are absent and present.
    truth : sequence of float, (n,)
        Index of the answer; NaN is unknown.
    patients : sequence of str or None, (n,)
        Of a patient with several images of one answer the strangest counts: the promise is then about whole patients,
        and a little on the safe side for single images.
    coverage : float
    temperature : float
        By which the raw scores of several levels were divided; a yes-or-no label needs none.

    Examples
    --------
    >>> p = np.linspace(0.01, 0.99, 99)
    >>> sets = fit(np.stack([1 - p, p], 1), np.ones(99), coverage=0.9)
    >>> [round(v, 2) for v in sets.limits], sets.patients
    ([inf, 0.9], (0, 99))
    """
    c = cases(truth, strangeness(probabilities, temperature), patients)
    found = [_limit(c, answer, coverage) for answer in range(np.shape(probabilities)[1])]
    return Sets(coverage, tuple(limit for limit, _ in found), tuple(n for _, n in found), temperature)


def realised(
    sets: Sets, probabilities: np.ndarray, truth: Sequence, patients: Sequence[str | None] | None = None
) -> tuple[list[Estimate], list[int]]:
    """Return how often the true answer was in its set in new cases, by answer, and how many sets are of each size.

    Parameters
    ----------
    sets : Sets
    probabilities : ndarray, (n, answers)
    truth : sequence of float, (n,)
        Index of the answer; NaN is unknown and left out.
    patients : sequence of str or None, (n,)

    Returns
    -------
    covered : list of Estimate
        One an answer.
    sizes : list of int
        Cases whose set holds 0, 1, … answers.

    Examples
    --------
    >>> p = np.array([[0.5, 0.5], [0.1, 0.9], [0.8, 0.2]])
    >>> covered, sizes = realised(Sets(0.9, (0.6, 0.3), (50, 50)), p, [1, 1, 0])
    >>> [e.value for e in covered], sizes
    ([1.0, 0.5], [0, 3, 0])
    """
    c = cases(truth, np.asarray(probabilities, float), patients)
    possible = sets.possible(c.score) if len(c.truth) else np.zeros((0, len(sets.limits)), bool)
    held = possible[np.arange(len(c.truth)), c.truth]
    covered = [
        proportion(c, held, c.truth == answer, nobody="no case with this answer") for answer in range(len(sets.limits))
    ]
    return covered, np.bincount(possible.sum(1), minlength=len(sets.limits) + 1).tolist()


def by_chance(
    sets: Sets, probabilities: np.ndarray, truth: Sequence, patients: Sequence[str | None] | None = None
) -> list[float]:
    """Return, by answer, the chance that so few new patients are covered where they are exchangeable with calibration's.

    A patient is covered where the true answer is in the set of each image. Few calibration patients fix a limit poorly:
    a coverage below the one promised may then be bad luck of that cohort, and this chance says so.

    Parameters
    ----------
    sets : Sets
    probabilities, truth, patients
        As in `realised`.

    Notes
    -----
    Exact: of m new patients as many are covered as a beta-binomial variable with k and n + 1 − k says, where the limit is
    the k-th of n calibration patients. A chance of 1 where nothing was ever excluded.

    References
    ----------
    Vovk 2012, Conditional validity of inductive conformal predictors, arXiv 1209.2673; Angelopoulos and Bates 2023,
    doi:10.1561/2200000101, section 3.2.

    Examples
    --------
    >>> sets = Sets(0.9, (0.6, 0.3), (100, 12))
    >>> p = np.array([[0.5, 0.5]] * 30 + [[0.3, 0.7]] * 20 + [[0.5, 0.5]] * 5)
    >>> [round(chance, 2) for chance in by_chance(sets, p, [0] * 20 + [1] * 35)]
    [1.0, 0.0]
    >>> [round(chance, 2) for chance in by_chance(sets, p[30:], [1] * 25)]
    [1.0, 0.12]
    """
    c = cases(truth, np.asarray(probabilities, float), patients)
    found = []
    for answer, (limit, n) in enumerate(zip(sets.limits, sets.patients, strict=True)):
        part = c.subset(np.flatnonzero(c.truth == answer))
        if not part.patients or not math.isfinite(limit):
            found.append(1.0)
            continue
        missed = ~sets.possible(part.score)[:, answer]
        covered = part.patients - len(np.unique(part.patient[missed]))
        k = _rank(n, sets.coverage)
        found.append(float(scipy.stats.betabinom.cdf(covered, part.patients, k, n + 1 - k)))
    return found


def _rank(n: int, coverage: float) -> int:
    """Return which of n calibration patients, from the least strange upwards, sets the limit."""
    return math.ceil((n + 1) * coverage - 1e-9)


def _limit(c: Cases, answer: int, coverage: float) -> tuple[float, int]:
    part = c.subset(np.flatnonzero(c.truth == answer))
    n = part.patients
    k = _rank(n, coverage)
    if k > n:
        return math.inf, n
    strangest = np.full(n, -math.inf)
    np.maximum.at(strangest, part.patient, part.score[:, answer])
    return float(np.sort(strangest)[k - 1]), n
