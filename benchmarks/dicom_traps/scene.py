"""The made-up patient: a formula for the value at every point, so that the truth needs no reader.

The field is a gradient that is different along every axis (a flip, a swap, a shift or a wrong spacing changes values
everywhere) with one ball in it, the "lesion", that no interpolation across a gap can guess.
"""

from __future__ import annotations

import numpy as np

LESION_MM = (3.0, -2.0, 1.25)
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
SPACING = (2.5, 0.8, 0.7)
"""Between slices, between rows, between columns (mm): three different ones."""
SHAPE = (12, 20, 24)
ROWS, COLUMNS = 40, 48


def hu(points: np.ndarray, *, lesion: bool = True) -> np.ndarray:
    """Return the CT number (whole HU, −500…900) at points in LPS mm, (…, 3)."""
    x, y, z = np.moveaxis(np.asarray(points, float), -1, 0)
    ball = ((x - LESION_MM[0]) ** 2 + (y - LESION_MM[1]) ** 2 + (z - LESION_MM[2]) ** 2) < 3.5**2
    return np.round(100 + 17 * x + 11 * y + 14 * z + 0.5 * x * y + 300 * ball * lesion)


def placed(
    orientation: tuple[float, ...] = AXIAL,
    *,
    spacing: tuple[float, float, float] = SPACING,
    shape: tuple[int, int, int] = SHAPE,
    centre: tuple[float, float, float] = (0.0, 0.0, 0.0),
    step: np.ndarray | None = None,
) -> np.ndarray:
    """Return the affine (slice, row, column) → LPS mm of a grid around ``centre``.

    ``orientation`` is Image Orientation (Patient): where a row runs to, then where a column runs to. Slices follow the
    normal, unless ``step`` says otherwise (a tilted gantry).
    """
    along_row, along_column = np.array(orientation[:3]), np.array(orientation[3:])
    affine = np.eye(4)
    affine[:3, 0] = np.cross(along_row, along_column) * spacing[0] if step is None else step
    affine[:3, 1] = along_column * spacing[1]
    affine[:3, 2] = along_row * spacing[2]
    affine[:3, 3] = np.array(centre) - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine


def points(affine: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Return the centre of every voxel of a grid, (slices, rows, columns, 3), in LPS mm."""
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    return index @ affine[:3, :3].T + affine[:3, 3]


def volume(affine: np.ndarray, shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    """Return the CT numbers on a grid, (slices, rows, columns)."""
    return hu(points(affine, shape))


def film(rows: int = ROWS, columns: int = COLUMNS) -> np.ndarray:
    """Return a 12-bit film: a gradient that differs along both axes, with a disc; whole numbers, 300…3 744."""
    r, c = np.mgrid[:rows, :columns]
    disc = (r - 13) ** 2 + (c - 31) ** 2 < 6**2
    return 300 + 37 * r + 23 * c + 900 * disc


def film8(rows: int = ROWS, columns: int = COLUMNS) -> np.ndarray:
    """Return an 8-bit film without edges (what a lossy encoding can keep): whole numbers, 20…230."""
    r, c = np.mgrid[:rows, :columns]
    bump = 45 * np.exp(-((r - 13) ** 2 + (c - 31) ** 2) / 80)
    return np.round(20 + 2.0 * r + 1.6 * c + bump)


def colour(rows: int = ROWS, columns: int = COLUMNS) -> np.ndarray:
    """Return an 8-bit colour picture (rows, columns, 3): three different gradients."""
    r, c = np.mgrid[:rows, :columns]
    return np.stack([20 + 3 * r + c, 200 - 2 * r + c, 40 + 4 * c - r + 30], axis=-1).clip(0, 255).astype(float)
