"""An archive keeps images under their own hash, whole or not at all, and has no place for a name."""

from __future__ import annotations

import os
import pickle
import random
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from small_disk import BLOCK, small_disk

from overread.domain import Geometry, Image, Study
from overread.errors import ArchiveError, IntegrityError
from overread.store.archive import Archive
from overread.store.objects import Here, content_hash, write_object

GEOMETRY = Geometry(((0, 0, 0.5, -10), (0, 0.5, 0, 20), (2, 0, 0, 30), (0, 0, 0, 1)))
CT = Image(
    np.arange(60, dtype=np.int16).reshape(3, 4, 5) - 1000,
    unit="HU",
    full_range=(-1024, 3071),
    geometry=GEOMETRY,
    modality="CT",
    attributes={"BodyPartExamined": "CHEST"},
    notes=("slices sorted by position",),
)


@pytest.fixture
def archive(tmp_path):
    with Archive.create(tmp_path / "archive") as opened:
        yield opened


def picture(seed: int, side: int = 16) -> Image:
    return Image(np.random.default_rng(seed).integers(0, 256, (1, side, side), np.uint8), full_range=(0, 255))


# -- what goes in comes out ---------------------------------------------------------------------------------------


def test_an_image_comes_back_as_it_was(archive):
    got = archive.image(archive.put(CT))
    np.testing.assert_array_equal(got.voxels, CT.voxels)
    assert got.voxels.dtype == CT.voxels.dtype
    for field in fields(Image):
        if field.name != "voxels":
            assert getattr(got, field.name) == getattr(CT, field.name), field.name


@settings(max_examples=40, deadline=None)
@given(
    npst.arrays(
        st.sampled_from([np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64, np.dtype(">i2")]),
        npst.array_shapes(min_dims=3, max_dims=4, min_side=1, max_side=5),
    )
)
def test_any_array_comes_back_bit_by_bit(tmp_path_factory, voxels):
    with Archive.create(tmp_path_factory.mktemp("any") / "a") as archive:
        got = archive.image(archive.put(Image(voxels))).voxels
        assert got.tobytes() == voxels.astype(voxels.dtype.newbyteorder("<")).tobytes()
        assert archive.verify() == 1


def test_voxels_are_read_only_and_large_ones_are_mapped(archive):
    small = archive.image(archive.put(CT)).voxels
    large = archive.image(archive.put(picture(0, side=1100))).voxels
    assert isinstance(large, np.memmap)
    assert not isinstance(small, np.memmap)
    for voxels in (small, large):
        with pytest.raises(ValueError, match="read-only"):
            voxels[0, 0, 0] = 1


def test_the_same_image_is_stored_once(archive):
    first = archive.put(CT)
    before = {p: p.stat().st_mtime_ns for p in archive.objects.folder.rglob("*.npy")}
    assert archive.put(replace(CT, notes=("another remark",), attributes={})) == first
    assert {p: p.stat().st_mtime_ns for p in archive.objects.folder.rglob("*.npy")} == before
    assert archive.count() == (1, 0)


@pytest.mark.parametrize(
    "change",
    [
        {"voxels": CT.voxels + 1},
        {"voxels": CT.voxels.astype(np.int32)},
        {"voxels": CT.voxels.reshape(3, 5, 4)},
        {"unit": "stored"},
        {"full_range": (-1024, 3072)},
        {"geometry": None},
        {"spacing_mm": (2, 0.5, 0.6)},
        {"modality": "MR"},
    ],
    ids=lambda c: next(iter(c)),
)
def test_another_image_has_another_hash(change):
    assert content_hash(replace(CT, **change)) != content_hash(CT)


def test_byte_order_and_memory_order_do_not_change_the_hash():
    turned = replace(CT, voxels=np.asfortranarray(CT.voxels.astype(">i2")))
    assert content_hash(turned) == content_hash(CT)


@pytest.mark.parametrize(
    "voxels", [np.zeros((1, 0, 4), np.uint8), np.full((1, 1, 1), None), np.ones((1, 2, 2), complex)]
)
def test_what_is_no_image_is_refused(archive, voxels):
    with pytest.raises(ArchiveError, match="at least one voxel"):
        archive.put(Image(voxels))


def test_extremes_are_of_the_finite_values(archive):
    voxels = np.array([[[np.nan, -3, 7, np.inf]]], np.float32)
    record = archive.describe(archive.put(Image(voxels)))
    assert (record.low, record.high) == (-3, 7)
    record = archive.describe(archive.put(Image(np.full((1, 2, 2), np.nan, np.float32))))
    assert (record.low, record.high) == (None, None)


# -- studies ------------------------------------------------------------------------------------------------------


