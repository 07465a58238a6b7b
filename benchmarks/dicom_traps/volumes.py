"""Traps of geometry: one volume, and which slice of it lies where."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from benchmarks.dicom_traps import scene, writing
from benchmarks.dicom_traps.scene import CORONAL, SAGITTAL, SHAPE
from benchmarks.dicom_traps.truth import Case, Piece
from benchmarks.dicom_traps.writing import MR


def true_volume(affine: np.ndarray, shape: tuple[int, int, int] = SHAPE, **more: object) -> Piece:
    """Return the made-up patient on a grid."""
    return Piece(scene.volume(affine, shape), affine, units=("HU",), **more)


def series(folder: Path, sets: list[Dataset], *pieces: Piece, **more: object) -> Case:
    """Write a folder of slices; all pieces together are the one answer."""
    names = more.pop("names", None)
    answers = (pieces,) if pieces else ()
    return Case(writing.save_all(sets, folder / "series", names=names), "DICOM series", answers, **more)


def plain_series(folder: Path) -> Case:
    """No trap: an axial CT series, to see that a reader reads at all."""
    affine = scene.placed()
    return series(folder, writing.slices("plain", affine), true_volume(affine))


def instance_numbers_reversed(folder: Path) -> Case:
    """Instance numbers count from the other end: sorted by them, and placed by the first, the patient is upside down."""
    affine = scene.placed()
    sets = writing.slices("reversed", affine)
    for k, ds in enumerate(sets):
        ds.InstanceNumber = SHAPE[0] - k
    return series(folder, sets, true_volume(affine))


def instance_numbers_shuffled(folder: Path) -> Case:
    """Instance numbers in the order of arrival: sorted by them, anatomy is shuffled."""
    affine = scene.placed()
    sets = writing.slices("shuffled", affine)
    for ds, n in zip(sets, _shuffled()):
        ds.InstanceNumber = int(n) + 1
    return series(folder, sets, true_volume(affine))


def instance_numbers_missing(folder: Path) -> Case:
    """No instance numbers (they may be empty), and files in another order than the slices."""
    affine = scene.placed()
    sets = writing.slices("no numbers", affine)
    for ds in sets:
        ds.InstanceNumber = None
    return series(folder, [sets[i] for i in _shuffled()], true_volume(affine))


def file_names_shuffled(folder: Path) -> Case:
    """File names in random order: sorted by name, anatomy is shuffled."""
    affine = scene.placed()
    sets = writing.slices("names", affine)
    return series(folder, sets, true_volume(affine), names=[f"{int(n):08x}.dcm" for n in _shuffled() * 7919 % 65537])


def _shuffled() -> np.ndarray:
    return np.random.default_rng(7).permutation(SHAPE[0])


def from_head_to_foot(folder: Path) -> Case:
    """Acquired from the top down: positions fall while numbers rise."""
    affine = scene.placed()
    sets = writing.slices("top down", affine)[::-1]
    for k, ds in enumerate(sets):
        ds.InstanceNumber = k + 1
    return series(folder, sets, true_volume(affine))


def gantry_tilt(folder: Path) -> Case:
    """The gantry leans by 15°: stacked upright, the spine is sheared."""
    turned = (1.0, 0.0, 0.0, 0.0, float(np.cos(np.radians(15))), float(np.sin(np.radians(15))))
    affine = scene.placed(turned, step=np.array([0.0, 0.0, 2.5]))
    values = scene.hu(scene.points(affine, SHAPE), lesion=False)  # without edges, so that it may be resampled upright
    sets = writing.slices("tilt", affine)
    for ds, one in zip(sets, values):
        ds.GantryDetectorTilt = "15"
        writing.pixels(ds, one + 1024)
    border = np.zeros(SHAPE, bool)
    border[:, [0, -1]] = True  # a stack that was resampled upright has nothing to interpolate with there
    piece = Piece(values, affine, tolerance=2, units=("HU",), padding=(border, np.inf))
    return series(
        folder, sets, piece, topic=r"(?i)tilt|shear|orthogonal|lean|non.?uniform", numbers=(r"\b15",), may_refuse=True
    )


def sagittal(folder: Path) -> Case:
    """A sagittal series: taken as axial, front is right."""
    affine = scene.placed(SAGITTAL)
    return series(folder, writing.slices("sagittal", affine), true_volume(affine))


def coronal(folder: Path) -> Case:
    """A coronal series: taken as axial, head is front."""
    affine = scene.placed(CORONAL)
    return series(folder, writing.slices("coronal", affine), true_volume(affine))


def oblique(folder: Path) -> Case:
    """An oblique series: its axes are no patient axes."""
    a, b = np.radians(25), np.radians(-35)
    x = np.array([np.cos(a), np.sin(a), 0])
    y = np.array([-np.sin(a) * np.cos(b), np.cos(a) * np.cos(b), np.sin(b)])
    affine = scene.placed((*x, *y))
    return series(folder, writing.slices("oblique", affine), true_volume(affine))


def feet_first(folder: Path) -> Case:
    """Feet first, supine: rows run to the patient's right; taken as usual, left is right and the heart changes sides."""
    affine = scene.placed((-1, 0, 0, 0, 1, 0))
    sets = writing.slices("ffs", affine)
    for ds in sets:
        ds.PatientPosition = "FFS"
    return series(folder, sets, true_volume(affine))


