"""Pillow's own libjpeg, asked directly in the decoding process: the values, and the refusals, are those of the other decoders."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable

import imagecodecs
import numpy as np
import pytest

from overread.errors import UnreadableFile
from overread.formats import decoder, libjpeg
from overread.formats.streams import Stream, stream

pytestmark = pytest.mark.skipif(libjpeg._library() is None, reason="Pillow brings no libjpeg-turbo 3 here")


def picture(bits: int, shape: tuple[int, ...] = (48, 40), seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    grey = (2**bits - 1) * (0.5 + 0.4 * np.sin(y / 5) * np.cos(x / 7)) + rng.normal(0, 2**bits / 64 + 0.6, shape[:2])
    grey = np.clip(grey, 0, 2**bits - 1)
    values = grey if len(shape) == 2 else np.stack([grey, grey[::-1], 2**bits - 1 - grey], -1)
    return values.astype(np.uint8 if bits <= 8 else np.uint16)


def lossless(bits: int, predictor: int, shape: tuple[int, ...] = (48, 40)) -> bytes:
    return imagecodecs.jpeg_encode(picture(bits, shape), lossless=True, predictor=predictor, bitspersample=bits)


FRAMES = {
    **{f"lossless {b} bits, predictor {p}": lossless(b, p) for b in (2, 8, 9, 12, 16) for p in (1, 5, 7)},
    "lossless colour": lossless(8, 1, (48, 40, 3)),
}


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch) -> Callable[..., np.ndarray | str]:
    """Decode a frame with the library asked first, or without it, and tell the complaint where there is one."""
    honest = decoder._ask

    def forced(question: bytes, *rest: object) -> np.ndarray | str:
        told = list(decoder._QUESTION.unpack(question))
        told[7] = True
        return honest(decoder._QUESTION.pack(*told), *rest)

    def decode(frame: bytes, said: Stream, *, careful: bool) -> np.ndarray | str:
        monkeypatch.setattr(decoder, "_ask", forced if careful else honest)
        try:
            return decoder.decode_apart([frame], said)[0]
        except RuntimeError as error:
            return str(error)

    return decode


def in_child(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("name", FRAMES)
def test_the_values_are_those_of_the_other_decoder(ask: Callable, name: str) -> None:
    frame = FRAMES[name]
    said = stream(frame)
    quick, careful = ask(frame, said, careful=False), ask(frame, said, careful=True)
    assert isinstance(quick, np.ndarray) and quick.dtype == careful.dtype
    assert np.array_equal(quick, careful)
    assert np.array_equal(quick.squeeze(), imagecodecs.jpeg_decode(frame))


@pytest.mark.parametrize("name", ["lossless 16 bits, predictor 1", "lossless 8 bits, predictor 7"])
def test_it_is_the_library_that_answers_for_whole_frames(name: str) -> None:
    """Twin: where it had never a word to say, the tests above would prove nothing."""
    frame = FRAMES[name]
    told = in_child(
        "import ctypes, numpy as np\n"
        "from overread.formats import libjpeg\nfrom overread.formats.streams import stream\n"
        f"frame = {frame!r}\nsaid = stream(frame)\n"
        "out = np.zeros((said.rows, said.columns, 1), libjpeg.dtype(said))\n"
        "held = ctypes.create_string_buffer(frame, len(frame))\n"
        "print(libjpeg.loaded(said).decode(ctypes.addressof(held), len(frame), said, out), out.max() > 0)\n"
        "short = len(frame) * 3 // 4\n"
        "print(libjpeg.loaded(said).decode(ctypes.addressof(held), short, said, out))\n"
    )
    assert told.split() == ["True", "True", "False"]


def damaged(frame: bytes, rng: random.Random) -> bytes:
    """Cut at the end, or bytes lost in the middle, or a few bits turned."""
    kind, at = rng.randrange(3), rng.randrange(2, len(frame) - 20)
    if kind == 0:
        return frame[:at]
    if kind == 1:
        return frame[:at] + frame[at + rng.randrange(1, 20) :]
    raw = bytearray(frame)
    for _ in range(rng.randrange(1, 4)):
        raw[rng.randrange(2, len(raw))] ^= 1 << rng.randrange(8)
    return bytes(raw)


def test_what_is_damaged_is_refused_or_read_as_without_it(ask: Callable) -> None:
    rng, frames = random.Random(7), list(FRAMES.values())
    refused = same = 0
    for n in range(300):
        frame = damaged(frames[n % len(frames)], rng)
        try:
            said = stream(frame)
        except UnreadableFile:
            continue
        if said.rows * said.columns * said.samples > 1 << 14 or said.kind != "jpeg lossless" or not said.rows:
            continue
        quick, careful = ask(frame, said, careful=False), ask(frame, said, careful=True)
        assert isinstance(quick, str) == isinstance(careful, str), n
        if isinstance(quick, str):
            refused += 1
        else:
            same += 1
            assert np.array_equal(quick, careful), n
    assert refused > 60 and same > 60


def test_an_error_that_ends_the_process_is_left_to_the_other_decoder(ask: Callable) -> None:
    """A Huffman table with more codes than there can be: the library gives up, and takes the process with it."""
    raw = bytearray(FRAMES["lossless 16 bits, predictor 1"])
    at = raw.index(b"\xff\xc4")
    raw[at + 5 : at + 21] = b"\xff" * 16
    said = stream(bytes(raw))
    whole = FRAMES["lossless 8 bits, predictor 1"]
    ask(whole, stream(whole), careful=False)
    before = decoder._helpers[-1].process.pid
    assert isinstance(ask(bytes(raw), said, careful=False), str)
    assert decoder._helpers[-1].process.pid != before
    assert isinstance(ask(whole, stream(whole), careful=False), np.ndarray)
