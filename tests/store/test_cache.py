"""What was fetched stays within its room, also where several processes fetch; what was used longest ago goes first."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from overread.errors import ArchiveError
from overread.store import cache
from overread.store.cache import Cache


def kept(folder) -> dict[str, int]:
    return {f.name: f.stat().st_size for f in folder.rglob("*") if f.is_file() and f.name != ".lock"}


def test_what_was_used_longest_ago_goes_first(tmp_path):
    held = Cache(tmp_path, room=1000)
    for i in range(9):
        held.keep(f"{i}", bytes(100))
        os.utime(tmp_path / f"{i}", (time.time() - 1000 + i,) * 2)
    assert held.find("0", 100) is not None  # used again just now
    held.keep("9", bytes(100))
    held.keep("10", bytes(100))
    assert set(kept(tmp_path)) == {"0", *map(str, range(3, 11))}  # a tenth of the room is free again


def test_half_a_file_and_a_larger_one_are_not_taken_for_it(tmp_path):
    held = Cache(tmp_path, room=1000)
    held.keep("a", bytes(100))
    assert held.find("a", 100) is not None and held.find("a", 99) is None and held.find("b", 0) is None


def test_what_is_larger_than_the_room_is_not_kept(tmp_path):
    held = Cache(tmp_path, room=1000)
    held.keep("small", bytes(10))
    held.keep("large", bytes(1001))
    assert set(kept(tmp_path)) == {"small"}
    Cache(tmp_path / "none", room=0).keep("a", b"x")
    assert not (tmp_path / "none").exists()


def test_a_disk_that_takes_nothing_stops_nobody(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    Cache(tmp_path / "file", room=1000).keep("a", b"x")  # no folder can be made there
    assert Cache(tmp_path / "file", room=1000).find("a", 1) is None


def test_nobody_else_may_read_it(tmp_path):
    Cache(tmp_path, room=1000).keep("ab/cd", bytes(10))
    assert (tmp_path / "ab" / "cd").stat().st_mode & 0o077 == 0 and (tmp_path / "ab").stat().st_mode & 0o077 == 0


FILL = """
import sys
from pathlib import Path
from overread.store.cache import Cache
held = Cache(Path(sys.argv[1]), room=100_000)
for i in range(300):
    held.keep(f"{i % 7}/{sys.argv[2]}-{i}", bytes(1000))
"""


def test_several_processes_stay_within_the_room(tmp_path):
    several = [subprocess.Popen([sys.executable, "-c", FILL, str(tmp_path), str(n)]) for n in range(3)]
    assert [process.wait() for process in several] == [0, 0, 0]
    assert 50_000 < sum(kept(tmp_path).values()) <= 100_000 * (1 + 3 / 32) + 3000


@pytest.mark.parametrize("said", ["plenty", "-1", "nan", "inf"])
def test_a_room_that_is_no_number_is_refused(monkeypatch, said):
    monkeypatch.setenv(cache.ROOM, said)
    with pytest.raises(ArchiveError, match="OVERREAD_CACHE_GB"):
        cache.room()


def test_the_room_is_what_was_said(monkeypatch, tmp_path):
    monkeypatch.setenv(cache.ROOM, "1.5")
    monkeypatch.setenv(cache.FOLDER, str(tmp_path))
    assert cache.room() == 1_500_000_000 and cache.place() == tmp_path
    monkeypatch.delenv(cache.ROOM)
    assert cache.room() == cache.USUAL_GB * 10**9
