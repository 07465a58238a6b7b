"""What a person asks of an evaluation beyond its figures: another prevalence, a published figure to be held against."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from overread.domain import Estimate
from overread.errors import OverreadError
from overread.stats.claims import false_claim
from overread.stats.decisions import predictive_values

COMPARABLE = ("auroc", "accuracy", "accuracy_at_half", "sensitivity", "specificity", "balanced_accuracy")
"""Figures that are shares, and that others publish."""


def check_questions(prevalence: float | None, published: Mapping[str, float]) -> None:
    """Refuse what cannot be asked, before anything is read."""
    if prevalence is not None and not 0 < prevalence < 1:
        raise OverreadError(
            f"a prevalence of {prevalence:g}", expected="a share between 0 and 1", do="write 0.02 for 2 %"
        )
    for name, value in published.items():
        if name not in COMPARABLE or not 0 < value < 1:
            raise OverreadError(
                f"a published figure {name}={value:g}",
                expected=f"a share between 0 and 1 of {', '.join(COMPARABLE)}",
                do="write auroc=0.97",
            )


def at_prevalence(labels: Mapping[str, Mapping[str, Any]], prevalence: float) -> dict[str, dict[str, Any]]:
    """Return PPV and NPV of each label where the finding is as common as stated."""
    told = {}
    for label, figures in labels.items():
        if "lr_plus" in figures:
            ppv, npv = predictive_values(figures["lr_plus"], figures["lr_minus"], prevalence=prevalence)
            told[label] = {"prevalence": prevalence, "ppv": ppv, "npv": npv}
    return told


def claims_against(
    labels: Mapping[str, Mapping[str, Any]], published: Mapping[str, float], *, n: int | None
) -> list[dict[str, Any]]:
    """Return, for each published figure, the one-sided p-value of "it is not better"."""
    first = next(iter(labels))
    told = []
    for name, value in published.items():
        ours = labels[first].get(name)
        if isinstance(ours, Estimate):
            common = labels[first].get("prevalence")
            share = common.value if isinstance(common, Estimate) else None
            claim = false_claim(ours, value, published_n=n, figure=name, share=share)
            told.append({"label": first, "figure": name, "published": value, **claim})
    return told
