"""What happened, in order, in a file that shows when somebody has touched it.

One record a line (JSON Lines). Each record carries the hash of the one before it, so a changed, removed or
inserted line breaks the chain at a place that can be named. The number of records and the last hash are also kept
in a small file beside the journal (``….head``): without it, cutting off the newest lines would leave a perfect
chain. Whoever can rewrite *both* files can still rewrite history; to guard against that, keep the last hash
(printed by ``overread verify``) somewhere else, on paper if need be.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from overread.domain import canonical_json, fingerprint
from overread.errors import IntegrityError
from overread.store.objects import write_atomically

GENESIS = "0" * 64
"""What the first record gives as the hash of the record before it."""

FIELDS = {"n", "time", "kind", "record", "previous", "hash"}


class Journal:
    """An append-only record of what was done, each entry chained to the last by SHA-256.

    Parameters
    ----------
    path : Path
        The journal's file; made with the first record. ``path.head`` and ``path.lock`` lie beside it.

    Examples
    --------
    >>> import tempfile; from datetime import datetime, timezone
    >>> folder = tempfile.TemporaryDirectory()
    >>> journal = Journal(Path(folder.name) / "journal.jsonl")
    >>> now = datetime(2026, 1, 5, 9, 30, tzinfo=timezone.utc)
    >>> _ = journal.append("opened", {"study": "S0123456789ab"}, now=now)
    >>> journal.verify()
    1
    >>> folder.cleanup()
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._head = self.path.with_name(self.path.name + ".head")
        self._lock = self.path.with_name(self.path.name + ".lock")

    def append(self, kind: str, record: Mapping[str, Any], *, now: datetime) -> str:
        """Write one record at the end, on the disk before this returns, and give its hash.

        Parameters
        ----------
        kind : str
            What happened, in one word ("impression", "signed").
        record : mapping
            The facts: pseudonyms, fingerprints, the reader. Never a patient's identity.
        now : datetime
            With its offset from UTC.

        Returns
        -------
        str
            SHA-256 of the record.

        Raises
        ------
        IntegrityError
            If the journal no longer fits its head: nothing is appended to a journal that was touched.
        """
        if now.tzinfo is None:
            raise ValueError("a journal's time needs its offset from UTC")
        with self._locked():
            n, last = self._settle(now)
            return self._write(n + 1, kind, record, last, now)

    def recover(self, *, now: datetime) -> bool:
        """Mend what a crash in the middle of a write has left; True when there was something to mend.

        A half-written last line is moved to ``path.torn-N`` and a record of kind "torn" says so: it is named,
        kept and never silently dropped.

        Raises
        ------
        IntegrityError
            If the journal no longer fits its head.
        """
        with self._locked():
            before = self._read_head()
            if before is None and not self.path.exists():
                return False
            self._settle(now)
            return self._read_head() != before

    def verify(self) -> int:
        """Follow the whole chain and give the number of records.

        Raises
        ------
        IntegrityError
            Naming the first record that is broken, missing, or out of place.
        """
        writable = os.access(self._lock if self._lock.exists() else self.path.parent, os.W_OK)
        lock = (
            self._locked() if writable else contextlib.nullcontext()
        )  # what nobody here can write is followed as it is
        with lock:
            head = self._read_head()
            n, last = 0, GENESIS
            for counted in self._chain():
                n, last = counted
            self._compare(head, n, last)
            return n

    def records(self) -> Iterator[dict[str, Any]]:
        """Every record in order, unchecked (``verify`` checks); a torn last line is left out."""
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            for line in file:
                if line.endswith(b"\n"):
                    yield json.loads(line)

    @property
    def begun(self) -> bool:
        """Whether anything of a journal is there: its records, or the head that counts them."""
        return self.path.exists() or self._head.exists()

    @property
    def head(self) -> tuple[int, str]:
        """Number of records and hash of the last one, as the file beside the journal says."""
        head = self._read_head()
        return (0, GENESIS) if head is None else (head["n"], head["hash"])

    # --- the chain -------------------------------------------------------------------------------------------

    def _chain(self) -> Iterator[tuple[int, str]]:
        """(number, hash) of each record, checked on the way."""
        if not self.path.exists():
            return
        previous, n = GENESIS, 0
        with self.path.open("rb") as file:
            for line in file:
                n += 1
                previous = _checked(line, n, previous)
                yield n, previous

    def _compare(self, head: dict | None, n: int, last: str) -> None:
        if head is None:
            if n or self.path.exists():
                raise _broken("the journal's head is missing", f"the file beside it that counts {n} records")
            return
        if n < head["n"]:
            raise _broken(f"record {n + 1} is missing: the journal ends after {n}", f"{head['n']} records")
        if (n, last) != (head["n"], head["hash"]):
            raise _broken(f"record {head['n']} is not the one the head names", "the hash written with it")

    # --- writing ---------------------------------------------------------------------------------------------

    def _write(self, n: int, kind: str, record: Mapping[str, Any], previous: str, now: datetime) -> str:
        if n == 1 and not self._head.exists():
            self._write_head(0, GENESIS, 0)  # the head is there before the first record, so its absence is a finding
        entry = {"n": n, "time": now.isoformat(), "kind": kind, "record": record, "previous": previous}
        entry["hash"] = fingerprint(entry)
        with self.path.open("ab") as file:
            file.write(canonical_json(entry).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
        self._write_head(n, entry["hash"], size)
        return entry["hash"]

    def _settle(self, now: datetime) -> tuple[int, str]:
        """(number, hash) of the last record, after taking in what a crash may have left behind the head."""
        head = self._read_head()
        if head is None:
            self._compare(None, 0, GENESIS)
            return 0, GENESIS
        size = self.path.stat().st_size if self.path.exists() else 0
        if size < head["bytes"]:
            raise _broken(f"the journal is shorter than its head says ({size} bytes)", f"{head['bytes']} bytes")
        if size > 0:
            self._check_last(head)
        if size == head["bytes"]:
            return head["n"], head["hash"]
        return self._take_in(head, now)

    def _check_last(self, head: dict) -> None:
        """The record before the head's end is the one the head names (the whole chain is ``verify``'s work)."""
        if head["n"] == 0:
            return
        with self.path.open("rb") as file:
            start = max(0, head["bytes"] - 65536)
            file.seek(start)
            block = file.read(head["bytes"] - start)
            while start > 0 and b"\n" not in block[:-1]:
                start = max(0, start - 65536)
                file.seek(start)
                block = file.read(head["bytes"] - start)
        line = block[:-1].rsplit(b"\n", 1)[-1] + block[-1:]
        try:
            named = json.loads(line)["hash"] == head["hash"]
        except (ValueError, KeyError, TypeError):
            named = False
        if not named:
            raise _broken(f"record {head['n']} is not the one the head names", "the hash written with it")

    def _take_in(self, head: dict, now: datetime) -> tuple[int, str]:
        """Bytes behind the head: whole records that chain on are kept, a torn last line is put aside and named."""
        n, last, end = head["n"], head["hash"], head["bytes"]
        with self.path.open("rb") as file:
            file.seek(end)
            tail = file.read()
        for line in tail.splitlines(keepends=True):
            if not line.endswith(b"\n"):
                break
            last = _checked(line, n + 1, last)
            n, end = n + 1, end + len(line)
        self._write_head(n, last, end)
        torn = tail[end - head["bytes"] :]
        if not torn:
            return n, last
        aside = self.path.with_name(f"{self.path.name}.torn-{n + 1}")
        write_atomically(aside, torn)
        with self.path.open("r+b") as file:
            file.truncate(end)
            os.fsync(file.fileno())
        facts = {"bytes": len(torn), "sha256": hashlib.sha256(torn).hexdigest(), "kept_as": aside.name}
        return n + 1, self._write(n + 1, "torn", facts, last, now)

    def _read_head(self) -> dict | None:
        try:
            head = json.loads(self._head.read_bytes())
            return {"n": int(head["n"]), "hash": str(head["hash"]), "bytes": int(head["bytes"])}
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise _broken("the journal's head cannot be read", "a count, a hash and a size") from error

    def _write_head(self, n: int, last: str, size: int) -> None:
        write_atomically(self._head, canonical_json({"n": n, "hash": last, "bytes": size}).encode())

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        if not self.path.parent.is_dir():
            raise _broken("there is no folder for the journal", "an existing folder")
        with exclusive(self._lock):
            yield


def _checked(line: bytes, n: int, previous: str) -> str:
    """The hash of record ``n``, or a refusal that says what is wrong with it."""
    if not line.endswith(b"\n"):
        raise _broken(
            f"record {n} is torn: its line is not finished",
            "a whole line",
            do="start overread serve once (of a run: overread evaluate): it keeps the torn piece aside",
        )
    try:
        entry = json.loads(line)
    except ValueError as error:
        raise _broken(f"record {n} is not a record", "one line of JSON") from error
    if not isinstance(entry, dict) or set(entry) != FIELDS:
        raise _broken(f"record {n} has other fields", ", ".join(sorted(FIELDS)))
    if entry["n"] != n:
        raise _broken(f"record {n} calls itself {entry['n']!r}", f"number {n}")
    if entry["previous"] != previous:
        raise _broken(f"record {n} does not follow the record before it", "the hash of that record")
    content = {k: v for k, v in entry.items() if k != "hash"}
    if fingerprint(content) != entry["hash"] or canonical_json(entry).encode() + b"\n" != line:
        raise _broken(f"record {n} does not match its hash", "the content it was written with")
    return entry["hash"]


def _broken(
    came: str, expected: str, *, do: str = "put the journal back from a copy, and find out who touched it"
) -> IntegrityError:
    return IntegrityError(came, expected=expected, do=do)


@contextlib.contextmanager
def exclusive(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold a lock on a file while the block runs, against other processes and other threads.

    Raises
    ------
    BlockingIOError
        If ``wait`` is False and somebody else holds it.
    """
    with path.open("a+b") as file:
        if os.name == "nt":
            import msvcrt
            import time

            while True:
                file.seek(0)
                try:
                    msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
                    break
                except OSError as error:
                    if not wait:
                        raise BlockingIOError("the file is locked") from error
                    time.sleep(0.05)
            try:
                yield
            finally:
                file.seek(0)
                msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            try:
                yield
            finally:
                fcntl.flock(file, fcntl.LOCK_UN)
