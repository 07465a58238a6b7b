"""Ordinary JPEG, of 8 and of 12 bits, which is lossy: closed forms, second decoders, colours, and damage told."""

from __future__ import annotations

import contextlib
import dataclasses
import io
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
from coded_pixels import COLOUR, GREY, coded, picture, read
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Picture
from PIL import ImageFile
from pydicom import uid
from pydicom.encaps import generate_frames
from pydicom.pixels import get_decoder

from overread.domain import code_of
from overread.errors import UnreadableFile
from overread.formats import codecs, jpeg12
from overread.formats.decoder import decode_apart
from overread.formats.streams import stream


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
