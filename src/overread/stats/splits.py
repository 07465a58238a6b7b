"""Divide a cohort by patient, never by image, and record how.

The unit is a patient. Studies that share an image (the same content hash) are kept together too, whoever they say
they belong to: a copy of a training image in the testing cohort is leakage even under another name. Where the source
does not say who the patient was, each study is a unit of its own and the split says so loudly.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from overread.domain import COHORTS, Study, fingerprint
from overread.errors import CohortError, IntegrityError, LabelError
from overread.stats.published import cohort_words, hidden_told

FRACTIONS = {"training": 0.6, "tuning": 0.1, "calibration": 0.1, "testing": 0.2}
"""Share of the patients in each cohort, when no published split is named."""

MINIMUM_PATIENTS = 8
"""Fewest patients for each answer of a label: with fewer, four cohorts cannot each hold a case and a spare."""

CARVED = {"tuning": 0.1, "calibration": 0.1, "testing": 0.2}
"""Share of the published training patients that a cohort missing from a published split is carved from."""

Entry = tuple[str, str, str | None]
"""(image hash, study pseudonym, patient pseudonym or None)."""


@dataclass(frozen=True)
class Split:
    """Which image of which patient is in which cohort, where that came from, and what is wrong with it.

    Parameters
    ----------
    cohorts : mapping of str to tuple of (image, study, patient)
        One entry an image, sorted; the keys are training, tuning, calibration, testing.
    source : str
        ``"drawn"`` or ``"published column NAME"``, with what was carved from training.
    patients_known : bool
        False when at least one study does not say who its patient was.
    seed : int
    warnings : tuple of str
        What a reader of the results must know ("patient identity unknown: …").
    overlap : mapping of str to int
        Counted, not assumed: patients, studies and images that stand in more than one cohort.
    """

    cohorts: Mapping[str, tuple[Entry, ...]]
    source: str = "drawn"
    patients_known: bool = True
    seed: int = 0
    warnings: tuple[str, ...] = ()
    overlap: Mapping[str, int] | None = None

    def __post_init__(self) -> None:
        if self.overlap is None:
            object.__setattr__(self, "overlap", overlap(self.cohorts))

    @property
    def unit(self) -> str:
        """What was kept whole: ``"patient"``, or ``"study"`` where patients are not known."""
        return "patient" if self.patients_known else "study"

    @property
    def hash(self) -> str:
        """SHA-256 of which image is in which cohort: the same for the same data, whatever the pseudonyms are."""
        return fingerprint({name: sorted(image for image, _, _ in entries) for name, entries in self.cohorts.items()})

    def counts(self) -> dict[str, dict[str, int | None]]:
        """Return images, studies and patients in each cohort; patients is None where they are not known."""
        return {
            name: {
                "images": len(entries),
                "studies": len({study for _, study, _ in entries}),
                "patients": len({patient for _, _, patient in entries}) if self.patients_known else None,
            }
            for name, entries in self.cohorts.items()
        }

    def to_json(self) -> dict[str, Any]:
        """Return the split as it is written to ``split.json``."""
        return {
            "unit": self.unit,
            "patients_known": self.patients_known,
            "hash": self.hash,
            "source": self.source,
            "seed": self.seed,
            "warnings": list(self.warnings),
            "overlap": dict(self.overlap or {}),
            "counts": self.counts(),
            "cohorts": {
                name: [{"image": i, "study": s, "patient": p} for i, s, p in entries]
                for name, entries in self.cohorts.items()
            },
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Split:
        """Read a split back, and refuse one whose images no longer fit its hash."""
        cohorts = {
            n: tuple((e["image"], e["study"], e["patient"]) for e in rows) for n, rows in record["cohorts"].items()
        }
        split = cls(
            cohorts,
            source=record["source"],
            patients_known=record["patients_known"],
            seed=record.get("seed", 0),
            warnings=tuple(record["warnings"]),
        )
        if split.hash != record["hash"]:
            raise IntegrityError(
                "split.json was changed after it was written",
                expected="cohorts that fit its hash",
                do="restore the file, or train again",
            )
        return split


def overlap(cohorts: Mapping[str, Iterable[Entry]]) -> dict[str, int]:
    """Count the patients, studies and images that stand in more than one cohort.

    Examples
    --------
    >>> overlap({"training": [("a", "S1", "P1"), ("b", "S2", "P2")], "testing": [("a", "S3", "P1")]})
    {'patients': 1, 'studies': 0, 'images': 1}
    """
    seen: dict[str, Counter[str]] = {"patients": Counter(), "studies": Counter(), "images": Counter()}
    for entries in cohorts.values():
        rows = list(entries)
        seen["images"].update({image for image, _, _ in rows})
        seen["studies"].update({study for _, study, _ in rows})
        seen["patients"].update({patient for _, _, patient in rows if patient is not None})
    return {what: sum(1 for times in counter.values() if times > 1) for what, counter in seen.items()}


def divide(
    studies: Iterable[Study],
    *,
    labels: Sequence[str],
    seed: int,
    fractions: Mapping[str, float] | None = None,
    published: str | Sequence[str | None] | None = None,
) -> Split:
    """Divide studies into training, tuning, calibration and testing so that no patient is in two of them.

    Each cohort gets its share of the patients of every answer to every label, the rarest answer first (iterative
    stratification). The result depends on the content and the seed, not on the order of the studies.

    Parameters
    ----------
    studies : iterable of Study
    labels : sequence of str
        The label columns asked for; studies in which all of them are unknown are left out, and counted.
    seed : int
    fractions : mapping of cohort to float, optional
        Share of the patients by cohort; the default is `FRACTIONS`.
    published : str, or sequence of str, optional
        A published split: the name of a column in ``Study.splits``, or its values in the order of ``studies``.
        train/training, val/valid/validation/tuning, test/testing, in any case. A cohort it lacks, or (with a warning)
        whose studies have no labels, is carved from its training patients (tuning 10 %, calibration 10 %, testing
        20 %). A patient on both sides is counted, not moved: the published figures were found that way.

    Returns
    -------
    Split

    Raises
    ------
    LabelError
        A label no study has, or a split column with other words.
    CohortError
        One answer only, or fewer than 8 patients of one.

    References
    ----------
    Sechidis, Tsoumakas, Vlahavas 2011, On the stratification of multi-label data, doi:10.1007/978-3-642-23808-6_10.

    Examples
    --------
    >>> cohort = [Study(f"S{i}", (f"{i:064x}",), patient=f"P{i // 2}", labels={"mass": i % 4 < 2}) for i in range(80)]
    >>> split = divide(cohort, labels=["mass"], seed=0)
    >>> {name: len(entries) for name, entries in split.cohorts.items()}
    {'training': 48, 'tuning': 8, 'calibration': 8, 'testing': 16}
    >>> split.overlap
    {'patients': 0, 'studies': 0, 'images': 0}
    """
    studies = list(studies)
    words = cohort_words(studies, published)
    kept = [i for i, s in enumerate(studies) if any(s.labels.get(name) is not None for name in labels)]
    _refuse_unknown(studies, labels, len(kept))
    units = _units([studies[i] for i in kept])
    answers = [
        {(name, s.labels[name]) for s in unit for name in labels if s.labels.get(name) is not None} for unit in units
    ]
    _refuse_too_few(labels, answers, patients=all(studies[i].patient is not None for i in kept))

    if words is None:
        where = [{c} for c in _assign(units, answers, dict(fractions or FRACTIONS), seed)]
        cohorts = _collect((c, s) for unit, (c,) in zip(units, where, strict=True) for s in unit)
        source, hidden = "drawn", []
    else:
        where = {studies[i].pseudonym: words[i] for i in kept}
        hidden = [c for c in COHORTS if c in set(words) - set(where.values())]
        cohorts, source = _from_published(where, units, answers, published, seed)
    known = all(studies[i].patient is not None for i in kept)
    warnings = [hidden_told(c) for c in hidden] + _warnings(studies, kept, cohorts, labels, source)
    return Split(cohorts, source=source, patients_known=known, seed=seed, warnings=tuple(warnings))


def _refuse_unknown(studies: list[Study], labels: Sequence[str], kept: int) -> None:
    """Raise unless every label asked for is known for at least one study."""
    for name in labels:
        if not any(s.labels.get(name) is not None for s in studies):
            have = sorted({n for s in studies for n, v in s.labels.items() if v is not None})
            raise LabelError(
                f"no study has the label {name!r}",
                expected="one of " + (", ".join(map(repr, have)) or "none"),
                do="name one",
            )


def _refuse_too_few(labels: Sequence[str], answers: list[set], *, patients: bool) -> None:
    """Raise when a label has one answer only, or one answer with too few patients."""
    what = "patients" if patients else "studies"
    for name in labels:
        counts = Counter(value for unit in answers for n, value in unit if n == name)
        told = ", ".join(f"{counts[v]} {what} {_word(v)}" for v in sorted(counts, key=_word))
        if len(counts) < 2:
            raise CohortError(
                f"label {name!r} has one answer only ({told})",
                expected="at least two",
                do="add studies with another answer, or name another label",
            )
        if min(counts.values()) < MINIMUM_PATIENTS:
            raise CohortError(
                f"label {name!r} has too few cases ({told})",
                expected=f"at least {MINIMUM_PATIENTS} {what} of each answer, to train, tune, calibrate and test on",
                do="collect more, merge rare answers, or name another label",
            )


def _word(value: bool | str) -> str:
    """Return an answer as a person would say it."""
    return ("with it" if value else "without it") if isinstance(value, bool) else repr(value)


def _units(studies: list[Study]) -> list[tuple[Study, ...]]:
    """Group studies that share a patient or an image, sorted by content so that the order they came in is lost."""
    parent = list(range(len(studies)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    first: dict[tuple[str, str], int] = {}
    for i, study in enumerate(studies):
        keys = [("image", h) for h in study.images]
        for key in keys + ([("patient", study.patient)] if study.patient is not None else []):
            parent[root(i)] = root(first.setdefault(key, i))
    groups: dict[int, list[Study]] = {}
    for i, study in enumerate(studies):
        groups.setdefault(root(i), []).append(study)
    units = [tuple(sorted(g, key=lambda s: (s.images, s.pseudonym))) for g in groups.values()]
    return sorted(units, key=_content)


def _content(unit: tuple[Study, ...]) -> tuple[str, str]:
    """Return what a unit is sorted by: its lowest image hash (the same whatever key made the pseudonyms)."""
    return min((image for s in unit for image in s.images), default=""), min(s.pseudonym for s in unit)


def _apportion(count: int, fractions: Mapping[str, float]) -> dict[str, int]:
    """Share ``count`` cases by fraction (largest remainder), at least one each where there are enough.

    Examples
    --------
    >>> _apportion(5, {"training": .6, "tuning": .1, "calibration": .1, "testing": .2})
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


