"""The one slice that stands for an image where a whole volume would be too much: on a page, and beside its copies."""

from __future__ import annotations

import numpy as np

from overread.domain import Image


def flattest_axis(image: Image) -> int:
    """Return the axis to look along: across the slices, unless the volume is much thinner another way.

    Examples
    --------
    >>> flattest_axis(Image(np.zeros((20, 64, 64)))), flattest_axis(Image(np.zeros((200, 200, 30))))
    (0, 2)
    """
    shape = image.voxels.shape[:3]
    thinnest = int(np.argmin(shape))
    return thinnest if image.is_volume and 3 * shape[thinnest] < shape[0] else 0


def middle_plane(image: Image) -> np.ndarray:
    """Return the middle slice as it is stored, (rows, columns[, channels]); a view, so nothing else is read from disk.

    Examples
    --------
    >>> middle_plane(Image(np.arange(5)[:, None, None] * np.ones((5, 2, 3)))).tolist()
    [[2.0, 2.0, 2.0], [2.0, 2.0, 2.0]]
    """
    planes = np.moveaxis(image.voxels, flattest_axis(image), 0)
    return planes[planes.shape[0] // 2]


def grey_plane(image: Image) -> np.ndarray:
    """Return the middle slice as one channel of finite float32 numbers, (rows, columns); colour becomes its mean.

    Examples
    --------
    >>> grey_plane(Image(np.array([[[[3, 6, 9]]]], np.uint8))).tolist()
    [[6.0]]
    """
    plane = np.asarray(middle_plane(image), np.float32)
    plane = plane.mean(axis=2) if plane.ndim == 3 else plane
    return plane if np.isfinite(plane).all() else np.nan_to_num(plane, posinf=0.0, neginf=0.0)
