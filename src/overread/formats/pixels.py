"""The pixels of one DICOM object: checked against its header, decoded by a named decoder, in stored values."""

from __future__ import annotations

import functools
import math

import numpy as np
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import get_decoder

from overread.domain import noted
from overread.errors import UnreadableFile
from overread.formats.codecs import jpeg, plain_jpeg, rle
from overread.formats.colours import palette_to_rgb, ybr_to_rgb
from overread.formats.decoder import decode_apart
from overread.formats.fragments import frames
from overread.formats.limits import check_bytes, check_size
from overread.formats.planes import FRAME_TYPES
from overread.formats.stored import Header, stored_bits
from overread.formats.streams import Stream, stream
from overread.formats.syntaxes import DECODERS, KINDS, LOSSLESS

NATIVE = frozenset(
    (
        uid.ImplicitVRLittleEndian,
        uid.ExplicitVRLittleEndian,
        uid.ExplicitVRBigEndian,
        uid.DeflatedExplicitVRLittleEndian,
    )
)

KEYWORDS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")

GREY = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")

_uid = functools.lru_cache(maxsize=64)(uid.UID)  # it is looked at letter by letter each time one is made
_OF_JPEG_2000 = ("YBR_ICT", "YBR_RCT")
_YBR = ("YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_422", "YBR_PARTIAL_420", *_OF_JPEG_2000)


