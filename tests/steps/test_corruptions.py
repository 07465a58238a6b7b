"""What becomes of the figures when images get worse: measured on cohorts that no figure of the report comes from."""

from __future__ import annotations

import json

import pytest
from small_run import NOW, fill, sealed_again, shown_to, small_run, spots

from overread.domain.canonical import plain
from overread.imaging.worsen import KINDS, SEVERITIES
from overread.pages.section_corruptions import hurts_from
from overread.steps import corruptions
from overread.steps.corruptions import NAME, corrupt
from overread.steps.evaluate import evaluate
from overread.steps.held_out import Material
from overread.steps.run import read_json, write_json
from overread.store.archive import Archive


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A small run that sees bright spots through filters without a mean, and what it makes of worse images."""
    home = tmp_path_factory.mktemp("worse")
    pictures, there = spots(400, seed=1)
    with fill(home / "archive", pictures, [{"spot": bool(t)} for t in there]) as archive:
        run = small_run(home, archive, "spot")
        split, task, material = shown_to(run, archive)
    return run, split, material, task, corrupt(run, split, material, task, seed=0)


def test_the_worse_the_image_the_lower_the_auroc_where_the_network_depends_on_it(made):
    _, split, _, _, found = made
    assert found["n"] == len(split.cohorts["tuning"]) + len(split.cohorts["calibration"])
    assert set(found["kinds"]) == set(KINDS)
    noise = found["kinds"]["noise"]["labels"]["spot"]
    values = [step["auroc"].value for step in noise]
    assert len(values) == SEVERITIES and values[-1] < found["plain"]["spot"].value - 0.05
    assert noise[-1]["change"].high < 0 and hurts_from(plain(noise))
    for step in noise:
        assert step["change"].value == pytest.approx(step["auroc"].value - found["plain"]["spot"].value)
        assert step["change"].n == found["n"] and step["change"].n_patients is not None


def test_what_the_filters_cannot_see_changes_nothing(made):
    """Every filter sums to zero, so that brightness is invisible to it where nothing is cut off: a closed form."""
    brighter = made[4]["kinds"]["brighter"]["labels"]["spot"]
    assert abs(brighter[0]["change"].value) < 0.02 and hurts_from(plain(brighter[:1])) is None


def test_the_gate_refuses_more_of_what_is_worse(made):
    run, _, _, _, found = made
    refused = found["kinds"]["noise"]["refused"]
    assert refused[-1] > 0.9 > 0.2 > found["refused"]
    (run / "gate.npz").rename(run / "away.npz")
    try:
        without = corrupt(*made[:4], seed=0)
    finally:
        (run / "away.npz").rename(run / "gate.npz")
    assert without["kinds"]["noise"]["refused"] == [0.0] * SEVERITIES
    assert plain(without["kinds"]["noise"]["labels"]) == plain(found["kinds"]["noise"]["labels"])  # and seeded


def test_testing_is_never_looked_at(made):
    run, split, material, task, found = made
    blind = Material({c: x for c, x in material.inputs.items() if c != "testing"}, material.truth)
    assert plain(corrupt(run, split, blind, task, seed=0)) == plain(found)


def test_large_inputs_are_fewer(made, monkeypatch):
    monkeypatch.setattr(corruptions, "WORK", 1.0)
    assert corrupt(*made[:4], seed=0)["n"] == corruptions.LEAST


def test_the_report_shows_it_and_the_forty_items_know_of_it(made):
    run, _, _, _, found = made
    assert "no corrupted images were read" in evaluate(run, now=NOW).report.read_text()
    write_json(run / NAME, found)
    sealed_again(run)
    page = evaluate(run, now=NOW).report.read_text()
    assert 'id="worse"' in page and "no corrupted images were read" not in page
    assert f"8 kinds at 5 severities on {found['n']} images" in page
    told = json.loads((run / "metrics.json").read_text())["corruptions"]
    assert told == json.loads((run / NAME).read_text())
    with Archive.open(read_json(run / "plan.json")["archive"]) as archive:
        assert archive.count()[0] == 400
