"""Which row of a label table speaks of which file, wherever the user keeps the two."""

from __future__ import annotations

import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from overread.errors import LabelError
from overread.formats.labels import LabelRow, LabelTable

_SUFFIXES = (".nii.gz", ".nii", ".dcm", ".dicom", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".webp")


@dataclass(frozen=True)
class Matched:
    """``rows``: file as offered → its row; ``missing``: rows whose file was not offered."""

    rows: dict[str, LabelRow]
    missing: tuple[LabelRow, ...]


def match(
    table: LabelTable,
    files: Iterable[str],
    *,
    roots: Sequence[str] = (),
    studies: Mapping[str, str | os.PathLike] | None = None,
) -> Matched:
    """Find the file that each row of a label table speaks of.

    A row's path is taken as given from the table's own folder, then from each of ``roots``; then as the end of a file's
    path, when only one file ends so. A name without its suffix, or the name of a folder that holds one series, will do.
    A row with a folder in it never falls back to the bare name: two folders may hold two patients' ``1.png``. A patient of
    a BIDS tree (``sub-01``) means all files of that patient.

    Parameters
    ----------
    table : LabelTable
    files : iterable of str
        As offered; members of a zip file as ``a.zip!x/y.png``.
    roots : sequence of str
        The sources that the user named.
    studies : mapping of str to path, optional
        What came from a PACS: a Study Instance UID or an accession number → the folder of that study. A row may name its
        study by one of these; it then speaks of all its files.

    Raises
    ------
    LabelError
        With the line number: a row that fits several files, two rows for one file, or no row that fits any file.
    """
    files = list(files)
    index = _Index(files)
    of_study = _by_study(files, studies or {})
    bases = [Path(table.path).parent, *(Path(r) for r in roots)]
    rows: dict[str, LabelRow] = {}
    missing = []
    for row in table.rows:
        found = of_study.get(row.file.strip()) or index.find(row, bases)
        if not found:
            missing.append(row)
        for file in found:
            if file in rows:
                raise LabelError(
                    f"lines {rows[file].line} and {row.line} of the label table speak of the same file",
                    expected="each file once",
                    do="remove one of the two lines",
                )
            rows[file] = row
    if not rows:
        raise LabelError(
            f"a label table whose {len(table.rows):,} rows fit none of the {len(index):,} files offered",
            expected="file names as they stand in the folder",
            do="write the path of each file from the table's folder, or from the folder that you collect",
        )
    return Matched(rows, tuple(missing))


def _by_study(files: Iterable[str], studies: Mapping[str, str | os.PathLike]) -> dict[str, list[str]]:
    """Return the files of each study that came from a PACS: they lie two folders down, study and series."""
    if not studies:
        return {}
    inside: dict[str, list[str]] = defaultdict(list)
    for file in files:
        inside[os.path.dirname(os.path.dirname(os.path.abspath(file)))].append(file)
    return {name: inside[os.path.abspath(folder)] for name, folder in studies.items()}


class _Index:
    """The files offered, by the end of their path."""

    def __init__(self, files: Iterable[str]) -> None:
        self.exact: dict[str, str] = {}
        self.by_name: dict[str, list[tuple[tuple[str, ...], str]]] = defaultdict(list)
        self.by_stem: dict[str, list[tuple[tuple[str, ...], str]]] = defaultdict(list)
        self.by_folder: dict[str, list[tuple[tuple[str, ...], str]]] = defaultdict(list)
        self.by_folder_of_patient: dict[str, list[tuple[tuple[str, ...], str]]] = defaultdict(list)
        for file in files:
            path = _absolute(file.replace("!", "/"))
            self.exact[path] = file
            parts = tuple(path.split("/"))
            self.by_name[parts[-1]].append((parts, file))
            stem = _stem(parts[-1])
            if stem != parts[-1]:
                self.by_stem[stem].append(((*parts[:-1], stem), file))
            if len(parts) > 1:
                self.by_folder[parts[-2]].append((parts[:-1], file))
            for n, folder in enumerate(parts[:-1]):
                if folder.startswith("sub-"):
                    self.by_folder_of_patient[folder].append((parts[: n + 1], file))

    def __len__(self) -> int:
        return len(self.exact)

    def find(self, row: LabelRow, bases: Sequence[Path]) -> list[str]:
        """Return the files a row speaks of; [] where none was offered."""
        for base in bases:
            file = self.exact.get(_absolute(str(base / row.file)))
            if file is not None:
                return [file]
        ending = tuple(p for p in _composed(os.path.normpath(row.file)).split("/") if p not in ("..", "."))
        for index in (self.by_name, self.by_stem):
            fits = [file for parts, file in index.get(ending[-1], ()) if parts[-len(ending) :] == ending]
            if len(fits) > 1:
                raise _ambiguous(row, len(fits), "files")
            if fits:
                return fits
        index = self.by_folder_of_patient if ending[-1] in self.by_folder_of_patient else self.by_folder
        folders = [(parts, file) for parts, file in index.get(ending[-1], ()) if parts[-len(ending) :] == ending]
        if len({parts for parts, _ in folders}) > 1:
            raise _ambiguous(row, len({parts for parts, _ in folders}), "folders")
        return [file for _, file in folders]


def _ambiguous(row: LabelRow, count: int, what: str) -> LabelError:
    return LabelError(
        f"line {row.line} of the label table fits {count} {what}",
        expected="exactly one",
        do="write more of its path, from the folder that you collect",
    )


def _absolute(path: str) -> str:
    return _composed(os.path.abspath(path).replace("\\", "/"))


def _composed(text: str) -> str:
    """Return text with accents composed: some systems store é as two characters."""
    return unicodedata.normalize("NFC", text)


def _stem(name: str) -> str:
    for suffix in _SUFFIXES:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name
