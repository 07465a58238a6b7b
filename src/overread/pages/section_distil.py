"""The report's part on a network that another one taught: what smaller ones cost, how they read, and which was kept."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from overread.pages import plots

COLUMNS = ("network", "MB", "ms", "AUROC", "less the teacher's", "same call")


def section(evaluation: Mapping[str, Any]) -> str:
    """Return the section as HTML; "" for a run that learned from labels.

    Parameters
    ----------
    evaluation : mapping
        ``distil``: what stands in ``distil.json``.
    """
    found = evaluation.get("distil")
    if not found:
        return ""
    rows = found["networks"]
    head = "".join(f'<th scope="col"{" class=n" if i else ""}>{escape(c)}</th>' for i, c in enumerate(COLUMNS))
    body = "".join(_row(row, bold=row["name"] == found["kept"]) for row in rows)
    caption = (
        "Widths of the narrower networks; AUROC on tuning, paired; same call as the teacher on calibration; ms an image on one "
        "core. In bold what this run is."
    )
    table = f'<div class="scroll"><table><caption>{caption}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    teacher = found["teacher"]
    last = f"The teacher: {teacher['name']}, card {teacher['card'][:16]}…, graph {teacher['model.onnx'][:16]}…"
    return (
        f'<section id="distil"><h2>How small it may be</h2><p>{escape(found["in_words"])}.</p>{drawing(found)}{table}'
        f"<p class=quiet>{escape(last)}</p></section>"
    )


def _row(row: Mapping[str, Any], *, bold: bool) -> str:
    apart, same = row["difference"], row["agreement"]
    cells = [
        f"{row['megabytes']:.3f}",
        f"{row['milliseconds']:.2f}",
        "–" if row["auroc"] is None else f"{row['auroc']:.3f}",
        _signed(apart),
        "–" if not same or same["value"] is None else plots.percent(same["value"], 1),
    ]
    name = escape(called(row))
    inside = "".join(f"<td class=n>{f'<b>{escape(c)}</b>' if bold else escape(c)}</td>" for c in cells)
    return f'<tr><th scope="row">{f"<b>{name}</b>" if bold else name}</th>{inside}</tr>'


def called(row: Mapping[str, Any]) -> str:
    """Return what a network is called on the page.

    Examples
    --------
    >>> called({"name": "12-24-48", "student": True})
    '12‑24‑48'
    """
    return row["name"].replace("-", "\u2011") if row["student"] else row["name"].replace(" in ", " in\u00a0")


def _signed(apart: Mapping[str, Any] | None) -> str:
    if not apart or apart["value"] is None:
        return "–"
    if apart["low"] is None:
        return _plus(apart["value"])
    return f"{_plus(apart['value'])} ({_plus(apart['low'])} to {_plus(apart['high'])})"


def _plus(value: float, digits: int = 3) -> str:
    """Return a difference with its sign, a minus as long as a plus."""
    return f"{value:+.{digits}f}".replace("-", "−")


def drawing(found: Mapping[str, Any]) -> str:
    """Return milliseconds an image against the AUROC lost to the teacher on tuning, with the margin as a line."""
    rows = [r for r in found["networks"] if r["difference"] is None or r["difference"]["value"] is not None]
    if len(rows) < 2:
        return ""
    margin = found["margin"]
    ends = [e for r in rows for e in _ends(r)]
    low, high = min(*ends, -1.3 * margin), max(*ends, 0.3 * margin)
    pad = 0.06 * (high - low)
    low, high = low - pad, high + pad
    times = [math.log(max(r["milliseconds"], 1e-3)) for r in rows]
    first, last = min(times), max(times)
    reach = max(last - first, 0.2)
    width, height, left, right, bottom, top = 640, 300, 76, 24, 46, 16

    def x(ms: float) -> float:
        return left + 30 + (math.log(max(ms, 1e-3)) - first) / reach * (width - left - right - 60)

    def y(v: float) -> float:
        return height - bottom - (v - low) / (high - low) * (height - bottom - top)

    body = _scale(low, high, y, left, width - right)
    body.append(
        f'<line x1="{left}" x2="{width - right}" y1="{y(-margin):.1f}" y2="{y(-margin):.1f}" stroke="{plots.ORANGE}" stroke-dasharray="6 4"/>'
    )
    body.append(
        plots.text(
            (left + width - right) / 2,
            y(-margin) + 14,
            f"the margin, −{margin:g}",
            anchor="middle",
            size=11,
            colour=plots.ORANGE,
        )
    )
    places = []
    for row in sorted(rows, key=lambda r: r["milliseconds"]):
        body += _point(row, x(row["milliseconds"]), y, kept=row["name"] == found["kept"])
        places.append((x(row["milliseconds"]), y(_value(row)), called(row)))
    body += _names(places, bottom_end=height - bottom)
    for ms in _round(math.exp(first), math.exp(last)):
        body.append(plots.text(x(ms), height - bottom + 16, f"{ms:g}", anchor="middle", size=11, colour=plots.GREY))
    body.append(plots.text((left + width - right) / 2, height - 8, "ms an image on one core", anchor="middle"))
    body.append(
        plots.text(
            0,
            0,
            "AUROC less the teacher's (tuning)",
            anchor="middle",
            extra=f'transform="translate(16 {(height - bottom + top) / 2:.0f}) rotate(-90)"',
        )
    )
    alt = "; ".join(f"{called(r)}: {r['milliseconds']:.2f} ms, {_signed(r['difference'])}" for r in rows)
    return plots.svg(
        "".join(body), alt=f"Milliseconds an image against the AUROC lost: {alt}", width=width, height=height
    )


def _value(row: Mapping[str, Any]) -> float:
    return row["difference"]["value"] if row["difference"] else 0.0


def _ends(row: Mapping[str, Any]) -> list[float]:
    apart = row["difference"]
    return [0.0] if not apart else [apart[k] for k in ("low", "value", "high") if apart[k] is not None]


def _point(row: Mapping[str, Any], at: float, y, *, kept: bool) -> list[str]:
    apart, colour = row["difference"], plots.BLUE if row["student"] else plots.GREY
    parts = []
    if apart and apart["low"] is not None:
        parts.append(
            f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{y(apart["low"]):.1f}" y2="{y(apart["high"]):.1f}" stroke="{colour}" stroke-width="2"/>'
        )
    fill = colour if kept or not row["student"] else "white"
    parts.append(
        f'<circle cx="{at:.1f}" cy="{y(_value(row)):.1f}" r="{7 if kept else 5}" fill="{fill}" stroke="{colour}" stroke-width="2"/>'
    )
    return parts


def _names(places: Sequence[tuple[float, float, str]], *, bottom_end: float) -> list[str]:
    """Return the names beside the points, moved down where two would lie on each other."""
    parts, before = [], [(-1e9, -1e9)]
    for x, y, name in places:
        at = y - 9
        while any(abs(at - other) < 15 and x - left < 90 for left, other in before) and at < bottom_end - 6:
            at += 16
        before.append((x, at))
        side, anchor = (-9, "end") if x > 480 else (9, "start")  # a name to the right would leave the drawing
        parts.append(plots.text(x + side, at, name, anchor=anchor, size=11))
    return parts


def _scale(low: float, high: float, y, left: float, right: float) -> list[str]:
    step = next(s for s in (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5) if (high - low) / s <= 7)
    parts = []
    for k in range(math.ceil(low / step), math.floor(high / step) + 1):
        v = k * step
        parts.append(
            f'<line x1="{left}" x2="{right}" y1="{y(v):.1f}" y2="{y(v):.1f}" stroke="{"#9CA3AF" if k == 0 else "#E5E7EB"}"/>'
        )
        parts.append(
            plots.text(
                left - 7,
                y(v) + 4,
                _plus(v, 3 if step < 0.01 else 2),
                anchor="end",
                colour=plots.GREY,
                size=11,
            )
        )
    return parts


def _round(low: float, high: float) -> list[float]:
    """Return round numbers from low to high, a few of each power of ten.

    Examples
    --------
    >>> _round(0.3, 6.0)
    [0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0]
    """
    found = [m * 10.0**k for k in range(-3, 6) for m in (1, 1.5, 2, 3, 5, 7)]
    return [round(v, 6) for v in found if low * 0.999 <= v <= high * 1.001] or [float(f"{(low * high) ** 0.5:.2g}")]
