"""An archive, however it was named: a folder here, or ``s3://BUCKET/FOLDER``, whose books are fetched first.

In a bucket lie ``objects/ab/<hash>.npy`` as in a folder, the books under the SHA-256 of what they hold
(``books/<sha256>``), and ``archive.json``, which says which books stand. That one object is written over, all others never
change: whoever has read it finds all books of one moment, or none. Voxels are fetched as they are asked for
(:mod:`overread.store.far_objects`).
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from overread.domain import canonical_json
from overread.errors import ArchiveError, IntegrityError
from overread.steps.far import SCHEME, is_far
from overread.steps.progress import bar
from overread.store import cache
from overread.store.archive import Archive
from overread.store.far_objects import FarObjects, Remote
from overread.store.names import names_beside
from overread.store.objects import ImageRecord, write_atomically

if TYPE_CHECKING:
    from overread.sources.s3_place import Place

HEAD = "archive.json"
"""Which books stand, in the bucket; beside the fetched books it also says from where they came."""

HOME = "OVERREAD_HOME"
"""Names the folder of this machine that keeps the books and names of archives that are collected into a bucket."""

_FORMAT = 1
_NAME = re.compile(r"[a-z_]+\.(sqlite|json)")
_STALE_S = 7 * 24 * 3600.0


@dataclass(frozen=True)
class Head:
    """What ``archive.json`` says.

    Parameters
    ----------
    mark : str
        Which key the pseudonyms were made with; no help in guessing it.
    books : mapping of str to (str, int)
        Name → SHA-256 and bytes.
    """

    mark: str
    books: Mapping[str, tuple[str, int]]

    def written(self) -> bytes:
        """Return it as it lies in the bucket."""
        books = {name: {"sha256": digest, "bytes": size} for name, (digest, size) in self.books.items()}
        return (canonical_json({"overread_archive": _FORMAT, "mark": self.mark, "books": books}) + "\n").encode()


def read_head(data: bytes, address: str) -> Head:
    """Return what an ``archive.json`` says.

    Raises
    ------
    ArchiveError
        When it was written by a newer overread, or is none.

    Examples
    --------
    >>> head = Head("ab12", {"archive.sqlite": ("0" * 64, 10)})
    >>> read_head(head.written(), "s3://scans/chest") == head
    True
    """
    try:
        said = json.loads(data)
        if said["overread_archive"] > _FORMAT:
            raise ArchiveError(
                f"{address} is of version {said['overread_archive']}",
                expected=f"at most {_FORMAT}",
                do="update overread",
            )
        books = {str(name): (str(b["sha256"]), int(b["bytes"])) for name, b in said["books"].items()}
        if not all(_NAME.fullmatch(n) and re.fullmatch("[0-9a-f]{64}", d) and b >= 0 for n, (d, b) in books.items()):
            raise ValueError("a name, hash or size that overread does not write")
        return Head(str(said["mark"]), books)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ArchiveError(
            f"{address}/{HEAD} is damaged", expected="the list that `overread collect` wrote", do="restore it"
        ) from None


def place_of(address: str) -> Place:
    """Return a folder of a bucket as a place to read and write."""
    from overread.sources.s3_place import Place  # only here: nobody else needs the network

    return Place(address)


def at_hand(archive: Any, *, anew: bool = False) -> Path:
    """Return the folder of an archive, however it was named; of one in a bucket, that of its books, fetched as they stand now.

    Parameters
    ----------
    archive : path, address, Archive, or what ``collect`` returned
    anew : bool
        Hash what was fetched earlier, too.

    Raises
    ------
    ArchiveError
        When there is none in the bucket, or its collection was not finished.
    SourceError
        When the bucket cannot be read.
    """
    named = getattr(archive, "archive", None) or getattr(archive, "path", None) or archive
    if not is_far(named):
        return Path(named)
    place = place_of(named)
    got = place.get(HEAD)
    if got is None:
        raise ArchiveError(
            f"no archive at {place.address}",
            expected=f"a folder of a bucket that `overread collect … --into {SCHEME}…` filled",
            do="check its name, or collect first",
        )
    head = read_head(got[0], place.address)
    if "archive.sqlite" not in head.books:
        raise ArchiveError(
            f"{place.address} is being collected, and its books have not come yet",
            expected="a collection that has ended",
            do="wait, or run the same `overread collect` again where it was cut short",
        )
    return _books(place, head, anew=anew)


def open_archive(archive: Any) -> Archive:
    """Open an archive, however it was named.

    Raises
    ------
    ArchiveError, SourceError
        As :func:`at_hand`.
    """
    folder = at_hand(archive)
    return Archive.open(folder, remote=remote_of(folder))


def address_of(folder: Path) -> str | None:
    """Return where an archive lies of which only the books are in this folder; None where all of it is."""
    return _whence(folder).get("address")  # none in a bucket's own: another tool copied it


def remote_of(folder: Path) -> Remote | None:
    """Return where the rest of an archive lies of which only the books are in this folder; None where all of it is."""
    said = _whence(folder)
    if said.get("address") is None:
        return None
    place = place_of(said["address"])
    return Remote(place.address, FarObjects(place), names_beside(half_of(place)), str(said["mark"]))


def _whence(folder: Path) -> dict[str, Any]:
    """Return what lies beside fetched books: where they came from, and which key their pseudonyms were made with."""
    try:
        return json.loads((folder / HEAD).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return {}


def half_of(place: Place) -> Path:
    """Return the folder of this machine with the half of an archive that its collector keeps: its books, as they are written."""
    home = Path(os.environ.get(HOME) or Path.home() / ".overread")
    readable = re.sub(r"[^a-z0-9.-]+", "-", place.address.removeprefix(SCHEME).lower())[:60]
    return home / "archives" / f"{readable}-{place.id}"


def bring(archive: Archive, records: Iterable[ImageRecord], *, show: bool) -> None:
    """Fetch images that will be read next, several at once, where they lie in a bucket and there is room for them here."""
    if archive.remote is None:
        return
    once = list({record.hash: record for record in records}.values())
    with bar(total=len(once), what="fetching", unit="images", show=show) as line:
        archive.remote.objects.bring(once, tick=line.update)


def _books(place: Place, head: Head, *, anew: bool) -> Path:
    """Return the folder with the books that a head names; nothing of it is ever written over."""
    versions = cache.place() / "books" / place.id
    digest = hashlib.sha256(head.written()).hexdigest()[:32]
    folder = versions / digest
    if anew and folder.is_dir() and not all(_is_whole(folder / n, d) for n, (d, _) in head.books.items()):
        shutil.rmtree(folder)
    if all(_has_size(folder / name, size) for name, (_, size) in head.books.items()) and address_of(folder):
        os.utime(folder)
        return folder
    shutil.rmtree(folder, ignore_errors=True)  # cut short by a person, or a full disk
    part = versions / f".{digest}.{secrets.token_hex(4)}"
    part.mkdir(mode=0o700, parents=True)
    try:
        for name, (sha256, size) in head.books.items():
            _fetch(place, part / name, sha256, size)
        if latest := _latest(versions):
            _take_along(latest / "looks.npz", part)
        write_atomically(part / HEAD, (json.dumps({"address": place.address, "mark": head.mark}) + "\n").encode())
        try:
            part.rename(folder)
        except OSError:  # another process was faster
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
    _forget_old(versions, folder)
    return folder


def _fetch(place: Place, file: Path, sha256: str, size: int) -> None:
    """Fetch one book and check it."""
    with file.open("wb+") as into:
        found = place.fetch(f"books/{sha256}", into)
    if found is None or not _has_size(file, size) or not _is_whole(file, sha256):
        raise IntegrityError(
            f"{file.name} of {place.address} {'is missing' if found is None else 'is not what was stored'}",
            expected="the book that its archive.json names",
            do="restore it from a copy, or collect again where it was collected",
        )


def _has_size(file: Path, size: int) -> bool:
    return file.is_file() and file.stat().st_size == size


def _is_whole(file: Path, sha256: str) -> bool:
    if not file.is_file():
        return False
    with file.open("rb") as raw:
        return hashlib.file_digest(raw, "sha256").hexdigest() == sha256


def _used(versions: Path) -> list[tuple[float, Path]]:
    """Return when each fetched version was last asked for; other processes may take some away, or give one its name, meanwhile."""
    found = []
    for folder in versions.iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.append((folder.stat().st_mtime, folder))
    return found


def _latest(versions: Path) -> Path | None:
    kept = [(used, folder) for used, folder in _used(versions) if not folder.name.startswith(".")]
    return max(kept, default=(0.0, None))[1]


def _take_along(looks: Path, folder: Path) -> None:
    """Keep what was seen in the pixels: an image that has not changed need not be looked at again."""
    if looks.is_file():
        shutil.copyfile(looks, folder / looks.name)


def _forget_old(versions: Path, folder: Path) -> None:
    """Remove books that nobody has asked for in a week and that no longer stand."""
    for used, other in _used(versions):
        if other != folder and time.time() - used > _STALE_S:
            shutil.rmtree(other, ignore_errors=True)


def mark_of(archive: Archive) -> str:
    """Return which key the pseudonyms of an archive were made with: equal for one key, and no help in guessing it."""
    if archive.anonymous:
        return "" if archive.remote is None else archive.remote.mark
    return hmac.new(archive.key, b"which key", "sha256").hexdigest()[:16]
