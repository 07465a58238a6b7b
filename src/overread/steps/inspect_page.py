"""Choose the pictures that one page of an archive shows, and write the page."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import overread
from overread.domain import Study
from overread.imaging.likeness import Pair
from overread.pages.archive_page import render_archive
from overread.pages.thumbnail import thumbnail
from overread.steps.looks import Looks
from overread.steps.verdicts import ACCEPTED, NOTED, Seen, kind_of, verdict_of
from overread.store.archive import Archive
from overread.store.objects import ImageRecord, write_atomically

_IMAGES = 48  # shown of all kinds together
_SHOWN = 24  # shown of each thing that was found


class _Pictures:
    """Draw an image once, however often the page shows it."""

    def __init__(self, archive: Archive, records: Sequence[ImageRecord], studies: Sequence[Study], looks: Looks):
        self._archive, self.records, self._looks = archive, records, looks
        self.at = {record.hash: place for place, record in enumerate(records)}
        self.of: dict[int, list[Study]] = defaultdict(list)
        for study in studies:
            for image in study.images:
                if image in self.at:
                    self.of[self.at[image]].append(study)
        self._drawn: dict[tuple[int, bool], str] = {}

    def draw(self, place: int, *, boxes: bool = False) -> str:
        if (place, boxes) not in self._drawn:
            found = self._looks.boxes[place]
            image = self._archive.image(self.records[place].hash)
            marked = found[np.isfinite(found[:, 0])].tolist() if boxes else ()
            self._drawn[place, boxes] = thumbnail(image, boxes=marked)
        return self._drawn[place, boxes]

    def figure(self, place: int, *lines: str, boxes: bool = False) -> dict[str, Any]:
        """Return a picture with its caption: what is said first, then its answers, its size and its credit."""
        record = self.records[place]
        told = [line for line in (*lines, self.answers(place), f"{size(record)} {record.modality}".strip()) if line]
        told += [line] if (line := credit_line(record)) else []
        return {"picture": self.draw(place, boxes=boxes), "alt": f"Image {record.hash[:8]}: {told[0]}", "lines": told}

    def answers(self, place: int) -> str:
        """Say the labels of an image's examinations in a few words."""
        said = dict.fromkeys(answers(study) for study in self.of[place])
        return " | ".join(words for words in said if words)[:80]

    def whom(self, first: int, second: int) -> str:
        """Say whether two images are of one patient; nothing where that is not known."""
        patients = [{study.patient for study in self.of[place]} for place in (first, second)]
        if None in patients[0] | patients[1]:
            return ""
        return "the same patient" if patients[0] & patients[1] else "two patients"


def write_page(
    path: Path,
    *,
    archive: Archive,
    inspection: Mapping[str, Any],
    records: Sequence[ImageRecord],
    studies: Sequence[Study],
    looks: Looks,
    seen: Seen,
    notes: Sequence[Sequence[str]],
    refused: Sequence[Mapping[str, str]],
    names: bool,
) -> None:
    """Write the page of an archive.

    Parameters
    ----------
    path : Path
    inspection : mapping
        As ``inspect --json`` prints it.
    records, looks, notes : sequences
        Of every image, in one order.
    refused : sequence of {"file", "code", "reason"}
    names : bool
        Whether the page may show the names of refused files; not where it stays in the archive.
    """
    pictures = _Pictures(archive, records, studies, looks)
    copies = [place for place in range(len(records)) if len(pictures.of[place]) > 1]
    odd = sorted(seen.outliers, key=lambda place: -abs(seen.outliers[place][1]))
    near = sorted(seen.pairs or (), key=lambda pair: (pair.way == "the same", -pair.likeness, pair.first))
    write_atomically(
        path,
        render_archive(
            {
                "name": archive.path.name,
                "names": names,
                "overread": overread.__version__,
                "inspection": inspection,
                "refused": refused,
                "groups": _groups(pictures, notes),
                "histograms": _histograms(records, looks, seen),
                "exact": [
                    pictures.figure(place, f"{len(pictures.of[place]):,} examinations") for place in copies[:_SHOWN]
                ],
                "near": [_two(pictures, pair) for pair in _apart(near)[:_SHOWN]],
                "conflicts": [_conflict(pictures, conflict) for conflict in seen.conflicts[:_SHOWN]],
                "lettering": [pictures.figure(place, boxes=True) for place in _evenly(seen.lettered, _SHOWN)],
                "outliers": [pictures.figure(place, _far(*seen.outliers[place])) for place in odd[:_SHOWN]],
                "totals": {
                    "exact": len(copies),
                    "near": None if seen.pairs is None else len(seen.pairs),
                    "conflicts": len(seen.conflicts),
                    "lettering": len(seen.lettered),
                    "outliers": len(odd),
                },
                **_credits(records),
            }
        ).encode(),
    )


