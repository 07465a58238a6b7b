"""The decision curve draws what was computed."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np

from overread.pages.benefit import decision_plot
from overread.stats.decisions import decision_curve
from overread.stats.resample import cases


def made(n=200, seed=0):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, n)
    p = np.clip(0.2 + 0.6 * truth + rng.normal(0, 0.15, n), 0.01, 0.99)
    return decision_curve(cases(truth, p))


def test_it_is_well_formed_stays_in_its_frame_and_has_a_table():
    for name in ("mass", '<script>x</script> & "co"'):
        plot = decision_plot(made(), name=name)
        root = ElementTree.fromstring(plot.svg)
        assert root.get("role") == "img" and name in root.get("aria-label")
        points = [pair.split(",") for line in re.findall(r'points="([^"]+)"', plot.svg) for pair in line.split()]
        assert all(52 <= float(x) <= 356.1 and 13.9 <= float(y) <= 294.1 for x, y in points)
        assert all(len(row) == len(plot.columns) for row in plot.rows)


def test_the_table_says_the_net_benefit_by_hand():
    curve = made()
    row = next(r for r in decision_plot(curve, name="mass").rows if r[0] == "50\xa0%")
    k = curve["thresholds"].index(0.5)
    assert row[1] == f"{curve['model'][k]:.3f}".replace("-", "−")
    assert row[3] == f"{curve['everybody'][k]:.3f}".replace("-", "−")


def test_a_model_that_is_never_better_is_said_to_be_so():
    rng = np.random.default_rng(1)
    curve = decision_curve(cases(rng.integers(0, 2, 60), rng.random(60)))
    assert "At no threshold" in decision_plot(curve | {"best_from": None}, name="mass").caption
    assert "At no threshold" not in decision_plot(made(), name="mass").caption


def test_the_range_is_told_as_holding_point_by_point():
    said = decision_plot(made(), name="mass").caption
    assert "Point by point" in said and "urely" not in said
    assert "urely" not in decision_plot(made() | {"best_from": None}, name="mass").caption
