"""Two sets of scores of the same cases, where one question has several outputs: who ranks better on the mean of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from overread.domain import Estimate
from overread.stats.claims import bounded
from overread.stats.clustered import auroc_pull
from overread.stats.ranking import seen_in
from overread.stats.resample import Cases, Who, cases

FEWEST = 3
"""Patients with an answer, and without: an output with fewer has no interval, and does not count in the mean."""


def difference_mean_auroc(
    truth: np.ndarray, first: np.ndarray, second: np.ndarray, patients: Sequence[Who] | None = None
) -> Estimate:
    """Return how much better one set of scores ranks than another on the same cases, mean over the outputs, paired.

    Parameters
    ----------
    truth : ndarray, (n, outputs)
        1, 0 or NaN (unknown: that output of that case does not count).
    first, second : ndarray, (n, outputs)
        Scores; of levels that exclude one another, their probabilities.
    patients : sequence, (n,), optional

    Returns
    -------
    Estimate
        AUROC of the first less that of the second, by the jackknife over patients: a patient's pull on the mean is the
        mean of the pulls. Undefined where no output has both answers in three patients.

    References
    ----------
    Obuchowski 1997, doi:10.2307/2533958 (AUROC of patients with several images); DeLong et al. 1988, doi:10.2307/2531595.

    Examples
    --------
    >>> y = np.array([[0.0], [0.0], [0.0], [1.0], [1.0], [1.0]])
    >>> worse, better = np.array([[0.1, 0.6, 0.3, 0.4, 0.5, 0.2]]).T, np.array([[0.1, 0.2, 0.3, 0.4, 0.5, 0.6]]).T
    >>> print(round(difference_mean_auroc(y, better, worse).value, 3))
    0.444
    """
    truth, first, second = (np.asarray(a, float) for a in (truth, first, second))
    whole = cases(np.zeros(len(truth)), np.zeros(len(truth)), patients)
    values, pulls, least = [], [], []
    for y, mine, its in zip(truth.T, first.T, second.T, strict=True):
        known = np.flatnonzero(~np.isnan(y))
        here, patient = np.unique(whole.patient[known], return_inverse=True)
        c = Cases(y[known].astype(int), mine[known], patient, whole.known)
        if min(seen_in(c)) < FEWEST:
            continue
        (a, pull), (b, other) = auroc_pull(c), auroc_pull(c, its[known])
        apart = np.zeros(whole.patients)
        apart[here] = pull - other
        values.append(a - b)
        pulls.append(apart)
        least.append(min(seen_in(c)))
    if not values:
        return whole.undefined(f"no answer is there, and not there, in {FEWEST} patients")
    return bounded(whole, float(np.mean(values)), np.mean(pulls, axis=0), least=min(least))
