"""Traps of numbers that mean something else than they seem to: too few bits, a rescale for some, maps that look like CT."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence

from benchmarks.dicom_traps import scene, writing
from benchmarks.dicom_traps.encodings import runs
from benchmarks.dicom_traps.frames import enhanced
from benchmarks.dicom_traps.truth import Case, Piece
from benchmarks.dicom_traps.volumes import series
from benchmarks.dicom_traps.writing import CAPTURE, DX, MR, PARAMETRIC, SIGNED, US

SMALL = (1, scene.ROWS, scene.COLUMNS)
_BITS = r"(?i)bits|sign|pixel representation"
_RESCALE = r"(?i)rescale|slope|unit"


def _slice() -> np.ndarray:
    return scene.volume(scene.placed(shape=SMALL), SMALL)[0]


def _case(ds: Dataset, folder: Path, *pieces: Piece, **more: object) -> Case:
    """One file; each piece is an answer of its own."""
    return Case(writing.save(ds, folder / "image.dcm"), writing.kind(ds), tuple((p,) for p in pieces), **more)


def bits_overrun(folder: Path) -> Case:
    """The header says 12 bits, the brightest pixels need 13: cut off, the densest bone is as dark as air."""
    film = np.round(scene.film() * 1.8)
    ds = writing.plain("overrun", DX, "DX", film, bits=16)
    ds.BitsStored, ds.HighBit = 12, 11
    return _case(ds, folder, Piece(film), topic=_BITS, may_refuse=True)


def bits_overrun_signed(folder: Path) -> Case:
    """A screw of 3,000 HU in a CT of 12 signed bits: cut to these it is -1,096 HU, air in the middle of bone."""
    values = _slice()
    values[18:24, 20:26] = 3000
    ds = writing.pixels(writing.ct("overrun signed", _slice()), values, bits=16, sign=SIGNED)
    ds.RescaleIntercept, ds.BitsStored, ds.HighBit = "0", 12, 11
    return _case(ds, folder, Piece(values, units=("HU",)), topic=_BITS, may_refuse=True)


def sign_unsaid(folder: Path) -> Case:
    """Pixel Representation is missing, and air is below zero: taken as unsigned, it is 64,536 HU."""
    ds = writing.pixels(writing.ct("unsaid", _slice()), _slice(), bits=16, sign=SIGNED)
    ds.RescaleIntercept = "0"
    del ds.PixelRepresentation
    return _case(ds, folder, Piece(_slice(), units=("HU",)), topic=_BITS + "|PixelRepresentation", may_refuse=True)


def enhanced_half_rescaled(folder: Path) -> Case:
    """Half the frames of an enhanced CT have a rescale, half none: as one volume it steps by 1,024 in the middle."""
    affine = scene.placed()
    ds = enhanced("half", [affine] * 12, list(range(12)), list(scene.volume(affine)))
    (shared,) = ds.SharedFunctionalGroupsSequence
    item = shared.PixelValueTransformationSequence[0]
    del shared.PixelValueTransformationSequence
    for group in ds.PerFrameFunctionalGroupsSequence[:6]:
        group.PixelValueTransformationSequence = Sequence([item])
    return _case(ds, folder, topic=_RESCALE, numbers=(r"\b2\b",))


def mr_half_rescaled(folder: Path) -> Case:
    """Half the slices of an MR have a slope of 4, the others no rescale: nobody knows whether these are four times too dark."""
    sets = _mr("half mr", scene.placed())
    for ds in sets[:6]:
        ds.RescaleSlope, ds.RescaleIntercept = "4", "0"
    return series(folder, sets, topic=_RESCALE, numbers=(r"\b6\b", r"\b12\b"))


def _mr(name: str, affine: np.ndarray) -> list[Dataset]:
    """An MR series of the made-up patient, values from 500 on."""
    out = []
    for k, values in enumerate(scene.volume(affine)):
        ds = writing.header(MR, "MR", name, instance=k + 1)
        ds.FrameOfReferenceUID, ds.SliceThickness = writing.uid(name, "frame"), "2.5"
        out.append(writing.pixels(writing.place(ds, affine, k), values + 1000))
    return out


def mr_mapping_differs(folder: Path) -> Case:
    """A diffusion map whose slices each have a Real World Value Mapping of their own: as stored, slices cannot be compared."""
    affine = scene.placed()
    sets, slopes = _mr("mapping", affine), 1e-6 * (1 + np.arange(scene.SHAPE[0]))
    for ds, slope in zip(sets, slopes):
        ds.RealWorldValueMappingSequence = Sequence([_mapping("mm2/s", slope)])
    stored = scene.volume(affine) + 1000
    raw = Piece(stored, affine, units=("stored",), told="(?i)mapping")
    real = Piece(stored * slopes[:, None, None], affine, tolerance=1e-7)
    case = series(folder, sets, topic="(?i)mapping|real.world", may_refuse=True)
    return replace(case, answers=((raw,), (real,)))


def _mapping(unit: str, slope: float) -> Dataset:
    item, code = Dataset(), Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = unit, "UCUM", unit
    item.RealWorldValueFirstValueMapped, item.RealWorldValueLastValueMapped = 0, 4095
    item.LUTLabel, item.LUTExplanation = "MAP", "map"
    item.RealWorldValueSlope, item.RealWorldValueIntercept = slope, 0.0
    item.MeasurementUnitsCodeSequence = Sequence([code])
    return item


def iodine_map(folder: Path) -> Case:
    """A CT whose Real World Value Mapping says mg/cm3 holds iodine: called HU, 200 is contrast where there is little."""
    ds = writing.ct("iodine", _slice() - 1024)
    writing.pixels(ds, _slice() + 1000)
    ds.RescaleIntercept, ds.ImageType = "0", ["DERIVED", "PRIMARY", "AXIAL", "MAT_SPECIFIC"]
    del ds.RescaleType
    ds.RealWorldValueMappingSequence = Sequence([_mapping("mg/cm3", 0.05)])
    raw = Piece(_slice() + 1000, units=("stored",))
    real = Piece((_slice() + 1000) * 0.05, tolerance=1e-3, units=("mg/cm3",))
    return _case(ds, folder, raw, real, topic="(?i)mapping|real.world|map|HU", may_refuse=True)


def atomic_numbers(folder: Path) -> Case:
    """Effective atomic numbers, reckoned from two voltages, keep modality CT and a rescale: they are no HU."""
    ds = writing.ct("atomic", _slice())
    ds.ImageType = ["DERIVED", "PRIMARY", "AXIAL", "EFF_ATOMIC_NUM"]
    del ds.RescaleType
    return _case(ds, folder, Piece(_slice(), units=("stored",)), topic="(?i)image.?type|HU|map", may_refuse=True)


def scout_by_scan_options(folder: Path) -> Case:
    """Some scanners name their scout only in Scan Options (SURVIEW): a projection with a CT's rescale, and no HU."""
    ds = writing.ct("surview", _slice())
    ds.ScanOptions = "SURVIEW"
    piece = Piece(_slice(), units=("stored",))
    return _case(ds, folder, piece, topic="(?i)locali[sz]er|scout|surview", may_refuse=True)


