"""What there is to compute with: cores, memory, and graphics processors, as this process may use them."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from overread import engine

LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""Where a container's share of the memory stands (control groups, version 2 and 1)."""

PATIENCE_S = 10
"""A driver that hangs does not keep a plan waiting."""


def machine(limits: tuple[Path, ...] = LIMITS) -> dict[str, Any]:
    """Return cores that this process may use, memory in GB, and the graphics processors that the driver names.

    Training takes what graphics processors TensorFlow finds; no choice of a plan depends on them.

    Parameters
    ----------
    limits : tuple of Path

    Returns
    -------
    dict
        ``cores``; where they are known ``memory_gb`` (the container's limit where that is less than the machine's);
        where there are any ``gpus``, one text each: name, memory, compute capability.

    Examples
    --------
    >>> machine()["cores"] >= 1
    True
    """
    memory, cards = _memory(limits), _cards()
    return {
        "cores": engine.cores(),
        **({"memory_gb": round(memory / 1e9, 1)} if memory else {}),
        **({"gpus": cards} if cards else {}),
    }


def _memory(limits: tuple[Path, ...]) -> int | None:
    """Bytes that this process may use: the machine's, or its container's share."""
    found = []
    try:
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        pass  # not a Unix: only a limit could be told
    for limit in limits:
        try:
            found.append(int(limit.read_text()))
        except (OSError, ValueError):
            continue  # no such file, or "max": no limit
    return min(found, default=None)


def _cards() -> list[str]:
    """NVIDIA's own tool, where there is one; a driver that does not answer is none."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    asked = [tool, "--query-gpu=name,memory.total,compute_cap", "--format=csv,noheader"]
    try:
        done = subprocess.run(asked, capture_output=True, text=True, timeout=PATIENCE_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    rows = csv.reader(done.stdout.splitlines(), skipinitialspace=True)
    return [f"{name}, {memory}, compute capability {able}" for name, memory, able in (r for r in rows if len(r) == 3)]
