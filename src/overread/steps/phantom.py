"""``overread phantom``: make a set of simulated examinations whose truth is known to the pixel.

Chest films (or small chest CTs) of invented patients, half of them with nodules, as real DICOM files; beside them
``labels.csv`` (what ``overread collect --labels`` reads) and ``lesions.csv`` (where every nodule lies).
"""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from overread import engine
from overread.errors import OverreadError
from overread.formats.phantom_dicom import Header, write_ct, write_dx
from overread.imaging.phantom import Body
from overread.imaging.phantom_body import PLAIN, PLAIN_MM, SUBTLE, SUBTLE_MM, draw_body
from overread.imaging.phantom_exposure import (
    FIELD_MM,
    Detector,
    Mark,
    ct_spacing,
    expose,
    film_marks,
    scan,
    volume_marks,
)
from overread.steps.progress import progress as bar

LABELS = ("file", "patient", "study", "nodule", "sex", "age_band", "site", "view")
LESIONS = ("file", "slice", "row", "column", "radius", "contrast")

CT_SLICES = 24

SUBTLE_SHARE = 0.04
"""Of patients with nodules: those who have a single small, faint one, so that no reader is right every time."""


@dataclass(frozen=True)
class Site:
    """One invented hospital: its radiography system and whether that stores negatives (MONOCHROME1)."""

    institution: str
    manufacturer: str
    model: str
    detector: Detector
    inverted: bool


SITES = {
    "A": Site("Phantom Hospital A", "Example Alpha", "Wallstand 1", Detector(), False),
    "B": Site(
        "Phantom Hospital B",
        "Example Beta",
        "Bucky 2",
        Detector(photons=8000, blur_mm=1.3, scatter=0.45, edge=0.5, latitude=1.08),
        True,
    ),
    "C": Site(
        "Phantom Hospital C", "Example Gamma", "Panel 3", Detector(photons=16000, edge=1.1, latitude=0.94), False
    ),
}


