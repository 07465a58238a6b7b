"""Scores of several images as one: by hand, by a simulation with a known best rule, and never by testing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from overread.stats.joined import RULES, Joining, chosen, join, read, truth_of


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(-20, 20)), min_size=1, max_size=30), st.sampled_from(RULES))
def test_each_row_belongs_to_one_unit_and_order_does_not_matter(rows, rule):
    units, z = [u for u, _ in rows], np.array([[v] for _, v in rows])
    joined, members = join(z, units, rule)
    assert sorted(i for some in members for i in some) == list(range(len(rows)))
    back = np.arange(len(rows))[::-1]
    other, others = join(z[back], [units[i] for i in back], rule)
    mine = {units[some[0]]: joined[k, 0] for k, some in enumerate(members)}
    assert mine == pytest.approx({[units[i] for i in back][some[0]]: other[k, 0] for k, some in enumerate(others)})


def test_one_image_a_unit_is_left_as_it_is():
    z = np.random.default_rng(0).normal(size=(7, 2))
    for rule in RULES:
        assert (join(z, range(7), rule)[0] == z).all()


@pytest.mark.parametrize(("seen_in", "best"), [("one", "max"), ("all", "mean")])
def test_the_rule_follows_how_a_finding_shows(seen_in, best):
    """Known truth: a sign strong in one of six images is found by the largest score, one weak in all by the mean."""
    rng = np.random.default_rng(1)
    truth = np.repeat(rng.random(400) < 0.5, 6).astype(float)[:, None]
    z = rng.normal(size=(2400, 1))
    one = (np.arange(2400) % 6 == 0)[:, None]
    z += truth * (3.0 * one if seen_in == "one" else 0.7)
    found = chosen(z, truth, np.repeat(np.arange(400), 6).tolist(), asked="auto", levels=False)
    assert found["rule"] == best
    assert found["auroc"][best] > found["auroc"]["mean" if best == "max" else "max"] + 0.02
    assert found["units"] == 400


def test_what_a_person_names_is_taken_and_levels_keep_to_the_mean():
    z, t = np.array([[0.0], [5], [2], [2]]), np.array([[1.0], [1], [0], [0]])
    assert chosen(z, t, list("aabb"), asked="mean", levels=False)["rule"] == "mean"
    assert chosen(z, t, list("aabb"), asked="max", levels=False)["rule"] == "max"
    both = np.array([[1.0, 0], [1, 0], [0, 1], [0, 1]])
    assert chosen(np.hstack([z, -z]), both, list("aabb"), asked="auto", levels=True)["rule"] == "mean"


def test_without_a_figure_the_mean_stays():
    """One answer only: nothing can be ranked, and nothing is claimed."""
    assert chosen(np.array([[0.0], [5]]), np.array([[1.0], [1]]), ["a", "b"], asked="auto", levels=False)["rule"] == "mean"  # fmt: skip


def test_what_is_known_of_a_patient():
    truth = np.array([[1.0, np.nan], [0, 0], [np.nan, np.nan]])
    np.testing.assert_equal(truth_of(truth, [[0, 1], [2]], levels=False), [[1, np.nan], [np.nan, np.nan]])
    known = np.array([[1.0, 0], [0, 0]])
    np.testing.assert_equal(truth_of(known, [[0, 1]], levels=False), [[1, 0]])
    levels = np.array([[1.0, 0], [1, 0], [0, 1]])
    assert truth_of(levels, [[0, 1]], levels=True).tolist() == [[1, 0]]


def test_what_calibration_holds():
    assert read(None) is None
    assert read({"unit": "study", "rule": "max", "auroc": {}}) == Joining("study", "max")
