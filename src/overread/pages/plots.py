"""Draw the report's plots as small inline SVG: sharp in print, readable by a screen reader, nothing fetched.

Every plot comes with the table of numbers behind it. Colours are Okabe and Ito's, which differ for readers who cannot
tell red from green; dash and shape say the same as colour.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from overread.stats.shares import wilson

BLUE, ORANGE, GREY, INK = "#0072B2", "#D55E00", "#6B7280", "#111827"
WRITTEN = {ORANGE: "#B34700"}
"""Colours that are too light for words on white (4.5 : 1), and what is written in their stead."""

WIDTH, HEIGHT = 380, 340
LEFT, RIGHT, TOP, BOTTOM = 52, 24, 14, 46


@dataclass(frozen=True)
class Plot:
    """A drawing and the numbers behind it."""

    svg: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str


def across_x(v: float) -> float:
    """Return where a share from 0 to 1 stands from left to right."""
    return LEFT + v * (WIDTH - LEFT - RIGHT)


def up_y(v: float) -> float:
    """Return where a share from 0 to 1 stands, 1 being on top."""
    return HEIGHT - BOTTOM - v * (HEIGHT - TOP - BOTTOM)


def text(
    x: float, y: float, words: str, *, anchor: str = "start", colour: str = INK, size: int = 12, extra: str = ""
) -> str:
    """Return words on a plot, legible over any line."""
    halo = 'stroke="white" stroke-width="3" paint-order="stroke" stroke-linejoin="round"'
    colour = WRITTEN.get(colour, colour)
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}" font-size="{size}"'
    return f"<text {place} {halo} {extra}>{escape(words)}</text>"


def svg(body: str, *, alt: str, width: int = WIDTH, height: int = HEIGHT) -> str:
    """Return a drawing as inline SVG, with words for those who cannot see it."""
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(alt, quote=True)}" '
        f'xmlns="http://www.w3.org/2000/svg" font-family="inherit"><title>{escape(alt)}</title>{body}</svg>'
    )


def frame(*, across: str, up: str, shares: bool = False) -> str:
    """Draw a unit square with ticks at quarters and the names of its axes."""
    parts = []
    for v in (0, 0.25, 0.5, 0.75, 1):
        word = percent(v) if shares else f"{v:g}"
        parts.append(
            f'<line x1="{across_x(0)}" x2="{across_x(1)}" y1="{up_y(v):.1f}" y2="{up_y(v):.1f}" stroke="#E5E7EB"/>'
        )
        parts.append(text(across_x(0) - 7, up_y(v) + 4, word, anchor="end", colour=GREY, size=11))
        parts.append(text(across_x(v), up_y(0) + 17, word, anchor="middle", colour=GREY, size=11))
    parts.append(f'<line x1="{across_x(0)}" x2="{across_x(1)}" y1="{up_y(0)}" y2="{up_y(0)}" stroke="{GREY}"/>')
    parts.append(text(across_x(0.5), HEIGHT - 8, across, anchor="middle"))
    parts.append(text(0, 0, up, anchor="middle", extra=f'transform="translate(13 {up_y(0.5):.1f}) rotate(-90)"'))
    return "".join(parts)


def path(xs: Sequence[float], ys: Sequence[float], *, colour: str, dash: str = "", wide: float = 2.2) -> str:
    """Draw a line through shares; points that print on one spot are drawn once."""
    spots = [f"{across_x(x):.1f},{up_y(y):.1f}" for x, y in zip(xs, ys, strict=True)]
    points = " ".join(spot for i, spot in enumerate(spots) if i == 0 or spot != spots[i - 1])
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{wide}" stroke-linejoin="round"{dashed}/>'


def curve(truth: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return false-alarm rate, sensitivity and threshold at every distinct score, from the strictest down.

    Examples
    --------
    >>> [v.tolist() for v in curve(np.array([1, 0, 1, 0]), np.array([.9, .6, .6, .1]))]
    [[0.0, 0.0, 0.5, 1.0], [0.0, 0.5, 1.0, 1.0], [inf, 0.9, 0.6, 0.1]]
    """
    order = np.argsort(-score, kind="stable")
    last = np.flatnonzero(np.r_[np.diff(score[order]) < 0, True])
    hits, alarms = np.cumsum(truth[order] == 1)[last], np.cumsum(truth[order] == 0)[last]
    sensitivity, false_alarm = hits / max(hits[-1], 1), alarms / max(alarms[-1], 1)
    return np.r_[0.0, false_alarm], np.r_[0.0, sensitivity], np.r_[np.inf, score[order][last]]


