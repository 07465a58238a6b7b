"""Compressed pixels: every lossless encoding must give the values of its uncompressed twin."""

from __future__ import annotations

import collections
import importlib.util
import io
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import UID, ExplicitVRLittleEndian, RLELossless

from overread.errors import UnreadableFile
from overread.formats import pixels
from overread.formats.dicom import parse

LOSSLESS = ("J2KR", "JLSL", "JPLL", "RLE")
LOSSY = ("J2KI", "JLSN", "JPLY")


def _pairs(root: Path, folders: tuple[str, ...]) -> list[tuple[Path, Path]]:
    out = []
    for folder in folders:
        for path in sorted((root / "dicom_codecs" / folder).iterdir()):
            out.append((path, root / "dicom_codecs" / "REF" / (path.name.split("_")[0] + "_UNC")))
    return out


def test_every_lossless_encoding_equals_its_uncompressed_twin(shared_data: Path) -> None:
    pairs = _pairs(shared_data, LOSSLESS)
    assert len(pairs) >= 28
    for path, twin in pairs:
        values, _ = pixels.decode(parse(path.read_bytes()))
        expected = pydicom.dcmread(twin)
        want = np.frombuffer(expected.PixelData, dtype=values.dtype)[: values.size].reshape(-1)
        if expected.get("PlanarConfiguration"):
            want = np.moveaxis(want.reshape(3, *values.shape[1:3]), 0, -1).reshape(-1)
        assert np.array_equal(values.reshape(-1), want), path.name


def test_the_twins_of_different_pictures_differ(shared_data: Path) -> None:
    one, _ = pixels.decode(parse((shared_data / "dicom_codecs/RLE/CT1_RLE").read_bytes()))
    two, _ = pixels.decode(parse((shared_data / "dicom_codecs/REF/CT2_UNC").read_bytes()))
    assert not np.array_equal(one, two)


LOSSY_BOUNDS = {"J2KI": (0.02, 0.5), "JPLY": (0.01, 0.25)}
"""Mean and largest difference from the uncompressed twin, as a share of the twin's own range."""
NEAR = 4
"""What the near-lossless JPEG-LS streams promise of every pixel in their own heads."""


def test_lossy_encodings_stay_within_their_bounds(shared_data: Path) -> None:
    pairs = _pairs(shared_data, LOSSY)
    assert len(pairs) >= 18
    for path, twin in pairs:
        values, _ = pixels.decode(parse(path.read_bytes()))
        expected, _ = pixels.decode(parse(twin.read_bytes()))
        away = np.abs(values.astype(float) - expected)
        if path.parent.name == "JLSN":
            assert away.max() <= NEAR, path.name
            continue
        mean, largest = (share * np.ptp(expected.astype(float)) for share in LOSSY_BOUNDS[path.parent.name])
        assert away.mean() < mean and away.max() < largest, (path.name, away.mean(), away.max())


def test_a_picture_that_is_also_a_tiff_is_read_as_dicom(shared_data: Path) -> None:
    raw = (shared_data / "dicom_codecs/RLE/CT1_RLE").read_bytes()
    assert raw[:4] == b"II*\0"
    assert parse(raw).Rows == 512


def _saved(ds: pydicom.Dataset) -> bytes:
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def small(bits: int = 16, stored: int = 12, signed: int = 0, values: np.ndarray | None = None) -> pydicom.Dataset:
    """A valid secondary capture of 8 × 10 pixels, of nobody."""
    ds = pydicom.Dataset()
    ds.file_meta = pydicom.dataset.FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = UID("1.2.840.10008.5.1.4.1.1.7")
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = UID("2.25.1")
    ds.SeriesInstanceUID, ds.StudyInstanceUID, ds.Modality = "2.25.2", "2.25.3", "OT"
    ds.Rows, ds.Columns, ds.SamplesPerPixel, ds.PhotometricInterpretation = 8, 10, 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = bits, stored, stored - 1, signed
    values = np.arange(80) if values is None else values
    ds.PixelData = values.astype(f"<u{bits // 8}").tobytes()
    return ds


def test_bits_above_the_stored_ones_are_masked() -> None:
    ds = small(values=np.arange(80) | 0xF000)
    values, _ = pixels.decode(parse(_saved(ds)))
    assert values.max() == 79


def test_twelve_bit_negative_numbers_are_sign_extended() -> None:
    ds = small(signed=1, values=np.arange(80) | 0x0800)
    values, _ = pixels.decode(parse(_saved(ds)))
    assert values.min() == -2048
    assert values.max() == -2048 + 79