def _assign(units: list, answers: list[set], fractions: Mapping[str, float], seed: int) -> list[str]:
    """Return a cohort for each unit: rarest answer first, to the cohort that lacks it most."""
    total = sum(fractions.values())
    fractions = {c: fractions.get(c, 0) / total for c in COHORTS if fractions.get(c, 0) > 0}
    # the order is drawn by hashing content with the seed: it does not move when other patients are added
    draw = [hashlib.sha256(f"{seed}/{_content(u)[0]}".encode()).digest() for u in units]
    order = sorted(range(len(units)), key=draw.__getitem__)
    members: dict[Any, list[int]] = {}
    for i in order:
        for answer in answers[i]:
            members.setdefault(answer, []).append(i)
    wanted = {answer: _apportion(len(rows), fractions) for answer, rows in members.items()}
    room = _apportion(len(units), fractions)
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
    return [placed[i] for i in range(len(units))]


def _collect(pairs: Iterable[tuple[str, Study]]) -> dict[str, tuple[Entry, ...]]:
    """Return the sorted entries of each cohort, one an image."""
    entries: dict[str, list[Entry]] = {c: [] for c in COHORTS}
    for cohort, study in pairs:
        entries[cohort].extend((image, study.pseudonym, study.patient) for image in study.images)
    return {c: tuple(sorted(rows, key=lambda e: (e[0], e[1]))) for c, rows in entries.items()}


