"""The leakage certificate: which patients, studies and pictures stand in more than one cohort, counted pair by pair."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from scipy.stats import norm

from overread.domain import COHORTS, Study
from overread.stats.splits import Entry

CHANCE = 0.05
"""Pairs of different pictures that may be called copies by chance, expected in the whole archive."""

WHY = (
    "the same patient stands in {others}",
    "the same study stands in {others}",
    "the same picture stands in {others}",
    "a near copy of the picture stands in {others}",
)
"""Why a case is left out, in words, in the order of :data:`Keys`."""

THEIRS = "another picture of the same patient stands in {others}"
"""Why a case is left out that has no copy itself: a copy tells that its patient was learned from."""


@dataclass(frozen=True)
class Copies:
    """Which pictures are copies of one another.

    Parameters
    ----------
    exact : mapping of str to str
        Image hash → group of images with the same pixels under several hashes. One hash is always one picture.
    near : mapping of str to str, or None
        Image hash → group of near copies; None where they were not looked for.
    """

    exact: Mapping[str, str]
    near: Mapping[str, str] | None

    def exact_of(self, image: str) -> str:
        """Return what all exact copies of an image share."""
        return self.exact.get(image, image)

    def near_of(self, image: str) -> str:
        """Return what all near copies of an image share, exact ones included."""
        same = self.exact_of(image)
        return (self.near or {}).get(image, same)


NONE = Copies({}, None)
"""Nothing is known but the hashes."""

Keys = tuple[str | None, str, str, str]
"""Patient, study, picture, group of near copies."""


def _keys(entry: Entry, copies: Copies) -> Keys:
    """Return patient, study, picture and group of near copies of an entry."""
    image, study, patient = entry
    return patient, study, copies.exact_of(image), copies.near_of(image)


def overlaps(cohorts: Mapping[str, Sequence[Entry]], copies: Copies = NONE) -> dict[str, dict[str, int | None]]:
    """Count what every pair of cohorts shares.

    Parameters
    ----------
    cohorts : mapping of str to sequence of (image, study, patient)
    copies : Copies

    Returns
    -------
    dict
        ``{"training|testing": {"patients", "studies", "exact", "near"}, …}``. Patients and studies that stand in both;
        images of the *second* cohort that are pixel for pixel in the first (``exact``), and those that are not but
        have a near copy there (``near``; None where near copies were not looked for).

    Examples
    --------
    >>> cohorts = {"training": [("a", "S1", "P1"), ("b", "S2", "P2")], "testing": [("a", "S3", "P1"), ("c", "S4", "P4")]}
    >>> overlaps(cohorts, Copies({}, {"b": "g", "c": "g"}))
    {'training|testing': {'patients': 1, 'studies': 0, 'exact': 1, 'near': 1}}
    """
    order = [c for c in COHORTS if c in cohorts]
    keys = {c: [_keys(entry, copies) for entry in cohorts[c]] for c in order}
    sets = {c: [{k[i] for k in keys[c]} - {None} for i in range(4)] for c in order}
    found: dict[str, dict[str, int | None]] = {}
    for a, b in combinations(order, 2):
        exact = sum(k[2] in sets[a][2] for k in keys[b])
        near = sum(k[3] in sets[a][3] and k[2] not in sets[a][2] for k in keys[b])
        found[f"{a}|{b}"] = {
            "patients": len(sets[a][0] & sets[b][0]),
            "studies": len(sets[a][1] & sets[b][1]),
            "exact": exact,
            "near": None if copies.near is None else near,
        }
    return found


def within(entries: Iterable[Entry], copies: Copies = NONE) -> dict[str, int | None]:
    """Count the copies inside one cohort: images that another one of the cohort already is, exactly or nearly.

    Examples
    --------
    >>> within([("a", "S1", None), ("a", "S2", None), ("b", "S3", None)], Copies({}, {"a": "g", "b": "g"}))
    {'exact': 1, 'near': 1}
    """
    keys = [_keys(entry, copies) for entry in entries]
    pictures, groups = {k[2] for k in keys}, {k[3] for k in keys}
    return {"exact": len(keys) - len(pictures), "near": None if copies.near is None else len(pictures) - len(groups)}


def touched(
    entries: Iterable[Entry], others: Mapping[str, Sequence[Entry]], copies: Copies = NONE
) -> dict[tuple[str, str], str]:
    """Return the entries that also stand in other cohorts, and why: by patient, study, picture or near copy.

    A picture that stands in both tells that its patient does, under another name: all images of that patient (where
    nobody is named, of that study) go with it.

    Returns
    -------
    dict of (image, study) to str

    Examples
    --------
    >>> touched([("a", "S3", "P1"), ("c", "S4", "P4")], {"training": [("x", "S1", "P1")]})
    {('a', 'S3'): 'the same patient stands in training'}
    >>> touched([("x", "S3", "P3"), ("c", "S4", "P3")], {"training": [("x", "S1", "P1")]})[("c", "S4")]
    'another picture of the same patient stands in training'
    """
    entries = list(entries)
    held = {
        c: [{k[i] for k in (_keys(e, copies) for e in rows)} - {None} for i in range(4)] for c, rows in others.items()
    }
    found: dict[tuple[str, str], str] = {}
    theirs: dict[str, set[str]] = {}
    for entry in entries:
        keys = _keys(entry, copies)
        for i, words in enumerate(WHY):
            where = [c for c in held if keys[i] in held[c][i]]
            if where:
                found[entry[0], entry[1]] = words.format(others=" and ".join(where))
                theirs.setdefault(entry[2] or entry[1], set()).update(where)
                break
    for image, study, patient in entries:
        if where := [c for c in held if c in theirs.get(patient or study, ())]:
            found.setdefault((image, study), THEIRS.format(others=" and ".join(where)))
    return found


def kept_together(cohorts: Mapping[str, Sequence[Entry]], copies: Copies) -> int:
    """Count the groups of near copies that several studies share and that all stand in one cohort.

    Examples
    --------
    >>> near = {"a": "g", "b": "g", "c": "h", "d": "h"}
    >>> kept_together({"training": [("a", "S1", None), ("b", "S2", None), ("c", "S3", None)],
    ...                "testing": [("d", "S4", None)]}, Copies({}, near))
    1
    """
    where: dict[str, set[str]] = {}
    who: dict[str, set[str]] = {}
    for cohort, entries in cohorts.items():
        for image, study, _ in entries:
            group = copies.near_of(image)
            where.setdefault(group, set()).add(cohort)
            who.setdefault(group, set()).add(study)
    return sum(1 for group in where if len(where[group]) == 1 and len(who[group]) > 1)


def least_likeness(alike: np.ndarray, *, pictures: int, least: float) -> float:
    """Return the likeness from which two pictures of this archive may be called copies.

    Chest films differ from one another, eyes at 28 pixels hardly do: where different pictures are so alike that chance
    alone would bring some above ``least``, more is asked for. The likeness of pairs drawn by chance is taken for
    normal after Fisher's transform, with the median and the wider of its two quantile spreads. The limit is where fewer
    than 0.05 pairs of the whole archive are expected by chance.

    Parameters
    ----------
    alike : ndarray, (pairs,)
        Likeness of pairs drawn by chance, −1 to 1.
    pictures : int
        Pictures in the archive: each is compared with each.
    least : float
        The limit where pictures differ as they should.

    References
    ----------
    R. A. Fisher 1915, doi:10.2307/2331838 (the transform).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> least_likeness(rng.normal(0, 0.1, 10_000), pictures=1000, least=0.92)
    0.92
    >>> round(least_likeness(np.tanh(rng.normal(0.5, 0.3, 10_000)), pictures=1000, least=0.92), 2)
    0.97
    """
    pairs = pictures * (pictures - 1) / 2
    if len(alike) < 20 or pairs <= 1:
        return least
    z = np.arctanh(np.clip(np.asarray(alike, float), -0.9999, 0.9999))
    middle = float(np.median(z))
    below, above = np.percentile(z, (100 * norm.cdf(-1), 100 * norm.cdf(1)))
    spread = max(middle - float(below), float(above) - middle)
    return max(least, float(np.tanh(middle - norm.ppf(min(0.5, CHANCE / pairs)) * spread)))


def conflicts(studies: Iterable[Study], labels: Sequence[str], copies: Copies) -> list[dict[str, Any]]:
    """Return pictures that stand, as they are or as copies, under two answers to one label.

    Studies of several images are passed over: which of them the label is about is not said.

    Examples
    --------
    >>> twice = [Study("S1", ("a",), labels={"mass": True}), Study("S2", ("a",), labels={"mass": False})]
    >>> conflicts(twice, ["mass"], NONE)
    [{'label': 'mass', 'answers': ['no', 'yes'], 'images': ['a'], 'studies': ['S1', 'S2']}]
    """
    said: dict[tuple[str, str], list[tuple[Study, str]]] = {}
    for study in studies:
        for name in labels if len(study.images) == 1 else ():
            value = study.labels.get(name)
            if value is not None:
                word = ("yes" if value else "no") if isinstance(value, bool) else value
                said.setdefault((name, copies.near_of(study.images[0])), []).append((study, word))
    return [
        {
            "label": name,
            "answers": sorted({word for _, word in rows}),
            "images": sorted({study.images[0] for study, _ in rows}),
            "studies": sorted(study.pseudonym for study, _ in rows),
        }
        for (name, _), rows in sorted(said.items(), key=lambda item: item[0])
        if len({word for _, word in rows}) > 1
    ]
