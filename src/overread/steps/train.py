"""Train: divide by patient, plan, fit, export under check, calibrate, and read the testing cohort once."""

from __future__ import annotations

import json
import platform
import shutil
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from overread import __version__
from overread.domain import COHORTS, ModelCard, Study, fingerprint
from overread.domain.canonical import plain
from overread.errors import CohortError, RunError
from overread.learn import plan as planning
from overread.learn import predict
from overread.stats import calibration as calibrating
from overread.stats import metrics, splits
from overread.steps import evaluate as evaluating
from overread.steps.progress import bar
from overread.steps.question import ask, columns, truth
from overread.steps.run import Run, code_fingerprint, environment, read_json, seal, write_json, write_scores
from overread.store.archive import Archive

BASELINE = "simple-cnn"
"""Trained beside every other network, on the same split, for the report."""


@dataclass(frozen=True)
class _Material:
    """What one network trains on: preprocessed images and truth of each cohort."""

    inputs: dict[str, np.ndarray]
    truth: dict[str, np.ndarray]


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
    out = Path(out)
    now = now or datetime.now().astimezone()
    started = time.monotonic()
    path = _path_of(archive)
    settings = {
        "label": label,
        "network": network,
        "split_column": split_column,
        "seed": seed,
        "kind": kind,
        "side_matters": side_matters,
    }
    _prepare(out, settings, resume=resume)
    with ExitStack() as stack:
        store = stack.enter_context(Archive.open(path))
        studies = list(store.studies())
        if not studies:
            raise CohortError("an empty archive", expected="studies with labels", do="collect some first")
        task = ask(studies, label, kind=kind, side_matters=side_matters)
        task = replace(task, intended_use=intended_use)
        split = splits.divide(studies, labels=columns(task), seed=seed, published=split_column)
        by_name = {s.pseudonym: s for s in studies}
        write_json(out / "split.json", split.to_json())
        _say(progress, _split_told(split, path))

        plan = _plan(store, split, task, network, seed)
        fitted, material, plan = _fit(
            store, split, by_name, plan, out, budget=budget, started=started, progress=progress
        )
        _keep(fitted, plan, out, material, archive=path, settings=settings)
        scores = _scores(out, split, material, task)
        _calibrate(out, scores, task, sensitivity=sensitivity, seed=seed)
        hashes = seal(out)
        if baseline and network != BASELINE:
            _baseline(store, split, by_name, task, seed, out, progress=progress)
        card = _card(out, plan, split, by_name, fitted, hashes, started=started, now=now)
        write_json(out / "card.json", plain(card))
    shutil.rmtree(out / "cache", ignore_errors=True)
    (out / "framework.log").unlink(missing_ok=True)  # of use only after a crash
    evaluation = evaluating.evaluate(out, now=now, progress=progress)
    (out / "unfinished").unlink(missing_ok=True)
    return Run(out, evaluation.metrics, _told(out, evaluation, time.monotonic() - started))


def _path_of(archive: object) -> Path:
    return Path(getattr(archive, "archive", None) or getattr(archive, "path", None) or archive)  # type: ignore[arg-type]


def _prepare(out: Path, settings: dict[str, Any], *, resume: bool) -> None:
    """Make the run's folder, or take up an unfinished one when told to; never overwrite a finished one."""
    if (out / "manifest.json").exists() and not (out / "unfinished").exists():
        raise RunError(
            f"{out} holds a finished run", expected="a new folder", do="name another with --out, or delete it"
        )
    if (out / "unfinished").exists():
        before = read_json(out / "unfinished")
        if not resume:
            raise RunError(
                f"{out} holds an unfinished training", expected="--resume, or a new folder", do="add --resume to go on"
            )
        changed = sorted(k for k in settings if before.get(k) != settings[k])
        if changed:
            raise RunError(
                f"the unfinished training had another {', '.join(changed)}",
                expected="the same settings when resuming",
                do="repeat them, or name another folder",
            )
        return
    if out.exists() and any(out.iterdir()):
        raise RunError(f"{out} is not empty", expected="a new or empty folder", do="name another with --out")
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "unfinished", settings)


