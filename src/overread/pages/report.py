"""One page that a clinician can read: what was asked, of whom, how well, beside what, where it fails, how to repeat it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from overread.domain.canonical import plain
from overread.domain.human import HUMAN
from overread.pages import checklist_training, checklist_words
from overread.pages.checklist import known_of, rows_of
from overread.pages.counted import counted_by, use_of
from overread.pages.plots import told
from overread.pages.report_beside import beside, methods, seeds
from overread.pages.report_groups import in_order, none_because, subgroup_columns, subgroup_rows
from overread.pages.report_headline import hardly, headline, whose
from overread.pages.report_labels import HONESTY, alarms, label_part, levels_part, overview, short
from overread.pages.report_words import (
    ALWAYS_LIMITS,
    OTHER_ARCHIVE,
    SAME_SOURCE,
    SAME_SOURCE_CROSSED,
    USES,
    crossed,
    reads_told,
)
from overread.pages.sections import sections_of
from overread.pages.template import filled
from overread.stats.exchangeability import in_words

FEW_LABELS = 3
"""Of more labels than this the curves are folded away, and a table tells of all of them first."""


def render_report(evaluation: Mapping[str, Any], answers: Mapping[str, str] | None = None) -> str:
    """Return the report as one HTML file that fetches nothing: `page_of`, then `fill`."""
    return fill(page_of(evaluation), answers or {})


def page_of(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the report shows, as plain words, tables and drawings: all that `fill` needs but a human's answers.

    Parameters
    ----------
    evaluation : mapping
        What ``steps.evaluate`` gathers: everything of ``metrics.json``; and ``name``, ``task``, ``network``,
        ``cohorts``, ``card``, ``card_fingerprint``, ``strata`` (``strata_known``: False when the training archive is
        not here), ``curves`` (label → truth, probability, beside), ``gallery``, ``warnings``, ``reads``,
        ``measured_before``, ``apart`` (no image was in its training), ``now``, ``external``, ``overread``.
    """
    name, task, labels = evaluation["name"], evaluation["task"], evaluation["labels"]
    levels = task["kind"] in ("multiclass", "ordinal")
    page = {
        "overread": evaluation["overread"],
        "title": _title(evaluation),
        "made": _day(evaluation["now"]),
        "answer": headline(evaluation),
        "with_overlaps": _with_overlaps(evaluation),
        "warnings": [*hardly(evaluation), *alarms(evaluation), *evaluation["warnings"]],
        "asked": _asked(evaluation),
        "split_told": _split_told(evaluation),
        "flow_told": _flow_told(evaluation),
        "reads_told": reads_told(evaluation),
        "alike_told": _alike_told(evaluation),
        "unit_told": f"{whose(evaluation['unit']['images'], evaluation['unit']['patients'])}, counted by {evaluation['unit'].get('counted', 'image')}",
        "cohorts": _cohorts(evaluation),
        "cohort_names": list(evaluation["cohorts"]),
        "cohort_labels": [short(label, task) for label in task["labels"]],
        "strata": in_order(evaluation["strata"]),
        "strata_known": evaluation["strata_known"],
        "tested_on": "other archive"
        if evaluation["external"]
        else "cross-validated patients"
        if crossed(evaluation)
        else "testing cohort",
        "several": len(labels) > 1,
        "several_labels": len(task["labels"]) > 1,
        "many_labels": len(task["labels"]) > 1 and not levels,
        "folded": len(task["labels"]) > FEW_LABELS and not levels,
        "name": name,
        **beside(evaluation),
        "overview": overview(evaluation, "label") if len(task["labels"]) > FEW_LABELS and not levels else None,
        "methods": methods(labels[name]),
        "claims": [
            claim["in_words"][0].upper() + claim["in_words"][1:] + "." for claim in evaluation.get("claims", [])
        ],
        "seeds": seeds(evaluation),
        "parts": levels_part(evaluation) if levels else [_label(evaluation, n) for n in task["labels"]],
        "subgroups": subgroup_rows(evaluation),
        "subgroup_columns": subgroup_columns(evaluation),
        "no_subgroup": none_because(evaluation),
        "by_level": levels,
        "sections": sections_of(evaluation),
        "gallery": _gallery(evaluation),
        "limits": [
            *(w for w in evaluation["card"]["limits"] if w not in evaluation["warnings"]),
            counted_by(evaluation["unit"]),
            OTHER_ARCHIVE if evaluation["external"] else SAME_SOURCE_CROSSED if crossed(evaluation) else SAME_SOURCE,
            *ALWAYS_LIMITS,
        ],
        "made_by": [
            ("images", checklist_words.identities(evaluation)),
            ("preprocessing", _steps(evaluation)),
            ("network", checklist_words.network(evaluation)),
            ("training", checklist_training.training(evaluation)),
        ],
        "repeat": _repeat(evaluation),
        "known": known_of(evaluation),
    }
    return plain({**page, "contents": _contents(page)})


