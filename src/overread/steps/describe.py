"""Tell a trained model completely: the model card, with every hash that is needed to make it again."""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from overread import __version__
from overread.domain import COHORTS, ModelCard, Study, Task, fingerprint
from overread.domain.canonical import plain
from overread.learn import applications, pretrained_start
from overread.learn import plan as planning
from overread.learn.starts import STARTS
from overread.steps import elsewhere, jointly, nearest
from overread.steps.origin import in_short
from overread.steps.question import truth
from overread.steps.run import environment, lock_fingerprint, read_json
from overread.steps.start import HOME


def card_of(
    out: Path,
    plan,
    split,
    by_name,
    fitted,
    hashes: dict[str, str],
    *,
    started: float,
    cost: dict[str, Any],
    now: datetime,
) -> ModelCard:
    calibration = read_json(out / "calibration.json")
    cohorts = {c: _cohort_told(split.cohorts[c], by_name, plan.task) for c in COHORTS}
    limits = list(split.warnings) + list(calibration["calibration"]["notes"])
    if not plan.task.modality:
        limits.append(
            "the training images do not say their modality: a wrong kind of image cannot be refused by its header"
        )
    limits += unpromised(calibration["operating_points"], plan.task)
    return ModelCard(
        name=f"{plan.task.name} ({plan.network})",
        version=now.strftime("%Y.%m.%d"),
        task=plain(plan.task),
        recipe=plain(plan.recipe),
        network={
            "name": plan.network,
            "input_shape": plan.input_shape,
            "parameters": int(fitted.built.trained.count_params()),
            "start": _start_told(out, plan),
        },
        hashes={
            **hashes,
            "split": split.hash,
            "environment": fingerprint(environment()),
            **({"lock": lock} if (lock := lock_fingerprint()) else {}),
        },
        cohorts=cohorts,
        training={
            "plan": {k: v for k, v in planning.record(plan).items() if k not in ("task", "recipe")},
            "source_of_split": split.source,
            "seconds": round(fitted.seconds, 1),
            "seconds_in_all": round(time.monotonic() - started, 1),
            "cost": cost,
            **({"rounds": rounds} if (rounds := jointly.rounds(out)) else {}),
            **({"counted_by": joining["unit"]} if (joining := calibration.get("joining")) else {}),
            **in_short(out),
            "carries": carries(out),
            "machine": f"{platform.machine()}, {platform.system()}",
            "versions": {"overread": __version__, "python": platform.python_version(), **environment()},
        },
        operating_points=calibration["operating_points"],
        calibration={k: v for k, v in calibration["calibration"].items() if k != "refits"},
        limits=tuple(limits),
    )


def _start_told(out: Path, plan: planning.Plan) -> str:
    """Say what the weights began with, whose it is, and under which licence."""
    name = plan.start.get("name")
    if name == pretrained_start.NAME:
        return f"{name}: {pretrained_start.read(out / HOME, expected=plan.start['sha256']).in_words}"
    if name == applications.NAME:
        return applications.in_words(plan.start["application"], plan.start["sha256"])
    return STARTS[name].in_words if name in STARTS else "random, by seed"


def carries(run: Path) -> dict[str, Any]:
    """Return what a run holds of single cases, beside the weights; a copy without it: ``overread export --format run``."""
    with np.load(run / nearest.NAME, allow_pickle=False) as held:
        averages = len(held["rows"])
    listed = sum(len(rows) for rows in read_json(run / "split.json")["cohorts"].values())
    with np.load(run / elsewhere.NAME, allow_pickle=False) as held:
        signatures = len(held["images"])
    return {
        "feature_averages_of_training_images": averages,
        "signatures_of_images_learned_from": signatures,
        "images_listed_by_pseudonym": listed,
        "privacy_guarantee": "none",
        "attack_tried": "none",
    }


def unpromised(points: Mapping[str, Mapping[str, Any]], task: Task) -> list[str]:
    """Return of which labels no sensitivity can be promised; of none where the most probable level is called.

    Examples
    --------
    >>> points = {"x": {"promise": {"threshold": None, "in_words": "no threshold can be promised"}}}
    >>> unpromised(points, Task(("x",), "binary", "x")), unpromised(points, Task(("x", "y"), "ordinal", "z"))
    (['x: no threshold can be promised'], [])
    """
    if task.kind in ("multiclass", "ordinal"):
        return []  # nothing is called by a threshold: a limit on one would speak of what is not done
    return [f"{label}: {p['promise']['in_words']}" for label, p in points.items() if p["promise"]["threshold"] is None]


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
