"""DICOM series: real scanners, with the NIfTI volumes another program made of them as the oracle."""

from __future__ import annotations

import io
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial.transform import Rotation

from overread.domain import Image, code_of
from overread.formats import series, stack
from overread.formats.door import Found, Refused, candidates, read, read_job, scan
from overread.formats.series import read_series
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

REFUSED = {
    "notavolume/001": ("duplicate-position", "4 slices at 1 position"),
    "slicecount/001": ("missing-slices", "2 slices"),
    "sliceincrement/001": ("uneven-spacing", "from 5.00 to 10.00 mm"),  # instance numbers run on: the step changed
    "sliceincrement/002": ("missing-slices", "1 slice missing"),  # instance 4 is not there
    "sliceorientation/001": ("mixed-orientation", "2 of 4 slices"),
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


@pytest.mark.parametrize("folder", sorted(REFUSED))
def test_a_stack_that_is_none_is_refused_with_its_numbers(shared_data: Path, folder: str) -> None:
    code, said = REFUSED[folder]
    path = shared_data / "dicom_series" / "failing" / folder
    results = list(scan(path))
    assert len(results) == len(list(path.iterdir()))
    assert {r.code for r in results} == {code}
    assert all(said in r.reason for r in results)


def _in_place(image: Image) -> tuple[np.ndarray, np.ndarray]:
    assert image.geometry is not None
    return geometry.reorient(image.voxels, np.array(image.geometry.affine))


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


def test_order_comes_from_positions_and_not_from_names_or_numbers(shared_data: Path) -> None:
    folder = shared_data / "dicom_series" / "generic" / "anatomical" / "001"
    (expected,) = read(folder)
    files = []
    for n, path in enumerate(sorted(folder.iterdir())):
        ds = pydicom.dcmread(path)
        ds.InstanceNumber = 100 - 7 * n
        buffer = io.BytesIO()
        ds.save_as(buffer)
        files.append((f"{(n * 2 + 1) % 4}.dcm", buffer.getvalue()))
    (found,) = read_series(sorted(files, reverse=True))
    assert isinstance(found, Found)
    assert np.array_equal(found.image.voxels, expected.voxels)
    assert found.image.geometry == expected.geometry


def test_every_file_of_the_whole_tree_is_accounted_for(shared_data: Path) -> None:
    """Once, but for a file that holds several volumes: it is named by each of them."""
    root = shared_data / "dicom_series"
    offered = sorted(str(p) for p in root.rglob("*") if p.is_file())
    named = []
    for result in scan(root):
        if isinstance(result, Refused) or not result.image.attributes.get("Volume", "1 of").startswith(("2", "3", "4")):
            named += [result.file] if isinstance(result, Refused) else result.origin.files
        elif len(result.origin.files) > 1:  # classic: its files are its own
            named += result.origin.files
    assert sorted(named) == offered


def test_two_exports_of_one_series_in_two_folders_are_two_volumes(shared_data: Path) -> None:
    root = shared_data / "dicom_series" / "generic"
    found = list(scan(root / "compressed_rle" / "001", root / "compressed_jpegls" / "001"))
    assert [len(f.origin.files) for f in found] == [4, 4]
    assert np.array_equal(found[0].image.voxels, found[1].image.voxels)


def test_a_file_twice_in_one_series_is_named_as_a_copy(shared_data: Path) -> None:
    folder = shared_data / "dicom_series" / "hitachi" / "anatomical" / "001"
    files = [(p.name, p.read_bytes()) for p in sorted(folder.iterdir())]
    results = read_series([*files, ("again.dcm", files[0][1])])
    assert [r.code for r in results if isinstance(r, Refused)] == ["copy"]
    assert [len(r.origin.files) for r in results if isinstance(r, Found)] == [4]


def test_one_broken_slice_refuses_its_volume(shared_data: Path) -> None:
    folder = shared_data / "dicom_series" / "hitachi" / "anatomical" / "001"
    files = [(p.name, p.read_bytes()) for p in sorted(folder.iterdir())]
    files[1] = (files[1][0], files[1][1][:-100])
    results = read_series(files)
    assert len(results) == 4
    assert all(isinstance(r, Refused) for r in results)
    assert {r.code for r in results} == {"truncated"}
    assert ["another cannot be read" in r.reason for r in sorted(results, key=lambda r: r.file)] == [1, 0, 1, 1]


def test_a_volume_says_that_a_file_of_its_series_was_lost(shared_data: Path) -> None:
    folder = shared_data / "dicom_series" / "hitachi" / "anatomical" / "001"
    files = [(p.name, p.read_bytes()) for p in sorted(folder.iterdir())]
    refused, found = read_series([*files[:3], (files[3][0], files[3][1][:700])])
    assert isinstance(refused, Refused)
    assert isinstance(found, Found)
    said = "1 more file of this series could not be read; the volume may be cut short"
    assert f"files-lost: {said}" in found.image.notes
    (alone,) = read_series(files[:3])
    assert not any("could not be read" in n for n in alone.image.notes)


def test_identity_stays_in_the_origin(shared_data: Path) -> None:
    for result in scan(shared_data / "dicom_series" / "generic" / "anatomical" / "001"):
        assert isinstance(result, Found)
        assert result.origin.series_uid
        said = repr((result.image.attributes, result.image.notes))
        assert result.origin.series_uid not in said
        assert (result.origin.patient_id or "no id") not in said


def test_jobs_are_picklable_and_give_the_same_in_another_order(shared_data: Path) -> None:
    import pickle

    root = shared_data / "dicom_series" / "generic" / "compressed_rle"
    jobs = pickle.loads(pickle.dumps(list(candidates(root))))
    first = [r for job in jobs for r in read_job(job)]
    second = [r for job in reversed(jobs) for r in read_job(job)]
    digests = [sorted(f.origin.digest for f in run if isinstance(f, Found)) for run in (first, second)]
    assert digests[0] == digests[1]


def _slice(position: np.ndarray, turn: np.ndarray, number: int, pixels: np.ndarray, **more: object) -> bytes:
    ds = pydicom.Dataset()
    ds.file_meta = pydicom.dataset.FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    ds.SOPClassUID, ds.SOPInstanceUID = pydicom.uid.MRImageStorage, f"1.2.3.{number}"
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.Modality = "1.2", "1.2.3", "MR"
    ds.InstanceNumber = number
    ds.ImagePositionPatient = [f"{v:.6f}" for v in position]
    ds.ImageOrientationPatient = [f"{v:.9f}" for v in (*turn[:, 0], *turn[:, 1])]
    ds.PixelSpacing = ["0.8", "1.25"]
    ds.Rows, ds.Columns = pixels.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.PixelData = pixels.astype("<u2").tobytes()
    for keyword, value in more.items():
        setattr(ds, keyword, value)
    out = io.BytesIO()
    ds.save_as(out, enforce_file_format=True)
    return out.getvalue()


@settings(max_examples=15, deadline=None)
@given(st.integers(3, 9), st.floats(0.5, 6), st.integers(0, 10_000), st.integers(1, 3))
def test_every_voxel_of_a_random_scan_lies_where_its_own_file_says(
    count: int, step: float, seed: int, echoes: int
) -> None:
    """Random direction, order of files, instance numbers and echoes; each voxel holds a number of its own."""
    rng = np.random.default_rng(seed)
    turn, corner = Rotation.random(random_state=seed).as_matrix(), rng.normal(size=3) * 80
    numbers = rng.permutation(count * echoes) + 1
    truth, files = {}, []
    for n in range(count * echoes):
        echo, k = divmod(n, count)
        pixels = rng.integers(0, 4096, (10, 12))
        position = np.round(corner + turn[:, 2] * step * k, 6)
        truth[(echo, k)] = (position, pixels)
        about = {"EchoTime": str(10 + 20 * echo)} if echoes > 1 else {}
        files.append((f"{rng.integers(1e9)}", _slice(position, turn, int(numbers[n]), pixels, **about)))
    found = read_series([files[i] for i in rng.permutation(len(files))])
    assert len(found) == echoes
    for result in found:
        image = result.image
        echo = int((float(image.attributes["EchoTime"]) - 10) / 20) if echoes > 1 else 0
        affine = np.array(image.geometry.affine)
        assert np.allclose(image.spacing_mm, (step, 0.8, 1.25), atol=1e-4)
        for k in range(count):
            position, pixels = truth[(echo, k)]
            assert np.allclose((affine @ [k, 0, 0, 1])[:3], position, atol=1e-4)
            assert np.array_equal(image.voxels[k], pixels)
        row, column = (affine @ [0, 1, 0, 0])[:3], (affine @ [0, 0, 1, 0])[:3]
        assert np.allclose(row, turn[:, 1] * 0.8, atol=1e-6)
        assert np.allclose(column, turn[:, 0] * 1.25, atol=1e-6)


def test_the_raw_stack_of_a_tilted_gantry_never_passes_as_straight() -> None:
    turn, pixels = np.eye(3), np.arange(120).reshape(10, 12)
    ct = {"Modality": "CT", "GantryDetectorTilt": "15", "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"]}
    upright = [(f"{k}", _slice(np.array([0, 0, 5.0 * k]), turn, k + 1, pixels + k, **ct)) for k in range(4)]
    assert {(r.code, "15.0°" in r.reason) for r in read_series(upright)} == {("gantry-tilt", True)}
    derived = ct | {"ImageType": ["DERIVED", "SECONDARY", "MPR"]}
    reformatted = [(f"{k}", _slice(np.array([0, 0, 5.0 * k]), turn, k + 1, pixels + k, **derived)) for k in range(4)]
    (found,) = read_series(reformatted)
    assert "tilt-contradicted" in map(code_of, found.image.notes)


