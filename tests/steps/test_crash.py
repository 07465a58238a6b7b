"""A crash at any instruction, two collectors at once, a source that fails half way: the archive is whole, nothing read twice."""

from __future__ import annotations

import io
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

from overread.steps import written
from overread.steps.collect import collect
from overread.store.archive import Archive

pytestmark = pytest.mark.timeout(170)
TRACED = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"),
    reason="system calls are traced on Linux",
)


def png(seed: int) -> bytes:
    out = io.BytesIO()
    Picture.fromarray(np.random.default_rng(seed).integers(0, 256, (24, 24), np.uint8)).save(out, "PNG")
    return out.getvalue()


def paint(folder: Path, name: str, seed: int) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(png(seed))


def content(path: Path) -> list:
    with Archive.open(path) as archive:
        archive.verify()
        studies = [(s.images, s.labels, s.strata, s.splits) for s in archive.studies()]
        return sorted(studies, key=repr) + [r.hash for r in archive.images()]


def gather(*sources: Path, into: Path, **how):
    return collect(*sources, into=into, labels_from_folders=True, progress=False, workers=how.pop("workers", 1), **how)


@pytest.fixture
def films(tmp_path):
    """Four pictures, one of them twice, one in a zip archive; a text and a hidden file."""
    folder = tmp_path / "films"
    for i in range(3):
        paint(folder, f"{'ab'[i % 2]}/{i}.png", i)
    shutil.copy(folder / "a" / "0.png", folder / "a" / "again.png")
    with zipfile.ZipFile(folder / "b" / "more.zip", "w") as archive:
        archive.writestr("x/4.png", png(4))
    (folder / "notes.txt").write_text("no image\n")
    (folder / ".hidden").write_text("x")
    return folder


# -- at any instruction -------------------------------------------------------------------------------------------


def killed_at(
    source: Path, scratch: Path, *, every: int, base: Path | str = "", few: int = 8, broken: bool = False
) -> dict:
    scratch.mkdir()
    program = Path(__file__).with_name("at_every_write.py")
    words = [str(source), str(base), str(scratch), str(every), str(few), *(["late"] if broken else [])]
    done = subprocess.run([sys.executable, str(program), *words], capture_output=True, text=True, check=False)
    if "PermissionError: [Errno 1] ptrace" in done.stderr:
        pytest.skip("this machine lets no process trace another")
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@TRACED
def test_a_kill_at_any_change_of_the_disk_leaves_a_whole_archive(films, tmp_path):
    told = killed_at(films, tmp_path / "new", every=9)
    assert told["failures"] == {}
    assert told["changes"] > 100 and told["points"] > 15


@TRACED
def test_a_kill_while_an_archive_grows_loses_nothing_of_it(films, tmp_path):
    gather(films, into=tmp_path / "base")
    paint(films, "a/new.png", 10)
    paint(films, "b/1.png", 11)  # a file that has changed
    (films / "a" / "0.png").rename(films / "a" / "moved.png")
    told = killed_at(films, tmp_path / "grown", every=9, base=tmp_path / "base", few=0)
    assert told["failures"] == {}
    assert told["points"] > 5


@TRACED
@pytest.mark.slow
@pytest.mark.parametrize("few", [0, 8])  # waiting for the disk together, and one by one
def test_a_kill_at_every_single_change(films, tmp_path, few):
    told = killed_at(films, tmp_path / "new", every=1, few=few)
    assert told["failures"] == {}
    assert told["points"] == told["changes"] > 100


@TRACED
def test_a_store_that_tells_before_it_writes_is_caught(films, tmp_path):
    """Twin: voxels that are written after they were recorded do not survive every kill."""
    assert killed_at(films, tmp_path / "late", every=7, broken=True)["failures"]


# -- two at once --------------------------------------------------------------------------------------------------

SCRIPT = (
    "import sys\nfrom overread.steps import collect as step, collecting\ncollecting._KEEP_AFTER_S = 0.0\n"
    "step.collect(*sys.argv[2:], into=sys.argv[1], labels_from_folders=True, progress=False, workers=1)\n"
)


