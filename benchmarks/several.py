"""What it costs that several processes share a batch: a step of one and of two on this machine, and the adding alone.

    python -m benchmarks several

Each process has one thread. Two on one machine share its memory and caches, so the step is no promise for two hosts; the
adding, over the loopback, is what remains when the network is as fast as memory. ``row``: all gradients in one message;
``statistics``: one layer's of batch normalisation, of which there are two forward and two backward in every layer.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

SETTINGS = ((28, 64), (64, 32))
STEPS, FIRST, ADDINGS = 30, 8, 60


def measure() -> list[dict[str, str]]:
    """Return the milliseconds of a step, of one process and of two, and of the adding."""
    figures = []
    for side, batch in SETTINGS:
        one, two = _run(1, side, batch), _run(2, side, batch)
        told = f"{side} x {side}, batch {batch}"
        figures += [
            {"what": f"a step of one process, {told}", "value": f"{one['step']} ms"},
            {"what": f"a step of two processes, {told}", "value": f"{two['step']} ms"},
            {"what": f"adding {two['values']:,} gradients", "value": f"{two['row']} ms"},
            {"what": f"adding statistics, 4 times in each of {two['layers']} layers", "value": f"{two['few']} ms"},
        ]
    return figures


def _run(count: int, side: int, batch: int) -> dict[str, Any]:
    context = multiprocessing.get_context("spawn")
    addresses, told = [f"127.0.0.1:{_free()}" for _ in range(count)], context.Queue()
    crew = [context.Process(target=_work, args=(rank, addresses, side, batch, told)) for rank in range(count)]
    for process in crew:
        process.start()
    found = told.get(timeout=300)
    for process in crew:
        process.join()
    return found


def _free() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


def _work(rank: int, addresses: Sequence[str], side: int, batch: int, told: Any) -> None:
    os.environ.update(OMP_NUM_THREADS="1", TF_NUM_INTRAOP_THREADS="1")
    from overread.learn.several import Sharing

    sharing = Sharing(rank, addresses) if len(addresses) > 1 else None
    from overread.domain import Task
    from overread.learn import fit
    from overread.learn import plan as planning

    task = Task(("x",), "binary", "x")
    seen = planning.Fingerprint(512, (1, side, side), 1, "", "stored", 0)
    plan = replace(planning.draw_up(task, seen, network="residual", seed=0), batch=batch)
    fit.keras.utils.set_random_seed(plan.seed)
    built = fit.build(plan)
    model = fit._with_augmentation(built.trained, plan)
    fit._compile(model, plan, np.ones((512, 1)))
    model.optimizer.build(model.trainable_variables)
    steps = sharing.steps(model, seed=0, whole=batch) if sharing else fit._Steps(model, 0)
    rng = np.random.default_rng(0)
    images = rng.normal(size=(batch, *plan.input_shape)).astype(np.float32)[rank :: len(addresses)]
    truth = (rng.random((batch, 1)) < 0.5).astype(np.float32)[rank :: len(addresses)]
    steps.start(0)
    found = {"step": _median(lambda: steps.take(images, truth), STEPS)}
    if sharing:
        tf, values, widths = (
            sharing.tf,
            sum(steps.sizes),
            [w.shape[0] for w in model.weights if "moving_mean" in w.path],
        )
        found |= {"values": values, "layers": len(widths)}
        for name, size in (("row", values), ("few", max(widths))):
            add = tf.function(lambda row: sharing.strategy.run(lambda some: sharing.added(some + 0.0), (row,)))
            row = tf.zeros(size)
            found[name] = _median(lambda add=add, row=row: add(row), ADDINGS)
    if rank == 0:
        told.put(found)


def _median(do: Any, times: int) -> float:
    each = []
    for _ in range(times):
        began = time.perf_counter()
        do()
        each.append(1000 * (time.perf_counter() - began))
    return round(statistics.median(each[FIRST:]), 2)
