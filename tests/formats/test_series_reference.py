"""DICOM series of real scanners, with the NIfTI volumes that another program made of them as the oracle."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from scipy import ndimage

from overread.domain import Image, code_of
from overread.formats.door import read
from overread.imaging import geometry

WITH_REFERENCE = {
    "ge/anatomical/001": "ge/anatomical/001_ground_truth.nii.gz",
    "generic/anatomical/001": "generic/anatomical/001_ground_truth.nii.gz",
    "generic/anatomical/002_non_isotropic": "generic/anatomical/002_non_isotropic_ground_truth.nii.gz",
    "generic/compressed/001": "generic/compressed/001_ground_truth.nii.gz",
    "generic/compressed_j2k/001": "generic/compressed_j2k/001_ground_truth.nii.gz",
    "generic/compressed_jpeg/001": "generic/compressed_jpeg/001_ground_truth.nii.gz",
    "generic/compressed_jpegls/001": "generic/compressed_jpegls/001_ground_truth.nii.gz",
    "generic/compressed_rle/001": "generic/compressed_rle/001_ground_truth.nii.gz",
    "hitachi/anatomical/001": "hitachi/anatomical/001_ground_truth.nii.gz",
    "hitachi/anatomical/001_implicit": "hitachi/anatomical/001_ground_truth.nii.gz",
    "hyperfine/anatomical/001": "hyperfine/anatomical/001_ground_truth.nii.gz",
    "siemens_multiframe/anatomical/001": "siemens_multiframe/anatomical/001_ground_truth.nii.gz",
    "philips_enhanced/anatomical/001": "philips_enhanced/anatomical/001_ground_truth.nii.gz",
    "generic/rgb/001": "generic/rgb/001_ground_truth.nii.gz",
}


def _reference(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The other program's volume, read by nibabel alone, on the axes (slices, rows, columns) in LPS."""
    image = nib.load(path)
    data = np.asanyarray(image.dataobj)
    if data.dtype.names:
        data = np.stack([data[c] for c in "RGB"], axis=-1)
    data = data.reshape(*data.shape[:3], *([3] if data.ndim == 4 and data.shape[-1] == 3 else []))
    return _reference_of(data, image.affine)


