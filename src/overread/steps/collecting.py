"""One run of collect: what is offered is held against the book, read where it is new, and stored in small steps."""

from __future__ import annotations

import functools
import itertools
import os
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any, NamedTuple

from tqdm import tqdm

from overread import engine
from overread.domain import Study
from overread.formats.door import Job, Jobs, Part, Refused
from overread.formats.facts import MAY_SHOW
from overread.steps.collected import Collected, label_counts, unheard_told
from overread.steps.contradicted import keep_contradicted
from overread.steps.examinations import examinations
from overread.steps.offered import Looks, absolute, entry, is_healed, is_known, keys_of, looked_at, own_words, places_of
from overread.steps.people import keep_people
from overread.steps.progress import bar as moved_bar
from overread.steps.said import Said
from overread.steps.written import Written, read_and_write
from overread.store.archive import Archive
from overread.store.crosswalk import Crosswalk
from overread.store.entries import Offered, Source
from overread.store.places import storable

_KEEP_AFTER_S = 0.5
_LITTLE = 32 << 20  # bytes that are read before other processes have started, all together
_SMALL = 4 << 20  # and by one job while they start
_QUEUED, _AHEAD = 128, 1000  # small pictures that wait at a process; results that wait while a large volume is read
_AT_ONCE = 64  # files that the book is asked about in one go


class _Offer(NamedTuple):
    """A job that is being read, the keys of its files, and how they were before."""

    job: Job
    keys: list[tuple[str, Part]]
    stats: Looks
    again: bool = False  # some of its series was read before


