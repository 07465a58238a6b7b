"""Train: divide by patient, plan, fit, export under check, calibrate, and read the testing cohort once."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from overread.domain import COHORTS, fingerprint
from overread.domain.canonical import plain
from overread.errors import CohortError
from overread.learn import plan as planning
from overread.stats import metrics, splits
from overread.steps import evaluate as evaluating
from overread.steps import leakage, probes, shortcuts
from overread.steps.begin import check_options, prepare, split_to_use
from overread.steps.describe import card_of
from overread.steps.held_out import Material, calibrate, score, score_baseline
from overread.steps.progress import bar
from overread.steps.question import ask, columns, truth
from overread.steps.run import Run, code_fingerprint, read_json, seal, write_json
from overread.store.archive import Archive

BASELINE_SCORES = "scores.simple-cnn.csv"
BASELINE = "simple-cnn"
"""Trained beside every other network, on the same split, for the report."""


def train(
    archive: object,
    *,
    label: str,
    out: str | Path = "run",
    network: str = "residual",
    split_column: str | None = None,
    budget: str | None = None,
    seed: int = 0,
    resume: bool = False,
    kind: str = "auto",
    sensitivity: float = 0.95,
    side_matters: bool = True,
    intended_use: str = "",
    baseline: bool = True,
    progress: bool = True,
    now: datetime | None = None,
) -> Run:
    """Train a network to answer one question about the studies of an archive, and report how well it does.

    Patients are divided into training, tuning, calibration and testing cohorts; the plan is drawn up from the
    training images; the network trains with a checkpoint every epoch; probabilities and the operating point come
    from the calibration cohort; the testing cohort is read once, at the end.

    Parameters
    ----------
    archive : path, Archive, or what ``collect`` returned
    label : str
        A label's name, or several yes-or-no labels with commas.
    out : path
        Folder for the run.
    network : str
        "residual" or "simple-cnn"; see ``overread networks``.
    split_column : str, optional
        Use a published split.
    budget : str, optional
        Time for training: "90s", "10m", "1h", "overnight".
    seed : int
    resume : bool
        Go on with an unfinished training in ``out``.
    kind : str
        "auto", or "ordinal" for a label whose levels have an order.
    sensitivity : float
        What the operating point must reach on the calibration cohort.
    side_matters : bool
        False allows left-right flips in augmentation.
    intended_use : str
        For the model card, in your words.
    baseline : bool
        Also train the article's network, for the report.
    progress : bool
    now : datetime, optional
        The time that the records carry.

    Returns
    -------
    Run

    Raises
    ------
    LabelError, CohortError, RunError
    """
    out, path = Path(out), _path_of(archive)
    now, started, code = now or datetime.now().astimezone(), time.monotonic(), code_fingerprint()
    seconds = check_options(network, budget, sensitivity, seed)
    with ExitStack() as stack:
        store = stack.enter_context(Archive.open(path))
        studies = list(store.studies())
        if not studies:
            raise CohortError("an empty archive", expected="studies with labels", do="collect some first")
        task = ask(studies, label, kind=kind, side_matters=side_matters)
        task = replace(task, intended_use=intended_use)
        column = split_to_use(studies, columns(task), split_column)
        copies = leakage.find_copies(store, progress=progress)
        split = splits.divide(studies, labels=columns(task), seed=seed, published=column, alike=copies.near)
        certificate = leakage.certify(split, copies, studies=studies, labels=columns(task))
        leakage.refuse_too_little(certificate, split)
        by_name = {s.pseudonym: s for s in studies}
        plan = _plan(store, split, task, network, seed)
        settings = {
            "plan": fingerprint(plain(plan)),
            "split": split.hash,
            "sensitivity": sensitivity,
            "baseline": baseline,
            "budget": budget,
        }
        prepare(out, settings, resume=resume)  # nothing is written before all that was asked is known to be possible
        write_json(out / "split.json", split.to_json())
        write_json(out / "leakage.json", certificate)
        found = shortcuts.look_for(store, split, by_name, task, copies=copies, seed=seed, progress=progress)
        write_json(out / shortcuts.NAME, found)
        also = [*leakage.warnings(certificate), *shortcuts.warnings(found)]
        _say(progress, _split_told(split, path, also=also))

        fitted, material, plan = _fit(
            store, split, by_name, plan, out, budget=seconds, started=started, progress=progress
        )
        _keep(fitted, plan, out, material, archive=path, progress=progress)
        how = {"copies": certificate["copies"], "weighed": plan.weigh_classes}
        held = score(out, split, material, plan.task, **how, progress=progress)
        calibrate(out, held, plan.task, sensitivity=sensitivity, seed=seed)
        probed = probes.probe(
            out, split, material, by_name, store, plan.task, copies=certificate["copies"], seed=seed, progress=progress
        )
        write_json(out / probes.NAME, probed)
        for told in probes.warnings(probed):
            _say(progress, f"  ! {told}")
        if baseline and network != BASELINE and not (out / BASELINE_SCORES).exists():
            _baseline(store, split, by_name, task, seed, out, progress=progress)
        hashes = seal(out)
        card = card_of(out, plan, split, by_name, fitted, {**hashes, "code": code}, started=started, now=now)
        write_json(out / "card.json", plain(card))
        seal(out, card=card.fingerprint)
    shutil.rmtree(out / "cache", ignore_errors=True)
    shutil.rmtree(out / "baseline", ignore_errors=True)
    (out / "framework.log").unlink(missing_ok=True)  # of use only after a crash
    (out / "unfinished").unlink()  # from here on it is a run; `evaluate` can be repeated by itself
    evaluation = evaluating.evaluate(out, now=now, progress=progress)
    return Run(out, evaluation.metrics, _told(out, evaluation, time.monotonic() - started))


def _path_of(archive: object) -> Path:
    return Path(getattr(archive, "archive", None) or getattr(archive, "path", None) or archive)  # type: ignore[arg-type]


def _plan(store: Archive, split, task, network: str, seed: int) -> planning.Plan:
    hashes = [image for image, _, _ in split.cohorts["training"]]
    records = [store.describe(h) for h in hashes]
    seen = planning.fingerprint(
        {
            "shape": r.shape,
            "modality": r.modality,
            "unit": r.unit,
            "full_range": r.full_range,
            "attributes": r.attributes,
        }
        for r in records
    )
    intensities = None
    if seen.unit == "HU":
        sample = [store.image(h).voxels for h in hashes[:: max(1, len(hashes) // 100)]]
        values = np.concatenate([v.ravel()[:: max(1, v.size // 20_000)] for v in sample])
        intensities = tuple(round(float(v)) for v in np.percentile(values, (0.5, 99.5)))
    header = {"modality": seen.modality, "body_part": seen.body_part, "view": seen.view}
    task = replace(task, **header, unit=seen.unit, eight_bit=seen.eight_bit)
    return planning.draw_up(task, seen, network=network, seed=seed, intensities=intensities)


def _fit(store, split, by_name, plan, out: Path, *, budget, started, progress: bool):
    from overread.learn import fit as fitting  # Keras comes in here, and only when something is trained
    from overread.learn.framework import natives_to

    material = _material(store, split, by_name, plan, out / "cache", progress=progress)
    if (out / "plan.json").exists():  # resuming: what the budget allowed was decided when it began
        begun = read_json(out / "plan.json")
        plan = replace(plan, epochs=begun["epochs"], reasons=tuple(begun["reasons"]))
    elif budget:
        left = budget - (time.monotonic() - started)
        with natives_to(out / "framework.log"):
            epochs, reason = fitting.epochs_within(plan, left, n=len(material.inputs["training"]))
        plan = planning.with_epochs(plan, epochs, reason)
    write_json(out / "plan.json", plan)
    (out / "checkpoint").mkdir(exist_ok=True)
    total = plan.epochs * max(1, len(material.inputs["training"]) // plan.batch)
    with (
        natives_to(out / "framework.log"),
        bar(total=total, what=f"train {plan.network}", unit="step", show=progress) as line,
    ):

        def tell(news: dict[str, Any]) -> None:
            line.update(news["epoch"] * news["steps"] + news["step"] - line.n)
            told = {"epoch": f"{news['epoch'] + 1}/{news['epochs']}", "loss": f"{news['loss']:.3f}"}
            if news.get("tuning") is not None:
                tell.tuning = f"{news['tuning']:.3f}"
            line.set_postfix({**told, "tuning AUROC": tell.tuning}, refresh=False)

        tell.tuning = "–"
        fitted = fitting.fit(
            plan,
            training=(material.inputs["training"], material.truth["training"]),
            tuning=(material.inputs["tuning"], material.truth["tuning"]),
            score=lambda logits, known: metrics.mean_auroc(known, logits),
            checkpoint=out / "checkpoint" / f"{plan.network}.npz",
            tell=tell,
        )
    return fitted, material, plan


def _material(store, split, by_name, plan, cache: Path, *, progress: bool) -> Material:
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


def _keep(fitted, plan, out: Path, material: Material, *, archive: Path, progress: bool) -> None:
    """Write weights, graph and head; the graph only after it has agreed with the network on real images."""
    from overread.learn import export
    from overread.learn.framework import natives_to

    _say(progress, "export the graph, and check it against the network on real images")
    with natives_to(out / "framework.log"):
        examples = np.asarray(material.inputs["tuning"][:16])
        worst = export.export(fitted.built, out / "model.onnx", examples=examples)
        no_slopes = export.export_slopes(fitted.built, out / "model.onnx", out / "gradient.onnx", examples=examples)
    if no_slopes:
        _say(progress, f"no integrated gradients for this run: {no_slopes}")
    part = out / "weights.part.keras"
    fitted.built.trained.save(part)
    part.replace(out / "weights.keras")
    np.savez(out / "head.part.npz", **export.head(fitted.built))
    (out / "head.part.npz").replace(out / "head.npz")
    story = {"epochs": fitted.history, "seconds": round(fitted.seconds, 1), "export_difference": worst}
    write_json(out / "history.json", story)
    # where the archive lies from here: no user's folders travel with a run
    write_json(out / "plan.json", plain(plan) | {"archive": os.path.relpath(archive, out)})


def _baseline(store, split, by_name, task, seed: int, out: Path, *, progress: bool) -> None:
    """Train the article's network on the same split and keep its scores for the report."""
    from overread.learn import export
    from overread.learn.framework import natives_to

    plan = _plan(store, split, task, BASELINE, seed)
    home = out / "baseline"
    home.mkdir(exist_ok=True)
    fitted, material, _ = _fit(store, split, by_name, plan, home, budget=None, started=0.0, progress=progress)
    with natives_to(home / "framework.log"):
        export.export(fitted.built, out / "baseline.onnx", examples=np.asarray(material.inputs["tuning"][:16]))
    score_baseline(out, out / "baseline.onnx", split, material, task, name=BASELINE_SCORES, progress=progress)
    write_json(
        out / "baseline.json",
        {
            "network": BASELINE,
            "seconds": round(fitted.seconds, 1),
            "parameters": int(fitted.built.trained.count_params()),
        },
    )
    (out / "baseline.onnx").unlink()


def _split_told(split, archive: Path, *, also: Sequence[str]) -> str:
    counts = split.counts()
    who = "patients" if split.patients_known else "studies"
    parts = ", ".join(f"{c} {counts[c][who]}" for c in COHORTS)
    loud = "".join(f"\n  ! {w}" for w in (*split.warnings, *also))
    return f"{archive}: {who} in {parts} ({split.source}){loud}"


def _say(progress: bool, text: str) -> None:
    if progress:
        import sys

        print(text, file=sys.stderr, flush=True)


def _told(out: Path, evaluation, seconds: float) -> str:
    return f"{evaluation}\ntrained and evaluated in {seconds:.0f} s\nreport: {out / 'report.html'}"


def history(run: str | Path) -> Sequence[dict[str, float]]:
    """Return what happened epoch by epoch: loss, and the tuning figure."""
    return json.loads((Path(run) / "history.json").read_text())["epochs"]
