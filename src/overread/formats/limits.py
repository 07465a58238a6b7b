"""What no reader lets through, whatever the format: wrong sizes, numbers that are none."""

from __future__ import annotations

import lzma
import math
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from overread.domain import noted
from overread.errors import UnreadableFile

SMALLEST = 8
"""Rows or columns below which a picture is no examination (an icon, a spacer)."""
LARGEST = 100_000_000
"""Pixels of one picture above which it is refused before it is decoded."""
LARGEST_BYTES = 2 << 30
"""Decoded bytes of one file, or of one volume, above which it is refused before it is decoded."""
FARTHEST_MM = 1e6
"""A kilometre: no voxel of a patient is as large, or lies as far from the scanner."""

ZIP_FAULTS = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    OSError,
    EOFError,
    ValueError,
    LookupError,  # a member without a name, or that the directory does not know
    OverflowError,
    NotImplementedError,
    RuntimeError,
)
"""What Python's zipfile raises for a damaged archive, in all the ways that an archive can be damaged."""


@contextmanager
def refusing(came: str, *, do: str = "export it again") -> Iterator[None]:
    """Turn whatever a parser of foreign bytes stumbles on into one refusal, without its words (they quote header values).

    Raises
    ------
    UnreadableFile
        ``malformed``, caused by the parser's own error; a refusal made inside is passed on as it is.

    Examples
    --------
    >>> with refusing("a damaged file"):
    ...     int("Doe^Jane")
    Traceback (most recent call last):
    overread.errors.UnreadableFile: a damaged file; export it again
    """
    try:
        yield
    except (UnreadableFile, MemoryError):
        raise  # the engine tries an item that took all memory once more, alone
    except Exception as error:
        raise UnreadableFile(came, code="malformed", do=do) from error


def check_size(rows: int, columns: int) -> None:
    """Refuse a picture that is too small to be an examination, or too large to decode safely.

    Raises
    ------
    UnreadableFile
        ``too-small`` or ``too-large``.

    Examples
    --------
    >>> check_size(1, 1)
    Traceback (most recent call last):
    overread.errors.UnreadableFile: a 1 × 1 image; expected at least 8 × 8 pixels; export it at full size
    """
    if rows < SMALLEST or columns < SMALLEST:
        raise UnreadableFile(
            f"a {rows} × {columns} image",
            code="too-small",
            expected=f"at least {SMALLEST} × {SMALLEST} pixels",
            do="export it at full size",
        )
    if rows * columns > LARGEST:
        raise UnreadableFile(
            f"a {rows} × {columns} image",
            code="too-large",
            expected=f"at most {LARGEST // 1_000_000} million pixels",
            do="reduce it, or cut out the part that matters",
        )


def check_bytes(count: int) -> None:
    """Refuse a file whose header asks for more memory than any real examination needs, before any is given.

    Raises
    ------
    UnreadableFile
        ``too-large``.

    Examples
    --------
    >>> check_bytes(8 << 30)
    Traceback (most recent call last):
    overread.errors.UnreadableFile: an image of 8.0 GiB once decoded; expected at most 2 GiB; divide it into parts
    """
    if count > LARGEST_BYTES:
        raise UnreadableFile(
            f"an image of {count / (1 << 30):.1f} GiB once decoded",
            code="too-large",
            expected=f"at most {LARGEST_BYTES >> 30} GiB",
            do="divide it into parts",
        )


def check_place(*lengths_mm: object) -> None:
    """Refuse voxels, or places of them, that are farther than any patient reaches; their squares would be infinite.

    Parameters
    ----------
    *lengths_mm : arrays or tuples of numbers, or None
        Millimetres.

    Raises
    ------
    UnreadableFile
        ``malformed``.

    Examples
    --------
    >>> check_place((0.7, 0.7), None)
    >>> check_place((0.7, 1e308))
    Traceback (most recent call last):
    overread.errors.UnreadableFile: a length of 1e+308 mm; expected less than 1e+06 mm; export it again
    """
    for lengths in lengths_mm:
        farthest = 0.0 if lengths is None else float(np.abs(np.asarray(lengths, np.float64)).max())
        if not farthest < FARTHEST_MM:  # NaN is not below it either
            raise UnreadableFile(
                f"a length of {farthest:g} mm",
                code="malformed",
                expected=f"less than {FARTHEST_MM:g} mm",
                do="export it again",
            )


def finite(values: np.ndarray) -> np.ndarray:
    """Return ``values`` unchanged, or refuse them where some are NaN or infinite.

    Raises
    ------
    UnreadableFile
        ``not-finite``, with the count.

    Examples
    --------
    >>> finite(np.array([1.0, float("nan")]))
    Traceback (most recent call last):
    overread.errors.UnreadableFile: 1 of 2 values are NaN or infinite; expected numbers; write the file again with a number there
    """
    if values.dtype.kind in "fc" and not np.isfinite(values.sum(dtype=np.float64)):
        bad = int(values.size - np.isfinite(values).sum())
        if bad:
            raise UnreadableFile(
                f"{bad:,} of {values.size:,} values are NaN or infinite",
                code="not-finite",
                expected="numbers",
                do="write the file again with a number there",
            )
    return values


