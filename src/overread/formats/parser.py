"""pydicom's parser, with an end: a header of more elements than any camera, scanner or archive writes is refused."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable
from typing import Any, BinaryIO

from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.filereader import read_partial
from pydicom.tag import BaseTag, Tag

from overread.errors import UnreadableFile

MOST_ELEMENTS = 50_000
"""Outermost elements of one file; the longest honest headers, private ones of a vendor, have some thousands."""
MOST_ITEMS = 500_000
"""Items in all sequences of one file, whatever their depth; ten thousand frames with ten groups each have 100,000."""
ITEMS = (b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00")  # how an item begins, in either byte order
_MOST_READS = 10 * MOST_ITEMS  # an element takes two or three
_SMALL = 1 << 16  # values below this hold few items, even fifty thousand of them
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
        ``malformed``: more than ``MOST_ELEMENTS`` elements, or ``MOST_ITEMS`` items.
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
        counted.begun()  # its outermost elements are counted here
        left -= 1
        if left < 0:
            raise _endless()
        return stop_before_pixels and tag in _PIXELS

    tags = None if specific_tags is None else [Tag(t) for t in specific_tags]
    try:
        ds = read_partial(counted, ends, force=force, specific_tags=tags)
    except OSError:  # pydicom's word for whatever goes wrong at the beginning of an item
        check_items(counted.items)
        raise
    _check_unread(ds)
    return ds


def check_items(count: int) -> None:
    """Refuse more items than ``MOST_ITEMS``: an empty one takes eight bytes of a file, and half a kilobyte of memory.

    Raises
    ------
    UnreadableFile
        ``malformed``.

    Examples
    --------
    >>> check_items(600_000)
    Traceback (most recent call last):
    overread.errors.UnreadableFile: a DICOM header of more than 500,000 items in sequences; export it again
    """
    if count > MOST_ITEMS:
        raise UnreadableFile(
            f"a DICOM header of more than {MOST_ITEMS:,} items in sequences", code="malformed", do="export it again"
        )


def _check_unread(ds: Dataset) -> None:
    """Count what lies in sequences of a stated length: pydicom keeps them as bytes until somebody asks for them."""
    values = (ds.get_item(tag) for tag in ds.keys() if tag not in _PIXELS)
    large = [v.value for v in values if isinstance(v, RawDataElement) and v.value and len(v.value) > _SMALL]
    check_items(max(sum(value.count(item) for value in large) for item in ITEMS) if large else 0)


class _Counted:
    """A stream that counts how often it is read: for meta information and commands, and for what lies in sequences.

    It gives no more than the file has, without asking for the memory that a header claims.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self.stream, self.left, self.items = stream, 3 * MOST_ELEMENTS, 0
        self.in_data_set = False

    def begun(self) -> None:
        """The data set has begun."""
        if not self.in_data_set:
            self.in_data_set, self.left = True, _MOST_READS

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes, never more than there are."""
        self.left -= 1
        if self.left < 0:
            raise _endless()
        if size > _LONG and isinstance(
            self.stream, io.BufferedReader
        ):  # it would have the memory ready before it looks
            size = min(size, max(0, os.fstat(self.stream.fileno()).st_size - self.stream.tell()))
        data = self.stream.read(size)
        if size == 8 and data[:4] in ITEMS:
            self.items += 1
            check_items(self.items)
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def _endless() -> UnreadableFile:
    return UnreadableFile(
        f"a DICOM header of more than {MOST_ELEMENTS:,} elements", code="malformed", do="export it again"
    )
