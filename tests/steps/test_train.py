import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from overread.errors import CohortError, LabelError, OverreadError, RunError
from overread.steps.begin import parse_budget
from overread.steps.train import train

pytest.importorskip("keras")


def told(run, name):
    return json.loads((run / name).read_text())


def test_a_run_holds_all_that_the_next_steps_need(run):
    names = {p.name for p in run.iterdir()}
    assert names >= {
        "plan.json",
        "split.json",
        "history.json",
        "calibration.json",
        "manifest.json",
        "model.onnx",
        "head.npz",
        "weights.keras",
        "scores.csv",
        "scores.simple-cnn.csv",
        "metrics.json",
        "report.html",
        "card.json",
        "card.md",
    }
    assert not {"unfinished", "cache", "baseline", "baseline.onnx"} & names
    assert not [n for n in names if n.endswith(".part")]


def test_metrics_have_the_promised_shape(run):
    metrics = told(run, "metrics.json")
    assert set(metrics) >= {"labels", "split", "floors"}
    auroc = metrics["labels"]["blob"]["auroc"]
    assert set(auroc) >= {"value", "low", "high", "n", "method"}
    assert auroc["low"] <= auroc["value"] <= auroc["high"]
    assert auroc["value"] > 0.8
    assert set(metrics["floors"]) >= {"majority", "logistic_thumbnails", "simple-cnn"}


def test_no_patient_stands_on_two_sides_of_the_split_of_a_run(run):
    split = told(run, "split.json")
    sides: dict[str, set[str]] = {}
    for cohort, rows in split["cohorts"].items():
        for row in rows:
            sides.setdefault(row["patient"], set()).add(cohort)
    assert len(sides) == 48
    assert all(len(s) == 1 for s in sides.values())
    assert split["unit"] == "patient"


def test_the_weights_in_keras_and_in_the_graph_are_the_same_network(run, archive):
    from overread.imaging import preprocess
    from overread.learn.framework import keras
    from overread.learn.predict import Model
    from overread.store.archive import Archive

    model = Model.load(run)
    network = keras.saving.load_model(run / "weights.keras", compile=False)
    with Archive.open(archive) as store:
        images = [store.image(i) for s in list(store.studies())[:6] for i in s.images]
    want = np.asarray(network(np.stack([preprocess.apply(model.recipe, i) for i in images]), training=False))
    np.testing.assert_allclose(model.logits(images), want, atol=1e-4)


def test_a_finished_run_is_never_overwritten(run, archive):
    with pytest.raises(RunError, match="finished run"):
        train(archive, label="blob", out=run, progress=False)


