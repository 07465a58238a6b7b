"""One DICOM object: numbers in physical units, facts that identify nobody, and no header that makes it crash."""

from __future__ import annotations

import io
import warnings
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from one_image import saved
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, CTImageStorage, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from overread.domain import Image, code_of
from overread.errors import UnreadableFile
from overread.formats import dicom, limits, parser
from overread.formats.door import Found, Refused, candidates, read_job
from overread.formats.series import read_series

LETTERS = str.maketrans("0123456789", "QRSTUVWXYZ")
BUNDLED = Path(pydicom.__file__).parent / "data"


def made(values: np.ndarray | None = None, *, modality: str = "DX", **header: object) -> Dataset:
    """A valid 12-bit image of nobody, 8 × 10 pixels, with the header values given."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    kind = CTImageStorage if modality == "CT" else UID("1.2.840.10008.5.1.4.1.1.7")
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = kind
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = UID("2.25.1")
    ds.SeriesInstanceUID, ds.StudyInstanceUID, ds.Modality = "2.25.2", "2.25.3", modality
    ds.Rows, ds.Columns, ds.SamplesPerPixel, ds.PhotometricInterpretation = 8, 10, 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.PixelData = (np.arange(80) if values is None else values).astype("<u2").tobytes()
    for keyword, value in header.items():
        setattr(ds, keyword, value)
    return ds


def image(ds: Dataset) -> Image:
    (found,) = read_series([("a.dcm", saved(ds))])
    assert isinstance(found, Found), found
    return found.image


def refusal(raw: bytes) -> Refused:
    (refused,) = read_series([("a.dcm", raw)])
    assert isinstance(refused, Refused)
    return refused


def test_ct_numbers_are_hounsfield_units() -> None:
    """Water is stored as 1024 and is 0 HU: output = slope × stored + intercept (PS3.3 C.11.1.1.2)."""
    ct = image(made(np.full(80, 1024), modality="CT", RescaleSlope=1, RescaleIntercept=-1024))
    assert ct.unit == "HU"
    assert ct.voxels.dtype == np.int16
    assert np.all(ct.voxels == 0)
    assert ct.full_range == (-1024, 3071)
    assert "constant: every pixel has the same value" in ct.notes


def test_a_slope_gives_the_closed_form() -> None:
    ct = image(made(modality="CT", RescaleSlope="0.5", RescaleIntercept="-10.25"))
    assert np.array_equal(ct.voxels.ravel(), np.arange(80) * 0.5 - 10.25)
    assert ct.voxels.dtype == np.float32


@pytest.mark.parametrize(
    "header",
    [
        {"modality": "CT"},
        {"modality": "MR", "RescaleSlope": 2, "RescaleIntercept": 0},
        {"modality": "CT", "RescaleSlope": 1, "RescaleIntercept": 0, "RescaleType": "US"},
        {"modality": "CT", "RescaleIntercept": 0, "RescaleSlope": 1, "ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]},
    ],
)
def test_what_is_not_rescaled_to_hu_is_not_called_hu(header: dict) -> None:
    assert image(made(**header)).unit == "stored"


def test_monochrome1_is_inverted_and_its_window_with_it() -> None:
    plain = image(made(WindowCenter=1000, WindowWidth=500))
    inverted = image(made(PhotometricInterpretation="MONOCHROME1", WindowCenter=1000, WindowWidth=500))
    assert np.array_equal(inverted.voxels, 4095 - plain.voxels)
    assert inverted.attributes["WindowCenter"] == "3095"
    assert float(inverted.attributes["WindowWidth"]) == 500
    assert "inverted" in map(code_of, inverted.notes)
    assert inverted.attributes["PhotometricInterpretation"] == "MONOCHROME2"  # who asks it to turn them over must not


def test_hounsfield_units_are_not_inverted_for_display() -> None:
    ct = image(made(modality="CT", RescaleIntercept=-1024, RescaleSlope=1, PhotometricInterpretation="MONOCHROME1"))
    assert ct.voxels.min() == -1024
    assert any("MONOCHROME1" in n for n in ct.notes)


def test_a_modality_lookup_table_is_applied() -> None:
    lut = Dataset()
    lut.add_new("LUTDescriptor", "US", [80, 0, 16])
    lut.add_new("LUTData", "US", [int(v) for v in np.arange(80) * 3])
    lut.ModalityLUTType = "US"
    assert np.array_equal(image(made(ModalityLUTSequence=Sequence([lut]))).voxels.ravel(), np.arange(80) * 3)


def test_no_window_is_applied() -> None:
    assert np.array_equal(image(made(WindowCenter=5, WindowWidth=2)).voxels.ravel(), np.arange(80))


def test_a_film_keeps_its_pixel_size_and_gets_no_orientation() -> None:
    film = image(made(ImagerPixelSpacing=[0.2, 0.1]))
    assert film.geometry is None
    assert film.spacing_mm == (0.0, 0.2, 0.1)


def test_only_listed_facts_leave_with_the_image() -> None:
    """Every text attribute of the dictionary is set to a marker; only a maker and a model may have a name of their own."""
    ds = made()
    marked = {}
    for tag, entry in pydicom.datadict.DicomDictionary.items():
        vr, _, _, retired, keyword = entry
        if (
            vr in ("LO", "SH", "PN", "LT", "ST", "UT", "CS", "UC")
            and keyword
            and not retired
            and keyword not in ds
            and tag >> 16 > 2
        ):
            marked[keyword] = f"{tag:08X}".translate(LETTERS)
            ds.add_new(tag, vr, marked[keyword])
    for keyword in ("SpecificCharacterSet", "ModalityLUTType"):
        if keyword in ds:
            del ds[keyword]
    said = repr(image(ds))
    leaked = {k for k, marker in marked.items() if marker in said}
    assert leaked == {"Manufacturer", "ManufacturerModelName"}  # the check sees what is there


def test_strata_hold_no_exact_age() -> None:
    ds = made(PatientAge="093Y", PatientSex="M", Manufacturer="ACME")
    (found,) = read_series([("a.dcm", saved(ds))])
    assert found.origin.strata == {"sex": "M", "age": "80+", "scanner": "ACME"}


def test_an_enhanced_object_is_ordered_by_position_and_rescaled_by_frame() -> None:
    frames = []
    for z, intercept in ((4.0, 100), (0.0, 200), (2.0, 300)):
        frame, place, value = Dataset(), Dataset(), Dataset()
        place.ImagePositionPatient, value.RescaleIntercept, value.RescaleSlope = [0, 0, z], intercept, 1
        value.RescaleType = "US"
        frame.PlanePositionSequence, frame.PixelValueTransformationSequence = Sequence([place]), Sequence([value])
        frames.append(frame)
    shared, turn, measure = Dataset(), Dataset(), Dataset()
    turn.ImageOrientationPatient, measure.PixelSpacing = [1, 0, 0, 0, 1, 0], [0.5, 0.25]
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = Sequence([turn]), Sequence([measure])
    ds = made(np.zeros(240), modality="MR", NumberOfFrames=3)
    ds.PerFrameFunctionalGroupsSequence, ds.SharedFunctionalGroupsSequence = Sequence(frames), Sequence([shared])
    volume = image(ds)
    assert volume.voxels[:, 0, 0].tolist() == [200, 300, 100]
    assert volume.spacing_mm == (2.0, 0.5, 0.25)


def test_frames_without_a_place_are_kept_with_a_note() -> None:
    cine = image(made(np.arange(240), modality="US", NumberOfFrames=3))
    assert cine.voxels.shape == (3, 8, 10)
    assert cine.geometry is None
    assert any("3 frames over time" in n for n in cine.notes)
    stored = image(made(np.arange(240), modality="OT", NumberOfFrames=3))
    assert any("3 frames without a place" in n for n in stored.notes)


def test_a_report_has_no_pixels_and_a_segmentation_is_no_image() -> None:
    ds = made(SOPClassUID=UID("1.2.840.10008.5.1.4.1.1.88.33"))
    del ds.PixelData
    assert refusal(saved(ds)).code == "no-pixels"
    assert refusal(saved(made(SOPClassUID=UID("1.2.840.10008.5.1.4.1.1.66.4")))).code == "unsupported-object"


def test_a_deflated_file_is_read_and_a_deflate_bomb_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    ds = made()
    ds.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    raw = saved(ds)
    (found,) = read_series([("a.dcm", raw)])
    assert np.array_equal(found.image.voxels.ravel(), np.arange(80))
    start = 144 + int.from_bytes(raw[140:144], "little")
    engine = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = engine.compress(bytes(1 << 25)) + engine.flush()
    monkeypatch.setattr(limits, "LARGEST_BYTES", 1 << 24)
    assert refusal(raw[:start] + bomb).code == "too-large"


def test_deep_nesting_is_malformed_and_not_a_crash() -> None:
    head, item = saved(made()), b""
    for _ in range(400):  # written by hand: the writer itself would recurse
        item = b"\xfe\xff\x00\xe0\xff\xff\xff\xff" + b"\x08\x00\x15\x11SQ\0\0\xff\xff\xff\xff" + item
    raw = head[: head.index(b"\x28\x00\x02\x00US")] + b"\x08\x00\x15\x11SQ\0\0\xff\xff\xff\xff" + item
    assert refusal(raw).code in ("malformed", "truncated", "no-pixels")


def test_warnings_become_notes_without_header_values() -> None:
    ds = made()
    ds.add_new("StudyDate", "DA", "20200101")
    raw = saved(ds).replace(b"20200101", b"Jane-Doe")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (found,) = read_series([("a.dcm", raw)])
    assert "Jane" not in repr(found.image)


BUNDLED_FILES = sorted(p for d in ("test_files", "charset_files") for p in (BUNDLED / d).rglob("*") if p.is_file())


def test_none_of_the_bundled_files_crashes_and_each_is_accounted_for() -> None:
    assert len(BUNDLED_FILES) > 150
    codes: dict[str, int] = {}
    for path in BUNDLED_FILES:
        results = [r for job in candidates(path) for r in read_job(job)]
        assert results, path
        code = results[0].code if isinstance(results[0], Refused) else "found"
        codes[code] = codes.get(code, 0) + 1
    assert codes["found"] >= 85
    assert codes.get("malformed", 0) <= 4


@pytest.mark.parametrize(
    "name", ["CT_small.dcm", "MR_small.dcm", "MR_small_RLE.dcm", "MR_small_bigendian.dcm", "image_dfl.dcm"]
)
def test_pixels_agree_with_pydicom_used_by_hand(name: str) -> None:
    path = BUNDLED / "test_files" / name
    ds = pydicom.dcmread(path)
    (result,) = [r for job in candidates(path) for r in read_job(job)]
    expected = ds.pixel_array.astype(float) * float(ds.get("RescaleSlope", 1)) + float(ds.get("RescaleIntercept", 0))
    assert np.array_equal(result.image.voxels[0], expected)


SEEDS = [BUNDLED / "test_files" / n for n in ("CT_small.dcm", "MR_small_RLE.dcm", "MR_small_jpeg_ls_lossless.dcm")]


@settings(max_examples=120, deadline=None)
@given(st.sampled_from(SEEDS), st.data())
def test_a_damaged_header_is_read_or_refused_and_never_crashes(path: Path, data: st.DataObject) -> None:
    raw = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        raw[data.draw(st.integers(0, min(3000, len(raw) - 1)))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.one_of(st.just(len(raw)), st.integers(0, len(raw))))
    for result in read_series([("a.dcm", bytes(raw[:cut]))]):
        assert isinstance(result, (Found, Refused))
        if isinstance(result, Found):
            assert result.image.voxels.dtype in (np.uint8, np.int16, np.uint16, np.int32, np.float32)


def test_the_parser_refuses_in_its_own_words() -> None:
    with pytest.raises(UnreadableFile) as caught:
        dicom.parse(b"\x08\x00\x05\x00CS\n\x00" + b"Doe^Jane" * 20)
    assert "Doe" not in str(caught.value)


@pytest.mark.parametrize("way", ["undefined length", "stated length", "deflated"])
def test_items_without_number_are_refused(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def file(items: int) -> bytes:
        head, item = saved(made()), b"\xfe\xff\x00\xe0" + bytes(4)
        begin = head.index(b"\x28\x00\x02\x00US")
        body = item * items
        if way == "undefined length":
            sequence = b"\x08\x00\x15\x11SQ\0\0\xff\xff\xff\xff" + body + b"\xfe\xff\xdd\xe0" + bytes(4)
        else:
            sequence = b"\x08\x00\x15\x11SQ\0\0" + len(body).to_bytes(4, "little") + body
        raw = head[:begin] + sequence + head[begin:]
        if way == "deflated":
            ds = pydicom.dcmread(io.BytesIO(raw))
            ds.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
            return saved(ds)
        return raw

    monkeypatch.setattr(parser, "MOST_ITEMS", 10_000)
    (found,) = read_series([("a.dcm", file(9_000))])
    assert isinstance(found, Found)
    with pytest.raises(UnreadableFile, match="more than 10,000 items in sequences"):
        dicom.parse(file(11_000))
