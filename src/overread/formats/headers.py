"""A DICOM header's few wanted values, found by stepping over all the others; what is unusual is left to pydicom.

Sorting a folder into series needs three values of each file, and an uncompressed slice needs about thirty. Building a
data set for that costs a millisecond; stepping from element to element costs a twentieth. The price of speed is
strictness: whatever is not exactly as PS3.5 says it must be gives ``None``, and pydicom reads the file instead. So the
values are always those that pydicom would have found.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import BinaryIO

from pydicom import datadict, uid

from overread.errors import UnreadableFile

MOST_ELEMENTS = 5_000_000
"""Elements of one header above which no more are looked at (10,000 frames with their functional groups have 600,000)."""
DEEPEST = 32
"""Sequences inside one another above which a header is left to pydicom."""
_WINDOW = 16 << 10  # bytes read at a time beyond those that were given
_LARGEST_VALUE = 1 << 20  # of a wanted value: an identifier, a number, a small table

_LONG = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_SHORT = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
_UNDEFINED = 0xFFFFFFFF
_META = b"\x02\0"
_SYNTAX = b"\x02\0\x10\0"
_CHARACTER_SET = b"\x08\0\5\0"
_ITEM, _ITEM_END, _SEQUENCE_END = b"\xfe\xff\0\xe0", b"\xfe\xff\r\xe0", b"\xfe\xff\xdd\xe0"
_PIXELS = b"\xe0\x7f\x10\0"
_ENDS = frozenset((_PIXELS, b"\xe0\x7f\x08\0", b"\xe0\x7f\x09\0"))  # and float and double float pixel data


_CHARACTER_SETS = frozenset(
    [b"", b"GB18030", b"GBK", b"ISO_IR 192"]
    + [
        b"%s%d" % (kind, n)
        for kind in (b"ISO_IR ", b"ISO 2022 IR ")
        for n in (6, 13, 100, 101, 109, 110, 126, 127, 138, 144, 148, 166)
    ]
    + [b"ISO 2022 IR 87", b"ISO 2022 IR 149", b"ISO 2022 IR 58", b"ISO 2022 IR 159"]
)
"""Those that pydicom takes without a second look; a value of other bytes can make it stop, or decode in a way of its own."""


@dataclass(frozen=True)
class Header:
    """What was asked of a header.

    Parameters
    ----------
    values : mapping of str to bytes
        Keyword → the value's bytes as they lie in the file, padding included; a keyword that is not in the file is
        missing here. Of a sequence of undefined length: its items, and the delimiter behind them.
    syntax : str
        Transfer Syntax UID.
    explicit : bool
        True where each element says its VR.
    pixels : (int, int or None) or None
        Where the value of Pixel Data begins in the file, and its length in bytes (None when undefined, as of
        encapsulated frames); None where there is no Pixel Data.
    pixels_vr : str
        "OB", "OW", or "" where the file does not say.
    """

    values: dict[str, bytes]
    syntax: str
    explicit: bool
    pixels: tuple[int, int | None] | None
    pixels_vr: str


_Wanted = Mapping[bytes, tuple[str, frozenset[bytes]]]  # tag → keyword, VRs it may have


class _Unusual(Exception):
    """Something for pydicom to judge."""


@cache
def _wanted(keywords: tuple[str, ...]) -> _Wanted:
    """Return, by the tag's four bytes, the keyword and the VRs it may have; ("", none) for what ends a header or breaks it."""
    wanted = dict.fromkeys((*_ENDS, _ITEM, _ITEM_END, _SEQUENCE_END), ("", frozenset[bytes]()))
    for keyword in ("SpecificCharacterSet", *keywords):
        tag = datadict.tag_for_keyword(keyword)
        if tag is None:
            raise ValueError(f"{keyword} is no keyword of the data dictionary")
        vrs = frozenset(word.encode() for word in datadict.dictionary_VR(tag).split(" or "))
        wanted[_bytes_of(tag)] = (keyword, vrs)
    return wanted


