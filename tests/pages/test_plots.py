"""Plots carry the numbers they draw."""

from __future__ import annotations

import re
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest
from sklearn.metrics import roc_curve

from overread.pages import plots


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
    assert all(len(row) == len(plot.columns) for plot in drawn[:3] for row in plot.rows)
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
