"""A stack that leans, as slices do that were scanned with a tilted gantry: how far, and made upright."""

from __future__ import annotations

import numpy as np

from overread.domain import noted
from overread.errors import UnreadableFile
from overread.formats.limits import check_bytes
from overread.formats.stack import LARGEST_LEAN_DEGREES, LEAN_TOLERANCE_DEGREES, LEAN_TOLERANCE_PIXELS
from overread.imaging import geometry


def upright(
    voxels: np.ndarray, affine: np.ndarray, *, lean_degrees: float, padding: tuple[float, float] | None = None
) -> tuple[np.ndarray, np.ndarray, str]:
    """Shift the slices of a leaning stack within their planes, and say so.

    Padding is not mixed with what lies beside it: between −2,000 and tissue lies no tissue of −1,000.

    Parameters
    ----------
    voxels : ndarray, (slices, rows, columns[, channels])
    affine : ndarray, (4, 4)
        In LPS mm.
    lean_degrees : float
        From the normal of its slices.
    padding : (float, float), optional
        Lowest and highest of the values that are no anatomy.

    Returns
    -------
    voxels, affine : ndarray
        On a grid that has grown, so that nothing is cut off.
    note : str

    Raises
    ------
    UnreadableFile
        ``too-large`` where the grid would grow beyond any memory.
    """
    rows, columns = voxels.shape[1:3]
    check_bytes(_grown(voxels, affine) * voxels.itemsize)
    aside = np.sin(np.radians(lean_degrees)) * np.linalg.norm(affine[:3, 0])
    voxels, affine = _beside_padding(voxels, affine, padding)
    said = (
        f"the stack leaned by {lean_degrees:.1f}° (gantry tilt): every slice was shifted within its plane, "
        f"{aside:.2f} mm further than the one before, with linear interpolation; rows × columns grew from "
        f"{rows} × {columns} to {voxels.shape[1]} × {voxels.shape[2]}"
    )
    return voxels, affine, noted("straightened", said)


def _beside_padding(
    voxels: np.ndarray, affine: np.ndarray, padding: tuple[float, float] | None
) -> tuple[np.ndarray, np.ndarray]:
    """Straighten a stack; a voxel is made of what is anatomy of its neighbours, or is padding where more than half of them is."""
    padded = None if padding is None else (voxels >= padding[0]) & (voxels <= padding[1])
    out, moved = geometry.straighten(voxels, affine)
    if padded is None or not padded.any() or padded.all():
        return out, moved
    lowest, filled, wide = float(voxels[~padded].min()), voxels[padded].min(), geometry.wide_enough(voxels)
    share, _ = geometry.straighten((~padded).astype(np.float32), affine)
    body, _ = geometry.straighten(np.where(padded, 0, voxels.astype(wide) - wide(lowest)), affine)
    anatomy = share > _HALF
    body = body[anatomy] / share[anatomy] + wide(lowest)
    out[anatomy] = np.rint(body) if out.dtype.kind in "iu" else body
    out[~anatomy & (share > 0)] = filled
    return out, moved


_HALF = 0.5


def _grown(voxels: np.ndarray, affine: np.ndarray) -> int:
    """At most how many numbers a stack has once it is straightened: tiny pixels and a long lean could be terabytes."""
    step, row, column = affine[:3, :3].T
    slices, rows, columns = voxels.shape[:3]
    down, right = (abs(float(step @ way)) / float(way @ way) * slices + 1 for way in (row, column))
    return int(slices * (rows + down) * (columns + right)) * int(np.prod(voxels.shape[3:], dtype=int))


def leans(affine: np.ndarray, slices: int) -> float:
    """Return by how many degrees a stack leans, 0 where it hardly does: the rule for slices in files of their own.

    Parameters
    ----------
    affine : ndarray, (4, 4)
        (slice, row, column) to mm; rows and columns perpendicular.
    slices : int

    Raises
    ------
    UnreadableFile
        ``gantry-tilt`` beyond what any gantry can tilt.

    Examples
    --------
    >>> leaning = np.array([[0.0, 0, 1, 0], [0.5, 1, 0, 0], [3, 0, 0, 0], [0, 0, 0, 1]])
    >>> round(leans(leaning, 10), 2), leans(leaning, 2)
    (9.46, 0.0)
    """
    degrees = geometry.lean_degrees(affine)
    step, row, column = np.linalg.norm(affine[:3, :3], axis=0)
    aside = float(np.sin(np.radians(degrees)) * step) * (slices - 1)
    if degrees <= LEAN_TOLERANCE_DEGREES or aside <= LEAN_TOLERANCE_PIXELS * min(row, column):
        return 0.0
    if degrees > LARGEST_LEAN_DEGREES:
        raise UnreadableFile(
            f"a stack that leans by {degrees:.1f}° from the normal of its slices",
            code="gantry-tilt",
            expected=f"at most {LARGEST_LEAN_DEGREES:.0f}°, which is more than a gantry can tilt",
            do="export the series again; its positions cannot be right",
        )
    return degrees


def slice_axis(affine: np.ndarray, shape: tuple[int, ...], *, said: int | None = None) -> int:
    """Return along which axis a grid of unknown making is stacked: the other two must be perpendicular.

    Parameters
    ----------
    affine : ndarray, (4, 4)
    shape : tuple of int
        Voxels along its three axes.
    said : int, optional
        The axis that the file names.

    Returns
    -------
    int
        The axis that is named; else that of the clearly largest voxels; else the first.

    Raises
    ------
    UnreadableFile
        ``sheared`` where no two axes are perpendicular enough to be those of a slice.
    """
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    likely = int(sizes.argmax()) if sizes.max() > _CLEARLY * sizes[0] else 0
    for axis in dict.fromkeys((likely if said is None else said, 0, 1, 2)):
        if not _sheared(affine, shape, *(a for a in range(3) if a != axis)):
            return axis
    between = ", ".join(f"{_angle(affine, a, b):.1f}°" for a, b in ((0, 1), (0, 2), (1, 2)))
    raise UnreadableFile(
        f"a volume whose axes stand at {between} to one another",
        code="sheared",
        expected="three perpendicular axes, or parallel slices with perpendicular rows and columns",
        do="resample it onto a straight grid",
    )


_CLEARLY = 1.2


def _angle(affine: np.ndarray, one: int, other: int) -> float:
    a, b = affine[:3, one], affine[:3, other]
    return float(np.degrees(np.arccos(np.clip(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)), -1, 1))))


def _sheared(affine: np.ndarray, shape: tuple[int, ...], one: int, other: int) -> bool:
    """True where two axes are off a right angle by more than half a degree, and by more than half a voxel from end to end."""
    off = abs(90 - _angle(affine, one, other))
    along, across = (np.linalg.norm(affine[:3, a]) for a in (one, other))
    shift = np.sin(np.radians(off)) * max((shape[one] - 1) * along / across, (shape[other] - 1) * across / along)
    return off > LEAN_TOLERANCE_DEGREES and shift > LEAN_TOLERANCE_PIXELS
