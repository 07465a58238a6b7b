"""The pointing game: does the hottest point of a heat-map lie on a lesion whose place is known?

A film is judged in its two dimensions, a volume in three: the hottest voxel must lie within reach of a lesion across the
slices, too. Lengths are counted in pixels of a row, also from slice to slice.

References
----------
Zhang J et al. Top-down neural attention by excitation backprop. Int J Comput Vis 2018;126:1084.
doi:10.1007/s11263-017-1059-x
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from overread.errors import OverreadError
from overread.stats.resample import Who
from overread.steps.explained import Explained

REACH = 1.5
"""A point counts as on the lesion within this many radii: maps are coarser than films."""

COLUMNS = ("file", "slice", "row", "column", "radius")
"""What a table of lesions holds; ``slice`` is asked for volumes only."""

Known = Mapping[Path, np.ndarray]
"""File, or folder of a series → its lesions (n, 4): slice (NaN where not told), row, column, radius."""


@dataclass(frozen=True)
class Pointing:
    """How often the hottest point lay on a lesion, and how often it would by chance.

    Parameters
    ----------
    hits, films : int
    by_area : float
        Chance of a point thrown anywhere on the film: the share of the film within reach of a lesion, averaged.
    by_exchange : float
        Share of hits when each map is laid on every other film: what a map that always looks at the same places, and
        knows the place of no lesion, would reach. The harder of the two to beat. On a film, or a volume, of another
        size the map is stretched.
    cases : tuple of dict
        By film: ``map`` 1 for a hit, ``others`` the share of other films' maps that would hit, ``overlap`` of the map's
        hottest places with the lesions (intersection over union; as many places as the lesions cover).
    patients : tuple of str, Nameless or None
        Whose each film is, as the file itself says; never written anywhere.
    """

    hits: int
    films: int
    by_area: float
    by_exchange: float
    cases: tuple[dict[str, float], ...] = ()
    patients: tuple[Who, ...] = field(default=(), repr=False)

    def __str__(self) -> str:
        return (
            f"The hottest point of the heat-map lay on a nodule in {self.hits} of {self.films} films with nodules "
            f"({self.hits / self.films:.0%}; by chance {self.by_area:.0%}, with another patient's map {self.by_exchange:.0%})."
        )


class Aim(NamedTuple):
    """Where a map points, and on what grid."""

    point: tuple[float, ...]
    shape: tuple[int, ...]


class Target(NamedTuple):
    """The lesions of one image (n, axes + 1), its grid, and how many pixels of a row one step along each axis is."""

    lesions: np.ndarray
    shape: tuple[int, ...]
    scale: tuple[float, ...]


def pointing_game(maps: Explained, *, truth: Path, folder: Path, method: str | None = None) -> Pointing:
    """Play the pointing game on all maps of films, or volumes, that have lesions.

    Parameters
    ----------
    maps : Explained
        As ``explain`` returned it; one map a film counts, the first.
    truth : Path
        ``lesions.csv``: file (of a series any of its files, or their folder), slice (of a volume), row, column, radius
        (pixels of the film).
    folder : Path
        The folder that the table's files are named from.
    method : str, optional
        Play it with the maps of one method only.

    Raises
    ------
    OverreadError
        If no film has both a map and a lesion, or it is not known which image, or which slice, a lesion is of.
    """
    chosen = _chosen(maps.maps, known_lesions(truth, folder), method)
    if not chosen:
        raise OverreadError(
            "maps of films without known lesions",
            expected="at least one film with both",
            do=f"name the files, or the folders of series, in {truth.name} from where that table lies",
        )
    aims: list[Aim] = []
    targets: list[Target] = []
    areas, overlaps = [], []
    for entry, lesions in chosen:
        heat = np.load(maps.out / entry["map"])
        heat = heat[0] if len(heat) == 1 else heat
        target = Target(_placed(lesions, heat.ndim), heat.shape, _scale(entry, heat.ndim))
        aims.append(Aim(hottest(heat), heat.shape))
        targets.append(target)
        areas.append(covered_share(target.lesions, target.shape, target.scale))
        overlaps.append(overlap(heat, target.lesions, target.scale))
    table = np.array([[_hit(aim, target) for target in targets] for aim in aims])
    others = table[~np.eye(len(aims), dtype=bool)]
    exchanged = float(others.mean()) if others.size else float("nan")
    patients = tuple(maps.patients.get(entry["file"]) for entry, _ in chosen)
    return Pointing(
        int(np.trace(table)), len(aims), float(np.mean(areas)), exchanged, _cases(table, overlaps), patients
    )


def _chosen(
    maps: Iterable[Mapping[str, Any]], lesions: Known, method: str | None
) -> list[tuple[Mapping[str, Any], np.ndarray]]:
    """Return one map an image with lesions, the first, and its lesions: by its file, one of a series, or their folder."""
    chosen: list[tuple[Mapping[str, Any], np.ndarray]] = []
    played: set[Path] = set()
    of: dict[Path, Path] = {}
    for entry in maps:
        file = Path(entry["file"]).resolve()
        if file in played or method not in (None, entry.get("method")):
            continue
        parts = [Path(part).resolve() for part in entry.get("files", ())]
        named = next((place for place in (file, *parts, *file.parents) if place in lesions), None)
        if named is None:
            continue
        if of.setdefault(named, file) != file:
            raise OverreadError(
                "a table of lesions that names a folder of which two images or more were explained",
                expected="one image by the name that its lesions stand under",
                do="name a file of each image in the table",
            )
        played.add(file)
        chosen.append((entry, lesions[named]))
    return chosen


def _placed(lesions: np.ndarray, dimensions: int) -> np.ndarray:
    """Return the lesions of a film as row, column, radius; of a volume with the slice before them."""
    if dimensions == 2:
        return lesions[:, 1:]
    if np.isnan(lesions[:, 0]).any():
        raise OverreadError(
            "a lesion of a volume without its slice",
            expected="slice, counted from 0 in the order of the map's slices",
            do="add the column slice",
        )
    return lesions


def _scale(entry: Mapping[str, Any], dimensions: int) -> tuple[float, ...]:
    """Return how many pixels of a row one step along each axis is; 1 between slices whose distance nobody knows."""
    if dimensions == 2:
        return (1.0, 1.0)
    if "affine" not in entry:
        return (1.0,) * dimensions
    apart, down, across = np.linalg.norm(np.asarray(entry["affine"], float)[:3, :3], axis=0)
    pixel = float(np.sqrt(down * across))
    return (float(apart) / pixel if pixel > 0 else 1.0, 1.0, 1.0)


def _cases(table: np.ndarray, overlaps: Sequence[float]) -> tuple[dict[str, float], ...]:
    """Return each film's part: its own map's hit, and how often the other films' maps hit its lesions."""
    n = len(table)
    others = (table.sum(axis=0) - np.diag(table)) / max(n - 1, 1)
    return tuple({"map": float(table[i, i]), "others": float(others[i]), "overlap": overlaps[i]} for i in range(n))


