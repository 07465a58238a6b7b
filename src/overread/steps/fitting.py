"""The part of a training that learns: network inputs made once, a network fitted and exported, the baseline beside it."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from overread.domain import COHORTS, Study, fingerprint
from overread.domain.canonical import plain
from overread.learn import plan as planning
from overread.learn import plan_budget, plan_file
from overread.learn.pretrained_start import NAME
from overread.learn.trainer import trainer_of
from overread.stats import metrics
from overread.stats.splits import Split
from overread.steps import jointly
from overread.steps import plan as planned
from overread.steps.held_out import HELD_OUT, Material, score_baseline
from overread.steps.opened import address_of, bring
from overread.steps.progress import bar, say
from overread.steps.question import truth
from overread.steps.run import write, write_json, write_scores
from overread.store.archive import Archive

BASELINE_SCORES = "scores.simple-cnn.csv"
BASELINE = "simple-cnn"
"""Trained beside every other network, on the same split, for the report."""


def fit(
    store: Archive,
    split: Split,
    by_name: Mapping[str, Study],
    plan: planning.Plan,
    out: Path,
    *,
    budget: float | None,
    started: float,
    seeds: int | None = None,
    cache: Path | None = None,
    cluster: jointly.Cluster | None = None,
    progress: bool,
):
    """Train the plan's networks; return what was fitted, the inputs, and the plan as far as the budget allowed it.

    Networks train one after another, each with its own checkpoint: what was killed goes on where it was. When the time
    is up, those that are trained answer together, or the only one as far as it came. On a cluster several processes share
    each network's batches.
    """
    from overread.learn.framework import natives_to  # Keras comes in here, and only when something is trained
    from overread.learn.members import together
    from overread.learn.networks import NETWORKS

    material = make_material(store, split, by_name, plan, cache or out / "cache", progress=progress)
    if budget and plan.network != "features" and not (out / "plan.json").exists():  # resuming: decided when it began
        left = budget - (time.monotonic() - started)
        plan = planned.within(plan, left, n=len(material.inputs["training"]), seeds=seeds)
        write(out / planned.NAME, plan_file.written(plan.head, plan.parts))
    write_json(out / "plan.json", planning.record(plan))
    (out / "checkpoint").mkdir(exist_ok=True)
    who = [patient or study for _, study, patient in split.cohorts["training"]]
    total, how = trainer_of(plan, groups=who, n=len(material.inputs["training"]))
    if cluster is not None and plan.network in NETWORKS and plan.start.get("name") != NAME:
        how = partial(jointly.fit, cluster=cluster, out=out, progress=progress)
    elif cluster is not None:
        say(progress, f"a network of the kind {plan.network!r}, or one with a start, is trained by this machine alone")
    alone: dict[int, Any] = {}
    begun = plan
    latest = started + plan_budget.LATEST * budget if budget else math.inf
    with (
        natives_to(out / "framework.log"),
        bar(total=total * plan.ensemble, what=f"train {plan.network}", unit="step", show=progress) as line,
    ):
        for number in range(plan.ensemble):
            own, began = plan_budget.of_one(plan, number), time.monotonic()
            tell, ended = _teller(line, number * total, plan.ensemble, number), []
            fitted = how(
                own,
                training=(material.inputs["training"], material.truth["training"]),
                tuning=(material.inputs["tuning"], material.truth["tuning"]),
                score=watched,
                checkpoint=out / "checkpoint" / f"{plan.network}{f'.{number}' if number else ''}.npz",
                tell=tell if cluster is not None else _until(latest, tell, ended),
            )
            if ended and alone:  # half a network says nothing beside whole ones
                plan = plan_budget.stopped_at(plan, len(alone))
                break
            alone[own.seed] = fitted
            if ended:
                plan = plan_budget.ended_early(plan, len(fitted.history))
            now = time.monotonic()
            if number + 1 < plan.ensemble and now + (now - began) > latest:  # the next one would not be whole in time
                plan = plan_budget.stopped_at(plan, number + 1)
                break
        if plan is not begun:
            write(out / planned.NAME, plan_file.written(plan.head, plan.parts))
        first = next(iter(alone.values()))
        if len(alone) > 1 or plan.views:
            built = together([f.built for f in alone.values()], views=plan.views)
            first = replace(first, built=built, seconds=sum(f.seconds for f in alone.values()), alone=alone)
    return first, material, plan


def watched(logits: np.ndarray, known: np.ndarray) -> float:
    """Return the figure that is watched on the tuning cohort."""
    return metrics.mean_auroc(known, logits)


def _until(latest: float, tell, ended: list[int]):
    """Return what tells as `tell` does, and says at an epoch's end that the time is up; ``ended`` gets how many were done."""

    def told(news: dict[str, Any]) -> bool:
        tell(news)
        up = "tuning" in news and news["epoch"] + 1 < news["epochs"] and time.monotonic() > latest
        if up:
            ended.append(news["epoch"] + 1)
        return up

    return told


