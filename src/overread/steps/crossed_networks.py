"""The networks of a cross-validation: one for each part of each repeat, and all of them as one."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from overread.learn import linear_head, pretrained_start
from overread.learn import plan as planning
from overread.learn import precision as rounding
from overread.learn.plan_spacing import square_sides
from overread.learn.trainer import trainer_of
from overread.stats.curves import positive_weights
from overread.steps import plan as planned
from overread.steps.fitting import watched
from overread.steps.held_out import Material
from overread.steps.plan import Divided
from overread.steps.progress import bar
from overread.steps.scores import whose
from overread.steps.start import of_plan

DRAWN = "repeated cross-validation: told"
"""The rule of a plan that was drawn up for all parts; each part draws up its own settings by the same rules."""


@dataclass(frozen=True)
class Wanted:
    """How often is divided, into how many parts."""

    folds: int
    repeats: int

    @property
    def networks(self) -> int:
        """How many networks are trained."""
        return self.folds * self.repeats


@dataclass(frozen=True)
class Learned:
    """What came of all parts.

    Parameters
    ----------
    fitted : learn.fit.Fitted
        All networks as one.
    logits : ndarray, (repeats, n, outputs)
        Raw scores of each row by the network that had not seen its patient.
    inside : sequence of sequence of ndarray
        ``inside[repeat][part]``: raw scores of the rows outside the part, by which that part's probabilities and line
        are learned; by networks that saw neither the part nor that row.
    """

    fitted: Any
    logits: np.ndarray
    inside: Sequence[Sequence[np.ndarray]]


def learn(store, divided: Divided, drawn, material: Material, parts, wanted: Wanted, out: Path, *, progress) -> Learned:
    """Train a network for each part of each repeat; what a killed training had finished is not trained again."""
    from overread.learn.framework import natives_to

    with natives_to(out / "framework.log"):
        if drawn.network == "features":
            return _lines(divided, drawn, material, parts, wanted, progress=progress)
        return _networks(store, divided, drawn, material, parts, wanted, out, progress=progress)


def each_part(parts: np.ndarray, folds: int) -> Iterator[tuple[int, int, np.ndarray, np.ndarray]]:
    """Yield repeat, part, and the rows outside and inside it."""
    for repeat, row in enumerate(parts):
        for part in range(folds):
            yield repeat, part, np.flatnonzero(row != part), np.flatnonzero(row == part)


def _lines(divided: Divided, drawn, material: Material, parts, wanted: Wanted, *, progress) -> Learned:
    """Fit a line for each part on frozen features, which are made once; the mean of the lines is a line."""
    from overread.learn import frozen, losses
    from overread.learn.fit import Fitted
    from overread.learn.starts_network import built_for

    began = time.monotonic()
    built, truth = built_for(drawn), material.truth["training"]
    inputs = material.inputs["training"]
    with bar(total=-(-len(inputs) // 32), what="frozen features", unit="batch", show=progress) as on:
        x = frozen.features(built, inputs, tick=on.update)
    targets = losses.targets(drawn.task.kind, truth)
    who = np.array([str(w) for w in whose(divided.split.cohorts["training"], divided.certificate["copies"])])
    logits = np.full((wanted.repeats, *truth.shape), np.nan)
    kernels, biases, history = [], [], []
    inside: list[list[np.ndarray]] = [[] for _ in parts]
    with bar(total=wanted.networks, what="lines on parts", unit="part", show=progress) as on:
        for repeat, part, rest, test in each_part(parts, wanted.folds):
            rng = np.random.default_rng([drawn.seed, repeat, part])
            how = {
                "several": drawn.task.kind in ("multiclass", "ordinal"), "groups": who[rest], "rng": rng,
                "positive_weight": positive_weights(truth[rest]) if drawn.weigh_classes else None,
            }  # fmt: skip
            line = linear_head.choose(x[rest], targets[rest], **how)
            inside[repeat].append(linear_head.out_of_fold(x[rest], targets[rest], **how, penalty=line.penalty))
            logits[repeat, test] = line.logits(x[test])
            kernels.append(line.kernel)
            biases.append(line.bias)
            history.append({"epoch": len(history) + 1, "loss": line.loss[line.penalty], "tuning": None, "penalty": line.penalty})  # fmt: skip
            on.update()
    mean = [np.mean(kernels, axis=0).astype(np.float32), np.mean(biases, axis=0).astype(np.float32)]
    built.trained.get_layer("head").set_weights(mean)
    return Learned(Fitted(built, history, time.monotonic() - began), logits, inside)


def _networks(
    store, divided: Divided, drawn, material: Material, parts, wanted: Wanted, out: Path, *, progress
) -> Learned:
    """Train a network for each part, its settings drawn up on that part's training patients; put them together."""
    from overread.learn import fit as fitting
    from overread.learn.members import together

    (out / "checkpoint").mkdir(exist_ok=True)
    inputs, truth = material.inputs["training"], material.truth["training"]
    entries = divided.split.cohorts["training"]
    logits = np.full((wanted.repeats, *truth.shape), np.nan)
    built, history, seconds = [], [], 0.0
    with bar(total=wanted.networks, what=f"train {drawn.network} on parts", unit="network", show=progress) as on:
        for repeat, part, rest, test in each_part(parts, wanted.folds):
            number = repeat * wanted.folds + part
            own = replace(
                divided.split,
                cohorts={**divided.split.cohorts, "training": tuple(entries[i] for i in rest)},
                overlap=None,
            )
            plan = _for_part(store, replace(divided, split=own), drawn, seed=drawn.seed + number)
            who = [patient or study for _, study, patient in own.cohorts["training"]]
            _, how = trainer_of(plan, groups=who, n=len(rest))
            fitted = how(
                plan,
                training=(np.asarray(inputs[rest]), truth[rest]),
                tuning=(np.asarray(inputs[:0]), truth[:0]),
                score=watched,
                checkpoint=out / "checkpoint" / f"{plan.network}.{number}.npz",
            )
            one = together([fitted.built], views=plan.views)
            logits[repeat, test] = fitting.logits(one, np.asarray(inputs[test]))
            built.append(one)
            history += [{**epoch, "network": number} for epoch in fitted.history]
            seconds += fitted.seconds
            on.update()
    # no row's own network is among those that calibrate it; these had learned from the part that is tested
    inside = [[logits[r, parts[r] != part] for part in range(wanted.folds)] for r in range(wanted.repeats)]
    return Learned(fitting.Fitted(together(built), history, seconds), logits, inside)


