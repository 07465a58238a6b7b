"""``overread compare``: several runs on the same testing images, side by side, with paired intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from overread import __version__
from overread.domain import Estimate, Task
from overread.domain.canonical import plain
from overread.errors import RunError
from overread.learn.predict import check_manifest
from overread.pages.compare_page import render_compare
from overread.stats import claims
from overread.stats.calibration import Calibration
from overread.stats.levels_apart import level_cases, level_differences, level_figures
from overread.stats.metrics import brier
from overread.stats.ranking import auroc, average_precision
from overread.stats.resample import Cases, cases
from overread.stats.shares import proportion
from overread.stats.splits import Split
from overread.steps import leakage
from overread.steps.crossed_scores import measured
from overread.steps.progress import bar
from overread.steps.reads import check, count, model_of
from overread.steps.run import archive_of, read_json, refuse_unsealed, write
from overread.steps.scores import Scores, read_scores


@dataclass(frozen=True)
class Comparison:
    """Runs side by side.

    Parameters
    ----------
    runs : tuple of str
        The first is what the others are held against.
    label : str
    images, patients : int or None
        Of the common testing cohort.
    figures : tuple of mapping
        One a run: figure → Estimate, of the run alone.
    differences : tuple of mapping
        One a run but the first: figure → Estimate of (this run − the first), paired.
    spread : mapping
        Mean, standard deviation, lowest and highest AUROC over the runs, a copy of one counted once; of meaning where they differ by seed alone.
    notes : tuple of str
    page : Path or None
        Where the page was written.
    """

    runs: tuple[str, ...]
    label: str
    images: int
    patients: int | None
    figures: tuple[dict[str, Estimate], ...]
    differences: tuple[dict[str, Estimate], ...]
    spread: dict[str, Any]
    notes: tuple[str, ...] = ()
    page: Path | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the comparison for ``--json``."""
        return plain({**self.__dict__, "page": None if self.page is None else str(self.page)})

    def __str__(self) -> str:
        whom = f" of {self.patients:,} patients" if self.patients is not None else " (patients unknown)"
        lines = [f"{self.label}: {len(self.runs)} runs on the same {self.images:,} testing images{whom}"]
        wide = max(len(run) for run in self.runs)
        for k, run in enumerate(self.runs):
            told = "  ".join(f"{name} {e}" for name, e in self.figures[k].items())
            lines.append(f"  {run:<{wide}}  {told}")
            if k:
                gaps = "  ".join(f"{name} {_signed(e)}" for name, e in self.differences[k - 1].items())
                lines.append(f"  {'against the first':<{wide}}  {gaps}")
        if self.spread["seeds"] > 2:
            lines.append(
                f"AUROC over {self.spread['seeds']} runs: {self.spread['mean']:.3f} ± {self.spread['sd']:.3f} "
                f"(lowest {self.spread['low']:.3f}, highest {self.spread['high']:.3f})"
            )
        where = [f"page: {self.page}"] if self.page else []
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes), *where])


