"""Compressed pixels are decoded in a process of their own: a damaged stream can kill a C++ decoder, and then only that.

The parent sends frames that it has looked at (pickled; the child trusts it), the child answers with plain numbers (never
pickled: it has handled foreign bytes, so the parent trusts it with nothing but bytes, of the number and kind it expects).
"""

from __future__ import annotations

import atexit
import os
import pickle
import select
import struct
import subprocess
import sys
import threading
import warnings
from collections.abc import Sequence

import numpy as np

from overread.formats.codecs import decode_frame
from overread.formats.streams import Stream

SECONDS = 120
"""A decoder that has not answered by then is stopped."""
MEMORY = 8 << 30
"""Address space of the decoding process, in bytes."""
BATCH = 64 << 20
"""Decoded bytes that are asked for at a time."""

_ANSWER = struct.Struct("<4sQ")  # dtype or b"fail", then the length of what follows
_LONGEST_COMPLAINT = 1 << 16
_DTYPES = (b"|u1\0", b"|i1\0", b"<u2\0", b"<i2\0", b"<u4\0", b"<i4\0")
_F_SETPIPE_SZ = 1031  # fcntl of Linux: room for two CT slices, so that neither side waits for the other in mid-picture


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
            bufsize=0,
        )
        for pipe in (self.process.stdin, self.process.stdout):
            _widen(pipe.fileno())

    def ask(self, question: bytes, expected: int) -> tuple[bytes, bytearray]:
        """Send a question; return the kind of the answer and its bytes, of which there are ``expected`` for each byte of a value."""
        try:
            self._write(struct.pack("<Q", len(question)) + question)
            kind, size = _ANSWER.unpack(self._read(_ANSWER.size))
            allowed = expected * int(kind[2:3]) if kind in _DTYPES else _LONGEST_COMPLAINT
            if size > allowed:
                raise DecoderDied("the decoder answered with more than there can be")
            return kind, self._read(size)
        except (OSError, struct.error) as error:
            raise DecoderDied("the decoder died") from error

    def _write(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            left = left[os.write(self.process.stdin.fileno(), left) :]

    def _read(self, size: int) -> bytearray:
        stream, out, have = self.process.stdout.fileno(), bytearray(size), 0
        view = memoryview(out)
        while have < size:
            if not select.select([stream], [], [], SECONDS)[0]:
                raise DecoderDied("the decoder did not answer in time")
            part = os.readv(stream, [view[have:]])
            if not part:
                raise DecoderDied("the decoder died")
            have += part
        return out

    def close(self) -> None:
        if self.owner == os.getpid():
            self.process.kill()
            self.process.communicate()


def _widen(pipe: int) -> None:
    if sys.platform == "linux":
        import fcntl

        try:
            fcntl.fcntl(pipe, _F_SETPIPE_SZ, 1 << 20)
        except OSError:  # the user's pipes have no more room; slower, not wrong
            return


_lock = threading.Lock()
_helpers: list[_Helper] = []  # the last is ours; earlier ones may be a parent's, inherited by fork and left alone


@atexit.register
def _close() -> None:
    while _helpers:
        _helpers.pop().close()


def decode_apart(frames: Sequence[bytes], said: Stream, *, raw_colour: bool = False) -> np.ndarray:
    """Decode compressed frames of one kind and size in another process.

    Parameters
    ----------
    frames : sequence of bytes
    said : Stream
        What the head of each of them says.
    raw_colour : bool
        See ``codecs.decode_frame``.

    Returns
    -------
    ndarray, (frames, rows, columns, samples)

    Raises
    ------
    RuntimeError
        With the decoder's own words (for us, never for the user).
    DecoderDied
        Where it crashed, ran out of memory or took too long; the next call gets a new process.
    """
    pixels = said.rows * said.columns * said.samples
    step = max(1, BATCH // (4 * pixels))
    parts = [_batch(frames[i : i + step], said, raw_colour, pixels) for i in range(0, len(frames), step)]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _batch(frames: Sequence[bytes], said: Stream, raw_colour: bool, pixels: int) -> np.ndarray:
    question = pickle.dumps((list(frames), said, raw_colour), protocol=5)
    expected = pixels * len(frames)
    with _lock:
        try:
            kind, answer = _ask(question, expected)
        except DecoderDied:  # it may have died of something else, a while ago; a stream that kills does so twice
            kind, answer = _ask(question, expected)
    if kind not in _DTYPES:
        raise RuntimeError(answer.decode("utf-8", "replace"))
    values = np.frombuffer(answer, kind.rstrip(b"\0").decode())
    if values.size != expected:
        raise RuntimeError(f"{values.size:,} values, expected {expected:,}")
    return values.reshape(len(frames), said.rows, said.columns, said.samples)


def _ask(question: bytes, expected: int) -> tuple[bytes, bytearray]:
    if not _helpers or _helpers[-1].owner != os.getpid():
        _helpers.append(_Helper())
    try:
        return _helpers[-1].ask(question, expected)
    except DecoderDied:
        _helpers.pop().close()
        raise


def _serve() -> None:
    """The child: read a question, answer it, until the parent closes the pipe or is gone."""
    try:
        import resource
    except ImportError:  # not on Windows; there the time limit alone guards
        pass
    else:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("ignore")
    source, out = sys.stdin.buffer, os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what a codec prints must not look like an answer
    while head := source.read(8):
        kind, parts = _answer(source.read(struct.unpack("<Q", head)[0]))
        _say(out, _ANSWER.pack(kind, sum(p.nbytes for p in parts)), *parts)


def _answer(question: bytes) -> tuple[bytes, list[memoryview]]:
    frames, said, raw_colour = pickle.loads(question)
    try:
        values = [np.ascontiguousarray(decode_frame(frame, said, raw_colour=raw_colour)) for frame in frames]
        if len({v.dtype for v in values}) > 1:
            raise ValueError("frames of several depths")
        return values[0].dtype.str.encode().ljust(4, b"\0"), [memoryview(v).cast("B") for v in values]
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a Rust panic is no Exception
        return b"fail", [memoryview(str(error).encode()[:_LONGEST_COMPLAINT])]


def _say(out, *parts: bytes | memoryview) -> None:
    for part in parts:
        left = memoryview(part)
        while left:
            left = left[out.write(left) :]


if __name__ == "__main__":
    _serve()
