"""Numbers of two kinds are no one volume; colours that lost their word, maps called HU, and frames nobody counted."""

from __future__ import annotations

import imagecodecs
import numpy as np
import pytest
from one_image import RAMP, both, made, saved
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.sequence import Sequence
from series_of_slices import one_slice

from overread.domain import Image, code_of
from overread.errors import UnreadableFile
from overread.formats.found import Refused
from overread.formats.fragments import frames
from overread.formats.series import read_series

CT = {"Modality": "CT", "RescaleSlope": "1", "RescaleIntercept": "-1024"}


def series(count: int = 6, **each: list) -> Image | str:
    """Slices of one volume, or why they are none; ``each`` has a header value for every one of them, None for none."""
    files = []
    for k in range(count):
        header = {word: values[k] for word, values in each.items() if values[k] is not None}
        files.append((str(k), one_slice(np.array([0, 0, 2.5 * k]), np.eye(3), k + 1, RAMP + 10 * k, **header)))
    first = read_series(files)[0]
    return first.reason if isinstance(first, Refused) else first.image


def grouped(*rescales: tuple | None, **header: object) -> Dataset:
    groups = []
    for how in rescales:
        group, item = Dataset(), Dataset()
        if how is not None:
            item.RescaleSlope, item.RescaleIntercept = how[:2]
            if len(how) > 2:
                item.RescaleType = how[2]
            group.PixelValueTransformationSequence = Sequence([item])
        groups.append(group)
    values = np.stack([RAMP] * len(groups))
    return made(values, PerFrameFunctionalGroupsSequence=Sequence(groups), **header)


# -- a rescale for some --------------------------------------------------------------------------------------------------


def test_slices_of_which_some_are_rescaled_are_no_volume() -> None:
    said = series(RescaleSlope=[4, 4, 4, None, None, None], RescaleIntercept=[0, 0, 0, None, None, None])
    assert "3 of 6 slices of one volume without a rescale" in said


def test_a_rescale_by_one_is_the_same_as_none_and_slopes_of_their_own_are_as_legal_as_ever() -> None:
    got = series(RescaleSlope=[1, 1, 1, None, None, None], RescaleIntercept=[0, 0, 0, None, None, None])
    assert got.voxels[4, 0, 0] == 40
    got = series(RescaleSlope=[1, 2, 3, 1, 2, 3], RescaleIntercept=[0] * 6)
    assert got.voxels[:, 0, 0].tolist() == [0, 20, 60, 30, 80, 150]


def placed(ds: Dataset) -> bytes:
    for k, group in enumerate(ds.PerFrameFunctionalGroupsSequence):
        place, turn, size = Dataset(), Dataset(), Dataset()
        place.ImagePositionPatient, turn.ImageOrientationPatient = [0, 0, 2 * k], [1, 0, 0, 0, 1, 0]
        size.PixelSpacing, size.SliceThickness = [1, 1], 2
        group.PlanePositionSequence, group.PlaneOrientationSequence = Sequence([place]), Sequence([turn])
        group.PixelMeasuresSequence = Sequence([size])
    ds.SOPClassUID = uid.EnhancedCTImageStorage
    return saved(ds)


@pytest.mark.parametrize(
    ("modality", "rescales", "said"),
    [
        ("CT", [(1, -1024, "HU")] * 2 + [None] * 2, "2 units in one volume (HU and stored)"),
        ("CT", [(1, -1024, "HU")] * 2 + [(0.1, 0, "MGML")] * 2, "2 units in one volume (HU and MGML)"),
        ("MR", [(4, 0, "US")] * 2 + [None] * 2, "2 of 4 slices of one volume without a rescale"),
    ],
)
def test_frames_of_one_file_are_judged_like_slices_in_files(modality: str, rescales: list, said: str) -> None:
    (result,) = read_series([("one", placed(grouped(*rescales, Modality=modality)))])
    assert result.code == "mixed-size"
    assert said in result.reason
    (whole,) = read_series([("one", placed(grouped(*rescales[:1] * 4, Modality=modality)))])
    assert whole.image.voxels.shape == (4, 8, 10)