def _plan(store: Archive, split, task, network: str, seed: int) -> planning.Plan:
    hashes = [image for image, _, _ in split.cohorts["training"]]
    records = [store.describe(h) for h in hashes]
    seen = planning.fingerprint(
        {"shape": r.shape, "modality": r.modality, "unit": r.unit, "full_range": r.full_range} for r in records
    )
    intensities = None
    if seen.unit == "HU":
        sample = [store.image(h).voxels for h in hashes[:: max(1, len(hashes) // 100)]]
        values = np.concatenate([v.ravel()[:: max(1, v.size // 20_000)] for v in sample])
        intensities = tuple(round(float(v)) for v in np.percentile(values, (0.5, 99.5)))
    task = replace(task, modality=seen.modality)
    return planning.draw_up(task, seen, network=network, seed=seed, intensities=intensities)


def _fit(store, split, by_name, plan, out: Path, *, budget, started, progress: bool):
    from overread.learn import fit as fitting  # Keras comes in here, and only when something is trained
    from overread.learn.framework import natives_to

    material = _material(store, split, by_name, plan, out / "cache", progress=progress)
    if (out / "plan.json").exists():  # resuming: the plan is the one that was begun
        plan = replace(
            plan, epochs=read_json(out / "plan.json")["epochs"], reasons=tuple(read_json(out / "plan.json")["reasons"])
        )
    elif budget:
        left = parse_budget(budget) - (time.monotonic() - started)
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
            score=watch_score(plan.task.kind),
            checkpoint=out / "checkpoint" / f"{plan.network}.npz",
            tell=tell,
        )
    return fitted, material, plan


def watch_score(kind: str):
    """Return the figure to watch on the tuning cohort: the mean AUROC over the outputs, NaN where undefined."""

    def score(logits: np.ndarray, known: np.ndarray) -> float:
        each = []
        for k in range(known.shape[1]):
            there = ~np.isnan(known[:, k])
            if 0 < known[there, k].sum() < there.sum():
                each.append(metrics.delong(known[there, k], logits[there, k])[0])
        return float(np.mean(each)) if each else float("nan")

    return score


def _material(store, split, by_name, plan, cache: Path, *, progress: bool) -> _Material:
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
    return _Material(inputs, known)


def _keep(fitted, plan, out: Path, material: _Material, *, archive: Path, settings: dict) -> None:
    """Write weights, graph and head; the graph only after it has agreed with the network on real images."""
    from overread.learn import export
    from overread.learn.framework import natives_to

    with natives_to(out / "framework.log"):
        worst = export.export(fitted.built, out / "model.onnx", examples=np.asarray(material.inputs["tuning"][:16]))
    part = out / "weights.part.keras"
    fitted.built.trained.save(part)
    part.replace(out / "weights.keras")
    np.savez(out / "head.part.npz", **export.head(fitted.built))
    (out / "head.part.npz").replace(out / "head.npz")
    write_json(
        out / "history.json",
        {
            "epochs": fitted.history,
            "seconds": round(fitted.seconds, 1),
            "export_difference": worst,
            "archive": str(archive.resolve()),
        },
    )
    record = plain(plan) | {"archive": str(archive.resolve()), "settings": settings}
    write_json(out / "plan.json", record)


def _scores(out: Path, split, material: _Material, task, *, name: str = "scores.csv") -> dict[str, Any]:
    """Run the exported graph over every cohort but training, and keep the raw scores."""
    session = predict.open_graph(out / ("model.onnx" if name == "scores.csv" else "baseline.onnx"))
    rows, known, found = [], [], []
    for cohort in ("tuning", "calibration", "testing"):
        rows += [(cohort, *entry) for entry in split.cohorts[cohort]]
        known.append(material.truth[cohort])
        found += [z for z, _ in predict.run_graph(session, material.inputs[cohort])]
    known, logits = np.concatenate(known), np.array(found).reshape(-1, len(task.labels))
    write_scores(out / name, rows, known, logits, labels=task.labels)
    chosen = np.array([r[0] == "calibration" for r in rows])
    return {
        "logits": logits[chosen],
        "truth": known[chosen],
        "patients": [r[3] for r, c in zip(rows, chosen, strict=True) if c],
    }


def _calibrate(out: Path, scores: dict[str, Any], task, *, sensitivity: float, seed: int) -> None:
    """Fit probabilities and choose operating points, on the calibration cohort and nowhere else."""
    rng = np.random.default_rng(seed)
    fitted = calibrating.fit(scores["logits"], scores["truth"], scores["patients"], kind=task.kind, rng=rng)
    probabilities = fitted.probabilities(scores["logits"])
    points = {
        label: calibrating.operating_point(probabilities[:, k], scores["truth"][:, k], sensitivity=sensitivity)
        for k, label in enumerate(task.labels)
    }
    write_json(out / "calibration.json", {"calibration": fitted.to_json(), "operating_points": points})


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
    _scores(out, split, material, task, name="scores.simple-cnn.csv")
    write_json(
        out / "baseline.json",
        {
            "network": BASELINE,
            "seconds": round(fitted.seconds, 1),
            "parameters": int(fitted.built.trained.count_params()),
        },
    )
    shutil.rmtree(home)
    (out / "baseline.onnx").unlink()


def _card(
    out: Path, plan, split, by_name, fitted, hashes: dict[str, str], *, started: float, now: datetime
) -> ModelCard:
    calibration = read_json(out / "calibration.json")
    cohorts = {c: _cohort_told(split.cohorts[c], by_name, plan.task) for c in COHORTS}
    limits = list(split.warnings) + list(calibration["calibration"]["notes"])
    if not plan.task.modality:
        limits.append(
            "the training images do not say their modality: a wrong kind of image cannot be refused by its header"
        )
    return ModelCard(
        name=f"{plan.task.name} ({plan.network})",
        version=now.strftime("%Y.%m.%d"),
        task=plain(plan.task),
        recipe=plain(plan.recipe),
        network={
            "name": plan.network,
            "input_shape": plan.input_shape,
            "parameters": int(fitted.built.trained.count_params()),
            "start": "random, by seed",
        },
        hashes={**{f"file:{k}": v for k, v in hashes.items()}, "code": code_fingerprint(), "split": split.hash},
        cohorts=cohorts,
        training={
            "plan": {k: v for k, v in plain(plan).items() if k not in ("task", "recipe")},
            "source_of_split": split.source,
            "seconds": round(fitted.seconds, 1),
            "seconds_in_all": round(time.monotonic() - started, 1),
            "machine": f"{platform.machine()}, {platform.system()}",
            "versions": {"overread": __version__, "python": platform.python_version(), **environment()},
        },
        operating_points=calibration["operating_points"],
        calibration={k: v for k, v in calibration["calibration"].items() if k != "refits"},
        limits=tuple(limits),
    )


def _cohort_told(rows, by_name: dict[str, Study], task) -> dict[str, Any]:
    studies = [by_name[study] for _, study, _ in rows]
    known = truth(studies, task)
    patients = {p for _, _, p in rows}
    return {
        "images": len(rows),
        "studies": len({s.pseudonym for s in studies}),
        "patients": None if None in patients else len(patients),
        "labels": {
            label: {
                "true": int((known[:, k] == 1).sum()),
                "false": int((known[:, k] == 0).sum()),
                "unknown": int(np.isnan(known[:, k]).sum()),
            }
            for k, label in enumerate(task.labels)
        },
        "fingerprint": fingerprint(sorted(image for image, _, _ in rows)),
    }


def parse_budget(text: str) -> float:
    """Return a budget in seconds.

    Examples
    --------
    >>> parse_budget("90s"), parse_budget("10m"), parse_budget("1.5h"), parse_budget("overnight")
    (90.0, 600.0, 5400.0, 28800.0)
    """
    if text == "overnight":
        return 8 * 3600.0
    unit = {"s": 1.0, "m": 60.0, "h": 3600.0}.get(text[-1:], 0.0)
    try:
        seconds = float(text[:-1]) * unit
    except ValueError:
        seconds = 0.0
    if not seconds > 0:
        raise RunError(f"a budget of {text!r}", expected="a time such as 90s, 10m, 1h or overnight", do="write it so")
    return seconds


def _split_told(split, archive: Path) -> str:
    counts = split.counts()
    who = "patients" if split.patients_known else "studies"
    parts = ", ".join(f"{c} {counts[c][who]}" for c in COHORTS)
    loud = "".join(f"\n  ! {w}" for w in split.warnings)
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
