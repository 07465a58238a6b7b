"""Which series a DICOM file belongs to, by its header alone: what the walk asks of every file."""

from __future__ import annotations

import io
import warnings
import zlib
from collections.abc import Mapping
from typing import BinaryIO

from overread.errors import UnreadableFile
from overread.formats.headers import data_set_begins, is_deflated, scan
from overread.formats.limits import refusing
from overread.formats.parser import read_dataset

_KEY = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID")
_MOST_INFLATED = 1 << 20  # bytes of a deflated data set that are looked at: pixels come last
_META = bytes(128) + b"DICM" + b"\2\0\x10\0UI\x14\x001.2.840.10008.1.2.1\0"
_PLAIN = bytes(c for c in range(0x20, 0x7E) if c != 0x5C)  # one value, the same in every character set of the Standard


def series_key(stream: BinaryIO, head: bytes) -> tuple[str, str, str] | None:
    """Return what a DICOM file belongs to (patient, study, series), from its header alone; None where it names no series.

    Parameters
    ----------
    stream : binary file
        That can be sought.
    head : bytes
        Its first bytes.

    Raises
    ------
    UnreadableFile
        What ``scan`` raises.
    """
    if is_deflated(head):
        head = _inflated(stream)
        stream = io.BytesIO(head)
    header = scan(head, _KEY, stream=stream)
    words = None if header is None else _words(header.values)
    if words is None:
        words = _by_pydicom(stream)
    return words if words is not None and words[2] else None


def is_cut_short(stream: BinaryIO, head: bytes) -> bool:
    """True for a DICOM file without a series that ends, or cannot be followed, before it says how large its image is."""
    if is_deflated(head):
        stream = io.BytesIO(_inflated(stream))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with refusing("a damaged DICOM header"):
                stream.seek(0)
                return "Rows" not in read_dataset(stream, stop_before_pixels=True, specific_tags=("Rows",))
        except UnreadableFile:
            return True


def _inflated(stream: BinaryIO) -> bytes:
    """Return the beginning of a deflated file as a plain one, never more than a megabyte of it: it may be a bomb.

    A damaged or short one gives what can be had.
    """
    stream.seek(0)
    raw = stream.read(_MOST_INFLATED)
    engine, plain, left = zlib.decompressobj(-zlib.MAX_WBITS), _META, raw[data_set_begins(raw) :]
    try:
        return plain + engine.decompress(left, _MOST_INFLATED)
    except zlib.error:
        return plain


def _words(values: Mapping[str, bytes]) -> tuple[str, str, str] | None:
    """Return the values as text; None where they are anything but one plain word each.

    Spaces before and behind a Patient ID mean nothing (PS3.5 6.2, LO): " A1" and "A1" are one person.
    """
    words = [values.get(keyword, b"").strip(b" \0") for keyword in _KEY]
    if any(word.translate(None, _PLAIN) for word in words):
        return None
    return words[0].decode("ascii"), words[1].decode("ascii"), words[2].decode("ascii")


def _by_pydicom(stream: BinaryIO) -> tuple[str, str, str] | None:
    """Ask pydicom, which forgives more; None where it does not forgive either: read_job says what is wrong."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # read_job reads the header again, and tells
        try:
            with refusing("a damaged DICOM header"):
                stream.seek(0)
                ds = read_dataset(stream, stop_before_pixels=True, specific_tags=_KEY)
                patient, study, series = (str(ds.get(keyword) or "").strip(" \0") for keyword in _KEY)
        except UnreadableFile:
            return None
    return patient, study, series
