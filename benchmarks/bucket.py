"""What an archive in a bucket costs beside one in a folder: collecting, and `evaluate --on`, cold and warm, near and far.

The bucket is a real S3 server on this machine (moto), with a line before it that answers so many milliseconds late.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from unittest import mock

sys.path[:0] = [str(Path(__file__).parents[1] / "tests"), str(Path(__file__).parents[1] / "tests" / "steps")]

NOW = datetime(2026, 3, 4, 5, 6, tzinfo=UTC)
PICTURES = 250  # fewer than are looked at in several processes
ROUNDS = 3
LATE_MS = (0, 20)


def measure() -> list[dict[str, Any]]:
    """Return wall and processor seconds, and requests, by what was done: in a folder, and in a bucket near and 20 ms away."""
    found = []
    with tempfile.TemporaryDirectory() as made, mock.patch.dict(os.environ):
        home = Path(made)
        run, films = _made(home, PICTURES)
        os.environ |= {"OVERREAD_HOME": str(home / "half"), "OVERREAD_CACHE": str(home / "cache")}
        rounds: dict[tuple[str, str], list[tuple[float, float, int]]] = {}
        with _services() as (asked, late):
            for number in range(ROUNDS):
                for where in ("folder", *LATE_MS):
                    late.value = 0 if where == "folder" else where
                    place = str(home / f"folder{number}") if where == "folder" else f"s3://archives/{where}-{number}"
                    name = where if where == "folder" else f"bucket, {where} ms"
                    for what, took in _walk(run, films, place, home / "cache", asked):
                        rounds.setdefault((name, what), []).append(took)
        for (name, what), took in rounds.items():
            wall, processor, requests = (min(column) for column in zip(*took, strict=True))
            told = f"{wall:.2f} s, {processor:.2f} s of processor, {requests} requests (best of {len(took)})"
            found.append({"what": f"{PICTURES} films of 224 × 224, {name}: {what}", "value": told})
    return found


@contextmanager
def _services() -> Iterator[tuple[Any, Any]]:
    """Start a server in a process of its own, as it would be; give the count of its requests, and how late it answers."""
    from bucket import KEYS

    how = multiprocessing.get_context("spawn")
    (ours, theirs), asked, late = how.Pipe(), how.Value("l", 0), how.Value("l", 0)
    process = how.Process(target=_serve, args=(theirs, asked, late), daemon=True)
    process.start()
    os.environ |= KEYS | {"AWS_ENDPOINT_URL": ours.recv(), "AWS_REGION": "us-east-1"}
    from overread.sources import s3

    s3.client().create_bucket(Bucket="archives")
    try:
        yield asked, late
    finally:
        process.terminate()
        process.join()


def _serve(told: Connection, asked: Any, late: Any) -> None:
    from bucket import Service

    service = Service()

    def wait(path: str) -> str:
        with asked.get_lock():
            asked.value += 1
        time.sleep(late.value / 1000)
        return ""

    service.spoil = wait
    told.send(service.address)
    time.sleep(24 * 3600)


def _made(home: Path, many: int) -> tuple[Path, Path]:
    """Return a small run, and a folder of pictures that it has not seen."""
    from PIL import Image as Picture
    from small_run import fill, small_run, spots

    pictures, there = spots(160, seed=1)
    with fill(home / "archive", pictures, [{"spot": bool(t)} for t in there]) as archive:
        run = small_run(home, archive, "spot")
    for i, (picture, spot) in enumerate(zip(*spots(many, seed=2), strict=True)):
        file = home / "films" / ("spot" if spot else "none") / f"p{i // 4}_{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Picture.fromarray(picture).resize((224, 224)).save(file)
    return run, home / "films"


def _walk(
    run: Path, films: Path, place: str, cache: Path, asked: Any
) -> Iterator[tuple[str, tuple[float, float, int]]]:
    """Yield what it takes to collect, and to measure a run on what was collected, the first time and the second."""
    from overread.steps.collect import collect
    from overread.steps.evaluate import evaluate

    def evaluated() -> None:
        copy = Path(shutil.copytree(run, run.with_name("copy")))
        evaluate(copy, on=place, now=NOW)
        shutil.rmtree(copy)

    how = {"labels_from_folders": True, "patient": r"p(\d+)_", "progress": False, "workers": 1}
    yield "collect", _took(lambda: collect(films, into=place, **how), asked)
    shutil.rmtree(cache, ignore_errors=True)
    yield "evaluate --on, first", _took(evaluated, asked)
    yield "evaluate --on, again", _took(evaluated, asked)


def _took(do: Callable[[], object], asked: Any) -> tuple[float, float, int]:
    """Return wall seconds, processor seconds of this process, and requests."""
    wall, processor, before = time.perf_counter(), time.process_time(), asked.value
    do()
    return time.perf_counter() - wall, time.process_time() - processor, asked.value - before
