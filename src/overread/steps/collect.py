"""Collect: folders, files, zip archives and arrays of images become an archive without names."""

from __future__ import annotations

import functools
import itertools
import os
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from overread import engine
from overread.domain import Study, code_of
from overread.errors import IdentityRefused, LabelError, NothingToDo
from overread.formats.door import Job, Jobs, Part, Refused, candidates, read_job
from overread.formats.facts import IN_PIXELS, MAY_SHOW
from overread.formats.found import Origin
from overread.formats.labels import LabelRow
from overread.steps.collected import Collected, label_counts, telling
from overread.steps.examinations import examinations
from overread.steps.fetched import Fetched, fetch, is_remote
from overread.steps.offered import Looks, absolute, entry, is_known, keys_of, looked_at, own_words, places_of
from overread.steps.progress import bar as moved_bar
from overread.steps.said import Said
from overread.store.archive import Archive
from overread.store.crosswalk import Crosswalk, Offered, Source, storable
from overread.store.objects import ImageRecord, begin_object, finish_object

_FLUSH_AFTER_S = 1.0
_LITTLE = 32 << 20  # bytes that are read before other processes have started
_MANY = 200  # files from which on other processes are surely needed
_QUEUED, _AHEAD = 64, 1000  # small pictures that wait at a process; results that wait while a large volume is read
_WAITING = 16  # threads that wait for the disk: it takes sixteen small files in about the time of one


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
    jobs = _offered_jobs(here, fetched, Path(into), workers=workers, show=progress)
    roots = [*here, *(f.root for f in fetched)]
    studies = {name: folder for f in fetched for name, folder in f.studies.items()}
    said = Said(roots, jobs, labels=labels, folders=labels_from_folders, patient=patient, studies=studies)
    said.notes += [note for f in fetched for note in f.notes]
    with Archive.create(into) as archive, Crosswalk(archive.shelf()) as book:
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
        raise NothingToDo(
            f"{len(collected.refused)} file{'s' * (len(collected.refused) != 1)} and no image among them "
            f"({telling(collected.refused)})",
            expected="at least one image that can be read",
            do="point to the folder, archive or file that holds the images",
        )
    return collected


def _offered_jobs(
    here: Iterable[str | os.PathLike], fetched: Iterable[Fetched], into: Path, *, workers: int | None, show: bool
) -> Jobs:
    """Return what there is to read, without what lies in the archive itself."""
    ours = tuple(os.path.join(os.path.abspath(f"{into}{end}"), "") for end in ("", ".names"))
    brought = tuple(os.path.join(os.path.abspath(f.root), "") for f in fetched)

    def in_archive(path: str) -> bool:
        path = os.path.join(os.path.abspath(path), "")
        return path.startswith(ours) and not path.startswith(brought)

    sources = [*(s for s in here if not in_archive(os.fspath(s))), *(path for f in fetched for path in f.paths)]
    with moved_bar(total=None, what="looking", unit="files", show=show) as looking:
        count = itertools.count(1)

        def tick() -> None:
            looking.update()
            if next(count) == _MANY and workers != 1:
                engine.warm(_read_and_write)

        jobs = candidates(sources, tick=tick, skip=in_archive)
    if not len(jobs):
        if missed := [m for f in fetched for m in f.missed]:
            raise NothingToDo(
                f"{len(missed)} asked for and none brought; {missed[0].name}: {missed[0].reason}",
                expected="at least one image",
            )
        raise NothingToDo(
            f"no file in {'the source' if len(sources) == 1 else 'the sources'}"
            + (f" but {jobs.ignored} hidden ones" if jobs.ignored else ""),
            expected="images",
            do="point to the folder, archive or file that holds the images",
        )
    return jobs


# -- reading ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Stored:
    """An image that a worker has written under the name ``begun``, and where it came from."""

    record: ImageRecord
    begun: str
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
            done.append(_Stored(*begin_object(objects, result.image), result.origin))
    return done


def _shown(file: str, why: str) -> Refused:
    """Refuse what tells of itself who it is: an archive would keep the name as pixels."""
    told = IdentityRefused(
        f"an image that says {why}",
        expected="Burned In Annotation NO, and no face or label",
        do="blank it in an image editor for DICOM, then say so in its header",
    )
    return Refused(file, code="burned-in", reason=str(told))


@dataclass(frozen=True)
class _Read:
    """A job that was read, its files as they were before, what came of it, and the threads that wait for the disk."""

    job: Job
    stats: Looks
    results: Any
    finishing: list[Future]


