"""Volumes at a stated spacing: 20 mm is 20 mm in each of them, and a map lies where the finding lies, in mm."""

import math

import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given, settings
from hypothesis import strategies as st

from overread.domain import Geometry, Image, Recipe, Step
from overread.errors import UnreadableFile
from overread.imaging import preprocess, resampling

SPACINGS = [(1.0, 1.0, 1.0), (5.0, 0.7, 0.7), (2.5, 0.5, 0.5), (1.25, 1.4, 1.4), (3.0, 2.0, 2.0)]
MM, SIZE = (2.0, 2.0, 2.0), (32, 32, 32)
SPHERE = 4 / 3 * math.pi * 10**3  # mm³, of 20 mm across


def sphere(spacing, *, extent=60.0, at=(0.0, 0.0, 0.0), diameter=20.0, turned=False) -> Image:
    """A ball in a volume of about ``extent`` mm; ``at`` in mm from the middle. Voxels hold how much of them is ball."""
    shape = [max(2, round(extent / s)) for s in spacing]
    fine = 3  # each voxel is the mean of 27 points, as a scanner averages over it
    axes = [((np.arange(n * fine) + 0.5) / fine - n / 2) * s - c for n, s, c in zip(shape, spacing, at, strict=True)]
    z, y, x = np.meshgrid(*axes, indexing="ij", sparse=True)
    inside = (z**2 + y**2 + x**2 <= (diameter / 2) ** 2).astype(np.float32)
    parts = inside.reshape(shape[0], fine, shape[1], fine, shape[2], fine).mean(axis=(1, 3, 5))
    a, b, c = spacing
    return Image(parts, geometry=Geometry(((0, 0, c, 0), (0, b, 0, 0), (a, 0, 0, 0), (0, 0, 0, 1))))


def recipe(size=SIZE, mm=MM, fill=0.0) -> Recipe:
    return Recipe((Step("resize", {"size": size, "spacing_mm": mm, "fill": fill}),))


def squeezed(size=SIZE) -> Recipe:
    return Recipe((Step("resize", {"size": size}),))


def counts(how: Recipe) -> list[float]:
    """Voxels of the input that the ball fills, for volumes of many spacings and extents."""
    return [
        float(preprocess.apply(how, sphere(spacing, extent=extent)).sum())
        for spacing in SPACINGS
        for extent in (40.0, 60.0, 90.0)
    ]


def test_a_ball_of_20_mm_has_the_same_number_of_voxels_in_each_volume():
    want = SPHERE / math.prod(MM)
    assert counts(recipe()) == pytest.approx([want] * 15, rel=0.05)


def test_the_check_can_fail():
    """Twin: squeezed into the same grid, the ball of one patient is many times that of another."""
    have = counts(squeezed())
    assert max(have) > 5 * min(have)


def test_a_second_author_resamples_alike():
    """SciPy's linear interpolation, where the new grid is finer: the same values at the same places in mm."""
    image = Image(np.random.default_rng(0).random((9, 11, 13)).astype(np.float32), spacing_mm=(3.0, 2.0, 1.5))
    have = preprocess.apply(recipe((20, 18, 16), (1.1, 1.3, 1.2)), image)[..., 0]
    axes = [
        (n - 1) / 2 + (np.arange(m) - (m - 1) / 2) * mm / s
        for n, m, mm, s in zip(image.voxels.shape, (20, 18, 16), (1.1, 1.3, 1.2), image.spacing_mm, strict=True)
    ]
    want = scipy.ndimage.map_coordinates(
        image.voxels.astype(float), np.meshgrid(*axes, indexing="ij"), order=1, mode="nearest"
    )
    for axis, (n, places) in enumerate(zip(image.voxels.shape, axes, strict=True)):
        beyond = (places < -0.5) | (places > n - 0.5)
        want[(slice(None),) * axis + (beyond,)] = 0
    np.testing.assert_allclose(have, want, atol=1e-5)


def test_what_is_finer_than_the_new_voxel_makes_no_pattern():
    """Stripes of 1 mm at voxels of 4 mm become grey; taken without a filter they would be any pattern."""
    stripes = np.broadcast_to((np.arange(64) % 2).astype(np.float32), (64, 64, 64))
    image = Image(np.ascontiguousarray(stripes), spacing_mm=(1.0, 1.0, 1.0))
    inner = preprocess.apply(recipe((16, 16, 16), (4.0, 4.0, 4.0)), image)[2:-2, 2:-2, 2:-2]
    assert np.abs(inner - 0.5).max() < 0.02
    assert np.ptp(image.voxels[..., ::4]) == 0  # unfiltered: all black, as if nothing were there


