"""The journal of reads that an archive keeps, also where the archive lies in a bucket: one object, written over only as it was read."""

from __future__ import annotations

import json
import random
import time
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
_PAUSE_S, _LONGEST_S = 0.1, 2.0  # doubled with every try; half a minute in all


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
        for tried in range(_TRIES):
            if tried:
                _pause(tried)
            tag = _take(journal, place.get(OBJECT), address)
            journal.append(kind, record, now=now)
            journal.verify()
            if place.put(OBJECT, packed(journal), instead_of=tag) is not None:
                return
    raise SourceError(f"{place.address}: others write its reads all the time", expected="a moment", do="try again")


def _pause(tried: int) -> None:
    """Wait before another try, each time longer, and not as long as whoever else waits."""
    time.sleep(random.uniform(0.5, 1.0) * min(_PAUSE_S * 2 ** (tried - 1), _LONGEST_S))


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
