"""The words that every report has in common: what cohorts and figures are for, and what is never claimed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

USES = {
    "training": "fit the network",
    "tuning": "watch the training; nothing is chosen on it",
    "calibration": "make probabilities honest, fix the threshold",
    "testing": "report",
}

FIGURES = (
    ("auroc", "AUROC", "ranking: chance that an image with it scores above one without"),
    ("ap", "average precision", "share of true alarms over all alarm rates; a coin gets the prevalence"),
    ("sensitivity", "sensitivity", "of the images with it, how many are called"),
    ("specificity", "specificity", "of the images without it, how many are cleared"),
    ("ppv", "positive predictive value", "of those called, how many have it, at this prevalence"),
    ("npv", "negative predictive value", "of those cleared, how many are free of it, at this prevalence"),
    ("accuracy", "accuracy", "share of images called rightly; look at the majority's before praising it"),
    ("accuracy_at_half", "accuracy at 0.5", "only for comparison with published tables"),
    ("balanced_accuracy", "balanced accuracy", "mean share of right calls over the answers"),
    ("mcc", "Matthews' correlation", "of call and truth: 1 is perfect, 0 is chance, whatever the prevalence"),
    ("kappa_quadratic", "quadratic kappa", "agreement on an ordered scale, beyond chance"),
    ("brier", "Brier score", "error of the probabilities; smaller is better"),
    ("brier_skill", "Brier skill", "what is saved against always saying the prevalence; below 0 is worse"),
)

FLOORS = {
    "majority": "commonest answer",
    "logistic_thumbnails": "logistic on thumbnails",
    "nearest_thumbnail": "nearest thumbnail",
    "simple-cnn": "simple-cnn",
}

SAME_SOURCE = (
    "The testing patients come from the same source as the training patients. Another hospital, scanner or time may "
    "give other figures; only a test there tells."
)
SAME_SOURCE_CROSSED = (
    "The figures are of a procedure: every patient was read by networks that learned from the others of the same source. "
    "The exported networks were not tested on patients whom none of them had seen; only a test elsewhere tells."
)
OTHER_ARCHIVE = (
    "The images come from another archive than the training images. Whether the patients are others too is told in the "
    "certificate, as far as pseudonyms can tell. The table of cohorts is that of the training."
)
ALWAYS_LIMITS = (
    "The interval holds for patients like these. It does not cover a change of scanner, of protocol or of prevalence.",
    "Predictive values hold at the prevalence of this cohort, which may not be that of your clinic.",
    "A heat-map shows what the score was made of. It is evidence about the model, not proof of a finding.",
    "Nobody's reading got better or faster in this test: no reader took part in it.",
)


def crossed(evaluation: Mapping[str, Any]) -> bool:
    """Say whether the figures are of cross-validated answers, and no testing cohort stands behind them.

    Examples
    --------
    >>> crossed({"on": "cross-validated"}), crossed({"on": "testing cohort"})
    (True, False)
    """
    return evaluation.get("on") == "cross-validated"


def people(evaluation: Mapping[str, Any]) -> str:
    """Return whom the cohorts count: patients, or cases (a study with its copies) where not all patients are known.

    Examples
    --------
    >>> people({"split": {"unit": "patient"}}), people({"split": {"unit": "study"}})
    ('patients', 'cases (patients unknown)')
    """
    return "patients" if evaluation["split"]["unit"] == "patient" else "cases (patients unknown)"


def times(number: int) -> str:
    """Return how often, as a person says it.

    Examples
    --------
    >>> times(1), times(2), times(1200)
    ('once', 'twice', '1,200 times')
    """
    return {1: "once", 2: "twice"}.get(number, f"{number:,} times")


def reads_told(evaluation: Mapping[str, Any]) -> str:
    """Say how often the cohort was read, and by how many models."""
    if crossed(evaluation):
        answers = times(evaluation["reads"]).replace("once", "for the first time")
        return (
            f"By this run the cross-validated answers were measured {answers}; it is {evaluation['measured_before']}."
        )
    what = "the other archive" if evaluation["external"] else "the testing cohort"
    return f"By this run {what} was read {times(evaluation['reads'])}; it is {evaluation['measured_before']}."
