"""The JPEG library that comes with Pillow, asked directly: it has lossless JPEG, which Pillow itself has not.

Only the decoding process may call it: at an error of its own the library ends the process. It is asked first, as it is
quick, and believed where it had nothing to remark; what it remarks on is decoded by another, which has the last word
(``codecs``). Where Pillow brings no such library (Windows, some distributions) that other one does everything.

It has 12-bit JPEG, too, and is not asked for it: there it passes over coefficients beyond the end of a block without a
word, and one damaged stream in ten would be read that is refused now (decision 7).

References
----------
libjpeg-turbo 3, ``libjpeg.txt`` and ``jpeglib.h`` (ABI 6.2, which its file name promises).
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from itertools import repeat
from pathlib import Path

import numpy as np

from overread.formats.streams import Stream

_ABI = 62


class _Errors(ctypes.Structure):
    """``jpeg_error_mgr``."""

    _fields_ = (
        ("error_exit", ctypes.c_void_p), ("emit_message", ctypes.c_void_p), ("output_message", ctypes.c_void_p),
        ("format_message", ctypes.c_void_p), ("reset", ctypes.c_void_p), ("code", ctypes.c_int),
        ("words", ctypes.c_char * 80), ("trace_level", ctypes.c_int), ("warnings", ctypes.c_long),
        ("table", ctypes.c_void_p), ("last", ctypes.c_int), ("more", ctypes.c_void_p), ("from_", ctypes.c_int),
        ("to", ctypes.c_int),
    )  # fmt: skip


class _Decoder(ctypes.Structure):
    """``jpeg_decompress_struct``; the library refuses to work with one of another size."""

    _fields_ = (
        ("errors", ctypes.c_void_p), ("memory", ctypes.c_void_p), ("progress", ctypes.c_void_p),
        ("client", ctypes.c_void_p), ("is_decompressor", ctypes.c_int), ("state", ctypes.c_int),
        ("source", ctypes.c_void_p), ("columns", ctypes.c_uint), ("rows", ctypes.c_uint), ("samples", ctypes.c_int),
        ("stored_colour", ctypes.c_int), ("wanted_colour", ctypes.c_int), ("scale", ctypes.c_uint * 2),
        ("gamma", ctypes.c_double), ("choices", ctypes.c_int * 12), ("output", ctypes.c_uint * 2),
        ("output_parts", ctypes.c_int * 4), ("colours", ctypes.c_void_p), ("row", ctypes.c_uint),
        ("scan", ctypes.c_int), ("input_row", ctypes.c_uint), ("output_scan", ctypes.c_int),
        ("output_row", ctypes.c_uint), ("known_bits", ctypes.c_void_p), ("quantisers", ctypes.c_void_p * 4),
        ("codes", ctypes.c_void_p * 8), ("precision", ctypes.c_int), ("components", ctypes.c_void_p),
        ("progressive", ctypes.c_int), ("arithmetic", ctypes.c_int), ("conditioning", ctypes.c_uint8 * 48),
        ("restart", ctypes.c_uint), ("jfif", ctypes.c_int), ("version", ctypes.c_uint8 * 3),
        ("density", ctypes.c_uint16 * 2), ("adobe", ctypes.c_int), ("transform", ctypes.c_uint8),
        ("sited", ctypes.c_int), ("markers", ctypes.c_void_p), ("factors", ctypes.c_int * 2), ("size", ctypes.c_int),
        ("block_rows", ctypes.c_uint), ("limit", ctypes.c_void_p), ("in_scan", ctypes.c_int),
        ("scanned", ctypes.c_void_p * 4), ("units", ctypes.c_uint * 2), ("blocks", ctypes.c_int * 11),
        ("spectrum", ctypes.c_int * 4), ("unread", ctypes.c_int), ("modules", ctypes.c_void_p * 11),
    )  # fmt: skip


def loaded(said: Stream) -> Library | None:
    """Return the library where it is there, and has such frames; to be used where a death of the process does no harm."""
    return _library() if said.kind == "jpeg lossless" and 8 <= said.precision <= 16 else None


def dtype(said: Stream) -> np.dtype:
    """Return the type of the samples that it gives."""
    return np.dtype("u1" if said.precision == 8 else "u2")


@cache
def _library() -> Library | None:
    """Return Pillow's own copy of libjpeg-turbo, where it brings one that can do this."""
    import PIL

    home = Path(PIL.__file__).parent
    for path in (*home.parent.glob("pillow.libs/libjpeg-*.so.62.*"), *home.glob(".dylibs/libjpeg.62.*dylib")):
        try:
            return Library(path)
        except (OSError, AttributeError):  # it cannot be loaded, or is older than these processes
            continue
    return None


