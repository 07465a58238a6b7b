"""What cross-validation may say of a difference: the parts share their training cases, so they are not so many witnesses."""

from __future__ import annotations

import numpy as np
from scipy import special

from overread.domain import Estimate


def difference(each: np.ndarray, *, test_over_train: float, n: int) -> Estimate:
    """Return a mean difference over parts held out, with an interval that knows that the parts overlap in training.

    Parameters
    ----------
    each : ndarray, (parts,)
        One figure less the other, on the same part.
    test_over_train : float
        Cases held out over cases learned from: 0.25 for five parts.
    n : int
        Images behind it.

    References
    ----------
    Nadeau and Bengio 2003, doi:10.1023/A:1024068626366 (the corrected resampled t-test).

    Examples
    --------
    >>> print(difference(np.array([0.02, 0.04, 0.03]), test_over_train=0.25, n=100))
    0.030 (-0.003–0.063)
    """
    each, parts = np.asarray(each, float), len(each)
    value = float(each.mean()) if parts else np.nan
    if parts < 2:
        return Estimate(value, np.nan, np.nan, n, None, "one part: no interval")
    error = np.sqrt((1 / parts + test_over_train) * each.var(ddof=1))
    reach = float(special.stdtrit(parts - 1, 0.975) * error)
    return Estimate(value, value - reach, value + reach, n, None, "corrected resampled t, Nadeau and Bengio 2003")
