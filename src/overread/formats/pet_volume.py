"""The slices of one PET volume in one unit: SUV where all were made with one dose and weight, else Bq/ml."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from pydicom.dataset import Dataset

from overread.domain import code_of, noted
from overread.formats.suv import ACTIVITY, SUV, per_activity
from overread.formats.units import Pixels

_ALIKE = 1e-3  # two factors are one: what writing a weight or a dose in text costs


def in_one_unit(parts: list[Pixels], headers: Sequence[Dataset]) -> list[Pixels]:
    """Return slices of one volume as they are, or all in Bq/ml where not all of them can be SUV of one patient and one dose.

    A weight or a dose that changes half way, or a first bed without what SUV needs, would be a step in the volume.

    Parameters
    ----------
    parts : list of Pixels
        What ``units.physical`` returned of each slice.
    headers : sequence of Dataset
        Of each.

    Examples
    --------
    >>> one = Pixels(np.ones((1, 2, 2)), "HU", None, ())
    >>> in_one_unit([one], [Dataset()])[0] is one
    True
    """
    made = sum(p.unit == SUV for p in parts)
    if not made or {p.unit for p in parts} - {SUV, ACTIVITY}:
        return parts
    factors = [per_activity(ds) if p.unit == SUV else 0.0 for p, ds in zip(parts, headers, strict=True)]
    known = [f for f in factors if f]
    if len(known) < made:
        return parts
    apart = max(known) / min(known)
    if made == len(parts) and apart <= 1 + _ALIKE:
        return parts
    why = (
        f"{len(parts) - made} of {len(parts)} slices lack what it needs"
        if made < len(parts)
        else f"its slices name weights, doses or times that make it {apart:.3g} times as high in some as in others"
    )
    note = noted("no-suv", f"no SUV, values are in Bq/ml: {why}")
    return [_activity(p, f, note) if f else p for p, f in zip(parts, factors, strict=True)]


def _activity(pixels: Pixels, factor: float, note: str) -> Pixels:
    voxels = (pixels.voxels.astype(np.float64) / factor).astype(np.float32)
    low_high = [
        None if ends is None else (ends[0] / factor, ends[1] / factor) for ends in (pixels.full_range, pixels.padding)
    ]
    return replace(
        pixels,
        voxels=voxels,
        unit=ACTIVITY,
        full_range=low_high[0],
        padding=low_high[1],
        notes=(*(n for n in pixels.notes if code_of(n) != "injected-late"), note),
        step=pixels.step / factor,
        kinds=tuple((ACTIVITY, bare) for _, bare in pixels.kinds),
    )
