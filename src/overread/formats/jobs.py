"""What one worker reads at a time, and the list of it all: kept on disk, for a hospital's archive has millions of files."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, replace

from overread.formats.arrays import Chunk
from overread.formats.found import Refused

TOGETHER = 128
"""Members of one archive that are read together: each job opens the archive once."""
TOGETHER_BYTES = 64 << 20
_AT_ONCE = 1000  # rows that are written, or read, in one go


@dataclass(frozen=True)
class Part:
    """One file, or one member of an archive.

    Parameters
    ----------
    name : str
        As the user named it: "folder/a.png", "a.zip!x/y.png".
    path : str
        The file on disk.
    member : str
        Its name inside the archive; "" for a plain file.
    span : (int, int) or None
        Of a member of a tar archive: where its bytes begin once unpacked, and how many there are.
    stamp : (int, str) or None
        Of a file that lies elsewhere: its size and version, as it was listed.
    """

    name: str
    path: str
    member: str = ""
    span: tuple[int, int] | None = None
    stamp: tuple[int, str] | None = None


@dataclass(frozen=True)
class Job:
    """What one worker reads at a time: a picture, a series, some members of an archive, a chunk of an array.

    It can be pickled.

    Parameters
    ----------
    kind : {"files", "dicom", "array", "refused", "ignored"}
    parts : tuple of Part
        The files it accounts for.
    chunk : Chunk or None
        For "array".
    refusal : Refused or None
        For "refused": what the walk alone could tell.
    lost : int
        For "dicom": files of the same folders that could not be read, and do not say which series they are of.
    missing : tuple of str
        For "dicom": images (SOP Instance UIDs) of this series that a disc's directory names and that are not on the disc.
    divided : int
        For "dicom": how many other patients or studies have files of the same Series Instance UID.
    """

    kind: str
    parts: tuple[Part, ...] = ()
    chunk: Chunk | None = None
    refusal: Refused | None = None
    lost: int = 0
    missing: tuple[str, ...] = ()
    divided: int = 0


class Jobs:
    """Every job of some sources, in order; iterate over it as often as you like, ``len`` tells how many there are.

    The list lies in a nameless SQLite file that the system deletes when this object is let go, so a million files take no
    more memory than a thousand. A DICOM series stands where its first file stands.

    Examples
    --------
    >>> jobs = Jobs()
    >>> jobs.add("files", Part("a.png", "a.png"))
    >>> for name in ("b.dcm", "c.dcm"):
    ...     jobs.add_to_series(("P", "S", "1.2"), Part(name, name))
    >>> len(jobs), [len(job.parts) for job in jobs]
    (2, [1, 2])
    """

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._db.executescript(
            """
            PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA locking_mode = EXCLUSIVE;
            CREATE TABLE parts (job INTEGER, n INTEGER, kind TEXT, name BLOB, path BLOB, member BLOB, more TEXT,
                PRIMARY KEY (job, n)) WITHOUT ROWID;
            CREATE TABLE series (key BLOB PRIMARY KEY, job INTEGER, uid BLOB) WITHOUT ROWID;
            CREATE INDEX series_by_uid ON series (uid);
            CREATE TABLE lost (folder BLOB PRIMARY KEY, files INTEGER) WITHOUT ROWID;
            CREATE TABLE members (archive BLOB, name BLOB, PRIMARY KEY (archive, name)) WITHOUT ROWID;
            CREATE TABLE missing (series BLOB, instance BLOB, PRIMARY KEY (series, instance)) WITHOUT ROWID;
            BEGIN;
            """
        )
        self._rows: list[tuple] = []
        self._divided: dict[int, int] = {}  # jobs whose series UID stands under another patient or study, too
        self._count = self.parts = self.ignored = self._lost = self._missing = 0
        self._together = ("", 0, 0, 0)  # archive, members, bytes and number of the last job of pictures

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Job]:
        self._write()
        gathered: list[tuple] = []
        for row in self._stored():
            if gathered and (row[0] != gathered[0][0] or (row[2] == "ignored" and len(gathered) == _AT_ONCE)):
                yield self._doubted(_job(gathered), gathered[0][0])
                gathered = []
            gathered.append(row)
        if gathered:
            yield self._doubted(_job(gathered), gathered[0][0])

    def close(self) -> None:
        """Delete the list."""
        self._db.close()

    def __del__(self) -> None:
        self._db.close()

    # -- adding -------------------------------------------------------------------------------------------------

    def add(self, kind: str, part: Part, *, chunk: Chunk | None = None) -> None:
        """Add a job of one part; members of one archive that follow each other are read together."""
        archive, members, size, job = self._together
        if kind == "files" and part.member and archive == part.path and members < TOGETHER and size < TOGETHER_BYTES:
            self._together = (archive, members + 1, size + _size(part), job)
            self._put(job, kind, part)
            return
        self._count += 1
        if kind == "files" and part.member:
            self._together = (part.path, 1, _size(part), self._count)
        self._put(self._count, kind, part, [chunk.split, chunk.start, chunk.stop] if chunk else None)

    def add_to_series(self, key: tuple[str, ...], part: Part) -> None:
        """Add a part to the job of its DICOM series, which stands where its first part was added."""
        told = _blob("\0".join(key))
        row = self._db.execute("SELECT job FROM series WHERE key = ?", (told,)).fetchone()
        if row is None:
            self._count += 1
            uid = _blob(key[-1])
            others = self._db.execute("SELECT job FROM series WHERE uid = ?", (uid,)).fetchall()
            self._divided.update((job, len(others)) for (job,) in (*others, (self._count,)) if others)
            self._db.execute("INSERT INTO series VALUES (?, ?, ?)", (told, self._count, uid))
        self._put(self._count if row is None else row[0], "dicom", part)

    def refuse(self, part: Part, code: str, reason: str) -> None:
        """Add a file of which the walk alone can tell that it is not read."""
        self._count += 1
        self._put(self._count, "refused", part, [part.name, code, reason])

    def is_second(self, part: Part) -> bool:
        """True for a member of an archive that has the name of one before it; it is remembered where it is the first."""
        row = (_blob(part.path), _blob(part.member))
        return self._db.execute("INSERT OR IGNORE INTO members VALUES (?, ?)", row).rowcount == 0

    def members(self, archive: str) -> list[str]:
        """Return the names of an archive's members that were asked about with :meth:`is_second`."""
        return [_text(n) for (n,) in self._db.execute("SELECT name FROM members WHERE archive = ?", (_blob(archive),))]

    def lose(self, part: Part, *, rest: bool = False) -> None:
        """Remember a file that may be of any DICOM series of its folder, and cannot be read; or the rest of an archive."""
        self._lost += 1
        self._db.execute(
            "INSERT INTO lost VALUES (?, 1) ON CONFLICT (folder) DO UPDATE SET files = files + 1",
            (_blob(part.path) if rest else _folder(part),),
        )

    def miss(self, series: str, instance: str) -> None:
        """Remember an image of a series (by their UIDs) that a disc's directory names and that is not on the disc."""
        if not self._missing:
            self._db.execute("CREATE INDEX series_by_job ON series (job)")
        self._missing += 1
        self._db.execute("INSERT OR IGNORE INTO missing VALUES (?, ?)", (_blob(series), _blob(instance)))

    def _doubted(self, job: Job, number: int) -> Job:
        """Tell the job of a series how many files were lost beside it, and which of it are missing."""
        if job.kind != "dicom":
            return job
        job = replace(job, divided=self._divided.get(number, 0))
        if self._missing:
            row = self._db.execute("SELECT key FROM series WHERE job = ?", (number,)).fetchone()
            series = row[0].rpartition(b"\0")[2] if row else None
            asked = self._db.execute("SELECT instance FROM missing WHERE series = ? ORDER BY instance", (series,))
            job = replace(job, missing=tuple(_text(instance) for (instance,) in asked))
        if not self._lost:
            return job
        ask = "SELECT files FROM lost WHERE folder = ?"
        places = {_folder(part) for part in job.parts} | {_blob(part.path) for part in job.parts if part.member}
        found = (self._db.execute(ask, (place,)).fetchone() for place in places)
        return replace(job, lost=sum(row[0] for row in found if row))

    def ignore(self, part: Part) -> None:
        """Add a hidden file, or what an operating system leaves behind; they are the last jobs, a thousand in each."""
        self.ignored += 1
        self._put(1 << 62, "ignored", part)

    def _put(self, job: int, kind: str, part: Part, more: list | None = None) -> None:
        self.parts += 1
        told = [more, part.span] if more or part.span else None
        told = [more, part.span, part.stamp] if part.stamp else told
        name = None if part.name == part.path else _blob(part.name)
        row = (job, self.parts, kind, name, _blob(part.path), _blob(part.member), json.dumps(told) if told else None)
        self._rows.append(row)
        if len(self._rows) >= _AT_ONCE:
            self._write()

    def _write(self) -> None:
        self._db.executemany("INSERT INTO parts VALUES (?,?,?,?,?,?,?)", self._rows)
        self._rows.clear()

    # -- reading ------------------------------------------------------------------------------------------------

    def _stored(self) -> Iterator[tuple]:
        """Yield every row in order; by keys, so that rows may be added, and other readers be at work, meanwhile."""
        last = (0, 0)
        while rows := self._db.execute(
            "SELECT * FROM parts WHERE (job, n) > (?, ?) ORDER BY job, n LIMIT ?", (*last, _AT_ONCE)
        ).fetchall():
            yield from rows
            last = rows[-1][:2]


