"""Colour as stored becomes red, green and blue: palettes, and the luminance and chroma of video."""

from __future__ import annotations

import struct

import numpy as np
from pydicom.dataset import Dataset

from overread.errors import UnreadableFile


def ybr_to_rgb(values: np.ndarray, *, bits: int, partial: bool = False) -> np.ndarray:
    """Return luminance and chroma as red, green and blue.

    Parameters
    ----------
    values : ndarray of unsigned integers, (..., 3)
    bits : int
        Bits Stored.
    partial : bool
        True for YBR_PARTIAL_422 and _420, whose luminance goes from 16 to 235 and chroma to 240 (of 255).

    References
    ----------
    DICOM PS3.3 C.7.6.3.1.2; ITU-R BT.601.

    Examples
    --------
    >>> ybr_to_rgb(np.array([[76, 85, 255], [255, 128, 128]], np.uint8), bits=8).tolist()
    [[254, 0, 0], [255, 255, 255]]
    """
    middle, top = 1 << (bits - 1), (1 << bits) - 1
    matrix = np.array([[1, 1, 1], [0, -0.114 * 1.772 / 0.587, 1.772], [1.402, -0.299 * 1.402 / 0.587, 0]], np.float32)
    out = values.astype(np.float32)
    out -= [16 << (bits - 8) if partial else 0, middle, middle]
    if partial:
        out *= np.array([255 / 219, 255 / 224, 255 / 224], np.float32)
    out = out @ matrix
    out += 0.5
    np.floor(out, out=out)
    return np.clip(out, 0, top, out=out).astype(values.dtype)


def palette_to_rgb(values: np.ndarray, ds: Dataset) -> np.ndarray:
    """Return the colours that a palette gives to stored values.

    Parameters
    ----------
    values : ndarray of integers
        Values below the first that is mapped get the first entry, values beyond the last the last one.
    ds : Dataset
        With Red, Green and Blue Palette Color Lookup Table Descriptor and their data, plain or in segments.

    Returns
    -------
    ndarray of uint8 or uint16, (..., 3)

    Raises
    ------
    UnreadableFile
        ``malformed``, with what the descriptor and the data say.

    References
    ----------
    DICOM PS3.3 C.7.6.3.1.5, C.7.6.3.1.6, C.7.9.2 (segments).
    """
    tables = []
    for colour in ("Red", "Green", "Blue"):
        said = ds.get(f"{colour}PaletteColorLookupTableDescriptor")
        if said is None or len(said) != 3:
            raise _bad(f"a palette without a descriptor of three numbers for {colour.lower()}")
        count, first, bits = (int(v) for v in said)
        first = _signed(first) if np.issubdtype(values.dtype, np.signedinteger) else first & 0xFFFF
        tables.append((first, _entries(ds, colour, count & 0xFFFF or 1 << 16, bits)))
    if len({t.dtype for _, t in tables}) > 1 or len({f for f, _ in tables}) > 1:
        raise _bad("a palette whose colours differ in depth or in their first value")
    return np.stack([t[np.clip(values.astype(np.int64) - first, 0, len(t) - 1)] for first, t in tables], -1)


def table_of(raw: object, count: int, bits: int, *, little: bool = True) -> np.ndarray:
    """Return a lookup table's entries, whatever its data look like: bytes, words, or 8-bit entries in 16-bit words.

    Parameters
    ----------
    raw : bytes, int, or sequence of int
        LUT Data as pydicom returns them.
    count, bits : int
        By the descriptor.
    little : bool
        Byte order of words in ``raw``.

    Examples
    --------
    >>> table_of(b"\\1\\2\\3\\4", 4, 8), table_of(b"\\1\\0\\2\\0", 2, 16), table_of([258, 772], 4, 8)
    (array([1, 2, 3, 4], dtype=uint8), array([1, 2], dtype=uint16), array([2, 1, 4, 3], dtype=uint8))
    """
    if not isinstance(raw, (bytes, bytearray)):
        words = [raw] if isinstance(raw, int) else list(raw)
        raw, little = struct.pack(f"<{len(words)}H", *(int(w) & 0xFFFF for w in words)), True
    if bits > 8 and len(raw) >= 2 * count:
        return np.frombuffer(raw, "<u2" if little else ">u2", count).astype(np.uint16)
    if bits <= 8 and len(raw) >= 2 * count:  # one entry a word: in its lower byte, or where that is always 0, its upper
        words = np.frombuffer(raw, "<u2" if little else ">u2", count)
        return (words if (words & 0xFF).any() else words >> 8).astype(np.uint8)
    if len(raw) >= count and bits <= 8:
        return np.frombuffer(raw if little else _swapped(raw), "u1", count)
    raise _bad(f"a lookup table of {len(raw):,} bytes", f"{count:,} entries of {bits} bits by its descriptor")


def _swapped(raw: bytes) -> bytes:
    return np.frombuffer(raw[: len(raw) // 2 * 2], "<u2").byteswap().tobytes()


def _signed(value: int) -> int:
    return value - 65536 if value > 32767 else value


def _bad(came: str, expected: str = "") -> UnreadableFile:
    return UnreadableFile(came, code="malformed", expected=expected, do="export it again")


def _entries(ds: Dataset, colour: str, count: int, bits: int) -> np.ndarray:
    _, little = ds.original_encoding if ds.original_encoding[1] is not None else (None, True)
    plain = ds.get(f"{colour}PaletteColorLookupTableData")
    if plain is not None:
        return table_of(plain, count, bits, little=little)
    segments = ds.get(f"Segmented{colour}PaletteColorLookupTableData")
    if segments is None:
        raise _bad(f"a palette without data for {colour.lower()}")
    words = np.frombuffer(bytes(segments), "u1" if bits <= 8 else "<u2" if little else ">u2").tolist()
    out = _expanded(words, count, "B" if bits <= 8 else "H")
    if len(out) < count:
        raise _bad(f"palette segments of {len(out):,} entries", f"{count:,} by its descriptor")
    return np.array(out[:count], np.uint8 if bits <= 8 else np.uint16)


def _expanded(words: list[int], count: int, kind: str) -> list[int]:
    """Return the entries of a segmented table: runs (0), ramps (1) and copies of earlier segments (2)."""
    out: list[int] = []
    at, starts = 0, {}
    while at + 1 < len(words) and len(out) < count:
        code, length = words[at], words[at + 1]
        starts[at] = len(out)
        if code == 2:
            offset = sum(
                w << (8 * struct.calcsize(kind) * i)
                for i, w in enumerate(words[at + 2 : at + (6 if kind == "B" else 4)])
            )
            where = offset // struct.calcsize(kind)
            at += 6 if kind == "B" else 4
            for _ in range(length):
                if where not in starts or words[where] == 2:
                    raise _bad("a palette segment that copies what is no segment before it")
                where = _segment(words, where, out)
        elif code in (0, 1):
            at = _segment(words, at, out)
        else:
            raise _bad(f"a palette segment of kind {code}", "0, 1 or 2")
    return out


def _segment(words: list[int], at: int, out: list[int]) -> int:
    code, length = words[at], words[at + 1]
    if code == 0:
        out += words[at + 2 : at + 2 + length]
        return at + 2 + length
    if not out or not length or at + 2 >= len(words):
        raise _bad("a palette ramp with no beginning or of no length")
    first, last = out[-1], words[at + 2]
    out += [int(np.floor(first + (last - first) * (i + 1) / length + 0.5)) for i in range(length)]
    return at + 3
