"""What stands beside a model's figures: the commonest answer, a line through thumbnails, the article's network."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from overread.domain import Estimate, Image, Recipe, Step, Study
from overread.errors import IntegrityError
from overread.imaging import preprocess
from overread.stats import calibration as calibrating
from overread.stats import floors
from overread.stats.claims import difference_auroc
from overread.stats.levels_apart import auroc_apart, level_cases
from overread.stats.resample import cases
from overread.steps.crossed_scores import floors_by_part
from overread.steps.progress import bar as moved_bar
from overread.steps.progress import progress as bar
from overread.steps.question import truth as truth_of
from overread.steps.run import is_sealed, read_json, seal_later
from overread.steps.scores import CROSSED, Question, Scores, read_scores
from overread.steps.ways import Why, ways
from overread.store.archive import Archive

NAME = "floor.npz"
"""What the floors say of each testing image; sealed, as it decides whether the model is better than they are."""

THUMBNAIL = {2: (16, 16), 3: (8, 8, 8)}
"""Size of the thumbnails that logistic regression reads, for pictures and for volumes."""

LEARNED = {"logistic_thumbnails": "logistic on thumbnails", "nearest_thumbnail": "nearest thumbnail"}
"""Floors that learn from thumbnails: name in ``metrics.json`` → words for a plot."""

GONE = "it learns from the training images, and the training archive is not here"
"""Why a floor is absent."""

SHORT = ("auroc", "ap", "sensitivity", "specificity", "accuracy", "accuracy_at_half", "balanced_accuracy", "brier")
SHORT += ("brier_skill", "kappa_quadratic", "ppv", "npv", "mcc")
"""The figures told of a floor, and of the model on its card."""


def floors_of(
    home: Archive | None,
    archive: Archive | None,
    studies: Mapping[str, Study],
    scores: Scores,
    testing: Scores,
    how: Question,
    run: Path,
    *,
    why: Why | None = None,
    ours: np.ndarray | None = None,
    tick: Callable[[], object],
    progress: bool,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the figures of the floors, and their probabilities for the plots: {label: {name: (truth, p)}}.

    What was found for the run's own testing cohort is kept, sealed, in ``floor.npz``, for when the training archive
    (``home``, with its ``studies``) is not here. ``tick`` is called ``4 × outputs`` times, as the figures come. With
    ``why`` (what the model refers) each floor's figures have ``three_ways``, on the images that the model answers; with
    ``ours`` (its probabilities) a ``lead``: its AUROC less the floor's, paired over patients.
    """
    labels, other = how.task.labels, archive is not home
    calibration = scores.of("calibration") if testing.crossed is None else testing
    if home is not None:
        if testing.crossed is None:
            calibration = calibration if calibration.entries else scores.of(CROSSED)
            kept = _fitted(home, archive, studies, calibration, testing, how, progress=progress)
        else:
            seen = _thumbnails(home, [e[1] for e in testing.entries], progress=progress)
            told = {"kind": how.task.kind, "seed": how.seed}
            kept = floors_by_part(run, [e[1] for e in testing.entries], seen, testing.truth, **told)
        if not other:
            _keep(run, how, kept)
    else:
        kept = _kept(run, how)
        kept = {k: v for k, v in kept.items() if not (other and k.endswith("testing"))}
    found: dict[str, Any] = {name: {"absent": GONE} for name in ("majority", *LEARNED)}
    beside: dict[str, dict[str, Any]] = {label: {} for label in labels}
    said: dict[str, tuple[np.ndarray, Sequence[float]]] = {}
    if "share" in kept:
        commonest = np.tile(kept["share"], (len(testing.truth), 1))
        found["majority"] = how.figures(testing, commonest, thresholds=[0.5] * len(labels), tick=tick)
        said["majority"] = (commonest, [0.5] * len(labels))
    for name, words in LEARNED.items():
        if f"{name}_testing" not in kept:
            continue
        tested = kept[f"{name}_testing"]
        limits = how.thresholds(kept[f"{name}_calibration"], calibration)
        found[name] = how.figures(testing, tested, thresholds=limits, tick=tick)
        said[name] = (tested, limits)
        for j, label in enumerate(labels):
            beside[label][words] = (testing.truth[:, j], tested[:, j])
    found["simple-cnn"], its = _simple_cnn(run, testing, how, other=other, tick=tick)
    if its is not None:
        said["simple-cnn"] = its
        for j, label in enumerate(labels):
            beside[label]["simple-cnn"] = (testing.truth[:, j], its[0][:, j])
    for _ in range(len(labels) * sum("absent" in figures for figures in found.values())):
        tick()  # what is absent need not be waited for
    told = {name: shorten(figures) for name, figures in found.items()}
    for name, (probability, limits) in said.items() if why else ():
        for label, parts in ways(how, testing, probability, why or {}, thresholds=limits).items():
            told[name][label]["three_ways"] = parts
    for name in [name for name in said if ours is not None and name != "majority"]:
        for label, lead in leads(how, testing, ours, said[name][0]).items():
            told[name][label]["lead"] = lead
    return told, beside


