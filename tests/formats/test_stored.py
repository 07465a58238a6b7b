"""Values that need more bits than their header says: overlays are cut off, anatomy is not."""

from __future__ import annotations

import numpy as np
import pytest
from one_image import both, made

from overread.domain import code_of
from overread.errors import UnreadableFile

SLOPE = (200 + 3 * np.arange(24)[:, None] + 2 * np.arange(20)).astype(np.int64)
METAL = SLOPE.copy()
METAL[10:14, 10:14] = 5000
TWELVE = {"BitsStored": 12, "HighBit": 11}


def words(values: np.ndarray, **header: int) -> dict[str, object]:
    return {"values": values.astype(np.uint16), **TWELVE, **header}


@pytest.mark.parametrize(("values", "signed"), [(METAL, 0), (METAL - 1000, 1), (SLOPE + 3800, 0), (SLOPE + 1750, 1)])
def test_what_runs_over_its_bits_is_read_as_it_stands(values: np.ndarray, signed: int) -> None:
    """Metal of 5,000 in 12 bits (904 once cut), and a slope across the highest value: cut, it would begin again at 0."""
    got = both(made(**words(values, PixelRepresentation=signed)))
    assert np.array_equal(got.voxels[0], values)
    assert list(map(code_of, got.notes)) == ["over-bits"]
    assert f"up to {values.max():,}" in got.notes[0]
    assert got.full_range[1] >= values.max()


def test_a_negative_of_the_picture_that_ran_over_is_turned_about_a_range_that_holds_it() -> None:
    got = both(made(**words(METAL, PhotometricInterpretation="MONOCHROME1")))
    assert np.array_equal(got.voxels[0], 8191 - METAL)


@pytest.mark.parametrize("signed", [0, 1])
def test_an_overlay_is_cut_off_and_told(signed: int) -> None:
    values = SLOPE - 210 * signed
    stored = values & (0xFFFF if signed else 0x0FFF)
    stored[3:9, 4:15] ^= 0x4000
    got = both(made(**words(stored, PixelRepresentation=signed)))
    assert np.array_equal(got.voxels[0], values)
    assert list(map(code_of, got.notes)) == ["over-bits"]


def test_an_overlay_that_the_header_declares_is_cut_off_wherever_it_lies() -> None:
    """The same block of 5,000: bit 12 is an overlay now, and 904 is what lies under it."""
    ds = made(**words(METAL))
    ds.add_new(0x60020102, "US", 12)
    assert np.array_equal(both(ds).voxels[0], np.where(METAL == 5000, 904, SLOPE))
    ds[0x60020102].value = 0
    assert np.array_equal(both(ds).voxels[0], METAL)


@pytest.mark.parametrize("air", [-1000, -2000])
def test_a_sign_that_is_not_carried_up_is_legal_and_not_told_of(air: int) -> None:
    """A body of 40 and more in air: the edge between them is the largest jump of the picture, and the only one to judge by."""
    values = np.where((np.mgrid[:24, :20] - 11).__pow__(2).sum(0) < 60, SLOPE - 160, air)
    got = both(made(**words(values & 0x0FFF, PixelRepresentation=1)))
    assert np.array_equal(got.voxels[0], values)
    assert got.notes == ()


def test_without_a_word_on_the_sign_only_what_is_the_same_either_way_is_read() -> None:
    ds = made(**words(SLOPE))
    del ds.PixelRepresentation
    assert np.array_equal(both(ds).voxels[0], SLOPE)
    below = made((SLOPE - 300).astype(np.uint16))
    del below.PixelRepresentation
    with pytest.raises(UnreadableFile, match=r"without Pixel Representation, and values up to 65,5\d\d of 16") as why:
        both(below)
    assert why.value.code == "malformed"
    picture = made((SLOPE % 256).astype(np.uint8))
    del picture.PixelRepresentation
    assert np.array_equal(both(picture).voxels[0], SLOPE % 256)
