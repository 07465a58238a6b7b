"""How far chance alone moves a figure: networks that differ by their seed only, on the same testing images.

``train --seeds N`` keeps the raw scores of each of its networks as ``scores.seed-<seed>.csv``; runs that were trained
one by one are named with ``evaluate RUN --seeds-from RUN2 RUN3``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import softmax

from overread.errors import RunError
from overread.learn.predict import check_manifest
from overread.stats.claims import spread
from overread.stats.ranking import delong
from overread.steps.run import read_json, refuse_unsealed
from overread.steps.scores import Question, Scores, read_scores

FILES = "scores.seed-*.csv"

SAME = ("task", "recipe", "network", "input_shape", "build", "batch", "epochs", "optimiser", "ema", "smoothing")
SAME += ("weigh_classes", "augmentation", "views", "start", "ensemble")
"""What two runs must have in common beside their testing images, to differ by their seed only."""


def seed_spread(run: Path, testing: Scores, how: Question, others: Sequence[Path] = ()) -> dict[str, dict[str, Any]]:
    """Return how the AUROC varies with the seed, by label; empty for a run of one network beside which none is named.

    Parameters
    ----------
    run : Path
    testing : Scores
        The run's own testing cohort as it is counted: each network is measured on these images.
    how : Question
    others : sequence of Path
        Runs of the same plan and testing images, with other seeds.

    Returns
    -------
    dict
        label → mean, sd, low, high (of the AUROC of single networks), n (networks). Of several levels, from the share that
        each network gives them, uncalibrated.

    Raises
    ------
    RunError
        When another run differs by more than its seed, or was not measured on these images.
    """
    tables = [read_scores(path, how.task.labels) for path in sorted(run.glob(FILES))]
    if others:
        plans = [read_json(run / "plan.json"), *(_plan(other) for other in others)]
        _refuse_other_plans(plans)
        tables = [testing, *(read_scores(other / "scores.csv", how.task.labels) for other in others)]
    if len(tables) < 2:
        return {}
    each = [_aurocs(_matched(table, testing), how) for table in tables]
    told = {}
    for label in each[0]:
        values = [found[label] for found in each]
        if np.isfinite(values).all():
            over = spread(values)
            told[label] = {"n": over["seeds"]} | {key: over[key] for key in ("mean", "sd", "low", "high")}
    return told


def _plan(run: Path) -> dict[str, Any]:
    check_manifest(run)
    refuse_unsealed(run)
    return read_json(run / "plan.json")


def _refuse_other_plans(plans: Sequence[dict[str, Any]]) -> None:
    """Raise unless all plans are one plan with seeds of their own."""
    for plan in plans[1:]:
        other = [key for key in SAME if plan.get(key) != plans[0].get(key)]
        if other:
            raise RunError(
                f"a run that differs by more than its seed: {', '.join(other)}",
                expected="runs of one plan",
                do="use `overread compare` for runs that differ, or `overread train --seeds N`",
            )
    seeds = [plan["seed"] for plan in plans]
    if len(set(seeds)) < len(seeds):
        raise RunError(
            f"{len(seeds)} runs with {len(set(seeds))} different seeds",
            expected="one seed each",
            do="name each run once, or train with another --seed",
        )


def _matched(table: Scores, testing: Scores) -> Scores:
    """Return a network's rows of the testing images, in their order, with what is known of them today."""
    where = {entry[1:3]: i for i, entry in enumerate(table.entries) if entry[0] not in ("tuning", "calibration")}
    missing = sum(entry[1:3] not in where for entry in testing.entries)
    if missing:
        raise RunError(
            f"a run that was not measured on {missing:,} of the {len(testing.entries):,} testing images",
            expected="the same testing cohort",
            do="train with one published split, or with `overread train --seeds N`, which divides once",
        )
    rows = table.at([where[entry[1:3]] for entry in testing.entries])
    return replace(rows, truth=testing.truth)


def _aurocs(cases: Scores, how: Question) -> dict[str, float]:
    """Return the AUROC of every label, and for a label with several levels the mean over them."""
    score = softmax(cases.logits, axis=1) if how.levels else cases.logits
    found = {label: _auroc(cases.truth[:, j], score[:, j]) for j, label in enumerate(how.task.labels)}
    if how.levels:
        known = [value for value in found.values() if np.isfinite(value)]
        return {how.task.name: float(np.mean(known)) if known else float("nan"), **found}
    return found


def _auroc(truth: np.ndarray, score: np.ndarray) -> float:
    known = ~np.isnan(truth)
    if not 0 < truth[known].sum() < known.sum():
        return float("nan")
    return delong(truth[known], score[known])[0]
