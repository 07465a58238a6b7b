"""Write phantoms as DICOM objects that any viewer, archive or validator takes for real ones.

The headers are fictitious, and filled on purpose with what a hospital's are filled with (names, dates, institution,
physician), so that everything downstream meets identity and has to deal with it.

References
----------
DICOM PS3.3 A.26 (Digital X-Ray Image), A.3 (CT Image); C.8.11 (DX modules); C.7.6.2 (Image Plane).
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import numpy as np
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage, DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian

UID_ROOT = uuid.UUID("5b1c0c9e-0d5c-4a2e-9a63-6f7665727264")


@dataclass(frozen=True)
class Header:
    """What a header says of a phantom patient and examination.

    Parameters
    ----------
    name, patient_id, sex : str
        All fictitious; sex is "F" or "M".
    birth : datetime.date
    study_time : datetime.datetime
    study_key : str
        Equal for all images of one examination; its UIDs are made from it.
    institution, manufacturer, model : str
    """

    name: str
    patient_id: str
    sex: str
    birth: date
    study_time: datetime
    study_key: str
    institution: str
    manufacturer: str
    model: str


def uid_of(*words: object) -> str:
    """Return a UID that depends on the words alone (2.25.…, from a name-based UUID).

    Examples
    --------
    >>> uid_of("a", 1) == uid_of("a", 1), uid_of("a", 1) == uid_of("a", 2)
    (True, False)
    """
    return f"2.25.{uuid.uuid5(UID_ROOT, '/'.join(map(str, words))).int}"


def write_dx(
    path: Path, film: np.ndarray, *, header: Header, view: str, number: int, pixel_mm: float, inverted: bool = False
) -> None:
    """Write a film as Digital X-Ray Image Storage – For Presentation, 12 bits stored in 16.

    Parameters
    ----------
    path : Path
    film : ndarray (rows, columns), uint16
        0 … 4095, bright where much was absorbed.
    header : Header
    view : {"PA", "LL"}
    number : int
        Instance number within the study.
    pixel_mm : float
        Imager pixel spacing.
    inverted : bool
        Store the negative as MONOCHROME1, as some systems do; it looks the same in a viewer.
    """
    ds = _patient_and_study(header, modality="DX", series=f"film {number}")
    ds.SOPClassUID = DigitalXRayImageStorageForPresentation
    ds.SOPInstanceUID = uid_of(header.study_key, "film", number)
    ds.SeriesNumber, ds.InstanceNumber = number, 1
    ds.PresentationIntentType = "FOR PRESENTATION"
    ds.ImageType = ["DERIVED", "PRIMARY", ""]
    ds.BodyPartExamined, ds.ImageLaterality = "CHEST", "U"
    ds.AnatomicRegionSequence = [_code("816094009", "SCT", "Chest")]
    ds.ViewPosition = view
    ds.ViewCodeSequence = [
        _code("272479007", "SCT", "postero-anterior") if view == "PA" else _code("399173006", "SCT", "left lateral")
    ]
    ds.ViewCodeSequence[0].ViewModifierCodeSequence = Sequence()
    ds.PatientOrientation = ["L", "F"] if view == "PA" else ["P", "F"]
    ds.PositionerType = "COLUMN"
    ds.DetectorType = "SCINTILLATOR"
    ds.ImagerPixelSpacing = [round(pixel_mm, 6)] * 2
    ds.DistanceSourceToDetector, ds.KVP = 1800, 120
    ds.AcquisitionContextSequence = Sequence()
    ds.PixelIntensityRelationship, ds.PixelIntensityRelationshipSign = "LOG", 1 if inverted else -1
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = 0, 1, "US"
    ds.WindowCenter, ds.WindowWidth = 2048, 4096
    ds.PresentationLUTShape = "INVERSE" if inverted else "IDENTITY"
    ds.LossyImageCompression, ds.BurnedInAnnotation = "00", "NO"
    stored = 4095 - film if inverted else film
    _pixels(ds, stored.astype("<u2"), photometric="MONOCHROME1" if inverted else "MONOCHROME2")
    _save(path, ds)


def write_ct(folder: Path, volume: np.ndarray, *, header: Header, spacing_mm: tuple, order: list[int]) -> list[Path]:
    """Write a CT volume as a series of axial slices with geometry.

    Parameters
    ----------
    folder : Path
        Made if missing.
    volume : ndarray (slices, rows, columns), int16
        HU; slice 0 is the lowest, rows run from front to back, columns from the patient's right to left.
    header : Header
    spacing_mm : (float, float, float)
        Between slices, rows and columns.
    order : list of int
        ``order[i]`` is the slice that becomes the i-th file and instance: shuffled, it shows that a reader sorts by
        position and not by name or number.

    Returns
    -------
    list of Path
        In the order written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    thick, row_mm, column_mm = spacing_mm
    slices, rows, columns = volume.shape
    paths = []
    for i, at in enumerate(order):
        ds = _patient_and_study(header, modality="CT", series="volume")
        ds.SOPClassUID = CTImageStorage
        ds.SOPInstanceUID = uid_of(header.study_key, "slice", at)
        ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = uid_of(header.study_key, "frame"), ""
        ds.SeriesNumber, ds.AcquisitionNumber, ds.InstanceNumber = 1, 1, i + 1
        ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        ds.BodyPartExamined, ds.PatientPosition, ds.KVP = "CHEST", "HFS", 120
        ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        place = ((0.5 - columns / 2) * column_mm, (0.5 - rows / 2) * row_mm, (at + 0.5 - slices / 2) * thick)
        ds.ImagePositionPatient = [round(v, 4) for v in place]
        ds.SliceLocation = round(place[2], 4)
        ds.PixelSpacing, ds.SliceThickness = [row_mm, column_mm], thick
        ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = -1024, 1, "HU"
        ds.WindowCenter, ds.WindowWidth = -550, 1600
        _pixels(ds, (volume[at] + 1024).astype("<u2"), photometric="MONOCHROME2")
        paths.append(folder / f"{i + 1:04d}.dcm")
        _save(paths[-1], ds)
    return paths


