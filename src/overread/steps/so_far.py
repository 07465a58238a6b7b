"""The best so far: while a long training goes on, a folder in the run that answers for new images already.

It is what ``export --format run`` makes, of the best network that is there, and was never shown the testing cohort: no
figure of it exists.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from overread.domain import ModelCard
from overread.domain.canonical import plain
from overread.learn import plan as planning
from overread.learn.predict import sha256
from overread.steps.export import ANSWERING
from overread.steps.fitting import keep
from overread.steps.held_out import Material, calibrate, score
from overread.steps.plan import Divided
from overread.steps.progress import say
from overread.steps.run import LEFT_OUT, environment, read_json, write_json

NAME = "best-so-far"

NOT_MEASURED = (
    "best so far of a training that goes on: its testing cohort was not read, and nobody knows how good it is"
)


def keep_so_far(
    out: Path, fitted, drawn: planning.Plan, divided: Divided, material: Material, *, archive: Path,
    sensitivity: float, now: datetime, progress: bool,
) -> Path:  # fmt: skip
    """Write a folder that answers for new images, and put it in the place of an earlier one once it is whole.

    Probabilities and operating point are learned on the calibration cohort, as in a finished run; of testing nothing is
    run or written.
    """
    part, old = out / f"{NAME}.part", out / f"{NAME}.old"
    for folder in (part, old):
        shutil.rmtree(folder, ignore_errors=True)
    part.mkdir()
    keep(fitted, drawn, part, material, archive=archive, progress=False)
    split = replace(divided.split, cohorts={**divided.split.cohorts, "testing": ()})
    seen = Material(
        {**material.inputs, "testing": material.inputs["testing"][:0]},
        {**material.truth, "testing": material.truth["testing"][:0]},
    )
    how = {
        "copies": divided.certificate["copies"],
        "weighed": drawn.weigh_classes,
        "study": drawn.parts.get("study", {}),
    }
    held = score(part, split, seen, drawn.task, **how, progress=False)
    calibrate(part, held, drawn.task, sensitivity=sensitivity, seed=divided.seed)
    _seal(part, fitted, drawn, now=now)
    if (out / NAME).exists():
        (out / NAME).replace(old)
    part.replace(out / NAME)
    shutil.rmtree(old, ignore_errors=True)
    say(progress, f"a first network answers already: overread predict {out / NAME} IMAGE --out …")
    return out / NAME


def _seal(folder: Path, fitted, drawn: planning.Plan, *, now: datetime) -> None:
    """Leave what answers, under a card and a manifest of its own."""
    left = sorted(p.name for p in folder.iterdir() if p.name not in ANSWERING)
    for name in left:
        (folder / name).unlink()
    files = {name: sha256(folder / name) for name in ANSWERING if (folder / name).is_file()}
    kept = read_json(folder / "calibration.json")
    card = ModelCard(
        name=f"{drawn.task.name} ({drawn.network}), best so far",
        version=now.strftime("%Y.%m.%d"),
        task=plain(drawn.task),
        recipe=plain(drawn.recipe),
        network={"name": drawn.network, "input_shape": drawn.input_shape, "parameters": int(fitted.built.trained.count_params())},
        hashes=files,
        cohorts={},
        training={"plan": {k: v for k, v in planning.record(drawn).items() if k not in ("task", "recipe")}, "versions": environment()},
        operating_points=kept["operating_points"],
        calibration={k: v for k, v in kept["calibration"].items() if k != "refits"},
        limits=(NOT_MEASURED,),
    )  # fmt: skip
    write_json(folder / "card.json", plain(card))
    write_json(folder / "manifest.json", {"files": files, "card": card.fingerprint, LEFT_OUT: left})


def clear(out: Path) -> None:
    """Take away what served while the training went on."""
    for name in (NAME, f"{NAME}.part", f"{NAME}.old"):
        shutil.rmtree(out / name, ignore_errors=True)
