"""Compressed pixels are decoded in a process of their own: a damaged stream can kill a C++ decoder, and then only that.

Both processes look at one piece of memory, the arena: the parent lays compressed frames there, the child its answer
behind them, and what goes through the pipes is a few numbers. The child has handled foreign bytes, so the parent
trusts it with nothing: it reads as many numbers as there must be, from where it said itself, and copies them once.
"""

from __future__ import annotations

import atexit
import ctypes
import math
import mmap
import os
import select
import struct
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterable, Sequence

import numpy as np

from overread.formats import libjpeg
from overread.formats.codecs import decode_frame
from overread.formats.streams import Stream

SECONDS = 120
"""A decoder that has not answered by then is stopped."""
MEMORY = 4 << 30
"""Address space of the decoding process, in bytes."""
BATCH = 16 << 20
"""Decoded bytes (of four for each value) that are asked for at a time."""

_QUESTION = struct.Struct(
    "<16sIIIB???I"
)  # kind, rows, columns, samples, precision, signed, raw colour, careful, frames
_ANSWER = struct.Struct("<4sI")  # type of the values, or b"fail"; then how many values, or letters of a complaint
_LONGEST_COMPLAINT = 1 << 16
_DTYPES = (b"|u1\0", b"|i1\0", b"<u2\0", b"<i2\0", b"<u4\0", b"<i4\0")
_SMALLEST = 16 << 20
_KEPT = 32 << 20  # bytes of an arena that may stay filled between questions
_ENVIRONMENT = {  # glibc's: what a decoder gives back is kept for the next frame, not fetched anew page by page
    "MALLOC_TRIM_THRESHOLD_": str(64 << 20),
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
}


class DecoderDied(RuntimeError):
    """The decoding process crashed, ran out of memory or did not answer in time."""


class _Helper:
    """The decoding process of this process; started at the first need, and again after a death.

    Parameters
    ----------
    size : int
        Bytes of its arena; they cost memory only where something was written.
    """

    def __init__(self, size: int) -> None:
        self.owner = os.getpid()
        handle = _memory(size)
        try:
            self.arena = mmap.mmap(handle, size)
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "overread.formats.decoder", str(handle), str(size)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # the codecs write there, by their own hand
                bufsize=0,
                pass_fds=(handle,),
                env=_ENVIRONMENT | os.environ,
            )
        finally:
            os.close(handle)
        self.answered = select.poll()
        self.answered.register(self.process.stdout.fileno(), select.POLLIN)

    def ask(self, question: bytes, frames: Sequence[bytes], expected: int) -> np.ndarray | str:
        """Return the ``expected`` values of the frames, or the decoder's complaint."""
        begin = _lay(self.arena, frames)
        try:
            os.write(self.process.stdin.fileno(), question)
            if not self.answered.poll(SECONDS * 1000):
                raise DecoderDied("the decoder did not answer in time")
            kind, size = _ANSWER.unpack(os.read(self.process.stdout.fileno(), _ANSWER.size))
        except (OSError, struct.error) as error:
            raise DecoderDied("the decoder died") from error
        if kind == b"fail" and size <= _LONGEST_COMPLAINT:
            return self.arena[begin : begin + size].decode("utf-8", "replace")
        if kind not in _DTYPES or size != expected:
            raise DecoderDied("the decoder answered with something else than it was asked for")
        values = np.frombuffer(self.arena, kind.rstrip(b"\0").decode(), expected, begin).copy()
        if begin + values.nbytes > _KEPT and hasattr(mmap, "MADV_REMOVE"):
            self.arena.madvise(mmap.MADV_REMOVE)
        return values

    def close(self) -> None:
        if self.owner == os.getpid():
            self.process.kill()
            self.process.communicate()


