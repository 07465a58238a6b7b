"""From stored values to physical ones: rescale, modality LUT, PET's SUV, and the direction of brightness."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset

from overread.domain import noted
from overread.errors import UnreadableFile
from overread.formats.colours import table_of
from overread.formats.limits import finite, smallest_integer, smallest_integer_or_float
from overread.formats.pixels import Header, decode
from overread.formats.plain import plain
from overread.formats.planes import is_localizer
from overread.formats.suv import suv

RESCALE_TYPES = ("HU", "HU_MOD", "OD", "MGML", "Z_EFF", "ED", "EDW", "PCT")
"""Units that Rescale Type and Modality LUT Type may name (PS3.3 C.11.1.1.2); US is "unspecified"."""


@dataclass(frozen=True)
class Pixels:
    """The numbers of one DICOM object in physical units: voxels (frames, rows, columns[, 3]) and what they mean.

    ``inverted``: MONOCHROME1 was turned into MONOCHROME2 within ``full_range``, so its window has to be turned too.
    ``padding``: lowest and highest of the values, as they now are, that are not anatomy; they were not changed.
    """

    voxels: np.ndarray
    unit: str
    full_range: tuple[float, float] | None
    notes: tuple[str, ...]
    inverted: bool = False
    padding: tuple[float, float] | None = None


def numbers(raw: bytes) -> Pixels | None:
    """Return the numbers of a plain file, without parsing the rest of its header; None where it must be parsed.

    The same decoder and the same arithmetic as ``physical``: only the header values are found in another way.

    Raises
    ------
    UnreadableFile
        What ``physical`` raises.
    """
    header = plain(raw)
    return None if header is None else physical(header)


def physical(ds: Header) -> Pixels:
    """Return an object's numbers in physical units: HU for CT, SUV for PET, else the values after the header's rescale.

    MONOCHROME1 (low values shown bright) is inverted to MONOCHROME2 unless the numbers are HU.
    No window and no VOI LUT is applied: they are for the eye.

    Parameters
    ----------
    ds : Dataset or dict
        With pixel data.

    Raises
    ------
    UnreadableFile
        What ``pixels.decode`` raises; ``zero-slope``, ``not-finite``.

    References
    ----------
    DICOM PS3.3 C.11.1 (Modality LUT), C.7.6.16.2.9 (Pixel Value Transformation), C.7.5.1.1.2 (padding).
    """
    values, notes = decode(ds)
    if values.ndim == 4:
        return Pixels(values, "stored", _colour_range(ds, values), tuple(notes))
    slopes, intercepts, kind = _rescale(ds, len(values), notes)
    unit, table = _unit(ds, kind), ds.get("ModalityLUTSequence")
    if ds.get("Modality") == "PT":
        unit, factor, told = suv(ds)
        slopes, intercepts, notes = slopes * factor, intercepts * factor, notes + told
    padding = _padding(ds)
    if table:
        voxels, full_range, unit, padding = *_looked_up(ds, values, table[0]), None
    else:
        voxels, full_range = _rescaled(ds, values, slopes, intercepts)
        padding = _moved(padding, slopes, intercepts)
    inverted = False
    if ds.get("PhotometricInterpretation") == "MONOCHROME1":
        if unit == "HU":
            notes.append(noted("shown-inverted", "shown inverted by the header (MONOCHROME1); the HU were kept"))
        elif full_range is not None:
            turned = sum(full_range) - voxels.astype(np.float64)
            voxels, inverted = smallest_integer_or_float(turned, full_range), True
            padding = None if padding is None else (sum(full_range) - padding[1], sum(full_range) - padding[0])
            notes.append(noted("inverted", "MONOCHROME1 inverted to MONOCHROME2"))
    if padding is not None:
        span = f"{padding[0]:g}" if padding[0] == padding[1] else f"{padding[0]:g} to {padding[1]:g}"
        notes.append(noted("padding", f"pixels of {span} are padding outside the field of view, not anatomy: kept"))
    return Pixels(finite(voxels), unit, full_range, tuple(notes), inverted, padding)


def _colour_range(ds: Header, values: np.ndarray) -> tuple[float, float]:
    if values.dtype not in (np.uint8, np.uint16):
        raise UnreadableFile(
            f"colour with {values.dtype.itemsize * 8} bits a channel",
            code="unsupported-format",
            expected="8 or 16 unsigned bits a channel",
            do="export it with 8 bits a channel",
        )
    palette = ds.get("PhotometricInterpretation") == "PALETTE COLOR"
    bits = values.dtype.itemsize * 8 if palette else int(ds.get("BitsStored") or ds.get("BitsAllocated"))
    return 0.0, float(2**bits - 1)


# -- rescale -----------------------------------------------------------------------------------------------------------


def _rescale(ds: Header, count: int, notes: list[str]) -> tuple[np.ndarray, np.ndarray, str | None]:
    """Return each frame's slope and intercept, and the Rescale Type they all have: None where nothing is rescaled."""
    enhanced = isinstance(ds, Dataset) and bool(ds.get("PerFrameFunctionalGroupsSequence"))
    items = _transformations(ds, count) if enhanced else [ds]
    pairs = [(item.get("RescaleSlope"), item.get("RescaleIntercept")) for item in items]
    halves = sum((a in (None, "")) != (b in (None, "")) for a, b in pairs)
    if halves:
        said = f"{halves} of {len(pairs)} rescales have a slope or an intercept without the other: taken as 1 and 0"
        notes.append(noted("half-rescale", said))
    slopes = [_number(a, "slope", 1.0) for a, _ in pairs]
    intercepts = [_number(b, "intercept", 0.0) for _, b in pairs]
    if 0.0 in slopes:
        raise UnreadableFile(
            f"a rescale slope of 0 in {slopes.count(0.0)} of {len(slopes)} rescales, which makes all pixels equal",
            code="zero-slope",
            expected="any other number",
            do="export it again",
        )
    kinds = {str(item.get("RescaleType") or "HU").strip().upper() for item in items}
    rescaled = any(b not in (None, "") for _, b in pairs)
    kind = (kinds.pop() if len(kinds) == 1 else "US") if rescaled else None
    return np.array(slopes), np.array(intercepts), kind


