"""Find: what a word for a PACS would bring, before anything is fetched."""

from __future__ import annotations

import urllib.parse
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from overread.errors import SourceError
from overread.sources.asked import Series
from overread.steps.pacs import KINDS, listed

_SHOWN = 20


@dataclass(frozen=True)
class Finding:
    """The studies that fit. **It names patients**: it is for the eyes of the person who asked, and is stored nowhere.

    Parameters
    ----------
    studies : tuple of mapping
        ``date``, ``modality`` (of the series that would be fetched), ``series``, ``files`` (None where the server does
        not count), ``description``, ``patient``, ``accession``, ``study``.
    unasked : int
        Studies that the server listed although they do not fit.
    """

    studies: tuple[dict[str, Any], ...]
    unasked: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        return {"studies": list(self.studies), "unasked": self.unasked}

    def __str__(self) -> str:
        counts = [study["files"] for study in self.studies]
        total = "an unknown number of" if None in counts else f"{sum(counts):,}"
        lines = [f"{len(self.studies):,} studies, {sum(s['series'] for s in self.studies):,} series, {total} files"]
        for study in self.studies[:_SHOWN]:
            count = "?" if study["files"] is None else f"{study['files']:,}"
            date = study["date"] or "no date"
            files = "file " if count == "1" else "files"
            lines.append(
                f"  {date:<9} {study['modality']:<9} {study['series']:>3} series {count:>7} {files}  {study['description']}"
            )
        if len(self.studies) > _SHOWN:
            lines.append(f"  … and {len(self.studies) - _SHOWN:,} more; --json lists all, with the UID of each")
        if self.unasked:
            lines.append(f"  note: the server listed {self.unasked:,} more that do not fit; they would be left there")
        return "\n".join(_printable(line) for line in lines)


def find(source: str, *, progress: bool = True) -> Finding:
    """List the studies that a word for a PACS names; nothing is fetched or stored.

    Parameters
    ----------
    source : str
        ``dicomweb:https://HOST/PATH?…`` or ``dimse://CALLED_AET@HOST:PORT?…``, as for :func:`overread.collect`.
    progress : bool
        Draw a bar on stderr.

    Raises
    ------
    NothingToDo
        When nothing fits.
    SourceError
        When the PACS cannot be reached or refuses.
    """
    if urllib.parse.urlsplit(source).scheme not in KINDS:
        raise SourceError(
            "a source that is no PACS",
            expected="dicomweb:https://HOST/PATH?… or dimse://CALLED_AET@HOST:PORT?…",
            do="folders and files need no query: collect them",
        )
    _, found = listed(source, show=progress)
    by_study: dict[str, list[Series]] = defaultdict(list)
    for series in found.series:
        by_study[series.study].append(series)
    return Finding(tuple(sorted(map(_study, by_study.values()), key=lambda s: (s["date"], s["study"]))), found.unasked)


def _study(series: list[Series]) -> dict[str, Any]:
    counts = [each.instances for each in series]
    first = series[0]
    return {
        "date": first.date,
        "modality": "/".join(sorted({each.modality for each in series})),
        "series": len(series),
        "files": None if None in counts else sum(counts),
        "description": first.description,
        "patient": first.patient,
        "accession": first.accession,
        "study": first.study,
    }


def _printable(line: str) -> str:
    """Return a line whose text came from a server without what would steer a terminal."""
    return "".join(c if c.isprintable() else "?" for c in line)
