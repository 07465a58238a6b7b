"""Check that what was kept is whole: a journal and the documents it names, a run and its reads, or all of an archive."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from overread.domain.canonical import plain
from overread.errors import NothingToDo
from overread.learn.predict import Model
from overread.steps import reads
from overread.steps.agreed import agreed
from overread.steps.collected import counted_of, cut_short
from overread.steps.far import is_far
from overread.steps.opened import at_hand, open_archive
from overread.steps.printed import check_pages
from overread.steps.progress import bar
from overread.steps.run import LATER, refuse_unsealed
from overread.store import shelf
from overread.store.journal import Journal

PLACES = ("journal.jsonl", ".overread/journal.jsonl")


@dataclass(frozen=True)
class Verified:
    """A journal that was followed from its first record to its last.

    Parameters
    ----------
    records : int
    signatures : int
        Signed versions of reports, each with all its documents unchanged.
    reports : int
        Reports of the machine, with their heat-maps and drafts, as they were made.
    head : str
        Hash of the last record. Whoever keeps it elsewhere can later prove that nothing before it was changed.
    kinds : dict of str to int
        How often each kind of record occurs.
    """

    records: int
    signatures: int
    reports: int
    head: str
    kinds: dict[str, int]

    def to_json(self) -> dict[str, Any]:
        """Return the account as plain JSON values."""
        return plain(self.__dict__)

    def __str__(self) -> str:
        counted = ", ".join(f"{n} {kind}" for kind, n in sorted(self.kinds.items())) or "no records"
        return (
            f"{self.records:,} records whole and in order ({counted})\n"
            f"{counted_of(self.signatures, 'signature')} and {counted_of(self.reports, 'report')} of the machine, every file of them unchanged\n"
            f"last record {self.head}"
        )


@dataclass(frozen=True)
class VerifiedArchive:
    """An archive whose images and studies are what was stored.

    Covered: the voxels, size, unit, range, geometry and modality of every image, by its hash, and who, answers, groups and
    divisions of every study, by the seal. An image's attributes and notes are not.

    Parameters
    ----------
    images : int
    studies : int
        All of whose images are there.
    reads : int
        How often a model was measured on images of it.
    unclaimed : int
        Images of no study: a collection was cut short.
    seal : str
        Over all studies; "" where an older overread wrote them. It has no key: whoever keeps it elsewhere can later prove
        that no answer was changed.
    """

    images: int
    studies: int
    reads: int = 0
    unclaimed: int = 0
    seal: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the account as plain JSON values."""
        return plain(self.__dict__)

    def __str__(self) -> str:
        measured = f"; {self.reads:,} measurements of models on it, whole and in order" if self.reads else ""
        lines = [
            f"{counted_of(self.images, 'image')} unchanged, voxels and geometry by their hash; "
            f"{'1 study with all its' if self.studies == 1 else f'{self.studies:,} studies with all their'} images{measured}"
        ]
        if self.seal:
            lines.append(f"patients, answers, groups and divisions as they were written; seal {self.seal[:16]}")
        elif self.studies:
            lines.append(
                "whether their answers were changed cannot be said: an older overread wrote them, without a seal"
            )
        return "\n".join([*lines, *cut_short(self.unclaimed)])


