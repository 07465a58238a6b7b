"""Label tables: a CSV file that says, file by file, what the doctors found."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import shorten

from overread.domain import COHORT_WORDS, LabelValue
from overread.errors import LabelError
from overread.formats import readers, spellings
from overread.formats.ages import age_band

TRUE = frozenset({"1", "true", "yes", "y", "positive", "present"})
FALSE = frozenset({"0", "false", "no", "n", "negative", "absent"})
UNKNOWN = frozenset(
    {"", "na", "n/a", "n.a.", "#n/a", "<na>", "nan", "nat", "null", "?", "-", "--", "–", "—", "unknown", "uncertain"}
)
"""Words for "not known" in any column; -1 too, where the other answers are 0 and 1."""
SPLIT_WORDS = frozenset(COHORT_WORDS)
STRATA = frozenset(
    (
        "sex",
        "gender",
        "age_band",
        "site",
        "hospital",
        "centre",
        "center",
        "scanner",
        "manufacturer",
        "vendor",
        "view",
        "view_position",
        "projection",
        "laterality",
        "side",
        "ethnicity",
        "race",
    )
)
_AGES = frozenset(("age", "patient_age", "age_years"))
_IDENTITY = re.compile(
    r"^name$|(patient|first|last|full|family|given|middle|doctor|physician)_?name|surname|forename|birth"
    r"|(^|_)(dob|mrn|ssn|nhs|phone|email|address|street|postcode|zip|accession|date|time|comments?|text|report|notes?"
    r"|physician|doctor|reader|patient_?id|subject(_?id)?|uid)($|_)"
)
_DATE = re.compile(r"^(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4})\b")
_STUDY_NAMES = ("study_uid", "study_instance_uid", "accession", "accession_number", "participant_id")
"""Columns that may stand in the place of ``file``: for what comes from a PACS, and for the patients of a BIDS tree."""
_MOST_LEVELS = 50


@dataclass(frozen=True)
class LabelRow:
    """What the table says of one file. ``patient`` and ``study`` are raw: they never enter an archive as they are."""

    file: str
    line: int
    patient: str | None = None
    study: str | None = None
    labels: Mapping[str, LabelValue] = field(default_factory=dict)
    strata: Mapping[str, str] = field(default_factory=dict)
    splits: Mapping[str, str] = field(default_factory=dict)
    unsaid: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class LabelTable:
    """A label table, understood column by column.

    Parameters
    ----------
    path : str
        Of the CSV file.
    rows : tuple of LabelRow
    labels : mapping of str to str
        Column → "boolean" or "categorical".
    strata, splits : tuple of str
        Columns for subgroups, and columns with a published split.
    patients : bool
        True when there is a column that says who the patient was.
    notes : tuple of str
        What was left out or changed, and why, in words.
    """

    path: str
    rows: tuple[LabelRow, ...]
    labels: Mapping[str, str]
    strata: tuple[str, ...]
    splits: tuple[str, ...]
    patients: bool
    notes: tuple[str, ...]


def read_table(path: str | Path, *, patient: str | None = None) -> LabelTable:
    """Read a label table: which file shows what, of which patient, in which published part.

    The column ``file`` is needed; for what comes from a PACS ``study_uid`` or ``accession`` will do,
    for a BIDS tree ``participant_id``. ``patient``, ``study``, split columns (every answer is a word like train, val, test)
    and strata (sex, age, site, scanner, view, …) are known by name or content; every other column is a label. A label
    whose answers are 0/1, true/false, yes/no, y/n, positive/negative or present/absent is true, false or unknown;
    one with other words or whole numbers has several levels. Empty cells, NA, #N/A, nan, null, -, ?, unknown and uncertain are
    *unknown*, which is not absent. Levels that differ in capitals or blanks alone are one level, told in ``notes``. Columns that look like identity, free text, dates or measurements are left out and
    told in ``notes``. Columns that name a label and a reader (``mass:1``, ``mass:2``, or ``mass@1``) become one label, the
    majority's, with the readers' agreement in ``notes``. Ages become bands: <18, 18-39, 40-64, 65-79, 80+.

    Parameters
    ----------
    path : path
        UTF-8 (with or without a mark), UTF-16 with its mark, or Windows-1252; commas, semicolons or tabs.
    patient : str, optional
        The column that says who the patient was, when it is not called ``patient``.

    Raises
    ------
    LabelError
        With the line number: no such columns, a file named twice, a row of another length, a word where true or false is
        expected.
    """
    header, lines = _cells(Path(path))
    names = _names(header)
    if "file" not in names:
        raise LabelError(
            f"a label table with the columns {_listed(header)}",
            expected="one named file",
            do="name the column that holds the file names 'file'",
        )
    who = patient.strip().lower() if patient else "patient"
    if patient and who not in names:
        raise LabelError("no such patient column in the label table", expected=f"one of {_listed(header)}")
    _check_rows(lines, names)
    header, lines, agreed = readers.merged(header, lines, answers=_answers)
    names = _names(header)
    columns = {n: [cells[i] for _, cells in lines] for i, n in enumerate(names) if n not in ("file", who, "study")}
    kinds, notes = _kinds(columns, [number for number, _ in lines])
    usual = {n: spellings.usual(columns[n]) for n, kind in kinds.items() if kind in ("categorical", "stratum", "split")}
    notes += agreed + spellings.told(usual, unknown=UNKNOWN)
    titles = dict(zip(names, (h.strip() for h in header), strict=True))
    rows = tuple(
        _row(number, spellings.in_one(dict(zip(names, cells, strict=True)), usual), kinds, titles, who)
        for number, cells in lines
    )
    notes += _ages_not_understood(columns, kinds)

    def of(*wanted: str) -> tuple[str, ...]:
        return tuple(titles[n] for n, kind in kinds.items() if kind in wanted)

    return LabelTable(
        path=str(path),
        rows=rows,
        labels={titles[n]: kind for n, kind in kinds.items() if kind in ("boolean", "categorical")},
        strata=of("stratum", "age"),
        splits=of("split"),
        patients=who in names,
        notes=tuple(notes),
    )


def truth(word: str) -> bool | None:
    """Return what a yes-or-no word means; None where it says neither.

    Examples
    --------
    >>> truth("Yes"), truth("0.0"), truth("malignant")
    (True, False, None)
    """
    word = _number(word.strip().lower())
    return True if word in TRUE else False if word in FALSE else None


# -- reading ------------------------------------------------------------------------------------------------------


def _cells(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Return the header and the rows that are not blank, each with its line number."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise LabelError(
            f"a label table that cannot be read ({error.strerror})", expected="a CSV file", do="check its name"
        ) from error
    text = _decoded(raw)
    if "\0" in text:
        raise LabelError(
            "a label table with zero bytes", expected="a CSV file", do="export it as CSV (a spreadsheet is not)"
        )
    if said := re.match(r"\s*sep=(.)[ \t]*(\r\n|\r|\n)", text, re.IGNORECASE):  # a spreadsheet's word to itself
        text = "\n" + text[said.end() :]
    first = re.sub(r'"[^"]*"', "", next((line for line in text.splitlines() if line.strip()), ""))
    separator = said[1] if said else max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    lines = []
    try:
        for cells in reader:
            if any(c.strip() for c in cells):
                lines.append((reader.line_num, [c.strip() for c in cells]))
    except csv.Error as error:
        raise LabelError(
            f"line {reader.line_num} of the label table breaks off ({error})", expected="CSV", do="export it again"
        ) from error
    if len(lines) < 2:
        raise LabelError(
            "a label table without rows",
            expected="a header line, then one line a file",
            do="check that it is the right file",
        )
    return lines[0][1], lines[1:]


def _decoded(raw: bytes) -> str:
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return raw.decode("utf-16", errors="replace")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        try:
            return raw.decode("cp1252")  # what Western spreadsheets write: Latin-1 with dashes and quotes
        except UnicodeDecodeError:
            return raw.decode("latin-1")


def _listed(header: list[str]) -> str:
    """Return the first columns' names as a refusal may repeat them: short, on one line."""
    return ", ".join(shorten(name, 30, placeholder="…") for name in header[:12])


