"""Traps of objects with several frames, and of films: what a header says beside its pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from benchmarks.dicom_traps import scene, writing
from benchmarks.dicom_traps.scene import AXIAL, CORONAL, SAGITTAL, SHAPE
from benchmarks.dicom_traps.truth import Case, Piece
from benchmarks.dicom_traps.writing import CR, DX, ENHANCED_CT, MG, MG_RAW, NM, TOMOSYNTHESIS, US_CINE, number, numbers

_TURNED = r"(?i)flip|mirror|orientation|rotat|turned|left"


def enhanced(name: str, affines: list[np.ndarray], ks: list[float], values: list[np.ndarray]) -> Dataset:
    """An enhanced CT object: frame i lies at slice ks[i] of the grid affines[i] and shows values[i] (HU)."""
    ds = writing.header(ENHANCED_CT, "CT", name)
    ds.FrameOfReferenceUID, ds.ContentDate, ds.ContentTime = writing.uid(name, "frame"), "20200102", "101500"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    writing.pixels(ds, np.stack(values) + 1024)
    groups = []
    for n, (affine, k) in enumerate(zip(affines, ks)):
        place = writing.place(Dataset(), affine, k)
        position, orientation, content = Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = place.ImagePositionPatient
        orientation.ImageOrientationPatient = place.ImageOrientationPatient
        content.StackID, content.InStackPositionNumber, content.DimensionIndexValues = "1", n + 1, [1, n + 1]
        group = Dataset()
        group.PlanePositionSequence, group.PlaneOrientationSequence = Sequence([position]), Sequence([orientation])
        group.FrameContentSequence = Sequence([content])
        groups.append(group)
    ds.PerFrameFunctionalGroupsSequence = Sequence(groups)
    shared, measures, rescale = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing = numbers(np.linalg.norm(affines[0][:3, 1:3], axis=0))
    measures.SliceThickness = number(float(np.linalg.norm(affines[0][:3, 0])))
    rescale.RescaleIntercept, rescale.RescaleSlope, rescale.RescaleType = "-1024", "1", "HU"
    shared.PixelMeasuresSequence, shared.PixelValueTransformationSequence = Sequence([measures]), Sequence([rescale])
    ds.SharedFunctionalGroupsSequence = Sequence([shared])
    return ds


def _one(ds: Dataset, folder: Path, *pieces: Piece, **more: object) -> Case:
    """One file; each piece is an answer of its own."""
    return Case(writing.save(ds, folder / "image.dcm"), writing.kind(ds), tuple((p,) for p in pieces), **more)


def _truth(affine: np.ndarray, **more: object) -> Piece:
    return Piece(scene.volume(affine), affine, units=("HU",), **more)


def enhanced_in_order(folder: Path) -> Case:
    """A whole volume in one enhanced object, its geometry in functional groups: without them, spacing is 1 mm."""
    affine = scene.placed()
    ds = enhanced("enhanced", [affine] * SHAPE[0], list(range(SHAPE[0])), list(scene.volume(affine)))
    return _one(ds, folder, _truth(affine))


def enhanced_out_of_order(folder: Path) -> Case:
    """Frames are stored in any order; only their positions say which comes first."""
    affine = scene.placed()
    order = np.random.default_rng(3).permutation(SHAPE[0])
    values = scene.volume(affine)
    ds = enhanced("out of order", [affine] * SHAPE[0], list(order), [values[k] for k in order])
    return _one(ds, folder, _truth(affine))


def enhanced_slopes(folder: Path) -> Case:
    """Every frame has its own slope and intercept; the first one's for all is wrong from the second on."""
    affine = scene.placed()
    values = scene.volume(affine)
    ds = enhanced("slopes", [affine] * SHAPE[0], list(range(SHAPE[0])), list(values))
    del ds.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence
    stored = []
    for k, group in enumerate(ds.PerFrameFunctionalGroupsSequence):
        item = Dataset()
        slope = 1 / 2 ** (k % 4)
        item.RescaleSlope, item.RescaleIntercept, item.RescaleType = number(slope), number(-1000.0 - k), "HU"
        group.PixelValueTransformationSequence = Sequence([item])
        stored.append((values[k] + 1000 + k) / slope)
    writing.pixels(ds, np.stack(stored), bits=16)
    return _one(ds, folder, _truth(affine))


