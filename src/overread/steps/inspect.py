"""Inspect: what lies in an archive, before anything is learnt from it."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from overread.domain import Study
from overread.domain.canonical import plain
from overread.pages.contact import contact_sheet
from overread.steps.collected import (
    PASSED_OVER,
    Collected,
    duplicates_told,
    label_counts,
    label_lines,
    patients_told,
    refused_lines,
)
from overread.steps.progress import progress as bar
from overread.store.archive import Archive
from overread.store.crosswalk import Crosswalk
from overread.store.objects import ImageRecord, write_atomically

_TILES = 24
_FEW = 10
_NOTES = 8  # lines of notes that the page shows


@dataclass(frozen=True)
class Inspection:
    """What lies in an archive; printed, it is a page for a person, and :meth:`to_json` is the same for a machine.

    Parameters
    ----------
    archive : str
    images, studies, patients, volumes, bytes : int
    studies_without_patient, patients_with_several_images : int
    modalities, sizes, units, formats : mapping of str to int
        Images of each kind; a size is "rows × columns" or "slices × rows × columns".
    intensities : mapping
        Unit → the lowest and highest value of all images.
    duplicates : int
        Files whose picture another file had already.
    labels : mapping
        Name → counts of true, false, unknown; with "kind" and "values" where there are several levels.
    strata, splits : mapping
        Column → value → studies.
    files : mapping
        ``{"read": n, "refused": [{"file", "reason", "code"}, …]}``: every file that was ever offered.
    notes : mapping of str to int
        What the readers changed, left out or doubt, in words → images.
    warnings : tuple of str
    contact_sheet : str
        Path of a PNG with some of the images.
    """

    archive: str
    images: int
    studies: int
    patients: int
    volumes: int
    bytes: int
    studies_without_patient: int
    patients_with_several_images: int
    modalities: Mapping[str, int]
    sizes: Mapping[str, int]
    units: Mapping[str, int]
    formats: Mapping[str, int]
    intensities: Mapping[str, Any]
    duplicates: int
    labels: Mapping[str, Any]
    strata: Mapping[str, Any]
    splits: Mapping[str, Any]
    files: Mapping[str, Any]
    notes: Mapping[str, int]
    warnings: tuple[str, ...]
    contact_sheet: str

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        return plain(self.__dict__)

    def __str__(self) -> str:
        refused = [r for r in self.files["refused"] if r["code"] not in PASSED_OVER]
        lines = [
            f"{self.archive}: {self.images:,} images ({self.bytes / 1e6:,.0f} MB), {self.volumes:,} of them volumes",
            f"  studies    {self.studies:,}",
            "  patients   "
            + patients_told(self.patients, self.studies_without_patient, several=self.patients_with_several_images),
            f"  modality   {_counts(self.modalities)}",
            f"  format     {_counts(self.formats)}",
            f"  size       {_counts(self.sizes)}",
            *(f"  values     {unit}: {r['low']:g} to {r['high']:g}" for unit, r in self.intensities.items()),
            f"  duplicates {duplicates_told(self.duplicates)}",
            *label_lines(self.labels),
            *(f"  split      {name}: {_counts(values)}" for name, values in self.splits.items()),
            *(f"  stratum    {name}: {_counts(values)}" for name, values in self.strata.items()),
            f"  files      {self.files['read']:,} read, {len(refused):,} refused",
            *refused_lines(refused),
            *(f"  note       {count:,} × {note}" for note, count in list(self.notes.items())[:_NOTES]),
            *(
                [f"  note       … and {rest:,} more; --json lists all"]
                if (rest := len(self.notes) - _NOTES) > 0
                else []
            ),
            *(f"  warning    {warning}" for warning in self.warnings),
        ]
        return "\n".join([*lines, f"  pictures   {self.contact_sheet}"] if self.contact_sheet else lines)


def inspect(archive: str | os.PathLike | Archive | Collected, *, progress: bool = True) -> Inspection:
    """Say what lies in an archive: how many, how large, of whom, with which labels, what was refused, and how it looks.

    Writes ``contact.png`` into the archive.

    Parameters
    ----------
    archive : path, Archive or Collected
    progress : bool
        Draw a bar on stderr when it takes longer than two seconds.

    Returns
    -------
    Inspection

    Raises
    ------
    ArchiveError
        When there is no archive.
    """
    if isinstance(archive, Archive):
        return _inspect(archive, show=progress)
    with Archive.open(archive.archive if isinstance(archive, Collected) else Path(archive)) as opened:
        return _inspect(opened, show=progress)


def _inspect(archive: Archive, *, show: bool) -> Inspection:
    n_images, n_studies = archive.count()
    records = list(bar(archive.images(), total=n_images, what="looking at images", unit="images", show=show))
    studies = list(bar(archive.studies(), total=n_studies, what="looking at studies", unit="studies", show=show))
    of_patient: dict[str, set[str]] = defaultdict(set)
    for study in studies:
        if study.patient is not None:
            of_patient[study.patient].update(study.images)
    files, duplicates = _files(archive, studies)
    labels = label_counts(studies)
    without = sum(study.patient is None for study in studies)
    return Inspection(
        archive=str(archive.path),
        images=len(records),
        studies=len(studies),
        patients=len(of_patient),
        volumes=sum(record.shape[0] > 1 for record in records),
        bytes=sum(record.bytes for record in records),
        studies_without_patient=without,
        patients_with_several_images=sum(len(images) > 1 for images in of_patient.values()),
        modalities=_tally(record.modality or "not said" for record in records),
        sizes=_tally(_size(record) for record in records),
        units=_tally(record.unit for record in records),
        formats=_tally(_format(record) for record in records),
        intensities=_intensities(records),
        duplicates=duplicates,
        labels=labels,
        strata=_columns(study.strata for study in studies),
        splits=_columns(study.splits for study in studies),
        files=files,
        notes=_tally(note for record in records for note in record.notes),
        warnings=_warnings(studies, labels, records, without),
        contact_sheet=_contact(archive, studies, records, show=show),
    )


def _tally(words) -> dict[str, int]:
    """Count, the most frequent first."""
    return dict(sorted(Counter(words).items(), key=lambda item: (-item[1], item[0])))


def _columns(rows) -> dict[str, dict[str, int]]:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        for name, value in row.items():
            counts[name][value] += 1
    return {name: _tally(counts[name].elements()) for name in sorted(counts)}


def _size(record: ImageRecord) -> str:
    shape = record.shape[:3] if record.shape[0] > 1 else record.shape[1:3]
    return " × ".join(map(str, shape)) + (" colour" if len(record.shape) == 4 else "")


def _format(record: ImageRecord) -> str:
    return record.attributes.get("format") or ("DICOM" if record.modality else "not said")


def _intensities(records: list[ImageRecord]) -> dict[str, dict[str, float]]:
    ranges: dict[str, dict[str, float]] = {}
    for record in records:
        if record.low is None or record.high is None:
            continue
        known = ranges.setdefault(record.unit, {"low": record.low, "high": record.high})
        known["low"], known["high"] = min(known["low"], record.low), max(known["high"], record.high)
    return ranges


def _files(archive: Archive, studies: list[Study]) -> tuple[dict[str, Any], int]:
    """Return every file ever offered, and how many copies there were; from the names shelf while it is there."""
    if archive.anonymous:
        images = [image for study in studies for image in study.images]
        return {"read": len(images), "refused": []}, len(images) - len(set(images))
    with Crosswalk(archive.names) as book:
        offered = list(book.offered().values())
        images = [source.image for source in book.sources()]
    refused = [{"file": o.name, "reason": o.reason, "code": o.code} for o in offered if o.code is not None]
    read = {o.within if o.is_chunk else o.key for o in offered if o.code is None}
    return {"read": len(read), "refused": refused}, len(images) - len(set(images))


def _warnings(
    studies: list[Study], labels: Mapping[str, Any], records: list[ImageRecord], without: int
) -> tuple[str, ...]:
    told = []
    if without:
        told.append(
            f"patient identity is unknown for {without:,} of {len(studies):,} studies: images of one patient may stand in "
            "training and in testing, and results may look better than they are"
        )
    for name, count in labels.items():
        levels = count.get("values") or {"true": count["true"], "false": count["false"]}
        rare = {level: n for level, n in levels.items() if 0 < n < _FEW}
        if sum(n > 0 for n in levels.values()) == 1:
            told.append(f"the label {name!r} has one answer only: nothing can be learnt from it")
        elif rare:
            level, n = min(rare.items(), key=lambda item: item[1])
            told.append(f"the label {name!r} is {level} in {n} studies only: its figures will be very uncertain")
    known = {image for study in studies for image in study.images}
    if loose := sum(record.hash not in known for record in records):
        told.append(
            f"{loose:,} images belong to no study: an interrupted collect, or a file that has changed; collect again"
        )
    owners: dict[str, set[str]] = defaultdict(set)
    for study in studies:
        if study.patient is not None:
            for image in study.images:
                owners[image].add(study.patient)
    if shared := sum(len(patients) > 1 for patients in owners.values()):
        told.append(f"{shared:,} images came under several patients: copies, or one patient under several names")
    for name in sorted({name for study in studies for name in study.splits}):
        told += _split_warnings(studies, name)
    return tuple(told)


def _split_warnings(studies: list[Study], name: str) -> list[str]:
    """Tell of patients and images that stand in several parts of a published split."""
    patients: dict[str, set[str]] = defaultdict(set)
    images: dict[str, set[str]] = defaultdict(set)
    for study in studies:
        if name in study.splits:
            if study.patient is not None:
                patients[study.patient].add(study.splits[name])
            for image in study.images:
                images[image].add(study.splits[name])
    told = []
    for what, parts in (("patients", patients), ("identical images", images)):
        if several := sum(len(p) > 1 for p in parts.values()):
            told.append(f"{several:,} {what} stand in several parts of the published split {name!r}")
    return told


def _contact(archive: Archive, studies: list[Study], records: list[ImageRecord], *, show: bool) -> str:
    """Write the contact sheet: some images of every answer to the first label, spread over the archive."""
    if not studies:
        return ""
    chosen = _spread(studies)
    shapes = {record.hash: record for record in records}
    captions = [
        f"{_answers(study)}\n{_size(r)} {r.modality}".strip() for study in chosen for r in [shapes[study.images[0]]]
    ]
    shown = bar(chosen, total=len(chosen), what="drawing pictures", unit="pictures", show=show)
    png = contact_sheet(
        (archive.image(study.images[0]) for study in shown),
        captions=captions,
        title=f"{len(chosen)} of {len(studies):,} studies",
    )
    path = archive.path / "contact.png"
    write_atomically(path, png)
    return str(path)


def _spread(studies: list[Study]) -> list[Study]:
    """Choose up to 24 studies: as many of each answer, evenly over the archive, so that none is hidden by the rest."""
    names = sorted({name for study in studies for name in study.labels})
    name = "class" if "class" in names else names[0] if names else ""
    groups: dict[str, list[Study]] = defaultdict(list)
    for study in studies:
        groups[str(study.labels.get(name))].append(study)
    share = max(1, _TILES // len(groups))
    chosen = []
    for answer in sorted(groups):
        group = groups[answer]
        step = max(1.0, len(group) / share)
        chosen += [group[int(i * step)] for i in range(min(share, len(group)))]
    return chosen[:_TILES]


def _answers(study: Study) -> str:
    """Say a study's known labels in a few words; only what is present, where there are several."""
    if "class" in study.labels:
        return f"class: {study.labels['class'] or 'unknown'}"
    words = {True: "yes", False: "no", None: "unknown"}
    labels = list(study.labels.items())
    if len(labels) > 1:
        labels = [(n, v) for n, v in labels if v] or labels[:1]
    return ", ".join(f"{n}: {words.get(v, v)}" for n, v in labels)


def _counts(counts: Mapping[str, int], most: int = 8) -> str:
    """Return counts in one line, the rest summed up."""
    shown = [f"{name} {n:,}" for name, n in list(counts.items())[:most]]
    rest = list(counts.values())[most:]
    return " · ".join([*shown, f"{len(rest):,} others {sum(rest):,}"] if rest else shown)
