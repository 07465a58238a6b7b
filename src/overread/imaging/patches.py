"""What small patches of an image look like, place by place: numbers that a line can read a finding from, without training.

Patches of the images themselves serve as filters; how strongly each answers is averaged in a few cells of the image.
It is far from a network, and near enough to one to ask in seconds what a network would gain by.
"""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

SIDE = {2: 5, 3: 4}
"""Pixels a side of a patch, in pictures and in volumes."""

CELLS = {2: 4, 3: 3}
STEP = {2: 1, 3: 2}
FILTERS = {2: 100, 3: 60}
_AT_ONCE = 64


def filters(images: np.ndarray, *, rng: np.random.Generator) -> np.ndarray:
    """Return patches drawn from the images, each about its mean and of length one: (filters, pixels).

    Parameters
    ----------
    images : ndarray, (n, rows, columns) or (n, slices, rows, columns)
        All of one size, in [0, 1].
    """
    nd = images.ndim - 1
    every = _windows(images, 1)
    drawn = np.asarray(every[tuple(rng.integers(0, n, FILTERS[nd]) for n in every.shape[: nd + 1])], np.float32)
    drawn = drawn.reshape(FILTERS[nd], -1)
    drawn = drawn - drawn.mean(axis=1, keepdims=True)
    length = np.sqrt((drawn**2).sum(axis=1, keepdims=True))
    return drawn / (length + 0.1 * drawn.std() + 1e-6)


def described(images: np.ndarray, bank: np.ndarray) -> np.ndarray:
    """Return how strongly each filter answers in each cell of each image, (n, cells · filters) float32.

    Examples
    --------
    >>> images = np.random.default_rng(0).random((3, 28, 28))
    >>> described(images, filters(images, rng=np.random.default_rng(0))).shape
    (3, 1600)
    """
    return np.concatenate([_some(images[i : i + _AT_ONCE], bank) for i in range(0, len(images), _AT_ONCE)])


def _windows(images: np.ndarray, step: int) -> np.ndarray:
    nd = images.ndim - 1
    axes = tuple(range(1, nd + 1))
    return sliding_window_view(images, (SIDE[nd],) * nd, axis=axes)[(slice(None), *(slice(None, None, step),) * nd)]


def _some(images: np.ndarray, bank: np.ndarray) -> np.ndarray:
    nd = images.ndim - 1
    windows = _windows(images.astype(np.float32, copy=False), STEP[nd])
    patches = windows.reshape(*windows.shape[: nd + 1], -1)
    patches = patches - patches.mean(axis=-1, keepdims=True)
    patches /= patches.std(axis=-1, keepdims=True) + 0.1
    answers = np.maximum(patches @ bank.T, 0)
    cells = [np.linspace(0, n, CELLS[nd] + 1).astype(int) for n in answers.shape[1:-1]]
    out = [
        answers[(slice(None), *(slice(e[k], e[k + 1]) for e, k in zip(cells, at, strict=True)))].mean(
            axis=tuple(range(1, nd + 1))
        )
        for at in product(range(CELLS[nd]), repeat=nd)
    ]
    return np.stack(out, axis=1).reshape(len(images), -1)
