"""Where voxels lie in the patient: affine algebra in LPS millimetres.

Every affine here maps (slice, row, column, 1) to (x, y, z, 1) in mm, in DICOM's patient space: +x to the patient's
Left, +y Posterior, +z Superior (PS3.3 C.7.6.2.1.1). NIfTI's world is RAS+; ``flip_ras_lps`` is the one place where
the two meet.
"""

from __future__ import annotations

from itertools import permutations

import numpy as np

CANONICAL = "SPL"
"""Slices towards Superior, rows towards Posterior, columns towards Left: an axial slice as a radiologist looks at it."""

_AXES = {"L": (0, 1), "R": (0, -1), "P": (1, 1), "A": (1, -1), "S": (2, 1), "I": (2, -1)}


def flip_ras_lps(affine: np.ndarray) -> np.ndarray:
    """Change an affine's millimetres from RAS+ (NIfTI) to LPS+ (DICOM), or back: x and y change sign.

    Parameters
    ----------
    affine : ndarray, (4, 4)
        Rows are x, y, z; whatever the columns index stays as it is.

    Examples
    --------
    >>> flip_ras_lps(np.eye(4)).diagonal().tolist()
    [-1.0, -1.0, 1.0, 1.0]

    References
    ----------
    NIfTI-1.1 header, "orientation information"; DICOM PS3.3 C.7.6.2.1.1.
    """
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ np.asarray(affine, float)


def plane_affine(
    position_mm: np.ndarray, *, orientation: np.ndarray, pixel_spacing_mm: np.ndarray, slice_step_mm: np.ndarray
) -> np.ndarray:
    """Return the affine of a stack of parallel slices.

    Parameters
    ----------
    position_mm : (3,)
        Image Position (Patient) (0020,0032) of slice 0: centre of its first pixel.
    orientation : (6,)
        Image Orientation (Patient) (0020,0037): direction of a row (along increasing column), then of a column
        (along increasing row).
    pixel_spacing_mm : (2,)
        Pixel Spacing (0028,0030): between rows, then between columns.
    slice_step_mm : (3,)
        From slice 0 to slice 1.

    Returns
    -------
    ndarray, (4, 4), float64

    Examples
    --------
    >>> a = plane_affine([0, 0, 0], orientation=[1, 0, 0, 0, 1, 0], pixel_spacing_mm=[2, 3], slice_step_mm=[0, 0, 5])
    >>> (a @ [1, 1, 1, 1]).tolist()  # one slice up, one row back, one column to the patient's left
    [3.0, 2.0, 5.0, 1.0]

    References
    ----------
    DICOM PS3.3 C.7.6.2.1.1, equation C.7.6.2.1-1.
    """
    orientation = np.asarray(orientation, float)
    affine = np.eye(4)
    affine[:3, 0] = slice_step_mm
    affine[:3, 1] = orientation[3:] * float(pixel_spacing_mm[0])
    affine[:3, 2] = orientation[:3] * float(pixel_spacing_mm[1])
    affine[:3, 3] = position_mm
    return affine


def normal(orientation: np.ndarray) -> np.ndarray:
    """Return the unit vector perpendicular to a slice: row direction × column direction.

    Examples
    --------
    >>> normal([1, 0, 0, 0, 1, 0]).tolist()
    [0.0, 0.0, 1.0]
    """
    orientation = np.asarray(orientation, float)
    n = np.cross(orientation[:3], orientation[3:])
    return n / np.linalg.norm(n)


def axis_codes(affine: np.ndarray) -> str:
    """Name where the slice, row and column index lead: "SPL" is an axial volume seen from the feet.

    An oblique grid gets the nearest letters; each letter pair is used once.

    Examples
    --------
    >>> axis_codes(np.eye(4))
    'LPS'
    """
    directions = np.asarray(affine, float)[:3, :3]
    directions = directions / np.linalg.norm(directions, axis=0)
    best = max(permutations(range(3)), key=lambda p: sum(abs(directions[p[j], j]) for j in range(3)))
    return "".join(("LPS" if directions[best[j], j] > 0 else "RAI")[best[j]] for j in range(3))


