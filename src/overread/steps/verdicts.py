"""A verdict on every image: accepted, accepted with a note, refused; with the codes that ``docs/reasons.md`` explains."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from overread.domain import Study, code_of, noted, sentence_of
from overread.imaging.likeness import MOST_COMPARED, Pair, groups, near_pairs
from overread.imaging.measure import FEATURES
from overread.stats.outliers import FAR, FEWEST, robust_z
from overread.steps.looks import Looks
from overread.store.objects import ImageRecord

ACCEPTED, NOTED, REFUSED = "accepted", "accepted with a note", "refused"


@dataclass(frozen=True)
class Seen:
    """What the pixels of an archive say, image by image, in the order of its records.

    Parameters
    ----------
    pairs : tuple of Pair or None
        Near copies; None where there were too many images to compare.
    outliers : mapping of int to (feature, robust z)
        Place of the image → the feature in which it is farthest from the others of its kind.
    lettered : tuple of int
        Images with lettering in their pixels.
    conflicts : tuple of {"label", "images", "values"}
        One picture, or copies of it, under two answers.
    """

    pairs: tuple[Pair, ...] | None
    outliers: Mapping[int, tuple[str, float]]
    lettered: tuple[int, ...]
    conflicts: tuple[Mapping[str, Any], ...]


def see(records: Sequence[ImageRecord], studies: Sequence[Study], looks: Looks) -> Seen:
    """Compare the images of an archive with one another."""
    pairs = None if len(looks) > MOST_COMPARED else tuple(near_pairs(looks.signatures))
    return Seen(
        pairs,
        outliers(records, looks.features),
        tuple(np.flatnonzero(looks.lettered()).tolist()),
        tuple(conflicts(records, studies, pairs or ())),
    )


def kind_of(record: ImageRecord) -> str:
    """Return what an image is compared with: its modality, unit, and whether it is a volume or in colour.

    Examples
    --------
    >>> kind_of(ImageRecord("", 0, "", (1, 8, 8), modality="CR"))
    'CR'
    >>> kind_of(ImageRecord("", 0, "", (9, 8, 8), unit="HU", modality="CT"))
    'CT volumes (HU)'
    """
    volume = record.shape[0] > 1
    what = (
        f"{record.modality}{' volumes' if volume else ''}" if record.modality else "volumes" if volume else "pictures"
    )
    if len(record.shape) == 4:
        what += " in colour"
    return what if record.unit == "stored" else f"{what} ({record.unit})"


def outliers(records: Sequence[ImageRecord], features: np.ndarray) -> dict[int, tuple[str, float]]:
    """Return the images of which some feature lies more than six robust standard deviations from others of their kind.

    Kinds with fewer than 20 images are not judged.
    """
    kinds: dict[str, list[int]] = defaultdict(list)
    for i, record in enumerate(records):
        kinds[kind_of(record)].append(i)
    found = {}
    for places in kinds.values():
        if len(places) < FEWEST:
            continue
        z = np.stack([robust_z(column) for column in features[places].T], axis=1)
        for place, row in zip(places, np.nan_to_num(z), strict=True):
            worst = int(np.abs(row).argmax())
            if abs(row[worst]) > FAR:
                found[place] = (FEATURES[worst], float(row[worst]))
    return found


def conflicts(records: Sequence[ImageRecord], studies: Sequence[Study], pairs: Sequence[Pair]) -> list[dict[str, Any]]:
    """Return pictures, with their near copies, that stand under two answers to one label."""
    together = groups(len(records), ((p.first, p.second) for p in pairs))
    group_of = {record.hash: int(group) for record, group in zip(records, together, strict=True)}
    said: dict[tuple[str, int], dict[Any, set[str]]] = defaultdict(lambda: defaultdict(set))
    for study in studies:
        if len(study.images) > 1:
            continue  # which of its images the label is about is not said
        for name, value in study.labels.items():
            if value is not None and study.images[0] in group_of:
                said[name, group_of[study.images[0]]][value].add(study.images[0])
    return [
        {
            "label": name,
            "images": sorted(set().union(*values.values())),
            "values": {
                image: sorted(str(v) for v, of in values.items() if image in of)
                for image in set().union(*values.values())
            },
        }
        for (name, _), values in sorted(said.items(), key=lambda item: item[0])
        if len(values) > 1
    ]


def notes_of(records: Sequence[ImageRecord], studies: Sequence[Study], seen: Seen) -> list[tuple[str, ...]]:
    """Return every image's notes: the reader's, and what comparing the images adds."""
    files = Counter(image for study in studies for image in study.images)
    added: dict[int, list[str]] = defaultdict(list)
    for place, record in enumerate(records):
        if files[record.hash] > 1:
            added[place].append(noted("same-picture", f"{files[record.hash]} examinations hold this very picture"))
    for pair in seen.pairs or ():
        for place in (pair.first, pair.second):
            added[place].append(
                noted("near-copy", "another image is nearly the same: stored again, or a neighbouring slice")
            )
    for place, (feature, z) in seen.outliers.items():
        told = (
            f"{feature}: {abs(z):.0f} robust standard deviations {'above' if z > 0 else 'below'} the others of its kind"
        )
        added[place].append(noted("outlier", told))
    for place in seen.lettered:
        added[place].append(noted("lettering", "something like writing in its pixels: look whether it names somebody"))
    at = {record.hash: place for place, record in enumerate(records)}
    for conflict in seen.conflicts:
        told = noted("two-labels", f"this picture, or a copy of it, has two answers to the label {conflict['label']!r}")
        for image in conflict["images"]:
            added[at[image]].append(told)
    return [tuple(dict.fromkeys([*record.notes, *added[place]])) for place, record in enumerate(records)]


def verdict_of(notes: Sequence[str]) -> dict[str, Any]:
    """Return the verdict on an image that was read.

    Examples
    --------
    >>> verdict_of(["constant: every pixel has the same value"])
    {'verdict': 'accepted with a note', 'codes': ['constant'], 'notes': ['every pixel has the same value']}
    >>> verdict_of([])
    {'verdict': 'accepted', 'codes': [], 'notes': []}
    """
    return {
        "verdict": NOTED if notes else ACCEPTED,
        "codes": sorted({code_of(note) for note in notes}),
        "notes": [sentence_of(note) for note in notes],
    }


def code_table(notes: Sequence[Sequence[str]], refused: Sequence[Mapping[str, str]]) -> list[dict[str, Any]]:
    """Return every code that was given: on how many images or files, and its commonest sentence; refusals first."""
    sentences: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    images: Counter[tuple[str, str]] = Counter()
    for entry in refused:
        sentences[REFUSED, entry["code"]][entry["reason"]] += 1
        images[REFUSED, entry["code"]] += 1
    for of_image in notes:
        images.update({(NOTED, code_of(note)) for note in of_image})
        for note in of_image:
            sentences[NOTED, code_of(note)][sentence_of(note)] += 1
    order = sorted(images, key=lambda key: (key[0] != REFUSED, -images[key], key[1]))
    return [
        {
            "verdict": key[0],
            "code": key[1],
            "count": images[key],
            "sentence": sentences[key].most_common(1)[0][0],
            "sentences": len(sentences[key]),
        }
        for key in order
    ]
