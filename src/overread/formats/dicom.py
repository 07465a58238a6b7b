"""One DICOM object: its header read safely, and its numbers in physical units."""

from __future__ import annotations

import io
import logging
import re
import warnings
import zlib
from dataclasses import dataclass

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.pixels import apply_modality_lut

from overread.errors import UnreadableFile
from overread.formats.limits import check_bytes, finite, refusing, smallest_integer, smallest_integer_or_float
from overread.formats.parser import read_dataset
from overread.formats.pixels import decode
from overread.formats.planes import Plane, is_localizer

logging.getLogger("pydicom").propagate = False  # its log quotes header values, names among them

_NOT_IMAGES = {
    "1.2.840.10008.5.1.4.1.1.66.4": "a Segmentation: marks on images",
    "1.2.840.10008.5.1.4.1.1.66.7": "a Label Map Segmentation: marks on images",
    "1.2.840.10008.5.1.4.1.1.481.2": "an RT Dose: a plan, not a picture",
    "1.2.840.10008.5.1.4.1.1.77.1.6": "a whole-slide microscopy image, stored in tiles",
}


@dataclass(frozen=True)
class Pixels:
    """The numbers of one DICOM object in physical units: voxels (frames, rows, columns[, 3]) and what they mean.

    ``inverted``: MONOCHROME1 was turned into MONOCHROME2 within ``full_range``, so its window has to be turned too.
    """

    voxels: np.ndarray
    unit: str
    full_range: tuple[float, float] | None
    notes: tuple[str, ...]
    inverted: bool = False


def parse(raw: bytes) -> Dataset:
    """Read a DICOM file from its bytes, with its pixels, without decoding them.

    Raises
    ------
    UnreadableFile
        ``malformed``, ``no-pixels``, ``unsupported-object``, ``too-large`` (a deflated bomb).
    """
    _check_deflated(raw)
    with refusing("a DICOM file whose header cannot be read"):  # RecursionError of nested sequences among it
        try:
            ds = read_dataset(io.BytesIO(raw))
        except EOFError as error:
            raise UnreadableFile("a DICOM file that ends too early", code="truncated", do="copy it again") from error
        sop = str(ds.get("SOPClassUID", ""))
        pixels = any(k in ds for k in ("PixelData", "FloatPixelData", "DoubleFloatPixelData"))
    if sop in _NOT_IMAGES:
        raise UnreadableFile(
            f"a DICOM object that is {_NOT_IMAGES[sop]}",
            code="unsupported-object",
            expected="an image",
            do="leave it out",
        )
    if not pixels:
        raise UnreadableFile(
            f"a DICOM object without pixels ({_class_name(ds)})",
            code="no-pixels",
            expected="an image",
            do="leave it out",
        )
    return ds


def _class_name(ds: Dataset) -> str:
    sop = ds.get("SOPClassUID") or getattr(ds, "file_meta", {}).get("MediaStorageSOPClassUID")
    known = sop and pydicom.uid.UID(sop).name != str(sop)
    return pydicom.uid.UID(sop).name if known else "of no known kind"


def is_deflated(head: bytes) -> bool:
    """True when a file's meta header names the deflated transfer syntax (its data set is one zlib stream).

    Examples
    --------
    >>> is_deflated(bytes(128) + b"DICM" + b"\\x02\\0\\x10\\0UI\\x16\\x001.2.840.10008.1.2.1.99")
    True
    """
    at = head.find(b"\x02\0\x10\0UI")
    return at > 0 and head[at + 8 : at + 30] == pydicom.uid.DeflatedExplicitVRLittleEndian.encode()


def _check_deflated(raw: bytes) -> None:
    """A deflated data set is inflated whole by the parser, so its true size is measured first, in constant memory."""
    if not is_deflated(raw):
        return
    start = 144 + int.from_bytes(raw[140:144], "little")  # preamble, DICM, and the group length's own 12 bytes
    engine, size, left = zlib.decompressobj(-zlib.MAX_WBITS), 0, raw[start:]
    try:
        while left and not engine.eof:
            size += len(engine.decompress(left, 1 << 24))
            left = engine.unconsumed_tail
            check_bytes(size)
    except zlib.error as error:
        raise UnreadableFile("a damaged deflated DICOM file", code="malformed", do="export it again") from error