class Library:
    """The library, and one decoder of it that is used again and again."""

    def __init__(self, path: Path) -> None:
        self.call = ctypes.PyDLL(str(path))  # the process has one thread: nobody waits for the lock
        self.errors, self.decoder = _Errors(), _Decoder()
        self.address = ctypes.addressof(self.decoder)
        self.reads = {8: self.call.jpeg_read_scanlines, 12: self.call.jpeg12_read_scanlines}
        self.reads[16] = self.call.jpeg16_read_scanlines
        for read in self.reads.values():  # called for each row
            read.argtypes, read.restype = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint), ctypes.c_uint
        self.call.jpeg_mem_src.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_ulong)
        for name in ("jpeg_read_header", "jpeg_start_decompress", "jpeg_finish_decompress", "jpeg_abort_decompress"):
            getattr(self.call, name).argtypes = (ctypes.c_void_p, ctypes.c_int)[: 1 + (name == "jpeg_read_header")]
        self.call.jpeg_std_error(ctypes.byref(self.errors))
        self.errors.error_exit = ctypes.cast(ctypes.CDLL(None)._exit, ctypes.c_void_p).value  # it must not return
        self.decoder.errors = ctypes.addressof(self.errors)
        self.call.jpeg_CreateDecompress(ctypes.byref(self.decoder), _ABI, ctypes.c_size_t(ctypes.sizeof(_Decoder)))

    def decode(self, frame: int, length: int, said: Stream, out: np.ndarray) -> bool:
        """Decode one sequential frame; False where there was anything to remark: data that end early, above all.

        Parameters
        ----------
        frame, length : int
            Address of the frame, and how many bytes it has.
        said : Stream
        out : ndarray, (rows, columns, samples)
            Of the type that :func:`dtype` tells; filled.
        """
        self.call.jpeg_mem_src(self.address, frame, length)
        try:
            if self.call.jpeg_read_header(self.address, 1) != 1 or not self._is_plain(said):
                return False
            self.decoder.wanted_colour = self.decoder.stored_colour
            self.call.jpeg_start_decompress(self.address)
            self.errors.warnings = 0  # those of the head are of no account: the scan itself is still to come
            depth = 8 if said.precision == 8 else 12 if said.precision <= 12 else 16
            # going on to the end of the stream, for there it tells of bytes that were left over
            return self._read(self.reads[depth], out) and self._finish() and not self.errors.warnings
        finally:
            self.call.jpeg_abort_decompress(self.address)

    def _read(self, read: Callable[[int, int, int], int], out: np.ndarray) -> bool:
        """Fill the rows of an array, one after the other."""
        rows = out.ctypes.data + np.arange(len(out), dtype=np.uintp) * out.strides[0]
        at = range(rows.ctypes.data, rows.ctypes.data + rows.nbytes, rows.itemsize)
        return sum(map(read, repeat(self.address), at, repeat(1))) == len(out)

    def _finish(self) -> bool:
        """Go on to the end of the stream."""
        return self.call.jpeg_finish_decompress(self.address) == 1

    def _is_plain(self, said: Stream) -> bool:
        """True for what was said before, sequential, in one scan."""
        d = self.decoder
        same = (d.rows, d.columns, d.samples, d.precision) == (said.rows, said.columns, said.samples, said.precision)
        return same and not d.progressive and not d.arithmetic and d.in_scan == d.samples
