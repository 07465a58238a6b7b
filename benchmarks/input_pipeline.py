"""Does the training wait for its images: a step fed from the mapped file against the same step on a resident batch.

Steps alternate, so that other work on the machine meets both. Memory: what the process holds of its own (anonymous
pages) while it reads every image of a file much larger than that; pages of the file belong to the system's cache.
"""

from __future__ import annotations

import sys

from benchmarks.speed import SHAPES, ask, load, spread

ROUNDS = 3
GIGABYTES = 2


def measure() -> list[dict]:
    figures = []
    for name in list(SHAPES)[:3]:
        told = [ask(sys.executable, "pipeline.py", name, GIGABYTES) for _ in range(ROUNDS)]
        figures += [
            {
                "what": f"{name}, step from the mapped file over step on a resident batch",
                "value": f"{spread([t['ratio'] for t in told], 3)} ×",
                "must": "≤ 1.05 ×",
            },
            {
                "what": f"{name}, reading a batch, ms; a step, ms",
                "value": f"{spread([t['read_ms'] for t in told])}; {spread([t['step_ms'] for t in told], 1)}",
            },
            {
                "what": f"{name}, own memory while {GIGABYTES} GB are read, growth",
                "value": f"{max(t['grown_mb'] for t in told):.0f} MB",
                "must": "< 100 MB",
            },
        ]
    return [*figures, load()]