@dataclass(frozen=True)
class VerifiedRun:
    """A run whose files are those that were trained, and whose figures have the reads behind them.

    Parameters
    ----------
    files : int
        All as the run's manifest records them, and the card by its fingerprint.
    reads : dict of str to int
        How often a testing cohort was read, by the verb that did.
    figures : int
        Files of figures, unchanged since they were measured.
    head : str
        Hash of the last record of the journal of reads. Whoever keeps it elsewhere can later prove that no read was
        taken out; "" for a run that was not measured yet.
    notes : tuple of str
        Where the archive counts otherwise.
    """

    files: int
    reads: dict[str, int]
    figures: int
    head: str
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the account as plain JSON values."""
        return plain(self.__dict__)

    def __str__(self) -> str:
        told = ", ".join(f"{n:,} by {verb}" for verb, n in sorted(self.reads.items())) or "none yet"
        lines = [
            f"{self.files:,} files as they were trained, by their hashes; {self.figures:,} files of figures unchanged",
            f"reads of testing cohorts, whole and in order: {told}",
            *([f"last record {self.head}"] if self.head else []),
        ]
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])


def verify(path: Path | str, *, progress: bool = True) -> Verified | VerifiedArchive | VerifiedRun:
    """Follow a journal's chain, and compare every document it names with its hash; or check a run, or an archive's bytes.

    Parameters
    ----------
    path : Path or str
        A journal, an inbox that has one, a run, or an archive; also ``s3://BUCKET/FOLDER``.
    progress : bool
        Draw a bar on stderr while a large archive is read.

    Raises
    ------
    NothingToDo
        If there is neither a journal nor a run nor an archive.
    IntegrityError
        Naming the first record that is broken, or the record whose document is missing or changed; or the image; or the
        file of a run; or the figures without a read behind them.
    RunError
        If the run is not finished.
    ArchiveError
        If the archive was made by a newer overread.
    """
    if is_far(path):
        return _archive(at_hand(path, anew=True), show=progress)
    path = Path(path)
    path = path.parent if path.name == reads.NAME else path
    if (path / "manifest.json").is_file() or (path / "unfinished").is_file():
        return _with_pages(path, check_run(path))
    if (path / "archive.sqlite").is_file():
        return _archive(path, show=progress)
    file = next((f for f in (path, *(path / place for place in PLACES)) if f.is_file()), None)
    if file is None:
        _refuse_lost(path)
        _refuse_table(path)
        raise NothingToDo(
            "no journal, no run and no archive there",
            expected="a journal, an inbox with one, a run, or an archive",
            do="check the path",
        )
    journal = Journal(file)
    records = journal.verify()
    kinds = Counter(record["kind"] for record in journal.records())
    kept = shelf.check(file.parent, journal.records())
    return Verified(records, kept.signatures, kept.reports, journal.head[1], dict(kinds))


def _refuse_table(path: Path) -> None:
    """Say what a folder is in which a distillation kept no network: whole, but no run."""
    if (path / "distil.json").is_file():
        raise NothingToDo(
            f"{path} holds the table of a distillation that kept no network (distil.json)",
            expected="a journal, an inbox with one, a run, or an archive",
            do="nothing is missing; to keep a network: overread distil into a new folder, with a larger --margin or more tuning patients",
        )


def _refuse_lost(inbox: Path) -> None:
    """Tell an inbox whose journal is gone from a folder that never had one."""
    if (inbox / ".overread" / "studies").is_dir():
        shelf.refuse_unrecorded(inbox / ".overread", ())


def check_run(path: Path) -> VerifiedRun:
    """Check a run: every sealed file by its hash, the card by its fingerprint, the figures by the journal of reads.

    Raises
    ------
    IntegrityError
        Naming the file, or the record, that is not as it was written.
    RunError
        If the run is not finished.
    """
    files = Model.load(path).files
    kept = reads.check(path)
    refuse_unsealed(path)  # after the chain of the journal that it asks was followed
    loose = [name for name in LATER if name not in files and (path / name).is_file()]
    unread = [
        f"{name} is not sealed, as an older version left it: nothing reads it until it is made anew" for name in loose
    ]
    return VerifiedRun(len(files), kept.by, kept.figures, kept.head, (*kept.notes, *unread))


def _with_pages(path: Path, found: VerifiedRun) -> VerifiedRun:
    """Return what was found of a run, its pages and its archive's answers compared, too; `overread report` does not ask for that."""
    return replace(found, notes=(*found.notes, *check_pages(path), *agreed(path)))


def _archive(path: Path, *, show: bool) -> VerifiedArchive:
    measured = reads.beside(path)
    times = measured.verify() if measured.begun else 0
    with open_archive(path) as archive:
        images, studies = archive.count()
        with bar(total=images, what="checking every byte", unit="images", show=show) as checked:
            found = archive.verify(tick=checked.update)
            return VerifiedArchive(found, studies, times, archive.unclaimed(), archive.seal())
