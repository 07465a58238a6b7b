import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from overread.domain import Image, Recipe, Step
from overread.errors import UnreadableFile
from overread.imaging import preprocess, resampling

SIDES = st.integers(1, 40)


def recipe(*size, steps=()):
    return Recipe((*steps, Step("resize", {"size": size})))


@settings(deadline=None)
@given(SIDES, SIDES, SIDES, SIDES)
def test_resampling_agrees_with_pillow_as_second_author(rows, columns, new_rows, new_columns):
    values = np.random.default_rng(rows * 41 + columns).random((rows, columns)).astype(np.float32)
    have = preprocess.resample(values[None, ..., None], (1, new_rows, new_columns))[0, ..., 0]
    want = np.asarray(Pillow.fromarray(values).resize((new_columns, new_rows), Pillow.Resampling.BILINEAR))
    if new_rows >= rows and new_columns >= columns:
        np.testing.assert_allclose(have, want, atol=1e-5)
    else:  # at the border Pillow's filter leans outwards a little differently
        inner = (slice(2, -2), slice(2, -2))
        np.testing.assert_allclose(have[inner], want[inner], atol=1e-4)


def test_resampling_in_three_dimensions_keeps_a_linear_ramp():
    z, y, x = np.meshgrid(np.arange(6.0), np.arange(8.0), np.arange(10.0), indexing="ij")
    out = preprocess.resample((z + 2 * y - x)[..., None], (12, 16, 20))[..., 0]
    assert out[6, 8, 10] - out[5, 8, 10] == pytest.approx(0.5)
    assert out[6, 9, 10] - out[6, 8, 10] == pytest.approx(1.0)
    assert out[6, 8, 11] - out[6, 8, 10] == pytest.approx(-0.5)


@settings(deadline=None)
@given(st.integers(8, 60), st.integers(8, 60), st.sampled_from([16, 24, 32]))
def test_a_map_goes_back_over_the_pixels_it_came_from(rows, columns, side):
    """A bright square, through the recipe and back, has its centre of mass where it was."""
    voxels = np.zeros((1, rows, columns), np.float32)
    r, c = rows // 3, (2 * columns) // 3
    voxels[0, max(0, r - 2) : r + 2, max(0, c - 2) : c + 2] = 1
    image = Image(voxels)
    where = preprocess.placement(recipe(side, side), image)
    back = preprocess.back(preprocess.apply(recipe(side, side), image)[None, ..., 0], where)
    assert back.shape == voxels.shape
    pixel = max(1.0, max(rows, columns) / side)
    for axis in (1, 2):
        index = np.arange(voxels.shape[axis])
        other = tuple(a for a in range(3) if a != axis)
        want, have = (index @ v.sum(axis=other) / v.sum() for v in (voxels, back))
        assert abs(want - have) < pixel


def test_aspect_is_kept_and_the_margin_is_the_darkest_value():
    image = Image(np.linspace(5, 9, 200, dtype=np.float32).reshape(1, 10, 20))
    out = preprocess.apply(recipe(16, 16), image)[..., 0]
    assert out.shape == (16, 16)
    assert (out[:4] == out.min()).all()
    assert (out[12:] == out.min()).all()
    assert out[4:12].max() == pytest.approx(9, abs=0.15)


def test_colour_becomes_grey_by_luma_and_grey_becomes_three_equal_channels():
    red = np.zeros((1, 8, 8, 3), np.uint8)
    red[..., 0] = 100
    steps = (Step("channels", {"count": 1}),)
    assert preprocess.apply(recipe(8, 8, steps=steps), Image(red))[0, 0, 0] == pytest.approx(29.9)
    grey = Image(np.random.default_rng(0).integers(0, 255, (1, 8, 8), np.uint8))
    out = preprocess.apply(recipe(8, 8, steps=(Step("channels", {"count": 3}),)), grey)
    assert out.shape == (8, 8, 3)
    assert (out[..., 0] == out[..., 2]).all()


def test_a_volume_is_refused_by_a_recipe_for_pictures_and_the_other_way_round():
    with pytest.raises(UnreadableFile, match="a volume of 5 slices"):
        preprocess.apply(recipe(8, 8), Image(np.zeros((5, 8, 8))))
    with pytest.raises(UnreadableFile, match="a single picture"):
        preprocess.apply(recipe(4, 8, 8), Image(np.zeros((1, 8, 8))))


