"""One SQLite file: connect, bring it to the present version, change it all at once or not at all."""

from __future__ import annotations

import errno
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from overread.errors import ArchiveError, IntegrityError

BUSY_TIMEOUT_S = 30.0
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def connect(
    path: Path, *, application_id: int, migrations: Sequence[str], create: bool = False, only_read: bool = False
) -> sqlite3.Connection:
    """Open one of our SQLite files, and bring an older one to the present version.

    Parameters
    ----------
    path : Path
        The file.
    application_id : int
        Written in the file's header (SQLite's ``application_id``), so that a stranger's file is not taken for ours.
    migrations : sequence of str
        SQL scripts; the n-th brings version n to version n + 1. Their number is the present version.
    create : bool
        Make the file where it is missing or empty.
    only_read : bool
        Nobody writes this file: it is opened as it is, and stays so.

    Returns
    -------
    sqlite3.Connection
        In autocommit mode (use :func:`transact`), write-ahead log, waiting up to 30 s for another writer.

    Raises
    ------
    ArchiveError
        When the file is missing, not ours, damaged, or written by a newer overread.
    """
    if not create and not path.is_file():
        raise ArchiveError(
            f"no {path.name} here", expected="an archive made by overread collect", do="check the folder's name"
        )
    with disk_full_told(), _damage_told(path.name):
        only_read = not create and (only_read or _may_only_be_read(path))
        place = f"{Path(os.path.abspath(path)).as_uri()}?immutable=1" if only_read else path
        db = sqlite3.connect(
            place, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False, uri=only_read
        )
        try:
            _prepare(
                db,
                name=path.name,
                application_id=application_id,
                migrations=migrations,
                create=create,
                only_read=only_read,
            )
        except BaseException:
            db.close()
            raise
    return db


def _prepare(
    db: sqlite3.Connection,
    *,
    name: str,
    application_id: int,
    migrations: Sequence[str],
    create: bool,
    only_read: bool,
) -> None:
    """Check whose file it is and migrate it; safe when two processes do so at once."""
    db.execute("PRAGMA synchronous = FULL")  # a commit that was reported is on the disk
    db.execute("PRAGMA foreign_keys = ON")
    ours, version = _pragma(db, "application_id"), _pragma(db, "user_version")
    if version > len(migrations) and ours == application_id:
        raise ArchiveError(
            f"{name} is of version {version}", expected=f"at most {len(migrations)}", do="update overread to open it"
        )
    empty = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
    if ours != application_id and not (create and empty):
        raise ArchiveError(
            f"{name} is not one of overread's files",
            expected="an archive made by overread collect",
            do="choose another",
        )
    if not only_read:  # there is no log to turn on
        _use_write_ahead_log(db)
    if version < len(migrations):
        with transact(db):
            for script in migrations[_pragma(db, "user_version") :]:  # another process may have been faster
                for statement in script.split(";"):
                    db.execute(statement)
            db.execute(f"PRAGMA user_version = {len(migrations)}")
            db.execute(f"PRAGMA application_id = {application_id}")


def _may_only_be_read(path: Path) -> bool:
    """True for a file on a disk that is only read (a DVD, a share), which SQLite opens if it is told that nobody writes.

    Not where a log lies beside it that was not taken in yet: somebody is writing, or was cut off, and the file alone says
    less than was stored.
    """
    log = path.with_name(f"{path.name}-wal")
    return not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)) and not (
        log.is_file() and log.stat().st_size
    )


def _use_write_ahead_log(db: sqlite3.Connection) -> None:
    """Turn the write-ahead log on; SQLite does not wait for other processes here, so we do."""
    give_up = time.monotonic() + BUSY_TIMEOUT_S
    while _pragma(db, "journal_mode") != "wal":
        try:
            db.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > give_up:
                raise
            time.sleep(0.02)


def _pragma(db: sqlite3.Connection, name: str):
    return db.execute(f"PRAGMA {name}").fetchone()[0]


@contextmanager
def transact(db: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Do several statements as one: all of them are kept, or none.

    Examples
    --------
    >>> db = sqlite3.connect(":memory:", isolation_level=None)
    >>> _ = db.execute("CREATE TABLE t (x)")
    >>> with transact(db):
    ...     _ = db.execute("INSERT INTO t VALUES (1)")
    >>> db.execute("SELECT x FROM t").fetchall()
    [(1,)]
    """
    with disk_full_told(), damage_found("the archive's database"):
        db.execute("BEGIN IMMEDIATE")
        try:
            yield db
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:  # a full disk may have rolled back already
                db.execute("ROLLBACK")
            raise


@contextmanager
def disk_full_told() -> Iterator[None]:
    """Turn the several ways a full disk shows itself into one clear line; what is stored already stays."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise disk_full() from error
    except sqlite3.OperationalError as error:
        if error.sqlite_errorname not in ("SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_SHMSIZE"):
            raise
        raise disk_full() from error


def disk_full() -> ArchiveError:
    """Return the refusal for a full disk."""
    return ArchiveError(
        "the disk of the archive is full",
        expected="room for what is being stored",
        do="free some space and run the same command again: what is stored already is safe",
    )


@contextmanager
def damage_found(name: str) -> Iterator[None]:
    """Say of a database whose pages no longer fit together that it is damaged; a busy or full one is something else.

    Raises
    ------
    IntegrityError
    """
    try:
        yield
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # the schema's own words may be no text
        told = getattr(error, "sqlite_errorname", "")  # empty where text is no UTF-8
        if told and not told.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_ERROR", "SQLITE_IOERR_SHORT_READ")):
            raise
        raise IntegrityError(
            f"{name} does not pass its own check",
            expected="what was stored",
            do="restore the archive from a copy, or collect again",
        ) from error


@contextmanager
def _damage_told(name: str) -> Iterator[None]:
    """Say plainly that a file is no database, or cannot be opened."""
    try:
        yield
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        told = getattr(error, "sqlite_errorname", "")
        if told.startswith(
            ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_SHMSIZE")
        ):
            raise
        raise ArchiveError(
            f"{name} cannot be opened as a database ({told or 'its words are no text'})",
            expected="an archive made by overread collect",
            do="check the folder's permissions, or restore it from a copy",
        ) from error
