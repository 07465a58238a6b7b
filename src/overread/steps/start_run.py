"""A finished run as a start: what its network has learned for one question, for a network that is asked another."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from overread.errors import RunError
from overread.learn import pretrained_start
from overread.learn.predict import check_manifest
from overread.learn.pretrained_start import LICENCE, PRIVACY, Given
from overread.steps.run import read_json, refuse_unsealed

LEARNED = ("training", "tuning")
"""Cohorts of which a run has learned, or by which it was watched."""


def of_run(run: Path, into: Path) -> Given:
    """Write a run's network as a start, the same one each time, and return it.

    Parameters
    ----------
    run : Path
    into : Path
        An empty folder.

    Raises
    ------
    RunError
        When its network is not the residual one.
    IntegrityError
        When the run was changed.
    """
    check_manifest(run)
    refuse_unsealed(run)
    plan = read_json(run / "plan.json")
    if plan["network"] != "residual":
        raise RunError(f"a run of the network {plan['network']!r}", expected="one of the residual network", do="name another run, or a start that `overread pretrain` wrote")  # fmt: skip
    weights = _weights(run / "weights.keras")
    cohorts = read_json(run / "split.json")["cohorts"]
    cases = [case for cohort in LEARNED for case in cohorts[cohort]]
    people = {case["patient"] or case["study"] for case in cases}
    known = all(case["patient"] for case in cases)
    return pretrained_start.write(
        into, {**_told(run, plan), "images": len(cases), "patients": len(people) if known else None}, weights,
        images=(case["image"] for case in cases), people=people,
    )  # fmt: skip


def _told(run: Path, plan: dict[str, Any]) -> dict[str, Any]:
    """Return what the run says of itself; the same each time, so that the start has one hash."""
    salt = hashlib.sha256((run / "weights.keras").read_bytes()).hexdigest()[:32]
    steps = [s for s in plan["recipe"]["steps"] if s["name"] not in ("resize", "standardise")]
    task, shape = plan["task"], list(plan["input_shape"])
    build = {k: v for k, v in plan["build"].items() if v is not None}
    return {
        "name": f"the network of a run that answers {task['name']!r}", "method": f"a run that learned to answer {task['name']!r}",
        "network": {"name": "residual", "blocks": 1, "stem_stride": 2, "stem_kernel": 4, **build}, "dimensions": len(shape) - 1,
        "input_shape": shape, "intensity": [{"step": s["name"], **s["args"]} for s in steps],
        "images_are": {"unit": task.get("unit", ""), "channels": shape[-1], "eight_bit": task.get("eight_bit", False), "modality": task.get("modality", "")},
        "salt": salt, "seed": plan["seed"], "licence": LICENCE, "privacy": PRIVACY,
    }  # fmt: skip


def _weights(file: Path) -> dict[str, np.ndarray]:
    """Return the weights of the run's network; of several that answer together, those of the first."""
    from overread.learn import augment, members, pretrained  # their layers are in the file
    from overread.learn.framework import keras, natives_to

    assert augment and members
    with natives_to(None):
        model = keras.saving.load_model(file, compile=False, safe_mode=True)
        first = next((layer for layer in model.layers if layer.name == "member0"), model)
        return pretrained.taken(first)
