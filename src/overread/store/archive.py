"""Images under their own hash, and the studies they belong to. Nothing with a name in it.

An archive is a folder: ``archive.sqlite`` (what is known) and ``objects/ab/<hash>.npy`` (voxels). Beside it lies
``<ARCHIVE>.names`` (:mod:`overread.store.names`): the pseudonym key and the crosswalk from source files to image hashes
(:mod:`overread.store.crosswalk`). Delete that folder and the archive is anonymous.

The objects may lie elsewhere (:class:`Remote`): then the folder holds the books alone.

An object is written to a temporary file, forced to the disk, then renamed: a power cut or ``kill -9`` at any
instant leaves either the whole object or none.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from threading import RLock
from typing import Any, Self

from overread.domain import Cohort, Image, Study
from overread.errors import ArchiveError
from overread.store import seal
from overread.store.database import connect, damage_found, disk_full_told, transact
from overread.store.far_objects import Remote, several
from overread.store.names import is_lost, key_in, make_key, names_beside, names_kept
from overread.store.objects import Here, ImageRecord, Objects, damaged, read_object, write_object
from overread.store.rows import (
    APPLICATION_ID,
    IMAGE_COLUMNS,
    MIGRATIONS,
    REPLACED,
    record_of,
    row_of,
    row_of_study,
    study_of,
)

_STALE_AFTER_S = 24 * 3600
_AT_ONCE = 500  # images asked for in one go


class Archive:
    """A folder of de-identified images and studies; open it with :meth:`open` or :meth:`create`.

    Use it in a ``with`` block, or :meth:`close` it. Safe for several threads, and for several processes at once.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> folder = tempfile.TemporaryDirectory()
    >>> with Archive.create(Path(folder.name) / "archive") as archive:
    ...     name = archive.put(Image(np.eye(4, dtype=np.uint8)[None]))
    ...     archive.add(Study("S000000000001", (name,), labels={"fracture": True}))
    ...     archive.image(name).voxels.shape, archive.verify(), len(archive.cohort())
    ((1, 4, 4), 1, 1)
    >>> folder.cleanup()
    """

    def __init__(self, path: Path, *, create: bool, remote: Remote | None = None) -> None:
        self.path, self.remote = Path(path), remote
        self.objects: Objects = Here(self.path / "objects") if remote is None else remote.objects
        self._lock = RLock()
        self._db = connect(
            self.path / "archive.sqlite",
            application_id=APPLICATION_ID,
            migrations=MIGRATIONS,
            create=create,
            only_read=remote is not None and not create,
        )

    # -- opening and closing ------------------------------------------------------------------------------------

    @classmethod
    def create(cls, path: str | Path, *, remote: Remote | None = None) -> Archive:
        """Open the archive in this folder, or make a new one where there is none.

        Raises
        ------
        ArchiveError
            When the folder holds other things, or is no folder, or cannot be written.
        """
        path = Path(path)
        if path.exists() and not path.is_dir():
            raise ArchiveError("a file where the archive should be", expected="a folder", do="choose another place")
        try:
            with disk_full_told():
                known = path.is_dir() and (path / "archive.sqlite").exists()
                if not known and path.is_dir() and any(p.name != "objects" for p in path.iterdir()):
                    raise ArchiveError(
                        "a folder that holds other things",
                        expected="an archive, an empty folder, or a new name",
                        do="choose another place",
                    )
                (path / "objects").mkdir(parents=True, exist_ok=True)
                archive = cls(path, create=True, remote=remote)
        except (PermissionError, FileExistsError, NotADirectoryError) as error:
            raise ArchiveError(
                f"the archive's folder cannot be made ({error.strerror})",
                expected="a place that can be written",
                do="choose another place",
            ) from error
        try:
            archive._sweep()
            if archive.anonymous and archive.count() == (0, 0):  # images that have lost their key stay anonymous
                make_key(archive.names)
        except BaseException:
            archive.close()
            raise
        return archive

    @classmethod
    def open(cls, path: str | Path, *, remote: Remote | None = None) -> Archive:
        """Open an archive that exists; with ``remote`` its books are only read.

        Raises
        ------
        ArchiveError
            When there is none here, or it was made by a newer overread.
        """
        path = Path(path)
        if not path.is_dir():
            raise ArchiveError(
                "no archive here" if not path.exists() else "a file, not an archive",
                expected="a folder made by overread collect",
                do="check its name, or collect first",
            )
        return cls(path, create=False, remote=remote)

    def close(self) -> None:
        """Close the database; what was stored is on the disk already."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self):  # a worker process opens its own
        return (functools.partial(Archive.open, remote=self.remote), (str(self.path),))

    @property
    def where(self) -> str:
        """Where it lies, as a person names it."""
        return str(self.path) if self.remote is None else self.remote.address

    # -- images -------------------------------------------------------------------------------------------------

    def put(self, image: Image) -> str:
        """Store an image and return its content hash; storing it twice changes nothing."""
        record = write_object(self.objects, image)
        self.record([record])
        return record.hash

    def record(self, records: Iterable[ImageRecord]) -> None:
        """Make objects that :func:`write_object` has written known to the archive, all at once."""
        self.record_rows(row_of(r) for r in records)

    def record_rows(self, rows: Iterable[tuple], *, anew: bool = False) -> None:
        """Do as :meth:`record` with what :func:`row_of` has made of the records, in another process perhaps.

        Of an image that is known already, ``anew`` replaces what was said of it: it was read again.
        """
        marks = ",".join("?" * 13)
        with self._lock, transact(self._db) as db:
            how = "REPLACE" if anew else "IGNORE"
            db.executemany(f"INSERT OR {how} INTO images ({IMAGE_COLUMNS}) VALUES ({marks})", rows)

    def image(self, hash: str) -> Image:
        """Return a stored image; its voxels are read-only, and mapped from the disk when large.

        Raises
        ------
        ArchiveError
            When the archive does not know this hash.
        IntegrityError
            When its file is missing or has not the size it was stored with (:meth:`verify` checks every voxel).
        """
        return read_object(self.objects, self.describe(hash))

    def describe(self, hash: str) -> ImageRecord:
        """Return all that is known of one image but its voxels."""
        rows = self._rows(f"SELECT {IMAGE_COLUMNS} FROM images WHERE hash = ?", hash)
        if not rows:
            raise ArchiveError(f"no image {hash[:12]} in this archive", expected="the hash of a stored image")
        return _understood(record_of, rows[0])

    def images(self) -> Iterator[ImageRecord]:
        """Stream what is known of every image but its voxels, ordered by hash.

        Without those that no study has any longer: their files were read anew, as other images. These stay stored, for a
        finished run may show them.
        """
        return self._records(self._current())

    def every_image(self) -> Iterator[ImageRecord]:
        """Stream what is known of every stored image, replaced ones too, ordered by hash."""
        return self._records("TRUE")

    def _records(self, which: str) -> Iterator[ImageRecord]:
        last = ""
        query = f"SELECT {IMAGE_COLUMNS} FROM images WHERE hash > ? AND {which} ORDER BY hash LIMIT 1000"
        while rows := self._rows(query, last):
            yield from (_understood(record_of, row) for row in rows)
            last = rows[-1][0]

    def _current(self) -> str:
        """Return the condition on images that have not been replaced."""
        some = self._rows("SELECT 1 FROM sqlite_master WHERE name = 'replaced'")
        return "hash NOT IN (SELECT hash FROM replaced)" if some else "TRUE"

    def count(self) -> tuple[int, int]:
        """Return how many images (without replaced ones) and how many studies there are."""
        images = f"SELECT count(*) FROM images WHERE {self._current()}"
        return self._rows(f"SELECT ({images}), (SELECT count(*) FROM studies)")[0]

    def unclaimed(self) -> int:
        """Return how many images belong to no study yet: above 0 after a collection that was cut short."""
        query = "SELECT count(*) FROM images WHERE hash NOT IN (SELECT value FROM studies, json_each(studies.images))"
        return self._rows(f"{query} AND {self._current()}")[0][0]

    # -- studies ------------------------------------------------------------------------------------------------

    def add(self, study: Study) -> None:
        """Store a study, or replace what was known of it; its images must be stored already."""
        self.change([study])

    def change(self, studies: Iterable[Study], *, gone: Iterable[str] = ()) -> None:
        """Store or replace several studies and drop others (by pseudonym), all at once."""
        studies, gone = list(studies), list(gone)
        with self._lock, transact(self._db) as db:
            names = list(dict.fromkeys([*gone, *(study.pseudonym for study in studies)]))
            before, old = self._images_of(names), seal.of(self._db, names)
            db.executemany("DELETE FROM studies WHERE pseudonym = ?", [(name,) for name in gone])
            stored = self.stored({name for study in studies for name in study.images})
            for study in studies:
                known = len(stored.intersection(study.images))
                if not study.images or known != len(study.images):
                    raise ArchiveError(
                        f"a study of {len(study.images)} images of which {known} are stored",
                        expected="at least one image, each once, all of them stored",
                        do="put the images first",
                    )
            db.executemany(
                f"INSERT OR REPLACE INTO studies ({seal.COLUMNS}) VALUES (?,?,?,?,?,?,?)",
                [row_of_study(study) for study in studies],
            )
            seal.move(self._db, gone=old, new=seal.of(self._db, names))
            self._set_aside(before, {name for study in studies for name in study.images})

    def _images_of(self, names: list[str]) -> set[str]:
        """Return the images that some studies (by pseudonym) have now."""
        found: set[str] = set()
        for start in range(0, len(names), _AT_ONCE):
            some = names[start : start + _AT_ONCE]
            marks = ",".join("?" * len(some))
            query = f"SELECT value FROM studies, json_each(studies.images) WHERE pseudonym IN ({marks})"
            found.update(name for (name,) in self._rows(query, *some))
        return found

    def _set_aside(self, before: set[str], after: set[str]) -> None:
        """Remember images that studies have let go and no study has now; forget it of those that one has again."""
        if self._current() != "TRUE":
            self._db.executemany("DELETE FROM replaced WHERE hash = ?", [(name,) for name in after])
        if before - after:
            claimed = {name for (name,) in self._rows("SELECT value FROM studies, json_each(studies.images)")}
            if left := before - after - claimed:
                self._db.execute(REPLACED)
                self._db.executemany("INSERT OR IGNORE INTO replaced VALUES (?)", [(name,) for name in left])

    def stored(self, hashes: Iterable[str]) -> set[str]:
        """Return those of some hashes that are of stored images."""
        asked, found = sorted(hashes), set()
        for start in range(0, len(asked), _AT_ONCE):
            some = asked[start : start + _AT_ONCE]
            rows = self._rows(f"SELECT hash FROM images WHERE hash IN ({','.join('?' * len(some))})", *some)
            found.update(name for (name,) in rows)
        return found

    def studies(self) -> Iterator[Study]:
        """Stream every study, ordered by the smallest hash of its images: the same for any pseudonym key."""
        last = ("", "")
        while rows := self._rows(
            f"SELECT {seal.COLUMNS} FROM studies "
            "WHERE (first_image, pseudonym) > (?, ?) ORDER BY first_image, pseudonym LIMIT 1000",
            *last,
        ):
            yield from (_understood(study_of, row) for row in rows)
            last = rows[-1][:2]

    def cohort(self, name: str = "archive") -> Cohort:
        """Return every study as one cohort."""
        return Cohort(name, tuple(self.studies()))

    # -- the names shelf ----------------------------------------------------------------------------------------

    @property
    def names(self) -> Path:
        """Folder beside the archive that holds identity (mode 0700)."""
        return names_beside(self.path) if self.remote is None else self.remote.names

    @property
    def anonymous(self) -> bool:
        """True when the names shelf has been deleted."""
        return is_lost(self.names)

    @property
    def key(self) -> bytes:
        """Secret key of the pseudonyms, from the names shelf; :class:`ArchiveError` when that has been deleted."""
        return key_in(self.names)

    def shelf(self) -> Path:
        """Return the names shelf of an archive that can still be added to; :class:`ArchiveError` when it has been deleted."""
        return names_kept(self.names)

    # -- care ---------------------------------------------------------------------------------------------------

    def verify(self, *, tick: Callable[[], object] = lambda: None) -> int:
        """Check every image against its hash and all studies against their seal; return how many images there are.

        An image's attributes and notes, which are no part of its hash, are not covered.

        Parameters
        ----------
        tick : callable
            Called after each image, for a progress bar.

        Raises
        ------
        IntegrityError
            When one is missing or changed, or the database is damaged.
        """
        if self._rows("PRAGMA integrity_check") != [("ok",)]:
            raise damaged("archive.sqlite does not pass its own check")
        n = 0
        check, records = self.objects.check, self._records("TRUE")
        checked = several(check, list(records)) if self.remote else map(check, records)
        for n, _ in enumerate(checked, start=1):
            tick()
        known = {record.hash for record in self._records("TRUE")}
        if any(not known.issuperset(study.images) for study in self.studies()):
            raise damaged("a study names an image that is not stored")
        self.seal()
        return n

    def seal(self) -> str:
        """Return the seal over all studies (who, answers, groups, divisions); "" where an older overread wrote the archive.

        Raises
        ------
        IntegrityError
            When they are not as they were written.
        """
        with self._lock, damage_found("archive.sqlite"):
            self._db.execute("BEGIN")  # both as they stood at one moment
            try:
                kept, found = _understood(seal.kept, self._db), seal.found(self._db)
            finally:
                self._db.execute("COMMIT")
        if kept not in (None, found):
            raise damaged("the studies (patients, answers, groups or divisions) are not as overread wrote them")
        return "" if kept is None else f"{found:064x}"

    def copy_books(self, file: Path) -> None:
        """Write all that is known as it stands at this moment into a new file: what was deleted is not in it."""
        with self._lock, disk_full_told():
            self._db.execute("VACUUM INTO ?", (str(file),))

    def _sweep(self) -> None:
        """Remove what a killed process left half-written more than a day ago."""
        for temporary in (self.path / "objects").glob("*/.*.tmp"):
            try:
                if time.time() - temporary.stat().st_mtime > _STALE_AFTER_S:
                    temporary.unlink()
            except FileNotFoundError:
                continue  # another process swept it, or finished it

    def _rows(self, sql: str, *arguments: object) -> list[tuple]:
        with self._lock, damage_found("archive.sqlite"):
            return self._db.execute(sql, arguments).fetchall()


def _understood(fn: Callable[[Any], Any], row: Any) -> Any:
    """Return ``fn(row)``; a row that we cannot have written is damage, not a crash."""
    try:
        return fn(row)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise damaged("a row of archive.sqlite cannot be read") from error
