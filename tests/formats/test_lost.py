"""Files of a series that cannot be had are told of on its volume; deflated ones are found to be of it."""

from __future__ import annotations

import io
import tarfile
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest

from overread.domain import code_of
from overread.errors import UnreadableFile
from overread.formats import headers, packed
from overread.formats.door import Found, Refused, candidates, read, read_job, scan


def _hitachi(shared_data: Path) -> list[tuple[str, bytes]]:
    folder = shared_data / "dicom_series" / "hitachi" / "anatomical" / "001"
    return [(p.name, p.read_bytes()) for p in sorted(folder.iterdir())]


def _losses(source: Path) -> tuple[list[str], list[str]]:
    """What is refused, and what the volumes say of lost files."""
    results = list(scan(source))
    notes = [n for r in results if isinstance(r, Found) for n in r.image.notes if code_of(n) == "files-lost"]
    return [r.code for r in results if isinstance(r, Refused)], notes


@pytest.mark.parametrize(("head", "code"), [(4096, "unreadable"), (64 << 10, "malformed")])
def test_a_slice_that_its_archive_cannot_give_is_told_of(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: int, code: str
) -> None:
    # a small file's checksum fails when it is looked at, a large one's later
    monkeypatch.setattr(packed, "_HEAD", head)
    archive = tmp_path / "scan.zip"
    with zipfile.ZipFile(archive, "w") as made:
        for name, raw in _hitachi(shared_data):
            made.writestr(name, raw)
        begin = made.infolist()[-1].header_offset
    assert _losses(archive) == ([], [])
    raw = bytearray(archive.read_bytes())
    raw[begin + 8000] ^= 0xFF
    archive.write_bytes(raw)
    refused, (note,) = _losses(archive)
    assert refused == [code]
    assert "1 more file" in note
    with pytest.raises(UnreadableFile):
        read(archive)


def test_a_slice_that_its_disc_cannot_give_is_told_of(shared_data: Path, tmp_path: Path) -> None:
    for name, raw in _hitachi(shared_data):
        (tmp_path / name).write_bytes(raw)
    (job,) = candidates(tmp_path)
    Path(job.parts[-1].path).unlink()  # after it was looked at: as a disc that is worn
    *found, refused = sorted(read_job(job), key=lambda r: isinstance(r, Refused))
    assert (refused.code, len(found)) == ("unreadable", 1)
    assert any(code_of(n) == "files-lost" for n in found[0].image.notes)


@pytest.mark.parametrize("cut", [200, 300, 600, 700])
def test_a_slice_cut_before_its_series_is_told_of_by_its_neighbours(
    shared_data: Path, tmp_path: Path, cut: int
) -> None:
    files = _hitachi(shared_data)
    for name, raw in files:
        (tmp_path / name).write_bytes(raw)
    (tmp_path / files[-1][0]).write_bytes(files[-1][1][:cut])
    refused, notes = _losses(tmp_path)
    assert refused == ["truncated"]
    assert len(notes) == 1
    with pytest.raises(UnreadableFile, match="copy it again"):
        read(tmp_path)


def test_a_lost_file_of_another_folder_is_nobodys(shared_data: Path, tmp_path: Path) -> None:
    files = _hitachi(shared_data)
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    for name, raw in files:
        (tmp_path / "one" / name).write_bytes(raw)
    (tmp_path / "two" / "cut.dcm").write_bytes(files[-1][1][:300])
    assert _losses(tmp_path) == (["truncated"], [])


def test_the_rest_of_a_broken_tar_archive_is_told_of(shared_data: Path, tmp_path: Path) -> None:
    archive = tmp_path / "scan.tar"
    with tarfile.open(archive, "w") as made:
        for name, raw in _hitachi(shared_data):
            about = tarfile.TarInfo(f"scan/{name}")
            about.size = len(raw)
            made.addfile(about, io.BytesIO(raw))
        end = made.offset
    assert _losses(archive) == ([], [])
    archive.write_bytes(archive.read_bytes()[: end - 4000])  # in the middle of the last slice
    refused, notes = _losses(archive)
    assert (len(refused), len(notes)) == (1, 1)


def _deflated(raw: bytes) -> bytes:
    ds = pydicom.dcmread(io.BytesIO(raw))
    ds.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    out = io.BytesIO()
    ds.save_as(out, enforce_file_format=True)
    return out.getvalue()


def test_deflated_slices_become_one_volume(shared_data: Path, tmp_path: Path) -> None:
    (plain,) = read(shared_data / "dicom_series" / "hitachi" / "anatomical" / "001")
    files = _hitachi(shared_data)
    for name, raw in files:
        (tmp_path / name).write_bytes(_deflated(raw))
    (found,) = read(tmp_path)
    assert np.array_equal(found.voxels, plain.voxels)
    assert found.geometry == plain.geometry
    packed = _deflated(files[-1][1])
    (tmp_path / files[-1][0]).write_bytes(packed[:500])
    refused, notes = _losses(tmp_path)
    assert (len(refused), len(notes)) == (1, 1)


def test_of_a_deflated_bomb_only_the_beginning_is_looked_at(shared_data: Path, tmp_path: Path) -> None:
    raw = _deflated(_hitachi(shared_data)[0][1])
    engine = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = engine.compress(bytes(1 << 28)) + engine.flush()
    (tmp_path / "a.dcm").write_bytes(raw[: headers.data_set_begins(raw)] + packed)
    tracemalloc.start()
    try:
        jobs = list(candidates(tmp_path))
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [job.kind for job in jobs] == ["dicom"]
    assert most < 32 << 20
