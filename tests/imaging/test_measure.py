"""The numbers that tell how an image's values lie."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from overread.domain import Image
from overread.imaging.glance import flattest_axis, grey_plane, middle_plane
from overread.imaging.measure import FEATURES, features, quantiles, sample


def test_a_sample_is_small_and_like_the_whole():
    rng = np.random.default_rng(0)
    image = Image(rng.normal(100, 15, (40, 300, 400)))
    values = sample(image)
    assert 8_000 <= values.size <= 40_000
    assert values.mean() == pytest.approx(100, abs=0.5) and values.std() == pytest.approx(15, abs=0.5)


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=300))
def test_quantiles_rise_from_the_smallest_to_the_largest(values):
    values = np.array(values, np.float32)
    marks = quantiles(values)
    assert marks[0] == values.min() and marks[-1] == values.max()
    assert (np.diff(marks) >= 0).all()


def test_quantiles_agree_with_numpy():
    values = np.random.default_rng(0).normal(size=10_001)
    expected = np.quantile(values, np.linspace(0, 1, 33))
    np.testing.assert_allclose(quantiles(values), expected, atol=0.02)


def test_features_are_what_their_names_say():
    rng = np.random.default_rng(1)
    image = Image(rng.normal(50, 10, (1, 64, 32)))
    told = dict(zip(FEATURES, features(image, sample(image)), strict=True))
    assert np.exp(told["rows"]) == pytest.approx(64) and np.exp(told["columns"]) == pytest.approx(32)
    assert told["middle value (median)"] == pytest.approx(50, abs=1.5)
    assert told["contrast (standard deviation)"] == pytest.approx(10, abs=0.7)
    assert np.exp(told["fine structure"]) == pytest.approx(2 / np.sqrt(np.pi), rel=0.05)  # of white noise


def test_blur_lowers_the_fine_structure():
    noise = np.random.default_rng(1).normal(size=(64, 64))
    blurred = sum(np.roll(noise, (i, j), (0, 1)) for i in range(3) for j in range(3))
    sharp, soft = (features(Image(v[None]), sample(Image(v[None])))[-1] for v in (noise, blurred))
    assert soft < sharp - 0.5


def test_nothing_finite_is_told_as_unknown():
    image = Image(np.full((1, 8, 8), np.nan))
    assert sample(image).size == 0
    assert np.isnan(quantiles(sample(image))).all()
    assert np.isnan(features(image, sample(image))[3:]).all()
    assert not grey_plane(image).any()


def test_one_value_has_no_fine_structure():
    image = Image(np.full((1, 8, 8), 7))
    told = features(image, sample(image))
    assert told[-2] == 1 and np.isnan(told[-1])


def test_the_slice_that_stands_for_a_volume_is_its_middle_along_the_thin_side():
    deep = Image(np.arange(9)[:, None, None] * np.ones((9, 20, 20)))
    assert middle_plane(deep).max() == 4
    sideways = Image(np.arange(5)[None, None] * np.ones((64, 64, 5)))
    assert flattest_axis(sideways) == 2
    assert middle_plane(sideways).shape == (64, 64) and middle_plane(sideways).max() == 2
