"""How sure a figure is, found by leaving each patient out in turn: no drawing, and patients are the witnesses.

By how much a figure falls when a patient is left out is that patient's pull. The pulls, squared and added, are the
figure's variance, however many images a patient has and however alike these are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import special

from overread.domain import Estimate
from overread.stats.resample import Cases

FEW = 20
"""With fewer patients of an answer than this, an interval holds the truth less surely than 93 to 97 times in 100."""


class Scale(NamedTuple):
    """A scale on which a figure errs alike to either side: there, its slope, back again, and its name."""

    there: Callable
    slope: Callable
    back: Callable
    name: str


PLAIN = Scale(lambda v: v, lambda v: 1.0, lambda x: x, "")
LOG = Scale(np.log, lambda v: 1 / v, np.exp, " (log scale)")
LOGIT = Scale(special.logit, lambda v: 1 / (v * (1 - v)), special.expit, " (logit scale)")
FISHER = Scale(np.arctanh, lambda v: 1 / (1 - v**2), np.tanh, " (Fisher's z)")
SHORT_OF_1 = Scale(
    lambda v: -np.log(1 - v), lambda v: 1 / (1 - v), lambda x: 1 - np.exp(-x), " (log of what is short of 1)"
)


def freedom(pull: np.ndarray, patients: np.ndarray | int | None = None) -> np.ndarray:
    """Return how good a guess of the variance so many pulls make, in degrees of freedom: at most patients − 1.

    Where a few patients pull hard the variance is itself unsure, and Student's t must make up for it.

    Parameters
    ----------
    pull : ndarray, (patients, …)
    patients : ndarray of int, (…), or int, optional
        How many of them have a say; without it all.

    References
    ----------
    Satterthwaite 1946, doi:10.2307/3002019; from how much the patients' parts of the variance differ, as Fay and
    Graubard 2001, doi:10.1111/j.0006-341x.2001.01198.x.

    Examples
    --------
    >>> even, uneven = np.tile([1.0, -1.0], 20), np.r_[np.full(38, 0.1), 3.0, -3.0]
    >>> freedom(np.stack([even, uneven], axis=1)).round(1).tolist()
    [39.0, 4.4]
    """
    square = pull**2
    whole, patients = square.sum(0), len(pull) if patients is None else patients
    doubt = (square**2).sum(0) - whole**2 / patients
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.where(doubt > 1e-12 * whole**2, 2 * whole**2 / doubt, np.inf)
    return np.maximum(np.minimum(found, patients - 1.0), 1.0)


def student(degrees: np.ndarray | float) -> np.ndarray:
    """Return how many standard errors a 95 % interval reaches to either side."""
    return special.stdtrit(degrees, 0.975)


def limits(value: float, pull: np.ndarray, scale: Scale = PLAIN) -> tuple[float, float]:
    """Return the 95 % interval of a figure from the pull of each patient; NaN where no patient moves it.

    Parameters
    ----------
    value : float
        Inside the scale: between 0 and 1 for the logit.
    pull : ndarray, (patients,)
        The figure, less what it is without the patient.

    References
    ----------
    Efron and Stein 1981, doi:10.1214/aos/1176345462 (a jackknife's variance is on average never too small).

    Examples
    --------
    Of a mean it is Student's interval.

    >>> from scipy import stats
    >>> x = np.tile([1.0, 2.0, 4.0, 5.0], 10)
    >>> low, high = limits(x.mean(), x.mean() - (x.sum() - x) / 39)
    >>> its = stats.t.interval(0.95, 39, x.mean(), stats.sem(x))
    >>> f"{low:.3f} {high:.3f}", f"{its[0]:.3f} {its[1]:.3f}"
    ('2.488 3.512', '2.488 3.512')
    """
    error = float(np.sqrt((pull**2).sum() * (1 - 1 / max(len(pull), 1))))
    if len(pull) < 2 or not np.isfinite(error) or error < 1e-12:
        return np.nan, np.nan
    half = student(freedom(pull)) * error * scale.slope(value)
    return float(scale.back(scale.there(value) - half)), float(scale.back(scale.there(value) + half))


def without_each(sums: np.ndarray, figure: Callable[[np.ndarray], np.ndarray]) -> tuple[float, np.ndarray]:
    """Return a figure of sums over all patients, and the pull of each: what it loses without the patient.

    Parameters
    ----------
    sums : ndarray, (patients, k)
        What each patient adds.
    figure : callable
        Maps sums (…, k) to figures (…).

    Examples
    --------
    >>> value, pull = without_each(np.array([[3.0, 1], [1, 1], [2, 1]]), lambda s: s[..., 0] / s[..., 1])
    >>> value, pull.tolist()
    (2.0, [0.5, -0.5, 0.0])
    """
    whole = sums.sum(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = figure(whole)
        return float(value), value - figure(whole - sums)


def few(c: Cases) -> str:
    """Return a warning for a method's words where an answer was seen in fewer than 20 patients, else nothing."""
    least = min((n for n in map(c.seen, range(int(c.truth.max(initial=0)) + 1)) if n), default=FEW)
    return f"; an answer in {least} patients only: less sure than 95 %" if least < FEW else ""


def jackknifed(c: Cases, value: float, pull: np.ndarray, scale: Scale = PLAIN, *, paired: bool = False) -> Estimate:
    """Return a figure with the interval that its pulls give."""
    name = f"{'paired ' if paired else ''}jackknife over patients{scale.name}{few(c)}"
    return c.estimate(value, *limits(value, pull, scale), name)
