"""What a reader returned, held against the truth. Pure: arrays and words in, one verdict out.

A reader that states where its voxels lie is asked at the true points, through its own affine: how its array is turned
makes no difference. A reader that states no place is compared in the axis order that its documentation gives.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.ndimage import map_coordinates

from benchmarks.dicom_traps import scene
from benchmarks.dicom_traps.truth import Case, Piece

RIGHT, REFUSED = "right", "refused by name"
NEEDLESS, WARNED = "refused needlessly", "wrong with a warning"
SILENT, FAILED, UNREAD = "wrong silently", "failed without the cause", "does not read"
VERDICTS = (RIGHT, REFUSED, NEEDLESS, WARNED, SILENT, FAILED, UNREAD)
PASSED = (RIGHT, REFUSED)

_ON_GRID = 0.02
"""A point this near to a voxel's centre, in voxels, is that voxel."""


@dataclass(frozen=True, eq=False)
class Seen:
    """One array that a reader returned.

    Parameters
    ----------
    array : ndarray
    axes : str
        What its axes are: z slices, y rows, x columns, c channels, in the array's order ("zyx", "xyz", "yxc").
    affine : ndarray, (4, 4), optional
        Index along the array's first three (space) axes → LPS mm; None where the reader states no place.
    spacing_mm : mapping of axis to float
        The distances that the reader states.
    unit : str or None
        None where the reader states none.
    facts : mapping or None
        None where the reader returns no facts.
    notes : tuple of str
    relative : bool
        The reader's documentation says that it rescales grey values to a range of its own; it is right where the true
        values follow from it by a positive factor and a shift.
    """

    array: np.ndarray
    axes: str
    affine: np.ndarray | None = None
    spacing_mm: dict[str, float] = field(default_factory=dict)
    unit: str | None = None
    facts: dict[str, str] | None = None
    notes: tuple[str, ...] = ()
    relative: bool = False


@dataclass(frozen=True)
class Answer:
    """All that a reader did with one source.

    Parameters
    ----------
    seen : tuple of Seen
    error : str
        What it raised, with the kind of exception; "" where nothing.
    warnings : tuple of str
        What it warned of, on whatever road (warnings, log, stderr).
    unread : str
        Why this reader is not asked at all; "" where it is.
    """

    seen: tuple[Seen, ...] = ()
    error: str = ""
    warnings: tuple[str, ...] = ()
    unread: str = ""


def judge(answer: Answer, case: Case) -> tuple[str, str]:
    """Return the verdict on one answer, and why.

    Returns
    -------
    verdict : str
        One of ``VERDICTS``.
    why : str
        Where it is wrong, by how much; where it refused, its own first words.
    """
    if answer.unread:
        return UNREAD, answer.unread
    if answer.error:
        said = " ".join(answer.error.split())[:300]
        if not re.search(case.topic, answer.error.replace("RuntimeError", "")):  # "time" is not its topic
            return FAILED, said
        return (REFUSED if case.may_refuse or not case.answers else NEEDLESS), said
    words = [*answer.warnings, *(n for s in answer.seen for n in s.notes)]
    faults = []
    for pieces in case.answers:
        fault = _fault(answer, pieces)
        if not fault:
            return RIGHT, ""
        faults.append(fault)
    why = faults[0] if faults else f"{_count(len(answer.seen))} made of what is none"
    return (WARNED if any(re.search(case.topic, w) for w in words) else SILENT), why


def _count(n: int) -> str:
    return f"{n} image{'s' if n != 1 else ''}"


def _fault(answer: Answer, pieces: Sequence[Piece]) -> str:
    """Say what keeps an answer from being exactly these pieces; "" where nothing does."""
    if len(answer.seen) != len(pieces):
        return f"{_count(len(answer.seen))}, true are {len(pieces)}"
    left = list(answer.seen)
    for piece in pieces:
        faults = [disagreement(seen, piece, answer.warnings) for seen in left]
        if "" not in faults:
            return faults[0]
        left.pop(faults.index(""))
    return ""


def disagreement(seen: Seen, piece: Piece, warnings: Sequence[str] = ()) -> str:
    """Say how one array differs from one piece of the truth, with numbers; "" where it agrees."""
    words = [*warnings, *seen.notes]
    if piece.told and not any(re.search(piece.told, w) for w in words):
        return _values_fault(seen, piece) or "not a word about it"
    invented = [a for a in piece.unplaced if seen.spacing_mm.get(a)]
    if invented and not any(re.search(r"(?i)spacing|place|distance|frames? without", w) for w in words):
        return f"states {seen.spacing_mm[invented[0]]:g} mm where the file states nothing"
    if piece.spacing_mm and seen.spacing_mm:
        stated = (seen.spacing_mm.get("y", 0.0), seen.spacing_mm.get("x", 0.0))
        if not np.allclose(stated, piece.spacing_mm, rtol=1e-4):
            return f"pixels of {stated[0]:g} × {stated[1]:g} mm, true are {piece.spacing_mm[0]:g} × {piece.spacing_mm[1]:g}"
    if piece.units and seen.unit is not None and seen.unit.lower() not in map(str.lower, piece.units):
        return f'calls its numbers "{seen.unit}", true is {" or ".join(piece.units)}'
    if seen.facts is not None:
        for key, value in piece.attributes.items():
            if seen.facts.get(key) != value:
                return f"{key} is {seen.facts.get(key)!r}, true is {value!r}"
    return _values_fault(seen, piece)


