"""A map that lies where nothing is imaged is said to, on that picture, whatever its kind has passed."""

from __future__ import annotations

import numpy as np
import pytest

from overread.domain import Image
from overread.pages.astray import astray
from overread.pages.overlay import overlay_png

SIDE = 96
ROWS, COLUMNS = np.mgrid[:SIDE, :SIDE]


def head() -> Image:
    """A round bright head with a dark ventricle, in noisy air; a frame of 20 pixels lies around it."""
    rng = np.random.default_rng(0)
    pixels = np.where(np.hypot(ROWS - 48, COLUMNS - 48) < 28, 160, 4) + rng.integers(0, 6, (SIDE, SIDE))
    pixels[44:52, 44:52] = 0
    return Image(pixels.astype(np.uint8)[None], full_range=(0, 255))


def blob(row: float, column: float, sign: int = 1) -> np.ndarray:
    """A map with one blob and, as maps have, a little everywhere."""
    heat = np.exp(-((ROWS - row) ** 2 + (COLUMNS - column) ** 2) / 50) + 0.1 * np.sin(ROWS / 5) * np.cos(COLUMNS / 7)
    return sign * heat[None]


@pytest.mark.parametrize(
    ("row", "column", "word"),
    [(48, 48, ""), (30, 55, ""), (1, 48, "frame"), (48, 94, "frame"), (13, 48, "outside the imaged body")],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_it_is_said_of_the_place_and_of_nothing_else(row, column, word, sign):
    told = astray(head(), blob(row, column, sign), slice=0)
    assert (word in told and told.endswith("believe it less.")) if word else told == ""


def test_of_a_volume_the_slice_that_is_shown_counts():
    image = Image(np.repeat(head().voxels, 2, axis=0), full_range=(0, 255))
    heat = np.concatenate([blob(48, 48), 2 * blob(1, 48)])
    assert "frame" in astray(image, heat) and astray(image, heat, slice=0) == ""


def test_a_picture_without_air_and_a_map_of_nothing_are_not_blamed():
    full = Image(np.full((1, SIDE, SIDE), 120, np.uint8), full_range=(0, 255))
    assert astray(full, blob(13, 48)) == "" and astray(full, np.zeros((1, SIDE, SIDE))) == ""


def test_the_picture_carries_the_line():
    heat = blob(1, 48)
    plain = overlay_png(head(), heat, title="x")
    assert overlay_png(head(), heat, title="x", warning=astray(head(), heat)) != plain
    assert overlay_png(head(), blob(48, 48), title="x", warning="") == overlay_png(head(), blob(48, 48), title="x")
