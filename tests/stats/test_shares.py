"""Shares and what is made of them, against published examples and against their definition."""

import numpy as np
import pytest
from sklearn.metrics import class_likelihood_ratios

from overread.stats.claims import difference_share
from overread.stats.decisions import likelihood_ratios
from overread.stats.resample import cases
from overread.stats.shares import counted, mover, ratio, shares, together, wilson


def two(k, m, j, n, *, images=1):
    """Shares k / m and j / n of different patients, ``images`` alike each."""
    hits, of = np.zeros((m + n, 2)), np.zeros((m + n, 2))
    of[:m, 0] = of[m:, 1] = images
    hits[:k, 0] = hits[m : m + j, 1] = images
    return shares(hits, of)


@pytest.mark.parametrize(
    ("counts", "published"),
    [((56, 70, 48, 80), (0.0524, 0.3339)), ((9, 10, 3, 10), (0.1705, 0.8090)), ((10, 10, 0, 20), (0.6791, 1.0))],
)
def test_differences_are_those_that_newcombe_published(counts, published):
    """Newcombe 1998, doi:10.1002/(SICI)1097-0258(19980430)17:8<873::AID-SIM779>3.0.CO;2-I, method 10."""
    s = two(*counts)
    _, low, high = mover(s.value, s.low, s.high, np.array([1.0, -1.0]), together(s.pull))
    assert (low, high) == pytest.approx(published, abs=1e-4)


def test_at_the_ends_of_a_ratio_the_difference_just_reaches_0():
    """The definition: r is an end where the interval of a − r b has 0 for its own end."""
    r = np.random.default_rng(0)
    of = np.stack([r.integers(0, 4, 90), r.integers(0, 4, 90)], axis=1).astype(float)
    hits = np.floor(of * r.random((90, 1)) + r.random((90, 2)) * 0.6)
    s = shares(np.minimum(hits, of), of)
    alike = together(s.pull)
    assert alike[0, 1] > 0.1
    value, low, high = ratio(s, 0, 1)
    assert low < value < high
    assert mover(s.value, s.low, s.high, np.array([1.0, -low]), alike)[1] == pytest.approx(0, abs=1e-12)
    assert mover(s.value, s.low, s.high, np.array([1.0, -high]), alike)[2] == pytest.approx(0, abs=1e-12)


def test_likelihood_ratios_equal_scikit_learn():
    r = np.random.default_rng(1)
    y = r.integers(0, 2, 300)
    call = r.random(300) < 0.3 + 0.4 * y
    theirs = class_likelihood_ratios(y, call)
    assert [e.value for e in likelihood_ratios(cases(y, call.astype(float)), call)] == pytest.approx(theirs)


def test_copies_of_every_image_say_what_the_images_say():
    once, thrice = two(56, 70, 48, 80), two(56, 70, 48, 80, images=3)
    assert thrice.single == pytest.approx(once.n, rel=0.06) and once.single.tolist() == [70, 80]
    assert (thrice.high - thrice.low) == pytest.approx(once.high - once.low, rel=0.05)


def test_empty_cells_have_ends_that_mean_something():
    value, low, high = ratio(two(8, 10, 0, 20), 0, 1)
    assert (value, high) == (np.inf, np.inf) and 1 < low < 10
    value, low, high = ratio(two(0, 10, 8, 20), 0, 1)
    assert (value, low) == (0, 0) and 0.1 < high < 2
    assert np.isnan(ratio(two(0, 10, 0, 20), 0, 1)[0])


def test_two_models_that_never_differ_are_not_known_to_be_the_same():
    c, same = cases(np.ones(50), np.ones(50)), np.arange(50) < 40
    e = difference_share(c, same, same, np.ones(50, bool))
    assert e.value == 0 and -e.low == pytest.approx(e.high) and e.high > 0.05
    twice = cases(np.ones(50), np.ones(50), [str(i // 2) for i in range(50)])
    assert difference_share(twice, same, same, np.ones(50, bool)).high > e.high  # 25 patients say less than 50


def test_counted_counts_by_patient():
    c = cases([1, 1, 0], np.zeros(3), list("aab"))
    assert counted(c, c.truth == 1, c.truth == 0).tolist() == [[2, 0], [0, 1]]
    assert np.isnan(wilson(0, 0)).all()  # nothing is known of nothing


@pytest.mark.parametrize("most", [10, 40])
def test_copies_of_few_patients_hold_the_truth_as_often_as_those_patients_would(most):
    """Nearly all-or-nothing patients, of one size or of 1 to 40 images; the twin, without the floor, is far too wide."""
    rng = np.random.default_rng(0)
    of = np.full((10, 4000), 10.0) if most == 10 else rng.integers(1, most + 1, (10, 4000)).astype(float)
    own, each = rng.normal(size=of.shape), rng.normal(size=(most, *of.shape))
    ill = np.sqrt(0.99) * own + np.sqrt(0.01) * each > 0
    told = shares((ill & (np.arange(most)[:, None, None] < of)).sum(0).astype(float), of)
    assert 0.94 < ((told.low <= 0.5) & (told.high >= 0.5)).mean() < 0.975
    floor = (of.sum(0) ** 2 / (of**2).sum(0)) ** 2 / 10
    some = (told.value > 0) & (told.value < 1)
    assert (told.single >= floor - 1e-9)[some].all() and np.median(told.single[some]) < 10.0 + 1e-9
