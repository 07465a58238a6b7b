"""Voxels as files under their own hash: written whole or not at all, and checked when they are read."""

from __future__ import annotations

import ctypes
import hashlib
import io
import math
import os
import platform
import re
import secrets
import stat
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from overread.domain import Geometry, Image, canonical_json
from overread.errors import ArchiveError, IntegrityError
from overread.store.database import disk_full_told

_MAP_FROM_BYTES = 1 << 20  # a mapped file holds a file descriptor; thousands of small pictures would use them up
_FEW = 8  # objects that are forced to the disk one by one


class Objects(Protocol):
    """Where voxels lie: in a folder of this machine (:class:`Here`), or elsewhere (``far_objects.FarObjects``)."""

    @property
    def folder(self) -> Path | None:
        """What every host must see under one path; None where they lie elsewhere."""
        ...

    def begin(self, name: str, *parts: Any) -> str: ...
    def finish(self, begun: Iterable[tuple[str, str]]) -> None: ...
    def voxels(self, record: ImageRecord) -> np.ndarray: ...
    def check(self, record: ImageRecord) -> None: ...


@dataclass(frozen=True)
class ImageRecord:
    """All that is known of a stored image but its voxels.

    ``low`` and ``high`` are its smallest and largest finite value; None where no voxel is finite.
    """

    hash: str
    bytes: int
    dtype: str
    shape: tuple[int, ...]
    unit: str = "stored"
    full_range: tuple[float, float] | None = None
    geometry: Geometry | None = None
    spacing_mm: tuple[float, float, float] | None = None
    modality: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None


