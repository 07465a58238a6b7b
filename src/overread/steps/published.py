"""The half of an archive in a bucket that its collector keeps: the books as they are written, and the names.

Voxels go to the bucket as they are read. The books are written here, and published when a collection ends: first the books,
each under the SHA-256 of what it holds, then ``archive.json``, which is only written over the one that was read before. So
two collectors cannot overwrite each other, and readers see all books of one moment. **Names never leave this machine**: no
option sends them, and what is sent is on a list.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import tempfile
from collections.abc import Collection, Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from overread.errors import ArchiveError, SourceError
from overread.steps import contradicted, people
from overread.steps.far import is_far
from overread.steps.opened import HEAD, HOME, Head, half_of, mark_of, place_of, read_head
from overread.store.archive import Archive
from overread.store.far_objects import FarObjects, Remote
from overread.store.journal import exclusive
from overread.store.names import names_beside
from overread.store.objects import Here, Objects, write_atomically

if TYPE_CHECKING:
    from overread.sources.s3_place import Place

BOOKS = ("archive.sqlite", contradicted.NAME, people.NAME)
"""What is published, by name: nothing else ever is."""

_STATE = "published.json"
_PROBE = "books/probe-"


@dataclass(frozen=True)
class Into:
    """Where a collection goes.

    Parameters
    ----------
    folder : Path
        The archive; of one in a bucket the half that stays here.
    remote : Remote or None
        Where its objects go, if not there.
    place : Place or None
        Where it is published.
    """

    folder: Path
    remote: Remote | None = None
    place: Place | None = None

    @property
    def objects(self) -> Objects:
        """Where voxels are written."""
        return Here(self.folder / "objects") if self.remote is None else self.remote.objects

    def told(self) -> list[str]:
        """Tell, where there is something to tell, what stays on this machine."""
        if self.remote is None:
            return []
        kept = f"names and books stay on this machine, in {self.folder}.names and beside it"
        return [f"{kept}: back them up, for only with them can the archive be added to"]


def begun(into: Any, *, hosts: bool = False) -> Into:
    """Return where a collection goes, and see that it may; nothing is written. ``hosts``: others than this one write voxels.

    Raises
    ------
    ArchiveError
        When another collector has the place: its names are not here, or it has published since.
    SourceError
        When the bucket cannot be read.
    """
    if not is_far(into):
        return Into(Path(into))
    place = place_of(into)
    folder = half_of(place)
    objects = FarObjects(place, None if hosts else folder / "objects")
    remote = Remote(place.address, objects, names_beside(folder))
    with (
        exclusive(folder / ".publish") if folder.is_dir() else nullcontext()
    ):  # another process of ours may be publishing
        got = place.get(HEAD)
        if got is None:
            _see_that_it_is_free(place, folder)
        else:
            _see_that_it_is_ours(place, folder, remote, *got)
    return Into(folder, remote, place)


def _see_that_it_is_free(place: Place, folder: Path) -> None:
    if _state(folder).get("tag"):
        raise ArchiveError(
            f"the archive that was collected into {place.address} is gone from there",
            expected="the archive that this machine published",
            do=f"restore it, or move {folder} away with its names to begin anew",
        )
    others = (name for name in place.names() if not name.startswith(_PROBE))  # left where asking was cut short
    if next(others, None) is not None and not (folder / "archive.sqlite").is_file():
        raise ArchiveError(
            f"{place.address} holds other things",
            expected="an archive, an empty folder of the bucket, or a new name",
            do="choose another place",
        )


def claim(into: Into) -> None:
    """Make the half that stays here, and say in the bucket whose the place is; nothing where that was said before.

    Raises
    ------
    ArchiveError
        When another collector was faster, or the half that stays here has lost its names.
    SourceError
        When the bucket cannot be written, or does not know conditional writes.
    """
    if into.place is None or _state(into.folder).get("tag"):
        return
    see_that_conditions_hold(into.place)
    into.folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with Archive.create(into.folder, remote=into.remote) as archive:
        archive.shelf()
        head = Head(mark_of(archive), {})
    with exclusive(into.folder / ".publish"):
        if not _state(into.folder).get("tag"):
            _replace(into.place, into.folder, head, tag="")


def see_that_conditions_hold(place: Place) -> None:
    """Refuse a service that writes whatever the condition says: two collectors could overwrite each other's books there."""
    probe = f"{_PROBE}{secrets.token_hex(4)}"  # others may ask at the same moment
    place.put(probe, b"one")
    taken = [place.put(probe, b"two", instead_of=""), place.put(probe, b"three", instead_of='"0"')]
    place.drop(probe)
    if any(tag is not None for tag in taken):
        raise SourceError(
            f"{place.address}: the service does not know conditional writes (If-None-Match, If-Match)",
            expected="a service that does, as Amazon S3 since 2024, MinIO and Ceph",
            do="update it, or collect into a folder",
        )


