"""Check that the record of what was done is whole: the journal's chain, and the documents it names."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from overread.domain.canonical import plain
from overread.errors import IntegrityError, NothingToDo
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


def verify(path: Path | str) -> Verified:
    """Follow a journal's chain, and compare every document it names with the hash it names.

    Parameters
    ----------
    path : Path or str
        A journal, or an inbox that has one.

    Raises
    ------
    NothingToDo
        If there is no journal.
    IntegrityError
        Naming the first record that is broken, or the record whose document is missing or changed.
    """
    path = Path(path)
    file = next((f for f in (path, *(path / place for place in PLACES)) if f.is_file()), None)
    if file is None:
        raise NothingToDo("no journal there", expected="a journal, or an inbox with one", do="check the path")
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


def _check(document: Path, digest: str, n: int) -> None:
    """Compare one document with its hash."""
    do = "put it back from a copy, and find out who touched it"
    if not document.is_file():
        raise IntegrityError(f"the document of record {n} is missing", expected="the file it names", do=do)
    if hashlib.sha256(document.read_bytes()).hexdigest() != digest:
        raise IntegrityError(f"the document of record {n} was changed", expected="the hash it names", do=do)
