"""Do these images come as the calibration cohort's did: what every promise made on that cohort rests on.

Probabilities, operating point and sets of possible answers hold for images that are exchangeable with the calibration
cohort's. Truth is not known at work, but where images lie is: measured in a space where the training images spread
evenly in all directions, a batch may lie to one side of the calibration images, or further from or nearer to the middle.
The converse does not hold: images may differ in ways that no measure here sees.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy  # its statistics load when they are first asked for: a prediction asks for none

FEWEST = 30
"""Patients of either side below which nothing is asked: a test would see nothing."""

ALARM = 0.01
"""An alarm is given below this p-value: by chance in one batch of a hundred."""

DRAWN_IN = 1.5
"""Images further out than this (1 is the usual distance) are drawn in to it: no single stranger moves a batch's mean."""

WORDS = {
    "look": "how they look",
    "features": "what the network sees in them",
    "quality": "their quality (brightness, contrast, sharpness, noise)",
}
"""What each kind of row is of."""


@dataclass(frozen=True, eq=False)
class Reference:
    """Where the calibration images lie, one a patient: sums and distances, and no image's own place.

    Parameters
    ----------
    mean : ndarray, (d,)
    spread, squared : float
        Sum of the variances in all directions, and of their squares.
    distances : ndarray, (patients,)
        Of each from the middle of the training images.
    """

    mean: np.ndarray
    spread: float
    squared: float
    distances: np.ndarray

    @classmethod
    def learn(cls, rows: np.ndarray) -> Reference:
        """Return the reference of calibration images (patients, d), in the space of the training images' spread.

        Notes
        -----
        The sum of the squared variances is estimated without bias (Bai and Saranadasa 1996).
        """
        near, n = _drawn_in(rows), len(rows)
        off = near - near.mean(axis=0) if n else near
        products = (off @ off.T if n < rows.shape[1] else off.T @ off) / max(
            n - 1, 1
        )  # one trace, and one of the square
        spread = float(np.trace(products))
        raw = (n - 1) ** 2 / max((n - 2) * (n + 1), 1) * (float((products**2).sum()) - spread**2 / max(n - 1, 1))
        mean = near.mean(axis=0) if n else np.zeros(rows.shape[1])
        return cls(mean, spread, max(raw, spread**2 / max(rows.shape[1], 1)), np.sort(_distance(rows)))

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        """Return what has to be kept, under names that begin with ``name``."""
        kept = {"middle": self.mean, "moments": np.array([self.spread, self.squared]), "distances": self.distances}
        return {f"{name}_{key}": value for key, value in kept.items()}

    @classmethod
    def of(cls, held: Mapping[str, np.ndarray], name: str) -> Reference | None:
        """Read it back; None for a run of an earlier version."""
        if f"{name}_middle" not in held:
            return None
        spread, squared = held[f"{name}_moments"]
        return cls(held[f"{name}_middle"], float(spread), float(squared), held[f"{name}_distances"])

    def compared(self, rows: np.ndarray) -> dict[str, float]:
        """Return the p-values of place and distance of new images (patients, d), and the share that lies further."""
        n, m = len(rows), len(self.distances)
        apart = float(((_drawn_in(rows).mean(axis=0) - self.mean) ** 2).sum()) / (1 / n + 1 / m)
        if self.spread <= 0:
            return {"p_value": 1.0, "place": 1.0, "distance": 1.0, "further": 0.5}
        scale, freedom = self.squared / self.spread, self.spread**2 / self.squared
        place = float(scipy.stats.chi2.sf(apart / scale, freedom))
        far = _distance(rows)
        distance = (
            1.0
            if np.ptp(np.r_[far, self.distances]) == 0
            else float(scipy.stats.cramervonmises_2samp(self.distances, far).pvalue)
        )
        further = (scipy.stats.rankdata(np.r_[far, self.distances])[:n].sum() - n * (n + 1) / 2) / (n * m)
        both = min(1.0, 2 * min(place, distance))
        return {"p_value": both, "place": place, "distance": distance, "further": float(further)}


def _distance(rows: np.ndarray) -> np.ndarray:
    return np.sqrt((np.asarray(rows, float) ** 2).mean(axis=1))


def _drawn_in(rows: np.ndarray) -> np.ndarray:
    rows = np.asarray(rows, float)
    return rows * np.minimum(1.0, DRAWN_IN / np.maximum(_distance(rows), 1e-12))[:, None]