def physical(ds: Dataset, frames: list[Plane]) -> Pixels:
    """Return an object's numbers in physical units: HU for CT, otherwise the values after the header's rescale.

    MONOCHROME1 (low values shown bright) is inverted to MONOCHROME2 unless the numbers are HU.
    No window is applied.

    Parameters
    ----------
    ds : Dataset
    frames : list of Plane
        One for each frame.

    Raises
    ------
    UnreadableFile
        What ``pixels.decode`` raises, and ``not-finite``.
    """
    values, notes = decode(ds)
    if len(frames) != len(values):
        raise UnreadableFile(
            f"{len(frames)} frame descriptions",
            code="malformed",
            expected=f"{len(values)}, one a frame",
            do="export it again",
        )
    if values.ndim == 4:
        return Pixels(values, "stored", _colour_range(ds, values), tuple(notes))
    voxels, full_range = _rescaled(ds, values, frames)
    unit = "HU" if _is_hu(ds, frames) else "stored"
    if ds.get("PixelPaddingValue") is not None:
        notes.append("the file names a padding value: pixels outside the field of view are not anatomy")
    inverted = False
    if ds.PhotometricInterpretation == "MONOCHROME1":
        if unit == "HU":
            notes.append("shown inverted by the header (MONOCHROME1); the HU were kept")
        elif full_range is not None:
            voxels = smallest_integer_or_float(sum(full_range) - voxels.astype(np.float64), full_range)
            inverted = True
            notes.append("MONOCHROME1 inverted to MONOCHROME2")
    return Pixels(finite(voxels), unit, full_range, tuple(notes), inverted)


def _colour_range(ds: Dataset, values: np.ndarray) -> tuple[float, float]:
    if values.dtype not in (np.uint8, np.uint16):
        raise UnreadableFile(
            f"colour with {values.dtype.itemsize * 8} bits a channel",
            code="unsupported-format",
            expected="8 or 16 unsigned bits a channel",
            do="export it with 8 bits a channel",
        )
    palette = ds.PhotometricInterpretation == "PALETTE COLOR"
    bits = values.dtype.itemsize * 8 if palette else int(ds.get("BitsStored") or ds.BitsAllocated)
    return 0.0, float(2**bits - 1)


def _is_hu(ds: Dataset, frames: list[Plane]) -> bool:
    """CT numbers are HU where the header rescales them and does not say otherwise; a localizer's are not."""
    if ds.get("Modality") != "CT" or is_localizer(ds):
        return False
    rescaled = "RescaleIntercept" in ds or any(f.intercept or f.slope != 1 for f in frames)
    return rescaled and str(ds.get("RescaleType") or "HU").upper() == "HU"


def _rescaled(ds: Dataset, values: np.ndarray, frames: list[Plane]) -> tuple[np.ndarray, tuple[float, float] | None]:
    """Apply the modality LUT or the rescale of each frame; whole numbers stay whole."""
    if ds.get("ModalityLUTSequence"):
        table = apply_modality_lut(values, ds)
        return smallest_integer(table), (0.0, float(2 ** (8 * table.dtype.itemsize) - 1))
    if values.dtype.kind == "f":
        exact = values.astype(np.float32)
        return exact, None
    low, high = stored_range(ds)
    slopes, intercepts = np.array([f.slope for f in frames]), np.array([f.intercept for f in frames])
    ends = np.concatenate([low * slopes + intercepts, high * slopes + intercepts])
    full_range = (float(ends.min()), float(ends.max()))
    if np.all(slopes == 1) and np.all(intercepts == 0):
        return smallest_integer(values, *full_range), full_range
    shape = (-1, 1, 1)
    whole = not np.any(np.concatenate([slopes, intercepts]) % 1) and np.abs(ends).max() < 2**31
    if whole and np.abs([low, high]).max() < 2**31:
        scaled = values * slopes.astype(np.int32).reshape(shape) + intercepts.astype(np.int32).reshape(shape)
        return smallest_integer(scaled, *full_range), full_range
    scaled = values * slopes.reshape(shape) + intercepts.reshape(shape)  # float64: exact for every stored integer
    return smallest_integer_or_float(scaled, full_range), full_range


def stored_range(ds: Dataset) -> tuple[int, int]:
    """Lowest and highest value that Bits Stored and Pixel Representation allow.

    Examples
    --------
    >>> ds = Dataset(); ds.BitsStored = 12; ds.PixelRepresentation = 0
    >>> stored_range(ds)
    (0, 4095)
    """
    bits = int(ds.get("BitsStored") or ds.BitsAllocated)
    if ds.get("PixelRepresentation") == 1:
        return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    return 0, 2**bits - 1


def inverted_window(attributes: dict[str, str], full_range: tuple[float, float]) -> dict[str, str]:
    """Return the attributes with the window's centre where inverting within ``full_range`` has put it."""
    if "WindowCenter" not in attributes:
        return attributes
    centres = [sum(full_range) - float(c) for c in attributes["WindowCenter"].split("\\")]
    return {**attributes, "WindowCenter": "\\".join(f"{c:g}" for c in centres)}


def told(caught: list[warnings.WarningMessage]) -> list[str]:
    """Turn the parser's warnings into notes. Their own words are not kept: they quote header values.

    Examples
    --------
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     warnings.warn("Invalid value for VR UI: '1.2.3.04'")
    >>> told(caught)
    ['a header value breaks the rules of its type (UI)']
    """
    notes = []
    for warning in caught:
        kind = re.search(r"for VR ([A-Z]{2})\b", str(warning.message))
        note = (
            f"a header value breaks the rules of its type ({kind[1]})"
            if kind
            else "the header breaks rules of the Standard"
        )
        if note not in notes:
            notes.append(note)
    return notes