def decode(ds: Header) -> tuple[np.ndarray, list[str]]:
    """Return the stored values of a DICOM object, and notes on what had to be done.

    Palette and YBR colours come back as RGB; unused high bits are masked or sign-extended. No rescale, no window, no
    inversion is applied here.

    Parameters
    ----------
    ds : Dataset or dict
        As ``pydicom.dcmread`` or ``plain.plain`` returns it, with pixel data.

    Returns
    -------
    values : ndarray, (frames, rows, columns) or (frames, rows, columns, 3)
    notes : list of str

    Raises
    ------
    UnreadableFile
        ``no-pixels``, ``too-small``, ``too-large``, ``truncated``, ``unsupported-transfer-syntax``,
        ``unsupported-format``, ``malformed``.

    References
    ----------
    DICOM PS3.3 C.7.6.3 (Image Pixel), PS3.5 8 and Annex A (encodings).
    """
    present = [k for k in KEYWORDS if k in ds]
    if not present:
        raise UnreadableFile("a DICOM object without pixels", code="no-pixels", expected="an image", do="leave it out")
    syntax, notes = transfer_syntax(ds) if isinstance(ds, Dataset) else (_uid(ds["TransferSyntaxUID"]), [])
    shape = _shape(ds)
    check_size(*shape[1:3])
    check_bytes(math.prod(shape) * max(2, int(ds.get("BitsAllocated")) // 8))
    _check_photometric(ds, shape)
    if syntax in NATIVE:
        notes += _check_native_length(ds, present[0], shape)
        values, colour, told = _native(ds, syntax, present[0], shape)
    elif syntax == uid.RLELossless:
        values, colour, told = _rle(ds, shape)
    elif syntax in DECODERS:
        values, colour, told = _streams(ds, syntax, shape)
    else:
        raise _unsupported(syntax)
    _check_presentation(ds, values)
    return _as_rgb(ds, values, colour, notes + told)


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
    return guess, [noted("no-transfer-syntax", f"the file does not name its transfer syntax; read as {guess.name}")]


def _unsupported(syntax: uid.UID) -> UnreadableFile:
    known = not syntax.is_private and syntax.name != str(syntax)
    return UnreadableFile(
        f"pixels encoded as {syntax.name if known else 'a transfer syntax not in the Standard'}",
        code="unsupported-transfer-syntax",
        expected="uncompressed, RLE, JPEG, JPEG-LS, JPEG 2000 or HTJ2K",
        do="export the study uncompressed",
    )


def _shape(ds: Header) -> tuple[int, ...]:
    missing = [k for k in ("Rows", "Columns", "BitsAllocated") if not ds.get(k)]
    if missing:
        raise UnreadableFile(
            f"pixels without {' and '.join(missing)}", code="malformed", expected="a number there", do="export it again"
        )
    rows, columns = int(ds.get("Rows")), int(ds.get("Columns"))
    count, samples = int(ds.get("NumberOfFrames") or 1), int(ds.get("SamplesPerPixel") or 1)
    if count < 1 or samples not in (1, 3):
        raise UnreadableFile(
            f"{count} frames of {samples} samples a pixel",
            code="malformed",
            expected="at least 1 frame of 1 or 3 samples",
        )
    return (count, rows, columns, 3) if samples == 3 else (count, rows, columns)


def _check_photometric(ds: Header, shape: tuple[int, ...]) -> None:
    said = str(ds.get("PhotometricInterpretation") or "")
    if said in (("RGB", *_YBR) if len(shape) == 4 else GREY):
        return
    known = said in ("RGB", *_YBR, *GREY, "HSV", "ARGB", "CMYK")
    raise UnreadableFile(
        f"pixels of {shape[3] if len(shape) == 4 else 1} samples "
        + (f"with Photometric Interpretation {said}" if known else "without a known Photometric Interpretation"),
        code="unsupported-format" if known else "malformed",
        expected="MONOCHROME1, MONOCHROME2 or PALETTE COLOR with 1 sample, RGB or YBR with 3",
        do="export it again",
    )


def _check_presentation(ds: Header, values: np.ndarray) -> None:
    """Refuse grey pixels of which some are numbers of colours (a Supplemental Palette): as grey values they mean nothing.

    References
    ----------
    DICOM PS3.3 C.8.16.2.1.1.1 (Pixel Presentation), C.7.6.19 (Supplemental Palette Color Lookup Table).
    """
    if "RedPaletteColorLookupTableDescriptor" not in ds or ds.get("PhotometricInterpretation") == "PALETTE COLOR":
        return
    groups = [g for k in ("Shared", "PerFrame") for g in ds.get(f"{k}FunctionalGroupsSequence") or []]
    types = [ds, *(item for group in groups for k in FRAME_TYPES for item in group.get(k) or [])]
    if not any(str(item.get("PixelPresentation") or "") in ("COLOR", "MIXED") for item in types):
        return
    grey = ds.get("LargestMonochromePixelValue")
    first = int(ds.RedPaletteColorLookupTableDescriptor[1])
    grey = int(grey) if grey is not None else first - 1
    coloured = int((values > grey).sum())
    if coloured:
        raise UnreadableFile(
            f"grey pixels of which {coloured:,} of {values.size:,} are numbers of colours in a palette (Pixel Presentation)",
            code="unsupported-format",
            expected="grey values alone, or a colour image",
            do="export the grey images, without their coloured overlay",
        )


# -- uncompressed ------------------------------------------------------------------------------------------------------


def _check_native_length(ds: Header, keyword: str, shape: tuple[int, ...]) -> list[str]:
    bits = math.prod(shape) * int(ds.get("BitsAllocated"))
    if ds.get("PhotometricInterpretation") in ("YBR_FULL_422", "YBR_PARTIAL_422"):
        bits = bits * 2 // 3
    want, have = -(-bits // 8), len(ds.get(keyword) or b"")
    if have < want:
        raise UnreadableFile(
            f"{have:,} bytes of pixels",
            code="truncated",
            expected=f"{want:,} by the header",
            do="copy or export it again",
        )
    over = have - want
    return [noted("trailing-bytes", f"{over:,} bytes after the last pixel were ignored")] if over > 1 else []


def _native(ds: Header, syntax: uid.UID, keyword: str, shape: tuple[int, ...]) -> tuple[np.ndarray, str, list[str]]:
    """Uncompressed pixels: words by NumPy; single bits, chroma for two pixels and floats by pydicom."""
    said, allocated = str(ds.get("PhotometricInterpretation")), int(ds.get("BitsAllocated"))
    big = syntax == uid.ExplicitVRBigEndian
    if keyword != "PixelData" or allocated not in (8, 16, 32) or said.endswith("_422") or (big and allocated == 8):
        partial = said == "YBR_PARTIAL_422"
        if partial:  # laid out as YBR_FULL_422, which pydicom knows
            ds.PhotometricInterpretation = "YBR_FULL_422"
        try:
            values, _ = get_decoder(syntax).as_array(ds, raw=True)
        except (ValueError, TypeError, AttributeError, KeyError, IndexError, NotImplementedError) as error:
            raise UnreadableFile(
                "uncompressed pixels that are not as the header says", code="malformed", do="export it again"
            ) from error
        finally:
            if partial:
                ds.PhotometricInterpretation = said
        return values.reshape(shape), said, []
    raw = np.frombuffer(ds.get("PixelData"), f"{'>' if big else '<'}u{allocated // 8}", math.prod(shape))
    if big:
        raw = raw.astype(raw.dtype.newbyteorder("<"))
    if len(shape) == 4 and ds.get("PlanarConfiguration") == 1:
        raw = np.moveaxis(raw.reshape(shape[0], 3, *shape[1:3]), 1, -1)
    values, notes = stored_bits(raw.reshape(shape), ds, mask=True)
    return values, said, notes


# -- compressed --------------------------------------------------------------------------------------------------------


def _frames(ds: Header, count: int) -> tuple[list[bytes], list[str]]:
    return frames(ds.get("PixelData") or b"", count, extended=bytes(ds.get("ExtendedOffsetTable") or b""))


def _rle(ds: Header, shape: tuple[int, ...]) -> tuple[np.ndarray, str, list[str]]:
    coded, notes = _frames(ds, shape[0])
    size, samples = max(1, int(ds.get("BitsAllocated")) // 8), 3 if len(shape) == 4 else 1
    parts = [rle(frame, pixels=shape[1] * shape[2], samples=samples, size=size) for frame in coded]
    raw = parts[0][None] if len(parts) == 1 else np.stack(parts)
    raw = raw.reshape(shape) if samples == 1 else np.moveaxis(raw.reshape(shape[0], 3, *shape[1:3]), 1, -1)
    values, more = stored_bits(raw, ds, mask=True)
    return values, str(ds.get("PhotometricInterpretation")), notes + more


def _streams(ds: Header, syntax: uid.UID, shape: tuple[int, ...]) -> tuple[np.ndarray, str, list[str]]:
    """JPEG, JPEG-LS and JPEG 2000: the streams say themselves what they are, and have the last word."""
    coded, notes = _frames(ds, shape[0])
    said = _one_kind(coded, shape)
    if said.kind not in KINDS[syntax]:
        notes.append(noted("other-encoding", f"the file says {syntax.name}, its pixels are {said.kind}: read as that"))
    header = str(ds.get("PhotometricInterpretation"))
    _check_fits(ds, said, syntax, header)
    raw_colour = said.kind == "jpeg" and said.samples == 3 and not said.colour and header == "RGB"
    try:
        here = all(plain_jpeg(frame, said) for frame in coded)
        values = (jpeg if here else decode_apart)(coded, said, raw_colour=raw_colour)
    except RuntimeError as error:
        words = str(error).lower()
        short = any(w in words for w in ("truncated", "shorter", "end of", "ends too early", "not enough", "eof"))
        raise UnreadableFile(
            "compressed pixels that end too early" if short else "compressed pixels that cannot be decoded",
            code="truncated" if short else "malformed",
            do="copy or export it again",
        ) from error
    values, more = _samples(values.reshape(shape), ds, said, lossless=syntax in LOSSLESS)
    colour = header if said.samples == 1 else "RGB" if said.kind == "jpeg" else _colour(header, said)
    if said.colour and (said.colour == "rgb") != (header == "RGB") and header not in ("YBR_ICT", "YBR_RCT"):
        more.append(noted("other-colour", f"the header says {header}, the pixels themselves {said.colour.upper()}"))
    return values, colour, notes + more


def _check_fits(ds: Header, said: Stream, syntax: uid.UID, header: str) -> None:
    """Refuse what would come out as other colours: places in a palette that are only near, channels of another depth."""
    if header == "PALETTE COLOR" and (syntax not in LOSSLESS or said.kind in ("jpeg", "jpeg12")):
        raise UnreadableFile(
            f"palette colours in a lossy encoding ({syntax.name})",
            code="malformed",
            expected="a lossless one: neighbours in a palette need not be alike",
            do="export it again, without compression",
        )
    stored = int(ds.get("BitsStored") or ds.get("BitsAllocated"))
    if said.samples == 3 and said.precision != stored:
        raise UnreadableFile(
            f"compressed colours of {said.precision} bits a channel",
            code="malformed",
            expected=f"{stored} by the header",
            do="export it again",
        )


def _one_kind(coded: list[bytes], shape: tuple[int, ...]) -> Stream:
    heads = [stream(frame) for frame in coded]
    said, samples = heads[0], shape[3] if len(shape) == 4 else 1
    if (said.rows, said.columns, said.samples) != (*shape[1:3], samples):
        raise UnreadableFile(
            f"compressed pixels of {said.rows} × {said.columns} × {said.samples}",
            code="malformed",
            expected=f"{shape[1]} × {shape[2]} × {samples} by the header",
            do="export it again",
        )
    others = sum(head != said for head in heads)
    if others:
        raise UnreadableFile(
            f"{others} of {len(heads)} compressed frames that differ from the first in size, depth or kind",
            code="malformed",
            expected="frames of one kind",
            do="export it again",
        )
    return said


def _samples(values: np.ndarray, ds: Header, said: Stream, *, lossless: bool) -> tuple[np.ndarray, list[str]]:
    """Decoded samples as the header's numbers: its sign where the stream has none, its depth where they differ."""
    notes = []
    stored = int(ds.get("BitsStored") or ds.get("BitsAllocated"))
    signed = ds.get("PixelRepresentation") == 1
    if said.precision != stored:
        notes.append(noted("other-depth", f"the header says {stored} bits, the compressed pixels {said.precision}"))
    if said.kind == "jpeg 2000" and said.signed != signed:
        has = ("unsigned", "signed")[said.signed]
        notes.append(noted("other-sign", f"the compressed pixels are {has} by their own sign, not so by the header"))
    if said.signed and signed:
        return values, notes
    if said.signed:  # what the header calls unsigned
        values = values.view(values.dtype.str.replace("i", "u"))
        top = (1 << said.precision) - 1
        return (values & values.dtype.type(top) if said.precision < 8 * values.dtype.itemsize else values), notes
    if signed and said.precision < stored and said.kind != "jpeg 2000" and values.max() >> (said.precision - 1):
        half = 1 << (said.precision - 1)
        raise UnreadableFile(
            f"compressed pixels of {said.precision} bits without a sign, with values up to {values.max():,}",
            code="malformed",
            expected=f"{stored} signed bits as the header says: nobody knows whether {half:,} and more are below zero",
            do="export it again, without compression",
        )
    out, more = stored_bits(values, ds, mask=lossless and said.precision <= stored, precision=said.precision)
    return out, notes + more


def _colour(header: str, said: Stream) -> str:
    """Return what three decoded components are, of a stream whose decoder converts nothing but its own transform."""
    if said.kind == "jpeg 2000":
        return "RGB" if said.colour or header in ("YBR_ICT", "YBR_RCT") else header
    return {"rgb": "RGB", "ybr": "YBR_FULL"}.get(said.colour, header)


def _as_rgb(ds: Header, values: np.ndarray, colour: str, notes: list[str]) -> tuple[np.ndarray, list[str]]:
    """Palettes and luminance with chroma become red, green and blue."""
    if colour == "PALETTE COLOR":
        return palette_to_rgb(values, ds), [*notes, noted("palette", "palette converted to RGB")]
    if (
        values.ndim == 4 and colour in _OF_JPEG_2000
    ):  # decompressed once, and the word was left: no other encoding has it
        said = f"the header says {colour}, which only JPEG 2000 pixels can be: taken as red, green and blue"
        return values, [*notes, noted("other-colour", said)]
    if values.ndim == 4 and colour.startswith("YBR"):
        if values.dtype not in (np.uint8, np.uint16):
            raise UnreadableFile(
                f"YBR colour in {values.dtype.itemsize * 8} bits",
                code="unsupported-format",
                expected="8 or 16 unsigned bits a channel",
                do="export it with 8 bits a channel",
            )
        bits = int(ds.get("BitsStored") or ds.get("BitsAllocated"))
        values = ybr_to_rgb(values, bits=bits, partial=colour.startswith("YBR_PARTIAL"))
        return values, [*notes, noted("to-rgb", f"{colour} converted to RGB")]
    said = str(ds.get("PhotometricInterpretation"))
    if values.ndim == 4 and said != "RGB":
        notes = [*notes, noted("to-rgb", f"{said} converted to RGB")]
    return values, notes
