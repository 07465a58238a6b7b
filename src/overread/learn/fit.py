"""Train a planned network; stop and go on as if nothing had happened; return weights and history."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from overread.errors import RunError
from overread.learn import augment, batches, losses, networks, precision, pretrained, pretrained_start, rates
from overread.learn.framework import keras
from overread.learn.plan import Plan, executed, halves
from overread.learn.starts_network import built_for
from overread.stats.curves import positive_weights

if TYPE_CHECKING:
    from overread.learn.several import Sharing

Tell = Callable[[dict[str, Any]], object]
"""Told after every step: {"epoch", "epochs", "step", "steps", "loss"} and, at an epoch's end, the tuning figures. Who
answers True at an epoch's end has no more time: the training ends there, with the averaged weights as they are."""


@dataclass
class Fitted:
    """A trained network: its two faces, what happened epoch by epoch, and how long it took.

    ``alone`` holds, where several networks answer together, each of them by its seed.
    """

    built: networks.Built
    history: list[dict[str, float]]
    seconds: float
    alone: dict[int, Fitted] = field(default_factory=dict)


def fit(
    plan: Plan,
    *,
    training: tuple[np.ndarray, np.ndarray],
    tuning: tuple[np.ndarray, np.ndarray],
    score: Callable[[np.ndarray, np.ndarray], float],
    checkpoint: Path,
    tell: Tell = lambda news: None,
    sharing: Sharing | None = None,
    built: networks.Built | None = None,
) -> Fitted:
    """Train the plan's network and return it with the averaged weights in place.

    After every epoch all there is to know (weights, their average, the optimiser's memory, history) is written to
    ``checkpoint``; when that file exists and fits the plan, training goes on from it to the same result.

    Parameters
    ----------
    plan : Plan
    training, tuning : (images, truth)
        images (n, …) as the recipe made them; truth (n, outputs): 0, 1 or NaN, one-hot for classes.
    score : callable
        (logits, truth) → the figure watched on the tuning cohort.
    checkpoint : Path
    tell : callable
    sharing : Sharing, optional
        This process as one of several that train together (:mod:`overread.learn.several`).
    built : Built, optional
        The plan's network, where it has begun to learn already.
    """
    if built is None:
        keras.utils.set_random_seed(plan.seed)
        built = build(plan)
    rates.hold(built.trained, plan.start.get("held", 0))
    model = _with_augmentation(_at_precision(built.trained, plan, alone=sharing is None), plan)
    _compile(model, plan, training[1])
    known = losses.targets(plan.task.kind, training[1])
    part = sharing.part() if sharing else (0, 1)
    feed = batches.Batches(training[0], known, batch=plan.batch, seed=plan.seed, part=part)
    model.optimizer.build(model.trainable_variables)
    whole = min(plan.batch, len(training[0]))
    steps = sharing.steps(model, seed=plan.seed, whole=whole) if sharing else _Steps(model, plan.seed)
    course = _Course(plan, built, model, tuning, score, checkpoint)
    for epoch in range(course.restore(), plan.epochs):
        began = time.monotonic()
        feed.start(epoch)
        steps.start(epoch)
        for step in range(
            len(feed)
        ):  # a loop of our own: Keras' feeding threads cost a fifth of a small network's step
            loss = steps.take(*feed[step])
            course.average_in()
            tell({"epoch": epoch, "epochs": plan.epochs, "step": step + 1, "steps": len(feed), "loss": loss})
        if sharing and sharing.rank:
            continue  # the first of them looks at the tuning cohort and writes the checkpoint for all
        course.end_epoch(epoch, loss, began)
        ended = {"epoch": epoch, "epochs": plan.epochs, "step": len(feed), "steps": len(feed), "loss": loss}
        if tell({**ended, "tuning": course.history[-1]["tuning"]}) is True:
            break
    course.use_average()
    return Fitted(built, course.history, course.seconds)


