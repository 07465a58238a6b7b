"""Traps of nuclear medicine and of hearts: frames that are counted by vectors, doses that cannot be, slices that are moments."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from benchmarks.dicom_traps import scene, writing
from benchmarks.dicom_traps.truth import Case, Piece
from benchmarks.dicom_traps.values import pet
from benchmarks.dicom_traps.writing import MR, NM

US_VOLUME, WORD_CAPTURE = "1.2.840.10008.5.1.4.1.1.6.2", "1.2.840.10008.5.1.4.1.1.7.3"
_ORDER = np.array([0, 4, 1, 5, 2, 6, 3])
_SORTED = r"(?i)vector|order|location|sort"
_ACTIVITY = ("Bq/mL", "BQML")
_DOSE = r"(?i)suv|dose|weight|\btime\b|unit"


def _levels(count: int) -> np.ndarray:
    """Slices that differ in an uneven way, so that no two orders look alike."""
    return np.stack([scene.film() + 3 * n * n + 10 * n for n in range(count)]).astype(float)


def _one(ds: Dataset, folder: Path, *pieces: Piece, **more: object) -> Case:
    """One file; each piece is an answer of its own."""
    return Case(writing.save(ds, folder / "image.dcm"), "DICOM frames", tuple((p,) for p in pieces), **more)


def nuclear_slices_shuffled(folder: Path) -> Case:
    """A reconstructed bone scan whose frames are stored in another order; Slice Vector says which slice each one is."""
    values = _levels(len(_ORDER))
    ds = writing.plain("slice vector", NM, "NM", values[_ORDER], bits=16)
    ds.ImageType, ds.FrameIncrementPointer = ["ORIGINAL", "PRIMARY", "RECON TOMO", "EMISSION"], 0x00540080
    ds.SliceVector, ds.NumberOfSlices = [int(n) + 1 for n in _ORDER], len(_ORDER)
    ds.PixelSpacing, ds.SpacingBetweenSlices, ds.SliceThickness = ["4", "4"], "4", "4"
    return _one(ds, folder, Piece(values), topic=_SORTED)


def slice_locations_shuffled(folder: Path) -> Case:
    """Slices in one secondary capture; Slice Location Vector says at how many mm each one lies, and they are stored otherwise."""
    values = _levels(len(_ORDER))
    ds = writing.plain("location vector", WORD_CAPTURE, "OT", values[_ORDER], bits=16)
    ds.FrameIncrementPointer, ds.SliceLocationVector = 0x00182005, [2.5 * int(n) for n in _ORDER]
    ds.PixelSpacing, ds.BurnedInAnnotation, ds.ConversionType = ["0.8", "0.7"], "NO", "WSD"
    return _one(ds, folder, Piece(values), topic=_SORTED)


def bone_scan_views(folder: Path) -> Case:
    """A whole body from the front and from the back, by energy window and detector: two frames, and nothing between them."""
    views = np.stack([scene.film(), scene.film()[:, ::-1]])
    ds = writing.plain("bone scan", NM, "NM", views)
    ds.ImageType, ds.FrameIncrementPointer = ["ORIGINAL", "PRIMARY", "WHOLE BODY", "EMISSION"], [0x00540010, 0x00540020]
    ds.EnergyWindowVector, ds.DetectorVector, ds.NumberOfEnergyWindows, ds.NumberOfDetectors = [1, 1], [1, 2], 1, 2
    ds.PixelSpacing = ["2.4", "2.4"]
    words = r"(?i)detector|views?\b|not the slices"
    whole = Piece(views.astype(float), unplaced="z", told=words)
    loose = tuple(Piece(v.astype(float)) for v in views)
    case = _one(ds, folder, whole, topic=words, may_refuse=True)
    return Case(case.path, case.kind, (*case.answers, loose), topic=words, may_refuse=True)


def ultrasound_volume_shuffled(folder: Path) -> Case:
    """An enhanced ultrasound volume: its planes say where they lie in it (Plane Position (Volume)), and are stored otherwise."""
    values = np.stack([scene.film8() - 3 * n for n in range(len(_ORDER))])
    ds = writing.plain("us volume", US_VOLUME, "US", values[_ORDER], bits=8, allocated=8)
    ds.BurnedInAnnotation, ds.FrameOfReferenceUID = "NO", writing.uid("us volume", "frame")
    groups = []
    for n in _ORDER:
        position, orientation, group = Dataset(), Dataset(), Dataset()
        position.ImagePositionVolume, orientation.ImageOrientationVolume = [0.0, 0.0, 2.0 * n], [1, 0, 0, 0, 1, 0]
        group.PlanePositionVolumeSequence = Sequence([position])
        group.PlaneOrientationVolumeSequence = Sequence([orientation])
        groups.append(group)
    ds.PerFrameFunctionalGroupsSequence = Sequence(groups)
    shared, measures = Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = ["0.4", "0.4"], "2"
    shared.PixelMeasuresSequence = Sequence([measures])
    ds.SharedFunctionalGroupsSequence = Sequence([shared])
    return _one(ds, folder, Piece(values), topic=r"(?i)volume|order|functional|position", may_refuse=True)


def heart_cine(folder: Path) -> Case:
    """Nine moments of one slice of a beating heart, a file each: no volume, and no reason to refuse what every heart scan holds."""
    order = [4, 0, 7, 2, 8, 1, 5, 3, 6]
    shape = (1, scene.ROWS, scene.COLUMNS)
    values = np.round(300 + _levels(9) / 4)
    sets = []
    for instance, moment in enumerate(order, start=1):
        ds = writing.header(MR, "MR", "cine", instance=instance)
        writing.place(ds, scene.placed(shape=shape), 0)
        ds.FrameOfReferenceUID, ds.SliceThickness = writing.uid("cine", "frame"), "8"
        ds.TriggerTime, ds.CardiacNumberOfImages = str(40 * moment), 9
        sets.append(writing.pixels(ds, values[moment]))
    path = writing.save_all(sets, folder / "series")
    whole = (Piece(values, unplaced="z"),)
    return Case(path, "DICOM series", (whole, tuple(Piece(v) for v in values)), topic=r"(?i)time|moment|cine|trigger")


def _scans(name: str, folder: Path, change: Callable[[Dataset], None]) -> Case:
    """Eight PET slices; ``change`` is made to the last four."""
    affine = scene.placed(shape=(8, scene.ROWS, scene.COLUMNS))
    sets, values = [], []
    for k in range(8):
        ds, activity = pet(name)
        ds.SOPInstanceUID, ds.InstanceNumber = writing.uid(name, k), k + 1
        ds.FrameOfReferenceUID = writing.uid(name, "frame")
        writing.place(ds, affine, k)
        writing.pixels(ds, activity / 2 + 20 * k, bits=16, sign=writing.SIGNED)
        if k > 3:
            change(ds)
        sets.append(ds)
        values.append(activity + 40 * k)
    path = writing.save_all(sets, folder / "series")
    truth = Piece(np.stack(values), affine, units=_ACTIVITY)
    return Case(path, "DICOM series", ((truth,),), topic=_DOSE, may_refuse=True)


def pet_two_weights(folder: Path) -> Case:
    """A PET of one patient who weighs 70 kg down to the liver, and 50 kg below: SUV has a step that no body has."""

    def change(ds: Dataset) -> None:
        ds.PatientWeight = "50"

    return _scans("pet two weights", folder, change)


def pet_two_doses(folder: Path) -> Case:
    """A PET whose dose is halved half way: uptake doubles from one slice to the next."""

    def change(ds: Dataset) -> None:
        ds.RadiopharmaceuticalInformationSequence[0].RadionuclideTotalDose = "185000000"

    return _scans("pet two doses", folder, change)


def _activity(ds: Dataset, activity: np.ndarray, folder: Path) -> Case:
    path = writing.save(ds, folder / "image.dcm")
    return Case(path, writing.kind(ds), ((Piece(activity, units=_ACTIVITY),),), topic=_DOSE, may_refuse=True)


def pet_kilobecquerel(folder: Path) -> Case:
    """A dose of 370,000 is 370 MBq in kBq: taken as Bq, every uptake is a thousand times too high."""
    ds, activity = pet("pet kBq")
    ds.RadiopharmaceuticalInformationSequence[0].RadionuclideTotalDose = "370000"
    return _activity(ds, activity, folder)


def pet_made_later(folder: Path) -> Case:
    """A series made four hours after its scan, whose date of acquisition is empty: its own time is not when decay began."""
    ds, activity = pet("pet later")
    ds.SeriesTime, ds.AcquisitionDate = "141500", ""
    return _activity(ds, activity, folder)


PET_TRAPS = (pet_two_weights, pet_two_doses, pet_kilobecquerel, pet_made_later)
TRAPS = (
    nuclear_slices_shuffled,
    slice_locations_shuffled,
    bone_scan_views,
    ultrasound_volume_shuffled,
    heart_cine,
)
