"""After a bad disc is healed, collecting again leaves nothing of what it had cost: no shorter volume, no word of loss."""

from __future__ import annotations

import shutil
from pathlib import Path

import pydicom
import pytest
from painted import run

from overread.domain import code_of
from overread.steps.inspect import inspect
from overread.store.archive import Archive

pytestmark = pytest.mark.timeout(90)


@pytest.fixture
def disc(shared_data: Path, tmp_path: Path) -> Path:
    """Four slices of one series, and beside them a picture of another."""
    (tmp_path / "disc").mkdir()
    for file in sorted((shared_data / "dicom_series" / "hitachi" / "anatomical" / "001").iterdir()):
        shutil.copy(file, tmp_path / "disc" / file.name)
    other = pydicom.dcmread(tmp_path / "disc" / "001.dcm")
    other.SeriesInstanceUID = other.SOPInstanceUID = other.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    other.PixelData = bytes(len(other.PixelData) - 2) + b"\1\0"
    other.save_as(tmp_path / "disc" / "other.dcm")
    return tmp_path / "disc"


def _cut(file: Path) -> bytes:
    """Cut a file off before it says which series it is of; return what it was."""
    whole = file.read_bytes()
    file.write_bytes(whole[:300])
    return whole


def _told(archive: Path) -> dict[tuple[int, ...], list[str]]:
    """Return what each image of an archive says of lost files, by its shape."""
    with Archive.open(archive) as opened:
        return {r.shape: [n for n in r.notes if code_of(n) == "files-lost"] for r in opened.images()}


def test_the_shorter_volume_of_a_bad_slice_is_replaced(disc, tmp_path):
    whole = _cut(disc / "001.dcm")
    run(disc, into=tmp_path / "a")
    assert {shape[0]: len(notes) for shape, notes in _told(tmp_path / "a").items()} == {1: 1, 3: 1}
    with Archive.open(tmp_path / "a") as archive:
        (short,) = (r.hash for r in archive.images() if r.shape[0] == 3)
    (disc / "001.dcm").write_bytes(whole)
    again = run(disc, into=tmp_path / "a")
    fresh = run(disc, into=tmp_path / "b")
    assert (again.images, again.studies) == (fresh.images, fresh.studies)
    assert _told(tmp_path / "a") == _told(tmp_path / "b")
    seen = inspect(tmp_path / "a", progress=False)
    assert (seen.images, seen.volumes) == (2, 1) and not any("no study" in w for w in seen.warnings)
    with Archive.open(tmp_path / "a") as archive:
        assert archive.unclaimed() == 0
        assert archive.image(short).voxels.shape[0] == 3  # a finished run may still show it
        archive.verify()


def test_the_word_of_a_file_lost_beside_a_volume_goes_when_the_file_is_read(disc, tmp_path):
    whole = _cut(disc / "other.dcm")
    run(disc, into=tmp_path / "a")
    ((note,),) = _told(tmp_path / "a").values()
    assert "1 more file beside it" in note
    same = run(disc, into=tmp_path / "a")  # the twin: nothing is healed, nothing is read
    assert (same.read, list(_told(tmp_path / "a").values())) == (0, [[note]])
    (disc / "other.dcm").write_bytes(whole)
    again = run(disc, into=tmp_path / "a")
    assert again.read == 5 and [notes for _, notes in _told(tmp_path / "a").items()] == [[], []]
    assert run(disc, into=tmp_path / "a").read == 0


@pytest.mark.parametrize("bad", ["001.dcm", "004.dcm"])  # the last and the first of the volume
def test_a_volume_that_was_stored_whole_stays_when_a_slice_goes_bad(disc, tmp_path, bad):
    run(disc, into=tmp_path / "a")
    before = _told(tmp_path / "a")
    whole = _cut(disc / bad)
    again = run(disc, into=tmp_path / "a")
    assert ([r["code"] for r in again.refused], again.images) == (["truncated"], 2)
    assert _told(tmp_path / "a") == before
    (disc / bad).write_bytes(whole)
    healed = run(disc, into=tmp_path / "a")
    assert (healed.images, healed.refused) == (2, ()) and _told(tmp_path / "a") == before


@pytest.mark.parametrize("over", ["001.dcm", "002.dcm", "004.dcm"])
def test_a_stored_volume_stays_when_a_file_of_it_is_overwritten_by_one_of_another_series(disc, tmp_path, over):
    run(disc, into=tmp_path / "a")
    before, whole = _told(tmp_path / "a"), (disc / over).read_bytes()
    again = run(disc, into=tmp_path / "a")
    assert not any("now holds another image" in note for note in again.notes)  # the twin
    other = pydicom.dcmread(disc / "other.dcm")
    other.SeriesInstanceUID = other.SOPInstanceUID = other.file_meta.MediaStorageSOPInstanceUID = "1.2.4"
    other.PixelData = bytes(len(other.PixelData) - 2) + b"\2\0"
    other.save_as(disc / over)
    again = run(disc, into=tmp_path / "a")
    assert (again.read, again.images, again.refused) == (1, 3, ())
    assert any(
        "1 volume stays as it was stored, though a file read with it now holds another image" in n for n in again.notes
    )
    assert _told(tmp_path / "a") == before  # of two pictures of one size one stands for both
    with Archive.open(tmp_path / "a") as archive:
        assert archive.unclaimed() == 0
        archive.verify()
    (disc / over).write_bytes(whole)
    healed = run(disc, into=tmp_path / "a")
    assert (healed.images, healed.refused) == (2, ()) and _told(tmp_path / "a") == before


def test_the_word_of_a_lost_file_stays_when_the_file_is_deleted(disc, tmp_path):
    """Nobody can say any more whether it was a slice; a new archive never knew of it."""
    _cut(disc / "other.dcm")
    run(disc, into=tmp_path / "a")
    before = _told(tmp_path / "a")
    (disc / "other.dcm").unlink()
    assert run(disc, into=tmp_path / "a").read == 0 and _told(tmp_path / "a") == before
    run(disc, into=tmp_path / "b")
    assert list(_told(tmp_path / "b").values()) == [[]] != list(before.values())


def test_a_part_of_a_short_series_that_is_offered_alone_replaces_nothing(disc, tmp_path):
    _cut(disc / "other.dcm")
    run(disc, into=tmp_path / "a")
    before = _told(tmp_path / "a")
    for offered in ([disc / "001.dcm"], [disc / f"00{n}.dcm" for n in (1, 2, 3, 4)]):  # the second without the bad file
        assert run(*offered, into=tmp_path / "a").read == 0
    assert _told(tmp_path / "a") == before and [shape[0] for shape in before] == [4]
