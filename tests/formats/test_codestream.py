"""Text beside the pixels goes, and a decoder gives the same pixels as before."""

from __future__ import annotations

import io

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate, generate_frames

from overread.errors import IdentityRefused
from overread.formats.codestream import jpeg, jpeg_2000, rle, scrub_pixels

WORD = b"SMITH^JOHN"


def frame(name: str) -> bytes:
    ds = pydicom.dcmread(get_testdata_file(name))
    return next(generate_frames(ds.PixelData, number_of_frames=int(ds.get("NumberOfFrames") or 1)))


def segment(marker: int, body: bytes) -> bytes:
    return bytes((0xFF, marker)) + (len(body) + 2).to_bytes(2, "big") + body


def decoded(name: str, stream: bytes):
    ds = pydicom.dcmread(get_testdata_file(name))
    ds.PixelData = encapsulate([stream])
    out = io.BytesIO()
    ds.save_as(out)
    return pydicom.dcmread(io.BytesIO(out.getvalue())).pixel_array


@pytest.mark.parametrize(
    ("name", "clean", "markers"),
    [
        ("SC_rgb_jpeg_dcmtk.dcm", jpeg, (0xFE, 0xE1, 0xE0, 0xEE, 0xED)),
        ("MR_small_jpeg_ls_lossless.dcm", jpeg, (0xFE, 0xE8, 0xE3)),
        ("MR_small_jp2klossless.dcm", jpeg_2000, (0x64,)),
        ("693_J2KI.dcm", jpeg_2000, (0x64,)),
    ],
)
def test_comments_go_and_pixels_stay(name, clean, markers):
    stream = frame(name)
    head = 2 if clean is jpeg else 4 + int.from_bytes(stream[4:6], "big")  # JPEG 2000: behind SIZ, which comes first
    talk = b"".join(segment(m, b"\0\1" + WORD) for m in markers)
    dirty = stream[:head] + talk + stream[head:] + WORD
    out = clean(dirty)
    assert dirty.count(WORD) == len(markers) + 1
    assert WORD not in out
    assert (decoded(name, out) == pydicom.dcmread(get_testdata_file(name)).pixel_array).all()
    assert clean(out) == out


def test_rle_gaps_and_tails_go():
    ds = pydicom.dcmread(get_testdata_file("MR_small_RLE.dcm"))
    out = rle(frame("MR_small_RLE.dcm") + WORD, plane=ds.Rows * ds.Columns)
    assert WORD not in out
    assert (decoded("MR_small_RLE.dcm", out) == ds.pixel_array).all()


def test_a_picture_file_in_place_of_a_stream_is_refused():
    with pytest.raises(IdentityRefused):
        jpeg_2000(b"\0\0\0\x0cjP  \r\n\x87\n" + b"xml " + WORD)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400), st.sampled_from([b"", b"\xff\xd8", b"\xff\x4f", (1).to_bytes(4, "little") + bytes(60)]))
def test_any_bytes_are_refused_or_cleaned(body, head):
    for clean in (jpeg, jpeg_2000, lambda s: rle(s, plane=100)):
        try:
            out = clean(head + body)
        except IdentityRefused:
            continue
        assert len(out) <= len(head + body) + 2 + 15


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 4000), st.integers(0, 255))
def test_a_damaged_stream_is_refused_or_followed(at, byte):
    for name, clean in (("SC_rgb_jpeg_dcmtk.dcm", jpeg), ("MR_small_jp2klossless.dcm", jpeg_2000)):
        stream = bytearray(frame(name))
        stream[at % len(stream)] = byte
        try:
            clean(bytes(stream))
        except IdentityRefused as e:
            assert "whole, standard stream" in str(e)


def test_odd_bytes_in_big_endian_words_keep_their_place():
    ds = pydicom.dcmread(get_testdata_file("SC_rgb_small_odd_big_endian.dcm"))
    assert scrub_pixels(ds, ds.file_meta.TransferSyntaxUID)[:26] == ds.PixelData[:26]