def one_each(patients: Sequence[object], images: Sequence[str]) -> list[int]:
    """Return one row for each patient: that of the image whose content hash is the lowest, which is as good as drawn.

    Several images of one patient are one witness; and a cohort with many images a patient could not be compared with
    one that has few. An unknown patient (None) is one of its own.

    Examples
    --------
    >>> one_each(["P1", "P1", None, None, "P2"], ["f", "a", "c", "c", "b"])
    [1, 2, 3, 4]
    """
    first: dict[object, int] = {}
    for row, (patient, image) in enumerate(zip(patients, images, strict=True)):
        key = ("unknown", row) if patient is None else patient
        if key not in first or image < images[first[key]]:
            first[key] = row
    return sorted(first.values())


def compared(
    held: Mapping[str, Reference], new: Mapping[str, np.ndarray], *, of: str = "patients"
) -> dict[str, Any] | None:
    """Return whether new images lie where the calibration cohort's do.

    Parameters
    ----------
    held : mapping of str to Reference
        By kind of row (a key of ``WORDS``), of calibration images.
    new : mapping of str to ndarray, (patients, d)
        Of new images, one a patient, in the same space.
    of : str
        What the new ones are one each of, in words (`named`).

    Returns
    -------
    dict or None
        p_value (over all kinds), alarm, n, calibration (patients), kinds (kind → p_value, and of it place and distance;
        further: the chance that a new image lies further out than a calibration image, 0.5 where they are alike),
        in_words. None with fewer than 30 patients on either side.

    Notes
    -----
    Place: the squared distance of the means against its own mean and variance (Bai and Saranadasa; Box's scaled χ²), with
    the spread of the calibration images. Distance: Cramér and von Mises' test. Joined by Bonferroni's rule.

    References
    ----------
    Bai and Saranadasa 1996, Statistica Sinica 6:311; Box 1954, doi:10.1214/aoms/1177728786; Anderson 1962,
    doi:10.1214/aoms/1177704477; Vovk, Gammerman, Shafer 2005, doi:10.1007/b106715 (exchangeability).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> held = {"look": Reference.learn(rng.normal(size=(150, 8)))}
    >>> compared(held, {"look": rng.normal(size=(100, 8))})["alarm"]
    False
    >>> compared(held, {"look": rng.normal(size=(100, 8)) + np.eye(8)[0]})["alarm"]
    True
    """
    kinds = [kind for kind in WORDS if kind in held and kind in new]
    n = min((len(new[kind]) for kind in kinds), default=0)
    m = min((len(held[kind].distances) for kind in kinds), default=0)
    if min(n, m) < FEWEST:
        return None
    each = {kind: held[kind].compared(new[kind]) for kind in kinds}
    p = min(1.0, len(each) * min(found["p_value"] for found in each.values()))
    told = {"p_value": p, "alarm": p < ALARM, "n": n, "calibration": m, "kinds": each}
    return told | {"in_words": in_words(told, of=of)}


def named(patients: Sequence[object]) -> str:
    """Return what one image each was taken of: patients only where all of them are known.

    Examples
    --------
    >>> named(["P1", "P2"]), named(["P1", None])
    ('patients', 'cases (patients unknown)')
    """
    return "patients" if all(isinstance(who, str) for who in patients) else "cases (patients unknown)"


def in_words(told: Mapping[str, Any], *, of: str = "patients") -> str:
    """Return the comparison in words: whether it alarms, how surely, and of how many."""
    p = "p < 0.001" if told["p_value"] < 0.001 else f"p = {told['p_value']:.2g}"
    whom = f"{told['n']:,} {of}, against {told['calibration']:,} of the calibration cohort"
    if not told["alarm"]:
        return (
            f"nothing shows that these images come otherwise than those of the calibration cohort ({p}; {whom}); what "
            "these measures do not see is not excluded"
        )
    strange = sorted((found["p_value"], kind) for kind, found in told["kinds"].items())
    parts = " and ".join(WORDS[kind] for value, kind in strange if len(strange) * value < ALARM)
    return (
        f"these images do not look like those of the calibration cohort ({p}; {whom}), by {parts}. Another scanner, "
        "protocol or kind of patient, or the finding commoner or rarer than there: probabilities, the operating point "
        "and the sets of possible answers were learned there and may not hold here"
    )
