"""Affine algebra: nibabel is the second author, and turning a volume never moves a voxel."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial.transform import Rotation

from overread.imaging import geometry

LETTERS = ["".join(p) for p in ("SPL", "IAR", "LPS", "RAI", "PSL", "AIR", "SLP")]


def _rotation(seed: int) -> np.ndarray:
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return q


@given(st.integers(0, 10_000), st.sampled_from(LETTERS))
def test_turning_a_volume_keeps_every_voxel_at_its_place(seed: int, to: str) -> None:
    rng = np.random.default_rng(seed)
    voxels = rng.permutation(24).reshape(2, 3, 4).astype(float)
    affine = np.eye(4)
    affine[:3, :3] = _rotation(seed) * rng.uniform(0.5, 3, 3)
    affine[:3, 3] = rng.normal(size=3) * 50
    turned, placed = geometry.reorient(voxels, affine, to=to)
    before = {v: affine @ [*np.argwhere(voxels == v)[0], 1] for v in range(24)}
    for v in range(24):
        assert np.allclose(placed @ [*np.argwhere(turned == v)[0], 1], before[v])
    assert geometry.axis_codes(placed) == to


def test_a_wrong_affine_would_be_noticed() -> None:
    voxels = np.arange(24.0).reshape(2, 3, 4)
    turned, placed = geometry.reorient(voxels, np.eye(4), to="RAI")
    placed[0, 3] += 1
    assert not np.allclose(placed @ [*np.argwhere(turned == 0)[0], 1], [0, 0, 0, 1])


@given(st.integers(0, 10_000))
def test_axis_names_agree_with_nibabel(seed: int) -> None:
    """For scans turned by up to about 30° from the body's axes; beyond, "nearest axis" is a matter of taste."""
    rng = np.random.default_rng(seed)
    whole = np.eye(3)[rng.permutation(3)] * rng.choice([-1.0, 1.0], 3)
    oblique = Rotation.from_rotvec(rng.normal(size=3) * 0.2).as_matrix()
    affine = np.eye(4)
    affine[:3, :3] = oblique @ whole
    theirs = "".join(nib.aff2axcodes(geometry.flip_ras_lps(affine)))  # nibabel speaks RAS
    assert geometry.axis_codes(affine) == theirs


@pytest.mark.parametrize("to", ["", "SP", "SPS", "LRS", "xyz"])
def test_an_orientation_that_is_none_is_refused(to: str) -> None:
    with pytest.raises(ValueError, match="no orientation"):
        geometry.reorient(np.zeros((1, 1, 1)), np.eye(4), to=to)


def test_ras_and_lps_are_mirror_images_of_each_other_twice() -> None:
    affine = np.arange(16.0).reshape(4, 4)
    assert np.array_equal(geometry.flip_ras_lps(geometry.flip_ras_lps(affine)), affine)


def test_a_plane_maps_pixels_as_the_standard_says() -> None:
    """Equation C.7.6.2.1-1 of PS3.3, written out by hand for one pixel of a sagittal slice."""
    row, column = np.array([0.0, 1, 0]), np.array([0.0, 0, -1])
    affine = geometry.plane_affine(
        [-10, -20, 30], orientation=[*row, *column], pixel_spacing_mm=[0.5, 0.25], slice_step_mm=[3, 0, 0]
    )
    i, j = 7, 5  # column index, row index
    expected = np.array([-10, -20, 30]) + row * 0.25 * i + column * 0.5 * j
    assert np.allclose((affine @ [0, j, i, 1])[:3], expected)


def test_a_linear_ramp_is_resampled_exactly_inside() -> None:
    z, y, x = np.meshgrid(np.arange(8), np.arange(10), np.arange(12), indexing="ij")
    affine = np.diag([2.0, 1.0, 0.5, 1.0])
    affine[:3, 3] = [5, 6, 7]
    ramp = affine[0, 0] * z + 3 * y - x  # linear in the index, so linear in mm
    out, placed = geometry.resample(ramp, affine, spacing_mm=(4, 2, 1))
    assert out.shape == (4, 5, 6)
    back = np.linalg.inv(affine) @ placed @ np.array([1, 2, 3, 1])
    assert np.isclose(out[1, 2, 3], 2 * back[0] + 3 * back[1] - back[2])


def test_resampling_keeps_the_outer_faces() -> None:
    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    out, placed = geometry.resample(np.ones((9, 6, 6)), affine, spacing_mm=(1.5, 2, 3))
    for axis in range(3):
        low = placed[axis, 3] - placed[axis, axis] / 2
        assert np.isclose(low, -0.5)
        assert np.isclose(low + placed[axis, axis] * out.shape[axis], (9, 6, 6)[axis] - 0.5)


