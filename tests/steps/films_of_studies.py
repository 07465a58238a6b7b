"""Made studies of several films: DICOM files whose finding is seen in one film of a study, in all of them, or in none."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pydicom

FILMS = 3


def one_film(path: Path, pixels: np.ndarray, *, study: int, number: int, patient: str, modality: str = "CR") -> Path:
    """Write one 8-bit film of a study."""
    ds = pydicom.Dataset()
    ds.file_meta = pydicom.dataset.FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    kinds = {"CR": pydicom.uid.ComputedRadiographyImageStorage, "MR": pydicom.uid.MRImageStorage}
    ds.SOPClassUID, ds.SOPInstanceUID = kinds[modality], f"1.2.9.{study}.{number}.1"
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.Modality = f"1.2.9.{study}", f"1.2.9.{study}.{number}", modality
    ds.PatientID, ds.PatientName, ds.InstanceNumber, ds.SeriesNumber = patient, "Doe^Jane", 1, number
    ds.PatientBirthDate = ds.PatientSex = ds.StudyDate = ds.StudyTime = ds.AccessionNumber = ds.StudyID = ""
    ds.ReferringPhysicianName = ""
    ds.Rows, ds.Columns = pixels.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 8, 8, 7, 0
    ds.PixelData = pixels.astype(np.uint8).tobytes()
    ds.save_as(path, enforce_file_format=True)
    return path


def film(rng: np.random.Generator, *, spot: float) -> np.ndarray:
    """A noisy film of 32 × 32, with a bright spot of some contrast."""
    y, x = np.mgrid[:32, :32]
    r, c = rng.uniform(8, 24, 2)
    blob = spot * np.exp(-((y - r) ** 2 + (x - c) ** 2) / 6)
    return np.clip(90 + 18 * rng.normal(size=(32, 32)) + blob, 0, 255).astype(np.uint8)


def studies(folder: Path, *, n: int, seen_in: str, seed: int = 0, two_each: bool = False) -> Path:
    """Write ``n`` studies of three films and a table of their answers; a finding is seen in "one" film or in "all"."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for i in range(n):
        there = i % 2 == 1
        which = int(rng.integers(FILMS))
        for k in range(FILMS):
            spot = 0.0 if not there else 28.0 if seen_in == "all" else 120.0 * (k == which)
            patient = f"N{seed}-{i // 4 if two_each else i}"
            path = one_film(folder / f"s{i:03d}-{k}.dcm", film(rng, spot=spot), study=1000 * seed + i, number=k + 1, patient=patient)  # fmt: skip
            rows.append({"file": path.name, "spot": "yes" if there else "no"})
    with open(folder / "labels.csv", "w", newline="") as sheet:
        table = csv.DictWriter(sheet, ["file", "spot"])
        table.writeheader()
        table.writerows(rows)
    return folder
