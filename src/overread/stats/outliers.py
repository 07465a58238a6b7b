"""How far a number stands from its like, measured so that the odd ones do not hide themselves."""

from __future__ import annotations

import numpy as np

FAR = 6.0
"""Robust z from which an image is called an outlier: for normal numbers, two in a thousand million."""

FEWEST = 20
"""Fewer than these cannot say what is usual."""


def robust_z(values: np.ndarray) -> np.ndarray:
    """Return the distance of each value from the median, in robust standard deviations.

    The standard deviation is 1.4826 times the median distance from the median; where that is zero (most values are
    equal), 1.2533 times the mean distance. NaN stays NaN; all zero where every value is the same.

    Parameters
    ----------
    values : ndarray, (n,)

    References
    ----------
    B. Iglewicz and D. C. Hoaglin, How to Detect and Handle Outliers, 1993, section 3.

    Examples
    --------
    >>> robust_z(np.array([1.0, 2, 3, 4, 100])).round(1).tolist()
    [-1.3, -0.7, 0.0, 0.7, 65.4]
    """
    values = np.asarray(values, float)
    known = np.isfinite(values)
    if not known.any():
        return np.full(values.shape, np.nan)
    away = values - np.median(values[known])
    scale = 1.4826 * np.median(np.abs(away[known]))
    if scale <= 1e-9 * np.abs(values[known]).max():
        scale = 1.2533 * np.abs(away[known]).mean()
    return away / scale if scale > 0 else np.where(known, 0.0, np.nan)