def test_the_same_pixels_twice_are_read_once_and_told() -> None:
    turn, pixels = np.eye(3), np.arange(120).reshape(10, 12)
    files = [(f"{k}", _slice(np.array([0, 0, 2.0 * k]), turn, k + 1, pixels + k)) for k in range(4)]
    files.append(("again", _slice(np.array([0, 0, 4.0]), turn, 9, pixels + 2)))
    found, copy = read_series(files)
    assert len(found.image.voxels) == 4
    assert "copies-dropped" in map(code_of, found.image.notes)
    assert (copy.file, copy.code) == ("again", "copy")
    files[-1] = ("again", _slice(np.array([0, 0, 4.0]), turn, 2, pixels + 50))
    assert {r.code for r in read_series(files)} == {"duplicate-position"}


def test_one_part_of_a_divided_object_is_refused() -> None:
    about = {"ConcatenationUID": "1.2.9", "InConcatenationNumber": 2, "InConcatenationTotalNumber": 3}
    (refused,) = read_series([("a", _slice(np.zeros(3), np.eye(3), 1, np.ones((10, 12)), **about))])
    assert refused.code == "missing-slices"
    assert "part 2 of 3" in refused.reason


def _stack(count: int, **more: object) -> list[tuple[str, bytes]]:
    pixels = np.random.default_rng(5).integers(0, 4096, (10, 12))
    return [(f"{k}", _slice(np.array([0, 0, 2.5 * k]), np.eye(3), k + 1, pixels + k, **more)) for k in range(count)]


