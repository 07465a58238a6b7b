"""Every slice of a volume seen by a start, and attention that learns which slices count; the start stays as it came.

The start looks at each slice once. First a line is fitted through the mean of what it sees, as for pictures; then
attention and line learn on from there, on those same numbers, which takes seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from overread.learn import fit as fitting
from overread.learn.framework import keras
from overread.learn.frozen import line_through
from overread.learn.networks import Built
from overread.learn.plan import Plan
from overread.learn.slices import Apart, weighed_by
from overread.learn.starts_network import built_for

layers = keras.layers

_BATCH = 2


def fit(
    plan: Plan,
    *,
    training: tuple[np.ndarray, np.ndarray],
    tuning: tuple[np.ndarray, np.ndarray],
    score: Callable[[np.ndarray, np.ndarray], float],
    groups: Sequence[Hashable] | None = None,
    checkpoint: Path,
    tell: Callable[[dict[str, Any]], object] = lambda news: None,
) -> fitting.Fitted:
    """Fit attention and line on what a start sees of each slice, and return the whole network.

    Parameters
    ----------
    plan : Plan
        Its ``start`` names the weights.
    training, tuning : (volumes, truth)
        volumes (n, slices, rows, columns, 1 or 3).
    score, tell
        As for `learn.fit.fit`; an epoch more than the plan's is told, in which the start looks at the volumes.
    groups : sequence, (n,), optional
        Patient of each training volume, for the penalty of the line.
    checkpoint : Path
    """
    began = time.monotonic()
    keras.utils.set_random_seed(plan.seed)
    built = built_for(plan)
    steps, epochs = max(1, len(training[0]) // plan.batch), plan.epochs + 1
    whole, done = len(training[0]) + len(tuning[0]), 0

    def look() -> None:
        nonlocal done
        done += 1
        step = min(steps, -(-steps * done // max(1, whole)))
        tell({"epoch": 0, "epochs": epochs, "step": step, "steps": steps, "loss": float("nan")})

    seen = [seen_of(built, volumes, tick=look) for volumes in (training[0], tuning[0])]
    if (
        not checkpoint.exists()
    ):  # else the line is kept there, with everything else; attention begins by counting slices alike
        line_through(built, plan, seen[0].mean(axis=1, dtype=np.float64), training[1], groups=groups)
    fitted = fitting.fit(
        replace(plan, augmentation={}), training=(seen[0], training[1]), tuning=(seen[1], tuning[1]), score=score,
        checkpoint=checkpoint, built=above(built, plan), tell=lambda news: tell({**news, "epoch": news["epoch"] + 1, "epochs": epochs}),
    )  # fmt: skip
    return fitting.Fitted(built, fitted.history, time.monotonic() - began)


def steps(plan: Plan, n: int) -> int:
    """How many steps `fit` tells of for n training volumes."""
    return (plan.epochs + 1) * max(1, n // plan.batch)


def seen_of(built: Built, volumes: np.ndarray, *, tick: Callable[[], object] = lambda: None) -> np.ndarray:
    """Return what the start sees of each slice, (n, slices, maps): the averages of its maps."""
    averages = keras.Model(built.trained.inputs[0], built.trained.get_layer("seen").output)
    slices, maps = built.trained.input_shape[1], averages.output_shape[-1]
    out = np.empty((len(volumes), slices, maps), np.float32)
    for i in range(0, len(volumes), _BATCH):
        some = np.asarray(volumes[i : i + _BATCH])
        out[i : i + len(some)] = np.asarray(averages(some, training=False)).reshape(len(some), slices, maps)
        for _ in some:
            tick()
    return out


def above(built: Built, plan: Plan) -> Built:
    """Return what lies above the start's maps as a network of its own, on the same weights."""
    slices, maps = built.trained.input_shape[1], built.trained.get_layer("seen").output.shape[-1]
    seen = layers.Input((slices, maps), name="seen")
    named = {name: built.trained.get_layer(name) for name in ("what", "gate", "attention", "head")}
    weights = weighed_by(Apart()(seen), slices, named["what"], named["gate"], named["attention"])
    mean = layers.Flatten()(layers.Dot(axes=1)([weights, seen]))
    trained = keras.Model(seen, named["head"](layers.Dropout(plan.build.get("dropout", 0.2))(mean)), name="above")
    return Built(trained, keras.Model(seen, [named["head"](mean), seen]), "mean")