def _teller(line, before: int = 0, networks: int = 1, number: int = 0):
    """Return what moves the bar after every step and shows the figures beside it."""
    tuning = ["–"]

    def tell(news: dict[str, Any]) -> None:
        line.update(before + news["epoch"] * news["steps"] + news["step"] - line.n)
        which = {"network": f"{number + 1}/{networks}"} if networks > 1 else {}
        told = {**which, "epoch": f"{news['epoch'] + 1}/{news['epochs']}", "loss": f"{news['loss']:.3f}"}
        if news.get("tuning") is not None:
            tuning[0] = f"{news['tuning']:.3f}"
        line.set_postfix({**told, "tuning AUROC": tuning[0]}, refresh=False)

    return tell


def make_material(store, split, by_name, plan, cache: Path, *, progress: bool) -> Material:
    """Preprocess every image once; what an earlier, killed training left whole is used again."""
    from overread.learn.batches import preprocess_once

    cache.mkdir(parents=True, exist_ok=True)
    inputs, known = {}, {}
    total = sum(len(split.cohorts[c]) for c in COHORTS)
    bring(store, (store.describe(image) for c in COHORTS for image, _, _ in split.cohorts[c]), show=progress)
    with bar(total=total, what="preprocess", unit="image", show=progress) as line:
        for cohort in COHORTS:
            rows = split.cohorts[cohort]
            key = fingerprint([plain(plan.recipe), [image for image, _, _ in rows]])[:16]
            kept = cache / f"{cohort}-{key}.npy"
            known[cohort] = truth([by_name[study] for _, study, _ in rows], plan.task)
            if not rows:  # of a cross-validated run: training came first
                inputs[cohort] = inputs["training"][:0]
                continue
            if kept.exists():
                inputs[cohort] = np.load(kept, mmap_mode="r")
                line.update(len(rows))
                continue
            images = (store.image(image) for image, _, _ in rows)
            inputs[cohort] = preprocess_once(images, recipe=plan.recipe, count=len(rows), into=kept, tick=line.update)
    return Material(inputs, known)


def keep(fitted, plan, out: Path, material: Material, *, archive: Path, progress: bool) -> None:
    """Write weights, graph and head; the graph only after it has agreed with the network on real images."""
    from overread.learn import export
    from overread.learn.framework import natives_to

    say(progress, "export the graph, and check it against the network on real images")
    with natives_to(out / "framework.log"):
        examples = np.asarray(material.inputs["tuning"][:16])
        worst = export.export(fitted.built, out / "model.onnx", examples=examples)
        no_slopes = export.export_slopes(fitted.built, out / "model.onnx", out / "gradient.onnx", examples=examples)
    if no_slopes:
        say(progress, f"no integrated gradients for this run: {no_slopes}")
    part = out / "weights.part.keras"
    fitted.built.trained.save(part)
    part.replace(out / "weights.keras")
    np.savez(out / "head.part.npz", **export.head(fitted.built))
    (out / "head.part.npz").replace(out / "head.npz")
    story = {"epochs": fitted.history, "seconds": round(fitted.seconds, 1), "export_difference": worst}
    if len(fitted.alone) > 1:
        each = ({"seed": s, "seconds": round(f.seconds, 1), "epochs": f.history} for s, f in fitted.alone.items())
        story["networks"] = list(each)
    write_json(out / "history.json", story)
    # where the archive lies from here: no user's folders travel with a run
    write_json(
        out / "plan.json", planning.record(plan) | {"archive": address_of(archive) or os.path.relpath(archive, out)}
    )


def score_alone(out: Path, fitted, plan: planning.Plan, split: Split, material: Material, *, progress: bool) -> None:
    """Write what each of several networks says by itself, ``scores.seed-<seed>.csv``: how far chance alone moves it."""
    if len(fitted.alone) < 2:
        return
    from overread.learn import fit as fitting
    from overread.learn.members import together

    rows = [(cohort, *entry) for cohort in HELD_OUT for entry in split.cohorts[cohort]]
    known = np.concatenate([material.truth[cohort] for cohort in HELD_OUT])
    inputs = [material.inputs[cohort] for cohort in HELD_OUT if len(material.inputs[cohort])]
    each = bar(fitted.alone.items(), total=len(fitted.alone), what="score each network", unit="network", show=progress)
    for seed, alone in each:
        one = together([alone.built], views=plan.views)
        found = np.concatenate([fitting.logits(one, x) for x in inputs])
        write_scores(out / f"scores.seed-{seed}.csv", rows, known, found, labels=plan.task.labels)


def train_baseline(store: Archive, divided: planned.Divided, out: Path, *, progress: bool) -> None:
    """Train the article's network on the same split and keep its scores for the report."""
    from overread.learn import export
    from overread.learn.framework import natives_to

    plan = planned.draw_up(store, divided, network=BASELINE, side_matters=None, progress=progress)
    home = out / "baseline"
    home.mkdir(exist_ok=True)
    split = divided.split
    fitted, material, _ = fit(store, split, divided.by_name, plan, home, budget=None, started=0.0, progress=progress)
    with natives_to(home / "framework.log"):
        export.export(fitted.built, out / "baseline.onnx", examples=np.asarray(material.inputs["tuning"][:16]))
    score_baseline(out, out / "baseline.onnx", split, material, plan.task, name=BASELINE_SCORES, progress=progress)
    write_json(
        out / "baseline.json",
        {
            "network": BASELINE,
            "seconds": round(fitted.seconds, 1),
            "parameters": int(fitted.built.trained.count_params()),
        },
    )
    (out / "baseline.onnx").unlink()
