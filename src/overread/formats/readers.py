"""Several readers' columns of a label table as one: ``mass:anna``, ``mass:ben`` or ``mass@1``, ``mass@2``."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np

from overread.stats import readers

_READER = re.compile(r"^(?P<label>[^:@]*[^:@\s])\s*[:@]\s*(?P<reader>[^:@]+)$")

Lines = list[tuple[int, list[str]]]


def merged(
    header: Sequence[str], lines: Lines, *, answers: Callable[[Sequence[str]], list[str | None]]
) -> tuple[list[str], Lines, list[str]]:
    """Return a table's header and rows with each label's readers as one column, and what a person must know of it.

    The majority's answer stands; a tie goes to the readers with the better record where there are enough cases to know
    it, and is unknown otherwise. Where the table has a column of the label itself, that is what was agreed in the end:
    it stands, and the readers' columns only tell how far they agreed. Readers are counted and never named.

    Parameters
    ----------
    header : sequence of str
    lines : list of (line number, cells)
    answers : callable
        All cells of a label as answers that can be compared; None for unknown.

    Examples
    --------
    >>> header, lines, notes = merged(["file", "mass:a", "mass:b"], [(2, ["x.png", "1", "1"])], answers=lambda cells: [c or None for c in cells])
    >>> header, lines
    (['file', 'mass'], [(2, ['x.png', '1'])])
    """
    columns: dict[str, list[int]] = {}
    for i, title in enumerate(header):
        if found := _READER.match(title.strip()):
            columns.setdefault(found["label"].strip().lower(), []).append(i)
    columns = {label: places for label, places in columns.items() if len(places) > 1}
    if not columns:
        return list(header), lines, []
    have = [title.strip().lower() for title in header]
    notes, more = [], {}
    for label, places in columns.items():
        title = header[places[0]].replace("@", ":").partition(":")[0].strip()
        flat = answers([cells[i] for _, cells in lines for i in places])
        words = [flat[k : k + len(places)] for k in range(0, len(flat), len(places))]
        code, known = readers.coded(words)
        said = readers.merge(code, max(len(known), 1))
        notes.append(_told(title, code, max(len(known), 1), said, agreed=label in have))
        if label not in have:
            more[title] = ["" if k < 0 else known[k] for k in said.answer]
    gone = {i for places in columns.values() for i in places}
    left = [i for i in range(len(header)) if i not in gone]
    rows = [
        (number, [*(cells[i] for i in left), *(column[row] for column in more.values())])
        for row, (number, cells) in enumerate(lines)
    ]
    return [*(header[i] for i in left), *more], rows, notes


def _told(title: str, code: np.ndarray, answers: int, said: readers.Merged, *, agreed: bool) -> str:
    """Say how many read how much, how far they agreed, and what became of ties."""
    several = int(((code >= 0).sum(axis=1) >= 2).sum())
    alpha = readers.agreement(code, answers)
    far = f"{alpha} ({alpha.method})"
    if alpha.value == alpha.value:
        far += f", {readers.in_words(alpha.value)}"
    start = f"{title!r} was read by {code.shape[1]} readers, {several:,} of {len(code):,} files by two or more: agreement (Krippendorff's alpha) {far}"  # fmt: skip
    if agreed:
        return f"{start}; the column {title!r} itself is what counts"
    ties, settled = int(said.divided.sum()), int(said.settled.sum())
    end = f"; the majority's answer counts, {_ties(ties)} unknown"
    return start + end + (f", {_ties(settled)} settled by the readers with the better record" if settled else "")


def _ties(n: int) -> str:
    return "1 tie is" if n == 1 else f"{n:,} ties are"
