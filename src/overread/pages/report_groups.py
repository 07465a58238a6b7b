"""The rows of the table of subgroups: how each fares, how far it lies from all others, and who are too few to say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from overread.pages.in_order import natural
from overread.pages.plots import told

KEYS = {
    "auroc": "AUROC",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "accuracy": "accuracy",
    "kappa_quadratic": "quadratic kappa",
}
"""Figures that a group may have, and their words."""


def subgroup_columns(evaluation: Mapping[str, Any]) -> list[str]:
    """Return the words of the figures that the groups have."""
    return [KEYS[key] for key in _keys(evaluation)]


def _keys(evaluation: Mapping[str, Any]) -> list[str]:
    return [key for key in KEYS if any(key in group for group in evaluation["subgroups"])]


def none_because(evaluation: Mapping[str, Any]) -> str:
    """Return the one reason why no subgroup could be looked at; "" where some were.

    Examples
    --------
    >>> none_because({"subgroups": [], "external": False, "strata_known": False, "strata": []})
    'the training archive is not here'
    >>> row = {"stratum": "sex", "value": "F", "counts": {"testing": 40}}
    >>> none_because({"subgroups": [], "external": False, "strata_known": True, "strata": [row]})
    'no group told by the source has two to twelve values among the testing images (sex has one)'
    """
    if evaluation["subgroups"]:
        return ""
    if evaluation["external"]:
        return "no group told by the other archive has two to twelve values among its images"
    if not evaluation["strata_known"]:
        return "the training archive is not here"
    there: dict[str, int] = {}
    for row in evaluation["strata"]:
        there[row["stratum"]] = there.get(row["stratum"], 0) + bool(row["counts"]["testing"])
    told_so = "; ".join(f"{name} has {'one' if n == 1 else 'none' if not n else n}" for name, n in there.items())
    aside = f" ({told_so})" if told_so else ""
    return f"no group told by the source has two to twelve values among the testing images{aside}"


def in_order(rows: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return rows of groups by the order of their values, strata as they came."""
    known = list(rows)
    first = {row["stratum"]: k for k, row in reversed([*enumerate(known)])}
    return sorted(known, key=lambda row: (first[row["stratum"]], natural(row["value"])))


def subgroup_rows(evaluation: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return one row for each group and label, and below it its answered and referred images.

    A group of fewer than 30 patients has no figures; nor have fewer answered or referred.
    """
    rows, keys = [], _keys(evaluation)
    for g in in_order(evaluation["subgroups"]):
        gaps = [g["gap"].get(key) if g.get("gap") else None for key in keys]
        cells = [] if g["few"] else [told(g[key], 2) for key in keys]
        rows.append(
            {
                "group": f"{g['stratum']}: {g['value']}",
                "label": g["label"],
                "few": g["few"],
                "whom": _whom(g),
                "cells": [{"value": value, "gap": _gap(gap)} for value, gap in zip(cells, gaps, strict=False)],
                "parts": [] if g["few"] else [_part(way, of, keys) for way, of in g.get("three_ways", {}).items()],
            }
        )
    return rows


def _whom(figures: Mapping[str, Any]) -> list[str]:
    """Return how many patients and images, and of a yes-or-no label how many images with the finding."""
    share = figures["prevalence"] if "prevalence" in figures else figures["accuracy"]
    people = f"{share['n_patients']:,}" if share["n_patients"] is not None else "–"
    with_it = [f"{round((share['value'] or 0) * share['n']):,}"] if "prevalence" in figures else []
    return [people, f"{share['n']:,}", *with_it]


def _part(way: str, figures: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    cells = [] if figures["few"] else [told(figures[key], 2) for key in keys]
    return {"way": way, "few": figures["few"], "whom": _whom(figures), "cells": cells}


def _gap(gap: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the distance of a group to all others, and whether its interval leaves out 0."""
    if not gap or gap["value"] is None or gap["low"] is None:
        return None
    sure = gap["low"] > 0 or gap["high"] < 0
    words = f"{gap['value']:+.2f} ({gap['low']:+.2f} to {gap['high']:+.2f})".replace("-", "−")
    return {"told": words, "sure": sure}
