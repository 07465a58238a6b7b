"""Each compressed encoding, written by a second author and read back: equal to the last bit where it is lossless."""

from __future__ import annotations

import io
import struct

import gdcm
import imagecodecs
import numpy as np
import pytest
from coded_pixels import COLOUR, GREY, coded, picture, read
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Picture
from pydicom import uid

from overread.domain import code_of
from overread.errors import UnreadableFile
from overread.formats import codecs, syntaxes
from overread.formats.streams import stream


@pytest.mark.parametrize("bits", [2, 5, 8, 10, 12, 15, 16])
def test_jpeg_lossless_of_every_predictor_and_depth(bits: int) -> None:
    for predictor in range(1, 8):
        for shape in (GREY, COLOUR):
            values = picture(bits, shape, predictor)
            frame = imagecodecs.jpeg_encode(values, lossless=True, predictor=predictor, bitspersample=bits)
            syntax = uid.JPEGLosslessSV1 if predictor == 1 else uid.JPEGLossless
            assert np.array_equal(read(coded(values, [frame], syntax, bits))[0][0], values), (predictor, shape)


@pytest.mark.parametrize("bits", [2, 7, 8, 9, 12, 16])
def test_jpeg_ls_of_every_depth(bits: int) -> None:
    values = picture(bits, GREY)
    frame = bytes(imagecodecs.jpegls_encode(values)) if bits in (8, 16) else _charls(values, bits)
    assert stream(frame).precision == bits
    assert np.array_equal(read(coded(values, [frame], uid.JPEGLSLossless, bits))[0][0], values)


def _charls(values: np.ndarray, bits: int) -> bytes:
    import jpeg_ls

    kind = {"rows": values.shape[0], "columns": values.shape[1], "samples_per_pixel": 1, "bits_stored": bits}
    return bytes(jpeg_ls.encode_pixel_data(values.tobytes(), bits_allocated=8 * values.itemsize, **kind))


def test_jpeg_ls_in_colour_of_every_interleaving() -> None:
    import jpeg_ls

    values = picture(8, COLOUR)
    for mode in (0, 1, 2):
        source = np.moveaxis(values, -1, 0).copy() if mode == 0 else values
        frame = bytes(jpeg_ls.encode_array(source, 0, mode))
        assert np.array_equal(read(coded(values, [frame], uid.JPEGLSLossless, 8))[0][0], values), mode


def test_near_lossless_jpeg_ls_keeps_its_promise() -> None:
    import jpeg_ls

    values = picture(12, GREY)
    frame = bytes(jpeg_ls.encode_array(values, 3))
    got, _ = read(coded(values, [frame], uid.JPEGLSNearLossless, 12))
    away = np.abs(got[0].astype(int) - values)
    assert 0 < away.max() <= 3


@pytest.mark.parametrize("bits", [1, 8, 12, 16])
def test_jpeg_2000_and_htj2k(bits: int) -> None:
    for shape in (GREY, COLOUR):
        values = picture(bits, shape)
        frame = imagecodecs.jpeg2k_encode(values, reversible=True, codecformat="j2k", bitspersample=bits, mct=False)
        assert np.array_equal(read(coded(values, [frame], uid.JPEG2000Lossless, bits))[0][0], values), shape


@pytest.mark.parametrize("syntax", [uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K])
def test_htj2k_of_all_three_syntaxes(syntax: uid.UID) -> None:
    """Written by OpenJPH, read by OpenJPEG."""
    for values in (picture(8, GREY), picture(16, GREY), picture(12, GREY).astype(np.int16) - 2000, picture(8, COLOUR)):
        bits = 8 * values.itemsize
        frame = imagecodecs.htj2k_encode(values, reversible=True)
        got, _ = read(coded(values, [frame], syntax, bits))
        assert got.dtype == values.dtype
        assert np.array_equal(got[0], values)


