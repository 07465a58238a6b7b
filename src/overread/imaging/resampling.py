"""From one grid of voxels to another: by the number of voxels, or by the millimetres between them.

Linear where the new grid is finer; where it is coarser a triangle filter as wide as the new voxel, so that nothing finer
than it turns into a pattern that was never there.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from overread.imaging.one_thread import one_thread


def resample(values: np.ndarray, size: tuple[int, int, int]) -> np.ndarray:
    """Return an array on another grid: linear when it grows, a triangle filter as wide as the new pixel when it shrinks.

    Grids are aligned by their outer edges, so a picture neither moves nor gains a border.

    Parameters
    ----------
    values : ndarray, (slices, rows, columns, channels)
    size : (int, int, int)
        New (slices, rows, columns).

    Examples
    --------
    >>> resample(np.array([0.0, 1, 2, 3]).reshape(1, 1, 4, 1), (1, 1, 2)).ravel().tolist()  # doctest: +ELLIPSIS
    [0.714..., 2.285...]
    """
    out = values.astype(np.float32, copy=False)
    order = sorted(range(3), key=lambda a: size[a] / out.shape[a])  # where most is left out first: less is left to do
    with one_thread():
        for axis in order:
            if out.shape[axis] != size[axis]:
                out = _along(out, size[axis], axis, _bands(out.shape[axis], size[axis]))
    return np.ascontiguousarray(out, np.float32)


def _along(values: np.ndarray, m: int, axis: int, bands: tuple[tuple[slice, slice, np.ndarray], ...]) -> np.ndarray:
    """Take one axis to m samples, band by band: a new sample depends on few old ones, so most of a whole matrix is zero."""
    before, n, after = (
        int(np.prod(values.shape[s])) for s in (slice(axis), slice(axis, axis + 1), slice(axis + 1, None))
    )
    source = np.ascontiguousarray(values).reshape(before, n, after)
    out = np.empty((before, m, after), np.float32)
    for rows, columns, weights in bands:
        if after == 1:
            np.matmul(source[:, columns, 0], weights.T, out=out[:, rows, 0])
        else:
            np.matmul(weights, source[:, columns], out=out[:, rows])
    return out.reshape(*values.shape[:axis], m, *values.shape[axis + 1 :])


_BAND = 16
"""Samples of the new grid that are computed at a time."""


@lru_cache(maxsize=64)
def _bands(n: int, m: int) -> tuple[tuple[slice, slice, np.ndarray], ...]:
    return _in_bands(_weights(n, m))


def _in_bands(weights: np.ndarray) -> tuple[tuple[slice, slice, np.ndarray], ...]:
    """The weights in blocks without the zeros beside them: new samples, the old ones they need, and the weights."""
    m, out = len(weights), []
    for first in range(0, m, _BAND):
        rows = slice(first, min(m, first + _BAND))
        used = np.flatnonzero(weights[rows].any(axis=0))
        columns = slice(int(used[0]), int(used[-1]) + 1)
        out.append((rows, columns, np.ascontiguousarray(weights[rows, columns])))
    return tuple(out)


@lru_cache(maxsize=64)
def _weights(n: int, m: int) -> np.ndarray:
    """Weights (m, n) that take n samples to m, edge on edge; each row sums to one."""
    scale = n / m
    return _triangles((np.arange(m) + 0.5) * scale - 0.5, n, max(1.0, scale))


def _triangles(centres: np.ndarray, n: int, reach: float) -> np.ndarray:
    """Weights of n old samples for each new one, which fall linearly to zero over ``reach`` old samples."""
    w = np.maximum(0.0, 1.0 - np.abs(np.arange(n)[None, :] - np.clip(centres, 0, n - 1)[:, None]) / reach)
    return (w / w.sum(axis=1, keepdims=True)).astype(np.float32)


def spaced(
    values: np.ndarray, size: tuple[int, int, int], *, step: tuple[float, float, float], fill: float
) -> np.ndarray:
    """Return an array on a grid of another spacing, middle on middle: what does not fit is cut off, what is missing filled.

    Parameters
    ----------
    values : ndarray, (slices, rows, columns, channels)
    size : (int, int, int)
        New (slices, rows, columns).
    step : (float, float, float)
        How many old voxels lie between neighbouring new ones; no whole number is needed, and none is rounded to.
    fill : float
        For new voxels whose middle lies outside the old array.

    Examples
    --------
    >>> old = np.array([1.0, 2, 3, 4]).reshape(1, 1, 4, 1)
    >>> spaced(old, (1, 1, 6), step=(1, 1, 1), fill=0).ravel().tolist()
    [0.0, 1.0, 2.0, 3.0, 4.0, 0.0]
    >>> spaced(old, (1, 1, 2), step=(1, 1, 1), fill=0).ravel().tolist()
    [2.0, 3.0]
    """
    part = tuple(
        slice(o, o + n) for o, n in (covered(n, m, s) for n, m, s in zip(values.shape, size, step, strict=False))
    )
    out = np.full((*size, values.shape[-1]), fill, np.float32)
    inside = values.astype(np.float32, copy=False)
    with one_thread():
        for axis in sorted(range(3), key=lambda a: size[a] / inside.shape[a]):
            n, m = values.shape[axis], size[axis]
            if step[axis] != 1 or n != m:
                inside = _along(inside, part[axis].stop - part[axis].start, axis, _spaced_bands(n, m, step[axis]))
    out[part] = inside
    return out


def covered(n: int, m: int, step: float) -> tuple[int, int]:
    """Return which of m new samples lie within n old ones, middle on middle: the first, and how many.

    Examples
    --------
    >>> covered(4, 6, 1.0), covered(4, 2, 1.0), covered(10, 8, 2.0)
    ((1, 4), (0, 2), (2, 4))
    """
    there = np.flatnonzero(np.abs(_places(n, m, step) - (n - 1) / 2) <= n / 2 - 1e-6)
    return (int(there[0]), len(there)) if len(there) else ((m - 1) // 2, 1)


def _places(n: int, m: int, step: float) -> np.ndarray:
    """Where m new samples lie among n old ones, as an index: the middle of both is one place."""
    return (n - 1) / 2 + (np.arange(m) - (m - 1) / 2) * step


@lru_cache(maxsize=64)
def _spaced_bands(n: int, m: int, step: float) -> tuple[tuple[slice, slice, np.ndarray], ...]:
    first, count = covered(n, m, step)
    return _in_bands(_triangles(_places(n, m, step)[first : first + count], n, max(1.0, step)))
