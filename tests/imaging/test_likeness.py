"""Copies are found however they were stored again; pictures of different patients are not called copies."""

from __future__ import annotations

import io
import time
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Picture
from scipy.fft import dctn

from overread.imaging import likeness
from overread.imaging.likeness import NEAR, NEAR_TURNED, WAYS, Pair, groups, mirrored, near_pairs, signature
from overread.imaging.one_thread import one_thread
from overread.imaging.phantom_body import draw_body
from overread.imaging.phantom_exposure import Detector, expose

N = 24


@pytest.fixture(scope="module")
def films() -> list[np.ndarray]:
    """Chest films (phantoms) of different patients: much more alike than random pictures."""
    made = []
    for seed in range(N):
        rng = np.random.default_rng(seed)
        body = draw_body(rng, sex="FM"[seed % 2], nodules=seed % 3)
        film = expose(body, view="PA", size=128, detector=Detector(), rng=rng)
        made.append((film / film.max() * 255).astype(np.uint8))
    return made


def rescaled(film: np.ndarray, factor: float) -> np.ndarray:
    size = (round(film.shape[1] * factor), round(film.shape[0] * factor))
    return np.asarray(Picture.fromarray(film).resize(size, Picture.Resampling.BICUBIC))


def as_jpeg(film: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Picture.fromarray(film).save(file, "jpeg", quality=quality)
    return np.asarray(Picture.open(file))


COPIES: dict[str, tuple[str, Callable[[np.ndarray], np.ndarray]]] = {
    "re-encoded": ("the same", lambda f: as_jpeg(f, 30)),
    "half the size": ("the same", lambda f: rescaled(f, 0.5)),
    "a third larger": ("the same", lambda f: rescaled(f, 1.33)),
    "brighter": ("the same", lambda f: np.clip(f.astype(int) + 40, 0, 255).astype(np.uint8)),
    "less contrast": ("the same", lambda f: (f * 0.6 + 30).astype(np.uint8)),
    "in 16 bits": ("the same", lambda f: f.astype(np.uint16) * 16 + 1000),
    "mirrored": ("mirrored", lambda f: f[:, ::-1]),
    "mirrored, smaller, re-encoded": ("mirrored", lambda f: as_jpeg(rescaled(f, 0.5)[:, ::-1].copy(), 50)),
    "inverted": ("inverted", lambda f: 255 - f),
    "inverted and mirrored": ("mirrored and inverted", lambda f: 255 - f[:, ::-1]),
}


@pytest.mark.parametrize("kind", COPIES)
def test_injected_copies_are_found_and_nothing_else(films, kind):
    way, change = COPIES[kind]
    copied = range(0, N, 4)
    looks = np.stack([signature(f) for f in [*films, *(change(films[i]) for i in copied)]])
    found = {(p.first, p.second): p.way for p in near_pairs(looks)}
    assert found == {(i, N + k): way for k, i in enumerate(copied)}


def test_films_of_different_patients_are_no_copies(films):
    """Twin: the threshold lies between; a lower one calls strangers copies."""
    looks = np.stack([signature(f) for f in films])
    assert near_pairs(looks) == []
    assert near_pairs(looks, at_least=0.6) != []


def test_training_is_compared_with_testing(films):
    training = np.stack([signature(f) for f in films[:16]])
    testing = np.stack([signature(f) for f in [films[20], as_jpeg(films[3], 60), films[21], films[3][:, ::-1]]])
    found = near_pairs(training, testing)
    assert [(p.first, p.second, p.way) for p in found] == [(3, 1, "the same"), (3, 3, "mirrored")]
    assert all(NEAR <= p.likeness <= 1 for p in found)


def test_the_blocks_of_a_large_comparison_join(films, monkeypatch):
    looks = np.stack([signature(f) for f in [*films, *films[::3]]])
    whole = near_pairs(looks)
    monkeypatch.setattr("overread.imaging.likeness._ROWS", 7)
    monkeypatch.setattr("overread.imaging.likeness._COLUMNS", 9)
    monkeypatch.setattr("overread.imaging.likeness._FEWEST", 2)
    parts = near_pairs(looks)
    assert [(p.first, p.second, p.way) for p in parts] == [(p.first, p.second, p.way) for p in whole] != []
    np.testing.assert_allclose([p.likeness for p in parts], [p.likeness for p in whole], atol=1e-5)


def made_up(n: int, *, seed: int, spread: int = 48) -> np.ndarray:
    """Signatures that differ most in some directions, as films of one kind do; (n, 575)."""
    rng = np.random.default_rng(seed)
    looks = rng.normal(size=(n, 575)) * np.exp(-np.arange(575) / spread)
    return (looks / np.linalg.norm(looks, axis=1, keepdims=True)).astype(np.float32)


def one_by_one(first: np.ndarray, second: np.ndarray, straight: float, turned: float) -> dict:
    """The plain answer: every likeness, in every way."""
    same, other = (a.astype(np.float64) @ second.astype(np.float64).T for a in (first, mirrored(first)))
    ways = np.stack([same, other, -same, -other])
    ways[1:][ways[1:] < turned] = -2
    enough = (ways[0] >= straight) | (ways[1:] > 0).any(0)
    return {
        (int(i), int(j)): (WAYS[int(ways[:, i, j].argmax())], min(1.0, float(ways[:, i, j].max())))
        for i, j in np.argwhere(enough)
    }


@pytest.mark.parametrize(("straight", "turned"), [(NEAR, NEAR_TURNED), (0.6, 0.7), (0.3, 0.35)])
@pytest.mark.parametrize("kind", ["float16", "float32"])
def test_nothing_is_missed_and_nothing_added(straight, turned, kind):
    """Oracle: all products. Copies lie on either side of the limits, in every way; many or few pass the outline."""
    known = made_up(1300, seed=1).astype(kind)
    rng = np.random.default_rng(2)
    noise = rng.normal(size=(400, 575)) * rng.uniform(0, 0.05, (400, 1))
    new = known[rng.integers(0, len(known), 400)] * rng.choice([-1.0, 1.0], (400, 1)) + noise
    new[::2] = mirrored(new[::2])
    new = (new / np.linalg.norm(new, axis=1, keepdims=True)).astype(kind)
    expected = one_by_one(new, known, straight, turned)
    ticks: list[int] = []
    how = {"at_least": straight, "at_least_turned": turned, "most": 10_000}
    found = {(p.first, p.second): (p.way, p.likeness) for p in near_pairs(new, known, tick=ticks.append, **how)}
    unsure = {
        pair
        for pair, (_, alike) in (expected | found).items()
        if min(abs(alike - straight), abs(alike - turned)) < 1e-5
    }
    assert found.keys() - unsure == expected.keys() - unsure and len(expected) > 100
    assert all(
        found[p][0] == expected[p][0] and abs(found[p][1] - expected[p][1]) < 1e-5 for p in expected.keys() - unsure
    )
    assert sum(ticks) == 1300 * 400
    both = np.concatenate([new, known])
    ticks.clear()
    within = {(p.first, p.second) for p in near_pairs(both, tick=ticks.append, **how)}
    assert within >= {(i, 400 + j) for i, j in found.keys() - unsure} and sum(ticks) == 1700 * 1699 // 2


def test_an_outline_alone_would_miss_copies(monkeypatch):
    """Twin: without the product of what is left, copies are lost; so the case above can fail."""
    looks = made_up(1200, seed=3, spread=300)
    whole = near_pairs(looks, at_least=0.2, at_least_turned=0.25)
    outline = likeness._outline

    def without_the_rest(signatures, axes):
        even, odd, rest = outline(signatures, axes)
        return even, odd, 0 * rest

    monkeypatch.setattr(likeness, "_outline", without_the_rest)
    assert len(near_pairs(looks, at_least=0.2, at_least_turned=0.25)) < len(whole)


def test_films_that_differ_are_told_apart_by_their_outline():
    """The time: of 8,000 pictures, less than half of what all products take."""
    looks = made_up(8000, seed=4)
    with one_thread():
        began = time.process_time()
        (looks @ looks.T).max()
        products = time.process_time() - began
    began = time.process_time()
    assert near_pairs(looks) == []
    assert time.process_time() - began < products / 2


def test_a_picture_like_very_many_stays_linked_with_all(monkeypatch):
    """A hub of which 100 others are copies, and not of one another: the likest 32 are told, and a pair for each other."""
    rng = np.random.default_rng(0)
    hub = np.eye(575)[0]
    around = rng.normal(size=(100, 574))
    around *= 0.36 / np.linalg.norm(around, axis=1, keepdims=True)
    looks = np.concatenate([[hub], np.column_stack([np.full(100, np.sqrt(1 - 0.36**2)), around])])
    for size in (512, 7):
        monkeypatch.setattr(likeness, "_ROWS", size)
        monkeypatch.setattr(likeness, "_COLUMNS", max(size, 20))
        pairs = near_pairs(looks)
        assert {p.first for p in pairs} == {0} and len(pairs) == 100
        back = near_pairs(looks[:1], looks[1:], most=3)
        assert len(back) == 100 and isinstance(back[0], Pair)


def test_a_thousand_like_frames_stay_bounded_and_are_one_group(films):
    looks = np.tile(signature(films[0]), (1000, 1))
    pairs = near_pairs(looks, most=4)
    assert len(pairs) < 4000
    assert len(set(groups(1000, ((p.first, p.second) for p in pairs)))) == 1


def test_the_signature_is_the_weighted_cosine_transform(films):
    """Oracle: SciPy's DCT-II of the same picture."""
    waves = dctn(films[0].astype(float), type=2)[:24, :24] * sum(n**2 for n in np.mgrid[:24, :24])
    expected = waves.reshape(-1)[1:] / np.linalg.norm(waves)
    np.testing.assert_allclose(signature(films[0]), expected, atol=2e-6)


@given(st.integers(2, 60), st.integers(2, 60), st.integers(0, 99))
def test_a_signature_has_length_one_and_a_mirror_is_its_own_inverse(rows, columns, seed):
    plane = np.random.default_rng(seed).random((rows, columns))
    look = signature(plane)
    assert np.linalg.norm(look) == pytest.approx(1, abs=1e-5)
    np.testing.assert_array_equal(mirrored(mirrored(look)), look)
    np.testing.assert_allclose(signature(plane[:, ::-1]), mirrored(look), atol=1e-4)


@pytest.mark.parametrize("value", [0, 7, 1e6, -1024])
def test_a_picture_of_one_value_is_like_nothing(value):
    look = signature(np.full((40, 30), value))
    assert not look.any()
    assert near_pairs(np.stack([look, look])) == []


def test_the_wrong_shape_is_refused():
    with pytest.raises(ValueError, match="expected \\(rows, columns\\)"):
        signature(np.zeros((2, 3, 4)))


def test_nothing_to_compare():
    empty = np.zeros((0, 575), np.float32)
    assert near_pairs(empty) == []
    assert groups(0, []).tolist() == []
    assert WAYS[0] == "the same"


def test_real_films(shared_data):
    """The 29 identical pairs of the messy folder and its rescaled copies; no two different breasts are called one."""

    def looks(folder: str) -> tuple[list, np.ndarray]:
        files = sorted(f for f in (shared_data / folder).rglob("*") if f.suffix.lower() in (".jpg", ".jpeg", ".png"))
        return files, np.stack([signature(np.asarray(Picture.open(f).convert("L"))) for f in files])

    files, brains = looks("brain_mri")
    pairs = near_pairs(brains)
    names = {frozenset((files[p.first].name, files[p.second].name)) for p in pairs}
    assert {"12 no.jpg", "no 90.jpg"} in names  # 275 × 183 and 420 × 280
    assert {"Y21.jpg", "Y91.jpg"} in names  # 204 × 247 and 1061 × 1280
    assert 40 <= len(files) - len(set(groups(len(files), ((p.first, p.second) for p in pairs)))) <= 50
    _, breasts = looks("mammography")
    assert near_pairs(breasts) == []
