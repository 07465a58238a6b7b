"""Count how often a testing cohort was read: in the run, and beside the archive, where every model's reads meet.

Both counts are journals whose records are chained by their hashes (`store.journal`): a read that was taken out, changed
or put in breaks the chain, and figures without the read behind them are refused. A read is recorded before anything is
measured: what cannot be recorded is not measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from overread import __version__
from overread.domain import fingerprint
from overread.errors import IntegrityError, SourceError
from overread.learn.predict import Model
from overread.steps.figures import differing, edited, figures_in, known_removed, sealed_figures
from overread.steps.run import LEFT_OUT, READS, archive_of, read_json, record_manifest, refuse_unsealed
from overread.steps.shared_reads import add, fetched
from overread.store.journal import Journal

NAME = READS
"""The journal in a run's folder, and in an archive's."""

EARLIER = "reads.json"
"""Where runs made before there was a journal counted their reads: taken over once, in the first record."""


@dataclass(frozen=True)
class Reads:
    """How often a cohort was read, and by how many models.

    Parameters
    ----------
    times : int
        By this run.
    place, models : int or None
        This model is the ``place``-th of ``models`` different ones that were measured on the cohort; None where the
        archive, in which all are counted, is not here.
    notes : tuple of str
        Why the count may be too low.
    own : bool
        False where the images are another archive's.
    """

    times: int
    place: int | None
    models: int | None
    notes: tuple[str, ...] = ()
    own: bool = True

    def __str__(self) -> str:
        of = "this testing cohort" if self.own else "these images of the other archive"
        if self.place is None or self.models is None:
            return f"not known how many models were measured on {of}, as its archive is not here"
        by_now = f", of {self.models:,} by now" if self.models > self.place else ""
        return f"the {nth(self.place)} model measured on {of}{by_now}"

    def warnings(self) -> list[str]:
        """Return what a reader of the figures must know: the best of several on the same images is flattered."""
        told = f"This is {self}: the best of several measured on the same images looks better than it is."
        return [*([told] if self.models and self.models > 1 else []), *self.notes]


@dataclass(frozen=True)
class Kept:
    """What a run's journal holds, followed from its first record to its last.

    Parameters
    ----------
    by : dict of str to int
        Reads by the verb that made them.
    figures : int
        Files of figures that are as they were written.
    head : str
        Hash of the last record; "" where there is none.
    notes : tuple of str
    """

    by: dict[str, int]
    figures: int
    head: str
    notes: tuple[str, ...] = ()


def model_of(run: Path) -> str:
    """Return the fingerprint of what is measured: the network with its calibration, whatever the card says of them."""
    files = read_json(run / "manifest.json")["files"]
    return fingerprint([files["model.onnx"], files["calibration.json"]])


def count(
    run: Path,
    archive: Path | None,
    images: Sequence[str],
    *,
    model: str,
    own: bool,
    now: datetime,
    by: str = "evaluate",
) -> Reads:
    """Record that a cohort is read, in the run and in the archive's folder, and say how often it has been.

    Parameters
    ----------
    run : Path
    archive : Path or None
        Where the cohort's images lie; None where it is not here.
    images : sequence of str
        Content hashes of the cohort's images: the same images are the same cohort, whatever they are called.
    model : str
        A fingerprint of what is measured.
    own : bool
        True for the run's own testing cohort.
    now : datetime
    by : str
        The verb that reads it: "evaluate", "compare" or "explain"; "evaluate --on" where it stands in another archive.

    Raises
    ------
    IntegrityError
        If a journal was touched, or the run has figures and no journal.
    OSError
        If the run cannot be written.
    """
    now = now.astimezone()
    cohort = fingerprint(sorted(images))
    line = {"cohort": cohort, "images": len(images), "model": model, "by": by, "own": own, "overread": __version__}
    journal = _journal_of(run, now)
    record_manifest(run, now=now)
    reads = [r for r in _reads(journal) if r["cohort"] == cohort]
    if archive is None:
        journal.append("read", {**line, "in_archive": False}, now=now)
        absent = "The archive is not here: other models measured on this cohort are not counted."
        return Reads(len(reads) + 1, None, None, (absent,), own)
    there, notes = Journal(archive / NAME), []
    try:
        add(there, "read", line, now=now)
    except (OSError, SourceError) as error:
        why = error.came if isinstance(error, SourceError) else error.strerror
        notes.append(f"The archive cannot be written ({why}): this read is counted in the run only.")
    line["in_archive"] = not notes
    journal.append("read", line, now=now)
    rows = [r for r in _reads(there) if r["cohort"] == cohort]
    notes += _differing([*reads, line], rows, model)
    order = list(dict.fromkeys([*(r["model"] for r in rows), model]))
    return Reads(len(reads) + 1, order.index(model) + 1, len(order), tuple(notes), own)


def beside(archive: Path) -> Journal:
    """Return the journal of reads that an archive keeps; of one in a bucket, as it stands there now."""
    return fetched(Journal(archive / NAME))


def mend(run: Path, *, now: datetime) -> None:
    """Take in what a crash in the middle of a write has left of a run's journal; nothing where there is none.

    Raises
    ------
    IntegrityError
        If it is no journal, or was touched.
    """
    journal = Journal(run / NAME)
    if journal.begun:
        journal.recover(now=now.astimezone())


def check(run: Path) -> Kept:
    """Follow a run's journal of reads, and hold the run's figures against it.

    Raises
    ------
    IntegrityError
        If a record was changed, removed or put in; if the run shows figures and has no read of them; if the journal is
        that of another model; if figures are not those that were written.
    """
    journal, shown = Journal(run / NAME), _shown(run)
    if LEFT_OUT in read_json(run / "manifest.json"):
        if figures := figures_in(run):
            raise _unread(figures)
        told = "A copy that only answers: its figures, and the count of reads behind them, are with the run it was made from."
        return Kept({}, 0, "", (told,))
    if not journal.begun:
        if shown:
            raise _unread(shown)
        return Kept({}, 0, "")
    reads, model = _follow(run, journal), model_of(run)
    latest = sealed_figures(run)
    for name in differing(run, latest):
        if name in latest and not (run / name).is_file() and "/" in name:
            raise _removed(run, name)
        raise IntegrityError(
            f"{name} does not hold the figures that were written with its read",
            expected="the hash that the journal names",
            do="run `overread evaluate` again, and find out who changed it",
        )
    by: dict[str, int] = {}
    for r in reads:
        by[r["by"]] = by.get(r["by"], 0) + 1
    times = sum(r["kind"] == "edited" for r in journal.records())
    notes = (
        (f"edited figures were found, and measured anew: by {times:,} evaluation{'s' * (times > 1)}",) if times else ()
    )
    gone = sorted({str(Path(name).parent) for name in known_removed(run) if not (run / name).is_file()})
    if gone:
        notes += (f"figures of other archives were removed, as the journal says: {', '.join(gone)}",)
    there = sum((run / name).is_file() for name in latest)
    return Kept(by, there, journal.head[1], (*notes, *_beside_archive(run, reads, model)))


def opened(run: Path, *, needed: Sequence[str] = ()) -> tuple[Model, list[str]]:
    """Load the model of a run that is asked for answers, once manifest, card and journal of reads agree on what was trained.

    The model, its calibration and all that decides an answer must be as they were recorded: a changed file with its new
    hash in the manifest, and a journal that was touched, taken away or brought from another run are refused.

    Parameters
    ----------
    run : Path
    needed : sequence of str
        Figures that are shown beside the answers: these must be as they were measured.

    Returns
    -------
    Model
    list of str
        What is to be told of figures that nobody shows here and that were edited.

    Raises
    ------
    RunError, IntegrityError
    """
    model, journal = Model.load(run), Journal(run / NAME)
    if LEFT_OUT in read_json(run / "manifest.json") or not journal.begun:
        shown = figures_in(run) if LEFT_OUT in read_json(run / "manifest.json") else _shown(run)
        if shown and not (run / EARLIER).is_file():
            raise _unread(shown)
    else:
        _follow(run, journal)
    refuse_unsealed(run)  # after the chain of the journal that it asks was followed
    edits = edited(run, needed=needed)
    one = len(edits) == 1
    some = f"{', '.join(edits)} {'was' if one else 'were'} edited since {'it was' if one else 'they were'} measured"
    do = f"do not believe the run's report before `overread evaluate {run.name}`, and find out who changed it"
    return model, [f"{some}; the model is the one that was trained. {do}"] if edits else []


def _follow(run: Path, journal: Journal) -> list[dict[str, Any]]:
    """Return the reads of a run's journal, its chain followed; refuse one that was touched, is another model's, or lacks them."""
    journal.verify()
    reads, shown, model = _reads(journal), _shown(run), model_of(run)
    if shown and not reads:
        raise _unread(shown)
    if any(r.get("model", model) != model for r in reads):
        raise IntegrityError(
            f"{NAME} is the journal of another model", expected="that of this run", do="put the run's own back"
        )
    return reads


def nth(number: int) -> str:
    """Return a place in a row as a person writes it.

    Examples
    --------
    >>> [nth(n) for n in (1, 2, 3, 11, 22)]
    ['1st', '2nd', '3rd', '11th', '22nd']
    """
    teen = 10 < number % 100 < 14
    return f"{number:,}{'th' if teen else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"


def _journal_of(run: Path, now: datetime) -> Journal:
    """Return the run's journal, whole; of a run from before there was one, begun with what it counted.

    Raises
    ------
    IntegrityError
        If it was touched; if the run has figures and no journal.
    """
    journal = Journal(run / NAME)
    if journal.begun:
        journal.recover(now=now)  # a process may have been killed in the middle of a line
        journal.verify()
    elif (run / EARLIER).is_file():
        journal.append("earlier", {"reads": read_json(run / EARLIER)}, now=now)
        (run / EARLIER).unlink()
    elif shown := _shown(run):
        raise _unread(shown)
    return journal


def _reads(journal: Journal) -> list[dict[str, Any]]:
    """Return every read in a journal, those taken over first."""
    found: list[dict[str, Any]] = []
    for entry in journal.records():
        if entry["kind"] == "earlier":
            found += [{"by": "evaluate", **read} for read in entry["record"]["reads"]]
        elif entry["kind"] == "read":
            found.append(entry["record"])
    return found


def _removed(run: Path, name: str) -> IntegrityError:
    """Say what to do where the figures of another archive were taken out of a run."""
    return IntegrityError(
        f"{name} was removed: it held figures of another archive",
        expected="the figures that were written with that read",
        do=f"put {Path(name).parent} back from a copy, or measure that archive again (`overread evaluate {run.name} --on ARCHIVE`); "
        f"where it is gone, `overread evaluate {run.name}` writes into the journal that they were removed",
    )


def _shown(run: Path) -> list[str]:
    """Return the files that can only have come from reading a testing cohort."""
    maps = read_json(run / "heatmaps.json") if (run / "heatmaps.json").is_file() else {}
    card = read_json(run / "card.json") if (run / "card.json").is_file() else {}
    return [
        *figures_in(run),
        *(["heatmaps.json"] if any(verdict.get("tested") for verdict in maps.values()) else []),
        *(["card.json"] if card.get("performance") else []),
    ]


def _unread(shown: Sequence[str]) -> IntegrityError:
    return IntegrityError(
        f"the run has figures ({', '.join(shown)}) and no record of the read behind them",
        expected=f"{NAME}, as it was written with them",
        do="put the file back with its .head from a copy; without them nobody knows how often testing was read",
    )


def _differing(ours: Sequence[Mapping], theirs: Sequence[Mapping], model: str) -> list[str]:
    """Say where the archive counts more or fewer reads of one cohort by this model than the run does."""
    here = sum(bool(r.get("in_archive")) for r in ours)
    there = sum(r["model"] == model for r in theirs)
    if there > len(ours):
        return [
            f"The archive counts {there:,} reads of this cohort by this model, the run {len(ours):,}: copies of the run "
            "were measured too, or reads were taken out of its own record."
        ]
    if there < here:
        return [
            f"The archive counts {there:,} reads of this cohort by this model, the run {here:,}: the archive was made "
            "anew or its count was removed, and other models may be missing from it."
        ]
    return []


def _beside_archive(run: Path, reads: Sequence[Mapping], model: str) -> tuple[str, ...]:
    """Return what the archive says otherwise, cohort by cohort; nothing where it is not here.

    Raises
    ------
    IntegrityError
        If the archive's journal was touched.
    """
    where = archive_of(run, read_json(run / "plan.json"))
    if where is None:
        return ()
    there = beside(where)
    if there.begun:
        there.verify()
    rows = _reads(there)
    own = {r["cohort"] for r in reads if r.get("own")}
    notes = [
        note
        for cohort in sorted(own)
        for note in _differing([r for r in reads if r["cohort"] == cohort],
                               [r for r in rows if r["cohort"] == cohort], model)
    ]  # fmt: skip
    return tuple(dict.fromkeys(notes))