def _see_that_it_is_ours(place: Place, folder: Path, remote: Remote, data: bytes, tag: str) -> None:
    head, state = read_head(data, place.address), _state(folder)
    ours = ""
    if (folder / "archive.sqlite").is_file():
        with Archive.create(folder, remote=remote) as archive:
            ours = mark_of(archive)
    if not ours or ours != head.mark:
        raise ArchiveError(
            f"{place.address} was collected elsewhere: the key and the names it was made with are not on this machine",
            expected=f"{folder} and its names, or another place in the bucket",
            do=f"collect where it was collected ({HOME} names the folder that keeps the names), or into a new place",
        )
    if state.get("tag") == tag:
        return
    if state.get("publishing") == hashlib.sha256(data).hexdigest():  # killed before it was noted here
        _note_published(folder, head, tag)
        return
    raise _overtaken(place)


def publish(into: Into) -> None:
    """Publish the books as they stand now; nothing where the archive lies in a folder, or nothing changed.

    Raises
    ------
    ArchiveError
        When another collector has published since this one began.
    """
    if into.place is None or into.remote is None:
        return
    place, folder = into.place, into.folder
    with exclusive(folder / ".publish"), tempfile.TemporaryDirectory(dir=folder, prefix=".publish-") as part:
        state = _state(folder)
        before, old = state.get("books", {}), state.get("before", {})
        with Archive.create(folder, remote=into.remote) as archive:
            mark, files = mark_of(archive), snapshot(archive, Path(part))
        books = send_books(place, files, known=before.values())
        if {name: digest for name, (digest, _) in books.items()} == before:
            return
        _replace(place, folder, Head(mark, books), tag=state.get("tag", ""))
        keep = {digest for digest, _ in books.values()} | {*before.values()}  # a reader may be on its way
        for digest in {*old.values()} - keep:
            place.drop(f"books/{digest}")


def send_books(place: Place, files: Iterable[Path], *, known: Collection[str]) -> dict[str, tuple[str, int]]:
    """Write books under the SHA-256 of what they hold, but for those known to be there; return name → SHA-256 and bytes."""
    books = {}
    for file in files:
        with file.open("rb") as raw:
            digest = hashlib.file_digest(raw, "sha256").hexdigest()
            books[file.name] = (digest, file.stat().st_size)
            if digest not in known:
                place.put(f"books/{digest}", raw)
    return books


def snapshot(archive: Archive, part: Path) -> list[Path]:
    """Copy the books of an archive as they stand at one moment, the database first."""
    archive.copy_books(part / BOOKS[0])
    for name in BOOKS[1:]:
        if (archive.path / name).is_file():
            (part / name).write_bytes((archive.path / name).read_bytes())
    return [part / name for name in BOOKS if (part / name).is_file()]


def _replace(place: Place, folder: Path, head: Head, *, tag: str) -> None:
    """Write ``archive.json`` over the one that was read before, and note it here; a kill between the two is seen later."""
    data = head.written()
    _note(folder, publishing=hashlib.sha256(data).hexdigest())
    now = place.put(HEAD, data, instead_of=tag)
    if now is None:
        raise _overtaken(place)
    _note_published(folder, head, now)


def _note_published(folder: Path, head: Head, tag: str) -> None:
    """Note what stands now, and what stood before: the next publication takes that away."""
    books = {name: digest for name, (digest, _) in head.books.items()}
    _note(folder, tag=tag, books=books, before=_state(folder).get("books", {}))


def _overtaken(place: Place) -> ArchiveError:
    return ArchiveError(
        f"another collector has published {place.address} since: its books were not written over",
        expected="one collector of a place at a time, always with the same names",
        do="collect there where it was collected last, or into a new place; what is stored here stays",
    )


def _state(folder: Path) -> dict[str, Any]:
    """Return what was published last, and over what."""
    try:
        return json.loads((folder / _STATE).read_bytes())
    except FileNotFoundError:
        return {}


def _note(folder: Path, **said: Any) -> None:
    write_atomically(folder / _STATE, (json.dumps({**_state(folder), **said}, sort_keys=True) + "\n").encode())
