"""The tables of the archive's database: images and studies as rows of it, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping

from overread.domain import Geometry, Study, canonical_json
from overread.store.objects import ImageRecord

APPLICATION_ID = 0x6F766172  # "ovar"
MIGRATIONS = (
    """
    CREATE TABLE images (
        hash TEXT PRIMARY KEY, bytes INTEGER NOT NULL, dtype TEXT NOT NULL, shape TEXT NOT NULL, unit TEXT NOT NULL,
        full_range TEXT, geometry TEXT, spacing_mm TEXT, modality TEXT NOT NULL,
        attributes TEXT NOT NULL, notes TEXT NOT NULL, low REAL, high REAL
    ) WITHOUT ROWID;
    CREATE TABLE studies (
        first_image TEXT NOT NULL, pseudonym TEXT PRIMARY KEY, images TEXT NOT NULL, patient TEXT,
        labels TEXT NOT NULL, strata TEXT NOT NULL, splits TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX studies_in_order ON studies (first_image, pseudonym)
    """,
)
IMAGE_COLUMNS = (
    "hash, bytes, dtype, shape, unit, full_range, geometry, spacing_mm, modality, attributes, notes, low, high"
)
REPLACED = "CREATE TABLE IF NOT EXISTS replaced (hash TEXT PRIMARY KEY) WITHOUT ROWID"
"""Images that no study has any longer. Made when the first one is: an archive on a disk that is only read stays as it is."""


def row_of(record: ImageRecord) -> tuple[str | float | None, ...]:
    """Return an image's record as the archive keeps it: thirteen numbers and short texts, of which the first is its hash."""
    return (
        record.hash,
        record.bytes,
        record.dtype,
        canonical_json(record.shape),
        record.unit,
        _json_or_none(record.full_range),
        None if record.geometry is None else canonical_json(record.geometry.affine),
        _json_or_none(record.spacing_mm),
        record.modality,
        _json(record.attributes),
        canonical_json(record.notes),
        record.low,
        record.high,
    )


def record_of(row: tuple) -> ImageRecord:
    """Return the record that a row of the archive is."""
    hash, size, dtype, shape, unit, full_range, geometry, spacing, modality, attributes, notes, low, high = row
    return ImageRecord(
        hash=hash,
        bytes=size,
        dtype=dtype,
        shape=tuple(json.loads(shape)),
        unit=unit,
        full_range=_tuple_or_none(full_range),
        geometry=None if geometry is None else Geometry(tuple(tuple(r) for r in json.loads(geometry))),
        spacing_mm=_tuple_or_none(spacing),
        modality=modality,
        attributes=json.loads(attributes),
        notes=tuple(json.loads(notes)),
        low=low,
        high=high,
    )


def row_of_study(study: Study) -> tuple[str | None, ...]:
    """Return a study as the archive keeps it."""
    return (
        min(study.images, default=""),
        study.pseudonym,
        canonical_json(study.images),
        study.patient,
        _json(study.labels),
        _json(study.strata),
        _json(study.splits),
    )


def study_of(row: tuple) -> Study:
    """Return the study that a row of the archive is."""
    _, pseudonym, images, patient, labels, strata, splits = row
    return Study(
        pseudonym,
        tuple(json.loads(images)),
        patient=patient,
        labels=json.loads(labels),
        strata=json.loads(strata),
        splits=json.loads(splits),
    )


def _json(words: Mapping) -> str:
    return canonical_json(words) if words else "{}"  # most are empty


def _json_or_none(values: tuple[float, ...] | None) -> str | None:
    return None if values is None else canonical_json(values)


def _tuple_or_none(text: str | None) -> tuple | None:
    return None if text is None else tuple(json.loads(text))
