"""How parallel slices lie on one another: put in order by position, or refused with the numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from overread.domain import noted
from overread.errors import UnreadableFile
from overread.formats.planes import Plane
from overread.imaging import geometry

COSINE_TOLERANCE = 1e-3
"""Direction cosines may differ by this much within a stack (0.06°): what writing them in text costs."""
GAP_TOLERANCE_MM, GAP_TOLERANCE = 0.1, 0.05
"""A gap may differ from the median gap by 0.1 mm or by 5 % of it, whichever is larger."""
LEAN_TOLERANCE_DEGREES, LEAN_TOLERANCE_PIXELS = 0.5, 0.5
"""A stack is tilted, and is straightened, where it leans further than this from the normal of its slices *and* the lean
moves its last slice by more than this part of a pixel against its first; a smaller shift is what rounding makes of a
straight stack, which is then at most a quarter of a pixel from where it is said to be."""
ASIDE_TOLD_PIXELS = 0.1
"""Slices that lie further than this part of a pixel to the side of the stack's axis are told (beyond half a pixel: refused)."""
LARGEST_LEAN_DEGREES = 45.0
"""No gantry tilts further than 30°; what leans more than this was never a scan along one axis."""
SAME_PLACE_MM = 0.01
"""Two slices nearer than this lie at one position."""


@dataclass(frozen=True)
class Stack:
    """Slices in order: indices from the lowest position to the highest, an affine in LPS mm, and what is to be told.

    ``lean_degrees`` is 0 for an upright stack; otherwise the affine is sheared, and the volume has to be straightened.
    """

    order: tuple[int, ...]
    affine: np.ndarray
    lean_degrees: float = 0.0
    notes: tuple[str, ...] = ()


def alike(planes: list[Plane]) -> list[list[int]]:
    """Divide slices into those that are parallel and have pixels of one size; in the order in which they were met.

    Raises
    ------
    UnreadableFile
        ``malformed`` where direction cosines are none; ``mixed-orientation`` for more directions than a survey has.
    """
    groups: list[list[int]] = []
    facing = np.empty((0, 6))
    sizes = np.empty((0, 2))
    for i, plane in enumerate(planes):
        orientation, size = _checked(np.array(plane.orientation)), np.array(plane.pixel_spacing)
        same = np.abs(facing - orientation).max(axis=1) <= COSINE_TOLERANCE
        same &= np.abs(sizes - size).max(axis=1) <= 1e-3 * size.max()
        if same.any():
            groups[int(np.argmax(same))].append(i)
            continue
        groups.append([i])
        facing, sizes = np.vstack([facing, orientation]), np.vstack([sizes, size])
        if len(groups) > _MOST_GROUPS:
            break
    if len(groups) > _MOST_GROUPS:
        raise UnreadableFile(
            f"{len(planes)} slices in more than {_MOST_GROUPS} directions",
            code="mixed-orientation",
            expected="parallel slices",
            do="export each plane as its own series",
        )
    return groups


_MOST_GROUPS = 24  # a rotating projection has one direction a slice; a three-plane survey has three


def places(planes: list[Plane]) -> np.ndarray:
    """Number the positions of parallel slices from the lowest; slices at one position have one number.

    Returns
    -------
    ndarray of int, (slices,)
    """
    along = np.array([p.position for p in planes]) @ geometry.normal(np.array(planes[0].orientation))
    order = np.argsort(along, kind="stable")
    out = np.empty(len(planes), int)
    out[order] = np.concatenate([[0], np.cumsum(np.diff(along[order]) >= SAME_PLACE_MM)])
    return out


def stack(planes: list[Plane]) -> Stack:
    """Order slices by their position along the normal, and say where the volume lies.

    Positions are Image Position (Patient) projected on the normal of Image Orientation (Patient). Instance numbers and
    file names are never used for order; instance numbers only tell a missing slice from a changed increment.

    Parameters
    ----------
    planes : list of Plane
        Three or more, parallel (``alike``), each with position, orientation and pixel spacing.

    Raises
    ------
    UnreadableFile
        ``duplicate-position``, ``missing-slices``, ``uneven-spacing``, ``gantry-tilt``.

    References
    ----------
    DICOM PS3.3 C.7.6.2.1.1.
    """
    orientation, spacing = np.array(planes[0].orientation), np.array(planes[0].pixel_spacing)
    positions = np.array([p.position for p in planes])
    along = positions @ geometry.normal(orientation)
    order = np.argsort(along, kind="stable")
    gaps = np.diff(along[order])
    if (gaps < SAME_PLACE_MM).any():
        raise doubled(len(planes), int((gaps >= SAME_PLACE_MM).sum()) + 1)
    _check_gaps(gaps, [planes[i].number for i in order])
    affine, lean, notes = _laid(positions[order], orientation, spacing)
    return Stack(
        tuple(int(i) for i in order), affine, lean, (*_contradictions(planes[0], float(np.median(gaps))), *notes)
    )


