"""What the benchmarks of speed share: the default networks as files, and children that are timed in turn."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

SHAPES = {
    "pictures 28²": ((1, 28, 28), 1),
    "pictures 96²": ((1, 224, 224), 3),
    "volumes 28³": ((28, 28, 28), 1),
    "volumes 48³": ((64, 64, 64), 1),
}
"""What a cohort's images look like (slices, rows, columns) and their channels: the default plan is drawn up from it."""

PACKAGES = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO", "ai_edge_litert": "LiteRT", "torch": "PyTorch"}


def peers_of(words: Sequence[str], name: str) -> tuple[Path | None, dict[str, bool]]:
    """Return the Python of the peers' environment (`--peers FOLDER`), and which packages it has."""
    options = argparse.ArgumentParser(prog=f"python -m benchmarks {name}")
    options.add_argument("--peers", type=Path, help="a virtual environment with " + ", ".join(PACKAGES))
    folder = options.parse_args(words).peers
    python = folder.absolute() / "bin" / "python" if folder else None  # not resolved: a link is how it knows its home
    if python is None or not python.exists():
        return None, dict.fromkeys(PACKAGES, False)
    ask = "import importlib.util as u, sys; print(*(int(u.find_spec(n) is not None) for n in sys.argv[1:]))"
    told = subprocess.run([python, "-c", ask, *PACKAGES], capture_output=True, text=True, check=True).stdout.split()
    return python, {name: bool(int(t)) for name, t in zip(PACKAGES, told, strict=True)}


def absent(have: dict[str, bool], names: Sequence[str]) -> list[dict]:
    """Say plainly who is not here."""
    gone = [PACKAGES[n] for n in names if not have[n]]
    return [{"what": "not measured, as not installed (--peers FOLDER)", "value": ", ".join(gone)}] if gone else []


def ask(python: Path | str, script: str, *words: object, threads: int = CORES) -> dict:
    """Run one child, which computes on so many threads, and return what it measured."""
    command = [str(python), str(HERE / script), *map(str, words)]
    names = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
    env = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **dict.fromkeys(names, str(threads))}
    told = subprocess.run(command, capture_output=True, text=True, env=env)
    if told.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {told.returncode}:\n{told.stderr[-2000:]}")
    return json.loads(told.stdout.strip().splitlines()[-1])


def graphs(into: Path) -> None:
    """Write the default networks with weights of chance: as a run's graph, and for LiteRT where its converter can."""
    subprocess.run([sys.executable, HERE / "graphs.py", into], check=True, capture_output=True)


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def spread(values: Sequence[float], digits: int = 2) -> str:
    """A median with the smallest and the largest of the rounds."""
    return f"{median(values):.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def load() -> dict:
    """How busy the machine was: a figure taken beside other work is worth less."""
    return {"what": "processes that wanted a core (last minute), cores", "value": f"{os.getloadavg()[0]:.1f}, {CORES}"}