def _bytes_of(tag: int) -> bytes:
    return (tag >> 16).to_bytes(2, "little") + (tag & 0xFFFF).to_bytes(2, "little")


@cache
def _explicit_by_syntax() -> dict[bytes, bool]:
    """Return, for each public little endian transfer syntax that is not deflated, whether its elements say their VR."""
    known = {}
    for name, entry in uid.UID_dictionary.items():
        syntax = uid.UID(name)
        if entry[1] == "Transfer Syntax" and not syntax.is_deflated and syntax.is_little_endian:
            known[name.encode()] = not syntax.is_implicit_VR
    return known


def scan(raw: bytes, keywords: tuple[str, ...], *, stream: BinaryIO | None = None) -> Header | None:
    """Find some values of a DICOM file's header, and where its pixels lie, without reading anything else.

    Every element of the outermost level is stepped over up to the pixels, so the last of two equal tags is the one that
    counts, as for pydicom when it stops before the pixels. Values inside sequences are not looked at.

    Parameters
    ----------
    raw : bytes
        The whole file; or its first bytes (4 KiB will often do) when ``stream`` is given.
    keywords : tuple of str
        The Standard's keywords: ``("Rows", "Columns")``. The same tuple again is cheaper than a new one.
    stream : binary file, optional
        The file that ``raw`` is the beginning of, which can be sought. More is read from it where ``raw`` ends.

    Returns
    -------
    Header or None
        None where the file is not a plain, correct, little endian DICOM file with its meta header, or holds a wanted value
        with a VR that the dictionary does not give: ask pydicom.

    Raises
    ------
    UnreadableFile
        ``malformed``: more elements than any real header has.

    References
    ----------
    DICOM PS3.10 7.1 (File Meta Information), PS3.5 7.1 (Data Elements), 7.5 (Sequences).

    Examples
    --------
    >>> meta = bytes(128) + b"DICM" + b"\\x02\\0\\x10\\0UI\\x14\\x001.2.840.10008.1.2.1\\0"
    >>> file = meta + b"\\x28\\0\\x10\\0US\\2\\0\\x10\\0" + b"\\xe0\\x7f\\x10\\0OW\\0\\0\\4\\0\\0\\0abcd"
    >>> header = scan(file, ("Rows", "Columns"))
    >>> header.values, header.pixels
    ({'Rows': b'\\x10\\x00'}, (182, 4))
    """
    try:
        header = _scanned(_Window(raw, stream), _wanted(keywords))
    except _Unusual:
        return None
    if "SpecificCharacterSet" not in keywords:
        header.values.pop("SpecificCharacterSet", None)
    return header


class _Window:
    """The part of a file that is in memory; it moves forward as it is asked for more."""

    def __init__(self, raw: bytes, stream: BinaryIO | None) -> None:
        self.raw, self.base, self.stream, self.left = raw, 0, stream, MOST_ELEMENTS
        self._size = len(raw) if stream is None else -1

    @property
    def size(self) -> int:
        """Of the whole file, in bytes."""
        if self._size < 0:
            self._size = self.stream.seek(0, 2)
        return self._size

    def move(self, at: int, need: int) -> int:
        """Have the file's bytes ``at`` to ``at + need`` in memory (fewer at its end); return where in ``raw`` they begin."""
        start = at - self.base
        if 0 <= start and start + need <= len(self.raw):
            return start
        if at > self.size or start < 0:
            raise _Unusual
        if self.stream is not None and self.base + len(self.raw) < self.size:
            self.stream.seek(at)
            self.raw, self.base, start = self.stream.read(max(need, _WINDOW)), at, 0
            if len(self.raw) < min(need, self.size - at):
                raise _Unusual  # the file has become shorter
        return start

    def read(self, at: int, need: int) -> bytes:
        """Return the file's bytes from ``at`` on, ``need`` of them or what is left."""
        start = self.move(at, need)
        return self.raw[start : start + need]

    def count(self, elements: int = 1) -> None:
        """Give up on a header without end."""
        self.left -= elements
        if self.left < 0:
            raise UnreadableFile(
                f"a DICOM header of more than {MOST_ELEMENTS:,} elements", code="malformed", do="export it again"
            )


