"""Volumes that were dealt out by counting only: do their pixels say that slices were exchanged between them?"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from overread.errors import UnreadableFile

DOUBT = 1.5
"""Two volumes are doubted where neighbouring slices differ by this many times what they would differ by the other way round.

Noise, motion and contrast that comes and goes leave the ratio near 1: neighbouring slices differ far more than two time points of one.
"""
_PIXELS = 64
"""Rows and columns that are compared are thinned out to about this many."""


def check_order(volumes: Sequence[np.ndarray]) -> None:
    """Refuse volumes of one place where slices of two that follow one another were exchanged.

    Each slice is compared with its neighbour in its own volume and in the other one; anatomy and contrast go on from
    slice to slice, so the right neighbour is the more similar one.

    Parameters
    ----------
    volumes : sequence of ndarray, (slices, rows, columns[, channels])
        In their order; a shorter one is not compared.

    Raises
    ------
    UnreadableFile
        ``duplicate-position``, with the slice and the differences.

    Examples
    --------
    >>> dark, bright = np.full((4, 8, 8), 100), np.full((4, 8, 8), 900)
    >>> check_order([dark, bright])
    >>> dark[2], bright[2] = 900, 100
    >>> check_order([dark, bright])
    Traceback (most recent call last):
    overread.errors.UnreadableFile: 2 volumes at one place whose slices ... 2 and 3 of volumes 1 and 2 differ by 800 on average, and by 0 if exchanged; ...
    """
    thin = [v[:, :: max(1, v.shape[1] // _PIXELS), :: max(1, v.shape[2] // _PIXELS)] for v in volumes]
    for number, (one, other) in enumerate(pairwise(thin), start=1):
        if one.shape != other.shape:
            continue
        one, other = one.astype(np.float32), other.astype(np.float32)
        as_dealt = _apart(one[:-1], one[1:]) + _apart(other[:-1], other[1:])
        exchanged = _apart(one[:-1], other[1:]) + _apart(other[:-1], one[1:])
        doubted = np.flatnonzero(as_dealt > DOUBT * exchanged)
        if len(doubted):
            k = int(doubted[0])
            raise UnreadableFile(
                f"{len(volumes)} volumes at one place whose slices nothing but their order tells apart, and the order cannot "
                f"be right: slices {k + 1} and {k + 2} of volumes {number} and {number + 1} differ by {as_dealt[k] / 2:.3g} "
                f"on average, and by {exchanged[k] / 2:.3g} if exchanged",
                code="duplicate-position",
                expected="a fact that tells the volumes apart",
                do="export each time point, echo or diffusion step as its own series",
            )


def _apart(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Mean absolute difference of each slice of ``one`` from that of ``other``."""
    return np.abs(one - other).reshape(len(one), -1).mean(axis=1)
