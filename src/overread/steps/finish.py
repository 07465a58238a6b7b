"""From a fitted network to a finished run: export, scores, calibration, what the network reads, the card, the seal, figures."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from overread.domain.canonical import plain
from overread.learn import plan as planning
from overread.steps import corruptions, cost, probes
from overread.steps import evaluate as evaluating
from overread.steps.describe import card_of
from overread.steps.fitting import BASELINE, BASELINE_SCORES, keep, score_alone, train_baseline
from overread.steps.held_out import Material, calibrate, score
from overread.steps.plan import Divided
from overread.steps.progress import say
from overread.steps.run import Run, read_json, seal, write_json
from overread.store.archive import Archive

SPENT = "spent.json"
"""What was spent until now, while a run is unfinished."""


@dataclass(frozen=True)
class Begun:
    """What a training began with that its end needs.

    Parameters
    ----------
    archive : Path
    sensitivity : float
        What the operating point must reach on the calibration cohort.
    seed : int
    baseline : bool
        Also train the article's network, for the report.
    meter : cost.Meter
        What had been spent before.
    started : float
        Of the monotonic clock.
    code : str
        SHA-256 of this package when it began.
    now : datetime
    progress : bool
    """

    archive: Path
    sensitivity: float
    seed: int
    baseline: bool
    meter: cost.Meter
    started: float
    code: str
    now: datetime
    progress: bool


def finish(
    out: Path, store: Archive, divided: Divided, fitted, material: Material, drawn: planning.Plan, begun: Begun
) -> None:
    """Write all that a run holds but its figures, and seal it."""
    split, progress = divided.split, begun.progress
    copies = divided.certificate["copies"]
    keep(fitted, drawn, out, material, archive=begun.archive, progress=progress)
    how = {"copies": copies, "weighed": drawn.weigh_classes, "study": drawn.parts.get("study", {})}
    held = score(out, split, material, drawn.task, **how, progress=progress)
    score_alone(out, fitted, drawn, split, material, progress=progress)
    calibrate(out, held, drawn.task, sensitivity=begun.sensitivity, seed=begun.seed)
    like = {"copies": copies, "seed": begun.seed, "progress": progress}
    probed = probes.probe(out, split, material, divided.by_name, store, drawn.task, **like)
    write_json(out / probes.NAME, probed)
    for told in probes.warnings(probed):
        say(progress, f"  ! {told}")
    write_json(out / corruptions.NAME, corruptions.corrupt(out, split, material, drawn.task, **like))
    if begun.baseline and drawn.network != BASELINE and not (out / BASELINE_SCORES).exists():
        train_baseline(store, divided, out, progress=progress)
    hashes = seal(out)
    few = (store.image(image) for image, _, _ in split.cohorts["calibration"][:32])
    paid = {
        "training": cost.of_training(begun.meter),
        "prediction": cost.of_prediction(out / "model.onnx", drawn.recipe, few),
    }
    spent = {"started": begun.started, "cost": paid}
    card = card_of(out, drawn, split, divided.by_name, fitted, {**hashes, "code": begun.code}, **spent, now=begun.now)
    write_json(out / "card.json", plain(card))
    seal(out, card=card.fingerprint)


def close(out: Path, begun: Begun) -> Run:
    """Take away what served while it was trained, read the testing cohort, and return the finished run."""
    for folder in ("cache", "baseline"):
        shutil.rmtree(out / folder, ignore_errors=True)
    (out / "framework.log").unlink(missing_ok=True)  # of use only after a crash
    (out / SPENT).unlink(missing_ok=True)  # stands in the card now
    (out / "unfinished").unlink()  # from here on it is a run; `evaluate` can be repeated by itself
    evaluation = evaluating.evaluate(out, now=begun.now, progress=begun.progress)
    return Run(out, evaluation.metrics, _told(out, evaluation, time.monotonic() - begun.started))


def _told(out: Path, evaluation, seconds: float) -> str:
    trained = read_json(out / "card.json")["training"][
        "seconds_in_all"
    ]  # what the card says, which is older than the figures
    return f"{evaluation}\ntrained in {trained:.0f} s, evaluated in {max(0, seconds - trained):.0f} s"