def reorient(voxels: np.ndarray, affine: np.ndarray, *, to: str = CANONICAL) -> tuple[np.ndarray, np.ndarray]:
    """Turn and flip a volume by whole axes, so that its indices lead where ``to`` says. No voxel value changes.

    Parameters
    ----------
    voxels : ndarray, (slices, rows, columns[, channels])
    affine : ndarray, (4, 4)
    to : str
        Three letters, e.g. "SPL".

    Returns
    -------
    voxels : ndarray, contiguous
    affine : ndarray, (4, 4)
        Of the turned grid; every voxel keeps its place in mm.

    Raises
    ------
    ValueError
        If ``to`` does not name three different axes.

    Examples
    --------
    >>> v, a = reorient(np.arange(2.0).reshape(2, 1, 1), np.diag([-1.0, 1, 1, 1]), to="LPS")
    >>> v.ravel().tolist(), a[0, 3].item()
    ([1.0, 0.0], -1.0)
    """
    if sorted(_AXES.get(c, (9, 0))[0] for c in to) != [0, 1, 2]:
        raise ValueError(f"{to!r} is no orientation; expected three of the letter pairs L/R, P/A, S/I, e.g. 'SPL'")
    have = axis_codes(affine)
    order, flips = [], []
    for letter in to:
        axis = next(i for i, c in enumerate(have) if _AXES[c][0] == _AXES[letter][0])
        order.append(axis)
        flips.append(have[axis] != letter)
    change = np.zeros((4, 4))
    change[3, 3] = 1
    for new, (old, flip) in enumerate(zip(order, flips, strict=True)):
        change[old, new] = -1 if flip else 1
        change[old, 3] = voxels.shape[old] - 1 if flip else 0
    out = np.transpose(voxels, (*order, *range(3, voxels.ndim)))
    out = out[tuple(slice(None, None, -1) if flip else slice(None) for flip in flips)]
    return np.ascontiguousarray(out), np.asarray(affine, float) @ change


def lean_degrees(affine: np.ndarray) -> float:
    """Return how far a stack leans: the angle between its slice axis and the normal of its slices, in degrees.

    Examples
    --------
    >>> lean_degrees(plane_affine([0, 0, 0], orientation=[1, 0, 0, 0, 1, 0], pixel_spacing_mm=[1, 1], slice_step_mm=[0, 3, 3]))
    45.0
    """
    step, row, column = np.asarray(affine, float)[:3, :3].T
    across = np.cross(row, column)
    upright = abs(float(step @ across)) / float(np.linalg.norm(across))
    aside = float(np.sqrt(max(0.0, step @ step - upright**2)))
    return float(np.round(np.degrees(np.arctan2(aside, upright)), 9))


