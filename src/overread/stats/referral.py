"""When a case is for the doctor, and what that leaves: every figure three ways, all, answered, referred.

One rule for the clinic and for the evaluation: a case is referred when it looks unlike the training images, when the
interval of its probability is not clear of the operating point (with several levels: of the second most probable
level), or when the set of answers that remain possible is not exactly the answer called. Referred cases are counted,
never dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from overread.domain import Estimate
from overread.stats.calibration import levels_too_close, straddles
from overread.stats.conformal import Sets
from overread.stats.resample import cases
from overread.stats.shares import proportion

REASONS = {
    "unlike": "it looks unlike the training images",
    "too-close": "its interval is not clear of the line between the answers",
    "several-possible": "more than one answer remains possible",
    "none-possible": "no answer looks as it should",
    "contradicted": "the answer called is not the one that remains possible",
}
"""Why a case is referred: code → words, the first that holds is given."""


def why_label(
    probability: np.ndarray,
    intervals: np.ndarray,
    *,
    threshold: float,
    sets: Sets | None = None,
    unlike: np.ndarray | None = None,
) -> np.ndarray:
    """Return why each case of a yes-or-no label is referred: a code of ``REASONS``, or "" where it is answered.

    Parameters
    ----------
    probability : ndarray, (n,)
    intervals : ndarray, (n, 2)
    threshold : float
    sets : Sets, optional
        Of the answers (absent, present).
    unlike : ndarray of bool, (n,), optional
        True where the image looks unlike the training images.

    Examples
    --------
    >>> p = np.array([0.9, 0.55, 0.1])
    >>> why_label(p, np.stack([p - 0.1, p + 0.1], 1), threshold=0.5, unlike=np.array([True, False, False])).tolist()
    ['unlike', 'too-close', '']
    """
    p = np.asarray(probability, float)
    why = np.full(len(p), "", dtype=object)
    if sets is not None:
        possible = sets.possible(np.stack([1 - p, p], axis=1))
        called = (p >= threshold).astype(int)
        why[~possible[np.arange(len(p)), called]] = "contradicted"
        why[possible.all(1)] = "several-possible"
        why[~possible.any(1)] = "none-possible"
    return _first(why, straddles(intervals[:, 0], intervals[:, 1], threshold), unlike)


def why_levels(
    probability: np.ndarray, intervals: np.ndarray, *, sets: Sets | None = None, unlike: np.ndarray | None = None
) -> np.ndarray:
    """Return the same for a label with several levels: probability (n, levels), intervals (n, levels, 2)."""
    p = np.asarray(probability, float)
    why = np.full(len(p), "", dtype=object)
    if sets is not None:
        possible = sets.possible(p)
        why[~possible[np.arange(len(p)), p.argmax(1)]] = "contradicted"
        why[possible.sum(1) > 1] = "several-possible"
        why[~possible.any(1)] = "none-possible"
    return _first(why, levels_too_close(p, intervals), unlike)


def _first(why: np.ndarray, close: np.ndarray, unlike: np.ndarray | None) -> np.ndarray:
    why[np.asarray(close, bool)] = "too-close"
    if unlike is not None:
        why[np.asarray(unlike, bool)] = "unlike"
    return why


def three_way(
    truth: Sequence,
    probability: np.ndarray,
    why: np.ndarray,
    *,
    threshold: float,
    called: np.ndarray | None = None,
    patients: Sequence[str | None] | None = None,
) -> dict[str, Any]:
    """Return how many cases of a yes-or-no label are answered and referred, and the figures among the answered.

    Parameters
    ----------
    truth, probability : sequence of float, (n,)
        Truth is 1, 0, or NaN for unknown.
    why : ndarray of str, (n,)
        From `why_label`.
    threshold : float
    called : ndarray of bool, (n,), optional
        The calls, where each case has a line of its own.
    patients : sequence of str or None, (n,)

    Returns
    -------
    dict
        all, answered, referred (numbers of images), reasons (code → number), share_referred, sensitivity and
        specificity among the answered (`Estimate`), rule in words.

    Examples
    --------
    >>> p = np.array([0.9, 0.55, 0.45, 0.1])
    >>> why = why_label(p, np.stack([p - 0.1, p + 0.1], axis=1), threshold=0.5)
    >>> told = three_way([1, 1, 0, 0], p, why, threshold=0.5)
    >>> told["all"], told["answered"], told["reasons"], told["sensitivity"].value
    (4, 2, {'too-close': 2}, 1.0)
    """
    told, c, answered, share = _shares(truth, probability, why, patients)
    known = ~np.isnan(np.asarray(truth, float))
    call, present = c.score >= threshold if called is None else np.asarray(called, bool)[known], c.truth == 1
    return told | {
        "sensitivity": share(call, answered & present, "no answered case with the finding"),
        "specificity": share(~call, answered & ~present, "no answered case without the finding"),
    }


def three_way_levels(
    truth: Sequence,
    probability: np.ndarray,
    why: np.ndarray,
    *,
    patients: Sequence[str | None] | None = None,
) -> dict[str, Any]:
    """Return the same account for a label with several levels: accuracy among the answered.

    Parameters
    ----------
    truth : sequence of float, (n,)
        Index of the level; NaN is unknown.
    probability : ndarray, (n, levels)
    why : ndarray of str, (n,)
        From `why_levels`.
    """
    told, c, answered, share = _shares(truth, probability, why, patients)
    return told | {"accuracy": share(c.score.argmax(1) == c.truth, answered, "no case answered")}


def _shares(truth, probability, why, patients):
    """Return the counts, the cases whose truth is known, which of them are answered, and how to take a share."""
    c = cases(truth, probability, patients)
    why = np.asarray(why, dtype=object)[~np.isnan(np.asarray(truth, float))]
    referred = why != ""

    def share(hit: np.ndarray, of: np.ndarray, nobody: str) -> Estimate:
        return proportion(c, hit, of, nobody=nobody)

    counts = {"all": len(referred), "answered": int((~referred).sum()), "referred": int(referred.sum())}
    reasons = {code: int((why == code).sum()) for code in REASONS if (why == code).any()}
    told = counts | {"reasons": reasons, "share_referred": share(referred, np.ones(len(referred), bool), "no cases")}
    told["rule"] = "referred when " + "; or ".join(REASONS.values())
    return told, c, ~referred, share
