"""Leaks in real folders, as a person brings them: collected, divided by image, and named by the certificate."""

from __future__ import annotations

import csv
import hashlib
import random
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from overread.domain import Image, Study
from overread.errors import CohortError
from overread.stats import splits
from overread.stats.certificate import NONE
from overread.steps import leakage
from overread.steps.collect import collect
from overread.store.archive import Archive
from overread.store.objects import content_hash


def collected(folder, rows, into, *, patient=None) -> Archive:
    """Collect a folder with a table of file, mass, part, and perhaps patient; ``part`` is the split a user brings."""
    table = into / "labels.csv"
    with open(table, "w", newline="") as out:
        sheet = csv.DictWriter(out, rows[0])
        sheet.writeheader()
        sheet.writerows(rows)
    collect(folder, into=into / "archive", labels=table, patient=patient, workers=1, progress=False)
    return Archive.open(into / "archive")


def certified(archive: Archive, *, published: str | None, nameless: bool = False):
    studies, copies = list(archive.studies()), leakage.find_copies(archive)
    studies = [replace(study, patient=None) for study in studies] if nameless else studies
    split = splits.divide(studies, labels=["mass"], seed=0, published=published, alike=copies.near)
    return split, leakage.certify(split, copies, studies=studies, labels=["mass"])


def parted(n: int, *, seed: int) -> list[str]:
    """Divide by image, as a careless user would: 70 to train, 10 to tune, 20 to test of each hundred."""
    return random.Random(seed).choices(("train", "val", "test"), (7, 1, 2), k=n)


# --- brain_mri: 25 extra copies ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def brain(shared_data, tmp_path_factory):
    folder = shared_data / "brain_mri"
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png"))
    parts = parted(len(files), seed=3)
    rows = [{"file": p.relative_to(folder).as_posix(), "mass": int(p.parent.name == "yes"), "part": part}
            for p, part in zip(files, parts, strict=True)]  # fmt: skip
    bytes_of = [hashlib.sha256(p.read_bytes()).hexdigest() for p in files]
    with collected(folder, rows, tmp_path_factory.mktemp("brain")) as archive:
        yield archive, parts, bytes_of


def test_the_25_extra_copies_of_brain_mri_are_found_and_kept_on_one_side(brain):
    archive, _, bytes_of = brain
    split, found = certified(archive, published=None)
    assert len(bytes_of) - len(set(bytes_of)) == 25  # what a program that knows nothing of images says
    assert sum(c["exact"] for c in found["within"].values()) == 25
    assert sum(c["near"] for c in found["within"].values()) >= 15  # stored again, with loss
    assert not any(count for pair in found["overlaps"].values() for count in pair.values())
    assert not split.patients_known and "patient identity unknown" in split.warnings[0]


def test_copies_of_brain_mri_that_a_split_by_image_parts_are_counted_and_left_out(brain):
    archive, parts, bytes_of = brain
    _, found = certified(archive, published="part")
    in_training = {digest for part, digest in zip(parts, bytes_of, strict=True) if part == "train"}
    leaked = sum(part == "test" and digest in in_training for part, digest in zip(parts, bytes_of, strict=True))
    named = Counter(row["why"].split(" stands")[0] for row in found["excluded"]["testing"])
    assert named["the same picture"] == leaked > 3
    assert named["a near copy of the picture"] >= 3  # stored again, with loss: bytes do not show them
    left = {pair: counts for pair, counts in found["overlaps_left"].items() if "testing" in pair}
    assert len(left) == 3 and not any(count for counts in left.values() for count in counts.values())


# --- mammography: two views of each of 161 patients -------------------------------------------------------------------


@pytest.fixture(scope="module")
def breasts(shared_data):
    """File, answer and patient of each film."""
    with open(shared_data / "mammography" / "labels.csv", newline="") as table:
        return [(row["file"], int(row["label"] != "normal"), row["patient"], row["side_by_readme"])
                for row in csv.DictReader(table)]  # fmt: skip


