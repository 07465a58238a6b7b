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
    assert (again.limit, again.n, again.promised) == (like.limit, like.n, like.promised)
    held = like.arrays("look") | {"look_limit": np.array([like.limit, like.n])}
    assert Novelty.of(held, "look").promised is None  # of an earlier version, which counted images


def test_few_images_promise_nothing():
    rng = np.random.default_rng(4)
    assert fit(spread(rng, 19), spread(rng, 100)) is None
    assert fit(spread(rng, 100), spread(rng, 5)).limit == np.inf
    thirty = fit(spread(rng, 100), spread(rng, 30))
    assert np.isfinite(thirty.limit)
    assert fit(np.ones((50, 3)), np.ones((30, 3))).distance([[2.0, 1, 1]])[0] > 1e3


def clustered(rng, patients, each=6, d=4):
    """Images of one patient lie together: what is far in one is far in all."""
    own = 0.95 * rng.normal(size=(patients, d)).repeat(each, axis=0)
    return own + np.sqrt(1 - 0.95**2) * rng.normal(size=own.shape), [f"P{i}" for i in np.arange(patients).repeat(each)]


def alarmed(rng, *, patients, by_patient, cohorts=150, share=0.05, new=200):
    """Mean share of new patients with an image called a stranger, and what was promised of it."""
    found = []
    for _ in range(cohorts):
        rows, who = clustered(rng, patients)
        like = fit(clustered(rng, 200)[0], rows, false_alarms=share, patients=who if by_patient else None)
        far = like.distance(clustered(rng, new)[0]) > like.limit
        found.append(far.reshape(new, -1).any(axis=1).mean())
    return np.mean(found), like.promised


def test_no_more_patients_are_refused_than_promised_where_images_come_in_clusters():
    share, promised = alarmed(np.random.default_rng(5), patients=59, by_patient=True)
    assert promised == 0.05 and 0.035 <= share <= 0.055
    share, _ = alarmed(np.random.default_rng(5), patients=59, by_patient=False)
    assert share > 0.07  # the twin: counting images, more patients are refused than was said


def test_too_few_patients_promise_what_they_can_and_keep_it():
    share, promised = alarmed(np.random.default_rng(6), patients=12, by_patient=True)
    assert promised == pytest.approx(1 / 13) and share <= promised
    assert fit(*(clustered(np.random.default_rng(7), n)[0] for n in (100, 3))).promised == 0
