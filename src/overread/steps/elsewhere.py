"""Was another archive learned from? Its patients, studies and pictures against all that a run was made with.

What that takes is kept in the run (``seen.npz``), so that it can be asked where the training archive is not.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from overread.domain import Study
from overread.imaging.likeness import NEAR_TURNED, groups, near_pairs
from overread.stats import certificate as certifying
from overread.stats.certificate import Copies
from overread.stats.splits import MINIMUM_PATIENTS, Entry, Split
from overread.steps.contradicted import conflicts_of, read_contradicted
from overread.steps.leakage import least_alike
from overread.steps.looks import looks
from overread.steps.opened import mark_of
from overread.steps.progress import bar
from overread.steps.run import write
from overread.steps.scores import Scores
from overread.store.archive import Archive

NAME = "seen.npz"
_OWN = ("testing_images", "testing_signatures")

SOURCE = "another archive"
"""What stands as ``source`` in the certificate of an archive that the run was not trained on."""


@dataclass(frozen=True)
class Seen:
    """What tells whether a picture was learned from.

    Parameters
    ----------
    images : ndarray of str, (n,)
        Hashes of the training, tuning and calibration images.
    signatures : ndarray of float16, (n, 575)
        See :mod:`overread.imaging.likeness`.
    key : str
        Which key the pseudonyms were made with (see :func:`overread.steps.opened.mark_of`); "" where nobody can say.
    testing : tuple of ndarray, optional
        Hashes and signatures of the run's own testing images: not learned from, but no test elsewhere either. None
        in a run from before they were kept.
    """

    images: np.ndarray
    signatures: np.ndarray
    key: str
    testing: tuple[np.ndarray, np.ndarray] | None = None


def keep_seen(run: Path, store: Archive, split: Split, *, progress: bool = False) -> None:
    """Write into a run what tells later whether a picture was learned from: no picture, but signatures of 24 × 24."""
    seen, file = _seen_in(store, split, progress=progress), io.BytesIO()
    kept = {"images": seen.images, "signatures": seen.signatures, "key": np.array(seen.key)}
    if seen.testing is not None:
        kept.update(zip(_OWN, seen.testing, strict=True))
    np.savez(file, **kept)
    write(run / NAME, file.getvalue())


def measured_apart(
    testing: Scores,
    split: Split,
    *,
    run: Path,
    archive: Archive,
    home: Archive | None,
    labels: Sequence[str] = (),
    progress: bool = False,
) -> tuple[Scores, dict[str, Any]]:
    """Return the images of another archive that the run has not learned from, and the certificate of that.

    Patients, studies, pictures and near copies that also stand in training, tuning or calibration are left out, and all
    other images of a patient whom a copy tells to have been learned from. Where almost nothing would be left, all stays, and the certificate says that it was learned from.

    Parameters
    ----------
    testing : Scores
        Of every image of the other archive that has an answer.
    split : Split
    run : Path
    archive : Archive
        The other one.
    home : Archive, optional
        The training archive: asked where an older run keeps no signatures.
    labels : sequence of str
        Whose conflicts are told.
    progress : bool

    Returns
    -------
    tuple of Scores and dict
        The second as ``leakage.json``, with ``not_compared``: what could not be asked, in words.
    """
    used = {name: rows for name, rows in split.cohorts.items() if name != "testing"}
    entries = [(image, study, patient) for _, image, study, patient in testing.entries]
    seen = _seen_of(run, home, split, progress=progress)
    asked = {e[0] for e in entries}
    near, unseen = (
        _near(archive, asked, seen.images, seen.signatures, progress=progress) if seen is not None else (None, 0)
    )
    own_near = _near(archive, asked, *seen.testing, progress=progress)[0] if seen is not None and seen.testing else None
    copies = Copies({}, near)
    out = certifying.touched(entries, used, copies)
    fresh = [i for i, (image, study, _) in enumerate(entries) if (image, study) not in out]
    few = len({entries[i][2] or entries[i][1] for i in fresh}) < MINIMUM_PATIENTS
    left = range(len(entries)) if few else fresh
    patients = _patients_not_compared(entries, split, seen.key if seen else "", mark_of(archive))
    known = {study for _, study, _ in entries}
    every = list(archive.studies())
    asked_of = [study for study in every if study.pseudonym in known]
    return testing.at(list(left)) if len(left) < len(entries) else testing, {
        "split": split.hash,
        "source": SOURCE,
        "unit": "study" if patients else "patient",
        "patients_known": not patients,
        "near_duplicates": "not looked for" if near is None else "looked for",
        "overlaps": _against(used, entries, copies),
        "overlaps_left": _against(used, [entries[i] for i in left], copies),
        "own_testing": _own_testing(split.cohorts.get("testing", ()), [entries[i] for i in left], own_near),
        "within": {},
        "near_duplicates_kept_together": 0,
        "label_conflicts": [
            *conflicts_of(every, labels, read_contradicted(archive)),
            *_conflicts(asked_of, labels, testing.copies),
        ],
        "excluded": {
            "testing": [] if few else [{"image": i, "study": s, "why": why} for (i, s), why in sorted(out.items())]
        },
        "images": {**{name: len(rows) for name, rows in used.items()}, "testing": len(entries)},
        "copies": {},
        "not_compared": [*_pictures_not_compared(seen, unseen), *([patients] if patients else [])],
    }


def warnings(certificate: Mapping[str, Any]) -> list[str]:
    """Return what stands on top of a report on another archive: what was learned from, and what could not be asked.

    ``certificate`` is what ``metrics.json`` holds of it (`steps.leakage.told`).
    """
    left, reasons = certificate["overlaps_left"].values(), certificate["excluded"].get("testing", {})
    gone, of = sum(reasons.values()), certificate["images"]["testing"]
    said = []
    if gone:
        found = "; ".join(f"{n:,}: {why}" for why, n in reasons.items())
        said.append(
            f"{gone:,} of the {of:,} images of this archive were seen in training, tuning or calibration, by patient, study, "
            f"picture or near copy ({found}): they are left out of the figures."
        )
    elif any(n for counts in left for n in counts.values()):
        said.append(
            f"almost all of the {of:,} images of this archive were seen in training, tuning or calibration, by patient, study, "
            "picture or near copy: too few would be left without them, so they are counted, and the figures are too good."
        )
    own, left = own_testing(certificate), of - gone
    if own:
        said.append(
            f"{own:,} of the {left:,} images measured here are the run's own testing images, by picture, near copy, study or "
            "patient: it was measured on them before, and this is no test elsewhere."
        )
    return [*said, *certificate["not_compared"]]


def own_testing(certificate: Mapping[str, Any]) -> int:
    """Return how many images of another archive are of the run's own testing cohort; 0 where that was not asked."""
    return sum(n or 0 for n in certificate.get("own_testing", {}).values())


