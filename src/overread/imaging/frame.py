"""The frame around a picture: where collimators, letters and scanners leave their marks, and anatomy is least."""

from __future__ import annotations

import numpy as np

EDGE = 0.05
"""Breadth of the frame, as a share of each side."""


def frame(rows: int, columns: int, *, edge: float = EDGE) -> np.ndarray:
    """Return where the outer frame of a picture is, (rows, columns) of bool; at least one pixel broad.

    Parameters
    ----------
    rows, columns : int
    edge : float
        Breadth on each of the four sides, as a share of the height and the width.

    Examples
    --------
    >>> frame(4, 5).astype(int).tolist()
    [[1, 1, 1, 1, 1], [1, 0, 0, 0, 1], [1, 0, 0, 0, 1], [1, 1, 1, 1, 1]]
    """
    there = np.ones((rows, columns), bool)
    down, across = (max(1, round(edge * n)) for n in (rows, columns))
    there[down : rows - down, across : columns - across] = False
    return there


def frame_values(plane: np.ndarray) -> tuple[float, float, float, float]:
    """Return mean and spread of the frame, then of the whole picture, in the picture's own unit.

    Parameters
    ----------
    plane : ndarray, (rows, columns)

    Examples
    --------
    >>> frame_values(np.pad(np.full((2, 2), 8.0), 1))
    (0.0, 0.0, 2.0, 3.4641016151377544)
    """
    plane = np.asarray(plane, np.float64)
    outer = plane[frame(*plane.shape)]
    return float(outer.mean()), float(outer.std()), float(plane.mean()), float(plane.std())


def only_frame(x: np.ndarray, *, edge: float, fill: np.ndarray) -> np.ndarray:
    """Return a network input of which nothing but the frame is left.

    Parameters
    ----------
    x : ndarray, ([slices,] rows, columns, channels)
    edge : float
        Breadth of what is left, as a share of each side.
    fill : ndarray, (channels,)
        What stands in the middle: the same for every image, so that it tells nothing.

    Examples
    --------
    >>> only_frame(np.ones((4, 4, 1)), edge=0.25, fill=np.zeros(1))[..., 0].astype(int).tolist()
    [[1, 1, 1, 1], [1, 0, 0, 1], [1, 0, 0, 1], [1, 1, 1, 1]]
    """
    kept = frame(*x.shape[-3:-1], edge=edge)[:, :, None]
    return np.where(kept, x, fill).astype(x.dtype)


def without_centre(x: np.ndarray, *, fill: np.ndarray) -> np.ndarray:
    """Return a network input whose central half (of the height and of the width: a quarter of the area) is blank.

    Examples
    --------
    >>> without_centre(np.ones((4, 4, 1)), fill=np.zeros(1))[..., 0].astype(int).tolist()
    [[1, 1, 1, 1], [1, 0, 0, 1], [1, 0, 0, 1], [1, 1, 1, 1]]
    """
    return only_frame(x, edge=0.25, fill=fill)


def shuffled(x: np.ndarray, *, patches: int, rng: np.random.Generator) -> np.ndarray:
    """Return a network input cut into patches that were put together in another order: texture stays, anatomy goes.

    Rows and columns that do not divide evenly stay where they are, at the lower and right edge.

    Parameters
    ----------
    x : ndarray, ([slices,] rows, columns, channels)
    patches : int
        Along each side.
    rng : numpy.random.Generator

    Examples
    --------
    >>> x = np.arange(16.0).reshape(4, 4, 1)
    >>> y = shuffled(x, patches=2, rng=np.random.default_rng(0))
    >>> sorted(y.ravel().tolist()) == x.ravel().tolist(), y[:2, :2, 0].tolist()
    (True, [[8.0, 9.0], [12.0, 13.0]])
    """
    high, wide = (n // patches for n in x.shape[-3:-1])
    out = x.copy()
    for new, old in enumerate(rng.permutation(patches * patches)):
        (r, c), (s, d) = divmod(new, patches), divmod(int(old), patches)
        out[..., r * high : (r + 1) * high, c * wide : (c + 1) * wide, :] = x[
            ..., s * high : (s + 1) * high, d * wide : (d + 1) * wide, :
        ]
    return out
