import numpy as np
import pytest
from scipy.spatial.distance import mahalanobis
from sklearn.covariance import LedoitWolf

from overread.stats.novelty import Novelty, fit


def spread(rng, n, d=12):
    return rng.normal(size=(n, d)) @ np.diag(np.geomspace(0.1, 10, d)) + 3


def test_false_alarms_are_as_many_as_stated_over_many_cohorts():
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(200):
        like = fit(spread(rng, 300), spread(rng, 200), false_alarms=0.05)
        shares.append((like.distance(spread(rng, 500)) > like.limit).mean())
    assert 0.035 <= np.mean(shares) <= 0.055


def test_the_distance_is_that_of_mahalanobis_with_ledoit_and_wolfs_spread():
    rng = np.random.default_rng(1)
    x, y = spread(rng, 100), spread(rng, 5)
    other = LedoitWolf().fit(x)
    want = [mahalanobis(row, other.location_, other.precision_) / np.sqrt(12) for row in y]
    assert fit(x, y).distance(y) == pytest.approx(want, rel=1e-3)


def test_strangers_are_found_where_single_numbers_look_ordinary():
    """Each number of the stranger is within what training showed; together they never occurred."""
    rng = np.random.default_rng(2)
    base = rng.normal(size=(1000, 1))
    x = np.hstack([base, base + 0.05 * rng.normal(size=(1000, 1))])
    like = fit(x[:700], x[700:])
    assert like.distance([[1.0, -1.0]])[0] > 3 * like.limit
    assert like.distance([[1.0, 1.0]])[0] < like.limit


def test_it_is_kept_and_read_back():
    rng = np.random.default_rng(3)
    like = fit(spread(rng, 60), spread(rng, 30))
    again = Novelty.of(like.arrays("look"), "look")
    y = spread(rng, 9)
    assert np.array_equal(again.distance(y), like.distance(y))
    assert (again.limit, again.n) == (like.limit, like.n)


def test_few_images_promise_nothing():
    rng = np.random.default_rng(4)
    assert fit(spread(rng, 19), spread(rng, 100)) is None
    assert fit(spread(rng, 100), spread(rng, 5)).limit == np.inf
    thirty = fit(spread(rng, 100), spread(rng, 30))
    assert np.isfinite(thirty.limit)
    assert fit(np.ones((50, 3)), np.ones((30, 3))).distance([[2.0, 1, 1]])[0] > 1e3
