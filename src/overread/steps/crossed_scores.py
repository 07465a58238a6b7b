"""What a cross-validated run is measured on: every patient, as networks answered that had not seen it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from overread.errors import IntegrityError
from overread.stats import floors
from overread.stats.crossing import Crossed, all_widened
from overread.stats.joined import join
from overread.stats.metrics import mean_auroc
from overread.steps.run import is_sealed, read_json
from overread.steps.scores import CROSSED, Question, Scores

NAME, TOLD = "folds.npz", "folds.json"

APART = 1e-4
"""By which a raw score of ``scores.csv``, of six digits, may differ from the mean of its repeats."""


def is_crossed(run: Path) -> bool:
    """Say whether a run was trained by cross-validation."""
    return is_sealed(run, NAME)


def measured(run: Path, scores: Scores) -> Scores:
    """Return the rows that a run's figures are of: its testing cohort; of a cross-validated run without one, every patient.

    Raises
    ------
    IntegrityError
        When ``scores.csv`` and ``folds.npz`` do not belong together.
    """
    testing = scores.of("testing")
    return testing if testing.entries or not is_crossed(run) else crossed_rows(run, scores)


def crossed_rows(run: Path, scores: Scores) -> Scores:
    """Return the cross-validated rows, each with the probability and the line that were learned without its patient."""
    rows = scores.of(CROSSED)
    with np.load(run / NAME, allow_pickle=False) as held:
        kept = {name: held[name] for name in held.files}
    mean, images = kept["logits"].mean(axis=0), [str(v) for v in kept["images"]]
    if "unit" in kept:  # a row a study, or a patient
        mean, some = join(mean, kept["unit"].tolist(), str(kept["rule"]))
        images = [images[i] for own in some for i in own]
    if rows.images != images or np.abs(mean - rows.logits).max() > APART:
        raise IntegrityError(
            "scores.csv and folds.npz do not belong together",
            expected="the files that training wrote",
            do="restore the run from a copy you trust",
        )
    parts = ("probability", "interval", "threshold", "slack")
    return replace(
        rows,
        crossed=Crossed(
            *(kept[name] for name in parts), levels=bool(kept["levels"]), folds=int(kept["parts"].max()) + 1
        ),
    )


def probabilities(cases: Scores, fitted) -> tuple[np.ndarray, np.ndarray]:
    """Return probability (n, outputs) and interval (n, outputs, 2) of each row: its own where it has one."""
    if cases.crossed is not None:
        return cases.crossed.mean, cases.crossed.ends
    return fitted.probabilities(cases.logits), fitted.interval(cases.logits)


def widened(how: Question, cases: Scores, figures: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures of cross-validated rows with intervals that cover the drawing of the parts, too."""
    crossed = cases.crossed
    if crossed is None or crossed.repeats < 2:
        return dict(figures)
    each = []
    for repeat in range(crossed.repeats):
        once = replace(cases, crossed=crossed.once(repeat))
        each.append(how.figures(once, once.crossed.mean))
    return all_widened(figures, each, folds=crossed.folds)


def told(run: Path, cases: Scores) -> dict[str, Any]:
    """Return what figures say of a cross-validation: parts, repeats, and how far the repeats lie apart; {} for another run."""
    if not is_crossed(run):
        return {}
    found = read_json(run / TOLD)
    if cases.crossed is None:
        return found
    each = [mean_auroc(cases.truth, cases.crossed.once(r).mean) for r in range(cases.crossed.repeats)]
    return {**found, "auroc_of_each_repeat": [round(v, 6) for v in each]}


def floors_by_part(
    run: Path, images: list[str], thumbnails: np.ndarray, known: np.ndarray, *, kind: str, seed: int
) -> dict[str, np.ndarray]:
    """Return what the learned floors say of each row, each learned on the other parts of the first repeat.

    Parameters
    ----------
    run : Path
    images : list of str
        Of the rows.
    thumbnails : ndarray, (n, d)
    known : ndarray, (n, outputs)
    kind : str
    seed : int
    """
    with np.load(run / NAME, allow_pickle=False) as held:
        part = dict(zip((str(v) for v in held["images"]), held["parts"][0].tolist(), strict=True))
    of = np.array([part[image] for image in images])
    line, near = np.full(known.shape, np.nan), np.full(known.shape, np.nan)
    for k in np.unique(of):
        rest, test = of != k, of == k
        rng = np.random.default_rng([seed, int(k)])
        (line[test],) = floors.logistic(thumbnails[rest], known[rest], [thumbnails[test]], kind=kind, rng=rng)
        (near[test],) = floors.nearest(thumbnails[rest], known[rest], [thumbnails[test]])
    found = {f"logistic_thumbnails_{c}": line for c in ("calibration", "testing")}
    found |= {f"nearest_thumbnail_{c}": near for c in ("calibration", "testing")}
    return found | {"share": floors.majority(known, 1)[0]}