def fill(page: Mapping[str, Any], answers: Mapping[str, str], *, printed: bool = False) -> str:
    """Return the HTML of a report from what it shows (`page_of`) and what a human wrote.

    Parameters
    ----------
    page : mapping
    answers : mapping of str to str
        From ``answers.toml``; what is missing stamps the report INCOMPLETE, by name.
    printed : bool
        True for paper: everything that a reader could unfold is open.
    """
    rows = rows_of(page["known"], answers)
    missing = [key for row in rows for key in row.blank]
    given = {
        **page,
        "honesty": HONESTY,
        "human": [(item.words, answers[key]) for key, item in HUMAN.items() if answers.get(key)],
        "missing": [HUMAN[key].words for key in missing],
        "unmeasured": [row.item.text for row in rows if row.state == "not measured"],
        "checklist": rows,
    }
    html = _sure_links(filled("report.html", given))
    return re.sub(r"<details(?! open)", "<details open", html) if printed else html


def _sure_links(html: str) -> str:
    """Let a link within the page that leads nowhere (a section that this report lacks) lead to the limits."""
    there = set(re.findall(r'\bid="([^"]+)"', html))
    return re.sub(r'href="#([^"]+)"', lambda m: m.group(0) if m.group(1) in there else 'href="#limits"', html)


def _label(evaluation: Mapping[str, Any], label: str) -> dict[str, Any]:
    """Return the part of one label; of every label but the page's first with its own figures beside the floors."""
    part = label_part(evaluation, label)
    return part if label == evaluation["name"] else {**part, "beside": beside(evaluation, label)}


def _day(moment: str) -> str:
    """Return a time as a person writes it.

    Examples
    --------
    >>> _day("2026-01-02T03:04:00+00:00")
    '2 January 2026, 03:04 UTC'
    """
    at = datetime.fromisoformat(moment)
    return f"{at.day} {at:%B %Y, %H:%M} {at.tzname() or ''}".strip()


def _title(evaluation: Mapping[str, Any]) -> str:
    task = evaluation["task"]
    where = f" on {task['modality'].replace('+', ' and ')}" if task["modality"] else ""
    return f"How well does a model read {task['name'].replace(',', ', ')}{where}?"


def _alike_told(evaluation: Mapping[str, Any]) -> str:
    """Say whether testing images come as the calibration cohort's did, which every promise made there rests on."""
    found = evaluation.get("exchangeability")
    if not found:
        return ""
    if found["alarm"]:
        p = "p < 0.001" if found["p_value"] < 0.001 else f"p = {found['p_value']:.2g}"
        return (
            f"Tested against the calibration cohort: these images come otherwise ({p}). What that means stands on top."
        )
    known = evaluation["unit"]["patients"] is not None
    told_so = in_words(found, of="patients" if known else "cases (patients unknown)")
    return f"Tested against the calibration cohort: {told_so}."


def _with_overlaps(evaluation: Mapping[str, Any]) -> str:
    """Say the other number, where testing cases were left out because they stand in training, too."""
    other = (evaluation.get("with_overlaps") or {}).get(evaluation["name"], {}).get("auroc")
    if not other or other["value"] is None:
        return ""
    left_out = other["n"] - evaluation["labels"][evaluation["name"]]["auroc"]["n"]
    return (
        f"Left out of that are {left_out:,} images that also stand in another cohort; with them, as a published table "
        f"would count, the AUROC is {told(other)}."
    )


def _asked(evaluation: Mapping[str, Any]) -> list[tuple[str, str]]:
    task = evaluation["task"]
    kinds = {
        "binary": "is it there or not",
        "multilabel": "for each label, is it there or not",
        "multiclass": "which of these",
        "ordinal": "which of these, in their order",
    }
    answers = ", ".join(short(label, task) for label in task["labels"])
    return [
        ("question", f"{task['name'].replace(',', ', ')}: {kinds[task['kind']]}"),
        *([("answers", answers)] if len(task["labels"]) > 1 else []),
        ("images", task["modality"].replace("+", ", ") or "pictures that do not say their modality"),
        *([("answered", joined)] if (joined := evaluation["unit"].get("joined")) else []),
        ("network", _network(evaluation)),
    ]