def _header(header: list[str]) -> list[str]:
    names = [h.strip().lower() for h in header]
    twice = [n for n, count in Counter(names).items() if count > 1 or not n]
    if twice:
        raise LabelError(
            f"the label table's column {twice[0]!r} twice or without a name", expected="each name once", do="rename one"
        )
    return names


def _names(header: list[str]) -> list[str]:
    """Return the columns' names in lower case, with "file" for the column that stands in its place."""
    names = _header(header)
    if "file" in names:
        return names
    return ["file" if n == next(filter(names.__contains__, _STUDY_NAMES), None) else n for n in names]


def _answers(cells: Sequence[str]) -> list[str | None]:
    """Return cells as answers that can be compared: None for unknown, one word for yes and one for no."""
    words = [_number(c.lower()) for c in cells]
    if {w for w in words if w not in UNKNOWN} - {"-1"} <= TRUE | FALSE:
        said = [truth(w) for w in words]
        return [None if s is None else "yes" if s else "no" for s in said]
    return [None if w in UNKNOWN else _number(c) for w, c in zip(words, cells, strict=True)]


def _check_rows(lines: list[tuple[int, list[str]]], names: list[str]) -> None:
    """Refuse rows of another length than the header, rows without a file, and a file named twice."""
    seen: dict[str, tuple[int, list[str]]] = {}
    at = names.index("file")
    for number, cells in lines:
        if len(cells) != len(names):
            raise LabelError(
                f"line {number} of the label table has {len(cells)} cells",
                expected=f"{len(names)} as in its header",
                do="mend the line, or put quotes around a cell that holds the separator",
            )
        file = tidy(cells[at])
        if not file:
            raise LabelError(f"line {number} of the label table names no file", expected="a file name", do="fill it in")
        if file in seen:
            before, others = seen[file]
            same = [c for i, c in enumerate(cells) if i != at] == [c for i, c in enumerate(others) if i != at]
            raise LabelError(
                f"lines {before} and {number} of the label table name the same file, with {'the same' if same else 'other'} answers",
                expected="each file once",
                do="remove one of the two lines",
            )
        seen[file] = (number, cells)


