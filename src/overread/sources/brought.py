"""What a source elsewhere gave: files in a folder, and by name what it did not give, and why."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Missed:
    """Something that was asked for and is not there: its name ("phil:2423"), a code of docs/reasons.md, the reason."""

    name: str
    code: str
    reason: str


@dataclass(frozen=True)
class Brought:
    """What lies in the folder now.

    Parameters
    ----------
    paths : tuple of Path
        The images, in the order they were asked for. A picture's record lies beside it, as ``<picture>.json``.
    missed : tuple of Missed
        What was asked for and refused, or is not there.
    notes : tuple of str
        What a person should know of the whole ("the search found 230 records; the first 100 were asked for").
    named : tuple of str
        The names of what came ("phil:2423").
    asked : int
        Requests that went out to another computer this time; 0 when everything lay here already.
    """

    paths: tuple[Path, ...]
    missed: tuple[Missed, ...] = ()
    notes: tuple[str, ...] = ()
    named: tuple[str, ...] = ()
    asked: int = 0
