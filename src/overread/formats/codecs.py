"""One decoder for each kind of compressed frame, by name: bytes in, samples out, no header believed.

RLE, and the JPEG processes of JPEG Lossless, are decoded by Rust code, which cannot write where it should not; JPEG-LS
and JPEG 2000 by C and C++ code, which can. All but RLE and ordinary 8-bit JPEG (``plain_jpeg``) are called in a process
of their own (``decoder``).
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Sequence

import numpy as np

from overread.errors import UnreadableFile
from overread.formats import jpeg12
from overread.formats.streams import Stream


def rle(frame: bytes, *, pixels: int, samples: int, size: int) -> np.ndarray:
    """Return the samples of one RLE frame.

    Parameters
    ----------
    frame : bytes
        64 bytes of segment offsets, then the segments: the most significant bytes of a sample first.
    pixels, samples, size : int
        Rows × Columns, Samples per Pixel, bytes of a sample.

    Returns
    -------
    ndarray of little endian unsigned integers, (samples, pixels)

    Raises
    ------
    UnreadableFile
        ``malformed``, ``truncated``.

    References
    ----------
    DICOM PS3.5 annex G.

    Examples
    --------
    >>> head = (1).to_bytes(4, "little") + (64).to_bytes(4, "little") + bytes(56)
    >>> rle(head + bytes([0xFD, 7]), pixels=4, samples=1, size=1).tolist()
    [[7, 7, 7, 7]]
    """
    from rle.rle import decode_frame

    head = np.frombuffer(frame[:64].ljust(64, b"\0"), "<u4").tolist()
    count, offsets = head[0], head[1 : 1 + head[0]]
    if len(frame) < 66 or count != samples * size or offsets != sorted(set(offsets)) or offsets[0] != 64:
        raise UnreadableFile(
            f"an RLE frame of {len(frame):,} bytes with {count} segments",
            code="malformed",
            expected=f"{samples * size} segments in order behind a table of 64 bytes",
            do="export it again",
        )
    if offsets[-1] >= len(frame):
        raise UnreadableFile("an RLE frame that ends too early", code="truncated", do="copy or export it again")
    try:
        values = decode_frame(frame, pixels, 8 * size, "<")
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a Rust panic is no Exception; the frame is damaged, this process is not
        short = "end of" in str(error).lower()
        raise UnreadableFile(
            "RLE segments that end too early" if short else "RLE segments of another size than the header says",
            code="truncated" if short else "malformed",
            expected=f"{pixels:,} bytes a segment",
            do="copy or export it again",
        ) from error
    return np.frombuffer(values, f"<u{size}").reshape(samples, pixels)


def decode_frame(frame: bytes, said: Stream, *, raw_colour: bool) -> np.ndarray:
    """Return the samples of one JPEG, JPEG-LS or JPEG 2000 frame. Call it where a crash does no harm.

    Parameters
    ----------
    frame : bytes
    said : Stream
        What ``streams.stream`` found in the frame's head.
    raw_colour : bool
        True where the decoder must not turn YCbCr into RGB, as it would by its own guess.

    Returns
    -------
    ndarray, (rows, columns, samples)
    """
    values = _BY_KIND[said.kind](frame, said, raw_colour)
    return values.reshape(said.rows, said.columns, said.samples)


def plain_jpeg(frame: bytes, said: Stream) -> bool:
    """True for a frame of ordinary 8-bit JPEG, which may be decoded in this process, as every picture file is.

    Sequential, Huffman coded, all in one scan, of at most 16 million samples: the time is bounded by the size. In its
    head nothing but what the picture needs, so that Pillow has nothing else to interpret. And Pillow in its senses: a
    program around us may have told it to take half a picture for a whole one.

    Examples
    --------
    >>> head = bytes.fromhex("ffd8 ffc0000b 08 0010 0010 01 01 11 00")
    >>> from overread.formats.streams import stream
    >>> scan = bytes.fromhex("ffda0008 01 01 00 00 3f 00 ab ffd9")
    >>> plain_jpeg(head + scan, stream(head + scan)), plain_jpeg(head + scan + scan, stream(head + scan))
    (True, False)
    """
    from PIL import ImageFile

    if said.kind != "jpeg" or said.rows * said.columns * said.samples > 1 << 24 or ImageFile.LOAD_TRUNCATED_IMAGES:
        return False
    at, sizes = 2, 0
    while frame[at : at + 1] == b"\xff" and len(frame) > at + 4:
        mark = frame[at + 1]
        if mark == 0xDA:
            return sizes == 1 and frame.rfind(b"\xff\xda") == at and frame[at + 4] == said.samples
        if mark not in _PICTURE:
            return False
        sizes += mark in (0xC0, 0xC1)
        at += 2 + int.from_bytes(frame[at + 2 : at + 4], "big")
    return False


def jpeg(frames: Sequence[bytes], said: Stream, *, raw_colour: bool) -> np.ndarray:
    """Decode frames that are all ``plain_jpeg``, in this process.

    Returns
    -------
    ndarray, (frames, rows, columns, samples)

    Raises
    ------
    RuntimeError
        With Pillow's words, as the decoding process would.
    """
    try:
        parts = [decode_frame(frame, said, raw_colour=raw_colour) for frame in frames]
    except (OSError, SyntaxError, ValueError, EOFError, KeyError, IndexError, TypeError, struct.error) as error:
        raise RuntimeError(str(error)) from error
    return parts[0][None] if len(parts) == 1 else np.stack(parts)


_PICTURE = (0xC0, 0xC1, 0xC4, 0xDB, 0xDD, 0xE0, 0xEE)  # sizes, codes, quantisers, restarts, JFIF's and Adobe's marks


def _jpeg(frame: bytes, said: Stream, raw_colour: bool) -> np.ndarray:
    from PIL import Image
    from simplejpeg import decode_jpeg

    if not raw_colour and said.samples in (1, 3):
        try:
            return decode_jpeg(frame, "GRAY" if said.samples == 1 else "RGB", strict=True)
        except ValueError as error:
            if str(error).startswith(("Corrupt JPEG data", "Premature end")):  # Pillow would take it without a word
                raise
    image = Image.open(io.BytesIO(frame), formats=["JPEG"])  # whatever else there is to say, it has the last word
    if raw_colour:
        image.draft("YCbCr", image.size)
    return np.asarray(image)


def _jpeg12(frame: bytes, said: Stream, raw_colour: bool) -> np.ndarray:
    return jpeg12.decode(frame)


def _jpeg_lossless(frame: bytes, said: Stream, raw_colour: bool) -> np.ndarray:
    from pydicom_jpeg_decoder import decode_jpeg

    values = decode_jpeg(frame).pixel_data
    return np.frombuffer(values, "<u1" if said.precision == 8 else "<u2")


def _jpeg_ls(frame: bytes, said: Stream, raw_colour: bool) -> np.ndarray:
    from jpeg_ls import decode_buffer

    try:
        values, meta = decode_buffer(frame)
    except (
        RuntimeError
    ):  # some encoders fill up with a byte of zeros before the end mark, which CharLS 2.4.1 will not have
        end = frame.rfind(b"\xff\xd9")
        if end < 1 or frame[end - 1] != 0:
            raise
        values, meta = decode_buffer(frame[: end - 1] + b"\xff\xd9")
    out = np.frombuffer(values, "<u1" if said.precision <= 8 else "<u2")
    by_plane = said.samples > 1 and meta["interleave_mode"] == 0
    return np.moveaxis(out.reshape(said.samples, said.rows, said.columns), 0, -1) if by_plane else out


def _jpeg_2000(frame: bytes, said: Stream, raw_colour: bool) -> np.ndarray:
    from openjpeg import decode_pixel_data

    size = 1 if said.precision <= 8 else 2 if said.precision <= 16 else 4
    return np.frombuffer(decode_pixel_data(frame, version=2), f"<{'i' if said.signed else 'u'}{size}")


_BY_KIND: dict[str, Callable[[bytes, Stream, bool], np.ndarray]] = {
    "jpeg": _jpeg,
    "jpeg12": _jpeg12,
    "jpeg lossless": _jpeg_lossless,
    "jpeg-ls": _jpeg_ls,
    "jpeg 2000": _jpeg_2000,
}
