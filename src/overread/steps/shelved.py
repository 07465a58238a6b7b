"""What a remote source brought, and the folder it lies in, which only its owner can read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from overread.errors import NothingToDo
from overread.sources.brought import Missed


@dataclass(frozen=True)
class Fetched:
    """What a remote source brought.

    Parameters
    ----------
    root : Path
        The folder below ``ARCHIVE.names/fetched`` that belongs to this source.
    paths : tuple of Path
        What collect is to walk: folders or files below ``root``. Only what is there whole.
    notes : tuple of str
        What the person should know, in words and without identifiers.
    missed : tuple of Missed
        What was asked for and refused, or is not there; collect lists it among what was refused.
    named : tuple of str
        The names of what was brought this time ("phil:2423"): what an earlier run said of them is no longer true.
    studies : mapping of str to Path
        Study Instance UIDs and accession numbers → the folder of the study, so that a label table may name studies so.
        It is held while collect runs, and stored nowhere.
    withdrawn : tuple of Path
        Where files lay that the source no longer has: what was read from them is read anew without them.
    shared : frozenset of str
        Accession numbers that several studies have: they name none of them.
    """

    root: Path
    paths: tuple[Path, ...]
    notes: tuple[str, ...] = ()
    missed: tuple[Missed, ...] = ()
    named: tuple[str, ...] = ()
    studies: Mapping[str, Path] = field(default_factory=dict, repr=False)
    withdrawn: tuple[Path, ...] = ()
    shared: frozenset[str] = field(default=frozenset(), repr=False)


def private(folder: Path) -> Path:
    """Make a folder, and those above it up to the names shelf, that only its owner can read."""
    missing = [folder, *folder.parents]
    for each in reversed(missing[: next((i for i, p in enumerate(missing) if p.is_dir()), 0)]):
        each.mkdir(mode=0o700, exist_ok=True)
    return folder


def none_found(what: str, *, do: str) -> NothingToDo:
    """Return the refusal of a query that found nothing."""
    return NothingToDo(f"the query finds no {what}", expected="at least one", do=do)