def straighten(voxels: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shift the slices of a leaning stack (a tilted gantry) within their planes, so that they lie upright on one another.

    No slice leaves its plane, so nothing is blurred between slices; within a plane, values are interpolated linearly.
    The grid grows, so that nothing is cut off; what was never scanned gets the lowest value of the volume.

    Parameters
    ----------
    voxels : ndarray, (slices, rows, columns[, channels])
    affine : ndarray, (4, 4)
        With a slice axis that is not perpendicular to rows and columns.

    Returns
    -------
    voxels : ndarray
        Of the same dtype; whole numbers are rounded.
    affine : ndarray, (4, 4)
        Its slice axis is perpendicular; every structure keeps its place in mm.

    Examples
    --------
    >>> leaning = plane_affine([0, 0, 0], orientation=[1, 0, 0, 0, 1, 0], pixel_spacing_mm=[1, 1], slice_step_mm=[0, 1, 5])
    >>> v, a = straighten(np.ones((3, 2, 2)), leaning)
    >>> v[:, :, 0].tolist(), a[2, 0].item()
    ([[1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0]], 5.0)
    """
    affine = np.array(affine, float)
    step, row, column = affine[:3, :3].T
    across = np.cross(row, column)
    upright = across * float(step @ across) / float(across @ across)
    aside = np.linalg.lstsq(np.stack([row, column], axis=1), step - upright, rcond=None)[0]  # rows, columns a slice
    shifts = np.outer(np.arange(voxels.shape[0]), aside)
    first = np.floor(shifts.min(axis=0) + 1e-9)
    grown = np.ceil(shifts.max(axis=0) - first - 1e-9).astype(int)
    shape = (voxels.shape[0], *(n + int(g) for n, g in zip(voxels.shape[1:3], grown, strict=True)), *voxels.shape[3:])
    lowest, wide = voxels.min(), wide_enough(voxels)
    out = np.empty(shape, voxels.dtype)
    for k, (down, right) in enumerate(shifts - first):
        moved = _moved(voxels[k].astype(wide) - wide(lowest), down, shape[1], axis=0)
        moved = _moved(moved, right, shape[2], axis=1) + wide(lowest)
        out[k] = np.rint(moved) if voxels.dtype.kind in "iu" else moved
    affine[:3, 3] += first[0] * row + first[1] * column
    affine[:3, 0] = upright
    return out, affine


def wide_enough(voxels: np.ndarray) -> type[np.floating]:
    """Return the floating-point type that holds the differences of these values: numbers up to 3e38 fit 32 bits, what lies between them may not.

    Examples
    --------
    >>> wide_enough(np.zeros(2)).__name__, wide_enough(np.array([-3e38, 3e38], np.float32)).__name__
    ('float32', 'float64')
    """
    return np.float32 if float(voxels.max()) - float(voxels.min()) < 1e38 else np.float64


def _moved(plane: np.ndarray, by: float, size: int, *, axis: int) -> np.ndarray:
    """Shift a slice by a fraction of a pixel along one axis of a longer grid, linearly, with 0 outside."""
    whole = int(np.floor(by + 1e-9))
    part = plane.dtype.type(max(0.0, by - whole))
    source = np.moveaxis(plane, axis, 0)
    n = source.shape[0]
    out = np.zeros((size, *source.shape[1:]), plane.dtype)
    out[whole : whole + n] += (1 - part) * source
    if part > 0:
        out[whole + 1 : whole + 1 + n] += part * source[: size - whole - 1]
    return np.moveaxis(out, 0, axis)


def resample(
    voxels: np.ndarray, affine: np.ndarray, *, spacing_mm: tuple[float, float, float], order: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Interpolate a volume to another spacing; the outer faces of the block stay where they were.

    Parameters
    ----------
    voxels : ndarray, (slices, rows, columns)
    affine : ndarray, (4, 4)
    spacing_mm : (float, float, float)
        Wanted distance between slices, rows and columns. The nearest that fits a whole number of voxels is taken,
        and the returned affine says which.
    order : int
        0 nearest (masks), 1 linear.

    Returns
    -------
    voxels : ndarray, float32 (the input's dtype for ``order=0``)
    affine : ndarray, (4, 4)

    Examples
    --------
    >>> v, a = resample(np.ones((4, 4, 4)), np.eye(4), spacing_mm=(2, 2, 2))
    >>> v.shape, a[0, 3].item()  # the first centre moves inwards by half a small voxel
    ((2, 2, 2), 0.5)
    """
    affine = np.asarray(affine, float)
    old = np.linalg.norm(affine[:3, :3], axis=0)
    shape = np.maximum(1, np.round(np.array(voxels.shape[:3]) * old / np.asarray(spacing_mm, float))).astype(int)
    step = np.array(voxels.shape[:3]) / shape  # old voxels for one new voxel
    offset = (step - 1) / 2
    out = np.asarray(voxels)
    for axis in np.argsort(-step, kind="stable"):  # where most is left out, first: the rest has less to do
        at = np.clip(offset[axis] + step[axis] * np.arange(shape[axis]), 0, out.shape[axis] - 1)
        out = _sampled(out, at, axis=int(axis), order=order)
    change = np.diag([*step, 1.0])
    change[:3, 3] = offset
    return (out if order == 0 else out.astype(np.float32, copy=False)), affine @ change


def _sampled(values: np.ndarray, at: np.ndarray, *, axis: int, order: int) -> np.ndarray:
    """Values at fractional indices along one axis: of the nearest neighbour, or between the two."""
    if order == 0:
        return np.take(values, np.floor(at + 0.5).astype(int), axis=axis)
    low = np.floor(at).astype(int)
    part = (at - low).astype(np.float32)
    if not part.any():
        return values if np.array_equal(low, np.arange(values.shape[axis])) else np.take(values, low, axis=axis)
    shape = [1] * values.ndim
    shape[axis] = len(at)
    first = np.take(values, low, axis=axis).astype(np.float32, copy=False)
    second = np.take(values, np.minimum(low + 1, values.shape[axis] - 1), axis=axis).astype(np.float32, copy=False)
    second -= first
    second *= part.reshape(shape)
    second += first
    return second