def test_two_volumes_of_two_units_in_one_file_keep_each_its_own() -> None:
    ds = grouped(*[(1, -1024, "HU")] * 3, *[(2, 0, "MGML")] * 3, Modality="CT")
    placed(ds)  # then, as a scanner stores them: both at the same places
    for k, group in enumerate(ds.PerFrameFunctionalGroupsSequence):
        group.PlanePositionSequence[0].ImagePositionPatient = [0, 0, 2 * (k % 3)]
        kind = Dataset()
        kind.FrameType = ["DERIVED", "PRIMARY", "VOLUME", "VMI" if k < 3 else "MAT_SPECIFIC"]
        group.CTImageFrameTypeSequence = Sequence([kind])
    found = read_series([("one", saved(ds))])
    assert [(f.image.unit, int(f.image.voxels[0, 0, 1])) for f in found] == [("HU", -1023), ("MGML", 2)]


def test_a_volume_of_both_photometric_interpretations_says_how_many_slices_were_turned() -> None:
    got = series(PhotometricInterpretation=["MONOCHROME1"] * 2 + ["MONOCHROME2"] * 4)
    (note,) = [n for n in got.notes if code_of(n) == "inverted"]
    assert "in 2 of 6 slices" in note
    (note,) = [n for n in series(PhotometricInterpretation=["MONOCHROME1"] * 6).notes if code_of(n) == "inverted"]
    assert "slices" not in note


def test_slices_whose_mappings_differ_are_told_of_where_no_rescale_makes_up_for_it() -> None:
    def each(*slopes: float) -> list:
        out = []
        for slope in slopes:
            (item,) = mapped("mm2/s")
            item.RealWorldValueSlope, item.RealWorldValueIntercept = slope, 0.0
            out.append(Sequence([item]))
        return out

    def codes(**header: list) -> list[str]:
        return list(map(code_of, series(**header).notes))

    rising = each(1, 2, 3, 4, 5, 6)
    assert codes(RealWorldValueMappingSequence=rising) == ["mapping-differs"]
    assert codes(RealWorldValueMappingSequence=each(*[0.5] * 6)) == []
    made_up = {"RescaleSlope": [2, 4, 6, 8, 10, 12], "RescaleIntercept": [0] * 6}
    assert codes(RealWorldValueMappingSequence=rising, **made_up) == []


@pytest.mark.parametrize(
    ("slopes", "rescales", "told"),
    [([1, 2, 3, 4], [1] * 4, True), ([2] * 4, [1] * 4, False), ([1, 2, 3, 4], [2, 4, 6, 8], False)],
)
def test_frames_whose_mappings_differ_are_told_of_likewise(slopes: list, rescales: list, told: bool) -> None:
    ds = grouped(*[(slope, 0, "US") for slope in rescales], Modality="MR")
    for slope, group in zip(slopes, ds.PerFrameFunctionalGroupsSequence, strict=True):
        (item,) = mapped("mm2/s")
        item.RealWorldValueSlope, item.RealWorldValueIntercept = float(slope), 0.0
        group.RealWorldValueMappingSequence = Sequence([item])
    (found,) = read_series([("one", placed(ds))])
    notes = [n for n in found.image.notes if code_of(n) == "mapping-differs"]
    assert len(notes) == told
    assert all("a factor of up to 4 between frames" in n for n in notes)


# -- what is called HU ---------------------------------------------------------------------------------------------------


def mapped(unit: str) -> Sequence:
    code, item = Dataset(), Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = unit, "UCUM", unit
    item.MeasurementUnitsCodeSequence = Sequence([code])
    return Sequence([item])


