"""Collect: folders, files, zip archives and arrays of images become an archive without names."""

from __future__ import annotations

import functools
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import overread
from overread import engine
from overread.domain import Study, code_of
from overread.errors import IdentityRefused, LabelError, NothingToDo
from overread.formats.deid import pseudonym
from overread.formats.door import Job, Part, Refused, candidates, ignored, read_job
from overread.formats.facts import IN_PIXELS, MAY_SHOW
from overread.formats.found import Origin
from overread.formats.labels import LabelRow
from overread.steps.collected import Collected, label_counts
from overread.steps.examinations import examinations
from overread.steps.fetched import Fetched, fetch, is_remote
from overread.steps.progress import bar as moved_bar
from overread.steps.progress import progress as bar
from overread.steps.said import Said
from overread.store.archive import Archive
from overread.store.crosswalk import Crosswalk, Offered, Source, storable
from overread.store.objects import ImageRecord, write_object

_FLUSH_AFTER_S = 1.0
_LITTLE = 32 << 20  # bytes that are read before other processes have started
_MANY = 200
_TRY_AGAIN = ("reader-died", "unreadable")  # refusals that another day may not give


def collect(
    *sources: str | os.PathLike,
    into: str | os.PathLike = "archive",
    labels: str | os.PathLike | None = None,
    labels_from_folders: bool = False,
    patient: str | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> Collected:
    """Read every image in some folders, files, zip archives or arrays into an archive that holds no names.

    A file that is known already (same place, size and time, or the same bytes under the same name elsewhere) is not read
    again. A file that cannot be read is listed with its reason and stops nothing. What is stored stays stored, whatever
    happens: run the same command again to go on. Labels of an earlier run stay until a later one says otherwise.

    Parameters
    ----------
    *sources : paths or words
        A word such as ``dicomweb:https://…`` or ``dimse://…`` names images elsewhere: they are fetched first, into
        ``<into>.names/fetched``, and stay there (:mod:`overread.steps.fetched`).
    into : path
        The archive; made when it is not there. The folder ``<into>.names`` beside it holds the identities.
    labels : path, optional
        A label table (see :func:`overread.formats.labels.read_table`).
    labels_from_folders : bool
        True: the folder a file lies in is its ``class``, and each class is a label of its own.
    patient : str, optional
        Who the patient is: a column of the label table, or a regular expression on the file's path whose first group is
        the patient. DICOM files say it themselves.
    workers : int, optional
        Processes that read; all cores when not given.
    progress : bool
        Draw a bar on stderr.

    Returns
    -------
    Collected
        What was read, what was there already, what was refused and why; printed, it is the closing summary.

    Raises
    ------
    NothingToDo
        When the sources hold no file, or none that is an image.
    UnreadableFile, LabelError, ArchiveError
        For a source that does not exist, a label table that cannot be used, a place that cannot be written.
    """
    began = time.monotonic()
    if labels is not None and labels_from_folders:
        raise LabelError("a label table and labels from folders", expected="one of the two", do="leave one out")
    if labels_from_folders and any(map(is_remote, sources)):
        raise LabelError("labels from folders, and a source without", expected="a label table", do="give --labels")
    fetched = fetch(sources, Path(into), show=progress)
    here = [s for s in sources if not is_remote(s)]
    jobs = _offered_jobs(here, fetched, Path(into), show=progress)
    roots = [*here, *(f.root for f in fetched)]
    said = Said(roots, jobs, labels=labels, folders=labels_from_folders, patient=patient)
    said.notes += [note for f in fetched for note in f.notes]
    with Archive.create(into) as archive, Crosswalk(_shelf(archive)) as book:
        said.key = archive.key
        run = _Run(archive, book, said, jobs)
        interrupted = False
        try:
            run.read(workers=workers, show=progress)
        except KeyboardInterrupt:
            interrupted = True
        missed = [m for f in fetched for m in f.missed]
        book.note_elsewhere(
            [(m.name, m.code, m.reason) for m in missed], named=[name for f in fetched for name in f.named]
        )
        studies, duplicates, notes = run.make_studies()
        if interrupted:
            print(f"stopped: {run.read_now:,} files are stored; run the same command again to go on", file=sys.stderr)
            raise KeyboardInterrupt
        collected = run.summary(studies, duplicates, notes, seconds=time.monotonic() - began)
        told = [{"file": m.name, "code": m.code, "reason": m.reason} for m in missed]
        collected = replace(collected, refused=(*told, *collected.refused))
    if not collected.read and not collected.already:
        first = collected.refused[0]["reason"] if collected.refused else "only hidden files"
        raise NothingToDo(
            f"{len(collected.refused)} file{'s' * (len(collected.refused) != 1)} and no image among them ({first})",
            expected="at least one image that can be read",
            do="point to the folder, zip archive or file that holds the images",
        )
    return collected


def _offered_jobs(
    here: Iterable[str | os.PathLike], fetched: Iterable[Fetched], into: Path, *, show: bool
) -> list[Job]:
    """Return what there is to read, without what lies in the archive itself."""
    sources = [*here, *(path for f in fetched for path in f.paths)]
    ours = tuple(os.path.join(os.path.abspath(f"{into}{end}"), "") for end in ("", ".names"))
    brought = tuple(os.path.join(os.path.abspath(f.root), "") for f in fetched)
    with moved_bar(total=None, what="looking", unit="files", show=show) as looking:
        found = candidates(sources, tick=looking.update)
    jobs = [j for j in found if not j.parts or _is_source(os.path.abspath(j.parts[0].path), ours, brought)]
    if not any(job.kind != "ignored" for job in jobs):
        if missed := [m for f in fetched for m in f.missed]:
            raise NothingToDo(
                f"{len(missed)} asked for and none brought; {missed[0].name}: {missed[0].reason}",
                expected="at least one image",
            )
        hidden = ignored(jobs)
        raise NothingToDo(
            f"no file in {'the source' if len(list(sources)) == 1 else 'the sources'}"
            + (f" but {hidden} hidden ones" if hidden else ""),
            expected="images",
            do="point to the folder, zip archive or file that holds the images",
        )
    return jobs


def _is_source(path: str, ours: tuple[str, ...], brought: tuple[str, ...]) -> bool:
    """True for a file that is no part of the archive, or was fetched for it."""
    return not path.startswith(ours) or path.startswith(brought)


def _shelf(archive: Archive) -> Path:
    archive.key  # noqa: B018  refuses here when the names shelf has been deleted
    return archive.names


# -- reading ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Stored:
    """An image that a worker has written, and where it came from."""

    record: ImageRecord
    origin: Origin


def _read_and_write(objects: Path, job: Job) -> list[_Stored | Refused]:
    """Read one job and write its voxels; in a worker process, so that pixels need not travel."""
    done: list[_Stored | Refused] = []
    for result in read_job(job):
        if isinstance(result, Refused):
            done.append(result)
        elif why := result.image.attributes.get(IN_PIXELS):
            done += [_shown(name, why) for name in result.origin.files]
        else:
            done.append(_Stored(write_object(objects, result.image), result.origin))
    return done


def _shown(file: str, why: str) -> Refused:
    """Refuse what tells of itself who it is: an archive would keep the name as pixels."""
    told = IdentityRefused(
        f"an image that says {why}",
        expected="Burned In Annotation NO, and no face or label",
        do="blank it in an image editor for DICOM, then say so in its header",
    )
    return Refused(file, code="burned-in", reason=str(told))


class _Run:
    """One run of collect: what was offered, what is known, what was read."""

    def __init__(self, archive: Archive, book: Crosswalk, said: Said, jobs: list[Job]) -> None:
        self.archive, self.book, self.said, self.jobs = archive, book, said, jobs
        self.hidden = [entry for job in jobs if job.kind == "ignored" for entry in _keys(job)]
        self.stats: dict[str, os.stat_result | None] = {}
        self.keys = {key: part for job in jobs for key, part in _keys(job)}
        self.known = {k: o for k, o in book.offered().items() if k in self.keys}
        self.read_now = self.moved = 0
        self.may_show: set[str] = set()
        self.names_read: set[str] = set()

    def read(self, *, workers: int | None, show: bool) -> None:
        """Read what is not known yet, and store it in small steps: each is kept whole."""
        todo = [rest for job in self.jobs if job.kind != "ignored" and (rest := self._unknown(job))]
        read = engine.map(
            functools.partial(_read_and_write, self.archive.objects),
            todo,
            workers=workers,
            chunk=8 if len(todo) > _MANY else 1,
            inline=engine.INLINE if self._bytes(todo) < _LITTLE else 2,
        )
        pending: list[tuple[Job, Any]] = []
        flushed = time.monotonic()
        try:
            for pair in bar(zip(todo, read, strict=True), total=len(todo), what="collecting", unit="files", show=show):
                pending.append(pair)
                if time.monotonic() - flushed > _FLUSH_AFTER_S:
                    self._store(pending)
                    pending, flushed = [], time.monotonic()
        finally:
            read.close()
            self._store(pending)
        why = "a hidden file, or what an operating system leaves behind; passed over"
        hidden = [self._offered(k, part, Refused(part.name, code="hidden", reason=why)) for k, part in self.hidden]
        self.book.store(hidden, (), present=self.keys)
        if self.said.any:
            self._say_again(todo)

    def _unknown(self, job: Job) -> Job | None:
        """Return what of a job has to be read: all of a series, only the new ones of other files."""
        new = [part for key, part in _keys(job) if not self._is_known(key, part)]
        if not new or job.kind in ("dicom", "array"):
            return job if new else None
        return replace(job, parts=tuple(new))

    def _is_known(self, key: str, part: Part) -> bool:
        known, stat = self.known.get(key), self._stat(part)
        if known is None or stat is None or (known.size, known.mtime_ns) != (stat.st_size, stat.st_mtime_ns):
            return False
        return known.code is None or (known.code not in _TRY_AGAIN and known.reader == overread.__version__)

    def _stat(self, part: Part) -> os.stat_result | None:
        if part.path not in self.stats:
            try:
                self.stats[part.path] = os.stat(part.path)
            except OSError:  # gone or forbidden: the door's refusal says so
                self.stats[part.path] = None
        return self.stats[part.path]

    def _bytes(self, jobs: list[Job]) -> int:
        """Return how large the files are that these jobs read."""
        paths = {part.path: self._stat(part) for job in jobs for part in job.parts}
        return sum(stat.st_size for stat in paths.values() if stat is not None)

    def _store(self, pending: list[tuple[Job, Any]]) -> None:
        """Make what workers have written known: first the images, then where they came from."""
        if not pending:
            return
        offered: list[Offered] = []
        sources: list[Source] = []
        records: list[ImageRecord] = []
        for job, results in pending:
            if isinstance(results, engine.Failure):
                results = [Refused(part.name, code="reader-died", reason=results.reason) for part in job.parts]
            self._sort(job, results, offered, sources, records)
        self.archive.record(records)
        self.moved += self.book.store(offered, sources, present=self.keys)

    def _sort(
        self, job: Job, results: Iterable[_Stored | Refused], offered: list, sources: list, records: list
    ) -> None:
        by_name = {part.name: key for key, part in _keys(job)}
        refused: dict[str, Refused] = {}
        for result in results:
            if isinstance(result, Refused):
                refused[by_name.get(result.file, _absolute(job, result.file))] = result
                continue
            records.append(result.record)
            if "may-show-name" in map(code_of, result.record.notes):
                self.may_show.add(result.record.hash)
            names = result.origin.files
            keys = tuple(dict.fromkeys(by_name.get(n, next(iter(by_name.values()))) for n in names))
            file = _absolute(job, names[0])
            own = _own(result.origin, key=self.archive.key)
            sources.append(Source(file, result.origin.digest, result.record.hash, own, self.said.of(names), keys))
        for key, part in _keys(job):
            refusal = refused.pop(key, None)
            offered.append(self._offered(key, part, refusal))
            if refusal is None and part.name not in self.names_read:
                self.names_read.add(part.name)
                self.read_now += 1
        offered += [self._offered(key, job.parts[0], refusal) for key, refusal in refused.items()]

    def _offered(self, key: str, part: Part, refusal: Refused | None) -> Offered:
        stat = self._stat(part)
        size, mtime = (stat.st_size, stat.st_mtime_ns) if stat else (-1, -1)
        if refusal is None:
            return Offered(key, storable(part.name), size, mtime, reader=overread.__version__)
        return Offered(key, storable(refusal.file), size, mtime, refusal.code, refusal.reason, overread.__version__)

    def _say_again(self, todo: list[Job]) -> None:
        """Tell the book what this run's table, folders or pattern say of files that were known before."""
        fresh = {key for job in todo for key, _ in _keys(job)}
        old = {key: part for key, part in self.keys.items() if key not in fresh}
        words = {}
        for key, files in self.book.files_of(old).items():
            for file in files:
                words[file] = words.get(file, {}) | self.said.of([old[key].name])
        self.book.say({file: said for file, said in words.items() if said})

    # -- afterwards -------------------------------------------------------------------------------------------

    def make_studies(self) -> tuple[tuple[Study, ...], int, tuple[str, ...]]:
        """Make the archive's studies from the book, and write those that have changed."""
        with self.book.alone():  # another collector's studies must not be overwritten with what we saw before them
            made = examinations(self.book.sources(), key=self.archive.key)
            before = {study.pseudonym: study for study in self.archive.studies()}
            names = {study.pseudonym for study in made.studies}
            changed = [study for study in made.studies if before.get(study.pseudonym) != study]
            self.archive.change(changed, gone=before.keys() - names)
        return made.studies, made.duplicates, made.notes

    def summary(
        self, studies: tuple[Study, ...], duplicates: int, notes: tuple[str, ...], *, seconds: float
    ) -> Collected:
        """Say what came of this run."""
        if self.said.table:
            table = Refused("", code="label-table", reason="the label table: its answers are read, it is no image")
            missing = [_missing(row) for row in self.said.matched.missing]
            self.book.note_table(
                storable(os.path.abspath(self.said.table.path)),
                (table.code, table.reason),
                missing=[(row.file, row.code, row.reason) for row in missing],
            )
        ours = {storable(os.path.abspath(part.path)) for part in self.keys.values()}
        if self.said.table:
            ours.add(storable(os.path.abspath(self.said.table.path)))
        entries = [o for o in self.book.offered().values() if o.key in self.keys or o.within in ours]
        refused = [{"file": o.name, "code": o.code, "reason": o.reason} for o in entries if o.code is not None]
        read = {o.name for o in entries if o.code is None}
        unknown = sum(study.patient is None for study in studies)
        return Collected(
            archive=self.archive.path,
            read=self.read_now,
            already=len(read) - self.read_now,
            refused=tuple(refused),
            images=self.archive.count()[0],
            studies=len(studies),
            duplicates=duplicates,
            patients=len({study.patient for study in studies} - {None}),
            studies_without_patient=unknown,
            labels=label_counts(studies),
            notes=(*self.said.notes, *self.said.contradictions(), *notes, *self._doubts()),
            seconds=seconds,
        )

    def _doubts(self) -> list[str]:
        """Tell a person to look where the header does not say whether a name stands in the pixels."""
        told = f"of the images read now are of {MAY_SHOW}: look at them before the archive is passed on"
        return [f"{len(self.may_show):,} {told}"] if self.may_show else []


def _keys(job: Job) -> Iterator[tuple[str, Part]]:
    """Yield each part of a job with the key that it has in the book: its absolute path, wherever one stands."""
    for part in job.parts:
        key = storable(os.path.abspath(part.path)) + (f"!{storable(part.member)}" if part.member else "")
        yield (f"{key}!{job.chunk.split}/{job.chunk.start}-{job.chunk.stop}" if job.chunk else key), part


def _absolute(job: Job, name: str) -> str:
    """Return a name as offered ("a.zip!x.png") with the absolute path in front."""
    part = next((p for p in job.parts if name == p.name or name.startswith(f"{p.name}!")), job.parts[0])
    base = part.name[: -len(part.member) - 1] if part.member else part.name
    return storable(os.path.abspath(part.path) + name[len(base) :])


def _own(origin: Origin, *, key: bytes) -> dict[str, Any]:
    """Return what a source says of itself, its identifiers as pseudonyms."""
    facts: Mapping[str, Any] = origin.facts
    own: dict[str, Any] = {
        "labels": {n: v for n, v in facts.items() if n != "split"},
        "splits": {"split": facts["split"]} if facts.get("split") else {},
        "strata": dict(origin.strata),
    }
    if (origin.patient_id or "").strip():
        own["patient"] = pseudonym("P", origin.patient_id, key=key)
    if (origin.study_uid or "").strip():
        own["study"] = pseudonym("S", origin.study_uid, key=key)
    return own


def _missing(row: LabelRow) -> Refused:
    reason = f"line {row.line} of the label table names it, and it is not among the files offered"
    return Refused(row.file, code="missing-file", reason=reason)
