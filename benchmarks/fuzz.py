"""A hundred thousand hostile inputs: none may crash the door, hang it, fill the memory, or write outside the archive.

``python -m benchmarks fuzz --inputs 100000 --seed 0`` goes on where it was stopped (``bench-out/fuzz-SEED-CODE.jsonl``);
``python -m benchmarks fuzz --only 1234 --seed 0`` writes one input to the present folder and offers it alone.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.fuzzing.guard import MEMORY_BOUND

ROOT = Path(__file__).resolve().parents[1]
OUT = Path("bench-out")
CPU_BOUND_S, WALL_BOUND_S = 30, 240
"""Seconds of processor time, and of a clock on the wall, after which an input counts as a hang."""
BLOCK = 500
_SILENT_S = 120  # a process that has not said that it is ready by then is broken


@dataclass
class Tally:
    """What came of some inputs: it can be added up, and written as JSON."""

    inputs: int = 0
    seconds: float = 0.0
    outcomes: Counter = field(default_factory=Counter)
    kinds: Counter = field(default_factory=Counter)
    routes: Counter = field(default_factory=Counter)
    slowest: tuple[float, int] = (0.0, -1)
    largest: tuple[float, int] = (0.0, -1)
    defects: list[tuple[int, str]] = field(default_factory=list)

    def count(self, answer: dict) -> None:
        """Take in what the reading process said of one input."""
        self.inputs += 1
        self.seconds += answer["seconds"]
        self.outcomes[answer["outcome"]] += 1
        self.kinds[f"{answer['kind']}: {_short(answer['outcome'])}"] += 1
        self.routes[answer["route"]] += 1
        self.slowest = max(self.slowest, (answer["cpu"], answer["number"]))
        self.largest = max(self.largest, (answer["mib"], answer["number"]))
        self.defects += [(answer["number"], defect) for defect in answer["defects"]]

    def lost(self, number: int, why: str) -> None:
        """Take in an input that its process did not survive."""
        self.inputs += 1
        self.outcomes["defect"] += 1
        self.defects.append((number, why))

    def add(self, other: Tally) -> None:
        """Add what came of other inputs."""
        self.inputs, self.seconds = self.inputs + other.inputs, self.seconds + other.seconds
        for name in ("outcomes", "kinds", "routes"):
            getattr(self, name).update(getattr(other, name))
        self.slowest, self.largest = max(self.slowest, other.slowest), max(self.largest, other.largest)
        self.defects += other.defects

    @classmethod
    def of(cls, said: dict) -> Tally:
        """Read back what ``__dict__`` was written as."""
        pairs = {name: Counter(said[name]) for name in ("outcomes", "kinds", "routes")}
        ends = {name: tuple(said[name]) for name in ("slowest", "largest")}
        return cls(**{**said, **pairs, **ends, "defects": [tuple(d) for d in said["defects"]]})


def _short(outcome: str) -> str:
    return "refused" if outcome.startswith("refused") else outcome


def run(
    start: int,
    stop: int,
    *,
    seed: int,
    small: bool = False,
    plant: str = "",
    cpu_s: float = CPU_BOUND_S,
    wall_s: float = WALL_BOUND_S,
) -> Tally:
    """Offer the inputs ``start`` to ``stop`` - 1; a process that dies or hangs is one defect, and the next one goes on."""
    tally, at, more = Tally(), start, [*(["small"] if small else []), *([plant] if plant else [])]
    while at < stop:
        with _Child(at, stop, seed=seed, more=more) as child:
            for answer in child.answers(cpu_s=cpu_s, wall_s=wall_s):
                if "number" in answer:
                    tally.count(answer)
                    at = answer["number"] + 1
            if at < stop:
                tally.lost(at, child.why)
                at += 1
    return tally


class _Child:
    """One reading process, in a scratch folder of its own."""

    def __init__(self, start: int, stop: int, *, seed: int, more: list[str]) -> None:
        self.scratch = Path(tempfile.mkdtemp(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
        self.errors = (self.scratch.with_name(self.scratch.name + ".err")).open("w+b")
        words = [str(self.scratch), str(seed), str(start), str(stop), *more]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.fuzzing.child", *words],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=self.errors, start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )  # fmt: skip
        self.why = ""

    def __enter__(self) -> _Child:
        return self

    def __exit__(self, *_: object) -> None:
        self._kill()
        self.process.stdout.close()
        self.errors.close()
        Path(self.errors.name).unlink()
        shutil.rmtree(self.scratch, ignore_errors=True)

    def _kill(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def answers(self, *, cpu_s: float, wall_s: float) -> Iterator[dict]:
        """Yield what the process says, until it has done all, died, or used up its time on one input."""
        rest, began, used, ready = b"", time.monotonic(), 0.0, False
        while True:
            if not select.select([self.process.stdout], [], [], 0.5)[0]:
                wall, cpu = time.monotonic() - began, _cpu_seconds(self.process.pid) - used
                if wall > (wall_s if ready else _SILENT_S) or (ready and cpu > cpu_s):
                    self._kill()
                    self.why = f"a hang: no answer after {cpu:.0f} s of processor time, {wall:.0f} s in all"
                    return
                continue
            part = os.read(self.process.stdout.fileno(), 1 << 16)
            if not part:
                self._ended()
                if not ready:
                    raise RuntimeError(f"the reading process did not start: {self.why}")
                return
            *lines, rest = (rest + part).split(b"\n")
            for line in lines:
                yield (answer := json.loads(line))
                ready = ready or "ready" in answer
            began, used = time.monotonic(), _cpu_seconds(self.process.pid)

    def _ended(self) -> None:
        self.process.wait()
        code = self.process.returncode
        self.errors.seek(max(0, self.errors.tell() - 3000))
        name = signal.Signals(-code).name if code < 0 else f"exit {code}"
        self.why = f"a crash: {name}\n" + self.errors.read().decode("utf-8", "replace")


def _cpu_seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except OSError:
        return 0.0


# -- many, in slices ----------------------------------------------------------------------------------------------


def code() -> str:
    """Return a fingerprint of the product and of this run's own code: blocks of other code are not counted."""
    files = sorted([*(ROOT / "src/overread").rglob("*.py"), *(ROOT / "benchmarks/fuzzing").glob("*.py")])
    return hashlib.sha256(b"".join(f.read_bytes() for f in files)).hexdigest()[:12]


