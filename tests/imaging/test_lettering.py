"""Writing burned into pixels is flagged; anatomy, noise and edges are not."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image as Picture
from PIL import ImageDraw, ImageFont
from scipy import ndimage

from overread.imaging import fonts
from overread.imaging.lettering import _opened, lettering
from overread.imaging.phantom_body import draw_body
from overread.imaging.phantom_exposure import Detector, expose


@pytest.fixture(scope="module")
def films() -> list[np.ndarray]:
    """Chest films (phantoms), 8 bits, bright below and dark above like real ones."""
    made = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        film = expose(draw_body(rng, sex="FM"[seed % 2]), view="PA", size=256, detector=Detector(), rng=rng)
        made.append((film / film.max() * 200).astype(np.uint8))
    return made


def written(film: np.ndarray, text: str, *, size: int, at: tuple[int, int], ink: int = 255) -> np.ndarray:
    picture = Picture.fromarray(film)
    font = ImageFont.truetype(str(fonts.path(False)), size)
    ImageDraw.Draw(picture).text(at, text, fill=ink, font=font)
    return np.asarray(picture)


@pytest.mark.parametrize("text", ["SMITH ANNA", "12/03/1957", "Hospital St. Mary", "kV 120 mA 200"])
@pytest.mark.parametrize("size", [12, 18])
def test_white_writing_in_the_corner_is_found_where_it_is(films, text, size):
    found = [lettering(written(film, text, size=size, at=(6, 8))) for film in films]
    assert sum(map(bool, found)) >= 7  # of 8; a flag, no promise
    for seen in filter(None, found):
        top, left, bottom, right = seen.lines[0]
        assert top * 256 >= 5 and bottom * 256 <= 12 + 1.4 * size
        assert left * 256 >= 3 and right <= 1
        assert bottom > top and right > left


def test_black_writing_on_a_bright_film_is_found(films):
    assert sum(bool(lettering(written(255 - film, "SMITH ANNA", size=16, at=(6, 8), ink=0))) for film in films) >= 6


def test_films_without_writing_are_not_flagged(films):
    """Twin: what is found above is the writing, not the film."""
    assert sum(bool(lettering(film)) for film in films) == 0


@pytest.mark.parametrize(
    "picture",
    [
        np.zeros((64, 64)),
        np.full((40, 30), 7.5),
        np.random.default_rng(0).normal(size=(300, 300)),
        np.random.default_rng(0).integers(0, 2, (128, 128)),
        np.tile(np.array([0, 0, 0, 0, 255, 255, 255, 255]), (64, 16)),  # a grating
        np.add.outer(np.arange(80), np.arange(90)),
        np.zeros((1, 1)),
        np.full((5, 3), -1024.0),
    ],
    ids=["black", "grey", "noise", "speckle", "grating", "ramp", "one pixel", "narrow"],
)
def test_what_is_no_writing(picture):
    assert not lettering(picture)


def test_a_large_picture_is_looked_at_in_a_smaller_size(films):
    large = np.asarray(Picture.fromarray(films[0]).resize((2600, 2600), Picture.Resampling.BICUBIC))
    assert lettering(written(large, "SMITH ANNA 1957", size=60, at=(40, 40)))
    assert not lettering(large)


def test_the_unit_does_not_matter(films):
    marked = written(films[0], "SMITH ANNA", size=16, at=(6, 8))
    assert lettering(marked).shapes == lettering(marked.astype(np.float32) * 16 - 1024).shapes >= 8


def test_two_rows_are_two_lines(films):
    marked = written(written(films[1], "SMITH ANNA", size=14, at=(6, 8)), "1957-03-12", size=14, at=(6, 30))
    assert len(lettering(marked).lines) == 2


def test_opening_by_bytes_is_the_textbook_opening():
    """Oracle: SciPy's grey opening."""
    for shape in ((70, 50), (9, 9), (3, 20), (1, 1)):
        grey = np.random.default_rng(shape[0]).integers(0, 256, shape, np.uint8)
        np.testing.assert_array_equal(_opened(grey), ndimage.grey_opening(grey, size=(9, 9)))