def _from_published(
    where: dict[str, str],
    units: list[tuple[Study, ...]],
    answers: list[set],
    published: str | Sequence[str | None] | None,
    seed: int,
) -> tuple[dict[str, tuple[Entry, ...]], str]:
    """Return the cohorts of a published split, with those it lacks carved from its training patients.

    ``where`` holds the cohort of each labelled study by its pseudonym: a part without labels is no cohort.
    """
    named = set(where.values())
    if "training" not in named:
        raise CohortError(
            "a published split without a training cohort",
            expected="rows named train, with labels",
            do="name another column",
        )
    missing = [c for c in COHORTS if c not in named]
    if missing:
        # a patient who also stands in another published cohort is not carved out: that would leak further
        pure = [k for k, unit in enumerate(units) if {where[s.pseudonym] for s in unit} == {"training"}]
        shares = {c: CARVED[c] for c in missing}
        shares["training"] = 1 - sum(shares.values())
        for k, cohort in zip(
            pure, _assign([units[k] for k in pure], [answers[k] for k in pure], shares, seed), strict=True
        ):
            where.update({s.pseudonym: cohort for s in units[k]})
    name = f" {published!r}" if isinstance(published, str) else ""
    source = f"published column{name}" + (f", {' and '.join(missing)} carved from training" if missing else "")
    return _collect((where[s.pseudonym], s) for unit in units for s in unit), source


