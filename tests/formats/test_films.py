"""Films: however a header says that a picture lies, it hangs the same way; what cannot be known is told."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from pydicom import Dataset

from overread.domain import code_of
from overread.formats import films, frames_alone
from overread.formats.frames_alone import _TOMOSYNTHESIS
from overread.formats.planes import planes
from overread.formats.units import Pixels
from overread.imaging import geometry

HEAD_UP = np.arange(12 * 9).reshape(1, 12, 9)


def film(row: str, column: str, *, modality: str = "DX", part: str = "CHEST") -> Dataset:
    ds = Dataset()
    ds.Modality, ds.BodyPartExamined, ds.PatientOrientation = modality, part, [row, column]
    return ds


def stored(picture: np.ndarray, upright: tuple[str, str], row: str, column: str) -> np.ndarray:
    """The picture as a file would keep it, by the affine algebra of volumes: an independent way to turn it."""
    axes = {"L": (0, 1), "R": (0, -1), "P": (1, 1), "A": (1, -1), "H": (2, 1), "F": (2, -1)}

    def affine_of(ways: tuple[str, str]) -> np.ndarray:
        affine = np.eye(4)
        affine[:3, :3] = 0
        used = []
        for index, letter in ((2, ways[0]), (1, ways[1])):
            axis, sign = axes[letter]
            affine[axis, index] = sign
            used.append(axis)
        affine[next(a for a in range(3) if a not in used), 0] = 1
        return affine

    to = geometry.axis_codes(affine_of((row, column)))
    return geometry.reorient(picture, affine_of(upright), to=to)[0]


@pytest.mark.parametrize(("row", "column"), [*product("LR", "FH"), *product("FH", "LR")])
def test_a_frontal_film_hangs_head_up_with_the_left_on_the_right(row: str, column: str) -> None:
    hung = films.hang(film(row, column), stored(HEAD_UP, ("L", "F"), row, column))
    assert np.array_equal(hung.voxels, HEAD_UP)
    assert hung.transposed == (row in "FH")
    assert [code_of(n) for n in hung.notes] == ([] if (row, column) == ("L", "F") else ["film-turned"])
    if hung.notes:
        assert hung.orientation == "L\\F"
        assert f"{row}\\{column}" in hung.notes[0]


@pytest.mark.parametrize(("row", "column"), [*product("AP", "FH"), *product("FH", "AP")])
def test_a_lateral_film_is_turned_and_never_mirrored(row: str, column: str) -> None:
    picture = stored(HEAD_UP, ("A", "F"), row, column)
    hung = films.hang(film(row, column), picture)
    ways = (hung.orientation or f"{row}\\{column}").split("\\")
    assert ways[1] == "F"
    rotations = [np.rot90(picture[0], k) for k in range(4)]
    assert any(np.array_equal(hung.voxels[0], r) for r in rotations)
    assert np.array_equal(hung.voxels, stored(HEAD_UP, ("A", "F"), ways[0], "F"))


@pytest.mark.parametrize(
    ("side", "upright"), [("R", ("P", "F")), ("L", ("A", "F")), ("R", ("P", "L")), ("L", ("A", "R"))]
)
def test_a_breast_hangs_with_its_chest_wall_on_its_own_side(side: str, upright: tuple[str, str]) -> None:
    opposite = dict(zip("LRAPHF", "RLPAFH", strict=True))
    for mirror, upend in product((False, True), repeat=2):
        row = opposite[upright[0]] if mirror else upright[0]
        column = opposite[upright[1]] if upend else upright[1]
        hung = films.hang(film(row, column, modality="MG"), stored(HEAD_UP, upright, row, column), side=side)
        assert np.array_equal(hung.voxels, HEAD_UP)
        assert bool(hung.notes) == (mirror or upend)


@pytest.mark.parametrize(("side", "said"), [("", "no side is named"), ("B", "both sides are named")])
def test_a_breast_of_no_known_side_is_left_and_told(side: str, said: str) -> None:
    for row in "AP":
        hung = films.hang(film(row, "FR", modality="MG"), HEAD_UP, side=side)
        assert np.array_equal(hung.voxels, HEAD_UP)
        assert [code_of(n) for n in hung.notes] == ["side-unknown"]
        assert said in hung.notes[0]
        assert f"{row}\\FR" in hung.notes[0]
    assert films.hang(film("A", "FR", modality="MG"), HEAD_UP, side="L").notes == ()


def test_second_letters_are_turned_too() -> None:
    hung = films.hang(film("A", "FR", modality="MG"), HEAD_UP, side="R")
    assert hung.orientation == "P\\FR"
    assert np.array_equal(hung.voxels, HEAD_UP[:, :, ::-1])


def test_what_cannot_be_known_is_left_as_it_is() -> None:
    hand = films.hang(film("R", "H", part="HAND"), HEAD_UP)
    assert np.array_equal(hand.voxels, HEAD_UP)
    assert [code_of(n) for n in hand.notes] == ["film-orientation"]
    for ds in (film("L", "R"), film("X", "F"), film("R", "F", modality="US"), Dataset()):
        assert films.hang(ds, HEAD_UP).notes == ()


def test_an_object_made_of_a_turned_film_says_how_it_lies_now() -> None:
    assert films.orientation(film("R", "F")) == ["L", "F"]
    assert films.orientation(film("L", "F")) == ["L", "F"]
    assert films.orientation(Dataset()) == []


def test_air_that_is_not_black_is_told_with_its_value() -> None:
    black = np.zeros((1, 30, 30), np.int16)
    black[0, 5:25, 15:] = 900
    assert films.background(black, (0, 4095)) == []
    assert "the value 70" in films.background(np.where(black == 0, 70, black), (0, 4095))[0]
    assert films.background(np.random.default_rng(0).integers(1, 4000, (1, 30, 30)), (0, 4095)) == []


def spacing_of(**values: object) -> tuple[tuple | None, list[str]]:
    ds = Dataset()
    ds.Modality = "DX"
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return frames_alone.film_spacing(ds, planes(ds)[0])


def test_the_size_of_a_film_s_pixels_and_what_it_refers_to() -> None:
    assert spacing_of() == (None, [])
    assert spacing_of(PixelSpacing=[0.2, 0.2]) == ((0.0, 0.2, 0.2), [])
    spacing, notes = spacing_of(PixelSpacing=[0.14, 0.14], ImagerPixelSpacing=[0.2, 0.2])
    assert spacing == (0.0, 0.14, 0.14)
    assert code_of(notes[0]) == "calibrated-spacing"
    assert "1.429" in notes[0]
    spacing, notes = spacing_of(ImagerPixelSpacing=[0.2, 0.2], EstimatedRadiographicMagnificationFactor=1.25)
    assert spacing == (0.0, 0.2, 0.2)
    assert code_of(notes[0]) == "detector-spacing"
    assert "0.16 mm in the patient" in notes[0]
    assert [code_of(n) for n in spacing_of(ImagerPixelSpacing=[0.4, 0.2])[1]] == ["non-square-pixels"]
    assert "0.500 times" in spacing_of(PixelAspectRatio=[1, 2])[1][0]


def test_a_film_that_was_turned_by_a_quarter_is_told_of_as_it_now_is() -> None:
    ds = film("F", "R")
    ds.PixelSpacing = [0.1, 0.2]
    put = frames_alone.picture(ds, planes(ds), Pixels(np.swapaxes(HEAD_UP, 1, 2), "stored", (0.0, 4095.0), ()))
    assert (put.spacing, put.voxels.shape) == ((0.0, 0.2, 0.1), HEAD_UP.shape)
    assert "pixels are 2.000 times as high" in put.notes[-1]
    del ds.PixelSpacing
    ds.PixelAspectRatio = [1, 2]
    put = frames_alone.picture(ds, planes(ds), Pixels(np.swapaxes(HEAD_UP, 1, 2), "stored", (0.0, 4095.0), ()))
    assert "pixels are 2.000 times as high" in put.notes[-1]


@pytest.mark.parametrize(("row", "turned"), [("A", True), ("P", False)])
def test_all_planes_of_a_tomosynthesis_hang_as_the_breast_does(row: str, turned: bool) -> None:
    ds = film(row, "F", modality="MG")
    ds.ImageLaterality, ds.SOPClassUID, ds.PixelSpacing, ds.SliceThickness = "R", _TOMOSYNTHESIS, [0.1, 0.2], 1
    stored = np.concatenate([HEAD_UP, HEAD_UP + 1, HEAD_UP + 2])
    put = frames_alone.picture(ds, planes(ds) * 3, Pixels(stored, "stored", (0.0, 4095.0), ()))
    assert np.array_equal(put.voxels, stored[:, :, ::-1] if turned else stored)
    assert ("film-turned" in map(code_of, put.notes)) == turned
    assert put.spacing == (1.0, 0.1, 0.2)
    ds.PatientOrientation = ["F", "A"]
    put = frames_alone.picture(ds, planes(ds) * 3, Pixels(stored, "stored", (0.0, 4095.0), ()))
    assert put.attributes == {"PatientOrientation": "P\\F"}
    assert put.spacing == (1.0, 0.2, 0.1)


def frames_of(**values: object) -> tuple[tuple | None, list[str]]:
    ds = Dataset()
    ds.PixelSpacing = [2, 2]
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return frames_alone.unplaced(ds, 7, planes(ds)[0])


@pytest.mark.parametrize(
    ("values", "depth", "code", "said"),
    [
        ({"Modality": "US", "FrameTime": 33.3}, 0.0, "frames-over-time", "33.3 ms"),
        ({"Modality": "XA", "CineRate": 15}, 0.0, "frames-over-time", "66.7 ms"),
        (
            {"Modality": "NM", "FrameIncrementPointer": [0x00540080], "SpacingBetweenSlices": -4},
            4.0,
            "stored-order",
            "4.00 mm",
        ),
        ({"Modality": "NM", "FrameIncrementPointer": [0x00540010, 0x00540100]}, 0.0, "frames-mixed", "time slices"),
        ({"Modality": "MG", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.13.1.4"}, 0.0, "frames-mixed", "projections"),
        (
            {"Modality": "MG", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.13.1.3", "SliceThickness": 1},
            1.0,
            "stored-order",
            "1.00",
        ),
        ({"Modality": "OT"}, 0.0, "stored-order", "7 frames"),
    ],
)
def test_frames_without_a_place_are_told_for_what_they_are(values: dict, depth: float, code: str, said: str) -> None:
    spacing, notes = frames_of(**values)
    assert spacing == (depth, 2, 2)
    assert [code_of(n) for n in notes] == [code]
    assert said in notes[0]
