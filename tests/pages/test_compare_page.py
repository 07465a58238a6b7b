"""Runs side by side: names that tell them apart, differences with their sign, a forest that can be read aloud."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from overread.pages.compare_page import cut, forest, render_compare, shortest, signed, verdict

UP = {"value": 0.03, "low": 0.01, "high": 0.05, "method": "paired DeLong"}
DOWN = {"value": -0.03, "low": -0.05, "high": -0.01}
NONE = {"value": 0.0, "low": -0.02, "high": 0.02}
UNDEFINED = {"value": None, "low": None, "high": None}


def test_a_verdict_follows_the_interval():
    assert "ranks better than a" in verdict("b", UP, first="a")
    assert "ranks worse than a" in verdict("b", DOWN, first="a")
    assert "no better and no worse" in verdict("b", NONE, first="a")
    assert "nothing can be said" in verdict("b", UNDEFINED, first="a")
    assert signed(DOWN) == "−0.030 (−0.050 to −0.010)" and signed(UNDEFINED) == "not defined"


@pytest.mark.parametrize("figure", ["auroc", "brier"])
def test_the_forest_is_well_formed_and_full_dots_leave_out_0(figure):
    rows = [("run <1>", UP), ("a very long name of a run in some folder", NONE), ("c", UNDEFINED), ("d", DOWN)]
    plot = forest(rows, figure=figure, first="a & b")
    root = ElementTree.fromstring(plot.svg)
    assert "run <1> +0.030" in root.get("aria-label")
    dots = re.findall(r'<circle cx="([\d.]+)" cy="[\d.]+" r="5.5" fill="([^"]+)"', plot.svg)
    assert [fill for _, fill in dots] == ["#0072B2", "white", "#0072B2"]
    assert float(dots[0][0]) > float(dots[1][0]) > float(dots[2][0])
    sides = re.findall(r">([^<]*(?:better|worse)[^<]*)</text>", plot.svg)
    assert ("worse" in sides[0]) is (figure == "auroc")  # to the left an AUROC is worse, and a Brier score better


def test_names_that_cannot_be_told_apart_are_numbered():
    assert shortest(["x/run", "x/run"]) == ["1: x/run", "2: x/run"]


def test_the_page_fetches_nothing_and_escapes_names():
    told = {
        "runs": ["a/run1", "a/<b>run2"], "label": "mass & co", "images": 12, "patients": None,
        "figures": [{"auroc": UP, "brier": UP}] * 2, "differences": [{"auroc": NONE, "brier": DOWN}],
        "spread": {}, "notes": ["3 testing images were left out"],
    }  # fmt: skip
    page = render_compare(told, overread="1")
    assert "<b>run2" not in page and "&lt;b&gt;run2" in page and "mass &amp; co" in page and "patients unknown" in page
    assert page.count("<svg") == 2 and "3 testing images were left out" in page
    assert not re.search(r"url\(|@import|https?://(?!www\.w3\.org)|<script", page)
    assert "it is the images that are counted" in page and "the patients, not the images" not in page
    assert "the patients, not the images" in render_compare(told | {"patients": 12}, overread="1")


def test_a_whole_path_keeps_its_beginning():
    assert shortest(["/home/x/run", "/run"]) == ["x/run", "/run"]
    assert shortest(["/x/run", "/x/run"]) == ["1: /x/run", "2: /x/run"]


def test_names_that_differ_at_their_beginning_stay_apart_beside_the_forest_and_nothing_is_cut_at_its_edge():
    runs = [f"{name}-of-the-second-hospital/{'run' * 12}" for name in ("films", "slices")]
    assert cut(runs[0]) != cut(runs[1])
    plot = forest([(run, UP) for run in runs], figure="auroc", first="x" * 60)
    words = re.findall(r">([^<]+)</text>", plot.svg)
    assert {cut(run) for run in runs} <= set(words) and "← worse" in words
    width = float(re.search(r'viewBox="0 0 ([\d.]+)', plot.svg)[1])
    assert width >= 7 * len(cut(runs[1])) + 320 + 210
