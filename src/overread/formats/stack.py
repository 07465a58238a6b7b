"""How the slices of a series lie on one another: put in order by position, or refused with the numbers."""

from __future__ import annotations

import numpy as np

from overread.errors import UnreadableFile
from overread.formats.planes import Plane
from overread.imaging import geometry

COSINE_TOLERANCE = 1e-3
"""Direction cosines may differ by this much within a stack (0.06°): what writing them in text costs."""
GAP_TOLERANCE_MM, GAP_TOLERANCE = 0.1, 0.05
"""A gap may differ from the median gap by 0.1 mm or by 5 % of it, whichever is larger."""
TILT_TOLERANCE_DEGREES = 0.5
"""The stack may lean this far from the normal of its slices; more is a tilted gantry."""
SAME_PLACE_MM = 0.01
"""Two slices nearer than this lie at one position."""


def is_placed(plane: Plane) -> bool:
    """True when a frame says where it lies, how it is turned, and how large its pixels are."""
    return plane.position is not None and plane.orientation is not None and plane.pixel_spacing is not None


def stack(planes: list[Plane]) -> tuple[list[int], np.ndarray]:
    """Order slices by their position along the normal, and say where the volume lies.

    Positions are Image Position (Patient) projected on the normal of Image Orientation (Patient). Instance numbers and
    file names are never used for order; instance numbers only tell a missing slice from a changed increment.

    Parameters
    ----------
    planes : list of Plane
        Three or more, each with position, orientation and pixel spacing.

    Returns
    -------
    order : list of int
        Indices into ``planes``, from the lowest position to the highest.
    affine : ndarray, (4, 4)
        (slice, row, column, 1) → LPS mm.

    Raises
    ------
    UnreadableFile
        ``mixed-orientation``, ``mixed-size``, ``duplicate-position``, ``missing-slices``, ``uneven-spacing``,
        ``gantry-tilt``; ``malformed`` where the direction cosines are none.

    References
    ----------
    DICOM PS3.3 C.7.6.2.1.1.
    """
    orientation, spacing = _common(planes)
    positions = np.array([p.position for p in planes])
    along = positions @ geometry.normal(orientation)
    order = np.argsort(along, kind="stable")
    gaps = np.diff(along[order])
    _check_duplicates(gaps)
    _check_gaps(gaps, [planes[i].number for i in order])
    step = (positions[order[-1]] - positions[order[0]]) / (len(planes) - 1)
    _check_lean(positions[order], step, orientation, spacing)
    affine = geometry.plane_affine(
        positions[order[0]], orientation=orientation, pixel_spacing_mm=spacing, slice_step_mm=step
    )
    return [int(i) for i in order], affine


def single(plane: Plane) -> np.ndarray | None:
    """Return where one slice lies, with the header's slice distance as its depth; None where the header gives none."""
    if not is_placed(plane) or plane.thickness is None:
        return None
    orientation = _checked(np.array(plane.orientation))
    step = geometry.normal(orientation) * plane.thickness
    return geometry.plane_affine(
        plane.position, orientation=orientation, pixel_spacing_mm=plane.pixel_spacing, slice_step_mm=step
    )


def _checked(orientation: np.ndarray) -> np.ndarray:
    row, column = orientation[:3], orientation[3:]
    off = max(abs(np.linalg.norm(row) - 1), abs(np.linalg.norm(column) - 1), abs(row @ column))
    if off > 0.01:
        raise UnreadableFile(
            "direction cosines that are not two perpendicular unit vectors",
            code="malformed",
            do="export the series again",
        )
    return orientation


def _common(planes: list[Plane]) -> tuple[np.ndarray, np.ndarray]:
    """The orientation and pixel spacing that all slices share."""
    orientations = np.array([p.orientation for p in planes])
    apart = np.abs(orientations - orientations[0]).max(axis=1)
    if apart.max() > COSINE_TOLERANCE:
        raise UnreadableFile(
            f"{int((apart > COSINE_TOLERANCE).sum())} of {len(planes)} slices are turned otherwise than the first "
            f"(direction cosines differ by up to {apart.max():.3f})",
            code="mixed-orientation",
            expected="parallel slices",
            do="export each plane as its own series",
        )
    spacings = np.array([p.pixel_spacing for p in planes])
    if np.abs(spacings - spacings[0]).max() > 1e-3 * spacings[0].max():
        raise UnreadableFile(
            f"pixel spacings from {spacings.min():.3f} to {spacings.max():.3f} mm in one series",
            code="mixed-size",
            expected="one",
            do="export each reconstruction as its own series",
        )
    return _checked(orientations[0]), spacings[0]


def _check_duplicates(gaps: np.ndarray) -> None:
    same = int((gaps < SAME_PLACE_MM).sum())
    places = len(gaps) + 1 - same
    if same:
        raise UnreadableFile(
            f"{len(gaps) + 1} slices at {places} position{'s' if places > 1 else ''}",
            code="duplicate-position",
            expected="one slice at each position",
            do="export each time point, echo or diffusion step as its own series",
        )


def _check_gaps(gaps: np.ndarray, numbers: list[int | None]) -> None:
    if len(gaps) < 2:
        raise UnreadableFile(
            f"a series of {len(gaps) + 1} slices, {gaps[0]:.2f} mm apart",
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
    said = f"{len(odd)} of {len(gaps)} gaps differ from the usual {usual:.2f} mm (from {gaps.min():.2f} to {gaps.max():.2f} mm)"
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


def _is_missing(ratio: float, tolerance: float, before: int | None, after: int | None) -> bool:
    """A gap of two or more steps is a lost slice, unless the instance numbers run on: then the scanner changed step."""
    if round(ratio) < 2 or abs(ratio - round(ratio)) > tolerance * round(ratio):
        return False
    return before is None or after is None or abs(after - before) != 1


def _check_lean(positions: np.ndarray, step: np.ndarray, orientation: np.ndarray, spacing: np.ndarray) -> None:
    """Refuse a stack whose slices are shifted sideways: evenly (a tilted gantry) or unevenly."""
    upright = float(step @ geometry.normal(orientation))
    aside = float(np.linalg.norm(step - upright * geometry.normal(orientation)))
    tilt = float(np.degrees(np.arctan2(aside, upright)))
    if tilt > TILT_TOLERANCE_DEGREES:
        raise UnreadableFile(
            f"a stack that leans by {tilt:.1f}° from the normal of its slices",
            code="gantry-tilt",
            expected=f"at most {TILT_TOLERANCE_DEGREES}°",
            do="export a reconstruction without gantry tilt",
        )
    even = positions[0] + np.outer(np.arange(len(positions)), step)
    worst = float(np.linalg.norm(positions - even, axis=1).max())
    allowed = max(GAP_TOLERANCE_MM, GAP_TOLERANCE * upright, float(spacing.min()) / 2)
    if worst > allowed:
        raise UnreadableFile(
            f"a slice that lies {worst:.2f} mm from where an even stack would put it",
            code="uneven-spacing",
            expected=f"at most {allowed:.2f} mm",
            do="export an evenly spaced reconstruction",
        )
