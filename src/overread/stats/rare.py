"""Levels of a label that too few patients have to be learned and tested: left out and said, where they are a small part."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from overread.domain import Study
from overread.stats.splits import MINIMUM_PATIENTS
from overread.stats.units import units

MOST_LEFT_OUT = 0.1
"""Largest share of the patients whose level may be left out; beyond it the label is not one of a few rare answers, and is
refused whole."""


def rare_levels(studies: Sequence[Study], name: str, *, alike: Mapping[str, str]) -> dict[str, int]:
    """Return the levels of a label that fewer than eight patients have, and how many; empty where they cannot be left out.

    They can where two other levels are left and at most a tenth of the patients have a rare one.

    Parameters
    ----------
    studies : sequence of Study
    name : str
        A label with levels.
    alike : mapping of str to str
        Image hash → the group of near copies that it belongs to: copies are one patient.

    Examples
    --------
    >>> cohort = [Study(f"S{i}", (str(i),), labels={"class": "ab"[i % 2] if i < 98 else "c"}) for i in range(100)]
    >>> rare_levels(cohort, "class", alike={})
    {'c': 2}
    >>> rare_levels(cohort[60:], "class", alike={}), rare_levels(cohort[90:], "class", alike={})
    ({'c': 2}, {})
    """
    known = [s for s in studies if isinstance(s.labels.get(name), str)]
    whole = units(known, alike=alike)
    counts = Counter(level for unit in whole for level in {str(s.labels[name]) for s in unit})
    rare = {level: n for level, n in sorted(counts.items()) if n < MINIMUM_PATIENTS}
    if len(counts) - len(rare) < 2 or sum(rare.values()) > MOST_LEFT_OUT * len(whole):
        return {}
    return rare