def _palette(ds: Dataset, first: int, data: bytes, bits: int) -> Dataset:
    """Write a palette of 256 greys."""
    for colour in ("Red", "Green", "Blue"):
        setattr(ds, f"{colour}PaletteColorLookupTableDescriptor", [256, first, bits])
        setattr(ds, f"{colour}PaletteColorLookupTableData", data)
    return ds


def colours_among_grey(folder: Path) -> Case:
    """A perfusion colour laid over a grey CT: those pixels are numbers of colours (from 3,072 on), and would be 2,048 HU and more."""
    values = _slice()
    values[10:20, 10:20] = 2048 + np.arange(100).reshape(10, 10)
    ds = writing.ct("fused", values)
    ds.PixelPresentation = "MIXED"
    _palette(ds, 3072, (np.arange(256) * 256).astype("<u2").tobytes(), 16)
    return _case(ds, folder, topic="(?i)palette|colou?r|pixel presentation", numbers=(r"\b100\b",))


def palette_upper_byte(folder: Path) -> Case:
    """A palette of 8 bits whose entries lie in the upper byte of 16-bit words: read from the lower one, all is black."""
    places = scene.film8().astype(np.uint8)
    ds = writing.plain("upper byte", US, "US", places, bits=8, allocated=8)
    ds.PhotometricInterpretation = "PALETTE COLOR"
    _palette(ds, 0, (np.arange(256) << 8).astype("<u2").tobytes(), 8)
    grey = places.astype(float)
    right = [Piece(np.stack([v] * 3, -1), tolerance=1.0) for v in (grey, grey * 256, grey * 257)]
    return _case(ds, folder, *right, Piece(grey, tolerance=1.0), topic="(?i)palette|lookup", may_refuse=True)