@pytest.mark.parametrize(
    ("how", "unit"),
    [
        ({"RealWorldValueMappingSequence": mapped("mg/cm3")}, "stored"),
        ({"RealWorldValueMappingSequence": mapped("[hnsf'U]")}, "HU"),
        *(
            ({"ImageType": ["DERIVED", "PRIMARY", "AXIAL", word]}, "stored")
            for word in (
                "EFF_ATOMIC_NUM",
                "MAT_FRACTIONAL",
                "MAT_SPECIFIC",
                "ELECTRON_DENSITY",
                "PERFUSION_CBF",
                "VRT",
                "SUBTRACTION",
                "DE IODINE MAP",
            )
        ),
        *(
            ({"ImageType": ["DERIVED", "PRIMARY", "AXIAL", word]}, "HU")
            for word in ("VMI", "MAT_REMOVED", "MEAN", "MAXIMUM", "IODINE REMOVED", "CT_SOM5 SPI")
        ),
    ],
)
def test_a_map_reckoned_from_ct_is_not_called_hu(how: dict, unit: str) -> None:
    got = both(made(RAMP, **CT, **how))
    assert got.unit == unit
    assert [code_of(n) for n in got.notes] == (["not-hu"] if unit == "stored" else [])
    assert both(made(RAMP, **CT | {"RescaleType": "MGML"}, **how)).unit == "MGML"


@pytest.mark.parametrize(
    "how",
    [
        *({"ImageType": ["ORIGINAL", "PRIMARY", word]} for word in ("SCOUT", "TOPOGRAM", "SCANOGRAM", "LOCALIZER")),
        {"ScanOptions": "SURVIEW"},
        {"ScanOptions": ["SCOUT MODE", "X"]},
    ],
)
def test_a_scout_by_any_of_its_names_has_no_hu(how: dict) -> None:
    assert both(made(RAMP, **CT, **how)).unit == "stored"
    assert both(made(RAMP, **CT, ScanOptions="HELICAL MODE", ImageType=["ORIGINAL", "PRIMARY", "AXIAL"])).unit == "HU"


def test_a_table_beside_a_rescale_is_told() -> None:
    lut = Dataset()
    lut.add_new("LUTDescriptor", "US", [80, 0, 16])
    lut.add_new("LUTData", "US", [3 * v for v in range(80)])
    got = both(made(RAMP, ModalityLUTSequence=Sequence([lut]), RescaleSlope="2", RescaleIntercept="1"))
    assert np.array_equal(got.voxels[0], RAMP * 3)
    assert [code_of(n) for n in got.notes] == ["two-rescales"]
    assert both(made(RAMP, ModalityLUTSequence=Sequence([lut]))).notes == ()


# -- padding of fractions ------------------------------------------------------------------------------------------------


def test_padding_of_floats_is_told_and_kept() -> None:
    values = (RAMP / 8).astype(np.float32)
    values[0] = -9999
    ds = made(RAMP)
    del ds.PixelData, ds.BitsStored, ds.HighBit, ds.PixelRepresentation
    ds.BitsAllocated, ds.FloatPixelData = 32, values.tobytes()
    assert both(ds).padding is None
    ds.FloatPixelPaddingValue = -9999.0
    got = both(ds)
    assert got.padding == (-9999, -9999)
    assert "padding" in map(code_of, got.notes)


# -- colours -------------------------------------------------------------------------------------------------------------

COLOURS = np.stack([RAMP * 3, 255 - RAMP, RAMP + 40], -1).astype(np.uint8)


@pytest.mark.parametrize("word", ["YBR_RCT", "YBR_ICT"])
@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.RLELossless, uid.JPEGLSLossless])
def test_a_word_that_only_jpeg_2000_has_is_a_leftover_elsewhere(word: str, syntax: uid.UID) -> None:
    ds = made(COLOURS[..., 0], SamplesPerPixel=3, PhotometricInterpretation="RGB", PlanarConfiguration=0)
    ds.PixelData = COLOURS.tobytes()
    if syntax == uid.RLELossless:
        ds.compress(uid.RLELossless, encoding_plugin="pydicom")
    elif syntax == uid.JPEGLSLossless:
        ds.PixelData = encapsulate([imagecodecs.jpegls_encode(COLOURS)])
        ds["PixelData"].is_undefined_length = True
        ds.file_meta.TransferSyntaxUID = syntax
    ds.PhotometricInterpretation = word
    got = both(ds)
    assert np.array_equal(got.voxels[0], COLOURS)
    assert [code_of(n) for n in got.notes] == ["other-colour"]


