"""One page that a clinician can read: what was asked, of whom, how well, beside what, where it fails, how to repeat it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from importlib import resources
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from overread.pages import plots
from overread.pages.plots import percent, told
from overread.pages.report_words import (
    ALWAYS_LIMITS,
    COUNTED_BY_IMAGE,
    FIGURES,
    FLOORS,
    OTHER_ARCHIVE,
    SAME_SOURCE,
    USES,
)
from overread.stats.referral import REASONS


def render_report(evaluation: Mapping[str, Any]) -> str:
    """Return the report as one HTML file that fetches nothing.

    Parameters
    ----------
    evaluation : mapping
        What ``steps.evaluate`` gathers: ``unit``, ``labels``, ``floors``, ``split``, ``operating_points``,
        ``calibration`` and ``subgroups`` as in ``metrics.json``; ``name``, ``task``, ``network``, ``cohorts``, ``card``,
        ``card_fingerprint``, ``strata`` (``strata_known``: False when the training archive is not here), ``curves``
        (label → truth, probability, beside), ``gallery``, ``warnings``, ``reads``, ``measured_before``, ``apart`` (no
        image was in its training), ``now``, ``external``, ``overread``.

    Returns
    -------
    str
    """
    name, task, labels = evaluation["name"], evaluation["task"], evaluation["labels"]
    levels = task["kind"] in ("multiclass", "ordinal")
    page = {
        "style": resources.files("overread.pages").joinpath("templates/report.css").read_text("utf-8"),
        "overread": evaluation["overread"],
        "title": _title(evaluation),
        "made": _day(evaluation["now"]),
        "answer": _answer(evaluation),
        "warnings": evaluation["warnings"],
        "asked": _asked(evaluation),
        "split_told": _split_told(evaluation),
        "reads_told": _reads_told(evaluation),
        "unit_told": f"{_whom(evaluation['unit']['images'], evaluation['unit']['patients'])}, counted by image",
        "cohorts": _cohorts(evaluation),
        "cohort_names": list(evaluation["cohorts"]),
        "cohort_labels": [_short(label, task) for label in task["labels"]],
        "strata": evaluation["strata"],
        "strata_known": evaluation["strata_known"],
        "tested_on": "other archive" if evaluation["external"] else "testing cohort",
        "several": len(labels) > 1,
        "several_labels": len(task["labels"]) > 1,
        "many_labels": len(task["labels"]) > 1 and not levels,
        "name": name,
        **_beside(evaluation),
        "methods": _methods(labels[name]),
        "parts": _levels_part(evaluation) if levels else [_label_part(evaluation, n) for n in task["labels"]],
        "subgroups": _subgroups(evaluation),
        "gallery": _gallery(evaluation),
        "limits": [
            *(w for w in evaluation["card"]["limits"] if w not in evaluation["warnings"]),
            COUNTED_BY_IMAGE,
            OTHER_ARCHIVE if evaluation["external"] else SAME_SOURCE,
            *ALWAYS_LIMITS,
        ],
        "repeat": _repeat(evaluation),
    }
    page["contents"] = _contents(page)
    shelf = Environment(
        loader=PackageLoader("overread.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return shelf.get_template("report.html").render(page)


def _day(moment: str) -> str:
    """Return a time as a person writes it.

    Examples
    --------
    >>> _day("2026-01-02T03:04:00+00:00")
    '2 January 2026, 03:04 UTC'
    """
    at = datetime.fromisoformat(moment)
    return f"{at.day} {at:%B %Y, %H:%M} {at.tzname() or ''}".strip()


def _short(label: str, task: Mapping[str, Any]) -> str:
    """Return a level without the label's name before it."""
    return label.removeprefix(task["name"] + "=")


def _title(evaluation: Mapping[str, Any]) -> str:
    task = evaluation["task"]
    where = f" on {task['modality'].replace('+', ' and ')}" if task["modality"] else ""
    return f"How well does a model read {task['name'].replace(',', ', ')}{where}?"


def _whom(n: int, patients: int | None) -> str:
    return f"{n:,} images (of {patients:,} patients)" if patients is not None else f"{n:,} images"


def _share(e: Mapping[str, Any]) -> str:
    return "none" if e["value"] is None else percent(e["value"])