DASHES = (("6 3", "- -"), ("1.5 3", "···"), ("10 3 1.5 3", "–·–"))
"""Of the floors' curves, as drawn and as named: all are grey, and print has no other way to tell them apart."""


def roc(
    truth: np.ndarray,
    probability: np.ndarray,
    *,
    threshold: float | None,
    name: str,
    beside: Mapping[str, tuple[np.ndarray, np.ndarray]] | None = None,
) -> Plot:
    """Draw sensitivity against false alarms for every threshold, with the operating point and the floors beside it.

    Parameters
    ----------
    truth, probability : ndarray, (n,)
        Truth is 1 or 0.
    threshold : float or None
    name : str
    beside : mapping of name to (truth, probability), optional
    """
    body = frame(across="false alarms (1 − specificity)", up="sensitivity", shares=True)
    body += path([0, 1], [0, 1], colour=GREY, dash="2 4", wide=1.2)
    body += text(across_x(0.72), up_y(0.66), "chance", colour=GREY, size=11)
    for i, (other, (y, p)) in enumerate((beside or {}).items()):
        fx, fy, _ = curve(y, p)
        dash, sign = DASHES[i % len(DASHES)]
        body += path(fx, fy, colour=GREY, dash=dash, wide=1.5)
        body += text(across_x(0.98), up_y(0.16 - 0.06 * i), f"{sign} {other}", anchor="end", colour=GREY, size=11)
    fx, fy, at = curve(truth, probability)
    body += path(fx, fy, colour=BLUE)
    body += text(across_x(0.98), up_y(0.22), "— this model", anchor="end", colour=BLUE, size=11)
    rows, said = [], ""
    for rate in (0.01, 0.05, 0.1, 0.2, 0.3, 0.5):
        i = int(np.searchsorted(fx, rate, side="right")) - 1
        limit = f"{at[i]:.3f}" if np.isfinite(at[i]) else "none called"
        rows.append((f"≤ {percent(rate)}", percent(fy[i], 1), limit))
    if threshold is not None:
        px, py = (
            float((probability[truth == 0] >= threshold).mean()),
            float((probability[truth == 1] >= threshold).mean()),
        )
        body += f'<circle cx="{across_x(px):.1f}" cy="{up_y(py):.1f}" r="6" fill="white" stroke="{ORANGE}" stroke-width="3"/>'
        said = f" At the operating point {percent(py, 1)} are found with {percent(px, 1)} of false alarms."
        right = px < 0.55
        body += text(
            across_x(px) + (12 if right else -12),
            up_y(py) + 18,
            "operating point",
            anchor="start" if right else "end",
            colour=ORANGE,
        )
    alt = f"ROC curve of {name}: sensitivity against false alarms.{said} The table below has its numbers."
    return Plot(
        svg(body, alt=alt),
        ("false alarms allowed", "sensitivity reached", "threshold"),
        tuple(rows),
        "How many cases are found for how many false alarms, at every threshold.",
    )


