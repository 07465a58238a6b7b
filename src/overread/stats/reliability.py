"""Do the probabilities mean what they say in new cases: calibration slope and intercept on the testing cohort.

A slope below 1 says that the probabilities are too extreme, an intercept above 0 that the finding is commoner than
they say. Nothing is refitted here: this only measures.
"""

from __future__ import annotations

import numpy as np
from scipy.special import expit, logit

from overread.domain import Estimate
from overread.stats.jackknife import jackknifed
from overread.stats.resample import Cases

NEAR = 1e-6
"""Probabilities of 0 and 1 are taken as this far from them: their logit is infinite."""

FEWEST = 5
"""Cases of each answer below which no line is drawn."""


def reliability(c: Cases) -> dict[str, Estimate]:
    """Return the slope of truth on logit(probability), and the intercept with the slope held at 1.

    Parameters
    ----------
    c : Cases
        score holds probabilities.

    Notes
    -----
    Maximum likelihood; the interval is the jackknife's, which leaves all images of a patient out at once: one step of
    Newton's method from the whole, so that nothing is fitted again.

    References
    ----------
    Cox 1958, doi:10.1093/biomet/45.3-4.562; Van Calster et al. 2019, doi:10.1186/s12916-019-1466-7; Mancl and
    DeRouen 2001, doi:10.1111/j.0006-341X.2001.00126.x (each patient's pull, with what is left without the patient).

    Examples
    --------
    >>> from overread.stats.resample import cases
    >>> r = np.random.default_rng(0)
    >>> z = r.normal(size=4000)
    >>> y = (r.random(4000) < expit(z)).astype(float)
    >>> told = reliability(cases(y, expit(2 * z)))  # twice as sure as it may be
    >>> round(told["slope"].value, 1), bool(told["intercept"].low < 0 < told["intercept"].high)
    (0.5, True)
    """
    few = min((c.truth == 1).sum(), (c.truth == 0).sum()) if len(c.truth) else 0
    if few < FEWEST or np.ptp(c.score) == 0:
        gone = c.undefined(f"fewer than {FEWEST} cases of an answer" if few < FEWEST else "one probability for all")
        return {"slope": gone, "intercept": gone}
    x = logit(np.clip(c.score, NEAR, 1 - NEAR))
    ones = np.ones(len(x))
    return {
        "slope": _fitted(c, np.stack([ones, x], axis=1), np.zeros(len(x)), which=1),
        "intercept": _fitted(c, ones[:, None], x, which=0),
    }


def _fitted(c: Cases, design: np.ndarray, offset: np.ndarray, *, which: int) -> Estimate:
    """Return one coefficient of a logistic regression with an offset."""
    scale = np.where(design.std(axis=0) > 0, design.std(axis=0), 1.0)
    design, beta = design / scale, np.zeros(design.shape[1])
    for _ in range(100):
        p = expit(offset + design @ beta)
        curve = (design * (p * (1 - p))[:, None]).T @ design + 1e-9 * np.eye(len(beta))
        step = np.linalg.solve(curve, design.T @ (c.truth - p))
        beta = beta + step * min(1.0, 2 / max(float(np.abs(step).max()), 1e-12))
        if np.abs(step).max() < 1e-10:
            break
    if np.abs(beta).max() > 15:
        return c.undefined("the answers do not overlap")
    force, weight = np.zeros((c.patients, len(beta))), p * (1 - p)
    np.add.at(force, c.patient, design * (c.truth - p)[:, None])
    held = np.zeros((c.patients, len(beta), len(beta)))
    np.add.at(held, c.patient, weight[:, None, None] * design[:, :, None] * design[:, None, :])
    pull = np.linalg.solve(curve - held, force[..., None])[:, which, 0] / scale[which]
    return jackknifed(c, beta[which] / scale[which], pull)
