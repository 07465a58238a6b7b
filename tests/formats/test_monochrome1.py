"""Low values shown bright: numbers with a meaning keep it, numbers without are turned over once, about one middle."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence

from overread.domain import Image, code_of
from overread.formats.series import read_series

REAL = Path(pydicom.__file__).parent / "data" / "test_files" / "dicomdirtests" / "77654033"
STORED = np.tile(np.array([0, 1000, 2000, 30000], np.uint16), (8, 3))


def a_slice(number: int = 0, modality: str = "MR", **header: object) -> bytes:
    """One slice of nobody, 2 mm above the one before."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = uid.MRImageStorage
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = f"2.25.{number + 1}"
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.Modality = "2.25.7", "2.25.8", modality
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.ImagePositionPatient, ds.ImageOrientationPatient = [0, 0, 2 * number], [1, 0, 0, 0, 1, 0]
    ds.PixelSpacing, ds.SliceThickness, ds.InstanceNumber = [1, 1], 2, number
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME1"
    ds.Rows, ds.Columns = STORED.shape
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 15, 14, 0
    ds.PixelData = (STORED + number).tobytes()
    for keyword, value in header.items():
        setattr(ds, keyword, value)
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def the_image(*files: bytes) -> Image:
    found = read_series((str(i), raw) for i, raw in enumerate(files))
    assert len(found) == 1, found
    return found[0].image


def _injected() -> Sequence:
    item = Dataset()
    item.RadionuclideTotalDose, item.RadionuclideHalfLife = 7e7, 6586
    return Sequence([item])


PET = {
    "modality": "PT",
    "Units": "BQML",
    "CorrectedImage": ["ATTN", "DECY"],
    "DecayCorrection": "ADMIN",
    "PatientWeight": 70,
}


@pytest.mark.parametrize(
    ("unit", "header"),
    [
        ("SUVbw", {**PET, "RadiopharmaceuticalInformationSequence": _injected()}),
        ("Bq/ml", PET),
        ("OD", {"modality": "CR", "RescaleType": "OD"}),
        ("HU", {"modality": "CT"}),
    ],
)
def test_a_physical_unit_is_not_turned_over(unit: str, header: dict) -> None:
    factor = 1e-3 if unit == "SUVbw" else 1.0  # 70 kg in grams, 70 MBq
    got = the_image(a_slice(RescaleSlope=2, RescaleIntercept=0, **header))
    assert got.unit == unit
    np.testing.assert_allclose(got.voxels[0], STORED * 2.0 * factor, rtol=1e-6)
    assert "shown-inverted" in map(code_of, got.notes)
    assert "inverted" not in map(code_of, got.notes)
    assert got.attributes["PhotometricInterpretation"] == "MONOCHROME1"


def test_optical_density_by_a_table_is_not_turned_over() -> None:
    lut = Dataset()
    lut.add_new("LUTDescriptor", "US", [4, 0, 16])
    lut.add_new("LUTData", "US", [5, 10, 20, 40])
    lut.ModalityLUTType = "OD"
    got = the_image(a_slice(modality="CR", ModalityLUTSequence=Sequence([lut])))
    assert got.unit == "OD"
    assert got.voxels[0, 0, :4].tolist() == [5, 40, 40, 40]
    assert "shown-inverted" in map(code_of, got.notes)


@pytest.mark.parametrize("name", ["CR1/6154", "CR2/6247", "CR3/6278"])
def test_a_real_film_of_optical_densities_keeps_them(name: str) -> None:
    """pydicom applies the header's own table; density is high where the film is dark, whoever looks at it."""
    from pydicom.pixels import apply_modality_lut

    ds = pydicom.dcmread(REAL / name)
    assert ds.PhotometricInterpretation == "MONOCHROME1"
    got = the_image((REAL / name).read_bytes())
    assert got.unit == "OD"
    assert np.array_equal(got.voxels[0], apply_modality_lut(ds.pixel_array, ds).astype(np.float32))