def overlap(heat: np.ndarray, lesions: np.ndarray, scale: Sequence[float] | None = None) -> float:
    """Return the intersection over union of the lesions and as many of the hottest places.

    Parameters
    ----------
    heat : ndarray
    lesions : ndarray (n, axes + 1)
        Centre and radius.
    scale : sequence of float, optional
        Pixels of a row in one step along each axis.

    Examples
    --------
    >>> heat = np.zeros((20, 20))
    >>> heat[4:7, 4:7] = 1
    >>> overlap(heat, np.array([[5.0, 5, 1.5]])), overlap(heat, np.array([[15.0, 15, 1.5]]))
    (1.0, 0.0)
    """
    there = _within(lesions, heat.shape, scale)
    hot = _hottest_places(heat, int(there.sum()))
    return float((hot & there).sum() / max((hot | there).sum(), 1))


def _hottest_places(heat: np.ndarray, many: int) -> np.ndarray:
    """Return which places are the ``many`` hottest; of equals the first (a volume is too large to be sorted for it)."""
    flat, hot = heat.ravel(), np.zeros(heat.size, bool)
    if many:
        limit = np.partition(flat, heat.size - many)[heat.size - many]
        hot = flat > limit
        hot[np.flatnonzero(flat == limit)[: many - int(hot.sum())]] = True
    return hot.reshape(heat.shape)