def enhanced_two_times(folder: Path) -> Case:
    """Two points in time in one enhanced object: 24 frames, 12 places; as one stack every second slice is from later."""
    affine = scene.placed()
    values = scene.volume(affine)
    ks = [k for k in range(SHAPE[0]) for _ in range(2)]
    ds = enhanced("times", [affine] * 24, ks, [values[k] + 200 * (n % 2) for n, k in enumerate(ks)])
    for n, group in enumerate(ds.PerFrameFunctionalGroupsSequence):
        group.FrameContentSequence[0].TemporalPositionIndex = n % 2 + 1
    case = _one(
        ds,
        folder,
        topic=r"(?i)temporal|time|duplicat|same position|several|multiple|4d|increment|inconsist",
        numbers=(r"\b(2|12|24)\b",),
        may_refuse=True,
    )
    pair = (_truth(affine), Piece(values + 200, affine))
    return Case(case.path, case.kind, (pair,), topic=case.topic, numbers=case.numbers, may_refuse=True)


def enhanced_three_planes(folder: Path) -> Case:
    """A survey of three planes in one enhanced object."""
    shape = (4, 20, 24)
    grids = [scene.placed(o, shape=shape) for o in (AXIAL, CORONAL, SAGITTAL)]
    values = [scene.volume(a, shape) for a in grids]
    ds = enhanced("survey", [a for a in grids for _ in range(4)], [0, 1, 2, 3] * 3, [v for s in values for v in s])
    pieces = tuple(Piece(v, a) for v, a in zip(values, grids))
    topic = r"(?i)orient|direction|cosine|parallel|plane"
    path = writing.save(ds, folder / "image.dcm")
    return Case(path, "DICOM frames", (pieces,), topic=topic, numbers=(r"\b(3|8|12)\b",), may_refuse=True)


def enhanced_gap(folder: Path) -> Case:
    """An enhanced object from which one frame was cut out."""
    affine = scene.placed()
    ks = [k for k in range(SHAPE[0]) if k != 6]
    ds = enhanced("gap", [affine] * 11, ks, [scene.volume(affine)[k] for k in ks])
    topic = r"(?i)missing|gap|uneven|uniform|increment|spacing"
    return _one(ds, folder, topic=topic, numbers=(r"\b5(\.0+)?\b",))


def enhanced_groups_short(folder: Path) -> Case:
    """Twelve frames, eleven descriptions: the last slice lies nowhere."""
    affine = scene.placed()
    ds = enhanced("short", [affine] * SHAPE[0], list(range(SHAPE[0])), list(scene.volume(affine)))
    ds.PerFrameFunctionalGroupsSequence = Sequence(list(ds.PerFrameFunctionalGroupsSequence)[:-1])
    topic = r"(?i)frame|functional|group|description|mismatch"
    return _one(ds, folder, topic=topic, numbers=(r"\b11\b", r"\b12\b"))


_TWICE = r"(?i)rescale|intercept|pixel spacing|contradict|shared|functional group|all frames|both"


def enhanced_two_rescales(folder: Path) -> Case:
    """What all frames share has the intercept -1,024, each frame's own description 0: lung or bone, and nobody can say which."""
    affine = scene.placed()
    ds = enhanced("two rescales", [affine] * SHAPE[0], list(range(SHAPE[0])), list(scene.volume(affine)))
    for group in ds.PerFrameFunctionalGroupsSequence:
        item = Dataset()
        item.RescaleSlope, item.RescaleIntercept, item.RescaleType = "1", "0", "HU"
        group.PixelValueTransformationSequence = Sequence([item])
    return _one(ds, folder, topic=_TWICE, numbers=(r"-1024\b", r"\b0\b", r"\b12\b"))