def _again(k: int, number: int, **more: object) -> tuple[str, bytes]:
    pixels = np.random.default_rng(number).integers(0, 4096, (10, 12))
    return f"again {number}", _slice(np.array([0, 0, 2.5 * k]), np.eye(3), number, pixels, **more)


def test_slices_of_two_frames_of_reference_never_make_one_volume() -> None:
    one, other = _stack(10, FrameOfReferenceUID="1.2.9"), _stack(10, FrameOfReferenceUID="1.2.8")
    assert [len(f.image.voxels) for f in read_series(one)] == [10]
    halves = read_series([*one[:5], *other[5:]])
    assert [len(f.image.voxels) for f in halves] == [5, 5]
    for found in halves:
        assert any("2 directions, sizes or frames of reference" in n for n in found.image.notes)
        assert not any(uid in repr(found.image) for uid in ("1.2.9", "1.2.8"))


@pytest.mark.parametrize("again", [[4], [0], [4, 7]])
def test_a_slice_scanned_again_is_a_picture_beside_its_volume(again: list[int]) -> None:
    files = [*_stack(10, AcquisitionNumber=1), *[_again(k, 20 + k, AcquisitionNumber=2) for k in again]]
    volume, *pictures = read_series(files)
    assert (len(volume.image.voxels), volume.origin.files) == (10, tuple(map(str, range(10))))
    assert np.array_equal(volume.image.voxels, read_series(_stack(10))[0].image.voxels)
    assert [len(p.image.voxels) for p in pictures] == [1] * len(again)
    assert all("few-slices" in map(code_of, p.image.notes) for p in pictures)
    assert {r.code for r in read_series([*_stack(10), *[_again(k, 20 + k) for k in again]])} == {"duplicate-position"}


def test_a_volume_says_that_a_slice_of_its_series_does_not_say_where_it_lies() -> None:
    files = _stack(10)
    ds = pydicom.dcmread(io.BytesIO(files[9][1]))
    del ds.ImagePositionPatient
    buffer = io.BytesIO()
    ds.save_as(buffer)
    picture, volume = read_series([*files[:9], ("9", buffer.getvalue())])
    assert (len(picture.image.voxels), len(volume.image.voxels)) == (1, 9)
    said = "slices-adrift: 1 more slice of this series does not say where it lies; the volume may be cut short"
    assert said in volume.image.notes
    assert "slices-adrift" not in map(code_of, read_series(files)[0].image.notes)


def _two_contrasts(*exchanged: int, **more: object) -> list[tuple[str, bytes]]:
    """Two contrasts at each position, the dark one first, but for the positions that were exchanged."""
    rng, files = np.random.default_rng(3), []
    for k in range(6):
        for t in range(2):
            pixels = rng.integers(0, 200, (10, 12)) + (100 + 800 * ((1 - t) if k in exchanged else t))
            position = np.array([0, 0, 2.5 * k])
            files.append((f"{k} {t}", _slice(position, np.eye(3), 1 + 2 * k + t, pixels, **more)))
    return files


