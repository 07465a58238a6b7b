"""Traps of series that are torn or mixed: two people, two scans under one number, and slices that are not there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from benchmarks.dicom_traps import scene, writing
from benchmarks.dicom_traps.scene import SHAPE
from benchmarks.dicom_traps.truth import Case, Piece
from benchmarks.dicom_traps.volumes import series

_PERSON = r"(?i)patient|person|people|birth|sex\b|identit"
_LOST = r"(?i)missing|lost|incomplete|counted|of (the )?\d+|not offered|fewer"


def _halves(values: np.ndarray, affine: np.ndarray, first: int) -> tuple[Piece, Piece]:
    """The slices below ``first`` and those above, each a volume of its own."""
    upper = affine.copy()
    upper[:3, 3] += first * affine[:3, 0]
    return Piece(values[:first], affine, units=("HU",)), Piece(values[first:], upper, units=("HU",))


def two_people_one_number(folder: Path) -> Case:
    """ANONYMOUS stands for everybody: the lower half is of a woman born in 1950, the upper of a man born in 1990, and slices go on evenly."""
    affine = scene.placed()
    sets = writing.slices("two people", affine)
    for k, ds in enumerate(sets):
        ds.PatientID = "ANONYMOUS"
        ds.PatientBirthDate, ds.PatientSex = ("19500101", "F") if k < 6 else ("19900101", "M")
    apart = _halves(scene.volume(affine), affine, 6)
    return series(folder, sets, *apart, topic=_PERSON, numbers=(r"\b2 birth dates", r"\b12\b"), may_refuse=True)


def patient_number_changes(folder: Path) -> Case:
    """The patient's number was corrected half way: each half is a volume of its own, and nothing shows that it is a half."""
    affine = scene.placed()
    sets = writing.slices("corrected", affine)
    for ds in sets[6:]:
        ds.PatientID = "T2"
    halves = _halves(scene.volume(affine), affine, 6)
    told = [Piece(p.values, p.affine, units=p.units, told=_PERSON) for p in halves]
    whole = Piece(scene.volume(affine), affine, units=("HU",), told=_PERSON)
    case = series(folder, sets, *told, topic=_PERSON, may_refuse=True)
    return Case(case.path, case.kind, (*case.answers, (whole,)), topic=case.topic, may_refuse=True)


def one_uid_two_images(folder: Path) -> Case:
    """The upper slices have the SOP Instance UIDs of the lower: a reader that keeps one image a number loses half of the patient."""
    affine = scene.placed()
    sets, values = writing.slices("one uid", affine), scene.volume(affine)
    for k, ds in enumerate(sets[6:]):
        ds.SOPInstanceUID = sets[k].SOPInstanceUID
    topic = r"(?i)\buid|duplicat|identi|twice"
    return series(folder, sets, Piece(values, affine, units=("HU",), told=topic), topic=topic, may_refuse=True)


def fewer_than_counted(folder: Path) -> Case:
    """The header counts 40 images of its acquisition, and 12 lie here: evenly spaced, the upper two thirds of the body are gone."""
    affine = scene.placed()
    sets = writing.slices("counted", affine)
    for ds in sets:
        ds.AcquisitionNumber, ds.ImagesInAcquisition = 1, 40
    whole = Piece(scene.volume(affine), affine, units=("HU",), told=_LOST)
    return series(folder, sets, whole, topic=_LOST, may_refuse=True)


def slice_in_place_of_another(folder: Path) -> Case:
    """One slice was written at the place of the next, too, which is lost: evenly spaced, nothing is missing but a lesion."""
    affine = scene.placed()
    values = scene.volume(affine) + np.random.default_rng(4).integers(0, 20, SHAPE)
    values[7] = values[6]
    sets = [writing.pixels(ds, values[k] + 1024) for k, ds in enumerate(writing.slices("twice", affine))]
    topic = r"(?i)same|identical|duplicat|twice|equal"
    return series(folder, sets, Piece(values, affine, units=("HU",), told=topic), topic=topic, may_refuse=True)


def _brighter(name: str, where: slice) -> tuple[np.ndarray, np.ndarray, list[Dataset]]:
    """Twelve even slices, of which some are of a second scan, after contrast."""
    affine = scene.placed()
    values = scene.volume(affine)
    values[where] += 600
    return affine, values, [writing.pixels(ds, values[k] + 1024) for k, ds in enumerate(writing.slices(name, affine))]


def series_numbers_in_turn(folder: Path) -> Case:
    """Two scans under one series UID, slice by slice; only series number and description say so: every second slice enhances."""
    affine, values, sets = _brighter("numbers in turn", slice(1, None, 2))
    for k, ds in enumerate(sets):
        ds.SeriesNumber, ds.SeriesDescription = 3 + k % 2, ("native", "contrast")[k % 2]
    apart = []
    for first in (0, 1):
        half = affine.copy()
        half[:3, 3] += first * affine[:3, 0]
        half[:3, 0] *= 2
        apart.append(Piece(values[first::2], half, units=("HU",)))
    topic = r"(?i)series|take turns|two|several|differ|multiple"
    return series(folder, sets, *apart, topic=topic, numbers=(r"\b2\b",), may_refuse=True)


def _told_jump(folder: Path, name: str, where: slice, keyword: str, said: list[object]) -> Case:
    affine, values, sets = _brighter(name, where)
    for ds, value in zip(sets, said, strict=True):
        setattr(ds, keyword, value)
    words = r"(?i)acquisition|end.to.end|differ|jump|two scans"
    return series(folder, sets, Piece(values, affine, units=("HU",), told=words), topic=words, may_refuse=True)


def short_tail_end_to_end(folder: Path) -> Case:
    """Native to slice 5, contrast from slice 6 to 10 and a third scan of two slices: the short tail hides that the others differ."""
    return _told_jump(folder, "tail", slice(5, None), "AcquisitionNumber", [1] * 5 + [2] * 5 + [3] * 2)


def pause_between_slices(folder: Path) -> Case:
    """Every slice has its own time, and half way two hours pass, with contrast given: evenly spaced, and two examinations."""
    times = [f"{10 + 2 * (k > 5)}15{k:02d}" for k in range(12)]
    return _told_jump(folder, "pause", slice(6, None), "AcquisitionTime", times)


TRAPS = (
    two_people_one_number,
    patient_number_changes,
    one_uid_two_images,
    fewer_than_counted,
    slice_in_place_of_another,
    series_numbers_in_turn,
    short_tail_end_to_end,
    pause_between_slices,
)