def test_studies_come_in_an_order_that_no_key_changes(archive, tmp_path):
    hashes = [archive.put(picture(i)) for i in range(30)]
    for i, name in enumerate(hashes):
        archive.add(Study(f"S{random.Random(i).randrange(16**12):012x}", (name,)))
    with Archive.create(tmp_path / "other") as other:
        for i in reversed(range(30)):
            other.add(Study(f"S{random.Random(-i).randrange(16**12):012x}", (other.put(picture(i)),)))
        assert [s.images for s in other.studies()] == [s.images for s in archive.studies()]


def test_a_study_comes_back_as_it_was_and_can_be_replaced(archive):
    name = archive.put(CT)
    study = Study("S1", (name,), "P1", {"mass": True, "grade": "2", "x": None}, {"sex": "F"}, {"split": "test"})
    archive.add(study)
    assert list(archive.studies()) == [study]
    archive.add(replace(study, labels={"mass": False}))
    assert [s.labels for s in archive.studies()] == [{"mass": False}]
    assert archive.cohort().studies == tuple(archive.studies())


def test_a_study_without_its_images_is_refused_and_nothing_of_the_step_is_kept(archive):
    known = archive.put(CT)
    for images in ((), ("0" * 64,), (known, "0" * 64), (known, known)):
        with pytest.raises(ArchiveError, match="put the images first"):
            archive.change([Study("S1", (known,)), Study("S2", images)])
    assert list(archive.studies()) == []


def test_an_image_that_no_study_has_any_longer_is_kept_and_not_counted(archive):
    old, new = archive.put(CT), archive.put(replace(CT, unit="raw"))
    archive.add(Study("S1", (old,)))
    assert (archive.count(), archive.unclaimed()) == ((2, 1), 1)  # the twin: one that no study has yet is counted
    archive.change([Study("S1", (new,))])
    assert (archive.count(), archive.unclaimed(), [r.hash for r in archive.images()]) == ((1, 1), 0, [new])
    assert archive.image(old).unit == "HU" and archive.verify() == 2
    archive.change([Study("S2", (old,))], gone=["S1"])  # another study has it again
    assert [r.hash for r in archive.images()] == [old]
    archive.change([Study("S3", (old,))])
    archive.change([], gone=["S2"])
    assert [r.hash for r in archive.images()] == [old]  # one of the two still has it


def test_many_studies_stream_in_pages(archive):
    name = archive.put(CT)
    archive.change(Study(f"S{i:05}", (name,)) for i in range(2500))
    assert [s.pseudonym for s in archive.studies()] == [f"S{i:05}" for i in range(2500)]


def test_there_is_no_field_for_a_name(archive):
    columns = {row[1] for table in ("images", "studies") for row in archive._rows(f"PRAGMA table_info({table})")}
    allowed = {"hash", "bytes", "dtype", "shape", "unit", "full_range", "geometry", "spacing_mm", "modality"}
    allowed |= {"attributes", "notes", "low", "high", "first_image", "pseudonym", "images", "patient", "labels"}
    assert columns == allowed | {"strata", "splits"}


# -- opening ------------------------------------------------------------------------------------------------------


def test_what_is_no_archive_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.txt").write_text("x")
    (tmp_path / "stranger").mkdir()
    stranger = sqlite3.connect(tmp_path / "stranger" / "archive.sqlite")
    stranger.executescript("CREATE TABLE t (x);")
    stranger.close()
    (tmp_path / "rubbish").mkdir()
    (tmp_path / "rubbish" / "archive.sqlite").write_bytes(b"no database at all" * 99)
    for name in ("nowhere", "file", "folder", "stranger", "rubbish"):
        with pytest.raises(ArchiveError):
            Archive.open(tmp_path / name)
    for name in ("file", "folder", "stranger", "rubbish"):
        with pytest.raises(ArchiveError):
            Archive.create(tmp_path / name)
    assert (tmp_path / "folder" / "notes.txt").read_text() == "x"


def test_a_newer_archive_is_refused(archive):
    archive._db.execute("PRAGMA user_version = 99")
    with pytest.raises(ArchiveError, match="of version 99; expected at most 1; update overread"):
        Archive.open(archive.path)


def test_create_opens_what_is_there(archive):
    name = archive.put(CT)
    with Archive.create(archive.path) as again:
        assert again.key == archive.key
        assert again.image(name).unit == "HU"


def test_an_archive_travels_to_a_worker(archive):
    name = archive.put(CT)
    with pickle.loads(pickle.dumps(archive)) as other:
        assert other.image(name).modality == "CT"


# -- the names shelf ----------------------------------------------------------------------------------------------


