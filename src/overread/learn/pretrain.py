"""Learn to see from images without answers: two changed views of one image are to look alike, and no two images the same.

What is learned is the residual network that `train` begins with; the layers that only serve the comparison are thrown
away. Nothing here knows a label.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from overread.domain import fingerprint
from overread.errors import RunError
from overread.learn import augment, batches, networks
from overread.learn.framework import keras

layers, ops = keras.layers, keras.ops

WIDE = 256
"""Numbers in which two views are compared."""

ALIKE, SPREAD, APART = 25.0, 25.0, 1.0
"""What counts how much: that two views are alike, that images differ in each number, that no two numbers say the same."""

RATE, DECAY, WARM = 1e-3, 1e-4, 0.05
"""AdamW's learning rate, weight decay, and the share of the steps over which the rate rises."""

VIEWS = {
    "rotation": 15.0, "scale": 0.4, "aspect": 0.2, "shift": 0.15, "margin": 0.1, "blur": 0.5, "gamma": 0.5,
    "contrast": 0.4, "brightness": 0.2, "noise": 0.08,
}  # fmt: skip
"""How far two views of one image differ (`learn.augment.Augment`). No view is mirrored: without answers nobody knows
whether a side matters, and a network that was told that it does not could not learn it any more."""

COLLAPSED = 0.05
"""Spread of the compared numbers (1 is asked for) below which every image looks the same to the network."""


@dataclass(frozen=True)
class Settings:
    """How long and how to learn.

    Parameters
    ----------
    epochs, batch, seed : int
    views : mapping
        Arguments for `learn.augment.Augment`.
    """

    epochs: int
    batch: int = 64
    seed: int = 0
    views: Mapping[str, Any] | None = None


@dataclass
class Learned:
    """What was learned.

    Parameters
    ----------
    built : Built
        The network; its head has learned nothing.
    history : list of dict
        Epoch by epoch: loss, and how far images are spread (1 is asked for, 0 is a network that sees nothing).
    seconds : float
    """

    built: networks.Built
    history: list[dict[str, float]]
    seconds: float


@keras.saving.register_keras_serializable(package="overread")
class TwoViews(keras.losses.Loss):
    """How unlike two views of the same images are, plus what keeps a network from calling everything alike.

    Parameters
    ----------
    alike, spread, apart : float
        What each of the three counts.

    References
    ----------
    Bardes, Ponce, LeCun 2022, VICReg, arXiv 2105.04906.
    """

    def __init__(self, alike: float = ALIKE, spread: float = SPREAD, apart: float = APART, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.counts = (alike, spread, apart)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **dict(zip(("alike", "spread", "apart"), self.counts, strict=True))}

    def call(self, y_true, y_pred):
        """Return the loss of a batch, a number; ``y_pred``: (n, 2, numbers), ``y_true`` is not looked at."""
        alike, spread, apart = self.counts
        pair = ops.cast(y_pred, "float32")
        total = alike * ops.mean(ops.square(pair[:, 0] - pair[:, 1]))
        for view in (0, 1):
            z = pair[:, view] - ops.mean(pair[:, view], axis=0)
            n, d = ops.cast(ops.shape(z)[0], "float32"), z.shape[1]
            together = ops.matmul(ops.transpose(z), z) / (n - 1)
            each = ops.diagonal(together)
            total += spread / 2 * ops.mean(ops.relu(1.0 - ops.sqrt(each + 1e-4)))
            total += apart * (ops.sum(ops.square(together)) - ops.sum(ops.square(each))) / d
        return total


def learn(
    images: np.ndarray,
    build: Mapping[str, Any],
    settings: Settings,
    *,
    checkpoint: Path,
    tell: Callable[[dict[str, Any]], object] = lambda news: None,
) -> Learned:
    """Let a residual network learn from images without answers.

    After every epoch all there is to know is written to ``checkpoint``; when that file exists and fits, learning goes on
    from it to the same weights.

    Parameters
    ----------
    images : ndarray, (n, rows, columns, channels) or (n, slices, rows, columns, channels)
        As a recipe made them, on the plans' scale; may be memory-mapped.
    build : mapping
        Arguments for `learn.networks.residual`.
    settings : Settings
    checkpoint : Path
    tell : callable
        Told after every step: epoch, epochs, step, steps, loss.

    Raises
    ------
    RunError
        When the checkpoint is of other images or settings, or the network ended up seeing nothing.
    """
    keras.utils.set_random_seed(settings.seed)
    built = networks.residual(input_shape=images.shape[1:], outputs=1, kind="binary", **build)
    model = _compared(built, images.shape[1:], settings)
    steps = batches.steps_an_epoch(len(images), settings.batch)
    _compile(model, settings.epochs * steps)
    model.optimizer.build(model.trainable_variables)
    feed = batches.Batches(images, np.zeros((len(images), 1), np.float32), batch=settings.batch, seed=settings.seed)
    of = fingerprint([list(images.shape), dict(build), settings.epochs, settings.batch, settings.seed, dict(settings.views or VIEWS)])  # fmt: skip
    history, seconds = _restore(checkpoint, model, of)
    for epoch in range(len(history), settings.epochs):
        began = time.monotonic()
        feed.start(epoch)
        augment.reseed(model, settings.seed, epoch)
        model.reset_metrics()
        for step in range(len(feed)):
            told = {
                k: float(v) for k, v in model.train_on_batch(*feed[step], return_dict=True).items()
            }  # means of the epoch so far
            tell(
                {"epoch": epoch, "epochs": settings.epochs, "step": step + 1, "steps": len(feed), "loss": told["loss"]}
            )
        history.append({"epoch": epoch + 1, "loss": told["loss"], "spread": told["spread"]})
        seconds += time.monotonic() - began
        _keep(checkpoint, model, {"of": of, "history": history, "seconds": seconds})
    if history and history[-1]["spread"] < COLLAPSED:
        raise RunError(
            f"after {len(history)} epochs every image looks the same to the network (spread {history[-1]['spread']:.3f})",
            expected=f"a spread of at least {COLLAPSED:g}; 1 is asked for",
            do="take more or more varied images, or a longer --budget",
        )
    return Learned(built, history, seconds)


