"""Do these images come as the calibration cohort's did: what every promise made on that cohort rests on.

Probabilities, operating point and sets of possible answers hold for images that are exchangeable with the calibration
cohort's. Truth is not known at work, but distances from the training images are: where theirs are spread otherwise than
the calibration cohort's, the promises have lost their ground. The converse does not hold: images may differ in ways
that no distance sees.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import cramervonmises_2samp, rankdata

FEWEST = 30
"""Patients of either side below which nothing is asked: a test would see nothing."""

ALARM = 0.01
"""An alarm is given below this p-value: by chance in one batch of a hundred."""

WORDS = {
    "look": "how they look",
    "features": "what the network sees in them",
    "quality": "their quality (brightness, contrast, sharpness, noise)",
}
"""What each distance is of."""


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


def compared(held: Mapping[str, np.ndarray], new: Mapping[str, np.ndarray]) -> dict[str, Any] | None:
    """Return whether new images lie as far from the training images as the calibration cohort's do.

    Parameters
    ----------
    held, new : mapping of str to ndarray
        By kind of distance (a key of ``WORDS``): of calibration and of new images, one a patient.

    Returns
    -------
    dict or None
        p_value (over all kinds), alarm, n, calibration (patients), kinds (kind → p_value, further: the chance that a
        new image lies further than a calibration image, 0.5 where they are alike), in_words. None with fewer than 30
        patients on either side.

    Notes
    -----
    Cramér and von Mises' test of each kind: it sees a shift as well as the Mann–Whitney test, and a change of spread,
    too. The p-values are joined by Bonferroni's rule.

    References
    ----------
    Anderson 1962, doi:10.1214/aoms/1177704477; Vovk, Gammerman, Shafer 2005, doi:10.1007/b106715 (exchangeability).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> alike, far = ({"look": rng.normal(loc, size=200)} for loc in (1.0, 2.4))
    >>> found = compared({"look": rng.normal(1.0, size=150)}, far)
    >>> found["alarm"], round(found["kinds"]["look"]["further"], 1)
    (True, 0.8)
    >>> compared({"look": rng.normal(1.0, size=150)}, alike)["alarm"]
    False
    """
    kinds = [kind for kind in WORDS if kind in held and kind in new]
    n, m = (min((len(side[kind]) for kind in kinds), default=0) for side in (new, held))
    if min(n, m) < FEWEST:
        return None
    each = {kind: _one(np.asarray(held[kind], float), np.asarray(new[kind], float)) for kind in kinds}
    p = min(1.0, len(each) * min(found["p_value"] for found in each.values()))
    told = {"p_value": p, "alarm": p < ALARM, "n": n, "calibration": m, "kinds": each}
    return told | {"in_words": _in_words(told)}


def _one(held: np.ndarray, new: np.ndarray) -> dict[str, float]:
    ranks = rankdata(np.r_[new, held])[: len(new)]
    further = (ranks.sum() - len(new) * (len(new) + 1) / 2) / (len(new) * len(held))
    if np.ptp(np.r_[new, held]) == 0:
        return {"p_value": 1.0, "further": 0.5}
    return {"p_value": float(cramervonmises_2samp(held, new).pvalue), "further": float(further)}


def _in_words(told: Mapping[str, Any]) -> str:
    p = "p < 0.001" if told["p_value"] < 0.001 else f"p = {told['p_value']:.2g}"
    whom = f"{told['n']:,} patients, against {told['calibration']:,} of the calibration cohort"
    if not told["alarm"]:
        return (
            f"nothing shows that these images come otherwise than those of the calibration cohort ({p}; {whom}); "
            "differences that no distance sees are not looked for"
        )
    strange = sorted((found["p_value"], kind) for kind, found in told["kinds"].items())
    bad = [kind for value, kind in strange if len(strange) * value < ALARM]
    parts = ", ".join(f"{WORDS[kind]}: {_where(told['kinds'][kind]['further'])}" for kind in bad)
    return (
        f"these images do not look like those of the calibration cohort ({p}; {whom}): {parts}. Probabilities, the "
        "operating point and the sets of possible answers were learned there and may not hold here"
    )


def _where(further: float) -> str:
    """Say on which side of the calibration images new ones lie.

    Examples
    --------
    >>> _where(0.83), _where(0.3), _where(0.52)
    ('83 of 100 lie further from the training images than a calibration image does', '70 of 100 lie nearer to the training images than a calibration image does', 'spread otherwise')
    """
    if abs(further - 0.5) < 0.05:
        return "spread otherwise"
    share, way = (further, "further from") if further > 0.5 else (1 - further, "nearer to")
    return f"{100 * share:.0f} of 100 lie {way} the training images than a calibration image does"