def _patient_and_study(header: Header, *, modality: str, series: str) -> Dataset:
    """Return the patient, study, series and equipment modules."""
    ds = Dataset()
    day, clock = header.study_time.strftime("%Y%m%d"), header.study_time.strftime("%H%M%S")
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.PatientName, ds.PatientID = header.name, header.patient_id
    ds.PatientBirthDate, ds.PatientSex = header.birth.strftime("%Y%m%d"), header.sex
    years = header.study_time.year - header.birth.year
    years -= (header.study_time.month, header.study_time.day) < (header.birth.month, header.birth.day)
    ds.PatientAge = f"{years:03d}Y"
    ds.StudyInstanceUID, ds.StudyID = uid_of(header.study_key), "1"
    ds.SeriesInstanceUID = uid_of(header.study_key, series)
    ds.AccessionNumber = f"{int(uid_of(header.study_key, 'accession')[5:]) % 10**10:010d}"
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = day
    ds.StudyTime = ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = clock
    ds.ReferringPhysicianName, ds.OperatorsName = "PHANTOM^REFERRER", "PHANTOM^OPERATOR"
    ds.StudyDescription = ds.SeriesDescription = "Phantom chest"
    ds.Modality = modality
    ds.InstitutionName, ds.StationName = header.institution, "PHANTOM1"
    ds.Manufacturer, ds.ManufacturerModelName = header.manufacturer, header.model
    ds.DeviceSerialNumber, ds.SoftwareVersions = "0000", "1"
    return ds


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    """Return one coded term."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def _pixels(ds: Dataset, stored: np.ndarray, *, photometric: str) -> None:
    """Put 12-bit pixels, stored in 16, and their description into a dataset."""
    ds.Rows, ds.Columns = stored.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, photometric
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 12, 11
    ds.PixelRepresentation = 0
    ds.PixelData = stored.tobytes()


def _save(path: Path, ds: Dataset) -> None:
    """Write a dataset with its file meta information."""
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dcmwrite(path, ds, enforce_file_format=True)
