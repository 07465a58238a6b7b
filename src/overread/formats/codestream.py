"""Text can hide beside the pixels: in comments of a compressed stream, behind its end, in unused bits. This takes it out.

No pixel value is decoded, changed or re-compressed: segments that carry no image are left out, the rest is copied.
"""

from __future__ import annotations

import struct

import numpy as np
from pydicom import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    ExplicitVRBigEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from overread.errors import IdentityRefused

JPEG = {JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1}
JPEG_LS = {JPEGLSLossless, JPEGLSNearLossless}
JPEG_2000 = {JPEG2000Lossless, JPEG2000, HTJ2K, HTJ2KLossless, HTJ2KLosslessRPCL}


def scrub_pixels(ds: Dataset, syntax: UID) -> bytes:
    """Return the pixel data of an image with nothing in it but pixels.

    Parameters
    ----------
    ds : pydicom.Dataset
        With its pixel description (Rows, Columns, BitsAllocated …) and PixelData; it is not changed.
    syntax : pydicom.uid.UID
        The transfer syntax the pixel data are in, and stay in.

    Returns
    -------
    bytes
        The value of PixelData: native, or encapsulated with one fragment a frame and a fresh offset table.

    Raises
    ------
    IdentityRefused
        When the stream cannot be followed to its end, so that nothing can be said of what it carries.

    References
    ----------
    DICOM PS3.5 sections 8.1.1 and 8.2, annexes A.4 and G; ITU-T T.81 annex B; ITU-T T.87; ITU-T T.800 annex A.
    """
    if not syntax.is_compressed:
        return _native(ds, big_endian=syntax == ExplicitVRBigEndian)
    frames = int(ds.get("NumberOfFrames") or 1)
    try:
        streams = list(generate_frames(ds.PixelData, number_of_frames=frames))
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, struct.error) as e:
        raise _lost("frames") from e
    if len(streams) != frames:
        raise _lost("frames")
    if syntax in JPEG or syntax in JPEG_LS:
        clean = [jpeg(s) for s in streams]
    elif syntax in JPEG_2000:
        clean = [jpeg_2000(s) for s in streams]
    elif syntax == RLELossless:
        plane = int(ds.Rows) * int(ds.Columns)
        clean = [rle(s, plane=plane) for s in streams]
    else:
        raise IdentityRefused(
            "pixels in a compression that overread cannot look into",
            expected="uncompressed, RLE, JPEG, JPEG-LS or JPEG 2000",
            do="convert it first (dcmtk dcmdjpeg or gdcmconv --raw)",
        )
    return encapsulate(clean, has_bot=True)


def _lost(part: str) -> IdentityRefused:
    return IdentityRefused(
        f"a pixel stream whose {part} cannot be followed to the end",
        expected="a whole, standard stream",
        do="export the image again, uncompressed",
    )


def _native(ds: Dataset, *, big_endian: bool) -> bytes:
    """Return uncompressed pixels cut to their length, with every bit that is not part of a pixel value cleared."""
    allocated, stored, high = int(ds.BitsAllocated), int(ds.BitsStored), int(ds.HighBit)
    samples = int(ds.SamplesPerPixel)
    values = int(ds.Rows) * int(ds.Columns) * samples * int(ds.get("NumberOfFrames") or 1)
    if ds.PhotometricInterpretation in ("YBR_FULL_422", "YBR_PARTIAL_422"):
        values = values * 2 // 3
    size = (values * allocated + 7) // 8
    words = big_endian and allocated <= 8 and ds["PixelData"].VR == "OW"  # bytes lie swapped in pairs
    data = _swap(bytes(ds.PixelData)) if words else bytes(ds.PixelData)
    if len(data) < size or allocated not in (1, 8, 16, 32, 64) or not 0 < stored <= high + 1 <= allocated:
        raise IdentityRefused(
            "pixel data that do not fit their description",
            expected="Rows × Columns × samples × frames values, bits within the allocated ones",
            do="export the image again",
        )
    data = data[:size]
    if stored < allocated and allocated > 1:
        data = _used_bits(data, allocated, stored, high, signed=bool(int(ds.PixelRepresentation)), big=big_endian)
    data += b"\0" * (size % 2)
    return _swap(data) if words else data


