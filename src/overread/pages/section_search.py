"""The report's part on a search: how many configurations were tried, how they did, and how far the choice flatters."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from overread.pages import plots

NAMES = {
    "rate": "rate ×",
    "decay": "decay ×",
    "exposure": "exposure ×",
    "width": "widths ×",
    "length": "epochs ×",
    "side": "side of the input ×",
}
"""What a setting is called on the page: a factor on the plan's own value."""

SHOWN = 10


def section(evaluation: Mapping[str, Any]) -> str:
    """Return the section as HTML; "" for a run whose settings were not searched.

    Parameters
    ----------
    evaluation : mapping
        ``search``: what stands in ``search.json``.
    """
    found = evaluation.get("search")
    if not found:
        return ""
    trials = found["trials"]
    order = sorted(range(len(trials)), key=lambda i: (-len(trials[i]["figures"]), -_mean(trials[i]), i))
    settings = list(found["space"])
    columns = ("configuration", "AUROC", "parts", *(NAMES.get(s, s) for s in settings))
    rows = [_row(trials[i], i, settings, taken=found.get("taken") == i) for i in order]
    table = _table(
        columns,
        rows[:SHOWN],
        "Mean AUROC of the parts that were read, and each setting as a factor on the plan's own value (rate: of learning, decay: of weights, exposure: how far it is varied). Read on most parts first; this run in bold.",
    )
    rest = f'<details class="numbers"><summary>All {len(rows)} configurations</summary>{_table(columns, rows, "")}</details>'
    last = (
        "Each part is read by a network that learned from other training patients. A configuration whose first parts went "
        "worse than half of the others is read no further, and not compared."
    )
    return (
        f'<section id="search"><h2>{found["configurations"]} configurations tried</h2>'
        f"<p>{escape(found['in_words'])}.</p>{drawing(trials, found['parts'], found.get('taken', 0))}{table}"
        f"{rest if len(rows) > SHOWN else ''}<p class=quiet>{escape(last)}</p></section>"
    )


def _mean(trial: Mapping[str, Any]) -> float:
    figures = [f for f in trial["figures"] if f is not None]
    return sum(figures) / len(figures) if figures else -1.0


def _row(trial: Mapping[str, Any], number: int, settings: Sequence[str], *, taken: bool) -> list[str]:
    name = "the plan's own settings" if number == 0 else f"number {number + 1}"
    figure = f"{_mean(trial):.3f}" if _mean(trial) >= 0 else "–"
    cells = [name, figure, str(len(trial["figures"])), *(f"{trial['settings'][s]:.3g}" for s in settings)]
    return [f"<b>{escape(c)}</b>" if taken else escape(c) for c in cells]


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> str:
    head = "".join(f'<th scope="col"{" class=n" if i else ""}>{escape(c)}</th>' for i, c in enumerate(columns))
    body = "".join(
        f'<tr><th scope="row">{row[0]}</th>' + "".join(f"<td class=n>{cell}</td>" for cell in row[1:]) + "</tr>" for row in rows
    )  # fmt: skip
    told = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f'<div class="scroll"><table>{told}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def drawing(trials: Sequence[Mapping[str, Any]], parts: int, taken: int) -> str:
    """Return each configuration's mean AUROC in the order in which they were tried, and the best so far as a line."""
    means = [_mean(t) for t in trials]
    known = [m for m in means if m >= 0]
    low, high = min(known), max(known)
    room = max(0.02, 0.15 * (high - low))
    low, high = max(0.0, low - room), min(1.0, high + room)
    width, height, left, bottom, top = 640, 240, 56, 42, 12

    def x(i: float) -> float:
        return left + (i + 0.5) / len(trials) * (width - left - 16)

    def y(v: float) -> float:
        return height - bottom - (v - low) / (high - low) * (height - bottom - top)

    body = [_grid(low, high, y, left, width)]
    so_far, line = -math.inf, []
    for i, trial in enumerate(trials):
        if len(trial["figures"]) == parts and means[i] > so_far:
            line += [f"{x(i):.1f},{y(so_far):.1f}"] if line else []
            so_far = means[i]
            line.append(f"{x(i):.1f},{y(so_far):.1f}")
    if line:
        line.append(f"{width - 16},{y(so_far):.1f}")
        body.append(
            f'<polyline points="{" ".join(line)}" fill="none" stroke="{plots.ORANGE}" stroke-width="1.6" stroke-dasharray="6 4"/>'
        )
    for i, trial in enumerate(trials):
        if means[i] >= 0:
            whole = len(trial["figures"]) == parts
            fill = plots.BLUE if whole else "white"
            body.append(
                f'<circle cx="{x(i):.1f}" cy="{y(means[i]):.1f}" r="{6 if i == taken else 4}" fill="{fill}" stroke="{plots.BLUE}" stroke-width="1.5"/>'
            )
    body.append(
        plots.text(
            (left + width) / 2, height - 8, "configurations, in the order in which they were tried", anchor="middle"
        )
    )
    body.append(
        plots.text(
            width - 16,
            top + 2,
            "● read on all parts · ○ given up · – – best so far · large: this run",
            anchor="end",
            size=11,
            colour=plots.GREY,
        )
    )
    alt = f"{len(trials)} configurations: mean AUROC on parts of the training patients from {min(known):.3f} to {max(known):.3f}"
    return plots.svg("".join(body), alt=alt, width=width, height=height)


def _grid(low: float, high: float, y, left: int, width: int) -> str:
    """Return lines at round values, named."""
    step = next(s for s in (0.005, 0.01, 0.02, 0.05, 0.1, 0.2) if (high - low) / s <= 6)
    parts = []
    for k in range(math.ceil(low / step), math.floor(high / step) + 1):
        v = k * step
        parts.append(f'<line x1="{left}" x2="{width - 16}" y1="{y(v):.1f}" y2="{y(v):.1f}" stroke="#E5E7EB"/>')
        parts.append(
            plots.text(
                left - 7, y(v) + 4, f"{v:.3f}" if step < 0.01 else f"{v:.2f}", anchor="end", colour=plots.GREY, size=11
            )
        )
    return "".join(parts)