class Collecting:
    """One run of collect: what was offered, what is known, what was read. It holds a few jobs at a time, never all."""

    def __init__(self, archive: Archive, book: Crosswalk, said: Said, jobs: Jobs) -> None:
        self.archive, self.book, self.said, self.jobs = archive, book, said, jobs
        self.read_now = self.moved = self.shared = 0
        self.may_show: set[str] = set()
        self.arrays_read: set[str] = set()
        self.key = archive.key
        self.handed_out: deque[_Offer] = deque()  # being read
        self.looked_at = 0  # jobs
        self.pending: list[tuple[_Offer, Any]] = []  # with what came of them
        self.settling: deque[tuple[Future, list[tuple[_Offer, Any]]]] = deque()  # while the disk takes their voxels
        self.said_again: list[tuple[str, Part]] = []
        self.book.begin(key for job in jobs for key in places_of(job))

    def read(
        self, crew: list[engine.Worker], *, workers: int | None, cluster: str | None, shared: Sequence, show: bool
    ) -> None:
        """Read what is not known yet, and store it in small steps: each is kept whole."""
        with (
            moved_bar(total=len(self.jobs), what="collecting", unit="files", show=show) as moving,
            ThreadPoolExecutor(1) as disk,
        ):
            todo = self._todo(moving)
            first = list(itertools.islice(todo, engine.INLINE))  # a few small ones are read here
            read = engine.map(
                functools.partial(read_and_write, self.archive.objects),
                itertools.chain(first, todo),
                workers=workers,
                chunk=_QUEUED,
                ahead=_AHEAD,
                inline=2 if crew or self._bytes() >= _LITTLE else engine.INLINE,
                here=self._is_small,
                left=lambda: len(self.jobs) - self.looked_at,
                crew=crew,
                cluster=cluster,
                shared=shared,
                into=self.archive.objects.folder,
            )
            kept = time.monotonic()
            try:
                for results in read:
                    moving.update()
                    self.pending.append((self.handed_out.popleft(), results))
                    if time.monotonic() - kept > _KEEP_AFTER_S:
                        self._keep(disk)
                        kept = time.monotonic()
            finally:
                read.close()
                self._keep(disk, all_of_it=True)
                self._say_again()
        why = "a hidden file, or what an operating system leaves behind; passed over"
        for job in self.jobs:
            if job.kind == "ignored":
                stats = looked_at(job)
                hidden = [(k, part, Refused(part.name, code="hidden", reason=why)) for k, part in keys_of(job)]
                self.book.store([entry(k, part, refused, stats) for k, part, refused in hidden], ())

    def _todo(self, moving: tqdm) -> Iterator[Job]:
        """Yield what has to be read of each job: all of a series, only the new ones of other files."""
        for some in self._offers():
            known = self.book.known([key for offer in some for key, _ in offer.keys])
            for job, keys, stats, _ in some:
                self.looked_at += 1
                before = {key: known[key] for key, _ in keys if key in known}
                healed = is_healed(job, before) and self.book.all_here([key for key, _ in keys])
                new = [(k, part) for k, part in keys if healed or not is_known(before.get(k), stats.get(part.path))]
                if new and job.kind not in ("dicom", "array") and len(new) < len(keys):
                    job = replace(job, parts=tuple(part for _, part in new))
                if self.said.any:
                    fresh = set(job.parts) if new else set()
                    self.said_again += [(key, part) for key, part in keys if part not in fresh]
                    if len(self.said_again) >= _QUEUED:
                        self._say_again()
                if new:
                    again = job.kind == "dicom" and any(known.code is None for known in before.values())
                    self.handed_out.append(_Offer(job, new if len(new) == len(job.parts) else keys, stats, again))
                    yield job
                else:
                    moving.update()

    def _offers(self) -> Iterator[list[_Offer]]:
        """Look at a few dozen files at a time, and at each no sooner than need be."""
        some: list[_Offer] = []
        for job in self.jobs:
            if job.kind != "ignored":
                some.append(_Offer(job, list(keys_of(job)), looked_at(job)))
            if sum(len(offer.keys) for offer in some) >= _AT_ONCE:
                yield some
                some = []
        yield some

    def _is_small(self, job: Job) -> bool:
        """True for a job that may be read beside the book, while worker processes start."""
        return sum(size for size, _ in self.handed_out[0].stats.values()) < _SMALL  # the first is the one in question

    def _bytes(self) -> int:
        """Return how large the files are that the first jobs read."""
        return sum(size for offer in self.handed_out for size, _ in offer.stats.values())

    def _keep(self, disk: ThreadPoolExecutor, *, all_of_it: bool = False) -> None:
        """Have the disk take what was read since the last time, and make known what it has taken since then.

        First the images are known, once they are on the disk, then where they came from.
        """
        if self.pending:
            written = (r for _, results in self.pending if not isinstance(results, engine.Failure) for r in results)
            begun = [(image.row[0], image.begun) for image in written if isinstance(image, Written)]
            self.settling.append((disk.submit(self.archive.objects.finish, begun), self.pending))
            self.pending = []
        while len(self.settling) > (not all_of_it):
            settled, these = self.settling[0]
            try:
                settled.result()
            except Exception:
                self.settling.popleft()  # these are lost: the disk is full
                raise
            self._store(these)
            self.settling.popleft()

    def _store(self, settled: list[tuple[_Offer, Any]]) -> None:
        """Make known what is on the disk."""
        offered: list[Offered] = []
        sources: list[Source] = []
        rows: list[tuple] = []
        anew: list[tuple] = []
        for offer, results in settled:
            if isinstance(results, engine.Failure):
                results = [Refused(part.name, code="reader-died", reason=results.reason) for part in offer.job.parts]
            self._sort(offer, results, offered, sources, anew if offer.again else rows)
        self.archive.record_rows(rows)
        if anew:
            self.archive.record_rows(anew, anew=True)
        self.moved += self.book.store(offered, sources)

    def _sort(
        self,
        offer: _Offer,
        results: Iterable[Written | Refused],
        offered: list[Offered],
        sources: list[Source],
        rows: list[tuple],
    ) -> None:
        job, keys, stats, _ = offer
        by_name = {part.name: key for key, part in keys}
        refused: dict[str, Refused] = {}
        for result in results:
            if isinstance(result, Refused):
                refused[by_name.get(result.file) or absolute(job, result.file)] = result
                continue
            rows.append(result.row)
            if result.may_show:
                self.may_show.add(result.row[0])
            names = result.origin.files
            of = tuple(dict.fromkeys(by_name.get(n, keys[0][0]) for n in names))
            file = by_name.get(names[0]) or absolute(job, names[0])
            own = own_words(result.origin, key=self.key, keys=[k for k, _ in keys], row=result.row)
            sources.append(Source(file, result.origin.digest, result.row[0], own, self.said.of(names), of))
        for key, part in keys:
            refusal = refused.pop(key, None)
            if refused and job.chunk and not any(isinstance(result, Written) for result in results):
                refusal = refused.pop(next(iter(refused)))  # none of its images was read
            offered.append(entry(key, part, refusal, stats, lost=job.lost))
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
            keep_contradicted(self.archive, made.contradicted)
            self.shared = keep_people(self.archive, made.shared)
            self.archive.change(changed, gone=before.keys() - names)
        return made.studies, made.duplicates, made.notes

    def summary(
        self, studies: tuple[Study, ...], duplicates: int, notes: tuple[str, ...], *, seconds: float
    ) -> Collected:
        """Say what came of this run."""
        if self.said.table:
            table = Refused("", code="label-table", reason="the label table: its answers are read, it is no image")
            why = "line {} of the label table names it, and no one file or study offered is called so"
            rows = self.said.matched.missing
            missing = [Refused(row.file, code="missing-file", reason=why.format(row.line)) for row in rows]
            self.book.note_table(
                storable(os.path.abspath(self.said.table.path)),
                (table.code, table.reason),
                missing=[(row.file, row.code, row.reason) for row in missing],
            )
        places = [storable(os.path.abspath(self.said.table.path))] if self.said.table else []
        refused = [{"file": o.name, "code": o.code, "reason": o.reason} for o in self.book.refused(*places)]
        unknown = sum(study.patient is None for study in studies)
        return Collected(
            archive=self.archive.path if self.archive.remote is None else self.archive.remote.address,
            read=self.read_now,
            already=self.book.read() - self.read_now,
            refused=tuple(refused),
            images=self.archive.count()[0],
            studies=len(studies),
            duplicates=duplicates,
            patients=len({study.patient for study in studies} - {None}),
            shared_numbers=self.shared,
            studies_without_patient=unknown,
            labels=label_counts(studies),
            notes=(*self.said.notes, *self.said.contradictions(), *self.said.unfound(), *notes, *self._doubts()),
            seconds=seconds,
        )

    def _doubts(self) -> list[str]:
        """Tell a person to look where the header does not say whether a name stands in the pixels, and where a volume lost a file."""
        kept, out = self.book.outlived(), unheard_told(self.book.unheard())
        if kept:
            some = "1 volume stays as it was" if kept == 1 else f"{kept:,} volumes stay as they were"
            out += [f"{some} stored, though a file read with {'it' if kept == 1 else 'them'} now holds another image"]
        told = f"of the images read now are of {MAY_SHOW}: look at them before the archive is passed on"
        return [*out, f"{len(self.may_show):,} {told}"] if self.may_show else out