def content_hash(image: Image) -> str:
    """Return the SHA-256 of what an image *is*: voxels, unit, range, geometry, spacing and modality.

    Attributes and notes do not count: the same pixels read with another remark are the same image.

    Examples
    --------
    >>> a = Image(np.zeros((1, 2, 2), np.uint8))
    >>> content_hash(a) == content_hash(Image(np.zeros((1, 2, 2), np.uint8), notes=("from a TIFF",)))
    True
    >>> content_hash(a) == content_hash(Image(np.zeros((1, 2, 2), np.uint8), unit="HU"))
    False
    """
    voxels = _little_endian(image.voxels)
    head = {
        "dtype": voxels.dtype.str,
        "shape": voxels.shape,
        "unit": image.unit,
        "full_range": floats(image.full_range),
        "geometry": None if image.geometry is None else [floats(row) for row in image.geometry.affine],
        "spacing_mm": floats(image.spacing_mm),
        "modality": image.modality,
    }
    digest = hashlib.sha256(canonical_json(head).encode() + b"\n")
    digest.update(voxels.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def write_object(objects: Objects, image: Image) -> ImageRecord:
    """Write an image's voxels under their hash and return its record.

    The image is not known to the archive until :meth:`Archive.record` has been given the record.

    Raises
    ------
    ArchiveError
        When the voxels cannot be stored (no numbers, no voxels), or the disk is full.
    """
    record, begun = begin_object(objects, image)
    objects.finish([(record.hash, begun)])
    return record


def begin_object(objects: Objects, image: Image) -> tuple[ImageRecord, str]:
    """Write an image's voxels under a temporary name; for worker processes, which need not wait for the disk.

    Returns
    -------
    record : ImageRecord
    begun : str
        The temporary file's name, for ``objects.finish``; "" where the image is stored already.

    Raises
    ------
    ArchiveError
        When the voxels cannot be stored (no numbers, no voxels), or the disk is full.
    """
    if image.voxels.size == 0 or image.voxels.dtype.kind not in "buif":
        raise ArchiveError(
            f"voxels of type {image.voxels.dtype} and shape {image.voxels.shape}",
            expected="at least one voxel, whole or real numbers",
            do="read the file again with overread.read",
        )
    voxels = _little_endian(image.voxels)
    name = content_hash(image)
    head = head_of(voxels.dtype, voxels.shape)
    values = voxels.reshape(-1).view(np.uint8).data
    with disk_full_told():
        begun = objects.begin(name, head, values)
    low, high = _extremes(voxels)
    record = ImageRecord(
        hash=name,
        bytes=len(head) + voxels.nbytes,
        dtype=voxels.dtype.str,
        shape=tuple(voxels.shape),
        unit=image.unit,
        full_range=floats(image.full_range),
        geometry=image.geometry,
        spacing_mm=floats(image.spacing_mm),
        modality=image.modality,
        attributes={str(k): str(v) for k, v in image.attributes.items()},
        notes=tuple(image.notes),
        low=low,
        high=high,
    )
    return record, begun


@dataclass(frozen=True)
class Here:
    """The objects of an archive that lie in a folder of this machine.

    Parameters
    ----------
    folder : Path
    """

    folder: Path

    def begin(self, name: str, *parts: Any) -> str:
        """Write an object under a temporary name and return that; "" where it lies there already."""
        target = self._file(name)
        return "" if _lies_there(target, sum(map(len, parts))) else begin_file(target, *parts)

    def finish(self, begun: Iterable[tuple[str, str]]) -> None:
        """Force begun objects to the disk and give them their names: from now on they are there whole, even after a power cut.

        This waits for the disk and hardly for the processor. Where the system can, many wait together: once for the voxels
        of all, once for all the names.

        Parameters
        ----------
        begun : iterable of (str, str)
            Hash and temporary name of each, as :func:`begin_object` gave them.

        Raises
        ------
        ArchiveError
            When the disk is full.
        """
        moves = {f"{self.folder}/{name[:2]}/{there}": self._file(name) for name, there in begun if there}
        with disk_full_told():
            try:
                _wait_for_disk(list(moves), folders=False)
                for there, here in moves.items():
                    os.replace(there, here)
            except BaseException:
                for there in moves:
                    Path(there).unlink(missing_ok=True)  # gone already where it has its name
                raise
            _wait_for_disk(list({os.path.dirname(here) for here in moves.values()}), folders=True)

    def voxels(self, record: ImageRecord) -> np.ndarray:
        """Return the values of an image, mapped from the disk when large.

        Raises
        ------
        IntegrityError
            When its file is missing or has not the size it was stored with.
        """
        file = self._file(record.hash)
        if not _lies_there(file, record.bytes):
            raise damaged(f"the voxels of image {record.hash[:12]} are missing or cut short")
        return voxels_in(file, record)

    def check(self, record: ImageRecord) -> None:
        """Raise IntegrityError where an object, the header that other programs read too, is not what was stored."""
        same = content_hash(read_object(self, record)) == record.hash
        head = head_of(np.dtype(record.dtype), tuple(record.shape))
        with open(self._file(record.hash), "rb") as file:
            if not same or file.read(len(head)) != head:
                raise damaged(f"the bytes of image {record.hash[:12]} do not match their hash")

    def _file(self, name: str) -> str:
        return f"{self.folder}/{name[:2]}/{name}.npy"


def begin_file(target: str, *parts: Any) -> str:
    """Write what will be a file under a temporary name beside it, and return that name."""
    return os.path.basename(_write(target, *parts, mode=0o644))


@lru_cache(maxsize=256)
def head_of(dtype: np.dtype, shape: tuple[int, ...]) -> bytes:
    """Return the header of an .npy file of such voxels in C order."""
    head = io.BytesIO()
    described = np.lib.format.dtype_to_descr(dtype)
    np.lib.format.write_array_header_1_0(head, {"descr": described, "fortran_order": False, "shape": shape})
    return head.getvalue()


def _wait_for_disk(paths: Sequence[str], *, folders: bool) -> None:
    """Return when all that was written to some files of one file system, or all names in some folders, is on the disk."""
    sync = _whole_file_system() if len(paths) > _FEW else None
    if sync is not None:
        handle = os.open(os.path.dirname(paths[0]), os.O_RDONLY)
        try:
            if sync(handle) == 0:
                return
        finally:
            os.close(handle)
    for path in paths:  # also where something could not be written that may not be ours: asked one by one, each says
        if folders:
            _sync_folder(path)
            continue
        handle = os.open(path, os.O_RDWR)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@cache
def _whole_file_system() -> Callable[[int], int] | None:
    """Return Linux's syncfs, which waits once for a thousand files; since 5.8 it also says what could not be written."""
    release = re.match(r"(\d+)\.(\d+)", platform.release())
    if sys.platform != "linux" or release is None or (int(release[1]), int(release[2])) < (5, 8):
        return None
    return getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)