def _network(evaluation: Mapping[str, Any]) -> str:
    network = evaluation["card"]["network"]
    size = " × ".join(str(v) for v in network.get("input_shape", ()))
    numbers = f", {network['parameters']:,} parameters" if "parameters" in network else ""
    several = checklist_training.together(evaluation)
    who = f"{network.get('name', evaluation['network'])}" + (f" on {size} inputs" if size else "") + numbers
    return f"{who}; {several}" if several else who


def _split_told(evaluation: Mapping[str, Any]) -> str:
    split = evaluation["split"]
    unit = "by patient" if split["unit"] == "patient" else "by study, as the patients are not known"
    if evaluation["external"]:
        found = evaluation["leakage"]
        gone, of = sum(found["excluded"].get("testing", {}).values()), found["images"]["testing"]
        left_out = f", less {gone:,} that the run had learned from" if gone else ""
        return (
            f"Measured are all {of:,} images of the other archive that have an answer{left_out}: nothing of it was divided. "
            f"What follows is of the archive that the run was trained on, which was divided {unit} ({split['source']})."
        )
    if crossed(evaluation):
        found = evaluation["cross_validated"]
        shared = ", ".join(
            f"{found['in_two_parts'][k]:,} {k}" for k in ("patients", "studies", "images")[split["unit"] != "patient" :]
        )
        return (
            f"Cross-validated {unit}: {found['folds']} parts, drawn {found['repeats']} times. In two parts of one drawing: "
            f"{shared}, {found['in_two_parts']['near']:,} groups of near copies (counted, not assumed)."
        )
    both = split["overlap"]
    counted = ("patients", "studies", "images") if split["unit"] == "patient" else ("studies", "images")
    shared = ", ".join(f"{both[k]:,} {k}" for k in counted)
    if len(counted) < 3:
        shared += "; of patients nobody can say, as they are unknown"
    return f"Divided {unit} ({split['source']}). In more than one cohort: {shared} (counted, not assumed)."


def _flow_told(evaluation: Mapping[str, Any]) -> str:
    counts = evaluation.get("flow")
    if not counts:
        return ""
    which = "that" if evaluation["external"] else "the"
    return (
        f"Of {counts['studies']:,} studies in {which} archive, {counts['labelled']:,} have a known answer and "
        f"{counts['divided']:,} stand in the {'parts' if crossed(evaluation) else 'four cohorts'}. Files that could not be read are counted by overread inspect."
    )


def _cohorts(evaluation: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for name, cohort in evaluation["cohorts"].items():
        counts = [cohort["labels"][label] for label in evaluation["task"]["labels"]]
        patients = cohort["patients"]
        if evaluation.get("cross_validated") and not cohort["images"]:
            continue  # cross-validation has no such cohort
        every = evaluation.get("cross_validated") and name == "training"
        rows.append(
            {
                "name": "cross-validated" if every else name,
                "use": "in turn: fit the networks, fix probabilities and threshold, and report"
                if every
                else use_of(name, evaluation["unit"], told=USES.get(name, "")),
                "patients": f"{patients:,}" if patients is not None else "unknown",
                "images": f"{cohort['images']:,}",
                "labels": [f"{c['true']:,}" + (f" ({c['unknown']:,} unknown)" if c["unknown"] else "") for c in counts],
            }
        )
    if evaluation["external"]:
        unit = evaluation["unit"]
        there = [evaluation["labels"].get(label, {}).get("sensitivity") for label in evaluation["task"]["labels"]]
        rows.append(
            {
                "name": "other archive",
                "use": "measure, in this report",
                "patients": f"{unit['patients']:,}" if unit["patients"] is not None else "unknown",
                "images": f"{unit['images']:,}",
                "labels": [f"{e['n']:,}" if e else "–" for e in there],
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


def _steps(evaluation: Mapping[str, Any]) -> str:
    """Return what happens to an image before it is read, step by step."""
    steps = evaluation["card"]["recipe"].get("steps", [])
    told_so = [
        step["name"] + (f" ({', '.join(f'{k} {_cell(v)}' for k, v in step['args'].items())})" if step["args"] else "")
        for step in steps
    ]
    return "; ".join(told_so)


def _cell(value: Any) -> str:
    return " × ".join(str(v) for v in value) if isinstance(value, (list, tuple)) else str(value)


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
    rows += [(f"label-{i}", part["short"]) for i, part in enumerate(page["parts"], 1)]
    rows.append(("groups", "Subgroups"))
    rows += [(section["id"], section["words"]) for section in page["sections"]]
    rows.append(("cases", "Cases"))
    return [*rows, ("limits", "Limits"), ("repeat", "How to repeat it"), ("checklist", "Forty items")]
