"""A published split that nobody named is not passed over in silence, and an unfinished training is called so."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial

import pytest
from small_run import spots

from overread.domain import Image, Study
from overread.errors import RunError
from overread.steps.begin import alone_in
from overread.steps.evaluate import evaluate
from overread.steps.plan import divide
from overread.steps.reads import opened
from overread.steps.report import report
from overread.steps.run import read_json
from overread.steps.verify import verify
from overread.store.archive import Archive


@pytest.mark.parametrize(("asked", "told"), [(None, True), ("none", False), ("part", False)])
def test_a_split_column_that_nobody_spoke_of_is_told_in_the_split(tmp_path, asked, told):
    pictures, there = spots(160, seed=1)
    with Archive.create(tmp_path / "archive") as archive:
        for i, (picture, label) in enumerate(zip(pictures, there, strict=True)):
            name = archive.put(Image(picture[None], full_range=(0, 255), attributes={"format": "PNG"}))
            part = {"part": "train" if i < 120 else "test"}
            archive.add(Study(f"S{i:012x}", (name,), patient=f"P{i:012x}", labels={"spot": bool(label)}, splits=part))
        split = divide(archive, label="spot", kind="auto", split_column=asked, seed=0, progress=False).split
    said = [w for w in split.warnings if "split column 'part' (160 of 160 studies), which is not used" in w]
    assert len(said) == told
    assert split.source.startswith("published") == (asked == "part")


def test_every_verb_calls_an_unfinished_training_unfinished(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    with pytest.raises(RunError, match=r"has no plan\.json"):
        evaluate(run)  # the twins
    with pytest.raises(RunError, match="is no run"):
        report(run)
    (run / "unfinished").write_text(json.dumps({}))
    acts = [partial(verb, run) for verb in (evaluate, report, verify, opened)]
    acts += [lambda: read_json(run / "metrics.json"), lambda: report(run / "on-another")]
    for begun in (False, True):  # before and after the plan was written
        for act in acts:
            with pytest.raises(RunError, match=r"unfinished training.*--resume"):
                act()
        if not begun:
            (run / "plan.json").write_text(json.dumps({"task": {"labels": ["a"]}}))


def test_two_trainings_never_write_into_one_folder(archive, tmp_path):
    """Both wrote, and what came out was sealed by one and read by the other: a run that `verify` called changed."""
    from overread.steps.train import train

    run = tmp_path / "run"
    run.mkdir()
    (run / "unfinished").write_text(json.dumps({}))
    with alone_in(run):
        with pytest.raises(RunError, match=r"another training goes on in .*run; expected one at a time"):
            train(archive, label="blob", out=run, resume=True, progress=False)
        assert [p.name for p in run.iterdir()] == ["unfinished"]
    with pytest.raises(RunError, match="the unfinished training had another"):  # the twin: nobody holds it any more
        train(archive, label="blob", out=run, resume=True, progress=False)


def test_a_training_that_was_killed_holds_its_folder_no_longer(tmp_path):
    code = "import sys, os; from overread.steps.begin import alone_in; from pathlib import Path\nwith alone_in(Path(sys.argv[1])):\n os.kill(os.getpid(), 9)"
    (tmp_path / "unfinished").write_text("{}")
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)]).returncode == -9
    with alone_in(tmp_path), pytest.raises(RunError, match="another training"), alone_in(tmp_path):
        pass
