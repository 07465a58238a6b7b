"""What came of collecting, for a person and for a machine."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from overread.domain import Study
from overread.domain.canonical import plain

_NAMED = 3  # files of one reason that the summary names; all of them stand in ``refused``


PASSED_OVER = {
    "hidden": "hidden passed over",
    "companion": "text beside images",
    "companion-unread": "text beside images, not read inside a tar archive",
    "directory": "directory of a disc",
    "label-table": "label table",
    "missing-file": "in the label table but not offered",
}
"""Reasons that are no fault of an image: they are counted apart."""


@dataclass(frozen=True)
class Collected:
    """What came of one run of collect.

    Parameters
    ----------
    archive : Path, or ``s3://…``
    read, already : int
        Files read now; files that were in the archive before.
    refused : tuple of {"file", "code", "reason"}
        Files that could not be read; hidden files and the label table itself (``PASSED_OVER``); and rows of the label
        table whose file was not offered. With ``read`` and ``already`` they account for every file offered.
    images, studies, patients : int
        In the whole archive now; patients counts those whose pseudonym is known.
    duplicates : int
        Files whose picture another file had already; it is stored once.
    studies_without_patient : int
        Examinations whose source does not say who it was.
    labels : mapping
        See :func:`label_counts`.
    notes : tuple of str
    seconds : float
    shared_numbers : int
        Patients whose number stands for several people (``overread.steps.people``).
    """

    archive: Path | str
    read: int
    already: int
    refused: tuple[Mapping[str, str], ...]
    images: int
    studies: int
    duplicates: int
    patients: int
    studies_without_patient: int
    labels: Mapping[str, Any]
    notes: tuple[str, ...]
    seconds: float
    shared_numbers: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        return plain({**self.__dict__, "archive": str(self.archive)})

    def __str__(self) -> str:
        refused = [r for r in self.refused if r["code"] not in PASSED_OVER]
        lines = [
            f"Collected into {self.archive} in {self.seconds:.0f} s",
            files_line([counted(self.read, "read"), counted(self.already, "there already")], self.refused),
            f"  images     {self.images:,} stored"
            + (f", {duplicates_told(self.duplicates)}" if self.duplicates else ""),
            f"  studies    {self.studies:,}",
            f"  patients   {patients_told(self.patients, self.studies_without_patient, shared=self.shared_numbers)}",
        ]
        lines += label_lines(self.labels) or [no_labels_line(refused)]
        lines += refused_lines(refused)
        lines += refused_lines([r for r in self.refused if r["code"] == "missing-file"], title="missing")
        lines += [f"  note       {note}" for note in self.notes]
        return "\n".join(map(printable, lines))


def printable(line: str) -> str:
    """Return a line that may hold names from files or tables without what would steer a terminal, or look like another line.

    Examples
    --------
    >>> printable("Röntgen\\u00a01\\nrefused 0\\x1b]0;title\\x07.png") == "Röntgen\\u00a01?refused 0?]0;title?.png"
    True
    """
    return "".join(c if c.isprintable() or unicodedata.category(c) == "Zs" else "?" for c in line)


def label_counts(studies: Iterable[Study]) -> dict[str, dict[str, Any]]:
    """Count, for each label, the examinations where it is true, false or unknown, and those at each level.

    Examples
    --------
    >>> label_counts([Study("S1", ("a",), labels={"mass": True, "grade": "2"}), Study("S2", ("b",), labels={"mass": None})])
    ... # doctest: +NORMALIZE_WHITESPACE
    {'grade': {'true': 0, 'false': 0, 'unknown': 1, 'kind': 'categorical', 'values': {'2': 1}},
     'mass': {'true': 1, 'false': 0, 'unknown': 1}}
    """
    studies = list(studies)
    counts = {}
    for name in sorted({name for study in studies for name in study.labels}):
        values = Counter(study.labels.get(name) for study in studies)
        counts[name] = {"true": values.pop(True, 0), "false": values.pop(False, 0), "unknown": values.pop(None, 0)}
        if values:
            counts[name] |= {"kind": "categorical", "values": {level: values[level] for level in sorted(values)}}
    return counts


def counted(number: int, what: str) -> str:
    """Return a number and what it counts, with thousands marked."""
    return f"{number:,} {what}"


def counted_of(number: int, what: str) -> str:
    """Say how many there are.

    Examples
    --------
    >>> counted_of(1, "report"), counted_of(1200, "report")
    ('1 report', '1,200 reports')
    """
    return f"{number:,} {what}{'s' * (number != 1)}"


def duplicates_told(duplicates: int) -> str:
    """Say how many files were copies."""
    return f"{duplicates:,} {'file holds' if duplicates == 1 else 'files hold'} a picture that another one had already"


def patients_told(known: int, studies_without: int, *, several: int | None = None, shared: int = 0) -> str:
    """Say how many patients there are (and how many of them have several images), and warn where nobody says who.

    Examples
    --------
    >>> patients_told(9, 0, shared=1)
    '9, 1 of them a number that stands for several people'
    """
    counts = f"{known:,}" if several is None else f"{known:,}, {several:,} of them with several images"
    if shared:
        a_number = "a number that stands" if shared == 1 else "numbers that stand"
        counts += f", {shared:,} of them {a_number} for several people"
    if not studies_without:
        return counts
    warning = "images of one patient may fall on both sides of a split; give --patient"
    if not known:
        return f"not known: {warning}"
    return f"{counts}; {studies_without:,} studies do not say whose they are: {warning}"


def unheard_told(images: int) -> list[str]:
    """Tell, where there is something to tell, that text beside images came or changed after they were read.

    Examples
    --------
    >>> unheard_told(0), unheard_told(2)[0].partition(":")[0]
    ([], 'text beside 2 images that were read earlier is new or has changed')
    """
    told = f"text beside {counted_of(images, 'image')} that {'was' if images == 1 else 'were'} read earlier is new or has changed"
    return [f"{told}: what it says now is not taken; collect into a new archive"] if images else []


def cut_short(unclaimed: int) -> list[str]:
    """Tell, where there is something to tell, that images belong to no study yet.

    Examples
    --------
    >>> cut_short(0), cut_short(4309)
    ([], ['4,309 images belong to no study: a collection was cut short; run the same overread collect again'])
    """
    told = "belong to no study: a collection was cut short; run the same overread collect again"
    return [f"{unclaimed:,} images {told}"] if unclaimed else []


def files_line(read: Iterable[str], refused: Iterable[Mapping[str, str]]) -> str:
    """Say how many files were read, refused, or are no fault of an image; together all that were offered.

    Examples
    --------
    >>> files_line(["9 read"], [{"code": "companion"}, {"code": "truncated"}])
    '  files      9 read, 1 refused, 1 text beside images'
    """
    codes = Counter(r["code"] for r in refused)
    faults = sum(n for code, n in codes.items() if code not in PASSED_OVER)
    apart = [counted(codes[code], words) for code, words in PASSED_OVER.items() if codes[code]]
    return f"  files      {', '.join([*read, counted(faults, 'refused'), *apart])}"


def label_lines(labels: Mapping[str, Any]) -> list[str]:
    """Return one line a label."""
    lines = []
    for name, count in labels.items():
        if count.get("kind") == "categorical":
            said = [f"{level} {n:,}" for level, n in count["values"].items()]
        else:
            said = [f"true {count['true']:,}", f"false {count['false']:,}"]
        said.append(f"unknown {count['unknown']:,}")
        lines.append(f"  label      {name}: {' · '.join(said)}")
    return lines


def no_labels_line(refused: Iterable[Mapping[str, str]]) -> str:
    """Say how labels are given where none is known; a table that lay among the images is named.

    Examples
    --------
    >>> no_labels_line([{"file": "films/labels.csv", "code": "not-an-image"}])
    '  label      none known: if films/labels.csv is the table of labels, give it with --labels'
    >>> no_labels_line([])
    '  label      none known: give a table (--labels), or say that folders are classes (--labels-from-folders)'
    """
    table = next((r["file"] for r in refused if r["file"].lower().endswith((".csv", ".tsv"))), None)
    if table is not None:
        return f"  label      none known: if {table} is the table of labels, give it with --labels"
    return "  label      none known: give a table (--labels), or say that folders are classes (--labels-from-folders)"


def telling(refused: Iterable[Mapping[str, str]]) -> str:
    """Return the one reason that tells most of why nothing was read: that of the commonest code.

    Examples
    --------
    >>> refused = [("hidden", "hidden"), ("not-an-image", "a text file"), ("truncated", "short"), ("truncated", "shorter")]
    >>> telling([{"code": code, "reason": reason} for code, reason in refused])
    '2 × truncated: short'
    >>> telling([{"code": "hidden", "reason": "hidden"}])
    'only hidden files and companions'
    """
    faults = [r for r in refused if r["code"] not in PASSED_OVER]
    if not faults:
        return "only hidden files and companions"
    ((code, count),) = Counter(r["code"] for r in faults).most_common(1)
    reason = next(r["reason"] for r in faults if r["code"] == code)
    return reason if len(faults) == 1 else f"{count:,} × {code}: {reason}"


def refused_lines(
    refused: Iterable[Mapping[str, str]], *, title: str = "refused", all_in: str = "overread inspect --json lists all"
) -> list[str]:
    """Return what was refused, by reason, naming the first few files of each."""
    by_code: dict[str, list[Mapping[str, str]]] = {}
    for entry in refused:
        by_code.setdefault(entry["code"], []).append(entry)
    lines = []
    for code, entries in sorted(by_code.items(), key=lambda c: -len(c[1])):
        such = "" if len({entry["reason"] for entry in entries}) == 1 else "such as "
        lines.append(f"  {title:<10} {len(entries):,} × {code}: {such}{entries[0]['reason']}")
        lines += [f"             {entry['file']}" for entry in entries[:_NAMED]]
        if len(entries) > _NAMED:
            lines.append(f"             … and {len(entries) - _NAMED:,} more; {all_in}")
    return lines
