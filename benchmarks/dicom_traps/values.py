"""Traps of the numbers: what a stored value means. Each function writes one source and says what is true of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from benchmarks.dicom_traps import scene, writing
from benchmarks.dicom_traps.truth import Case, Piece
from benchmarks.dicom_traps.writing import CAPTURE, CR, DX, MR, PARAMETRIC, PET, SIGNED

SMALL = (1, scene.ROWS, scene.COLUMNS)
HU_UNITS = ("HU",)


def _slice() -> np.ndarray:
    """One axial CT slice of the made-up patient, in HU."""
    return scene.volume(scene.placed(shape=SMALL), SMALL)[0]


def _case(ds: Dataset, folder: Path, *pieces: Piece, **more: object) -> Case:
    """One file; each piece is an answer of its own."""
    return Case(writing.save(ds, folder / "image.dcm"), writing.kind(ds), tuple((p,) for p in pieces), **more)


def monochrome1_film(folder: Path) -> Case:
    """A film whose low values are shown bright: read as it is stored, bone is dark and a network sees the negative."""
    ds = writing.plain("mono1", CR, "CR", scene.film())
    ds.PhotometricInterpretation = "MONOCHROME1"
    return _case(ds, folder, Piece(-scene.film(), offset_free=True), topic="(?i)monochrome1")


def monochrome1_signed(folder: Path) -> Case:
    """Inverting signed values as if they began at zero wraps or shifts them."""
    ds = writing.plain("mono1 signed", CR, "CR", scene.film() - 2000, bits=16, sign=SIGNED)
    ds.PhotometricInterpretation = "MONOCHROME1"
    return _case(ds, folder, Piece(-scene.film(), offset_free=True), topic="(?i)monochrome1")


def monochrome1_ct(folder: Path) -> Case:
    """MONOCHROME1 says how to show a slice, not what its HU are: inverting them turns air into metal."""
    ds = writing.ct("mono1 ct", _slice())
    ds.PhotometricInterpretation = "MONOCHROME1"
    return _case(ds, folder, Piece(_slice(), units=HU_UNITS), topic="(?i)monochrome1")


def rescale_intercept(folder: Path) -> Case:
    """Without the intercept every CT number is 1,024 too high: lung looks like bone."""
    return _case(writing.ct("rescale", _slice()), folder, Piece(_slice(), units=HU_UNITS))


def rescale_missing(folder: Path) -> Case:
    """A CT without rescale holds raw numbers; calling them HU invents a calibration."""
    ds = writing.ct("no rescale", _slice())
    del ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType
    return _case(
        ds, folder, Piece(_slice() + 1024, units=("stored",)), topic="(?i)rescale|hounsfield|HU", may_refuse=True
    )


def rescale_slope_zero(folder: Path) -> Case:
    """A slope of 0 makes every pixel equal: a broken header, that quietly gives an empty image."""
    ds = writing.ct("slope 0", _slice())
    ds.RescaleSlope = "0"
    raw = Piece(_slice() + 1024, units=("stored",), told="(?i)slope")
    return _case(ds, folder, raw, topic="(?i)slope", numbers=(r"\b0\b",), may_refuse=True)


def rescale_slope_negative(folder: Path) -> Case:
    """A legal negative slope turns the order of values; whoever takes its size only shows a negative."""
    ds = writing.ct("slope -1", _slice())
    writing.pixels(ds, 3071 - _slice())
    ds.RescaleSlope, ds.RescaleIntercept = "-1", "3071"
    return _case(ds, folder, Piece(_slice(), units=HU_UNITS))


def rescale_fraction(folder: Path) -> Case:
    """A slope of 0.0625 cut to whole numbers loses four bits; cast to an integer slope it is 0."""
    ds = writing.ct("slope 1/16", _slice())
    writing.pixels(ds, (_slice() + 1024) * 16, bits=16)
    ds.RescaleSlope = "0.0625"
    return _case(ds, folder, Piece(_slice() + 0.0, units=HU_UNITS))


def signed_pixels(folder: Path) -> Case:
    """Two's complement read as unsigned makes −1,000 HU into 64,536."""
    ds = writing.pixels(writing.ct("signed", _slice()), _slice(), bits=16, sign=SIGNED)
    ds.RescaleIntercept = "0"
    return _case(ds, folder, Piece(_slice(), units=HU_UNITS))