def _memory(size: int) -> int:
    """Return a handle of fresh memory that two processes can share, and that neither can take from under the other."""
    if not hasattr(os, "memfd_create"):  # beyond Linux
        with tempfile.TemporaryFile() as file:
            file.truncate(size)
            return os.dup(file.fileno())
    import fcntl

    handle = os.memfd_create("overread", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(handle, size)
    # who shrinks shared memory kills whoever looks at it next
    fcntl.fcntl(handle, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    return handle


# -- the arena: the length of each frame (8 bytes), the frames, the answer -----------------------------------------------


def _lay(arena: mmap.mmap, frames: Sequence[bytes]) -> int:
    """Lay frames into the arena; return where the answer begins."""
    at = 8 * len(frames)
    arena[:at] = struct.pack(f"<{len(frames)}Q", *map(len, frames))
    for frame in frames:
        arena[at : at + len(frame)] = frame
        at += len(frame)
    return _begin(map(len, frames), len(frames))


def _begin(lengths: Iterable[int], count: int) -> int:
    return -(-(8 * count + sum(lengths)) // 64) * 64


def _need(frames: Sequence[bytes], pixels: int) -> int:
    return _begin(map(len, frames), len(frames)) + max(4 * pixels * len(frames), _LONGEST_COMPLAINT)


# -- the parent ----------------------------------------------------------------------------------------------------------

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
    if len({part.dtype for part in parts}) > 1:
        raise RuntimeError("frames of several depths")
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _batch(frames: Sequence[bytes], said: Stream, raw_colour: bool, pixels: int) -> np.ndarray:
    told = (said.kind.encode(), said.rows, said.columns, said.samples, said.precision, said.signed, raw_colour)
    expected, need = pixels * len(frames), _need(frames, pixels)
    with _lock:
        try:
            answer = _ask(_QUESTION.pack(*told, False, len(frames)), frames, expected, need)
        except DecoderDied:  # of a quick library's error, or of something else, a while ago; what kills does so twice
            answer = _ask(_QUESTION.pack(*told, True, len(frames)), frames, expected, need)
    if isinstance(answer, str):
        raise RuntimeError(answer)
    return answer.reshape(len(frames), said.rows, said.columns, said.samples)


def _ask(question: bytes, frames: Sequence[bytes], expected: int, need: int) -> np.ndarray | str:
    if _helpers and _helpers[-1].owner == os.getpid() and len(_helpers[-1].arena) < need:
        _helpers.pop().close()
    if not _helpers or _helpers[-1].owner != os.getpid():
        _helpers.append(_Helper(max(_SMALLEST, 1 << (need - 1).bit_length())))
    try:
        return _helpers[-1].ask(question, frames, expected)
    except BaseException:  # also Ctrl-C: the answer to this question must not be taken for that to the next
        _helpers.pop().close()
        raise


# -- the child -----------------------------------------------------------------------------------------------------------


def _serve(handle: int, size: int) -> None:
    """Read a question, answer it, until the parent closes the pipe or is gone."""
    try:
        import resource
    except ImportError:  # there the time limit alone guards
        pass
    else:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("ignore")
    arena, out = mmap.mmap(handle, size), os.dup(1)
    os.dup2(2, 1)  # what a codec prints must not look like an answer
    while head := os.read(0, _QUESTION.size):
        os.write(out, _answer(arena, head))


def _answer(arena: mmap.mmap, head: bytes) -> bytes:
    kind, rows, columns, samples, precision, signed, raw_colour, careful, count = _QUESTION.unpack(head)
    said = Stream(kind.rstrip(b"\0").decode(), rows, columns, samples, precision, signed=signed)
    lengths = struct.unpack_from(f"<{count}Q", arena)
    at, begin, out = 8 * count, _begin(lengths, count), np.empty(0)
    quick = None if careful else libjpeg.loaded(said)
    base = ctypes.addressof(ctypes.c_char.from_buffer(arena)) if quick else 0
    try:
        for i, length in enumerate(lengths):
            if i == 0 and quick:
                out = _laid(arena, libjpeg.dtype(said), begin, (count, rows, columns, samples))
            if not quick or not quick.decode(base + at, length, said, out[i]):
                values = decode_frame(arena[at : at + length], said, raw_colour=raw_colour)
                if i == 0:
                    out = _laid(arena, values.dtype, begin, (count, *values.shape))
                if values.dtype != out.dtype:
                    raise ValueError("frames of several depths")
                out[i] = values
            at += length
        return _ANSWER.pack(out.dtype.str.encode().ljust(4, b"\0"), out.size)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a Rust panic is no Exception
        words = str(error).encode()[:_LONGEST_COMPLAINT]
        arena[begin : begin + len(words)] = words
        return _ANSWER.pack(b"fail", len(words))


def _laid(arena: mmap.mmap, dtype: np.dtype, begin: int, shape: tuple[int, ...]) -> np.ndarray:
    """Return a part of the arena as an array."""
    return np.frombuffer(arena, dtype, math.prod(shape), begin).reshape(shape)


if __name__ == "__main__":
    _serve(int(sys.argv[1]), int(sys.argv[2]))
