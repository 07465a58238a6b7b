"""Frozen features and a line: the start's network as it came, and a linear head fitted on its averages in a moment.

The result is an ordinary network of ours (global average, one linear layer), so that it is exported, explained, gated
and asked exactly as one that was trained from nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from overread.domain import Image, Recipe
from overread.imaging import preprocess
from overread.learn import linear_head, losses, starts, starts_network
from overread.learn.fit import Fitted
from overread.learn.framework import keras
from overread.learn.networks import Built
from overread.learn.plan import CENTRED, Plan
from overread.learn.starts_network import built_for
from overread.stats.curves import positive_weights

_BATCH = 32


def fit(
    plan: Plan,
    *,
    training: tuple[np.ndarray, np.ndarray],
    tuning: tuple[np.ndarray, np.ndarray],
    score: Callable[[np.ndarray, np.ndarray], float],
    groups: Sequence[Hashable] | None = None,
    checkpoint: Path | None = None,
    tell: Callable[[dict[str, Any]], object] = lambda news: None,
) -> Fitted:
    """Fit the head of the plan's network on features that stay as they came, and return the whole network.

    Parameters
    ----------
    plan : Plan
        Its ``start`` names the weights.
    training, tuning : (images, truth)
        images (n, rows, columns, 3) as the recipe made them; truth (n, outputs): 0, 1 or NaN, one-hot for classes.
    score : callable
        (logits, truth) → the figure told of the tuning cohort. Nothing is chosen by it.
    groups : sequence, (n,), optional
        Patient of each training image; the penalty is chosen on patients held out. None: each image by itself.
    checkpoint : Path, optional
        Not used: there is nothing that takes long enough to be kept.
    tell : callable
        As for `learn.fit.fit`: an epoch is one pass over the images, a step a batch or a fold.

    Returns
    -------
    Fitted
        With one entry of history: loss on patients held out, tuning figure, penalty.
    """
    began = time.monotonic()
    built = built_for(plan)
    count, done = steps(len(training[0])), 0

    def on() -> None:
        nonlocal done
        done += 1
        tell({"epoch": 0, "epochs": 1, "step": min(done, count), "steps": count, "loss": float("nan")})

    line = fit_head(built, plan, training=training, groups=groups, tick=on)
    figure = float(score(line.logits(features(built, tuning[0])), tuning[1])) if len(tuning[0]) else None
    kept = {"epoch": 1, "loss": line.loss[line.penalty], "tuning": figure, "penalty": line.penalty}
    tell({"epoch": 0, "epochs": 1, "step": count, "steps": count, "loss": kept["loss"], "tuning": figure})
    return Fitted(built, [kept], time.monotonic() - began)


def fit_head(
    built: Built,
    plan: Plan,
    *,
    training: tuple[np.ndarray, np.ndarray],
    groups: Sequence[Hashable] | None = None,
    tick: Callable[[], object] = lambda: None,
) -> linear_head.Line:
    """Fit the line on what the head sees of the training images, put it into the network, and return it."""
    images, truth = training
    return line_through(built, plan, features(built, images, tick=tick), truth, groups=groups, tick=tick)


def line_through(
    built: Built,
    plan: Plan,
    seen: np.ndarray,
    truth: np.ndarray,
    *,
    groups: Sequence[Hashable] | None = None,
    tick: Callable[[], object] = lambda: None,
) -> linear_head.Line:
    """Fit the line on what the head sees, (n, maps), put it into the network, and return it."""
    line = linear_head.choose(
        seen,
        losses.targets(plan.task.kind, truth),
        several=plan.task.kind in ("multiclass", "ordinal"),
        groups=range(len(seen)) if groups is None else groups,
        rng=np.random.default_rng(plan.seed),
        positive_weight=positive_weights(truth) if plan.weigh_classes else None,
        tick=lambda n: tick(),
    )
    built.trained.get_layer("head").set_weights([line.kernel.astype(np.float32), line.bias.astype(np.float32)])
    return line


def steps(n: int) -> int:
    """How many steps `fit` tells of for n training images: batches, then folds."""
    return -(-n // _BATCH) + linear_head.ticks(n)


def features(built: Built, images: np.ndarray, *, tick: Callable[[], object] = lambda: None) -> np.ndarray:
    """Return what the head sees of each image, (n, 672): the averages of the last maps."""
    averages = keras.Model(built.trained.inputs[0], built.trained.get_layer("mean").output)
    out = []
    for i in range(0, len(images), _BATCH):
        out.append(np.asarray(averages(np.asarray(images[i : i + _BATCH]), training=False), np.float64))
        tick()
    return np.concatenate(out) if out else np.empty((0, averages.output_shape[-1]))


def features_of(
    images: Iterable[Image], recipe: Recipe, *, name: str = starts.DEFAULT, tick: Callable[[], object] = lambda: None
) -> np.ndarray:
    """Return what a start sees of images that no label has touched, (n, 672).

    Parameters
    ----------
    images : iterable of Image
    recipe : Recipe
        Ends on a grid of multiples of 32, with one or three channels, on the plans' scale.
    name : str
        Of the start.
    tick : callable
        Called after each image.
    """
    built, waiting, out = None, [], []

    def flush() -> None:
        out.append(features(built, np.stack(waiting)))
        waiting.clear()

    for image in images:
        waiting.append(preprocess.apply(recipe, image))
        if built is None:
            scale = starts.scale(name, mean=CENTRED["mean"], std=CENTRED["std"])
            shape = waiting[0].shape
            built = starts_network.features(input_shape=shape, outputs=1, start=starts.weights(name), scale=scale)
        tick()
        if len(waiting) == _BATCH:
            flush()
    if waiting:
        flush()
    return np.concatenate(out) if out else np.empty((0, 0))
