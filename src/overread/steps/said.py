"""What a label table, the folders and a patient pattern say of each file that is collected."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from overread.errors import LabelError
from overread.formats.deid import pseudonym
from overread.formats.door import Job
from overread.formats.label_match import Matched, match
from overread.formats.labels import LabelRow, LabelTable, read_table
from overread.steps.far import is_far
from overread.store.places import storable


class Said:
    """What the label table, the folders and the patient pattern say of each file."""

    def __init__(
        self,
        sources: Iterable[str | os.PathLike],
        jobs: Iterable[Job],
        *,
        labels: str | os.PathLike | None,
        folders: bool,
        patient: str | None,
        studies: Mapping[str, os.PathLike] | None = None,
    ) -> None:
        self.key = b""
        self.table: LabelTable | None = None
        self.matched = Matched({}, ())
        self.pattern: re.Pattern | None = None
        self.notes: list[str] = []
        self._contradicted: set[str] = set()
        self._asked = self._found = 0  # by the pattern
        self.roots = [str(s) for s in sources]
        if labels is not None:
            self.table, self.pattern = _table_and_pattern(labels, patient)
            self.matched = match(self.table, dict.fromkeys(_files(jobs)), roots=self.roots, studies=studies)
            self.notes += self.table.notes
        elif patient is not None:
            self.pattern = _pattern(patient)
        self.folders = _Folders(self.roots, jobs) if folders else None

    @property
    def any(self) -> bool:
        """True when this run says something that earlier ones may not have said."""
        return bool(self.table or self.folders or self.pattern)

    def of(self, files: Iterable[str]) -> dict[str, Any]:
        """Return what is said of an image that was read from these files (as offered)."""
        files = list(files)
        words: dict[str, Any] = {}
        rows = {r.line: r for f in files if (r := self.matched.rows.get(f))}
        if rows:
            words |= self._rows(list(rows.values()))
        if self.folders and (name := self.folders.of(files[0])) is not None:
            words["folder"] = storable(name)
        if self.pattern:
            found = self.pattern.search(files[0].replace(os.sep, "/"))
            self._asked += 1
            if found and found[1]:
                self._found += 1
                words["patient"] = pseudonym("P", storable(found[1]), key=self.key)
        return words

    def unfound(self) -> list[str]:
        """Tell of how many images the patient pattern found nobody in the path."""
        missed = self._asked - self._found
        told = f"the patient pattern found nobody in {missed:,} of {self._asked:,} paths"
        return [f"{told}: write it so that its first group is the patient"] if missed else []

    def contradictions(self) -> list[str]:
        """Tell how many images were read from several files of which the table says different things."""
        n = len(self._contradicted)
        told = "volumes were read from files that the label table does not agree on: these labels count as unknown"
        return [f"{n:,} {told}"] if n else []

    def _rows(self, rows: list[LabelRow]) -> dict[str, Any]:
        """Join the rows of one image (several files of a series may be named); what they contradict is unknown."""
        labels = dict(rows[0].labels)
        for row in rows[1:]:
            if row.labels != rows[0].labels:
                self._contradicted.add(rows[0].file)
            labels = {n: v if v == row.labels[n] else None for n, v in labels.items()}
        words: dict[str, Any] = {"labels": labels}
        for what, told in (("strata", rows[0].strata), ("splits", rows[0].splits)):
            words[what] = dict.fromkeys(rows[0].unsaid.get(what, ())) | told  # an emptied cell takes back what it said
        if rows[0].patient:
            words["patient"] = pseudonym("P", rows[0].patient, key=self.key)
        if rows[0].study:
            words["study"] = pseudonym("S", f"{rows[0].patient or ''}\0{rows[0].study}", key=self.key)
        return words


def _table_and_pattern(labels: str | os.PathLike, patient: str | None) -> tuple[LabelTable, re.Pattern | None]:
    """Read the table; ``patient`` is one of its columns, or else a pattern on the path."""
    try:
        return read_table(labels, patient=patient), None
    except LabelError as error:
        if patient is None or not error.came.startswith("no such patient column") or "(" not in patient:
            raise
        return read_table(labels), _pattern(patient)


def _pattern(patient: str) -> re.Pattern:
    try:
        pattern = re.compile(patient)
    except re.error as error:
        raise LabelError(
            f"a patient pattern that is no regular expression ({error})", expected="such as '(P[0-9]+)_'", do="mend it"
        ) from error
    if pattern.groups < 1:
        raise LabelError(
            "a patient pattern without a group, and no such column",
            expected="a column of the label table, or a regular expression with the patient in parentheses",
            do="write it such as '(P[0-9]+)_'",
        )
    return pattern


def _files(jobs: Iterable[Job]) -> Iterator[str]:
    return (part.name for job in jobs if job.kind != "ignored" for part in job.parts)


class _Folders:
    """The class of each file: the name of the folder it lies in; none for what lies in a source beside its folders."""

    def __init__(self, roots: Iterable[str], jobs: Iterable[Job]) -> None:
        folders = {root.rstrip("/") if is_far(root) else str(Path(root)) for root in roots}
        self.nested: set[str] = set()
        for file in _files(jobs):
            parent = _folder(file)
            if self.nested != folders:
                self.nested |= {f for f in folders if parent != f and parent.startswith(f.rstrip("/") + "/")}

    def of(self, file: str) -> str | None:
        """Return the class of a file as offered."""
        parent = _folder(file)
        return None if parent in self.nested else os.path.basename(os.path.abspath(parent or ".")).removesuffix(".zip")


def _folder(file: str) -> str:
    return file.replace("!", "/").replace(os.sep, "/").rpartition("/")[0]
