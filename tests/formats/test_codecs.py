"""Each compressed encoding, written by a second author and read back: equal to the last bit where it is lossless."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import struct
from pathlib import Path

import gdcm
import imagecodecs
import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Picture
from PIL import ImageFile
from pydicom import uid
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels import get_decoder

from overread.domain import code_of
from overread.errors import UnreadableFile
from overread.formats import codecs, jpeg12, pixels, syntaxes
from overread.formats.decoder import decode_apart
from overread.formats.dicom import parse
from overread.formats.streams import stream


def coded(values: np.ndarray, frames: list[bytes], syntax: uid.UID, bits: int, **header: object) -> pydicom.Dataset:
    """A secondary capture of nobody, with compressed frames."""
    ds = pydicom.Dataset()
    ds.file_meta = pydicom.dataset.FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = uid.UID("1.2.840.10008.5.1.4.1.1.7")
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = uid.UID("2.25.1")
    ds.Modality, ds.Rows, ds.Columns = "OT", values.shape[0], values.shape[1]
    ds.SamplesPerPixel = 3 if values.ndim == 3 else 1
    ds.PhotometricInterpretation = "RGB" if values.ndim == 3 else "MONOCHROME2"
    if values.ndim == 3:
        ds.PlanarConfiguration = 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8 * values.dtype.itemsize, bits, bits - 1
    ds.PixelRepresentation = int(values.dtype.kind == "i")
    if len(frames) > 1:
        ds.NumberOfFrames = len(frames)
    ds.PixelData = encapsulate(frames)
    for keyword, value in header.items():
        setattr(ds, keyword, value)
    return ds


def read(ds: pydicom.Dataset) -> tuple[np.ndarray, list[str]]:
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return pixels.decode(parse(buffer.getvalue()))


def picture(bits: int, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    smooth = (2**bits - 1) * (0.5 + 0.4 * np.sin(y / 5) * np.cos(x / 7))
    grey = np.clip(smooth + rng.normal(0, 2**bits / 64 + 0.6, shape[:2]), 0, 2**bits - 1)
    values = grey if len(shape) == 2 else np.stack([grey, grey[::-1], 2**bits - 1 - grey], -1)
    return values.astype(np.uint8 if bits <= 8 else np.uint16)


GREY, COLOUR = (21, 34), (21, 34, 3)


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


# -- JPEG, which is lossy: closed forms and a second decoder ------------------------------------------------------------


def test_baseline_grey_is_what_gdcm_decodes() -> None:
    values = picture(8, (64, 96))
    frame = imagecodecs.jpeg_encode(values, level=90)
    ds = coded(values, [frame], uid.JPEGBaseline8Bit, 8)
    theirs, _ = get_decoder(uid.JPEGBaseline8Bit).as_array(ds, decoding_plugin="gdcm")
    assert np.array_equal(read(ds)[0][0], theirs)


def pillow_jpeg(values: np.ndarray, **how: object) -> bytes:
    buffer = io.BytesIO()
    Picture.fromarray(values).save(buffer, "JPEG", quality=90, **how)
    return buffer.getvalue()


@pytest.mark.parametrize("shape", [GREY, COLOUR])
def test_ordinary_jpeg_in_this_process_is_what_it_is_in_the_other(shape: tuple[int, ...]) -> None:
    for raw_colour in {False, len(shape) == 3}:
        frames = [pillow_jpeg(picture(8, shape, seed)) for seed in range(3)]
        said = stream(frames[0])
        assert all(codecs.plain_jpeg(frame, said) for frame in frames)
        here = codecs.jpeg(frames, said, raw_colour=raw_colour)
        assert np.array_equal(here, decode_apart(frames, said, raw_colour=raw_colour))


def test_jpeg_that_could_cost_more_than_its_size_or_says_more_is_decoded_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    values = picture(8, COLOUR)
    whole = pillow_jpeg(values)
    said, scan = stream(whole), whole.index(b"\xff\xda")
    assert codecs.plain_jpeg(whole, said)
    exif = Picture.Exif()
    exif[0x0112] = 6
    others = {
        "progressive": pillow_jpeg(values, progressive=True),
        "EXIF": pillow_jpeg(values, exif=exif),
        "a comment": pillow_jpeg(values, comment=b"hello"),
        "a second scan": whole[:-2] + whole[scan:],
        "a second size": whole[:scan] + whole[whole.index(b"\xff\xc0") :],
        "one component a scan": whole[: scan + 4] + b"\1" + whole[scan + 5 :],
        "no scan": whole[:scan],
        "a head cut short": whole[: scan - 3],
    }
    for name, frame in others.items():
        assert not codecs.plain_jpeg(frame, said), name
    large = dataclasses.replace(said, rows=5000, columns=5000)
    assert not codecs.plain_jpeg(whole, large)
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    assert not codecs.plain_jpeg(whole, said)


def test_half_a_jpeg_is_refused_whatever_the_program_around_us_told_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    values = picture(8, (200, 200))
    frame = pillow_jpeg(values)[:-900]
    for lenient in (False, True):
        monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", lenient)
        with pytest.raises(UnreadableFile, match="end too early"):
            read(coded(values, [frame], uid.JPEGBaseline8Bit, 8))


@pytest.mark.parametrize("shape", [(64, 48), (61, 47, 3)])
def test_an_ordinary_jpeg_is_what_pillow_makes_of_it(shape: tuple[int, ...]) -> None:
    for seed, sub in ((0, 0), (1, 1), (2, 2)):
        values = picture(8, shape, seed)
        frame = pillow_jpeg(values, subsampling=sub)
        colour = {"PhotometricInterpretation": "YBR_FULL_422"} if len(shape) == 3 else {}
        got, _ = read(coded(values, [frame], uid.JPEGBaseline8Bit, 8, **colour))
        assert np.array_equal(got[0], np.asarray(Picture.open(io.BytesIO(frame))))


def test_forty_bytes_lost_in_the_middle_of_a_jpeg_are_mostly_told_where_pillow_says_nothing() -> None:
    values = picture(8, (96, 96))
    frame = pillow_jpeg(values)
    begin, ours, pillows, tries = frame.index(b"\xff\xda") + 12, 0, 0, 60
    for n in range(tries):
        at = begin + n * (len(frame) - begin - 60) // tries
        short = frame[:at] + frame[at + 40 :]
        with contextlib.suppress(OSError):
            Picture.open(io.BytesIO(short)).load()
            pillows += 1
        try:
            read(coded(values, [short], uid.JPEGBaseline8Bit, 8))
            ours += 1
        except UnreadableFile as error:
            assert error.code in ("truncated", "malformed")
    assert pillows > 0.9 * tries and ours < 0.2 * tries


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_damaged_ordinary_jpeg_is_refused_or_has_its_size(data: st.DataObject) -> None:
    raw = bytearray(pillow_jpeg(picture(8, COLOUR)))
    for _ in range(data.draw(st.integers(1, 6))):
        raw[data.draw(st.integers(2, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        said = stream(bytes(raw))
    except UnreadableFile:
        return
    if codecs.plain_jpeg(bytes(raw), said):
        try:
            values = codecs.jpeg([bytes(raw)], said, raw_colour=False)
        except RuntimeError:
            return
        assert values.shape == (1, said.rows, said.columns, said.samples)


def _jpeg(values: np.ndarray, *, marks: bool, stored: str) -> bytes:
    """A colour JPEG whose components are RGB or YCbCr, with the mark that says so, or without any."""
    frame = imagecodecs.jpeg_encode(values, level=98, colorspace="rgb", outcolorspace=stored, subsampling="444")
    if marks:
        return frame
    out, at = frame[:2], 2
    while frame[at + 1] != 0xDA:
        length = int.from_bytes(frame[at + 2 : at + 4], "big")
        segment = frame[at : at + 2 + length]
        if frame[at + 1] == 0xC0:  # nor may the names of the components tell
            segment = bytearray(segment)
            segment[10:19:3] = b"\1\2\3"
        if frame[at + 1] not in (0xE0, 0xEE):
            out += bytes(segment)
        at += 2 + length
    scan = bytearray(frame[at:])
    scan[5:11:2] = b"\1\2\3"
    return out + bytes(scan)


@pytest.mark.parametrize("marks", [True, False])
@pytest.mark.parametrize(("stored", "header"), [("rgb", "RGB"), ("ycbcr", "YBR_FULL_422"), ("ycbcr", "YBR_FULL")])
def test_colour_jpeg_comes_back_in_its_colours(marks: bool, stored: str, header: str) -> None:
    values = picture(8, COLOUR)
    ds = coded(values, [_jpeg(values, marks=marks, stored=stored)], uid.JPEGBaseline8Bit, 8)
    ds.PhotometricInterpretation = header
    got, notes = read(ds)
    assert np.abs(got[0].astype(int) - values).max() < 25
    assert "other-colour" not in map(code_of, notes)


def test_marks_in_the_stream_win_over_a_lying_header() -> None:
    values = picture(8, COLOUR)
    for stored, header in (("rgb", "YBR_FULL_422"), ("ycbcr", "RGB")):
        ds = coded(values, [_jpeg(values, marks=True, stored=stored)], uid.JPEGBaseline8Bit, 8)
        ds.PhotometricInterpretation = header
        got, notes = read(ds)
        assert np.abs(got[0].astype(int) - values).max() < 25
        assert "other-colour" in map(code_of, notes)


def test_a_jpeg_2000_colour_transform_is_undone_whatever_the_header_says() -> None:
    values = picture(8, COLOUR)
    frame = imagecodecs.jpeg2k_encode(values, reversible=True, codecformat="j2k", mct=True)
    for header in ("YBR_RCT", "RGB", "YBR_FULL"):
        ds = coded(values, [frame], uid.JPEG2000Lossless, 8)
        ds.PhotometricInterpretation = header
        got, notes = read(ds)
        assert np.array_equal(got[0], values), header
        assert ("other-colour" in map(code_of, notes)) == (header == "YBR_FULL")


def test_twelve_bit_jpeg_is_what_libjpeg_makes_of_it(shared_data: Path) -> None:
    for path in sorted((shared_data / "dicom_codecs/JPLY").iterdir()):
        (frame,) = generate_frames(pydicom.dcmread(path).PixelData, number_of_frames=1)
        assert np.array_equal(jpeg12.decode(frame), imagecodecs.jpeg_decode(frame))


@pytest.mark.parametrize("level", [5, 50, 100])
def test_twelve_bit_jpeg_with_extremes_is_what_libjpeg_makes_of_it(level: int) -> None:
    for values in (picture(12, (40, 37), level), np.random.default_rng(level).choice([0, 4095], (64, 64)).astype("u2")):
        frame = imagecodecs.jpeg_encode(values, level=level, bitspersample=12)
        assert np.array_equal(jpeg12.decode(frame), imagecodecs.jpeg_decode(frame))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_damaged_twelve_bit_stream_raises_and_does_not_hang(data: st.DataObject) -> None:
    raw = bytearray(imagecodecs.jpeg_encode(picture(12, (40, 40)), level=90, bitspersample=12))
    for _ in range(data.draw(st.integers(1, 6))):
        raw[data.draw(st.integers(2, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        said = stream(bytes(raw))
        if said.rows <= 64 and said.columns <= 64 and said.kind == "jpeg12":
            jpeg12.decode(bytes(raw))
    except (ValueError, KeyError, IndexError, UnreadableFile):
        return


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
