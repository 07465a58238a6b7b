"""Every figure three ways: of all images, of those that the model answers, and of those that it refers to the doctor.

A figure of the answered alone flatters a model that refers what is hard, and one of all says nothing of what it does at
work. Floors and subgroups are told on the same three sets of images, those that this model answers and refers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from overread.stats.metrics import brief_figures
from overread.stats.ranking import macro_auroc
from overread.stats.resample import cases as known
from overread.stats.shares import proportion
from overread.steps.scores import Question, Scores

Why = Mapping[str, np.ndarray]
"""By label, or by the name of a label with several levels: why each image is referred, "" where it is answered."""


def ways(
    how: Question, cases: Scores, probability: np.ndarray, why: Why, *, thresholds: Sequence[float] | None = None
) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the figures of all, of the answered and of the referred images, by label.

    Parameters
    ----------
    how : Question
    cases : Scores
    probability : ndarray, (n, outputs)
        The model's, or those of a floor on the same images.
    why : mapping of str to ndarray of str, (n,)
        What this model refers (`Question.why`).
    thresholds : sequence of float, optional
        Of a floor; this model's own when left out. The most probable of several levels is called at none.

    Returns
    -------
    dict
        label → {"all", "answered", "referred"} → prevalence, auroc, sensitivity, specificity; auroc (mean over the levels)
        and accuracy for a label with several levels. Of the referred they tell what the model would have said.
    """
    own = thresholds is None and not how.levels
    limits = thresholds or [how.points[label]["threshold"] for label in how.task.labels] if not how.levels else []
    told = {}
    for place, (name, reasons) in enumerate(why.items()):
        parts = {"all": np.ones(len(reasons), bool), "answered": reasons == "", "referred": reasons != ""}
        told[name] = {
            way: _levels(how, cases, probability, rows)
            if how.levels
            else _label(cases, probability, rows, place, limits[place], cases.called(place) if own else None)
            for way, rows in ((way, np.flatnonzero(chosen).tolist()) for way, chosen in parts.items())
        }
    return told


def _label(
    cases: Scores, probability: np.ndarray, rows: list[int], place: int, threshold: float, called: np.ndarray | None
) -> dict[str, Any]:
    some = cases.at(rows)
    line = {"threshold": threshold, "called": None if called is None else called[rows]}
    return brief_figures(some.truth[:, place], probability[rows, place], **line, patients=some.patients)


def _levels(how: Question, cases: Scores, probability: np.ndarray, rows: list[int]) -> dict[str, Any]:
    some = cases.at(rows)
    level = np.where(np.isnan(some.truth).any(1), np.nan, np.nan_to_num(some.truth).argmax(1))
    c = known(level, probability[rows], some.patients)
    right = c.score.argmax(1) == c.truth if len(c.truth) else np.zeros(0, bool)
    accuracy = proportion(c, right, np.ones(len(c.truth), bool), nobody="no cases")
    return {"auroc": macro_auroc(c, len(how.task.labels)), "accuracy": accuracy}