def _reads_told(evaluation: Mapping[str, Any]) -> str:
    """Say how often the cohort was read, and by how many models."""
    times = {1: "once", 2: "twice"}.get(evaluation["reads"], f"{evaluation['reads']} times")
    what = "the other archive" if evaluation["external"] else "the testing cohort"
    return f"By this run {what} was read {times}; it is {evaluation['measured_before']}."


def _answer(evaluation: Mapping[str, Any]) -> str:
    """Return the result in one sentence, with how it stands against the floor."""
    name, figures = evaluation["name"], evaluation["labels"][evaluation["name"]]
    auroc = figures["auroc"]
    whom = _whom(auroc["n"], auroc["n_patients"])
    unseen = " that were not in its training" if evaluation["apart"] else ""
    if auroc["value"] is None:
        return f"On {whom} nothing can be said: the AUROC is {auroc['method']}."
    span = f"{auroc['value']:.3f} (95 % interval {auroc['low']:.3f} to {auroc['high']:.3f})"
    if "confusion" in figures and "tp" in figures["confusion"]:
        found, cleared = figures["sensitivity"], figures["specificity"]
        first = (
            f"On {whom}{unseen}, it found {_share(found)} of the images with {name} and cleared {_share(cleared)} "
            f"of the images without, at a threshold fixed beforehand; its AUROC is {span}."
        )
    else:
        first = f"On {whom}{unseen}, it called {_share(figures['accuracy'])} of the images rightly; its mean AUROC is {span}."
    floor = evaluation["floors"].get("logistic_thumbnails", {}).get(name, {}).get("auroc")
    if not floor or floor["value"] is None:
        return first
    if auroc["low"] > floor["high"]:
        against = "clearly above"
    elif auroc["value"] > floor["value"]:
        against = "not clearly above"
    else:
        against = "no better than"
    return f"{first} That is {against} a logistic regression on thumbnails ({floor['value']:.3f})."


def _asked(evaluation: Mapping[str, Any]) -> list[tuple[str, str]]:
    task = evaluation["task"]
    kinds = {
        "binary": "is it there or not",
        "multilabel": "for each label, is it there or not",
        "multiclass": "which of these",
        "ordinal": "which of these, in their order",
    }
    answers = ", ".join(_short(label, task) for label in task["labels"])
    return [
        ("question", f"{task['name'].replace(',', ', ')}: {kinds[task['kind']]}"),
        *([("answers", answers)] if len(task["labels"]) > 1 else []),
        ("images", task["modality"].replace("+", ", ") or "pictures that do not say their modality"),
        ("network", _network(evaluation)),
        (
            "reference standard",
            "the labels as they were given; who read them, and how well they agree, is not recorded",
        ),
        ("intended use", task["intended_use"] or "not written yet: a human must say for whom and for what"),
    ]


def _network(evaluation: Mapping[str, Any]) -> str:
    network = evaluation["card"]["network"]
    size = " × ".join(str(v) for v in network.get("input_shape", ()))
    numbers = f", {network['parameters']:,} parameters" if "parameters" in network else ""
    return f"{network.get('name', evaluation['network'])}" + (f" on {size} inputs" if size else "") + numbers


def _split_told(evaluation: Mapping[str, Any]) -> str:
    split = evaluation["split"]
    unit = "by patient" if split["unit"] == "patient" else "by study, as the patients are not known"
    both = split["overlap"]
    shared = ", ".join(f"{both[k]:,} {k}" for k in ("patients", "studies", "images"))
    return f"Divided {unit} ({split['source']}). In more than one cohort: {shared} (counted, not assumed)."


