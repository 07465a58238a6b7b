"""The verb: copies in pseudonymous folders, the same again at a second run, every refusal with its file and reason."""

from __future__ import annotations

import json
import shutil
import stat
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file
from small_disk import small_disk, used

from overread.errors import IdentityRefused, NothingToDo
from overread.steps.deidentify import deidentify


@pytest.fixture
def source(tmp_path) -> Path:
    """A folder with two images of two patients, a copy of one, a report, a text and half a file."""
    folder = tmp_path / "in"
    (folder / "deep").mkdir(parents=True)
    for n, name in enumerate(("CT_small.dcm", "MR_small.dcm", "test-SR.dcm")):
        shutil.copy(get_testdata_file(name), folder / "deep" / f"{n}")
    shutil.copy(get_testdata_file("CT_small.dcm"), folder / "again.png")
    (folder / "notes.txt").write_text("Mr Smith")
    raw = Path(get_testdata_file("CT_small.dcm")).read_bytes()
    (folder / "half.dcm").write_bytes(raw[: len(raw) // 3])
    return folder


def test_every_file_is_written_or_named(source, tmp_path):
    done = deidentify(source, into=tmp_path / "out")
    files = sorted((tmp_path / "out").rglob("*.dcm"))
    assert (done.written, done.already, len(files), done.patients, done.series) == (2, 1, 2, 2, 2)
    assert {Path(f).name: c for f, c, _ in done.refused} == {
        "2": "identity",
        "notes.txt": "not-dicom",
        "half.dcm": "identity",
    }
    for file in files:
        ds = pydicom.dcmread(file)
        patient, _, _, name = file.relative_to(tmp_path / "out").parts
        assert (patient, name) == (str(ds.PatientID), f"{ds.SOPInstanceUID}.dcm")
    assert not [p for p in (tmp_path / "out").rglob("*") if p.name.startswith(".part")]
    account = json.loads(json.dumps(done.to_json()))
    assert account["written"] == 2
    assert all(r["reason"] for r in account["refused"])


def test_a_second_run_writes_nothing_and_a_lost_key_gives_other_names(source, tmp_path):
    out = tmp_path / "out"
    deidentify(source, into=out)
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*.dcm")}
    assert deidentify([source], into=out).written == 0
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*.dcm")} == before
    shutil.rmtree(tmp_path / "out.names")
    assert deidentify([source], into=tmp_path / "out").written == 2


def test_the_key_is_for_the_owner_alone(source, tmp_path):
    deidentify(source, into=tmp_path / "out")
    shelf = tmp_path / "out.names"
    assert stat.S_IMODE(shelf.stat().st_mode) == 0o700
    assert stat.S_IMODE((shelf / "key").stat().st_mode) == 0o600
    assert len(bytes.fromhex((shelf / "key").read_text())) == 32
    assert not (tmp_path / "out" / "key").exists()


def test_a_given_key_is_used_and_not_stored(source, tmp_path):
    a = deidentify(source, into=tmp_path / "a", key=b"k" * 32)
    deidentify(source, into=tmp_path / "b", key=b"k" * 32)
    names = [sorted(p.relative_to(tmp_path / x) for p in (tmp_path / x).rglob("*.dcm")) for x in "ab"]
    assert names[0] == names[1]
    assert a.written == 2
    assert not (tmp_path / "a.names").exists()


def test_two_files_of_one_instance_do_not_overwrite_each_other(source, tmp_path):
    ds = pydicom.dcmread(source / "again.png")
    ds.PixelData = bytes(len(ds.PixelData))
    ds.save_as(source / "other.dcm")
    done = deidentify(source, into=tmp_path / "out")
    assert "duplicate" in [c for _, c, _ in done.refused]


def test_refused_early(source, tmp_path):
    with pytest.raises(NothingToDo):
        deidentify([], into=tmp_path / "out")
    with pytest.raises(IdentityRefused, match="inside the source"):
        deidentify(source, into=source / "out")
    (tmp_path / "out.names").mkdir()
    (tmp_path / "out.names" / "key").write_text("lost")
    with pytest.raises(IdentityRefused, match="damaged key"):
        deidentify(source, into=tmp_path / "out")


def test_a_file_that_is_not_there_is_named(tmp_path):
    done = deidentify(tmp_path / "nowhere.dcm", into=tmp_path / "out")
    assert [(Path(f).name, c) for f, c, _ in done.refused] == [("nowhere.dcm", "unreadable")]


def test_a_full_disk_leaves_no_half_file(source, tmp_path):
    with small_disk(tmp_path / "disk", size="64m") as resize:
        out = tmp_path / "disk" / "out"
        deidentify(source / "deep" / "0", into=out)
        before = {p: p.read_bytes() for p in out.rglob("*.dcm")}
        resize(used(tmp_path / "disk"))
        with pytest.raises(OSError, match="No space"):
            deidentify(source, into=out)
        assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before
