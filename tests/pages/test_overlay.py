"""Images as displayed, maps the right way up, scales that say their unit."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image as Picture

from overread.domain import Image
from overread.pages.overlay import colours, display_range, overlay_png, overlay_rgb, small_png, strongest_slice, window


def picture(voxels, **more):
    return Image(np.asarray(voxels), **{"full_range": (0, 255), **more})


def imread(png):
    return np.asarray(Picture.open(BytesIO(png)))


def test_eight_bit_pictures_are_shown_as_they_are():
    voxels = np.random.default_rng(0).integers(0, 256, (1, 9, 7), dtype=np.uint8)
    assert np.array_equal(window(picture(voxels)), voxels)
    colour = np.random.default_rng(0).integers(0, 256, (1, 9, 7, 3), dtype=np.uint8)
    assert np.array_equal(window(picture(colour)), colour)


def test_the_window_in_the_file_comes_first_then_the_body_part():
    ct = np.array([[[-1350.0, -600, 150, 40]]])
    named = {"WindowCenter": "40\\400", "WindowWidth": "400\\2000"}
    assert window(Image(ct, unit="HU", attributes=named)).tolist() == [[[0, 0, 198, 128]]]
    assert window(Image(ct, unit="HU", attributes={"BodyPartExamined": "CHEST"})).tolist() == [[[0, 128, 255, 236]]]
    assert window(Image(ct, unit="HU", attributes={"WindowCenter": "", "WindowWidth": "x"}))[0, 0, 3] == 128


@pytest.mark.parametrize(
    "facts",
    [
        {"unit": "HU", "attributes": {"BodyPartExamined": "CHEST"}},
        {"unit": "HU", "attributes": {"WindowCenter": "40\\400", "WindowWidth": "400\\2000"}},
        {"unit": "HU"},
        {"full_range": (0, 4095)},
        {},
    ],
)
def test_the_picture_is_black_and_white_where_the_page_says(facts):
    voxels = np.random.default_rng(0).normal(0, 900, (1, 64, 64)).round()
    image = Image(voxels, **facts)
    low, high = display_range(image)
    assert np.array_equal(window(image) == 0, (voxels - low) / (high - low) < 0.5 / 255)
    assert np.array_equal(window(image) == 255, (voxels - low) / (high - low) >= 254.5 / 255)


def test_sixteen_bits_keep_their_contrast_and_nan_is_no_crash():
    voxels = np.random.default_rng(0).normal(1200, 40, (1, 64, 64)).astype(np.float32)
    voxels[0, 0, 0] = np.nan
    shown = window(Image(voxels, full_range=(0, 65535)))
    assert shown.std() > 30 and shown.dtype == np.uint8


def test_a_map_lies_where_it_points():
    heat = np.zeros((1, 20, 30), np.float32)
    heat[0, 3, 25], heat[0, 15, 4] = 2.0, -2.0
    grey = picture(np.full((1, 20, 30), 100, np.uint8))
    shown = overlay_rgb(grey, heat).astype(int)
    moved = np.abs(shown - 100).sum(2) > 30
    assert moved[3, 25] and moved[15, 4] and moved.sum() == 2
    assert shown[3, 25, 0] > shown[3, 25, 2] and shown[15, 4, 2] > shown[15, 4, 0]  # warm for, blue against
    flipped = overlay_rgb(grey, heat[:, ::-1]).astype(int)  # the twin: an upside-down map is seen
    assert not np.array_equal(flipped, shown)


def test_for_and_against_differ_in_lightness_too():
    lightness = colours(np.linspace(-1, 1, 5)) @ [0.2126, 0.7152, 0.0722]
    assert lightness[0] > lightness[1] > lightness[2] < lightness[3] < lightness[4]


def test_a_print_in_grey_tells_for_from_against():
    """Both ends are as light; what speaks against is ruled with lines, what speaks for is not."""
    grey = picture(np.full((1, 96, 96), 100, np.uint8))
    ruled = {}
    for sign in (1, -1):
        shown = overlay_rgb(grey, np.full((1, 96, 96), sign, np.float32)) @ [0.2126, 0.7152, 0.0722]
        ruled[sign] = np.ptp(shown[:, 48])
    assert ruled[1] == 0 and ruled[-1] > 25


def test_the_colours_go_from_blue_to_yellow_and_are_told_apart_without_red_or_green():
    level = np.linspace(-1, 1, 257)
    shown = colours(level)
    assert shown.shape == (257, 3) and shown.min() >= 0 and shown.max() <= 1
    assert (shown[:100, 2] > shown[:100, 0]).all() and (shown[-100:, 0] > shown[-100:, 2]).all()
    blue = shown[:, 2] - shown[:, :2].mean(axis=1)  # what is left to a reader who takes red for green
    assert blue[0] > 0.2 and blue[-1] < -0.2
    assert np.array_equal(colours(np.array([-9.0, 9.0])), colours(np.array([-1.0, 1.0])))


def test_the_loudest_slice_is_shown():
    heat = np.zeros((9, 12, 12), np.float32)
    heat[6, 2, 2], heat[1, 5, 5] = 3.0, -9.0
    volume = Image(np.random.default_rng(0).normal(size=(9, 12, 12)).astype(np.float32), spacing_mm=(3.0, 1.0, 1.0))
    assert strongest_slice(heat) == 6
    assert np.array_equal(overlay_rgb(volume, heat), overlay_rgb(volume, heat, slice=6))
    assert not np.array_equal(overlay_rgb(volume, heat), overlay_rgb(volume, heat, slice=1))


@pytest.mark.parametrize("shape", [(1, 40, 40), (1, 12, 90), (1, 90, 12), (7, 20, 20), (1, 8, 8, 3)])
@pytest.mark.parametrize("spacing", [None, (2.0, 0.5, 1.0)])
def test_every_shape_gives_a_png_of_sensible_size_twice_the_same(shape, spacing):
    image = picture(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8), spacing_mm=spacing)
    heat = np.random.default_rng(1).normal(size=shape[:3])
    png = overlay_png(image, heat, title="pneumonia 87 %")
    rows, columns = imread(png).shape[:2]
    assert 200 < rows < 1200 and 500 < columns < 1500
    assert png == overlay_png(image, heat, title="pneumonia 87 %")


def test_a_map_of_zeros_and_a_map_of_another_shape():
    image = picture(np.full((1, 8, 8), 50, np.uint8))
    assert (overlay_rgb(image, np.zeros((1, 8, 8))) == 50).all()
    with pytest.raises(ValueError, match="a map of shape"):
        overlay_rgb(image, np.zeros((1, 8, 9)))


def test_small_pictures_have_square_pixels_and_keep_their_values():
    shown = imread(small_png(np.full((100, 50), 77, np.uint8), spacing_mm=(1.0, 1.0, 2.0), side=300))
    assert shown.shape[:2] == (50, 50) and shown[10, 10].tolist() == [77, 77, 77]
    big = imread(small_png(np.zeros((1000, 500, 3), np.uint8), side=200))
    assert big.shape[:2] == (200, 100)


def test_the_picture_stands_upright_on_a_white_page_beside_its_scale():
    voxels = np.full((1, 40, 40), 60, np.uint8)
    voxels[0, :20, :20] = 250
    heat = np.zeros((1, 40, 40))
    heat[0, 30:, 30:], heat[0, 30:, :10] = 2.0, -2.0
    page = imread(overlay_png(picture(voxels), heat, title="a $title$ " * 30)).astype(int)
    assert (page[:, :10] == 255).all() and (page[:, -10:] == 255).all()  # a long title leaves no page
    first, second = page[85:475, 30:420], page[85:475, 453:843]
    assert first[:180, :180].mean() > 245 and abs(first[200:, 200:].mean() - 60) < 2
    assert second[350, 350, 0] > second[350, 350, 2] and second[350, 40, 2] > second[350, 40, 0]
    assert np.array_equal(second[:180, :180], first[:180, :180])  # nothing is drawn where nothing was said
    bar = page[85:475, 872]
    assert bar[0, 0] > bar[0, 2] and bar[-1, 2] > bar[-1, 0] and np.ptp(bar[195]) < 8


def test_words_are_written_crisply_in_black():
    page = imread(overlay_png(picture(np.zeros((1, 9, 9), np.uint8)), np.zeros((1, 9, 9)), title="pneumonia – γ"))
    assert page[15:40, 25:200].min() < 40


def test_a_map_that_has_not_passed_has_no_colour_no_scale_and_says_so():
    y, x = np.mgrid[:64, :64]
    heat = (np.exp(-((y - 20) ** 2 + (x - 40) ** 2) / 90) - 0.4)[None]
    image = picture(np.full((1, 64, 64), 120, np.uint8))
    spread = lambda v: (v.max(-1).astype(int) - v.min(-1)).max()
    assert spread(overlay_rgb(image, heat)) > 60 and spread(overlay_rgb(image, heat, failed=True)) == 0
    grey = overlay_rgb(image, heat, failed=True)[..., 0]
    assert grey[20, 30:50].max() > 125 and (grey[20, 30:50] == 120).any()  # hatched, not a veil
    passed, failed = (imread(overlay_png(image, heat, title="t", failed=w)) for w in ("", "did not pass its tests"))
    assert spread(passed) > 60 and spread(failed) == 0
    assert passed.shape == failed.shape