def prone(folder: Path) -> Case:
    """Prone: the first row is the back."""
    affine = scene.placed((-1, 0, 0, 0, -1, 0))
    sets = writing.slices("hfp", affine)
    for ds in sets:
        ds.PatientPosition = "HFP"
    return series(folder, sets, true_volume(affine))


def thickness_is_not_spacing(folder: Path) -> Case:
    """Slices 5 mm thick every 2.5 mm (overlapping): the thickness as spacing makes the patient twice as tall."""
    affine = scene.placed()
    sets = writing.slices("thick", affine)
    for ds in sets:
        ds.SliceThickness, ds.SpacingBetweenSlices = "5", "5"
    return series(folder, sets, true_volume(affine))


def slice_location_lies(folder: Path) -> Case:
    """Slice Location runs the other way than the positions: it has no defined origin and may not order slices."""
    affine = scene.placed()
    sets = writing.slices("location", affine)
    for k, ds in zip(_shuffled(), sets):
        ds.SliceLocation = writing.number(-3.0 * k)
    return series(folder, sets, true_volume(affine))


def jittered_positions(folder: Path) -> Case:
    """Positions rounded to 0.01 mm: no reason to refuse a whole series, nor to see a tilt."""
    affine = scene.placed()
    sets = []
    for k, ds in enumerate(writing.slices("jitter", affine)):
        sets.append(writing.place(ds, affine, k, shift=(0, 0, 0.006 * (-1) ** k)))
    piece = Piece(scene.volume(affine), affine, tolerance=1.0, units=("HU",))
    return series(folder, sets, piece)


