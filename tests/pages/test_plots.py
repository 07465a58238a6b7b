"""Plots carry the numbers they draw."""

from __future__ import annotations

import re
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_curve

from overread.pages import plots
from overread.pages.precision import precision, staircase


def made(n=300, seed=0):
    g = np.random.default_rng(seed)
    truth = g.integers(0, 2, n)
    return truth, np.round(np.clip(g.normal(0.4 + 0.2 * truth, 0.15), 0, 1), 2)


def test_the_curve_equals_scikit_learn():
    truth, p = made()
    fx, fy, at = plots.curve(truth, p)
    theirs = roc_curve(truth, p, drop_intermediate=False)
    for ours, other in zip((fx, fy, at), theirs, strict=True):
        assert np.allclose(ours, other)


def test_bins_hold_every_case_once_and_keep_ties_together():
    _, p = made()
    bins = plots.bins_of_equal_mass(p)
    assert sorted(np.concatenate(bins)) == list(range(300))
    ends = [(p[b].min(), p[b].max()) for b in bins]
    assert all(before[1] < after[0] for before, after in pairwise(ends))
    assert len(plots.bins_of_equal_mass(np.full(100, 0.5))) == 1


@pytest.mark.parametrize("name", ["pneumonia", '<script>alert("x")</script> & co'])
def test_every_plot_is_well_formed_has_words_and_a_table(name):
    truth, p = made()
    drawn = [
        plots.roc(truth, p, threshold=0.5, name=name, beside={name: (truth, 1 - p)}),
        plots.reliability(truth, p, name=name),
        plots.distribution(truth, p, threshold=0.9, name=name),
        precision(truth, p, threshold=0.5, name=name, figure="0.9", beside={name: (truth, 1 - p)}),
        plots.ladder(
            [(name, {"value": 0.9, "low": 0.8, "high": 0.95}), ("floor", {"value": 0.4, "low": None, "high": None})],
            name=name,
        ),
    ]
    for plot in drawn:
        root = ElementTree.fromstring(plot.svg)
        assert root.get("role") == "img" and name in root.get("aria-label")
        assert "<script" not in plot.svg
        numbers = [float(v) for v in re.findall(r'(?:cx|cy|x1|x2|y1|y2)="(-?[\d.]+)"', plot.svg)]
        assert min(numbers) >= 0 and max(numbers) <= 700
    assert all(len(row) == len(plot.columns) for plot in drawn[:4] for row in plot.rows)
    assert sum(int(r[1]) + int(r[2]) for r in drawn[2].rows) == 300
    assert sum(int(r[3].split(" of ")[1]) for r in drawn[1].rows) == 300


def test_each_floor_beside_the_curve_has_dashes_of_its_own():
    truth, p = made()
    floors = {name: (truth, np.roll(p, k)) for k, name in enumerate(("logistic", "nearest", "small network"), 1)}
    svg = plots.roc(truth, p, threshold=0.5, name="mass", beside=floors).svg
    drawn = re.findall(r'<polyline[^>]*stroke-width="1.5"[^>]*stroke-dasharray="([^"]+)"', svg)
    assert len(drawn) == 3 and len(set(drawn)) == 3
    signs = [re.search(rf">(\S.*?) {name}<", svg).group(1) for name in floors]
    assert len(set(signs)) == 3


def test_the_share_of_right_calls_equals_scikit_learn_and_the_area_is_the_average_precision():
    truth, p = made()
    found, right, at = staircase(truth, p)
    theirs = precision_recall_curve(truth, p)
    assert np.allclose(right[::-1], theirs[0][:-1]) and np.allclose(found[::-1], theirs[1][:-1])
    assert np.allclose(at[::-1], theirs[2])
    assert (np.diff(np.r_[0, found]) * right).sum() == pytest.approx(average_precision_score(truth, p))


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_the_prevalence_stands_as_a_line_and_in_words(share):
    g = np.random.default_rng(2)
    truth = (np.arange(400) < 400 * share).astype(int)
    drawn = precision(truth, np.clip(g.normal(0.4 + 0.2 * truth, 0.15), 0, 1), threshold=0.5, name="mass")
    words = plots.percent(share, 1)
    height = f"{plots.up_y(share):.1f}"
    assert re.search(rf'points="[\d.]+,{height} [\d.]+,{height}"[^>]*stroke-dasharray', drawn.svg)
    assert f"prevalence {words}" in drawn.svg and f"the prevalence, {words}" in drawn.caption
    assert f"prevalence {words}" in ElementTree.fromstring(drawn.svg).get("aria-label")
    assert drawn.rows[-1][0] == "≥ 100\xa0%" and drawn.rows[-1][1] == "100.0\xa0%"


def test_what_a_plot_shows_can_be_heard():
    truth, p = made()
    for drawn in (plots.roc(truth, p, threshold=0.5, name="mass"), precision(truth, p, threshold=0.5, name="mass")):
        heard = ElementTree.fromstring(drawn.svg).get("aria-label")
        share = plots.percent(float((p[truth == 1] >= 0.5).mean()), 1)
        assert f"At the operating point {share} are found" in heard


def test_no_line_is_told_from_another_by_colour_alone():
    """In grey print: every curve has dashes of its own, and the sign of them stands beside its name."""
    truth, p = made()
    beside = {name: (truth, np.roll(p, k)) for k, name in enumerate(("logistic", "nearest"), 1)}
    for draw in (plots.roc, precision):
        svg = draw(truth, p, threshold=None, name="mass", beside=beside).svg
        lines = re.findall(r"<polyline[^>]*>", svg)
        dashes = [m.group(1) if (m := re.search(r'dasharray="([^"]+)"', line)) else "" for line in lines]
        assert len(dashes) == len(set(dashes)) == 4


def test_a_curve_of_many_cases_takes_no_more_room_than_can_be_seen():
    g = np.random.default_rng(3)
    truth = g.integers(0, 2, 20_000)
    p = np.clip(g.normal(0.4 + 0.2 * truth, 0.15), 0, 1)
    assert len(plots.roc(truth, p, threshold=0.5, name="mass").svg) < 80_000
    assert len(precision(truth, p, threshold=0.5, name="mass").svg) < 120_000


@pytest.mark.parametrize("p", [0.0, 1e-9, 0.00049, 0.99951, 1.0])
def test_no_case_is_said_to_be_certain(p):
    assert plots.chance(p) in ("< 0.1\xa0%", "> 99.9\xa0%")
