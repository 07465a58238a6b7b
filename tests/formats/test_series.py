"""DICOM series: every voxel lies where its own file says, and every file is accounted for."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from series_of_slices import one_slice, stack_of

from overread.domain import code_of
from overread.formats.door import Found, Refused, candidates, read, read_job, scan
from overread.formats.series import read_series


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
        files.append((f"{rng.integers(1e9)}", one_slice(position, turn, int(numbers[n]), pixels, **about)))
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


def test_the_same_pixels_twice_are_read_once_and_told() -> None:
    turn, pixels = np.eye(3), np.arange(120).reshape(10, 12)
    files = [(f"{k}", one_slice(np.array([0, 0, 2.0 * k]), turn, k + 1, pixels + k)) for k in range(4)]
    files.append(("again", one_slice(np.array([0, 0, 4.0]), turn, 9, pixels + 2)))
    found, copy = read_series(files)
    assert len(found.image.voxels) == 4
    assert "copies-dropped" in map(code_of, found.image.notes)
    assert (copy.file, copy.code) == ("again", "copy")
    files[-1] = ("again", one_slice(np.array([0, 0, 4.0]), turn, 2, pixels + 50))
    assert {r.code for r in read_series(files)} == {"duplicate-position"}


def _again(k: int, number: int, **more: object) -> tuple[str, bytes]:
    pixels = np.random.default_rng(number).integers(0, 4096, (10, 12))
    return f"again {number}", one_slice(np.array([0, 0, 2.5 * k]), np.eye(3), number, pixels, **more)


@pytest.mark.parametrize("again", [[4], [0], [4, 7]])
def test_a_slice_scanned_again_is_a_picture_beside_its_volume(again: list[int]) -> None:
    files = [*stack_of(10, AcquisitionNumber=1), *[_again(k, 20 + k, AcquisitionNumber=2) for k in again]]
    volume, *pictures = read_series(files)
    assert (len(volume.image.voxels), volume.origin.files) == (10, tuple(map(str, range(10))))
    assert np.array_equal(volume.image.voxels, read_series(stack_of(10))[0].image.voxels)
    assert [len(p.image.voxels) for p in pictures] == [1] * len(again)
    assert all("few-slices" in map(code_of, p.image.notes) for p in pictures)
    assert {r.code for r in read_series([*stack_of(10), *[_again(k, 20 + k) for k in again]])} == {"duplicate-position"}


def test_a_volume_says_that_a_slice_of_its_series_does_not_say_where_it_lies() -> None:
    files = stack_of(10)
    ds = pydicom.dcmread(io.BytesIO(files[9][1]))
    del ds.ImagePositionPatient
    buffer = io.BytesIO()
    ds.save_as(buffer)
    picture, volume = read_series([*files[:9], ("9", buffer.getvalue())])
    assert (len(picture.image.voxels), len(volume.image.voxels)) == (1, 9)
    said = "slices-adrift: 1 more slice of this series does not say where it lies; the volume may be cut short"
    assert said in volume.image.notes
    assert "slices-adrift" not in map(code_of, read_series(files)[0].image.notes)


def test_a_tilt_s_shift_is_the_table_step_s_part_within_the_slices() -> None:
    """The table moves 5 mm along the patient, slices stand at 15°: each lies 5 sin 15° further along its own plane."""
    turn = Rotation.from_euler("x", 15, degrees=True).as_matrix()
    pixels = np.random.default_rng(5).integers(0, 4096, (10, 12))
    files = [(f"{k}", one_slice(np.array([0, 0, 5.0 * k]), turn, k + 1, pixels)) for k in range(4)]
    (found,) = read_series(files)
    assert any(f"{5 * np.sin(np.radians(15)):.2f} mm further" in n for n in found.image.notes)


def test_a_patient_number_with_a_space_before_it_is_the_same_person(tmp_path: Path) -> None:
    for k in range(6):
        ((_, raw),) = stack_of(1, PatientID=" A1" if k % 2 else "A1", ImagePositionPatient=[0, 0, 2.5 * k])
        (tmp_path / f"{k}.dcm").write_bytes(raw)
    (found,) = scan(tmp_path)
    assert (len(found.origin.files), found.origin.patient_id) == (6, "A1")
