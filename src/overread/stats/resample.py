"""Resample patients, not images: the cases behind a figure, and how its 95 % interval is found.

Two films of one patient are not two independent cases. Most figures have a closed form over patients
(`overread.stats.shares`, `overread.stats.jackknife`); for others whole patients are drawn with replacement.

Arrays: ``truth`` (n,) holds 1 (present), 0 (absent) or NaN (unknown: left out); ``score`` (n,) or (n, levels);
``patients`` (n,) holds pseudonyms. Where the patient is unknown it holds a `Nameless` with what stands in for one (a
study, pictures that are copies of one another), or None: that image is then a patient of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from overread.domain import Estimate

Z = float(ndtri(0.975))
REPLICATES = 2000
_CHUNK = 4_000_000  # numbers held at once while resampling: about 30 MB


@dataclass(frozen=True)
class Nameless:
    """An unknown patient, and what stands in for one: images with the same ``unit`` are drawn together."""

    unit: str


Who = str | Nameless | None
"""Whose image it is: a pseudonym, what stands in for an unknown patient, or nothing known."""


@dataclass(frozen=True)
class Cases:
    """The cases of one label: truth, score, and which patient each belongs to.

    Parameters
    ----------
    truth : ndarray of int, (n,)
    score : ndarray of float, (n,) or (n, levels)
    patient : ndarray of int, (n,)
        Index of the patient, 0 … patients − 1.
    known : bool
        False where at least one patient is unknown.
    """

    truth: np.ndarray
    score: np.ndarray
    patient: np.ndarray
    known: bool

    @property
    def patients(self) -> int:
        """Number of patients."""
        return int(self.patient.max()) + 1 if len(self.patient) else 0

    @property
    def alone(self) -> bool:
        """True when each patient has one image."""
        return self.patients == len(self.truth)

    def seen(self, answer: int) -> int:
        """Return in how many patients an answer is the true one."""
        return int(np.count_nonzero(np.bincount(self.patient[self.truth == answer])))

    def subset(self, rows: np.ndarray) -> Cases:
        """Return the cases at ``rows`` with their patients counted anew."""
        _, patient = np.unique(self.patient[rows], return_inverse=True)
        return Cases(self.truth[rows], self.score[rows], patient, self.known)

    def estimate(self, value: float, low: float, high: float, method: str) -> Estimate:
        """Return a figure over these cases as an `Estimate`."""
        n_patients = self.patients if self.known else None
        told = self.in_words(method)
        return Estimate(float(value), float(low), float(high), n=len(self.truth), n_patients=n_patients, method=told)

    def in_words(self, method: str) -> str:
        """Return how an interval was found, with what stands in for a patient told as what it is.

        Examples
        --------
        >>> cases([1, 0], np.zeros(2)).in_words("Wilson on 2 patients")
        'Wilson on 2 images'
        >>> one = Nameless("S1")
        >>> cases([1, 0, 0], np.zeros(3), [one, one, Nameless("S2")]).in_words("Wilson on 2 patients")
        'Wilson on 2 patients or studies'
        >>> once = cases([1, 0], np.zeros(2)).in_words("patient bootstrap, 2,000 replicates")
        >>> once, cases([1, 0], np.zeros(2)).in_words(once) == once
        ('bootstrap over images, 2,000 replicates', True)
        """
        if self.known:
            return method
        whom = "images" if self.alone else "patients or studies"
        method = re.sub(r"\bpatient bootstrap\b", f"bootstrap over {whom}", method)
        return re.sub(r"\bpatients\b(?! or studies)", whom, method)  # once, however often it is asked

    def undefined(self, why: str) -> Estimate:
        """Return a figure that these cases do not define, with the reason."""
        return self.estimate(np.nan, np.nan, np.nan, f"not defined: {why}")


def cases(truth: Sequence, score: np.ndarray, patients: Sequence[Who] | None = None) -> Cases:
    """Return the cases whose truth is known, with patients as numbers.

    Examples
    --------
    >>> c = cases([1, 0, float("nan"), 0], np.array([0.9, 0.2, 0.5, 0.1]), ["P1", "P1", "P2", None])
    >>> c.truth.tolist(), c.patient.tolist(), c.known
    ([1, 0, 0], [1, 1, 0], False)
    >>> c = cases([1, 1, 0], np.array([0.9, 0.9, 0.1]), [Nameless("S1"), Nameless("S1"), Nameless("S2")])
    >>> c.patient.tolist(), c.patients, c.known
    ([0, 0, 1], 2, False)
    """
    truth = np.asarray(truth, float)
    score = np.asarray(score, float)
    if len(truth) != len(score) or (patients is not None and len(patients) != len(truth)):
        raise ValueError("truth, score and patients have different lengths")
    keep = np.flatnonzero(~np.isnan(truth))
    names = [None if patients is None else patients[i] for i in keep]
    units = [_unit(int(i), p) for i, p in zip(keep, names, strict=True)]
    _, patient = np.unique(np.array(units, dtype=str), return_inverse=True)
    return Cases(truth[keep].astype(int), score[keep], patient, all(isinstance(p, str) for p in names))


def _unit(row: int, who: Who) -> str:
    """Return a name that no other patient, and nothing that stands in for one, can have."""
    if isinstance(who, Nameless):
        return f"={who.unit}"
    return f"?{row}" if who is None else f"P{who}"


# --- resampling -------------------------------------------------------------------------------------------------------


def draws(c: Cases, rng: np.random.Generator, replicates: int):
    """Yield blocks (replicates, patients) of how often each patient was drawn, with replacement."""
    p = c.patients
    block = max(1, min(replicates, _CHUNK // max(p, len(c.truth), 1)))
    for start in range(0, replicates, block):
        times = np.empty((min(block, replicates - start), p))
        for row in times:  # one replicate at a time stays in the processor's cache: three times as fast
            row[:] = np.bincount(rng.integers(0, p, size=p), minlength=p)
        yield times


def bootstrap(
    c: Cases,
    figure: Callable[[np.ndarray], np.ndarray],
    *,
    rng: np.random.Generator,
    replicates: int = REPLICATES,
    by_patient: bool = False,
) -> np.ndarray:
    """Return ``figure`` over samples of patients drawn with replacement.

    ``figure`` maps weights (replicates, images), or (replicates, patients) with ``by_patient``, to (replicates,).
    Samples in which it is not defined come back as NaN.
    """
    if c.patients < 2:  # one patient drawn again and again never differs: that is not certainty
        with np.errstate(divide="ignore", invalid="ignore"):
            once = figure(np.ones((1, c.patients if by_patient else len(c.truth))))
        return np.full((replicates, *once.shape[1:]), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.concatenate([figure(w if by_patient else w[:, c.patient]) for w in draws(c, rng, replicates)])


def interval(samples: np.ndarray) -> tuple[float, float, str]:
    """Return the percentile interval of bootstrap samples, and the method in words."""
    good = samples[np.isfinite(samples)]
    told = f"patient bootstrap, {len(samples):,} replicates"
    if len(good) < len(samples):
        told += f" ({len(samples) - len(good):,} not defined, left out)"
    if not len(good):
        return np.nan, np.nan, told
    low, high = np.percentile(good, [2.5, 97.5])
    return float(low), float(high), told


def per_patient(c: Cases, values: np.ndarray) -> np.ndarray:
    """Sum ``values`` (n,) over each patient's images: (patients,)."""
    return np.bincount(c.patient, weights=values, minlength=c.patients)
