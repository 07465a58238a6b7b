"""What a split keeps whole, and how it is shared out: a patient with all copies of the pictures, by the rarest answer first."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from overread.domain import COHORTS, Study


def units(studies: list[Study], *, alike: Mapping[str, str]) -> list[tuple[Study, ...]]:
    """Group studies that share a patient, an image or a near copy of one; sorted by content, so that their order is lost.

    Parameters
    ----------
    studies : list of Study
    alike : mapping of str to str
        Image hash → the group of near copies that it belongs to, for those that have any.

    Examples
    --------
    >>> found = units([Study(f"S{i}", (str(i),), patient=p) for i, p in enumerate("aab")], alike={"1": "x", "2": "x"})
    >>> [[s.pseudonym for s in unit] for unit in found]
    [['S0', 'S1', 'S2']]
    """
    parent = list(range(len(studies)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    first: dict[tuple[str, str], int] = {}
    for i, study in enumerate(studies):
        keys = [("image", h) for h in study.images] + [("alike", alike[h]) for h in study.images if h in alike]
        for key in keys + ([("patient", study.patient)] if study.patient is not None else []):
            parent[root(i)] = root(first.setdefault(key, i))
    groups: dict[int, list[Study]] = {}
    for i, study in enumerate(studies):
        groups.setdefault(root(i), []).append(study)
    found = [tuple(sorted(g, key=lambda s: (s.images, s.pseudonym))) for g in groups.values()]
    return sorted(found, key=content_of)


def content_of(unit: tuple[Study, ...]) -> tuple[str, str]:
    """Return what a unit is sorted by: its lowest image hash (the same whatever key made the pseudonyms)."""
    return min((image for s in unit for image in s.images), default=""), min(s.pseudonym for s in unit)


def apportion(count: int, fractions: Mapping[str, float]) -> dict[str, int]:
    """Share ``count`` cases by fraction (largest remainder), at least one each where there are enough.

    Examples
    --------
    >>> apportion(5, {"training": .6, "tuning": .1, "calibration": .1, "testing": .2})
    {'training': 2, 'tuning': 1, 'calibration': 1, 'testing': 1}
    """
    least = 1 if count >= len(fractions) else 0
    exact = {c: max(f * count, least) for c, f in fractions.items()}
    shares = {c: int(v) for c, v in exact.items()}
    while sum(shares.values()) < count:
        shares[max(shares, key=lambda c: (exact[c] - shares[c], fractions[c]))] += 1
    while sum(shares.values()) > count:
        shares[max(shares, key=lambda c: (shares[c], fractions[c]))] -= 1
    return shares


def assign(whole: list, answers: list[set], fractions: Mapping[str, float], seed: int) -> list[str]:
    """Return a cohort for each unit: rarest answer first, to the cohort that lacks it most."""
    total = sum(fractions.values())
    fractions = {c: fractions.get(c, 0) / total for c in COHORTS if fractions.get(c, 0) > 0}
    # the order is drawn by hashing content with the seed: it does not move when other patients are added
    draw = [hashlib.sha256(f"{seed}/{content_of(u)[0]}".encode()).digest() for u in whole]
    order = sorted(range(len(whole)), key=draw.__getitem__)
    members: dict[Any, list[int]] = {}
    for i in order:
        for answer in answers[i]:
            members.setdefault(answer, []).append(i)
    wanted = {answer: apportion(len(rows), fractions) for answer, rows in members.items()}
    room = apportion(len(whole), fractions)
    placed: dict[int, str] = {}
    left = {answer: len(rows) for answer, rows in members.items()}
    while any(left.values()):
        rarest = min((a for a in left if left[a]), key=lambda a: (left[a], str(a)))
        for i in members[rarest]:
            if i in placed:
                continue
            cohort = max(fractions, key=lambda c: (wanted[rarest][c], room[c], fractions[c]))
            placed[i] = cohort
            room[cohort] -= 1
            for answer in answers[i]:
                wanted[answer][cohort] -= 1
                left[answer] -= 1
    return [placed[i] for i in range(len(whole))]
