"""From stored values to physical ones: rescale, modality LUT, PET's SUV, and the direction of brightness."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from pydicom.dataset import Dataset

from overread.domain import noted
from overread.errors import UnreadableFile
from overread.formats.colours import table_of
from overread.formats.limits import finite, lost_in_single, smallest_integer
from overread.formats.pixels import Header, decode
from overread.formats.plain import plain
from overread.formats.rescale import RESCALE_TYPES, STEP_LOST, rescale, rescaled, unit_of
from overread.formats.suv import suv


@dataclass(frozen=True)
class Pixels:
    """The numbers of one DICOM object in physical units: voxels (frames, rows, columns[, 3]) and what they mean.

    ``dark_is_high``: MONOCHROME1; ``finished`` turns such values over, once all frames of an image are together.
    ``inverted``: they were turned over within ``full_range``, so their window has to be turned too.
    ``padding``: lowest and highest of the values, as they now are, that are not anatomy; they were not changed.
    ``stored_padding``: the same as stored; where it stands alone, the frames differ in what it has become.
    ``step``: what lies between two neighbouring stored whole numbers at least; 0 where stored numbers are no such.
    ``kinds``: of each frame (one where all are alike) its unit, and whether it lacks a rescale; None for a rescale by 1 and 0.
    ``unit`` is "several" where frames differ in theirs, until ``of_one_kind`` has taken those that agree.
    """

    voxels: np.ndarray
    unit: str
    full_range: tuple[float, float] | None
    notes: tuple[str, ...]
    dark_is_high: bool = False
    inverted: bool = False
    padding: tuple[float, float] | None = None
    stored_padding: tuple[float, float] | None = None
    step: float = 0.0
    kinds: tuple[tuple[str, bool | None], ...] = ()


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

    MONOCHROME1 (low values shown bright) is told, and left to ``finished``: frames with slopes of their own would each
    be turned over about another middle.
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
    slopes, intercepts, types = rescale(ds, len(values), notes)
    plain_ones = (slopes == 1) & (intercepts == 0)
    table = ds.get("ModalityLUTSequence")
    units = {kind: unit_of(ds, kind, len(values), notes) for kind in dict.fromkeys(types)}
    unit = units[types[0]] if len(set(units.values())) == 1 else "several"
    if ds.get("Modality") == "PT":
        unit, factor, told = suv(ds)
        units = dict.fromkeys(types, unit)
        slopes, intercepts, notes = slopes * factor, intercepts * factor, notes + told
    stored_padding = padding = _padding(ds)
    if table:
        if not plain_ones.all():
            said = "a Modality LUT and a rescale, of which a file has one: the table was taken"
            notes = [*notes, noted("two-rescales", said)]
        voxels, full_range, unit, padding = _looked_up(ds, values, table[0], padding)
        types, plain_ones, units = ("table",), np.array([False]), {"table": unit}
    else:
        voxels, full_range = rescaled(ds, values, slopes, intercepts, notes)
        padding = _moved(padding, slopes, intercepts)
    dark_is_high = ds.get("PhotometricInterpretation") == "MONOCHROME1"
    if not dark_is_high and str(ds.get("PresentationLUTShape") or "").strip().upper() == "INVERSE":
        said = (
            "Presentation LUT Shape INVERSE shows low values bright, MONOCHROME2 shows them dark: the values were kept"
        )
        notes = [*notes, noted("inverse-contradicted", said)]
    return Pixels(
        finite(voxels),
        unit,
        full_range,
        tuple(notes),
        dark_is_high=dark_is_high,
        padding=padding,
        stored_padding=stored_padding,
        step=0.0 if table or values.dtype.kind == "f" else float(np.abs(slopes).min()),
        kinds=tuple(
            (units[kind], None if kind is not None and same else kind is None)
            for kind, same in zip(types, plain_ones.tolist(), strict=True)
        ),
    )


def of_one_kind(parts: Sequence[Pixels], frames: Sequence[int] | None = None) -> str:
    """Return the unit that slices or frames of one volume share.

    Parameters
    ----------
    parts : sequence of Pixels
        As ``physical`` returned them.
    frames : sequence of int, optional
        Which frames of each; all, where it is not given.

    Raises
    ------
    UnreadableFile
        ``mixed-size`` where they have several units, or some have a rescale and others none: such numbers are not alike.

    Examples
    --------
    >>> one = Pixels(np.zeros((1, 8, 8)), "HU", None, (), kinds=(("HU", False),))
    >>> of_one_kind([one, one]), of_one_kind([one], [0])
    ('HU', 'HU')
    """
    kinds = []
    for part in parts:
        known = part.kinds or ((part.unit, None),)
        kinds += known if frames is None or len(known) == 1 else [known[i] for i in frames]
    units, bare = sorted({unit for unit, _ in kinds}), [b for _, b in kinds]
    if len(units) > 1:
        raise UnreadableFile(
            f"slices in {len(units)} units in one volume ({' and '.join(units)})",
            code="mixed-size",
            expected="one unit",
            do="export each reconstruction as its own series",
        )
    if True in bare and False in bare:
        raise UnreadableFile(
            f"{bare.count(True)} of {len(bare)} slices of one volume without a rescale, which changes the values of the others",
            code="mixed-size",
            expected="a rescale for each slice, or for none",
            do="export the series again",
        )
    return units[0]


def finished(pixels: Pixels, *, padded: str = "", dark: str = "") -> Pixels:
    """Turn MONOCHROME1 over into MONOCHROME2 within the full range of the whole image, and tell of that and of padding.

    Only a number without a meaning is turned over: HU, SUV, Bq/ml or an optical density stay what they are.

    Parameters
    ----------
    pixels : Pixels
        All frames of one image, as ``physical`` returned them.
    padded : str
        Which pixels are padding, where slices differ in what their headers say of it.
    dark : str
        Which slices are MONOCHROME1, where not all are.

    References
    ----------
    DICOM PS3.3 C.7.6.3.1.2 (Photometric Interpretation), C.7.5.1.1.2 (Pixel Padding).

    Examples
    --------
    >>> dark = Pixels(np.array([[[0, 4000]]], np.int16), "stored", (0.0, 4095.0), (), dark_is_high=True)
    >>> finished(dark).voxels.tolist(), finished(dark).notes
    ([[[4095, 95]]], ('inverted: MONOCHROME1 inverted to MONOCHROME2',))
    """
    notes, padding, full_range = list(pixels.notes), pixels.padding, pixels.full_range
    voxels, inverted = pixels.voxels, False
    if pixels.dark_is_high and pixels.unit == "stored" and full_range is not None:
        voxels, inverted = _turned_over(voxels, full_range), True
        notes += _lost_in_turning(pixels, full_range, voxels)
        padding = None if padding is None else (sum(full_range) - padding[1], sum(full_range) - padding[0])
        notes.append(noted("inverted", f"MONOCHROME1 inverted to MONOCHROME2{dark}"))
    elif pixels.dark_is_high:
        kept = f"the {pixels.unit}" if pixels.unit != "stored" else "the values, which have no range to turn over in,"
        notes.append(noted("shown-inverted", f"shown inverted by the header (MONOCHROME1{dark}); {kept} were kept"))
    if padding is not None or padded:
        which = padded or f"pixels of {_span(padding)}"
        notes.append(noted("padding", f"{which} are padding outside the field of view, not anatomy: kept"))
    elif pixels.stored_padding is not None:
        said = (
            f"pixels stored as {_span(pixels.stored_padding)} are padding outside the field of view, not anatomy: kept"
        )
        notes.append(noted("padding", f"{said}; frames with different rescales have made different values of them"))
    return replace(pixels, voxels=voxels, inverted=inverted, padding=padding, notes=tuple(dict.fromkeys(notes)))


def _lost_in_turning(pixels: Pixels, full_range: tuple[float, float], turned: np.ndarray) -> list[str]:
    """The note on numbers that 32-bit floats held as they were stored, and do not hold turned over (a range of 32 bits)."""
    if turned.dtype.kind != "f" or not beyond_single(turned, pixels.step):
        return []
    exact = sum(full_range) - pixels.voxels.astype(np.float64)
    return lost_in_single(exact, turned, tolerance=STEP_LOST * pixels.step)


def beyond_single(values: np.ndarray, step: float) -> bool:
    """True where values lie so far up that 32-bit floats may round them by more than is worth a word.

    Examples
    --------
    >>> beyond_single(np.array([2.0**24]), 1.0), beyond_single(np.array([2.0**24]), 16.0)
    (True, False)
    """
    return bool(step) and max(-float(values.min()), float(values.max())) > STEP_LOST * step * 2**24


def joined(parts: list[Pixels]) -> tuple[np.ndarray, list[str]]:
    """Return the slices of one volume in one dtype, and the note on what it does not hold of them.

    Whole numbers of 32 bits beside fractions (slices with rescales of their own) become 32-bit floats.

    Parameters
    ----------
    parts : list of Pixels
        Finished, of one shape.

    Raises
    ------
    UnreadableFile
        ``unsupported-format`` where 32-bit floats could not tell any two values apart.
    """
    voxels = np.concatenate([p.voxels for p in parts])  # NumPy widens to a dtype that holds them all
    if voxels.dtype != np.float64:
        return voxels, []
    single = voxels.astype(np.float32)
    step = min((p.step for p in parts if p.step), default=0.0)
    return single, lost_in_single(voxels, single, tolerance=STEP_LOST * step) if beyond_single(single, step) else []


def finished_together(parts: list[Pixels]) -> list[Pixels]:
    """Finish the slices of one volume about the range that they share, not each about its own.

    Parameters
    ----------
    parts : list of Pixels
        What ``physical`` returned of each slice, in one unit.
    """
    ranges = [p.full_range for p in parts]
    full_range = None if None in ranges else (min(r[0] for r in ranges), max(r[1] for r in ranges))
    told = [p for p in parts if p.stored_padding is not None]
    padding = told[0].padding if len({p.padding for p in told}) == 1 else None
    stored, padded = (told[0].stored_padding if told else None), _padded(told, len(parts))
    dark = sum(p.dark_is_high for p in parts)
    some = f", in {dark} of {len(parts)} slices: the others' header says MONOCHROME2" if dark < len(parts) else ""
    together = {"full_range": full_range, "padding": padding, "stored_padding": stored}
    return [finished(replace(p, **together), padded=padded, dark=some) for p in parts]


def _padded(told: list[Pixels], slices: int) -> str:
    """Say which slices have which padding; nothing where all have the same."""
    counts = Counter(p.stored_padding for p in told)
    if not counts or counts.most_common(1)[0][1] == slices:
        return ""
    values = " and ".join(f"as {_span(stored)} in {count}" for stored, count in counts.most_common())
    return f"pixels stored {values} of {slices} slices"


def _span(ends: tuple[float, float]) -> str:
    return f"{ends[0]:g}" if ends[0] == ends[1] else f"{ends[0]:g} to {ends[1]:g}"


def _turned_over(voxels: np.ndarray, full_range: tuple[float, float]) -> np.ndarray:
    """Return the values mirrored about the middle of their full range, frame by frame: a volume is not held in float64."""
    total, dtype = sum(full_range), np.dtype(np.float32)
    if voxels.dtype.kind in "iu" and total % 1 == 0:
        ends = total - np.array([voxels.max(), voxels.min()], np.float64)
        dtype = smallest_integer(ends, *full_range).dtype
    out = np.empty(voxels.shape, dtype)
    for into, frame in zip(out, voxels, strict=True):
        into[...] = total - frame.astype(np.float64)
    return out


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


# -- modality LUT and padding ------------------------------------------------------------------------------------------


def _looked_up(
    ds: Dataset, values: np.ndarray, lut: Dataset, padding: tuple[float, float] | None
) -> tuple[np.ndarray, tuple[float, float], str, tuple[float, float] | None]:
    """Apply a Modality LUT, to the padding too; its type is the unit.

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
    last = len(entries) - 1
    out = entries[np.clip(values.astype(np.int64) - first, 0, last)]
    if padding is not None:
        low, high = (int(np.clip(end - first, 0, last)) for end in padding)
        padding = float(entries[low : high + 1].min()), float(entries[low : high + 1].max())
    kind = str(lut.get("ModalityLUTType") or "").strip().upper()
    unit = kind if kind in RESCALE_TYPES else "stored"
    return smallest_integer(out), (0.0, float(2**bits - 1)), unit, padding


def _padding(ds: Header) -> tuple[float, float] | None:
    """Return the stored values that are padding; what the header gives as unsigned is read with the pixels' own sign."""
    for kind in ("Float", "DoubleFloat"):
        if f"{kind}PixelData" in ds:
            ends = [ds.get(f"{kind}PixelPadding{k}") for k in ("Value", "RangeLimit")]
            ends = [float(v) for v in ends if isinstance(v, (int, float))]
            return (min(ends), max(ends)) if ends and np.isfinite(ends).all() else None
    found = [ds.get(k) for k in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    if not isinstance(found[0], (int, float)):
        return None
    bits, stored = int(ds.get("BitsAllocated")), int(ds.get("BitsStored") or ds.get("BitsAllocated"))
    signed = ds.get("PixelRepresentation") == 1
    ends = [v for v in found if isinstance(v, (int, float))]
    if signed:
        ends = [v - (1 << bits) if v >= 1 << (bits - 1) else v for v in ends]
        ends = [v - (1 << stored) if 1 << (stored - 1) <= v < 1 << stored else v for v in ends]
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