def test_all_161_patients_of_a_split_by_side_are_named(breasts):
    """Left breasts to train, right ones to test: all 161 patients stand in both, and nothing is left to test on."""
    studies = [
        Study(f"S{i:012x}", (f"{i:064x}",), patient=patient, labels={"mass": bool(mass)},
              splits={"part": {"L": "train", "R": "test"}[side]}) for i, (_, mass, patient, side) in enumerate(breasts)
    ]  # fmt: skip
    split = splits.divide(studies, labels=["mass"], seed=0, published="part")
    found = leakage.certify(split, NONE, studies=studies, labels=["mass"])
    assert found["overlaps"]["training|testing"]["patients"] == 161 == len({patient for _, _, patient, _ in breasts})
    assert {row["why"] for row in found["excluded"]["testing"]} == {"the same patient stands in training"}
    with pytest.raises(CohortError, match="161 of the 161 testing images"):
        leakage.refuse_too_little(found, split)
    drawn = splits.divide(studies, labels=["mass"], seed=0)
    assert not any(c for pair in leakage.certify(drawn, NONE)["overlaps"].values() for c in pair.values() if c)


@pytest.fixture(scope="module")
def parted_breasts(breasts, shared_data, tmp_path_factory):
    parts = parted(len(breasts), seed=1)
    rows = [{"file": file, "mass": mass, "part": part, "patient": patient}
            for (file, mass, patient, _), part in zip(breasts, parts, strict=True)]  # fmt: skip
    home = tmp_path_factory.mktemp("breasts")
    with collected(shared_data / "mammography" / "images", rows, home, patient="patient") as archive:
        yield archive, [(part, patient) for (_, _, patient, _), part in zip(breasts, parts, strict=True)]


def test_every_view_that_a_split_by_image_parts_from_its_patient_is_named(parted_breasts):
    archive, rows = parted_breasts
    split, found = certified(archive, published="part")
    at = {part: {patient for p, patient in rows if p == part} for part in ("train", "val", "test")}
    from_training = sum(part == "test" and patient in at["train"] for part, patient in rows)
    of_tuning = sum(part == "val" and patient in at["train"] | at["test"] for part, patient in rows)
    assert split.patients_known and from_training > 40 and of_tuning > 20
    why = {cohort: Counter(row["why"].split(" stands")[0] for row in found["excluded"][cohort])
           for cohort in ("testing", "tuning")}  # fmt: skip
    assert why["testing"] == {"the same patient": from_training}
    assert why["tuning"]["the same patient"] == of_tuning  # and of what is left of it, too little to be of use
    brought = found["overlaps"]
    assert brought["tuning|testing"]["patients"] == len(at["val"] & at["test"])
    assert brought["training|testing"]["patients"] + brought["calibration|testing"]["patients"] == from_training
    assert not any(c["patients"] for pair, c in found["overlaps_left"].items() if "testing" in pair)


def test_without_a_patient_column_no_view_is_found_and_the_report_says_that_nobody_knows(parted_breasts):
    """The other breast of a patient is no copy, mirrored or not: pixels do not show whose it is."""
    archive, _ = parted_breasts
    split, found = certified(archive, published="part", nameless=True)
    assert found["excluded"]["testing"] == [] and not found["patients_known"]
    assert not any(counts[kind] for counts in found["overlaps"].values() for kind in ("exact", "near"))
    assert "patient identity unknown" in split.warnings[0]


# --- pneumoniamnist: copies in an official split ----------------------------------------------------------------------


def test_the_copies_in_the_official_split_of_pneumoniamnist(shared_data):
    """18 inside training, 3 inside testing; 8 of 524 tuning pictures are training ones, and are not tuned on."""
    studies = []
    with np.load(shared_data / "medmnist" / "pneumoniamnist.npz") as held:
        for part in ("train", "val", "test"):
            for picture, label in zip(held[f"{part}_images"], held[f"{part}_labels"], strict=True):
                name = content_hash(Image(picture[None], full_range=(0, 255)))
                study = {"labels": {"mass": bool(label[0])}, "splits": {"part": part}}
                studies.append(Study(f"S{len(studies):012x}", (name,), **study))
    split = splits.divide(studies, labels=["mass"], seed=0, published="part")
    found = leakage.certify(split, NONE, studies=studies, labels=["mass"])
    assert found["overlaps"]["training|tuning"]["exact"] == 8 and found["images"]["tuning"] == 524
    assert len(split.cohorts["tuning"]) == 516 and not found["overlaps_left"]["training|tuning"]["exact"]
    inside = found["within"]
    assert inside["training"]["exact"] + inside["calibration"]["exact"] == 18 and inside["testing"]["exact"] == 3
    assert found["overlaps"]["training|testing"]["exact"] == 0
