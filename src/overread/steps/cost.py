"""What a training and an answer cost: processor seconds, joules where the machine counts them, images for a euro."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from overread.domain import Image, Recipe
from overread.imaging import preprocess
from overread.learn.graph import open_graph, run_graph

EURO_A_CORE_HOUR = 0.04
"""What an hour of one rented core costs; another price is a matter of one division, for the card holds the seconds."""

PRICE_SOURCE = "half of 0.0816 dollars an hour for two cores (Amazon m7g.large, on demand, us-east-1, June 2026), a dollar counted as a euro"

COUNTERS = Path("/sys/class/powercap")
"""Where Linux shows the energy counters of a processor (RAPL), one folder a socket: ``intel-rapl:0/energy_uj``."""

MOST_S = 0.5
"""Prediction is timed on a few images, for no longer than this."""


@dataclass(frozen=True)
class Before:
    """What earlier sessions of a resumed training spent; joules None where one of them could not count them."""

    processor_s: float = 0.0
    joules: float | None = 0.0
    sessions: int = 0


@dataclass(frozen=True)
class Meter:
    """What had been spent when it was read: processor seconds of this process and its children, microjoules by counter."""

    processor_s: float
    energy_uj: Mapping[Path, int]
    before: Before = Before()


def read_meter(counters: Path = COUNTERS) -> Meter:
    """Read the processor's clock and its energy counters; without counters, or without leave to read them, none."""
    used = os.times()
    energy = {}
    for folder in sorted(counters.glob("intel-rapl:?")):  # whole sockets; their parts are counted in them
        try:
            energy[folder] = int((folder / "energy_uj").read_text())
        except (OSError, ValueError):
            continue
    return Meter(used.user + used.system + used.children_user + used.children_system, energy)


def spent(since: Meter, counters: Path = COUNTERS) -> dict[str, Any]:
    """Return processor seconds since then, and joules of the whole machine's processors (None where nothing counts them).

    A training that was stopped and resumed is counted with its earlier sessions (`overread.steps.sessions`).

    Examples
    --------
    >>> told = spent(read_meter())
    >>> told["processor_seconds"] < 1
    True
    """
    now = read_meter(counters)
    joules = None
    if since.energy_uj and now.energy_uj.keys() == since.energy_uj.keys():
        used = sum(_counted(f, since.energy_uj[f], now.energy_uj[f]) for f in now.energy_uj) / 1e6
        joules = None if since.before.joules is None else round(used + since.before.joules, 1)
    sessions = {"sessions": since.before.sessions + 1} if since.before.sessions else {}
    return {
        "processor_seconds": round(now.processor_s - since.processor_s + since.before.processor_s, 1),
        "joules": joules,
        "joules_from": "energy counters of the processors (RAPL), all that ran on them"
        if joules is not None
        else "this system shows no energy counter",
        **sessions,
    }


def _counted(folder: Path, before: int, after: int) -> int:
    """A counter begins again at its largest value."""
    if after >= before:
        return after - before
    try:
        return after - before + int((folder / "max_energy_range_uj").read_text())
    except (OSError, ValueError):
        return 0


def of_training(since: Meter, *, euro_a_core_hour: float = EURO_A_CORE_HOUR) -> dict[str, Any]:
    """Return `spent` with its price in euros."""
    told = spent(since)
    return {**told, "euros": float(f"{told['processor_seconds'] * euro_a_core_hour / 3600:.2g}")}


def of_prediction(
    graph: Path, recipe: Recipe, images: Iterable[Image], *, euro_a_core_hour: float = EURO_A_CORE_HOUR
) -> dict[str, Any]:
    """Return what an answer costs, from an image in memory to the network's scores, on one core.

    Parameters
    ----------
    graph : Path
        ``model.onnx``
    recipe : Recipe
    images : iterable of Image
        A few; the first one warms up, and is not counted when there are more.
    euro_a_core_hour : float
        The price of an hour of one core.

    Returns
    -------
    dict
        ``processor_ms_an_image`` (median), ``images_a_processor_second``, ``images_a_euro``, ``images_timed``, and the
        price with its source.
    """
    session, each, began = open_graph(graph), [], time.monotonic()
    for image in images:
        used = time.process_time()
        next(run_graph(session, [preprocess.apply(recipe, image)]))
        each.append(time.process_time() - used)
        if time.monotonic() - began > MOST_S and len(each) > 1:
            break
    counted = each[1:] or each
    seconds = max(float(np.median(counted)), 1e-6) if counted else None
    known = euro_a_core_hour == EURO_A_CORE_HOUR
    return {
        "processor_ms_an_image": round(1000 * seconds, 3) if seconds else None,
        "images_a_processor_second": float(f"{1 / seconds:.3g}") if seconds else None,
        "images_a_euro": float(f"{3600 / (seconds * euro_a_core_hour):.3g}") if seconds else None,
        "images_timed": len(counted),
        "euro_a_core_hour": euro_a_core_hour,
        "price_from": PRICE_SOURCE if known else "as given",
    }
