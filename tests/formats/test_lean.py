"""A stack that leans is made upright whatever the file it comes in, or refused with the numbers."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from series_of_slices import one_slice

from overread.domain import Image, code_of
from overread.errors import UnreadableFile
from overread.formats.door import Found
from overread.formats.nifti import read_volumes
from overread.formats.series import read_series

SLICES, ROWS, COLUMNS = 10, 20, 16
LPS_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def rod(points: np.ndarray) -> np.ndarray:
    """A rod along z in a gradient, at points in LPS mm: straight in the patient, slanted in a stack that leans."""
    x, y, _ = np.moveaxis(points, -1, 0)
    return np.rint(200 + 3 * x + 2 * y + 900 * np.exp(-((y - 3) ** 2) / 4)).astype(np.int16)


def leaning(degrees: float, *, aside: tuple[float, float] = (0.0, 1.0)) -> np.ndarray:
    """(slice, row, column) → LPS mm: slices 3 mm apart, each a little further along the columns and rows than the one before."""
    step = 3 * np.tan(np.radians(degrees))
    affine = np.eye(4)
    affine[:3, :3] = np.array([[step * aside[0], 0, 0.9], [step * aside[1], 0.8, 0], [3, 0, 0]])
    affine[:3, 3] = -6, -7, 5
    return affine


def stack_on(affine: np.ndarray) -> np.ndarray:
    index = np.stack(np.meshgrid(*map(np.arange, (SLICES, ROWS, COLUMNS)), indexing="ij"), axis=-1)
    return rod(index @ affine[:3, :3].T + affine[:3, 3])


def nifti(
    affine: np.ndarray, values: np.ndarray, order: tuple[int, int, int] = (2, 1, 0), mm: tuple | None = None
) -> bytes:
    """A NIfTI file of a grid (slice, row, column) in LPS mm, its axes stored in another order; sform only."""
    ras = LPS_RAS @ affine[:, [*order, 3]]
    image = nib.Nifti1Image(values.transpose(order), None)
    image.set_sform(ras, 1)
    image.set_qform(None, 0)
    image.header.set_xyzt_units("mm")
    image.header["pixdim"][1:4] = mm or np.linalg.norm(ras[:3, :3], axis=0)
    return image.to_bytes()


def dicom(affine: np.ndarray, values: np.ndarray) -> Image:
    files = []
    for k, pixels in enumerate(values):
        where = affine[:3, 3] + k * affine[:3, 0]
        files.append((f"{k}.dcm", one_slice(where, np.eye(3), k + 1, pixels, PixelSpacing=["0.8", "0.9"])))
    (found,) = read_series(files)
    assert isinstance(found, Found), found
    return found.image


def codes(image: Image) -> list[str]:
    return [code_of(n) for n in image.notes]


@pytest.mark.parametrize("degrees", [20.0, -12.0])
@pytest.mark.parametrize("order", [(2, 1, 0), (0, 1, 2), (1, 2, 0)])
@pytest.mark.parametrize("listed", ["along the lean", "from slice to slice"])
def test_a_leaning_nifti_is_straight_as_the_same_slices_of_dicom_are(degrees: float, order: tuple, listed: str) -> None:
    affine = leaning(degrees)
    values = stack_on(affine)
    mm = None if listed == "along the lean" else tuple(np.array([3, 0.8, 0.9])[list(order)])
    (image,) = read_volumes(nifti(affine, values, order, mm))
    want = dicom(affine, values)
    assert image.voxels.shape == want.voxels.shape
    assert np.abs(image.voxels.astype(int) - want.voxels).max() <= 1  # rounding of interpolated halves
    assert np.allclose(image.geometry.affine, want.geometry.affine, atol=1e-4)
    (note,) = image.notes
    assert note.split("; rows")[0] in [n.split("; rows")[0] for n in want.notes]
    assert order != (2, 1, 0) or note in want.notes  # else rows and columns are told as they are stored
    assert f"leaned by {abs(degrees):.1f}°" in note
    rows = image.voxels[:, :, COLUMNS // 2].argmax(axis=1)
    assert np.ptp(rows) <= 1
    assert np.ptp(values[:, :, COLUMNS // 2].argmax(axis=1)) >= 6  # as stored, it is slanted


def test_every_volume_of_a_leaning_file_is_straightened() -> None:
    affine = leaning(20)
    values = stack_on(affine)
    ras = LPS_RAS @ affine[:, [2, 1, 0, 3]]
    image = nib.Nifti1Image(np.stack([values.T, values.T + 5], axis=-1), ras)
    first, second = read_volumes(image.to_bytes())
    assert np.array_equal(second.voxels[:, 10:15], first.voxels[:, 10:15] + 5)
    assert "straightened" in codes(first) and "straightened" in codes(second)


def test_a_turned_grid_and_a_shear_of_less_than_half_a_pixel_stay_as_they_are() -> None:
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_euler("xyz", [12, -9, 20], degrees=True).as_matrix()
    straight = stack_on(leaning(0))
    for affine in (leaning(0), turn @ leaning(0), leaning(0.4), turn @ leaning(0.4)):
        (image,) = read_volumes(nifti(affine, straight))
        assert image.notes == ()
        assert image.voxels.shape == straight.shape


def test_what_is_sheared_in_all_ways_or_leans_too_far_is_refused_with_the_angles() -> None:
    affine = leaning(15, aside=(0.7, 0.7))
    affine[1, 2] += 0.2  # columns are not perpendicular to rows either
    with pytest.raises(UnreadableFile, match=r"axes stand at \d+\.\d°, \d+\.\d°, \d+\.\d° to one another") as caught:
        read_volumes(nifti(affine, stack_on(affine)))
    assert caught.value.code == "sheared"
    with pytest.raises(UnreadableFile, match=r"leans by 55\.0°") as caught:
        read_volumes(nifti(leaning(55), stack_on(leaning(55))))
    assert caught.value.code == "gantry-tilt"


def test_the_axis_that_a_header_names_is_the_one_that_leans() -> None:
    """Voxels of one size: nothing but the header says along which axis the slices lie."""
    affine = leaning(20)
    affine[:3, 0] *= 0.3
    raw = nib.Nifti1Image.from_bytes(nifti(affine, stack_on(affine)))
    grown = {}
    for named in (None, 2, 1):
        raw.header.set_dim_info(slice=named)
        (image,) = read_volumes(raw.to_bytes())
        grown[named] = image.voxels.shape
    assert grown[None] == grown[2] != grown[1]
    assert grown[2][0] == SLICES and grown[1][0] > SLICES


def padded_stack(affine: np.ndarray, **header: object) -> Image:
    """The rod in a round field of view, 0 outside it; anatomy begins at 150."""
    values = stack_on(affine)
    row, column = np.mgrid[:ROWS, :COLUMNS]
    outside = (row - ROWS / 2) ** 2 + (column - COLUMNS / 2) ** 2 > (0.4 * ROWS) ** 2
    files = []
    for k, pixels in enumerate(np.where(outside, 0, values)):
        where = affine[:3, 3] + k * affine[:3, 0]
        files.append((f"{k}", one_slice(where, np.eye(3), k + 1, pixels, PixelSpacing=["0.8", "0.9"], **header)))
    (found,) = read_series(files)
    return found.image


def test_padding_is_not_mixed_with_the_anatomy_beside_it() -> None:
    affine = leaning(15.0)
    got = padded_stack(affine, PixelPaddingValue=0)
    assert "straightened" in codes(got)
    assert got.attributes["PixelPadding"] == "0\\0"
    anatomy = got.voxels > 0
    index = np.stack(np.meshgrid(*map(np.arange, got.voxels.shape), indexing="ij"), axis=-1)
    placed = np.array(got.geometry.affine)
    true = rod(index @ placed[:3, :3].T + placed[:3, 3])
    near = 100  # half a pixel along the rod's slope, and no more
    assert anatomy.mean() > 0.3
    assert np.abs(got.voxels - true)[anatomy].max() < near


def test_twin_without_a_word_on_padding_its_edge_is_mixed() -> None:
    got = padded_stack(leaning(15.0))
    assert ((got.voxels > 0) & (got.voxels < 100)).any()
