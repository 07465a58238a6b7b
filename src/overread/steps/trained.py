"""A run as training left it: what was asked, divided, learned and found on the way, checked before it is used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from overread.domain import Task
from overread.learn.predict import Model
from overread.stats import calibration as calibrating
from overread.stats.splits import Split
from overread.steps import corruptions, leakage, probes, shortcuts
from overread.steps.figures import edited
from overread.steps.held_out import ALIKE
from overread.steps.run import archive_of, read_json, refuse_unfinished, refuse_unsealed
from overread.steps.scores import Question, Scores, read_scores


@dataclass(frozen=True)
class Trained:
    """What `evaluate` needs of a run.

    Parameters
    ----------
    run : Path
    plan : mapping
        ``plan.json``.
    archive : Path or None
        Where the training archive is, if it is here.
    task, split, fitted, points, model
        The question, who stands in which cohort, the calibration, the operating points, the network.
    edits
        What `steps.figures.edited` found of earlier figures.
    certificate : mapping
        What the cohorts share.
    scores : Scores
        Without the testing cases that overlap.
    looked, probed, worse, alike : mapping
        Shortcuts, probes, corruptions, exchangeability; empty where they were not looked for.
    """

    run: Path
    plan: Mapping[str, Any]
    archive: Path | None
    task: Task
    split: Split
    fitted: calibrating.Calibration
    points: Mapping[str, Mapping[str, Any]]
    model: Model
    edits: Any
    certificate: Mapping[str, Any]
    scores: Scores
    looked: Mapping[str, Any]
    probed: Mapping[str, Any]
    worse: Mapping[str, Any]
    alike: Mapping[str, Any]

    @property
    def question(self) -> Question:
        """The question, and the settings that every set of figures shares."""
        return Question(self.task, self.split, self.points, int(self.plan["seed"]), self.model.sets)

    @property
    def each(self) -> Scores:
        """The raw scores image by image, as they were kept; the same as ``scores`` where a run answers images."""
        if self.model.joining is None:
            return self.scores
        kept = read_scores(self.run / "scores.csv", self.task.labels, each=True)
        return leakage.apart(self.certificate, kept)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What training warned of: shortcuts, and what the probes found."""
        return (*shortcuts.warnings(self.looked), *(probes.warnings(self.probed) if self.probed else ()))


def read_trained(run: Path, *, needed: Sequence[str]) -> Trained:
    """Read a run, and check that it is whole.

    Raises
    ------
    RunError
    IntegrityError
        When a sealed file was changed, or one of those ``needed`` among the figures.
    """
    refuse_unfinished(run)
    plan = read_json(run / "plan.json")
    archive = archive_of(run, plan)
    task = Task(**{**plan["task"], "labels": tuple(plan["task"]["labels"])})
    split = Split.from_json(read_json(run / "split.json"))
    kept = read_json(run / "calibration.json")
    fitted = calibrating.Calibration.from_json(kept["calibration"])
    model = Model.load(run)
    refuse_unsealed(run)
    edits = edited(run, needed=needed)
    certificate = leakage.read_certificate(run, split)
    scores = leakage.apart(certificate, read_scores(run / "scores.csv", task.labels))
    names = (shortcuts.NAME, probes.NAME, corruptions.NAME, ALIKE)
    found = (read_json(run / n) if (run / n).exists() else {} for n in names)
    return Trained(
        run, plan, archive, task, split, fitted, kept["operating_points"], model, edits, certificate, scores, *found
    )
