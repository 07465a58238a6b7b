"""Words for a PACS: ``dicomweb:https://host/dicom-web?modality=CT`` and ``dimse://AET@host:port?modality=CT``."""

from __future__ import annotations

import functools
import hashlib
import os
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

from overread.errors import SourceError
from overread.sources.asked import Asked, Listed
from overread.sources.keys import Keys
from overread.sources.shelf import Shelf, Taken, safe
from overread.steps.progress import bar
from overread.steps.shelved import Fetched, none_found, private

KINDS = ("dicomweb", "dimse", "dimses")
_ASKED = tuple(f.name for f in fields(Asked))
_KEYS = tuple(f.name for f in fields(Keys))
_DIMSE = ("calling", "retrieve", "listen")


@dataclass(frozen=True)
class Place:
    """A PACS and what is wanted of it, understood from a word.

    Parameters
    ----------
    folder : str
        A name for the server's folder, the same for every query to it.
    asked : dict of str to str
        The words of the query.
    find, fetch : callables
        As in :mod:`overread.sources.dicomweb`, for this server.
    """

    folder: str
    asked: dict[str, str]
    find: Callable[..., Listed]
    fetch: Callable[..., Taken]


def place(word: str) -> Place:
    """Understand a word that names a PACS.

    Raises
    ------
    SourceError
        For an address that is none, an unknown word after the ``?``, or a login in the address.

    Examples
    --------
    >>> place("dicomweb:https://pacs.example/dicom-web?modality=CT&date=2020").asked
    {'modality': 'CT', 'date': '2020'}
    """
    kind, _, rest = word.partition(":")
    address, _, question = rest.partition("?")
    known = (*_ASKED, *_KEYS, *(_DIMSE if kind != "dicomweb" else ()))
    words: dict[str, str] = {}
    for name, value in urllib.parse.parse_qsl(question.replace("+", "%2B"), keep_blank_values=True):
        if name not in known or not value.strip():
            raise SourceError(
                f"{name[:40]}= after the ?" if name not in known else f"nothing after {name}=",
                expected=f"some of {', '.join(known)}",
                do="put the word into quotes, and write it such as '…?modality=CT&date=20200101-20201231'",
            )
        words[name] = value.strip()
    asked = {name: words[name] for name in _ASKED if name in words}
    keys = Keys(**{name: words[name] for name in _KEYS if name in words})
    if kind == "dicomweb":
        return _web(address, asked, keys)
    return _dimse(address, asked, keys, encrypted=kind == "dimses", own={k: words[k] for k in _DIMSE if k in words})


def listed(word: str, *, show: bool) -> tuple[Place, Listed]:
    """Ask a PACS what a word would bring.

    Raises
    ------
    NothingToDo
        When nothing fits.
    SourceError
    """
    there = place(word)
    asked = Asked(**there.asked)  # what is no date is told before anybody is called
    with bar(total=None, what="asking", unit="studies", show=show) as asking:
        found = there.find(asked, tick=asking.update)
    if not found.series:
        passed = found.unasked
        raise none_found(
            "series" + (f"; {passed:,} studies were listed that do not fit" if passed else ""),
            do=f"check {', '.join(there.asked) or 'the PACS'}"
            + ("; this server may pass over some of these words" if passed else ""),
        )
    return there, found


def fetch(word: str, shelf: Path, *, show: bool) -> Fetched:
    """Fetch what a word names; see :mod:`overread.steps.fetched`."""
    there, found = listed(word, show=show)
    root = private(shelf) / there.folder
    counts = [series.instances for series in found.series]
    total = None if None in counts else sum(counts)
    with bar(total=total, what="fetching", unit="files", show=show) as fetching:
        taken = there.fetch(found.series, root, tick=fetching.update)
    if not taken.whole:
        why = next(iter(taken.broken))
        raise SourceError(
            f"none of {len(found.series):,} series came whole ({why})",
            expected="at least one",
            do="run the same command again: what came is kept",
        )
    studies, shared = _studies(found, root)
    return Fetched(
        root,
        tuple(taken.whole),
        notes=tuple(_told(found, taken)),
        studies=studies,
        withdrawn=tuple(Path(os.path.abspath(file)) for file in Shelf(root).set_aside()),
        shared=shared,
    )


def _studies(found: Listed, root: Path) -> tuple[dict[str, Path], frozenset[str]]:
    """Return the folder of each study under its UID and, where only one study has it, under its accession number; and the numbers of several."""
    folders = {series.study: root / safe(series.study) for series in found.series}
    by_number: dict[str, set[Path]] = {}
    for series in found.series:
        by_number.setdefault(series.accession, set()).add(folders[series.study])
    one = {number: next(iter(some)) for number, some in by_number.items() if number and len(some) == 1}
    return folders | one, frozenset(number for number, some in by_number.items() if number and len(some) > 1)


def _told(found: Listed, taken: Taken) -> list[str]:
    """Say what came from elsewhere, and what did not."""
    notes = [f"{taken.new:,} files of {len(taken.whole):,} series fetched now, {taken.already:,} were here already"]
    if taken.withdrawn:
        notes.append(
            f"{taken.withdrawn:,} files that were here are no longer on the PACS: they were set aside, and their series "
            "read anew"
        )
    if found.unasked:
        notes.append(
            f"{found.unasked:,} studies that the server listed do not fit what was asked: they were left there"
        )
    notes += [
        f"{count:,} series did not come whole and were left out: {why}; run the same command again"
        for why, count in taken.broken.items()
    ]
    return notes


def _web(address: str, asked: dict[str, str], keys: Keys) -> Place:
    from overread.sources import dicomweb

    address = dicomweb.base(address)
    return Place(
        _folder("dicomweb", address),
        asked,
        functools.partial(dicomweb.find, address, keys=keys),
        functools.partial(dicomweb.fetch, address, keys=keys),
    )


def _dimse(address: str, asked: dict[str, str], keys: Keys, *, encrypted: bool, own: dict[str, str]) -> Place:
    from overread.sources import dimse
    from overread.sources.associations import Peer

    parts = urllib.parse.urlsplit(f"dimse:{address}")
    try:
        port, listen = parts.port, int(own.pop("listen", "11113"))
        fits = bool(port and parts.username and parts.hostname) and 0 < listen < 65536
    except ValueError:
        fits = False
    if not fits or parts.password or parts.path.strip("/"):
        raise SourceError("no address of a PACS", expected="dimse://CALLED_AET@HOST:PORT", do="write it so")
    called = urllib.parse.unquote(parts.username)
    peer = Peer(called, parts.hostname, port, listen=listen, encrypted=encrypted, keys=keys, **own)
    return Place(
        _folder("dimse", f"{called}@{parts.hostname}:{port}"),
        asked,
        functools.partial(dimse.find, peer),
        functools.partial(dimse.fetch, peer),
    )


def _folder(kind: str, server: str) -> str:
    return f"{kind}-{hashlib.sha256(server.encode()).hexdigest()[:12]}"
