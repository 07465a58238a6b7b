"""The DICOMDIR of a disc: which files it names, and which of these are not there."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from overread.errors import UnreadableFile
from overread.formats.limits import refusing
from overread.formats.parser import read_dataset

_CLASS = b"1.2.840.10008.1.3.10"
_CLASS_TAG = b"\x02\0\x02\0UI"
_MOST = 64 << 20  # bytes: some 100,000 records


class Named(NamedTuple):
    """A file that a record names: the parts of its path, and of which series it is which image ("" where nothing says so)."""

    parts: tuple[str, ...]
    series: str = ""
    instance: str = ""


def is_directory(head: bytes) -> bool:
    """True for a Media Storage Directory, by its meta header."""
    at = head.find(_CLASS_TAG, 128, 1024)
    return (
        at > 0 and head[at + 8 : at + 8 + len(_CLASS)] == _CLASS and head[at + 28 : at + 29] in (b"\0", b"\x02", b" ")
    )


def named_files(raw: bytes) -> list[Named]:
    """Return the files that the records name, their paths from the DICOMDIR's folder, in the records' order.

    Raises
    ------
    UnreadableFile
        ``malformed``, ``too-large``.

    References
    ----------
    DICOM PS3.3 F.2.2 (the records are a tree), F.3.2.2 (Referenced File ID), PS3.10 8.2 (File IDs).
    """
    if len(raw) > _MOST:
        raise UnreadableFile(
            f"a DICOMDIR of {len(raw) >> 20} MiB", code="too-large", expected=f"at most {_MOST >> 20} MiB"
        )
    with warnings.catch_warnings(), refusing("a damaged DICOMDIR"):
        warnings.simplefilter("ignore")
        ds = read_dataset(io.BytesIO(raw))
        records = list(ds.get("DirectoryRecordSequence") or ())
        above = _series_of(ds, records)
        named: dict[tuple[str, ...], Named] = {}
        for at, record in enumerate(records):
            if value := record.get("ReferencedFileID"):
                instance = str(record.get("ReferencedSOPInstanceUIDInFile") or "").strip(" \0")
                named.setdefault(_parts(value), Named(_parts(value), above.get(at, ""), instance))
        return list(named.values())


def _series_of(ds: Dataset, records: list[Dataset]) -> dict[int, str]:
    """Return the series of each record that lies below one. The tree is in byte offsets, whatever the records' order."""
    at_byte = {record.seq_item_tell: at for at, record in enumerate(records)}
    left = [(int(ds.get("OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity") or 0), "")]
    series: dict[int, str] = {}
    while left:
        byte, above = left.pop()
        at = at_byte.get(byte)
        if at is None or at in series:  # the end of a branch, or a ring
            continue
        record = records[at]
        series[at] = above
        below = str(record.get("SeriesInstanceUID") or "").strip(" \0") or above
        left.append((int(record.get("OffsetOfTheNextDirectoryRecord") or 0), above))
        left.append((int(record.get("OffsetOfReferencedLowerLevelDirectoryEntity") or 0), below))
    return series


def _parts(value: object) -> tuple[str, ...]:
    return tuple(str(v) for v in value) if isinstance(value, MultiValue) else (str(value),)


def located(
    named: Iterable[Named], find: Callable[[tuple[str, ...]], str | None]
) -> Iterator[tuple[str, str | UnreadableFile]]:
    """Find each named file; a name that leads elsewhere is refused before it is looked for.

    Parameters
    ----------
    named : iterable of Named
    find : callable
        ``on_disk(folder)`` or ``in_archive(names)``.

    Yields
    ------
    name : str
        As the record has it, with slashes.
    file : str or UnreadableFile
        Where it is; else ``unsafe-name`` (CVE-2026-32711 was such a name) or ``missing-from-disc``.
    """
    for parts, *_ in named:
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