def _scanned(window: _Window, wanted: _Wanted) -> Header:
    syntax, at = _meta(window.raw)
    explicit = _explicit_by_syntax().get(syntax)
    if explicit is None:
        raise _Unusual
    head = window.raw[at : at + 8]  # pydicom would look twice at commands, and at VRs where none should be
    if len(head) < 8 or head[:2] == b"\0\0" or (not explicit and 0x40 < head[4] < 0x5B and 0x40 < head[5] < 0x5B):
        raise _Unusual
    values, end = _values(window, at, explicit, wanted)
    if end is None:
        return Header(values, syntax.decode(), explicit, None, "")
    at, length, vr = end
    return Header(values, syntax.decode(), explicit, (at, None if length == _UNDEFINED else length), vr.decode())


def _meta(raw: bytes) -> tuple[bytes, int]:
    """Return the transfer syntax, and where the data set begins."""
    at, syntax = 132, b""
    if raw[128:132] != b"DICM":
        raise _Unusual
    while raw[at : at + 2] == _META:
        begin, length = _explicit(raw, at)
        if length == _UNDEFINED or begin + length + 8 > len(raw):
            raise _Unusual  # a meta header is far shorter than what was read
        if raw[at : at + 4] == _SYNTAX:
            syntax = raw[begin : begin + length].rstrip(b" \0") if raw[at + 4 : at + 6] == b"UI" else b""
        at = begin + length
    return syntax, at


def _explicit(raw: bytes, at: int) -> tuple[int, int]:
    """Return where the value of the element at ``at`` begins, and its length."""
    vr = raw[at + 4 : at + 6]
    if vr in _SHORT and at + 8 <= len(raw):
        return at + 8, raw[at + 6] | raw[at + 7] << 8
    if vr in _LONG and at + 12 <= len(raw):
        return at + 12, int.from_bytes(raw[at + 8 : at + 12], "little")
    raise _Unusual


def _values(
    window: _Window, place: int, explicit: bool, wanted: _Wanted
) -> tuple[dict[str, bytes], tuple[int, int, bytes] | None]:
    """Step over the elements of the outermost level; return the wanted values, and (begin, length, VR) of the pixels.

    The inner loop is without calls: it is what a folder of a million files waits for. ``place`` counts from the file's
    first byte, ``at`` from the first byte in memory.
    """
    values: dict[str, bytes] = {}
    short, long, number = _SHORT, _LONG, int.from_bytes
    while True:
        at = window.move(place, 12)
        raw, base, last, seen = window.raw, window.base, len(window.raw) - 12, 0
        if at + 8 > len(raw):
            return values, None  # the file ends
        while True:
            seen += 1
            tag = raw[at : at + 4]
            if explicit:
                vr = raw[at + 4 : at + 6]
                if vr in short:
                    begin, length = at + 8, raw[at + 6] | raw[at + 7] << 8
                elif vr in long and at <= last:
                    begin, length = at + 12, number(raw[at + 8 : at + 12], "little")
                else:
                    raise _Unusual
            else:
                vr, begin, length = b"", at + 8, number(raw[at + 4 : at + 8], "little")
            if tag in wanted or length == _UNDEFINED:
                if tag in _ENDS:
                    return values, (base + begin, length, vr) if tag == _PIXELS else None
                place = _past(window, base + begin, length, tag, vr, explicit)
                if tag in wanted:
                    _take(window, base + begin, place, vr, wanted[tag], values)
                break
            at = begin + length
            if at > last:  # what follows is not in memory, or the file ends
                place = base + at
                break
        window.count(seen)


def _past(window: _Window, begin: int, length: int, tag: bytes, vr: bytes, explicit: bool) -> int:
    """Return where the element behind a value begins."""
    if length == _UNDEFINED:
        return _past_sequence(window, begin, tag, vr, explicit, window.size, 1)
    return begin + length


