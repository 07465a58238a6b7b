"""A training step of the default networks against the same network in plain PyTorch, in turn.

`python -m benchmarks training_speed [--peers FOLDER]`: FOLDER is a virtual environment with torch (channels last, best of
fp32 and bfloat16). Both see one resident batch, without augmentation: network, loss, slopes, AdamW with clipping.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.speed import CORES, SHAPES, absent, ask, load, median, peers_of, spread

ROUNDS, SECONDS = 3, 2.5


def measure(words: Sequence[str] = ()) -> list[dict]:
    python, have = peers_of(words, "training_speed")
    figures = absent(have, ["torch"])
    for name in list(SHAPES)[:3]:
        for threads, clock in ((1, "work"), (CORES, "clock")):
            rows = _rounds(name, python if have["torch"] else None, threads, clock)
            unit = "images a second of processor time, one thread" if threads == 1 else f"images/s, {threads} threads"
            told = ", ".join(f"{how} {spread(v, 0)}" for how, v in rows.items())
            figures.append({"what": f"{name}, {unit}", "value": told})
            if have["torch"]:
                best = max(("float32", "bfloat16"), key=lambda how: median(rows[how]))
                for ours in ("overread", "overread bfloat16"):
                    ratios = [a / b for a, b in zip(rows[ours], rows[best])]
                    what = f"{name}, {ours} against PyTorch {best}"
                    figures.append({"what": what, "value": f"{spread(ratios)} ×", "must": "≥ 1.0 ×"})
    return [*figures, load()]


def _rounds(name: str, python: Path | None, threads: int, clock: str) -> dict[str, list[float]]:
    """Images a second of each way, round by round."""
    ways = {
        "overread": (sys.executable, "step_overread.py", "bare"),
        "overread bfloat16": (sys.executable, "step_overread.py", "bfloat16"),
        "with augmentation": (sys.executable, "step_overread.py", "whole"),
    }
    if python is not None:
        ways |= {how: (python, "step_torch.py", how) for how in ("float32", "bfloat16")}
    rows: dict[str, list[float]] = {how: [] for how in ways}
    weights = set()
    for _ in range(ROUNDS):
        for how, (program, script, word) in ways.items():
            told = ask(program, script, name, SECONDS, word, threads=threads)
            rows[how].append(told[clock])
            weights.add(told["weights"])
    if len(weights) != 1:
        raise RuntimeError(f"these are not the same network: {sorted(weights)} weights")
    return rows
