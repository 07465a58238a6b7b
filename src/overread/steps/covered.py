"""Whether the sets of possible answers held the right one as often as stated, on the cases that were evaluated."""

from __future__ import annotations

from typing import Any

import numpy as np

from overread.stats import conformal
from overread.stats.conformal import Sets
from overread.stats.resample import cases as cases_of
from overread.stats.shares import proportion
from overread.steps.scores import Question, Scores


def covered(how: Question, cases: Scores, probability: np.ndarray) -> dict[str, dict[str, Any]]:
    """Return whether the sets held, by label.

    For each: coverage (as stated), covered (answer → Estimate), by_chance (answer → how likely so few would be covered
    if they were exchangeable with the calibration cohort), calibration_patients, sizes, and one_left, the share with one
    answer.

    Parameters
    ----------
    how : Question
        With the sets that were learned on the calibration cohort; a run without them gives nothing.
    cases : Scores
    probability : ndarray, (n, outputs)
    """
    found = {}
    for place, (name, sets) in enumerate(how.sets.items()):
        if how.levels:
            p, answers = probability, [label.removeprefix(f"{name}=") for label in how.task.labels]
            unknown = np.isnan(cases.truth).any(1)
            truth = np.where(unknown, np.nan, np.nan_to_num(cases.truth).argmax(1))
        else:
            j = how.task.labels.index(name)
            p, answers = np.stack([1 - probability[:, j], probability[:, j]], axis=1), ["absent", "present"]
            truth = cases.truth[:, j]
        if cases.crossed is not None:
            found[name] = _of_parts(cases, truth, cases.crossed.possible(0 if how.levels else place), sets, answers)
            continue
        held, sizes = conformal.realised(sets, p, truth, cases.patients)
        found[name] = {
            "coverage": sets.coverage,
            "covered": dict(zip(answers, held, strict=True)),
            "by_chance": dict(zip(answers, conformal.by_chance(sets, p, truth, cases.patients), strict=True)),
            "calibration_patients": dict(zip(answers, sets.patients, strict=True)),
            "sizes": sizes,
            "one_left": sizes[1] / sum(sizes) if sum(sizes) else 0.0,
        }
    return found


def _of_parts(cases: Scores, truth: np.ndarray, possible: np.ndarray, sets: Sets, answers: list[str]) -> dict[str, Any]:
    """Return the same of cross-validated rows, each by the sets that were learned without its patient.

    They had many limits, not one: how likely so few would be covered has no closed form, and is left out.
    """
    c = cases_of(truth, possible.astype(float), cases.patients)
    inside = c.score[np.arange(len(c.truth)), c.truth.astype(int)] > 0
    held = [proportion(c, inside, c.truth == k, nobody="no case with this answer") for k in range(len(answers))]
    sizes = np.bincount(c.score.sum(1).astype(int), minlength=len(answers) + 1).tolist()
    return {
        "coverage": sets.coverage,
        "covered": dict(zip(answers, held, strict=True)),
        "by_chance": dict.fromkeys(answers),
        "calibration_patients": dict(zip(answers, sets.patients, strict=True)),
        "sizes": sizes,
        "one_left": sizes[1] / sum(sizes) if sum(sizes) else 0.0,
    }