def leads(how: Question, testing: Scores, ours: np.ndarray, its: np.ndarray) -> dict[str, Estimate]:
    """Return by how much the model's AUROC lies above a floor's, by label, on the same cases and paired over patients.

    Of a label with several levels it is the mean AUROC's. Two intervals that overlap do not say that neither is better.
    """
    who = testing.patients
    if how.levels:
        c, other = (level_cases(testing.truth, p, who) for p in (ours, its))
        return {how.task.name: auroc_apart(c, other.score)}
    pairs = {
        label: tuple(cases(testing.truth[:, j], p[:, j], who) for p in (ours, its))
        for j, label in enumerate(how.task.labels)
    }
    return {label: difference_auroc(c, other.score) for label, (c, other) in pairs.items()}


def _fitted(
    home: Archive,
    archive: Archive,
    studies: Mapping[str, Study],
    calibration: Scores,
    testing: Scores,
    how: Question,
    *,
    progress: bool,
) -> dict[str, np.ndarray]:
    """Return the share of each answer in training, and what each learned floor says of calibration and testing."""
    training = how.split.cohorts["training"]
    known = truth_of([studies[study] for _, study, _ in training], how.task)
    seen = _thumbnails(home, [image for image, _, _ in training], progress=progress)
    held = _thumbnails(home, [e[1] for e in calibration.entries], progress=progress)
    asked = _thumbnails(archive, [e[1] for e in testing.entries], progress=progress)
    count = floors.fits(how.task.kind, known.shape[1])
    with moved_bar(total=count, what="regression on thumbnails", unit="fits", show=progress) as fitting:
        line, tested = floors.logistic(
            seen,
            known,
            [held, asked],
            kind=how.task.kind,
            rng=np.random.default_rng(how.seed),
            tick=fitting.update,
        )
    near, nearest = floors.nearest(seen, known, [held, asked])
    found = {"logistic_thumbnails_calibration": line, "logistic_thumbnails_testing": tested}
    found |= {"nearest_thumbnail_calibration": near, "nearest_thumbnail_testing": nearest}
    return found | {"share": floors.majority(known, 1)[0]}


def _keep(run: Path, how: Question, arrays: Mapping[str, np.ndarray]) -> None:
    """Keep what the floors found, under the split that it holds for and under the run's seal."""
    held = io.BytesIO()
    np.savez(held, split=np.array(how.split.hash), **arrays)
    seal_later(run, NAME, held.getvalue())


def _kept(run: Path, how: Question) -> dict[str, np.ndarray]:
    """Return what the floors found when the training archive was here; nothing where it is not known, or not sealed."""
    if not is_sealed(run, NAME):
        return {}
    with np.load(run / NAME, allow_pickle=False) as held:
        if str(held["split"]) != how.split.hash:
            raise IntegrityError(
                "floor.npz was made for another split", expected="that of this run", do="restore the run"
            )
        return {name: held[name] for name in held.files if name != "split"}


def _simple_cnn(
    run: Path, testing: Scores, how: Question, *, other: bool, tick: Callable[[], object]
) -> tuple[dict, tuple | None]:
    """Return the figures of the article's network on the same cohort, or why there are none."""
    path = run / "scores.simple-cnn.csv"
    if read_json(run / "plan.json")["network"] == "simple-cnn":
        return {"absent": "this run is simple-cnn itself"}, None
    if other:
        return {"absent": "its scores are kept for the run's own testing cohort only"}, None
    if not path.is_file():
        return {"absent": "it was not trained beside this run"}, None
    scores = replace(read_scores(path, how.task.labels), copies=testing.copies)
    counted = {entry[1:3] for entry in testing.entries}  # what overlaps with training does not count here either
    its, held = scores.of("testing"), scores.of("calibration")
    its = its.at([i for i, entry in enumerate(its.entries) if entry[1:3] in counted])
    rng = np.random.default_rng(how.seed)
    fitted = calibrating.fit(held.logits, held.truth, held.patients, kind=how.task.kind, rng=rng)
    p = fitted.probabilities(its.logits)
    limits = how.thresholds(fitted.probabilities(held.logits), held)
    return how.figures(its, p, thresholds=limits, tick=tick), (p, limits)


def shorten(figures: Mapping[str, Any]) -> dict[str, Any]:
    if "absent" in figures:
        return dict(figures)
    return {label: {k: v for k, v in f.items() if k in SHORT} for label, f in figures.items()}


def _thumbnails(archive: Archive, images: Sequence[str], *, progress: bool) -> np.ndarray:
    """Return each image as a row of numbers: grey, on the range of its format, 16 × 16 or 8 × 8 × 8."""
    names = bar(images, total=len(images), what="thumbnails", unit="images", show=progress)
    rows = [_thumbnail(archive.image(name)) for name in names]
    return np.stack(rows) if rows else np.empty((0, 0))


def _thumbnail(image: Image) -> np.ndarray:
    size = THUMBNAIL[3 if image.is_volume else 2]
    steps = (Step("channels", {"count": 1}), Step("normalise", {"by": "full_range"}), Step("resize", {"size": size}))
    return preprocess.apply(Recipe(steps), image).ravel()
