"""Raw scores of a run beside what is known, and the question that turns them into figures."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from overread.domain import Estimate, Task
from overread.errors import RunError
from overread.imaging.likeness import groups
from overread.stats import metrics, referral
from overread.stats.conformal import Sets
from overread.stats.crossing import Crossed, Possible
from overread.stats.guarantee import operating_point
from overread.stats.joined import Joining, join, truth_of
from overread.stats.joined import read as read_joining
from overread.stats.resample import Nameless, Who
from overread.stats.splits import Split

CROSSED = "cross-validated"
"""The cohort of rows that were answered by networks that had not seen their patients (`steps.crossed`)."""


def whose(entries: Sequence[tuple[str, str, str | None]], copies: Mapping[str, str]) -> list[Who]:
    """Return the patient of each (image, study, patient), and what stands in for one where nobody knows who it is.

    Images of one study are then one unit, and so are pictures that are copies of one another: seen twice, a case says
    no more than once. ``copies`` holds the group of each image that has a copy, as the leakage certificate does.

    Examples
    --------
    >>> whose([("a", "S1", "P1"), ("b", "S2", None), ("c", "S2", None), ("d", "S3", None)], {"c": "b", "d": "b"})
    ['P1', Nameless(unit='S2'), Nameless(unit='S2'), Nameless(unit='S2')]
    """
    unknown = [i for i, (_, _, patient) in enumerate(entries) if not patient]
    first: dict[tuple[str, str], int] = {}
    pairs = []
    for k, i in enumerate(unknown):
        image, study, _ = entries[i]
        for shared in (("study", study), ("picture", copies.get(image, image))):
            pairs.append((first.setdefault(shared, k), k))
    found: list[Who] = [patient for _, _, patient in entries]
    unit: dict[int, str] = {}
    for i, group in zip(unknown, groups(len(unknown), pairs), strict=True):
        found[i] = Nameless(unit.setdefault(int(group), entries[i][1]))
    return found


@dataclass(frozen=True)
class Scores:
    """Raw scores beside what is known, one row an image.

    Parameters
    ----------
    entries : tuple of (cohort, image, study, patient or None)
    truth, logits : ndarray, (n, outputs)
    unlike : tuple of str
        Why each image is referred unanswered, "" where it is not; empty where it was not looked at.
    copies : mapping of str to str
        Group of each image that has a copy: where no patient is known, copies are one case.
    crossed : Crossed or None
        Of cross-validated rows: each one's probability and line, learned without its patient.
    """

    entries: tuple[tuple[str, str, str, str | None], ...]
    truth: np.ndarray
    logits: np.ndarray
    unlike: tuple[str, ...] = ()
    copies: Mapping[str, str] = field(default_factory=dict)
    crossed: Crossed | None = None

    members: tuple[tuple[tuple[str, str], ...], ...] = ()
    """Where rows are joined: the (image, study) of each image behind a row."""

    @property
    def images(self) -> list[str]:
        """The hash of every image behind the rows, in order."""
        return [image for some in self.members for image, _ in some] or [entry[1] for entry in self.entries]

    def joined(self, joining: Joining | None, *, levels: bool) -> Scores:
        """Return one row for each study, or patient, of each cohort, with the scores of its images joined.

        A row stands under its first image, and is referred unanswered where any of its images is: a doubt outweighs an
        absence. A patient whom nobody knows is a study.
        """
        if joining is None:
            return self
        units = [(e[0], e[3] if joining.unit == "patient" and e[3] else e[2]) for e in self.entries]
        logits, rows = join(self.logits, units, joining.rule)
        unlike = [next((self.unlike[i] for i in some if self.unlike[i]), "") for some in rows] if self.unlike else []
        return Scores(
            tuple(self.entries[some[0]] for some in rows),
            truth_of(self.truth, rows, levels=levels),
            logits,
            tuple(unlike),
            self.copies,
            members=tuple(tuple(self.entries[i][1:3] for i in some) for some in rows),
        )

    @property
    def patients(self) -> list[Who]:
        """Pseudonym of each row's patient, or what stands in for one that is unknown."""
        return whose([entry[1:] for entry in self.entries], self.copies)

    def of(self, cohort: str) -> Scores:
        """Return the rows of one cohort."""
        rows = [i for i, entry in enumerate(self.entries) if entry[0] == cohort]
        return self.at(rows)

    def at(self, rows: Sequence[int]) -> Scores:
        """Return some rows."""
        unlike = tuple(self.unlike[i] for i in rows) if self.unlike else ()
        entries = tuple(self.entries[i] for i in rows)
        members = tuple(self.members[i] for i in rows) if self.members else ()
        crossed = None if self.crossed is None else self.crossed.at(rows)
        return Scores(entries, self.truth[rows], self.logits[rows], unlike, self.copies, crossed, members)

    def called(self, place: int) -> np.ndarray | None:
        """Return which rows one output is called present in, (n,), where each row has a line of its own; else None."""
        return None if self.crossed is None else self.crossed.called[:, place]

    @property
    def strange(self) -> np.ndarray:
        """True where an image is referred unanswered, (n,)."""
        return np.array([bool(why) for why in self.unlike] or [False] * len(self.entries))


