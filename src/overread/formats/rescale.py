"""From stored values to those that the header's rescale makes of them, frame by frame, and the unit they then have."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from pydicom.dataset import Dataset

from overread.domain import noted
from overread.errors import UnreadableFile
from overread.formats.groups import RESCALE, check_agreement, group_item
from overread.formats.limits import finite, lost_in_single, smallest_integer, smallest_integer_or_float
from overread.formats.pixels import Header
from overread.formats.planes import image_type, localizers

RESCALE_TYPES = ("HU", "HU_MOD", "OD", "MGML", "Z_EFF", "ED", "EDW", "PCT")
"""Units that Rescale Type and Modality LUT Type may name (PS3.3 C.11.1.1.2); US is "unspecified"."""


def rescale(ds: Header, count: int, notes: list[str]) -> tuple[np.ndarray, np.ndarray, tuple[str | None, ...]]:
    """Return each frame's slope, intercept and Rescale Type (None where it has no rescale); one of each where all frames share it.

    Parameters
    ----------
    ds : Dataset or dict
    count : int
        Frames.
    notes : list of str
        Grows by what is to be told.

    Raises
    ------
    UnreadableFile
        ``zero-slope``; ``malformed`` where a number is none, or frames and their descriptions are not as many.
    """
    items = _transformations(ds, count) if isinstance(ds, Dataset) else [ds]
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
    kinds = (str(item.get("RescaleType") or "HU").strip().upper() for item in items)
    scaled = (a not in (None, "") or b not in (None, "") for a, b in pairs)
    return (
        np.array(slopes),
        np.array(intercepts),
        tuple(k if yes else None for k, yes in zip(kinds, scaled, strict=True)),
    )


def _transformations(ds: Dataset, count: int) -> list[Dataset]:
    """Return, for each frame, the item that rescales it: its own, the shared one, or the object itself; one for all where all share it."""
    shared = ds.get("SharedFunctionalGroupsSequence")
    common = (group_item(shared[0], "PixelValueTransformationSequence") if shared else None) or ds
    groups = list(ds.get("PerFrameFunctionalGroupsSequence") or [])
    if not groups:
        return [common]
    if len(groups) != count:
        raise UnreadableFile(
            f"{len(groups)} frame descriptions",
            code="malformed",
            expected=f"{count}, one a frame",
            do="export it again",
        )
    own = [group_item(group, "PixelValueTransformationSequence") for group in groups]
    check_agreement(own, None if common is ds else common, RESCALE)
    return [one or common for one in own]


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


def unit_of(ds: Header, kind: str | None, frames: int, notes: list[str]) -> str:
    """CT numbers are HU where the header rescales them and does not say otherwise; those of a localizer or a screenshot are not.

    Parameters
    ----------
    ds : Dataset or dict
    kind : str or None
        What ``rescale`` returned of some frames.
    frames : int
    notes : list of str
        Grows by what is to be told.

    References
    ----------
    DICOM PS3.3 C.8.2.1.1.1 (CT Image Type), C.8.16.1 (Frame Type), C.11.1.1.2 (Rescale Type), A.8 (Secondary Capture),
    C.8.15.3.10 (multi-energy CT), C.7.6.16.2.11 (Real World Value Mapping).
    """
    if kind is None:
        return "stored"
    if ds.get("Modality") != "CT":
        said = str(ds.get("RescaleType") or "").strip().upper()
        return said if said in RESCALE_TYPES and said not in ("HU", "HU_MOD") else "stored"
    if kind not in RESCALE_TYPES:
        return "stored"
    overview = localizers(ds, frames)
    if overview:
        if frames > 1:
            many = "a localizer" if overview == frames else f"{overview} of {frames} frames are localizers: no HU"
            notes.append(noted("localizer", many))
        return "stored"
    if kind in ("HU", "HU_MOD") and _is_capture(ds):
        notes.append(noted("capture", "a secondary capture of CT: its numbers were taken as stored, not as HU"))
        return "stored"
    other = _other_than_hu(ds) if kind in ("HU", "HU_MOD") else ""
    if other:
        notes.append(noted("not-hu", f"CT numbers that the header calls {other}: taken as stored, not as HU"))
        return "stored"
    return kind


_NO_HU = frozenset(
    "MAT_SPECIFIC MAT_FRACTIONAL EFF_ATOMIC_NUM ELECTRON_DENSITY DIVISION MULTIPLICATION STD_DEVIATION "
    "SUBTRACTION SUBTRACT".split()
)
"""Image Types (value 3 and on) of what was reckoned from CT, and is no CT number; VMI, MAT_REMOVED, MAT_MODIFIED and mean are."""
_NO_HU_PARTS = frozenset("VRT PERFUSION CBF CBV MTT TTP TMAX IODINE".split())
_NO_MAP = ("REMOVED", "VNC")  # iodine taken away leaves HU
_HU_CODES = ("[hnsf'U]", "HU")
_UNIT = re.compile(r"[A-Za-z0-9/.*^{}\[\]'%\-]{1,16}")


def _other_than_hu(ds: Header) -> str:
    """Say what a CT image holds by its Image Type or Real World Value Mapping where that is no Hounsfield unit, else ""."""
    for word in image_type(ds)[2:]:
        parts = set(re.split(r"[^A-Z0-9]+", word.upper()))
        if word.upper() in _NO_HU or (parts & _NO_HU_PARTS and not parts.intersection(_NO_MAP)):
            return "a map or a rendering (Image Type)"
    codes = [c for c in mapped_units(ds) if c != "1"]
    if not codes or any(c in _HU_CODES for c in codes):
        return ""
    unit = codes[0] if _UNIT.fullmatch(codes[0]) else "another unit"
    return f"{unit} (Real World Value Mapping)"


def mapped_units(ds: Header) -> list[str]:
    """Return the codes of the units into which Real World Value Mappings turn an object's numbers.

    Examples
    --------
    >>> mapped_units(Dataset())
    []
    """
    groups = [g for k in ("Shared", "PerFrame") for g in ds.get(f"{k}FunctionalGroupsSequence") or []]
    items = [item for holder in (ds, *groups) for item in holder.get("RealWorldValueMappingSequence") or []]
    codes = (code for item in items for code in item.get("MeasurementUnitsCodeSequence") or [])
    return list(dict.fromkeys(str(code.get("CodeValue") or "").strip() or "1" for code in codes))


def uneven_mapping(sets: Sequence[Dataset], steps: Sequence[float]) -> list[str]:
    """Tell of slices of one volume whose Real World Value Mappings make different amounts of one value.

    Parameters
    ----------
    sets : sequence of Dataset
        Of the slices.
    steps : sequence of float
        What their rescale makes of one step between stored values; 0 where there are no such steps.

    Examples
    --------
    >>> uneven_mapping([Dataset(), Dataset()], [1.0, 1.0])
    []
    """
    ratios = []
    for ds, step in zip(sets, steps, strict=True):
        items = ds.get("RealWorldValueMappingSequence") or []
        slope = abs(float(items[0].get("RealWorldValueSlope") or 0)) if len(items) == 1 else 0.0
        if not slope or not step:
            return []
        ratios.append(slope / step)
    factor = max(ratios) / min(ratios)
    if factor < _SAME_AMOUNT:
        return []
    said = (
        f"Real World Value Mappings make amounts of one value that differ by a factor of up to {factor:.3g} between slices: "
        "not applied, and slices cannot be compared with one another"
    )
    return [noted("mapping-differs", said)]


def uneven_frames(ds: Dataset, frames: Sequence[int]) -> list[str]:
    """Tell the same of the frames of one object, which each may have a rescale and a mapping of their own.

    Examples
    --------
    >>> uneven_frames(Dataset(), [0, 1])
    []
    """
    groups = list(ds.get("PerFrameFunctionalGroupsSequence") or [])
    sets = [groups[i] for i in frames if i < len(groups)]
    if not sets or len(sets) < len(frames) or "RealWorldValueMappingSequence" not in sets[0]:
        return []
    own = [list(group.get("PixelValueTransformationSequence") or [])[:1] for group in sets]
    slopes = [abs(float(items[0].get("RescaleSlope") or 1)) if items else 1.0 for items in own]
    return [note.replace("between slices", "between frames") for note in uneven_mapping(sets, slopes)]


_SAME_AMOUNT = 1.01

_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"  # Secondary Capture Image Storage; .1 to .4 are its multi-frame kinds
_HU_BITS = 8  # so few hold no CT numbers


def _is_capture(ds: Header) -> bool:
    """True for a picture of CT slices: a screenshot, or a secondary capture that does not say itself that it holds HU."""
    if "SCREEN SAVE" in image_type(ds):
        return True
    sop = str(ds.get("SOPClassUID") or "")
    if sop != _CAPTURE and not sop.startswith(f"{_CAPTURE}."):
        return False
    return not str(ds.get("RescaleType") or "").strip() or int(ds.get("BitsStored") or _HU_BITS) <= _HU_BITS


STEP_LOST = 0.1
"""Rounding by more than this part of the step between two stored values is told."""


def rescaled(
    ds: Header, values: np.ndarray, slopes: np.ndarray, intercepts: np.ndarray, notes: list[str]
) -> tuple[np.ndarray, tuple[float, float] | None]:
    """Apply each frame's slope and intercept; whole numbers stay whole, and what 32 bits cannot hold is told.

    Raises
    ------
    UnreadableFile
        ``unsupported-format`` where 32-bit floats could not tell any two values apart.
    """
    plain_one = bool(np.all(slopes == slopes[0]) and np.all(intercepts == intercepts[0]))
    slope, intercept = float(slopes[0]), float(intercepts[0])
    if values.dtype.kind == "f":
        exact = values.astype(np.float64)
        if not (plain_one and slope == 1 and intercept == 0):
            exact = exact * slopes.reshape(-1, 1, 1) + intercepts.reshape(-1, 1, 1)
        single = exact.astype(np.float32)
        if values.dtype.itemsize > 4:
            notes += lost_in_single(finite(exact), single)
        return finite(single), None
    reached = int(values.min()), int(values.max())
    low, high = _range_reached(stored_range(ds), *reached)
    ends = np.concatenate([low * slopes + intercepts, high * slopes + intercepts])
    full_range = (float(ends.min()), float(ends.max()))
    whole = plain_one and slope % 1 == 0 and intercept % 1 == 0 and np.abs(ends).max() < 2**31
    if whole and values.dtype.itemsize <= 2:
        return _shifted(values, int(slope), int(intercept), full_range, reached), full_range
    scaled = values * slopes.reshape(-1, 1, 1) + intercepts.reshape(-1, 1, 1)  # float64: exact for every stored integer
    out = smallest_integer_or_float(scaled, full_range)
    worth = STEP_LOST * float(np.abs(slopes).min())
    if max(-full_range[0], full_range[1]) > worth * 2**24:  # else rounding cannot be as much: 24 bits are held
        notes += lost_in_single(scaled, out, tolerance=worth)
    return out, full_range


def _range_reached(said: tuple[int, int], lowest: int, highest: int) -> tuple[int, int]:
    """Return the header's range, or the next power of two that holds a compressed stream deeper than the header says.

    Examples
    --------
    >>> _range_reached((0, 4095), 0, 4095), _range_reached((0, 4095), 0, 63000)
    ((0, 4095), (0, 65535))
    """
    low, high = said
    while highest > high or lowest < low < 0:
        low, high = 2 * low, 2 * high + 1
    return low, high


def _shifted(
    values: np.ndarray, slope: int, intercept: int, full_range: tuple[float, float], reached: tuple[int, int]
) -> np.ndarray:
    """Return ``values × slope + intercept`` in the dtype that ``smallest_integer`` would choose, without a detour.

    Whole numbers that wrap on the way arrive at the right place, as the result fits.
    """
    ends = np.array(reached, np.int64) * slope + intercept
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