@pytest.mark.parametrize("exchanged", [(3,), (0,), (5,), (1, 4), (2, 3)])
def test_volumes_told_apart_by_counting_are_refused_where_their_pixels_contradict_it(exchanged: tuple) -> None:
    dark, bright = read_series(_two_contrasts())
    for found in (dark, bright):
        assert {"counted", "one-of-several"} <= set(map(code_of, found.image.notes))
    assert (dark.image.voxels.max() < 400, bright.image.voxels.min() > 800) == (True, True)
    refused = read_series(_two_contrasts(*exchanged))
    assert {r.code for r in refused} == {"duplicate-position"}
    assert len(refused) == 12
    for reason in (r.reason for r in refused):
        as_dealt, swapped = (
            float(v) for v in re.search(r"differ by (\d+) on average, and by ([\d.]+)", reason).groups()
        )
        assert abs(as_dealt - 800) < 20
        assert swapped < 100


def test_volumes_that_a_fact_tells_apart_are_believed_whatever_their_pixels_are() -> None:
    files = []
    for k, t in [(k, t) for k in range(6) for t in range(2)]:
        pixels = np.full((10, 12), 900 if (k + t) % 2 else 100) + np.arange(12)
        files.append((f"{k} {t}", _slice(np.array([0, 0, k]), np.eye(3), 2 * k + t, pixels, EchoTime=str(10 + t))))
    assert [len(f.image.voxels) for f in read_series(files)] == [6, 6]


def test_what_stumbles_in_our_own_code_is_a_defect_and_no_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    def stumble(*_: object, **__: object) -> None:
        raise IndexError("ours")

    for module, name in ((series, "arrange"), (series, "stacked"), (series, "check_order"), (stack, "_laid")):
        with monkeypatch.context() as patched:
            patched.setattr(module, name, stumble)
            with pytest.raises(IndexError, match="ours"):
                read_series(_two_contrasts())
    with monkeypatch.context() as patched:
        patched.setattr(series, "_usable", stumble)
        with pytest.raises(IndexError, match="ours"):
            read_series(_stack(1))
    with monkeypatch.context() as patched:  # a foreign value that a parser stumbles on stays a refusal
        patched.setattr(series, "facts", stumble)
        assert {r.code for r in read_series(_stack(4))} == {"malformed"}


def test_grey_and_colour_are_no_one_volume() -> None:
    files = _stack(4)
    ds = pydicom.dcmread(io.BytesIO(files[2][1]))
    ds.PhotometricInterpretation, ds.PixelData = "PALETTE COLOR", bytes(2 * 120)
    for colour in ("Red", "Green", "Blue"):
        ds.add_new(f"{colour}PaletteColorLookupTableDescriptor", "US", [256, 0, 16])
        setattr(ds, f"{colour}PaletteColorLookupTableData", np.arange(256, dtype="<u2").tobytes())
    buffer = io.BytesIO()
    ds.save_as(buffer, implicit_vr=False, little_endian=True)
    files[2] = ("2", buffer.getvalue())
    assert {(r.code, "2 kinds" in r.reason) for r in read_series(files)} == {("mixed-size", True)}


def test_a_tilt_s_shift_is_the_table_step_s_part_within_the_slices() -> None:
    """The table moves 5 mm along the patient, slices stand at 15°: each lies 5 sin 15° further along its own plane."""
    turn = Rotation.from_euler("x", 15, degrees=True).as_matrix()
    pixels = np.random.default_rng(5).integers(0, 4096, (10, 12))
    files = [(f"{k}", _slice(np.array([0, 0, 5.0 * k]), turn, k + 1, pixels)) for k in range(4)]
    (found,) = read_series(files)
    assert any(f"{5 * np.sin(np.radians(15)):.2f} mm further" in n for n in found.image.notes)


def test_a_lean_of_tiny_pixels_asks_for_no_terabytes() -> None:
    pixels = np.arange(120).reshape(10, 12)
    many = [
        (f"{k}", _slice(np.array([k / 2, k / 2, k]), np.eye(3), k + 1, pixels + k, PixelSpacing=["0.000002"] * 2))
        for k in range(4)
    ]
    assert {r.code for r in read_series(many)} == {"too-large"}
    none = [
        (f"{k}", _slice(np.array([0, 0, k]), np.eye(3), k, pixels + k, PixelSpacing=["1e-9"] * 2)) for k in (1, 2, 3)
    ]
    assert all("no-place" in map(code_of, f.image.notes) for f in read_series(none))