def compare(
    *runs: str | Path,
    label: str | None = None,
    out: str | Path | None = None,
    progress: bool = False,
    now: datetime | None = None,
) -> Comparison:
    """Return how several runs fare on the testing images that all of them have in common.

    Each keeps its own probabilities and its own operating point, as it would be used. No new image is read: the raw
    scores that training kept are. It is counted as a read of the testing cohort all the same: whoever chooses by it has
    looked.

    Parameters
    ----------
    runs : paths
        Two or more finished runs of the same label: of yes or no, or with the same levels.
    label : str, optional
        Which one, where the runs have several.
    out : path, optional
        Write a page with the table and the differences as a forest plot there.
    progress : bool
    now : datetime, optional
        The time that the count of reads carries.

    Raises
    ------
    RunError
        For fewer than two runs, a run named twice, other labels, or testing cohorts without a common image.
    IntegrityError
        For a run of which a file, a figure or the journal of reads was touched.
    """
    if len(runs) < 2:
        raise RunError(f"{len(runs)} run", expected="two or more", do="name the runs to compare")
    if len({*map(_place, runs)}) < len(runs):
        twice = next(str(run) for k, run in enumerate(runs) if _place(run) in map(_place, runs[:k]))
        raise RunError(f"{twice} named twice", expected="each run once", do="name another run to hold it against")
    read = [_Read(Path(run)) for run in runs]
    copies = _copies(read)
    task = read[0].task
    label = label or (task.name if read[0].levels else task.labels[0])
    for one in read:
        if one.levels != read[0].levels or label not in one.answers:
            raise RunError(
                f"a run that answers {', '.join(one.answers)}",
                expected=f"the {'label with levels' if read[0].levels else 'yes-or-no label'} {label!r}",
                do="compare runs of one label",
            )
        if one.levels and (one.task.labels, one.task.kind) != (task.labels, task.kind):
            raise RunError(
                f"a run of {one.task.kind} levels {', '.join(one.task.labels)}",
                expected=f"{task.kind} levels {', '.join(task.labels)}",
                do="compare runs that answer with the same levels",
            )
    common = sorted(set.intersection(*({(e[1], e[2]) for e in one.testing.entries} for one in read)))
    if not common:
        raise RunError("testing cohorts without a common image", expected="the same split", do="train with one seed")
    same = [
        f"{runs[k]} is {runs[first]} under another name: the same weights, calibration and scores; it counts once"
        for k, first in copies.items()
    ]
    notes = (*_notes(read, common), *same, *_counted(read, now or datetime.now().astimezone()))
    ordinal = task.kind == "ordinal"
    parts = [one.cases(label, common) for one in read]
    if any(not np.array_equal(part[0].truth, parts[0][0].truth) for part in parts[1:]):
        raise RunError("runs that know other truths of the same images", expected="one archive", do="train them again")
    figures, differences = [], []
    with bar(total=2 * len(runs) - 1, what="comparing", unit="tables", show=progress) as line:
        for k, (c, call) in enumerate(parts):
            alone = level_figures(c, len(task.labels), ordinal=ordinal) if call is None else _alone(c, call)
            figures.append(alone)
            line.update()
            if k:
                (first, its) = parts[0]
                differences.append(
                    level_differences(c, first.score, ordinal=ordinal)
                    if call is None
                    else _against(c, call, first, its)
                )
                if copies.get(k) == 0:
                    differences[-1] = _nothing(differences[-1])
                line.update()
    first = parts[0][0]
    found = Comparison(
        runs=tuple(str(run) for run in runs),
        label=label,
        images=len(first.truth),
        patients=first.patients if first.known else None,
        figures=tuple(figures),
        differences=tuple(differences),
        spread=claims.spread([f["auroc"].value for k, f in enumerate(figures) if k not in copies]),
        notes=notes,
    )
    if out is None:
        return found
    write(Path(out), render_compare(found.to_json(), overread=__version__))
    return replace(found, page=Path(out))


class _Read:
    """What is read of one run."""

    def __init__(self, run: Path) -> None:
        check_manifest(run)
        refuse_unsealed(run)
        check(run)
        self.run, self.plan = run, read_json(run / "plan.json")
        task = self.plan["task"]
        kept = read_json(run / "calibration.json")
        self.task = Task(**{**task, "labels": tuple(task["labels"])})
        self.calibration = Calibration.from_json(kept["calibration"])
        self.points = kept["operating_points"]
        certificate = leakage.read_certificate(run, Split.from_json(read_json(run / "split.json")))
        scores = leakage.apart(certificate, read_scores(run / "scores.csv", self.task.labels))
        self.testing: Scores = measured(run, scores)
        self.overlapping = len(scores.of(leakage.OVERLAPPING).entries)

    @property
    def levels(self) -> bool:
        """True where one of several levels is the answer."""
        return self.task.kind in ("multiclass", "ordinal")

    @property
    def answers(self) -> tuple[str, ...]:
        """The labels that can be compared: of several levels they are one."""
        return (self.task.name,) if self.levels else self.task.labels

    def cases(self, label: str, common: Sequence[tuple[str, str]]) -> tuple[Cases, np.ndarray | None]:
        """Return the common cases with probabilities, and how they are called; of several levels the likeliest is."""
        where = {(e[1], e[2]): i for i, e in enumerate(self.testing.entries)}
        part = self.testing.at([where[key] for key in common])
        crossed = part.crossed
        p = self.calibration.probabilities(part.logits) if crossed is None else crossed.mean
        if self.levels:
            return level_cases(part.truth, p, part.patients), None
        j = self.task.labels.index(label)
        c = cases(part.truth[:, j], p[:, j], part.patients)
        if crossed is not None:
            return c, crossed.called[~np.isnan(part.truth[:, j]), j]
        return c, c.score >= self.points[label]["threshold"]


