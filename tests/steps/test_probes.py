"""A network that reads the frame, or knows the source, is found out; one that reads the finding is not accused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from small_run import NOW, fill, sealed_again, small_run

from overread.domain import Image, Study
from overread.imaging import preprocess
from overread.learn.predict import recipe_from_json
from overread.stats import splits
from overread.stats.probing import reveals
from overread.steps import probes
from overread.steps.evaluate import evaluate
from overread.steps.held_out import Material
from overread.steps.question import ask, truth
from overread.steps.run import write_json
from overread.store.archive import Archive


def pictures(n: int, *, where: str, seed: int = 0):
    """Noisy pictures; half have a bright spot in the middle (``centre``) or at a corner (``frame``)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:32, :32]
    made, there = [], np.arange(n) % 2 == 0
    for spot in there:
        r, c = rng.uniform(13, 19, 2) if where == "centre" else rng.choice([1, 30], 2)
        blob = 110 * np.exp(-((y - r) ** 2 + (x - c) ** 2) / 3) if spot else 0
        made.append(np.clip(90 + 15 * rng.normal(size=(32, 32)) + blob, 0, 255).astype(np.uint8))
    return np.array(made), there


def probed(home, archive: Archive, label: str = "spot"):
    run = small_run(home, archive, label)
    studies = list(archive.studies())
    by_name = {s.pseudonym: s for s in studies}
    split = splits.Split.from_json(json.loads((run / "split.json").read_text()))
    recipe = recipe_from_json(json.loads((run / "plan.json").read_text())["recipe"])
    task = ask(studies, label)
    cohorts = ("training", "tuning", "calibration")
    inputs = {c: np.stack([preprocess.apply(recipe, archive.image(e[0])) for e in split.cohorts[c]]) for c in cohorts}
    known = {c: truth([by_name[e[1]] for e in split.cohorts[c]], task) for c in cohorts}
    found = probes.probe(run, split, Material(inputs, known), by_name, archive, task, seed=0)
    return run, found


@pytest.mark.parametrize("where", ["centre", "frame"])
def test_a_network_that_reads_the_frame_is_told_from_one_that_reads_the_centre(where, tmp_path):
    made, there = pictures(700, where=where)
    archive = fill(tmp_path / "archive", made, [{"spot": bool(t)} for t in there])
    run, found = probed(tmp_path, archive)
    inputs = {name: e["spot"] for name, e in found["inputs"].items()}
    assert inputs["plain"].value > 0.9 and found["n"] == 140
    if where == "frame":
        assert inputs["frame"].low > 0.8 and inputs["no centre"].low > 0.8
        assert probes.warnings(found)[0].startswith("shortcut: from the frame alone the network ranks 'spot'")
        assert any("It reads the frame, where no finding should be." in line for line in found["words"])
    else:
        assert inputs["frame"].low <= 0.5 <= inputs["frame"].high and inputs["no centre"].low <= 0.5
        assert probes.warnings(found) == []
        assert any("no better than chance, as it should be" in line for line in found["words"])
    assert inputs["patches"].value > 0.7  # a spot is a spot wherever it lies, for filters and a mean
    write_json(run / probes.NAME, found)
    sealed_again(run)
    evaluation = evaluate(run, now=NOW)
    page = evaluation.report.read_text()
    loud = [w for w in evaluation.page["warnings"] if w.startswith("shortcut: from the frame")]
    assert loud == [w for w in probes.warnings(found) if "frame" in w] and bool(loud) == (where == "frame")
    archive.close()
    assert "What the network reads" in page and ("It reads the frame" in page) == (where == "frame")


def test_features_that_know_the_scanner_are_found_out(tmp_path):
    """One scanner's pictures have a fine pattern that the filters see; the finding is as common in both."""
    made, there = pictures(400, where="centre")
    x = np.arange(32)
    scanner = np.arange(400) // 2 % 2 == 0
    made = np.clip(made + (scanner * 1.0)[:, None, None] * 25 * np.cos(1.2 * x), 0, 255).astype(np.uint8)
    archive = Archive.create(tmp_path / "archive")
    for i, picture in enumerate(made):
        name = archive.put(Image(picture[None], full_range=(0, 255), attributes={"format": "PNG"}))
        strata = {
            "scanner": "first" if scanner[i] else "second",
            "site": "AB"[(i * 7 // 3) % 2],
            "sex": "FM"[scanner[i] * 1],
        }
        archive.add(Study(f"S{i:012x}", (name,), patient=f"P{i:012x}", labels={"spot": bool(there[i])}, strata=strata))
    _, found = probed(tmp_path, archive)
    archive.close()
    assert found["sources"]["scanner"]["auroc"].low > 0.9 and found["sources"]["scanner"]["warns"]
    assert not found["sources"]["site"]["warns"] and found["sources"]["site"]["auroc"].low <= 0.5
    assert "sex" not in found["sources"]  # who somebody is is no source
    assert any("give it away" in line for line in found["words"] if line.startswith("scanner"))


def test_a_source_with_more_of_the_finding_is_not_told_by_the_finding():
    """The features hold the finding and nothing else, and one site has most of it: nothing is revealed."""
    values = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        answer = rng.random(300) < 0.5
        site = rng.random(300) < np.where(answer, 0.85, 0.15)
        features = np.c_[answer + 0.3 * rng.normal(size=300), rng.normal(size=(300, 8))]
        values.append(reveals(features, site, answer, None, rng=rng).value)
        assert reveals(features, site, [0] * 300, None, rng=rng).low > 0.6  # the twin
    assert abs(np.mean(values) - 0.5) < 0.03


def test_the_interval_of_what_is_revealed_holds_the_truth():
    """Features that know nothing: 0.5 lies in the interval about 19 times of 20."""
    held = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        e = reveals(rng.normal(size=(200, 5)), rng.random(200) < 0.4, [0] * 200, None, rng=rng)
        held += e.low <= 0.5 <= e.high
    assert held >= 54


def test_few_images_say_nothing():
    rng = np.random.default_rng(0)
    e = reveals(rng.normal(size=(40, 3)), np.arange(40) < 5, [0] * 40, None, rng=rng)
    assert not np.isfinite(e.value) and "fewer than 20" in e.method


@pytest.mark.parametrize("seed", [0, 1])
def test_a_model_of_shuffled_labels_is_called_no_better_than_chance(seed, tmp_path):
    """Labels drawn by lot: whatever was learned of them is nothing, and the report says so in words."""
    made, there = pictures(400, where="centre")
    lots = np.random.default_rng(seed).random(400) < 0.5
    archive = fill(
        tmp_path / "archive", made, [{"spot": bool(t), "truly": bool(u)} for t, u in zip(lots, there, strict=True)]
    )
    shuffled, true = (evaluate(small_run(tmp_path, archive, label), now=NOW) for label in ("spot", "truly"))
    archive.close()
    auroc = shuffled.metrics["labels"]["spot"]["auroc"]
    assert auroc["low"] <= 0.5 <= auroc["high"]
    assert "no better than chance" in shuffled.report.read_text()
    assert "better than chance" not in true.report.read_text().split("What the network reads")[0]  # the twin
