"""The variance of an AUROC when patients have several images: DeLong's, with what a patient's images share."""

from __future__ import annotations

import numpy as np
from scipy import stats

from overread.stats.resample import Cases, per_patient


def clustered_delong(c: Cases) -> tuple[float, float, float]:
    """Return the AUROC, its variance and the degrees of freedom of that, counting patients as witnesses, not images.

    Images of one patient may have the finding, or not, or some of each. With one image a patient this is DeLong's
    variance.

    Parameters
    ----------
    c : Cases
        Both answers are there, each in two patients or more; else the variance is NaN.

    Notes
    -----
    Where few patients have the finding their variance is itself a guess: Satterthwaite's degrees of freedom say how
    good a one, and Student's t makes up for it.

    References
    ----------
    Obuchowski 1997, doi:10.2307/2533958; Satterthwaite 1946, doi:10.2307/3002019.

    Examples
    --------
    >>> from overread.stats.resample import cases
    >>> once = cases([0, 0, 1, 1, 1], np.array([0.1, 0.4, 0.3, 0.5, 0.6]), list("abcde"))
    >>> twice = cases([0, 0, 1, 1, 1] * 2, np.array([0.1, 0.4, 0.3, 0.5, 0.6] * 2), list("abcde") * 2)
    >>> [round(v, 4) for v in (*clustered_delong(once), *clustered_delong(twice))]
    [0.8333, 0.0556, 2.6667, 0.8333, 0.0556, 2.6667]
    """
    present = c.truth == 1
    positive, negative = c.score[present], c.score[~present]
    m, n = len(positive), len(negative)
    ranks = stats.rankdata(np.concatenate([positive, negative]))
    placed = np.zeros(len(c.truth))
    placed[present] = (ranks[:m] - stats.rankdata(positive)) / n
    placed[~present] = 1 - (ranks[m:] - stats.rankdata(negative)) / m
    value = float(placed[present].mean())
    off = [per_patient(c, (placed - value) * here) for here in (present, ~present)]
    ill, well = (len(np.unique(c.patient[here])) for here in (present, ~present))
    if min(ill, well) < 2:
        return value, np.nan, np.nan
    over = ill / (ill - 1) * (off[0] ** 2).sum() / m**2
    under = well / (well - 1) * (off[1] ** 2).sum() / n**2
    shared = c.patients / (c.patients - 1) * (off[0] * off[1]).sum() / (m * n)
    doubt = over**2 / (ill - 1) + under**2 / (well - 1)
    freedom = (over + under) ** 2 / doubt if doubt > 0 else np.nan
    return value, float(over + under + 2 * shared), float(freedom)