def _folder(part: Part) -> bytes:
    """Return the folder a file lies in, on disk or inside its archive."""
    member = part.member.replace("\\", "/")
    return _blob(f"{part.path}\0{os.path.dirname(member)}" if member else os.path.dirname(part.path))


def _size(part: Part) -> int:
    return part.span[1] if part.span else 0


def _job(rows: list[tuple]) -> Job:
    parts = tuple(_part(row) for row in rows)
    kind, more = rows[0][2], rows[0][6]
    told = json.loads(more)[0] if more else None
    if kind == "array":
        return Job(kind, parts, chunk=Chunk(*told))
    if kind == "refused":
        return Job(kind, parts, refusal=Refused(*told))
    return Job(kind, parts)


def _part(row: tuple) -> Part:
    _, _, _, name, path, member, more = row
    path, (_, span, *stamp) = _text(path), json.loads(more) if more else (None, None)
    name = path if name is None else _text(name)
    return Part(name, path, _text(member), tuple(span) if span else None, tuple(stamp[0]) if stamp else None)


def _blob(text: str) -> bytes:
    """Return text as bytes that sort as it does; a file name may hold half characters that UTF-8 forbids."""
    return text.encode("utf-8", "surrogatepass")


def _text(blob: bytes) -> str:
    return blob.decode("utf-8", "surrogatepass")


class Spool:
    """Many names, sorted on disk.

    Examples
    --------
    >>> spool = Spool()
    >>> spool.add(["b", "a"])
    >>> list(spool)
    ['a', 'b']
    """

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._db.executescript(
            "PRAGMA journal_mode = OFF; CREATE TABLE names (name BLOB PRIMARY KEY) WITHOUT ROWID; BEGIN"
        )

    def add(self, names: list[str]) -> None:
        """Add some names."""
        self._db.executemany("INSERT OR IGNORE INTO names VALUES (?)", sorted((_blob(n),) for n in names))

    def __iter__(self) -> Iterator[str]:
        last = b""
        while rows := self._db.execute(
            "SELECT name FROM names WHERE name > ? ORDER BY name LIMIT ?", (last, _AT_ONCE)
        ).fetchall():
            yield from (_text(name) for (name,) in rows)
            last = rows[-1][0]

    def __del__(self) -> None:
        self._db.close()