def _reference_of(data: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return geometry.reorient(np.swapaxes(data, 0, 2), (np.diag([-1.0, -1, 1, 1]) @ affine)[:, [2, 1, 0, 3]])


def _in_place(image: Image) -> tuple[np.ndarray, np.ndarray]:
    assert image.geometry is not None
    return geometry.reorient(image.voxels, np.array(image.geometry.affine))


@pytest.mark.parametrize("folder", sorted(WITH_REFERENCE))
def test_a_volume_agrees_with_the_reference_voxel_by_voxel_and_mm_by_mm(shared_data: Path, folder: str) -> None:
    root = shared_data / "dicom_series"
    (image,) = read(root / folder)
    assert image.geometry is not None
    voxels, affine = geometry.reorient(image.voxels, np.array(image.geometry.affine))
    expected, placed = _reference(root / WITH_REFERENCE[folder])
    assert voxels.shape == expected.shape
    if "philips" in folder:  # the reference undoes Philips' private scale; ours is the DICOM rescale: proportional
        assert np.corrcoef(voxels.ravel(), expected.ravel())[0, 1] > 0.999999
    elif expected.dtype.kind == "f":
        assert np.allclose(voxels, expected, rtol=1e-5)
    else:
        assert np.array_equal(voxels, expected)
    assert np.abs(placed - affine).max() < 2e-3  # mm; the references are stored in single precision


def test_one_slice_without_a_thickness_gets_no_made_up_depth(shared_data: Path) -> None:
    (image,) = read(shared_data / "dicom_series" / "ge/anatomical/001_single_slice")
    assert image.geometry is None
    assert image.spacing_mm == (0.0, 1.0, 1.0)
    expected, _ = _reference(shared_data / "dicom_series" / "ge/anatomical/001_single_slice_ground_truth.nii.gz")
    assert np.array_equal(np.sort(image.voxels, axis=None), np.sort(expected, axis=None))


def test_the_reference_check_can_fail(shared_data: Path) -> None:
    root = shared_data / "dicom_series"
    (image,) = read(root / "generic/anatomical/001")
    voxels, _ = geometry.reorient(image.voxels[::-1], np.array(image.geometry.affine))
    assert not np.array_equal(voxels, _reference(root / WITH_REFERENCE["generic/anatomical/001"])[0])


@pytest.mark.parametrize("folder", ["ge/dti/001", "ge/dti/002", "ge/fmri/001", "philips_enhanced/fmri/001"])
def test_several_volumes_in_one_series_are_the_reference_s_volumes_in_its_order(shared_data: Path, folder: str) -> None:
    root = shared_data / "dicom_series"
    reference = nib.load(root / f"{folder}_ground_truth.nii.gz")
    data = np.asanyarray(reference.dataobj)
    images = read(root / folder)
    assert [i.attributes["Volume"] for i in images] == [f"{n + 1} of {data.shape[3]}" for n in range(data.shape[3])]
    for n, image in enumerate(images):
        assert "one-of-several" in map(code_of, image.notes)
        voxels, affine = _in_place(image)
        expected, placed = _reference_of(data[..., n], reference.affine)
        if "philips" in folder:
            assert np.corrcoef(voxels.ravel(), expected.ravel())[0, 1] > 0.999999
        else:
            assert np.array_equal(voxels, expected)
        assert np.abs(placed - affine).max() < 2e-3


def test_diffusion_steps_of_an_enhanced_object_are_named_by_their_gradient(shared_data: Path) -> None:
    """The reference program's own volumes 2 to 4 are empty, so the header and pydicom's frames are the oracle."""
    folder = shared_data / "dicom_series" / "philips_enhanced/dti/001"
    images = read(folder)
    ds = pydicom.dcmread(next(folder.iterdir()))
    said = [(i.attributes["DiffusionBValue"], i.attributes.get("DiffusionGradientOrientation")) for i in images]
    assert said == [
        ("0", None),
        ("1300", "1\\0\\0"),
        ("1300", "0\\-1\\0"),
        ("1300", "-0.025999\\-0.649187\\0.760185"),
    ]
    for n, image in enumerate(images):
        for k, voxels in enumerate(image.voxels):  # the file keeps its positions from low to high, four frames at each
            assert np.corrcoef(voxels.ravel(), ds.pixel_array[4 * k + n].ravel())[0, 1] > 0.999999


def test_a_tilted_gantry_is_straightened_and_told_in_degrees(shared_data: Path) -> None:
    folder = shared_data / "dicom_series" / "failing" / "gantrytilting" / "001"
    (image,) = read(folder)
    assert any("leaned by 14.0°" in n and code_of(n) == "straightened" for n in image.notes)
    affine = np.array(image.geometry.affine)
    assert geometry.lean_degrees(affine) < 1e-6
    assert image.voxels.dtype == np.int16
    rows, columns = (a.ravel() for a in np.meshgrid(np.arange(60, 450, 7), np.arange(60, 450, 7), indexing="ij"))
    for path in folder.iterdir():  # each slice, where its own header puts it, by SciPy's linear interpolation
        ds = pydicom.dcmread(path)
        own = geometry.plane_affine(
            np.array(ds.ImagePositionPatient, float),
            orientation=np.array(ds.ImageOrientationPatient, float),
            pixel_spacing_mm=np.array(ds.PixelSpacing, float),
            slice_step_mm=affine[:3, 0],
        )
        k = (np.linalg.inv(affine) @ own[:, 3])[0]
        assert abs(k - round(k)) < 1e-3  # it lies in a slice of the straight grid
        at = np.linalg.inv(own) @ affine @ np.stack([np.full(rows.size, k), rows, columns, np.ones(rows.size)])
        hu = ds.pixel_array * float(ds.RescaleSlope) + float(ds.RescaleIntercept)
        expected = ndimage.map_coordinates(hu, at[1:3], order=1)
        assert np.abs(image.voxels[round(k), rows, columns] - expected).max() < 0.51  # HU: it is rounded