def smallest_integer(values: np.ndarray, low: float | None = None, high: float | None = None) -> np.ndarray:
    """Return whole numbers in the smallest of uint8, int16, uint16, int32 that holds them all exactly (else float32).

    Parameters
    ----------
    values : ndarray of whole numbers
    low, high : float, optional
        What the file could have said, where that is known: then two files of one kind get one dtype. Where
        that fits none of the 16-bit types, the values themselves decide.

    Examples
    --------
    >>> smallest_integer(np.array([-1024, 3071])).dtype, smallest_integer(np.array([0, 1]), 0, 4095).dtype
    (dtype('int16'), dtype('int16'))
    """
    declared = low is not None and high is not None
    lowest, highest = values.min(), values.max()
    if declared:
        for dtype in (np.uint8, np.int16, np.uint16):
            if min(low, lowest) >= np.iinfo(dtype).min and max(high, highest) <= np.iinfo(dtype).max:
                return values.astype(dtype)
    for dtype in (np.int16, np.uint16, np.int32) if declared else (np.uint8, np.int16, np.uint16, np.int32):
        if lowest >= np.iinfo(dtype).min and highest <= np.iinfo(dtype).max:
            return values.astype(dtype)
    return values.astype(np.float32)


def smallest_integer_or_float(values: np.ndarray, full_range: tuple[float, float]) -> np.ndarray:
    """Whole numbers in their smallest dtype, others as float32.

    Examples
    --------
    >>> smallest_integer_or_float(np.array([0.5]), (0, 1)).dtype, smallest_integer_or_float(np.array([7.0]), (0, 9)).dtype
    (dtype('float32'), dtype('uint8'))
    """
    if values.dtype.kind == "f" and np.any(values % 1):
        return values.astype(np.float32)
    return smallest_integer(values, *full_range)


def lost_in_single(values: np.ndarray, single: np.ndarray, *, tolerance: float = 0.0) -> list[str]:
    """Return the note on numbers that 32-bit floating point does not hold, none where it holds them all.

    Parameters
    ----------
    values : ndarray
        As they are, in 64 bits or whole numbers.
    single : ndarray
        What has become of them; where these are no 32-bit floats, nothing was lost.
    tolerance : float
        What is not worth a word.

    Raises
    ------
    UnreadableFile
        ``unsupported-format`` where different values have all become one.

    Examples
    --------
    >>> lost_in_single(np.array([2**24]), np.array([2**24], np.float32))
    []
    >>> values = np.array([0, 2**24 + 1])
    >>> lost_in_single(values, values.astype(np.float32))
    ['rounded: values of 25 bits were rounded to 32-bit floats, which hold 24: by up to 1']
    """
    if single.dtype != np.float32 or _held(values, single, tolerance):
        return []
    lowest, highest = values.min(), values.max()
    if lowest != highest and single.min() == single.max():
        raise UnreadableFile(
            f"values from {lowest:,} to {highest:,}, which 32-bit floats cannot tell apart",
            code="unsupported-format",
            expected="numbers whose differences are more than a sixteen-millionth of their size",
            do="subtract what they have in common, and save them again",
        )
    if values.dtype.kind == "f" and not tolerance:
        return [noted("rounded", "64-bit values were rounded to 32-bit floats")]
    bits = math.frexp(float(max(abs(float(lowest)), abs(float(highest)))))[1]
    said = f"values of {bits} bits were rounded to 32-bit floats, which hold 24: by up to {2.0 ** (bits - 25):g}"
    return [noted("rounded", said)]


def _held(values: np.ndarray, single: np.ndarray, tolerance: float) -> bool:
    """True where no value is further than the tolerance from what has become of it."""
    if values.dtype.kind == "f":
        return bool(np.array_equal(values, single) if not tolerance else np.abs(values - single).max() <= tolerance)
    size = np.where(values < 0, -values, values).astype(np.uint64) if values.dtype.kind == "i" else values
    size = size.astype(np.uint64)
    lowest_bit = np.maximum(size & (~size + np.uint64(1)), np.uint64(1))
    return bool((size // lowest_bit < 1 << 24).all())  # 24 bits from the highest to the lowest that is set


def one_channel(values: np.ndarray, *, tolerance: int) -> tuple[np.ndarray, str]:
    """Return colour values as one grey channel where the three are equal within ``tolerance``, and the note that says so.

    Parameters
    ----------
    values : ndarray, (..., 3)
    tolerance : int
        0 for lossless data; a JPEG's chroma rounding leaves up to 2.

    Returns
    -------
    values : ndarray, (...) when grey, else unchanged
    note : str
        "" when unchanged.

    Examples
    --------
    >>> one_channel(np.full((1, 2, 3), 7, np.uint8), tolerance=0)[0].tolist()
    [[7, 7]]
    """
    red, green, blue = (values[..., i].astype(np.int32) for i in range(3))
    spread = max(int(np.abs(red - green).max()), int(np.abs(green - blue).max()), int(np.abs(red - blue).max()))
    if spread > tolerance:
        return values, ""
    how = "equal" if spread == 0 else f"equal within {spread}"
    return np.ascontiguousarray(values[..., 1]), f"its three colour channels are {how}: taken as one grey channel"