def signed_12_bits(folder: Path) -> Case:
    """A 12-bit negative number in 16 bits whose upper four are not set: without sign extension −1 is 4,095."""
    ds = writing.ct("signed 12", _slice())
    ds.RescaleIntercept, ds.PixelRepresentation = "0", 1
    writing.put(ds, (_slice().astype(np.int32) & 0x0FFF).astype("<u2").tobytes())
    return _case(ds, folder, Piece(_slice(), units=HU_UNITS))


def high_bits_used(folder: Path) -> Case:
    """Old scanners keep overlays in bits 12–15; taken as part of the number they add 32,768 to some pixels."""
    ds = writing.ct("overlay bits", _slice())
    stored = (_slice() + 1024).astype(np.uint16)
    stored[5:9, 5:30] |= 0x8000
    stored[20:30, 7] |= 0x4000
    return _case(writing.put(ds, stored.astype("<u2").tobytes()), folder, Piece(_slice(), units=HU_UNITS))


def high_bit_15(folder: Path) -> Case:
    """12 bits stored at the top of 16 (High Bit 15): read plainly, every number is 16 times too large."""
    ds = writing.ct("high bit", _slice())
    writing.put(ds, ((_slice() + 1024).astype(np.uint16) << 4).astype("<u2").tobytes())
    ds.HighBit = 15
    return _case(
        ds, folder, Piece(_slice(), units=HU_UNITS), topic="(?i)high ?bit", numbers=("15", "12"), may_refuse=True
    )


def bits_32(folder: Path) -> Case:
    """32 bits a pixel are legal (dose, nuclear medicine); cut to 16 they wrap."""
    ds = writing.plain("32 bits", CAPTURE, "OT", scene.film() * 100_000.0, bits=32, allocated=32)
    return _case(ds, folder, Piece(scene.film() * 100_000.0, tolerance=64), topic="(?i)32|bits", may_refuse=True)


def one_bit(folder: Path) -> Case:
    """One bit a pixel, packed eight to a byte, lowest first; a row need not begin at a byte."""
    mask = (scene.film(10, 13) % 3 == 0).astype(np.uint8)
    ds = writing.plain("1 bit", CAPTURE, "OT", mask, bits=1, allocated=8)
    ds.BitsAllocated = 1
    writing.put(ds, np.packbits(mask, bitorder="little").tobytes())
    either = Piece(mask.astype(float)), Piece(mask * 255.0)
    return _case(ds, folder, *either, topic="(?i)1.?bit|bits", may_refuse=True)


def float_pixels(folder: Path) -> Case:
    """A parametric map keeps 32-bit floats in a tag of their own; a reader that knows only Pixel Data finds none."""
    ds = writing.plain("float", PARAMETRIC, "MR", scene.film(), bits=16)
    values = (scene.film() * 0.001 - 1.5).astype(np.float32)
    del ds.PixelData, ds.BitsStored, ds.HighBit, ds.PixelRepresentation
    ds.BitsAllocated, ds.FloatPixelData = 32, values.tobytes()
    return _case(ds, folder, Piece(values, tolerance=1e-6), topic="(?i)float|pixel data", may_refuse=True)


def padding_value(folder: Path) -> Case:
    """Outside the circle a scanner writes −2,000; as a number of its own it would be the largest thing in the picture."""
    values = _slice()
    r, c = np.mgrid[: values.shape[0], : values.shape[1]]
    outside = (r - 20) ** 2 + (c - 24) ** 2 > 19**2
    ds = writing.ct("padding", values)
    writing.pixels(ds, np.where(outside, -2000, values), bits=16, sign=SIGNED)
    ds.RescaleIntercept = "0"
    ds.PixelPaddingValue = -2000
    return _case(ds, folder, Piece(values, padding=(outside, -1000.0), units=HU_UNITS))