def fuzz(
    inputs: int, *, seed: int, workers: int = 1, minutes: float = 1e9, book: Path, tell: Callable[[str], object] = print
) -> Tally:
    """Offer ``inputs`` hostile inputs in blocks; blocks that ``book`` knows already are not done again."""
    done: dict[int, Tally] = {}
    if book.exists():
        for line in book.read_text().splitlines():
            said = json.loads(line)
            done[said["start"]] = Tally.of(said["tally"])
    todo = [start for start in range(0, inputs, BLOCK) if start not in done]
    end, lock = time.monotonic() + 60 * minutes, threading.Lock()

    def work() -> None:
        while time.monotonic() < end:
            with lock:
                if not todo:
                    return
                start = todo.pop(0)
            tally = run(start, min(inputs, start + BLOCK), seed=seed)
            with lock:
                done[start] = tally
                with book.open("a") as file:
                    file.write(json.dumps({"start": start, "tally": tally.__dict__}) + "\n")
                tell(f"   {len(done) * BLOCK:,} inputs, {sum(len(t.defects) for t in done.values())} defects")

    crew = [threading.Thread(target=work) for _ in range(workers)]
    for one in crew:
        one.start()
    for one in crew:
        one.join()
    total = Tally()
    for start in sorted(done):
        total.add(done[start])
    return total


def figures(total: Tally, *, seed: int) -> list[dict]:
    """Say what came of it, a line a figure."""
    how = {name: sum(why.startswith(f"a {name}") for _, why in total.defects) for name in ("crash", "hang")}
    outside = sum("outside the archive" in why for _, why in total.defects)
    return [
        {"what": f"inputs (seed {seed}, code {code()})", "value": f"{total.inputs:,}"},
        {"what": "crashes, hangs", "value": f"{how['crash']}, {how['hang']}", "must": "0, 0"},
        {"what": "files written outside the archive", "value": f"{outside}", "must": "0"},
        {"what": "other defects", "value": f"{len(total.defects) - outside - sum(how.values())}", "must": "0"},
        {"what": "slowest, processor seconds (input)", "value": f"{total.slowest[0]:.1f} ({total.slowest[1]})", "must": f"≤ {CPU_BOUND_S}"},
        {"what": "largest memory, MiB (input)", "value": f"{total.largest[0]:,.0f} ({total.largest[1]})", "must": f"≤ {MEMORY_BOUND >> 20}"},
        {"what": "inputs a second", "value": round(total.inputs / max(total.seconds, 1e-9))},
        *({"what": f"   {name}", "value": f"{n:,}"} for name, n in total.outcomes.most_common()),
        *({"what": f"   {name}", "value": f"{n:,}"} for name, n in sorted(total.kinds.items())),
        *({"what": f"   by {name}", "value": f"{n:,}"} for name, n in total.routes.most_common()),
        *({"what": f"DEFECT in input {number}", "value": why} for number, why in total.defects[:40]),
    ]  # fmt: skip


def only(number: int, *, seed: int) -> list[dict]:
    """Write one input here, and offer it alone."""
    from benchmarks.fuzzing.mutate import hostile
    from benchmarks.fuzzing.seeds import seeds

    item = hostile(number, seed=seed, seeds=seeds())
    there = Path(f"input-{seed}-{number}{Path(item.name).suffix}")
    there.write_bytes(item.raw)
    print(f"   {there}: {len(item.raw):,} bytes, from {item.kind} by {item.change}, named {item.name!r}")
    return figures(run(number, number + 1, seed=seed), seed=seed)


def measure(words: list[str] | None = None) -> list[dict]:
    """Run what is asked for, and return the figures; without a word, a short run."""
    asked = argparse.ArgumentParser(prog="python -m benchmarks fuzz", description=__doc__)
    asked.add_argument("--inputs", type=int, default=5_000)
    asked.add_argument("--seed", type=int, default=0)
    asked.add_argument("--workers", type=int, default=1)
    asked.add_argument("--minutes", type=float, default=1e9, help="begin no further block after this long")
    asked.add_argument("--only", type=int, help="this one input")
    given = asked.parse_args(words or [])
    if given.only is not None:
        return only(given.only, seed=given.seed)
    OUT.mkdir(exist_ok=True)
    book = OUT / f"fuzz-{given.seed}-{code()}.jsonl"
    return figures(
        fuzz(given.inputs, seed=given.seed, workers=given.workers, minutes=given.minutes, book=book), seed=given.seed
    )
