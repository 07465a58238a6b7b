"""A number that says how sure it is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval, the number of cases behind it, and how the interval was found.

    Parameters
    ----------
    value, low, high : float
        The estimate and its 95 % interval; NaN where the data do not define it (written as null).
    n : int
        Images behind the figure.
    n_patients : int or None
        Patients behind it; None where patient identity is unknown.
    method : str
        How the interval was found ("Wilson", "jackknife over patients (logit scale)").

    Examples
    --------
    >>> print(Estimate(0.912, 0.88, 0.94, n=624, n_patients=500, method="Wilson"))
    0.912 (0.880–0.940)
    """

    value: float
    low: float
    high: float
    n: int
    n_patients: int | None = None
    method: str = ""

    def __str__(self) -> str:
        if self.value != self.value:
            return "not defined"
        return f"{self.value:.3f} ({self.low:.3f}–{self.high:.3f})"
