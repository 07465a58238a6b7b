"""The pointing game: does the hottest point of a heat-map lie on a lesion whose place is known?

References
----------
Zhang J et al. Top-down neural attention by excitation backprop. Int J Comput Vis 2018;126:1084.
doi:10.1007/s11263-017-1059-x
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from overread.errors import OverreadError
from overread.stats.resample import Who
from overread.steps.explained import Explained

REACH = 1.5
"""A point counts as on the lesion within this many radii: maps are coarser than films."""


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
        knows the place of no lesion, would reach. The harder of the two to beat.
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


def pointing_game(maps: Explained, *, truth: Path, folder: Path, method: str | None = None) -> Pointing:
    """Play the pointing game on all maps of films that have lesions.

    Parameters
    ----------
    maps : Explained
        As ``explain`` returned it; one map a film counts, the first.
    truth : Path
        ``lesions.csv``: file, slice, row, column, radius (pixels of the film).
    folder : Path
        The folder that the table's files are named from.
    method : str, optional
        Play it with the maps of one method only.

    Raises
    ------
    OverreadError
        If no film has both a map and a lesion.
    """
    lesions = _lesions(truth, folder)
    points, discs, areas, overlaps, patients = [], [], [], [], []
    played: set[Path] = set()
    for entry in maps.maps:
        file = Path(entry["file"]).resolve()
        if file not in lesions or file in played or method not in (None, entry.get("method")):
            continue
        played.add(file)
        heat = np.load(maps.out / entry["map"])[0]
        points.append(hottest(heat))
        discs.append(lesions[file])
        areas.append(covered_share(lesions[file], heat.shape))
        overlaps.append(overlap(heat, lesions[file]))
        patients.append(maps.patients.get(entry["file"]))
    if not points:
        raise OverreadError("maps of films without known lesions", expected="at least one film with both")
    table = np.array([[_hit(point, disc) for disc in discs] for point in points])
    others = table[~np.eye(len(points), dtype=bool)]
    exchanged = float(others.mean()) if others.size else float("nan")
    cases = _cases(table, overlaps)
    return Pointing(int(np.trace(table)), len(points), float(np.mean(areas)), exchanged, cases, tuple(patients))


def _cases(table: np.ndarray, overlaps: Sequence[float]) -> tuple[dict[str, float], ...]:
    """Return each film's part: its own map's hit, and how often the other films' maps hit its lesions."""
    n = len(table)
    others = (table.sum(axis=0) - np.diag(table)) / max(n - 1, 1)
    return tuple({"map": float(table[i, i]), "others": float(others[i]), "overlap": overlaps[i]} for i in range(n))


def overlap(heat: np.ndarray, lesions: np.ndarray) -> float:
    """Return the intersection over union of the lesions and as many of the hottest places.

    Examples
    --------
    >>> heat = np.zeros((20, 20))
    >>> heat[4:7, 4:7] = 1
    >>> overlap(heat, np.array([[5.0, 5, 1.5]])), overlap(heat, np.array([[15.0, 15, 1.5]]))
    (1.0, 0.0)
    """
    rows, columns = np.indices(heat.shape)
    there = np.zeros(heat.shape, bool)
    for row, column, radius in lesions:
        there |= np.hypot(rows - row, columns - column) <= radius
    hot = np.zeros(heat.size, bool)
    hot[np.argsort(-heat, axis=None, kind="stable")[: int(there.sum())]] = True
    hot = hot.reshape(heat.shape)
    return float((hot & there).sum() / max((hot | there).sum(), 1))


def hottest(heat: np.ndarray) -> tuple[float, float]:
    """Return the row and column of a map's maximum; the middle of it where several points share it.

    Examples
    --------
    >>> hottest(np.array([[0, 0, 0], [0, 5, 5], [0, 0, 0]]))
    (1.0, 1.5)
    """
    rows, columns = np.nonzero(heat == heat.max())
    return float(rows.mean()), float(columns.mean())


def covered_share(lesions: np.ndarray, shape: tuple[int, ...]) -> float:
    """Return the share of a film's pixels that lie within reach of any lesion.

    Parameters
    ----------
    lesions : ndarray (n, 3)
        Row, column, radius.
    shape : (rows, columns)
    """
    rows, columns = np.indices(shape)
    near = np.zeros(shape, bool)
    for row, column, radius in lesions:
        near |= np.hypot(rows - row, columns - column) <= REACH * radius
    return float(near.mean())


def _hit(point: tuple[float, float], lesions: np.ndarray) -> bool:
    """Say whether a point is within reach of any lesion."""
    distance = np.hypot(lesions[:, 0] - point[0], lesions[:, 1] - point[1])
    return bool((distance <= REACH * lesions[:, 2]).any())


def _lesions(truth: Path, folder: Path) -> dict[Path, np.ndarray]:
    """Return row, column and radius of each film's lesions."""
    found = defaultdict(list)
    with truth.open(newline="", encoding="utf-8") as rows:
        for line in csv.DictReader(rows):
            found[(folder / line["file"]).resolve()].append([float(line[k]) for k in ("row", "column", "radius")])
    return {file: np.array(discs) for file, discs in found.items()}
