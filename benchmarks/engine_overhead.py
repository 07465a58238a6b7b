"""What the engine costs on one machine: the same function, the same items, in a plain loop and in bare processes beside it.

    python -m benchmarks engine_overhead

Two questions. Does ``engine.map`` with one worker cost more than ``for item in items: fn(item)``? And does its pool cost
more than the same number of processes that are each given an equal part at once, and so need no engine at all (nor keep
the order of the answers, nor outlive a crash)? Each pair is timed in turns, as processor seconds of this process and its
children, so that other work on the machine disturbs both alike (the wall, which it does disturb, is told beside it); the
median of the ratios is told with its range.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from multiprocessing import forkserver
from pathlib import Path

from overread import engine

ROUNDS, GOAL = 5, 0.02
_BLOCK = bytes(1 << 20)


def work(megabytes: int) -> str:
    """Hash so many megabytes: about a millisecond each, no memory, nothing that another process could be in the way of."""
    digest = hashlib.sha256()
    for _ in range(megabytes):
        digest.update(_BLOCK)
    return digest.hexdigest()


def loop(items: Sequence[int]) -> list[str]:
    """The plain loop."""
    return [work(item) for item in items]


def one(items: Sequence[int]) -> list[str]:
    """The engine without processes."""
    return list(engine.map(work, items, workers=1))


def _part(items: Sequence[int], pipe) -> None:
    pipe.send([work(item) for item in items])


def bare(items: Sequence[int], *, workers: int = 2) -> list[str]:
    """Bare processes: each does an equal part."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    parts = []
    for k in range(workers):
        here, there = context.Pipe(duplex=False)
        process = context.Process(target=_part, args=(items[k::workers], there))
        process.start()
        parts.append((process, here))
    answers: list[str] = [""] * len(items)
    for k, (process, here) in enumerate(parts):
        answers[k::workers] = here.recv()
        process.join()
    return answers


def pool(items: Sequence[int], *, workers: int = 2) -> list[str]:
    """The engine's processes."""
    return list(engine.map(work, items, workers=workers))


def _seconds(do: Callable, items: Sequence[int]) -> tuple[float, float]:
    """Return wall and processor seconds, of this process and of those that have ended."""

    def used() -> float:
        both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return sum(r.ru_utime + r.ru_stime for r in both) + _of_forkserver()

    began, before = time.perf_counter(), used()
    do(items)
    return time.perf_counter() - began, used() - before


def _of_forkserver() -> float:
    """Return the processor seconds of the small process that worker processes are forks of, and of those it has buried."""
    pid = forkserver._forkserver._forkserver_pid
    if pid is None:
        return 0.0
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def ratios(first: Callable, second: Callable, items: Sequence[int], *, rounds: int = ROUNDS) -> dict[str, list[float]]:
    """Return, for each round, how much longer the second takes: {"wall": [...], "processor": [...]}, 0.01 for 1 %."""
    if first(items) != second(items):  # also a warm-up
        raise SystemExit("the two do not give the same answers")
    found: dict[str, list[float]] = {"wall": [], "processor": []}
    for k in range(rounds):
        pair = (first, second) if k % 2 == 0 else (second, first)  # who is first in a round gains nothing by it
        took = {do: _seconds(do, items) for do in pair}
        for i, what in enumerate(("wall", "processor")):
            found[what].append(took[second][i] / took[first][i] - 1)
    return found


def measure() -> list[dict[str, str]]:
    """Return both overheads as lines."""
    told = []
    for name, first, second, megabytes, items in (
        ("engine.map with one worker against a loop, items of 7 ms", loop, one, 10, 300),
        ("engine.map with one worker against a loop, items of 0.7 ms", loop, one, 1, 300),
        ("engine.map with two workers against two bare processes, a job of 2 s", bare, pool, 20, 150),
        ("the same, a job of 6 s", bare, pool, 20, 450),
    ):
        found = ratios(first, second, [megabytes] * items)
        value = "; ".join(
            f"{what} {statistics.median(v):+.2%} ({min(v):+.2%} to {max(v):+.2%})" for what, v in found.items()
        )
        told.append({"what": name, "value": value, "must": f"processor seconds ≤ +{GOAL:.0%}"})
    return told
