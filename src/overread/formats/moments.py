"""Slices at one place or two: moments of a cine, or a few measurements of one slice; no volume."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from overread.domain import noted
from overread.formats import tellers

_TIMES = ("trigger time", "time point", "frame reference time")
"""Facts that say which moment a slice shows. Times of day and numbers do not count: a whole scan whose places were lost has those."""


@dataclass(frozen=True)
class Shown:
    """One slice, or the moments of one in their order: frames by index, and what is told."""

    frames: tuple[int, ...]
    note: str


def at_few_places(places: np.ndarray, said: Sequence[Mapping[str, Hashable]]) -> list[Shown]:
    """Divide slices that lie at fewer places than a volume has into cines and single slices; nothing where no fact tells them apart.

    Parameters
    ----------
    places : ndarray of int, (slices,)
        Which position each takes.
    said : sequence of mapping
        What ``tellers.told`` returns, one for each.

    Examples
    --------
    >>> shown = at_few_places(np.zeros(3, int), [{"trigger time": t} for t in (60.0, 0.0, 30.0)])
    >>> shown[0].frames, shown[0].note
    ((1, 2, 0), 'frames-over-time: 3 frames over time at one place, by their trigger time: not the slices of a volume')
    """
    if len(np.unique(places)) >= tellers.SMALLEST_VOLUME:
        return []
    firm = [t.words for t in tellers.TELLERS if t.firm]
    groups: dict[tuple[Hashable, ...], list[int]] = {}
    for i, place in enumerate(places):
        groups.setdefault((int(place), *(said[i].get(words) for words in firm)), []).append(i)
    varying = [words for words in firm if len({s.get(words) for s in said}) > 1]
    out = []
    for group in groups.values():
        if len(group) == 1:
            named = " and ".join(varying) or "place"
            where = "one place" if len(np.unique(places)) == 1 else "two places"
            one = f"one of {len(places)} slices at {where}, told apart by the {named}"
            out.append(Shown((group[0],), noted("few-slices", f"{one}: too few places for a volume")))
        elif words := next((w for w in _TIMES if _all_differ([said[i].get(w) for i in group])), ""):
            order = sorted(group, key=lambda i: said[i][words])
            told = f"{len(group)} frames over time at one place, by their {words}: not the slices of a volume"
            out.append(Shown(tuple(order), noted("frames-over-time", told)))
        else:
            return []
    return out


def _all_differ(values: Sequence[Hashable]) -> bool:
    """True for numbers no two of which are one."""
    return all(isinstance(v, float) for v in values) and len(set(values)) == len(values)
