"""What each row of a cross-validation is answered: an image by itself, or a study or patient by a rule that joins its images.

The rule of a part is chosen on the rows outside it, by scores of networks that had not seen those rows, or stands in the
plan: no answer of a part is among those that choose how it is joined.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from overread.stats import crossing
from overread.stats.curves import positive_weights
from overread.stats.joined import Joining, chosen, join, truth_of
from overread.stats.resample import Who
from overread.steps.crossed_networks import Learned, each_part
from overread.steps.finish import Begun
from overread.steps.held_out import Held
from overread.steps.scores import LEVELS

Entries = Sequence[tuple[str, str, str | None]]


@dataclass(frozen=True)
class Rows:
    """The cross-validated rows, an image each: who they are, what is known, and how they are answered.

    Parameters
    ----------
    entries : sequence of (image, study, patient or None)
    truth : ndarray, (n, outputs)
    patients : sequence, (n,)
    study : mapping
        The plan's [study]; empty where each image is answered by itself.
    kind : str
        Of the question.
    weighed : bool
        The training counted the rarer class more.
    """

    entries: Entries
    truth: np.ndarray
    patients: Sequence[Who]
    study: Mapping[str, Any]
    kind: str
    weighed: bool

    @property
    def levels(self) -> bool:
        """True where one of several levels is the answer."""
        return self.kind in LEVELS

    @property
    def units(self) -> list[str]:
        """What each row belongs to: its patient, its study, or nothing but itself."""
        if not self.study:
            return [str(i) for i in range(len(self.entries))]
        by_patient = self.study["unit"] == "patient"
        return [patient if by_patient and patient else study for _, study, patient in self.entries]

    def weights(self, rows: Sequence[int]) -> list[float] | None:
        """Return how much a positive case of some rows counted in training."""
        return positive_weights(self.truth[rows]).tolist() if self.weighed else None

    def rule(self, logits: np.ndarray, rows: Sequence[int], *, of: str) -> dict[str, Any]:
        """Return the rule that joins images, chosen on some rows and their raw scores; {} where nothing is joined."""
        if not self.study:
            return {}
        units = self.units
        how = {"asked": self.study["join"], "levels": self.levels, "of": of}
        return chosen(logits, self.truth[rows], [units[i] for i in rows], **how)

    def held(
        self, logits: np.ndarray, rows: Sequence[int], rule: str | None
    ) -> tuple[np.ndarray, np.ndarray, list[Who]]:
        """Return raw scores, truth and patients of some rows: as they are, or a row a unit, in the order they first come."""
        if rule is None:
            return logits, self.truth[rows], [self.patients[i] for i in rows]
        units = self.units
        joined, some = join(logits, [units[i] for i in rows], rule)
        known = truth_of(self.truth[rows], some, levels=self.levels)
        return joined, known, [self.patients[rows[own[0]]] for own in some]


def answered(learned: Learned, rows: Rows, parts: np.ndarray, begun: Begun) -> tuple[crossing.Crossed, list[str]]:
    """Return what each row, or unit, was answered with probabilities and lines of other patients; and each part's rule.

    Parameters
    ----------
    learned : Learned
    rows : Rows
    parts : ndarray, (repeats, n)
    begun : Begun
    """
    found: list[list[crossing.Crossed]] = [[] for _ in parts]
    rules: list[str] = []
    for repeat, part, rest, test in each_part(parts, int(parts.max()) + 1):
        inside = learned.inside[repeat][part]
        rule = rows.rule(inside, rest, of="other parts'").get("rule")
        rules += [rule] if rule else []
        own, _, _ = rows.held(learned.logits[repeat, test], test, rule)
        found[repeat].append(
            crossing.answer(
                own, rows.held(inside, rest, rule), kind=rows.kind, sensitivity=begun.sensitivity,
                rng=np.random.default_rng([begun.seed, repeat, part]), weights=rows.weights(rest),
            )
        )  # fmt: skip
    return crossing.together(parts[:, first_of(rows.units)], found), rules


def first_of(units: Sequence[str]) -> list[int]:
    """Return the row of each unit that comes first.

    Examples
    --------
    >>> first_of(["a", "b", "a", "c"])
    [0, 1, 3]
    """
    first: dict[str, int] = {}
    for i, unit in enumerate(units):
        first.setdefault(unit, i)
    return list(first.values())


def exported(mean: np.ndarray, rows: Rows) -> Held:
    """Return what the exported networks are calibrated on: the mean of each row's answers, joined where the plan says so.

    Of their rule nobody is tested: it is chosen on all answers, by which they are then calibrated.
    """
    every = np.arange(len(rows.entries))
    told = rows.rule(mean, every, of="cross-validated")
    logits, truth, who = rows.held(mean, every, told.get("rule"))
    joining = {"unit": rows.study["unit"], **told} if told else None
    return Held(logits, truth, who, rows.weights(every), joining)


def joined_told(joining: Mapping[str, Any] | None, rules: Sequence[str]) -> dict[str, Any]:
    """Return what is told of the rules: that of the exported networks, and in how many parts each was used; {} for images."""
    if not joining:
        return {}
    how = Joining(joining["unit"], joining["rule"])
    used = Counter(rules)
    parts = " and ".join(f"the {'mean' if rule == 'mean' else 'largest'} in {n}" for rule, n in sorted(used.items()))  # fmt: skip
    said = (
        f"one answer a {how.unit}: the raw scores of its images were joined by a rule that was settled without the answers of the part "
        f"({parts} of {len(rules)} parts); the exported networks join by {how.rule}, and nobody was tested on that choice"
    )
    return {"joined": {"unit": how.unit, "rule": how.rule, "in_parts": dict(sorted(used.items())), "in_words": said}}


def kept(rows: Rows, joining: Mapping[str, Any] | None) -> dict[str, np.ndarray]:
    """Return what ``folds.npz`` keeps of the joining: the unit of each image, by its place, and the exported rule."""
    if not joining:
        return {}
    units = rows.units
    place = {unit: k for k, unit in enumerate(dict.fromkeys(units))}
    return {"unit": np.array([place[u] for u in units]), "rule": np.array(joining["rule"])}
