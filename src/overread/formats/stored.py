"""Words as they are stored become numbers: Bits Stored, High Bit and Pixel Representation, and what contradicts them."""

from __future__ import annotations

import numpy as np
from pydicom.dataset import Dataset

from overread.domain import noted
from overread.errors import UnreadableFile

Header = Dataset | dict[str, object]
"""A data set, or what ``plain.plain`` found of one."""

_UNSIGNED_BITS = 8  # a picture of so few bits has no sign
_CLEARLY = 4  # times smoother: no edge of anatomy does that
_EDGES = 99  # percentile of the jumps between neighbours that still are the picture's own


def stored_bits(raw: np.ndarray, ds: Header, *, mask: bool, precision: int = 0) -> tuple[np.ndarray, list[str]]:
    """Return words as the numbers that Bits Stored, High Bit and Pixel Representation make of them.

    Parameters
    ----------
    raw : ndarray of unsigned integers, (frames, rows, columns[, 3])
    ds : Dataset
    mask : bool
        True where bits above the stored ones may hold something else (an overlay), and are cleared.
    precision : int
        Bits of a sample by the compressed stream itself, where it says.

    Returns
    -------
    values : ndarray
    notes : list of str

    Raises
    ------
    UnreadableFile
        ``malformed``, when the bits do not fit, or nobody knows whether values are below zero.

    References
    ----------
    DICOM PS3.5 8.1.1.
    """
    size = 8 * raw.dtype.itemsize
    allocated = int(ds.get("BitsAllocated"))
    stored = int(ds.get("BitsStored") or allocated)
    high = int(ds.get("HighBit", stored - 1)) if not precision else stored - 1
    if not 0 < stored <= allocated or not stored - 1 <= high < allocated:
        raise UnreadableFile(
            f"{stored} bits stored of {allocated}, the high bit {high}",
            code="malformed",
            expected="Bits Stored within Bits Allocated, High Bit at least Bits Stored - 1",
            do="export it again",
        )
    signed, notes = ds.get("PixelRepresentation") == 1, []
    used = min(stored, precision or stored, size)
    low = high + 1 - stored
    if low:
        raw, notes = _lowered(raw, low, stored, high)
    if ds.get("PixelRepresentation") in (None, "") and stored > _UNSIGNED_BITS and raw.ndim == 3:
        _check_sign(raw, used)
    if not signed:
        if mask and used < size and raw.max() >> used:
            return _within(raw, raw & raw.dtype.type((1 << used) - 1), used, ds, notes)
        return raw, notes
    values = raw.view(raw.dtype.str.replace("u", "i"))
    if used < size and (values.max() >> (used - 1) or values.min() < -(1 << (used - 1))):
        return _within(values, (values << (size - used)) >> (size - used), used, ds, notes)
    return values, notes


def _check_sign(raw: np.ndarray, used: int) -> None:
    """Refuse values that are below zero or large, where the header does not say which; of small ones both are the same."""
    if raw.max() >> (used - 1):
        raise UnreadableFile(
            f"a header without Pixel Representation, and values up to {raw.max():,} of {used} bits",
            code="malformed",
            expected=f"a word on whether {1 << (used - 1):,} and more are below zero",
            do="export it again",
        )


def _within(
    words: np.ndarray, cut: np.ndarray, used: int, ds: Header, notes: list[str]
) -> tuple[np.ndarray, list[str]]:
    """Return the words cut to their stored bits, or as they stand where that tears the picture: then Bits Stored is wrong.

    Bits above the stored ones once held overlays, and a negative number need not carry its sign into them. Neighbours
    tell: what lies under an overlay goes on beside it, what ran over does not once it is cut.
    """
    wrong = cut != words
    if not wrong.any():
        return cut, notes
    extended = bool(words.min() < 0)  # some upper bits are set: in signs, or in what is no sign
    unsigned = words.dtype.kind == "u"
    if not unsigned and not extended and not words.max() >> used:
        jumps, _ = _jumps(cut, wrong)
        as_it_is, _ = _jumps(words, wrong)
        if as_it_is * _CLEARLY >= jumps:
            return cut, notes  # twelve bits below zero, whose sign was not carried up: legal
        torn = True
    else:
        jumps, edges = _jumps(cut, wrong)
        torn = jumps > edges and not _overlays(ds)
    few = f"{int(wrong.sum()):,} of {wrong.size:,} values need more than the {used} bits that the header says"
    if torn:
        said = f"{few} (up to {int(words.max()):,}); cut to these they would not go together with their neighbours: read as they stand"
    else:
        said = f"{few}; what lies in the bits above (an overlay, as a rule) was left out"
    return (words if torn else cut), [*notes, noted("over-bits", said)]


def _jumps(values: np.ndarray, wrong: np.ndarray) -> tuple[float, float]:
    """Return how much neighbours differ where one of them is in doubt (median), and where both or neither is (99th percentile)."""
    borders, inner = [], []
    for axis in (1, 2):
        ahead = tuple(slice(1, None) if a == axis else slice(None) for a in range(values.ndim))
        behind = tuple(slice(None, -1) if a == axis else slice(None) for a in range(values.ndim))
        jump = np.abs(values[ahead].astype(np.int64) - values[behind])
        border = wrong[ahead] != wrong[behind]
        borders.append(jump[border])
        inner.append(jump[~border])
    border, rest = np.concatenate(borders), np.concatenate(inner)
    return (
        float(np.median(border)) if border.size else 0.0,
        float(np.percentile(rest, _EDGES)) if rest.size else float("inf"),
    )


def _overlays(ds: Header) -> bool:
    """True where the header itself says that an overlay lies in the bits of the pixels (``plain`` leaves such files alone)."""
    if not isinstance(ds, Dataset):
        return False
    return any(int(ds[group, 0x0102].value or 0) for group in range(0x6000, 0x6020, 2) if (group, 0x0102) in ds)


def _lowered(raw: np.ndarray, low: int, stored: int, high: int) -> tuple[np.ndarray, list[str]]:
    """Values in the upper bits are moved down; where they lie in the lower bits after all, the header is not believed."""
    said = f"the header puts {stored} bits below high bit {high}"
    if not np.any(raw & raw.dtype.type((1 << low) - 1)):
        return raw >> low, [noted("high-bit", f"{said}: values were moved down by {low} bits")]
    if not raw.max() >> stored:
        return raw, [noted("high-bit", f"{said}, but they lie in the lowest {stored}: read from there")]
    raise UnreadableFile(
        f"values in more bits than {stored} below high bit {high}",
        code="malformed",
        expected=f"High Bit {stored - 1}",
        do="export it again",
    )
