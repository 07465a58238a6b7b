"""Count how often a testing cohort was read: in the run, and beside the archive, where every model's reads meet."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from overread import __version__
from overread.domain import fingerprint
from overread.steps.run import read_json, write_json

NAME = "reads.jsonl"
"""The file in an archive's folder: a line a read, never rewritten."""


@dataclass(frozen=True)
class Reads:
    """How often a cohort was read, and by how many models.

    Parameters
    ----------
    times : int
        By this run.
    place, models : int
        This model is the ``place``-th of ``models`` different ones that were measured on the cohort.
    notes : tuple of str
        Why the count may be too low.
    """

    times: int
    place: int
    models: int
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        by_now = f", of {self.models:,} by now" if self.models > self.place else ""
        return f"the {nth(self.place)} model measured on this testing cohort{by_now}"

    def warnings(self) -> list[str]:
        """Return what a reader of the figures must know: the best of several on one cohort is flattered."""
        told = f"This is {self}: the best of several measured on one cohort looks better than it is."
        return [*([told] if self.models > 1 else []), *self.notes]


def model_of(run: Path) -> str:
    """Return the fingerprint of what is measured: the network with its calibration, whatever the card says of them."""
    files = read_json(run / "manifest.json")["files"]
    return fingerprint([files["model.onnx"], files["calibration.json"]])


def count(
    run: Path,
    archive: Path | None,
    images: Sequence[str],
    *,
    model: str,
    own: bool,
    now: datetime,
    by: str = "evaluate",
) -> Reads:
    """Record that a cohort was read, in the run and in the archive's folder, and say how often it has been.

    Parameters
    ----------
    run : Path
    archive : Path or None
        Where the cohort's images lie; None where it is not here.
    images : sequence of str
        Content hashes of the cohort's images: the same images are the same cohort, whatever they are called.
    model : str
        A fingerprint of what was measured.
    own : bool
        True for the run's own testing cohort.
    now : datetime
    by : str
        The verb that read it: "evaluate", "compare" or "explain".
    """
    line = {"time": now.isoformat(timespec="seconds"), "cohort": fingerprint(sorted(images)), "by": by}
    line["overread"] = __version__
    path = run / "reads.json"
    reads = read_json(path) if path.exists() else []
    reads.append({**line, "own": own})
    write_json(path, reads)
    times = sum(1 for r in reads if r["cohort"] == line["cohort"])
    if archive is None:
        return Reads(times, 1, 1, ("The archive is not here: other models measured on this cohort are not counted.",))
    notes = []
    try:
        _append(archive / NAME, {**line, "model": model})
    except OSError as error:
        notes.append(f"The archive cannot be written ({error.strerror}): this read is counted in the run only.")
    rows, damaged = _lines(archive / NAME)
    if damaged:
        notes.append(f"{damaged:,} lines of the archive's {NAME} are damaged: the count of models may be too low.")
    order = list(dict.fromkeys([r["model"] for r in rows if r["cohort"] == line["cohort"]] + [model]))
    return Reads(times, order.index(model) + 1, len(order), tuple(notes))


def nth(number: int) -> str:
    """Return a place in a row as a person writes it.

    Examples
    --------
    >>> [nth(n) for n in (1, 2, 3, 11, 22)]
    ['1st', '2nd', '3rd', '11th', '22nd']
    """
    teen = 10 < number % 100 < 14
    return f"{number:,}{'th' if teen else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"


def _append(path: Path, record: dict[str, Any]) -> None:
    """Add one line in one write, so that two processes at once never mix theirs."""
    with open(path, "ab", buffering=0) as out:
        torn = path.stat().st_size > 0 and not path.read_bytes().endswith(b"\n")  # a process was killed here before
        out.write(b"\n" * torn + json.dumps(record, sort_keys=True).encode() + b"\n")
        os.fsync(out.fileno())


def _lines(path: Path) -> tuple[list[dict[str, Any]], int]:
    """Return the records of the file, and how many lines are none."""
    rows, damaged = [], 0
    for line in path.read_bytes().splitlines() if path.is_file() else []:
        try:
            row = json.loads(line)
            rows.append({"cohort": str(row["cohort"]), "model": str(row["model"])})
        except (ValueError, KeyError, TypeError):
            damaged += 1
    return rows, damaged