def test_a_folder_with_other_things_in_it_is_left_alone(archive, tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(RunError, match="not empty"):
        train(archive, label="blob", out=tmp_path, progress=False)
    assert (tmp_path / "thesis.txt").read_text() == "precious"


@pytest.mark.parametrize(("label", "said"), [("bolb", "expected one of 'blob', 'shape'"), ("", "no study has")])
def test_an_unknown_label_is_refused_with_the_known_ones(archive, tmp_path, label, said):
    with pytest.raises(LabelError, match=said):
        train(archive, label=label, out=tmp_path / "r", progress=False)


def test_a_label_with_three_positives_is_refused_with_the_numbers(pictures, tmp_path):
    from overread.steps.collect import collect

    table = tmp_path / "labels.csv"
    table.write_text("file,rare\n" + "".join(f"film{i:03d}.png,{int(i < 3)}\n" for i in range(96)))
    collect(pictures, into=tmp_path / "a", labels=table, workers=1, progress=False)
    with pytest.raises(CohortError, match="3 studies with it"):
        train(tmp_path / "a", label="rare", out=tmp_path / "r", progress=False)


def test_a_label_with_several_levels_is_a_multi_class_task(archive, tmp_path):
    result = train(archive, label="shape", out=tmp_path / "r", budget="3s", baseline=False, progress=False)
    assert set(result.metrics["labels"]) >= {"shape", "shape=a", "shape=b", "shape=c"}


@pytest.mark.slow
def test_several_yes_or_no_labels_go_the_whole_way_together(pictures, tmp_path, capsys):
    """``--label blob,female``: one network, one calibration and one operating point a label, one line a label."""
    import csv

    from overread.cli import main

    with open(pictures / "labels.csv", newline="") as table:
        rows = list(csv.DictReader(table))
    with open(tmp_path / "two.csv", "w", newline="") as out:
        sheet = csv.writer(out)
        sheet.writerow(("file", "patient", "blob", "female"))
        for i, row in enumerate(rows):  # the second answer is unknown for every tenth film
            sheet.writerow((row["file"], row["patient"], row["blob"], "" if i % 10 == 9 else int(row["sex"] == "F")))
    archive, run, out = (str(tmp_path / name) for name in ("archive", "run", "out"))
    labels = str(tmp_path / "two.csv")
    assert (
        main(["collect", str(pictures), "--into", archive, "--labels", labels, "--patient", "patient", "--quiet"]) == 0
    )
    words = ["--label", "blob,female", "--out", run, "--budget", "6s", "--quiet"]
    assert main(["train", archive, *words]) == 0
    metrics = told(tmp_path / "run", "metrics.json")
    assert {"blob", "female"} <= set(metrics["labels"])
    assert metrics["labels"]["blob"]["auroc"]["n"] > metrics["labels"]["female"]["auroc"]["n"]
    assert set(metrics["operating_points"]) == {"blob", "female"}
    assert set(metrics["floors"]["simple-cnn"]) >= {"blob", "female"}
    assert main(["predict", run, str(pictures), "--out", out, "--quiet"]) == 0
    with open(tmp_path / "out" / "predictions.csv", newline="") as sheet:
        answers = [row for row in csv.DictReader(sheet) if row["decision"] != "refused"]
    assert len(answers) == 2 * len(rows)
    for label in ("blob", "female"):
        said = [float(row["probability"]) for row in answers if row["label"] == label]
        assert len(said) == len(rows) and len(set(said)) > 1 and all(0 <= p <= 1 for p in said)
    capsys.readouterr()
    assert main(["train", archive, "--label", "blob,bolb", "--out", str(tmp_path / "r"), "--quiet"]) == 1
    assert "bolb" in capsys.readouterr().err


def test_a_budget_is_a_time_or_refused():
    assert parse_budget("2m") == 120
    for wrong in ("", "m", "-3m", "ten minutes", "5d", "infh", "nanm", "1e400s", "1000h"):
        with pytest.raises(RunError, match="budget"):
            parse_budget(wrong)


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ({"sensitivity": 95}, "a sensitivity of 95"),
        ({"budget": "soon"}, "a budget of 'soon'"),
        ({"seed": -1}, "the seed -1"),
        (
            {"network": "resnet-9000"},
            "expected one of residual, features, fine-tuned, pair, slices, slice-features, simple-cnn",
        ),
        ({"label": "bolb"}, "no study has the label"),
        ({"split_column": "nowhere"}, "nowhere"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_written(archive, tmp_path, option, said):
    """A refused command leaves no folder behind that would refuse the corrected one."""
    with pytest.raises(OverreadError, match=said):
        train(archive, **{"label": "blob", "out": tmp_path / "r", "progress": False, **option})
    assert not (tmp_path / "r").exists()


@pytest.fixture
def begun(archive, tmp_path):
    """A training that was stopped in its first epoch, and the archive (a copy) that it was begun on."""
    import shutil

    from overread.steps import fitting as training

    own = tmp_path / "archive"
    shutil.copytree(archive, own)
    shutil.copytree(archive.with_name("archive.names"), tmp_path / "archive.names")

    class Stopped(Exception):
        pass

    class Bar:
        n = 0

        def update(self, n):
            self.n += n
            if self.n > 0 and self.what.startswith("train"):
                raise Stopped

        def set_postfix(self, *_, **__): ...

        def __enter__(self):
            return self

        def __exit__(self, *_): ...

    def bar(*_, what, **__):
        made = Bar()
        made.what = what
        return made

    before = training.bar
    training.bar = bar  # the progress bar is where a test can stop a training
    try:
        with pytest.raises(Stopped):
            train(own, label="blob", out=tmp_path / "r", budget="3s", baseline=False, progress=False)
    finally:
        training.bar = before
    return own, tmp_path / "r"


def test_resuming_on_an_archive_that_has_grown_is_refused(begun, tmp_path):
    """The split would be drawn anew, and patients the weights have seen would be tested on."""
    from PIL import Image

    from overread.steps.collect import collect

    own, run = begun
    more = tmp_path / "more"
    more.mkdir()
    rows = []
    for i in range(24):
        pixels = np.random.default_rng(100 + i).integers(0, 255, (24, 20), np.uint8)
        Image.fromarray(pixels).save(more / f"new{i}.png")
        rows.append(f"new{i}.png,newcomer{i},{i % 2}")
    (more / "labels.csv").write_text("file,patient,blob\n" + "\n".join(rows) + "\n")
    split = (run / "split.json").read_bytes()
    collect(more, into=own, labels=more / "labels.csv", patient="patient", workers=1, progress=False)
    with pytest.raises(RunError, match="the unfinished training had another"):
        train(own, label="blob", out=run, budget="3s", baseline=False, resume=True, progress=False)
    assert (run / "split.json").read_bytes() == split


def test_an_unfinished_training_does_not_predict_and_resumes_with_its_own_settings(begun, pictures, tmp_path):
    from overread.steps.predict import predict

    own, run = begun
    with pytest.raises(RunError, match="unfinished"):
        predict(run, pictures, out=tmp_path / "p", progress=False)
    with pytest.raises(RunError, match="another sensitivity"):
        train(own, label="blob", out=run, budget="3s", baseline=False, resume=True, sensitivity=0.8, progress=False)
    result = train(own, label="blob", out=run, budget="3s", baseline=False, resume=True, progress=False)
    assert result.metrics["labels"]["blob"]["auroc"]["n"] > 10
    predict(run, pictures / "film000.png", out=tmp_path / "p", progress=False)


def test_no_folder_of_the_user_travels_with_a_run(run, archive):
    for name in ("plan.json", "history.json", "card.json", "split.json", "manifest.json", "metrics.json"):
        assert str(archive.parent) not in (run / name).read_text(), name


@pytest.mark.slow
def test_a_split_that_the_source_itself_carries_is_used(tmp_path):
    """A MedMNIST file holds its official parts; a column of a table is used only when it is named."""
    from overread.steps.collect import collect

    rng = np.random.default_rng(0)
    parts = {}
    for part, n in (("train", 60), ("val", 20), ("test", 28)):
        parts[f"{part}_labels"] = (np.arange(n) % 2)[:, None].astype(np.uint8)
        light = parts[f"{part}_labels"][:, :, None] * 60
        parts[f"{part}_images"] = (rng.integers(0, 120, (n, 12, 12)) + light).astype(np.uint8)
    np.savez(tmp_path / "set.npz", **parts)
    collect(tmp_path / "set.npz", into=tmp_path / "a", workers=1, progress=False)
    train(tmp_path / "a", label="label", out=tmp_path / "r", budget="2s", baseline=False, progress=False)
    split = told(tmp_path / "r", "split.json")
    assert len(split["cohorts"]["testing"]) == 28
    assert "published column 'split'" in split["source"]
    train(
        tmp_path / "a",
        label="label",
        out=tmp_path / "n",
        split_column="none",
        budget="2s",
        baseline=False,
        progress=False,
    )
    assert told(tmp_path / "n", "split.json")["source"] == "drawn"


COMMAND = "from overread.cli import main; import sys; sys.exit(main(sys.argv[1:]))"


def command(*words):
    return [sys.executable, "-c", COMMAND, *map(str, words)]


def finish(*words):
    """Run a command to its end; return its exit status and what it said."""
    done = subprocess.run(command(*words), capture_output=True, text=True, timeout=400)
    return done.returncode, done.stderr


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kill -9 is a signal of POSIX systems")
def test_kill_9_in_the_middle_then_resume_gives_the_same_run(archive, tmp_path):
    """Kill after the first checkpoint; nothing is half-written, and --resume ends with the same scores and weights."""
    words = ("train", archive, "--label", "blob", "--network", "residual", "--no-baseline", "--quiet")
    status, said = finish(*words, "--out", tmp_path / "whole")
    assert status == 0, said
    checkpoint = tmp_path / "killed" / "checkpoint" / "residual.npz"
    with subprocess.Popen(command(*words, "--out", tmp_path / "killed"), stderr=subprocess.DEVNULL) as killed:
        end = time.monotonic() + 120
        while not checkpoint.exists() and time.monotonic() < end:
            time.sleep(0.05)
        killed.send_signal(signal.SIGKILL)
    assert not (tmp_path / "killed" / "manifest.json").exists()
    status, said = finish(*words, "--out", tmp_path / "killed")
    assert status == 1
    assert "--resume" in said
    status, said = finish(*words[:3], "shape", *words[4:], "--out", tmp_path / "killed", "--resume")
    assert status == 1
    assert "the unfinished training had another" in said
    status, said = finish(*words, "--out", tmp_path / "killed", "--resume")
    assert status == 0, said
    for name in ("scores.csv", "model.onnx", "calibration.json"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
