"""How the values of many images lie, as one small drawing, with the odd images marked under it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from overread.pages.plots import BLUE, GREY, INK, ORANGE, Plot

_WIDTH, _HEIGHT = 380, 190
_BARS = (11, 48)  # of one image, of many
_LEFT, _RIGHT, _TOP, _BOTTOM = 12, 12, 10, 46


def histogram(quantiles: np.ndarray, *, marked: Sequence[float] = (), unit: str, name: str) -> Plot:
    """Draw the values of images, each counting the same however large it is; marked values as triangles below.

    Parameters
    ----------
    quantiles : ndarray, (n, k)
        Each row: numbers that divide one image's values into equal parts.
    marked : sequence of float
        Middle values of images that stand out.
    unit : str
        "HU", "stored", …
    name : str
        Of the kind of image, for the description.

    Returns
    -------
    Plot
    """
    values = quantiles[np.isfinite(quantiles)]
    low, high = (float(v) for v in np.percentile(values, (0.5, 99.5))) if values.size else (0.0, 1.0)
    odd = [float(v) for v in marked if np.isfinite(v)]
    low, high = min([low, *odd]), max([high, *odd])
    if high <= low:
        low, high = low - 0.5, high + 0.5
    counts, edges = np.histogram(values, min(max(_BARS[0], values.size // 12), _BARS[1]), (low, high))
    share = counts / max(values.size, 1)
    tallest = max(float(np.sqrt(share.max())), 1e-9)

    def x(value: float) -> float:
        return _LEFT + (value - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT)

    floor = _HEIGHT - _BOTTOM
    body = []
    for n, left, right in zip(share, edges, edges[1:]):
        tall = float(np.sqrt(n)) / tallest * (floor - _TOP)
        body.append(
            f'<rect x="{x(left):.1f}" y="{floor - tall:.1f}" width="{max(x(right) - x(left) - 0.6, 0.5):.1f}" '
            f'height="{tall:.1f}" fill="{BLUE}"/>'
        )
    body.append(f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{floor}" y2="{floor}" stroke="{GREY}"/>')
    for value in odd:
        body.append(f'<path d="M{x(value):.1f} {floor + 2}l-4 8h8z" fill="{ORANGE}"/>')
    for value, anchor in ((low, "start"), ((low + high) / 2, "middle"), (high, "end")):
        body.append(
            f'<text x="{x(value):.1f}" y="{floor + 25}" text-anchor="{anchor}" fill="{GREY}" font-size="12">{number(value)}</text>'
        )
    across = "value as stored" if unit == "stored" else unit
    body.append(
        f'<text x="{_WIDTH / 2}" y="{_HEIGHT - 4}" text-anchor="middle" fill="{INK}" font-size="12">{escape(across)}</text>'
    )
    middle = number(float(np.median(values))) if values.size else "none"
    alt = f"Values of {name}: from {number(low)} to {number(high)} {unit}, half of them below {middle}"
    alt += f"; {len(odd)} image{'s' * (len(odd) != 1)} stand out" if odd else ""
    svg = (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(alt, quote=True)}" '
        f'xmlns="http://www.w3.org/2000/svg" font-family="inherit"><title>{escape(alt)}</title>{"".join(body)}</svg>'
    )
    rows = tuple(
        (f"{number(a)} to {number(b)}", f"{100 * n:.1f}\u00a0%")
        for a, b, n in zip(edges, edges[1:], share)
        if n >= 0.0005
    )
    return Plot(svg, ("values", "share"), rows, f"{len(quantiles):,} image{'s' * (len(quantiles) != 1)}")


def number(value: float) -> str:
    """Return a number as short as it may be read.

    Examples
    --------
    >>> number(-1024.0), number(0.12345), number(1234567.0)
    ('−1,024', '0.12', '1,234,567')
    """
    digits = 0 if abs(value) >= 20 or value == int(value) else 1 if abs(value) >= 2 else 2
    return f"{value:,.{digits}f}".replace("-", "−")
