"""Doubts: which labels of a run a reader should look at again, and why."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from overread.domain import Recipe, Step, Task
from overread.domain.canonical import plain
from overread.errors import RunError
from overread.learn import linear_head, starts
from overread.pages.thumbnail import thumbnail
from overread.stats import label_errors
from overread.stats.ranking import auroc, macro_auroc
from overread.stats.resample import Who, cases
from overread.stats.splits import Split
from overread.steps import leakage
from overread.steps.opened import open_archive
from overread.steps.progress import bar
from overread.steps.question import truth
from overread.steps.reads import opened
from overread.steps.run import archive_of, as_json, is_sealed, read_json, seal_later, write
from overread.steps.scores import whose
from overread.store.archive import Archive

NAME, TABLE = "label_errors.json", "label_errors.csv"

COHORTS = ("training", "tuning", "calibration")
"""Testing labels are not looked at: what a model doubts there and a reader then changes would flatter the model."""

MOST = 3000
"""Images that are looked at; of more a sample is drawn."""

SHOWN = 24
"""Cases with a picture in the report; the table has all."""

LEGIBLE = 0.7
"""Where the interval of the out-of-fold AUROC begins below this, no label is doubted: on 322 mammograms with an AUROC of
0.59 one in fourteen of the labels listed had been turned round, where one in twenty had been in all."""

SIDE = 224


@dataclass(frozen=True)
class Doubts:
    """What `doubts` found.

    Parameters
    ----------
    run : Path
    labels : sequence of mapping
        For each label ``label``, ``cases``, ``auroc`` (out of fold), ``why`` it was not looked at ("" where it was), and
        ``suspects``, the most suspicious first: image, study, cohort, given, expected, the witnesses' figures, reason.
    told : str
        What was looked at, and with what.
    """

    run: Path
    labels: Sequence[Mapping[str, Any]]
    told: str

    def to_json(self) -> dict[str, Any]:
        """Return it for ``--json``."""
        return {"run": str(self.run), "told": self.told, "labels": plain(self.labels)}

    def __str__(self) -> str:
        lines = [self.told]
        for found in self.labels:
            lines.append(f"{found['label']}: {len(found['suspects'])} of {found['cases']:,} labels to look at again; AUROC out of fold {found['auroc']}")  # fmt: skip
            if found["why"]:
                lines.append(f"  {found['why']}")
            lines += [f"  {s['study']} ({s['cohort']}): {s['reason']}" for s in found["suspects"][:10]]
        return "\n".join([*lines, f"table: {self.run / TABLE}; `overread report` shows them with their pictures"])


def doubts(run: str | Path, *, seed: int = 0, progress: bool = True) -> Doubts:
    """List the labels of a run's cases that two witnesses doubt, and keep the list in the run.

    The witnesses are lines on frozen features that learned from other patients only, and the cases that look most
    alike. Testing cases are left alone. Nothing is changed: a list is for a reader to look through.

    Parameters
    ----------
    run : path
    seed : int
        Draws the folds, and the sample of a large cohort.
    progress : bool

    Raises
    ------
    RunError
        When the archive is not where it was, or the extras [train] and [starts] are not installed.
    """
    home = Path(run)
    model, _ = opened(home)
    place = archive_of(home, read_json(home / "plan.json"))
    if place is None:
        raise RunError("the run's archive is not where it was", expected="the archive it was trained on beside the run", do="put it back")  # fmt: skip
    split = Split.from_json(read_json(home / "split.json"))
    copies = read_json(home / leakage.NAME).get("copies", {}) if (home / leakage.NAME).exists() else {}
    entries = [(cohort, *entry) for cohort in COHORTS for entry in split.cohorts[cohort]]
    rng = np.random.default_rng(seed)
    total = len(entries)
    if total > MOST:
        entries = [entries[i] for i in np.sort(rng.choice(total, MOST, replace=False))]
    with open_archive(place) as store:
        studies = {s.pseudonym: s for s in store.studies()}
        entries = [e for e in entries if e[2] in studies]
        features = _features(store, entries, model.recipe, progress=progress)
        known = truth([studies[study] for _, _, study, _ in entries], model.task)
        who = whose([entry[1:] for entry in entries], copies)
        found = [
            _doubted(label, p, given, answers, features, who, entries)
            for label, answers, given, p in _out_of_fold(model.task, features, known, who, rng, progress=progress)
        ]
        pictures = {s["image"]: thumbnail(store.image(s["image"]), side=120) for f in found for s in f["suspects"][:SHOWN]}  # fmt: skip
    told = (
        f"{len(entries):,} of {total:,} training, tuning and calibration images looked at; testing cases are left alone"
    )
    write(home / TABLE, _table(found))
    seal_later(home, NAME, as_json({"told": told, "features": starts.STARTS[starts.DEFAULT].in_words, "labels": found, "pictures": pictures}))  # fmt: skip
    return Doubts(home, found, told)


def _features(store: Archive, entries, recipe: Recipe, *, progress: bool) -> np.ndarray:
    from overread.learn import frozen  # Keras comes in here
    from overread.learn.framework import natives_to

    with (
        natives_to(None),
        bar(total=len(entries), what="look at images", unit="image", show=progress) as line,
    ):
        images = (store.image(image) for _, image, _, _ in entries)
        return frozen.features_of(images, as_seen(recipe), tick=lambda: line.update(1))


def as_seen(recipe: Recipe) -> Recipe:
    """Return the run's recipe for the start: its own intensities, on the start's grid.

    Examples
    --------
    >>> steps = (Step("channels", {"count": 1}), Step("normalise", {"by": "full_range"}), Step("resize", {"size": (8, 28, 28)}))
    >>> [step.name for step in as_seen(Recipe(steps)).steps]
    ['three_slices', 'channels', 'normalise', 'resize', 'standardise']
    """
    from overread.learn.plan import CENTRED

    deep = any(s.name == "resize" and len(s.args["size"]) == 3 for s in recipe.steps)
    first = [Step("three_slices")] if deep or any(s.name == "three_slices" for s in recipe.steps) else []
    numbers = [s for s in recipe.steps if s.name in ("window", "normalise")]
    last = [Step("resize", {"size": (SIDE, SIDE)}), Step("standardise", CENTRED)]
    return Recipe((*first, Step("channels", {"count": 3}), *numbers, *last))


def _out_of_fold(task: Task, features, known: np.ndarray, who: Sequence[Who], rng, *, progress: bool):
    """Yield for each label its answers, what is given (−1 unknown), and probabilities by lines on other patients."""
    several = task.kind in ("multiclass", "ordinal")
    columns = [(task.name, task.labels, known)] if several else [
        (label, ("no", "yes"), known[:, j : j + 1]) for j, label in enumerate(task.labels)
    ]  # fmt: skip
    names = np.array([str(w) for w in who])
    with bar(
        total=len(columns) * linear_head.FOLDS, what="lines on other patients", unit="fold", show=progress
    ) as line:
        for label, answers, y in columns:
            unknown = np.isnan(y).any(axis=1)
            given = np.where(unknown, -1, y.argmax(axis=1) if several else np.nan_to_num(y[:, 0])).astype(int)
            p = np.full((len(y), len(answers)), 1 / len(answers))
            here = np.flatnonzero(~unknown)
            for train, test in linear_head.folds(y[here], names[here], rng=rng):
                rows, held = here[train], here[test]
                fitted = linear_head.choose(features[rows], y[rows], several=several, groups=names[rows], rng=rng)
                p[held] = _probabilities(fitted.logits(features[held]), several=several)
                line.update(1)
            yield label, answers, given, p


def _probabilities(logits: np.ndarray, *, several: bool) -> np.ndarray:
    if several:
        raised = np.exp(logits - logits.max(axis=1, keepdims=True))
        return raised / raised.sum(axis=1, keepdims=True)
    yes = 1 / (1 + np.exp(-logits))
    return np.concatenate([1 - yes, yes], axis=1)


def _doubted(label: str, p, given: np.ndarray, answers: Sequence[str], features, who, entries) -> dict[str, Any]:
    here = np.flatnonzero(given >= 0)
    people = [who[i] for i in here]
    if len(answers) == 2 and answers == ("no", "yes"):
        figure = auroc(cases(given[here], p[here, 1], people))
    else:
        figure = macro_auroc(cases(given[here], p[here], people), len(answers))
    why = "" if figure.low >= LEGIBLE else (
        f"No label is doubted: without a case's own label its answer is read with an AUROC of {figure} only; from an "
        f"interval that begins at {LEGIBLE:g} a doubt is worth a look."
    )  # fmt: skip
    found = label_errors.suspects(p, given, features, [str(w) for w in who]) if not why else []
    suspects = [
        {
            "cohort": entries[s.row][0],
            "image": entries[s.row][1],
            "study": entries[s.row][2],
            "given": answers[s.given].removeprefix(f"{label}="),
            "expected": answers[s.other].removeprefix(f"{label}="),
            **{k: v for k, v in plain(s).items() if k not in ("row", "given", "other")},
        }
        for s in found
    ]
    return {"label": label, "cases": len(here), "auroc": figure, "why": why, "suspects": [{**s, "reason": reason(s)} for s in suspects]}  # fmt: skip


def reason(suspect: Mapping[str, Any]) -> str:
    """Say in one sentence why a label should be looked at again.

    Examples
    --------
    >>> reason({"given": "no", "expected": "yes", "p_other": 0.93, "p_given": 0.07, "near_other": 9, "near_given": 2})
    'labelled no; lines that learned from other patients say yes (probability 0.93, no 0.07); of the 11 cases most alike, of other patients, 9 are yes and 2 no'
    """
    given, other = suspect["given"], suspect["expected"]
    return (
        f"labelled {given}; lines that learned from other patients say {other} (probability {suspect['p_other']:.2f}, "
        f"{given} {suspect['p_given']:.2f}); of the {label_errors.NEIGHBOURS} cases most alike, of other patients, "
        f"{suspect['near_other']} are {other} and {suspect['near_given']} {given}"
    )


def _table(found: Sequence[Mapping[str, Any]]) -> str:
    out = io.StringIO()
    sheet = csv.writer(out, lineterminator="\n")
    sheet.writerow(["label", "study", "image", "cohort", "given", "expected", "probability_of_expected", "probability_of_given", "alike_expected", "alike_given", "suspicion", "reason"])  # fmt: skip
    for f in found:
        for s in f["suspects"]:
            sheet.writerow([f["label"], s["study"], s["image"], s["cohort"], s["given"], s["expected"], f"{s['p_other']:.3f}", f"{s['p_given']:.3f}", s["near_other"], s["near_given"], f"{s['suspicion']:.3f}", s["reason"]])  # fmt: skip
    return out.getvalue()


def kept(run: Path) -> Mapping[str, Any]:
    """Return what an earlier `doubts` found in a run; empty where nobody has asked, or the file is not sealed."""
    return read_json(run / NAME) if (run / NAME).exists() and is_sealed(run, NAME) else {}
