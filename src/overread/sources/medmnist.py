"""MedMNIST's published sets by name, each checked against the checksum its authors published.

``medmnist:pneumoniamnist`` is the set at 28 × 28, ``medmnist:pneumoniamnist_64`` at 64 × 64 (also 128 and 224; the
three-dimensional sets at 28 and 64). The table ``medmnist.csv`` beside this file holds the 18 sets of MedMNIST v2 with the
number of images, the licence and the MD5 of each size, as the authors' own package states them (medmnist 3.0.2,
``medmnist/info.py``, Apache-2.0; record 10519652). A file without a published checksum is not fetched.

References
----------
Yang J et al. MedMNIST v2. Sci Data 2023;10:41. doi:10.1038/s41597-022-01721-8; record doi:10.5281/zenodo.10519652.
"""

from __future__ import annotations

import csv
import difflib
import functools
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from overread.errors import OverreadError, SourceError, UnreadableFile
from overread.sources.brought import Brought
from overread.sources.manners import Manners
from overread.sources.polite import Session

RECORD = "https://zenodo.org/records/10519652/files/"
SIZES = ("28", "64", "128", "224")
LARGEST = 4 << 30
"""Bytes: what the reader of arrays takes; larger sets are not fetched to be refused afterwards."""


@dataclass(frozen=True)
class Published:
    """One published file: the set, its images, its licence, its checksum.

    Parameters
    ----------
    file : str
        "pneumoniamnist_64.npz".
    images : int
        In all three parts together.
    licence : str
        "CC BY 4.0".
    md5 : str
        Of the whole file.
    """

    file: str
    images: int
    licence: str
    md5: str


@functools.cache
def published() -> dict[str, Published]:
    """Return every file that has a published checksum, by the name one asks for it with.

    Examples
    --------
    >>> published()["pneumoniamnist"].md5
    '28209eda62fecd6e6a2d98b1501bb15f'
    >>> sum(name.endswith("_224") for name in published())
    12
    """
    found = {}
    with (files("overread.sources") / "medmnist.csv").open(encoding="ascii", newline="") as table:
        for row in csv.DictReader(table):
            for size in SIZES:
                name = row["name"] + ("" if size == "28" else f"_{size}")
                if row[f"md5_{size}"]:
                    found[name] = Published(f"{name}.npz", int(row["images"]), row["licence"], row[f"md5_{size}"])
    return found


def fetch(
    name: str,
    *,
    into: Path,
    record: str = RECORD,
    session: Session | None = None,
    moved: Callable[[int], object] = lambda size: None,
) -> Brought:
    """Download a set, once; a killed download goes on where it stopped.

    Parameters
    ----------
    name : str
        "pneumoniamnist" or "pneumoniamnist_64".
    into : Path
        Where it is kept, as ``<name>.npz``: under that name lies only what had the published checksum.
    record : str
        The address of the record's files.
    session : Session, optional
    moved : callable
        Is given the size of every piece that arrived, for a progress bar.

    Raises
    ------
    OverreadError
        For a name without a published checksum.
    SourceError
        When the record cannot be reached, has no such file, or gives a file with another checksum.
    """
    wanted = known(name)
    path = into / wanted.file
    notes = (f"{name}: {wanted.images:,} images, {wanted.licence}; cite doi:10.1038/s41597-022-01721-8",)
    if path.is_file():
        return Brought((path,), notes=notes)
    into.mkdir(parents=True, exist_ok=True)
    # a person named one file: that is no crawling, and robots.txt is not asked
    session = session or Session(manners=Manners(robots=False, longest_s=86400.0))
    unchecked = into / f"{wanted.file}.unchecked"
    try:
        answer = session.file(
            f"{record}{wanted.file}?download=1",
            unchecked,
            largest=LARGEST,
            looks_right=lambda head: head.startswith(b"PK"),
            moved=moved,
        )
    except (SourceError, UnreadableFile) as error:
        raise _unreachable(wanted, str(error.came)) from None
    if answer.status != 200:
        raise _unreachable(wanted, f"an answer of {answer.status}")
    size = unchecked.stat().st_size
    if md5(unchecked) != wanted.md5:
        unchecked.unlink()
        raise SourceError(
            f"a download of {size:,} bytes with another MD5 than the record states",
            expected=f"the published {wanted.file}",
            do="try again, or give the file itself",
        )
    os.replace(unchecked, path)
    return Brought((path,), notes=notes, asked=session.asked)


def given(name: str, file: str | Path) -> tuple[Path, tuple[str, ...]]:
    """Take a set from the user's own disk, and say when it is not the published one.

    A set can be rebuilt from its parts, so another checksum is told and not refused: figures on it are its own.

    Raises
    ------
    OverreadError
        For an unknown set or a missing file.
    """
    wanted, path = known(name), Path(file)
    if not path.is_file():
        raise OverreadError("no file at the path given with --file", expected=wanted.file, do="check the path")
    if md5(path) == wanted.md5:
        return path, ()
    return path, (f"{path.name} is not the published {name} (another MD5): its figures are its own",)


def known(name: str) -> Published:
    """Return what is published under a name.

    Raises
    ------
    OverreadError
        For a name that is not in the table, with the nearest that are.

    Examples
    --------
    >>> known("pneumonia_64")
    Traceback (most recent call last):
    overread.errors.OverreadError: the MedMNIST set 'pneumonia_64', for which no checksum is published; expected one of 18 sets, such as pneumoniamnist; a size as in pathmnist_64 (128 and 224 for pictures); name it as medmnist:NAME
    """
    if name in published():
        return published()[name]
    sets = [each for each in published() if "_" not in each]
    wanted = name.partition("_")[0]
    near = difflib.get_close_matches(wanted.lower(), sets, n=3, cutoff=0.5) or ["pneumoniamnist", "chestmnist"]
    which = f"{wanted} has other sizes" if wanted in sets else f"one of {len(sets)} sets, such as {' or '.join(near)}"
    raise OverreadError(
        f"the MedMNIST set {name[:40]!r}, for which no checksum is published",
        expected=f"{which}; a size as in pathmnist_64 (128 and 224 for pictures)",
        do="name it as medmnist:NAME",
    )


def md5(path: Path) -> str:
    """Return a file's MD5, as the record states it: against accidents, not against forgers."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, functools.partial(hashlib.md5, usedforsecurity=False)).hexdigest()


def _unreachable(wanted: Published, why: str) -> SourceError:
    return SourceError(
        f"no way to the MedMNIST record ({why})",
        expected="a network",
        do=f"download {wanted.file} elsewhere and give the file itself (demo: with --file)",
    )
