"""The pointing game against maps whose answer is known."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from overread.errors import OverreadError
from overread.steps.explained import Explained
from overread.steps.pointing import REACH, covered_share, foreseen, hottest, known_lesions, overlap, pointing_game

SIDE = 60
FILMS = 12


def scene(folder: Path, aim) -> tuple[Explained, Path]:
    """Write maps whose hottest point is where ``aim(row, column, i)`` says, and the table of lesions."""
    rng = np.random.default_rng(0)
    maps, lines = [], []
    for i in range(FILMS):
        row, column = rng.uniform(8, SIDE - 8, 2)
        heat = np.zeros((1, SIDE, SIDE), np.float32)
        r, c = (int(np.clip(round(v), 0, SIDE - 1)) for v in aim(row, column, i))
        heat[0, r, c] = 1.0
        np.save(folder / f"{i}.npy", heat)
        maps.append({"file": str(folder / f"{i}.dcm"), "map": f"{i}.npy"})
        lines.append((f"{i}.dcm", 0, row, column, 3.0, 0.2))
    truth = folder / "lesions.csv"
    with truth.open("w", newline="") as file:
        csv.writer(file).writerows([("file", "slice", "row", "column", "radius", "contrast"), *lines])
    return Explained(folder, tuple(maps), ()), truth


def test_a_map_that_points_at_the_lesion_always_wins(tmp_path):
    maps, truth = scene(tmp_path, lambda row, column, i: (row + 2, column - 2))
    game = pointing_game(maps, truth=truth, folder=tmp_path)
    assert (game.hits, game.films) == (FILMS, FILMS)
    assert game.by_exchange < 0.4 and "12 of 12 films" in str(game)


def test_the_game_knows_whose_films_it_was_played_on_and_tells_nobody(tmp_path):
    maps, truth = scene(tmp_path, lambda row, column, i: (row, column))
    whose = {m["file"]: f"patient {i // 4}" for i, m in enumerate(maps.maps)}
    known = replace(maps, patients=whose)
    game = pointing_game(known, truth=truth, folder=tmp_path)
    assert game.patients == tuple(f"patient {i // 4}" for i in range(FILMS))
    assert pointing_game(maps, truth=truth, folder=tmp_path).patients == (None,) * FILMS
    assert not any("patient 1" in text for text in (repr(known), str(known.to_json()), repr(game)))


def test_a_map_that_points_beside_it_never_does(tmp_path):
    """Twin: a little more than its reach away is a miss."""
    away = 3.0 * REACH + 1.5
    maps, truth = scene(tmp_path, lambda row, column, i: (row + (away if row < SIDE / 2 else -away), column))
    assert pointing_game(maps, truth=truth, folder=tmp_path).hits == 0


def test_a_map_that_always_looks_at_one_place_is_no_better_than_exchanged(tmp_path):
    """It knows where lesions are common, not where this one is: hits and exchange agree."""
    maps, truth = scene(tmp_path, lambda row, column, i: (SIDE / 2, SIDE / 2))
    game = pointing_game(maps, truth=truth, folder=tmp_path)
    assert game.hits / game.films == pytest.approx(game.by_exchange, abs=1e-9)


@given(st.floats(2, 10), st.floats(20, 40), st.floats(20, 40))
def test_chance_by_area_is_the_disc(radius, row, column):
    share = covered_share(np.array([[row, column, radius]]), (SIDE, SIDE))
    assert share * SIDE**2 == pytest.approx(np.pi * (REACH * radius) ** 2, rel=0.2)


def test_the_middle_of_a_plateau_is_the_hottest_point():
    heat = np.zeros((5, 9))
    heat[1:4, 2:7] = 3
    assert hottest(heat) == (2.0, 4.0)


def test_maps_without_known_lesions_are_refused(tmp_path):
    maps, truth = scene(tmp_path, lambda row, column, i: (row, column))
    with pytest.raises(OverreadError, match="known lesions"):
        pointing_game(maps, truth=truth, folder=tmp_path / "elsewhere")


VOLUME, APART, PIXEL = (16, 40, 40), 5.0, 2.0
"""Slices, rows and columns; millimetres from slice to slice, and of a pixel."""


def volumes(folder: Path, aim, *, named="series", slices=True) -> tuple[Explained, Path]:
    """Write maps of series whose hottest voxel is where ``aim(slice, row, column)`` says, and the table of lesions."""
    rng = np.random.default_rng(0)
    affine = np.array([[0, 0, PIXEL, 0], [0, PIXEL, 0, 0], [APART, 0, 0, 0], [0, 0, 0, 1]])
    maps, lines = [], []
    for i in range(FILMS):
        at = rng.uniform((4, 8, 8), (12, 32, 32))
        heat = np.zeros(VOLUME, np.float32)
        heat[tuple(int(np.clip(round(v), 0, n - 1)) for v, n in zip(aim(*at), VOLUME, strict=True))] = 1
        np.save(folder / f"{i}.npy", heat)
        files = [str(folder / f"images/{i}/{k}.dcm") for k in (3, 1, 2)]
        maps.append({"file": files[0], "files": files, "map": f"{i}.npy", "affine": affine.tolist()})
        name = {"series": f"images/{i}", "first": f"images/{i}/3.dcm", "another": f"images/{i}/2.dcm"}[named]
        lines.append((name, at[0] if slices else "", *at[1:], 3.0))
    truth = folder / "lesions.csv"
    with truth.open("w", newline="") as file:
        csv.writer(file).writerows([("file", "slice", "row", "column", "radius"), *lines])
    return Explained(folder, tuple(maps), ()), truth


@pytest.mark.parametrize("named", ["series", "first", "another"])
def test_a_volume_is_judged_in_three_dimensions_by_whatever_name_its_series_has(tmp_path, named):
    maps, truth = volumes(tmp_path, lambda s, row, column: (s, row, column), named=named)
    game = pointing_game(maps, truth=truth, folder=tmp_path)
    assert (game.hits, game.films) == (FILMS, FILMS)
    ball = 4 / 3 * np.pi * (REACH * 3) ** 3 * PIXEL / APART  # voxels of a slice's depth
    assert game.by_area == pytest.approx(ball / np.prod(VOLUME), rel=0.2)
    assert game.by_exchange < 0.2


def test_the_right_place_in_the_wrong_slice_is_a_miss(tmp_path):
    """Twin: two slices off is 10 mm, more than the reach of 9; one slice off is within it."""
    hits = []
    for k, off in enumerate((1, 3)):
        (into := tmp_path / str(k)).mkdir()
        maps, truth = volumes(into, lambda s, row, column, off=off: (s + (off if s < 8 else -off), row, column))
        hits.append(pointing_game(maps, truth=truth, folder=into).hits)
    assert hits == [FILMS, 0]


def test_lesions_of_a_volume_overlap_across_its_slices():
    """A ball of radius 2 pixels is one slice thick where slices lie two and a half pixels apart."""
    heat = np.zeros((5, 20, 20))
    z, y, x = np.ogrid[:5, :20, :20]
    heat[((z - 2) * 2.5) ** 2 + (y - 10) ** 2 + (x - 10) ** 2 <= 4] = 1
    lesion = np.array([[2.0, 10, 10, 2]])
    assert heat.sum() == 13 and overlap(heat, lesion, (2.5, 1, 1)) == 1
    assert overlap(heat, np.array([[4.0, 10, 10, 2]]), (2.5, 1, 1)) == 0


def test_a_map_is_stretched_to_the_film_that_it_is_laid_on(tmp_path):
    """Every lesion lies in the middle of its film, whatever the size: another film's map hits it as well."""
    lines, maps = [], []
    for i, side in enumerate((21, 41, 81)):
        heat = np.zeros((1, side, side), np.float32)
        heat[0, side // 2, side // 2] = 1
        np.save(tmp_path / f"{i}.npy", heat)
        maps.append({"file": str(tmp_path / f"{i}.dcm"), "map": f"{i}.npy"})
        lines.append((f"{i}.dcm", side // 2, side // 2, 2))
    with (tmp_path / "l.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("file", "row", "column", "radius"), *lines])
    game = pointing_game(Explained(tmp_path, tuple(maps), ()), truth=tmp_path / "l.csv", folder=tmp_path)
    assert game.hits == 3 and game.by_exchange == 1


def test_what_a_table_does_not_tell_is_refused_with_what_to_do(tmp_path):
    maps, truth = volumes(tmp_path, lambda s, row, column: (s, row, column), slices=False)
    with pytest.raises(OverreadError, match="without its slice"):
        pointing_game(maps, truth=truth, folder=tmp_path)
    whole = tmp_path / "whole.csv"
    whole.write_text("file,slice,row,column,radius\nimages,3,4,5,2\n")
    with pytest.raises(OverreadError, match="two images or more"):
        pointing_game(maps, truth=whole, folder=tmp_path)
    for text, why in (("file,row\na,1\n", "column and radius"), ("file,row,column,radius\na,x,1,1\n", "'x'"),
                      ("file,row,column,radius\na,1,1,0\n", "radius of 0")):  # fmt: skip
        whole.write_text(text)
        with pytest.raises(OverreadError, match=why):
            known_lesions(whole, tmp_path)
    known = known_lesions(truth, tmp_path)
    foreseen(known, truth, [tmp_path / "images"])
    foreseen(known, truth, [tmp_path / "images/3/1.dcm"])
    with pytest.raises(OverreadError, match="none of them in the sources"):
        foreseen(known, truth, [tmp_path / "other"])


def mammograms(folder: Path, into: Path, *, upside_down: bool) -> tuple[Explained, Path]:
    """Lay a textbook detector of round masses over real films whose masses were marked by a radiologist.

    The maps stand on a quarter of the films' grid. The source counts rows from the bottom.
    """
    from PIL import Image
    from scipy.ndimage import gaussian_filter

    maps, lines = [], []
    for words in map(str.split, (folder / "Info.txt").read_text(errors="replace").splitlines()):
        if len(words) != 7 or not words[0].startswith("mdb") or words[2] != "CIRC":
            continue
        (file,) = (folder / "images").glob(f"{words[0]}.*")
        column, up, radius = (float(v) / 4 for v in words[4:])
        with Image.open(file) as picture:
            film = np.asarray(picture.convert("L").resize((256, 256), Image.Resampling.BOX), float)
        heat = gaussian_filter(film, 6) - gaussian_filter(film, 15)
        inside = gaussian_filter((film > 20).astype(float), 12) > 0.97  # the breast, without its edge and the labels
        if f"{words[0]}.npy" not in {m["map"] for m in maps}:
            np.save(into / f"{words[0]}.npy", np.where(inside, heat, heat.min())[None])
            maps.append({"file": str(into / f"{words[0]}.pgm"), "map": f"{words[0]}.npy"})
        lines.append((f"{words[0]}.pgm", 0, up if upside_down else 256 - up, column, radius, 0))
    truth = into / "lesions.csv"
    with truth.open("w", newline="") as out:
        csv.writer(out).writerows([("file", "slice", "row", "column", "radius", "contrast"), *lines])
    return Explained(into, tuple(maps), ()), truth


def test_real_masses_are_pointed_at_where_the_radiologist_marked_them(shared_data, tmp_path):
    """Its twin reads the rows from the top: the masses are then elsewhere, and a detector does not find them there."""
    hits = {}
    for upside_down in (False, True):
        (into := tmp_path / f"{upside_down}").mkdir()
        maps, truth = mammograms(shared_data / "mammography", into, upside_down=upside_down)
        game = pointing_game(maps, truth=truth, folder=into)
        hits[upside_down] = game
    right, wrong = hits[False], hits[True]
    assert right.films >= 15
    assert right.hits / right.films > 2 * right.by_exchange
    assert right.hits > wrong.hits
    assert np.mean([c["overlap"] for c in right.cases]) > np.mean([c["overlap"] for c in wrong.cases])