class _Run:
    """One run of collect: what was offered, what is known, what was read. It holds a few jobs at a time, never all."""

    def __init__(self, archive: Archive, book: Crosswalk, said: Said, jobs: Jobs) -> None:
        self.archive, self.book, self.said, self.jobs = archive, book, said, jobs
        self.read_now = self.moved = 0
        self.may_show: set[str] = set()
        self.arrays_read: set[str] = set()
        self.handed_out: deque[tuple[Job, Looks]] = deque()  # being read
        self.said_again: list[tuple[str, Part]] = []
        self.book.begin(key for job in jobs for key in places_of(job))

    def read(self, *, workers: int | None, show: bool) -> None:
        """Read what is not known yet, and store it in small steps: each is kept whole."""
        with moved_bar(total=len(self.jobs), what="collecting", unit="files", show=show) as moving:
            todo = self._todo(moving)
            first = list(itertools.islice(todo, engine.INLINE))  # a few small ones are read here
            read = engine.map(
                functools.partial(_read_and_write, self.archive.objects),
                itertools.chain(first, todo),
                workers=workers,
                chunk=_QUEUED,
                ahead=_AHEAD,
                inline=engine.INLINE if self._bytes() < _LITTLE else 2,
            )
            pending: list[_Read] = []
            flushed = time.monotonic()
            with ThreadPoolExecutor(_WAITING) as waiting:
                try:
                    for results in read:
                        moving.update()
                        pending.append(_Read(*self.handed_out.popleft(), results, self._finish(results, waiting)))
                        if time.monotonic() - flushed > _FLUSH_AFTER_S:
                            self._store(pending)
                            pending, flushed = [], time.monotonic()
                finally:
                    read.close()
                    self._store(pending)
                    self._say_again()
        why = "a hidden file, or what an operating system leaves behind; passed over"
        for job in self.jobs:
            if job.kind == "ignored":
                stats = looked_at(job)
                hidden = [(k, part, Refused(part.name, code="hidden", reason=why)) for k, part in keys_of(job)]
                self.book.store([entry(k, part, refused, stats) for k, part, refused in hidden], ())

    def _finish(self, results: Any, waiting: ThreadPoolExecutor) -> list[Future]:
        """Have the disk take what a worker has written, without waiting for it here."""
        if isinstance(results, engine.Failure):
            return []
        done = [r for r in results if isinstance(r, _Stored)]
        return [waiting.submit(finish_object, self.archive.objects, r.record, r.begun) for r in done]

    def _todo(self, moving: tqdm) -> Iterator[Job]:
        """Yield what has to be read of each job: all of a series, only the new ones of other files."""
        for job in self.jobs:
            if job.kind == "ignored":
                continue
            stats, keys = looked_at(job), list(keys_of(job))
            known = self.book.known([key for key, _ in keys])
            new = [part for key, part in keys if not is_known(known.get(key), stats.get(part.path))]
            if new and job.kind not in ("dicom", "array"):
                job = replace(job, parts=tuple(new))
            fresh = set(job.parts) if new else set()
            if self.said.any:
                self.said_again += [(key, part) for key, part in keys if part not in fresh]
                if len(self.said_again) >= _QUEUED:
                    self._say_again()
            if new:
                self.handed_out.append((job, stats))
                yield job
            else:
                moving.update()

    def _bytes(self) -> int:
        """Return how large the files are that the first jobs read."""
        return sum(size for _, stats in self.handed_out for size, _ in stats.values())

    def _store(self, pending: list[_Read]) -> None:
        """Make what workers have written known: first the images, once the disk has them, then where they came from."""
        offered: list[Offered] = []
        sources: list[Source] = []
        records: list[ImageRecord] = []
        for read in pending:
            for finishing in read.finishing:
                finishing.result()
            results = read.results
            if isinstance(results, engine.Failure):
                results = [Refused(part.name, code="reader-died", reason=results.reason) for part in read.job.parts]
            self._sort(read.job, read.stats, results, offered, sources, records)
        if offered:
            self.archive.record(records)
            self.moved += self.book.store(offered, sources)

    def _sort(
        self,
        job: Job,
        stats: Looks,
        results: Iterable[_Stored | Refused],
        offered: list,
        sources: list,
        records: list,
    ) -> None:
        by_name = {part.name: key for key, part in keys_of(job)}
        refused: dict[str, Refused] = {}
        for result in results:
            if isinstance(result, Refused):
                refused[by_name.get(result.file, absolute(job, result.file))] = result
                continue
            records.append(result.record)
            if "may-show-name" in map(code_of, result.record.notes):
                self.may_show.add(result.record.hash)
            names = result.origin.files
            keys = tuple(dict.fromkeys(by_name.get(n, next(iter(by_name.values()))) for n in names))
            file = absolute(job, names[0])
            own = own_words(result.origin, key=self.archive.key)
            sources.append(Source(file, result.origin.digest, result.record.hash, own, self.said.of(names), keys))
        for key, part in keys_of(job):
            refusal = refused.pop(key, None)
            offered.append(entry(key, part, refusal, stats))
            if refusal is None and part.name not in self.arrays_read:
                self.read_now += 1
                if job.chunk:  # the other chunks are of the same file
                    self.arrays_read.add(part.name)
        offered += [entry(key, job.parts[0], refusal, stats) for key, refusal in refused.items()]

    def _say_again(self) -> None:
        """Tell the book what this run's table, folders or pattern say of files that were known before."""
        old, self.said_again = dict(self.said_again), []
        words: dict[str, dict[str, Any]] = {}
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
        places = [storable(os.path.abspath(self.said.table.path))] if self.said.table else []
        refused = [{"file": o.name, "code": o.code, "reason": o.reason} for o in self.book.refused(*places)]
        unknown = sum(study.patient is None for study in studies)
        return Collected(
            archive=self.archive.path,
            read=self.read_now,
            already=self.book.read() - self.read_now,
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


def _missing(row: LabelRow) -> Refused:
    reason = f"line {row.line} of the label table names it, and it is not among the files offered"
    return Refused(row.file, code="missing-file", reason=reason)
