"""Arrays: MedMNIST-style .npz files, read in chunks and without pickle."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from overread.domain import Image, LabelValue, noted
from overread.errors import UnreadableFile
from overread.formats.limits import (
    ZIP_FAULTS,
    check_bytes,
    check_size,
    finite,
    lost_in_single,
    refusing,
    smallest_integer,
)

SPLITS = ("train", "val", "test")
_CHUNK = 256
_MOST_CHUNKS = 64  # a compressed member is read from its start for every chunk: few chunks keep that cheap
_CHUNK_BYTES = 256 << 20


@dataclass(frozen=True)
class Chunk:
    """Some consecutive images of one array: what one worker reads at a time."""

    split: str
    start: int
    stop: int


@dataclass(frozen=True)
class _Layout:
    shape: tuple[int, ...]
    dtype: np.dtype
    offset: int  # bytes before the first value


def is_npz(names: list[str]) -> bool:
    """True when a zip archive's members are NumPy arrays and nothing else.

    Examples
    --------
    >>> is_npz(["train_images.npy", "train_labels.npy"]), is_npz(["a.png"])
    (True, False)
    """
    return bool(names) and all(n.endswith(".npy") for n in names)


def chunks(path: Path) -> list[Chunk]:
    """Divide an .npz file's images into chunks, by reading the arrays' headers only.

    Raises
    ------
    UnreadableFile
        ``unknown-arrays`` where there is no ``{train,val,test}_images`` of a shape we know, ``malformed``.
    """
    found = []
    with _opened(path) as archive:
        for split in SPLITS:
            name = f"{split}_images.npy"
            if name not in archive.namelist():
                continue
            layout = _layout(archive, name)
            _check_layout(layout, archive.getinfo(name).file_size)
            n = layout.shape[0]
            _check_labels(archive, f"{split}_labels.npy", n)
            one = max(1, math.prod(layout.shape[1:]) * layout.dtype.itemsize)
            size = min(max(_CHUNK, -(-n // _MOST_CHUNKS)), max(1, _CHUNK_BYTES // one))
            found += [Chunk(split, a, min(a + size, n)) for a in range(0, n, size)]
    if not found:
        raise _unknown("no array named train_images, val_images or test_images")
    return found


def read_chunk(path: Path, chunk: Chunk) -> Iterator[tuple[str, Image | UnreadableFile, bytes, dict[str, LabelValue]]]:
    """Read the images of one chunk, in order.

    Yields
    ------
    name : str
        "train/12".
    image : Image or UnreadableFile
    raw : bytes
        The image's own bytes, for its digest.
    facts : dict
        ``{"split": "train", "label": "3"}``; several label columns become ``label0``, ``label1``, …. What is NaN or −1 is
        not known, and left out.

    Raises
    ------
    UnreadableFile
        ``truncated``, ``malformed``.
    """
    with _opened(path) as archive:
        images = _rows(archive, f"{chunk.split}_images.npy", chunk)
        labels = None
        if f"{chunk.split}_labels.npy" in archive.namelist():
            labels = _rows(archive, f"{chunk.split}_labels.npy", chunk)
    for i, values in enumerate(images):
        facts: dict[str, LabelValue] = {"split": chunk.split}
        if labels is not None:
            facts.update(_facts(labels[i]))
        try:
            image: Image | UnreadableFile = _image(values)
        except UnreadableFile as refusal:
            image = refusal
        yield f"{chunk.split}/{chunk.start + i}", image, values.tobytes(), facts


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """A zip file whose own faults are refusals."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except ZIP_FAULTS as error:
        raise UnreadableFile("a damaged .npz file", code="malformed", do="download it again") from error


def _layout(archive: zipfile.ZipFile, name: str) -> _Layout:
    with archive.open(name) as stream, refusing("an array whose header cannot be read", do="download it again"):
        version = np.lib.format.read_magic(stream)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
        if read is None:
            raise _unknown("an array in a version of the format that we do not know")
        shape, fortran, dtype = read(stream)
        if any(n < 0 for n in shape):
            raise _unknown("an array of negative size")
        if fortran and len(shape) > 1:
            raise _unknown("an array in Fortran order")
        if dtype.hasobject:
            raise _unknown("an array of Python objects (a pickle, which could run code)")
        return _Layout(shape, dtype, stream.tell())


def _check_layout(layout: _Layout, member_bytes: int) -> None:
    shape, last = layout.shape, layout.shape[-1] if layout.shape else 0
    if layout.dtype.kind not in "uifb":
        raise _unknown(f"an array of {layout.dtype.name}")
    if len(shape) not in (3, 4, 5) or (len(shape) == 5 and last != 3):
        raise _unknown(f"an array of shape {shape}")
    check_bytes(math.prod(shape[1:]) * max(4, layout.dtype.itemsize))
    want = math.prod(shape) * layout.dtype.itemsize
    if member_bytes - layout.offset < want:
        raise UnreadableFile(
            f"an array of {member_bytes - layout.offset:,} bytes",
            code="truncated",
            expected=f"{want:,}",
            do="download it again",
        )


