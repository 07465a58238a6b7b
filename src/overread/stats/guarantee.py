"""An operating point with a promise: learn, then test, so that the sensitivity asked for holds in new patients.

The largest threshold that reaches a sensitivity on the calibration cohort misses it in about half of all new cohorts.
Here every threshold must pass a test of "it misses too much", from the safest upwards; the last that passes is taken.
The promise is about new patients like the calibration patients, over the drawing of the calibration cohort. What is
promised, tested and later judged is one quantity: of each patient's images with the finding the share that is found,
averaged over patients (`sensitivity_by_patient`). Of all images pooled it says nothing: where patients with many images
are the harder ones, the pooled sensitivity is lower, and no promise about patients is broken by that.

References
----------
Angelopoulos, Bates, Candès, Jordan, Lei 2021, Learn then Test, arXiv 2110.01052 (fixed sequence testing);
Bates et al. 2021, doi:10.1145/3478535 (the Hoeffding–Bentkus bound).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import binom

from overread.domain import Estimate
from overread.stats import calibration
from overread.stats.resample import Cases, cases, per_patient
from overread.stats.shares import shares

CONFIDENCE = 0.9
"""Of the promise: in at least 9 of 10 calibration cohorts that could have been drawn, the sensitivity asked for holds."""


def fewest_patients(sensitivity: float, *, confidence: float = CONFIDENCE) -> int:
    """Return how many patients with the finding are needed before any threshold above the lowest can be promised.

    Examples
    --------
    >>> fewest_patients(0.95), fewest_patients(0.9), fewest_patients(0.95, confidence=0.95)
    (45, 22, 59)
    """
    return math.ceil(math.log(1 - confidence) / math.log(sensitivity))


def too_much(missed: np.ndarray, *, allowed: float) -> float:
    """Return the p-value of "these patients are missed more often than allowed".

    Parameters
    ----------
    missed : ndarray, (patients,)
        Share of each patient's images with the finding that are missed, 0 to 1.
    allowed : float
        1 − sensitivity.

    Notes
    -----
    Exact (binomial) where every patient is missed or found as a whole; else the smaller of Hoeffding's and Bentkus'
    bounds for shares between 0 and 1.

    Examples
    --------
    >>> round(too_much(np.zeros(45), allowed=0.05), 4), round(too_much(np.r_[1, np.zeros(44)], allowed=0.05), 3)
    (0.0994, 0.335)
    """
    n = len(missed)
    if n == 0:
        return 1.0
    if np.isin(missed, (0.0, 1.0)).all():
        return float(binom.cdf(int(missed.sum()), n, allowed))
    mean = float(missed.mean())
    if mean >= allowed:
        return 1.0
    far = mean * math.log(mean / allowed) if mean > 0 else 0.0
    hoeffding = math.exp(-n * (far + (1 - mean) * math.log((1 - mean) / (1 - allowed))))
    return min(1.0, hoeffding, math.e * float(binom.cdf(math.ceil(n * mean), n, allowed)))


def promised_threshold(
    probabilities: np.ndarray,
    truth: np.ndarray,
    patients: Sequence[str | None] | None = None,
    *,
    sensitivity: float = 0.95,
    confidence: float = CONFIDENCE,
) -> dict[str, Any]:
    """Return the largest threshold that can be promised to reach a sensitivity in new patients.

    A case is called present when its probability is at or above the threshold.

    Parameters
    ----------
    probabilities, truth : ndarray, (n,)
        Of one label on the calibration cohort; truth is 1, 0, or NaN for unknown.
    patients : sequence of str or None, (n,)
    sensitivity : float
        Asked for, between 0 and 1: the share of a patient's images that is found, averaged over patients.
    confidence : float

    Returns
    -------
    dict
        threshold (None where nothing can be promised), sensitivity, confidence, patients (with the finding), missed
        (images, on calibration), found (on calibration, averaged over patients), p_value, needed (patients), in_words.

    Examples
    --------
    >>> p = np.linspace(0, 1, 200)
    >>> told = promised_threshold(p, np.ones(200))
    >>> round(told["threshold"], 3), told["missed"], round(told["p_value"], 3)
    (0.025, 5, 0.062)
    >>> promised_threshold(p[:9], np.ones(9))["in_words"]
    'no threshold can be promised to find 95 % with 9 cases (patients unknown) that have it; at least 45 are needed'
    """
    c = cases(truth, probabilities, patients)
    have = c.subset(np.flatnonzero(c.truth == 1))
    images = np.bincount(have.patient, minlength=have.patients)
    told: dict[str, Any] = {"threshold": None, "sensitivity": sensitivity, "confidence": confidence}
    told |= {"patients": have.patients, "missed": 0, "found": None, "p_value": None}
    told["needed"] = fewest_patients(sensitivity, confidence=confidence)
    order = np.argsort(have.score, kind="stable")
    missed = np.zeros(have.patients)
    for k, i in enumerate(order):  # the k lowest are missed when the (k + 1)-th is the threshold
        tied = k and have.score[i] == have.score[order[k - 1]]
        if not tied:
            share = np.round(missed / np.maximum(images, 1), 12)
            p = too_much(share, allowed=1 - sensitivity)
            if p > 1 - confidence:
                break
            told |= {"threshold": float(have.score[i]), "missed": k, "found": 1 - float(share.mean()), "p_value": p}
        missed[have.patient[i]] += 1
    return told | {"in_words": _in_words(told, known=have.known)}


def _in_words(told: dict[str, Any], *, known: bool) -> str:
    """Say it of patients, or, where not all of them are known, of cases: a patient, a study or an image each."""
    found, n = f"{100 * told['sensitivity']:g} %", told["patients"]
    one, many = ("patient", "patients") if known else ("case", "cases (patients unknown)")
    if told["threshold"] is None:
        return (
            f"no threshold can be promised to find {found} with {n:,} {many} that have it; "
            f"at least {told['needed']:,} are needed"
        )
    return (
        f"finds at least {found} of a {one}'s images with it, averaged over new {many} like the {n:,} it was chosen "
        f"on, with {100 * told['confidence']:g} % confidence"
    )


def sensitivity_by_patient(c: Cases, call: np.ndarray) -> Estimate:
    """Return the share of a patient's images with the finding that is called, averaged over patients.

    This is what `promised_threshold` promises; with one image a patient it is the sensitivity.

    Parameters
    ----------
    c : Cases
    call : ndarray of bool, (n,)

    Notes
    -----
    Wilson's interval on patients: a share between 0 and 1 spreads no more over patients than found or missed does.

    Examples
    --------
    >>> c = cases(np.ones(6), np.zeros(6), ["P1", "P1", "P1", "P1", "P2", "P3"])
    >>> call = np.array([False, False, True, True, True, True])
    >>> print(sensitivity_by_patient(c, call), call.mean().round(3))
    0.833 (0.310–0.982) 0.667
    """
    have = c.subset(np.flatnonzero(c.truth == 1))
    if not have.patients:
        return have.undefined("no case with the finding")
    images = per_patient(have, np.ones(len(have.truth)))
    found = per_patient(have, np.asarray(call, float)[c.truth == 1]) / images
    s = shares(found[:, None], np.ones((have.patients, 1)))
    told = "Wilson" if have.alone else f"mean over patients, Wilson on {have.patients:,} of them"
    return have.estimate(s.value[0], s.low[0], s.high[0], told)


def operating_point(
    probabilities: np.ndarray,
    truth: np.ndarray,
    patients: Sequence[str | None] | None = None,
    *,
    sensitivity: float = 0.95,
    confidence: float = CONFIDENCE,
) -> dict[str, Any]:
    """Return the operating point of one label: the promised threshold, or the plain one where none can be promised.

    Returns
    -------
    dict
        As `overread.stats.calibration.operating_point`, with ``promise``: what `promised_threshold` returned.

    Examples
    --------
    >>> p = np.linspace(0, 1, 400)
    >>> point = operating_point(p, (p > 0.3).astype(float))
    >>> round(point["threshold"], 3), round(point["achieved"], 3), point["promise"]["patients"]
    (0.321, 0.971, 280)
    >>> operating_point(p[::40], np.ones(10))["promise"]["in_words"]
    'no threshold can be promised to find 95 % with 10 cases (patients unknown) that have it; at least 45 are needed'
    """
    plain = calibration.operating_point(probabilities, truth, sensitivity=sensitivity)
    promise = promised_threshold(probabilities, truth, patients, sensitivity=sensitivity, confidence=confidence)
    limit = promise["threshold"]
    if limit is None:
        return plain | {"rule": f"{plain['rule']}; {promise['in_words']}", "promise": promise}
    p, y = np.asarray(probabilities, float), np.asarray(truth, float)
    rule = f"largest threshold that {promise['in_words']}"
    return plain | {
        "threshold": limit,
        "rule": rule,
        "achieved": float((p[y == 1] >= limit).mean()),
        "specificity": float((p[y == 0] < limit).mean()) if (y == 0).any() else None,
        "promise": promise,
    }