def _laid(positions: np.ndarray, orientation: np.ndarray, spacing: np.ndarray) -> tuple[np.ndarray, float, list[str]]:
    """Fit an even stack to ordered positions by least squares; one that hardly leans is an upright one.

    Returns
    -------
    affine : ndarray, (4, 4)
    lean_degrees : float
        0 for a stack that needs no straightening.
    notes : list of str
        Slices that lie a little to the side.
    """
    index = np.arange(len(positions)) - (len(positions) - 1) / 2
    step, middle = index @ positions / (index @ index), positions.mean(axis=0)
    normal, pixel = geometry.normal(orientation), float(spacing.min())
    upright = normal * float(step @ normal)
    lean = float(np.degrees(np.arctan2(np.linalg.norm(step - upright), np.linalg.norm(upright))))
    aside = _check_even(positions - (middle + np.outer(index, step)), upright, pixel)
    if np.linalg.norm(step - upright) * (len(positions) - 1) <= LEAN_TOLERANCE_PIXELS * pixel:
        step, lean = upright, 0.0
    if lean > LARGEST_LEAN_DEGREES:
        raise UnreadableFile(
            f"a stack that leans by {lean:.1f}° from the normal of its slices",
            code="gantry-tilt",
            expected=f"at most {LARGEST_LEAN_DEGREES:.0f}°, which is more than a gantry can tilt",
            do="export the series again; its positions cannot be right",
        )
    notes = []
    if aside > ASIDE_TOLD_PIXELS * pixel:
        said = (
            f"slices lie up to {aside:.2f} mm ({aside / pixel:.2f} of a pixel) to the side of the stack's axis; "
            "they were not shifted"
        )
        notes.append(noted("slices-aside", said))
    affine = geometry.plane_affine(
        middle + index[0] * step, orientation=orientation, pixel_spacing_mm=spacing, slice_step_mm=step
    )
    return affine, lean if lean > LEAN_TOLERANCE_DEGREES else 0.0, notes


def single(plane: Plane) -> np.ndarray | None:
    """Return where one slice lies, with the header's slice distance as its depth; None where the header gives none."""
    if not plane.is_placed or plane.thickness is None:
        return None
    orientation = _checked(np.array(plane.orientation))
    step = geometry.normal(orientation) * plane.thickness
    return geometry.plane_affine(
        plane.position, orientation=orientation, pixel_spacing_mm=plane.pixel_spacing, slice_step_mm=step
    )


def doubled(slices: int, positions: int) -> UnreadableFile:
    """Return the refusal of slices that share positions and that nothing in their headers tells apart."""
    return UnreadableFile(
        f"{slices} slices at {positions} position{'s' if positions > 1 else ''}",
        code="duplicate-position",
        expected="one slice at each position",
        do="export each time point, echo or diffusion step as its own series",
    )


def _checked(orientation: np.ndarray) -> np.ndarray:
    row, column = orientation[:3], orientation[3:]
    off = max(abs(np.linalg.norm(row) - 1), abs(np.linalg.norm(column) - 1), abs(row @ column))
    if off > 0.01:
        raise UnreadableFile(
            f"direction cosines that are not two perpendicular unit vectors (off by {off:.3f})",
            code="malformed",
            expected="at most 0.01",
            do="export the series again",
        )
    return orientation