def bins_of_equal_mass(probability: np.ndarray, most: int = 10, fewest: int = 20) -> list[np.ndarray]:
    """Return the rows of each bin: cases in order of probability, cut into bins of equally many.

    Cases with one probability stay in one bin; each bin holds about ``fewest`` cases or more.

    Examples
    --------
    >>> [len(b) for b in bins_of_equal_mass(np.linspace(0, 1, 100))]
    [20, 20, 20, 20, 20]
    """
    order = np.argsort(probability, kind="stable")
    n = max(1, min(most, len(order) // fewest))
    edges = [round(v) for v in np.linspace(0, len(order), n + 1)]
    cuts = sorted({int(np.searchsorted(probability[order], probability[order][e])) for e in edges[1:-1]} - {0})
    return [rows for rows in np.split(order, cuts) if len(rows)]


def reliability(truth: np.ndarray, probability: np.ndarray, *, name: str) -> Plot:
    """Draw what was said against what was so: in each group of equally many cases, with Wilson's bars."""
    body = frame(across="probability the model gave", up="share that had it", shares=True)
    body += path([0, 1], [0, 1], colour=GREY, dash="2 4", wide=1.2)
    body += text(across_x(0.60), up_y(0.71), "as it should be", anchor="end", colour=GREY, size=11)
    rows = []
    for group in bins_of_equal_mass(probability):
        said, n, k = float(probability[group].mean()), len(group), int(truth[group].sum())
        low, high = wilson(k, n)
        x, y = across_x(said), up_y(k / n)
        body += f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{up_y(low):.1f}" y2="{up_y(high):.1f}" stroke="{BLUE}" stroke-width="1.6"/>'
        body += f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{BLUE}" stroke="white"/>'
        rows.append((percent(said, 1), percent(k / n, 1), f"{percent(low, 1)}–{percent(high, 1)}", f"{k} of {n}"))
    alt = (
        f"Reliability of {name}: the share that had it against the probability given; the table below has its numbers."
    )
    return Plot(
        svg(body, alt=alt),
        ("said", "was so", "95 % interval", "cases"),
        tuple(rows),
        "Does 30 % mean 30 of 100? Points on the dotted line do. Bars: Wilson, 95 %.",
    )


def distribution(truth: np.ndarray, probability: np.ndarray, *, threshold: float | None, name: str) -> Plot:
    """Draw how the probabilities of cases with and without the finding are spread: above and below a line."""
    edges = np.linspace(0, 1, 21)
    up, down = (np.histogram(probability[truth == v], edges)[0] for v in (1, 0))
    shares = [counts / max(counts.sum(), 1) for counts in (up, down)]
    top = max(max(s.max() for s in shares), 1e-9)
    middle, half, bar = up_y(0.5), (HEIGHT - TOP - BOTTOM) / 2, (across_x(1) - across_x(0)) / 20
    body = ""
    for i in range(20):
        x = across_x(edges[i]) + 0.75
        h, d = shares[0][i] / top * (half - 18), shares[1][i] / top * (half - 18)
        body += f'<rect x="{x:.1f}" y="{middle - h:.1f}" width="{bar - 1.5:.1f}" height="{h:.1f}" fill="{ORANGE}"/>'
        body += f'<rect x="{x:.1f}" y="{middle:.1f}" width="{bar - 1.5:.1f}" height="{d:.1f}" fill="{BLUE}"/>'
    body += f'<line x1="{across_x(0)}" x2="{across_x(1)}" y1="{middle:.1f}" y2="{middle:.1f}" stroke="{INK}"/>'
    for v in (0, 0.25, 0.5, 0.75, 1):
        body += text(across_x(v), up_y(0) + 17, percent(v), anchor="middle", colour=GREY, size=11)
    body += text(across_x(0.5), HEIGHT - 8, "probability the model gave", anchor="middle")
    if threshold is not None:
        t = across_x(min(max(threshold, 0), 1))
        body += f'<line x1="{t:.1f}" x2="{t:.1f}" y1="{TOP}" y2="{up_y(0):.1f}" stroke="{INK}" stroke-dasharray="5 3"/>'
        left = threshold > 0.6
        body += text(
            t + (-5 if left else 5),
            up_y(0) - 5,
            f"threshold {threshold:.3f}",
            anchor="end" if left else "start",
            size=11,
        )
    body += text(across_x(0.02), TOP + 10, f"with it ({up.sum():,})", colour=ORANGE)
    body += text(across_x(0.98), up_y(0) - 22, f"without it ({down.sum():,})", anchor="end", colour=BLUE)
    rows = [
        (f"{percent(edges[i])}–{percent(edges[i + 2])}", str(up[i] + up[i + 1]), str(down[i] + down[i + 1]))
        for i in range(0, 20, 2)
    ]
    alt = (
        f"Score distribution of {name}: cases with it above the line, cases without it below; the table has the counts."
    )
    return Plot(
        svg(body, alt=alt),
        ("probability", "with it", "without it"),
        tuple(rows),
        "How far apart the two groups are; each side is drawn to its own total.",
    )


def ladder(rows: Sequence[tuple[str, Mapping]], *, name: str, chance: float = 0.5) -> Plot:
    """Draw one figure of several models under each other, as a dot with its 95 % interval.

    Parameters
    ----------
    rows : sequence of (name, estimate as a mapping)
        The first is this model.
    name : str
        Of the figure ("AUROC").
    chance : float
        Where no use begins.
    """
    known = [(n, e) for n, e in rows if e.get("value") is not None]
    lows = [e["low"] if e["low"] is not None else e["value"] for _, e in known]
    start = np.floor(min([*lows, chance]) * 10) / 10
    width, line, left, right = 700, 34, 190, 170

    def at(v: float) -> float:
        return left + (v - start) / (1 - start) * (width - left - right)

    height = line * len(known) + 34
    body = ""
    for v in np.arange(start, 1.0001, 0.1):
        body += f'<line x1="{at(v):.1f}" x2="{at(v):.1f}" y1="6" y2="{height - 26}" stroke="#E5E7EB"/>'
        body += text(at(v), height - 10, f"{v:.1f}", anchor="middle", colour=GREY, size=11)
    c = at(chance)
    body += f'<line x1="{c:.1f}" x2="{c:.1f}" y1="6" y2="{height - 26}" stroke="{GREY}" stroke-dasharray="2 4"/>'
    for i, (who, e) in enumerate(known):
        y, colour = 6 + line * (i + 0.5), BLUE if i == 0 else GREY
        body += text(left - 14, y + 4, who, anchor="end", extra='font-weight="600"' if i == 0 else "", size=13)
        if e["low"] is not None:
            x1, x2 = at(e["low"]), at(e["high"])
            body += f'<line x1="{x1:.1f}" x2="{x2:.1f}" y1="{y}" y2="{y}" stroke="{colour}" stroke-width="2.5"/>'
        shape = (
            f'<circle cx="{at(e["value"]):.1f}" cy="{y}" r="6" fill="{colour}"/>'
            if i == 0
            else f'<rect x="{at(e["value"]) - 4.5:.1f}" y="{y - 4.5}" width="9" height="9" fill="{colour}"/>'
        )
        body += shape + text(width - right + 18, y + 4, told(e), size=12, colour=INK if i == 0 else GREY)
    alt = f"{name}: " + "; ".join(f"{who} {told(e)}" for who, e in known)
    return Plot(svg(body, alt=alt, width=width, height=height), (), (), "")


def told(estimate: Mapping | None, digits: int = 3) -> str:
    """Return a figure with its interval as a person reads it.

    Examples
    --------
    >>> told({"value": 0.9123, "low": 0.88, "high": 0.94})
    '0.912 (0.880–0.940)'
    >>> told({"value": -0.077, "low": -0.144, "high": 0.032})
    '−0.077 (−0.144 to 0.032)'
    >>> told({"value": -0.0004, "low": -0.001, "high": 0.0002}, 2)
    '0.00 (0.00–0.00)'
    >>> told({"value": None, "low": None, "high": None})
    'not defined'
    """
    if not estimate or estimate.get("value") is None:
        return "not defined"
    each = (estimate.get(key) for key in ("value", "low", "high"))
    value, low, high = (None if v is None else f"{round(v, digits) + 0.0:.{digits}f}" for v in each)  # no "−0.00"
    if low is None:
        return value.replace("-", "−")
    between = " to " if "-" in low else "–"
    return f"{value} ({low}{between}{high})".replace("-", "−")


def chance(probability: float) -> str:
    """Return a probability that a model gave; never 0 or 100, which nobody can know.

    Examples
    --------
    >>> chance(0.9996), chance(0.0004), chance(0.9987), chance(0.123)
    ('> 99.9\xa0%', '< 0.1\xa0%', '99.9\xa0%', '12.3\xa0%')
    """
    if probability >= 0.9995:
        return f"> {percent(0.999, 1)}"
    return f"< {percent(0.001, 1)}" if probability < 0.0005 else percent(probability, 1)


def percent(share: float, digits: int = 0) -> str:
    """Return a share as a percentage, with the space that the SI asks for.

    Examples
    --------
    >>> percent(0.951), percent(0.0123, 1)
    ('95\xa0%', '1.2\xa0%')
    >>> percent(0.997), percent(0.0004, 1), percent(1)
    ('more than 99\xa0%', 'less than 0.1\xa0%', '100\xa0%')
    """
    unit = 10.0**-digits
    if (
        1e-9 < share < 1 - 1e-9 and not unit / 2 <= 100 * share < 100 - unit / 2
    ):  # rounded, all or nothing: nobody counted that
        return f"more than {100 - unit:.{digits}f}\u00a0%" if share > 0.5 else f"less than {unit:.{digits}f}\u00a0%"
    return f"{100 * share:.{digits}f}\u00a0%"
