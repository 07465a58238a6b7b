"""pydicom's parser, with an end: a header of more elements than any camera, scanner or archive writes is refused."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable
from typing import Any, BinaryIO

from pydicom import Dataset
from pydicom.filereader import read_partial
from pydicom.tag import BaseTag, Tag

from overread.errors import UnreadableFile

MOST_ELEMENTS = 50_000
"""Outermost elements of one file; the longest honest headers, private ones of a vendor, have some thousands."""
_LONG = 1 << 20
_PIXELS = frozenset((0x7FE00010, 0x7FE00009, 0x7FE00008))


def read_dataset(
    stream: BinaryIO,
    *,
    force: bool = True,
    stop_before_pixels: bool = False,
    specific_tags: Iterable[str] | None = None,
) -> Dataset:
    """Read a data set as ``pydicom.dcmread(stream, force=True)`` does, but not for ever, and not into any memory.

    A tail of zeros is one empty element every eight bytes to a parser: a megabyte of it would take more than a second.
    A length that is a lie would be given four gigabytes before the file turns out to be short.

    Raises
    ------
    UnreadableFile
        ``malformed``: more than ``MOST_ELEMENTS`` elements.
    Exception
        What pydicom raises for a damaged file.

    Examples
    --------
    >>> import io
    >>> read_dataset(io.BytesIO(b"\\x28\\0\\x10\\0US\\2\\0\\x10\\0")).Rows
    16
    >>> read_dataset(io.BytesIO(bytes(8 * 160_000)))
    Traceback (most recent call last):
    overread.errors.UnreadableFile: a DICOM header of more than 50,000 elements; export it again
    """
    left = MOST_ELEMENTS
    counted = _Counted(stream)

    def ends(tag: BaseTag, vr: str | None, length: int) -> bool:
        nonlocal left
        counted.left = None  # the data set has begun, and its elements are counted here
        left -= 1
        if left < 0:
            raise _endless()
        return stop_before_pixels and tag in _PIXELS

    tags = None if specific_tags is None else [Tag(t) for t in specific_tags]
    return read_partial(counted, ends, force=force, specific_tags=tags)


class _Counted:
    """A stream that counts how often it is read while file meta information and commands are parsed.

    It gives no more than the file has, without asking for the memory that a header claims.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self.stream, self.left = stream, 3 * MOST_ELEMENTS

    def read(self, size: int = -1) -> bytes:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise _endless()
        if size > _LONG and isinstance(
            self.stream, io.BufferedReader
        ):  # it would have the memory ready before it looks
            size = min(size, max(0, os.fstat(self.stream.fileno()).st_size - self.stream.tell()))
        return self.stream.read(size)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def _endless() -> UnreadableFile:
    return UnreadableFile(
        f"a DICOM header of more than {MOST_ELEMENTS:,} elements", code="malformed", do="export it again"
    )