def test_a_stack_of_many_slopes_is_turned_over_about_one_middle() -> None:
    files = [a_slice(k, RescaleSlope=k + 1, RescaleIntercept=0) for k in range(4)]
    got = the_image(*files)
    want = np.stack([(STORED + k) * (k + 1.0) for k in range(4)])
    assert got.full_range == (0.0, 4 * 32767.0)
    assert np.array_equal(got.voxels, 4 * 32767 - want)
    assert list(map(code_of, got.notes)).count("inverted") == 1
    assert got.attributes["PhotometricInterpretation"] == "MONOCHROME2"


def test_slices_of_both_directions_show_one_direction() -> None:
    files = [a_slice(k, PhotometricInterpretation=f"MONOCHROME{1 + (k == 1)}") for k in range(3)]
    got = the_image(*files)
    assert np.array_equal(got.voxels, np.stack([32767 - STORED, STORED + 1, 32767 - STORED - 2]))


@pytest.mark.parametrize("intercept", [0, 0.5])
def test_a_film_is_turned_over_within_its_range(intercept: float) -> None:
    got = the_image(a_slice(modality="CR", RescaleSlope=1, RescaleIntercept=intercept))
    assert np.array_equal(got.voxels[0], 32767 + intercept - STORED)
    assert got.voxels.dtype == (np.float32 if intercept else np.int16)


def test_padding_of_many_slopes_is_told_with_the_stored_value() -> None:
    files = [a_slice(k, RescaleSlope=k + 1, RescaleIntercept=0, PixelPaddingValue=30000) for k in range(3)]
    got = the_image(*files)
    said = [n for n in got.notes if code_of(n) == "padding"]
    assert len(said) == 1
    assert "stored as 30000" in said[0]
    assert "PixelPadding" not in got.attributes


def test_padding_of_one_slope_stays_an_attribute_of_the_volume() -> None:
    files = [a_slice(k, RescaleSlope=2, RescaleIntercept=0, PixelPaddingValue=30000) for k in range(3)]
    assert the_image(*files).attributes["PixelPadding"] == "5534\\5534"  # 65534 - 60000: turned over with the values


def test_padding_that_only_some_slices_name_stays_and_says_how_many() -> None:
    files = [a_slice(k, RescaleSlope=2, RescaleIntercept=0) for k in range(2, 5)]
    files += [a_slice(k, RescaleSlope=2, RescaleIntercept=0, PixelPaddingValue=30000) for k in range(2)]
    got = the_image(*files)
    said = [n for n in got.notes if code_of(n) == "padding"]
    assert said == [
        "padding: pixels stored as 30000 in 2 of 5 slices are padding outside the field of view, not anatomy: kept"
    ]
    assert got.attributes["PixelPadding"] == "5534\\5534"


def test_two_values_of_padding_are_both_told_and_rescales_are_not_blamed() -> None:
    files = [a_slice(k, PixelPaddingValue=30000 if k < 2 else 20000) for k in range(5)]
    got = the_image(*files)
    said = [n for n in got.notes if code_of(n) == "padding"]
    assert len(said) == 1
    assert "pixels stored as 20000 in 3 and as 30000 in 2 of 5 slices are padding" in said[0]
    assert "rescale" not in said[0]
    assert "PixelPadding" not in got.attributes


@pytest.mark.parametrize(
    ("word", "shape"), [("MONOCHROME2", "INVERSE"), ("MONOCHROME2", "IDENTITY"), ("MONOCHROME1", "INVERSE")]
)
def test_a_shape_that_contradicts_the_photometric_word_is_told_and_moves_nothing(word: str, shape: str) -> None:
    files = {"PhotometricInterpretation": word, "PresentationLUTShape": shape}
    got = the_image(a_slice(modality="CR", **files))
    want = the_image(a_slice(modality="CR", PhotometricInterpretation=word))
    assert np.array_equal(got.voxels, want.voxels)
    assert ("inverse-contradicted" in map(code_of, got.notes)) == ((word, shape) == ("MONOCHROME2", "INVERSE"))
