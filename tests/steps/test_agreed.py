"""Answers that were changed in the archive after training are told, and the figures stay those of then."""

from __future__ import annotations

from dataclasses import replace

from small_run import NOW, fill, small_run, spots

from overread.steps.evaluate import evaluate
from overread.steps.run import read_json
from overread.steps.verify import verify
from overread.store.archive import Archive


def test_answers_turned_in_the_archive_are_told_by_evaluate_and_verify(tmp_path):
    pictures, there = spots(240, seed=1, contrast=80)
    with fill(tmp_path / "archive", pictures, [{"spot": bool(t)} for t in there]) as archive:
        run = small_run(tmp_path, archive, "spot")
    first = evaluate(run, now=NOW)
    assert not any("another answer" in line for line in (*first.page["warnings"], *verify(run).notes))  # the twin
    testing = {row["study"] for row in read_json(run / "split.json")["cohorts"]["testing"]}
    with Archive.open(tmp_path / "archive") as archive:
        every = list(archive.studies())
        archive.change([
            replace(s, labels={"spot": not s.labels["spot"]}) for s in every if s.pseudonym in testing
        ])  # fmt: skip
    told, n = evaluate(run, now=NOW), len(testing)
    line = f"{n} of the {n} testing images have another answer in the archive today"
    assert told.page["warnings"][0].startswith(line) and line in told.report.read_text()
    assert told.metrics["labels"]["spot"]["auroc"] == first.metrics["labels"]["spot"]["auroc"]
    assert any(note.startswith(line) for note in verify(run).notes)
    (tmp_path / "archive").rename(tmp_path / "away")  # nobody can say it where the archive is not here
    assert not any("another answer" in line for line in (*evaluate(run, now=NOW).page["warnings"], *verify(run).notes))