def jpeg_2000_word_left(folder: Path) -> Case:
    """JPEG 2000 was decompressed and the word YBR_RCT left in the header: converted once more, red is green."""
    ds = writing.plain("word left", US, "US", scene.colour(), bits=8, allocated=8, samples=3)
    ds.PhotometricInterpretation = "YBR_RCT"
    return _case(ds, folder, Piece(scene.colour()), topic="(?i)YBR|photometric|colou?r", may_refuse=True)


def frames_uncounted(folder: Path) -> Case:
    """Three compressed frames, no Number of Frames and no table of offsets: two of three are lost without a word."""
    films = [scene.film8() + k for k in range(3)]
    ds = writing.plain("uncounted", writing.US_CINE, "US", films[0], bits=8, allocated=8)
    ds.FrameTime = "40"
    ds.PixelData = encapsulate([runs([f]) for f in films], has_bot=False)
    ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    path = writing.save(ds, folder / "image.dcm", uid.RLELossless)
    pieces = Piece(films[0], told="(?i)frames?"), Piece(np.stack(films))
    return Case(path, "DICOM frames", tuple((p,) for p in pieces), topic="(?i)frames?", may_refuse=True)


def float_padding(folder: Path) -> Case:
    """A map of floats with its own element for padding (-9,999): unmarked, it is the largest thing in every statistic."""
    values = (scene.film() * 0.001).astype(np.float32)
    r, c = np.mgrid[: values.shape[0], : values.shape[1]]
    outside = (r - 20) ** 2 + (c - 24) ** 2 > 19**2
    ds = writing.plain("float padding", PARAMETRIC, "MR", scene.film(), bits=16)
    del ds.PixelData, ds.BitsStored, ds.HighBit, ds.PixelRepresentation
    ds.BitsAllocated, ds.FloatPixelData = 32, np.where(outside, np.float32(-9999), values).tobytes()
    ds.FloatPixelPaddingValue = -9999.0
    facts = {"PixelPadding": "-9999\\-9999"}
    right = Piece(values, padding=(outside, -1000.0), attributes=facts, tolerance=1e-6)
    return _case(ds, folder, right, topic="(?i)float|pixel data|padding", may_refuse=True)


def photometric_in_turn(folder: Path) -> Case:
    """Half the slices of an MR are stored as negatives and say so: read as stored, the patient turns dark in the middle."""
    affine = scene.placed()
    sets = _mr("photometric", affine)
    for ds, values in zip(sets[:6], scene.volume(affine)[:6]):
        writing.pixels(ds, 4095 - (values + 1000))
        ds.PhotometricInterpretation = "MONOCHROME1"
    right = Piece(scene.volume(affine) + 1000, affine, told=r"(?i)monochrome1.*\b6\b")
    return series(folder, sets, right, topic="(?i)monochrome1|photometric", may_refuse=True)


def table_and_rescale(folder: Path) -> Case:
    """A Modality LUT and a rescale in one file, of which the Standard allows one: which of them makes the number?"""
    ds = writing.plain("table and rescale", CAPTURE, "OT", scene.film())
    table, item = (60000 - (np.arange(4096) * 3.5)).astype(np.uint16), Dataset()
    item.add_new(0x00283002, "US", [4096, 0, 16])
    item.add_new(0x00283006, "OW", table.astype("<u2").tobytes())
    item.ModalityLUTType = "OD"
    ds.ModalityLUTSequence = Sequence([item])
    ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = "2", "100", "US"
    topic = "(?i)lut|lookup|table|rescale"
    either = (Piece(v, told=topic) for v in (table[scene.film()].astype(float), scene.film() * 2.0 + 100))
    return _case(ds, folder, *either, topic=topic, may_refuse=True)


TRAPS = (
    bits_overrun,
    bits_overrun_signed,
    sign_unsaid,
    enhanced_half_rescaled,
    mr_half_rescaled,
    mr_mapping_differs,
    iodine_map,
    atomic_numbers,
    scout_by_scan_options,
    colours_among_grey,
    palette_upper_byte,
    jpeg_2000_word_left,
    frames_uncounted,
    float_padding,
    photometric_in_turn,
    table_and_rescale,
)
