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
from overread.steps.pointing import REACH, covered_share, hottest, pointing_game

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
