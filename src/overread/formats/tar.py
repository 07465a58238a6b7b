"""Tar archives, plain or compressed, read from front to back: what lies in them, and the bytes of one member.

Nothing is written to disk, no link is followed, no device is opened, and no header can ask for more memory than a name
needs.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

from overread.errors import UnreadableFile

BLOCK = 512
LARGEST_RATIO = 1100
"""Unpacked bytes for one packed byte above which a compressed archive is a bomb (honest deflate cannot pass 1,032)."""
MOST_MEMBERS = 2_000_000
"""Headers of one archive above which it is refused: a small packed file could hold billions of empty members."""
_LONGEST_HEADER = 1 << 20  # of an extended header: names and numbers
_STEP = 1 << 20
_FAULTS = (OSError, EOFError, zlib.error, lzma.LZMAError)
_OPEN = {b"\x1f\x8b": gzip.open, b"BZ": bz2.open, b"\xfd7": lzma.open}


@dataclass(frozen=True)
class Member:
    """One entry of a tar archive.

    Parameters
    ----------
    name : str
    kind : {"file", "folder", "link", "device", "sparse"}
    begin, size : int
        Where its bytes lie in the unpacked archive.
    """

    name: str
    kind: str
    begin: int
    size: int


def is_tar(block: bytes) -> bool:
    """True when 512 bytes are the header of a tar member: their sum stands in them, in every dialect of the format.

    Examples
    --------
    >>> is_tar(bytes(512)), is_tar(b"\\x89PNG")
    (False, False)
    """
    if len(block) < BLOCK or block[0] == 0:
        return False
    try:
        said = _number(block[148:156])
    except ValueError:
        return False
    return said == sum(block[:148]) + 8 * 0x20 + sum(block[156:BLOCK])


def head(start: bytes) -> bytes:
    """Return the first block inside a gzip, bzip2 or xz file's first bytes, as far as they hold it; else ``start`` itself.

    Bounded: a bomb gives no more than one block. (bzip2 gives nothing before its first 900 kB are there.)
    """
    kinds = {
        b"\x1f\x8b": lambda: zlib.decompressobj(wbits=31),
        b"BZ": bz2.BZ2Decompressor,
        b"\xfd7": lzma.LZMADecompressor,
    }
    engine = kinds.get(start[:2])
    if engine is None:
        return start
    try:
        return engine().decompress(start, BLOCK)
    except _FAULTS:
        return b""


class Stream:
    """An archive's unpacked bytes, from front to back; opened by :func:`opened`."""

    def __init__(self, source: BinaryIO, packed: int) -> None:
        self.source, self.at, self.most = source, 0, LARGEST_RATIO * max(packed, BLOCK)

    def read(self, size: int) -> bytes:
        """Return the next ``size`` bytes, or what is left."""
        parts = []
        while size > 0 and (part := self.source.read(min(size, _STEP))):
            parts.append(part)
            size -= len(part)
            self.at += len(part)
            if self.at > self.most:
                raise UnreadableFile(
                    f"an archive that unpacks to more than {LARGEST_RATIO:,} times its size",
                    code="too-large",
                    do="pack it again",
                )
        return b"".join(parts)

    def skip_to(self, place: int) -> None:
        """Go forward to a place."""
        if self.source.seekable() and isinstance(self.source, io.BufferedReader):
            end = self.source.seek(0, io.SEEK_END)  # a header may claim more than any file can be long
            self.at = self.source.seek(min(place, end))
            return
        while self.at < place and self.read(min(place - self.at, _STEP)):
            pass


