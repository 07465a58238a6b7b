"""The pixels of one DICOM object: checked against its header, decoded by a named decoder, in stored values."""

from __future__ import annotations

import math

import numpy as np
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import apply_color_lut, get_decoder

from overread.errors import UnreadableFile
from overread.formats.decoder import decode_apart
from overread.formats.limits import check_bytes, check_size

DECODERS = {
    uid.RLELossless: "pydicom",
    uid.JPEGBaseline8Bit: "gdcm",
    uid.JPEGExtended12Bit: "gdcm",
    uid.JPEGLossless: "gdcm",
    uid.JPEGLosslessSV1: "gdcm",
    uid.JPEGLSLossless: "gdcm",
    uid.JPEGLSNearLossless: "gdcm",
    uid.JPEG2000Lossless: "gdcm",
    uid.JPEG2000: "gdcm",
}
"""One decoder for each compressed transfer syntax, by name: pixels never depend on what else happens to be installed."""

NATIVE = (
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
    uid.DeflatedExplicitVRLittleEndian,
)

_KEYWORDS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")


def decode(ds: Dataset) -> tuple[np.ndarray, list[str]]:
    """Return the stored values of a DICOM object, and notes on what had to be done.

    Palette and YBR colours come back as RGB; unused high bits are masked or sign-extended. No rescale, no window, no
    inversion is applied here.

    Parameters
    ----------
    ds : Dataset
        As ``pydicom.dcmread`` returns it, with pixel data.

    Returns
    -------
    values : ndarray, (frames, rows, columns) or (frames, rows, columns, 3)
    notes : list of str

    Raises
    ------
    UnreadableFile
        ``no-pixels``, ``too-small``, ``too-large``, ``truncated``, ``unsupported-transfer-syntax``, ``malformed``.

    References
    ----------
    DICOM PS3.3 C.7.6.3 (Image Pixel), PS3.5 8 and Annex A (encodings).
    """
    present = [k for k in _KEYWORDS if k in ds]
    if not present:
        raise UnreadableFile("a DICOM object without pixels", code="no-pixels", expected="an image", do="leave it out")
    syntax, notes = transfer_syntax(ds)
    shape = _shape(ds)
    check_size(*shape[1:3])
    check_bytes(math.prod(shape) * max(2, int(ds.BitsAllocated) // 8))
    if syntax not in NATIVE and syntax not in DECODERS:
        name = (
            syntax.name
            if not syntax.is_private and syntax.name != str(syntax)
            else "a transfer syntax not in the Standard"
        )
        raise UnreadableFile(
            f"pixels encoded as {name}",
            code="unsupported-transfer-syntax",
            expected="uncompressed, RLE, JPEG, JPEG-LS or JPEG 2000",
            do="export the study uncompressed",
        )
    if syntax in NATIVE:
        notes += _check_native_length(ds, present[0], shape)
    values = _decoded(ds, syntax)
    if values.size != math.prod(shape):
        raise UnreadableFile(
            f"{values.size:,} decoded values",
            code="truncated",
            expected=f"{math.prod(shape):,} by the header",
            do="copy it again",
        )
    values = values.reshape(shape)
    if ds.PhotometricInterpretation == "PALETTE COLOR":
        values = apply_color_lut(values, ds)[..., :3]
        notes.append("palette converted to RGB")
    elif str(ds.PhotometricInterpretation).startswith("YBR") and shape[-1] == 3:
        notes.append(f"{ds.PhotometricInterpretation} converted to RGB")
    return values, notes


def transfer_syntax(ds: Dataset) -> tuple[uid.UID, list[str]]:
    """Return how a data set is encoded; where the file does not say, how it was in fact read.

    Examples
    --------
    >>> ds = Dataset(); ds.file_meta = FileMetaDataset(); ds.file_meta.TransferSyntaxUID = uid.RLELossless
    >>> transfer_syntax(ds)[0].name
    'RLE Lossless'
    """
    meta = getattr(ds, "file_meta", None)
    said = meta.get("TransferSyntaxUID") if meta is not None else None
    if said:
        return uid.UID(said), []
    implicit, little = ds.original_encoding
    guess = (
        uid.ImplicitVRLittleEndian if implicit else uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian
    )
    ds.file_meta = meta if meta is not None else FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = guess
    return guess, [f"the file does not name its transfer syntax; read as {guess.name}"]


def _shape(ds: Dataset) -> tuple[int, ...]:
    rows, columns = int(ds.Rows), int(ds.Columns)
    frames, samples = int(ds.get("NumberOfFrames") or 1), int(ds.get("SamplesPerPixel") or 1)
    if frames < 1 or samples not in (1, 3):
        raise UnreadableFile(
            f"{frames} frames of {samples} samples a pixel",
            code="malformed",
            expected="at least 1 frame of 1 or 3 samples",
        )
    return (frames, rows, columns, 3) if samples == 3 else (frames, rows, columns)


def _check_native_length(ds: Dataset, keyword: str, shape: tuple[int, ...]) -> list[str]:
    bits = math.prod(shape) * int(ds.BitsAllocated)
    if ds.get("PhotometricInterpretation") == "YBR_FULL_422":
        bits = bits * 2 // 3
    want, have = -(-bits // 8), len(ds[keyword].value or b"")
    if have < want:
        raise UnreadableFile(
            f"{have:,} bytes of pixels",
            code="truncated",
            expected=f"{want:,} by the header",
            do="copy or export it again",
        )
    return [f"{have - want:,} bytes after the last pixel were ignored"] if have > want + 1 else []


def _decoded(ds: Dataset, syntax: uid.UID) -> np.ndarray:
    """Decode with the one plugin that ``DECODERS`` names; a decoder's complaint is a refusal."""
    try:
        if DECODERS.get(syntax) == "gdcm":
            return decode_apart(ds, syntax, "gdcm")
        values, _ = get_decoder(syntax).as_array(ds, decoding_plugin=DECODERS.get(syntax, ""))
    except (
        RuntimeError,
        ValueError,
        NotImplementedError,
        EOFError,
        TypeError,
        AttributeError,
        KeyError,
        IndexError,
    ) as error:
        said = str(error).lower()
        if "12-bit precision" in said:
            raise UnreadableFile(
                "pixels encoded as JPEG Extended with 12 bits, which no decoder here reads exactly",
                code="unsupported-transfer-syntax",
                expected="uncompressed, RLE, JPEG, JPEG-LS or JPEG 2000",
                do="export the study uncompressed",
            ) from error
        short = any(word in said for word in ("less than", "truncated", "shorter", "end of file", "not enough"))
        code = "truncated" if short else "malformed"
        came = "compressed pixels that end too early" if short else "pixels that cannot be decoded as the header says"
        raise UnreadableFile(came, code=code, do="copy or export it again") from error
    return values