# --- pieces -----------------------------------------------------------------------------------------------------------


def _learned(split: Split) -> set[str]:
    return {image for name, rows in split.cohorts.items() if name != "testing" for image, _, _ in rows}


def _seen_in(store: Archive, split: Split, *, progress: bool) -> Seen:
    records, learned = list(store.images()), _learned(split)
    testing = {image for image, _, _ in split.cohorts.get("testing", ())} - learned
    found = looks(store, records, show=progress)
    here, own = (np.array([record.hash in these for record in records], bool) for these in (learned, testing))
    return Seen(found.hashes[here], found.signatures[here], mark_of(store), (found.hashes[own], found.signatures[own]))


def _seen_of(run: Path, home: Archive | None, split: Split, *, progress: bool) -> Seen | None:
    """Return what the run keeps; of a run that keeps nothing, what its archive says; None where that is not here."""
    if (run / NAME).is_file():
        with np.load(run / NAME, allow_pickle=False) as kept:
            own = (kept[_OWN[0]], kept[_OWN[1]]) if _OWN[0] in kept else None
            seen = Seen(kept["images"], kept["signatures"], str(kept["key"]), own)
        if own is None and home:
            return replace(seen, testing=_seen_in(home, split, progress=progress).testing)
        return seen
    return _seen_in(home, split, progress=progress) if home else None