def read_object(objects: Objects, record: ImageRecord) -> Image:
    """Return a stored image; its voxels are read-only, and mapped from the disk when large.

    Raises
    ------
    IntegrityError
        When its file is missing or is not what was stored.
    """
    return image_of(record, objects.voxels(record))


def image_of(record: ImageRecord, voxels: np.ndarray) -> Image:
    """Return a stored image with its voxels, which nobody may change."""
    voxels.flags.writeable = False
    return Image(
        voxels,
        unit=record.unit,
        full_range=record.full_range,
        geometry=record.geometry,
        spacing_mm=record.spacing_mm,
        modality=record.modality,
        attributes=record.attributes,
        notes=record.notes,
    )


def voxels_in(file: str | Path, record: ImageRecord) -> np.ndarray:
    """Read or map the values behind an object's header, whose length is known: the header itself is parsed by nobody."""
    try:
        dtype = np.dtype(record.dtype)
        start = record.bytes - dtype.itemsize * math.prod(record.shape)
        if dtype.kind not in "buif" or start < 0:
            raise ValueError("no dtype that write_object writes")
        if record.bytes >= _MAP_FROM_BYTES:
            return np.memmap(file, dtype, "r", start, record.shape)
        return np.fromfile(file, dtype, offset=start).reshape(record.shape)
    except (ValueError, TypeError, OSError, OverflowError) as error:
        raise damaged(f"the voxels of image {record.hash[:12]} cannot be read") from error


def write_atomically(target: Path, *parts: bytes, mode: int = 0o644, wait: bool = True) -> None:
    """Write a file so that it is there whole or not at all, even after a power cut; without ``wait`` that may lose it."""
    temporary = _write(os.fspath(target), *parts, mode=mode, wait=wait)
    try:
        os.replace(temporary, target)
    finally:
        Path(temporary).unlink(missing_ok=True)  # gone already unless something failed
    if wait:
        _sync_folder(os.path.dirname(target) or ".")


def _write(target: str, *parts: bytes, mode: int, wait: bool = False) -> str:
    """Write a temporary file beside ``target`` and return its path; ``wait`` until it is on the disk."""
    folder, name = os.path.split(target)
    temporary = os.path.join(folder, f".{name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    how = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    try:
        try:
            handle = os.open(temporary, how, mode)
        except FileNotFoundError:  # 256 times of a hundred thousand
            os.makedirs(folder, exist_ok=True)
            handle = os.open(temporary, how, mode)
        with open(handle, "wb") as file:
            file.writelines(parts)
            if wait:
                file.flush()
                os.fsync(file.fileno())
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return temporary


def _lies_there(path: str, size: int) -> bool:
    """True where a file of this size lies."""
    try:
        about = os.stat(path)
    except OSError:
        return False
    return stat.S_ISREG(about.st_mode) and about.st_size == size


def _little_endian(voxels: np.ndarray) -> np.ndarray:
    """Return the voxels in C order and little-endian, so that one image has one hash on every machine."""
    return np.ascontiguousarray(voxels, dtype=voxels.dtype.newbyteorder("<"))


def _extremes(voxels: np.ndarray) -> tuple[float | None, float | None]:
    """Return the smallest and largest finite value."""
    if voxels.dtype.kind == "f":
        voxels = voxels[np.isfinite(voxels)]
    return (float(voxels.min()), float(voxels.max())) if voxels.size else (None, None)


def floats(values: Iterable[float] | None) -> tuple[float, ...] | None:
    """Return numbers as plain floats, so that 255 and 255.0 are one value."""
    return None if values is None else tuple(float(v) for v in values)


def _sync_folder(folder: str) -> None:
    """Force a folder's entries to the disk, where the system can."""
    if os.name != "posix":
        return  # Windows writes its directory entries through
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def damaged(came: str) -> IntegrityError:
    """Return the refusal for stored bytes that are not what was stored."""
    return IntegrityError(
        came, expected="the bytes that were stored", do="restore the archive from a copy, or collect again"
    )
