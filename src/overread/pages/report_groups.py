"""The rows of the table of subgroups: how each fares, how far it lies from all others, and who are too few to say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from overread.pages.plots import told

KEYS = ("auroc", "sensitivity", "specificity")


def subgroup_rows(evaluation: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return one row for each group and label, and below it its answered and referred images.

    A group of fewer than 30 patients has no figures; nor have fewer answered or referred.
    """
    rows = []
    for g in evaluation["subgroups"]:
        gaps = [g["gap"].get(key) if g.get("gap") else None for key in KEYS]
        cells = [] if g["few"] else [told(g[key], 2) for key in KEYS]
        rows.append(
            {
                "group": f"{g['stratum']}: {g['value']}",
                "label": g["label"],
                "few": g["few"],
                "whom": _whom(g["prevalence"]),
                "cells": [{"value": value, "gap": _gap(gap)} for value, gap in zip(cells, gaps, strict=False)],
                "parts": [] if g["few"] else [_part(way, of) for way, of in g.get("three_ways", {}).items()],
            }
        )
    return rows


def _whom(share: Mapping[str, Any]) -> list[str]:
    """Return how many patients and images, and how many images with the finding."""
    return [
        f"{share['n_patients']:,}" if share["n_patients"] is not None else "–",
        f"{share['n']:,}",
        f"{round((share['value'] or 0) * share['n']):,}",
    ]


def _part(way: str, figures: Mapping[str, Any]) -> dict[str, Any]:
    cells = [] if figures["few"] else [told(figures[key], 2) for key in KEYS]
    return {"way": way, "few": figures["few"], "whom": _whom(figures["prevalence"]), "cells": cells}


def _gap(gap: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the distance of a group to all others, and whether its interval leaves out 0."""
    if not gap or gap["value"] is None or gap["low"] is None:
        return None
    sure = gap["low"] > 0 or gap["high"] < 0
    words = f"{gap['value']:+.2f} ({gap['low']:+.2f} to {gap['high']:+.2f})".replace("-", "−")
    return {"told": words, "sure": sure}