def tidy(file: str) -> str:
    """Return a path with forward slashes and without ``./``, as it is compared.

    Examples
    --------
    >>> tidy(".\\\\train\\\\a.png")
    'train/a.png'
    """
    return re.sub(r"/(\./)+|//+", "/", re.sub(r"^(\./)+", "", file.strip().replace("\\", "/")))


# -- what a column is ---------------------------------------------------------------------------------------------


def _kinds(columns: Mapping[str, list[str]], numbers: Sequence[int]) -> tuple[dict[str, str], list[str]]:
    """Say of each column what it is: boolean, categorical, stratum, age, split, or left out with a note."""
    kinds: dict[str, str] = {}
    notes: list[str] = []
    for name, cells in columns.items():
        words = Counter(_number(c.lower()) for c in cells)
        answers = {w for w in words if w not in UNKNOWN}
        plain = re.sub(r"[^a-z0-9]+", "_", name)
        if plain in _AGES:
            kinds[name] = "age"
        elif answers and answers <= SPLIT_WORDS and len(answers & {"test", "testing", "train", "training"}) > 0:
            kinds[name] = "split"
        elif why := _unfit(plain, answers, len(cells)):
            notes.append(f"the column {name!r} of the label table was left out: {why}")
        elif plain in STRATA:
            kinds[name] = "stratum"
        elif not answers or answers - {"-1"} <= TRUE | FALSE:
            kinds[name] = "boolean"
        else:
            _refuse_mixture(name, cells, answers, numbers)
            kinds[name] = "categorical"
    return kinds, notes


def _unfit(name: str, answers: set[str], rows: int) -> str:
    """Return why a column cannot be a label: it may identify a person, or it is no answer; "" where it can."""
    if _IDENTITY.search(name):
        return "its name says that it may identify a person, or that it is free text"
    if any(_DATE.match(a) or "^" in a or "@" in a for a in answers):
        return "it holds dates, names or addresses"
    if any(re.fullmatch(r"[-+]?\d*[.,]\d+(e[-+]?\d+)?", a) for a in answers):
        return "it holds measurements, not answers"
    if len(answers) > _MOST_LEVELS or (len(answers) > 10 and len(answers) > rows / 2):
        return f"it has {len(answers)} different answers, at most {_MOST_LEVELS} are a label"
    return ""


def _refuse_mixture(name: str, cells: list[str], answers: set[str], numbers: Sequence[int]) -> None:
    """Refuse a column of true and false in which some cells say neither."""
    odd = {a for a in answers if a not in TRUE | FALSE}
    if not (answers & TRUE and answers & FALSE) or all(re.fullmatch(r"-?\d+", a) for a in answers):
        return  # levels such as no, mild, severe; or whole numbers
    line = next(n for n, c in zip(numbers, cells, strict=True) if _number(c.lower()) in odd)
    raise LabelError(
        f"line {line} of the label table, column {name!r}: neither true nor false",
        expected="0/1, true/false, yes/no, positive/negative, present/absent, or nothing where it is unknown",
        do="mend the cell, or use words for all levels of the column",
    )


def _number(word: str) -> str:
    """Write 1.0 as 1, as spreadsheets and data frames do not."""
    return word[: word.index(".")] if re.fullmatch(r"-?\d+\.0+", word) else word


def _ages_not_understood(columns: Mapping[str, list[str]], kinds: Mapping[str, str]) -> list[str]:
    bad = sum(
        c.lower() not in UNKNOWN and age_band(c) is None for n, k in kinds.items() if k == "age" for c in columns[n]
    )
    return [f"{bad} ages of the label table are no numbers and count as unknown"] if bad else []


def _row(
    line: int, cells: Mapping[str, str], kinds: Mapping[str, str], titles: Mapping[str, str], who: str
) -> LabelRow:
    labels: dict[str, LabelValue] = {}
    strata: dict[str, str] = {}
    splits: dict[str, str] = {}
    for name, kind in kinds.items():
        cell = cells[name]
        unknown = cell.lower() in UNKNOWN
        if kind == "boolean":
            labels[titles[name]] = truth(cell)
        elif kind == "categorical":
            labels[titles[name]] = None if unknown else _number(cell)
        elif kind == "split" and not unknown:
            splits[titles[name]] = cell
        elif kind == "stratum" and not unknown:
            strata[titles[name]] = cell
        elif kind == "age" and (band := age_band(cell)):
            strata[titles[name]] = band

    def raw(name: str) -> str | None:
        value = cells.get(name, "")
        return None if value.lower() in UNKNOWN else value

    of_kind = {"strata": ("stratum", "age"), "splits": ("split",)}
    said = {*strata, *splits}
    unsaid = {
        w: tuple(titles[n] for n, k in kinds.items() if k in ks and titles[n] not in said) for w, ks in of_kind.items()
    }
    return LabelRow(tidy(cells["file"]), line, raw(who), raw("study"), labels, strata, splits, unsaid)
