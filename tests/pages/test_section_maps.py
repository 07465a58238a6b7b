"""What the report says of heat-maps: each verdict in words, nothing where nothing is known."""

from __future__ import annotations

import numpy as np

from overread.domain.canonical import plain
from overread.pages.section_maps import TESTS, section
from overread.stats import maps


def verdicts(alike: float) -> dict:
    case = {
        "randomisation": {"head": alike, "half": 0.1, "all": 0.1},
        "deletion": {"map": -1.0, "random": 0.0, "centre": 0.2},
        "insertion": {"map": 1.0, "random": 0.0, "centre": 0.2},
        "stability": 0.9,
        "border": 0.1,
    }
    learned = {"auroc": 0.9, "twins": 60_000, "as_good": 1e-4, "rarely": 0.7, "answers": 32, "n": 64}
    return plain({"grad-cam": maps.verdict([case] * 60, None, np.random.default_rng(0), learned=learned)})


def test_a_map_that_passed_and_one_that_did_not_are_told_apart():
    good, bad = section({"heatmaps": verdicts(0.2)}), section({"heatmaps": verdicts(0.7)})
    assert "grad-cam: passed" in good and "<strong>no</strong>" not in good
    assert "grad-cam: did not pass" in bad and bad.count("<strong>no</strong>") == 1
    assert "what the head has learned hardly matters to it" in bad
    for page in (good, bad):
        assert maps.CAUTION in page and page.startswith('<section id="heat-maps">')
        assert all(words in page for name, words in TESTS.items() if name != "pointing")
        assert "0.10 with half of its layers" in page


def test_an_untested_map_says_why_and_nothing_is_said_of_no_map():
    few = {"rise": plain(maps.verdict([{}] * 7, None, np.random.default_rng(0), learned={}))}
    assert "rise: not tested" in section({"heatmaps": few}) and "7 cases; at least 50" in section({"heatmaps": few})
    assert section({"heatmaps": {}}) == "" and section({}) == ""


def test_no_word_of_a_verdict_can_be_taken_for_markup():
    told = {"x<b>": {"passed": False, "tested": False, "cases": 0, "why": "<script>", "checks": []}}
    assert "<script>" not in section({"heatmaps": told}) and "<b>" not in section({"heatmaps": told})
