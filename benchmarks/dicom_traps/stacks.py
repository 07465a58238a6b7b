"""Traps of series whose files are no one volume: gaps, doubles, mixtures."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from benchmarks.dicom_traps import scene, writing
from benchmarks.dicom_traps.scene import AXIAL, CORONAL, SAGITTAL, SHAPE
from benchmarks.dicom_traps.truth import Case, Piece
from benchmarks.dicom_traps.volumes import series, true_volume

_GAP = r"(?i)missing|gap|uneven|uniform|increment|spacing|not equal|inconsisten|slices? (?:distance|position)"
_DOUBLE = r"(?i)duplicat|same position|identical|several|multiple|more than one|two|acquisition|temporal|echo|4d|gap|uniform|spacing|not_a_volume|increment|inconsist|missing"


def _with_gap(folder: Path, name: str, without: tuple[int, ...], words: tuple[str, ...]) -> Case:
    affine = scene.placed()
    sets = [ds for k, ds in enumerate(writing.slices(name, affine)) if k not in without]
    return series(folder, sets, topic=_GAP, numbers=words)


def one_slice_missing(folder: Path) -> Case:
    """One slice is missing, and the lesion is in it: closed up or filled in, the volume is another patient."""
    return _with_gap(folder, "gap 1", (6,), (r"\b1\b|\bone\b", r"\b5(\.0+)?\b"))


def two_slices_missing(folder: Path) -> Case:
    """Two neighbouring slices are missing; spread over the rest, 2.5 mm become 3.06."""
    return _with_gap(folder, "gap 2", (5, 6), (r"\b2\b|\btwo\b", r"\b7\.50?\b"))


def two_gaps(folder: Path) -> Case:
    """Two single gaps at different places."""
    return _with_gap(folder, "gaps", (3, 7), (r"\b2\b|\btwo\b", r"\b5(\.0+)?\b"))


def uneven_spacing(folder: Path) -> Case:
    """Increments of 2.5 mm below and 4 mm above: as one regular grid, lengths are wrong by up to a half."""
    affine = scene.placed()
    at = np.cumsum([0.0] + [1.0] * 6 + [1.6] * 5)
    sets = []
    for n, k in enumerate(at):
        here = affine.copy()
        here[:3, 3] += k * affine[:3, 0]
        sets.append(
            writing.place(writing.ct("uneven", scene.volume(here, (1, *SHAPE[1:]))[0], instance=n + 1), affine, k)
        )
    return series(folder, sets, topic=_GAP, numbers=(r"\b2\.50?\b", r"\b4(\.0+)?\b"))


def shifted_slices(folder: Path) -> Case:
    """From the middle on, slices lie 6 mm further to the left: the patient moved, or two series were mixed."""
    affine = scene.placed()
    sets = []
    for k, ds in enumerate(writing.slices("shifted", affine)):
        sets.append(writing.place(ds, affine, k, shift=(6.0 if k >= 6 else 0.0, 0, 0)))
    return series(folder, sets, topic=_GAP + r"|shift|sideways|tilt|shear|align|lean|even stack", numbers=(r"\d",))


def resent_slices(folder: Path) -> Case:
    """Three slices were sent twice under new instance UIDs: stacked, the chest is 7.5 mm longer."""
    affine = scene.placed()
    sets = writing.slices("resent", affine)
    again = writing.slices("resent again", affine)[4:7]
    for ds in again:
        ds.StudyInstanceUID, ds.SeriesInstanceUID = sets[0].StudyInstanceUID, sets[0].SeriesInstanceUID
        ds.FrameOfReferenceUID = sets[0].FrameOfReferenceUID
    return series(
        folder, sets + again, true_volume(affine), topic=_DOUBLE, numbers=(r"\b3\b|\b15\b|\b12\b",), may_refuse=True
    )


def copied_files(folder: Path) -> Case:
    """The same file lies twice in the folder."""
    affine = scene.placed()
    case = series(
        folder,
        writing.slices("copies", affine),
        true_volume(affine),
        topic=_DOUBLE + "|same file|copy",
        may_refuse=True,
    )
    for k in (2, 6):
        shutil.copy(case.path / f"IM{k:04d}.dcm", case.path / f"copy of IM{k:04d}.dcm")
    return case


def two_reconstructions(folder: Path) -> Case:
    """A soft and a sharp reconstruction of the same positions under one series UID: interleaved, every second slice lies."""
    affine = scene.placed()
    soft, sharp = writing.slices("recon", affine), writing.slices("recon", affine)
    for k, ds in enumerate(sharp):
        ds.SOPInstanceUID, ds.InstanceNumber = writing.uid("sharp", k), 101 + k
        ds.ConvolutionKernel = "SHARP"
        writing.pixels(ds, scene.volume(affine)[k] + 1024 + 200)
    for ds in soft:
        ds.ConvolutionKernel = "SOFT"
    other = Piece(scene.volume(affine) + 200, affine)
    return series(
        folder, soft + sharp, true_volume(affine), other, topic=_DOUBLE, numbers=(r"\b(12|24)\b",), may_refuse=True
    )


def _doubled(
    folder: Path, name: str, keyword: str, values: tuple[object, object], *, alternating: bool, mr: bool = False
) -> Case:
    """Two whole volumes under one series UID, told apart by one attribute."""
    affine = scene.placed()
    both = [writing.slices(name, affine), writing.slices(name, affine)]
    for n, (sets, value) in enumerate(zip(both, values)):
        for k, ds in enumerate(sets):
            ds.SOPInstanceUID = writing.uid(name, n, k)
            ds.InstanceNumber = 2 * k + n + 1 if alternating else n * SHAPE[0] + k + 1
            setattr(ds, keyword, value)
            if n:
                writing.pixels(ds, scene.volume(affine)[k] + 1024 + 200)
            if mr:
                ds.SOPClassUID, ds.Modality, ds.ImageType = writing.MR, "MR", ["ORIGINAL", "PRIMARY", "M"]
                del ds.RescaleType, ds.KVP
    pair = Piece(scene.volume(affine), affine), Piece(scene.volume(affine) + 200, affine)
    sets = [ds for two in zip(*both) for ds in two] if alternating else both[0] + both[1]
    return series(folder, sets, *pair, topic=_DOUBLE, numbers=(r"\b(2|12|24)\b",), may_refuse=True)


def two_acquisitions(folder: Path) -> Case:
    """Before and after contrast under one series UID: mixed, half of the slices enhance."""
    return _doubled(folder, "acquisitions", "AcquisitionNumber", (1, 2), alternating=False)


def temporal_positions(folder: Path) -> Case:
    """Two points in time under one series UID, alternating."""
    return _doubled(folder, "temporal", "TemporalPositionIdentifier", (1, 2), alternating=True)


def echoes(folder: Path) -> Case:
    """Two echoes (two contrasts) of an MR under one series UID, alternating."""
    return _doubled(folder, "echoes", "EchoNumbers", (1, 2), alternating=True, mr=True)


def diffusion(folder: Path) -> Case:
    """b = 0 and b = 1000 of a diffusion series at the same positions."""
    return _doubled(folder, "diffusion", "DiffusionBValue", (0.0, 1000.0), alternating=False, mr=True)


def acquisitions_apart(folder: Path) -> Case:
    """Two acquisitions of different levels under one series UID, with a gap between: neck and abdomen are no one volume."""
    low, high = scene.placed(), scene.placed(centre=(0, 0, 80.0))
    sets = writing.slices("apart", low)
    for k, ds in enumerate(writing.slices("apart", high)):
        ds.SOPInstanceUID, ds.InstanceNumber = writing.uid("apart high", k), 13 + k
        ds.AcquisitionNumber = 2
        sets.append(ds)
    for ds in sets[: SHAPE[0]]:
        ds.AcquisitionNumber = 1
    topic = _GAP + "|" + _DOUBLE[4:]
    return series(folder, sets, true_volume(low), true_volume(high), topic=topic, numbers=(r"\d",), may_refuse=True)


def _end_to_end(folder: Path, name: str, *, told: str = "", **facts: tuple[object, object]) -> Case:
    """Twelve even slices; the upper six have other facts than the lower six, and are 600 brighter."""
    affine = scene.placed()
    sets, values = writing.slices(name, affine), scene.volume(affine)
    values[6:] += 600
    for k, ds in enumerate(sets):
        writing.pixels(ds, values[k] + 1024)
        for keyword, (below, above) in facts.items():
            setattr(ds, keyword, below if k < 6 else above)
    if told:
        whole = Piece(values, affine, units=("HU",), told=told)
        return series(folder, sets, whole, topic=told)
    upper = affine.copy()
    upper[:3, 3] += 6 * affine[:3, 0]
    apart = [Piece(v, a, units=("HU",)) for v, a in ((values[:6], affine), (values[6:], upper))]
    return series(folder, sets, *apart, topic=_DOUBLE + "|kernel|voltage", numbers=(r"\d",), may_refuse=True)


def acquisitions_end_to_end(folder: Path) -> Case:
    """A second acquisition, after contrast, begins where the first ends: evenly spaced, and half of the body enhances."""
    words = r"(?i)acquisition|end.to.end|differ|jump|two scans"
    facts = {"AcquisitionNumber": (1, 2), "AcquisitionTime": ("101500", "103000")}
    return _end_to_end(folder, "end to end", told=words, **facts)


def kernels_end_to_end(folder: Path) -> Case:
    """The upper half was made with another kernel and another tube voltage: its numbers mean something else."""
    return _end_to_end(folder, "kernels end to end", ConvolutionKernel=("SOFT", "SHARP"), KVP=("80", "140"))


def _in_turn(folder: Path, name: str, keyword: str, *, brighter: float, **more: object) -> Case:
    """Twelve even slices that take turns in a fact; the second, fourth, … are ``brighter``."""
    affine = scene.placed()
    sets = writing.slices(name, affine)
    for k, ds in enumerate(sets):
        setattr(ds, keyword, 1 + k % 2)
        if k % 2:
            writing.pixels(ds, scene.volume(affine)[k] + 1024 + brighter)
    if not brighter:
        return series(folder, sets, true_volume(affine))
    return series(folder, sets, *_every_second(affine, brighter), topic=_DOUBLE, numbers=(r"\b2\b",), may_refuse=True)


def _every_second(affine: np.ndarray, brighter: float) -> list[Piece]:
    """The slices 1, 3, 5, … and 2, 4, 6, … of the grid, each a volume."""
    apart = []
    for first in (0, 1):
        half = affine.copy()
        half[:3, 3] += first * affine[:3, 0]
        half[:3, 0] *= 2
        apart.append(Piece(scene.volume(half, (6, *SHAPE[1:])) + first * brighter, half, units=("HU",)))
    return apart


def acquisitions_in_turn(folder: Path) -> Case:
    """Before and after contrast, laid into one another slice by slice: evenly spaced, and every second slice is of another scan."""
    return _in_turn(folder, "acquisitions in turn", "AcquisitionNumber", brighter=600)


def temporal_in_turn(folder: Path) -> Case:
    """Two points in time at alternating positions: evenly spaced, and no volume of one moment."""
    return _in_turn(folder, "temporal in turn", "TemporalPositionIdentifier", brighter=600)


def packages_of_one_scan(folder: Path) -> Case:
    """One scan in two packages (odd and even slices, each with its acquisition number): taken apart, it has half of its slices."""
    return _in_turn(folder, "packages", "AcquisitionNumber", brighter=0)


def times_to_and_fro(folder: Path) -> Case:
    """Three points in time that only instance numbers order, forward at one position and backward at the next: first and last are mixed."""
    affine = scene.placed()
    sets, truth = [], []
    for t in range(3):
        values = scene.volume(affine) + 600 * t
        truth.append(Piece(values, affine))
        for k, ds in enumerate(writing.slices("to and fro", affine)):
            ds.SOPInstanceUID = writing.uid("to and fro", t, k)
            ds.InstanceNumber = 3 * k + (t if k % 2 == 0 else 2 - t) + 1
            sets.append(writing.pixels(ds, values[k] + 1024))
    return series(folder, sets, *truth, topic=_DOUBLE, numbers=(r"\b3 volumes", r"\b1 and 3\b"), may_refuse=True)


def patient_number_with_space(folder: Path) -> Case:
    """A Patient ID with a space before it in every second file: by the Standard the same person, and one volume."""
    affine = scene.placed()
    sets = writing.slices("space", affine)
    for ds in sets[1::2]:
        ds.PatientID = " T1"
    return series(folder, sets, true_volume(affine))


def mixed_orientation(folder: Path) -> Case:
    """Axial, coronal and sagittal slices in one series (a survey): there is no volume."""
    sets = []
    for n, orientation in enumerate((AXIAL, CORONAL, SAGITTAL)):
        affine = scene.placed(orientation, shape=(4, 20, 24))
        for k, ds in enumerate(writing.slices("planes", affine, shape=(4, 20, 24))):
            ds.SOPInstanceUID, ds.InstanceNumber = writing.uid("planes", n, k), 4 * n + k + 1
            sets.append(ds)
    shape = (4, 20, 24)
    pieces = tuple(true_volume(scene.placed(o, shape=shape), shape) for o in (AXIAL, CORONAL, SAGITTAL))
    topic = r"(?i)orient|direction|cosine|parallel|plane"
    return series(folder, sets, *pieces, topic=topic, numbers=(r"\b(3|8|12)\b",), may_refuse=True)


def localizer_inside(folder: Path) -> Case:
    """The scout lies in the series of the scan: sorted in, it is a coronal slice in the middle of the liver."""
    affine = scene.placed()
    sets = writing.slices("scout", affine)
    flat = scene.placed(CORONAL, shape=(1, *SHAPE[1:]))
    values = scene.volume(flat, (1, *SHAPE[1:]))[0]
    scout = writing.place(writing.ct("scout", values, instance=99), flat, 0)
    scout.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    alone = Piece(values + 1024)
    kept = true_volume(affine)
    case = series(
        folder, [scout, *sets], kept, alone, topic=r"(?i)locali[sz]er|scout|orient|direction|plane", may_refuse=True
    )
    told = Piece(kept.values, affine, told=case.topic)
    hu = Piece(values)
    return Case(case.path, case.kind, (*case.answers, (kept, hu), (told,)), topic=case.topic, may_refuse=True)


def _halves(folder: Path, name: str, second: np.ndarray, shape: tuple[int, int, int], **words: object) -> Case:
    """Eight slices of the usual grid, then four of another; apart they are two volumes."""
    first = scene.placed()
    sets = writing.slices(name, first)[:8] + writing.slices(name, second, shape=shape)[8:]
    upper = second.copy()
    upper[:3, 3] += 8 * second[:3, 0]
    apart = true_volume(first, (8, *SHAPE[1:])), true_volume(upper, (4, *shape[1:]))
    return series(folder, sets, *apart, may_refuse=True, **words)


def mixed_matrix(folder: Path) -> Case:
    """Slices of two matrix sizes in one series: scaled to one, the patient changes width half way."""
    topic = r"(?i)size|shape|dimension|matrix|rows|stack|missing"
    small = (12, 16, 16)
    return _halves(folder, "matrix", scene.placed(shape=small), small, topic=topic, numbers=("20", "24", "16"))


def mixed_pixel_spacing(folder: Path) -> Case:
    """The last slices have larger pixels: one spacing for all shrinks them."""
    topic = r"(?i)spacing|pixel size|inconsisten|differ|not (?:the )?same|missing"
    large = scene.placed(spacing=(2.5, 1.2, 1.1))
    return _halves(folder, "pixels", large, SHAPE, topic=topic, numbers=(r"\b0\.[78]", r"\b1\.[12]"))


def two_series(folder: Path) -> Case:
    """Two series in one folder, their file names interleaved: read as one, every second slice is of the other."""
    low, high = scene.placed(), scene.placed(centre=(0, 0, 1.25))
    first, second = writing.slices("two", low), writing.slices("two", high, series="2")
    sets = [ds for pair in zip(first, second) for ds in pair]
    both, some = (true_volume(low), true_volume(high)), r"(?i)more than one|multiple|several|series"
    path = writing.save_all(sets, folder / "series")
    told = tuple((true_volume(a, told=some),) for a in (low, high))
    return Case(path, "DICOM series", (both, *told), topic=some)


def two_patients_one_uid(folder: Path) -> Case:
    """A UID that was given twice: slices of two patients in one series."""
    affine = scene.placed()
    sets = writing.slices("collision", affine)
    for k in range(1, SHAPE[0], 2):
        sets[k].PatientID, sets[k].PatientName = "T2", "Trap^B"
    apart = []
    for first in (0, 1):
        half = affine.copy()
        half[:3, 3] += first * affine[:3, 0]
        half[:3, 0] *= 2
        apart.append(true_volume(half, (6, *SHAPE[1:])))
    topic = r"(?i)patient|uid|gap|missing|several"
    return series(folder, sets, *apart, topic=topic, numbers=(r"\b2\b|\btwo\b",), may_refuse=True)


def one_slice_damaged(folder: Path) -> Case:
    """One of the slices is cut off in its pixels: the volume must not be closed over it."""
    affine = scene.placed()
    sets = writing.slices("damaged", affine)
    sets[6].PixelData = sets[6].PixelData[:300]
    topic = r"(?i)trunc|length|size|bytes|short|end of|less|expected|incomplete|missing|could not|cannot"
    return series(folder, sets, topic=topic, numbers=("300", "960"))


TRAPS = (
    one_slice_missing,
    two_slices_missing,
    two_gaps,
    uneven_spacing,
    shifted_slices,
    resent_slices,
    copied_files,
    two_reconstructions,
    two_acquisitions,
    temporal_positions,
    echoes,
    diffusion,
    acquisitions_apart,
    acquisitions_end_to_end,
    kernels_end_to_end,
    acquisitions_in_turn,
    temporal_in_turn,
    packages_of_one_scan,
    times_to_and_fro,
    patient_number_with_space,
    mixed_orientation,
    localizer_inside,
    mixed_matrix,
    mixed_pixel_spacing,
    two_series,
    two_patients_one_uid,
    one_slice_damaged,
)
