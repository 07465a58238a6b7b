"""Check that what was kept is whole: a journal's chain and the documents it names, or every byte of an archive."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from overread.domain.canonical import plain
from overread.errors import IntegrityError, NothingToDo
from overread.steps.progress import bar
from overread.store.archive import Archive
from overread.store.journal import Journal

PLACES = ("journal.jsonl", ".overread/journal.jsonl")


@dataclass(frozen=True)
class Verified:
    """A journal that was followed from its first record to its last.

    Parameters
    ----------
    records : int
    documents : int
        Files named by the journal with their hash, all of them found unchanged.
    head : str
        Hash of the last record. Whoever keeps it elsewhere can later prove that nothing before it was changed.
    kinds : dict of str to int
        How often each kind of record occurs.
    """

    records: int
    documents: int
    head: str
    kinds: dict[str, int]

    def to_json(self) -> dict[str, Any]:
        """Return the account as plain JSON values."""
        return plain(self.__dict__)

    def __str__(self) -> str:
        counted = ", ".join(f"{n} {kind}" for kind, n in sorted(self.kinds.items())) or "no records"
        return (
            f"{self.records} records whole and in order ({counted}); {self.documents} signed documents unchanged\n"
            f"last record {self.head}"
        )


@dataclass(frozen=True)
class VerifiedArchive:
    """An archive every byte of which is what was stored.

    Parameters
    ----------
    images : int
    studies : int
        All of whose images are there.
    """

    images: int
    studies: int

    def to_json(self) -> dict[str, Any]:
        """Return the account as plain JSON values."""
        return plain(self.__dict__)

    def __str__(self) -> str:
        return (
            f"{self.images:,} images unchanged, every byte by its hash; {self.studies:,} studies with all their images"
        )


def verify(path: Path | str, *, progress: bool = True) -> Verified | VerifiedArchive:
    """Follow a journal's chain, and compare every document it names with its hash; or check every byte of an archive.

    Parameters
    ----------
    path : Path or str
        A journal, an inbox that has one, or an archive.
    progress : bool
        Draw a bar on stderr while a large archive is read.

    Raises
    ------
    NothingToDo
        If there is neither a journal nor an archive.
    IntegrityError
        Naming the first record that is broken, or the record whose document is missing or changed; or the image.
    ArchiveError
        If the archive was made by a newer overread.
    """
    path = Path(path)
    if (path / "archive.sqlite").is_file():
        return _archive(path, show=progress)
    file = next((f for f in (path, *(path / place for place in PLACES)) if f.is_file()), None)
    if file is None:
        raise NothingToDo(
            "no journal and no archive there",
            expected="a journal, an inbox with one, or an archive",
            do="check the path",
        )
    journal = Journal(file)
    records = journal.verify()
    kinds: dict[str, int] = {}
    documents = 0
    for record in journal.records():
        kinds[record["kind"]] = kinds.get(record["kind"], 0) + 1
        for name, digest in record["record"].get("files", {}).items():
            _check(file.parent / name, digest, record["n"])
            documents += 1
    return Verified(records, documents, journal.head[1], kinds)


def _archive(path: Path, *, show: bool) -> VerifiedArchive:
    with Archive.open(path) as archive:
        images, studies = archive.count()
        with bar(total=images, what="checking every byte", unit="images", show=show) as checked:
            return VerifiedArchive(archive.verify(tick=checked.update), studies)


def _check(document: Path, digest: str, n: int) -> None:
    """Compare one document with its hash."""
    do = "put it back from a copy, and find out who touched it"
    if not document.is_file():
        raise IntegrityError(f"the document of record {n} is missing", expected="the file it names", do=do)
    if hashlib.sha256(document.read_bytes()).hexdigest() != digest:
        raise IntegrityError(f"the document of record {n} was changed", expected="the hash it names", do=do)
