"""DICOM objects written by the Standard's book, so that a trap breaks one rule and no other."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, generate_uid

from benchmarks.dicom_traps import scene

CT, MR, PET = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.128"
CR, DX, MG = "1.2.840.10008.5.1.4.1.1.1", "1.2.840.10008.5.1.4.1.1.1.1", "1.2.840.10008.5.1.4.1.1.1.2"
MG_RAW, TOMOSYNTHESIS = "1.2.840.10008.5.1.4.1.1.1.2.1", "1.2.840.10008.5.1.4.1.1.13.1.3"
ENHANCED_CT, ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.4.1"
US, US_CINE, NM = "1.2.840.10008.5.1.4.1.1.6.1", "1.2.840.10008.5.1.4.1.1.3.1", "1.2.840.10008.5.1.4.1.1.20"
CAPTURE, PARAMETRIC = "1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.5.1.4.1.1.30"
SIGNED, UNSIGNED = 1, 0


def uid(*words: object) -> str:
    """Return a UID that is the same at every run."""
    return generate_uid(entropy_srcs=["dicom traps", *map(str, words)])


def number(value: float) -> str:
    """Write a decimal string of at most 16 characters (the type's limit).

    Examples
    --------
    >>> number(-0.7071067811865476)
    '-0.7071067811865'
    """
    text = repr(float(value))
    if "e" in text or len(text) > 16:
        text = f"{value:.14f}"[:16].rstrip("0")
    return text.rstrip(".")


def numbers(values: object) -> list[str]:
    """Write several of them."""
    return [number(v) for v in np.ravel(values)]


def header(sop: str, modality: str, name: str, *, series: str = "1", instance: object = 1) -> Dataset:
    """Return what every image has: whose it is, which study, series and instance."""
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = sop, uid(name, series, instance)
    ds.StudyDate, ds.StudyTime, ds.SeriesTime, ds.AcquisitionTime = "20200102", "101500", "101500", "101500"
    ds.SeriesDate = ds.AcquisitionDate = "20200102"
    ds.AccessionNumber = ds.StudyID = ""
    ds.Modality, ds.Manufacturer = modality, "Formula"
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = "Trap^A", "T1", "19700101", "O"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = uid(name, "study"), uid(name, "series", series)
    ds.SeriesNumber = int(series) if series.isdecimal() else 1
    if isinstance(instance, int):
        ds.InstanceNumber = instance
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"] if modality == "CT" else ["ORIGINAL", "PRIMARY", ""]
    ds.PatientPosition = "HFS"
    return ds


def pixels(
    ds: Dataset, stored: np.ndarray, *, bits: int = 12, allocated: int = 16, sign: int = UNSIGNED, samples: int = 1
) -> Dataset:
    """Add stored values: (rows, columns), (frames, rows, columns) or, with 3 samples, one axis more."""
    frames = stored.ndim - (2 if samples == 1 else 3)
    rows, columns = stored.shape[frames : frames + 2]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = samples, "MONOCHROME2" if samples == 1 else "RGB"
    if samples == 3:
        ds.PlanarConfiguration = 0
    ds.Rows, ds.Columns, ds.BitsAllocated, ds.BitsStored, ds.HighBit = rows, columns, allocated, bits, bits - 1
    ds.PixelRepresentation = sign
    if frames:
        ds.NumberOfFrames = stored.shape[0]
    raw = np.round(stored).astype(f"<{'i' if sign else 'u'}{allocated // 8}").tobytes()
    return put(ds, raw)


def kind(ds: Dataset) -> str:
    """Say what a reader must know to read one file, for those that claim only some kinds."""
    if int(ds.get("NumberOfFrames") or 1) > 1:
        return "DICOM frames"
    if ds.Modality in ("CT", "MR", "PT"):
        return "DICOM slice"
    return "DICOM film" if ds.SamplesPerPixel == 1 and ds.Modality != "US" else "DICOM colour"


def put(ds: Dataset, raw: bytes) -> Dataset:
    """Set the pixel bytes, of even length."""
    ds.PixelData = raw + b"\0" * (len(raw) % 2)
    ds["PixelData"].VR = "OB" if ds.BitsAllocated <= 8 else "OW"
    return ds


def save(ds: Dataset, path: Path, syntax: str = ExplicitVRLittleEndian, *, streams: list[bytes] | None = None) -> Path:
    """Write a file; ``streams`` are the frames of an encapsulated syntax, already encoded."""
    syntax = UID(syntax)
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    meta.ImplementationClassUID = uid("writer")
    ds.file_meta = meta
    if streams is not None:
        ds.PixelData = encapsulate([s + b"\0" * (len(s) % 2) for s in streams])
        ds["PixelData"].VR = "OB"
        ds["PixelData"].is_undefined_length = True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom rightly warns of what a trap does on purpose
        ds.save_as(
            path,
            enforce_file_format=True,
            little_endian=syntax != ExplicitVRBigEndian,
            implicit_vr=syntax.is_implicit_VR,
        )
    return path


def ct(name: str, values: np.ndarray, *, series: str = "1", instance: object = 1) -> Dataset:
    """Return an axial CT slice whose HU are ``values``: 12 bits, slope 1, intercept −1024."""
    ds = header(CT, "CT", name, series=series, instance=instance)
    ds.FrameOfReferenceUID = uid(name, "frame of reference")
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = "-1024", "1", "HU"
    ds.KVP, ds.SliceThickness = "120", number(scene.SPACING[0])
    place(ds, scene.placed(shape=(1, *values.shape)), 0)
    return pixels(ds, values + 1024)


def place(ds: Dataset, affine: np.ndarray, k: float, *, shift: tuple[float, float, float] = (0, 0, 0)) -> Dataset:
    """Write where slice ``k`` of a grid lies."""
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    ds.PixelSpacing = numbers(spacing[1:])
    ds.ImageOrientationPatient = numbers([affine[:3, 2] / spacing[2], affine[:3, 1] / spacing[1]])
    ds.ImagePositionPatient = numbers(affine[:3, 3] + k * affine[:3, 0] + np.array(shift))
    return ds


def slices(
    name: str, affine: np.ndarray, *, shape: tuple[int, int, int] = scene.SHAPE, series: str = "1"
) -> list[Dataset]:
    """Return a CT series of the made-up patient, slice k with instance number k + 1."""
    out = []
    for k, values in enumerate(scene.volume(affine, shape)):
        out.append(place(ct(name, values, series=series, instance=k + 1), affine, k))
    return out


def save_all(sets: list[Dataset], folder: Path, *, names: list[str] | None = None) -> Path:
    """Write a series into a folder as IM0001.dcm … in the order given, or under the names given."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, ds in enumerate(sets):
        save(ds, folder / (names[i] if names else f"IM{i + 1:04d}.dcm"))
    return folder


def plain(name: str, sop: str, modality: str, stored: np.ndarray, **how: int) -> Dataset:
    """Return a picture without a place: a film, an ultrasound frame, a capture."""
    ds = header(sop, modality, name)
    return pixels(ds, stored, **how)
