"""With several labels, or levels, nothing is told of the first as if it were of all."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html import unescape

import numpy as np
import pytest
from small_run import NOW, fill, small_run, spots

from overread.pages import checklist_words as words
from overread.pages.by_label import MOST, each
from overread.pages.plots import percent, told
from overread.pages.report_headline import FEW_OTHERS, headline
from overread.steps.evaluate import evaluate


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """A run of two labels; the second is drawn by chance, and so the model cannot know it."""
    home = tmp_path_factory.mktemp("two")
    pictures, there = spots(400, seed=7)
    other = np.random.default_rng(1).random(400) < 0.5
    labels = [{"spot": bool(a), "coin": bool(b)} for a, b in zip(there, other, strict=True)]
    with fill(home / "archive", pictures, labels) as archive:
        run = small_run(home, archive, "spot,coin", kind="multilabel")
    found = evaluate(run, now=NOW)
    return (run / "report.html").read_text(), json.loads((run / "metrics.json").read_text()), found


def text_of(html: str) -> str:
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", html)))


def test_every_figure_of_every_label_stands_beside_the_floors(two):
    html, metrics, _ = two
    folded = {
        text_of(found)
        for found in re.findall(r"<details.*?</details>", html, re.DOTALL)
        if "beside the floors" in found
    }
    assert len(folded) == 1  # the first label's stand in the open
    (second,) = folded
    name = metrics_second(metrics)
    for key in ("accuracy", "balanced_accuracy", "mcc", "brier", "brier_skill"):
        assert told(metrics["labels"][name][key]).split(" (")[0] in second
    floor = metrics["floors"]["logistic_thumbnails"][name]["auroc"]
    assert told(floor).split(" (")[0] in second and f", for {name}" in second


def run_of(two):
    """What the page was filled from."""
    return two[2].report.with_name("report.json")


def metrics_second(metrics) -> str:
    return [*metrics["labels"]][1]


def test_the_headline_and_the_items_name_both_labels(two):
    html, metrics, _ = two
    first, second = metrics["labels"]
    account = metrics["labels"][second]["three_way"]
    lead = text_of(html)
    assert f"All this is of {first} alone; beside it: {second} (AUROC " in lead
    assert f"{percent(account['referred'] / account['all'], 1)} referred)".replace("\xa0", " ") in lead
    items = json.loads(run_of(two).read_text())["page"]["known"]
    for number in (20, 21, 22, 24, 27, 28, 30):
        said = items[number - 1]
        assert f"{first}: " in said and f"{second}: " in said, number
    assert "Brier score " in items[26] and "AP " in items[19]


def test_a_training_cut_short_is_told_on_the_screen(two):
    found = two[2]
    assert "networks were trained" not in str(found)
    card = found.page["card"]
    plan = {
        **card["training"]["plan"],
        "ensemble": 2,
        "reasons": ["ensemble: 2 of 3 networks were trained when the time was up"],
    }
    short = {**found.page, "card": {**card, "training": {**card["training"], "plan": plan}}}
    assert "! 2 of 3 networks were trained when the time was up" in str(replace(found, page=short))


def figure(value):
    return {"value": value, "low": value - 0.05, "high": value + 0.05, "n": 90, "n_patients": 90, "method": "Wilson"}


def test_levels_are_told_by_name_with_precision_beside_prevalence():
    level = {
        "ap": figure(0.4),
        "prevalence": figure(0.2),
        "slope": figure(0.9),
        "brier": figure(0.1),
        "auroc": figure(0.7),
    }
    curve = {"decision_curve": {"best_from": None, "best_to": None}}
    e = {
        "name": "grade", "task": {"name": "grade", "kind": "ordinal", "labels": ["grade=0", "grade=1"]},
        "labels": {"grade": {"auroc": figure(0.75)}, "grade=0": level | curve, "grade=1": {"auroc": figure(0.6)}},
    }  # fmt: skip
    assert words.ranking(e).replace("\xa0", " ") == (
        "mean AUROC 0.750 (0.700–0.800); 0: AP 0.400 (0.350–0.450) at a prevalence of 20.0 %; 1: not defined"
    )
    assert words.reliability(e).startswith(
        "0: slope 0.90 (0.85–0.95), Brier score 0.10"
    ) and "1: not defined" in words.reliability(e)
    assert words.benefit(e) == "0: at no threshold clearly better than treating all or none; 1: not defined"


def test_many_labels_are_counted_and_the_worst_is_named():
    names = [f"l{i}" for i in range(MOST + 3)]
    said = each({"task": {"name": "x", "labels": names}}, lambda label: label.upper())
    assert said.endswith("l5: L5; 3 others in their own sections")
    labels = {
        n: {"auroc": figure(0.9 - i / 50), "sensitivity": figure(0.8), "specificity": figure(0.8)}
        for i, n in enumerate(names)
    }
    e = {
        "name": "l0",
        "task": {"name": "x", "kind": "multilabel", "labels": names},
        "labels": labels,
        "floors": {},
        "apart": True,
    }
    assert f"the worst told of the {MOST + 2} other labels is l8 (AUROC 0.740)" in headline(e)
    few = {**e, "task": {**e["task"], "labels": names[: FEW_OTHERS + 1]}}
    assert "All this is of l0 alone; beside it: l1 (AUROC 0.880); l2 (AUROC 0.860); l3" in headline(few)
    assert "alone" not in headline({**e, "task": {**e["task"], "labels": names[:1]}})