def _transformations(ds: Dataset, count: int) -> list[Dataset]:
    """Return, for each frame, the item that rescales it: its own, the shared one, or the object itself."""
    groups = list(ds.PerFrameFunctionalGroupsSequence)
    if len(groups) != count:
        raise UnreadableFile(
            f"{len(groups)} frame descriptions",
            code="malformed",
            expected=f"{count}, one a frame",
            do="export it again",
        )
    shared = ds.get("SharedFunctionalGroupsSequence")
    common = (_transformation(shared[0]) if shared else None) or ds
    return [_transformation(group) or common for group in groups]


def _transformation(group: Dataset) -> Dataset | None:
    found = group.get("PixelValueTransformationSequence")
    return found[0] if found else None


def _number(value: object, name: str, default: float) -> float:
    if value in (None, ""):
        return default
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if not np.isfinite(number):
        raise UnreadableFile(
            f"a rescale {name} that is no number", code="malformed", expected="one finite number", do="export it again"
        )
    return number


def _unit(ds: Header, kind: str | None) -> str:
    """CT numbers are HU where the header rescales them and does not say otherwise; a localizer's are not."""
    if kind is None:
        return "stored"
    if ds.get("Modality") == "CT":
        return kind if kind in RESCALE_TYPES and not is_localizer(ds) else "stored"
    said = str(ds.get("RescaleType") or "").strip().upper()
    return said if said in RESCALE_TYPES and said not in ("HU", "HU_MOD") else "stored"


def _rescaled(
    ds: Header, values: np.ndarray, slopes: np.ndarray, intercepts: np.ndarray
) -> tuple[np.ndarray, tuple[float, float] | None]:
    """Apply each frame's slope and intercept; whole numbers stay whole."""
    plain_one = bool(np.all(slopes == slopes[0]) and np.all(intercepts == intercepts[0]))
    slope, intercept = float(slopes[0]), float(intercepts[0])
    if values.dtype.kind == "f":
        exact = values.astype(np.float64)
        if not (plain_one and slope == 1 and intercept == 0):
            exact = exact * slopes.reshape(-1, 1, 1) + intercepts.reshape(-1, 1, 1)
        return exact.astype(np.float32), None
    low, high = stored_range(ds)
    ends = np.concatenate([low * slopes + intercepts, high * slopes + intercepts])
    full_range = (float(ends.min()), float(ends.max()))
    whole = plain_one and slope % 1 == 0 and intercept % 1 == 0 and np.abs(ends).max() < 2**31
    if whole and values.dtype.itemsize <= 2:
        return _shifted(values, int(slope), int(intercept), full_range), full_range
    scaled = values * slopes.reshape(-1, 1, 1) + intercepts.reshape(-1, 1, 1)  # float64: exact for every stored integer
    return smallest_integer_or_float(scaled, full_range), full_range


