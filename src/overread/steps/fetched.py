"""Sources that lie elsewhere: a word such as ``dicomweb:https://…`` becomes folders on this disk, and collect walks those.

What is fetched are originals with names in them, so it is kept in ``ARCHIVE.names/fetched``, which only its owner can
read. It stays there, so that the next run fetches only what is new.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from overread.steps.shelved import Fetched
from overread.store.archive import Archive

Fetch = Callable[..., Fetched]
"""``fetch(word, shelf, *, show)``: the whole word as typed, the folder ``ARCHIVE.names/fetched``, and whether to draw a bar."""


def _public(word: str, shelf: Path, *, show: bool) -> Fetched:
    """A public library: what it gave lies in one folder for all its words."""
    from overread.steps import public  # only here: the words of the command line need no network

    kind = word.partition(":")[0]
    root = shelf / kind
    came = {"phil": public.phil, "medmnist": public.medmnist}[kind](word, root, show=show)
    return Fetched(root, came.paths, came.notes, came.missed, came.named)


def _pacs(word: str, shelf: Path, *, show: bool) -> Fetched:
    """A hospital's PACS."""
    from overread.steps import pacs  # only here, as above

    return pacs.fetch(word, shelf, show=show)


FETCH: dict[str, Fetch] = {"dicomweb": _pacs, "dimse": _pacs, "dimses": _pacs, "phil": _public, "medmnist": _public}
"""What stands before the first colon of a remote source → the function that fetches it."""


def is_remote(source: str | os.PathLike) -> bool:
    """True for a word that names something elsewhere, and no file of that name lies here.

    Examples
    --------
    >>> is_remote("films/a.dcm"), is_remote(Path("dicomweb:x"))
    (False, False)
    """
    return isinstance(source, str) and source.partition(":")[0] in FETCH and not os.path.lexists(source)


def told(fetched: Iterable[Fetched], unfound: Iterable[str]) -> list[str]:
    """Return what a person should know of what was fetched, and of rows of a label table that name several studies of it.

    Examples
    --------
    >>> told([Fetched(Path(), (), shared=frozenset({"A1"}))], ["A1", "A2"])[0].partition(":")[0]
    '1 row of the label table names an accession number that several studies have'
    """
    fetched = list(fetched)
    several = sum(any(name in f.shared for f in fetched) for name in unfound)
    rows = f"{several:,} {'row' if several == 1 else 'rows'} of the label table {'names' if several == 1 else 'name'}"
    which = f"{rows} an accession number that several studies have: none was given its answers; write the study's UID"
    return [note for f in fetched for note in f.notes] + ([which] if several else [])


def fetch(sources: Iterable[str | os.PathLike], into: Path, *, show: bool) -> list[Fetched]:
    """Fetch what the remote words among some sources name, into the names shelf of an archive.

    Parameters
    ----------
    sources : iterable of str or path
        Local ones are passed over.
    into : Path
        The archive; it need not be there yet.
    show : bool
        Draw bars on stderr.

    Returns
    -------
    list of Fetched
        One for each remote word, in their order.

    Raises
    ------
    NothingToDo
        When a word names nothing.
    ArchiveError
        When the place of the archive cannot be used.
    OverreadError
        When a source cannot be reached, refuses, or answers what it should not.
    """
    remote = [source for source in sources if is_remote(source)]
    if remote and into.exists():
        with Archive.create(into) as archive:
            archive.shelf()  # refuses here what would be refused after hours of fetching
    shelf = Path(f"{into}.names") / "fetched"
    return [FETCH[source.partition(":")[0]](source, shelf, show=show) for source in remote]
