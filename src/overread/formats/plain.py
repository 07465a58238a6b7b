"""The header values that pixels depend on, from the bytes of a plain file: what a parser would find, without one.

A CT slice's numbers need some twenty values of its header. Where the header is ordinary they are read here in a
thirtieth of a parser's time; where anything is not (sequences that bear on values, PET, palettes, values that are not
what their type allows), the answer is None, and pydicom's reading counts.
"""

from __future__ import annotations

import math
import re

from overread.formats.headers import scan

_WORDS = ("SamplesPerPixel", "PlanarConfiguration", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation")  # fmt: skip
_PADDING = ("PixelPaddingValue", "PixelPaddingRangeLimit")
_NUMBERS = ("NumberOfFrames", "RescaleSlope", "RescaleIntercept")
_TEXTS = ("Modality", "PhotometricInterpretation", "RescaleType", "PresentationLUTShape")
_NONE = (
    "ModalityLUTSequence", "PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence", "ExtendedOffsetTable",
    "RedPaletteColorLookupTableDescriptor", "FloatPixelData", "DoubleFloatPixelData",
)  # fmt: skip
_LISTS = ("ImageType", "ScanOptions")
_OF_CT = "RealWorldValueMappingSequence"  # says what else than HU a CT holds; common in MR, where it says nothing more
_KEYWORDS = (*_WORDS, *_PADDING, *_NUMBERS, *_TEXTS, *_LISTS, "SOPClassUID", *_NONE, _OF_CT)
_OVERLAY_BIT = b"\x60\2\1"  # Overlay Bit Position (60xx,0102), without the first byte of its group

_TEXT = re.compile(rb"[A-Z0-9_ ]{0,16}\0?")
_NUMBER = re.compile(rb" *[+-]?\d{1,15}(?:\.\d{0,15})?(?:[eE][+-]?\d{1,3})? *\0?")


def plain(raw: bytes) -> dict[str, object] | None:
    """Return what a plain DICOM file says of its pixels, and the pixels' own bytes, by the Standard's keywords.

    Parameters
    ----------
    raw : bytes
        The whole file.

    Returns
    -------
    dict or None
        "TransferSyntaxUID", "PixelData" (a view of ``raw``), and what is there of the Image Pixel module and the rescale;
        None where the file must be parsed.

    Examples
    --------
    >>> plain(b"no DICOM file") is None
    True
    """
    header = scan(raw, _KEYWORDS)
    if header is None or header.pixels is None:
        return None
    values = header.values
    out: dict[str, object] = {"TransferSyntaxUID": header.syntax}
    for keyword in _WORDS:
        word = values.get(keyword)
        if word is not None:
            if len(word) != 2:
                return None
            out[keyword] = word[0] | word[1] << 8
    signed = out.get("PixelRepresentation") == 1
    for keyword in _PADDING:
        word = values.get(keyword)
        if word is not None:
            if len(word) != 2:
                return None
            out[keyword] = int.from_bytes(word, "little", signed=signed)
    for keyword in _NUMBERS:
        text = values.get(keyword)
        if text is not None:
            if _NUMBER.fullmatch(text) is None:
                return None
            out[keyword] = number = float(text.rstrip(b"\0"))
            if not math.isfinite(number):
                return None
    for keyword in _TEXTS:
        text = values.get(keyword)
        if text is not None:
            if _TEXT.fullmatch(text) is None:
                return None
            out[keyword] = text.strip(b" \0").decode()
    if any(keyword in values for keyword in _NONE) or out.get("Modality") in ("PT", None, ""):
        return None
    if out.get("NumberOfFrames", 1.0) != 1.0 or out.get("BitsAllocated") not in (8, 16, 32):
        return None
    if str(out.get("PhotometricInterpretation")).endswith("_422") and header.pixels[1] is not None:
        return None  # chroma for two pixels: pydicom unpacks that
    if out["Modality"] == "CT" and _OF_CT in values:
        return None
    for keyword in _LISTS:
        kinds = values.get(keyword, b"").rstrip(b" \0").split(b"\\")
        out[keyword] = [kind.strip(b" ").decode("latin-1") for kind in kinds]
    out["SOPClassUID"] = values.get("SOPClassUID", b"").strip(b" \0").decode("latin-1")
    begin, length = header.pixels
    at = raw.find(_OVERLAY_BIT, 0, begin)
    if at > 0 and raw[at + 7 : at + 9] != b"\0\0":  # behind VR and length, or the long length of implicit VR
        return None
    out["PixelData"] = memoryview(raw)[begin : len(raw) if length is None else begin + length]
    return out
