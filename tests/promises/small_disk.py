"""A disk that is really full: a small one in memory, mounted for a test."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

BLOCK = 4096


@contextlib.contextmanager
def small_disk(place: Path, *, size: int | str) -> Iterator[Callable[[int | str], object]]:
    """A disk of ``size`` bytes; the function it yields changes the size while it is in use. Mounting needs root."""
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
    if not hasattr(os, "geteuid") or os.geteuid() != 0 or subprocess.run(command, check=False).returncode:
        pytest.skip("this machine does not let us mount a small disk")
    try:
        yield lambda more: subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"remount,size={more}", "tmpfs", str(place)], check=True
        )
    finally:
        subprocess.run(["umount", str(place)], check=True)


def used(disk: Path) -> int:
    """Bytes that are taken on a disk."""
    about = os.statvfs(disk)
    return (about.f_blocks - about.f_bfree) * about.f_frsize