def _within(
    lesions: np.ndarray, shape: tuple[int, ...], scale: Sequence[float] | None = None, reach: float = 1.0
) -> np.ndarray:
    """Return which places (boolean, of the shape) lie within so many radii of any lesion."""
    scale = scale or (1.0,) * len(shape)
    there = np.zeros(shape, bool)
    for *centre, radius in lesions:
        far = reach * radius
        box = tuple(  # a volume's whole grid of distances would be gigabytes
            slice(max(0, int(np.floor(c - far / s))), max(0, min(n, int(np.ceil(c + far / s)) + 1)))
            for c, s, n in zip(centre, scale, shape, strict=True)
        )
        steps = [(axis - c) * s for axis, c, s in zip(np.ogrid[box], centre, scale, strict=True)]
        there[box] |= reduce(np.hypot, steps) <= far
    return there


def hottest(heat: np.ndarray) -> tuple[float, ...]:
    """Return the row and column of a map's maximum, in a volume after the slice; the middle where several share it.

    Examples
    --------
    >>> hottest(np.array([[0, 0, 0], [0, 5, 5], [0, 0, 0]]))
    (1.0, 1.5)
    """
    return tuple(float(places.mean()) for places in np.nonzero(heat == heat.max()))


def covered_share(lesions: np.ndarray, shape: tuple[int, ...], scale: Sequence[float] | None = None) -> float:
    """Return the share of a film's pixels, or a volume's, that lie within reach of any lesion.

    Parameters
    ----------
    lesions : ndarray (n, axes + 1)
        Row, column, radius; of a volume the slice before them.
    shape : tuple of int
    scale : sequence of float, optional
        Pixels of a row in one step along each axis.
    """
    return float(_within(lesions, shape, scale, REACH).mean())


def _hit(aim: Aim, target: Target) -> bool:
    """Say whether a point of one film is within reach of any lesion of another, which it is stretched to."""
    (point, own), (lesions, shape, scale) = aim, target
    if len(own) != len(shape):
        return False  # a film's map cannot be laid on a volume
    if own != shape:
        point = tuple((p + 0.5) * n / m - 0.5 for p, n, m in zip(point, shape, own, strict=True))
    away = [(lesions[:, k] - p) * s for k, (p, s) in enumerate(zip(point, scale, strict=True))]
    return bool((reduce(np.hypot, away) <= REACH * lesions[:, -1]).any())


def known_lesions(truth: Path, folder: Path) -> dict[Path, np.ndarray]:
    """Return slice (NaN where it is not told), row, column and radius of each film's lesions.

    Raises
    ------
    OverreadError
        If the table cannot be read, lacks a column, or holds what is no number.
    """
    found = defaultdict(list)
    try:
        with truth.open(newline="", encoding="utf-8-sig") as table:
            rows = csv.DictReader(table)
            if lacking := [name for name in COLUMNS if name != "slice" and name not in (rows.fieldnames or ())]:
                raise OverreadError(
                    f"a table of lesions without the column {' and '.join(lacking)}",
                    expected=", ".join(COLUMNS),
                    do=f"name the columns so in the first line of {truth.name}",
                )
            for line in rows:
                told = [float(line[name] or "nan") for name in ("row", "column", "radius")]
                if not np.isfinite(told).all() or told[-1] <= 0:
                    raise ValueError(f"line {rows.line_num} without a place, or with a radius of 0 or less")
                found[(folder / line["file"]).resolve()].append([float(line.get("slice") or "nan"), *told])
    except (OSError, ValueError, TypeError, csv.Error) as fault:
        raise OverreadError(
            f"a table of lesions that cannot be read ({fault})",
            expected="a CSV file in UTF-8 with " + ", ".join(COLUMNS) + ", a number in each but the first",
            do=f"correct {truth.name}",
        ) from None
    return {file: np.array(discs) for file, discs in found.items()}


def foreseen(lesions: Known, truth: Path, sources: Sequence[str | Path]) -> None:
    """Refuse, before any map is drawn, a table none of whose files lies in the sources.

    Raises
    ------
    OverreadError
    """
    places = [Path(source).resolve() for source in sources]
    if not any(
        named == place or place in named.parents or named in place.parents for named in lesions for place in places
    ):
        raise OverreadError(
            f"a table of lesions of {len(lesions):,} images, none of them in the sources",
            expected="at least one image that has both",
            do=f"name the files, or the folders of series, in {truth.name} from where that table lies",
        )
