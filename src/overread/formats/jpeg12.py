"""JPEG with 12 bits a sample (Extended, process 4): rare, old, and beyond the JPEG libraries that are small and cared for.

So it is decoded here, sequential, Huffman coded and grey as scanners wrote it, in about a twentieth of a second for
512 × 512: Python finds the coefficients, NumPy turns them into samples. A damaged stream can raise, but not crash.
"""

from __future__ import annotations

import numpy as np

_ZIGZAG = np.array(
    sorted(range(64), key=lambda i: (i // 8 + i % 8, i // 8 if (i // 8 + i % 8) % 2 else -(i // 8)))
)  # where in the block (row × 8 + column) the n-th coefficient of the stream belongs

_HALF = np.array(
    [
        [8192, 11363, 10703, 9633, 8192, 6437, 4433, 2260],
        [8192, 9633, 4433, -2259, -8192, -11362, -10704, -6436],
        [8192, 6437, -4433, -11362, -8192, 2261, 10704, 9633],
        [8192, 2260, -10703, -6436, 8192, 9633, -4433, -11363],
    ],
    float,
)
_COSINES = np.vstack([_HALF, _HALF[::-1] * ([1, -1] * 4)])
"""What a coefficient (column) adds to a sample (row), in units of 2⁻¹³ / √8: cosines as sums of libjpeg's rounded constants."""

_Table = list[tuple[int, int]]  # by the next 16 bits: (how many of them are the code, its symbol); 0 bits: no code


def decode(frame: bytes) -> np.ndarray:
    """Return the samples of one sequential, Huffman coded, grey JPEG stream.

    Parameters
    ----------
    frame : bytes
        From SOI to EOI, with or without restarts.

    Returns
    -------
    ndarray of uint16, (rows, columns)

    Raises
    ------
    ValueError
        When the stream cannot be followed, or is not grey.

    Notes
    -----
    The inverse cosine transform is libjpeg's of 12 bits, with its rounding: the values are the same as that library's.

    References
    ----------
    ITU-T T.81, annexes A, B, F; C. Loeffler, A. Ligtenberg, G. Moschytz, doi:10.1109/ICASSP.1989.266596 (the transform).
    """
    codes: dict[int, _Table] = {}
    quantisers: dict[int, np.ndarray] = {}
    restart, at, layout = 0, 2, b""
    while True:
        while frame[at : at + 2] == b"\xff\xff":
            at += 1
        mark, length = frame[at + 1], int.from_bytes(frame[at + 2 : at + 4], "big")
        if frame[at] != 0xFF or mark == 0xD9:
            raise ValueError("no scan")
        body, at = frame[at + 4 : at + 2 + length], at + 2 + length
        if mark == 0xDB:
            quantisers.update(_quantisers(body))
        elif mark == 0xC4:
            codes.update(_codes(body))
        elif mark == 0xDD:
            restart = int.from_bytes(body[:2], "big")
        elif mark in (0xC0, 0xC1):
            layout = body
        elif mark == 0xDA:
            break
    if len(layout) != 9 or body[0] != 1 or layout[0] != 12:
        raise ValueError("more than one component, or not 12 bits")
    rows, columns = int.from_bytes(layout[1:3], "big"), int.from_bytes(layout[3:5], "big")
    down, across = -(-rows // 8), -(-columns // 8)
    found = _scan(_pieces(frame, at), down * across, restart, codes[body[2] >> 4], codes[0x10 | body[2] & 15])
    blocks = np.zeros((down * across, 64))
    blocks[:, _ZIGZAG] = found * quantisers[layout[8]]
    halves = np.floor((_COSINES @ blocks.reshape(-1, 8, 8) + (1 << 11)) / (1 << 12))  # in both: rounded as integers are
    values = np.floor((halves @ _COSINES.T + (1 << 16)) / (1 << 17))
    plane = values.reshape(down, across, 8, 8).transpose(0, 2, 1, 3).reshape(down * 8, across * 8)[:rows, :columns]
    return np.clip(plane + 2048, 0, 4095).astype(np.uint16)


def _quantisers(body: bytes) -> dict[int, np.ndarray]:
    out, at = {}, 0
    while at < len(body):
        wide, name = body[at] >> 4, body[at] & 15
        out[name] = np.frombuffer(body, ">u2" if wide else "u1", 64, at + 1).astype(np.int32)
        at += 129 if wide else 65
    return out


def _codes(body: bytes) -> dict[int, _Table]:
    out, at = {}, 0
    while at < len(body):
        name, counts = body[at], body[at + 1 : at + 17]
        symbols = iter(body[at + 17 : at + 17 + sum(counts)])
        if sum(n << (16 - bits) for bits, n in enumerate(counts, 1)) > 1 << 16:
            raise ValueError("a Huffman table with too many codes")
        table: _Table = []
        for bits, count in enumerate(counts, 1):
            for _ in range(count):
                table += [(bits, next(symbols, 0))] * (1 << (16 - bits))
        out[name] = table + [(0, 0)] * ((1 << 16) - len(table))
        at += 17 + sum(counts)
    return out


def _pieces(frame: bytes, at: int) -> list[bytes]:
    """Return the coded data between restarts, without stuffed bytes."""
    pieces, start = [], at
    while True:
        at = frame.find(b"\xff", at)
        mark = frame[at + 1] if 0 <= at < len(frame) - 1 else 0xD9
        if mark == 0:
            at += 2
            continue
        end = at if at >= 0 else len(frame)
        pieces.append(frame[start:end].replace(b"\xff\0", b"\xff"))
        if not 0xD0 <= mark <= 0xD7:
            return pieces
        start = at = end + 2


def _scan(pieces: list[bytes], count: int, restart: int, dc: _Table, ac: _Table) -> np.ndarray:
    """Return the coefficients of all blocks, (blocks, 64), in the order of the stream."""
    found = np.zeros((count, 64), np.int32)
    step = restart or count
    if len(pieces) * step < count:
        raise ValueError("a scan that ends too early")
    for begin, piece in zip(range(0, count, step), pieces):
        where, values = _entropy(piece, min(step, count - begin), dc, ac)
        found[begin : begin + step].reshape(-1)[where] = values
    return found


def _entropy(data: bytes, count: int, dc: _Table, ac: _Table) -> tuple[list[int], list[int]]:
    """Decode blocks: Huffman codes of (zeros before, bits), then so many bits of value (T.81 F.2.2).

    Returns
    -------
    where, values : list of int
        The coefficients that are not zero, and block × 64 + place of each.
    """
    where, values = [], []
    size, at, last = len(data) + 8, 0, 0
    data += b"\xff" * 8  # what a decoder would see behind the end
    bits = held = 0  # what was read and not yet used, and how many bits that is
    for block in range(0, count * 64, 64):
        k, table = 0, dc
        while k < 64:
            if held < 32:
                if at + 4 > size:
                    raise ValueError("a scan that ends too early")
                bits = (bits & ((1 << held) - 1)) << 32 | int.from_bytes(data[at : at + 4], "big")
                held, at = held + 32, at + 4
            length, symbol = table[bits >> (held - 16) & 0xFFFF]
            held -= length + (symbol & 15)
            value = bits >> held & ((1 << (symbol & 15)) - 1)
            if symbol & 15 and not value >> ((symbol & 15) - 1):
                value -= (1 << (symbol & 15)) - 1
            if not length:
                raise ValueError("no such Huffman code")
            if table is dc:
                last = value = last + value
                table = ac
            else:
                k += symbol >> 4
                if not symbol:
                    break
            if k > 63 or abs(value) > 1 << 20:
                raise ValueError("a coefficient that cannot be")
            if value:
                where.append(block + k)
                values.append(value)
            k += 1
    return where, values