@dataclass(frozen=True)
class Phantom:
    """What was made.

    Parameters
    ----------
    folder, labels, lesions : Path
        The set, and its two tables.
    patients, studies, files, images : int
        ``images`` counts films or series.
    positives : int
        Patients with at least one nodule.
    """

    folder: Path
    labels: Path
    lesions: Path
    kind: str
    patients: int
    studies: int
    images: int
    files: int
    positives: int

    @property
    def summary(self) -> str:
        """One line for a person."""
        what = "chest films" if self.kind == "chest" else "chest CT series"
        return (
            f"{self.images} {what} ({self.files} DICOM files) of {self.patients} simulated patients, "
            f"{self.positives} of them with nodules, in {self.folder}"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the summary for ``--json``."""
        return {k: str(v) if isinstance(v, Path) else v for k, v in self.__dict__.items()}

    def __str__(self) -> str:
        return f"{self.summary}\nnext: overread collect {self.folder / 'images'} --labels {self.labels} --into ARCHIVE"


def phantom(
    out: str | Path,
    *,
    patients: int = 300,
    size: int | None = None,
    seed: int = 0,
    kind: str = "chest",
    now: datetime | None = None,
    first: int = 1,
    workers: int | None = None,
    progress: bool = True,
) -> Phantom:
    """Simulate patients and write their examinations as DICOM, with the truth beside them.

    Patient ``i`` of a seed is always the same, whoever is made before or beside them: a set can be extended, and two
    sets with other ``first`` share nobody.

    Parameters
    ----------
    out : path
        A new or empty folder, or one that ``phantom`` made before.
    patients : int
        How many; every second one, at random, has nodules.
    size : int, optional
        Rows and columns; 256 for films and 64 for CT when not given.
    seed : int
    kind : {"chest", "ct"}
        Films (PA, for some a lateral or a follow-up), or volumes of 24 slices.
    now : datetime, optional
        The day on which the latest examination can have been; dates go back from here. Today when not given.
    first : int
        Number of the first patient.
    workers : int, optional
        Processes; as many as there are cores when not given. The files do not depend on it.
    progress : bool
        Show a bar on stderr.

    Returns
    -------
    Phantom

    Raises
    ------
    OverreadError
        If the kind or a number cannot be used, or the folder holds something else.
    """
    out, now = Path(out), now or datetime.now().astimezone()
    size = size or {"chest": 256, "ct": 64}.get(kind, 0)
    if kind not in ("chest", "ct"):
        raise OverreadError(f"the kind {kind!r}", expected="chest or ct", do="give --kind chest or --kind ct")
    if patients < 1 or first < 1 or seed < 0 or not 32 <= size <= 2048:
        raise OverreadError(
            f"{patients} patients from number {first}, seed {seed}, {size} pixels",
            expected="at least 1 patient, a first number of at least 1, a seed of at least 0 and 32 to 2048 pixels",
            do="change the numbers",
        )
    if out.exists() and any(out.iterdir()) and not (out / "lesions.csv").exists():
        raise OverreadError("a folder that holds something else", expected="a new or empty folder", do="name another")
    (out / "images").mkdir(parents=True, exist_ok=True)
    numbers = range(first, first + patients)
    make = partial(_films if kind == "chest" else _volume, out=out, size=size, seed=seed, now=now)
    made = bar(
        engine.map(make, numbers, workers=workers), total=patients, what="simulate", unit="patients", show=progress
    )
    labels: list[tuple] = []
    lesions: list[tuple] = []
    for films in made:
        if isinstance(films, engine.Failure):
            raise OverreadError(
                "a worker process that died", expected="enough memory", do="make fewer or smaller images"
            )
        labels += films[0]
        lesions += films[1]
    _table(out / "labels.csv", LABELS, labels)
    _table(out / "lesions.csv", LESIONS, lesions)
    return Phantom(
        folder=out,
        labels=out / "labels.csv",
        lesions=out / "lesions.csv",
        kind=kind,
        patients=patients,
        studies=len({row[2] for row in labels}),
        images=len(labels),
        files=len(labels) * (CT_SLICES if kind == "ct" else 1),
        positives=len({row[1] for row in labels if row[3]}),
    )


@dataclass(frozen=True)
class _Patient:
    """Who one simulated patient is; everything is drawn from the seed and the patient's number."""

    number: int
    sex: str
    age: int
    site: str
    body: Body
    positive: bool
    seen: datetime

    def header(self, study: int, *, seed: int, time: datetime) -> Header:
        """Return the DICOM header of the patient's n-th examination."""
        site = SITES[self.site]
        return Header(
            name=f"PHANTOM^{self.number:04d}",
            patient_id=f"PHANTOM-{self.number:04d}",
            sex=self.sex,
            birth=date(self.seen.year - self.age, 1 + self.number % 12, 1 + self.number % 28),
            study_time=time,
            study_key=f"{seed}/{self.number}/{study}/{time.isoformat()}",
            institution=site.institution,
            manufacturer=site.manufacturer,
            model=site.model,
        )

    def row(self, file: str, study: int, view: str) -> tuple:
        """Return the patient's line in ``labels.csv`` for one film or series."""
        band = f"{self.age // 10 * 10}-{self.age // 10 * 10 + 9}"
        patient = f"PHANTOM-{self.number:04d}"
        return file, patient, f"{patient}-{study}", int(self.positive), self.sex, band, self.site, view


def _patient(number: int, *, seed: int, now: datetime, rng: np.random.Generator) -> _Patient:
    """Draw a patient. Of numbers 1 and 2, 3 and 4, … exactly one has nodules."""
    lucky = np.random.default_rng([seed, (number - 1) // 2, 77]).integers(2)
    positive = bool((number - 1) % 2 == lucky)
    sex = str(rng.choice(["F", "M"]))
    age = int(np.clip(rng.normal(58, 14), 20, 89))
    site = str(rng.choice(list(SITES), p=(0.5, 0.3, 0.2)))
    seen = now - timedelta(days=int(rng.integers(400, 800)), minutes=int(rng.integers(0, 1440)))
    count = int(rng.choice([1, 2, 3, 4], p=(0.15, 0.35, 0.3, 0.2)))
    subtle = rng.random() < SUBTLE_SHARE
    looks = {"radius_mm": SUBTLE_MM, "density": SUBTLE} if subtle else {"radius_mm": PLAIN_MM, "density": PLAIN}
    body = draw_body(rng, sex=sex, nodules=(1 if subtle else count) if positive else 0, **looks)
    return _Patient(number, sex, age, site, body, positive, seen)


def _films(number: int, *, out: Path, size: int, seed: int, now: datetime) -> tuple[list[tuple], list[tuple]]:
    """Write one patient's films: always a PA view, for some a lateral with it, for some a follow-up."""
    rng = np.random.default_rng([seed, number])
    patient = _patient(number, seed=seed, now=now, rng=rng)
    site = SITES[patient.site]
    lateral, follow_up = rng.random(2) < (0.12, 0.25)
    films = [(1, "PA", patient.body, patient.seen)]
    if lateral:
        films.append((1, "LL", patient.body, patient.seen))
    if follow_up:
        turned = dataclasses.replace(patient.body, turn=float(rng.normal(0, 2)))
        films.append((2, "PA", turned, patient.seen + timedelta(days=int(rng.integers(30, 365)), minutes=17)))
    labels, lesions = [], []
    for i, (study, view, body, time) in enumerate(films):
        name = f"images/{number:04d}-{study}-{view}.dcm"
        dose = float(np.exp(rng.normal(0, 0.25)))
        film = expose(body, view=view, size=size, detector=site.detector, dose=dose, rng=rng)
        header = patient.header(study, seed=seed, time=time)
        write_dx(
            out / name, film, header=header, view=view, number=i + 1, pixel_mm=FIELD_MM / size, inverted=site.inverted
        )
        labels.append(patient.row(name, study, view))
        lesions += _lesions(name, film_marks(body, view=view, size=size))
    return labels, lesions


def _volume(number: int, *, out: Path, size: int, seed: int, now: datetime) -> tuple[list[tuple], list[tuple]]:
    """Write one patient's CT series, for every second patient with the files in another order than the slices."""
    rng = np.random.default_rng([seed, number])
    patient = _patient(number, seed=seed, now=now, rng=rng)
    volume = scan(patient.body, size=size, slices=CT_SLICES, rng=rng)
    shuffled = number % 2 == 0
    order = rng.permutation(CT_SLICES).tolist() if shuffled else list(range(CT_SLICES))
    header = patient.header(1, seed=seed, time=patient.seen)
    name = f"images/{number:04d}"
    write_ct(out / name, volume, header=header, spacing_mm=ct_spacing(size, CT_SLICES), order=order)
    marks = volume_marks(patient.body, size=size, slices=CT_SLICES)
    return [patient.row(name, 1, "axial")], _lesions(name, marks)


def _lesions(name: str, marks: Sequence[Mark]) -> list[tuple]:
    """Return the lines of ``lesions.csv`` for one film or series."""
    return [(name, *dataclasses.astuple(mark)) for mark in marks]


def _table(path: Path, columns: tuple[str, ...], rows: list[tuple]) -> None:
    """Write a CSV file."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
