"""Count what a model answers and what it refers to the doctor: its figures hold among the answered only.

Prediction calls a case present or absent only where the interval of its probability is clear of the operating point
(with several levels: clear of the second most probable level), and refers it else. Sensitivity and specificity that
count every case are therefore not what a reader meets at work.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from overread.domain import Estimate
from overread.stats.calibration import levels_too_close, straddles
from overread.stats.resample import REPLICATES, cases, proportion


def three_way(
    truth: Sequence,
    probability: np.ndarray,
    intervals: np.ndarray,
    *,
    threshold: float,
    patients: Sequence[str | None] | None = None,
    rng: np.random.Generator,
    replicates: int = REPLICATES,
) -> dict[str, Any]:
    """Return how many cases of a yes-or-no label are answered and referred, and the figures among the answered.

    Parameters
    ----------
    truth, probability : sequence of float, (n,)
        Truth is 1, 0, or NaN for unknown.
    intervals : ndarray, (n, 2)
        95 % interval of each probability, from the calibration.
    threshold : float
    patients : sequence of str or None, (n,)
    rng : numpy.random.Generator

    Returns
    -------
    dict
        all, answered, referred (numbers of images), share_referred, sensitivity and specificity among the answered
        (`Estimate`), rule in words.

    Examples
    --------
    >>> p = np.array([0.9, 0.55, 0.45, 0.1])
    >>> told = three_way([1, 1, 0, 0], p, np.stack([p - 0.1, p + 0.1], axis=1), threshold=0.5,
    ...                  rng=np.random.default_rng(0))
    >>> told["all"], told["answered"], told["referred"], told["sensitivity"].value
    (4, 2, 2, 1.0)
    """
    told, c, answered, share = _shares(
        truth, probability, straddles(intervals[:, 0], intervals[:, 1], threshold), patients, rng, replicates
    )
    call, present = c.score >= threshold, c.truth == 1
    return told | {
        "sensitivity": share(call, answered & present, "no answered case with the finding"),
        "specificity": share(~call, answered & ~present, "no answered case without the finding"),
        "rule": "referred when the 95 % interval of the probability holds the operating point",
    }


def three_way_levels(
    truth: Sequence,
    probability: np.ndarray,
    intervals: np.ndarray,
    *,
    patients: Sequence[str | None] | None = None,
    rng: np.random.Generator,
    replicates: int = REPLICATES,
) -> dict[str, Any]:
    """Return the same account for a label with several levels: accuracy among the answered.

    Parameters
    ----------
    truth : sequence of float, (n,)
        Index of the level; NaN is unknown.
    probability : ndarray, (n, levels)
    intervals : ndarray, (n, levels, 2)
    """
    told, c, answered, share = _shares(
        truth, probability, levels_too_close(probability, intervals), patients, rng, replicates
    )
    return told | {
        "accuracy": share(c.score.argmax(1) == c.truth, answered, "no case answered"),
        "rule": "referred when the 95 % interval of the most probable level reaches down to the second one",
    }


def _shares(truth, probability, refer, patients, rng, replicates):
    """Return the counts, the cases whose truth is known, which of them are answered, and how to take a share."""
    c = cases(truth, probability, patients)
    referred = np.asarray(refer)[~np.isnan(np.asarray(truth, float))]

    def share(hit: np.ndarray, of: np.ndarray, nobody: str) -> Estimate:
        return proportion(c, hit, of, rng=rng, replicates=replicates, nobody=nobody)

    counts = {"all": len(referred), "answered": int((~referred).sum()), "referred": int(referred.sum())}
    told = counts | {"share_referred": share(referred, np.ones(len(referred), bool), "no cases")}
    return told, c, ~referred, share
