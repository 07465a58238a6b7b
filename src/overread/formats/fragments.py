"""Compressed frames as a DICOM file stores them: a table of offsets that may lie, then fragments."""

from __future__ import annotations

import struct
from itertools import pairwise

from overread.domain import noted
from overread.errors import UnreadableFile

_RLE = b"\0\0\0\x40\0\0\0"  # behind the number of segments, a byte: the first one lies behind these 64 bytes
_ITEM, _END = b"\xfe\xff\0\xe0", b"\xfe\xff\xdd\xe0"


def frames(data: bytes | memoryview, count: int, *, extended: bytes = b"") -> tuple[list[bytes], list[str]]:
    """Return the compressed bytes of each frame, and a note where the file's own offset table was wrong.

    One fragment a frame, or one frame alone, needs no table. Otherwise a table is believed where each of its entries
    is the beginning of a fragment; the ends of JPEG streams decide where none is.

    Parameters
    ----------
    data : bytes or memoryview
        The value of Pixel Data of undefined length: items, with or without the delimiter behind them.
    count : int
        Number of Frames.
    extended : bytes
        The value of Extended Offset Table, where the file has one.

    Raises
    ------
    UnreadableFile
        ``truncated``, ``malformed``.

    References
    ----------
    DICOM PS3.5 A.4 (encapsulation), PS3.3 C.7.6.3.1.8 (Extended Offset Table).

    Examples
    --------
    >>> item = lambda value: _ITEM + struct.pack("<I", len(value)) + value
    >>> frames(item(b"") + item(b"ab") + item(b"cd"), 2)
    ([b'ab', b'cd'], [])
    >>> frames(item(struct.pack("<2I", 0, 20)) + item(b"ab") + item(b"cd") + item(b"ef"), 2)
    ([b'abcd', b'ef'], [])
    """
    table, fragments = _items(data)
    starts = [start - 8 for start, _ in fragments]
    parts = [bytes(data[start:end]) for start, end in fragments]
    said = _table(extended, "Q") or _table(table, "I")
    wrong = _wrong(said, starts, count) if said else ""
    notes = [noted("wrong-offset-table", f"the file's offset table is wrong ({wrong}): not used")] if wrong else []
    if count == 1:
        first = [*_by_marks(parts), len(parts)] if len(parts) > 1 else []
        if len(first) > 2:  # several streams, each with its beginning and its end
            more = f"{len(first) - 2} more compressed frames after the 1 that the header counts were ignored"
            return [b"".join(parts[: first[1]])], [*notes, noted("trailing-bytes", more)]
        return [b"".join(parts)], notes
    if len(parts) == count:
        return parts, notes
    if said and not wrong:
        first = [starts.index(starts[0] + offset) for offset in said]
    else:
        first = _by_marks(parts)
    if len(first) != count:
        raise UnreadableFile(
            f"{len(parts)} compressed fragments that show where {len(first)} frames begin",
            code="malformed",
            expected=f"{count} frames by the header",
            do="export it again",
        )
    return [b"".join(parts[a:b]) for a, b in zip(first, [*first[1:], len(parts)], strict=True)], notes


def _items(data: bytes | memoryview) -> tuple[bytes, list[tuple[int, int]]]:
    """Return the offset table, and where each fragment begins and ends."""
    found, at = [], 0
    while at + 8 <= len(data) and data[at : at + 4] != _END:
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        if data[at : at + 4] != _ITEM:
            raise UnreadableFile(
                f"bytes that are no fragment behind {len(found)} items of compressed pixels",
                code="malformed",
                do="export it again",
            )
        if at + 8 + length > len(data):
            raise UnreadableFile(
                f"a compressed fragment of {len(data) - at - 8:,} bytes",
                code="truncated",
                expected=f"{length:,} by its header",
                do="copy or export it again",
            )
        found.append((at + 8, at + 8 + length))
        at += 8 + length
    if len(found) < 2:
        raise UnreadableFile(
            f"compressed pixels of {len(found)} items",
            code="truncated",
            expected="an offset table and at least one fragment",
            do="copy or export it again",
        )
    (start, end), *fragments = found
    return bytes(data[start:end]), [f for f in fragments if f[1] > f[0]] or fragments


def _table(raw: bytes, kind: str) -> list[int]:
    size = struct.calcsize(kind)
    return list(struct.unpack(f"<{len(raw) // size}{kind}", raw[: len(raw) // size * size]))


def _wrong(said: list[int], starts: list[int], count: int) -> str:
    if len(said) != count:
        return f"{len(said)} entries for {count} frames"
    offsets = {s - starts[0] for s in starts}
    stray = sum(o not in offsets for o in said)
    if stray or said[0] != 0 or any(a >= b for a, b in pairwise(said)):
        return f"{stray} of {count} entries point at no fragment" if stray else "its entries are not in order"
    return ""


def _by_marks(parts: list[bytes]) -> list[int]:
    """Return which fragments begin a frame: the first, and those behind a fragment that ends a JPEG stream; each of RLE."""
    if all(len(part) > 64 and part[1:8] == _RLE for part in parts):
        return list(range(len(parts)))
    ends = [part.rstrip(b"\0").endswith(b"\xff\xd9") for part in parts]
    begins = [part.startswith((b"\xff\xd8", b"\xff\x4f")) for part in parts]
    return [i for i in range(len(parts)) if begins[i] and (i == 0 or ends[i - 1])]
