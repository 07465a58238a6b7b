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