class _Steps:
    """Training steps that this process takes alone."""

    def __init__(self, model: keras.Model, seed: int) -> None:
        self.model, self.seed = model, seed

    def start(self, epoch: int) -> None:
        """Begin an epoch: its random numbers."""
        augment.reseed(self.model, self.seed, epoch)
        self.model.reset_metrics()

    def take(self, images: np.ndarray, targets: np.ndarray) -> float:
        """Take one step; return its loss."""
        return float(self.model.train_on_batch(images, targets, return_dict=True)["loss"])


def logits(built: networks.Built, images: np.ndarray, *, batch: int = 64) -> np.ndarray:
    """Return the network's logits, (n, outputs), a batch at a time."""
    out = [
        np.asarray(built.exported(np.asarray(images[i : i + batch]), training=False)[0])
        for i in range(0, len(images), batch)
    ]
    return np.concatenate(out).astype(np.float64)


def build(plan: Plan) -> networks.Built:
    """Return the plan's network before it has learned anything of this cohort."""
    start = plan.start.get("name", "random")
    if start not in ("random", pretrained_start.NAME):
        return built_for(plan)
    built = networks.NETWORKS[plan.network](
        input_shape=plan.input_shape, outputs=len(plan.task.labels), kind=plan.task.kind, **plan.build
    )
    if start != "random":
        pretrained.fill(
            built.trained, pretrained_start.read(plan.start["path"], expected=plan.start["sha256"]).weights()
        )
    return built


def step_seconds(plan: Plan) -> float:
    """Return how long a training step takes on this machine, found by timing a few steps of a throwaway network."""
    if plan.network == "pair":
        first, second = halves(plan)
        return step_seconds(first) + step_seconds(second) * second.epochs / first.epochs
    keras.utils.set_random_seed(plan.seed)
    built = build(plan)
    rng = np.random.default_rng(plan.seed)
    x = rng.normal(size=(plan.batch, *plan.input_shape)).astype(np.float32)
    y = np.eye(len(plan.task.labels), dtype=np.float32)[np.arange(plan.batch) % len(plan.task.labels)]
    rates.hold(built.trained, plan.start.get("held", 0))
    model = _with_augmentation(_at_precision(built.trained, plan), plan)
    _compile(model, plan, y)
    each = []
    for _ in range(8):
        began = time.monotonic()
        model.train_on_batch(x, y)
        each.append(time.monotonic() - began)
    return float(np.median(each[3:]))


def _at_precision(network: keras.Model, plan: Plan, *, alone: bool = True) -> keras.Model:
    """Return the network as its steps compute it: as it is, or with products in bfloat16 where the plan says so."""
    if plan.optimiser.get("precision", "float32") == "float32":
        return network
    if not alone:
        raise RunError(
            "precision bfloat16 in several processes",
            expected="float32: their weights are compared bit by bit",
            do="train in one process, or with precision float32",
        )
    from overread.learn import rounded

    precision.refuse()
    return rounded.Rounded(network)


def _with_augmentation(network: keras.Model, plan: Plan) -> keras.Model:
    if not plan.augmentation:
        return network
    settings = {**plan.augmentation, "seed": plan.seed}
    return keras.Sequential([keras.Input(plan.input_shape), augment.Augment(**settings), network])


def _compile(model: keras.Model, plan: Plan, truth: np.ndarray) -> None:
    if plan.optimiser["name"] == "adam":  # the article's own line
        loss = "categorical_crossentropy" if plan.task.kind in ("multiclass", "ordinal") else "binary_crossentropy"
        if np.isnan(truth).any():
            loss = losses.MaskedCrossentropy()
        model.compile(optimizer="adam", loss=loss, metrics=["accuracy"])
        return
    total = plan.epochs * batches.steps_an_epoch(len(truth), plan.batch)
    warm = max(1, int(plan.optimiser["warmup"] * total))
    peak = plan.optimiser["learning_rate"]
    rate = keras.optimizers.schedules.CosineDecay(
        peak / 20, max(1, total - warm), alpha=0.0, warmup_target=peak, warmup_steps=warm
    )
    settings = {"weight_decay": plan.optimiser["weight_decay"], "clipnorm": 1.0}
    if "lower" in plan.optimiser:
        share = rates.shares(model.layers[-1] if plan.augmentation else model, plan.optimiser["lower"])
        optimiser = rates.Falling(rate, share=share, **settings)
    else:
        optimiser = keras.optimizers.AdamW(rate, **settings)
    optimiser.exclude_from_weight_decay(var_names=["bias", "beta", "gamma"])
    weight = positive_weights(truth).tolist() if plan.weigh_classes else None
    model.compile(optimizer=optimiser, loss=losses.FromLogits(plan.task.kind, plan.smoothing, weight))


