"""What is offered to collect, and its files as the book knows them: their keys, how they were, what became of them."""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import overread
from overread import engine
from overread.errors import NothingToDo
from overread.formats.deid import pseudonym
from overread.formats.door import Job, Jobs, Part, Refused, candidates
from overread.formats.far import AllKnown
from overread.formats.found import Origin
from overread.steps.far import far_of, is_far, version
from overread.steps.parts import read_with
from overread.steps.people import person_words
from overread.steps.progress import bar as moved_bar
from overread.steps.shelved import Fetched
from overread.steps.written import read_and_write
from overread.store.archive import Archive
from overread.store.crosswalk import Crosswalk
from overread.store.entries import Offered
from overread.store.places import storable
from overread.store.rows import record_of

_MANY = 5000  # files from which on other processes are surely needed
_TRY_AGAIN = ("reader-died", "unreadable")  # refusals that another day may not give

Looks = dict[str, tuple[int, int]]
"""Path → size and time of change, before it is read; missing where it is gone."""


def _absolute(path: str) -> str:
    """Return ``os.path.abspath``; of a folder's ten thousand files it is asked once."""
    if is_far(path):
        return path
    folder, name = os.path.split(path)
    within = _within(folder)
    if not within or name in ("", os.curdir, os.pardir):
        return os.path.abspath(path)
    return within + name


@functools.lru_cache(maxsize=64)
def _within(folder: str) -> str:
    """Return how the paths of an absolute folder's files begin; nothing where it is relative, for what it means may change."""
    return os.path.join(os.path.normpath(folder), "") if os.path.isabs(folder) else ""


def keys_of(job: Job) -> Iterator[tuple[str, Part]]:
    """Yield each part of a job with the key that it has in the book: its absolute path, wherever one stands."""
    for part in job.parts:
        key = storable(_absolute(part.path)) + (f"!{storable(part.member)}" if part.member else "")
        yield (f"{key}!{job.chunk.split}/{job.chunk.start}-{job.chunk.stop}" if job.chunk else key), part


def places_of(job: Job) -> Iterator[str]:
    """Yield the keys of a job's parts, and of the archives that they lie in."""
    before = ""
    for key, part in keys_of(job):
        yield key
        if (part.member or job.chunk) and part.path != before:
            before = part.path
            yield storable(_absolute(before))


def looked_at(job: Job) -> Looks:
    """Look at a job's files on disk; before they are read, so that a change meanwhile is seen the next time.

    Files elsewhere were looked at when they were listed.
    """
    stats = {part.path: version(part.stamp) for part in job.parts if part.stamp}
    for path in {part.path for part in job.parts if not part.stamp}:
        try:
            about = os.stat(path)
        except OSError:  # gone or forbidden: the door's refusal says so
            continue
        stats[path] = (about.st_size, about.st_mtime_ns)
    return stats


def is_known(known: Offered | None, now: tuple[int, int] | None) -> bool:
    """True for a file that need not be read again: nothing about it has changed, nor, where it was refused, the reader."""
    if known is None or (known.size, known.mtime_ns) != now:
        return False
    return known.code is None or (known.code not in _TRY_AGAIN and known.reader == overread.__version__)


def is_healed(job: Job, known: Mapping[str, Offered]) -> bool:
    """True for a series beside which fewer files are lost now than when it was read: its volume may say less of that."""
    return job.kind == "dicom" and any(before.lost > job.lost for before in known.values())


def entry(key: str, part: Part, refusal: Refused | None, stats: Looks, *, lost: int = 0) -> Offered:
    """Return what is kept of a file that was read, or refused; ``lost`` files beside it could not be read."""
    size, mtime = stats.get(part.path, (-1, -1))
    if refusal is None:
        return Offered(key, storable(part.name), size, mtime, reader=overread.__version__, lost=lost)
    return Offered(key, storable(refusal.file), size, mtime, refusal.code, refusal.reason, overread.__version__)


def absolute(job: Job, name: str) -> str:
    """Return a name as offered ("a.zip!x.png") with the absolute path in front."""
    part = next((p for p in job.parts if name == p.name or name.startswith(f"{p.name}!")), job.parts[0])
    base = part.name[: -len(part.member) - 1] if part.member else part.name
    return storable(_absolute(part.path) + name[len(base) :])


def own_words(origin: Origin, *, key: bytes, keys: Sequence[str] = (), row: tuple | None = None) -> dict[str, Any]:
    """Return what a source says of itself, its identifiers as pseudonyms; and of a slice or volume, what ``keys`` it was read with.

    ``row`` is what the archive keeps of it.
    """
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
    if (origin.series_uid or "").strip():
        own["series"] = pseudonym("E", origin.series_uid, key=key)
        if row is not None and record_of(row).geometry is not None:
            own["with"] = read_with(keys)
    if person := person_words(origin.person, key=key):
        own["person"] = person
    return own


@contextmanager
def _what_is_known(into: Path) -> Iterator[AllKnown]:
    """Give what says of files elsewhere whether an archive knows all of them as they were listed."""
    with Archive.create(into) as archive, Crosswalk(archive.shelf()) as book:

        def all_known(parts: list[Part]) -> bool:
            for start in range(0, len(parts), _MANY):
                some = parts[start : start + _MANY]
                known = book.known([storable(part.path) for part in some])
                if not all(is_known(known.get(storable(p.path)), version(p.stamp)) for p in some if p.stamp):
                    return False
            return True

        yield all_known


def offered_jobs(
    here: Iterable[str | os.PathLike], fetched: Iterable[Fetched], into: Path, *, warm: bool, show: bool
) -> Jobs:
    """Return what there is to read, without what lies in the archive itself.

    Raises
    ------
    NothingToDo
        When there is no file.
    """
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
            if next(count) == _MANY and warm:
                engine.warm(read_and_write)

        far = far_of(sources)
        with _what_is_known(into) if far and into.exists() else nullcontext() as all_known:
            jobs = candidates(sources, tick=tick, skip=in_archive, far=far, all_known=all_known)
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
