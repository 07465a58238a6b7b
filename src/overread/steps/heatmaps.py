"""Test a kind of heat-map on a cohort, and keep the verdict with the run: only what has passed is shown in colour."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from overread.domain import Image, Task
from overread.domain.canonical import plain
from overread.errors import ExportError, RunError
from overread.imaging import preprocess
from overread.learn import saliency
from overread.learn.predict import Model
from overread.learn.saliency_tests import TWINS, learned, redrawn, trial
from overread.stats import maps
from overread.stats.resample import Who
from overread.stats.splits import Split
from overread.steps import leakage
from overread.steps.progress import bar
from overread.steps.run import as_json, read_json, seal_later
from overread.steps.scores import Scores, read_scores
from overread.store.archive import Archive

NAME = "heatmaps.json"

MOST = 100
"""Cases that are tested: their intervals are narrow enough, and the report does not wait."""


LABELLED = 64
"""Images, half of them with a label, on which the network must outdo all but a few networks with redrawn weights."""


@dataclass(frozen=True)
class Case:
    """One image and the output that its map explains."""

    image: Callable[[], Image]
    output: int
    patient: Who


def choose(
    probability: np.ndarray, points: Mapping[str, Mapping[str, Any]], task: Task, rng: np.random.Generator
) -> list[tuple[int, int]]:
    """Return the (row, output) pairs that are tested: drawn among those that a map would be opened for.

    Of yes-or-no labels those called present, and where they are fewer than the tests need, the next highest; of labels
    with levels every image, with the level that is called.

    Parameters
    ----------
    probability : ndarray, (n, outputs)
    points : mapping of label to operating point
    task : Task
    rng : numpy.random.Generator
    """
    if task.kind in ("multiclass", "ordinal"):
        rows = rng.permutation(len(probability))[:MOST]
        return [(int(i), int(probability[i].argmax())) for i in sorted(rows)]
    limits = np.array([points[label]["threshold"] for label in task.labels])
    pairs = [(int(i), int(j)) for i, j in np.argwhere(probability >= limits)]
    pairs = [pairs[i] for i in rng.permutation(len(pairs))[:MOST]]
    have = set(pairs)
    for flat in np.argsort(-(probability - limits), axis=None, kind="stable"):
        if len(pairs) >= min(maps.FEWEST, probability.size):
            break
        pair = tuple(int(v) for v in np.unravel_index(flat, probability.shape))
        pairs += [] if pair in have else [pair]
        have.add(pair)
    return sorted(pairs)


@dataclass(frozen=True)
class Panel:
    """What a kind of map is tested on: the cases, and labelled images on which the network must prove itself."""

    cases: Sequence[Case]
    images: Sequence[Callable[[], Image]]
    truth: np.ndarray


def headline(model: Model) -> Scores:
    """Return the scores of a run's testing cohort that count in its headline figures."""
    certificate = leakage.read_certificate(model.run, Split.from_json(read_json(model.run / "split.json")))
    return leakage.apart(certificate, read_scores(model.run / "scores.csv", model.task.labels)).of("testing")


def panel_of(model: Model, archive: Archive, *, seed: int) -> Panel:
    """Return what the maps of a run are tested on: the cases of its testing cohort that count in the headline."""
    rng = np.random.default_rng(seed)
    scores = headline(model)
    points = {label: {"threshold": limit} for label, limit in model.thresholds.items()}
    chosen = choose(model.probabilities(scores.logits), points, model.task, rng)
    rows = _both_answers(scores.truth, rng)
    patients = scores.patients
    return Panel(
        [Case(partial(archive.image, scores.entries[i][1]), k, patients[i]) for i, k in chosen],
        [partial(archive.image, scores.entries[i][1]) for i in rows],
        scores.truth[rows],
    )


def _both_answers(truth: np.ndarray, rng: np.random.Generator) -> list[int]:
    """Return rows with as many yes as no to each output, as far as there are, about `LABELLED` in all."""
    each = max(4, LABELLED // (2 * truth.shape[1]))
    rows: set[int] = set()
    for column in truth.T:
        for answer in (0, 1):
            rows |= {int(i) for i in rng.permutation(np.flatnonzero(column == answer))[:each]}
    return sorted(rows)


def judge(
    model: Model, panel: Panel, *, method: str = saliency.DEFAULT, seed: int = 0, progress: bool = False
) -> dict[str, Any]:
    """Return the verdict on one kind of heat-map of a model (see `stats.maps.verdict`).

    A method that this network cannot be explained by gets a verdict too, with the reason.

    Parameters
    ----------
    model : Model
    panel : Panel
        With at least ``stats.maps.FEWEST`` cases, or the verdict says that they are too few.
    method : str
    seed : int
    progress : bool
    """
    rng, n = np.random.default_rng(seed), len(panel.cases)
    if n < maps.FEWEST:
        return maps.verdict([{}] * n, None, rng, learned={})
    patients = [case.patient for case in panel.cases]
    several = model.task.kind in ("multiclass", "ordinal")
    trials: list[dict[str, Any]] = []
    try:
        others = redrawn(model, slopes=saliency.METHODS[method].slopes, rng=rng)
        with bar(total=n + TWINS + 1, what=f"test the heat-maps ({method})", unit="case", show=progress) as line:
            inputs = [preprocess.apply(model.recipe, image()) for image in panel.images]
            proof = learned(model, inputs, panel.truth, rng=rng, tick=line.update)
            for case in panel.cases:
                x = preprocess.apply(model.recipe, case.image())
                how: dict[str, Any] = {"method": method, "others": others, "several": several, "rng": rng}
                trials.append(trial(model, x, case.output, **how))
                line.update()
    except (ExportError, RunError) as refusal:
        why = f"It could not be tested: {refusal}"
        return {"passed": False, "tested": False, "cases": 0, "why": why, "checks": []}
    return maps.verdict(trials, None if None in patients else patients, rng, learned=proof)


def keep(run: Path, verdicts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Write verdicts into the run, beside those of other methods, and seal them; return all.

    A pointing game that was played before stays part of the verdict until it is played again.
    """
    manifest = read_json(run / "manifest.json")
    known = read_json(run / NAME) if NAME in manifest["files"] and (run / NAME).is_file() else {}
    every = {**known, **{m: maps.carried(v, known.get(m, {})) for m, v in plain(verdicts).items()}}
    if every != known:
        seal_later(run, NAME, as_json(every))
    return every
