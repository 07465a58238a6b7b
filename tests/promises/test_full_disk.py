"""A disk that fills up in the middle costs a line and nothing else: what was whole before is whole afterwards."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from small_disk import BLOCK, small_disk, used

from overread.cli import main
from overread.learn.predict import Model
from overread.steps.reads import NAME as READS
from overread.steps.verify import verify


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def refused_in_one_line(capsys, *words):
    assert main([str(w) for w in words]) == 1
    said = capsys.readouterr().err.strip().splitlines()
    assert said[-1].startswith("overread: the disk is full; expected room to write"), said
    assert not any("Traceback" in line for line in said)


@pytest.mark.parametrize("room", [1, 3, 8])
def test_predict_on_a_full_disk_leaves_whole_answers_or_none(run, pictures, tmp_path, capsys, room):
    with small_disk(tmp_path / "disk", size=room * BLOCK) as resize:
        out = tmp_path / "disk" / "out"
        refused_in_one_line(capsys, "predict", run, pictures, "--out", out, "--quiet")
        left = contents(out) if out.is_dir() else {}
        resize("64m")
        assert main(["predict", str(run), str(pictures), "--out", str(out), "--quiet"]) == 0
        whole = contents(out)
        assert {name: whole[name] for name in left} == left  # no half file, and none with another name
        assert "predictions.csv" in whole


def half_files(folder: Path) -> list[Path]:
    """Return what a write that failed has left of itself; there must be none, for it would keep the disk full."""
    return [path for path in folder.rglob("*") if path.suffix in (".part", ".tmp")]


def test_predict_of_dicom_on_a_full_disk_keeps_the_answers(run, tmp_path, capsys):
    from overread.steps.phantom import phantom

    phantom(tmp_path / "films", patients=2, seed=0, progress=False)
    with small_disk(tmp_path / "disk", size=4 * BLOCK) as resize:
        out = tmp_path / "disk" / "out"
        refused_in_one_line(capsys, "predict", run, tmp_path / "films" / "images", "--out", out, "--quiet")
        assert len((out / "predictions.csv").read_text().splitlines()) == 1 + len(
            list((tmp_path / "films").rglob("*.dcm"))
        )
        assert not half_files(out)
        resize("64m")
        assert main(["predict", str(run), str(tmp_path / "films" / "images"), "--out", str(out), "--quiet"]) == 0
        assert list((out / "evidence").glob("*-draft-sr.dcm"))


@pytest.mark.parametrize("room", [1, 2, 4])
@pytest.mark.parametrize("elsewhere", [False, True])
def test_evaluate_on_a_full_disk_leaves_each_file_old_or_new_and_whole(run, archive, tmp_path, capsys, room, elsewhere):
    with small_disk(tmp_path / "disk", size="64m") as resize:
        copy = tmp_path / "disk" / "run"
        shutil.copytree(run, copy)
        words = ["evaluate", str(copy), "--quiet", *(["--on", str(archive)] if elsewhere else [])]
        before = contents(copy)
        resize(used(tmp_path / "disk") + room * BLOCK)
        refused_in_one_line(capsys, *words)
        assert Model.load(copy).task.labels  # every file of the run is what its manifest says
        left = contents(copy)
        resize("64m")
        assert main(words) == 0
        after = contents(copy)
        counted = {"metrics.json", "report.html"}  # hold the time, or how often testing was read
        assert verify(copy).reads  # a line torn by the full disk was put aside, and the journal is whole
        for name, content in left.items():
            if Path(name).name.startswith(READS):
                continue
            if Path(name).name in counted:
                assert content.rstrip().endswith((b"}", b"]", b"</html>"))
            else:
                assert content in (before.get(name), after[name]), name
        assert not half_files(copy)


def test_export_on_a_full_disk_writes_no_half_graph(run, tmp_path, capsys):
    with small_disk(tmp_path / "disk", size=2 * BLOCK) as resize:
        out = tmp_path / "disk" / "model.onnx"
        refused_in_one_line(capsys, "export", run, "--format", "onnx", "--out", out)
        assert not list((tmp_path / "disk").iterdir())
        resize("64m")
        assert main(["export", str(run), "--format", "onnx", "--out", str(out)]) == 0
        assert out.read_bytes() == (run / "model.onnx").read_bytes()


@pytest.mark.slow
def test_train_on_a_full_disk_goes_on_once_there_is_room(archive, tmp_path, capsys):
    pytest.importorskip("keras")
    with small_disk(tmp_path / "disk", size="300k") as resize:
        out = tmp_path / "disk" / "run"
        words = ("train", archive, "--label", "blob", "--out", out, "--budget", "8s", "--quiet")
        refused_in_one_line(capsys, *words)
        resize("256m")
        assert main([str(w) for w in words] + ["--resume"]) == 0
        assert Model.load(out).task.labels == ("blob",)
        assert not (out / "unfinished").exists()


def test_the_small_disk_is_really_full(tmp_path):
    with small_disk(tmp_path / "disk", size=BLOCK), pytest.raises(OSError, match="No space left"):
        (tmp_path / "disk" / "much").write_bytes(bytes(10 * BLOCK))
