"""The decision curve draws what was computed."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from overread.pages.benefit import decision_plot, span_told
from overread.pages.plots import BOTTOM, HEIGHT, LEFT, RIGHT, WIDTH
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


def test_the_line_is_drawn_wherever_the_words_claim_a_benefit():
    """A line may leave the drawing at the bottom and come back: half of its claim was not drawn."""
    t = [k / 100 for k in range(1, 100)]
    model = [0.3 - 0.4 * v if v < 0.4 else (-0.5 if v < 0.57 else 0.08) for v in t]
    everybody = [(0.45 - v) / (1 - v) for v in t]
    band = {"low": [v - 0.01 for v in model], "high": [v + 0.01 for v in model]}
    curve = {"thresholds": t, "model": model, "everybody": everybody, **band, "best_from": 0.59, "best_to": 0.59}
    plot = decision_plot(curve, name="mass")
    lines = re.findall(r'<polyline points="([^"]+)"[^>]*stroke-width="2.4"', plot.svg)
    ends = [[float(pair.split(",")[0]) for pair in line.split()] for line in lines]
    assert len(ends) == 2
    width = lambda v: LEFT + v * (WIDTH - LEFT - RIGHT)
    assert ends[0][-1] < width(0.41) and ends[1][0] > width(0.55) and ends[1][-1] == pytest.approx(width(0.99), abs=0.1)
    lowest = max(float(pair.split(",")[1]) for line in lines for pair in line.split())
    assert lowest == pytest.approx(HEIGHT - BOTTOM, abs=0.1)  # it leaves at the bottom, and no further
    assert plot.svg.count("<polygon") == 2
    assert [row[0] for row in plot.rows] == [f"{n}\xa0%" for n in (2, 5, 10, 20, 30, 50, 59, 70)]
    assert "from a probability of 59\xa0% only" in plot.caption and span_told(curve) == "at 59\xa0% alone"


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