def test_three_slices_of_a_volume_stand_in_three_channels():
    volume = np.broadcast_to(np.arange(8.0)[:, None, None], (8, 6, 6))
    out = preprocess.apply(recipe(6, 6, steps=(Step("three_slices"),)), Image(volume))
    assert out[0, 0].tolist() == [2, 4, 6]


def test_the_input_is_never_changed():
    voxels = np.random.default_rng(0).random((1, 9, 9)).astype(np.float32)
    before = voxels.copy()
    steps = (Step("normalise", {"by": "image", "lower": 1, "upper": 99, "clip": True}), Step("standardise"))
    preprocess.apply(recipe(9, 9, steps=steps), Image(voxels))
    assert (voxels == before).all()


def test_a_mask_with_few_voxels_keeps_its_contrast():
    """The 99.5th percentile of a thin mask is 0; it must not be normalised to nothing."""
    mask = np.zeros((1, 64, 64), np.uint8)
    mask[0, 10, 10:14] = 255
    steps = (Step("normalise", {"by": "image", "lower": 0.5, "upper": 99.5, "clip": True}),)
    assert preprocess.apply(recipe(64, 64, steps=steps), Image(mask)).max() == 1


@pytest.mark.parametrize(
    ("shape", "size"), [((5, 40, 33, 1), (7, 9, 50)), ((1, 64, 70, 3), (1, 17, 16)), ((1, 3, 3, 1), (1, 40, 2))]
)
def test_resampling_by_bands_is_the_whole_matrix(shape: tuple, size: tuple) -> None:
    """Twin of the speed: each axis times its dense matrix of weights, in double precision."""
    values = np.random.default_rng(3).normal(size=shape)
    expected = values
    for axis, n in enumerate(size):
        weights = resampling._weights(shape[axis], n).astype(float)
        expected = np.moveaxis(np.tensordot(weights, expected, axes=(1, axis)), 0, axis)
    assert np.abs(preprocess.resample(values.astype(np.float32), size) - expected).max() < 1e-5


def test_windows_of_one_image_are_its_channels():
    values = np.array([-1000.0, -600, 40, 400]).reshape(1, 2, 2)
    asked = recipe(2, 2, steps=(Step("channels", {"count": 1}), Step("windows", {"of": [[-600, 1500], [40, 400]]})))
    shown = preprocess.apply(asked, Image(values, unit="HU")).reshape(4, 2)
    np.testing.assert_allclose(shown[:, 0], [350 / 1500, 0.5, 1390 / 1500, 1], atol=1e-6)
    np.testing.assert_allclose(shown[:, 1], [0, 0, 0.5, 1], atol=1e-6)


@pytest.mark.parametrize(("gain", "air"), [(1, 0.5), (37, 0.5), (1, 0.8)])
def test_a_body_is_read_in_its_own_standard_deviations_whatever_the_gain_and_the_air_round_it(gain, air):
    rng = np.random.default_rng(0)
    values = rng.normal(500, 60, (64, 64))
    values[: int(64 * air)] = np.abs(rng.normal(0, 4, (int(64 * air), 64)))
    asked = recipe(64, 64, steps=(Step("channels", {"count": 1}), Step("body", {"reach": 4.0})))
    shown = preprocess.apply(asked, Image(gain * values[None], modality="MR"))[..., 0]
    body = (shown[int(64 * air) :] - 0.5) * 8
    assert abs(body.mean()) < 0.05
    assert abs(body.std() - 1) < 0.05
    assert shown[: int(64 * air)].max() == 0  # air is as dark as can be


def test_an_image_of_one_value_has_no_body_and_no_contrast():
    asked = recipe(8, 8, steps=(Step("channels", {"count": 1}), Step("body", {})))
    for value in (0, 7):
        assert (preprocess.apply(asked, Image(np.full((1, 8, 8), value), modality="MR")) == 0.5).all()


def test_a_single_picture_is_no_volume_of_which_three_slices_are_shown():
    with pytest.raises(UnreadableFile, match="a single picture; expected a volume"):
        preprocess.apply(recipe(6, 6, steps=(Step("three_slices"),)), Image(np.zeros((1, 6, 6))))