@contextmanager
def opened(path: str, packed: int) -> Iterator[Stream]:
    """Open an archive; what its compression stumbles on is a refusal.

    Raises
    ------
    UnreadableFile
        ``malformed``, ``truncated`` or ``too-large``.
    """
    try:
        with open(path, "rb") as plain:
            kind = _OPEN.get(plain.read(2))
            plain.seek(0)
            if kind is None:
                yield Stream(plain, 1 << 60)
            else:
                with kind(plain) as unpacked:
                    yield Stream(unpacked, packed)
    except EOFError as error:
        raise UnreadableFile("an archive that ends too early", code="truncated", do="copy it again") from error
    except (zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise UnreadableFile("a damaged archive", code="malformed", do="copy or pack it again") from error
    except OSError as error:
        if error.errno is not None:  # the disk's own
            raise
        raise UnreadableFile("a damaged archive", code="malformed", do="copy or pack it again") from error


def members(stream: Stream) -> Iterator[Member]:
    """Yield each member; between two of them the first bytes of the last may be read from ``stream``.

    Raises
    ------
    UnreadableFile
        ``malformed`` for a header whose sum is wrong, ``truncated`` where the archive ends inside one, ``too-large``.

    References
    ----------
    POSIX.1-2017, pax: ustar and pax interchange formats; GNU tar manual, "Basic Tar Format".
    """
    said: dict[str, str] = {}
    begin = 0
    for _ in range(MOST_MEMBERS):
        stream.skip_to(begin)
        block = stream.read(BLOCK)
        if not block.strip(b"\0"):
            return  # two empty blocks at the end, or, of a careless writer, none
        if not is_tar(block):
            code = "truncated" if len(block) < BLOCK else "malformed"
            raise UnreadableFile("a damaged tar archive", code=code, do="copy or pack it again")
        size = _size(said, block)
        kind, begin = block[156:157], begin + BLOCK
        if kind in (b"L", b"K", b"x", b"g"):
            if size > _LONGEST_HEADER:
                raise UnreadableFile("a damaged tar archive", code="malformed", do="copy or pack it again")
            text = stream.read(size)
            said |= _long_name(text) if kind == b"L" else _pax(text) if kind == b"x" else {}
            begin += -(-size // BLOCK) * BLOCK
            continue
        name = said.get("path") or _name(block)
        sparse = kind == b"S" or any(key.startswith("GNU.sparse") for key in said)
        yield Member(name, "sparse" if sparse else _kind(kind, name), begin, size)
        begin += 0 if kind in (b"1", b"2", b"3", b"4", b"5", b"6") else -(-size // BLOCK) * BLOCK
        said = {}
    raise UnreadableFile(
        f"an archive of more than {MOST_MEMBERS:,} members", code="too-large", do="divide it into parts"
    )


def contents(path: str, packed: int, spans: Iterable[tuple[int, int]]) -> Iterator[bytes]:
    """Yield the bytes at each span, which must be in rising order, in one pass.

    Raises
    ------
    UnreadableFile
        What ``opened`` raises, and ``truncated``.
    """
    with opened(path, packed) as stream:
        for begin, size in spans:
            stream.skip_to(begin)
            raw = stream.read(size)
            if len(raw) < size:
                raise UnreadableFile("an archive that ends too early", code="truncated", do="copy it again")
            yield raw


def _size(said: dict[str, str], block: bytes) -> int:
    try:
        size = int(said["size"]) if "size" in said else _number(block[124:136])
    except ValueError:
        size = -1
    if size < 0:
        raise UnreadableFile("a damaged tar archive", code="malformed", do="copy or pack it again")
    return size


def _number(field: bytes) -> int:
    """Return a number of a tar header: octal digits, or (GNU) bytes after a mark.

    Examples
    --------
    >>> _number(b"0000644\\0"), _number(b"\\x80" + (1 << 40).to_bytes(11, "big"))
    (420, 1099511627776)
    """
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    return int(field.strip(b" \0") or b"0", 8)


def _name(block: bytes) -> str:
    name, prefix = block[:100].partition(b"\0")[0], block[345:500].partition(b"\0")[0]
    whole = prefix + b"/" + name if prefix and block[257:263] == b"ustar\0" else name
    return whole.decode("utf-8", "surrogateescape")


def _kind(flag: bytes, name: str) -> str:
    if flag in (b"0", b"\0", b"7"):
        return "folder" if name.endswith("/") else "file"
    return {b"1": "link", b"2": "link", b"5": "folder"}.get(flag, "device")


def _long_name(text: bytes) -> dict[str, str]:
    return {"path": text.partition(b"\0")[0].decode("utf-8", "surrogateescape")}


def _pax(text: bytes) -> dict[str, str]:
    """Return the records of a pax header: "LENGTH KEY=VALUE\\n" each.

    Examples
    --------
    >>> _pax(b"12 path=a/b\\n")
    {'path': 'a/b'}
    """
    said = {}
    while text:
        digits, space, _ = text.partition(b" ")
        if not space or not digits.isdigit() or len(digits) > 8 or not len(digits) < int(digits) <= len(text):
            raise UnreadableFile("a damaged tar archive", code="malformed", do="copy or pack it again")
        record, text = text[len(digits) + 1 : int(digits) - 1], text[int(digits) :]
        key, _, value = record.partition(b"=")
        said[key.decode("utf-8", "replace")] = value.decode("utf-8", "surrogateescape")
    return said
