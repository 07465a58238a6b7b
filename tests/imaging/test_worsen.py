"""Images made worse on purpose: more with each severity, in the way that was asked for and in no other."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import ndimage

from overread.imaging.worsen import KINDS, SEVERITIES, worsened


def film(channels: int = 1) -> np.ndarray:
    rng = np.random.default_rng(0)
    planes = [ndimage.gaussian_filter(rng.normal(size=(64, 48)), 2) for _ in range(channels)]
    x = np.stack(planes, axis=-1).astype(np.float32)
    return (x - x.mean()) / (6 * x.std())


def made(kind: str, severity: int, x: np.ndarray, seed: int = 0) -> np.ndarray:
    return worsened(x, kind, severity, low=-0.5, high=0.5, rng=np.random.default_rng(seed))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [1, 3])
def test_each_severity_is_further_from_the_image_than_the_one_before(kind, channels):
    x = film(channels)
    far = [np.abs(made(kind, severity, x) - x).mean() for severity in range(1, SEVERITIES + 1)]
    assert all(a < b for a, b in itertools.pairwise(far)), far
    worst = made(kind, SEVERITIES, x)
    assert worst.shape == x.shape and worst.dtype == np.float32 and -0.5 <= worst.min() and worst.max() <= 0.5


def test_what_is_done_is_what_is_said():
    x = film()
    noise = made("noise", 3, x) - x
    assert noise.std() == pytest.approx(0.08, rel=0.05) and abs(noise.mean()) < 0.005
    assert made("less contrast", 3, x).std() == pytest.approx(x.std() / 2, rel=0.01)
    assert np.median(made("brighter", 2, x) - x) == pytest.approx(0.1, abs=1e-6)
    assert np.median(made("darker", 2, x) - x) == pytest.approx(-0.1, abs=1e-6)
    blurred = ndimage.gaussian_filter(x[..., 0], 0.02 * 64, mode="nearest")
    np.testing.assert_allclose(made("blur", 4, x)[..., 0], np.clip(blurred, -0.5, 0.5), atol=1e-5)
    assert abs(made("turned", 4, x, seed=1) - made("turned", 4, x, seed=2)).max() >= 0  # either way, by chance
    ways = {made("turned", 4, x, seed=s)[10, 10, 0].item() for s in range(12)}
    assert len(ways) == 2


def test_a_volume_is_made_worse_slice_by_slice():
    x = np.stack([film(), film()[::-1]])
    np.testing.assert_array_equal(made("JPEG", 3, x)[1], made("JPEG", 3, x[1]))
    assert made("noise", 1, x).shape == x.shape and not np.array_equal(*(made("noise", 1, x) - x))