def test_the_key_is_for_its_owner_only_and_lies_beside_the_archive(archive):
    assert archive.names == archive.path.with_name("archive.names")
    assert stat.S_IMODE(archive.names.stat().st_mode) == 0o700
    assert stat.S_IMODE((archive.names / "key").stat().st_mode) == 0o600
    assert len(archive.key) == 32
    assert not any(archive.key in p.read_bytes() for p in archive.path.rglob("*") if p.is_file())


def test_without_its_names_shelf_an_archive_is_anonymous_and_stays_so(archive):
    name = archive.put(CT)
    (archive.names / "key").unlink()
    archive.names.rmdir()
    with Archive.create(archive.path) as again:
        assert again.anonymous
        assert again.image(name).unit == "HU"
        with pytest.raises(ArchiveError, match=r"anonymous.*collect into a new archive"):
            _ = again.key


# -- damage -------------------------------------------------------------------------------------------------------


def test_a_changed_byte_is_found(archive):
    name = archive.put(CT)
    file = archive.objects.folder / name[:2] / f"{name}.npy"
    raw = bytearray(file.read_bytes())
    assert archive.verify() == 1
    raw[-1] ^= 1
    file.write_bytes(raw)
    with pytest.raises(IntegrityError, match="do not match their hash"):
        archive.verify()


def test_a_missing_or_short_object_is_told_when_it_is_read(archive):
    name = archive.put(CT)
    file = archive.objects.folder / name[:2] / f"{name}.npy"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(IntegrityError, match="missing or cut short"):
        archive.image(name)
    file.unlink()
    with pytest.raises(IntegrityError, match="missing or cut short"):
        archive.image(name)
    assert archive.put(CT) == name  # storing it again mends it
    assert archive.verify() == 1


def test_an_unknown_hash_is_refused(archive):
    with pytest.raises(ArchiveError, match="no image 000000000000"):
        archive.image("0" * 64)


def test_half_written_files_of_a_killed_process_are_swept_after_a_day(archive):
    folder = archive.objects.folder / "ab"
    folder.mkdir()
    for name, age_s in (("old", 2 * 24 * 3600), ("new", 60)):
        (folder / f".{name}.npy.1.tmp").write_bytes(b"x")
        os.utime(folder / f".{name}.npy.1.tmp", (time.time() - age_s,) * 2)
    Archive.create(archive.path).close()
    assert [p.name for p in folder.iterdir()] == [".new.npy.1.tmp"]


# -- kill, crowd, full disk ---------------------------------------------------------------------------------------

WRITER = """
import sys
import numpy as np
from pathlib import Path
from overread.domain import Image, Study
from overread.store.archive import Archive
start = int(sys.argv[2])
with Archive.create(sys.argv[1]) as archive:
    print("open", flush=True)
    for i in range(start, start + int(sys.argv[3])):
        image = Image(np.random.default_rng(i).integers(0, 256, (1, 64, 64), np.uint8))
        name = archive.put(image)
        archive.add(Study(f"S{i:012}", (name,)))
        print(i, flush=True)
"""


def _writer(path: Path, start: int, count: int, **more) -> subprocess.Popen:
    command = [sys.executable, "-c", WRITER, str(path), str(start), str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)