def _take(
    window: _Window, begin: int, end: int, vr: bytes, asked: tuple[str, frozenset[bytes]], values: dict[str, bytes]
) -> None:
    keyword, vrs = asked
    if not keyword or (vr and vr not in vrs) or end - begin > _LARGEST_VALUE or begin < window.base:
        raise _Unusual
    at = window.move(begin, end - begin)
    value = window.raw[at : at + end - begin]
    if len(value) < end - begin:
        raise _Unusual
    if keyword == "SpecificCharacterSet":
        _check_character_set(value)
    values[keyword] = value


def _check_character_set(value: bytes) -> None:
    value = value.rstrip(b" \0")
    if value not in _CHARACTER_SETS and not _CHARACTER_SETS.issuperset(value.split(b"\\")):
        raise _Unusual


# -- sequences of undefined length: the only place where one has to look inside to find the end -------------------------


def _past_sequence(window: _Window, place: int, tag: bytes, vr: bytes, explicit: bool, bound: int, depth: int) -> int:
    """Return where the element behind a sequence of undefined length begins."""
    if depth > DEEPEST or (explicit and vr != b"SQ") or not (explicit or _is_sequence(window, place, tag)):
        raise _Unusual
    while True:
        head = window.read(place, 8)
        length = int.from_bytes(head[4:8], "little")
        place += 8
        if len(head) < 8 or place > bound:
            raise _Unusual
        if head[:4] == _SEQUENCE_END and not length:
            return place
        if head[:4] != _ITEM:
            raise _Unusual
        if length == _UNDEFINED:
            place = _past_item(window, place, None, explicit, bound, depth)
        elif place + length > bound:
            raise _Unusual
        else:
            place = _past_item(window, place, place + length, explicit, place + length, depth)


def _past_item(window: _Window, place: int, end: int | None, explicit: bool, bound: int, depth: int) -> int:
    """Return where the element behind an item begins; ``end`` where its header says so, else its delimiter is found."""
    while place != end:
        window.count()
        head = window.read(place, 12)
        if len(head) < 8 or place + 8 > bound:
            raise _Unusual
        if head[:4] == _ITEM_END and end is None and not any(head[4:8]):
            return place + 8
        if head[:2] == b"\xfe\xff":
            raise _Unusual
        begin, length = _explicit(head, 0) if explicit else (8, int.from_bytes(head[4:8], "little"))
        place += begin
        if length == _UNDEFINED:
            place = _past_sequence(window, place, head[:4], head[4:6], explicit, bound, depth + 1)
        elif place + length > bound:
            raise _Unusual
        else:
            if head[:4] == _CHARACTER_SET:
                _check_character_set(window.read(place, min(length, _LARGEST_VALUE)))
            place += length
    return place


def _is_sequence(window: _Window, place: int, tag: bytes) -> bool:
    """True for what pydicom takes for a sequence where no VR is given."""
    number = int.from_bytes(tag[:2], "little") << 16 | int.from_bytes(tag[2:], "little")
    try:
        return datadict.dictionary_VR(number) == "SQ"
    except KeyError:
        return window.read(place, 4) == _ITEM


def is_deflated(head: bytes) -> bool:
    """True when a file's meta header names the deflated transfer syntax (its data set is one zlib stream).

    Examples
    --------
    >>> is_deflated(bytes(128) + b"DICM" + b"\\x02\\0\\x10\\0UI\\x16\\x001.2.840.10008.1.2.1.99")
    True
    """
    at = head.find(b"\x02\0\x10\0UI")
    return at > 0 and head[at + 8 : at + 30] == uid.DeflatedExplicitVRLittleEndian.encode()


def data_set_begins(raw: bytes) -> int:
    """Return where the data set of a file begins that states the length of its meta header, as it must.

    Examples
    --------
    >>> data_set_begins(bytes(128) + b"DICM" + b"\\2\\0\\0\\0UL\\4\\0" + b"\\x40\\0\\0\\0")
    208
    """
    return 144 + int.from_bytes(raw[140:144], "little")  # preamble, DICM, and the group length's own 12 bytes
