"""Subgroups of a testing cohort: how each fares, how far it lies from all others, and where there are too few to say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from overread.domain import Study, Task
from overread.stats.levels_apart import level_cases, level_figures, level_gaps
from overread.steps.scores import Question, Scores
from overread.steps.ways import Why, ways

FEWEST = 30
"""Figures of a subgroup with fewer patients than this are shown in grey, with "too few to say"."""

Group = tuple[str, str, list[int]]
"""A stratum, one value of it, and the rows that have it."""


def groups_of(testing: Scores, studies: Mapping[str, Study], task: Task) -> list[Group]:
    """Return the subgroups to look at: of each stratum with 2 to 12 values among the testing images."""
    groups: list[Group] = []
    strata = [studies[study].strata for _, _, study, _ in testing.entries]
    for name in sorted({key for s in strata for key in s}):
        values = sorted({s[name] for s in strata if name in s})
        if 2 <= len(values) <= 12:
            groups += [(name, value, [i for i, s in enumerate(strata) if s.get(name) == value]) for value in values]
    return groups


def told_of(
    testing: Scores,
    probability: np.ndarray,
    groups: list[Group],
    how: Question,
    *,
    why: Why | None = None,
    tick: Callable[[], object],
) -> list[dict[str, Any]]:
    """Return the figures of each subgroup at the same threshold, and its gap to all other cases of the stratum.

    Returns
    -------
    list of dict
        stratum, value, label, few (fewer than 30 patients), prevalence, auroc, sensitivity, specificity, and ``gap``:
        {figure: Estimate}, empty where it or the others are too few to say; and with ``why`` (what the model refers)
        ``three_ways``: the same figures of the answered and of the referred, each with few of its own. For a label with
        several levels auroc (mean over the levels), accuracy and, where they are ordered, kappa_quadratic stand in the
        place of prevalence, auroc, sensitivity and specificity.
    """
    if how.levels:
        return _told_levels(testing, probability, groups, how, why=why, tick=tick)
    rows = []
    known = {name: sorted({i for n, _, chosen in groups if n == name for i in chosen}) for name, _, _ in groups}
    for name, value, chosen in groups:
        others = sorted(set(known[name]) - set(chosen))
        mine, theirs = (how.brief(testing.at(part), probability[part]) for part in (chosen, others))
        gaps = how.gaps(testing, probability, chosen, others)
        parts = _ways(how, testing, probability, why, chosen) if why else {}
        for label in how.task.labels:
            figures, rest = mine[label], theirs[label]
            few = _few(figures)
            gap = {} if few or _few(rest) else gaps[label]
            row = {"stratum": name, "value": value, "label": label, "few": few, **figures, "gap": gap}
            rows.append(row | {"three_ways": parts.get(label, {})})
            tick()
    return rows


def _told_levels(
    testing: Scores,
    probability: np.ndarray,
    groups: list[Group],
    how: Question,
    *,
    why: Why | None,
    tick: Callable[[], object],
) -> list[dict[str, Any]]:
    """Return the rows of a label with several levels: one a group, over all levels."""
    ordinal, label, rows = how.task.kind == "ordinal", how.task.name, []
    known = {name: sorted({i for n, _, chosen in groups if n == name for i in chosen}) for name, _, _ in groups}

    def figures(part: list[int]) -> dict[str, Any]:
        some = testing.at(part)
        c = level_cases(some.truth, probability[part], some.patients)
        return level_figures(c, len(how.task.labels), ordinal=ordinal)

    for name, value, chosen in groups:
        others = sorted(set(known[name]) - set(chosen))
        mine, rest = figures(chosen), figures(others)
        few, gaps, parts = _few(mine), {}, {}
        if not few and not _few(rest):
            both = (chosen, others)
            gaps = level_gaps(testing.truth, probability, patients=testing.patients, groups=both, ordinal=ordinal)
        for way in ("answered", "referred") if why else ():
            part = figures([i for i in chosen if (why[label][i] == "") == (way == "answered")])
            parts[way] = part | {"few": _few(part)}
        row = {"stratum": name, "value": value, "label": label, "few": few, **mine, "gap": gaps, "three_ways": parts}
        rows.append(row)
        for _ in how.task.labels:  # the bar counts figures of every level
            tick()
    return rows


def _ways(how: Question, testing: Scores, probability: np.ndarray, why: Why, rows: list[int]) -> dict[str, Any]:
    """Return the figures of a group's answered and referred images, by label."""
    found = ways(how, testing.at(rows), probability[rows], {label: reasons[rows] for label, reasons in why.items()})
    return {
        label: {way: parts[way] | {"few": _few(parts[way])} for way in ("answered", "referred")}
        for label, parts in found.items()
    }


def _few(figures: Mapping[str, Any]) -> bool:
    share = figures["prevalence"] if "prevalence" in figures else figures["accuracy"]
    return (share.n if share.n_patients is None else share.n_patients) < FEWEST