def _check_labels(archive: zipfile.ZipFile, name: str, images: int) -> None:
    """Refuse labels that are more or fewer than the images: nobody knows which belongs to which."""
    if name not in archive.namelist():
        return
    layout = _layout(archive, name)
    shape = layout.shape
    if layout.dtype.kind not in "biufUS":
        raise UnreadableFile(
            f"labels of {layout.dtype.name}",
            code="unknown-arrays",
            expected="whole numbers, true or false, or words",
            do="save them so with numpy.savez",
        )
    if not shape or shape[0] != images:
        raise UnreadableFile(
            f"{shape[0] if shape else 0:,} labels for {images:,} images",
            code="malformed",
            expected=f"{images:,} rows in {name}",
            do="save the labels of these images beside them",
        )


def _rows(archive: zipfile.ZipFile, name: str, chunk: Chunk) -> np.ndarray:
    """Rows ``chunk.start`` to ``chunk.stop`` of one array, without reading the rest into memory."""
    layout = _layout(archive, name)
    row = math.prod(layout.shape[1:]) * layout.dtype.itemsize
    if not layout.shape or layout.shape[0] < chunk.stop:
        raise UnreadableFile(
            "an array with fewer rows than it was said to have", code="malformed", do="download it again"
        )
    with archive.open(name) as stream:
        stream.seek(layout.offset + chunk.start * row)
        raw = stream.read((chunk.stop - chunk.start) * row)
    if len(raw) < (chunk.stop - chunk.start) * row:
        raise UnreadableFile("an array that ends before its last image", code="truncated", do="download it again")
    return np.frombuffer(raw, layout.dtype).reshape(chunk.stop - chunk.start, *layout.shape[1:])


def _image(values: np.ndarray) -> Image:
    """(h, w), (h, w, 1 | 3 | 4), (d, h, w) or (d, h, w, 3) → one Image. A last axis of 3 is colour, of 4 colour and opaque alpha."""
    notes: list[str] = []
    if values.ndim == 3 and values.shape[-1] in (1, 4):
        values, notes = _without_alpha(values)
    colour = values.ndim == 4 or (values.ndim == 3 and values.shape[-1] == 3)
    voxels = values[np.newaxis] if values.ndim - colour == 2 else values
    check_size(*voxels.shape[1:3])
    finite(voxels)
    full_range: tuple[float, float] | None = None
    if voxels.dtype.kind == "b":
        voxels, full_range = voxels.astype(np.uint8), (0.0, 1.0)
    elif voxels.dtype.kind == "u" and voxels.dtype.itemsize <= 2:
        full_range = (0.0, float(np.iinfo(voxels.dtype).max))
        voxels = voxels.astype(voxels.dtype.newbyteorder("="))
    elif voxels.dtype.kind in "iu":
        voxels = smallest_integer(voxels)
    else:
        voxels = finite(voxels.astype(np.float32))
    notes += lost_in_single(values, voxels[0] if voxels.ndim > values.ndim else voxels)
    notes += [noted("constant", "every pixel has the same value")] if voxels.min() == voxels.max() else []
    attributes = {"format": "NPZ", "bits": str(values.dtype.itemsize * 8)}
    return Image(np.ascontiguousarray(voxels), full_range=full_range, attributes=attributes, notes=tuple(notes))


def _without_alpha(values: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Return (h, w, 1) as grey, and (h, w, 4) as colour where its fourth channel hides nothing: four columns are no slice.

    Raises
    ------
    UnreadableFile
        ``unsupported-format`` where the fourth channel is something else (four measurements, a transparency that varies).
    """
    if values.shape[-1] == 1:
        return values[..., 0], []
    highest = np.iinfo(values.dtype).max if values.dtype.kind == "u" else 1.0
    other = int((values[..., 3] != highest).sum())
    if other:
        raise UnreadableFile(
            f"a {values.shape[0]} × {values.shape[1]} image of 4 channels, the fourth of which is not opaque in {other:,} pixels",
            code="unsupported-format",
            expected="1 or 3 channels, or a fourth that hides nothing",
            do="save the three colours, or each measurement as an image of its own",
        )
    return values[..., :3], [noted("alpha-dropped", "the fourth colour channel (alpha) was dropped: opaque everywhere")]


def _facts(label: np.ndarray) -> dict[str, LabelValue]:
    """Return what one row of labels says: numbers as a label table writes them, and nothing where it says "not known"."""
    values = np.atleast_1d(label).ravel()
    said = {"label" if values.size == 1 else f"label{i}": _answer(v.item()) for i, v in enumerate(values)}
    return {name: answer for name, answer in said.items() if answer is not None}


def _answer(value: bool | float | str | bytes) -> str | None:
    """Return true as 1, 2.0 as 2; None for NaN and −1, which is no number of a class but "not known"."""
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, str):
        return value
    if value != value or value == -1:
        return None
    return str(int(value)) if float(value).is_integer() else str(value)


def _unknown(came: str) -> UnreadableFile:
    return UnreadableFile(
        came,
        code="unknown-arrays",
        expected="train_images, val_images, test_images of shape (n, rows, columns[, 1 | 3 | 4]) or (n, slices, rows, columns[, 3])",
        do="save the arrays under these names with numpy.savez",
    )
