"""The table of the sets of possible answers: what was promised, what was observed, and whether that can be chance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from overread.pages.plots import percent, told

E = Mapping[str, Any]

BY_CHANCE = 0.025
"""Below this chance a coverage that fell short is no longer taken for bad luck of the calibration cohort."""


def broken(found: E, answer: str) -> bool:
    """Say whether the sets' promise does not hold for an answer: its whole interval is below it, and not by chance."""
    e, chance = found["covered"][answer], found.get("by_chance", {}).get(answer, 0.0)
    return e["high"] is not None and chance is not None and e["high"] < found["coverage"] and chance < BY_CHANCE


def sets_told(found: E | None, *, whom: str = "patients") -> dict[str, Any] | None:
    """Return the table of what the sets of possible answers promised and what was observed, answer by answer."""
    if not found:
        return None
    promised = percent(found["coverage"])
    rows = []
    for answer, e in found["covered"].items():
        behind = found.get("calibration_patients", {}).get(answer)
        rows.append(
            {
                "answer": answer,
                "cells": [promised, told(e, 2), f"{e['n']:,}", f"{behind:,}" if behind is not None else "–"],
                "says": _says(found, answer, whom),
                "broken": broken(found, answer),
            }
        )
    return {
        "caption": "Sets of possible answers: how often the right one was to be in its set, and how often it was. "
        f"One answer was left in {percent(found['one_left'], 1)} of the images.",
        "columns": ("when it was", "promised", "observed (95 % interval)", "images", f"calibration {whom}", "so"),
        "rows": rows,
    }


def _says(found: E, answer: str, whom: str) -> str:
    e = found["covered"][answer]
    if e["value"] is None or e["high"] is None:
        return "no such case"
    if broken(found, answer):
        return "the promise does not hold here: exchangeability is broken"
    if e["high"] < found["coverage"]:
        few, chance = found["calibration_patients"][answer], found["by_chance"][answer]
        if chance is None:  # cross-validated: many limits, none of which has a closed form
            return "below the promise"
        return f"below the promise; with {few:,} calibration {whom} that can be chance (p = {chance:.2g})"
    return "kept" if e["low"] >= found["coverage"] else "not contradicted"
