"""Several images, one answer: the raw scores of a study's series, or of a patient's studies, joined by a stated rule.

The rule is chosen on the tuning cohort and nowhere else; probabilities, operating point and figures are then learned and
counted by the unit that is answered, not by the image.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

RULES = ("mean", "max")
"""The mean of the raw scores: every image counts alike; or the largest: one image that shows it is enough."""

UNITS = ("study", "patient")


@dataclass(frozen=True)
class Joining:
    """What is answered with one answer, and by which rule.

    Parameters
    ----------
    unit : {"study", "patient"}
    rule : {"mean", "max"}
    """

    unit: str
    rule: str

    def in_words(self) -> str:
        """Say it as a person would.

        Examples
        --------
        >>> Joining("study", "max").in_words()
        'one answer a study: the largest raw score of its images'
        """
        what = "the mean raw score" if self.rule == "mean" else "the largest raw score"
        return f"one answer a {self.unit}: {what} of its images"


def join(logits: np.ndarray, units: Sequence[Hashable], rule: str) -> tuple[np.ndarray, list[list[int]]]:
    """Return one row of raw scores for each unit, in the order in which the units first come, and which rows each has.

    Parameters
    ----------
    logits : ndarray, (n, outputs)
    units : sequence, (n,)
        What each row belongs to.
    rule : {"mean", "max"}

    Examples
    --------
    >>> z, rows = join(np.array([[1.0], [3], [0]]), ["a", "a", "b"], "mean")
    >>> z.tolist(), rows
    ([[2.0], [0.0]], [[0, 1], [2]])
    >>> join(np.array([[1.0], [3], [0]]), ["a", "a", "b"], "max")[0].tolist()
    [[3.0], [0.0]]
    """
    rows: dict[Hashable, list[int]] = {}
    for i, unit in enumerate(units):
        rows.setdefault(unit, []).append(i)
    how = np.mean if rule == "mean" else np.max
    joined = [how(logits[some], axis=0) for some in rows.values()]
    return np.array(joined).reshape(len(rows), logits.shape[1]), list(rows.values())


def truth_of(truth: np.ndarray, rows: Sequence[Sequence[int]], *, levels: bool) -> np.ndarray:
    """Return what is known of each unit: present where any of its images has it, absent where it is known that none has;
    of several levels the one all agree on.

    Examples
    --------
    >>> truth_of(np.array([[1.0], [0], [np.nan]]), [[0, 1], [2]], levels=False).tolist()
    [[1.0], [nan]]
    >>> truth_of(np.array([[0.0], [np.nan]]), [[0, 1]], levels=False).tolist()  # unknown is not absent
    [[nan]]
    >>> truth_of(np.array([[1.0, 0], [0, 1]]), [[0, 1]], levels=True).tolist()
    [[nan, nan]]
    """
    out = np.full((len(rows), truth.shape[1]), np.nan)
    for u, some in enumerate(rows):
        own = truth[list(some)]
        known = own[~np.isnan(own).any(axis=1)] if levels else own
        if levels:
            if len(known) and (known == known[0]).all():
                out[u] = known[0]
        else:
            out[u] = np.where((own == 1).any(axis=0), 1.0, np.where((own == 0).all(axis=0), 0.0, np.nan))
    return out


def chosen(
    logits: np.ndarray, truth: np.ndarray, units: Sequence[Hashable], *, asked: str, levels: bool, of: str = "tuning"
) -> dict[str, Any]:
    """Return the rule that ranks the units of a cohort best, and how well each does: ``{"rule", "auroc", "units", "told"}``.

    Parameters
    ----------
    logits, truth : ndarray, (n, outputs)
        Of the tuning cohort, a row an image.
    units : sequence, (n,)
    asked : {"auto", "mean", "max"}
        A rule that a person names is taken.
    levels : bool
        True for a label of several levels: their scores are relative to one another, and only a mean keeps them so.
    of : str
        Whose units they are, for the words.

    Examples
    --------
    >>> z, t = np.array([[0.0], [5], [2], [2], [1], [0]]), np.array([[1.0], [1], [0], [0], [0], [0]])
    >>> chosen(z, t, list("aabbcc"), asked="auto", levels=False)["rule"]
    'mean'
    """
    found: dict[str, float] = {}
    for rule in RULES if not levels else ("mean",):
        z, rows = join(logits, units, rule)
        known = truth_of(truth, rows, levels=levels)
        each = [_auroc(known[:, j], z[:, j]) for j in range(z.shape[1])]
        there = [v for v in each if np.isfinite(v)]
        found[rule] = float(np.mean(there)) if there else float("nan")
    n = len(set(units))
    if levels or asked != "auto":
        rule = "mean" if levels else asked
        return {"rule": rule, "auroc": found, "units": n, "told": "the levels of one label are joined by their mean" if levels else "as the plan says"}  # fmt: skip
    better = found["max"] > found["mean"]  # never for a figure that is not defined: the mean is the simpler
    told = f"AUROC of {n:,} {of} units: mean {found['mean']:.3f}, max {found['max']:.3f}; the mean where they are equal"
    return {"rule": "max" if better else "mean", "auroc": found, "units": n, "told": told}


def _auroc(truth: np.ndarray, score: np.ndarray) -> float:
    from overread.stats.ranking import delong  # an answer that is only joined needs none of it, and starts at once

    known = ~np.isnan(truth)
    if not 0 < truth[known].sum() < known.sum():
        return float("nan")
    return float(delong(truth[known], score[known])[0])


def read(record: Mapping[str, Any] | None) -> Joining | None:
    """Return the joining that ``calibration.json`` holds; None where each image is answered by itself."""
    return None if not record else Joining(record["unit"], record["rule"])
