"""Train on several GPUs or hosts at once: hand a plan to a cluster, and write down who took part and what was lost."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from overread.engine.ranks import Round, jointly
from overread.errors import RunError
from overread.learn import plan as planning
from overread.store.journal import Journal

NAME = "training.jsonl"
"""The journal of a training on a cluster: each beginning with its hosts, and what was lost."""


@dataclass(frozen=True)
class Cluster:
    """Where a training runs, if not in this process.

    Parameters
    ----------
    address : str
        "auto", "local" or "host:port" of a Ray cluster.
    processes : int or None
        How many; None for one on each GPU, or on each host where there is none.
    """

    address: str
    processes: int | None = None


def asked(cluster: str | None, processes: int | None) -> Cluster | None:
    """Return where to train.

    Raises
    ------
    RunError

    Examples
    --------
    >>> asked(None, None) is None
    True
    >>> asked("auto", 4)
    Cluster(address='auto', processes=4)
    """
    if processes is not None and cluster is None:
        raise RunError(
            f"--processes {processes} without --cluster", expected="both", do="add --cluster local, auto or HOST:PORT"
        )
    if processes is not None and not 1 <= processes <= 1024:
        raise RunError(f"{processes} processes", expected="1 to 1,024", do="choose another number")
    return None if cluster is None else Cluster(cluster, processes)


def fit(
    plan: planning.Plan,
    *,
    training: tuple[np.ndarray, np.ndarray],
    tuning: tuple[np.ndarray, np.ndarray],
    score: Callable[[np.ndarray, np.ndarray], float],
    checkpoint: Path,
    tell: Callable[[dict[str, Any]], object],
    cluster: Cluster,
    out: Path,
    progress: bool,
):
    """Train the plan's network on a cluster and return it as :func:`overread.learn.fit.fit` does.

    Parameters
    ----------
    plan : Plan
    training, tuning : (images, truth)
        Images that lie in a file (memory-mapped), which every host sees.
    score, checkpoint, tell
        As for one process.
    cluster : Cluster
    out : Path
        Folder of the run, which every host sees.
    progress : bool
    """
    from overread.learn.fit import fit
    from overread.learn.several import train_as

    # absolute: what one host calls here is elsewhere on another
    files = {
        "training": (_file(training[0]), training[1]),
        "tuning": (_file(tuning[0]), tuning[1]),
        "checkpoint": checkpoint.absolute(),
    }
    journal, before = Journal(out / NAME), _epochs(checkpoint)

    def ended(one: Round) -> None:
        nonlocal before
        now = _epochs(checkpoint)
        record = {"seed": plan.seed, "hosts": list(one.hosts), "gpus": one.gpus, "epochs": [before, now]}
        journal.append("lost" if one.lost else "done", record | {"lost": list(one.lost)}, now=_now())
        before = now
        if progress:
            tqdm.write(told(one, now), file=sys.stderr)

    jointly(
        partial(train_as, plan=plan, score=score, **files),
        cluster=cluster.address,
        processes=cluster.processes,
        most=min(plan.batch, len(training[0])),
        shared=[out, files["training"][0], files["tuning"][0]],
        into=out,
        kept=lambda: checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0,
        tell=tell,
        ended=ended,
    )
    return fit(plan, training=training, tuning=tuning, score=score, checkpoint=checkpoint)


def told(one: Round, epochs: int) -> str:
    """Say how one round of a training ended.

    Examples
    --------
    >>> told(Round(("a", "b"), 0, ("process 2 of 2, on b",)), 3)
    '  ! lost: process 2 of 2, on b; training goes on from epoch 4'
    >>> told(Round(("a", "a"), 2), 9)
    '  2 processes on 1 host, 2 GPUs: 9 epochs done'
    """
    if one.lost:
        return f"  ! lost: {'; '.join(one.lost)}; training goes on from epoch {epochs + 1}"
    hosts = len(set(one.hosts))
    gpus = f", {one.gpus} GPU{'s' * (one.gpus > 1)}" if one.gpus else ""
    where = f"{len(one.hosts)} process{'es' * (len(one.hosts) > 1)} on {hosts} host{'s' * (hosts > 1)}"
    return f"  {where}{gpus}: {epochs} epoch{'s' * (epochs > 1)} done"


def rounds(run: Path) -> list[dict[str, Any]]:
    """Return who took part in a run's training, round by round; nothing for one that was trained by one process."""
    if not (run / NAME).exists():
        return []
    return [dict(entry["record"], ended=entry["kind"]) for entry in Journal(run / NAME).records()]


def _file(images: np.ndarray) -> Path:
    if not isinstance(images, np.memmap):
        raise TypeError("images that do not lie in a file")
    return Path(images.filename).absolute()


def _epochs(checkpoint: Path) -> int:
    if not checkpoint.exists():
        return 0
    with np.load(checkpoint, allow_pickle=False) as kept:
        return len(json.loads(str(kept["story"]))["history"])


def _now() -> datetime:
    return datetime.now().astimezone()
