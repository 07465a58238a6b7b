"""Divide a cohort by patient, never by image, and record how.

The unit is a patient. Studies that share an image (the same content hash, or a near copy of it) are kept together too,
whoever they say they belong to: a copy of a training image in the testing cohort is leakage even under another name.
Where the source does not say who the patient was, a study with its copies is a unit and the split says so loudly.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from overread.domain import COHORTS, Study, fingerprint
from overread.errors import CohortError, IntegrityError, LabelError
from overread.stats.published import cohort_words, hidden_told, set_aside, set_aside_told
from overread.stats.units import assign, units

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
    aside : mapping of str to tuple of (image, study, patient)
        Published tuning and calibration cases that are not used: their patients, or copies of them, also stand in
        training or testing.
    """

    cohorts: Mapping[str, tuple[Entry, ...]]
    source: str = "drawn"
    patients_known: bool = True
    seed: int = 0
    warnings: tuple[str, ...] = ()
    overlap: Mapping[str, int] | None = None
    aside: Mapping[str, tuple[Entry, ...]] = field(default_factory=dict)

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
            "aside": _plain(self.aside),
            "cohorts": _plain(self.cohorts),
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Split:
        """Read a split back, and refuse one whose images no longer fit its hash."""
        split = cls(
            _entries(record["cohorts"]),
            source=record["source"],
            patients_known=record["patients_known"],
            seed=record.get("seed", 0),
            warnings=tuple(record["warnings"]),
            aside=_entries(record.get("aside", {})),
        )
        if split.hash != record["hash"]:
            raise IntegrityError(
                "split.json was changed after it was written",
                expected="cohorts that fit its hash",
                do="restore the file, or train again",
            )
        return split


def _plain(cohorts: Mapping[str, Iterable[Entry]]) -> dict[str, list[dict[str, str | None]]]:
    return {name: [{"image": i, "study": s, "patient": p} for i, s, p in rows] for name, rows in cohorts.items()}


def _entries(record: Mapping[str, Iterable[Mapping[str, Any]]]) -> dict[str, tuple[Entry, ...]]:
    return {name: tuple((e["image"], e["study"], e["patient"]) for e in rows) for name, rows in record.items()}


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
    alike: Mapping[str, str] | None = None,
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
        20 %). A patient in training and in testing is counted, not moved: the published figures were found that way.
        In tuning and calibration, of which nobody publishes figures, such patients are set aside.
    alike : mapping of str to str, optional
        Image hash → the group of near copies that it belongs to. A group stays on one side, as a patient does.

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
    whole = units([studies[i] for i in kept], alike=alike or {})
    answers = [
        {(name, s.labels[name]) for s in unit for name in labels if s.labels.get(name) is not None} for unit in whole
    ]
    _refuse_too_few(labels, answers, patients=all(studies[i].patient is not None for i in kept))

    aside: dict[str, tuple[Entry, ...]] = {}
    told: list[str] = []
    if words is None:
        where = assign(whole, answers, dict(fractions or FRACTIONS), seed)
        cohorts = _collect((c, s) for unit, c in zip(whole, where, strict=True) for s in unit)
        source = "drawn"
    else:
        published_as = {studies[i].pseudonym: words[i] for i in kept}
        told = [hidden_told(c) for c in COHORTS if c in set(words) - set(published_as.values())]
        left = set_aside(published_as, whole, answers, fewest=MINIMUM_PATIENTS)
        told += set_aside_told(published_as, left)
        used = {name: cohort for name, cohort in published_as.items() if name not in left}
        aside = _collect((published_as[s.pseudonym], s) for unit in whole for s in unit if s.pseudonym in left)
        cohorts, source = _from_published(used, whole, answers, published, seed)
    known = all(studies[i].patient is not None for i in kept)
    warnings = told + _warnings(studies, kept, cohorts, labels, source)
    aside = {c: rows for c, rows in aside.items() if rows}
    return Split(cohorts, source=source, patients_known=known, seed=seed, warnings=tuple(warnings), aside=aside)


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

    ``where`` holds the cohort of each study that is used by its pseudonym: a part without labels is no cohort.
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
        pure = [k for k, unit in enumerate(units) if {where.get(s.pseudonym) for s in unit} == {"training"}]
        shares = {c: CARVED[c] for c in missing}
        shares["training"] = 1 - sum(shares.values())
        for k, cohort in zip(
            pure, assign([units[k] for k in pure], [answers[k] for k in pure], shares, seed), strict=True
        ):
            where.update({s.pseudonym: cohort for s in units[k]})
    name = f" {published!r}" if isinstance(published, str) else ""
    source = f"published column{name}" + (f", {' and '.join(missing)} carved from training" if missing else "")
    return _collect((where[s.pseudonym], s) for unit in units for s in unit if s.pseudonym in where), source


def _warnings(
    studies: list[Study], kept: list[int], cohorts: Mapping[str, tuple[Entry, ...]], labels: Sequence[str], source: str
) -> list[str]:
    """Return what a reader of the results must know about the split."""
    told = []
    nameless = sum(1 for i in kept if studies[i].patient is None)
    if nameless:
        told.append(
            f"patient identity unknown: {nameless:,} of {len(kept):,} studies do not say who the patient was, so each, "
            "with its copies, was treated as a patient of its own. If patients have several images, some stand in "
            "training and in testing, and every figure here is too good."
        )
    if len(kept) < len(studies):
        told.append(
            f"{len(studies) - len(kept):,} of {len(studies):,} studies left out: the label is unknown for them."
        )
    both = overlap(cohorts)
    if both["patients"]:
        told.append(
            f"{both['patients']:,} patients stand in more than one cohort of the {source}: their testing images do not "
            "count in the headline figures."
        )
    if both["images"]:
        told.append(
            f"{both['images']:,} identical images stand in more than one cohort of the {source}: where they are testing "
            "images they do not count in the headline figures."
        )
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