@settings(deadline=None, max_examples=60)
@given(
    st.tuples(*[st.integers(2, 30)] * 3),
    st.tuples(*[st.floats(0.3, 6)] * 3),
    st.tuples(*[st.integers(4, 24)] * 3),
    st.tuples(*[st.floats(0.5, 5)] * 3),
    st.floats(-2, 2),
)
def test_no_value_is_made_up(shape, spacing, size, mm, fill):
    """Every voxel lies between those that came, or is the fill; the grid is what was asked for."""
    voxels = np.random.default_rng(0).uniform(5, 9, shape).astype(np.float32)
    image = Image(voxels, spacing_mm=spacing)
    out = preprocess.apply(recipe(size, mm, fill), image)[..., 0]
    where = preprocess.placement(recipe(size, mm, fill), image)
    assert out.shape == size
    part = tuple(slice(o, o + n) for o, n in zip(where.offset, where.resized, strict=True))
    assert ((out[part] >= 5 - 1e-4) & (out[part] <= 9 + 1e-4)).all()
    rest = np.ones(size, bool)
    rest[part] = False
    assert (out[rest] == np.float32(fill)).all()
    assert preprocess.back(np.ones(size, np.float32), where).shape == shape


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(SPACINGS), st.tuples(*[st.floats(-14, 14)] * 3), st.sampled_from([40.0, 60.0, 90.0]))
def test_a_map_lies_where_the_finding_lies_in_mm(spacing, at, extent):
    """The network's grid laid back on the voxels as they came: the middle of a ball is where it was, within a voxel."""
    image = sphere(spacing, extent=extent, at=at, diameter=8.0)
    where = preprocess.placement(recipe(), image)
    laid = preprocess.back(preprocess.apply(recipe(), image)[..., 0], where)
    assert laid.shape == image.voxels.shape
    if image.voxels.sum() == 0 or any(abs(a) + 4 > extent / 2 for a in at):
        return
    for axis, s in enumerate(spacing):
        index = np.arange(laid.shape[axis]) * s
        other = tuple(a for a in range(3) if a != axis)
        want, have = (index @ v.sum(axis=other) / v.sum() for v in (image.voxels, laid))
        assert abs(want - have) < max(s, MM[axis]) / 2


def test_what_was_cut_off_has_no_part_in_the_map():
    image = sphere((2.0, 2.0, 2.0), extent=120.0)  # 60 a side, of which the grid holds the middle 32
    where = preprocess.placement(recipe(), image)
    laid = preprocess.back(np.ones(SIZE, np.float32), where)
    inside = np.zeros(image.voxels.shape, bool)
    inside[14:46, 14:46, 14:46] = True
    assert (laid[inside] == 1).all()
    assert (laid[~inside] == 0).all()
    assert where.cut_off == pytest.approx((28 / 60,) * 3)
    assert preprocess.placement(recipe(), sphere((2.0, 2.0, 2.0), extent=40.0)).cut_off == (0, 0, 0)


def test_parts_of_a_sum_keep_their_sum_on_the_original_grid():
    image = sphere((5.0, 0.7, 0.7), extent=50.0)
    where = preprocess.placement(recipe(), image)
    values = np.zeros(SIZE, np.float32)
    values[12:20, 12:20, 12:20] = 1
    laid = preprocess.back(values, where) * where.cells
    assert laid.sum() == pytest.approx(values.sum(), rel=0.03)


def test_the_fill_is_a_number_or_the_darkest_voxel():
    image = Image(np.full((4, 4, 4), 7, np.float32), spacing_mm=(1.0, 1.0, 1.0))
    for fill, want in ((0.25, 0.25), (preprocess.DARKEST, 7.0)):
        assert preprocess.apply(recipe((8, 8, 8), (1.0, 1.0, 1.0), fill), image)[0, 0, 0, 0] == want


def test_voxels_of_the_stated_spacing_are_cut_out_to_the_bit():
    voxels = np.random.default_rng(0).random((10, 12, 14)).astype(np.float32)
    image = Image(voxels, spacing_mm=(2.0, 2.0, 2.0))
    out = preprocess.apply(recipe((8, 8, 8)), image)[..., 0]
    assert (out == voxels[1:9, 2:10, 3:11]).all()


@pytest.mark.parametrize("spacing", [None, (0.0, 1.0, 1.0), (1.0, math.nan, 1.0)])
def test_a_volume_that_does_not_say_its_spacing_is_refused(spacing):
    with pytest.raises(UnreadableFile, match=r"reads voxels of 2 × 2 × 2 mm") as refused:
        preprocess.apply(recipe(), Image(np.zeros((4, 8, 8)), spacing_mm=spacing))
    assert refused.value.code == "no-spacing"


def test_a_structure_that_falls_between_the_samples_is_still_covered():
    assert resampling.covered(1, 4, 9.0) == (1, 1)


def test_a_volume_most_of_which_is_not_read_is_referred():
    """The answer would be one about its middle; a squeezed grid reads all of it."""
    long = Image(np.zeros((60, 8, 8), np.uint8) + np.arange(8, dtype=np.uint8), spacing_mm=(5.0, 1.0, 1.0))
    for spacing, referred in (({"spacing_mm": (2.0, 2.0, 2.0), "fill": 0.0}, True), ({}, False)):
        recipe = Recipe((Step("resize", {"size": (8, 8, 8), **spacing}),))
        said = preprocess.unread(recipe, long)
        assert bool(said) is referred
    recipe = Recipe((Step("resize", {"size": (8, 8, 8), "spacing_mm": (2.0, 2.0, 2.0), "fill": 0.0}),))
    assert preprocess.unread(recipe, long) == "the volume reaches over 300 mm along its slices, of which this model reads the middle 16 mm"  # fmt: skip
