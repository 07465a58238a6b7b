"""Do the answers that a run was measured by still stand in its archive? They are kept twice, and one may be changed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from overread.domain import Study, Task
from overread.steps.opened import open_archive
from overread.steps.question import truth
from overread.steps.run import archive_of, read_json
from overread.steps.scores import Scores, read_scores


def disagreeing(scores: Scores, studies: Mapping[str, Study], task: Task) -> list[str]:
    """Say how many of the answers kept with the scores are others than the archive holds today; empty where none is.

    Studies that the archive holds no longer are passed over: `evaluate` refuses these.

    Examples
    --------
    >>> task = Task(("mass",), "binary", "mass")
    >>> kept = Scores((("testing", "a", "S1", None),), np.array([[1.0]]), np.array([[0.3]]))
    >>> disagreeing(kept, {"S1": Study("S1", ("a",), labels={"mass": True})}, task)
    []
    >>> disagreeing(kept, {"S1": Study("S1", ("a",), labels={"mass": False})}, task)[0][:62]
    '1 of the 1 testing images has another answer in the archive to'
    """
    rows = [i for i, entry in enumerate(scores.entries) if entry[2] in studies]
    if not rows:
        return []
    today = truth([studies[scores.entries[i][2]] for i in rows], task)
    same = (today == scores.truth[rows]) | (np.isnan(today) & np.isnan(scores.truth[rows]))
    other = [scores.entries[i][0] for i, alike in zip(rows, same.all(axis=1), strict=True) if not alike]
    if not other:
        return []
    cohorts = dict.fromkeys(("testing", "calibration", "tuning", "overlapping"))
    of = {c: sum(scores.entries[i][0] == c for i in rows) for c in cohorts}
    told = " and ".join(f"{other.count(c):,} of the {of[c]:,} {c} images" for c in cohorts if c in other)
    return [
        f"{told} {'has' if len(other) == 1 else 'have'} another answer in the archive today than when the run was trained. "
        "The figures stand for the answers of then: if these were wrong, train again; if nobody mended them, find out who "
        "changed the archive."
    ]


def agreed(run: Path) -> list[str]:
    """Say the same of a finished run; nothing where its archive is not here, or where it only answers."""
    plan = read_json(run / "plan.json")
    place = archive_of(run, plan)
    if place is None or not (run / "scores.csv").is_file():
        return []
    task = Task(**{**plan["task"], "labels": tuple(plan["task"]["labels"])})
    scores = read_scores(run / "scores.csv", task.labels, each=True)
    asked = {entry[2] for entry in scores.entries}
    with open_archive(place) as archive:
        studies = {study.pseudonym: study for study in archive.studies() if study.pseudonym in asked}
    return disagreeing(scores, studies, task)
