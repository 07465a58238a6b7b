"""The odd one out is found however odd it is, and ordinary numbers are not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from overread.stats.outliers import FAR, robust_z


def test_of_normal_numbers_none_is_far():
    z = robust_z(np.random.default_rng(0).normal(7, 3, 20_000))
    assert np.abs(z).max() < FAR
    assert z.std() == pytest.approx(1, abs=0.03)


def test_the_scale_is_scipys():
    """Oracle: the median absolute deviation of SciPy."""
    values = np.random.default_rng(1).gamma(2, 5, 500)
    expected = (values - np.median(values)) / stats.median_abs_deviation(values, scale="normal")
    np.testing.assert_allclose(robust_z(values), expected, rtol=1e-3)


def test_odd_ones_do_not_hide_themselves():
    """With mean and standard deviation, forty odd ones of a hundred would hide one another: none reaches 2."""
    values = np.r_[np.random.default_rng(0).normal(0, 1, 60), np.full(40, 1000.0)]
    plain = (values - values.mean()) / values.std()
    assert np.abs(plain).max() < 2
    assert (robust_z(values)[60:] > FAR).all() and (np.abs(robust_z(values)[:60]) < FAR).all()


def test_one_other_size_among_equals_is_far():
    z = robust_z(np.r_[np.full(99, 5.0), 6.0])
    assert z[-1] > FAR and not z[:-1].any()


def test_a_third_of_another_size_is_not():
    assert np.abs(robust_z(np.r_[np.full(60, 5.0), np.full(30, 6.0)])).max() < FAR


def test_equal_numbers_and_unknown_ones():
    assert robust_z(np.full(5, 3.0)).tolist() == [0] * 5
    z = robust_z(np.array([1, np.nan, 2, 3]))
    assert np.isnan(z[1]) and z[2] == 0
    assert np.isnan(robust_z(np.array([np.nan, np.nan]))).all()
