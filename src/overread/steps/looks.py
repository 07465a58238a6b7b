"""What can be seen in the pixels of every image of an archive: looked at once, in processes, and kept beside them.

``ARCHIVE/looks.npz`` is a cache: it holds no name and no picture, may be deleted, and is made again.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from overread import engine
from overread.imaging import measure
from overread.imaging.glance import grey_plane
from overread.imaging.lettering import lettering
from overread.imaging.likeness import signature
from overread.steps.opened import bring
from overread.steps.progress import progress as bar
from overread.store.archive import Archive
from overread.store.objects import ImageRecord, Objects, read_object, write_atomically

NAME = "looks.npz"
_VERSION = 1  # of the measures: another one makes them anew
_INLINE = 300  # fewer images are looked at in this process
_CHUNK = 32
_ROOM = 8  # rows of lettering kept of one image


@dataclass(frozen=True)
class Looks:
    """What was measured of each image, in the order of ``hashes``.

    Parameters
    ----------
    hashes : ndarray of str, (n,)
    signatures : ndarray of float16, (n, 575)
        See :mod:`overread.imaging.likeness`.
    quantiles : ndarray of float32, (n, 33)
        See :func:`overread.imaging.measure.quantiles`.
    features : ndarray of float32, (n, features)
    boxes : ndarray of float32, (n, 8, 4)
        Rows of lettering: top, left, bottom, right as shares of the picture; NaN where there are fewer.
    """

    hashes: np.ndarray
    signatures: np.ndarray
    quantiles: np.ndarray
    features: np.ndarray
    boxes: np.ndarray

    def __len__(self) -> int:
        return len(self.hashes)

    def lettered(self) -> np.ndarray:
        """Say of each image whether writing was seen in it."""
        return np.isfinite(self.boxes[:, 0, 0])


def looks(archive: Archive, records: Sequence[ImageRecord], *, show: bool) -> Looks:
    """Return what was measured of these images; those not looked at before are read now.

    Raises
    ------
    IntegrityError
        When the voxels of an image are missing or are not what was stored.
    """
    known = _read(archive.path / NAME)
    places = {name: i for i, name in enumerate(known.hashes.tolist())}
    fresh = [record for record in records if record.hash not in places]
    bring(archive, fresh, show=show)
    seen = engine.map(partial(_look, archive.objects), fresh, chunk=_CHUNK, inline=_INLINE)
    seen = bar(seen, total=len(fresh), what="looking at pixels", unit="images", show=show)
    looked = [_BLANK if isinstance(s, engine.Failure) else s for s in seen]
    rows = np.array([places.get(record.hash, -1) for record in records], int)
    columns = []
    for k, field in enumerate(("signatures", "quantiles", "features", "boxes")):
        column = np.empty((len(records), *_BLANK[k].shape), _BLANK[k].dtype)
        column[rows >= 0] = getattr(known, field)[rows[rows >= 0]]
        if fresh:
            column[rows < 0] = np.stack([look[k] for look in looked])
        columns.append(column)
    now = Looks(np.array([record.hash for record in records], "U64"), *columns)
    if fresh or len(now) != len(known):
        _write(archive.path / NAME, now)
    return now


def _look(objects: Objects, record: ImageRecord) -> tuple[np.ndarray, ...]:
    """Measure one image; in a worker process."""
    image = read_object(objects, record)
    values = measure.sample(image)
    plane = grey_plane(image)
    boxes = _BLANK[3].copy()
    for i, box in enumerate(lettering(plane).lines[:_ROOM]):
        boxes[i] = box
    return (
        signature(plane).astype(np.float16),
        measure.quantiles(values),
        measure.features(image, values),
        boxes,
    )


_BLANK = (
    np.zeros(575, np.float16),
    np.full(len(measure.QUANTILES), np.nan, np.float32),
    np.full(len(measure.FEATURES), np.nan, np.float32),
    np.full((_ROOM, 4), np.nan, np.float32),
)
"""What is told of an image that could not be looked at: nothing."""


def _read(path: Path) -> Looks:
    """Return what was kept; nothing where it is missing, damaged or of another version."""
    nothing = Looks(np.zeros(0, "U64"), *(np.empty((0, *blank.shape), blank.dtype) for blank in _BLANK))
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
            if int(kept["version"]) != _VERSION:
                return nothing
            found = replace(nothing, **{name: kept[name] for name in nothing.__dict__})
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return nothing
    whole = all(
        column.shape == (len(found), *blank.shape) and column.dtype == blank.dtype
        for column, blank in zip((found.signatures, found.quantiles, found.features, found.boxes), _BLANK, strict=True)
    )
    return found if whole else nothing


def _write(path: Path, kept: Looks) -> None:
    file = io.BytesIO()
    np.savez(file, version=np.array(_VERSION), **kept.__dict__)
    write_atomically(path, file.getvalue())
