"""Compressed pixels are decoded in a process of their own: a damaged stream can kill the C++ decoder, and then only that.

The parent sends a small data set (pickled; the child trusts it), the child answers with plain numbers (never pickled: it
has handled foreign bytes, so the parent trusts it with nothing but a dtype, a length and bytes).
"""

from __future__ import annotations

import atexit
import io
import os
import pickle
import select
import struct
import subprocess
import sys
import threading
import warnings

import numpy as np
from pydicom import uid
from pydicom.dataset import Dataset

SECONDS = 120
"""A decoder that has not answered by then is stopped."""
MEMORY = 8 << 30
"""Address space of the decoding process, in bytes."""

_SENT = (
    "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration",
    "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelData", "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
)  # fmt: skip
_ANSWER = struct.Struct("<4sQ")  # dtype or b"fail", then the length of what follows
_DTYPES = (b"|u1\0", b"|i1\0", b"<u2\0", b"<i2\0", b"<u4\0", b"<i4\0")


class DecoderDied(RuntimeError):
    """The decoding process crashed, ran out of memory or did not answer in time."""


class _Helper:
    """The decoding process of this process; started at the first need, and again after a death."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "overread.formats.decoder"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # the codecs write there, by their own hand
        )

    def ask(self, question: bytes) -> tuple[bytes, bytes]:
        try:
            self.process.stdin.write(struct.pack("<Q", len(question)) + question)
            self.process.stdin.flush()
            kind, size = _ANSWER.unpack(self._read(_ANSWER.size))
            return kind, self._read(size)
        except (OSError, struct.error) as error:
            raise DecoderDied("the decoder died") from error

    def _read(self, size: int) -> bytes:
        stream = self.process.stdout
        parts = []
        while size > 0:
            if not select.select([stream], [], [], SECONDS)[0]:
                raise DecoderDied("the decoder did not answer in time")
            part = os.read(stream.fileno(), min(size, 1 << 20))
            if not part:
                raise DecoderDied("the decoder died")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def close(self) -> None:
        if self.owner == os.getpid():
            self.process.kill()
            self.process.communicate()


_lock = threading.Lock()
_helpers: list[_Helper] = []  # the last is ours; earlier ones may be a parent's, inherited by fork and left alone


@atexit.register
def _close() -> None:
    while _helpers:
        _helpers.pop().close()


def decode_apart(ds: Dataset, syntax: uid.UID, plugin: str) -> np.ndarray:
    """Decode a data set's compressed pixels with the named plugin, in another process.

    Parameters
    ----------
    ds : Dataset
        With PixelData and the Image Pixel module.
    syntax : UID
        Its transfer syntax.
    plugin : str
        pydicom's name of the decoder.

    Returns
    -------
    ndarray
        As ``pydicom.pixels.Decoder.as_array`` returns it.

    Raises
    ------
    RuntimeError
        With the decoder's own words (for us, never for the user).
    DecoderDied
        Where it crashed, ran out of memory or took too long; the next call gets a new process.
    """
    small = Dataset()
    for keyword in _SENT:
        if keyword in ds:
            small[keyword] = ds[keyword]
    question = pickle.dumps((small, str(syntax), plugin), protocol=5)
    with _lock:
        try:
            kind, answer = _ask(question)
        except DecoderDied:  # it may have died of something else, a while ago; a stream that kills does so twice
            kind, answer = _ask(question)
    if kind not in _DTYPES:
        raise RuntimeError(answer.decode("utf-8", "replace"))
    return np.frombuffer(answer, kind.rstrip(b"\0").decode())


def _ask(question: bytes) -> tuple[bytes, bytes]:
    if not _helpers or _helpers[-1].owner != os.getpid():
        _helpers.append(_Helper())
    try:
        return _helpers[-1].ask(question)
    except DecoderDied:
        _helpers.pop().close()
        raise


def _serve() -> None:
    """The child: read a question, answer it, until the parent closes the pipe or is gone."""
    import pydicom.pixels

    try:
        import resource
    except ImportError:  # not on Windows; there the time limit alone guards
        pass
    else:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("ignore")
    source, out = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a codec prints must not look like an answer
    while head := source.read(8):
        ds, syntax, plugin = pickle.load(io.BytesIO(source.read(struct.unpack("<Q", head)[0])))
        ds.file_meta = pydicom.dataset.FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = syntax
        try:
            values, _ = pydicom.pixels.get_decoder(uid.UID(syntax)).as_array(ds, decoding_plugin=plugin)
            kind = values.dtype.newbyteorder("<").str.encode().ljust(4, b"\0")
            body = np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<"), copy=False).tobytes()
        except Exception as error:
            kind, body = b"fail", str(error).encode()
        out.write(_ANSWER.pack(kind, len(body)) + body)
        out.flush()


if __name__ == "__main__":
    _serve()
