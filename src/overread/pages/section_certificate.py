"""Three sections of the report: what leaked, what could be read instead of the finding, and what the network reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from overread.pages.plots import percent, told
from overread.pages.report_words import reads_told

SHOWN = 8
"""Facts in the first table; the others are folded away."""

VALUES = 6
"""Values of a fact that are told one by one; of more the rest is counted."""

BOLD = "\0"
"""Before a cell that is shown in bold; no text of an archive holds it."""

FIGURES = (
    ("auroc", "AUROC"),
    ("sensitivity", "sensitivity"),
    ("specificity", "specificity"),
    ("accuracy", "accuracy"),
    ("brier", "Brier score"),
)
INPUTS = (
    ("plain", "the whole picture", "as it is read at work"),
    ("frame", "the frame alone", "all but the outer tenth of each side is blank: no finding should be left"),
    ("no centre", "all but the centre", "the central half of each side is blank"),
    ("patches", "patches in a shuffled order", "4 × 4 patches: texture and brightness stay, anatomy goes"),
)


def certificate_section(evaluation: Mapping[str, Any]) -> str:
    """Return what stands in more than one cohort, counted, and what does not count for it; "" for runs without it."""
    found = evaluation.get("leakage")
    if not found:
        return ""
    return (
        '<section id="certificate"><h2>Leakage certificate</h2>'
        + _paragraph(_verdict_elsewhere(found) if _other(evaluation) else _verdict(found))
        + _overlap_table(found)
        + "".join(_paragraph(line, quiet=True) for line in _notes(found, evaluation))
        + _excluded(found)
        + _both(evaluation)
        + _conflicts(found)
        + "</section>"
    )


def _verdict(found: Mapping[str, Any]) -> str:
    """Say in one sentence whether anything leaked."""
    kinds = "no study and no picture" if not found["patients_known"] else "no patient, no study and no picture"
    near = ", and no near copy of one," if found["near_duplicates"] == "looked for" else ""
    unknown = "" if found["patients_known"] else " Patient identity is unknown: it could be told only from copies."
    if not any(count for counts in found["overlaps"].values() for count in counts.values()):
        return f"Looked for and not found: {kinds}{near} stands in two cohorts.{unknown}"
    left = any(count for counts in found["overlaps_left"].values() for count in counts.values())
    after = (
        "What remains of that is counted in the figures"
        if left
        else "What overlaps does not count in the headline figures, nor was anything tuned or calibrated on it"
    )
    return f"Some of what came stands in two cohorts of the {found['source']}. {after}.{unknown}"


def _other(evaluation: Mapping[str, Any]) -> bool:
    """Say whether the certificate is of another archive; old pages showed that of the run's own split with it."""
    return bool(evaluation.get("external")) and "not_compared" in evaluation["leakage"]


def _verdict_elsewhere(found: Mapping[str, Any]) -> str:
    """Say in one sentence whether this archive, on which the run was not trained, was learned from all the same."""
    missing = "".join(f" {line[0].upper()}{line[1:]}" for line in found["not_compared"])
    asked = _own_testing(found)
    if not any(count for counts in found["overlaps"].values() for count in counts.values()):
        kinds = "no study and no picture" if not found["patients_known"] else "no patient, no study and no picture"
        near = ", and no near copy of one," if found["near_duplicates"] == "looked for" else ""
        return f"Looked for and not found: {kinds}{near} of this archive stands in what the run learned from. {asked}{missing}"
    left = any(count for counts in found["overlaps_left"].values() for count in counts.values())
    after = "It is counted in the figures all the same" if left else "It does not count in the figures"
    return f"Some of this archive stands in what the run learned from. {after}. {asked}{missing}"


def _own_testing(found: Mapping[str, Any]) -> str:
    """Say how much of another archive is the run's own testing cohort; of an older page, that it was not asked."""
    own = found.get("own_testing")
    if own is None:
        return "Compared with what the run learned, tuned and calibrated on, not with its own testing cohort."
    near = "" if own["near"] is not None else "; near copies of it were not looked for"
    if not any(own.values()):
        return f"Nor does anything of the run's own testing cohort stand in it{near}."
    kinds = {
        "same": "the same picture",
        "near": "a near copy",
        "patients": "another picture of a patient or study of it",
    }
    counted = ", ".join(f"{own[k]:,} by {words}" for k, words in kinds.items() if own[k])
    return f"What is measured here is, in part or whole, the run's own testing cohort: {counted}{near}. This is no test elsewhere."


