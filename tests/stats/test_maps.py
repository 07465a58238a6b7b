"""The verdict on a map against cases whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from overread.domain import Estimate
from overread.stats import maps


@given(st.integers(0, 10_000))
def test_rank_correlation_is_scipys_also_with_ties(seed):
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 5, 40), rng.integers(0, 5, 40) + rng.normal(size=40).round()
    assert maps.rank_correlation(a, b) == pytest.approx(spearmanr(a, b).statistic, abs=1e-9)


def test_elsewhere_keeps_the_values_and_forgets_the_place():
    rng = np.random.default_rng(0)
    heat = np.zeros((20, 20))
    heat[3, 4] = 1
    places = [np.unravel_index(maps.elsewhere(heat, rng).argmax(), heat.shape) for _ in range(4000)]
    assert all(np.array_equal(np.sort(maps.elsewhere(heat, rng), None), np.sort(heat, None)) for _ in range(5))
    counts = np.histogram2d(*np.array(places).T, bins=4, range=[[0, 20], [0, 20]])[0]
    assert counts.min() > 190 and counts.max() < 320  # 250 each


def test_the_mean_over_patients_holds_the_truth_as_often_as_it_says():
    """1,000 studies of 60 patients with one to four images each: the interval is over patients, not images."""
    rng, hits, naive = np.random.default_rng(1), 0, 0
    for _ in range(1000):
        count = rng.integers(1, 5, 60)
        own = np.repeat(rng.normal(0, 1, 60), count) + rng.normal(0, 0.3, count.sum()) + 0.2
        who = [f"P{i}" for i in np.repeat(np.arange(60), count)]
        e = maps.mean(own, who, rng)
        hits += e.low < 0.2 < e.high
        half = 1.96 * own.std() / np.sqrt(len(own))
        naive += abs(own.mean() - 0.2) < half
    assert 925 <= hits <= 970
    assert naive < 880  # the twin: images taken for patients promise too much


def trials(n, *, gain=0.5, alike=0.1, stable=0.95, border=0.2, seed=0, **more):
    rng = np.random.default_rng(seed)
    draw = lambda: rng.normal(0, 0.3)
    return [
        {
            "randomisation": {"head": alike, "half": 0.1, "all": 0.05},
            "deletion": {"map": -gain + draw(), "random": draw(), "centre": draw()},
            "insertion": {"map": gain + draw(), "random": draw(), "centre": draw()},
            "stability": stable,
            "border": border,
            **more,
        }
        for _ in range(n)
    ]


def judged(cases, auroc=0.9, *, as_good=1e-4, answers=32):
    learned = {"auroc": auroc, "twins": 60_000, "as_good": as_good, "rarely": 0.7, "answers": answers, "n": 64}
    return maps.verdict(cases, None, np.random.default_rng(0), learned=learned)


def test_a_good_map_passes():
    found = judged(trials(80))
    assert found["passed"] and found["why"] == "It passed all 6 tests on 80 cases."
    assert found["deletion"].value == pytest.approx(0.5, abs=0.15) and found["insertion"].low > 0


@pytest.mark.parametrize(
    ("fault", "name"),
    [
        ({"alike": 0.6}, "randomisation"),
        ({"gain": 0.0}, "deletion"),
        ({"gain": -0.5}, "insertion"),
        ({"stable": 0.5}, "stability"),
        ({"border": 0.8}, "border"),
    ],
)
def test_each_fault_alone_fails_and_is_named(fault, name):
    found = judged(trials(80, **fault))
    failed = [c["name"] for c in found["checks"] if not c["passed"]]
    assert not found["passed"] and name in failed
    assert found["why"]


def test_a_network_no_better_than_redrawn_ones_has_no_map_to_believe():
    found = judged(trials(80), auroc=0.69, as_good=maps.MOST_LUCKY)
    assert not found["passed"] and found["why"].startswith("The network tells 64 cases apart with an AUROC of 0.690")


def test_few_labelled_cases_cannot_show_that_a_network_has_learned():
    found = judged(trials(80), answers=maps.FEWEST_ANSWERS - 1)
    assert not found["passed"] and found["why"].endswith("too few to say whether the network has learned anything.")
    assert judged(trials(80), answers=maps.FEWEST_ANSWERS)["passed"]


def test_a_map_no_better_than_chance_rarely_passes():
    """The curves alone, at their intervals' own promise: two tests against two rivals, all four by chance."""
    passed = sum(judged(trials(60, gain=0.0, seed=s))["passed"] for s in range(200))
    assert passed <= 2


