"""A page that puts runs side by side: their figures, and the paired differences as a forest plot with its table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from overread.pages.plots import BLUE, GREY, INK, Plot, svg, text, told
from overread.pages.report_labels import apart
from overread.pages.template import filled

WORDS = {
    "auroc": ("AUROC", "higher is better"),
    "ap": ("average precision", "higher is better"),
    "sensitivity": ("sensitivity", "higher is better"),
    "specificity": ("specificity", "higher is better"),
    "accuracy": ("accuracy", "higher is better"),
    "kappa_quadratic": ("quadratic kappa", "higher is better"),
    "brier": ("Brier score", "lower is better"),
}
LINE, AXIS, TOLD, LONGEST = 30, 320, 210, 40


def render_compare(comparison: Mapping[str, Any], *, overread: str) -> str:
    """Return the comparison as one HTML file that fetches nothing.

    Parameters
    ----------
    comparison : mapping
        ``Comparison.to_json()``: runs, label, images, patients, figures, differences, spread, notes.
    overread : str
        The version that made it.
    """
    runs = shortest(comparison["runs"])
    names = list(comparison["figures"][0])
    whom = "patients unknown" if comparison["patients"] is None else f"{comparison['patients']:,} patients"
    page = {
        "overread": overread,
        "label": comparison["label"],
        "whom": f"{comparison['images']:,} images, {whom}",
        "patients_known": comparison["patients"] is not None,
        "runs": runs,
        "columns": [WORDS.get(name, (name, ""))[0] for name in names],
        "rows": [
            (run, [apart(told(figures[name])) for name in names])
            for run, figures in zip(runs, comparison["figures"], strict=True)
        ],
        "plots": [
            forest([(run, d[name]) for run, d in zip(runs[1:], comparison["differences"], strict=True)], figure=name, first=runs[0])
            for name in names
        ],
        "verdicts": [
            verdict(run, d["auroc"], first=runs[0])
            for run, d in zip(runs[1:], comparison["differences"], strict=True)
            if "auroc" in d
        ],
        "spread": comparison["spread"] if comparison["spread"].get("seeds", 0) > 2 else None,
        "notes": comparison["notes"],
    }  # fmt: skip
    return filled("compare.html", page)


def shortest(runs: Sequence[str]) -> list[str]:
    """Return names that tell the runs apart: the last parts of their paths, as many as are needed.

    Examples
    --------
    >>> shortest(["a/run1", "a/run2"]), shortest(["a/run", "b/run"])
    (['run1', 'run2'], ['a/run', 'b/run'])
    >>> shortest(["/a/run", "/run"])
    ['/a/run', '/run']
    """
    parts = [[p for p in run.replace("\\", "/").split("/") if p] or [run] for run in runs]
    whole = ["/" + "/".join(p) if run.startswith("/") else "/".join(p) for run, p in zip(runs, parts, strict=True)]
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["/".join(p[-depth:]) for p in parts]
        if len(set(names)) == len(names):  # a name that is the whole path keeps its beginning
            return [path if len(p) <= depth else name for path, p, name in zip(whole, parts, names, strict=True)]
    return [f"{k}: {path}" for k, path in enumerate(whole, 1)]


def cut(run: str) -> str:
    """Return a name that fits beside a drawing: both ends of a long one, as either may be what tells it apart.

    Examples
    --------
    >>> cut("run1"), cut("a" * 30 + "/" + "b" * 30)
    ('run1', 'aaaaaaaaaaaaaaaaaaa…bbbbbbbbbbbbbbbbbbbb')
    """
    return run if len(run) <= LONGEST else f"{run[: LONGEST // 2 - 1]}…{run[-LONGEST // 2 :]}"


def verdict(run: str, difference: Mapping[str, Any], *, first: str) -> str:
    """Say whether a run ranks better than the first, as far as these images can tell.

    Examples
    --------
    >>> verdict("b", {"value": 0.02, "low": -0.01, "high": 0.05}, first="a")
    'b ranks no better and no worse than a as far as these images can tell: AUROC +0.020 (−0.010 to +0.050).'
    """
    if difference["value"] is None or difference["low"] is None:
        return f"{run} against {first}: nothing can be said of the AUROC."
    if difference["low"] > 0:
        says = f"ranks better than {first}"
    elif difference["high"] < 0:
        says = f"ranks worse than {first}"
    else:
        says = f"ranks no better and no worse than {first} as far as these images can tell"
    return f"{run} {says}: AUROC {signed(difference)}."


def signed(e: Mapping[str, Any]) -> str:
    """Return a difference with its interval, with its sign."""
    if e.get("value") is None:
        return "not defined"
    if e.get("low") is None:
        return f"{e['value']:+.3f}".replace("-", "−")
    return f"{e['value']:+.3f} ({e['low']:+.3f} to {e['high']:+.3f})".replace("-", "−")


def forest(rows: Sequence[tuple[str, Mapping[str, Any]]], *, figure: str, first: str) -> Plot:
    """Draw paired differences to the first run as dots with their 95 % intervals, around a line at no difference.

    Parameters
    ----------
    rows : sequence of (run, difference as a mapping)
    figure : str
        A key of `WORDS`.
    first : str
        What the others are held against.
    """
    words, better = WORDS.get(figure, (figure, ""))
    ends = [abs(v) for _, e in rows for v in (e["value"], e["low"], e["high"]) if v is not None]
    far = next((s for s in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0) if s >= max(ends, default=0.01)), 1.0)
    height = LINE * len(rows) + 40
    names = [cut(run) for run, _ in rows]
    left = max(110, 7 * max(map(len, names)) + 24)  # a name stands whole, however wide the drawing grows
    width = left + AXIS + TOLD

    def x(v: float) -> float:
        return left + (min(max(v / far, -1), 1) + 1) / 2 * AXIS

    body = ""
    for v in (-far, -far / 2, 0, far / 2, far):
        style = f'stroke="{INK}" stroke-dasharray="2 4"' if v == 0 else 'stroke="#E5E7EB"'
        body += f'<line x1="{x(v):.1f}" x2="{x(v):.1f}" y1="4" y2="{height - 34}" {style}/>'
        body += text(
            x(v), height - 18, f"{v:+g}".replace("-", "−") if v else "0", anchor="middle", colour=GREY, size=11
        )
    side = "worse" if figure == "brier" else "better"
    other = "better" if figure == "brier" else "worse"
    body += text(x(-far), height - 3, f"← {other}", colour=GREY, size=11)
    body += text(x(far), height - 3, f"{side} →", anchor="end", colour=GREY, size=11)
    for k, (name, (_, e)) in enumerate(zip(names, rows, strict=True)):
        y = 4 + LINE * (k + 0.5)
        body += text(left - 12, y + 4, name, anchor="end", size=12)
        body += text(left + AXIS + 14, y + 4, signed(e), size=12)
        if e["value"] is None:
            continue
        sure = e["low"] is not None and (e["low"] > 0 or e["high"] < 0)
        colour = BLUE if sure else GREY
        if e["low"] is not None:
            body += f'<line x1="{x(e["low"]):.1f}" x2="{x(e["high"]):.1f}" y1="{y}" y2="{y}" stroke="{colour}" stroke-width="2.5"/>'
        fill = colour if sure else "white"  # a full dot leaves out 0, a hollow one does not: shape says it, too
        body += (
            f'<circle cx="{x(e["value"]):.1f}" cy="{y}" r="5.5" fill="{fill}" stroke="{colour}" stroke-width="2.5"/>'
        )
    alt = f"{words}, difference to {first}: " + "; ".join(f"{run} {signed(e)}" for run, e in rows)
    table = tuple((run, signed(e), str(e.get("method", ""))) for run, e in rows)
    return Plot(
        svg(body, alt=alt, width=width, height=height),
        ("run", f"{words}, difference to {first}", "interval"),
        table,
        f"{words} ({better}), this run less {first} on the same images. A full dot leaves out 0.",
    )
