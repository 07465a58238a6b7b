"""Draw what acting on the probability is worth: the decision curve, against acting on everybody and on nobody."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from overread.pages.plots import BLUE, BOTTOM, GREY, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Plot, percent
from overread.pages.plots import svg as drawn
from overread.pages.plots import text as written

SHOWN = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7)
"""Threshold probabilities in the table."""


def decision_plot(curve: Mapping[str, Any], *, name: str) -> Plot:
    """Draw net benefit against the probability from which a doctor would act, with its 95 % band.

    Parameters
    ----------
    curve : mapping
        What `overread.stats.decisions.decision_curve` found.
    name : str
        Of the label.
    """
    t, model, everybody = curve["thresholds"], curve["model"], curve["everybody"]
    top = max(*model, *everybody, 0.01) * 1.08
    bottom = -0.25 * top  # below that nobody would act, and the line only hides the others

    def x(v: float) -> float:
        return LEFT + v * (WIDTH - LEFT - RIGHT)

    def y(v: float) -> float:
        share = (min(max(v, bottom), top) - bottom) / (top - bottom)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    body = _frame(x, y, top, bottom)
    if curve["low"][0] is not None:
        for there in _band(curve, bottom):
            body += f'<polygon points="{_points(there, x, y)}" fill="{BLUE}" fill-opacity="0.16" stroke="none"/>'
    for part in _seen(t, everybody, bottom):
        body += _line(part, x, y, f'stroke="{GREY}" stroke-width="1.8" stroke-dasharray="6 3"')
    body += f'<line x1="{x(0):.1f}" x2="{x(1):.1f}" y1="{y(0):.1f}" y2="{y(0):.1f}" stroke="{GREY}" stroke-width="1.8" stroke-dasharray="2 3"/>'
    for part in _seen(t, model, bottom):
        body += _line(part, x, y, f'stroke="{BLUE}" stroke-width="2.4"')
    for k, (words, colour) in enumerate(
        (("— this model", BLUE), ("- - act on everybody", GREY), ("··· act on nobody", GREY))
    ):
        body += written(x(0.98), y(top) + 14 + 15 * k, words, anchor="end", colour=colour, size=11)
    rows = []
    ends = [curve[key] for key in ("best_from", "best_to") if curve[key] is not None]  # what the words name, it shows
    for shown in sorted({*SHOWN, *ends}):
        k = min(range(len(t)), key=lambda i, s=shown: abs(t[i] - s))
        low, high = curve["low"][k], curve["high"][k]
        between = f"{low:.3f} to {high:.3f}".replace("-", "−") if low is not None else "–"
        rows.append((percent(t[k]), _signed(model[k]), between, _signed(everybody[k])))
    return Plot(
        drawn(body, alt=f"Decision curve of {name}: {_range(curve)} The table below has its numbers."),
        ("act from", "this model", "95 % interval", "everybody"),
        tuple(rows),
        f"True alarms per image, less false ones at the rate at which a doctor weighs them. {_range(curve)}",
    )


def _range(curve: Mapping[str, Any]) -> str:
    """Say where acting on the model is better than both simple rules, and that each threshold speaks for itself."""
    if curve["best_from"] is None:
        return "At no threshold is it clearly better than acting on everybody or on nobody."
    ends = (percent(curve["best_from"]), percent(curve["best_to"]))
    span = f"{ends[0]} to {ends[1]}" if ends[0] != ends[1] else f"{ends[0]} only"
    return (
        "Point by point (each threshold with a 95 % interval of its own), clearly better than acting on everybody or on "
        f"nobody for those who act from a probability of {span}."
    )


def span_told(curve: Mapping[str, Any]) -> str:
    """Say at which thresholds acting on the model is clearly better than both simple rules.

    Examples
    --------
    >>> span_told({"best_from": 0.1, "best_to": 0.3}), span_told({"best_from": None})
    ('point by point, from 10\xa0% to 30\xa0%,', 'at no threshold')
    >>> span_told({"best_from": 0.59, "best_to": 0.59})
    'at 59\xa0% alone'
    """
    if curve["best_from"] is None:
        return "at no threshold"
    low, high = percent(curve["best_from"]), percent(curve["best_to"])
    return f"at {low} alone" if low == high else f"point by point, from {low} to {high},"


def _frame(x, y, top: float, bottom: float) -> str:
    step = next(s for s in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5) if top / s <= 6)
    parts = []
    for k in range(int(bottom / step), int(top / step) + 1):
        v = k * step
        parts.append(f'<line x1="{x(0)}" x2="{x(1)}" y1="{y(v):.1f}" y2="{y(v):.1f}" stroke="#E5E7EB"/>')
        parts.append(written(x(0) - 7, y(v) + 4, f"{v:.2g}".replace("-", "−"), anchor="end", colour=GREY, size=11))
    for v in (0, 0.25, 0.5, 0.75, 1):
        parts.append(written(x(v), HEIGHT - BOTTOM + 17, percent(v), anchor="middle", colour=GREY, size=11))
    parts.append(written(x(0.5), HEIGHT - 8, "probability from which one would act", anchor="middle"))
    turned = f'transform="translate(13 {(HEIGHT - BOTTOM + TOP) / 2:.1f}) rotate(-90)"'
    return "".join([*parts, written(0, 0, "net benefit", anchor="middle", extra=turned)])


def _seen(t: Sequence[float], values: Sequence[float], bottom: float) -> list[list[tuple[float, float]]]:
    """Return the parts of a line that lie within the drawing, each up to the point where it leaves it at the bottom.

    Examples
    --------
    >>> _seen([0.0, 0.2, 0.4], [1.0, -1.0, 1.0], 0.0)
    [[(0.0, 1.0), (0.1, 0.0)], [(0.3, 0.0), (0.4, 1.0)]]
    """
    parts: list[list[tuple[float, float]]] = [[]]
    for k, (at, value) in enumerate(zip(t, values, strict=True)):
        if k and (value >= bottom) != (values[k - 1] >= bottom):
            share = (bottom - values[k - 1]) / (value - values[k - 1])
            parts[-1].append((round(t[k - 1] + share * (at - t[k - 1]), 12), bottom))
        if value >= bottom:
            parts[-1].append((at, value))
        elif parts[-1]:
            parts.append([])
    return [part for part in parts if part]


def _band(curve: Mapping[str, Any], bottom: float) -> list[list[tuple[float, float]]]:
    """Return the outlines of the 95 % band where any of it lies within the drawing."""
    outlines: list[list[tuple[float, float]]] = []
    rows = [*zip(curve["thresholds"], curve["low"], curve["high"], strict=True)]
    for inside, part in groupby(rows, key=lambda row: row[2] >= bottom):
        here = [*part] if inside else []
        if here:
            outlines.append([*((at, high) for at, _, high in here), *((at, low) for at, low, _ in reversed(here))])
    return outlines


def _points(pairs: Sequence[tuple[float, float]], x, y) -> str:
    return " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in pairs)


def _line(pairs: Sequence[tuple[float, float]], x, y, style: str) -> str:
    return f'<polyline points="{_points(pairs, x, y)}" fill="none" stroke-linejoin="round" {style}/>'


def _signed(v: float) -> str:
    return f"{v:.3f}".replace("-", "−")