def test_twin_the_word_is_right_for_jpeg_2000() -> None:
    ds = made(COLOURS[..., 0], SamplesPerPixel=3, PhotometricInterpretation="YBR_RCT", PlanarConfiguration=0)
    coded = imagecodecs.jpeg2k_encode(COLOURS, level=0, mct=True, codecformat="j2k", reversible=True)
    ds.PixelData = encapsulate([coded])
    ds["PixelData"].is_undefined_length = True
    ds.file_meta.TransferSyntaxUID = uid.JPEG2000Lossless
    got = both(ds)
    assert np.array_equal(got.voxels[0], COLOURS)
    assert [code_of(n) for n in got.notes] == ["to-rgb"]


@pytest.mark.parametrize("word", ["COLOR", "MIXED"])
def test_grey_pixels_that_are_numbers_of_colours_are_refused(word: str) -> None:
    values = RAMP.copy()
    values[2:4] += 1000
    header = {f"{c}PaletteColorLookupTableDescriptor": [256, 1000, 16] for c in ("Red", "Green", "Blue")}
    tables = {f"{c}PaletteColorLookupTableData": bytes(512) for c in ("Red", "Green", "Blue")}
    with pytest.raises(UnreadableFile, match="20 of 80 are numbers of colours") as why:
        both(made(values, PixelPresentation=word, **header, **tables))
    assert why.value.code == "unsupported-format"
    frame, group = Dataset(), Dataset()
    frame.PixelPresentation = word
    group.MRImageFrameTypeSequence = Sequence([frame])
    with pytest.raises(UnreadableFile, match="20 of 80 are numbers of colours"):
        both(made(values, SharedFunctionalGroupsSequence=Sequence([group]), **header, **tables))
    assert np.array_equal(both(made(RAMP, PixelPresentation=word, **header, **tables)).voxels[0], RAMP)
    assert np.array_equal(both(made(values, PixelPresentation="MONOCHROME", **header, **tables)).voxels[0], values)


# -- frames that nobody counted ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("coder", ["jpeg", "jpeg-ls", "jpeg 2000", "rle"])
def test_more_frames_than_the_header_counts_are_told_of(coder: str) -> None:
    pictures = [np.tile(RAMP.astype(np.uint8), (2, 2)) + k for k in range(3)]
    if coder == "rle":
        ds = made(np.stack(pictures))
        ds.compress(uid.RLELossless, encoding_plugin="pydicom")
        streams = list(generate_frames(ds.PixelData, number_of_frames=3))
    else:
        code = {
            "jpeg": lambda p: imagecodecs.jpeg_encode(p, level=95),
            "jpeg-ls": imagecodecs.jpegls_encode,
            "jpeg 2000": lambda p: imagecodecs.jpeg2k_encode(p, level=0, codecformat="j2k", reversible=True),
        }[coder]
        streams = [code(p) for p in pictures]
    first, notes = frames(encapsulate(streams, has_bot=False), 1)
    assert [f.rstrip(b"\0") for f in first] == [streams[0].rstrip(b"\0")]
    assert notes == ["trailing-bytes: 2 more compressed frames after the 1 that the header counts were ignored"]
    pieces, notes = frames(encapsulate([streams[0]], fragments_per_frame=3, has_bot=False), 1)
    assert [f.rstrip(b"\0") for f in pieces] == [streams[0].rstrip(b"\0")]
    assert notes == []
