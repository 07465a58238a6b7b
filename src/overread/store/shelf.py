"""What lies on an inbox's shelf against its journal: a signature has its record, a report is as it was made."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from overread.errors import IntegrityError

SIGNED = re.compile(r"signed-[0-9]+\.(json|dcm)")
REPORT = "report.json"
LOST = "put the journal, or the file, back from a copy, and find out who touched it"


@dataclass(frozen=True)
class Shelf:
    """What was compared with the journal.

    Parameters
    ----------
    signatures : int
        Signed versions of reports, every document of theirs as it was signed.
    reports : int
        Reports of the machine that are as they were made, with their heat-maps and drafts.
    """

    signatures: int = 0
    reports: int = 0


def refuse_unrecorded(shelf: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Refuse a shelf with signed documents or reports of which its journal knows nothing: then the journal was lost.

    Parameters
    ----------
    shelf : Path
        The folder with the journal and ``studies/``.
    records : iterable of mapping
        The journal's, in order.

    Raises
    ------
    IntegrityError
        Naming the first such file by the study's pseudonym.
    """
    signed: set[str] = set()
    drafted: set[str] = set()
    for entry in records:
        if entry["kind"] == "signed":
            signed.update(entry["record"]["files"])
        elif entry["kind"] == "report":
            drafted.add(f"studies/{entry['record']['study']}/{REPORT}")
    lying = sorted(p for p in (shelf / "studies").glob("*/*") if SIGNED.fullmatch(p.name))
    _refuse("signed document", [n for n in (_name(shelf, p) for p in lying) if n not in signed])
    reports = sorted((shelf / "studies").glob(f"*/{REPORT}"))
    _refuse("report", [n for n in (_name(shelf, p) for p in reports) if n not in drafted])


def check(shelf: Path, records: Iterable[Mapping[str, Any]]) -> Shelf:
    """Compare every signed document and every report on a shelf with the hashes that its journal holds.

    Parameters
    ----------
    shelf : Path
        The folder with the journal and ``studies/``.
    records : iterable of mapping
        The journal's, in order, its chain followed before.

    Raises
    ------
    IntegrityError
        Naming the first document that is missing, changed, or not in the journal.
    """
    records = list(records)
    refuse_unrecorded(shelf, records)
    made: dict[str, list[Mapping[str, str]]] = {}
    signatures = 0
    for entry in records:
        if entry["kind"] == "report":
            made.setdefault(entry["record"]["study"], []).append(entry["record"].get("drafted", {}))
        elif entry["kind"] == "signed":
            signatures += 1
            _same(shelf, entry["record"]["files"], f"the document of record {entry['n']}")
    reports = sorted((shelf / "studies").glob(f"*/{REPORT}"))
    for report in reports:
        _check_report(shelf, report, made[report.parent.name])
    return Shelf(signatures, len(reports))


def _check_report(shelf: Path, report: Path, made: list[Mapping[str, str]]) -> None:
    """The report is one that was made for the study (after a crash the one before the last), with what belongs to it."""
    name, digest = _name(shelf, report), _hash(report)
    known = [drafted for drafted in made if drafted.get(name) == digest]
    if known:
        _same(shelf, known[-1], f"a file of the report of study {report.parent.name}")
    elif all(made):  # records without hashes are of an older version: nothing to compare with
        raise IntegrityError(
            f"the report of study {report.parent.name} was changed", expected="the hash in the journal", do=LOST
        )


def _same(shelf: Path, files: Mapping[str, str], what: str) -> None:
    for name, digest in files.items():
        if not (shelf / name).is_file():
            raise IntegrityError(f"{what} is missing ({name})", expected="the file it names", do=LOST)
        if _hash(shelf / name) != digest:
            raise IntegrityError(f"{what} was changed ({name})", expected="the hash it names", do=LOST)


def _refuse(what: str, names: list[str]) -> None:
    if names:
        raise IntegrityError(
            f"{len(names):,} {what}{'s' * (len(names) != 1)} that no record of the journal names (the first: {names[0]})",
            expected="a record of each: who did what, and when",
            do=LOST,
        )


def _name(shelf: Path, file: Path) -> str:
    return file.relative_to(shelf).as_posix()


def _hash(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
