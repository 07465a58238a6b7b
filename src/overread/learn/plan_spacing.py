"""The input of volumes in millimetres: which spacing, how many voxels of it, and what stands where nothing was scanned."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from overread.errors import CohortError, RunError
from overread.imaging.preprocess import DARKEST
from overread.learn.plan_cohort import Fingerprint
from overread.learn.plan_rules import LARGEST_VOLUME, THICK, Part

AUTO = "auto"
"""In place of millimetres: those that the training volumes suggest, where all of them know their own."""

LARGEST_TOLD = 96
"""Most voxels a side where a person names the spacing; more by writing `size` in the plan."""

WHOLE = 95.0
"""So many of a hundred training volumes are to lie whole in the grid, along each axis."""

FINEST, COARSEST = 0.01, 100.0
"""In mm."""

Asked = str | tuple[float, float, float] | None
"""What may be asked of the spacing: nothing, `AUTO`, or mm between (slices, rows, columns)."""


def parse_spacing(asked: str | float | Sequence[float] | None) -> Asked:
    """Return what is asked of the spacing: one number for all axes, or slices, rows, columns with commas.

    Raises
    ------
    RunError

    Examples
    --------
    >>> parse_spacing("2.5"), parse_spacing("5,1,1"), parse_spacing("auto"), parse_spacing(None)
    ((2.5, 2.5, 2.5), (5.0, 1.0, 1.0), 'auto', None)
    """
    if asked is None:
        return None
    if asked == AUTO:
        return AUTO
    words = asked.split(",") if isinstance(asked, str) else asked if isinstance(asked, Sequence) else [asked]
    try:
        numbers = [float(w) for w in words]
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) not in (1, 3) or not all(FINEST <= v <= COARSEST for v in numbers):
        raise RunError(
            f"a spacing of {asked!r}",
            expected=f"mm from {FINEST:g} to {COARSEST:g}: one number, or three (slices, rows, columns), or auto",
            do="write --spacing 2.5, or --spacing 5,1,1",
        )
    slices, rows, columns = numbers * 3 if len(numbers) == 1 else numbers
    return slices, rows, columns


def stated(parts: Mapping[str, Part], seen: Fingerprint, asked: Asked) -> dict[str, Part]:
    """Return a plan's parts with the spacing of the input stated, in place of a grid that all volumes are squeezed into.

    Parameters
    ----------
    parts : mapping
        As `plan_rules.choose` made them.
    seen : Fingerprint
        Of the training cohort.
    asked : AUTO, or (float, float, float)
        With `AUTO` nothing is changed where it cannot be done, and the reason says so.

    Raises
    ------
    RunError, CohortError
        Where a person names millimetres and the images are pictures, or do not know theirs.
    """
    why_not = _why_not(parts, seen)
    if why_not:
        if asked != AUTO:
            kind = CohortError if seen.volumes and len(parts["input"]["size"]) == 3 else RunError
            raise kind(why_not, expected="volumes whose spacing is known, read whole", do="leave out --spacing")
        reason = f"{parts['input']['reason']}; no spacing is stated: {why_not}"
        return {**parts, "input": {**parts["input"], "reason": reason}}
    extents = np.array(seen.extents_mm)
    reach = np.percentile(extents, WHOLE, axis=0)
    told = not isinstance(asked, str)
    mm = asked if told else _planned(seen, reach)
    most = LARGEST_TOLD if told else LARGEST_VOLUME
    size = [int(min(most, max(8, 4 * math.ceil(r / m / 4 - 1e-6)))) for r, m in zip(reach, mm, strict=True)]
    fill = DARKEST if any(s["step"] == "body" for s in parts["intensity"]["steps"]) else 0.0
    input_ = {
        "size": size,
        "spacing_mm": list(mm),
        "fill": fill,
        "channels": parts["input"]["channels"],
        "rule": "spacing: told" if told else "spacing of the cohort",
        "reason": _reason(seen, extents, size, mm, most, fill, told=told),
    }
    return {
        **parts,
        "input": input_,
        "network": _network(parts["network"], mm),
        "sides": square_sides(parts["sides"], size, mm),
    }


def _why_not(parts: Mapping[str, Part], seen: Fingerprint) -> str:
    """Say why no spacing can be stated; empty where it can."""
    if not seen.volumes:
        return "these are pictures, and a spacing is stated of volumes"
    if len(parts["input"]["size"]) != 3:
        return f"the network {parts['network']['name']} reads single slices, not a volume in mm"
    if seen.spacing_mm is None:
        return f"{seen.without_spacing:,} of {seen.n:,} training volumes do not say how far their voxels lie apart"
    return ""


def _planned(seen: Fingerprint, reach: np.ndarray) -> tuple[float, float, float]:
    """As fine as the median volume is, coarser where most volumes would not fit into the largest grid; a square pixel."""
    slices, rows, columns = (max(own, r / LARGEST_VOLUME) for own, r in zip(seen.spacing_mm or (), reach, strict=True))
    plane = _three_digits(max(rows, columns))
    return _three_digits(slices), plane, plane


def _three_digits(value: float) -> float:
    """Round up to three digits, so that what was to fit still fits.

    Examples
    --------
    >>> _three_digits(7.4583), _three_digits(2.5), _three_digits(0.70312)
    (7.46, 2.5, 0.704)
    """
    scale = 10.0 ** (2 - math.floor(math.log10(value)))
    return float(f"{math.ceil(value * scale - 1e-6) / scale:.3g}")


def _reason(seen, extents: np.ndarray, size: list[int], mm: Sequence[float], most: int, fill, *, told: bool) -> str:
    held = np.array(size) * np.array(mm)
    cut = (extents > held + 1e-6).any(axis=1)
    voxel, room = (" × ".join(f"{v:g}" for v in values) for values in (mm, np.round(held, 1)))
    grid = " × ".join(map(str, size))
    why = (
        "as was asked"
        if told
        else f"as fine as the median volume ({' × '.join(f'{v:g}' for v in seen.spacing_mm)}), coarser where {WHOLE:g} of 100 "
        f"volumes would not fit into {most} a side"
    )
    whole = f"all {seen.n:,} training volumes lie whole in it"
    if cut.any():
        least = float(np.min(np.minimum(1.0, held / extents)[cut]))
        whole = (
            f"{int(cut.sum()):,} of {seen.n:,} training volumes reach beyond it and are cut round their middle "
            f"(at worst {100 * least:.0f} % of a side is left)"
        )
    darkest = "its own darkest voxel" if fill == DARKEST else f"{fill:g}, black"
    return (
        f"voxels of {voxel} mm, {why}: what is 20 mm long has the same number of voxels in each patient. {grid} of them "
        f"hold {room} mm; {whole}; what a volume lacks is filled with {darkest}"
    )


def _network(part: Part, mm: Sequence[float]) -> Part:
    """Let the first steps look within slices only where the stated voxel is thick."""
    if part["name"] != "residual":
        return part
    ratio = mm[0] / max(mm[1:])
    flat = min(3, round(math.log2(ratio))) if ratio >= THICK else 0
    if flat == part.get("flat", 0):
        return part
    reason = str(part["reason"]).split("; slices lie")[0]
    more = f"; slices lie further apart than pixels, so its first {flat} steps look within slices only" if flat else ""
    kept: dict[str, Any] = {k: v for k, v in part.items() if k != "flat"}
    return {**kept, **({"flat": flat} if flat else {}), "reason": reason + more}


def square_sides(part: Part, size: list[int], mm: Sequence[float]) -> Part:
    """Take away the turns for which the stated grid is not square."""
    planes = {"quarter turns": (1, 2), "turns rows-slices": (0, 1), "turns columns-slices": (0, 2)}

    def square(turn: str) -> bool:
        a, b = planes[turn]
        return size[a] == size[b] and mm[a] == mm[b]

    return {**part, "turns": [turn for turn in part["turns"] if square(turn)]}
