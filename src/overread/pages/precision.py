"""Draw how many of the calls are right, for each share of the cases that is found: where the finding is rare, it tells most."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from overread.pages.plots import BLUE, DASHES, GREY, ORANGE, Plot, across_x, frame, path, percent, svg, text, up_y

FOUND = (0.5, 0.7, 0.8, 0.9, 0.95, 1.0)
"""Sensitivities in the table."""


def staircase(truth: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return sensitivity, share of right calls and threshold at every distinct score, from the strictest down.

    Examples
    --------
    >>> [v.round(2).tolist() for v in staircase(np.array([1, 0, 1, 0]), np.array([.9, .6, .6, .1]))]
    [[0.5, 1.0, 1.0], [1.0, 0.67, 0.5], [0.9, 0.6, 0.1]]
    """
    order = np.argsort(-score, kind="stable")
    last = np.flatnonzero(np.r_[np.diff(score[order]) < 0, True])
    hits = np.cumsum(truth[order] == 1)[last]
    return hits / max(hits[-1], 1), hits / (last + 1), score[order][last]


def precision(
    truth: np.ndarray,
    probability: np.ndarray,
    *,
    threshold: float | None,
    name: str,
    figure: str = "",
    beside: Mapping[str, tuple[np.ndarray, np.ndarray]] | None = None,
) -> Plot:
    """Draw the share of calls that are right against the share of cases found, with the prevalence as a line.

    Parameters
    ----------
    truth, probability : ndarray, (n,)
        Truth is 1 or 0.
    threshold : float or None
    name : str
    figure : str
        The average precision in words; the area below the stairs.
    beside : mapping of name to (truth, probability), optional
    """
    share = float(np.mean(truth == 1))
    body = frame(across="cases found (sensitivity)", up="share of calls that are right", shares=True)
    body += path([0, 1], [share, share], colour=GREY, dash="2 4", wide=1.4)
    above = share < 0.5  # the words stand where the curve seldom is
    body += text(
        across_x(0.02),
        up_y(share) + (-6 if above else 14),
        f"prevalence {percent(share, 1)}: a coin",
        colour=GREY,
        size=11,
    )
    low = 0.16 if share > 0.35 else 0.93  # the names of the curves, away from the line and from each other
    for i, (other, (y, p)) in enumerate((beside or {}).items()):
        dash, sign = DASHES[i % len(DASHES)]
        body += path(*_stairs(*staircase(y, p)[:2]), colour=GREY, dash=dash, wide=1.5)
        body += text(across_x(0.98), up_y(low - 0.06 * i), f"{sign} {other}", anchor="end", colour=GREY, size=11)
    found, right, at = staircase(truth, probability)
    body += path(*_stairs(found, right), colour=BLUE)
    body += text(across_x(0.98), up_y(low + 0.06), "— this model", anchor="end", colour=BLUE, size=11)
    rows = []
    for wanted in FOUND:
        i = int(np.searchsorted(found, wanted - 1e-12))
        rows.append((f"≥ {percent(wanted)}", percent(found[i], 1), percent(right[i], 1), f"{at[i]:.3f}"))
    said = ""
    if threshold is not None and (probability >= threshold).any():
        px = float((probability[truth == 1] >= threshold).mean())
        py = float((truth[probability >= threshold] == 1).mean())
        body += f'<circle cx="{across_x(px):.1f}" cy="{up_y(py):.1f}" r="6" fill="white" stroke="{ORANGE}" stroke-width="3"/>'
        left = px > 0.4
        body += text(across_x(px) + (-12 if left else 12), up_y(py) + 18, "operating point", anchor="end" if left else "start", colour=ORANGE)  # fmt: skip
        said = f" At the operating point {percent(px, 1)} are found and {percent(py, 1)} of the calls are right."
    caption = f"How many alarms are true, for each share found. The dotted line is the prevalence, {percent(share, 1)}: what calling at random reaches."
    caption += f" Average precision {figure}." if figure else ""
    alt = f"Precision and recall of {name}, prevalence {percent(share, 1)}.{said} The table below has its numbers."
    return Plot(svg(body, alt=alt), ("to be found", "found", "of the calls right", "threshold"), tuple(rows), caption)


def _stairs(found: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the corners of the stairs, below which the area is the average precision."""
    start = np.r_[0.0, found[:-1]]
    return np.stack([start, found], axis=1).ravel(), right.repeat(2)