def _groups(pictures: _Pictures, notes: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
    """Return some images of each kind and verdict, evenly over the archive."""
    kinds: dict[tuple[str, str], list[int]] = defaultdict(list)
    for place, record in enumerate(pictures.records):
        kinds[kind_of(record), NOTED if notes[place] else ACCEPTED].append(place)
    share = max(2, _IMAGES // max(len(kinds), 1))
    groups = []
    for (kind, verdict), places in sorted(kinds.items())[:_IMAGES]:
        shown = _evenly(places, share)
        figures = [pictures.figure(place, ", ".join(verdict_of(notes[place])["codes"])) for place in shown]
        told = f"{len(shown):,} of {len(places):,} shown" if len(shown) < len(places) else f"{len(places):,}"
        groups.append({"title": f"{kind[:1].upper()}{kind[1:]}, {verdict}", "told": told, "pictures": figures})
    return groups


def _histograms(records: Sequence[ImageRecord], looks: Looks, seen: Seen) -> list[tuple]:
    kinds: dict[str, list[int]] = defaultdict(list)
    for place, record in enumerate(records):
        kinds[kind_of(record)].append(place)
    rows = []
    for kind, places in sorted(kinds.items(), key=lambda item: -len(item[1]))[:12]:
        middle = looks.quantiles.shape[1] // 2
        marked = [float(looks.quantiles[place, middle]) for place in places if place in seen.outliers]
        rows.append((kind, records[places[0]].unit, looks.quantiles[places], marked))
    return rows


def _apart(pairs: Sequence[Pair]) -> list[Pair]:
    """Put pairs whose images were not shown yet before further copies of the same ones."""
    first, later, shown = [], [], set()
    for pair in pairs:
        (later if {pair.first, pair.second} & shown else first).append(pair)
        shown |= {pair.first, pair.second}
    return [*first, *later]


def _two(pictures: _Pictures, pair: Pair) -> dict[str, str]:
    one, other = pictures.records[pair.first], pictures.records[pair.second]
    way = "" if pair.way == "the same" else f", {pair.way}"
    sizes = size(one) if size(one) == size(other) else f"{size(one)} and {size(other)}"
    said = dict.fromkeys(filter(None, (pictures.answers(pair.first), pictures.answers(pair.second))))
    return {
        "first": pictures.draw(pair.first),
        "second": pictures.draw(pair.second),
        "alt": f"Image {one.hash[:8]}, beside one that is nearly the same",
        "told": f"likeness {np.floor(pair.likeness * 1000) / 1000:.3f}{way} · {' | '.join(said)}".rstrip(" ·"),
        "whom": " · ".join(filter(None, (sizes, pictures.whom(pair.first, pair.second)))),
    }


def _conflict(pictures: _Pictures, conflict: Mapping[str, Any]) -> dict[str, Any]:
    values = sorted({value for of in conflict["values"].values() for value in of})
    several = f"{len(conflict['images'])} pictures" if len(conflict["images"]) > 1 else "one picture"
    place = pictures.at[conflict["images"][0]]
    return pictures.figure(place, f"{conflict['label']}: {' and '.join(map(_word, values))} ({several})")


def _word(value: str) -> str:
    return {"True": "yes", "False": "no"}.get(value, value)


def _far(feature: str, z: float) -> str:
    return f"{feature}: {abs(z):,.0f} × {'above' if z > 0 else 'below'}"


def _evenly(places: Sequence[int], most: int) -> list[int]:
    """Return at most so many, spread over all."""
    step = max(1.0, len(places) / most)
    return [places[int(i * step)] for i in range(min(most, len(places)))]


def _credits(records: Sequence[ImageRecord]) -> dict[str, Any]:
    """Return whom the pictures are to be credited to, and each one's record, where a library said so."""
    said = [dict(r.attributes) for r in records if r.attributes.get("credit") or r.attributes.get("copyright")]
    counts: dict[str, int] = defaultdict(int)
    for a in said:
        counts[a.get("credit") or "nobody named"] += 1
    rows = [
        {
            "source": " ".join(filter(None, (a.get("source"), a.get("source_number")))) or "not said",
            "address": address if (address := a.get("address", "")).startswith(("https://", "http://")) else "",
            "description": a.get("description", ""),
            "credit": a.get("credit", ""),
            "copyright": a.get("copyright", ""),
        }
        for a in said[:200]
    ]
    told = [
        {"credit": c, "told": f"{n:,} image{'s' * (n > 1)}"}
        for c, n in sorted(counts.items(), key=lambda i: (-i[1], i[0]))
    ]
    return {"credits": told, "records": rows}


def credit_line(record: ImageRecord) -> str:
    """Return what must stand under a library's picture: its number, whom to credit, whether its copyright was checked."""
    a = record.attributes
    if not (a.get("credit") or a.get("copyright_checked")):
        return ""
    number = " ".join(filter(None, (a.get("source"), a.get("source_number"))))
    return " · ".join(filter(None, (number, a.get("credit"), a.get("copyright_checked"))))


def size(record: ImageRecord) -> str:
    """Return an image's size in words: "rows × columns", or "slices × rows × columns" of a volume."""
    shape = record.shape[:3] if record.shape[0] > 1 else record.shape[1:3]
    return " × ".join(map(str, shape)) + (" colour" if len(record.shape) == 4 else "")


def answers(study: Study) -> str:
    """Say a study's known labels in a few words; only what is present, where there are several."""
    if "class" in study.labels:
        return f"class: {study.labels['class'] or 'unknown'}"
    words = {True: "yes", False: "no", None: "unknown"}
    labels = list(study.labels.items())
    if len(labels) > 1:
        labels = [(n, v) for n, v in labels if v] or labels[:1]
    return ", ".join(f"{n}: {words.get(v, v)}" for n, v in labels)
