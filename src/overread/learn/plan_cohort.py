"""What a plan is drawn up from: how the training images of a cohort look, in numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from overread.errors import CohortError

AXES = {
    "pictures": ("left-right", "up-down", "quarter turns"),
    "volumes": ("left-right", "up-down", "slices", "quarter turns", "turns rows-slices", "turns columns-slices"),
}
"""Ways in which an image could be mirrored or turned, in words."""

TWINS = {
    "pictures": (("left-right",), ("up-down",), ("left-right", "up-down")),
    "volumes": (("left-right",), ("up-down",), ("slices",), ("left-right", "up-down", "slices")),
}
"""Axes along which it is asked, one by one and together, whether it helps to mirror images that can be told apart."""


@dataclass(frozen=True)
class Fingerprint:
    """What the training images of a cohort look like.

    ``shape`` is the median (slices, rows, columns); ``channels`` is 3 when any image is in colour;
    ``eight_bit`` says that every image is a picture of 256 levels, windowed by whoever made it; ``body_part`` and
    ``view`` hold what the headers name, where every one of them names one.

    ``patients`` is None where they are not known; ``answers`` counts each answer; ``shapes`` holds the 5th and 95th
    percentile of the sizes, ``spacing_mm`` the median and ``spacings_mm`` the 5th and 95th percentile of the spacings,
    where every image knows its own; ``extents_mm`` says then how far each volume reaches, and ``without_spacing`` counts
    those that do not know. ``intensities`` are the 0.5th and 99.5th percentile over the training voxels, where
    the unit is physical. ``side_told`` is what a person says of sides, ``side_words`` the words found that name one, and
    ``sides`` how well mirrored images are told from the others: axis → auroc, low, high, alike. ``gains`` says by how much
    other training images are read better when an image and its mirror image are taken for the same: axes, auroc (the
    difference), low, high.
    """

    n: int
    shape: tuple[int, int, int]
    channels: int
    modality: str
    unit: str
    volumes: int
    eight_bit: bool = False
    body_part: str = ""
    view: str = ""
    patients: int | None = None
    answers: Mapping[str, int] = field(default_factory=dict)
    shapes: tuple[tuple[int, int, int], ...] = ()
    spacing_mm: tuple[float, float, float] | None = None
    spacings_mm: tuple[tuple[float, float, float], ...] = ()
    extents_mm: tuple[tuple[float, float, float], ...] = ()
    without_spacing: int = 0
    intensities: tuple[float, float] | None = None
    side_told: bool | None = None
    side_words: str = ""
    sides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    gains: tuple[Mapping[str, Any], ...] = ()


def fingerprint(records: Iterable[Mapping[str, Any]]) -> Fingerprint:
    """Return what a cohort's images look like, from the archive's records, without reading pixels.

    Parameters
    ----------
    records : iterable of mapping
        For each image ``shape`` (slices, rows, columns[, channels]), ``modality``, ``unit``, ``full_range`` and, where
        they are known, ``attributes`` and ``spacing_mm``.

    Raises
    ------
    CohortError
        When pictures and volumes are mixed: one network reads one or the other.
    """
    rows = list(records)
    if not rows:
        raise CohortError("a cohort without images", expected="images with a known label", do="collect some first")
    shapes = np.array([r["shape"][:3] for r in rows])
    volumes = int((shapes[:, 0] > 1).sum())
    if 0 < volumes < len(rows):
        raise CohortError(
            f"{len(rows) - volumes} single pictures and {volumes} volumes in one cohort",
            expected="one or the other",
            do="collect them into two archives",
        )
    colour = any(len(r["shape"]) == 4 and r["shape"][3] >= 3 for r in rows)
    spacings = [r.get("spacing_mm") for r in rows]
    known = np.array(spacings, float) if all(s is not None for s in spacings) else None
    extents = () if known is None or not volumes else tuple(map(tuple, (known * shapes).tolist()))
    return Fingerprint(
        n=len(rows),
        shape=tuple(int(v) for v in np.median(shapes, axis=0)),
        channels=3 if colour else 1,
        modality="+".join(sorted({r["modality"] for r in rows if r["modality"]})),
        unit=rows[0]["unit"] if len({r["unit"] for r in rows}) == 1 else "",
        volumes=volumes,
        eight_bit=all(r["unit"] == "stored" and r["full_range"] and tuple(r["full_range"]) == (0, 255) for r in rows),
        body_part=_named(rows, "BodyPartExamined"),
        view=_named(rows, "ViewPosition"),
        shapes=tuple(tuple(int(v) for v in q) for q in np.percentile(shapes, (5, 95), axis=0, method="nearest")),
        spacing_mm=None if known is None else tuple(round(float(v), 4) for v in np.median(known, axis=0)),
        spacings_mm=()
        if known is None
        else tuple(tuple(round(float(v), 4) for v in q) for q in np.percentile(known, (5, 95), axis=0)),
        extents_mm=extents,
        without_spacing=sum(s is None for s in spacings),
    )


def _named(rows: Iterable[Mapping[str, Any]], keyword: str) -> str:
    """Return the words that headers have for one thing, joined by "+"; empty where one of them has none.

    Examples
    --------
    >>> _named([{"attributes": {"ViewPosition": "PA"}}, {"attributes": {"ViewPosition": "AP"}}], "ViewPosition")
    'AP+PA'
    >>> _named([{"attributes": {"ViewPosition": "PA"}}, {"attributes": {}}], "ViewPosition")
    ''
    """
    words = {r.get("attributes", {}).get(keyword, "").strip().upper() for r in rows}
    return "" if "" in words else "+".join(sorted(words))
