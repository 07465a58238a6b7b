"""What earlier sessions of a training spent: written down while it goes on, so that a resumed one's card counts all of it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from overread.steps import cost
from overread.steps.finish import SPENT, Begun
from overread.steps.run import write_json

EVERY_S = 10.0
"""A killed training has lost the count of so many seconds at most."""


@contextmanager
def counted(out: Path, begun: Begun, *, every_s: float = EVERY_S) -> Iterator[Begun]:
    """Count what is spent in a run's folder, also if the process is killed; earlier sessions of the same training included.

    Parameters
    ----------
    out : Path
        Folder of an unfinished run, held by this process alone.
    begun : Begun
        What this session began with.
    every_s : float
        Seconds between two notes of it.

    Yields
    ------
    Begun
        The same, with a meter and a clock that stand where they would if there had been no break.
    """
    earlier = _read(out / SPENT)
    before = cost.Before(
        float(earlier.get("processor_seconds", 0.0)), earlier.get("joules", 0.0), int(earlier.get("sessions", 0))
    )
    going = replace(
        begun,
        meter=replace(begun.meter, before=before),
        started=begun.started - float(earlier.get("seconds", 0.0)),
    )
    ended = threading.Event()

    def note() -> None:
        told = cost.spent(going.meter)
        kept = {"processor_seconds": told["processor_seconds"], "joules": told["joules"]}
        write_json(
            out / SPENT,
            {"sessions": before.sessions + 1, "seconds": round(time.monotonic() - going.started, 1), **kept},
        )

    def keep_noting() -> None:
        while not ended.wait(every_s):
            note()

    beside = threading.Thread(target=keep_noting, name="what a training spends", daemon=True)
    note()
    beside.start()
    try:
        yield going
    finally:
        ended.set()
        beside.join()
        note()


def _read(file: Path) -> dict[str, Any]:
    """Return what earlier sessions noted; nothing where there was none, or an older overread began."""
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}
