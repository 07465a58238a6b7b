"""A contact sheet shows every picture it was given, upright and in its proportions."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image as Picture

from overread.domain import Image
from overread.pages.contact import contact_sheet


def sheet(*images: Image, **options) -> np.ndarray:
    return np.asarray(Picture.open(BytesIO(contact_sheet(images, **options))).convert("L"), float)


def test_each_picture_has_its_place():
    dark, light = (Image(np.full((1, 16, 16), v, np.uint8), full_range=(0, 255)) for v in (40, 200))
    page = sheet(dark, light, dark, columns=3)
    middle = page[page.shape[0] // 3]
    thirds = [np.median(part) for part in np.array_split(middle, 3)]
    assert np.allclose(thirds, [40, 200, 40], atol=8)


def test_row_0_is_at_the_top_and_column_0_at_the_left():
    voxels = np.zeros((1, 32, 32), np.uint8)
    voxels[0, :16, :16] = 255
    page = sheet(Image(voxels, full_range=(0, 255)))
    inside = page[30:175, 15:175]
    assert inside[:60, :60].mean() > 200
    assert max(inside[-40:, :40].mean(), inside[:40, -40:].mean(), inside[-40:, -40:].mean()) < 60


def test_a_tall_picture_stays_tall():
    page = sheet(Image(np.full((1, 40, 20), 255, np.uint8), full_range=(0, 255)))
    lit = page[30:175, 15:180] > 128
    assert lit.any(axis=1).mean() > 0.95
    assert 0.4 < lit.any(axis=0).mean() < 0.62


def test_pixels_that_are_not_square_are_shown_as_they_are():
    page = sheet(Image(np.full((1, 20, 20), 255, np.uint8), full_range=(0, 255), spacing_mm=(1.0, 2.0, 1.0)))
    assert 0.4 < (page[30:175, 15:180] > 128).any(axis=0).mean() < 0.62


def test_a_volume_shows_its_middle_slice_across_its_thinnest_axis():
    voxels = np.zeros((64, 64, 3), np.uint8)
    voxels[..., 1] = 255
    assert np.median(sheet(Image(voxels, full_range=(0, 255)))[30:175, 15:175]) > 200


def test_a_page_in_colour_and_in_grey_and_a_huge_one():
    colour = Image(np.zeros((1, 20, 20, 3), np.uint8), full_range=(0, 255))
    huge = Image(np.zeros((1, 3000, 4000), np.uint8), full_range=(0, 255))
    captions = ["$not math$ " * 20, "a\nb\nc", ""]
    assert sheet(colour, huge, colour, captions=captions, title="$x").shape[1] > 300


def test_the_same_images_give_the_same_bytes():
    image = Image(np.arange(64, dtype=np.uint8).reshape(1, 8, 8), full_range=(0, 255))
    assert contact_sheet([image], captions=["a"]) == contact_sheet([image], captions=["a"])


def test_no_image_is_refused():
    with pytest.raises(ValueError, match="no image"):
        contact_sheet([])
