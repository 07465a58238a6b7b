"""The part of a training that learns: network inputs made once, a network fitted and exported, the baseline beside it."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from overread.domain import COHORTS, Study, fingerprint
from overread.domain.canonical import plain
from overread.learn import plan as planning
from overread.learn import plan_file
from overread.stats import metrics
from overread.stats.splits import Split
from overread.steps import plan as planned
from overread.steps.held_out import Material, score_baseline
from overread.steps.progress import bar, say
from overread.steps.question import truth
from overread.steps.run import write, write_json
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
    progress: bool,
):
    """Train the plan's network; return what was fitted, the inputs, and the plan with the epochs that the budget allows."""
    from overread.learn import fit as fitting  # Keras comes in here, and only when something is trained
    from overread.learn.framework import natives_to

    material = make_material(store, split, by_name, plan, out / "cache", progress=progress)
    frozen = plan.network == "features"
    if budget and not frozen and not (out / "plan.json").exists():  # resuming: decided when it began
        left = budget - (time.monotonic() - started)
        with natives_to(out / "framework.log"):
            epochs, reason = fitting.epochs_within(plan, left, n=len(material.inputs["training"]))
        plan = planning.with_epochs(plan, epochs, reason)
        write(out / planned.NAME, plan_file.written(plan.head, plan.parts))
    write_json(out / "plan.json", planning.record(plan))
    (out / "checkpoint").mkdir(exist_ok=True)
    if frozen:
        from overread.learn import frozen as features

        total = features.steps(len(material.inputs["training"]))
        how = partial(features.fit, groups=[patient or study for _, study, patient in split.cohorts["training"]])
    else:
        total, how = plan.epochs * max(1, len(material.inputs["training"]) // plan.batch), fitting.fit
    with (
        natives_to(out / "framework.log"),
        bar(total=total, what=f"train {plan.network}", unit="step", show=progress) as line,
    ):
        tell = _teller(line)
        fitted = how(
            plan,
            training=(material.inputs["training"], material.truth["training"]),
            tuning=(material.inputs["tuning"], material.truth["tuning"]),
            score=lambda logits, known: metrics.mean_auroc(known, logits),
            checkpoint=out / "checkpoint" / f"{plan.network}.npz",
            tell=tell,
        )
    return fitted, material, plan


def _teller(line):
    """Return what moves the bar after every step and shows the figures beside it."""
    tuning = ["–"]

    def tell(news: dict[str, Any]) -> None:
        line.update(news["epoch"] * news["steps"] + news["step"] - line.n)
        told = {"epoch": f"{news['epoch'] + 1}/{news['epochs']}", "loss": f"{news['loss']:.3f}"}
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
    with bar(total=total, what="preprocess", unit="image", show=progress) as line:
        for cohort in COHORTS:
            rows = split.cohorts[cohort]
            key = fingerprint([plain(plan.recipe), [image for image, _, _ in rows]])[:16]
            kept = cache / f"{cohort}-{key}.npy"
            known[cohort] = truth([by_name[study] for _, study, _ in rows], plan.task)
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
    write_json(out / "history.json", story)
    # where the archive lies from here: no user's folders travel with a run
    write_json(out / "plan.json", planning.record(plan) | {"archive": os.path.relpath(archive, out)})


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