def step_seconds(shape: tuple[int, ...], build: Mapping[str, Any], settings: Settings) -> float:
    """Return how long a step takes on this machine, found by timing a few steps of a throwaway network."""
    keras.utils.set_random_seed(settings.seed)
    built = networks.residual(input_shape=shape, outputs=1, kind="binary", **build)
    model = _compared(built, shape, settings)
    _compile(model, 10)
    x = np.random.default_rng(settings.seed).normal(size=(settings.batch, *shape)).astype(np.float32)
    each = []
    for _ in range(6):
        began = time.monotonic()
        model.train_on_batch(x, np.zeros((len(x), 1), np.float32))
        each.append(time.monotonic() - began)
    return float(np.median(each[2:]))


def _compared(built: networks.Built, shape: tuple[int, ...], settings: Settings) -> keras.Model:
    """Return images → what two views of each come out as, (n, 2, numbers)."""
    image = layers.Input(shape, name="image")
    views = augment.Augment(**(settings.views or VIEWS), seed=settings.seed, name="views")
    seen = keras.Model(built.trained.inputs[0], built.trained.get_layer("mean").output, name="seen")
    x = seen(views(layers.Concatenate(axis=0, name="twice")([image, image])))
    for number in (1, 2):
        x = layers.Dense(WIDE, use_bias=False, name=f"wide{number}")(x)
        x = layers.ReLU(name=f"on{number}")(layers.BatchNormalization(name=f"norm{number}")(x))
    x = layers.Dense(WIDE, name="compared")(x)
    return keras.Model(image, _Paired(name="paired")(x), name="pretrain")


class _Paired(layers.Layer):
    """(2n, d), all first views before all second ones → (n, 2, d)."""

    def call(self, x):
        return ops.transpose(ops.reshape(x, (2, -1, x.shape[-1])), (1, 0, 2))


def _compile(model: keras.Model, steps: int) -> None:
    warm = max(1, int(WARM * steps))
    rate = keras.optimizers.schedules.CosineDecay(
        RATE / 20, max(1, steps - warm), alpha=0.0, warmup_target=RATE, warmup_steps=warm
    )
    optimiser = keras.optimizers.AdamW(rate, weight_decay=DECAY, clipnorm=5.0)
    optimiser.exclude_from_weight_decay(var_names=["bias", "beta", "gamma"])
    model.compile(optimizer=optimiser, loss=TwoViews(), metrics=[spread])


def spread(y_true, y_pred):
    """Return the standard deviation of what images come out as, the mean over the numbers; 1 is asked for."""
    return ops.mean(ops.std(y_pred[:, 0], axis=0))


def _keep(checkpoint: Path, model: keras.Model, story: Mapping[str, Any]) -> None:
    arrays = {f"w{i}": np.asarray(w) for i, w in enumerate(model.weights)}
    arrays |= {f"o{i}": np.asarray(o) for i, o in enumerate(model.optimizer.variables)}
    part = checkpoint.with_suffix(".part")
    with open(part, "wb") as out:
        np.savez(out, story=np.array(json.dumps(story)), **arrays)
        out.flush()
        os.fsync(out.fileno())
    part.replace(checkpoint)


def _restore(checkpoint: Path, model: keras.Model, of: str) -> tuple[list[dict[str, float]], float]:
    """Take up where the checkpoint left off; return what happened before."""
    if not checkpoint.exists():
        return [], 0.0
    with np.load(checkpoint, allow_pickle=False) as kept:
        story = json.loads(str(kept["story"]))
        if story["of"] != of:
            raise RunError(
                "the checkpoint is of other images or settings",
                expected="one of the same images, network, length and seed",
                do="name another folder with --out",
            )
        for i, w in enumerate(model.weights):
            w.assign(kept[f"w{i}"])
        for i, o in enumerate(model.optimizer.variables):
            o.assign(kept[f"o{i}"])
    return story["history"], story["seconds"]