def _overlap_table(found: Mapping[str, Any]) -> str:
    """Return the table of pairs, worst first in the order of use; shaded where something overlaps."""
    rows = []
    for pair, counts in found["overlaps"].items():
        first, second = pair.split("|")
        patients = (
            counts["patients"] if found["patients_known"] or ("not_compared" in found and counts["patients"]) else None
        )
        cells = [patients, counts["studies"], counts["exact"], counts["near"]]
        second = "this archive" if "not_compared" in found else second
        rows.append((f"{first} and {second}", ["unknown" if c is None else f"{c:,}" for c in cells]))
    inside = [
        (f"inside {cohort}", ["", "", f"{c['exact']:,}", "unknown" if c["near"] is None else f"{c['near']:,}"])
        for cohort, c in found["within"].items()
    ]
    columns = ("cohorts", "patients in both", "studies in both", "same picture", "near copy")
    caption = "Counted, not assumed. Pictures: those of the second cohort that the first one has."
    copies = _table(
        ("cohort", "", "", "same picture again", "near copy again"), inside, "Copies that one cohort holds."
    )
    folded = _folded("Copies inside one cohort, which leak nothing", copies) if inside else ""
    return _table(columns, rows, caption) + folded


def _notes(found: Mapping[str, Any], evaluation: Mapping[str, Any]) -> Iterable[str]:
    if found["near_duplicates"] == "looked for":
        kept = found["near_duplicates_kept_together"]
        drawn = "kept" if found["source"] == "drawn" else "found"
        together = f"{kept:,} groups of copies from several studies were {drawn} on one side. "
        yield (
            f"{'' if _other(evaluation) else together}Near copies are found when stored again, rescaled, mirrored, inverted "
            "or made brighter; not when cropped or turned, and hardly below 48 pixels."
        )
    else:
        yield "Near copies were not looked for; the same picture under its hash was."
    yield reads_told(evaluation)
    of = "run's split, whose own certificate stands in its own report," if _other(evaluation) else "split"
    yield f"The {of} is frozen under {found['split'][:16]}…"


def _excluded(found: Mapping[str, Any]) -> str:
    """Return why how many cases of which cohort are left out."""
    rows = [
        ("this archive" if "not_compared" in found else cohort, [why, f"{n:,}"])
        for cohort, reasons in found["excluded"].items()
        for why, n in sorted(reasons.items(), key=lambda r: -r[1])
    ]
    if not rows:
        return ""
    caption = (
        "Left out of the figures."
        if "not_compared" in found
        else (
            "Left out: testing cases from the headline figures; published tuning and calibration cases from tuning and "
            "calibration, before anything was learned."
        )
    )
    return _table(("cohort", "why", "images"), rows, caption, numbers=(2,))


def _both(evaluation: Mapping[str, Any]) -> str:
    """Return the headline beside the figures with the overlaps."""
    name, other = evaluation["name"], evaluation.get("with_overlaps") or {}
    if name not in other:
        return ""
    ours, theirs = evaluation["labels"][name], other[name]
    rows = [(words, [told(ours[k]), told(theirs[k])]) for k, words in FIGURES if k in ours and k in theirs]
    n = [f"{figures['auroc']['n']:,} images" for figures in (ours, theirs)]
    return _table(
        ("figure", f"headline ({n[0]})", f"with overlaps ({n[1]})"),
        rows,
        f"{name}: the headline leaves out what overlaps; the other column is what a careless test would have said.",
    )


def _conflicts(found: Mapping[str, Any]) -> str:
    if not found["label_conflicts"]:
        return ""
    rows = [
        (
            c["label"],
            [
                " and ".join(c["answers"]),
                f"{c['images']:,}",
                ", ".join(c["studies"]) + (" …" if c["n_studies"] > len(c["studies"]) else ""),
            ],
        )
        for c in found["label_conflicts"]
    ]
    table = _table(
        ("label", "answers", "images", "studies"),
        rows,
        "One picture, or near copies of it, two answers. The very same picture counts as unknown under both: it is neither "
        "learned from nor tested on.",
        numbers=(2,),
    )
    few = len(rows) <= SHOWN
    return "<h3>Label conflicts</h3>" + (table if few else _folded(f"All {len(rows):,} conflicts", table))


def shortcuts_section(evaluation: Mapping[str, Any]) -> str:
    """Return how well each fact that is no finding tells the label; "" for runs that did not look."""
    found = evaluation.get("shortcuts")
    if not found:
        return ""
    loud = [name for name, s in found.items() if s["warns"]]
    lead = (
        f"Each fact of the training images alone, asked how well it ranks patients it was not learned from: 0.5 is what "
        f"it should be. {_listed(loud)} clearly tell{'s' if len(loud) == 1 else ''} the label, and a network can "
        "learn that instead of the finding."
        if loud
        else "Each fact of the training images alone, asked how well it ranks patients it was not learned from: 0.5 is "
        "what it should be. None clearly tells the label."
    )
    rows = [_shortcut_row(name, s) for name, s in found.items()]
    columns = ("fact", "AUROC", "of", "share with it, by value")
    table = _table(columns, rows[:SHOWN], "Strongest first; bold where the whole interval is above 0.6.", numbers=(1,))
    more = _table(columns, rows[SHOWN:], "", numbers=(1,))
    return (
        '<section id="shortcuts"><h2>What could be read instead of the finding</h2>'
        + _paragraph(lead)
        + table
        + (_folded(f"{len(rows) - SHOWN:,} more facts", more) if len(rows) > SHOWN else "")
        + "".join(_paragraph(line, quiet=True) for line in _one_sided(found))
        + _paragraph(
            "Brightness and contrast may be part of a finding; format, size, border and scanner cannot.", quiet=True
        )
        + "</section>"
    )


