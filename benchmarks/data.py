"""Where the real images lie, and how a step is run as a person runs it: as a command, watched from outside."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@dataclass(frozen=True)
class Ran:
    """One command: how long, how much memory (the sum over its processes, in GB), and what it printed."""

    seconds: float
    gigabytes: float
    stdout: str
    stderr: str


def overread(*words: object) -> Ran:
    """Run an overread command; fail loudly when it does."""
    command = [sys.executable, "-m", "overread.cli", *map(str, words)]
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    peak, done = [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.2):
            peak[0] = max(peak[0], sum(map(_resident, _family(process.pid))))

    watcher = threading.Thread(target=watch)
    watcher.start()
    out, err = process.communicate()
    done.set()
    watcher.join()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}:\n{err}")
    return Ran(time.perf_counter() - began, peak[0] / 1e9, out, err)


def _resident(pid: int) -> float:
    """Memory of one process that is its own (anonymous pages; what is mapped from files is the system's cache)."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(1024.0 * int(line.split()[1]) for line in lines if line.startswith(("RssAnon", "RssShmem", "RssFile")))


def _family(pid: int) -> list[int]:
    found = [pid]
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            for child in Path(f"/proc/{pid}/task/{task}/children").read_text().split():
                found += _family(int(child))
    except OSError:
        return found
    return found


def told(estimate: dict) -> str:
    """An estimate in a line."""
    if estimate.get("value") is None:
        return estimate.get("method", "not defined")
    return f"{estimate['value']:.3f} ({estimate['low']:.3f}–{estimate['high']:.3f}, n = {estimate['n']})"
