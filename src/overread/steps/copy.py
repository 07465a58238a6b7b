"""An archive is copied to a bucket, or from there into a folder: the same objects and books, and no names."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from overread.domain.canonical import plain
from overread.errors import ArchiveError
from overread.steps.collected import counted_of
from overread.steps.far import is_far
from overread.steps.opened import HEAD, Head, mark_of, open_archive, place_of
from overread.steps.progress import bar
from overread.steps.published import see_that_conditions_hold, send_books, snapshot
from overread.steps.reads import beside
from overread.steps.shared_reads import OBJECT, packed, parts_of
from overread.store.archive import Archive
from overread.store.far_objects import FarObjects, several
from overread.store.objects import Here, ImageRecord, Objects, damaged, read_object, write_atomically, write_object

if TYPE_CHECKING:
    from overread.sources.s3_place import Place


@dataclass(frozen=True)
class Copied:
    """An archive that was copied.

    Parameters
    ----------
    images, studies : int
        In the copy.
    into : str
    """

    images: int
    studies: int
    into: str

    def to_json(self) -> dict[str, Any]:
        """Return the account as plain JSON values."""
        return plain(self.__dict__)

    def __str__(self) -> str:
        return (
            f"{counted_of(self.images, 'image')} of {self.studies:,} studies, each checked by its hash, are in {self.into}\n"
            "no names were copied: it can be read, and not collected into"
        )


def copy(archive: Any, *, into: str | os.PathLike, progress: bool = True) -> Copied:
    """Copy an archive, each image checked by its hash on the way; names stay where they are.

    What is cut short goes on with the same command: the books come last, so half a copy is no archive.

    Parameters
    ----------
    archive : path, ``s3://BUCKET/FOLDER``, or what ``collect`` returned
    into : path or ``s3://BUCKET/FOLDER``
        A place in which nothing lies, or a copy that was cut short.
    progress : bool

    Raises
    ------
    ArchiveError
        When there is no archive, or something else where it should go.
    IntegrityError
        When an image is not what was stored.
    SourceError
        When the bucket cannot be read or written.
    """
    with open_archive(archive) as store:
        if is_far(into):
            place = place_of(os.fspath(into))
            _refuse_others({name.partition("/")[0] for name in place.names()}, {"objects", "books"})
            see_that_conditions_hold(place)
            goal: Objects = FarObjects(place)
            end = partial(_publish, store, place)
        else:
            folder = Path(into)
            folder.mkdir(parents=True, exist_ok=True)
            _refuse_others({file.name for file in folder.iterdir() if not file.name.startswith(".copy-")}, {"objects"})
            goal, end = Here(folder / "objects"), partial(_lay_down, store, folder)
        images, studies = store.count()
        with bar(total=images, what="copying", unit="images", show=progress) as line:
            _all(partial(_one, store.objects, goal), store.every_image(), line.update)
        end()
    return Copied(images, studies, str(into))


def _refuse_others(there: set[str], ours: set[str]) -> None:
    if there - ours:
        raise ArchiveError(
            "a place that holds other things, or an archive",
            expected="nothing there yet, or a copy that was cut short",
            do="choose another place",
        )


def _all(do: Callable[[ImageRecord], None], records: Iterable[ImageRecord], tick: Callable[[], object]) -> None:
    for _ in several(do, list(records)):
        tick()


def _one(source: Objects, goal: Objects, record: ImageRecord) -> None:
    """Copy one image; what is written is hashed anew."""
    if write_object(goal, read_object(source, record)).hash != record.hash:
        raise damaged(f"the bytes of image {record.hash[:12]} do not match their hash")


def _publish(store: Archive, place: Place) -> None:
    with tempfile.TemporaryDirectory() as part:
        books = send_books(place, snapshot(store, Path(part)), known=())
    reads = beside(store.path)
    if reads.begun:
        place.put(OBJECT, packed(reads))
    if place.put(HEAD, Head(mark_of(store), books).written(), instead_of="") is None:
        raise ArchiveError(f"an archive came to {place.address} meanwhile", do="choose another place")


def _lay_down(store: Archive, folder: Path) -> None:
    reads = beside(store.path)
    for file in parts_of(reads) if reads.begun else ():
        write_atomically(folder / file.name, file.read_bytes())
    with tempfile.TemporaryDirectory(dir=folder, prefix=".copy-") as part:
        for file in reversed(snapshot(store, Path(part))):
            file.replace(folder / file.name)