def _warnings(
    studies: list[Study], kept: list[int], cohorts: Mapping[str, tuple[Entry, ...]], labels: Sequence[str], source: str
) -> list[str]:
    """Return what a reader of the results must know about the split."""
    told = []
    nameless = sum(1 for i in kept if studies[i].patient is None)
    if nameless:
        told.append(
            f"patient identity unknown: {nameless:,} of {len(kept):,} studies do not say who the patient was, so each was "
            "treated as a patient of its own. If patients have several images, some stand in training and in testing, "
            "and every figure here is too good."
        )
    if len(kept) < len(studies):
        told.append(
            f"{len(studies) - len(kept):,} of {len(studies):,} studies left out: the label is unknown for them."
        )
    both = overlap(cohorts)
    if both["patients"]:
        told.append(
            f"{both['patients']:,} patients stand in more than one cohort of the {source}: its figures are too good."
        )
    if both["images"]:
        told.append(f"{both['images']:,} identical images stand in more than one cohort of the {source}.")
    by_name = {studies[i].pseudonym: studies[i] for i in kept}
    for name in labels:
        every = {v for s in by_name.values() if (v := s.labels.get(name)) is not None}
        for cohort, entries in cohorts.items():
            here = {by_name[study].labels.get(name) for _, study, _ in entries}
            lacking = sorted(_word(v) for v in every - here)
            if lacking and cohort == "training":
                raise CohortError(
                    f"the training cohort has no case of {name!r} {', '.join(lacking)}",
                    expected="every answer in training",
                    do="name another split column, or let the split be drawn",
                )
            if lacking:
                told.append(f"the {cohort} cohort has no case of {name!r} {', '.join(lacking)}.")
    return told
