"""Inspect: what lies in an archive, before anything is learnt from it."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from overread.domain import Study
from overread.imaging.likeness import Pair
from overread.pages.contact import contact_sheet
from overread.steps.collected import PASSED_OVER, Collected, cut_short, label_counts
from overread.steps.inspect_page import answers, credit_line, size, write_page
from overread.steps.inspected import Inspection
from overread.steps.looks import looks
from overread.steps.opened import open_archive
from overread.steps.parts import in_parts
from overread.steps.people import is_sure, read_people, told_of
from overread.steps.progress import progress as bar
from overread.steps.verdicts import ACCEPTED, NOTED, REFUSED, Seen, code_table, notes_of, see, verdict_of
from overread.store.archive import Archive
from overread.store.crosswalk import Crosswalk
from overread.store.objects import ImageRecord, write_atomically

_TILES = 24
_FEW = 10


def inspect(
    archive: str | os.PathLike | Archive | Collected,
    *,
    page: str | os.PathLike | None = None,
    progress: bool = True,
) -> Inspection:
    """Say what lies in an archive: how many, how large, of whom, with which labels, what was refused, and how it looks.

    Writes ``archive.html``, ``contact.png`` and ``looks.npz`` (what was measured, so that the next time is quick) into
    the archive; none of them holds a file's name.

    Parameters
    ----------
    archive : path, Archive or Collected
    page : path, optional
        Write the page there instead, with the names of refused files: keep it as you keep the files.
    progress : bool
        Draw a bar on stderr when it takes longer than two seconds.

    Returns
    -------
    Inspection

    Raises
    ------
    ArchiveError
        When there is no archive.
    IntegrityError
        When the voxels of an image are missing or are not what was stored.
    """
    page = None if page is None else Path(page)
    if isinstance(archive, Archive):
        return _inspect(archive, page, show=progress)
    with open_archive(archive) as store:
        return _inspect(store, page, show=progress)


def _inspect(archive: Archive, page: Path | None, *, show: bool) -> Inspection:
    n_images, n_studies = archive.count()
    records = list(bar(archive.images(), total=n_images, what="looking at images", unit="images", show=show))
    studies = list(bar(archive.studies(), total=n_studies, what="looking at studies", unit="studies", show=show))
    files, duplicates, torn = _files(archive, studies)
    refused = [entry for entry in files["refused"] if entry["code"] not in PASSED_OVER]
    looked = looks(archive, records, show=show)
    seen = see(records, studies, looked)
    notes = notes_of(records, studies, seen)
    people, shared = _of_people(studies), read_people(archive)
    inspection = Inspection(
        archive=archive.where,
        **_of_images(records),
        **people,
        **_of_verdicts(records, notes, refused),
        **_of_likeness(records, seen),
        duplicates=duplicates,
        files=files,
        warnings=(
            *cut_short(archive.unclaimed()),
            *_warnings(studies, people["labels"], records, people["studies_without_patient"]),
            *_warnings_seen(seen, records, studies),
            *told_of(shared),
            *torn,
        ),
        shared_numbers=sum(map(is_sure, shared.values())),
        contact_sheet=_contact(archive, studies, records, show=show),
        page=str(page or archive.path / "archive.html"),
    )
    write_page(
        Path(inspection.page),
        archive=archive,
        inspection=inspection.to_json(),
        records=records,
        studies=studies,
        looks=looked,
        seen=seen,
        notes=notes,
        refused=refused,
        names=page is not None,
    )
    return inspection


def _of_images(records: list[ImageRecord]) -> dict[str, Any]:
    """Count what the images are, and what their headers say."""
    return {
        "images": len(records),
        "volumes": sum(record.shape[0] > 1 for record in records),
        "bytes": sum(record.bytes for record in records),
        "modalities": _tally(record.modality or "not said" for record in records),
        "sizes": _tally(size(record) for record in records),
        "units": _tally(record.unit for record in records),
        "formats": _tally(_format(record) for record in records),
        "bits": _tally(record.attributes.get("bits", "not said") for record in records),
        "spacings": _tally(_spacing(record) for record in records),
        "body_parts": _said(records, "BodyPartExamined"),
        "views": _said(records, "ViewPosition"),
        "scanners": _tally(filter(None, map(_scanner, records))),
        "intensities": _intensities(records),
    }


def _of_people(studies: list[Study]) -> dict[str, Any]:
    """Count whose the studies are, and what is known of them."""
    of_patient: dict[str, set[str]] = defaultdict(set)
    for study in studies:
        if study.patient is not None:
            of_patient[study.patient].update(study.images)
    return {
        "studies": len(studies),
        "patients": len(of_patient),
        "studies_without_patient": sum(study.patient is None for study in studies),
        "patients_with_several_images": sum(len(images) > 1 for images in of_patient.values()),
        "images_a_patient": _images_a_patient(of_patient),
        "labels": label_counts(studies),
        "strata": _columns(study.strata for study in studies),
        "splits": _columns(study.splits for study in studies),
    }


def _of_verdicts(
    records: list[ImageRecord], notes: list[tuple[str, ...]], refused: list[dict[str, Any]]
) -> dict[str, Any]:
    """Count what was accepted, noted and refused, and say it of each image."""
    return {
        "verdicts": {ACCEPTED: sum(not n for n in notes), NOTED: sum(map(bool, notes)), REFUSED: len(refused)},
        "codes": tuple(code_table(notes, refused)),
        "each": tuple({"image": record.hash, **verdict_of(n)} for record, n in zip(records, notes, strict=True)),
    }


def _of_likeness(records: list[ImageRecord], seen: Seen) -> dict[str, Any]:
    """Say what comparing the images showed."""
    return {
        "near_copies": None if seen.pairs is None else tuple(_pair(pair, records) for pair in seen.pairs),
        "seen": {
            "near_copies": None if seen.pairs is None else len(seen.pairs),
            "lettering": len(seen.lettered),
            "outliers": len(seen.outliers),
            "two_labels": len(seen.conflicts),
        },
    }


def _pair(pair: Pair, records: list[ImageRecord]) -> dict[str, Any]:
    images = [records[pair.first].hash, records[pair.second].hash]
    return {"images": images, "likeness": round(pair.likeness, 4), "way": pair.way}


def _tally(words) -> dict[str, int]:
    """Count, the most frequent first."""
    return dict(sorted(Counter(words).items(), key=lambda item: (-item[1], item[0])))


def _columns(rows) -> dict[str, dict[str, int]]:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        for name, value in row.items():
            counts[name][value] += 1
    return {name: _tally(counts[name].elements()) for name in sorted(counts)}


def _format(record: ImageRecord) -> str:
    return record.attributes.get("format") or ("DICOM" if record.modality else "not said")


def _spacing(record: ImageRecord) -> str:
    """Return the spacing of a picture's rows and columns, with that of a volume's slices first."""
    if record.spacing_mm is None:
        return "not said"
    return " × ".join(f"{mm:.3g}" for mm in record.spacing_mm[0 if record.shape[0] > 1 else 1 :])


def _said(records: list[ImageRecord], keyword: str) -> dict[str, int]:
    """Count what the headers say; nothing where none says anything."""
    counts = _tally(record.attributes.get(keyword) or "not said" for record in records)
    return {} if set(counts) <= {"not said"} else counts


def _scanner(record: ImageRecord) -> str:
    a = record.attributes
    tesla = f"{a['MagneticFieldStrength']} T" if a.get("MagneticFieldStrength") else ""
    return " ".join(filter(None, (a.get("Manufacturer"), a.get("ManufacturerModelName"), tesla)))


def _images_a_patient(of_patient: Mapping[str, set[str]]) -> dict[str, int]:
    """Count patients by how many images they have."""
    steps = ((1, "1 image"), (2, "2 images"), (5, "3 to 5"), (10, "6 to 10"), (float("inf"), "more than 10"))
    counts = Counter(next(word for most, word in steps if len(images) <= most) for images in of_patient.values())
    return {word: counts[word] for _, word in steps if counts[word]}


def _intensities(records: list[ImageRecord]) -> dict[str, dict[str, float]]:
    ranges: dict[str, dict[str, float]] = {}
    for record in records:
        if record.low is None or record.high is None:
            continue
        known = ranges.setdefault(record.unit, {"low": record.low, "high": record.high})
        known["low"], known["high"] = min(known["low"], record.low), max(known["high"], record.high)
    return ranges


def _files(archive: Archive, studies: list[Study]) -> tuple[dict[str, Any], int, list[str]]:
    """Return every file ever offered, how many copies there were, and what came in parts; from the names shelf while it is there."""
    if archive.anonymous:
        images = [image for study in studies for image in study.images]
        return {"read": len(images), "refused": []}, len(images) - len(set(images)), []
    with Crosswalk(archive.names) as book:
        offered = list(book.offered().values())
        images: list[str] = []
        torn = in_parts(source for source in book.sources() if not images.append(source.image))  # in one pass
    refused = [{"file": o.name, "reason": o.reason, "code": o.code} for o in offered if o.code is not None]
    read = {o.within if o.is_chunk else o.key for o in offered if o.code is None}
    return {"read": len(read), "refused": refused}, len(images) - len(set(images)), torn


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
        whose = "1 image" if shared == 1 else f"{shared:,} images"
        told.append(f"{whose} came under several patients: copies, or one patient under several names")
    for name in sorted({name for study in studies for name in study.splits}):
        told += _split_warnings(studies, name)
    return tuple(told)


def _warnings_seen(seen: Seen, records: list[ImageRecord], studies: list[Study]) -> tuple[str, ...]:
    """Tell what comparing the images showed that would spoil a result."""
    told = []
    if seen.pairs is None:
        told.append(f"near copies were not looked for: {len(records):,} images are too many to compare each with each")
    owners: dict[str, set[str]] = defaultdict(set)
    for study in studies:
        if study.patient is not None:
            for image in study.images:
                owners[image].add(study.patient)
    both = ((owners[records[p.first].hash], owners[records[p.second].hash]) for p in seen.pairs or ())
    across = sum(bool(one) and bool(other) and not one & other for one, other in both)
    if across:
        told.append(
            f"{across:,} pairs of images of different patients are nearly the same picture: copies, neighbouring slices, or "
            "one patient under several names"
        )
    if seen.conflicts:
        told.append(f"{len(seen.conflicts):,} pictures, or copies of them, stand under two answers to one label")
    if seen.lettered:
        told.append(f"{len(seen.lettered):,} images may have writing in their pixels: look whether it names somebody")
    modes = {r.attributes.get("PresentationIntentType") for r in records} - {None, ""}
    if len(modes) > 1:
        told.append(f"images {' and '.join(sorted(modes))} are mixed: a network sees which is which")
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
        f"{answers(study)}\n{credit_line(r) or f'{size(r)} {r.modality}'}".strip()
        for study in chosen
        for r in [shapes[study.images[0]]]
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