def _copies(read: Sequence[_Read]) -> dict[int, int]:
    """Return which runs are an earlier one under another name: the same weights, calibration and scores."""
    first: dict[tuple[str, str], int] = {}
    found = {}
    for k, one in enumerate(read):
        key = (model_of(one.run), read_json(one.run / "manifest.json")["files"]["scores.csv"])
        if first.setdefault(key, k) != k:
            found[k] = first[key]
    return found


def _nothing(differences: Mapping[str, Estimate]) -> dict[str, Estimate]:
    """Return the differences of a model from itself: nothing, whoever the patients are."""
    told = "one model under two names: no difference"
    return {name: replace(e, value=0.0, low=0.0, high=0.0, method=told) for name, e in differences.items()}


def _notes(read: Sequence[_Read], common: Sequence) -> tuple[str, ...]:
    most = max(len(one.testing.entries) for one in read)
    notes = []
    if any(one.testing.crossed is not None for one in read):
        notes.append(
            "cross-validated answers are compared: of procedures, each patient answered by networks that had not seen it; the "
            "intervals do not cover how the parts were drawn"
        )
    if gone := max(one.overlapping for one in read):
        notes.append(
            f"{gone:,} testing images also stand in what a run learned from, by patient or as a copy, and were left out"
        )
    if most > len(common):
        notes.append(f"{most - len(common):,} testing images are not common to all runs and were left out")
    return tuple(notes)


def _counted(read: Sequence[_Read], now: datetime) -> list[str]:
    """Count a read of each run's testing cohort; return what a reader of the comparison must know of it."""
    notes, models = [], 1
    for one in read:
        images = [entry[1] for entry in one.testing.entries]
        own = {"model": model_of(one.run), "own": True, "by": "compare"}
        reads = count(one.run, archive_of(one.run, one.plan), images, **own, now=now)
        notes += reads.notes
        models = max(models, reads.models or 1)
    if models > 1:
        notes.append(
            f"{models:,} models were measured on this testing cohort by now: the best of several looks better than it is"
        )
    return list(dict.fromkeys(notes))


def _alone(c: Cases, call: np.ndarray) -> dict[str, Estimate]:
    present = c.truth == 1
    return {
        "auroc": auroc(c),
        "ap": average_precision(c),
        "sensitivity": proportion(c, call, present, nobody="no case with the finding"),
        "specificity": proportion(c, ~call, ~present, nobody="no case without the finding"),
        "brier": brier(c)[0],
    }


def _against(c: Cases, call: np.ndarray, first: Cases, its: np.ndarray) -> dict[str, Estimate]:
    present = c.truth == 1
    return {
        "auroc": claims.difference_auroc(c, first.score),
        "ap": claims.difference_ap(c, first.score),
        "sensitivity": claims.difference_share(c, call, its, present),
        "specificity": claims.difference_share(c, ~call, ~its, ~present),
        "brier": claims.difference_mean(c, (c.score - present) ** 2, (first.score - present) ** 2),
    }


def _place(run: str | Path) -> Path:
    return Path(run).resolve()


def _signed(e: Estimate) -> str:
    if not np.isfinite(e.value):
        return "–"
    return f"{e.value:+.3f} ({e.low:+.3f} to {e.high:+.3f})"