def _near(
    archive: Archive, asked: set[str], images: np.ndarray, known: np.ndarray, *, progress: bool
) -> tuple[dict[str, str], int]:
    """Return the group of each picture that has a near copy on the other side, and how many could not be compared."""
    records = list(archive.images())
    all_theirs = looks(archive, records, show=progress)
    theirs = [i for i, record in enumerate(records) if record.hash in asked]
    new = all_theirs.signatures[theirs]
    names = [*(records[i].hash for i in theirs), *images.tolist()]
    least = least_alike(known, pictures=len(names))
    how = {"at_least": least, "at_least_turned": max(least, NEAR_TURNED)}
    with bar(total=len(new) * len(known), what="comparing with training", unit="pairs", show=progress) as line:
        pairs = [(p.first, len(new) + p.second) for p in near_pairs(new, known, **how, tick=line.update)]
    group = groups(len(names), pairs)
    lowest: dict[int, str] = {}
    for place in sorted({i for pair in pairs for i in pair}, key=lambda i: names[i]):
        lowest.setdefault(int(group[place]), names[place])
    blank = int((~new.any(axis=1)).sum() + (~known.any(axis=1)).sum())
    return {names[i]: lowest[int(group[i])] for pair in pairs for i in pair}, blank


def _against(used: Mapping[str, Sequence[Entry]], entries: Sequence[Entry], copies: Copies) -> dict[str, Any]:
    """Count what each cohort of the run shares with the other archive; not what they share with one another."""
    found = certifying.overlaps({**used, "testing": entries}, copies)
    return {pair: counts for pair, counts in found.items() if pair.endswith("|testing")}


def _own_testing(
    testing: Sequence[Entry], entries: Sequence[Entry], near: Mapping[str, str] | None
) -> dict[str, int | None]:
    """Count the images that are of the run's own testing cohort: each once, by the first that tells.

    Examples
    --------
    >>> _own_testing([("a", "S1", "P1")], [("a", "S7", "P7"), ("b", "S8", "P1"), ("c", "S9", "P9")], None)
    {'same': 1, 'near': None, 'patients': 1}
    """
    pictures, studies, patients = ({e[i] for e in testing} - {None} for i in range(3))
    groups = {near[image] for image in pictures if image in near} if near is not None else set()
    others = [e for e in entries if e[0] not in pictures]
    alike = {image for image, _, _ in others if near is not None and near.get(image) in groups}
    theirs = sum(e[0] not in alike and (e[1] in studies or e[2] in patients) for e in others)
    return {
        "same": len(entries) - len(others),
        "near": None if near is None else sum(e[0] in alike for e in others),
        "patients": theirs,
    }


def _conflicts(studies: Sequence[Study], labels: Sequence[str], near: Mapping[str, str]) -> list[dict[str, Any]]:
    return certifying.conflicts(studies, labels, Copies({}, near))


def _pictures_not_compared(seen: Seen | None, blank: int) -> list[str]:
    if seen is None:
        return [
            f"near copies of what the network learned from could not be looked for: the run keeps no {NAME}, and its "
            "training archive is not here. Pictures that were stored again count as new ones; where there are some, the "
            "figures are too good."
        ]
    if blank:
        return [f"{blank:,} images are blank or could not be looked at: they were not compared with others."]
    return []


def _patients_not_compared(entries: Sequence[Entry], split: Split, ours: str, theirs: str) -> str:
    """Say why a patient of both archives might not have been found out; "" where one would have been."""
    why = []
    if not split.patients_known:
        why.append("not all patients that the run was made with are known")
    nameless = sum(1 for _, _, patient in entries if patient is None)
    if nameless:
        why.append(f"{nameless:,} images of this archive do not say whose they are")
    if ours and theirs and ours != theirs:
        why.append("the two archives made their pseudonyms with different keys, so one patient has two")
    elif not (ours and theirs):
        why.append("nobody can say whether the two archives made their pseudonyms with one key")
    if not why:
        return ""
    return f"patients could not be compared: {'; '.join(why)}. Where patients stand in both, the figures are too good."
