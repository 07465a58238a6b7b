"""Tar archives: read as the standard library reads them, and no further than is safe."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from overread.errors import UnreadableFile
from overread.formats import offer, tar
from overread.formats.door import Found, Refused, candidates, ignored, read, scan

KINDS = {"tar": bytes, "tar.gz": gzip.compress, "tar.bz2": bz2.compress, "tar.xz": lzma.compress}


def png(seed: int = 0) -> bytes:
    buffer = io.BytesIO()
    Pillow.fromarray(np.random.default_rng(seed).integers(0, 255, (16, 12), np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def packed(members: dict[str, bytes], format: int = tarfile.PAX_FORMAT, **headers: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format, pax_headers=headers) as archive:
        for name, raw in members.items():
            about = tarfile.TarInfo(name)
            about.size = len(raw)
            archive.addfile(about, io.BytesIO(raw))
    return buffer.getvalue()


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1, max_size=60)
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(PATHS, st.binary(max_size=2000), max_size=6),
    st.sampled_from([0, 1, 2]),
    st.sampled_from(list(KINDS)),
)
def test_members_are_those_the_standard_library_wrote(tmp_path_factory, members, format, kind) -> None:
    try:
        raw = packed(members, (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)[format])
    except (ValueError, UnicodeEncodeError):
        return  # a name too long for ustar
    with tarfile.open(fileobj=io.BytesIO(raw)) as archive:
        expected = [(m.name, archive.extractfile(m).read()) for m in archive.getmembers() if m.isfile()]
    path = tmp_path_factory.mktemp("tar") / f"a.{kind}"
    path.write_bytes(KINDS[kind](raw))
    size = path.stat().st_size
    with tar.opened(str(path), size) as stream:
        found = [m for m in tar.members(stream) if m.kind == "file"]
    assert [m.name.rstrip("/") for m in found] == [name for name, _ in expected]
    assert list(tar.contents(str(path), size, [(m.begin, m.size) for m in found])) == [raw for _, raw in expected]


@pytest.mark.parametrize("kind", KINDS)
def test_a_tar_reads_as_its_folder_does(tmp_path: Path, kind: str) -> None:
    members = {"./x/b.png": png(1), "x/a.png": png(2), "note.txt": b"not a picture", "x/.DS_Store": b"\0\0\0\1Bud1"}
    path = tmp_path / f"a.{kind}"
    path.write_bytes(KINDS[kind](packed(members)))
    results = list(scan(path))
    assert [r.origin.files[0].split("!")[1] for r in results if isinstance(r, Found)] == ["x/b.png", "x/a.png"]
    assert [(r.file.split("!")[1], r.code) for r in results if isinstance(r, Refused)] == [("note.txt", "not-an-image")]
    assert ignored(candidates(path)) == 1
    assert [p.name for p in tmp_path.iterdir()] == [f"a.{kind}"]


@pytest.mark.parametrize("kind", ["tar", "tar.gz"])
def test_a_dicom_series_inside_a_tar_is_one_volume(shared_data: Path, tmp_path: Path, kind: str) -> None:
    folder = shared_data / "dicom_series" / "hitachi" / "anatomical" / "001"
    files = sorted(folder.iterdir(), reverse=True)
    path = tmp_path / f"a.{kind}"
    path.write_bytes(KINDS[kind](packed({f"DICOM/{f.name}": f.read_bytes() for f in files})))
    (inside,), (outside,) = read(path), read(folder)
    assert np.array_equal(inside.voxels, outside.voxels)
    assert inside.geometry == outside.geometry


def test_hostile_members_are_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, kind in (
            ("../../evil.png", b"0"),
            ("/etc/evil.png", b"0"),
            ("pipe", b"6"),
            ("link.png", b"2"),
            ("hard", b"1"),
        ):
            about = tarfile.TarInfo(name)
            about.type, about.linkname = kind, "../bait.png"
            archive.addfile(about)
        archive.addfile(tarfile.TarInfo("folder/"), None)
        about = tarfile.TarInfo("inner.zip")
        about.size = 54
        archive.addfile(about, io.BytesIO(b"PK\x03\x04" + bytes(50)))
    (tmp_path / "a.tar").write_bytes(buffer.getvalue())
    codes = {r.file.split("!")[1]: r.code for r in scan(tmp_path / "a.tar")}
    assert codes == {
        "../../evil.png": "unsafe-name",
        "/etc/evil.png": "unsafe-name",
        "pipe": "not-an-image",
        "link.png": "not-an-image",
        "hard": "not-an-image",
        "inner.zip": "nested-archive",
    }


def test_a_bomb_is_refused_in_little_memory(tmp_path: Path) -> None:
    import tracemalloc

    body = tarfile.TarInfo("zeros.png")
    body.size = 1 << 30
    bomb = bz2.compress(body.tobuf() + bytes(1 << 26))
    (tmp_path / "a.tar.bz2").write_bytes(bomb)
    tracemalloc.start()
    (refused,) = {r.code for r in scan(tmp_path)} - {"not-an-image"}
    assert refused in ("too-large", "truncated")
    assert tracemalloc.get_traced_memory()[1] < 64 << 20
    tracemalloc.stop()


def test_headers_that_lie_about_their_length_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    huge = tarfile.TarInfo("x")
    huge.size, huge.type = 8 << 30, b"x"
    (tmp_path / "pax.tar").write_bytes(huge.tobuf(format=tarfile.GNU_FORMAT) + bytes(1024))
    (tmp_path / "half.tar").write_bytes(packed({"a.png": png()})[:700])
    (tmp_path / "empty.tar").write_bytes(packed({}).ljust(10240, b"\0"))
    broken = bytearray(packed({"a.png": png(), "b.png": png(1)}))
    broken[1024 + 600 : 1024 + 1100] = b"?" * 500
    (tmp_path / "broken.tar").write_bytes(broken)
    codes = {Path(r.file).name.split("!")[0]: r.code for r in scan(tmp_path) if isinstance(r, Refused)}
    assert codes["pax.tar"] == "malformed"
    assert codes["half.tar"] == "truncated"
    assert codes["broken.tar"] == "malformed"
    assert codes["empty.tar"] == "not-an-image"  # nothing but zeros says nothing
    monkeypatch.setattr(tar, "MOST_MEMBERS", 3)
    (tmp_path / "many.tar").write_bytes(packed({f"{i}.txt": b"a" for i in range(9)}))
    assert "too-large" in {r.code for r in scan(tmp_path / "many.tar")}
    monkeypatch.setattr(offer, "LARGEST_FILE", 100)
    (tmp_path / "a.tar").write_bytes(packed({"a.png": png()}))
    assert {r.code for r in scan(tmp_path / "a.tar")} == {"too-large"}


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60), st.integers(0, 2500), st.sampled_from(list(KINDS)))
def test_damage_is_refused_and_never_a_crash(tmp_path_factory, noise: bytes, at: int, kind: str) -> None:
    raw = bytearray(KINDS[kind](packed({"a.png": png(), "b.png": png(1)}, comment="x" * 50)))
    raw[at : at + len(noise)] = noise
    path = tmp_path_factory.mktemp("tar") / "a.tar"
    path.write_bytes(raw)
    assert all(isinstance(r, (Found, Refused)) for r in scan(path))


def test_a_packed_file_that_is_no_tar_is_told_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "a.xz").write_bytes(lzma.compress(png()))
    (tmp_path / "b.bz2").write_bytes(bz2.compress(png()))
    (tmp_path / "c.gz").write_bytes(gzip.compress(png()))
    (tmp_path / "d.gz").write_bytes(gzip.compress(packed({"a.png": png()}))[:60])
    codes = {Path(r.file).name: r.code for r in scan(tmp_path)}
    assert codes["a.xz"] == codes["c.gz"] == "unsupported-format"
    assert set(codes.values()) <= {"unsupported-format", "not-an-image", "malformed", "truncated"}


def test_the_sum_of_a_header_is_what_makes_it_a_tar() -> None:
    block = bytearray(packed({"a": b""})[:512])
    assert tar.is_tar(bytes(block))
    block[0] ^= 1
    assert not tar.is_tar(bytes(block))
    with pytest.raises(UnreadableFile):
        tar._pax(b"999999999999 path=a\n")
