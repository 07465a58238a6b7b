"""A page of a run whose patients nobody knows does not speak of patients as counted."""

from __future__ import annotations

import json
import re
from html import unescape

import pytest
from small_run import NOW, fill, small_run, spots

from overread.pages.report_beside import methods
from overread.stats.exchangeability import in_words, named
from overread.stats.resample import Nameless
from overread.steps.evaluate import evaluate


def page_of(home, *, patients: bool) -> tuple[str, dict]:
    pictures, there = spots(400, seed=6)
    with fill(home / "archive", pictures, [{"spot": bool(t)} for t in there], patients=patients) as archive:
        run = small_run(home, archive, "spot")
    evaluate(run, now=NOW)
    text = re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", (run / "report.html").read_text())))
    return text, json.loads((run / "metrics.json").read_text())


@pytest.fixture(scope="module")
def unknown(tmp_path_factory):
    return page_of(tmp_path_factory.mktemp("unknown"), patients=False)


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    return page_of(tmp_path_factory.mktemp("known"), patients=True)


COUNTED = (
    r"In more than one cohort: \d+ patients", r"\d+ patients, against [\d,]+ of the calibration cohort",
    r"new patients like the", "calibration patients", "intervals over patients", "Patients bear witness, not images",
    r"with \d+ patients (who|that) have it",
)  # fmt: skip


def test_patients_are_not_counted_where_nobody_knows_them(unknown):
    text, _ = unknown
    assert [words for words in COUNTED if re.search(words, text)] == []
    assert "of patients nobody can say, as they are unknown" in text
    assert "cases (patients unknown)" in text and "each image, counts as one" in text


def test_its_twin_counts_them(known):
    text, _ = known
    found = [words for words in COUNTED if re.search(words, text)]
    assert {COUNTED[0], COUNTED[2], COUNTED[3], COUNTED[5]} <= set(found) and "patients unknown" not in text


def test_no_figure_over_images_says_that_patients_were_drawn(unknown):
    ways = []

    def walk(node) -> None:
        if isinstance(node, dict):
            if {"value", "method", "n_patients"} <= set(node):
                ways.append((node["n_patients"], str(node["method"])))
            for part in node.values():
                walk(part)
        elif isinstance(node, list):
            for part in node:
                walk(part)

    walk(unknown[1])
    assert len(ways) > 40 and {n for n, _ in ways} <= {None, 0}
    assert not [way for _, way in ways if re.search(r"patients?\b(?! or studies)", way) or way.count("or studies") > 1]


def test_a_comparison_counts_what_it_took_one_image_of():
    told = {"n": 400, "calibration": 107, "p_value": 1.0, "alarm": False, "kinds": {}}
    assert "(p = 1; 400 patients, against 107 of the" in in_words(told)
    assert "400 cases (patients unknown), against" in in_words(told, of=named(["P1", Nameless("S1")]))
    figure = {"value": 0.9, "low": 0.8, "high": 0.95, "n": 9, "n_patients": 9, "method": "DeLong"}
    assert methods({"auroc": figure}).endswith("Patients bear witness, not images.")
    assert "Patients bear witness" not in methods({"auroc": {**figure, "n_patients": None}})
