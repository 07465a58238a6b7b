"""The part of a report that sets the model beside its floors: the ladder, the figures, the three ways, and the seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from overread.pages import plots
from overread.pages.plots import told
from overread.pages.report_labels import OF_EACH, WAYS, apart
from overread.pages.report_words import FIGURES, FLOORS


def beside(evaluation: Mapping[str, Any], label: str = "") -> dict[str, Any]:
    """Return the ladder of AUROCs and the table of figures, the model first and the floors after it.

    Parameters
    ----------
    evaluation : mapping
    label : str, optional
        One of several labels; the page's first when not given.
    """
    name = label or evaluation["name"]
    ours = evaluation["labels"][name]
    there = [(FLOORS[k], f[name]) for k, f in evaluation["floors"].items() if name in f]
    absent = [f"{FLOORS[k]}: {f['absent']}." for k, f in evaluation["floors"].items() if "absent" in f]
    columns = [("this model", ours), *there]
    rows = [
        {
            "name": words,
            "cells": [apart(told(figures[key]) if key in figures else "–") for _, figures in columns],
            "says": says,
        }
        for key, words, says in FIGURES
        if key in ours and not (key == "accuracy_at_half" and "sensitivity" not in ours)
    ]
    thirds = _three_ways(columns)
    ladder = plots.ladder([(who, figures["auroc"]) for who, figures in columns], name="AUROC").svg
    return {
        "ladder": ladder,
        "absent": absent,
        "columns": [who for who, _ in columns],
        "figures": rows,
        "three_ways": thirds,
    }


def _three_ways(columns: Sequence[tuple[str, Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Return the rows that tell each figure of all, of the answered and of the referred images, model beside floors."""
    ours = columns[0][1].get("three_ways")
    if not ours:
        return []
    rows = []
    for key, words in OF_EACH.items():
        for way, whom in WAYS.items() if key in ours["all"] else ():
            cells = [figures.get("three_ways", {}).get(way, {}).get(key) for _, figures in columns]
            shown = [apart(told(e) if e and e["n"] else "no image" if e else "–") for e in cells]
            rows.append({"figure": words, "first": way == "all", "way": whom, "cells": shown})
    return rows


def methods(figures: Mapping[str, Any]) -> str:
    """Say how the intervals were found, figures with one method together."""
    by_method: dict[str, list[str]] = {}
    for key, words, _ in FIGURES:
        if key in figures and figures[key].get("method"):
            by_method.setdefault(figures[key]["method"], []).append(words)
    told_so = "; ".join(f"{method}: {', '.join(words)}" for method, words in by_method.items())
    known = all(figures[key].get("n_patients") is not None for key, _, _ in FIGURES if key in figures)
    witness = "Patients bear witness, not images."
    if not known:
        witness = "Not all patients are known: where one is not, each study, or each image, counts as one."
    return f"How the intervals were found: {told_so}. {witness}"


def seeds(evaluation: Mapping[str, Any]) -> list[str]:
    """Say how far the AUROC moves with the seed of the training alone, label by label."""
    lines = []
    for label, s in (evaluation.get("seed_spread") or {}).items():
        few = "" if s["n"] >= 3 else " Two say little: three or more are needed."
        lines.append(
            f"{label}: over {s['n']} networks that differ by their seed only the AUROC is {s['mean']:.3f} ± {s['sd']:.3f} "
            f"(mean ± standard deviation; lowest {s['low']:.3f}, highest {s['high']:.3f}). So far chance alone moves it, "
            f"beside the interval for the patients.{few}"
        )
    return lines
