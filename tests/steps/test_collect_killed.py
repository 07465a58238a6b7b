"""A collector that is killed, crowded, stopped or out of disk; the same command then goes on."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from painted import content, paint, run

from overread.errors import ArchiveError
from overread.store.archive import Archive

pytestmark = pytest.mark.timeout(90)


SCRIPT = (
    "import sys\nfrom overread.steps.collect import collect\n"
    "collect(sys.argv[1], into=sys.argv[2], labels_from_folders=True, progress=False, workers=int(sys.argv[3]))\n"
)


# On a quick machine all is stored at once, in half a second: with this nothing waits, and the disk takes its time.
SLOW_DISK = (
    "import time\nfrom overread.steps import collecting\n"
    "from overread.store.objects import Here\n"
    "collecting._KEEP_AFTER_S, finish = 0, Here.finish\n"
    "def slowly(*objects):\n    time.sleep(0.01)\n    return finish(*objects)\n"
    "Here.finish = slowly\n"
)


def _collector(source: Path, into: Path, workers: int = 1, *, disk: str = "") -> subprocess.Popen:
    script = SCRIPT.replace("\n", "\n" + disk, 1)
    command = [sys.executable, "-c", script, str(source), str(into), str(workers)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    folder = tmp_path_factory.mktemp("many")
    for i in range(300):
        paint(folder / "abc"[i % 3] / f"{i}.png", seed=i // 2, side=64)
    return folder


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_is_told_in_one_line_and_the_same_command_goes_on(many, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(disk)], check=False).returncode:
        pytest.skip("this machine lets nobody mount a small disk")
    try:
        with pytest.raises(ArchiveError, match=r"^the disk of the archive is full; .* run the same command again"):
            run(many, into=disk / "a", labels_from_folders=True)
        with Archive.open(disk / "a") as archive:
            archive.verify()
            assert list(archive.objects.folder.rglob("*.npy"))
        subprocess.run(["mount", "-o", "remount,size=20m", str(disk)], check=True)
        run(many, into=disk / "a", labels_from_folders=True)
        run(many, into=tmp_path / "whole", labels_from_folders=True)
        assert content(disk / "a") == content(tmp_path / "whole")
    finally:
        subprocess.run(["umount", str(disk)], check=True)


# Tells who reads: the forks that are taken out of the list.
TELL = (
    "import sys\nfrom overread import engine\nfrom overread.engine import forked as made\n"
    "def end(crew, ended=made._end):\n    print('left', len(crew), file=sys.stderr)\n    ended(crew)\n"
    "def fork(fn, crew, workers, forked=made._fork):\n    forked(fn, crew, workers)\n"
    "    print('forked', len(crew), file=sys.stderr)\n"
    "made._end, made._fork = end, fork\n"
)


@pytest.mark.skipif(sys.platform != "linux", reason="forks are made on Linux only")
def test_forks_and_one_process_make_the_same_archive(many, tmp_path):
    _, told = _collector(many, tmp_path / "one", 1, disk=TELL).communicate()
    assert told.split() == ["left", "0"]
    _, told = _collector(many, tmp_path / "two", 2, disk=TELL).communicate()
    assert told.split() == ["forked", "2", "left", "0"]  # both were taken, and read
    assert content(tmp_path / "one") == content(tmp_path / "two")


@pytest.mark.parametrize("workers", [1, 2])
def test_killed_at_random_and_collected_again_it_is_the_same_archive(many, tmp_path, workers):
    run(many, into=tmp_path / "whole", labels_from_folders=True)
    rng = random.Random(1)
    reached = []
    for round_ in range(5):
        process = _collector(many, tmp_path / "killed", workers, disk=SLOW_DISK)
        while len(list(tmp_path.glob("killed/objects/*/*.npy"))) <= 25 * round_ and process.poll() is None:
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.05))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        with Archive.create(tmp_path / "killed") as archive:
            archive.verify()
        reached.append(len(list(tmp_path.glob("killed/objects/*/*.npy"))))
    assert 0 < reached[0] < 150  # of 150 different pictures: it was killed on the way
    run(many, into=tmp_path / "killed", labels_from_folders=True)
    assert content(tmp_path / "killed") == content(tmp_path / "whole")


def test_two_collectors_at_once_make_the_same_archive(many, tmp_path):
    run(many, into=tmp_path / "one", labels_from_folders=True)
    both = [_collector(many, tmp_path / "two", workers) for workers in (1, 2)]
    for process in both:
        _, err = process.communicate()
        assert (process.returncode, err) == (0, "")
    assert content(tmp_path / "two") == content(tmp_path / "one")


def test_ctrl_c_keeps_what_is_stored_and_says_how_to_go_on(many, tmp_path):
    process = _collector(many, tmp_path / "a", workers=2)
    while not list(tmp_path.glob("a/objects/*/*.npy")):
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate()
    if process.returncode:  # it was not faster than the signal
        (told,) = re.findall(r"^stopped: .*$", err.replace("\r", "\n"), re.MULTILINE)  # a slow machine draws a bar, too
        assert "run the same command again to go on" in told
        assert err.strip().endswith("KeyboardInterrupt")
    run(many, into=tmp_path / "a", labels_from_folders=True)
    run(many, into=tmp_path / "b", labels_from_folders=True)
    assert content(tmp_path / "a") == content(tmp_path / "b")
