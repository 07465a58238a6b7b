"""The names shelf's book: which source file became which image. It never lies inside the archive.

File names may hold names of people, so this book lies in ``<ARCHIVE>.names``, readable by its owner only. It makes
collecting idempotent (a file whose size and time are known is not read again) and keeps, for every source, what it says
of itself and what a label table or a folder says of it; the studies of the archive are made from that.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from overread.domain import canonical_json
from overread.store.database import connect, transact
from overread.store.entries import Offered, Source
from overread.store.places import lies_there

APPLICATION_ID = 0x6F76786B  # "ovxk"
_MIGRATIONS = (
    """
    CREATE TABLE offered (
        key TEXT PRIMARY KEY, name TEXT NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
        code TEXT, reason TEXT, reader TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE sources (
        id INTEGER PRIMARY KEY, file TEXT NOT NULL, base TEXT NOT NULL, digest TEXT NOT NULL, image TEXT NOT NULL,
        own TEXT NOT NULL, said TEXT NOT NULL
    );
    CREATE INDEX sources_by_digest ON sources (digest, base);
    CREATE INDEX sources_by_file ON sources (file);
    CREATE TABLE members (
        key TEXT NOT NULL, source INTEGER NOT NULL REFERENCES sources (id) ON DELETE CASCADE, PRIMARY KEY (key, source)
    ) WITHOUT ROWID;
    CREATE INDEX members_by_source ON members (source)
    """,
    """
    CREATE TABLE short (
        key TEXT PRIMARY KEY REFERENCES offered (key) ON DELETE CASCADE, files INTEGER NOT NULL
    ) WITHOUT ROWID
    """,
)


_AT_ONCE = 500  # rows read, or asked for, in one go
_read_again = functools.lru_cache(maxsize=1024)(json.loads)  # a thousand pictures say the same; nobody changes it
_OF_THIS_RUN = """(
    EXISTS (SELECT 1 FROM present WHERE present.key = offered.key)
    OR EXISTS (SELECT 1 FROM present WHERE present.key = CASE code
        WHEN 'missing-file' THEN substr(offered.key, 1, instr(offered.key || '?', '?') - 1)
        ELSE substr(offered.key, 1, instr(offered.key || '!', '!') - 1) END)
)"""  # the second is ``Offered.within``


def _look(offered: Offered | None) -> tuple[int, int] | None:
    return (offered.size, offered.mtime_ns) if offered else None


class Crosswalk:
    """The book of one archive; use it in a ``with`` block."""

    def __init__(self, names: Path) -> None:
        self._db = connect(
            names / "crosswalk.sqlite", application_id=APPLICATION_ID, migrations=_MIGRATIONS, create=True
        )
        (names / "crosswalk.sqlite").chmod(0o600)
        self._outlived: set[int] = set()
        self._beside: set[str] = set()  # folders where text beside images is new
        self._before = self._db.execute("SELECT coalesce(max(id), 0) FROM sources").fetchone()[0]
        self._db.execute("CREATE TEMP TABLE present (key TEXT PRIMARY KEY) WITHOUT ROWID")  # on disk: it may be long

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def offered(self) -> dict[str, Offered]:
        """Return everything ever offered, by key."""
        return {row[0]: Offered(*row) for row in self._db.execute("SELECT * FROM offered ORDER BY key")}

    def begin(self, keys: Iterable[str]) -> None:
        """Say what is offered in this run: the keys of all files, members and chunks, and the archives they lie in.

        The list is kept on disk and only for as long as this book is open. A known source with the same bytes and bare name
        that is not on the list, and no longer lies where it was read, is the same file at a new place, not a second one.
        """
        self._db.execute("BEGIN")  # not immediate: other collectors need not wait for a list of our own
        self._db.execute("DELETE FROM present")
        self._db.executemany("INSERT OR IGNORE INTO present VALUES (?)", ((key,) for key in keys))
        self._db.execute("COMMIT")

    def known(self, keys: Sequence[str]) -> dict[str, Offered]:
        """Return what is known of some of the files offered, by key."""
        out = {}
        for start in range(0, len(keys), _AT_ONCE):
            some = keys[start : start + _AT_ONCE]
            marks = ",".join("?" * len(some))
            rows = self._db.execute(
                "SELECT offered.*, coalesce(files, 0) FROM offered LEFT JOIN short ON short.key = offered.key "
                f"WHERE offered.key IN ({marks})",
                some,
            )
            out.update((row[0], Offered(*row)) for row in rows)
        return out

    def all_here(self, keys: Sequence[str]) -> bool:
        """True when this run offers all that was read together with some files, and all that was refused beside them."""
        with_them = "SELECT 1 FROM members WHERE source = ? AND key NOT IN (SELECT key FROM present) LIMIT 1"
        beside = f"SELECT 1 FROM offered WHERE key > ? AND key < ? AND code IS NOT NULL AND NOT {_OF_THIS_RUN} LIMIT 1"
        read_as = "SELECT source FROM members WHERE key = ?"
        sources = {source for key in keys for source in self._db.execute(read_as, (key,))}
        folders = {key[: max(key.rfind("/"), key.rfind("!")) + 1] for key in keys}
        return not (
            any(self._db.execute(with_them, source).fetchone() for source in sources)
            or any(self._db.execute(beside, (f, f"{f}\U0010ffff")).fetchone() for f in folders)
        )

    def refused(self, *places: str) -> Iterator[Offered]:
        """Yield what was refused of this run's files, of what lies in them, and of ``places``, ordered by key."""
        last = ""
        query = (
            f"SELECT * FROM offered WHERE key > ? AND code IS NOT NULL AND {_OF_THIS_RUN} ORDER BY key LIMIT {_AT_ONCE}"
        )
        with self._also(places):
            while rows := self._db.execute(query, (last,)).fetchall():
                yield from (Offered(*row) for row in rows)
                last = rows[-1][0]

    def read(self) -> int:
        """Return how many of this run's files have been read, now or earlier."""
        query = f"SELECT count(DISTINCT name) FROM offered WHERE code IS NULL AND {_OF_THIS_RUN}"
        return self._db.execute(query).fetchone()[0]

    @contextmanager
    def _also(self, places: Iterable[str]) -> Iterator[None]:
        """Count some more places among what is present, for a moment."""
        new = [p for p in places if not self._db.execute("SELECT 1 FROM present WHERE key = ?", (p,)).fetchone()]
        self._db.executemany("INSERT INTO present VALUES (?)", [(p,) for p in new])
        try:
            yield
        finally:
            self._db.executemany("DELETE FROM present WHERE key = ?", [(p,) for p in new])

    def sources(self) -> Iterator[Source]:
        """Return the origin of every image, ordered by file."""
        last: tuple[str, str, int] = ("", "", -1)
        query = (
            "SELECT file, image, id, digest, own, said FROM sources WHERE (file, image, id) > (?, ?, ?) "
            f"ORDER BY file, image, id LIMIT {_AT_ONCE}"
        )
        while rows := self._db.execute(query, last).fetchall():
            for file, image, _, digest, own, said in rows:
                yield Source(file, digest, image, _read_again(own), _read_again(said))
            last = rows[-1][:3]

    def forget_lost(self, stored: Callable[[Iterable[str]], set[str]], *, withdrawn: Iterable[str] = ()) -> int:
        """Forget what was read of files whose images the archive no longer has; they will be read anew.

        An archive that was deleted, or put back from an older copy, beside its names: this book would believe for ever
        that all is stored.

        Parameters
        ----------
        stored : callable
            Gives those of some hashes that the archive has.
        withdrawn : iterable of str
            Places of files that their owner took back: all that lies in the same folder is read anew, without them.

        Returns
        -------
        int
            How many images were lost.
        """
        last, lost = 0, set()
        with transact(self._db) as db:
            while rows := db.execute(
                f"SELECT id, image FROM sources WHERE id > ? ORDER BY id LIMIT {_AT_ONCE}", (last,)
            ).fetchall():
                there = stored({image for _, image in rows})
                gone = [(number, image) for number, image in rows if image not in there]
                lost.update(image for _, image in gone)
                marks = [(number,) for number, _ in gone]
                db.executemany("DELETE FROM offered WHERE key IN (SELECT key FROM members WHERE source = ?)", marks)
                db.executemany("DELETE FROM sources WHERE id = ?", marks)
                last = rows[-1][0]
            known = [key for key in withdrawn if db.execute("SELECT 1 FROM offered WHERE key = ?", (key,)).fetchone()]
            for folder in {key[: key.rfind("/") + 1] for key in known}:
                within = (folder, f"{folder}\U0010ffff")
                db.execute(
                    "DELETE FROM sources WHERE id IN (SELECT source FROM members WHERE key > ? AND key < ?)", within
                )
                db.execute("DELETE FROM offered WHERE key > ? AND key < ?", within)
        return len(lost)

    def store(self, offered: Iterable[Offered], sources: Iterable[Source]) -> int:
        """Keep what some files were read as, all at once; what the same files were read as before is replaced.

        Parameters
        ----------
        offered, sources : iterables
            Of files that :meth:`begin` was told of.

        Returns
        -------
        int
            How many of the sources were known already, at another place.
        """
        entries, fresh, moved = list(offered), list(sources), 0
        with transact(self._db) as db:
            known = self.known([entry.key for entry in entries])
            refused = {entry.key for entry in entries if entry.code is not None}
            series: dict[str, list[str]] = {}
            for key, word in ((key, source.own.get("series", "")) for source in fresh for key in source.keys):
                series.setdefault(key, []).append(word)
            for key in known:
                self._forget(key, read_as=None if key in refused else series.get(key, []))
            self._name_anew()
            said = [e for e in entries if e.code == "companion" and _look(known.get(e.key)) != _look(e)]
            self._beside |= {e.key[: max(e.key.rfind("/"), e.key.rfind("!")) + 1] for e in said}
            rows = [(e.key, e.name, e.size, e.mtime_ns, e.code, e.reason, e.reader) for e in entries]
            db.executemany("INSERT OR REPLACE INTO offered VALUES (?,?,?,?,?,?,?)", rows)  # forgets what was short
            db.executemany("INSERT OR REPLACE INTO short VALUES (?,?)", {(e.key, e.lost) for e in entries if e.lost})
            elsewhere = self._elsewhere(fresh)
            last = db.execute("SELECT coalesce(max(id), 0) FROM sources").fetchone()[0]
            new, members = [], []
            for source in fresh:
                before = elsewhere.get((source.digest, source.base, source.image))
                number = before.pop() if before else last + 1  # of two copies that were moved each is one of them
                if number > last:
                    last = number
                    own, said = canonical_json(source.own), canonical_json(source.said) if source.said else "{}"
                    new.append((number, source.file, source.base, source.digest, source.image, own, said))
                else:
                    moved += 1
                    self._move(number, source)
                members += [(key, number) for key in source.keys]
            db.executemany("INSERT INTO sources (id, file, base, digest, image, own, said) VALUES (?,?,?,?,?,?,?)", new)
            db.executemany("INSERT OR IGNORE INTO members VALUES (?,?)", members)
        return moved

    def say(self, said: Mapping[str, Mapping[str, Any]]) -> None:
        """Add what a label table or folders say now of sources that are known already (file → what is said)."""
        with transact(self._db) as db:
            for file, words in said.items():
                for (source,) in db.execute("SELECT id FROM sources WHERE file = ?", (file,)).fetchall():
                    self._add_to_said(source, words)

    def note_table(self, table: str, itself: tuple[str, str], *, missing: Iterable[tuple[str, str, str]]) -> None:
        """Remember what a label table is (code, reason), and the (file, code, reason) of rows whose file was not offered."""
        with transact(self._db) as db:
            db.execute("UPDATE offered SET code = ?, reason = ? WHERE key = ?", (*itself, table))
            db.execute(
                "DELETE FROM offered WHERE code = 'missing-file' AND substr(key, 1, ?) = ?",
                (len(table) + 1, f"{table}?"),
            )
            db.executemany(
                "INSERT OR REPLACE INTO offered VALUES (?,?,0,0,?,?,'')",
                [(f"{table}?{file}", file, code, reason) for file, code, reason in missing],
            )

    def note_elsewhere(self, missed: Iterable[tuple[str, str, str]], *, named: Iterable[str]) -> None:
        """Remember what was asked for elsewhere and refused (name, code, reason), and forget it of what was brought."""
        missed = list(missed)
        with transact(self._db) as db:
            db.executemany("DELETE FROM offered WHERE key = ?", [(name,) for name in named])
            db.executemany(
                "INSERT OR REPLACE INTO offered VALUES (?,?,0,0,?,?,'')",
                [(name, name, code, reason) for name, code, reason in missed],
            )

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other collectors waiting while the studies are made from this book."""
        with transact(self._db):
            yield

    def files_of(self, keys: Iterable[str]) -> dict[str, list[str]]:
        """Return, for each key, the first files of the sources that were read from it."""
        query = "SELECT file FROM sources JOIN members ON source = id WHERE key = ?"
        return {key: [file for (file,) in self._db.execute(query, (key,))] for key in keys}

    def outlived(self) -> int:
        """Return how many volumes this book has kept since it was opened though a file of theirs now holds another image."""
        return len(self._outlived)

    def unheard(self) -> int:
        """Return how many images were read before this book was opened, and have text beside them that came or changed since."""
        query = "SELECT DISTINCT source FROM members WHERE source <= ? AND key > ? AND key < ?"
        folders = [(self._before, folder, f"{folder}\U0010ffff") for folder in self._beside] if self._before else []
        return len({source for within in folders for (source,) in self._db.execute(query, within)})

    def _forget(self, key: str, *, read_as: Sequence[str] | None) -> None:
        """Drop the sources that were read from this file alone, and those whose first file it was, if it was read as their series again.

        Where it can no longer be read (None), or now is of another series, a volume of it and others stays as it was
        stored: the others are not read again.
        """
        of = self._db.execute("SELECT source FROM members WHERE key = ?", (key,)).fetchall()
        self._db.execute(
            "DELETE FROM sources WHERE id IN (SELECT source FROM members WHERE key = ?) AND ((file = ? AND "
            f"coalesce(json_extract(own, '$.series'), ?) IN ({','.join('?' * len(read_as or ()))})) OR 1 = "
            "(SELECT count(*) FROM members WHERE source = id))",
            (key, key, *(read_as or [""])[:1], *(read_as or ())),
        )
        self._db.execute("DELETE FROM members WHERE key = ?", (key,))
        self._outlived |= {source for (source,) in of if read_as is not None}

    def _name_anew(self) -> None:
        """Call the volumes that outlived their first file by another of theirs: what is said of that file is not of them."""
        for source in list(self._outlived):
            row = self._db.execute("SELECT file FROM sources WHERE id = ?", (source,)).fetchone()
            if row is None:
                self._outlived.discard(source)
                continue
            keys = [
                key for (key,) in self._db.execute("SELECT key FROM members WHERE source = ? ORDER BY key", (source,))
            ]
            if keys and row[0] not in keys:
                named = Source(keys[0], "", "")
                self._db.execute("UPDATE sources SET file = ?, base = ? WHERE id = ?", (named.file, named.base, source))

    def _elsewhere(self, fresh: Sequence[Source]) -> dict[tuple[str, str, str], list[int]]:
        """Return the ids of the known sources (digest, name, image) that some of these are, which were only moved."""
        digests = sorted({source.digest for source in fresh})
        moved: dict[tuple[str, str, str], list[int]] = {}
        for start in range(0, len(digests), _AT_ONCE):
            some = digests[start : start + _AT_ONCE]
            rows = self._db.execute(
                f"SELECT digest, base, image, id FROM sources WHERE digest IN ({','.join('?' * len(some))}) AND NOT EXISTS "
                "(SELECT 1 FROM members JOIN present USING (key) WHERE source = id) ORDER BY id DESC",
                some,
            )
            for digest, base, image, known in rows:
                if self._is_gone(known):
                    moved.setdefault((digest, base, image), []).append(known)
        return moved

    def _is_gone(self, source: int) -> bool:
        """True when nothing that a source was read from is left where it was: a copy is no move, and may be another's."""
        for (key,) in self._db.execute("SELECT key FROM members WHERE source = ?", (source,)).fetchall():
            archive = key.partition("!")[0]
            opened = key != archive and self._db.execute("SELECT 1 FROM present WHERE key = ?", (archive,)).fetchone()
            if not opened and lies_there(archive):
                return False
        return True

    def _move(self, number: int, source: Source) -> None:
        """Forget the places that a source was moved away from: a file that comes back there is read as any other."""
        old = [(key,) for (key,) in self._db.execute("SELECT key FROM members WHERE source = ?", (number,))]
        self._db.execute("DELETE FROM members WHERE source = ?", (number,))
        left = (
            "DELETE FROM offered WHERE key = ? AND NOT EXISTS (SELECT 1 FROM members WHERE members.key = offered.key)"
        )
        self._db.executemany(left, [key for key in old if key[0] not in source.keys])
        self._db.execute("UPDATE sources SET file = ? WHERE id = ?", (source.file, number))
        self._add_to_said(number, source.said)

    def _add_to_said(self, source: int, words: Mapping[str, Any]) -> None:
        before = json.loads(self._db.execute("SELECT said FROM sources WHERE id = ?", (source,)).fetchone()[0])
        after = {**before, **{k: v for k, v in words.items() if not isinstance(v, Mapping)}}
        for name in ("labels", "strata", "splits"):
            if name in words:
                after[name] = {**before.get(name, {}), **words[name]}
        if after != before:
            self._db.execute("UPDATE sources SET said = ? WHERE id = ?", (canonical_json(after), source))