def _values_fault(seen: Seen, piece: Piece) -> str:
    truth = np.asarray(piece.values, float)
    array, affine = _arranged(seen)
    if piece.upright and affine is not None and _lean(affine) > 1:
        return f"slanted: by its own affine its slices lean by {_lean(affine):.0f}°"
    if piece.affine is not None and affine is not None:
        points = scene.points(piece.affine, truth.shape)
        found, fault = _at(array, affine, points)
        return fault or _differ(found, piece, relative=seen.relative)
    if array.shape[0] == 1 and truth.ndim < 4 and (truth.ndim == 2 or truth.shape[-1] == 3):
        array = array[0]
    if array.ndim == truth.ndim + 1 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.shape != truth.shape:
        return f"{_shape(array.shape)} values, true are {_shape(truth.shape)}"
    fault = _differ(array, piece, relative=seen.relative)
    if fault and truth.ndim == 3 and truth.shape[-1] != 3 and not piece.unplaced:  # no place stated: from either end
        return fault if _differ(array[::-1], piece, relative=seen.relative) else ""
    return fault


def _lean(affine: np.ndarray) -> float:
    """The largest angle, in degrees, by which two axes are off perpendicular."""
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    off = np.abs(axes.T @ axes - np.eye(3)).max()
    return float(np.degrees(np.arcsin(min(1.0, off))))


def _shape(shape: Sequence[int]) -> str:
    return " × ".join(map(str, shape))


def _arranged(seen: Seen) -> tuple[np.ndarray, np.ndarray | None]:
    """Turn an array into (z, y, x[, c]), its affine with it."""
    array, axes = np.asarray(seen.array), seen.axes
    affine = seen.affine
    space = [a for a in axes if a != "c"]
    if "z" not in axes:
        array, axes, space = array[..., np.newaxis], axes + "z", [*space, "z"]
    array = array.transpose([axes.index(a) for a in ("zyxc" if "c" in axes else "zyx")])
    if affine is not None:
        affine = np.asarray(affine, float)[:, [*(space.index(a) for a in "zyx"), 3]]
    if array.ndim == 4 and array.shape[-1] == 4 and len(np.unique(array[..., 3])) == 1:
        array = array[..., :3]  # an opaque alpha channel beside the colours is no fault
    return (array.astype(float) if array.dtype.kind != "c" else array.real.astype(float)), affine


def _at(array: np.ndarray, affine: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, str]:
    """The reader's values at true points, by its own affine."""
    if array.ndim == 4 or abs(np.linalg.det(affine)) < 1e-12:
        return array, "no plain volume with a place"
    inverse = np.linalg.inv(affine)
    index = points @ inverse[:3, :3].T + inverse[:3, 3]
    near = np.round(index)
    index = np.where(np.abs(index - near) < _ON_GRID, near, index)
    out = (index < 0).any(axis=-1) | (index > np.array(array.shape) - 1).any(axis=-1)
    if out.any():
        return array, f"{out.mean():.0%} of the patient is not where it says"
    if np.array_equal(index, near):
        return array[tuple(np.moveaxis(near.astype(int), -1, 0))], ""
    return map_coordinates(array, np.moveaxis(index, -1, 0), order=1), ""


def _differ(found: np.ndarray, piece: Piece, *, relative: bool) -> str:
    truth = np.asarray(piece.values, float)
    judged = np.ones(truth.shape, bool)
    if piece.padding is not None:
        judged = ~piece.padding[0]
        outside = found[piece.padding[0]]
        bound = piece.padding[1]
        if not relative and (outside > bound).any():
            return f"padding of {np.nanmax(outside):g}, which could be anatomy (or worse)"
    want, have = truth[judged], found[judged]
    if not np.array_equal(np.isnan(want), np.isnan(have)):
        return f"{int(np.isnan(have).sum())} values are NaN, true are {int(np.isnan(want).sum())}"
    want, have = want[~np.isnan(want)], have[~np.isnan(have)]
    tolerance = piece.tolerance + 1e-6 * float(np.abs(want).max(initial=0))
    if relative:
        slope, shift = _line(have, want)
        if slope <= 0:
            return f"a negative of the truth (correlation {np.corrcoef(have, want)[0, 1]:.2f})"
        have, tolerance = slope * have + shift, tolerance + 0.002 * float(np.ptp(want))
    elif piece.offset_free:
        have = have + np.median(want - have)
    off = np.abs(have - want)
    if off.max(initial=0) <= tolerance:
        return ""
    with np.errstate(invalid="ignore", divide="ignore"):
        alike = np.corrcoef(have, want)[0, 1] if np.ptp(have) and np.ptp(want) else 0.0
    return f"{np.mean(off > tolerance):.0%} of the values wrong, by up to {off.max():.4g} (correlation {alike:.2f})"


def _line(have: np.ndarray, want: np.ndarray) -> tuple[float, float]:
    if not np.ptp(have):
        return 0.0, float(want.mean())
    slope = float(np.cov(have, want, bias=True)[0, 1] / np.var(have))
    return slope, float(want.mean() - slope * have.mean())