def _swap(data: bytes) -> bytes:
    return np.frombuffer(data[: len(data) // 2 * 2], "<u2").byteswap().tobytes()


def _used_bits(data: bytes, allocated: int, stored: int, high: int, *, signed: bool, big: bool) -> bytes:
    """Clear the bits outside BitsStored (an overlay may be burned into them); a sign is extended as it should be.

    Examples
    --------
    >>> _used_bits(bytes([0xFF, 0xF0, 0x01, 0x00]), 16, 12, 11, signed=False, big=False).hex()
    'ff000100'
    """
    v = np.frombuffer(data, dtype=f"{'>' if big else '<'}u{allocated // 8}")
    mask = ((1 << stored) - 1) << (high + 1 - stored)
    clean = v & v.dtype.type(mask)
    if signed and high + 1 < allocated:
        above = v.dtype.type(((1 << allocated) - 1) ^ ((1 << (high + 1)) - 1))
        clean = np.where(v & v.dtype.type(1 << high), clean | above, clean).astype(v.dtype)
    return clean.tobytes()


def jpeg(stream: bytes) -> bytes:
    """Return a JPEG or JPEG-LS stream without comments, application data and whatever follows its end.

    Kept of the application segments are the three that a decoder needs for colour, in their exact standard form.

    Examples
    --------
    >>> jpeg(bytes.fromhex("ffd8 fffe0004 4849 ffda000200 ffd9") + b"SMITH").hex()
    'ffd8ffda000200ffd900'
    """
    if stream[:2] != b"\xff\xd8":
        raise _lost("JPEG markers")
    out, at, ls = [b"\xff\xd8"], 2, False
    while True:
        while stream[at : at + 2] == b"\xff\xff":  # fill bytes before a marker
            at += 1
        if len(stream) < at + 2 or stream[at] != 0xFF:
            raise _lost("JPEG markers")
        marker = stream[at + 1]
        if marker == 0xD9:  # end of image: nothing behind it is copied
            whole = b"".join((*out, b"\xff\xd9"))
            return whole + b"\0" * (len(whole) % 2)
        length = int.from_bytes(stream[at + 2 : at + 4], "big")
        if length < 2 or at + 2 + length > len(stream) or marker in (0x00, 0x01, *range(0xD0, 0xD9)):
            raise _lost("JPEG markers")
        segment, at = stream[at : at + 2 + length], at + 2 + length
        ls = ls or marker == 0xF7
        talk = 0xE0 <= marker <= 0xF6 or 0xF9 <= marker <= 0xFE  # application data, extensions, comment
        if not talk or _needed_for_colour(marker, segment[4:]):
            out.append(segment)
        if marker == 0xDA:
            end = _entropy_end(stream, at, ls=ls)
            out.append(stream[at:end])
            at = end


def _needed_for_colour(marker: int, body: bytes) -> bool:
    jfif = marker == 0xE0 and body[:5] == b"JFIF\0" and len(body) == 14 and body[12:] == b"\0\0"  # no thumbnail
    adobe = marker == 0xEE and body[:5] == b"Adobe" and len(body) == 12
    return jfif or adobe or (marker == 0xE8 and body[:4] == b"mrfx" and len(body) == 5)


def _entropy_end(stream: bytes, at: int, *, ls: bool) -> int:
    """Return where the next real marker stands after coded data (stuffed bytes and restarts are data)."""
    while True:
        at = stream.find(b"\xff", at)
        if at < 0 or at + 1 >= len(stream):
            raise _lost("JPEG scan")
        after = stream[at + 1]
        if after == 0xFF:
            at += 1
        elif (after < 0x80 if ls else after == 0) or 0xD0 <= after <= 0xD7:
            at += 2
        else:
            return at


def jpeg_2000(stream: bytes) -> bytes:
    """Return a JPEG 2000 codestream without comments, file wrapping and whatever follows its end.

    Examples
    --------
    >>> jpeg_2000(bytes.fromhex("ff4f ff640005 000141 ff90000a 0000 0000000e 0001 ff93 ffd9") + b"SMITH").hex()
    'ff4fff90000a00000000000e0001ff93ffd9'
    """
    if stream[:2] != b"\xff\x4f":
        raise _lost("JPEG 2000 markers")  # a JP2 file in place of a codestream: boxes may hold anything
    out, at = [b"\xff\x4f"], 2
    while stream[at : at + 2] != b"\xff\xd9":
        if len(stream) < at + 4 or stream[at] != 0xFF:
            raise _lost("JPEG 2000 markers")
        marker, length = stream[at + 1], int.from_bytes(stream[at + 2 : at + 4], "big")
        if marker == 0x90:  # start of tile-part: its own header is checked, its data copied
            part = int.from_bytes(stream[at + 6 : at + 10], "big")
            end = at + part if part else stream.rfind(b"\xff\xd9")
            if length != 10 or not at + 14 <= end <= len(stream) or not _tile_is_plain(stream[at:end]):
                raise _lost("JPEG 2000 tile")
            out.append(stream[at:end])
            at = end
            continue
        if length < 2 or at + 2 + length > len(stream):
            raise _lost("JPEG 2000 markers")
        if marker != 0x64:
            out.append(stream[at : at + 2 + length])
        at += 2 + length
    whole = b"".join((*out, b"\xff\xd9"))
    return whole + b"\0" * (len(whole) % 2)


def _tile_is_plain(part: bytes) -> bool:
    """True when the header of a tile-part ends in start-of-data and holds no comment."""
    at = 12
    while part[at : at + 2] != b"\xff\x93":
        if len(part) < at + 4 or part[at] != 0xFF or part[at + 1] == 0x64:
            return False
        at += 2 + max(2, int.from_bytes(part[at + 2 : at + 4], "big"))
    return True


def rle(stream: bytes, *, plane: int) -> bytes:
    """Return an RLE frame with nothing between and behind its segments.

    Parameters
    ----------
    stream : bytes
        One frame: 64 bytes of segment offsets, then the segments.
    plane : int
        Rows × Columns: the bytes that each segment unpacks to.

    Examples
    --------
    >>> head = (1).to_bytes(4, "little") + (64).to_bytes(4, "little") + bytes(56)
    >>> rle(head + bytes([0xFD, 7]) + b"SMITH!", plane=4)[64:].hex()
    'fd07'
    """
    offsets = [int.from_bytes(stream[i : i + 4], "little") for i in range(0, 64, 4)]
    count = offsets[0]
    if len(stream) < 64 or not 1 <= count <= 15 or any(not 64 <= o < len(stream) for o in offsets[1 : count + 1]):
        raise _lost("RLE segments")
    segments = []
    for start in offsets[1 : count + 1]:
        end = _rle_end(stream, start, plane)
        segments.append(stream[start:end] + b"\0" * ((end - start) % 2))
    starts = np.cumsum([64, *(len(s) for s in segments)])[:-1]
    head = np.zeros(16, "<u4")
    head[0], head[1 : count + 1] = count, starts
    return head.tobytes() + b"".join(segments)


def _rle_end(stream: bytes, at: int, size: int) -> int:
    """Return where a PackBits segment has given ``size`` bytes."""
    made = 0
    while made < size:
        if at >= len(stream):
            raise _lost("RLE segments")
        n = stream[at]
        if n < 128:
            made, at = made + n + 1, at + n + 2
        elif n > 128:
            made, at = made + 257 - n, at + 2
        else:  # 128 says nothing
            at += 1
    if made > size or at > len(stream):
        raise _lost("RLE segments")
    return at