@settings(max_examples=40, deadline=None)
@given(
    st.tuples(*[st.integers(2, 12)] * 3),
    st.tuples(*[st.floats(0.4, 3.0)] * 3),
    st.sampled_from([np.int16, np.float32]),
    st.integers(0, 99),
)
def test_resampling_agrees_with_scipy(shape: tuple, spacing: tuple, dtype: type, seed: int) -> None:
    voxels = (np.random.default_rng(seed).normal(size=shape) * 300).astype(dtype)
    out, placed = geometry.resample(voxels, np.eye(4), spacing_mm=spacing)
    step, offset = placed.diagonal()[:3], placed[:3, 3]
    expected = ndimage.affine_transform(
        voxels.astype(np.float64), step, offset=offset, output_shape=out.shape, order=1, mode="nearest"
    )
    assert out.dtype == np.float32
    assert np.abs(out - expected).max() < 1e-3
    nearest, _ = geometry.resample(voxels, np.eye(4), spacing_mm=spacing, order=0)
    assert nearest.dtype == dtype
    assert set(nearest.ravel()) <= set(voxels.ravel())


def _leaning(degrees: float, *, steps: int = 12) -> np.ndarray:
    return geometry.plane_affine(
        [-20, -30, 5],
        orientation=[1, 0, 0, 0, 1, 0],
        pixel_spacing_mm=[1.5, 2.0],
        slice_step_mm=[0, 3 * np.tan(np.radians(degrees)), 3],
    )


@settings(max_examples=40, deadline=None)
@given(st.floats(-40, 40), st.integers(0, 10_000))
@example(degrees=8.985656931052843e-90, seed=169)
def test_a_straightened_stack_holds_every_structure_where_it_was(degrees: float, seed: int) -> None:
    """A function that is linear in mm is sampled on the leaning grid; the straight grid must hold the same function."""
    turn = np.eye(4)
    turn[:3, :3] = Rotation.random(random_state=seed).as_matrix()
    leaning = turn @ _leaning(degrees)
    assert np.isclose(geometry.lean_degrees(leaning), abs(degrees), atol=1e-5)
    slope = np.random.default_rng(seed).normal(size=3)
    index = np.stack(np.meshgrid(np.arange(6), np.arange(20), np.arange(18), indexing="ij"))

    def function(affine: np.ndarray, at: np.ndarray) -> np.ndarray:
        return np.tensordot(slope, np.tensordot(affine[:3, :3], at, axes=1) + affine[:3, 3, None, None, None], axes=1)

    straight, placed = geometry.straighten(function(leaning, index).astype(np.float32), leaning)
    assert geometry.lean_degrees(placed) < 1e-3
    assert np.allclose(np.linalg.norm(placed[:3, :3], axis=0), [3, 1.5, 2])
    grid = np.stack(np.meshgrid(*map(np.arange, straight.shape), indexing="ij"))
    own = np.tensordot(np.linalg.inv(leaning)[:3, :3], np.tensordot(placed[:3, :3], grid, axes=1), axes=1)
    own += (np.linalg.inv(leaning) @ placed[:, 3])[:3, None, None, None]
    edge = 1e-6  # on the border but for rounding is inside
    inside = (own[1] >= -edge) & (own[1] <= 19 + edge) & (own[2] >= -edge) & (own[2] <= 17 + edge)
    assert inside.sum() >= 0.9 * 6 * 19 * 18  # nothing was cut off
    assert np.abs(straight - function(placed, grid))[inside].max() < 1e-3


def test_straightening_numbers_near_the_largest_gives_no_infinity() -> None:
    leaning = geometry.plane_affine(
        [0, 0, 0], orientation=[1, 0, 0, 0, 1, 0], pixel_spacing_mm=[1, 1], slice_step_mm=[0, 0.3, 5]
    )
    voxels = np.random.default_rng(0).choice(np.array([-3.3e38, 3.3e38], np.float32), (4, 6, 5))
    out, _ = geometry.straighten(voxels, leaning)
    assert np.isfinite(out).all() and out.dtype == np.float32
    assert np.array_equal(out[0, :6], voxels[0])  # the first slice stays where it was


def test_straightening_keeps_whole_numbers_and_fills_with_the_lowest() -> None:
    voxels = np.full((5, 8, 8), 40, np.int16)
    voxels[2, 4, 4] = -1024
    straight, _ = geometry.straighten(voxels, _leaning(20))
    assert straight.dtype == np.int16
    assert straight.min() == -1024
    assert straight.shape[1] > 8
    assert straight.shape[2] == 8


def test_an_upright_stack_is_left_bit_for_bit() -> None:
    voxels = np.random.default_rng(1).normal(size=(4, 9, 7)).astype(np.float32)
    straight, placed = geometry.straighten(voxels, _leaning(0))
    assert np.allclose(straight, voxels, atol=1e-6)
    assert np.allclose(placed, _leaning(0))