def _cohorts(evaluation: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for name, cohort in evaluation["cohorts"].items():
        counts = [cohort["labels"][label] for label in evaluation["task"]["labels"]]
        patients = cohort["patients"]
        rows.append(
            {
                "name": name,
                "use": USES.get(name, ""),
                "patients": f"{patients:,}" if patients is not None else "unknown",
                "images": f"{cohort['images']:,}",
                "labels": [f"{c['true']:,}" + (f" ({c['unknown']:,} unknown)" if c["unknown"] else "") for c in counts],
            }
        )
    return rows


def _beside(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ladder of AUROCs and the table of figures, the model first and the floors after it."""
    name = evaluation["name"]
    ours = evaluation["labels"][name]
    there = [(FLOORS[k], f[name]) for k, f in evaluation["floors"].items() if name in f]
    absent = [f"{FLOORS[k]}: {f['absent']}." for k, f in evaluation["floors"].items() if "absent" in f]
    columns = [("this model", ours), *there]
    rows = [
        {
            "name": words,
            "cells": [told(figures.get(key)) if key in figures else "–" for _, figures in columns],
            "says": says,
        }
        for key, words, says in FIGURES
        if key in ours and not (key == "accuracy_at_half" and "sensitivity" not in ours)
    ]
    ladder = plots.ladder([(who, figures["auroc"]) for who, figures in columns], name="AUROC").svg
    return {"ladder": ladder, "absent": absent, "columns": [who for who, _ in columns], "figures": rows}


def _methods(figures: Mapping[str, Any]) -> str:
    """Say how the intervals were found, figures with one method together."""
    by_method: dict[str, list[str]] = {}
    for key, words, _ in FIGURES:
        if key in figures and figures[key].get("method"):
            by_method.setdefault(figures[key]["method"], []).append(words)
    told_so = "; ".join(f"{method}: {', '.join(words)}" for method, words in by_method.items())
    return f"How the intervals were found: {told_so}. Patients are resampled, not images."


def _curves(evaluation: Mapping[str, Any], label: str) -> list[tuple[str, plots.Plot]]:
    """Return ROC, reliability and score distribution of one label; empty where one answer is missing."""
    curve = evaluation["curves"][label]
    y, p = np.asarray(curve["truth"], float), np.asarray(curve["probability"], float)
    known = ~np.isnan(y)
    if not 0 < y[known].sum() < known.sum():
        return []
    point = evaluation["operating_points"].get(label)  # of several levels the most probable is called: no threshold
    threshold = point["threshold"] if point else None
    beside = {}
    for who, (other_y, other_p) in curve["beside"].items():
        other_y = np.asarray(other_y, float)
        beside[who] = (other_y[~np.isnan(other_y)], np.asarray(other_p, float)[~np.isnan(other_y)])
    y, p = y[known], p[known]
    return [
        ("Ranking (ROC)", plots.roc(y, p, threshold=threshold, name=label, beside=beside)),
        ("Honesty of the probabilities", plots.reliability(y, p, name=label)),
        ("Spread of the scores", plots.distribution(y, p, threshold=threshold, name=label)),
    ]


def _label_part(evaluation: Mapping[str, Any], label: str) -> dict[str, Any]:
    """Return the section of one yes-or-no label."""
    figures, point = evaluation["labels"][label], evaluation["operating_points"][label]
    counts = figures["confusion"]
    natural = []
    for key, of, verb in (
        ("sensitivity", "100 images with it", "found"),
        ("specificity", "100 images without it", "cleared"),
        ("ppv", "100 images that it calls", "truly have it"),
    ):
        e = figures[key]
        if e["value"] is not None and e["low"] is not None:
            natural.append(
                f"Of {of}, about {e['value'] * 100:.0f} {'are ' if verb != 'truly have it' else ''}{verb} "
                f"({e['low'] * 100:.0f} to {e['high'] * 100:.0f})."
            )
    return {
        "heading": f"{label}: at work, and across thresholds",
        "point": f"Threshold {point['threshold']:.3f}: {point['rule']}. Testing only applied it.",
        "natural": natural,
        "confusion": {k: f"{counts[k]:,}" for k in ("tp", "fp", "fn", "tn")},
        "three_way": _three_way(figures["three_way"]),
        "plots": _curves(evaluation, label),
        "table": None,
        "matrix": None,
        "more": None,
    }


def _three_way(account: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row that says what is answered, what is referred, and how good the answers are."""

    def part(count: int) -> str:
        return f"{count:,} ({percent(count / account['all'], 1)})" if account["all"] else "0"

    share = account["share_referred"]
    span = (
        f" (95 % interval {percent(share['low'], 1)} to {percent(share['high'], 1)})"
        if share["low"] is not None
        else ""
    )
    figures = [key for key in ("sensitivity", "specificity", "accuracy") if key in account]
    return {
        "columns": ("all images", "answered", "referred to the doctor", *(f"{key} of the answers" for key in figures)),
        "cells": (
            f"{account['all']:,}",
            part(account["answered"]),
            part(account["referred"]),
            *(told(account[key]) for key in figures),
        ),
        "caption": f"What it answers at work. An image is {account['rule']}: {percent(share['value'] or 0, 1)} of "
        f"them{span}.{_whys(account['reasons'])}",
    }


def _whys(reasons: Mapping[str, int]) -> str:
    """Return how many images were referred for which reason, the commonest first."""
    told = [f"{n:,} because {REASONS[code]}" for code, n in sorted(reasons.items(), key=lambda r: -r[1])]
    return f" Here {'; '.join(told)}." if told else ""


def _levels_part(evaluation: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the section of a label with several levels: the table of calls, and each level against the rest."""
    name, task = evaluation["name"], evaluation["task"]
    counts = evaluation["labels"][name]["confusion"]["counts"]
    shown = [_short(level, task) for level in task["labels"]]
    matrix = {
        "levels": shown,
        "rows": [
            {"level": level, "cells": [{"count": f"{n:,}", "share": round(n / max(sum(row), 1), 2)} for n in row]}
            for level, row in zip(shown, counts, strict=True)
        ],
    }
    rows = []
    for level in task["labels"]:
        f = evaluation["labels"][level]
        rows.append((_short(level, task), percent(f['prevalence']['value'], 1) if f["prevalence"]["value"] is not None else "–",
                     told(f["auroc"]), told(f["sensitivity"], 2), told(f["specificity"], 2), told(f["brier_skill"], 2)))  # fmt: skip
    return [
        {
            "heading": f"{name}: level by level",
            "caption": "Each level against the rest; a level is called where it is the most probable one.",
            "table": {
                "columns": ("level", "share of images", "AUROC", "sensitivity", "specificity", "Brier skill"),
                "rows": rows,
            },
            "matrix": matrix,
            "three_way": _three_way(evaluation["labels"][name]["three_way"]),
            "confusion": None,
            "plots": None,
            "more": [(_short(level, task), _curves(evaluation, level)) for level in task["labels"]],
        }
    ]


def _subgroups(evaluation: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for g in evaluation["subgroups"]:
        share = g["prevalence"]
        rows.append(
            {
                "group": f"{g['stratum']}: {g['value']}",
                "label": g["label"],
                "few": g["few"],
                "cells": [
                    f"{share['n_patients']:,}" if share["n_patients"] is not None else "–",
                    f"{share['n']:,}",
                    f"{round((share['value'] or 0) * share['n']):,}",
                    told(g["auroc"], 2),
                    told(g["sensitivity"], 2),
                    told(g["specificity"], 2),
                ],
            }
        )
    return rows


def _gallery(evaluation: Mapping[str, Any]) -> list[dict[str, Any]]:
    groups = []
    for group in evaluation["gallery"]:
        cases = [
            {**c, "alt": f"Image of a case; the model said {c['said']}, it was {c['was']}"} for c in group["cases"]
        ]
        shown = f"{len(cases)} of {group['total']:,}" if group["total"] else ""
        groups.append({**group, "cases": cases, "told": shown})
    return groups


def _repeat(evaluation: Mapping[str, Any]) -> list[tuple[str, str]]:
    card = evaluation["card"]
    rows = [("model card", evaluation["card_fingerprint"]), ("split", evaluation["split"]["hash"])]
    rows += [(k.removeprefix("file:"), v) for k, v in card["hashes"].items() if k != "split"]
    plan = card["training"].get("plan", {})
    if "seed" in plan:
        rows.append(("seed", str(plan["seed"])))
    versions = card["training"].get("versions", {})
    rows.append(("versions", ", ".join(f"{k} {v}" for k, v in versions.items())))
    return [(term, words) for term, words in rows if words]


def _contents(page: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = [("asked", "What was asked"), ("whom", "Of whom"), ("well", "How well")]
    rows += [(f"label-{i}", part["heading"].split(":")[0]) for i, part in enumerate(page["parts"], 1)]
    rows += [("groups", "Subgroups")] if page["subgroups"] else []
    rows += [("cases", "Cases")] if page["gallery"] else []
    return [*rows, ("limits", "Limits"), ("repeat", "How to repeat it")]