def _check_gaps(gaps: np.ndarray, numbers: list[int | None]) -> None:
    if len(gaps) < 2:
        apart = f", {gaps[0]:.2f} mm apart" if len(gaps) else ""
        raise UnreadableFile(
            f"a series of {len(gaps) + 1} slice{'s' if len(gaps) else ''}{apart}",
            code="missing-slices",
            expected="at least 3 slices, so that even spacing can be seen",
            do="export the whole series, or offer the slices one by one",
        )
    usual = float(np.median(gaps))
    if (gaps >= 1.5 * gaps.min()).sum() <= len(gaps) / 2:  # the usual gap is the small one, even in a stack of three
        usual = float(np.median(gaps[gaps < 1.5 * gaps.min()]))
    allowed = max(GAP_TOLERANCE_MM, GAP_TOLERANCE * usual)
    odd = np.flatnonzero(np.abs(gaps - usual) > allowed)
    if not len(odd):
        return
    said = (
        f"{len(odd)} of {len(gaps)} gaps differ from the usual {usual:.2f} mm (from {gaps.min():.2f} to {gaps.max():.2f} mm, "
        f"median {np.median(gaps):.2f}), after slice {_listed(odd + 1)} from the lowest of {len(gaps) + 1}"
    )
    if all(_is_missing(gaps[i] / usual, allowed / usual, numbers[i], numbers[i + 1]) for i in odd):
        lost = int(sum(round(gaps[i] / usual) - 1 for i in odd))
        raise UnreadableFile(
            f"{lost} slice{'s' if lost > 1 else ''} missing: {said}",
            code="missing-slices",
            expected="every slice",
            do="export the series again, whole",
        )
    raise UnreadableFile(
        said,
        code="uneven-spacing",
        expected=f"equal gaps within {allowed:.2f} mm",
        do="export an evenly spaced reconstruction, or each part as its own series",
    )


def _listed(numbers: np.ndarray) -> str:
    shown = ", ".join(str(n) for n in numbers[:5])
    return f"{shown} …" if len(numbers) > 5 else shown


def _is_missing(ratio: float, tolerance: float, before: int | None, after: int | None) -> bool:
    """A gap of two or more steps is a lost slice, unless the instance numbers run on: then the scanner changed step."""
    if round(ratio) < 2 or abs(ratio - round(ratio)) > tolerance * round(ratio):
        return False
    return before is None or after is None or abs(after - before) != 1


def _check_even(away: np.ndarray, upright: np.ndarray, pixel: float) -> float:
    """Refuse a stack in which single slices are shifted, along it or sideways; return how far aside the worst one lies.

    Parameters
    ----------
    away : ndarray, (slices, 3)
        From where the even stack that fits best has each slice to where it is, in mm.
    upright : ndarray, (3,)
        From one slice to the next along the normal, in mm.
    pixel : float
        Its smaller side, in mm.
    """
    gap = float(np.linalg.norm(upright))
    along = away @ upright / gap
    aside = np.linalg.norm(away - np.outer(along, upright / gap), axis=1)
    for off, allowed in (
        (np.abs(along), max(GAP_TOLERANCE_MM, GAP_TOLERANCE * gap)),
        (aside, max(GAP_TOLERANCE_MM, pixel / 2)),
    ):
        if off.max() > allowed:
            raise UnreadableFile(
                f"slice {int(off.argmax()) + 1} of {len(off)} lies {off.max():.2f} mm from the even stack that fits best",
                code="uneven-spacing",
                expected=f"at most {allowed:.2f} mm",
                do="export an evenly spaced reconstruction",
            )
    return float(aside.max())


def _contradictions(plane: Plane, gap: float) -> tuple[str, ...]:
    """Tell where the header's own words on spacing are not what the positions say. The positions are believed."""
    allowed = max(GAP_TOLERANCE_MM, GAP_TOLERANCE * gap)
    notes = []
    if plane.spacing_between is not None and abs(plane.spacing_between - gap) > allowed:
        said = f"slices lie {gap:.2f} mm apart by their positions; Spacing Between Slices says {plane.spacing_between:.2f} mm"
        notes.append(noted("spacing-contradicted", said))
    if plane.slice_thickness is not None and plane.slice_thickness < gap - allowed:
        said = f"slices of {plane.slice_thickness:.2f} mm lie {gap:.2f} mm apart: what is between them was not imaged"
        notes.append(noted("slices-apart", said))
    elif plane.slice_thickness is not None and plane.slice_thickness > gap + allowed:
        said = f"slices of {plane.slice_thickness:.2f} mm lie {gap:.2f} mm apart: neighbours overlap"
        notes.append(noted("slices-overlap", said))
    return tuple(notes)
