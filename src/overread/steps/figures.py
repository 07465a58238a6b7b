"""The figures of a run as they were written: their hashes in its journal, and which of them were edited or taken away since."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from overread.errors import IntegrityError
from overread.learn.predict import sha256
from overread.steps.run import READS
from overread.store.journal import Journal

FIGURES = ("metrics.json", "report.json")
"""What an evaluation found. Its hashes go into the run's journal, and that of the card, which repeats some of it."""


def seal_figures(run: Path, out: Path, *, now: datetime) -> None:
    """Write the hashes of an evaluation's figures into the run's journal: `steps.reads.check` then knows when one was changed.

    Parameters
    ----------
    run : Path
    out : Path
        Where the figures lie: the run, or a folder in it.
    now : datetime
    """
    names = (*FIGURES, "card.json") if out == run else FIGURES
    files = {(out / name).relative_to(run).as_posix(): sha256(out / name) for name in names}
    Journal(run / READS).append("figures", {"files": files}, now=now.astimezone())


def sealed_figures(run: Path) -> dict[str, str]:
    """Return the files of figures that the run's journal knows of, with the SHA-256 of each as it was last written."""
    return sealed_as(run, "figures")


def sealed_as(run: Path, kind: str) -> dict[str, str]:
    """Return the files of all records of one kind, each with the hash that it had last."""
    records = [r["record"]["files"] for r in Journal(run / READS).records() if r["kind"] == kind]
    return {name: digest for files in records for name, digest in files.items()}


def edited(run: Path, *, needed: Sequence[str] = ()) -> dict[str, str]:
    """Return the figures of earlier evaluations that are not as they were written: name to SHA-256, "" where gone.

    Raises
    ------
    IntegrityError
        When one of the ``needed`` is among them: what is read, and not measured anew, must be as it was written.
    """
    latest = sealed_figures(run)
    found = {
        name: sha256(run / name) if (run / name).is_file() else ""
        for name in (differing(run, latest) if latest else ())
    }
    if lost := [name for name in needed if name in found]:
        raise IntegrityError(
            f"{', '.join(lost)} was edited since it was measured",
            expected="the hash that the journal names",
            do=f"run `overread evaluate {run}` first, and find out who changed it",
        )
    return found


def own_to(run: Path, found: Mapping[str, str], *, at: str, now: datetime) -> list[str]:
    """Write into the run's journal that figures were found edited; return what a reader of the new ones must know.

    Those in the folder ``at`` of the run ("." for its own) are being measured anew; others stay, and are named.
    """
    if not found:
        return []
    journal = Journal(run / READS)
    kinds = [r["kind"] for r in journal.records() if r["kind"] == "figures" or r["record"].get("by") == "evaluate"]
    cut = kinds[-2:] == ["read", "read"]  # this evaluation's read, and one before it that came to no figures
    journal.append("edited", {"files": dict(found), "found_by": "evaluate"}, now=now.astimezone())
    names = {name: name if digest else f"{name}, removed" for name, digest in found.items()}
    here = ", ".join(told for name, told in names.items() if Path(name).parent == Path(at))
    there = ", ".join(told for name, told in names.items() if Path(name).parent != Path(at))
    why = ", or an evaluation was cut short while it wrote them" if cut else ""
    anew = f"The figures here were edited since they were measured ({here}){why}. These are measured anew; the journal says so."
    stay = (
        f"Figures of another evaluation in this run were edited since they were measured ({there}){why}, and stay so."
    )
    return [*([anew] if here else []), *([stay] if there else [])]


def known_removed(run: Path) -> set[str]:
    """Return the figures of other archives that an evaluation found removed, and that were not measured since."""
    gone: set[str] = set()
    for r in Journal(run / READS).records():
        if r["kind"] == "figures":
            gone -= set(r["record"]["files"])
        elif r["kind"] == "edited":
            gone |= {name for name, digest in r["record"]["files"].items() if not digest and "/" in name}
    return gone


def figures_in(run: Path) -> list[str]:
    """Return the files of figures that lie in a run, those of other archives among them."""
    places = [run, *sorted(p for p in run.glob("on-*") if p.is_dir())]
    return [(p / name).relative_to(run).as_posix() for p in places for name in FIGURES if (p / name).is_file()]


def differing(run: Path, latest: Mapping[str, str]) -> list[str]:
    """Return the files of figures that are missing, in no record, or not as the last record has them.

    Those of another archive that were removed, and that the journal says were found so, are missed no more.
    """
    names, known = sorted({*latest, *figures_in(run)}), known_removed(run)
    there = [n for n in names if (run / n).is_file() or n not in known]
    return [n for n in there if n not in latest or not (run / n).is_file() or sha256(run / n) != latest[n]]
