import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from overread.imaging import intensity

ARRAYS = hnp.arrays(np.float32, (2, 5, 4), elements=st.floats(-3000, 3000, width=32))


@given(ARRAYS)
def test_normalised_between_its_own_ends_lies_in_0_to_1(values):
    out = intensity.normalise(values, low=float(values.min()), high=float(values.max()))
    assert out.min() >= 0
    assert out.max() <= 1 + 1e-6


@given(ARRAYS, st.floats(-100, 100), st.floats(0.5, 50))
def test_standardise_is_undone_by_its_inverse(values, mean, std):
    out = intensity.standardise(values, mean=mean, std=std)
    np.testing.assert_allclose(out * std + mean, values, atol=2e-2)


def test_a_window_is_linear_inside_and_flat_outside():
    out = intensity.window(np.array([-2000.0, -600 + 750 / 2, 5000]), center=-600, width=1500)
    np.testing.assert_allclose(out, [0, 0.75, 1])


def test_an_image_without_contrast_becomes_zeros_and_not_nan():
    flat = np.full((1, 3, 3), 7.0)
    assert (intensity.normalise(flat, low=7, high=7) == 0).all()
    assert (intensity.standardise(flat, mean=7, std=0) == 0).all()


def test_percentiles_of_a_large_image_are_those_of_all_its_voxels():
    values = np.random.default_rng(0).normal(size=5_000_000).astype(np.float32)
    have = intensity.percentile_range(values, lower=0.5, upper=99.5)
    np.testing.assert_allclose(have, np.percentile(values, (0.5, 99.5)), atol=0.01)