def padding_range(folder: Path) -> Case:
    """Padding may be a range (−2,000 to −1,500): not anatomy, and no reason to lose the rest."""
    values = _slice()
    r, c = np.mgrid[: values.shape[0], : values.shape[1]]
    outside = (r - 20) ** 2 + (c - 24) ** 2 > 19**2
    ds = writing.ct("padding range", values)
    writing.pixels(ds, np.where(outside, -2000 + (r * 12) % 500, values), bits=16, sign=SIGNED)
    ds.RescaleIntercept = "0"
    ds.PixelPaddingValue, ds.PixelPaddingRangeLimit = -2000, -1500
    return _case(ds, folder, Piece(values, padding=(outside, -1000.0), units=HU_UNITS))


def window_present(folder: Path) -> Case:
    """A window (centre 40, width 100) is for the eye: applied to the input, everything outside it is lost."""
    ds = writing.ct("window", _slice())
    ds.WindowCenter, ds.WindowWidth = "40", "100"
    return _case(ds, folder, Piece(_slice(), units=HU_UNITS))


def voi_lut_present(folder: Path) -> Case:
    """A VOI LUT is a display curve; applied to the input it makes every manufacturer's films different numbers."""
    ds = writing.plain("voi lut", CR, "CR", scene.film())
    table = (65535 * (np.arange(4096) / 4095.0) ** 3).astype(np.uint16)
    ds.VOILUTSequence = Sequence([_lut(table, first=0)])
    return _case(ds, folder, Piece(scene.film()))


def _lut(table: np.ndarray, *, first: int) -> Dataset:
    item = Dataset()
    item.add_new(0x00283002, "US", [len(table) % 65536, first, 16])
    item.add_new(0x00283006, "OW", table.astype("<u2").tobytes())
    return item


def modality_lut(folder: Path) -> Case:
    """A Modality LUT instead of a slope: without it the numbers are the digitiser's, not optical density."""
    ds = writing.plain("modality lut", CR, "CR", scene.film())
    table = (60000 - (np.arange(4096) * 3.5)).astype(np.uint16)
    item = _lut(table, first=0)
    item.ModalityLUTType = "OD"
    ds.ModalityLUTSequence = Sequence([item])
    return _case(ds, folder, Piece(table[scene.film()].astype(float)), topic="(?i)modality lut", may_refuse=True)


def pet(name: str) -> tuple[Dataset, np.ndarray]:
    """A PET slice in Bq/mL: 70 kg, 370 MBq of fluorine-18 one hour before the scan."""
    ds = writing.header(PET, "PT", name)
    writing.place(ds, scene.placed(shape=SMALL), 0)
    ds.SliceThickness = "2.5"
    writing.pixels(ds, scene.film() * 5.0, bits=16, sign=SIGNED)
    ds.RescaleSlope, ds.RescaleIntercept, ds.Units = "2", "0", "BQML"
    ds.CorrectedImage, ds.DecayCorrection, ds.FrameReferenceTime = ["ATTN", "DECY"], "START", "0"
    drug = Dataset()
    drug.RadiopharmaceuticalStartTime, drug.RadionuclideTotalDose = "091500", "370000000"
    drug.RadionuclideHalfLife, drug.RadionuclidePositronFraction = "6586.2", "0.97"
    ds.RadiopharmaceuticalInformationSequence = Sequence([drug])
    ds.PatientWeight = "70"
    return ds, scene.film() * 10.0


def uptake(activity: np.ndarray, waited: float) -> Piece:
    suv = activity * 70_000 / (370e6 * 0.5 ** (waited / 6586.2))
    return Piece(suv, tolerance=1e-4 * float(suv.max()), units=("SUVbw", "SUV"))


def pet_suv(folder: Path) -> Case:
    """Bq/mL depends on dose and weight; SUV needs the dose decayed to the scan: forgetting that is a third too low."""
    ds, activity = pet("pet")
    return _case(ds, folder, uptake(activity, 3600), Piece(activity, units=("Bq/mL", "BQML")), topic="(?i)suv|pet")


def pet_without_weight(folder: Path) -> Case:
    """Without a weight there is no SUV; a default of 70 kg would be a made-up uptake."""
    ds, activity = pet("pet no weight")
    ds.PatientWeight = ""
    return _case(ds, folder, Piece(activity, units=("Bq/mL", "BQML", "stored")), topic="(?i)weight", may_refuse=True)


