"""An exported run against ONNX Runtime as it comes, OpenVINO and LiteRT: the same graph, the same threads, in turn.

`python -m benchmarks inference_speed [--peers FOLDER]`: FOLDER is a virtual environment that holds the engines.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.speed import CORES, SHAPES, absent, ask, graphs, load, median, peers_of, spread

ROUNDS, SECONDS = 3, 0.7
ENGINES = {
    "onnxruntime": "onnxruntime",
    "openvino": "openvino",
    "openvino_streams": "openvino",
    "litert": "ai_edge_litert",
}
KEYS = {"clock": "by the clock", "work": "processor time"}
"""By the clock where the machine is quiet; other work delays that, and adds little to the processor's time."""

WAYS = {"one image, one thread": (1, 1), f"64 images, {CORES} threads": (CORES, 64)}


def measure(words: Sequence[str] = ()) -> list[dict]:
    python, have = peers_of(words, "inference_speed")
    figures = absent(have, sorted(set(ENGINES.values())))
    with tempfile.TemporaryDirectory() as folder:
        graphs(Path(folder))
        for name in SHAPES:
            file = Path(folder) / f"{name.replace(' ', '-')}.onnx"
            peers = [e for e, package in ENGINES.items() if have[package]]
            if not file.with_suffix(".tflite").exists() and "litert" in peers:
                peers.remove("litert")
                figures.append({"what": f"{name}, LiteRT", "value": "its converter has no mean pooling of volumes"})
            for way, (threads, images) in WAYS.items():
                asked = [e for e in peers if images > 1 or e != "openvino_streams"]
                rows = _rounds(file, python, asked, threads, images)
                figures += [_line(f"{name}, {way}, {of}", rows, key) for key, of in KEYS.items()]
    return [*figures, load()]


def _rounds(file: Path, python: Path | None, peers: list[str], threads: int, images: int) -> dict[str, list[dict]]:
    """What each engine took, round by round."""
    rows: dict[str, list[dict]] = {e: [] for e in ("overread", *peers)}
    for _ in range(ROUNDS):
        for engine in rows:
            program = sys.executable if engine == "overread" else python
            rows[engine].append(ask(program, "engine.py", engine, file, threads, images, SECONDS))
    return rows


def _line(what: str, rows: dict[str, list[dict]], key: str) -> dict:
    """Ours, each peer's time over ours round by round, and the fastest peer's."""
    ours, *peers = rows
    taken = {engine: [told[key] for told in rows[engine]] for engine in rows}
    parts = [f"{median(taken[ours]):.2f} ms an image"]
    ratios = {e: [t / o for t, o in zip(taken[e], taken[ours])] for e in peers}
    parts += [f"{e} {spread(ratios[e])} ×" for e in peers]
    if peers:
        best = min(peers, key=lambda e: median(taken[e]))
        parts.append(f"against the fastest, {best}: {median(ratios[best]):.2f} ×")
    return {"what": what, "value": "; ".join(parts), "must": "≥ 1.0 × the fastest"}
