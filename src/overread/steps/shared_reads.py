"""The journal of reads that an archive keeps, also where the archive lies in a bucket: one object, written over only as it was read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from overread.errors import IntegrityError, SourceError
from overread.steps.opened import address_of, place_of
from overread.store.journal import Journal, exclusive
from overread.store.objects import write_atomically

OBJECT = "testing-reads.json"
"""In the bucket: the journal and its head together, so that they are always of one moment."""

_TRIES = 20


def add(journal: Journal, kind: str, record: Mapping[str, Any], *, now: datetime) -> None:
    """Write a record at the end of an archive's journal, where all find it, and follow the chain.

    Raises
    ------
    IntegrityError
        If the journal was touched.
    SourceError
        If the bucket cannot be written.
    """
    address = address_of(journal.path.parent)
    if address is None:
        journal.append(kind, record, now=now)
        journal.verify()
        return
    place = place_of(address)
    with exclusive(journal.path.with_name(".reads")):
        for _ in range(_TRIES):
            tag = _take(journal, place.get(OBJECT), address)
            journal.append(kind, record, now=now)
            journal.verify()
            if place.put(OBJECT, packed(journal), instead_of=tag) is not None:
                return
    raise SourceError(f"{place.address}: others write its reads all the time", expected="a moment", do="try again")


def fetched(journal: Journal) -> Journal:
    """Return an archive's journal as it stands now; that of a folder is there."""
    address = address_of(journal.path.parent)
    if address is not None:
        with exclusive(journal.path.with_name(".reads")):
            _take(journal, place_of(address).get(OBJECT), address)
    return journal


def parts_of(journal: Journal) -> tuple[Path, Path]:
    """Return the two files of a journal: its records, and the head that counts them."""
    return journal.path, journal.path.with_name(f"{journal.path.name}.head")


def packed(journal: Journal) -> bytes:
    """Return a journal as it lies in a bucket."""
    return json.dumps({file.name: file.read_text(encoding="utf-8") for file in parts_of(journal)}).encode()


def _take(journal: Journal, got: tuple[bytes, str] | None, address: str) -> str:
    """Put the journal of the bucket in the place of ours, and return its ETag; "" where there is none yet."""
    parts = parts_of(journal)
    if got is None:
        for file in parts:
            file.unlink(missing_ok=True)
        return ""
    try:
        said = json.loads(got[0])
        texts = [said[file.name].encode() for file in parts]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise IntegrityError(
            f"{OBJECT} of {address} is damaged", expected="the journal as it was written", do="restore it from a copy"
        ) from None
    for file, text in zip(parts, texts, strict=True):
        write_atomically(file, text)
    return got[1]