def _shifted(values: np.ndarray, slope: int, intercept: int, full_range: tuple[float, float]) -> np.ndarray:
    """Return ``values × slope + intercept`` in the dtype that ``smallest_integer`` would choose, without a detour.

    Whole numbers that wrap on the way arrive at the right place, as the result fits.
    """
    ends = np.array([values.min(), values.max()], np.int64) * slope + intercept
    dtype = smallest_integer(np.sort(ends), *full_range).dtype
    out = values.astype(dtype)
    if dtype.kind == "f":
        return out * np.float32(slope) + np.float32(intercept)
    if slope != 1:
        out *= np.array(slope).astype(dtype)
    if intercept:
        out += np.array(intercept).astype(dtype)
    return out


def stored_range(ds: Header) -> tuple[int, int]:
    """Lowest and highest value that Bits Stored and Pixel Representation allow.

    Examples
    --------
    >>> ds = Dataset(); ds.BitsStored = 12; ds.PixelRepresentation = 0
    >>> stored_range(ds)
    (0, 4095)
    """
    bits = int(ds.get("BitsStored") or ds.get("BitsAllocated"))
    if ds.get("PixelRepresentation") == 1:
        return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    return 0, 2**bits - 1


# -- modality LUT and padding ------------------------------------------------------------------------------------------


def _looked_up(ds: Dataset, values: np.ndarray, lut: Dataset) -> tuple[np.ndarray, tuple[float, float], str]:
    """Apply a Modality LUT; its type is the unit.

    References
    ----------
    DICOM PS3.3 C.11.1.1.
    """
    said = lut.get("LUTDescriptor")
    if said is None or len(said) != 3 or "LUTData" not in lut or values.dtype.kind == "f":
        raise UnreadableFile(
            "a modality lookup table without its descriptor or data", code="malformed", do="export it again"
        )
    count, first, bits = (int(v) for v in said)
    signed = ds.get("PixelRepresentation") == 1
    first = first - 65536 if signed and first > 32767 else first & 0xFFFF if not signed else first
    entries = table_of(lut.LUTData, count & 0xFFFF or 1 << 16, bits, little=ds.original_encoding[1] is not False)
    out = entries[np.clip(values.astype(np.int64) - first, 0, len(entries) - 1)]
    kind = str(lut.get("ModalityLUTType") or "").strip().upper()
    return smallest_integer(out), (0.0, float(2**bits - 1)), kind if kind in RESCALE_TYPES else "stored"


def _padding(ds: Header) -> tuple[float, float] | None:
    """Return the stored values that are padding; what the header gives as unsigned is read with the pixels' own sign."""
    found = [ds.get(k) for k in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    if not isinstance(found[0], (int, float)):
        return None
    bits = int(ds.get("BitsAllocated"))
    signed = ds.get("PixelRepresentation") == 1
    ends = [v for v in found if isinstance(v, (int, float))]
    if signed:
        ends = [v - (1 << bits) if v >= 1 << (bits - 1) else v for v in ends]
    else:
        ends = [v + (1 << 16) if v < 0 else v for v in ends]
    return float(min(ends)), float(max(ends))


def _moved(
    padding: tuple[float, float] | None, slopes: np.ndarray, intercepts: np.ndarray
) -> tuple[float, float] | None:
    if padding is None or np.any(slopes != slopes[0]) or np.any(intercepts != intercepts[0]):
        return None
    ends = [v * float(slopes[0]) + float(intercepts[0]) for v in padding]
    return min(ends), max(ends)


def inverted_window(attributes: dict[str, str], full_range: tuple[float, float]) -> dict[str, str]:
    """Return the attributes with the window's centre where inverting within ``full_range`` has put it."""
    if "WindowCenter" not in attributes:
        return attributes
    centres = [sum(full_range) - float(c) for c in attributes["WindowCenter"].split("\\")]
    return {**attributes, "WindowCenter": "\\".join(f"{c:g}" for c in centres)}