def test_signed_numbers_survive_encodings_that_know_no_sign() -> None:
    values = picture(12, GREY).astype(np.int16) - 2048
    for frame, syntax in (
        (imagecodecs.jpeg_encode(values.view(np.uint16), lossless=True, bitspersample=16), uid.JPEGLosslessSV1),
        ((values & 0xFFF).astype(np.uint16), uid.JPEGLosslessSV1),
        ((values & 0xFFF).astype(np.uint16), uid.JPEGLSLossless),
    ):
        if isinstance(frame, np.ndarray):
            encode = (
                imagecodecs.jpeg_encode(frame, lossless=True, bitspersample=12)
                if syntax == uid.JPEGLosslessSV1
                else _charls(frame, 12)
            )
            frame = encode
        assert np.array_equal(read(coded(values, [frame], syntax, 12))[0][0], values)


def test_a_sign_that_the_stream_has_otherwise_is_told() -> None:
    """PixelRepresentation 1, but the JPEG 2000 stream says unsigned: pydicom's own reading, and a note."""
    values = (picture(12, GREY).astype(np.int16) - 2048).astype(np.int16)
    frame = imagecodecs.jpeg2k_encode(
        (values & 0xFFF).astype(np.uint16), reversible=True, codecformat="j2k", bitspersample=12
    )
    got, notes = read(coded(values, [frame], uid.JPEG2000Lossless, 12))
    assert np.array_equal(got[0], values)
    assert "other-sign" in map(code_of, notes)


# -- RLE ----------------------------------------------------------------------------------------------------------------


def test_rle_of_every_depth_and_planar_configuration() -> None:
    for values in (picture(8, GREY), picture(16, GREY), picture(8, COLOUR), picture(16, COLOUR)):
        for planar in (0, 1):  # RLE is by plane whatever the header says
            ds = coded(values, [b"\0\0"], uid.ExplicitVRLittleEndian, 8 * values.itemsize)
            ds.PixelData = values.tobytes()
            ds.compress(uid.RLELossless, encoding_plugin="pydicom")
            if values.ndim == 3:
                ds.PlanarConfiguration = planar
            assert np.array_equal(read(ds)[0][0], values)


@settings(max_examples=200, deadline=None)
@given(st.binary(min_size=0, max_size=300), st.integers(1, 6))
def test_no_rle_frame_takes_this_process_down(body: bytes, count: int) -> None:
    offsets = [64 + i * max(1, len(body) // count) for i in range(count)]
    frame = struct.pack("<16I", count, *offsets, *[0] * (15 - count)) + body
    try:
        values = codecs.rle(frame, pixels=64, samples=count, size=1)
    except UnreadableFile as error:
        assert error.code in ("malformed", "truncated")
    else:
        assert values.shape == (count, 64)


# -- what the header and the stream do not agree on ----------------------------------------------------------------------


def test_another_size_is_refused_and_another_kind_is_read_with_a_note() -> None:
    values = picture(8, GREY)
    frame = imagecodecs.jpeg_encode(values, lossless=True)
    with pytest.raises(UnreadableFile, match=r"21 × 34 × 1; expected 22 × 34 × 1"):
        read(coded(values, [frame], uid.JPEGLosslessSV1, 8, Rows=22))
    got, notes = read(coded(values, [frame], uid.JPEGBaseline8Bit, 8))
    assert np.array_equal(got[0], values)
    assert "other-encoding" in map(code_of, notes)


def test_frames_of_several_kinds_are_refused() -> None:
    values = picture(8, GREY)
    frames = [imagecodecs.jpeg_encode(values), imagecodecs.jpeg_encode(values, lossless=True)]
    with pytest.raises(UnreadableFile, match="1 of 2 compressed frames that differ"):
        read(coded(values, frames, uid.JPEGBaseline8Bit, 8))


def test_every_compressed_syntax_has_one_decoder_and_a_second_author() -> None:
    assert set(syntaxes.KINDS) | {uid.RLELossless} == set(syntaxes.DECODERS)
    assert not any("gdcm" in name or "imagecodecs" in name for name in syntaxes.DECODERS.values())
    assert gdcm.Version.GetVersion()


def test_pillow_agrees_with_our_jpeg_2000_decoder() -> None:
    values = picture(16, GREY)
    frame = imagecodecs.jpeg2k_encode(values, level=60, codecformat="j2k")
    got, _ = read(coded(values, [frame], uid.JPEG2000, 16))
    assert np.array_equal(got[0], np.asarray(Picture.open(io.BytesIO(frame))))
