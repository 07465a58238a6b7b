"""The part of a report that tells of one label: at work, in odds, across thresholds, and what is left to the doctor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from overread.pages import plots
from overread.pages.benefit import decision_plot
from overread.pages.by_label import short
from overread.pages.plots import percent, told
from overread.pages.precision import precision
from overread.pages.report_promise import gate_told, kept, promise, sensitivity_told
from overread.pages.report_sets import broken, sets_told
from overread.pages.report_words import people
from overread.stats.frequency import outward
from overread.stats.referral import REASONS

E = Mapping[str, Any]

OVERVIEW = {
    "auroc": "AUROC",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "lr_plus": "LR+",
    "lr_minus": "LR−",
    "brier_skill": "Brier skill",
}

OF_EACH = {"auroc": "AUROC", "sensitivity": "sensitivity", "specificity": "specificity", "accuracy": "accuracy"}
"""Figures that are told three ways."""

HONESTY = "Honesty of the probabilities"

FAR = 1.0
"""Intercept from which probabilities are called far off: the odds are wrong by a factor of e."""


def label_part(evaluation: E, label: str) -> dict[str, Any]:
    """Return the section of one yes-or-no label."""
    figures, point = evaluation["labels"][label], evaluation["operating_points"][label]
    counts = figures["confusion"]
    return {
        "heading": f"{label}: at work, and across thresholds",
        "short": label,
        "point": f"Threshold {point['threshold']:.3f}: {point['rule']}. {promise(point, figures)}",
        "natural": [*natural(figures), *odds(figures), *elsewhere(evaluation.get("at_prevalence", {}).get(label))],
        "confusion": {k: f"{counts[k]:,}" for k in ("tp", "fp", "fn", "tn")},
        "three_way": three_way(
            figures["three_way"], figures.get("three_ways"), evaluation.get("gate"), whom=people(evaluation)
        ),
        "sets": sets_told(evaluation.get("sets", {}).get(label), whom=people(evaluation)),
        "calibrated": calibrated(evaluation, evaluation["task"]["labels"].index(label)),
        "honest": honest(figures),
        "plots": curves(evaluation, label),
        "table": None,
        "matrix": None,
        "more": None,
    }


def levels_part(evaluation: E) -> list[dict[str, Any]]:
    """Return the section of a label with several levels: the table of calls, and each level against the rest."""
    name, task = evaluation["name"], evaluation["task"]
    counts = evaluation["labels"][name]["confusion"]["counts"]
    shown = [short(level, task) for level in task["labels"]]
    matrix = {
        "levels": shown,
        "rows": [
            {"level": level, "cells": [{"number": f"{n:,}", "share": round(n / max(sum(row), 1), 2)} for n in row]}
            for level, row in zip(shown, counts, strict=True)
        ],
    }
    return [
        {
            "heading": f"{name}: level by level",
            "short": name,
            "caption": "Each level against the rest; a level is called where it is the most probable one.",
            "table": overview(evaluation, "level"),
            "matrix": matrix,
            "three_way": three_way(
                *(evaluation["labels"][name].get(key) for key in ("three_way", "three_ways")),
                evaluation.get("gate"),
                whom=people(evaluation),
            ),
            "sets": sets_told(evaluation.get("sets", {}).get(name), whom=people(evaluation)),
            "calibrated": calibrated(evaluation, 0),
            "honest": [],
            "confusion": None,
            "plots": None,
            "more": [(short(level, task), curves(evaluation, level)) for level in task["labels"]],
        }
    ]


def overview(evaluation: E, what: str) -> dict[str, Any]:
    """Return a table with a row for each label or level."""
    keys = [key for key in OVERVIEW if key in evaluation["labels"][evaluation["task"]["labels"][0]]]
    rows = []
    for label in evaluation["task"]["labels"]:
        f = evaluation["labels"][label]
        share = f["prevalence"]["value"]
        cells = [apart(percent(share, 1) if share is not None else "–"), *(apart(_ratio(f[key])) for key in keys)]
        rows.append({"label": short(label, evaluation["task"]), "cells": cells})
    return {"columns": (what, "share of images", *(OVERVIEW[key] for key in keys)), "rows": rows}


def _ratio(e: E) -> str:
    """Return a figure with its interval; a likelihood ratio without a false alarm is above its lower end."""
    above = e["value"] is None and e["low"] is not None
    return f"above {e['low']:.2f}" if above else told(e, 2)


def apart(words: str) -> dict[str, str]:
    """Return a figure and its interval apart, so that they can stand below each other.

    Examples
    --------
    >>> apart("0.91 (0.88–0.94)"), apart("not defined")
    ({'value': '0.91', 'between': '(0.88–0.94)'}, {'value': 'not defined', 'between': ''})
    """
    value, _, between = words.partition(" (")
    return {"value": value, "between": f"({between}" if between else ""}


def natural(figures: E) -> list[str]:
    """Say sensitivity, specificity and predictive value as so many of a hundred."""
    lines = []
    for key, of, verb in (
        ("sensitivity", "100 images with it", "are found"),
        ("specificity", "100 images without it", "are cleared"),
        ("ppv", "100 images that it calls", "truly have it"),
        ("npv", "100 images that it clears", "are truly free of it"),
    ):
        e = figures[key]
        if e["value"] is not None and e["low"] is not None:
            low, high = outward(e["low"], e["high"])
            lines.append(f"Of {of}, {_so_many(e['value'], 100)} {verb} ({low} to {high}).")
    return lines


def _so_many(share: float, many: int) -> str:
    """Return a measured share as so many of a hundred or thousand; nothing and all of them only where that was counted.

    Examples
    --------
    >>> _so_many(0.834, 100), _so_many(0.997, 100), _so_many(0.002, 100), _so_many(0.9994, 1000)
    ('about 83', 'more than 99', 'fewer than 1', 'about 999')
    >>> _so_many(1.0, 100), _so_many(0.0, 100)
    ('about 100', 'about 0')
    """
    near = round(share * many)
    if near in (0, many) and 0 < share < 1:
        return f"more than {many - 1:,}" if near else "fewer than 1"
    return f"about {near:,}"


def odds(figures: E) -> list[str]:
    """Say what an answer does to the odds that the finding is there: the likelihood ratios in words.

    Examples
    --------
    >>> odds({"lr_plus": {"value": 5.2, "low": 3.1, "high": 8.8}, "lr_minus": {"value": 0.08, "low": 0.04, "high": 0.2}})
    ['A positive answer multiplies the odds that it is there by 5.2 (3.1 to 8.8), a negative one divides them by 12 (5.0 to 25).']
    >>> odds({"lr_plus": {"value": None, "low": 9.5, "high": 400}, "lr_minus": {"value": 0.0, "low": 0.0, "high": 0.2}})
    ['A positive answer multiplies the odds that it is there by at least 9.5, a negative one divides them by at least 5.0.']
    >>> odds({"lr_plus": {"value": 1.1, "low": 0.9, "high": 2.0}, "lr_minus": {"value": 0.0, "low": 0.0, "high": 6.0}})[1:]
    ['A positive answer may say nothing: 1 lies in its interval.', 'A negative answer may say nothing: 1 lies in its interval.']
    """
    plus, minus = figures.get("lr_plus"), figures.get("lr_minus")
    if not plus or not minus or plus["low"] is None or minus["high"] is None:
        return []
    surely = minus["high"] < 1  # below 1 as a whole: then, and only then, "divides" is said, by numbers above 1
    up, down = _times(plus), f"divides them by {_parts(minus)}" if surely else f"multiplies them by {_times(minus)}"
    lines = [f"A positive answer multiplies the odds that it is there by {up}, a negative one {down}."]
    for answer, e, against in (
        ("positive", plus, plus["high"] is not None and plus["high"] < 1),
        ("negative", minus, minus["low"] is not None and minus["low"] > 1),
    ):
        if against:
            lines.append(
                f"A {answer} answer speaks {'against' if e is plus else 'for'} the finding on these images: the wrong way round."
            )
        elif (e["low"] or 0.0) <= 1 <= (np.inf if e["high"] is None else e["high"]):
            lines.append(f"A {answer} answer may say nothing: 1 lies in its interval.")
    return lines


def _times(e: E) -> str:
    """Return a likelihood ratio as what the odds are multiplied by."""
    if e["value"] is None or e["high"] is None:
        return f"at least {_number(e['low'])}"
    if not e["value"]:
        return f"at most {_number(e['high'])}"
    return f"{_number(e['value'])} ({_number(e['low'] or 0.0)} to {_number(e['high'])})"


def _parts(e: E) -> str:
    """Return a likelihood ratio below 1 as what the odds are divided by."""
    if not e["high"]:
        return "more than can be said"
    if not e["value"]:
        return f"at least {_number(1 / e['high'])}"
    most = f"{_number(1 / e['high'])} to {_number(1 / e['low'])}" if e["low"] else f"{_number(1 / e['high'])} or more"
    return f"{_number(1 / e['value'])} ({most})"


def _number(v: float) -> str:
    return f"{v:.2f}" if v < 0.95 else f"{v:.1f}" if v < 9.95 else f"{v:,.0f}"


def elsewhere(stated: E | None) -> list[str]:
    """Say the predictive values where the finding is as common as stated."""
    if not stated or stated["ppv"]["value"] is None or stated["npv"]["value"] is None:
        return []

    def of(e: E, many: int) -> str:
        low, high = outward(min(e["low"], 1.0), min(e["high"], 1.0), of=many)
        return f"{_so_many(min(e['value'], 1.0), many)} ({low:,} to {high:,})"

    share = 100 * stated["prevalence"]
    return [
        f"Where {share:g} of 100 have it: of 100 that it calls, {of(stated['ppv'], 100)} truly have it; of 1,000 "
        f"that it clears, {of(stated['npv'], 1000)} are free of it."
    ]


def alarms(evaluation: E) -> list[str]:
    """Say what a reader must know before the figures: promises of the calibration cohort that testing did not keep."""
    lines, name, several = [], evaluation["name"], len(evaluation["task"]["labels"]) > 1
    low = {label: evaluation["labels"][label]["auroc"]["low"] for label in evaluation["task"]["labels"]}
    levels = name not in evaluation["task"]["labels"]
    idle = [
        f"{name} at level {short(label, evaluation['task'])}" if levels else label
        for label, limit in low.items()
        if limit is not None and limit <= 0.5
    ]
    if several and idle:
        lines.append(f"No better than chance on these images: {'; '.join(idle)}.")
    for label, point in evaluation["operating_points"].items():
        figures = evaluation["labels"][label]
        if kept(point, figures) is False:
            lines.append(f"{label}: the sensitivity promised was not kept ({sensitivity_told(figures)}).")
        before, cleared = point.get("specificity"), figures["specificity"]
        if before is not None and cleared["high"] is not None and before > cleared["high"]:
            lines.append(
                f"{label}: more false alarms than on the {point['cohort']} cohort: the specificity fell from {before:.2f} "
                f"to {told(cleared, 2)}."
            )
    for label, found in evaluation.get("sets", {}).items():
        short_of = [
            f"{answer} {told(found['covered'][answer], 2)}" for answer in found["covered"] if broken(found, answer)
        ]
        if short_of:
            lines.append(
                f"{label}: the promise that {percent(found['coverage'])} of the sets hold the right answer does not hold "
                f"here: {', '.join(short_of)}. Exchangeability is broken: these images are not like those of the "
                "calibration cohort, and what is answered and what is referred is less sure than it says."
            )
    off = evaluation["labels"][name].get("intercept")
    if off and off["low"] is not None and not -FAR < off["value"] < FAR and off["low"] * off["high"] > 0:
        way = "low" if off["value"] > 0 else "high"
        lines.append(
            f"The probabilities are far too {way} on these images (intercept {told(off, 1)}): do not read them as chances."
        )
    return lines


def honest(figures: E) -> list[str]:
    """Say in words whether the probabilities mean what they say: slope and intercept.

    Examples
    --------
    >>> honest({"slope": {"value": 0.8, "low": 0.7, "high": 0.9}, "intercept": {"value": 0.1, "low": -0.1, "high": 0.3}})
    ['Slope 0.80 (0.70–0.90): the probabilities are too extreme.', 'Intercept 0.10 (−0.10 to 0.30): no sign that they are too high or too low on the whole.']
    """
    slope, intercept = figures.get("slope"), figures.get("intercept")
    lines = []
    if slope and slope["low"] is not None:
        says = _aside(slope, 1, "the probabilities are too extreme", "the probabilities are too timid", "no sign that they are too extreme or too timid")  # fmt: skip
        lines.append(f"Slope {told(slope, 2)}: {says}.")
    if intercept and intercept["low"] is not None:
        says = _aside(intercept, 0, "they are too high: the finding is rarer than they say", "they are too low: the finding is commoner than they say", "no sign that they are too high or too low on the whole")  # fmt: skip
        lines.append(f"Intercept {told(intercept, 2)}: {says}.")
    if slope and slope["low"] is None and slope.get("method", "").startswith("not defined"):
        lines.append(f"Slope and intercept: {slope['method']}.")
    return lines


def _aside(e: E, ideal: float, below: str, above: str, within: str) -> str:
    return below if e["high"] < ideal else above if e["low"] > ideal else within


WAYS = {
    "all": "all images",
    "answered": "answered",
    "referred": "referred",
}
"""The three sets of images that every figure is told of, and their words."""


def _of(e: E | None) -> str:
    return "–" if e is None else told(e) if e["n"] else "no image"


def three_way(account: E, parts: E | None = None, gate: E | None = None, *, whom: str = "patients") -> dict[str, Any]:
    """Return the table that says what is answered, what is referred and why, and how good the calls are of each.

    Parameters
    ----------
    account : mapping
        From `overread.stats.referral.three_way`.
    parts : mapping, optional
        From `overread.steps.ways`: the figures of all, answered and referred images. Without it those of the answered.
    gate : mapping, optional
        From `overread.learn.gate.Gate.told`: what the gate promises.
    whom : str
        Of whom: patients, or cases where not all of them are known.
    """

    def part(number: int) -> str:
        return f"{number:,} ({percent(number / account['all'], 1)})" if account["all"] else "0"

    share = account["share_referred"]
    span = (
        f" (95 % interval {percent(share['low'], 1)} to {percent(share['high'], 1)})"
        if share["low"] is not None
        else ""
    )
    parts = parts or {"answered": account}
    keys = [key for key in OF_EACH if key in parts["answered"]]
    return {
        "columns": ("", "images", *(OF_EACH[key] for key in keys)),
        "rows": [
            {
                "way": words,
                "images": f"{account[way]:,}" if way == "all" else part(account[way]),
                "cells": [_of(parts.get(way, {}).get(key)) for key in keys],
            }
            for way, words in WAYS.items()
        ],
        "caption": f"What it answers at work; {percent(share['value'] or 0, 1)} are referred{span}. Of the referred the "
        "figures tell what it would have said.",
        "rule": f"An image is {account['rule']}.",
        "gate": gate_told(gate, whom=whom),
        "reasons": [
            (REASONS.get(code, code), f"{n:,}") for code, n in sorted(account["reasons"].items(), key=lambda r: -r[1])
        ],
    }


def calibrated(evaluation: E, place: int) -> str:
    """Say how a label's scores become probabilities, and why so; "" for a run that does not know."""
    told_so = evaluation["calibration"].get("in_words", ())
    return f"How scores become probabilities: {told_so[place][0].lower()}{told_so[place][1:]}" if told_so else ""


def curves(evaluation: E, label: str) -> list[tuple[str, plots.Plot]]:
    """Return the drawings of one label: ranking, true alarms, honesty, worth and spread; none where an answer is missing."""
    curve, figures = evaluation["curves"][label], evaluation["labels"][label]
    ap = told(figures["ap"]) if figures.get("ap") else ""
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
    drawn = [
        ("Ranking (ROC)", plots.roc(y, p, threshold=threshold, name=label, beside=beside)),
        (
            "True alarms (precision and recall)",
            precision(y, p, threshold=threshold, name=label, figure=ap, beside=beside),
        ),
        (HONESTY, plots.reliability(y, p, name=label)),
    ]
    benefit = figures.get("decision_curve")
    if benefit:
        drawn.append(("Worth of acting on it", decision_plot(benefit, name=label)))
    return [*drawn, ("Spread of the scores", plots.distribution(y, p, threshold=threshold, name=label))]
