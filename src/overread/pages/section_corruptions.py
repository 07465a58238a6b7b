"""The report's part on worse images: how far the network still ranks, and whether the gate notices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from overread.pages.plots import percent, told

LEAD = (
    "Images of the {cohorts} cohorts were made worse on purpose, {n:,} of them, at five severities of {kinds} kinds. AUROC, "
    "and in bold where it is clearly below the {plain} that the same images have as they are (the interval of the paired "
    "difference lies below 0). The testing cohort was not read for it. What the gate refuses is referred, not answered."
)
SHOWN = 3
"""Labels with a table each; of more labels the first ones."""


def section(evaluation: Mapping[str, Any]) -> str:
    """Return the section as HTML; "" for a run whose images were not made worse.

    Parameters
    ----------
    evaluation : mapping
        ``corruptions``: what `steps.corruptions.corrupt` found.
    """
    found = evaluation.get("corruptions")
    if not found:
        return ""
    labels = list(found["plain"])
    first = LEAD.format(
        cohorts=found["cohorts"], n=found["n"], kinds=len(found["kinds"]), plain=told(found["plain"][labels[0]], 2)
    )
    tables = "".join(_table(found, label, named=len(labels) > 1) for label in labels[:SHOWN])
    more = (
        f"<p class=quiet>{len(labels) - SHOWN:,} more labels stand in metrics.json.</p>" if len(labels) > SHOWN else ""
    )
    last = (
        "The images are made worse as the network is shown them: preprocessing that evens out brightness or contrast would "
        "take some of it away. Of forty such comparisons one is bold by chance alone. Strengths are shares of the range of the training images, of the side, degrees, or the "
        "quality of the JPEG."
    )
    return (
        f'<section id="worse"><h2>When images get worse</h2><p>{escape(first)}</p>{tables}{more}'
        f"<p class=quiet>{escape(last)}</p></section>"
    )


def in_words(found: Mapping[str, Any]) -> str:
    """Return the panel in one line, for the forty items: which kinds hurt, and from which severity.

    Examples
    --------
    >>> step = {"change": {"high": -0.1}}
    >>> in_words({"n": 80, "plain": {"mass": {}}, "kinds": {"noise": {"labels": {"mass": [step] * 5}}}})
    '1 kinds at 5 severities on 80 images of tuning and calibration; AUROC clearly lower from noise 1'
    """
    label = next(iter(found["plain"]))
    from_which = {kind: hurts_from(one["labels"][label]) for kind, one in found["kinds"].items()}
    hurt = [f"{kind} {severity}" for kind, severity in from_which.items() if severity]
    what = f"AUROC clearly lower from {', '.join(hurt)}" if hurt else "AUROC clearly lower at none"
    of = f" ({label})" if len(found["plain"]) > 1 else ""
    return f"{len(found['kinds'])} kinds at 5 severities on {found['n']:,} images of tuning and calibration; {what}{of}"


def hurts_from(steps: Sequence[Mapping[str, Any]]) -> int | None:
    """Return the first severity, of 1 to 5, at which the AUROC is clearly lower; None where at none.

    Examples
    --------
    >>> hurts_from([{"change": {"high": 0.01}}, {"change": {"high": -0.02}}]), hurts_from([])
    (2, None)
    """
    return next((k for k, step in enumerate(steps, 1) if _lower(step)), None)


def _lower(step: Mapping[str, Any]) -> bool:
    high = step["change"]["high"]
    return high is not None and high < 0


def _table(found: Mapping[str, Any], label: str, *, named: bool) -> str:
    rows = "".join(_row(kind, one, label) for kind, one in found["kinds"].items())
    head = "".join(f'<th scope="col" class="n">{k}</th>' for k in range(1, 6))
    caption = f"{label}: AUROC by severity" if named else "AUROC by severity"
    return (
        f'<div class="scroll"><table><caption>{escape(caption)}; as they are {escape(told(found["plain"][label], 2))}, '
        f"{percent(found['refused'])} refused.</caption><thead><tr>"
        f'<th scope="col">made worse by</th>{head}<th scope="col" class="n">change at 5</th>'
        f'<th scope="col" class="n">refused at 1 … 5</th></tr></thead><tbody>{rows}</tbody></table></div>'
    )


def _row(kind: str, one: Mapping[str, Any], label: str) -> str:
    steps: Sequence[Mapping[str, Any]] = one["labels"][label]
    cells = "".join(f'<td class="n">{_figure(step)}</td>' for step in steps)
    strengths = " · ".join(f"{s:g}".replace("-", "−") for s in one["strengths"])
    refused = f"{percent(one['refused'][0])} … {percent(one['refused'][-1])}"
    change = told(steps[-1]["change"], 2)
    return (
        f'<tr><th scope="row">{escape(kind)}<span class="says">{escape(strengths)}</span></th>{cells}'
        f'<td class="n">{escape(change)}</td><td class="n">{escape(refused)}</td></tr>'
    )


def _figure(step: Mapping[str, Any]) -> str:
    value = step["auroc"]["value"]
    if value is None:
        return "–"
    return f"<b>{value:.2f}</b>" if _lower(step) else f"{value:.2f}"
