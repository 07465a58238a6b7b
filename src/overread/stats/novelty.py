"""How unlike the training images a new image is, and from where on that is too much to answer.

A network answers whatever it is shown: a brain as readily as a chest. A distance to the training images, measured in a
space where they spread evenly in all directions, tells strangers apart; from where on it is too far is learned on
calibration patients, who are no strangers, so that the share of false alarms is known beforehand.

What is promised counts patients: of new patients like the calibration patients, at most a stated share has any image
called a stranger, on average over the calibration cohorts that could have been drawn. A share s takes 1/s − 1 patients
(99 for 1 in 100; 299 where three kinds of distance divide it among them). With fewer, n, the limit lies half as far
again as the furthest of them, and no less than 1/(n + 1) can be promised: that share is kept as ``promised``, and told.

References
----------
Ledoit and Wolf 2004, doi:10.1016/S0047-259X(03)00096-4 (shrunk covariance); Lee et al. 2018, arXiv 1807.03888
(Mahalanobis distance as an out-of-distribution score); Laxhammar and Falkman 2010, doi:10.1145/1833280.1833287
(conformal anomaly detection).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from overread.stats.exchangeability import Reference
from overread.stats.resample import Who, cases

FALSE_ALARMS = 0.01
"""Share of patients like the calibration patients who may have an image called a stranger, where enough of them are."""

FEWEST = 20
"""Training images below which no spread can be learned, and calibration images below which no limit."""


@dataclass(frozen=True, eq=False)
class Novelty:
    """The spread of the training images, and the limit.

    Parameters
    ----------
    mean : ndarray, (d,)
    whitening : ndarray, (d, d)
        Turns the training images' spread into a ball: squared distances after it are Mahalanobis'.
    limit : float
        Distance from which an image is a stranger; infinite where calibration images are too few to tell.
    n : int
        Calibration patients behind the limit.
    promised : float or None
        At most this share of new patients like them has an image called a stranger; None where an earlier version did
        not count patients, and promised nothing.
    reference : Reference or None
        Where the calibration images lie, one a patient: what a batch of new images is compared with.
    """

    mean: np.ndarray
    whitening: np.ndarray
    limit: float
    n: int
    promised: float | None = None
    reference: Reference | None = None

    def distance(self, rows: np.ndarray) -> np.ndarray:
        """Return the distance (n,) of each row (n, d) from the training images; about 1 for one of them.

        Examples
        --------
        >>> rng = np.random.default_rng(0)
        >>> like = fit(rng.normal(size=(500, 3)), rng.normal(size=(200, 3)))
        >>> near, far = like.distance(np.array([[0.5, 0, 0], [0, 0, 9.0]]))
        >>> bool(near < like.limit < far)
        True
        """
        return np.sqrt((self.moved(rows) ** 2).mean(axis=1))

    def moved(self, rows: np.ndarray) -> np.ndarray:
        """Return each row (n, d) in the space where the training images spread evenly in all directions."""
        return (np.atleast_2d(np.asarray(rows, float)) - self.mean) @ self.whitening

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        """Return what has to be kept, under names that begin with ``name``."""
        kept = {"mean": self.mean, "whitening": self.whitening.astype(np.float32)}
        others = self.reference.arrays(name) if self.reference else {}
        return (
            others
            | {f"{name}_{key}": value for key, value in kept.items()}
            | {f"{name}_limit": np.array([self.limit, self.n, math.nan if self.promised is None else self.promised])}
        )

    @classmethod
    def of(cls, held: Mapping[str, np.ndarray], name: str) -> Novelty:
        """Read it back."""
        limit, n, *share = held[f"{name}_limit"].tolist()
        reference, whitening = Reference.of(held, name), held[f"{name}_whitening"].astype(float)
        promised = share[0] if share and not math.isnan(share[0]) else None
        return cls(held[f"{name}_mean"], whitening, limit, int(n), promised, reference)


def fit(
    training: np.ndarray,
    calibration: np.ndarray,
    *,
    false_alarms: float = FALSE_ALARMS,
    one_each: Sequence[int] | None = None,
    patients: Sequence[Who] | None = None,
) -> Novelty | None:
    """Learn the spread on training images, and the limit on calibration images.

    Parameters
    ----------
    training, calibration : ndarray, (n, d)
        Thumbnails, or a network's last averaged feature maps, as rows.
    false_alarms : float
        Share of new patients like the calibration patients who may have an image called a stranger.
    one_each : sequence of int, optional
        Calibration rows to be kept for comparison, one a patient; all when left out.
    patients : sequence of str, Nameless or None, (n,), optional
        Of the calibration rows: each patient's furthest image counts. Without it each image is a patient of its own.

    Returns
    -------
    Novelty or None
        None with fewer than 20 training images.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> like = fit(rng.normal(size=(800, 5)), rng.normal(size=(400, 5)))
    >>> share = (like.distance(rng.normal(size=(20000, 5))) > like.limit).mean()
    >>> bool(share < 0.03)
    True
    >>> fit(np.zeros((3, 2)), np.zeros((3, 2))) is None
    True
    """
    from sklearn.covariance import ledoit_wolf  # only learning needs it, and it takes longer to load than an answer

    x = np.asarray(training, float)
    if len(x) < FEWEST:
        return None
    mean = x.mean(axis=0)
    spread, _ = ledoit_wolf(x - mean, assume_centered=True)
    values, directions = np.linalg.eigh(spread)
    floor = max(values.max() * 1e-9, 1e-12)
    whitening = directions / np.sqrt(np.maximum(values, floor))
    like = Novelty(mean, whitening.astype(np.float32).astype(float), math.inf, 0, 0.0)
    if not len(calibration):
        return like
    c = cases(np.zeros(len(calibration)), like.distance(calibration), patients)
    some = calibration if one_each is None else calibration[list(one_each)]
    like = replace(like, n=c.patients, reference=Reference.learn(like.moved(some)))
    furthest = np.zeros(c.patients)
    np.maximum.at(furthest, c.patient, c.score)
    k = math.ceil((c.patients + 1) * (1 - false_alarms) - 1e-9)
    if k <= c.patients:
        return replace(like, limit=float(np.sort(furthest)[k - 1]), promised=false_alarms)
    if len(calibration) < FEWEST:
        return like
    # too few patients for the share asked for: the furthest of them, and a half beyond
    return replace(like, limit=1.5 * float(furthest.max()), promised=1 / (c.patients + 1))
