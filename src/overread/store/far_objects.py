"""Voxels whose objects lie elsewhere, under the same names: fetched when they are asked for, and checked by their hash."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np

from overread.errors import IntegrityError
from overread.store import cache
from overread.store.objects import ImageRecord, begin_file, content_hash, damaged, head_of, image_of, voxels_in

_AT_ONCE = 16  # objects on their way
_MUCH = 256 << 20  # and bytes of them
_ASK_FROM = 1 << 20  # it is asked whether a larger object is there; a smaller one is sent as quickly


class Elsewhere(Protocol):
    """A place where objects lie by name, each whole or not at all (:class:`overread.sources.s3_place.Place`)."""

    @property
    def address(self) -> str: ...
    def get(self, name: str) -> tuple[bytes, str] | None: ...
    def fetch(self, name: str, into: BinaryIO) -> str | None: ...
    def put(self, name: str, body: Any, *, instead_of: str | None = None) -> str | None: ...
    def size(self, name: str) -> int | None: ...


@dataclass(frozen=True)
class FarObjects:
    """The objects of an archive that lies elsewhere, behind a bounded folder of this machine (:mod:`overread.store.cache`).

    Parameters
    ----------
    place : Elsewhere
    staging : Path, optional
        Where workers leave what :meth:`finish` sends, many at once; without it each sends what it has read, as it must on
        another host.
    """

    place: Elsewhere
    staging: Path | None = None

    @property
    def folder(self) -> None:
        """They lie in no folder that a host would have to see."""

    def begin(self, name: str, *parts: Any) -> str:
        """Send an object, which is there whole or not at all; or write it into the staging folder and return its name there."""
        if self.staging is not None:
            return begin_file(f"{self.staging}/{name[:2]}/{name}.npy", *parts)
        data = b"".join(parts)
        if len(data) < _ASK_FROM or self.place.size(_path(name)) != len(data):
            self.place.put(_path(name), data)
        return ""

    def finish(self, begun: Iterable[tuple[str, str]]) -> None:
        """Send what lies in the staging folder (hash, name there); when this returns, all of it is there whole."""
        files = [(name, self.staging / name[:2] / there) for name, there in begun if there and self.staging is not None]
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="objects") as threads:
            try:
                list(threads.map(self._send, files))
            finally:
                threads.shutdown(cancel_futures=True)
                for _, file in files:
                    file.unlink(missing_ok=True)

    def _send(self, one: tuple[str, Path]) -> None:
        name, file = one
        size = file.stat().st_size
        if size < _ASK_FROM or self.place.size(_path(name)) != size:
            with file.open("rb") as body:
                self.place.put(_path(name), body)

    def voxels(self, record: ImageRecord) -> np.ndarray:
        """Return the values of an image, from this machine where they were fetched before.

        Raises
        ------
        IntegrityError
            When the object is missing, or is not what was stored.
        """
        kept = _kept()
        if file := kept.find(_path(record.hash), record.bytes):
            try:
                return voxels_in(file, record)
            except IntegrityError:  # made room meanwhile
                pass
        voxels, data = self._fetched(record)
        kept.keep(_path(record.hash), data)
        return voxels

    def check(self, record: ImageRecord) -> None:
        """Raise IntegrityError where the object itself, not a copy of it, is not what was stored."""
        self._fetched(record)

    def bring(self, records: Iterable[ImageRecord], tick: Callable[[], object] = lambda: None) -> None:
        """Fetch what will be asked for and is not on this machine, several objects at once; as much as there is room for."""
        kept, left = _kept(), cache.room() * 3 // 4
        wanted = []
        for record in records:
            left -= record.bytes
            if left < 0:
                return
            if kept.find(_path(record.hash), record.bytes) is None:
                wanted.append(record)
            else:
                tick()
        for _ in several(self.voxels, wanted):
            tick()

    def _fetched(self, record: ImageRecord) -> tuple[np.ndarray, bytes]:
        """Return an object's voxels and bytes, both as they were stored."""
        name = record.hash[:12]
        got = self.place.get(_path(record.hash))
        if got is None:
            raise damaged(f"the voxels of image {name} are missing from {self.place.address}")
        data = got[0]
        if len(data) != record.bytes:
            raise damaged(
                f"the voxels of image {name} have {len(data):,} bytes in {self.place.address}, not {record.bytes:,}"
            )
        try:
            dtype = np.dtype(record.dtype)
            start = record.bytes - dtype.itemsize * math.prod(record.shape)
            whole = data[:start] == head_of(dtype, tuple(record.shape))
            voxels = np.frombuffer(data, dtype, offset=start).reshape(record.shape)
        except (ValueError, TypeError, OverflowError) as error:
            raise damaged(f"the voxels of image {name} cannot be read") from error
        if not whole or content_hash(image_of(record, voxels)) != record.hash:
            raise damaged(f"the voxels of image {name} in {self.place.address} do not match their hash")
        return voxels, data


@dataclass(frozen=True)
class Remote:
    """Where the rest of an archive lies whose folder here holds its books alone.

    Parameters
    ----------
    address : str
        As a person names it.
    objects : FarObjects
    names : Path
        Its names shelf, if it is on this machine.
    mark : str
        Which key its pseudonyms were made with (``steps.opened.mark_of``); "" where nobody says.
    """

    address: str
    objects: FarObjects
    names: Path
    mark: str = ""


def several(do: Callable[[ImageRecord], Any], records: Sequence[ImageRecord]) -> Iterator[Any]:
    """Yield ``do(record)`` for each, in order, several at once."""
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="objects") as threads:
        at = 0
        while at < len(records):
            some, much = [], 0
            while at < len(records) and (not some or (len(some) < 8 * _AT_ONCE and much + records[at].bytes <= _MUCH)):
                some.append(records[at])
                much += records[at].bytes
                at += 1
            yield from threads.map(do, some)


def _path(name: str) -> str:
    return f"objects/{name[:2]}/{name}.npy"


def _kept() -> cache.Cache:
    return cache.Cache(Path(cache.place()) / "voxels", cache.room())
