"""The pages that people read: sealed each time they are written, so that `overread verify` knows an edited one."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from overread.errors import IntegrityError
from overread.learn.predict import sha256
from overread.steps.figures import known_removed, sealed_as
from overread.steps.reads import NAME
from overread.store.journal import Journal

PAGES = ("report.html", "card.md", "card.xml")
"""What people read, made from the figures and from what a human wrote: sealed each time they are written."""


def seal_pages(run: Path, out: Path, *, now: datetime) -> None:
    """Write the hashes of the pages that people read into the run's journal, each time they are written."""
    pages = [out / name for name in PAGES if (out / name).is_file()]
    files = {page.relative_to(run).as_posix(): sha256(page) for page in pages}
    if {name: digest for name, digest in sealed_as(run, "page").items() if name in files} != files:
        Journal(run / NAME).append("page", {"files": files}, now=now.astimezone())


def check_pages(run: Path) -> tuple[str, ...]:
    """Compare the pages of a run with their hashes; return what could not be compared, in words.

    Raises
    ------
    IntegrityError
        Naming the first page that is not as it was written.
    """
    written, gone = sealed_as(run, "page"), {Path(name).parent for name in known_removed(run)}
    for name, digest in written.items():
        if Path(name).parent in gone and not (run / name).is_file():
            continue  # taken out with its figures, as the journal says
        if not (run / name).is_file() or sha256(run / name) != digest:
            raise IntegrityError(
                f"{name} is not the page that was written",
                expected="the hash that the journal names",
                do=f"run `overread report {(run / name).parent}` again, and find out who changed it",
            )
    places = [run, *sorted(p for p in run.glob("on-*") if p.is_dir())]
    pages = [(p / name).relative_to(run).as_posix() for p in places for name in PAGES if (p / name).is_file()]
    loose = [name for name in pages if name not in written]
    return (f"{', '.join(loose)} not compared: no record of when they were written",) if loose else ()
