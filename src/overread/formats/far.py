"""Files that lie elsewhere: looked at by their first bytes and read one at a time, never onto this disk."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO, Protocol

from overread.errors import UnreadableFile
from overread.formats import dicomdir, offer
from overread.formats.jobs import Part
from overread.formats.offer import Harvest, is_litter
from overread.formats.sniff import HEAD, sniff

_AT_ONCE = 1000  # rows

AllKnown = Callable[[list[Part]], bool]
"""True where every one of some files was read before and has not changed."""


class Far(Protocol):
    """A place elsewhere. A ``Part`` of it has a ``stamp``: its size and its version, as they were when it was listed."""

    def holds(self, path: str) -> bool:
        """True for a path, or what a person named, that is of this place."""

    def listed(self, word: str) -> Iterator[tuple[str, int, str]]:
        """Yield path, size and version of every file below what a person named, page by page."""

    def heads(self, parts: Iterable[Part]) -> Iterator[tuple[Part, bytes | UnreadableFile]]:
        """Yield each file's first bytes, in order, several being asked for at once."""

    def opened(self, part: Part, head: bytes) -> BinaryIO:
        """Return a file that can be sought, of which only what is needed is fetched."""

    def contents(self, parts: Iterable[Part]) -> Iterator[tuple[Part, bytes | UnreadableFile]]:
        """Yield each file's bytes, in order, or why they cannot be had."""

    def beside(self, path: str) -> bytes | None:
        """Return a small file's bytes by its path; None where there is none."""


def walk_far(word: str, far: Far, harvest: Harvest, *, all_known: AllKnown | None = None) -> None:
    """Offer what lies below what a person named, folder by folder.

    A folder in which every file is known is not looked at again: its files are offered as they are, and nobody will read
    them. Where one is new, all its neighbours are looked at, for it may belong to their series.
    """
    listing = _Listing(far.listed(word))
    for folder in listing.folders():
        offered = [part for part in listing.parts(folder) if _is_offered(part, word, harvest)]
        if all_known is not None and offered and all_known(offered):
            for part in offered:
                harvest.looked()
                harvest.jobs.add("files", part)
            continue
        for part, head in far.heads(offered):
            harvest.looked()
            if isinstance(head, UnreadableFile):
                harvest.jobs.refuse(part, head.code, str(head))
                harvest.jobs.lose(part)
            else:
                _offer(part, head, far, harvest)


def _is_offered(part: Part, word: str, harvest: Harvest) -> bool:
    """Pass over what is hidden, too large, or the mark of an empty folder."""
    size = part.stamp[0] if part.stamp else 0
    if part.path.endswith("/") and not size:
        return False
    if is_litter(part.path.removeprefix(word).lstrip("/")):
        harvest.jobs.ignore(part)
        return False
    if size > offer.LARGEST_FILE:
        harvest.refuse_large(part, size)
        return False
    return True


def _offer(part: Part, head: bytes, far: Far, harvest: Harvest) -> None:
    kind = sniff(head[:HEAD])
    if kind in ("zip", "tar"):
        came = f"a {kind} archive in a bucket"
        harvest.refuse(
            part, "nested-archive", came, expected="images", do="unpack it there, or fetch it and collect it"
        )
    elif kind == "dicom" and dicomdir.is_directory(head):
        harvest.jobs.refuse(part, "directory", "the directory of a disc; every file beside it is looked at instead")
    else:
        stream = far.opened(part, head)
        try:
            offer.offer(
                part, head, stream, harvest, kind=kind, beside=far.beside, lies=lambda p: far.beside(p) is not None
            )
        except UnreadableFile as error:
            harvest.jobs.refuse(part, error.code, str(error))
            harvest.jobs.lose(part)


class _Listing:
    """What was listed, on disk and not in memory, by folder."""

    def __init__(self, listed: Iterable[tuple[str, int, str]]) -> None:
        self._db = sqlite3.connect("", isolation_level=None, check_same_thread=False)  # let go of in any
        self._db.executescript(
            "PRAGMA journal_mode = OFF; CREATE TABLE files (folder TEXT, path TEXT, size INTEGER, version TEXT, "
            "PRIMARY KEY (folder, path)) WITHOUT ROWID; BEGIN"
        )
        self._db.executemany(
            "INSERT OR IGNORE INTO files VALUES (?, ?, ?, ?)",
            ((os.path.dirname(path), path, size, version) for path, size, version in listed),
        )

    def folders(self) -> Iterator[str]:
        last: tuple[str] | None = ("",)
        while last := self._db.execute("SELECT min(folder) FROM files WHERE folder > ?", last).fetchone():
            if last[0] is None:
                return
            yield last[0]

    def parts(self, folder: str) -> Iterator[Part]:
        last = ""
        ask = f"SELECT path, size, version FROM files WHERE folder = ? AND path > ? ORDER BY path LIMIT {_AT_ONCE}"
        while rows := self._db.execute(ask, (folder, last)).fetchall():
            for path, size, version in rows:
                yield Part(path, path, stamp=(size, version))
            last = rows[-1][0]

    def __del__(self) -> None:
        self._db.close()
