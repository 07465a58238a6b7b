"""A few numbers that say how an image's values lie: for its histogram, and to tell the odd one out."""

from __future__ import annotations

import numpy as np

from overread.domain import Image
from overread.imaging.glance import grey_plane

QUANTILES = np.linspace(0, 1, 33)
"""Shares of the voxels below each number of :func:`quantiles`."""

FEATURES = (
    "rows",
    "columns",
    "slices",
    "dark end (1st percentile)",
    "middle value (median)",
    "bright end (99th percentile)",
    "contrast (standard deviation)",
    "share of one value",
    "fine structure",
)
"""What :func:`features` returns, in words."""

_SAMPLE = 1 << 14  # voxels
_SLICES = 16


def sample(image: Image) -> np.ndarray:
    """Return about 16,000 of an image's finite values, evenly from up to 16 of its slices; colour as its mean.

    Examples
    --------
    >>> sample(Image(np.arange(12).reshape(3, 2, 2))).tolist()
    [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0]
    """
    n = image.voxels.shape[0]
    chosen = np.unique(np.linspace(0, n - 1, min(n, _SLICES)).astype(int))
    step = max(1, int(np.sqrt(len(chosen) * image.voxels[0].size / image.channels / _SAMPLE)))
    values = np.asarray(image.voxels[chosen, ::step, ::step], np.float32)
    values = values.mean(axis=3) if values.ndim == 4 else values
    return values[np.isfinite(values)]


def quantiles(values: np.ndarray) -> np.ndarray:
    """Return 33 numbers that divide the values into 32 equal parts, from the smallest to the largest; NaN for none.

    Examples
    --------
    >>> quantiles(np.arange(33))[[0, 16, 32]].tolist()
    [0.0, 16.0, 32.0]
    """
    if not values.size:
        return np.full(len(QUANTILES), np.nan, np.float32)
    at = QUANTILES * (values.size - 1)
    return np.sort(values, axis=None)[np.round(at).astype(int)].astype(np.float32)


def features(image: Image, values: np.ndarray) -> np.ndarray:
    """Return the numbers named in ``FEATURES``; sizes and fine structure as their logarithms.

    Fine structure is the mean difference between neighbouring pixels of the middle slice, as a share of the contrast:
    small where a picture is blurred or was enlarged, large where it is noise.

    Parameters
    ----------
    image : Image
    values : ndarray
        :func:`sample` of it.
    """
    slices, rows, columns = image.voxels.shape[:3]
    if not values.size:
        return np.array([*np.log([rows, columns, slices]), *[np.nan] * 6], np.float32)
    plane = grey_plane(image)
    low, middle, high = np.percentile(values, (1, 50, 99))
    spread = float(values.std())
    _, counts = np.unique(values, return_counts=True)
    steps = np.abs(np.diff(plane, axis=1)).mean() if columns > 1 else 0.0
    fine = np.log(max(float(steps), 1e-9) / spread) if spread > 0 else np.nan
    return np.array(
        [*np.log([rows, columns, slices]), low, middle, high, spread, counts.max() / values.size, fine], np.float32
    )
