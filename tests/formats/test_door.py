"""The door: every file offered is read or refused, once, by name."""

from __future__ import annotations

import io
import os
import pickle
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from overread.errors import UnreadableFile
from overread.formats import offer
from overread.formats.door import Found, Refused, candidates, ignored, read, read_job, scan


def png(seed: int = 0) -> bytes:
    buffer = io.BytesIO()
    Pillow.fromarray(np.random.default_rng(seed).integers(0, 255, (16, 12), np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def messy(tmp_path: Path) -> Path:
    root = tmp_path / "scans"
    (root / "yes" / ".hidden").mkdir(parents=True)
    (root / "yes" / "b.png").write_bytes(png(1))
    (root / "yes" / "a.jpg").write_bytes(png(2))
    (root / "yes" / "note.png").write_text("This is not a picture.")
    (root / "yes" / ".hidden" / "c.png").write_bytes(png(3))
    (root / "labels.csv").write_text("file,label\nyes/b.png,1\n")
    (root / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    (root / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")
    (root / "empty.dcm").write_bytes(b"")
    return root


def test_every_file_is_read_refused_or_ignored_once(messy: Path) -> None:
    jobs = candidates(messy)
    results = [r for job in jobs for r in read_job(job)]
    assert [Path(r.origin.files[0]).name for r in results if isinstance(r, Found)] == ["a.jpg", "b.png"]
    assert {Path(r.file).name: r.code for r in results if isinstance(r, Refused)} == {
        "labels.csv": "not-an-image",
        "note.png": "not-an-image",
        "empty.dcm": "empty-file",
    }
    assert ignored(jobs) == 3
    offered = sum(1 for p in messy.rglob("*") if p.is_file())
    assert len(results) + ignored(jobs) == offered


def test_whoever_waits_is_told_of_every_file_and_zip_member(messy: Path) -> None:
    with zipfile.ZipFile(messy / "more.zip", "w") as archive:
        archive.writestr("a.png", png(4))
        archive.writestr("b.png", png(5))
    looked = []
    assert list(candidates(messy, tick=lambda: looked.append(1))) == list(candidates(messy))
    assert len(looked) == 5 + 1 + 2  # the files that are no litter, the archive, its members


def test_a_text_file_named_png_is_told_what_it_is(messy: Path) -> None:
    with pytest.raises(UnreadableFile, match="a text file; expected DICOM"):
        read(messy / "yes" / "note.png")


def test_names_are_as_the_user_gave_them(messy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(messy.parent)
    names = [r.origin.files[0] for r in scan("scans") if isinstance(r, Found)]
    assert names == [os.path.join("scans", "yes", "a.jpg"), os.path.join("scans", "yes", "b.png")]


def test_a_file_offered_twice_is_one_file(messy: Path) -> None:
    once, twice = list(scan(messy)), list(scan(messy, messy / "yes" / "b.png", messy / "yes"))
    assert [getattr(r, "file", "") or r.origin.files for r in once] == [
        getattr(r, "file", "") or r.origin.files for r in twice
    ]


def test_a_zip_reads_as_its_folder_does(messy: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(messy.rglob("*")):
            archive.write(file, file.relative_to(messy))
    inside, outside = list(scan(path)), list(scan(messy))
    assert sorted(r.origin.digest for r in inside if isinstance(r, Found)) == sorted(
        r.origin.digest for r in outside if isinstance(r, Found)
    )
    assert f"{path}!yes/b.png" in [r.origin.files[0] for r in inside if isinstance(r, Found)]
    assert ignored(candidates(path)) == 3


def test_zip_members_are_read_together(tmp_path: Path) -> None:
    path = tmp_path / "many.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for i in range(300):
            archive.writestr(f"{i:03d}.png", png(i))
    jobs = candidates(path)
    assert [len(j.parts) for j in jobs] == [128, 128, 44]
    assert sum(isinstance(r, Found) for j in jobs for r in read_job(j)) == 300


def test_hostile_zip_members_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../../evil.png", png())
        archive.writestr("/etc/evil.png", png())
        archive.writestr("inner.zip", b"PK\x03\x04" + bytes(50))
        archive.writestr("fine.png", png())
    codes = {r.file.split("!")[1]: r.code for r in scan(path) if isinstance(r, Refused)}
    assert codes == {"../../evil.png": "unsafe-name", "/etc/evil.png": "unsafe-name", "inner.zip": "nested-archive"}


def test_a_zip_that_promises_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("zeros.bmp", bytes(1 << 24))
    assert {r.code for r in scan(path)} == {"too-large"}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.png", png())
    monkeypatch.setattr(offer, "LARGEST_FILE", 100)
    assert {r.code for r in scan(path)} == {"too-large"}


def test_damaged_and_empty_archives_and_office_documents(tmp_path: Path) -> None:
    (tmp_path / "damaged.zip").write_bytes(b"PK\x03\x04" + bytes(100))
    with zipfile.ZipFile(tmp_path / "empty.zip", "w"):
        pass
    with zipfile.ZipFile(tmp_path / "letter.docx", "w") as archive:
        archive.writestr("[Content_Types].xml", "<x/>")
    codes = {Path(r.file).name: r.code for r in scan(tmp_path)}
    assert codes == {"damaged.zip": "malformed", "empty.zip": "empty-file", "letter.docx": "not-an-image"}


def test_a_dicom_series_inside_a_zip_is_one_volume(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "dicom_series" / "hitachi" / "anatomical" / "001"
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in folder.iterdir():
            archive.write(file, f"DICOM/{file.name}")
    (inside,), (outside,) = read(tmp_path / "a.zip"), read(folder)
    assert np.array_equal(inside.voxels, outside.voxels)
    assert inside.geometry == outside.geometry


def test_what_does_not_exist_or_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile) as caught:
        candidates(tmp_path / "nowhere")
    assert caught.value.code == "no-such-file"
    (tmp_path / "link.png").symlink_to(tmp_path / "gone.png")
    os.mkfifo(tmp_path / "pipe.png")
    assert {Path(r.file).name: r.code for r in scan(tmp_path)} == {"link.png": "unreadable", "pipe.png": "not-an-image"}


def test_a_file_that_vanishes_between_walk_and_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png())
    jobs = candidates(tmp_path)
    (tmp_path / "a.png").unlink()
    assert [r.code for job in jobs for r in read_job(job)] == ["unreadable"]


def test_jobs_and_results_survive_pickling(messy: Path) -> None:
    jobs = pickle.loads(pickle.dumps(list(candidates(messy))))
    results = pickle.loads(pickle.dumps([r for job in jobs for r in read_job(job)]))
    assert len(results) == 5


def test_read_gives_images_and_raises_the_first_refusal(messy: Path) -> None:
    assert [i.voxels.shape for i in read(messy / "yes")] == [(1, 16, 12)] * 2
    (messy / "yes" / "half.png").write_bytes(png()[:100])
    with pytest.raises(UnreadableFile) as caught:
        read(messy / "yes")
    assert caught.value.code == "truncated"


def test_a_fault_of_ours_costs_one_series_and_is_told_as_ours(tmp_path, monkeypatch):
    """None stops the rest: not even a fault that no test has found."""
    from pydicom.data import get_testdata_file

    from overread.formats import series

    def stumble(files, **told):
        raise IndexError("list index out of range")

    Pillow.new("L", (20, 20), 7).save(tmp_path / "a.png")
    shutil.copy(get_testdata_file("CT_small.dcm"), tmp_path / "b.dcm")
    assert all(isinstance(r, Found) for r in scan(tmp_path))
    monkeypatch.setattr(series, "read_series", stumble)
    found, refused = sorted(scan(tmp_path), key=lambda r: isinstance(r, Refused))
    assert isinstance(found, Found) and refused.code == "our-fault"
    assert "IndexError" in refused.reason and "report it" in refused.reason and "list index" not in refused.reason
