"""How long `overread predict RUN one.dcm` takes, from the start of the process: to the answer, and to the last draft object.

`python -m benchmarks cold_predict [--run RUN --film FILE]`; without them a run is trained on simulated films first (a minute).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.data import overread
from benchmarks.speed import load, median, spread

ROUNDS = 11


def measure(words: Sequence[str] = ()) -> list[dict]:
    options = argparse.ArgumentParser(prog="python -m benchmarks cold_predict")
    options.add_argument("--run", type=Path, help="a finished run")
    options.add_argument("--film", type=Path, help="one DICOM file")
    given = options.parse_args(words)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        run, film = (given.run, given.film) if given.run and given.film else _made(home)
        return [
            *_figures("answer and draft objects", run, film, home),
            *_figures("answer only", run, film, home, "--no-dicom"),
            load(),
        ]


def _made(home: Path) -> tuple[Path, Path]:
    """A run of the default network on simulated films, and one film."""
    overread("phantom", "--out", home / "films", "--patients", 120, "--quiet")
    labels = home / "films" / "labels.csv"
    overread("collect", home / "films" / "images", "--labels", labels, "--into", home / "archive", "--quiet")
    overread("train", home / "archive", "--label", "nodule", "--budget", "20s", "--out", home / "run", "--quiet")
    return home / "run", min((home / "films" / "images").glob("*.dcm"))


def _figures(what: str, run: Path, film: Path, home: Path, *more: str) -> list[dict]:
    answered, ended, worked = [], [], []
    for k in range(ROUNDS + 1):
        out = home / f"out-{what.replace(' ', '-')}-{k}"
        command = [sys.executable, "-m", "overread.cli", "predict", run, film, "--out", out, "--quiet", *more]
        began, clock = time.time(), time.perf_counter()
        process = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"predict ended with {process.returncode}")
        ended.append(time.perf_counter() - clock)
        answered.append((out / "predictions.csv").stat().st_mtime - began)
        worked.append(used.ru_utime + used.ru_stime)
    ended, answered, worked = ended[1:], answered[1:], worked[1:]  # the first fills the system's cache of files
    rounds = f"median of {ROUNDS} (least–most)"
    return [
        {
            "what": f"{what}: predictions.csv stands after, {rounds}",
            "value": f"{spread(answered)} s",
            "must": "< 1.5 s",
        },
        {"what": f"{what}: the process has ended after", "value": f"{spread(ended)} s", "must": "< 1.5 s"},
        {
            "what": f"{what}: processor time, which other work on the machine delays but does not add to",
            "value": f"{median(worked):.2f} s",
        },
    ]
