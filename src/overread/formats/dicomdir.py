"""The DICOMDIR of a disc: which files it names, and which of these are not there."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from pydicom.multival import MultiValue

from overread.errors import UnreadableFile
from overread.formats.limits import refusing
from overread.formats.parser import read_dataset

_CLASS = b"1.2.840.10008.1.3.10"
_CLASS_TAG = b"\x02\0\x02\0UI"
_MOST = 64 << 20  # bytes: some 100,000 records


def is_directory(head: bytes) -> bool:
    """True for a Media Storage Directory, by its meta header."""
    at = head.find(_CLASS_TAG, 128, 1024)
    return (
        at > 0 and head[at + 8 : at + 8 + len(_CLASS)] == _CLASS and head[at + 28 : at + 29] in (b"\0", b"\x02", b" ")
    )


def named_files(raw: bytes) -> list[tuple[str, ...]]:
    """Return the files that the records name, each as the parts of its path from the DICOMDIR's folder, in their order.

    Raises
    ------
    UnreadableFile
        ``malformed``, ``too-large``.

    References
    ----------
    DICOM PS3.3 F.3.2.2 (Referenced File ID), PS3.10 8.2 (File IDs).
    """
    if len(raw) > _MOST:
        raise UnreadableFile(
            f"a DICOMDIR of {len(raw) >> 20} MiB", code="too-large", expected=f"at most {_MOST >> 20} MiB"
        )
    with warnings.catch_warnings(), refusing("a damaged DICOMDIR"):
        warnings.simplefilter("ignore")
        ds = read_dataset(io.BytesIO(raw))
        ids = [record.get("ReferencedFileID") for record in ds.get("DirectoryRecordSequence") or ()]
        return list(dict.fromkeys(_parts(value) for value in ids if value))


def _parts(value: object) -> tuple[str, ...]:
    return tuple(str(v) for v in value) if isinstance(value, MultiValue) else (str(value),)


def located(
    named: Iterable[tuple[str, ...]], find: Callable[[tuple[str, ...]], str | None]
) -> Iterator[tuple[str, str | UnreadableFile]]:
    """Find each named file; a name that leads elsewhere is refused before it is looked for.

    Parameters
    ----------
    named : iterable of tuple of str
    find : callable
        ``on_disk(folder)`` or ``in_archive(names)``.

    Yields
    ------
    name : str
        As the record has it, with slashes.
    file : str or UnreadableFile
        Where it is; else ``unsafe-name`` (CVE-2026-32711 was such a name) or ``missing-from-disc``.
    """
    for parts in named:
        name = "/".join(parts)
        if any(p in ("", ".", "..") or set(p) & set("/\\:\0") for p in parts):
            yield (
                name,
                UnreadableFile(
                    "a DICOMDIR record whose file lies outside the disc",
                    code="unsafe-name",
                    expected="names of files below its own folder",
                    do="export the disc again",
                ),
            )
        elif (file := find(parts)) is None:
            yield (
                name,
                UnreadableFile(
                    "a file that the DICOMDIR names is not on the disc",
                    code="missing-from-disc",
                    do="copy the whole disc, with all its folders",
                ),
            )
        else:
            yield name, file


def on_disk(folder: Path) -> Callable[[tuple[str, ...]], str | None]:
    """Return the function that finds a file below a folder. Copying a disc often makes names small, or adds ";1"."""
    listed: dict[Path, dict[str, str]] = {}

    def find(parts: tuple[str, ...]) -> str | None:
        place = folder
        for part in parts:
            if place not in listed:
                try:
                    listed[place] = {_key(name): name for name in sorted(os.listdir(place))}
                except OSError:
                    return None
            place = place / listed[place].get(_key(part), "\0")
            if "\0" in place.name or place.is_symlink():
                return None
        return str(place) if place.is_file() else None

    return find


def in_archive(names: Iterable[str], folder: str) -> Callable[[tuple[str, ...]], str | None]:
    """Return the function that finds a member of an archive below the folder the DICOMDIR lies in."""
    known = {_key(name): name for name in names}
    return lambda parts: known.get(_key("/".join((folder, *parts) if folder else parts)))


def _key(name: str) -> str:
    return name.upper().removesuffix(";1")