def report_in_folder(folder: Path) -> Case:
    """A structured report, a text file and a thumbnail file lie among the slices."""
    affine = scene.placed()
    sets = writing.slices("report", affine)
    report = writing.header("1.2.840.10008.5.1.4.1.1.88.11", "SR", "report", series="9")
    case = series(folder, sets, true_volume(affine))
    writing.save(report, case.path / "AA_report.dcm")
    (case.path / "readme.txt").write_text("These are the slices.\n")
    (case.path / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0" + bytes(64))
    return case


def slopes_by_slice(folder: Path) -> Case:
    """PET-like: every slice has its own slope; the first one's for all is wrong from the second on."""
    affine = scene.placed()
    sets = writing.slices("slopes", affine)
    for k, ds in enumerate(sets):
        slope = 1 / 2 ** (k % 4)
        writing.pixels(ds, (scene.volume(affine)[k] + 1024) / slope, bits=16)
        ds.RescaleSlope = writing.number(slope)
    return series(folder, sets, true_volume(affine))


def slopes_by_slice_monochrome1(folder: Path) -> Case:
    """Low values shown bright, every slice with a slope of its own: turned over slice by slice, each has another zero."""
    affine = scene.placed()
    sets = writing.slices("slopes mono1", affine)
    for k, ds in enumerate(sets):
        slope = 1 / 2 ** (k % 4)
        writing.pixels(ds, (scene.volume(affine)[k] + 1024) / slope, bits=16)
        ds.RescaleSlope, ds.PhotometricInterpretation = writing.number(slope), "MONOCHROME1"
        ds.SOPClassUID, ds.Modality = MR, "MR"
        del ds.RescaleType
    piece = Piece(-scene.volume(affine), affine, offset_free=True)
    return series(folder, sets, piece, topic="(?i)monochrome1")


def slopes_by_slice_32_bits(folder: Path) -> Case:
    """Whole numbers of 25 bits in most slices, halves in one: joined in 32-bit floats, neighbouring values become one."""
    affine = scene.placed()
    sets, values = writing.slices("slopes 32", affine), scene.volume(affine) + 2.0**24 + 1025
    for k, ds in enumerate(sets):
        slope = 0.5 if k == 4 else 1
        writing.pixels(ds, values[k] / slope, bits=32, allocated=32)
        ds.RescaleSlope, ds.RescaleIntercept = writing.number(slope), "0"
        ds.SOPClassUID, ds.Modality = MR, "MR"
        del ds.RescaleType
    strict = 0.3 - 1e-6 * float(values.max())  # the judge allows a millionth
    topic = "(?i)round|precision|bits"
    case = series(folder, sets, Piece(values, affine, tolerance=strict), topic=topic, may_refuse=True)
    near = Piece(values, affine, tolerance=2.0, told="(?i)round|precision")
    return Case(case.path, case.kind, (*case.answers, (near,)), topic=topic, may_refuse=True)


def pixel_spacing_missing(folder: Path) -> Case:
    """No Pixel Spacing: nobody knows how large a lesion is, and 1 mm is an invention."""
    affine = scene.placed()
    sets = writing.slices("no spacing", affine)
    for ds in sets:
        del ds.PixelSpacing
    case = series(folder, sets, topic=r"(?i)spacing|pixel size|place", may_refuse=True)
    loose = tuple(Piece(v, unplaced="yx") for v in scene.volume(affine))
    whole = Piece(scene.volume(affine), unplaced="yx")
    return Case(case.path, case.kind, (loose, (whole,)), topic=case.topic, may_refuse=True)


def orientation_missing(folder: Path) -> Case:
    """No orientation and no position: only numbers are left, and they say nothing of distance or side."""
    affine = scene.placed()
    sets = writing.slices("no orientation", affine)
    for ds in sets:
        del ds.ImageOrientationPatient, ds.ImagePositionPatient
    case = series(folder, sets, topic=r"(?i)orient|position|place|spacing", may_refuse=True)
    loose = tuple(Piece(v) for v in scene.volume(affine))
    whole = Piece(scene.volume(affine), unplaced="z")
    return Case(case.path, case.kind, (loose, (whole,)), topic=case.topic, may_refuse=True)


def bad_cosines(folder: Path) -> Case:
    """Direction cosines that are not perpendicular: a header that was edited, and no rigid place at all."""
    affine = scene.placed()
    sets = writing.slices("cosines", affine)
    for ds in sets:
        ds.ImageOrientationPatient = ["1", "0", "0", "0.3", "0.9", "0"]
    return series(folder, sets, topic=r"(?i)cosine|orient|perpendicular|orthogonal|orthonormal|direction|tilt")


def mr_two_slices(folder: Path) -> Case:
    """Two slices only: their distance is one number that nothing can check."""
    affine = scene.placed(shape=(2, *SHAPE[1:]))
    sets = writing.slices("pair", affine, shape=(2, *SHAPE[1:]))
    for ds in sets:
        ds.SOPClassUID, ds.Modality = MR, "MR"
        del ds.RescaleType
    piece = Piece(scene.volume(affine, (2, *SHAPE[1:])), affine)
    return series(folder, sets, piece, topic=r"(?i)two|\b2\b|slices", may_refuse=True)


TRAPS = (
    plain_series,
    instance_numbers_reversed,
    instance_numbers_shuffled,
    instance_numbers_missing,
    file_names_shuffled,
    from_head_to_foot,
    gantry_tilt,
    sagittal,
    coronal,
    oblique,
    feet_first,
    prone,
    thickness_is_not_spacing,
    slice_location_lies,
    jittered_positions,
    report_in_folder,
    slopes_by_slice,
    slopes_by_slice_monochrome1,
    slopes_by_slice_32_bits,
    pixel_spacing_missing,
    orientation_missing,
    bad_cosines,
    mr_two_slices,
)
