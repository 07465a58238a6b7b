"""The whole walk, small; and what happens when it is told twice, broken off, or asked for nonsense."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from overread.errors import OverreadError
from overread.steps.demo import FINISHED, STARTED, demo

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # the training framework warns of its own affairs
def test_the_whole_walk(tmp_path, capfd):
    out = tmp_path / "demo"
    result = demo(out=out, patients=60, budget="5s", now=NOW)
    told = capfd.readouterr()
    assert told.out == ""  # the story goes to stderr, the result to whoever asked
    assert all(f"\n{step}. " in told.err for step in range(1, 8))
    assert result.report.read_text(encoding="utf-8").lower().startswith("<!doctype html>")
    assert "AUROC" in result.quotes[0] and "patients" in result.quotes[0]
    assert "sensitivity" in result.quotes[1] and "hottest point" in result.quotes[2]
    assert str(result).splitlines()[-1] == f"open the reading page: overread serve {out}/run --inbox {out}/inbox --demo"
    metrics = json.loads((out / "run" / "metrics.json").read_text())
    assert f"{metrics['labels']['nodule']['auroc']['value']:.3f}" in result.quotes[0]
    _nobody_in_the_inbox_was_learned_from(out)
    assert len(list((out / "answers" / "evidence").glob("*-draft-sr.dcm"))) >= 5
    again = demo(out=out, patients=60, budget="5s", now=NOW)
    assert again.quotes == result.quotes and "finished before" in again.notes[-1]
    with pytest.raises(OverreadError, match="other settings"):
        demo(out=out, patients=61, budget="5s", now=NOW)


def _nobody_in_the_inbox_was_learned_from(out: Path) -> None:
    with (out / "phantom" / "labels.csv").open(newline="") as file:
        learned = {row["file"][7:11] for row in csv.DictReader(file)}
    waiting = {p.name[:4] for p in (out / "inbox").iterdir() if p.suffix == ".dcm"}
    assert len(waiting) == 6 and waiting.isdisjoint(learned)


def test_a_folder_with_other_things_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(OverreadError, match="new or empty folder"):
        demo(out=tmp_path, now=NOW, progress=False)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_unknown_data_are_refused_and_the_folder_can_be_used_again(tmp_path):
    with pytest.raises(OverreadError, match="expected phantom or medmnist"):
        demo(out=tmp_path / "demo", data="kaggle:knees", now=NOW, progress=False)
    assert not (tmp_path / "demo").exists()


def test_a_demo_that_was_broken_off_starts_again_and_keeps_what_is_not_its_own(tmp_path):
    (tmp_path / STARTED).write_text("{}")
    (tmp_path / "phantom").mkdir()
    (tmp_path / "phantom" / "half.dcm").write_text("x")
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(OverreadError, match="check the path"):
        demo(out=tmp_path, data="medmnist:pneumoniamnist", file=tmp_path / "no.npz", now=NOW, progress=False)
    assert not (tmp_path / "phantom").exists() and (tmp_path / "mine.txt").read_text() == "keep"
    assert not (tmp_path / FINISHED).exists()
