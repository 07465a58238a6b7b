"""A TIFF's numbers are what its tags say, in every combination: read as that, or refused with the numbers."""

from __future__ import annotations

import itertools
import struct
import zlib

import numpy as np
import pytest

from overread.domain import code_of
from overread.errors import UnreadableFile
from overread.formats.raster import read_picture
from overread.formats.tiff import numbers_of

SHAPE = (16, 24)
FORMATS = {"u": 1, "i": 2, "f": 3}


def written(values: np.ndarray, order: str, photometric: int, packed: bool, *, bits: int = 0) -> bytes:
    """A grey TIFF by hand; ``bits`` 12 packs two numbers into three bytes."""
    if bits == 12:
        a, b = values[:, ::2].astype(int), values[:, 1::2].astype(int)
        body = np.stack([a >> 4, (a & 15) << 4 | b >> 8, b & 255], -1).astype(np.uint8).tobytes()
    else:
        body = values.astype(values.dtype.newbyteorder(order)).tobytes()
    body = zlib.compress(body) if packed else body
    rows, columns = values.shape
    shorts = {258: bits or 8 * values.dtype.itemsize, 259: 8 if packed else 1, 262: photometric, 277: 1}
    shorts[339] = FORMATS[values.dtype.kind]
    longs = {256: columns, 257: rows, 273: 8, 278: rows, 279: len(body)}
    out = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8 + len(body)) + body
    out += struct.pack(f"{order}H", len(shorts) + len(longs))
    for tag in sorted([*shorts, *longs]):
        if tag in shorts:
            out += struct.pack(f"{order}HHIHH", tag, 3, 1, shorts[tag], 0)
        else:
            out += struct.pack(f"{order}HHII", tag, 4, 1, longs[tag])
    return out + bytes(4)


def ramp(kind: str) -> np.ndarray:
    """From the lowest to the highest number of a type; of floating-point numbers some that are not whole."""
    dtype, count = np.dtype(kind), SHAPE[0] * SHAPE[1]
    if dtype.kind == "f":
        return (np.arange(count) / 8 - 7).reshape(SHAPE).astype(dtype)
    info = np.iinfo(dtype)
    return np.linspace(info.min, info.max, count).round().astype(dtype).reshape(SHAPE)


EVERY = list(
    itertools.product(["u1", "u2", "u4", "i1", "i2", "i4", "f2", "f4", "f8"], ["<", ">"], [1, 0], [False, True])
)
LITTLE_ONLY = {("u2", 0), ("u4", 1)}
HELD = {("u1", 1), ("u1", 0), ("u2", 1), ("u2", 0), ("u4", 1), ("i1", 1), ("i2", 1), ("i4", 1), ("f4", 1)}


@pytest.mark.parametrize(("kind", "order", "photometric", "packed"), EVERY)
def test_every_number_is_right_or_refused_with_the_numbers(
    kind: str, order: str, photometric: int, packed: bool
) -> None:
    values = ramp(kind)
    raw = written(values, order, photometric, packed)
    if (kind, photometric) not in HELD or (order == ">" and (kind, photometric) in LITTLE_ONLY):
        with pytest.raises(UnreadableFile, match=f"{8 * values.dtype.itemsize}-bit") as caught:
            read_picture(raw, kind="tiff")
        assert caught.value.code == "unsupported-format"
        assert ("white is zero" in str(caught.value)) is (photometric == 0)
        return
    got = read_picture(raw, kind="tiff")
    want = values.astype(np.float64)
    if photometric == 0:
        want = np.iinfo(values.dtype).max - want
    assert np.array_equal(got.voxels[0], want.astype(np.float32) if kind == "u4" else want)
    assert got.attributes["bits"] == str(8 * values.dtype.itemsize)
    assert got.full_range == {"u1": (0, 255), "u2": (0, 65535), "i1": (-128, 127)}.get(kind)
    assert [code_of(n) for n in got.notes] == ["inverted"] * (photometric == 0) + ["rounded"] * (kind == "u4")


def test_whole_numbers_of_32_bits_that_fit_are_exact_and_not_called_rounded() -> None:
    values = ramp("u4") // 2
    got = read_picture(written(values, "<", 1, False), kind="tiff")
    assert np.array_equal(got.voxels[0], values)
    assert got.notes == ()


def test_twelve_bits_have_the_range_of_twelve_bits() -> None:
    values = (np.arange(SHAPE[0] * SHAPE[1]).reshape(SHAPE) * 10).astype(np.uint16)
    got = read_picture(written(values, "<", 1, False, bits=12), kind="tiff")
    assert np.array_equal(got.voxels[0], values)
    assert (got.full_range, got.attributes["bits"]) == ((0.0, 4095.0), "12")


def test_tags_that_cannot_be_read_say_nothing() -> None:
    raw = written(ramp("f8"), "<", 1, False)
    assert numbers_of(raw).bits == 64
    assert numbers_of(raw[:-40]) is None or numbers_of(raw[:-40]).bits == 64
    assert numbers_of(b"II*\0\xff\xff\xff\xff") is None
    with pytest.raises(UnreadableFile) as caught:
        read_picture(b"II*\0\xff\xff\xff\xff" + bytes(40), kind="tiff")
    assert caught.value.code == "malformed"