@pytest.mark.timeout(60)
def test_a_kill_at_any_instant_loses_nothing_that_was_told(tmp_path):
    rng = random.Random(0)
    told = 0
    for round_ in range(8):
        process = _writer(tmp_path / "archive", 1000 * round_, 1000)
        if round_ == 0:  # kill it while it makes the archive, too
            time.sleep(rng.uniform(0.15, 0.4))
        else:
            process.stdout.readline()
            time.sleep(rng.uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
        out, _ = process.communicate()
        told += sum(line.isdigit() for line in out.split())
    with Archive.create(tmp_path / "archive") as archive:
        images = archive.verify()
        assert told <= len(list(archive.studies())) <= images <= told + 8
    assert told > 8  # they did get somewhere before they were killed


@pytest.mark.timeout(60)
def test_two_writers_at_once(tmp_path):
    writers = [_writer(tmp_path / "archive", start, 60) for start in (0, 30)]  # half of the images are the same
    for writer in writers:
        _, err = writer.communicate()
        assert (writer.returncode, err) == (0, "")
    with Archive.open(tmp_path / "archive") as archive:
        assert archive.verify() == 90
        assert len(archive.cohort()) == 90


FULL = """
import sys
import numpy as np
from overread.domain import Image
from overread.errors import ArchiveError
from overread.store.archive import Archive
with Archive.create(sys.argv[1]) as archive:
    kept = []
    try:
        for i in range(1000):
            kept.append(archive.put(Image(np.random.default_rng(i).integers(0, 256, (1, 128, 128), np.uint8))))
            print(i, flush=True)
    except ArchiveError as error:
        print(error)
"""


def test_a_full_disk_is_one_clear_line_and_loses_nothing(tmp_path):
    disk = tmp_path / "disk"
    with small_disk(disk, size="1m") as resize:
        command = [sys.executable, "-c", FULL, str(disk / "archive")]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        *numbers, last = done.stdout.splitlines()
        assert last.startswith("the disk of the archive is full; expected room")
        assert 10 < len(numbers) < 64
        resize("4m")
        with Archive.open(disk / "archive") as archive:
            assert archive.verify() == len(numbers)
            assert not list(archive.objects.folder.rglob("*.tmp"))
            archive.put(CT)  # with room again, it goes on


def test_a_file_that_grows_too_large_for_the_disk_is_told_alike(tmp_path):
    with small_disk(tmp_path / "disk", size=2 * BLOCK):
        large = Image(np.random.default_rng(0).integers(0, 256, (1, 128, 128), np.uint8))
        with pytest.raises(ArchiveError, match=r"the disk of the archive is full.*what is stored already is safe"):
            write_object(Here(tmp_path / "disk"), large)
        assert not [p for p in tmp_path.rglob("*") if p.is_file()]


def test_an_archive_on_a_disk_that_is_only_read_is_read_and_verified(tmp_path):
    with small_disk(tmp_path / "disk", size="4m") as remount:
        path = sealed(tmp_path / "disk")
        remount("4m,ro")
        with Archive.open(path) as archive:
            assert archive.verify() == 4 and archive.count() == (3, 3) and len(list(archive.images())) == 3
            with pytest.raises(sqlite3.OperationalError, match="readonly"):
                archive.add(next(archive.studies()))
        remount("4m,rw")
        with Archive.open(path) as archive:
            archive.add(next(archive.studies()))


# -- the seal over all studies ------------------------------------------------------------------------------------------


def sealed(tmp_path: Path) -> Path:
    with Archive.create(tmp_path / "a") as archive:
        names = [archive.put(Image(np.full((1, 4, 4), n, np.uint8))) for n in range(4)]
        for n, name in enumerate(names):
            archive.add(Study(f"S{n}", (name,), patient=f"P{n}", labels={"m": n > 1}, strata={"sex": "F"}))
        archive.change([Study("S1", (names[1],), labels={"m": None})], gone=["S3"])
        assert archive.verify() == 4 and len(archive.seal()) == 64
    return tmp_path / "a"


@pytest.mark.parametrize(
    "edit",
    [
        "UPDATE studies SET labels = replace(labels, 'true', 'false')",
        "UPDATE studies SET patient = 'P1'",
        "UPDATE studies SET strata = '{}' WHERE pseudonym = 'S0'",
        """UPDATE studies SET splits = '{"split":"test"}' WHERE pseudonym = 'S0'""",
        "DELETE FROM studies WHERE pseudonym = 'S2'",
        "UPDATE seal SET sum = '00'",
        "DELETE FROM seal",
    ],
)
def test_an_answer_edited_behind_our_back_is_found_also_after_another_change(tmp_path, edit):
    path = sealed(tmp_path)
    with sqlite3.connect(path / "archive.sqlite") as stranger:
        stranger.execute(edit)
    stranger.close()
    with Archive.open(path) as archive:
        with pytest.raises(IntegrityError, match="not as overread wrote them"):
            archive.verify()
        archive.add(replace(next(archive.studies()), labels={"m": True}))
        with pytest.raises(IntegrityError, match="not as overread wrote them"):
            archive.verify()


def test_twin_the_seal_depends_on_what_is_there_and_not_on_the_way_there(tmp_path):
    path = sealed(tmp_path)
    with Archive.open(path) as archive, Archive.create(tmp_path / "b") as other:
        for study in reversed(list(archive.studies())):
            for name in study.images:
                other.put(archive.image(name))
            other.add(study)
        assert other.seal() == archive.seal()


def test_an_archive_of_an_older_overread_says_that_it_has_no_seal_and_gets_one_with_the_next_change(tmp_path):
    path = sealed(tmp_path)
    with sqlite3.connect(path / "archive.sqlite") as older:
        older.execute("DROP TABLE seal")
    older.close()
    with Archive.open(path) as archive:
        assert archive.verify() == 4 and archive.seal() == ""
        archive.add(next(archive.studies()))
        assert archive.seal() and archive.verify() == 4


@pytest.mark.parametrize("byte", [0, 3, 20])
def test_a_byte_of_an_objects_header_is_found(tmp_path, byte):
    path = sealed(tmp_path)
    file = next(path.rglob("*.npy"))
    raw = bytearray(file.read_bytes())
    raw[byte] ^= 1
    file.write_bytes(raw)
    with Archive.open(path) as archive, pytest.raises(IntegrityError):
        archive.verify()
