"""Slices with rescales of their own become one volume: its numbers are exact, or it is told that they were rounded."""

from __future__ import annotations

import numpy as np
import pytest
from series_of_slices import one_slice

from overread.domain import Image, code_of
from overread.errors import UnreadableFile
from overread.formats.series import read_series
from overread.formats.units import Pixels, joined

FAR_UP = 2**24 + 1 + np.arange(120).reshape(10, 12)
NEAR = np.arange(120).reshape(10, 12)
DEEP = {"BitsAllocated": 32, "BitsStored": 32, "HighBit": 31}


def a_slice(k: int, stored: np.ndarray, slope: str = "1", **header: object) -> tuple[str, bytes]:
    said = DEEP | {"RescaleSlope": slope, "RescaleIntercept": "0", "PixelData": stored.astype("<u4").tobytes()} | header
    return f"{k}", one_slice(np.array([0, 0, 2.5 * k]), np.eye(3), k + 1, stored, **said)


def the_volume(*files: tuple[str, bytes]) -> Image:
    (found,) = read_series(files)
    return found.image


def rounded(image: Image) -> list[str]:
    return [note for note in image.notes if code_of(note) == "rounded"]


def test_whole_numbers_of_32_bits_beside_fractions_are_rounded_and_it_is_told() -> None:
    slopes, stored = ("1", "0.5", "1"), (FAR_UP, NEAR, FAR_UP)
    image = the_volume(*(a_slice(k, s, slope) for k, (s, slope) in enumerate(zip(stored, slopes, strict=True))))
    off = max(np.abs(image.voxels[k] - stored[k] * float(slopes[k])).max() for k in range(3))
    (note,) = rounded(image)
    assert 0 < off <= float(note.split("by up to ")[1])


@pytest.mark.parametrize(
    ("stored", "slopes"),
    [
        ((FAR_UP, NEAR, FAR_UP), ("1", "1", "1")),  # int32 holds them
        ((NEAR, NEAR + 2**23, NEAR), ("1", "0.5", "1")),
        ((NEAR * 256 + 2**24, NEAR, NEAR), ("256", "0.5", "1")),
    ],
)
def test_what_is_exact_is_not_called_rounded(stored: tuple[np.ndarray, ...], slopes: tuple[str, ...]) -> None:
    image = the_volume(*(a_slice(k, s, slope) for k, (s, slope) in enumerate(zip(stored, slopes, strict=True))))
    for k in range(3):
        assert np.array_equal(image.voxels[k].astype(np.float64), stored[k] * float(slopes[k]))
    assert rounded(image) == []


def test_numbers_turned_over_in_a_range_of_32_bits_are_told_or_refused() -> None:
    """4,294,967,295 less a small number has 32 bits: turned over, neighbours become one, and so may all."""
    dark = {"PhotometricInterpretation": "MONOCHROME1"}
    (note,) = rounded(the_volume(*(a_slice(k, NEAR * 2000, **dark) for k in range(3))))
    assert "32 bits" in note
    with_few = read_series([a_slice(k, NEAR, **dark) for k in range(3)])
    assert {r.code for r in with_few} == {"unsupported-format"}
    assert rounded(the_volume(*(a_slice(k, NEAR, **dark, BitsStored=20, HighBit=19) for k in range(3)))) == []


def test_twin_a_volume_whose_numbers_would_all_become_one_is_refused() -> None:
    whole = Pixels(np.array([[[2**30]]], np.int32), "stored", None, (), step=1.0)
    next_to = Pixels(np.array([[[2**30 + 1]]], np.int32), "stored", None, (), step=1.0)
    fraction = Pixels(np.array([[[2.0**30]]], np.float32), "stored", None, (), step=0.5)
    assert joined([whole, next_to])[1] == []
    with pytest.raises(UnreadableFile, match="cannot tell apart"):
        joined([whole, next_to, fraction])