def _shortcut_row(name: str, s: Mapping[str, Any]) -> tuple[str, list[str]]:
    shown, rest = s["values"][:VALUES], s["values"][VALUES:]
    values = " · ".join(f"{value}: {percent(share, 0)} of {n:,}" for value, share, n in shown)
    if rest:
        values += f" · {len(rest):,} more value{'s' * (len(rest) > 1)} with {sum(n for *_, n in rest):,} images"
    auroc = told(s["auroc"], 2)
    return name, [BOLD + auroc if s["warns"] else auroc, s["label"], values]


def _one_sided(found: Mapping[str, Mapping[str, Any]]) -> Iterable[str]:
    """Say which values of facts that are not warned of have nearly one answer only: rare, but strange."""
    for name, s in found.items():
        for value, share, n in () if s["warns"] else s.get("one_sided", ())[:3]:
            yield f"Strange, though rare: {name} {value}, {percent(share, 0)} of {n:,} images with {s['label']}."


def probes_section(evaluation: Mapping[str, Any]) -> str:
    """Return what is left of the answer without the anatomy, and whether the features give the source away."""
    found = evaluation.get("probes")
    if not found:
        return ""
    labels = list(found["inputs"]["plain"])
    rows = [
        (f"{words}|{says}", [told(found["inputs"][key][label]) for label in labels])
        for key, words, says in INPUTS
        if key in found["inputs"]
    ]
    caption = (
        f"AUROC on {found['n']:,} images of the {found['cohorts']} cohorts (never testing: a recipe may be changed "
        "because of this)."
    )
    columns = ("what the network is shown", *(labels if len(labels) > 1 else ["AUROC"]))
    sources = [
        (name, [s["value"], (BOLD if s["warns"] else "") + told(s["auroc"], 2)]) for name, s in found["sources"].items()
    ]
    told_by = (
        _table(
            ("source", "told best", "AUROC"),
            sources,
            "Can the source be told from the network's last features? Only cases with the same answer are compared.",
        )
        if sources
        else _paragraph(
            "Whether the features give the source away could not be asked: the source does not vary.", quiet=True
        )
    )
    return (
        '<section id="probes"><h2>What the network reads</h2>'
        + "<ul>"
        + "".join(f"<li>{escape(line)}</li>" for line in found["words"])
        + "</ul>"
        + _table(columns, rows, caption)
        + told_by
        + "</section>"
    )


# --- pieces -----------------------------------------------------------------------------------------------------------


def _paragraph(text: str, *, quiet: bool = False) -> str:
    return f"<p{' class=quiet' if quiet else ''}>{escape(text)}</p>"


def _folded(words: str, html: str) -> str:
    return f'<details class="numbers"><summary>{escape(words)}</summary>{html}</details>'


def _listed(names: Sequence[str]) -> str:
    """Return names as a person lists them.

    Examples
    --------
    >>> _listed(["a", "b", "c"])
    'A, b and c'
    """
    text = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    return text[0].upper() + text[1:]


def _table(
    columns: Sequence[str],
    rows: Sequence[tuple[str, Sequence[str]]],
    caption: str,
    *,
    numbers: Sequence[int] | None = None,
) -> str:
    """Return a table; ``numbers`` are the columns set to the right (all but the first), ``name|words`` puts words under."""
    right = range(1, len(columns)) if numbers is None else numbers
    head = "".join(f'<th scope="col"{" class=n" if i in right else ""}>{escape(c)}</th>' for i, c in enumerate(columns))
    body = []
    for name, cells in rows:
        words, _, says = name.partition("|")
        under = f'<span class="says">{escape(says)}</span>' if says else ""
        tds = "".join(f"<td{' class=n' if i in right else ''}>{_cell(cell)}</td>" for i, cell in enumerate(cells, 1))
        body.append(f'<tr><th scope="row">{escape(words)}{under}</th>{tds}</tr>')
    told_by = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f'<div class="scroll"><table>{told_by}<thead><tr>{head}</tr></thead><tbody>{"".join(body)}</tbody></table></div>'


def _cell(text: str) -> str:
    return f"<b>{escape(text[1:])}</b>" if text.startswith(BOLD) else escape(text)