def enhanced_two_spacings(folder: Path) -> Case:
    """What all frames share has pixels of 0.8 × 0.7 mm, each frame's own description of 2.4 × 2.1: three times as large a lesion."""
    affine = scene.placed()
    ds = enhanced("two spacings", [affine] * SHAPE[0], list(range(SHAPE[0])), list(scene.volume(affine)))
    for group in ds.PerFrameFunctionalGroupsSequence:
        measures = Dataset()
        measures.PixelSpacing, measures.SliceThickness = ["2.4", "2.1"], "2.5"
        group.PixelMeasuresSequence = Sequence([measures])
    return _one(ds, folder, topic=_TWICE, numbers=(r"\b0\.8", r"\b2\.4", r"\b12\b"))


def concatenation_part(folder: Path) -> Case:
    """The first file of an object that was cut into several (their number may be left out): half of the chest, and it looks whole."""
    affine = scene.placed()
    ds = enhanced("part", [affine] * 6, list(range(6)), list(scene.volume(affine)[:6]))
    ds.ConcatenationUID, ds.InConcatenationNumber = writing.uid("concatenation"), 1
    ds.ConcatenationFrameOffsetNumber, ds.SOPInstanceUIDOfConcatenationSource = 0, writing.uid("whole")
    return _one(ds, folder, topic=r"(?i)concatenat|\bpart\b|missing|several files", numbers=(r"part 1\b",))


def _frames() -> np.ndarray:
    """Six frames that differ: the film, darker and darker."""
    return np.stack([scene.film8() - 3 * n for n in range(6)])


def cine_ultrasound(folder: Path) -> Case:
    """Six moments of one ultrasound plane: there is no third dimension, and a volume of them is no anatomy."""
    ds = writing.plain("cine", US_CINE, "US", _frames(), bits=8, allocated=8)
    ds.FrameTime, ds.FrameIncrementPointer = "33.3", 0x00181063
    whole = Piece(_frames(), unplaced="z")
    loose = tuple(Piece(f) for f in _frames())
    case = _one(ds, folder, whole, topic=r"(?i)cine|time|frame|place", may_refuse=True)
    return Case(case.path, case.kind, (*case.answers, loose), topic=case.topic, may_refuse=True)


def nuclear_views(folder: Path) -> Case:
    """A nuclear medicine object: frames are two detectors' views, not slices."""
    ds = writing.plain("views", NM, "NM", np.stack([scene.film(), scene.film()[:, ::-1]]))
    ds.ImageType, ds.FrameIncrementPointer = ["ORIGINAL", "PRIMARY", "WHOLE BODY", "EMISSION"], 0x00540020
    ds.DetectorVector, ds.NumberOfDetectors, ds.PixelSpacing = [1, 2], 2, ["2.4", "2.4"]
    whole = Piece(np.stack([scene.film(), scene.film()[:, ::-1]]).astype(float), unplaced="z")
    case = _one(ds, folder, whole, topic=r"(?i)frame|place|detector|view", may_refuse=True)
    loose = tuple(Piece(v.astype(float)) for v in whole.values)
    return Case(case.path, case.kind, (*case.answers, loose), topic=case.topic, may_refuse=True)


def _film(name: str, sop: str = DX, modality: str = "DX") -> Dataset:
    ds = writing.plain(name, sop, modality, scene.film())
    ds.PresentationIntentType, ds.PresentationLUTShape = "FOR PRESENTATION", "IDENTITY"
    ds.ImageType, ds.BodyPartExamined, ds.ViewPosition = ["DERIVED", "PRIMARY", ""], "CHEST", "PA"
    ds.PatientOrientation, ds.ImagerPixelSpacing = ["L", "F"], ["0.2", "0.15"]
    return ds


def imager_spacing(folder: Path) -> Case:
    """A film gives the detector's pixel size (Imager Pixel Spacing), and it differs by axis: 1 mm is an invention."""
    return _one(_film("imager"), folder, Piece(scene.film(), spacing_mm=(0.2, 0.15)))


def calibrated_spacing(folder: Path) -> Case:
    """Pixel Spacing beside Imager Pixel Spacing is the size in the patient, corrected for magnification."""
    ds = _film("calibrated")
    ds.PixelSpacing, ds.PixelSpacingCalibrationType = ["0.16", "0.12"], "GEOMETRY"
    return _one(ds, folder, Piece(scene.film(), spacing_mm=(0.16, 0.12)))


