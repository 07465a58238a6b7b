"""A start that somebody names: opened whatever it is, held against the patients who are to calibrate and to test."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterable
from pathlib import Path

from overread.errors import CohortError, IntegrityError, RunError
from overread.learn import applications, pretrained_start
from overread.learn import plan as planning
from overread.learn.applications import IMAGENET, Brought
from overread.learn.pretrained_start import CARD, NAME, Given
from overread.stats.splits import Entry, Split
from overread.steps.start_run import of_run

HOME = "start"
"""Where a run keeps the start that it began with."""

APART = ("calibration", "testing")
"""Cohorts of which no start may have learned."""


FILES = (".h5", ".hdf5", ".keras")
"""How files of weights end; anything else that is a file is opened as well, and refused with what it is."""


def open_start(path: str | Path | None, *, kept: Path | None = None) -> Given | Brought | None:
    """Open a start: what `pretrain` wrote, a run of a residual network, a file of weights; None where none is named.

    Parameters
    ----------
    path : path, optional
    kept : Path, optional
        Where an unfinished training keeps its copy: taken where it is there.

    Raises
    ------
    RunError
        When it is neither.
    IntegrityError
        When it was changed.
    """
    if path is None:
        return None
    if str(path).startswith(IMAGENET):
        return _fetched(str(path))
    if Path(path).suffix in FILES or Path(path).is_file():
        return applications.read(path)
    folder = kept if kept is not None and (kept / CARD).is_file() else Path(path)
    if (folder / "unfinished").is_file():
        raise RunError(f"{folder.name} holds something unfinished", expected="a finished start or run", do="finish it: the same command with --resume")  # fmt: skip
    if (folder / CARD).is_file() or not (folder / "manifest.json").is_file():
        return pretrained_start.read(folder)
    home = Path(tempfile.mkdtemp(prefix="overread-start-"))
    try:
        given = of_run(folder, home)
    except BaseException:
        shutil.rmtree(home, ignore_errors=True)
        raise
    weakref.finalize(given, shutil.rmtree, home, True)  # a training has copied it before it lets go of it
    return given


def person_of(entry: Entry) -> str:
    """Return the patient of a case, or the study where the patient is not known."""
    _, study, patient = entry
    return patient or study


def _fetched(asked: str) -> Brought:
    """Let Keras fetch published weights, kept beside its own."""
    from overread.learn.framework import natives_to

    with natives_to(None):
        from overread.learn import applications_network

        file = applications_network.fetched(asked)
    return applications.read(file)


def refuse_seen(given: Given | Brought, split: Split) -> None:
    """Refuse a start that has learned from a patient, or a picture, who is to calibrate or to test.

    Raises
    ------
    CohortError
    """
    if isinstance(given, Brought):
        return  # nobody here can know whom it has seen; the plan and the card say so
    apart = [entry for cohort in APART for entry in split.cohorts.get(cohort, ())]
    pictures, people = given.knows((e[0] for e in apart), (person_of(e) for e in apart))
    if pictures or people:
        raise CohortError(
            f"a start that has learned from {pictures:,} pictures and {people:,} patients of the calibration and testing cohorts",
            expected="a start that has seen none of them",
            do="learn one with `overread pretrain ARCHIVE --label NAME`, with the same --seed and --split-column as this training",
        )


def checked(drawn: planning.Plan, split: Split) -> None:
    """Refuse a plan of a file whose start is not there, is another one, or has seen who is to calibrate or to test."""
    if drawn.start.get("name") == NAME:
        refuse_seen(of_plan(drawn), split)


def at_home(drawn: planning.Plan, split: Split, out: Path) -> planning.Plan:
    """Return the plan with its start copied into the run, so that a training goes on whatever becomes of the first."""
    if drawn.start.get("name") != NAME:
        return drawn
    home = out / HOME
    given = pretrained_start.copied(of_plan(drawn), home) if not (home / CARD).is_file() else pretrained_start.read(home, expected=drawn.start["sha256"])  # fmt: skip
    refuse_seen(given, split)
    return planning.changed(drawn, "start", drawn.parts["start"].get("reason", ""), path=str(home.resolve()))


def moved(drawn: planning.Plan, path: str | Path) -> planning.Plan:
    """Return the plan whose start lies elsewhere; one without such a start as it is."""
    if drawn.start.get("name") not in (NAME, applications.NAME):
        return drawn
    return planning.changed(drawn, "start", drawn.parts["start"].get("reason", ""), path=str(path))


def unseen(given: Given, entries: Iterable[Entry]):
    """Return for each case whether the start has not learned from its picture nor its patient."""
    rows = list(entries)
    return given.unseen((e[0] for e in rows), (person_of(e) for e in rows))


def of_plan(drawn: planning.Plan) -> Given:
    """Return the start that a plan names, checked against the SHA-256 that stands in it."""
    path = drawn.start.get("path")
    if path is None:
        raise RunError("the plan begins with a start and does not say where it lies", expected='path = "…" in [start]', do="write it there")  # fmt: skip
    given = open_start(path)
    if not isinstance(given, Given):
        raise RunError("the plan's start is a file", expected="a folder that `overread pretrain` wrote, or a run", do="mend the path in [start]")  # fmt: skip
    if given.sha256 != drawn.start["sha256"]:
        raise IntegrityError(f"the start has the SHA-256 {given.sha256[:12]}…", expected=f"{drawn.start['sha256'][:12]}…, which the plan names", do="name that start, or draw up the plan again")  # fmt: skip
    return given
