"""What a compressed frame says of itself, before any decoder sees it: its kind, size, depth and colour."""

from __future__ import annotations

from dataclasses import dataclass

from overread.errors import UnreadableFile


@dataclass(frozen=True)
class Stream:
    """The head of a JPEG, JPEG-LS or JPEG 2000 stream.

    Parameters
    ----------
    kind : str
        "jpeg" (8 bits), "jpeg12", "jpeg lossless", "jpeg-ls", "jpeg 2000".
    rows, columns, samples, precision : int
    signed : bool
        JPEG 2000 alone can say so.
    colour : str
        What its colours are by its own account: "rgb", "ybr", or "" where it does not say.
    """

    kind: str
    rows: int
    columns: int
    samples: int
    precision: int
    signed: bool = False
    colour: str = ""


def stream(frame: bytes) -> Stream:
    """Read the head of a compressed frame.

    Raises
    ------
    UnreadableFile
        ``malformed``, ``truncated``.

    References
    ----------
    ITU-T T.81 annex B (JPEG), T.87 annex C (JPEG-LS), T.800 annex A (JPEG 2000), T.871 (JFIF); Adobe TN5116 (APP14).

    Examples
    --------
    >>> stream(bytes.fromhex("ffd8 ffc3000b 10 0200 0100 01 01 11 00 ffda"))
    Stream(kind='jpeg lossless', rows=512, columns=256, samples=1, precision=16, signed=False, colour='')
    """
    if frame[:4] == b"\xff\x4f\xff\x51":
        return _jpeg_2000(frame)
    if (
        frame[:12] == b"\0\0\0\x0cjP  \r\n\x87\n" and b"\xff\x4f\xff\x51" in frame[:4096]
    ):  # a JP2 file in place of a stream
        return _jpeg_2000(frame[frame.index(b"\xff\x4f\xff\x51") :])
    if frame[:2] == b"\xff\xd8":
        return _jpeg(frame)
    raise _lost("compressed pixels that begin with no mark of JPEG, JPEG-LS or JPEG 2000")


def _lost(came: str, code: str = "malformed") -> UnreadableFile:
    return UnreadableFile(came, code=code, do="copy or export it again")


_KINDS = {0xC0: "jpeg", 0xC1: "jpeg", 0xC2: "jpeg", 0xC3: "jpeg lossless", 0xF7: "jpeg-ls"}
_FRAMES = {0xF7, *(m for m in range(0xC0, 0xD0) if m not in (0xC4, 0xC8, 0xCC))}


def _jpeg(frame: bytes) -> Stream:
    at, jfif, adobe, hp = 2, False, None, None
    while True:
        while frame[at : at + 2] == b"\xff\xff":
            at += 1
        if len(frame) < at + 4:
            raise _lost("compressed pixels that end before their head does", "truncated")
        mark, length = frame[at + 1], int.from_bytes(frame[at + 2 : at + 4], "big")
        body = frame[at + 4 : at + 2 + length]
        if frame[at] != 0xFF or length < 2:
            raise _lost("a JPEG stream with damaged marks")
        if mark in _FRAMES:
            break
        jfif = jfif or (mark == 0xE0 and body[:5] == b"JFIF\0")
        if mark == 0xEE and body[:5] == b"Adobe" and len(body) >= 12:
            adobe = body[11]
        if mark == 0xE8 and body[:4] == b"mrfx" and len(body) >= 5:
            hp = body[4]
        at += 2 + length
    if mark not in _KINDS or len(body) < 6 + 3 * (body[5] if len(body) > 5 else 1):
        raise _lost("a JPEG stream of a process that DICOM does not have")
    precision, samples = body[0], body[5]
    parts = [body[6 + 3 * i : 9 + 3 * i] for i in range(samples)]
    kind = _KINDS[mark]
    if kind == "jpeg" and precision != 8:
        kind = "jpeg12"
    colour = _colour(parts, jfif, adobe, hp, kind)
    rows, columns = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
    return Stream(kind, rows, columns, samples, precision, colour=colour)


def _colour(parts: list[bytes], jfif: bool, adobe: int | None, hp: int | None, kind: str) -> str:
    """Return what three components are, where the stream says it for certain."""
    if len(parts) != 3:
        return ""
    if kind == "jpeg-ls":
        return "rgb" if hp else ""  # HP's own transforms are of RGB, and undone by the decoder
    if jfif:
        return "ybr"
    if adobe is not None:
        return "rgb" if adobe == 0 else "ybr"
    if bytes(p[0] for p in parts) == b"RGB":
        return "rgb"
    return "ybr" if len({p[1] for p in parts}) > 1 else ""  # thinned chroma


def _jpeg_2000(frame: bytes) -> Stream:
    siz = frame[4:]
    if len(siz) < 42:
        raise _lost("compressed pixels that end before their head does", "truncated")

    def word(at: int) -> int:
        return int.from_bytes(siz[at : at + 4], "big")

    samples = int.from_bytes(siz[36:38], "big")
    parts = [siz[38 + 3 * i : 41 + 3 * i] for i in range(samples)]
    if not parts or any(len(p) < 3 for p in parts) or len({p[0] for p in parts}) > 1:
        raise _lost("a JPEG 2000 stream whose components differ in depth")
    if any(p[1:] != b"\1\1" for p in parts):
        raise _lost("a JPEG 2000 stream whose components differ in size")
    cod = frame.find(b"\xff\x52", 4)
    mixed = samples == 3 and 0 < cod < len(frame) - 9 and frame[cod + 8] == 1
    columns, rows = word(4) - word(12), word(8) - word(16)
    depth = parts[0][0]
    return Stream(
        "jpeg 2000", rows, columns, samples, (depth & 0x7F) + 1, signed=depth > 0x7F, colour="rgb" if mixed else ""
    )