def film_without_spacing(folder: Path) -> Case:
    """A film that gives no pixel size at all: to measure on it, 1 mm, is to invent."""
    ds = writing.plain("no spacing", CR, "CR", scene.film())
    return _one(ds, folder, Piece(scene.film(), unplaced="yx"), topic=r"(?i)spacing|pixel size", may_refuse=True)


def mirrored_chest(folder: Path) -> Case:
    """A PA chest whose rows run to the patient's right (Patient Orientation R\\F): the heart is on the wrong side."""
    ds = _film("mirrored")
    writing.pixels(ds, scene.film()[:, ::-1])
    ds.PatientOrientation = ["R", "F"]
    stored = Piece(scene.film()[:, ::-1], told=_TURNED)
    return _one(ds, folder, Piece(scene.film()), stored, topic=_TURNED, may_refuse=True)


def rotated_chest(folder: Path) -> Case:
    """A chest film scanned lying on its side: its rows run towards the feet."""
    ds = _film("rotated")
    writing.pixels(ds, scene.film().T)
    ds.PatientOrientation, ds.ImagerPixelSpacing = ["F", "L"], ["0.15", "0.2"]
    stored = Piece(scene.film().T, told=_TURNED, spacing_mm=(0.15, 0.2))
    return _one(ds, folder, Piece(scene.film(), spacing_mm=(0.2, 0.15)), stored, topic=_TURNED, may_refuse=True)


def _mammogram(name: str, sop: str = MG) -> Dataset:
    ds = _film(name, sop, "MG")
    ds.BodyPartExamined, ds.ViewPosition, ds.ImageLaterality = "BREAST", "MLO", "R"
    ds.PatientOrientation = ["P", "FL"]
    return ds


def mammogram_side(folder: Path) -> Case:
    """A right breast stands in Image Laterality, not in Laterality; a finding without its side is no finding."""
    piece = Piece(scene.film(), attributes={"ImageLaterality": "R", "ViewPosition": "MLO"})
    return _one(_mammogram("side"), folder, piece)


def mammogram_flipped(folder: Path) -> Case:
    """A right breast stored with the chest wall on the left (Patient Orientation A\\FR): it looks like a left one."""
    ds = _mammogram("flipped")
    writing.pixels(ds, scene.film()[:, ::-1])
    ds.PatientOrientation, ds.FieldOfViewHorizontalFlip = ["A", "FR"], "YES"
    stored = Piece(scene.film()[:, ::-1], told=_TURNED)
    return _one(ds, folder, Piece(scene.film()), stored, topic=_TURNED, may_refuse=True)


def tomosynthesis_flipped(folder: Path) -> Case:
    """Four planes of a right breast, stored with the chest wall on the left: turned as a single film is, or a left one."""
    planes = np.stack([scene.film() - 20 * n for n in range(4)])
    ds = _mammogram("tomosynthesis", TOMOSYNTHESIS)
    writing.pixels(ds, planes[:, :, ::-1])
    ds.PatientOrientation = ["A", "FR"]
    whole, stored = Piece(planes.astype(float)), Piece(planes[:, :, ::-1].astype(float), told=_TURNED)
    return _one(ds, folder, whole, stored, topic=_TURNED, may_refuse=True)


def tomosynthesis_placed(folder: Path) -> Case:
    """The same breast, and each plane says where it lies, as the object's definition wants: it hangs as a single film does."""
    planes = np.stack([scene.film() - 20 * n for n in range(4)])
    ds = _mammogram("tomosynthesis placed", TOMOSYNTHESIS)
    writing.pixels(ds, planes[:, :, ::-1])
    ds.PatientOrientation = ["A", "F"]
    groups = []
    for n in range(4):
        position, orientation, measures, group = Dataset(), Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient, orientation.ImageOrientationPatient = [float(n), 0.0, 0.0], [0, -1, 0, 0, 0, -1]
        measures.PixelSpacing, measures.SliceThickness = ["0.2", "0.15"], "1"
        group.PlanePositionSequence, group.PlaneOrientationSequence = Sequence([position]), Sequence([orientation])
        group.PixelMeasuresSequence = Sequence([measures])
        groups.append(group)
    ds.PerFrameFunctionalGroupsSequence = Sequence(groups)
    whole, stored = Piece(planes.astype(float)), Piece(planes[:, :, ::-1].astype(float), told=_TURNED)
    return _one(ds, folder, whole, stored, topic=_TURNED, may_refuse=True)