def _for_part(store, divided: Divided, drawn, *, seed: int) -> planning.Plan:
    """Return the plan of one part's network: drawn up on its own training patients, but for the grid that all share.

    A plan that a person handed over stands as it is.
    """
    if drawn.parts["ensemble"].get("rule") != DRAWN:
        return replace(drawn, seed=seed, ensemble=1)
    told = {
        "side_matters": None
        if drawn.parts["sides"]["rule"] not in _TOLD
        else "left-right" not in drawn.parts["sides"]["flips"]
    }
    start = of_plan(drawn) if drawn.start.get("name") == pretrained_start.NAME else None
    own = planned.draw_up(store, divided, network=drawn.network, start=start, **told, progress=False)
    shared = {
        name: drawn.parts[name]
        for name in ("intensity", "input", "network", *(("start",) if "start" in drawn.parts else ()))
    }
    parts = {**own.parts, **shared}
    if "spacing_mm" in shared["input"]:  # the grid of all, on which not every turn that a part's own grid allows is one
        parts["sides"] = square_sides(parts["sides"], shared["input"]["size"], shared["input"]["spacing_mm"])
    one = rounding.at(planning.planned(drawn.task, parts), drawn.optimiser.get("precision"))
    return replace(one, seed=seed, ensemble=1)


_TOLD = ("side matters: told", "side does not matter: told")