def _into(average: Sequence[keras.Variable], weights: Sequence[keras.Variable]) -> Callable[[np.float32], object]:
    """Return what lets weights into their average, all in one graph: one by one, the calls take six times as long as the sums.

    It knows these variables and nothing else: as a method it would hold the whole course, images and all, in a circle.
    """

    def follow(part: tf.Tensor) -> None:
        for a, w in zip(average, weights, strict=True):
            a.assign_add((w - a) * part)

    return tf.function(follow, input_signature=[tf.TensorSpec((), tf.float32)])


class _Course:
    """The course of one training: the average of the weights, the history, and a checkpoint of all of it every epoch."""

    def __init__(self, plan, built, model, tuning, score, checkpoint) -> None:
        self.plan, self.built, self.model, self.tuning, self.score = plan, built, model, tuning, score
        self.checkpoint = checkpoint
        self.history: list[dict[str, float]] = []
        self.seconds = 0.0
        self.updates = 0
        self.average = [keras.Variable(w, trainable=False) for w in built.trained.weights] if plan.ema else []
        self._follow = _into(self.average, built.trained.weights)

    def restore(self) -> int:
        """Take up where the checkpoint left off; return the epoch to start with."""
        weights = self.built.trained.weights
        if not self.checkpoint.exists():
            return 0
        with np.load(self.checkpoint, allow_pickle=False) as kept:
            story = json.loads(str(kept["story"]))
            if story["plan"] != executed(self.plan):
                raise RunError(
                    "the checkpoint is of another training",
                    expected="one of the same plan",
                    do="name another folder with --out",
                )
            for i, w in enumerate(weights):
                w.assign(kept[f"w{i}"])
            for i, a in enumerate(self.average):
                a.assign(kept[f"a{i}"])
            for i, o in enumerate(self.model.optimizer.variables):
                o.assign(kept[f"o{i}"])
        self.history, self.seconds, self.updates = story["history"], story["seconds"], story["updates"]
        return len(self.history)

    def average_in(self) -> None:
        """Let the weights of this step into their moving average, which follows fast at first and slowly later."""
        self.updates += 1
        part = 1 - min(self.plan.ema, (1 + self.updates) / (10 + self.updates))
        if self.average:
            self._follow(np.float32(part))

    def end_epoch(self, epoch: int, loss: float, began: float) -> None:
        """Look at the tuning cohort with the averaged weights, and write the checkpoint."""
        raw = [np.asarray(w) for w in self.built.trained.weights]
        self.use_average()
        figure = float(self.score(logits(self.built, self.tuning[0]), self.tuning[1])) if len(self.tuning[0]) else None
        for w, value in zip(self.built.trained.weights, raw, strict=True):
            w.assign(value)
        self.seconds += time.monotonic() - began
        self.history.append({"epoch": epoch + 1, "loss": loss, "tuning": figure})
        self._keep()

    def use_average(self) -> None:
        """Put the averaged weights into the network."""
        for a, w in zip(self.average, self.built.trained.weights, strict=bool(self.average)):
            w.assign(a)

    def _keep(self) -> None:
        story = {"plan": executed(self.plan), "history": self.history, "seconds": self.seconds, "updates": self.updates}
        arrays = {f"w{i}": np.asarray(w) for i, w in enumerate(self.built.trained.weights)}
        arrays |= {f"a{i}": np.asarray(a) for i, a in enumerate(self.average)}
        arrays |= {f"o{i}": np.asarray(o) for i, o in enumerate(self.model.optimizer.variables)}
        part = self.checkpoint.with_suffix(".part")
        with open(part, "wb") as out:
            np.savez(out, story=np.array(json.dumps(story)), **arrays)
            out.flush()
            os.fsync(out.fileno())
        part.replace(self.checkpoint)