def read_scores(path: Path, labels: Sequence[str], *, each: bool = False) -> Scores:
    """Read the raw scores that ``train`` wrote: a row an image, or a row a study where the run answers studies.

    ``each`` asks for a row an image all the same.

    Raises
    ------
    RunError
        When the file is missing or not for these labels.
    """
    if not path.is_file():
        raise RunError(f"the run has no {path.name}", expected="a finished run", do="train one with `overread train`")
    with open(path, newline="", encoding="utf-8") as sheet:
        rows = list(csv.DictReader(sheet))
    columns = [f"{kind}:{label}" for kind in ("truth", "logit") for label in labels]
    if not rows or any(c not in rows[0] for c in columns):
        raise RunError(f"{path.name} does not fit the task", expected="a truth and a logit column for each label")
    truth = np.array([[float(r[f"truth:{n}"]) if r[f"truth:{n}"] else np.nan for n in labels] for r in rows])
    logits = np.array([[float(r[f"logit:{n}"]) for n in labels] for r in rows])
    entries = tuple((r["cohort"], r["image"], r["study"], r["patient"] or None) for r in rows)
    unlike = tuple(r["unlike"] for r in rows) if "unlike" in rows[0] else ()
    found = Scores(entries, truth, logits, unlike)
    beside = path.with_name("calibration.json")
    if each or not beside.is_file():
        return found
    kept = json.loads(beside.read_text(encoding="utf-8"))
    return found.joined(read_joining(kept.get("joining")), levels=kept["calibration"].get("kind") in LEVELS)


LEVELS = ("multiclass", "ordinal")


@dataclass(frozen=True)
class Question:
    """The question, and the settings that every set of figures shares."""

    task: Task
    split: Split
    points: Mapping[str, Mapping[str, Any]]
    seed: int
    sets: Mapping[str, Sets] = field(default_factory=dict)

    @property
    def levels(self) -> bool:
        """True when one of several levels is asked for: the most probable is called, and no threshold is applied."""
        return self.task.kind in ("multiclass", "ordinal")

    def why(self, cases: Scores, probability: np.ndarray, intervals: np.ndarray) -> dict[str, np.ndarray]:
        """Return, by label, why each image is referred, by the rule of prediction; "" where it is answered."""
        crossed = cases.crossed
        if self.levels:
            sets = self.sets.get(self.task.name) if crossed is None else Possible(crossed.possible())
            return {self.task.name: referral.why_levels(probability, intervals, sets=sets, unlike=cases.strange)}
        return {
            label: referral.why_label(
                probability[:, j],
                intervals[:, j],
                threshold=self.points[label]["threshold"] if crossed is None else crossed.line[:, j],
                sets=self.sets.get(label) if crossed is None else Possible(crossed.possible(j)),
                unlike=cases.strange,
            )
            for j, label in enumerate(self.task.labels)
        }

    def referrals(self, cases: Scores, probability: np.ndarray, intervals: np.ndarray) -> dict[str, dict[str, Any]]:
        """Return, by label, how many images are answered and how many referred, and how good the answers are."""
        why, who = self.why(cases, probability, intervals), cases.patients
        if self.levels:
            level = np.where(np.isnan(cases.truth).any(1), np.nan, np.nan_to_num(cases.truth).argmax(1))
            return {self.task.name: referral.three_way_levels(level, probability, why[self.task.name], patients=who)}
        return {
            label: referral.three_way(
                cases.truth[:, j],
                probability[:, j],
                why[label],
                threshold=self.points[label]["threshold"],
                called=cases.called(j),
                patients=who,
            )
            for j, label in enumerate(self.task.labels)
        }

    def figures(
        self,
        cases: Scores,
        probability: np.ndarray,
        *,
        thresholds: Sequence[float] | None = None,
        tick: Callable[[], object] | None = None,
    ) -> dict[str, metrics.Figures]:
        """Return the figures of every label; at ``thresholds``, a floor's, in the place of the model's own."""
        own = cases.crossed.called if cases.crossed is not None and thresholds is None else None
        return metrics.label_figures(
            cases.truth,
            probability,
            name=self.task.name,
            outputs=self.task.labels,
            kind=self.task.kind,
            thresholds=thresholds or [self.points[label]["threshold"] for label in self.task.labels],
            called=own,
            patients=cases.patients,
            tick=tick,
        )

    def brief(self, cases: Scores, probability: np.ndarray) -> dict[str, dict[str, Estimate]]:
        """Return prevalence, AUROC, sensitivity and specificity of every yes-or-no label: what a subgroup is told by."""
        return {
            label: metrics.brief_figures(
                cases.truth[:, j],
                probability[:, j],
                threshold=self.points[label]["threshold"],
                called=cases.called(j),
                patients=cases.patients,
            )
            for j, label in enumerate(self.task.labels)
        }

    def gaps(
        self, cases: Scores, probability: np.ndarray, first: Sequence[int], second: Sequence[int]
    ) -> dict[str, dict[str, Estimate]]:
        """Return by how much the figures of two subgroups differ, by label; patients may be in both."""
        return {
            label: metrics.brief_gaps(
                cases.truth[:, j],
                probability[:, j],
                threshold=self.points[label]["threshold"],
                called=cases.called(j),
                patients=cases.patients,
                groups=(first, second),
            )
            for j, label in enumerate(self.task.labels)
        }

    def thresholds(self, probability: np.ndarray, calibration: Scores) -> list[float]:
        """Return another model's operating points, chosen by the same rule on the same calibration cohort."""
        return [
            operating_point(
                probability[:, j],
                calibration.truth[:, j],
                calibration.patients,
                sensitivity=self.points[label].get("asked", 0.95),
            )["threshold"]
            for j, label in enumerate(self.task.labels)
        ]
