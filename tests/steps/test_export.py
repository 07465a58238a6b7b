"""A run can be handed on without any of the cases that it was made from, and still answers the same."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image as Pillow
from small_run import NOW, fill, graph, small_run, spots

from overread import cli
from overread.errors import ExportError, IntegrityError, RunError
from overread.learn import reduce
from overread.learn.predict import Model
from overread.steps.evaluate import evaluate
from overread.steps.export import export
from overread.steps.predict import predict
from overread.steps.run import read_json
from overread.steps.verify import verify


@pytest.fixture(scope="module")
def handed(tmp_path_factory):
    home = tmp_path_factory.mktemp("handed")
    pictures, there = spots(240, seed=1)
    with fill(home / "archive", pictures, [{"spot": bool(t)} for t in there]) as archive:
        run = small_run(home, archive, "spot")
        names = {n for s in archive.studies() for n in (s.pseudonym, s.patient, *s.images) if n}
    evaluate(run, now=NOW)
    export(run, out=home / "copy", format="run")
    return run, home / "copy", names


def cases_in(folder, names) -> set[str]:
    """Return the files in which a pseudonym or an image's hash stands, as letters of one or of four bytes, or a picture."""
    found = set()
    for file in (p for p in folder.rglob("*") if p.is_file()):
        content = file.read_bytes()
        if b"data:image/" in content or any(n.encode() in content or n.encode("utf-32-le") in content for n in names):
            found.add(file.name)
    return found


def test_the_copy_holds_nothing_of_any_case(handed):
    run, copy, names = handed
    assert {"scores.csv", "split.json", "neighbours.npz", "report.json", "report.html"} <= cases_in(
        run, names
    )  # the twin
    assert cases_in(copy, names) == set()
    assert set(read_json(copy / "manifest.json")["left_out"]) >= cases_in(run, names)


def test_the_copy_answers_as_the_run_does(handed, tmp_path):
    run, copy, _ = handed
    pictures, _ = spots(12, seed=9)
    for i, picture in enumerate(pictures):
        Pillow.fromarray(picture).save(tmp_path / f"{i}.png")
    ours, theirs = (predict(r, tmp_path, out=tmp_path / r.name, dicom=False, progress=False) for r in (run, copy))
    assert [[f.probability for f in r.findings] for r in ours.reads] == [
        [f.probability for f in r.findings] for r in theirs.reads
    ]
    assert [[f.decision for f in r.findings] for r in ours.reads] == [
        [f.decision for f in r.findings] for r in theirs.reads
    ]


def test_the_copy_is_verified_says_what_it_is_and_cannot_be_evaluated(handed, capsys):
    _, copy, _ = handed
    assert cli.main(["verify", str(copy)]) == 0
    assert "note: A copy that only answers" in capsys.readouterr().out
    with pytest.raises(RunError, match=r"no (split\.json|scores\.csv)"):
        evaluate(copy, now=NOW)
    content = (copy / "gate.npz").read_bytes()
    try:
        (copy / "gate.npz").write_bytes(content + b"\0")
        with pytest.raises(IntegrityError, match=r"gate\.npz"):
            verify(copy)
    finally:
        (copy / "gate.npz").write_bytes(content)


def test_it_is_a_command_and_never_writes_over_anything(handed, tmp_path, capsys):
    run, _, _ = handed
    words = ["export", str(run), "--format", "run", "--out", str(tmp_path / "new"), "--json"]
    assert cli.main(words) == 0
    told = json.loads(capsys.readouterr().out)
    assert "neighbours.npz" in told["left_out"] and "model.onnx" in told["files"]
    assert np.load(tmp_path / "new" / "gate.npz").files
    assert cli.main(words) == 1
    assert "is not empty" in capsys.readouterr().err


@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_a_smaller_graph_is_written_when_calibration_is_answered_as_before(handed, tmp_path, precision):
    run, _, _ = handed
    out = tmp_path / "small.onnx"
    try:
        told = export(run, out=out, quantize=precision, progress=False)
    except ExportError as refusal:  # eight bits may be too few for this network: then nothing is written
        assert precision == "int8" and "otherwise" in str(refusal) and not out.exists()
        return
    assert told.reduced["decisions_changed"] == 0 and told.reduced["images"] > 20
    assert told.reduced["one_in"] == told.reduced["images"] // 3
    assert 0 <= told.reduced["largest_difference"] < (0.01 if precision == "float16" else 1)
    assert out.read_bytes() != (run / "model.onnx").read_bytes()
    assert read_json(tmp_path / "small.onnx.json")["reduced"]["precision"] == precision
    assert "answered as before" in str(told) and told.to_json()["reduced"]["images"] == told.reduced["images"]


def test_a_smaller_graph_that_answers_otherwise_is_refused_and_not_written(handed, tmp_path, monkeypatch):
    """The twin: a graph that finds it everywhere stands for a bad reduction; that all are referred does not hide it."""
    run, _, _ = handed
    model = Model.load(run)
    other = graph(model.tail["kernel0"], model.tail["bias0"] + 100)
    monkeypatch.setattr(reduce, "reduced", lambda *_: other)
    with pytest.raises(ExportError, match="calibration images otherwise"):
        export(run, out=tmp_path / "small.onnx", quantize="float16", progress=False)
    assert not list(tmp_path.iterdir())


def test_a_smaller_graph_needs_the_cohort_that_judges_it(handed, tmp_path):
    _, copy, _ = handed
    with pytest.raises(RunError, match="training archive is not there"):
        export(copy, out=tmp_path / "small.onnx", quantize="float16", progress=False)
    with pytest.raises(RunError, match="leave --quantize out"):
        export(copy, out=tmp_path / "copy", format="run", quantize="float16")
    with pytest.raises(ExportError, match="float16, int8"):
        reduce.reduced(b"", "int4", [])