def test_short_pixels_are_truncated_and_long_ones_noted() -> None:
    ds = small()
    ds.PixelData = ds.PixelData[:-20]
    with pytest.raises(UnreadableFile, match=r"140 bytes of pixels; expected 160") as caught:
        pixels.decode(parse(_saved(ds)))
    assert caught.value.code == "truncated"
    ds = small()
    ds.PixelData += b"\0" * 6
    _, notes = pixels.decode(parse(_saved(ds)))
    assert notes == ["trailing-bytes: 6 bytes after the last pixel were ignored"]


def test_a_header_that_asks_for_gigabytes_is_refused_before_decoding() -> None:
    ds = small()
    ds.Rows = ds.Columns = 65535
    with pytest.raises(UnreadableFile) as caught:
        pixels.decode(parse(_saved(ds)))
    assert caught.value.code == "too-large"
    ds = small()
    ds.Rows = ds.Columns = 8192
    ds.NumberOfFrames = 60
    with pytest.raises(UnreadableFile, match="GiB") as caught:
        pixels.decode(parse(_saved(ds)))
    assert caught.value.code == "too-large"


def test_a_transfer_syntax_we_cannot_decode_is_named() -> None:
    ds = small()
    ds.file_meta.TransferSyntaxUID = pydicom.uid.MPEG4HP41
    ds.PixelData = encapsulate([b"\0" * 100])
    with pytest.raises(UnreadableFile, match="MPEG-4") as caught:
        pixels.decode(parse(_saved(ds)))
    assert caught.value.code == "unsupported-transfer-syntax"


def test_a_private_transfer_syntax_is_not_quoted() -> None:
    ds = small()
    ds.file_meta.TransferSyntaxUID = UID("1.3.6.1.4.1.99999.1")
    ds.file_meta["TransferSyntaxUID"].value.set_private_encoding(False, True)
    ds.PixelData = encapsulate([b"\0" * 100])
    raw = _saved(ds)
    with pytest.raises(UnreadableFile) as caught:
        pixels.decode(parse(raw))
    assert "99999" not in str(caught.value)


def test_a_cut_rle_stream_is_refused() -> None:
    ds = small()
    ds.compress(RLELossless, encoding_plugin="pydicom")
    whole, _ = pixels.decode(parse(_saved(ds)))
    assert whole.max() == 79
    frame = next(pydicom.encaps.generate_frames(ds.PixelData, number_of_frames=1))
    ds.PixelData = encapsulate([frame[:80]])
    with pytest.raises(UnreadableFile) as caught:
        pixels.decode(parse(_saved(ds)))
    assert caught.value.code in ("truncated", "malformed")


def _of_pydicom() -> list[Path]:
    """pydicom's bundled files, and those of pydicom-data where that is installed."""
    folders = [Path(pydicom.__file__).parent / "data" / "test_files"]
    more = importlib.util.find_spec("data_store")
    if more is not None and more.submodule_search_locations:
        folders += map(Path, more.submodule_search_locations)
    return sorted(p for folder in folders for p in folder.rglob("*") if p.is_file() and p.suffix != ".py")


BETTER = ("OBXXXX1A_expb.dcm", "OBXXXX1A_expb_2frame.dcm")
"""Files of pydicom-data whose palette pydicom 3.0 reads in the wrong byte order; ours equal their little endian twins."""


@pytest.mark.filterwarnings("ignore")
def test_wherever_pydicom_decodes_a_bundled_file_the_values_are_its_own() -> None:
    codes: collections.Counter[str] = collections.Counter()
    for path in _of_pydicom():
        try:
            ours, _ = pixels.decode(parse(path.read_bytes()))
        except UnreadableFile as error:
            codes["without pixels" if "before its pixels" in str(error) else error.code] += 1
            continue
        ds = pydicom.dcmread(path, force=True)
        try:
            theirs = ds.pixel_array
        except (RuntimeError, ValueError, AttributeError, NotImplementedError):
            codes["only ours"] += 1
            continue
        if ds.PhotometricInterpretation == "PALETTE COLOR":
            theirs = pydicom.pixels.apply_color_lut(theirs, ds)[..., :3]
        codes["same"] += 1
        assert path.name in BETTER or np.array_equal(ours.ravel(), theirs.ravel()), path.name
    assert codes["same"] >= 75
    assert codes["only ours"] >= 1
    assert codes["malformed"] + codes["truncated"] <= 5