def test_too_few_cases_say_nothing():
    found = judged(trials(maps.FEWEST - 1))
    assert not found["passed"] and not found["tested"] and "49 cases; at least 50" in found["why"]
    assert judged(trials(maps.FEWEST))["passed"]


WHO = [f"P{i}" for i in range(40)]


def test_the_pointing_game_is_over_patients_not_images():
    """Forty images, of which two in three are hit: of forty patients that is a finding, of three it is one patient's luck."""
    hits = [{"map": float(i % 3 != 0), "others": 0.25, "overlap": 0.1} for i in range(40)]
    found = {
        n: maps.pointed(judged(trials(60)), hits, np.random.default_rng(0), patients=[f"P{i % n}" for i in range(40)])
        for n in (40, 3)
    }
    assert found[40]["pointing"]["gain"].low > 0 and found[40]["passed"]
    assert found[3]["pointing"]["gain"].low < 0 and not found[3]["passed"]
    assert found[3]["pointing"]["gain"].n_patients == 3
    nobody = maps.pointed(judged(trials(60)), hits, np.random.default_rng(0), patients=None)
    assert "each image, or each study, counts as one" in nobody["checks"][-1]["told"]


def test_pointing_is_told_beside_other_cases_maps_and_decides_too():
    rng = np.random.default_rng(0)
    good = maps.pointed(judged(trials(60)), [{"map": 1.0, "others": 0.25, "overlap": 0.4}] * 30, rng, patients=WHO[:30])
    assert good["passed"] and good["pointing"]["hits"].value == 1.0 and good["why"].startswith("It passed all 7")
    assert any("in 100 of 100 cases; with another case's map in 25" in c["told"] for c in good["checks"])
    blind = maps.pointed(
        good, [{"map": float(i % 4 == 0), "others": 0.25, "overlap": 0.0} for i in range(40)], rng, patients=WHO
    )
    assert not blind["passed"] and [c["name"] for c in blind["checks"]].count("pointing") == 1


def test_a_lost_pointing_game_is_not_forgotten_by_testing_again():
    rng = np.random.default_rng(0)
    lost = maps.pointed(judged(trials(60)), [{"map": 0.0, "others": 0.2, "overlap": 0.0}] * 30, rng, patients=WHO[:30])
    again = maps.carried(judged(trials(60, seed=5)), lost)
    assert not again["passed"] and again["pointing"] == lost["pointing"]
    assert maps.carried(judged(trials(60)), judged(trials(60)))["passed"]


def test_few_known_lesions_are_told_and_decide_nothing():
    few = maps.pointed(
        judged(trials(60)), [{"map": 0.0, "others": 0.2, "overlap": 0.0}] * 8, np.random.default_rng(0), patients=None
    )
    assert few["passed"] and few["pointing"]["hits"].value == 0.0


def test_a_map_that_fails_by_its_interval_alone_does_not_read_as_if_it_passed():
    said = maps._randomised(Estimate(0.48, 0.46, 0.5004, n=100, n_patients=None, method=""))
    assert not said["passed"] and "0.5004" in said["told"] and "does not end below it" in said["told"]
    assert (
        "hardly matters to it" in maps._randomised(Estimate(0.6, 0.5, 0.7, n=100, n_patients=None, method=""))["told"]
    )
    assert maps._randomised(Estimate(0.3, 0.2, 0.4, n=100, n_patients=None, method=""))["passed"]
