"""The leakage certificate of a run: copies are looked for before the split, and what overlaps does not count later."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from overread.domain import COHORTS, Study
from overread.errors import CohortError
from overread.imaging.likeness import MOST_COMPARED, NEAR, NEAR_TURNED, Pair, groups, near_pairs
from overread.stats import certificate as certifying
from overread.stats.calibration import Calibration
from overread.stats.certificate import NONE, Copies
from overread.stats.splits import MINIMUM_PATIENTS, Split
from overread.steps.contradicted import Contradicted, conflicts_of
from overread.steps.looks import looks
from overread.steps.progress import bar
from overread.steps.run import read_json
from overread.steps.scores import Question, Scores
from overread.store.archive import Archive

NAME = "leakage.json"
OVERLAPPING = "overlapping"
"""What the testing rows are called that do not count in the headline figures."""

LARGEST_SHARE, LARGEST = 0.1, 10
"""Share (and number) of the pictures that a group of copies may hold before likeness is doubted and more asked for."""

MOST_NAMED = 6
"""Studies named of one label conflict in the report; ``leakage.json`` has all."""

_DRAWN = 200_000  # pairs drawn by chance, to see how alike different pictures are
_SAME = 0.999  # likeness from which the pixels themselves are compared


def find_copies(store: Archive, *, progress: bool = False) -> Copies:
    """Return which images of an archive are copies of one another, exactly or nearly.

    Every image is looked at once (kept in the archive's ``looks.npz``) and compared with every other one.
    """
    records = list(store.images())
    if len(records) > MOST_COMPARED:
        return NONE
    seen = looks(store, records, show=progress)
    signatures = seen.signatures
    least = least_alike(signatures)
    pairs = _pairs(signatures, least, show=progress)
    while _largest(len(records), pairs) > max(LARGEST, LARGEST_SHARE * len(records)) and least < _SAME:
        least = 1 - (1 - least) / 2  # a group that large is not a copy but a likeness of the whole archive
        pairs = [p for p in pairs if p.likeness >= least]
    hashes = [record.hash for record in records]
    shapes = [record.shape for record in records]
    equal = [
        (p.first, p.second)
        for p in pairs
        if p.way == "the same" and p.likeness >= _SAME and shapes[p.first] == shapes[p.second]
        and np.array_equal(store.image(hashes[p.first]).voxels, store.image(hashes[p.second]).voxels)
    ]  # fmt: skip
    return Copies(_named(hashes, equal), _named(hashes, [(p.first, p.second) for p in pairs]))


def least_alike(signatures: np.ndarray, *, pictures: int | None = None) -> float:
    """Return the likeness that two pictures must have to be called copies, of so many (these alone when not said)."""
    n = len(signatures)
    if n < 2:
        return NEAR
    drawn = np.random.default_rng(0).integers(0, n, (min(_DRAWN, 10 * n * n), 2))
    drawn = drawn[drawn[:, 0] != drawn[:, 1]]
    alike = np.concatenate(
        [
            np.einsum("ij,ij->i", *(np.asarray(signatures[ends], np.float32) for ends in part.T))
            for part in np.array_split(drawn, 50)
        ]
    )
    return certifying.least_likeness(alike, pictures=pictures or n, least=NEAR)


def _pairs(signatures: np.ndarray, least: float, *, show: bool) -> list[Pair]:
    """Return the pairs of copies, with a bar."""
    n, how = len(signatures), {"at_least": least, "at_least_turned": max(least, NEAR_TURNED)}
    with bar(total=n * (n - 1) // 2, what="comparing pictures", unit="pairs", show=show) as line:
        return near_pairs(signatures, **how, tick=line.update)


def _largest(n: int, pairs: Sequence[Pair]) -> int:
    return int(np.bincount(groups(n, ((p.first, p.second) for p in pairs))).max()) if pairs else 1


def _named(hashes: Sequence[str], pairs: Sequence[tuple[int, int]]) -> dict[str, str]:
    """Return the lowest hash of its group for each image that is in a pair."""
    group = groups(len(hashes), pairs)
    lowest: dict[int, str] = {}
    for place in sorted({i for pair in pairs for i in pair}, key=lambda i: hashes[i]):
        lowest.setdefault(int(group[place]), hashes[place])
    return {hashes[i]: lowest[int(group[i])] for pair in pairs for i in pair}


def certify(
    split: Split,
    copies: Copies,
    *,
    studies: Sequence[Study] = (),
    labels: Sequence[str] = (),
    contradicted: Contradicted | None = None,
) -> dict[str, Any]:
    """Return what ``leakage.json`` holds: every overlap between two cohorts, and what does not count for it.

    Of testing, cases go that also stand in training (or in tuning or calibration): patient, study, picture or near
    copy. Of published tuning and calibration parts they went already, before anything was learned (``Split.aside``).
    ``contradicted``: pictures that came twice with two answers, which the studies hold as unknown (`steps.contradicted`).

    Raises
    ------
    CohortError
        When too little of the testing cohort is left to say anything of.
    """
    brought = {c: (*split.cohorts[c], *split.aside.get(c, ())) for c in COHORTS if c in split.cohorts}
    others = {c: rows for c, rows in split.cohorts.items() if c != "testing"}
    out = certifying.touched(split.cohorts["testing"], others, copies)
    clean = {**split.cohorts, "testing": [e for e in split.cohorts["testing"] if (e[0], e[1]) not in out]}
    used = {study for rows in brought.values() for _, study, _ in rows}
    excluded = {"testing": out}
    for cohort, rows in split.aside.items():
        elsewhere = {c: r for c, r in brought.items() if c != cohort}
        told = certifying.touched(rows, elsewhere, copies)
        excluded[cohort] = {(i, s): told.get((i, s), "too little of this cohort was left") for i, s, _ in rows}
    return {
        "split": split.hash,
        "source": split.source,
        "unit": split.unit,
        "patients_known": split.patients_known,
        "near_duplicates": "looked for" if copies.near is not None else "not looked for",
        "overlaps": certifying.overlaps(brought, copies),
        "overlaps_left": certifying.overlaps(clean, copies),
        "within": {c: certifying.within(rows, copies) for c, rows in split.cohorts.items()},
        "near_duplicates_kept_together": certifying.kept_together(split.cohorts, copies),
        "label_conflicts": [
            *conflicts_of(studies, labels, contradicted or {}),
            *certifying.conflicts([s for s in studies if s.pseudonym in used], labels, copies),
        ],
        "excluded": {
            cohort: [{"image": i, "study": s, "why": why} for (i, s), why in sorted(rows.items())]
            for cohort, rows in excluded.items()
        },
        "images": {c: len(rows) for c, rows in brought.items()},
        "copies": _groups([e[0] for rows in brought.values() for e in rows], copies),
    }


def _groups(images: Sequence[str], copies: Copies) -> dict[str, str]:
    """Return the group of each image of which there is a copy under another hash."""
    group = {image: copies.near_of(image) for image in sorted(set(images))}
    many = Counter(group.values())
    return {image: name for image, name in group.items() if many[name] > 1}


def refuse_too_little(certificate: Mapping[str, Any], split: Split) -> None:
    """Raise when almost nothing of the testing cohort stands apart from what the network learns from."""
    gone = {(row["image"], row["study"]) for row in certificate["excluded"]["testing"]}
    rows = split.cohorts["testing"]
    left = {patient or study for image, study, patient in rows if (image, study) not in gone}
    if gone and len(left) < MINIMUM_PATIENTS:
        raise CohortError(
            f"{len(gone):,} of the {len(rows):,} testing images of the {split.source} also stand in training, by patient "
            f"or as a copy, so that {len(left):,} {split.unit}s are left to test on",
            expected=f"at least {MINIMUM_PATIENTS} that the network has not learned from",
            do="name another split column, or let the split be drawn by patient",
        )


def read_certificate(run: Path, split: Split) -> dict[str, Any]:
    """Return a run's certificate; of a run that has none, what its split alone says."""
    if (run / NAME).is_file():
        return read_json(run / NAME)
    return certify(split, NONE)


def apart(certificate: Mapping[str, Any], scores: Scores) -> Scores:
    """Return the scores with the testing rows that must not count under a cohort of their own, ``overlapping``.

    They also learn which images are copies of one another: where no patient is known, copies are one case.

    Raises
    ------
    CohortError
        When none is left.
    """
    gone = {(row["image"], row["study"]) for row in certificate["excluded"]["testing"]}
    rows = scores.members or tuple((entry[1:3],) for entry in scores.entries)
    gone_too = [any(pair in gone for pair in own) for own in rows]  # of a joined row: any of its images
    if gone and all(out for out, e in zip(gone_too, scores.entries, strict=True) if e[0] == "testing"):
        raise CohortError(
            f"all {len(gone):,} testing images also stand in training",
            expected="some that the network has not learned from",
            do="train again on another split",
        )
    entries = tuple(
        (OVERLAPPING if c == "testing" and out else c, image, study, patient)
        for out, (c, image, study, patient) in zip(gone_too, scores.entries, strict=True)
    )
    return replace(scores, entries=entries, copies=certificate.get("copies", {}))


def with_overlaps(scores: Scores, how: Question, fitted: Calibration) -> dict[str, Any]:
    """Return the figures of the whole testing cohort, overlaps and all; empty where nothing overlaps."""
    if not scores.of(OVERLAPPING).entries:
        return {}
    everything = scores.at([i for i, entry in enumerate(scores.entries) if entry[0] in ("testing", OVERLAPPING)])
    return how.figures(everything, fitted.probabilities(everything.logits))


def clean(certificate: Mapping[str, Any]) -> bool:
    """Say whether nothing that is known of stands both in the testing cohort and in another one."""
    return not any(
        count for pair, counts in certificate["overlaps_left"].items() if "testing" in pair for count in counts.values()
    )


def warnings(certificate: Mapping[str, Any]) -> list[str]:
    """Return what a reader of the figures must know of the certificate."""
    said = []
    gone, of = len(certificate["excluded"]["testing"]), certificate["images"]["testing"]
    if gone:
        said.append(
            f"{gone:,} of {of:,} testing images also stand in what the network learned from, by patient or as a copy. The "
            "headline figures leave them out; the figures with them stand in the leakage certificate."
        )
    if certificate["label_conflicts"]:
        many = sum(len(c["images"]) for c in certificate["label_conflicts"])
        said.append(
            f"{many:,} images stand, as they are or as near copies, under two answers to one label: "
            f"{len(certificate['label_conflicts']):,} label conflicts, told in the leakage certificate."
        )
    if certificate["near_duplicates"] == "not looked for":
        said.append("near copies of images were not looked for: the leakage certificate knows exact copies only.")
    return said


def told(certificate: Mapping[str, Any]) -> dict[str, Any]:
    """Return the certificate as ``metrics.json`` holds it: counts, and no list of images."""
    short = {k: v for k, v in certificate.items() if k not in ("excluded", "label_conflicts", "copies")}
    reasons: dict[str, dict[str, int]] = {}
    for cohort, rows in certificate["excluded"].items():
        for row in rows:
            counts = reasons.setdefault(cohort, {})
            counts[row["why"]] = counts.get(row["why"], 0) + 1
    conflicts = [
        {**c, "images": len(c["images"]), "studies": c["studies"][:MOST_NAMED], "n_studies": len(c["studies"])}
        for c in certificate["label_conflicts"]
    ]
    return {**short, "excluded": reasons, "label_conflicts": conflicts}