def collector(into: Path, *sources: Path, program: str = SCRIPT) -> subprocess.Popen:
    command = [sys.executable, "-c", program, str(into), *map(str, sources)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_of_two_collectors_on_overlapping_sources_one_is_killed(tmp_path):
    """The other goes on undisturbed; after the killed one's second try, all is as if one had collected alone."""
    for i in range(90):
        paint(tmp_path / "abc"[i % 3], f"{i}.png", i // 2)  # each picture twice
    a, b, c = (tmp_path / name for name in "abc")
    first, second = collector(tmp_path / "both", a, b), collector(tmp_path / "both", b, c)
    while len(list(tmp_path.glob("both/objects/*/*.npy"))) < 8 and first.poll() is None:
        time.sleep(0.005)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    _, err = second.communicate()
    assert (second.returncode, err) == (0, "")
    gather(a, b, into=tmp_path / "both")
    gather(b, c, into=tmp_path / "both")
    gather(a, b, into=tmp_path / "one")
    gather(b, c, into=tmp_path / "one")
    assert content(tmp_path / "both") == content(tmp_path / "one")
    assert not list(tmp_path.glob("both/objects/*/.*.tmp")) or first.returncode == -signal.SIGKILL


# -- a source that fails half way ---------------------------------------------------------------------------------

DYING = """
import errno, os, sys
from overread.steps import collect as step
source, left = os.path.join(os.path.abspath(sys.argv[2]), ""), int(sys.argv[3])
opened = []
def disc(event, arguments):
    global left
    path = arguments[0] if event in ("open", "os.scandir", "os.listdir") else None
    if isinstance(path, (str, bytes)) and os.path.join(os.path.abspath(os.fsdecode(path)), "").startswith(source):
        left -= 1
        if left < 0:
            raise OSError(errno.EIO, "Input/output error")
sys.addaudithook(disc)
done = step.collect(sys.argv[2], into=sys.argv[1], labels_from_folders=True, progress=False, workers=1)
print(done.read, done.already, sum(r["code"] == "unreadable" for r in done.refused))
"""
"""A disc that gives up after so many openings of its files and folders; an audit hook stands in for the drive."""


@pytest.mark.parametrize("openings", [4, 9, 14])
def test_a_disc_that_fails_half_way_is_reported_and_can_be_resumed(tmp_path, openings):
    for i in range(8):
        paint(tmp_path / "disc" / "ab"[i % 2], f"{i}.png", i)
    process = collector(tmp_path / "a", tmp_path / "disc", str(openings), program=DYING)
    out, err = process.communicate()
    if process.returncode:  # not one file could be read
        assert "NothingToDo" in err and "can no longer be read" in err, err
        read = 0
    else:
        read, already, unreadable = map(int, out.split())
        assert already == 0
        assert read < 8 and unreadable >= 1
    done = gather(tmp_path / "disc", into=tmp_path / "a")  # the disc is back
    assert (done.read, done.already, len(done.refused)) == (8 - read, read, 0)
    gather(tmp_path / "disc", into=tmp_path / "whole")
    assert content(tmp_path / "a") == content(tmp_path / "whole")


@pytest.mark.skipif(sys.platform != "linux", reason="/proc/self/mem is a file of Linux that answers with an I/O error")
def test_a_file_whose_bytes_cannot_be_read_is_reported(tmp_path):
    """Opened without fault, and then an input/output error: what a scratched disc does."""
    paint(tmp_path / "disc", "0.png", 0)
    os.symlink("/proc/self/mem", tmp_path / "disc" / "scratched.png")
    done = gather(tmp_path / "disc", into=tmp_path / "a")
    assert done.read == 1
    assert [Path(r["file"]).name for r in done.refused] == ["scratched.png"]
    assert done.refused[0]["code"] in ("unreadable", "empty-file")


# -- nothing is read twice ----------------------------------------------------------------------------------------


def test_no_file_is_read_a_second_time(films, tmp_path, monkeypatch):
    read, read_job = [], written.read_job

    def counted(job, *more):
        read.extend(part.name for part in job.parts)
        return read_job(job, *more)

    monkeypatch.setattr(written, "read_job", counted)
    gather(films, into=tmp_path / "a")
    assert len(read) == len(set(read)) > 5
    read.clear()
    paint(films, "b/late.png", 20)
    gather(films, into=tmp_path / "a")
    gather(films, into=tmp_path / "a")
    assert [Path(name).name for name in read] == ["late.png"]


def test_names_that_are_no_utf8_are_collected_under_a_name_that_can_be_printed(tmp_path):
    folder = os.path.join(os.fsencode(tmp_path), b"gro\xdf")
    try:
        os.makedirs(folder)
        with open(os.path.join(folder, b"R\xf6ntgen.png"), "wb") as file:
            file.write(png(0))
    except OSError:
        pytest.skip("this file system takes names in UTF-8 alone")
    paint(tmp_path / "klein", "1.png", 1)
    for already in (0, 2):
        done = gather(tmp_path, into=tmp_path / "a")
        assert (done.read, done.already) == (2 - already, already)
    assert b"gro\\udcdf" in str(done).encode()
