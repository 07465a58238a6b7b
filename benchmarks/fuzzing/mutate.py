"""From a number to a hostile input: the same number gives the same bytes, on every machine with the same seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from benchmarks.fuzzing.bombs import BOMBS
from benchmarks.fuzzing.lies import LENGTHS, LIES, NUMBERS, PATHS
from benchmarks.fuzzing.seeds import Seed

BOMB_SHARE, NAME_SHARE = 0.02, 0.04
WORDS = (
    b"DICM", b"\x89PNG\r\n\x1a\n", b"IHDR", b"IDAT", b"\xff\xd8\xff\xe0", b"\xff\xc0", b"\xff\xda", b"\xff\xd9", b"\xff\x4f\xff\x51",
    b"II*\0\x08\0\0\0", b"MM\0*", b"GIF89a", b"RIFF\xff\xff\xff\xffWEBPVP8L", b"BM", b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06",
    b"\x1f\x8b\x08\0", b"ustar\x0000", b"\x93NUMPY\x01\0", b"n+1\0", b"n+2\0\r\n\x1a\n", b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0",
    b"\xe0\x7f\x10\0OB\0\0\xff\xff\xff\xff", b"1.2.840.10008.1.2.1.99", b"1.2.840.10008.1.2.2", b"1.2.840.10008.1.2.4.90",
    b"1.2.840.10008.1.2.5", b"\x7fELF", b"MZ", b"#!/bin/sh\n", b"%PDF-1.7", b"<html>", b"\0" * 64, b"\xff" * 64,
)  # fmt: skip
PREAMBLES = (
    b"MZ\x90\0\x03\0\0\0" + bytes(52) + b"\x80\0\0\0", b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\0>\0", b"II*\0\x84\0\0\0", b"MM\0*\0\0\0\x84",
    b"PK\x03\x04\x14\0\0\0", b"PK\x05\x06" + bytes(18), b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0\0\x10JFIF", b"GIF89a", b"BM\xff\xff",
    b"%PDF-1.4\n", b"#!/bin/sh\nrm -rf /\n", b"<script>alert(1)</script>", b"\x1f\x8b\x08", b"RIFF\0\0\0\0WEBP", b"SQLite format 3\0",
)  # fmt: skip
"""What else a DICOM file may pretend to be in its first 128 bytes."""


@dataclass(frozen=True)
class Input:
    """One hostile input.

    Parameters
    ----------
    kind : str
        Of the seed.
    change : str
        What was done to it.
    name : str
        Of the file, as it is to be written.
    raw : bytes
    beside : dict of str to bytes
        Other files of its folder.
    """

    kind: str
    change: str
    name: str
    raw: bytes
    beside: dict[str, bytes] = field(default_factory=dict)


def hostile(number: int, *, seed: int, seeds: Sequence[Seed]) -> Input:
    """Return the hostile input with this number."""
    rng = Random(f"{seed}/{number}")
    if rng.random() < BOMB_SHARE:
        bomb = rng.choice(BOMBS)
        name, raw = bomb(rng, {s.name: s for s in seeds})
        return Input("bomb", bomb.__name__, name, raw)
    kind = rng.choice(_KINDS)
    start = rng.choice([s for s in seeds if s.kind == kind] or seeds)
    raw, said = start.raw, []
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 5))):
        what = "lie" if rng.random() < 0.5 else rng.choice((*GENERIC, "splice"))
        if what == "splice":
            raw = _spliced(rng, raw, rng.choice(seeds).raw)
        else:
            raw = (LIES[start.kind] if what == "lie" else GENERIC[what])(rng, raw)
        said.append(what)
    name = start.name
    if rng.random() < NAME_SHARE:
        name = rng.choice(_NAMES)
        said.append("name")
    return Input(start.kind, "+".join(sorted(set(said))), name, raw, start.beside)


_KINDS = ("dicom",) * 6 + ("real dicom",) * 3 + ("dicomdir", "nifti", "nifti.gz", "png", "png", "jpeg", "tiff", "tiff", "bmp", "gif",
                                                 "webp", "zip", "zip", "tar", "tar", "npz", "csv")  # fmt: skip
_NAMES = (
    "-rf", "a!b.png", "a.zip!x", "a?b.dcm", "line\nbreak.png", "tab\t.dcm", "x" * 255, "\udcff\udcfe.png", "é" * 120 + ".dcm", "\u202egnp.dcm",
    "CON", "…", " ", "%s%n.png", "{0}.png", "';drop table images.png", "$(id).dcm", "*.png", "[a-z].nii", "#.png", "a.npz!train",
)  # fmt: skip
"""Names that a file system allows and a program may stumble on; the surrogates are bytes that are no UTF-8."""


# -- what any bytes can suffer ------------------------------------------------------------------------------------


def _place(rng: Random, raw: bytes) -> int:
    """A place in the file, more often near its beginning, where the headers are."""
    reach = len(raw) if rng.random() < 0.4 else min(len(raw), 700)
    return rng.randrange(reach + 1)


def _flip(rng: Random, raw: bytes) -> bytes:
    out = bytearray(raw)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        if out:
            out[min(_place(rng, raw), len(out) - 1)] ^= 1 << rng.randrange(8)
    return bytes(out)


def _truncate(rng: Random, raw: bytes) -> bytes:
    return raw[: _place(rng, raw) if rng.random() < 0.5 else max(0, len(raw) - rng.choice((1, 2, 8, 100)))]


def _number(rng: Random, raw: bytes) -> bytes:
    at, size, order = _place(rng, raw), rng.choice((1, 2, 4, 8)), rng.choice(("little", "big"))
    value = rng.choice((*LENGTHS, 2**63 - 1, 2**63, 2**64 - 1)) & ((1 << 8 * size) - 1)
    return raw[:at] + value.to_bytes(size, order) + raw[at + size :]


def _word(rng: Random, raw: bytes) -> bytes:
    at = _place(rng, raw)
    word = rng.choice(WORDS) if rng.random() < 0.6 else rng.choice((*PATHS, *NUMBERS)).encode("utf-8", "replace")
    return raw[:at] + word + raw[at + (len(word) if rng.random() < 0.5 else 0) :]


def _block(rng: Random, raw: bytes) -> bytes:
    at, end = sorted((_place(rng, raw), _place(rng, raw)))
    return rng.choice((
        lambda: raw[:at] + raw[end:],
        lambda: raw[:end] + raw[at:end] * rng.choice((1, 1, 3)) + raw[end:],
        lambda: raw[:at] + rng.randbytes(end - at) + raw[end:],
        lambda: raw[:at] + bytes(end - at) + raw[end:],
        lambda: raw + rng.randbytes(rng.choice((1, 100, 2000))),
    ))()  # fmt: skip


def _preamble(rng: Random, raw: bytes) -> bytes:
    """The first 128 bytes as another format's; or an archive glued to the end, where zip readers look first."""
    if raw[128:132] == b"DICM" and rng.random() < 0.8:
        head = rng.choice(PREAMBLES)
        return head.ljust(128, b"\0")[:128] + raw[128:]
    end = b"PK\x05\x06" + bytes(18)
    return rng.choice((lambda: raw + end, lambda: rng.choice(PREAMBLES) + raw, lambda: bytes(128) + b"DICM" + raw))()


def _spliced(rng: Random, raw: bytes, other: bytes) -> bytes:
    at, there = _place(rng, raw), _place(rng, other)
    return raw[:at] + other[there:] if rng.random() < 0.5 else raw[:at] + other[there : there + 500] + raw[at:]


GENERIC: dict[str, Callable[[Random, bytes], bytes]] = {
    "flip": _flip, "truncate": _truncate, "number": _number, "word": _word, "block": _block, "preamble": _preamble,
}  # fmt: skip
