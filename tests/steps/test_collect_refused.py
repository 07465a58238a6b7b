"""Bad input to collect: each is told in one line, and stops nothing."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from painted import run
from PIL import Image as Picture

from overread import engine
from overread.errors import ArchiveError, LabelError, NothingToDo, OverreadError, UnreadableFile
from overread.formats.door import read
from overread.steps import collect as step
from overread.steps.inspect import inspect

pytestmark = pytest.mark.timeout(90)


def test_an_empty_folder_and_a_text_file_are_one_line_each(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(NothingToDo, match="no file in the source; expected images"):
        run(tmp_path / "empty", into=tmp_path / "a")
    assert not (tmp_path / "a").exists()
    (tmp_path / "note.png").write_text("not a picture")
    with pytest.raises(NothingToDo, match=r"1 file and no image among them \(a text file"):
        run(tmp_path / "note.png", into=tmp_path / "a")
    with pytest.raises(UnreadableFile, match="does not exist"):
        run(tmp_path / "nowhere", into=tmp_path / "a")


def test_bad_files_stop_nothing_and_each_is_named(films, tmp_path):
    bad = films / "bad"
    bad.mkdir()
    whole = io.BytesIO()
    Picture.fromarray(np.zeros((64, 64), np.uint8)).save(whole, format="JPEG")
    (bad / "cut.jpg").write_bytes(whole.getvalue()[: len(whole.getvalue()) // 2])
    Picture.fromarray(np.zeros((1, 1), np.uint8)).save(bad / "dot.png")
    Picture.new("1", (20000, 20000)).save(bad / "huge.png")
    (bad / "empty.png").touch()
    (bad / "text.png").write_text("hello")
    done = run(films, into=tmp_path / "a")
    codes = {Path(r["file"]).name: r["code"] for r in done.refused}
    assert {n: codes.get(n) for n in ("dot.png", "huge.png", "empty.png", "text.png")} == {
        "dot.png": "too-small",
        "huge.png": "too-large",
        "empty.png": "empty-file",
        "text.png": "not-an-image",
    }
    assert "cut.jpg" in codes
    assert done.read == 9
    assert done.read + len(done.refused) == sum(p.is_file() for p in films.rglob("*"))


def test_a_file_that_kills_its_reader_is_named_and_tried_again_next_time(films, tmp_path, monkeypatch):
    def crashing(fn, items, **_):
        for i, item in enumerate(items):
            yield engine.Failure(item, "the process that read it crashed (SIGSEGV)") if i == 2 else fn(item)

    with monkeypatch.context() as patched:
        patched.setattr(step.engine, "map", crashing)
        done = run(films, into=tmp_path / "a")
    assert [r["reason"] for r in done.refused if r["code"] == "reader-died"] == [
        "the process that read it crashed (SIGSEGV)"
    ]
    assert run(films, into=tmp_path / "a").already + 1 == run(films, into=tmp_path / "a").already


def test_hidden_files_are_accounted_for(films, tmp_path):
    (films / ".DS_Store").write_bytes(b"x")
    done = run(films, into=tmp_path / "a")
    assert [Path(r["file"]).name for r in done.refused if r["code"] == "hidden"] == [".DS_Store"]
    assert "1 hidden passed over" in str(done)


def test_a_table_and_folders_at_once_are_refused(films, tmp_path):
    with pytest.raises(LabelError, match="one of the two"):
        run(films, into=tmp_path / "a", labels=films / "labels.csv", labels_from_folders=True)


def test_a_file_whose_name_steers_a_terminal_is_printed_harmlessly(films, tmp_path):
    (films / "a\n  refused    0\x1b]0;owned\x07.png").write_text("no picture")
    done = run(films, into=tmp_path / "a")
    assert "\x1b" not in str(done) and "\x07" not in str(done) and "\n  refused    0" not in str(done)
    assert any("\x1b" in r["file"] for r in done.refused)  # for a machine the name stays what it is
    told = str(inspect(tmp_path / "a", progress=False))
    assert "\x1b" not in told and "\n  refused    0" not in told


def test_an_array_none_of_whose_images_can_be_read_is_not_counted_as_read(tmp_path):
    broken = np.full((3, 28, 28), np.nan, np.float32)
    np.savez(tmp_path / "bad.npz", train_images=broken)
    with pytest.raises(NothingToDo, match="no image among them"):
        run(tmp_path / "bad.npz", into=tmp_path / "a")
    broken[0] = 1
    np.savez(tmp_path / "bad.npz", train_images=broken)
    done = run(tmp_path / "bad.npz", into=tmp_path / "a")
    assert (done.read, done.images, len(done.refused)) == (1, 1, 2)


def test_an_archive_inside_its_source_is_not_collected(films):
    first = run(films, into=films / "archive")
    again = run(films, into=films / "archive")
    assert (again.read, again.already, len(again.refused)) == (0, first.read, len(first.refused))


def test_another_archive_inside_the_source_is_told_and_not_looked_into(films, tmp_path):
    once = run(films, into=tmp_path / "first")
    run(films, into=films / "older")
    inspect(films / "older", progress=False)  # draws a contact sheet
    done = run(films, into=tmp_path / "a")
    assert (done.read, done.images) == (once.read, once.images)
    ours = [Path(r["file"]).name for r in done.refused if "overread made" in r["reason"]]
    assert sorted(ours) == ["older", "older.names"]


def test_an_anonymous_archive_takes_nothing_more(films, tmp_path):
    run(films, into=tmp_path / "a")
    shutil.rmtree(tmp_path / "a.names")
    with pytest.raises(ArchiveError, match="anonymous"):
        run(films, into=tmp_path / "a")
    assert not (tmp_path / "a.names").exists()


def test_of_several_sources_the_missing_one_is_told(films, tmp_path):
    with pytest.raises(UnreadableFile, match=r"number 2 of 2"):
        run(films, tmp_path / "nowhere", into=tmp_path / "a")


def test_when_nothing_is_read_the_commonest_reason_is_told(tmp_path):
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / ".DS_Store").write_bytes(b"x")
    (tmp_path / "films" / "a.txt").write_text("hello")
    for name in "bcd":
        (tmp_path / "films" / f"{name}.png").touch()
    with pytest.raises(NothingToDo, match=r"^5 files and no image among them \(3 × empty-file: an empty file; "):
        run(tmp_path / "films", into=tmp_path / "a")


def test_an_empty_word_is_not_the_current_folder(films, tmp_path, monkeypatch):
    monkeypatch.chdir(films)
    for sources, told in (
        (("",), r"^an empty path; expected"),
        ((films / "sick", ""), r"an empty path \(number 2 of 2\)"),
    ):
        with pytest.raises(UnreadableFile, match=told):
            run(*sources, into=tmp_path / "a")
    with pytest.raises(UnreadableFile, match="an empty path"):
        read("")
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("word", ["medmnist:pneumonia", "phil:", "phil:2423?most=many"])
def test_a_word_that_is_not_understood_leaves_nothing_behind(tmp_path, word):
    with pytest.raises(OverreadError) as told:
        run(word, into=tmp_path / "a")
    assert len(str(told.value)) < 260
    assert list(tmp_path.iterdir()) == []