def pet_injected_late(folder: Path) -> Case:
    """A dynamic scan begins 15 s before the injection: "injected the day before" makes every uptake 8,900 times too high."""
    ds, activity = pet("pet dynamic")
    ds.RadiopharmaceuticalInformationSequence[0].RadiopharmaceuticalStartTime = "101515"
    return _case(
        ds, folder, uptake(activity, -15), Piece(activity, units=("Bq/mL", "BQML")), topic="(?i)suv|pet|inject"
    )


def pet_time_zone(folder: Path) -> Case:
    """Injected at 8:45 UTC, scanned at 10:15 in a zone an hour east of it: half an hour, not an hour and a half."""
    ds, activity = pet("pet zone")
    ds.TimezoneOffsetFromUTC = "+0100"
    drug = ds.RadiopharmaceuticalInformationSequence[0]
    del drug.RadiopharmaceuticalStartTime
    drug.RadiopharmaceuticalStartDateTime = "20200102084500+0000"
    return _case(ds, folder, uptake(activity, 1800), Piece(activity, units=("Bq/mL", "BQML")), topic="(?i)suv|pet|zone")


def pet_half_life_in_minutes(folder: Path) -> Case:
    """A half life of 109.77 "seconds" is that of fluorine-18 in minutes: decayed by it, uptake is 270 times too high."""
    ds, activity = pet("pet minutes")
    drug = ds.RadiopharmaceuticalInformationSequence[0]
    drug.RadiopharmaceuticalStartTime, drug.RadionuclideHalfLife = "100000", "109.77"
    return _case(ds, folder, Piece(activity, units=("Bq/mL", "BQML")), topic="(?i)half.?life", may_refuse=True)


def pet_counts(folder: Path) -> Case:
    """Some PET series hold counts (Units CNTS); they are neither Bq/mL nor SUV."""
    ds, activity = pet("pet counts")
    ds.Units = "CNTS"
    return _case(
        ds, folder, Piece(activity, units=("counts", "CNTS", "stored")), topic="(?i)count|CNTS", may_refuse=True
    )


def mr_scale(folder: Path) -> Case:
    """MR with a rescale (as Philips writes): slope 1.5 and intercept 10 apply, and are no HU."""
    ds = writing.header(MR, "MR", "mr")
    writing.place(ds, scene.placed(shape=SMALL), 0)
    ds.SliceThickness = "2.5"
    writing.pixels(ds, scene.film())
    ds.RescaleSlope, ds.RescaleIntercept = "1.5", "10"
    return _case(ds, folder, Piece(scene.film() * 1.5 + 10, units=("stored",)))


def icon_first(folder: Path) -> Case:
    """An icon is stored before the image, with its own rows and Pixel Data: the first one found is the wrong one."""
    ds = writing.ct("icon", _slice())
    icon = Dataset()
    writing.pixels(icon, np.full((8, 8), 77), bits=8, allocated=8)
    ds.IconImageSequence = Sequence([icon])
    return _case(ds, folder, Piece(_slice(), units=HU_UNITS))


