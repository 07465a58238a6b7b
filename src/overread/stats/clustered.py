"""The pull of each patient on a figure of ranking: how much of an AUROC or an average precision rests on one patient.

A patient may have several images, with the finding, without, or some of each.
"""

from __future__ import annotations

import numpy as np

from overread.stats.resample import Cases, per_patient


def placed(truth: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Return, for each case, the share of the cases with the other answer that it is rightly ranked against, (n,).

    Examples
    --------
    >>> placed(np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.35, 0.8])).tolist()
    [1.0, 0.5, 0.5, 1.0]
    """
    present = truth == 1
    with_it, without = np.sort(score[present]), np.sort(score[~present])
    out = np.empty(len(truth))
    below, upto = (np.searchsorted(without, score[present], side=side) for side in ("left", "right"))
    out[present] = (below + upto) / (2 * len(without))  # a tie counts one half
    below, upto = (np.searchsorted(with_it, score[~present], side=side) for side in ("left", "right"))
    out[~present] = 1 - (below + upto) / (2 * len(with_it))
    return out


def auroc_pull(c: Cases, score: np.ndarray | None = None) -> tuple[float, np.ndarray]:
    """Return the AUROC, and what it loses without each patient (patients,).

    Parameters
    ----------
    c : Cases
        Both answers are there.
    score : ndarray, (n,), optional
        In place of the cases' own.

    Notes
    -----
    With one image a patient the squared pulls add up to DeLong's variance, but for the jackknife's n / (n − 1). A pull
    is not finite where a patient alone has an answer.

    References
    ----------
    Obuchowski 1997, doi:10.2307/2533958 (patients with several images); DeLong et al. 1988, doi:10.2307/2531595.

    Examples
    --------
    >>> from overread.stats.resample import cases
    >>> value, pull = auroc_pull(cases([0, 0, 1, 1, 1], np.array([0.1, 0.4, 0.3, 0.5, 0.6]), list("abcde")))
    >>> round(value, 4), pull.round(4).tolist()
    (0.8333, [0.1667, -0.1667, -0.1667, 0.0833, 0.0833])
    """
    present = c.truth == 1
    right = placed(c.truth, c.score if score is None else score)
    value = float(right[present].mean())
    pull = np.zeros(c.patients)
    for here in (present, ~present):
        off, held = per_patient(c, np.where(here, right - value, 0.0)), per_patient(c, here.astype(float))
        with np.errstate(divide="ignore", invalid="ignore"):
            pull += np.where(held > 0, off / (here.sum() - held), 0.0)
    return value, pull


def ap_pull(c: Cases, score: np.ndarray | None = None) -> tuple[float, np.ndarray]:
    """Return the average precision, and nearly what it loses without each patient (patients,).

    Parameters
    ----------
    c : Cases
        Both answers are there.
    score : ndarray, (n,), optional
        In place of the cases' own.

    Notes
    -----
    The slope of the average precision by the weight of each case, in O(n log n); a patient's slopes are added up and
    scaled by what is left without the patient.

    References
    ----------
    Efron 1982, doi:10.1137/1.9781611970319 (the infinitesimal jackknife).

    Examples
    --------
    >>> from overread.stats.resample import cases
    >>> value, pull = ap_pull(cases([1, 0, 1, 0], np.array([0.9, 0.8, 0.7, 0.1]), list("abcd")))
    >>> round(value, 4)
    0.8333
    """
    score = c.score if score is None else score
    order = np.argsort(-score, kind="stable")
    hit, fallen = (c.truth == 1)[order].astype(float), -score[order]
    last = np.searchsorted(fallen, fallen, side="right") - 1  # of the cases that score the same
    first = np.searchsorted(fallen, fallen, side="left")
    seen, found, all_hits = last + 1.0, np.cumsum(hit)[last], hit.sum()
    value = float((hit * found / seen).sum() / all_hits)
    gain, loss = (np.r_[0.0, np.cumsum(part)] for part in (hit / seen, hit * found / seen**2))
    slope = np.empty(len(order))  # a case adds to all that is seen from its score downwards
    slope[order] = (hit * (found / seen - value + gain[-1] - gain[first]) - (loss[-1] - loss[first])) / all_hits
    pull = np.zeros(c.patients)
    for here in (c.truth == 1, c.truth != 1):
        held = per_patient(c, here.astype(float))
        with np.errstate(divide="ignore", invalid="ignore"):
            part = per_patient(c, np.where(here, slope, 0.0)) * here.sum() / (here.sum() - held)
            pull += np.where(held > 0, part, 0.0)
    return value, pull
