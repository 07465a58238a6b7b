"""What could be read instead of the finding: facts of each training image, and how well each tells the label."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from overread import engine
from overread.domain import Study, Task
from overread.domain.canonical import plain
from overread.imaging.frame import frame_values
from overread.imaging.glance import grey_plane
from overread.stats import shortcuts as finding
from overread.stats.certificate import NONE, Copies
from overread.stats.splits import Split
from overread.steps.looks import looks
from overread.steps.progress import progress as bar
from overread.steps.question import truth
from overread.steps.scores import whose
from overread.store.archive import Archive
from overread.store.objects import ImageRecord, Objects, read_object

NAME = "shortcuts.json"

WORDS = {
    "format": "file format",
    "mode": "colour mode",
    "bits": "bits",
    "jpeg_quality": "JPEG quality",
    "TransferSyntax": "compression",
    "ManufacturerModelName": "scanner model",
    "KVP": "tube voltage",
}
"""What attributes are called; the others as the Standard calls them."""

MEASURED = ("border brightness", "border contrast", "brightness", "contrast")
_CHUNK, _INLINE = 32, 300


def look_for(
    store: Archive,
    split: Split,
    studies: Mapping[str, Study],
    task: Task,
    *,
    copies: Copies = NONE,
    seed: int,
    progress: bool = False,
) -> dict[str, dict[str, Any]]:
    """Return how well each fact of the training images tells the label by itself, the strongest first.

    Facts of the file (format, mode, bits, JPEG quality, size, spacing), of the acquisition (scanner, view, side, site),
    of the person (sex, age band), of the border and the light, and whether there is writing in the pixels. Only the
    training cohort is looked at: nothing of the others is known before training. Where a patient is not known, a study
    and a group of copies are one: a picture is never told from its own copy.

    Returns
    -------
    dict
        name → ``{"auroc": Estimate, "label", "values", "one_sided", "warns"}``, as ``shortcuts.json`` and
        ``metrics.json`` hold it.
    """
    entries = split.cohorts["training"]
    rows = [studies[study] for _, study, _ in entries]
    facts = facts_of(store, [image for image, _, _ in entries], rows, progress=progress)
    found = finding.find(
        facts,
        truth(rows, task),
        whose(entries, {image: copies.near_of(image) for image, _, _ in entries}),
        labels=task.labels,
        rng=np.random.default_rng(seed),
    )
    return {
        s.name: {
            "auroc": s.auroc,
            "label": s.label,
            "values": [list(v) for v in s.values],
            "one_sided": [list(v) for v in s.one_sided],
            "warns": s.warns,
        }
        for s in found
    }


def facts_of(
    store: Archive, images: Sequence[str], studies: Sequence[Study], *, progress: bool = False
) -> dict[str, list[Any]]:
    """Return the facts of each image, by name, in the order of the images; None where a fact is not known."""
    records = list(store.images())
    seen = looks(store, records, show=progress)
    at = {record.hash: i for i, record in enumerate(records)}
    chosen = [at[image] for image in images]
    lettered = seen.lettered()[chosen]
    known = [records[i] for i in chosen]
    facts: dict[str, list[Any]] = {
        "modality": [r.modality or None for r in known],
        "unit": [r.unit for r in known],
        "rows": [r.shape[1] for r in known],
        "columns": [r.shape[2] for r in known],
        "width to height": [round(r.shape[2] / r.shape[1], 3) for r in known],
        "slices": [r.shape[0] for r in known],
        "colour": ["colour" if len(r.shape) == 4 else "grey" for r in known],
        "pixel spacing (mm)": [r.spacing_mm[1] if r.spacing_mm else None for r in known],
        "slice distance (mm)": [r.spacing_mm[0] if r.spacing_mm and r.shape[0] > 1 else None for r in known],
        "writing in the picture": ["yes" if there else "no" for there in lettered],
    }
    for key in sorted({key for r in known for key in r.attributes}):
        facts[_words(key)] = [_number(r.attributes.get(key)) for r in known]
    for key in sorted({key for s in studies for key in s.strata}):
        facts[key] = [s.strata.get(key) for s in studies]
    return facts | _light(store, known, progress=progress)


def _light(store: Archive, records: Sequence[ImageRecord], *, progress: bool) -> dict[str, list[float]]:
    """Return brightness and contrast of the border and of the whole, as a share of the range the format has."""
    once = list({r.hash: r for r in records}.values())
    seen = engine.map(partial(_measure, store.objects), once, chunk=_CHUNK, inline=_INLINE)
    seen = bar(seen, total=len(once), what="border and light", unit="images", show=progress)
    by_hash = {
        r.hash: (np.nan,) * len(MEASURED) if isinstance(v, engine.Failure) else v
        for r, v in zip(once, seen, strict=True)
    }
    columns = zip(*(by_hash[r.hash] for r in records), strict=True)
    return {name: list(column) for name, column in zip(MEASURED, columns, strict=True)}


def _measure(objects: Objects, record: ImageRecord) -> tuple[float, ...]:
    """Measure one image; in a worker process."""
    values = frame_values(grey_plane(read_object(objects, record)))
    low, high = record.full_range or (0.0, 1.0)
    scale = high - low
    return tuple((v - low) / scale if i % 2 == 0 else v / scale for i, v in enumerate(values))


def _words(keyword: str) -> str:
    """Return an attribute's name as a person says it.

    Examples
    --------
    >>> _words("jpeg_quality"), _words("ViewPosition"), _words("KVP")
    ('JPEG quality', 'view position', 'tube voltage')
    """
    return WORDS.get(keyword) or re.sub(r"(?<=[a-z])(?=[A-Z])", " ", keyword).replace("_", " ").lower()


def _number(value: str | None) -> float | str | None:
    """Return a number where the attribute is one: near values then share a group."""
    try:
        return float(value) if value is not None else None
    except ValueError:
        return value


def warnings(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return one loud line for each fact that clearly tells the label: its whole interval lies above 0.6.

    Examples
    --------
    >>> auroc = {"value": 0.9, "low": 0.8, "high": 1.0}
    >>> warnings({"file format": {"auroc": auroc, "label": "mass", "warns": True}})[0][:64]
    "shortcut: file format alone tells 'mass' with an AUROC of 0.90 ("
    """
    return [
        f"shortcut: {name} alone tells {s['label']!r} with an AUROC of {s['auroc']['value']:.2f} "
        f"({s['auroc']['low']:.2f} to {s['auroc']['high']:.2f}) in patients it was not learned from. {meaning(name)}"
        for name, s in ((name, plain(s)) for name, s in found.items())
        if s["warns"]
    ]


def meaning(name: str) -> str:
    """Say what it means that a fact tells the label."""
    if name in ("brightness", "contrast"):
        return "It may be a part of the finding, or of how the pictures were made: a network cannot tell which."
    if name in ("sex", "age"):
        return "It may be who falls ill, or who was collected: a network can learn it instead of the finding."
    return "A network can learn it instead of the finding."