def overlay_plane(folder: Path) -> Case:
    """An overlay (group 6000) lies over the image for the eye; burned in, the doctor's mark is what the network learns."""
    ds = writing.ct("overlay", _slice())
    ds.add_new(0x60000010, "US", scene.ROWS)
    ds.add_new(0x60000011, "US", scene.COLUMNS)
    ds.add_new(0x60000040, "CS", "G")
    ds.add_new(0x60000050, "SS", [1, 1])
    ds.add_new(0x60000100, "US", 1)
    ds.add_new(0x60000102, "US", 0)
    ds.add_new(0x60003000, "OW", b"\xf0" * (scene.ROWS * scene.COLUMNS // 8))
    return _case(ds, folder, Piece(_slice(), units=HU_UNITS))


def ct_localizer_units(folder: Path) -> Case:
    """A scout is a projection: its header has the CT intercept, its numbers are no HU of anything."""
    ds = writing.ct("scout", _slice())
    ds.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    return _case(ds, folder, Piece(_slice(), units=("stored",)), topic="(?i)locali[sz]er|scout", may_refuse=True)


def screenshot_of_ct(folder: Path) -> Case:
    """A screenshot of a CT slice keeps the modality and a rescale of 0 and 1: grey levels 0 to 255 are no HU."""
    ds = writing.plain("screenshot", CAPTURE, "CT", scene.film8(), bits=8, allocated=8)
    ds.ImageType, ds.ConversionType = ["DERIVED", "SECONDARY", "SCREEN SAVE"], "WSD"
    ds.RescaleSlope, ds.RescaleIntercept = "1", "0"
    piece = Piece(scene.film8(), units=("stored",))
    return _case(ds, folder, piece, topic="(?i)capture|screen|HU|hounsfield", may_refuse=True)


def padding_12_signed_bits(folder: Path) -> Case:
    """Padding of -2,000 in 12 signed bits, written as 2,096: taken as it stands, nothing is padding."""
    values = _slice()
    r, c = np.mgrid[: values.shape[0], : values.shape[1]]
    outside = (r - 20) ** 2 + (c - 24) ** 2 > 19**2
    ds = writing.ct("padding 12", values)
    ds.RescaleIntercept, ds.PixelRepresentation = "0", 1
    writing.put(ds, (np.where(outside, -2000, values).astype(np.int32) & 0x0FFF).astype("<u2").tobytes())
    ds.add_new(0x00280120, "US", 0x0830)
    facts = {"PixelPadding": "-2000\\-2000"}
    return _case(ds, folder, Piece(values, padding=(outside, -1000.0), units=HU_UNITS, attributes=facts))


def presentation_shape_inverse(folder: Path) -> Case:
    """MONOCHROME2 says low is dark, Presentation LUT Shape says low is bright: one word is wrong, and nobody knows which."""
    ds = writing.plain("shape inverse", DX, "DX", scene.film())
    ds.PresentationLUTShape = "INVERSE"
    topic = r"(?i)presentation lut|inverse|monochrome"
    return _case(ds, folder, Piece(scene.film(), told=topic), topic=topic, may_refuse=True)


def bits_32_rounded(folder: Path) -> Case:
    """Whole numbers of 32 bits times 1.5: 32-bit floats hold 24 bits, and neighbours become one without a word."""
    stored = 2.0**24 + 1 + scene.film()
    ds = writing.plain("32 bits rounded", CAPTURE, "OT", stored, bits=32, allocated=32)
    ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = "1.5", "0", "US"
    strict = 0.3 - 1e-6 * float(stored.max() * 1.5)  # the judge allows a millionth
    exact = Piece(stored * 1.5, tolerance=strict)
    near = Piece(stored * 1.5, tolerance=2.0, told="(?i)round|precision")
    return _case(ds, folder, exact, near, topic="(?i)round|precision|32|bits", may_refuse=True)


def monochrome1_32_bits(folder: Path) -> Case:
    """A film of 32 bits whose low values are shown bright: turned over in its full range, 32-bit floats hold no two of 256 neighbours apart."""
    ds = writing.plain("32 bits dark", CAPTURE, "OT", scene.film() * 40, bits=32, allocated=32)
    ds.PhotometricInterpretation = "MONOCHROME1"
    exact = Piece(-scene.film() * 40.0, offset_free=True)
    near = Piece(-scene.film() * 40.0, tolerance=256, offset_free=True, told="(?i)round|precision")
    return _case(ds, folder, exact, near, topic="(?i)round|precision|32|bits|monochrome1", may_refuse=True)


TRAPS = (
    monochrome1_film,
    monochrome1_signed,
    monochrome1_ct,
    rescale_intercept,
    rescale_missing,
    rescale_slope_zero,
    rescale_slope_negative,
    rescale_fraction,
    signed_pixels,
    signed_12_bits,
    high_bits_used,
    high_bit_15,
    bits_32,
    one_bit,
    float_pixels,
    padding_value,
    padding_range,
    window_present,
    voi_lut_present,
    modality_lut,
    pet_suv,
    pet_without_weight,
    pet_injected_late,
    pet_time_zone,
    pet_half_life_in_minutes,
    pet_counts,
    mr_scale,
    icon_first,
    overlay_plane,
    ct_localizer_units,
    screenshot_of_ct,
    padding_12_signed_bits,
    presentation_shape_inverse,
    bits_32_rounded,
    monochrome1_32_bits,
)
