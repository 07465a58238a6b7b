"""Where a compressed stream and its header differ in depth, the reader says so, or refuses what nobody can know."""

from __future__ import annotations

import io

import imagecodecs
import numpy as np
import pydicom
import pytest
from PIL import Image as Picture
from pydicom import uid
from pydicom.encaps import encapsulate

from overread.domain import code_of
from overread.errors import UnreadableFile
from overread.formats.dicom import parse
from overread.formats.units import Pixels, physical

SMALL = np.arange(16 * 20, dtype=np.uint16).reshape(16, 20) * 6
"""Below 2,048: whatever a header of 12 bits or more says of signs, these are the same numbers."""


def lossless(values: np.ndarray, bits: int) -> bytes:
    return imagecodecs.jpeg_encode(values, lossless=True, bitspersample=bits)


def numbers(
    frame: bytes, shape: tuple[int, ...], syntax: uid.UID = uid.JPEGLosslessSV1, *, stored: int, **header: object
) -> Pixels:
    ds = pydicom.Dataset()
    ds.file_meta = pydicom.dataset.FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = uid.SecondaryCaptureImageStorage
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = uid.UID("2.25.1")
    ds.Modality, ds.Rows, ds.Columns = "OT", shape[0], shape[1]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = len(shape) * 2 - 3, "MONOCHROME2" if len(shape) == 2 else "RGB"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = (8, 16)[stored > 8], stored, stored - 1, 0
    ds.PixelData = encapsulate([frame])
    for keyword, value in header.items():
        setattr(ds, keyword, value)
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return physical(parse(buffer.getvalue()))


@pytest.mark.parametrize(("precision", "stored"), [(12, 16), (16, 12), (12, 12)])
@pytest.mark.parametrize("signed", [0, 1])
def test_a_depth_that_differs_is_told(precision: int, stored: int, signed: int) -> None:
    got = numbers(lossless(SMALL, precision), SMALL.shape, stored=stored, PixelRepresentation=signed)
    assert np.array_equal(got.voxels[0], SMALL)
    assert ("other-depth" in map(code_of, got.notes)) is (precision != stored)


@pytest.mark.parametrize("coder", ["jpeg lossless", "jpeg-ls"])
def test_a_sign_that_nobody_can_know_is_refused(coder: str) -> None:
    """12 bits in a header of 16 signed ones: 4,032 may be 4,032 (so says pydicom) or −64."""
    import jpeg_ls

    values = SMALL * 2
    if coder == "jpeg-ls":
        how = {"rows": 16, "columns": 20, "samples_per_pixel": 1, "bits_stored": 12}
        frame, syntax = bytes(jpeg_ls.encode_pixel_data(values.tobytes(), bits_allocated=16, **how)), uid.JPEGLSLossless
    else:
        frame, syntax = lossless(values, 12), uid.JPEGLosslessSV1
    with pytest.raises(UnreadableFile, match="12 bits without a sign, with values up to 3,828; expected 16 signed"):
        numbers(frame, values.shape, syntax, stored=16, PixelRepresentation=1)
    assert np.array_equal(numbers(frame, values.shape, syntax, stored=16).voxels[0], values)


def test_signed_numbers_of_the_headers_own_depth_are_below_zero() -> None:
    values = SMALL.astype(np.int16) - 900
    got = numbers(lossless(values.view(np.uint16) & 0xFFF, 12), values.shape, stored=12, PixelRepresentation=1)
    assert np.array_equal(got.voxels[0], values)
    assert got.notes == ()


def test_a_stream_deeper_than_its_header_has_the_range_that_holds_it() -> None:
    values = SMALL * 30
    got = numbers(lossless(values, 16), values.shape, stored=12)
    assert np.array_equal(got.voxels[0], values)
    assert got.full_range == (0.0, 65535.0)
    assert "other-depth" in map(code_of, got.notes)


def _palette() -> dict:
    colours = {}
    for name in ("Red", "Green", "Blue"):
        colours[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        colours[f"{name}PaletteColorLookupTableData"] = (np.arange(256)[::-1] * 256).astype("<u2").tobytes()
    return colours


def test_a_palette_in_a_lossy_encoding_is_refused_and_in_a_lossless_one_read() -> None:
    places = (SMALL % 256).astype(np.uint8)
    buffer = io.BytesIO()
    Picture.fromarray(places).save(buffer, "jpeg", quality=95)
    header = {"stored": 8, "PhotometricInterpretation": "PALETTE COLOR", **_palette()}
    for syntax in (uid.JPEGBaseline8Bit, uid.JPEGLosslessSV1):  # the second is a lie, and no better
        with pytest.raises(UnreadableFile, match="palette colours in a lossy encoding"):
            numbers(buffer.getvalue(), places.shape, syntax, **header)
    got = numbers(lossless(places, 8), places.shape, **header)
    assert np.array_equal(got.voxels[0], np.repeat(((255 - places.astype(np.uint16)) * 256)[..., None], 3, -1))


def test_colours_of_another_depth_are_refused() -> None:
    colours = np.stack([SMALL * 10, SMALL, SMALL * 3], -1).astype(np.uint16)
    with pytest.raises(UnreadableFile, match="colours of 16 bits a channel; expected 12 by the header"):
        numbers(lossless(colours, 16), colours.shape, stored=12, PlanarConfiguration=0)


def test_a_grey_jpeg_is_grey() -> None:
    values = (SMALL % 200).astype(np.uint8)
    buffer = io.BytesIO()
    Picture.fromarray(values).save(buffer, "jpeg", quality=100)
    assert numbers(buffer.getvalue(), values.shape, uid.JPEGBaseline8Bit, stored=8).voxels.shape == (1, *values.shape)
