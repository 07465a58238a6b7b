"""One number over all studies of an archive: who edits a row behind overread's back is found by ``overread verify ARCHIVE``.

The sum of a hash of each row does not depend on their order, so what changes is added and taken away, and a million studies
need not be read again. It has no key: who knows how it is made can make it anew. So ``verify`` prints it, for a person to
keep elsewhere.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Sequence

COLUMNS = "first_image, pseudonym, images, patient, labels, strata, splits"
_SIZE = 1 << 256
_AT_ONCE = 500


def total(rows: Iterable[Sequence[str | None]]) -> int:
    """Return the sum of the hashes of some studies' rows.

    Examples
    --------
    >>> a, b = ("h", "S1", "[]", None, "{}", "{}", "{}"), ("h", "S2", "[]", "P", "{}", "{}", "{}")
    >>> total([a, b]) == total([b, a]) == (total([a]) + total([b])) % (1 << 256), total([a]) == total([b])
    (True, False)
    """
    hashes = (hashlib.sha256(json.dumps(list(row)).encode()).digest() for row in rows)
    return sum(int.from_bytes(one) for one in hashes) % _SIZE


def of(db: sqlite3.Connection, names: Sequence[str]) -> int:
    """Return the sum over the studies of some pseudonyms, as they stand now."""
    found = 0
    for start in range(0, len(names), _AT_ONCE):
        some = sorted(set(names[start : start + _AT_ONCE]))
        marks = ",".join("?" * len(some))
        found += total(db.execute(f"SELECT {COLUMNS} FROM studies WHERE pseudonym IN ({marks})", some))
    return found % _SIZE


def kept(db: sqlite3.Connection) -> int | None:
    """Return the sum that was written; None for an archive that an older overread wrote."""
    if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'seal'").fetchone():
        return None
    row = db.execute("SELECT sum FROM seal").fetchone()
    return int(row[0], 16) if row else -1


def found(db: sqlite3.Connection) -> int:
    """Return the sum over all studies as they stand now."""
    return total(db.execute(f"SELECT {COLUMNS} FROM studies"))


def move(db: sqlite3.Connection, *, gone: int, new: int) -> None:
    """Write the sum after a change, in the transaction that makes it; an archive without one is sealed as it stands now."""
    before = kept(db)
    if before is None:
        db.execute("CREATE TABLE seal (sum TEXT NOT NULL)")
    after = found(db) if before is None else (before - gone + new) % _SIZE
    db.execute("DELETE FROM seal")
    db.execute("INSERT INTO seal VALUES (?)", (f"{after:064x}",))