def film_of_two_sides(folder: Path) -> Case:
    """A film whose image is of the left (Image Laterality) and whose series is of the right (Laterality): one of the two is wrong."""
    ds = _film("two sides")
    ds.ImageLaterality, ds.Laterality = "L", "R"
    told = r"(?i)laterality"
    return _one(ds, folder, Piece(scene.film(), told=told), topic=told, may_refuse=True)


def for_processing_by_class(folder: Path) -> Case:
    """Raw detector counts that only the kind of object (SOP Class) names so: the word FOR PROCESSING is left out."""
    ds = _mammogram("raw by class", MG_RAW)
    ds.ImageType = ["ORIGINAL", "PRIMARY"]
    del ds.PresentationLUTShape, ds.PresentationIntentType
    piece = Piece(scene.film(), attributes={"PresentationIntentType": "FOR PROCESSING"})
    return _one(ds, folder, piece, topic=r"(?i)for processing|raw", may_refuse=True)


def for_processing(folder: Path) -> Case:
    """Raw detector counts (FOR PROCESSING): to a network trained on finished mammograms they are another modality."""
    ds = _mammogram("raw", MG_RAW)
    ds.PresentationIntentType, ds.ImageType = "FOR PROCESSING", ["ORIGINAL", "PRIMARY"]
    del ds.PresentationLUTShape
    piece = Piece(scene.film(), attributes={"PresentationIntentType": "FOR PROCESSING"})
    return _one(ds, folder, piece, topic=r"(?i)for processing|raw", may_refuse=True)


def processing_and_presentation(folder: Path) -> Case:
    """The same exposure twice in one series, raw and finished: two pictures, not a volume and not two patients."""
    raw, shown = _mammogram("pair", MG_RAW), _mammogram("pair")
    raw.PresentationIntentType, raw.SOPInstanceUID = "FOR PROCESSING", writing.uid("pair raw")
    writing.pixels(raw, 4000 - scene.film())
    path = writing.save_all([raw, shown], folder / "series")
    pair = (Piece(4000.0 - scene.film()), Piece(scene.film()))
    topic = r"(?i)processing|presentation|several|multiple|more than one|duplicat|series"
    return Case(path, "DICOM series", (pair,), topic=topic, may_refuse=True)


def mammogram_background(folder: Path) -> Case:
    """MONOCHROME1 mammogram: its air is 4,095, not 0; turned over, air must be the lowest value."""
    ds = _mammogram("background")
    values = scene.film()
    values[:, 40:] = 0
    writing.pixels(ds, 4095 - values)
    ds.PhotometricInterpretation, ds.PresentationLUTShape = "MONOCHROME1", "INVERSE"
    return _one(ds, folder, Piece(values.astype(float), offset_free=True), topic=r"(?i)monochrome1")


TRAPS = (
    enhanced_in_order,
    enhanced_out_of_order,
    enhanced_slopes,
    enhanced_two_times,
    enhanced_three_planes,
    enhanced_gap,
    enhanced_groups_short,
    enhanced_two_rescales,
    enhanced_two_spacings,
    concatenation_part,
    cine_ultrasound,
    nuclear_views,
    imager_spacing,
    calibrated_spacing,
    film_without_spacing,
    mirrored_chest,
    rotated_chest,
    mammogram_side,
    mammogram_flipped,
    tomosynthesis_flipped,
    tomosynthesis_placed,
    film_of_two_sides,
    for_processing,
    for_processing_by_class,
    processing_and_presentation,
    mammogram_background,
)
