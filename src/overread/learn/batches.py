"""Feed a cohort to Keras: preprocess once, keep the result on disk, shuffle by seed."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from overread.domain import Image, Recipe
from overread.imaging import preprocess


def preprocess_once(
    images: Iterable[Image], *, recipe: Recipe, count: int, into: Path, tick: Callable[[int], object] = lambda n: None
) -> np.ndarray:
    """Return the network input of every image as one array that lies on disk and is read as it is needed.

    Parameters
    ----------
    images : iterable of Image
        In the order wanted; read once.
    recipe : Recipe
        The same that prediction uses.
    count : int
        How many images will come.
    into : Path
        File for the array; written under another name first, so that half a file is never taken for a whole one.
    tick : callable
        Told 1 for each image, for a progress bar.

    Returns
    -------
    ndarray of float32, memory-mapped, (count, rows, columns, channels) or (count, slices, rows, columns, channels).
    """
    part = into.with_suffix(".part")
    store = None
    with threadpool_limits(1):  # products this small are slower, not faster, on two threads
        for i, image in enumerate(images):
            x = preprocess.apply(recipe, image)
            if store is None:
                store = _room_for(part, (count, *x.shape))
            store[i] = x
            tick(1)
    if store is None:
        raise ValueError("no images came")
    store.flush()
    del store
    part.replace(into)
    return np.load(into, mmap_mode="r")


def _room_for(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Return a writable array in a new file whose room on the disk is already taken.

    A mapped file that grows as it is written ends the process with a bus error when the disk is full; a file that
    asks for all its room first is refused in one line.
    """
    with open(path, "wb") as out:
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(out, header)
        out.flush()
        size = out.tell() + 4 * math.prod(shape)
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(out.fileno(), 0, size)
        else:
            out.write(bytes(size - out.tell()))
    return np.load(path, mmap_mode="r+")


class Batches:
    """Batches of (images, targets, weights), in an order that follows from (seed, epoch) alone.

    Parameters
    ----------
    images : ndarray, (n, …)
        May be memory-mapped.
    targets : ndarray, (n, outputs)
    weights : ndarray, (n,) or None
    batch : int
        The last, smaller batch of an epoch is left out when there are at least two (its images come in another epoch).
    part : (int, int)
        Which images of each batch are read, where several processes share it: from the first number on, every so many.
    """

    def __init__(self, images, targets, weights=None, *, batch: int, seed: int, part: tuple[int, int] = (0, 1)) -> None:
        self.images, self.targets, self.weights, self.batch, self.seed = images, targets, weights, batch, seed
        self.part = part
        self.start(0)

    def __len__(self) -> int:
        return max(1, len(self.images) // self.batch)

    def start(self, epoch: int) -> None:
        """Shuffle for one epoch."""
        self.order = np.random.default_rng((self.seed, epoch)).permutation(len(self.images))

    def __getitem__(self, i: int):
        chosen = np.sort(
            self.order[i * self.batch : (i + 1) * self.batch]
        )  # sorted: reads of a mapped file run forward
        chosen = chosen[self.part[0] :: self.part[1]]
        x, y = np.asarray(self.images[chosen]), self.targets[chosen]
        return (x, y) if self.weights is None else (x, y, self.weights[chosen])


def steps_an_epoch(n: int, batch: int) -> int:
    """How many steps an epoch of ``n`` images has.

    Examples
    --------
    >>> steps_an_epoch(100, 32), steps_an_epoch(10, 32)
    (3, 1)
    """
    return max(1, math.floor(n / batch))
