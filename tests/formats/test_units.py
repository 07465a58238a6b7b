"""Stored values become physical ones: closed forms, a second author, and two readers of the header that must agree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from one_image import RAMP, both, made, same, saved
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.sequence import Sequence

from overread.domain import code_of
from overread.errors import UnreadableFile
from overread.formats.dicom import parse
from overread.formats.plain import plain
from overread.formats.units import numbers, physical

BUNDLED = Path(pydicom.__file__).parent / "data" / "test_files"


@pytest.mark.parametrize(
    ("slope", "intercept"), [("1", "-1024"), ("-1", "100"), ("0.5", "-10.25"), ("2", "0"), ("1e-3", "0")]
)
def test_rescale_is_the_closed_form(slope: str, intercept: str) -> None:
    got = both(made(RAMP, Modality="CT", RescaleSlope=slope, RescaleIntercept=intercept))
    want = RAMP * float(slope) + float(intercept)
    assert np.array_equal(got.voxels[0], want.astype(got.voxels.dtype))
    assert got.full_range == tuple(sorted((float(intercept), 65535 * float(slope) + float(intercept))))
    assert got.unit == "HU"


def test_a_slope_of_zero_is_refused_with_its_number() -> None:
    with pytest.raises(UnreadableFile, match="slope of 0 in 1 of 1") as caught:
        both(made(RAMP, Modality="CT", RescaleSlope="0", RescaleIntercept="-1024"))
    assert caught.value.code == "zero-slope"


def test_half_a_rescale_is_told() -> None:
    got = both(made(RAMP, Modality="CT", RescaleIntercept="-1000"))
    assert got.voxels.min() == -1000
    assert "half-rescale" in map(code_of, got.notes)


def test_values_leave_a_dtype_only_when_they_must() -> None:
    """Whole numbers that wrap on the way arrive where they should: uint16 stored, minus 32768, times 3."""
    values = np.array([[0, 1, 40000, 65535] * 2] * 8, np.uint16)
    for slope, intercept in ((1, -32768), (3, -1), (-2, 7), (1, 0), (1, 100000)):
        got = both(made(values, Modality="CT", RescaleSlope=slope, RescaleIntercept=intercept))
        assert np.array_equal(got.voxels[0].astype(np.int64), values.astype(np.int64) * slope + intercept)
        assert got.voxels.dtype in (np.int16, np.uint16, np.int32)


def rescaled(slope: float, intercept: float = 1) -> Dataset:
    """A functional group with a rescale."""
    item, group = Dataset(), Dataset()
    item.RescaleSlope, item.RescaleIntercept, item.RescaleType = slope, intercept, "US"
    group.PixelValueTransformationSequence = Sequence([item])
    return group


def test_each_frame_has_its_own_rescale_and_the_shared_one_fills_in() -> None:
    ds = made(np.stack([RAMP] * 3), Modality="MR")
    ds.PerFrameFunctionalGroupsSequence = Sequence([rescaled(2), rescaled(10), rescaled(4)])
    got = both(ds)
    assert np.array_equal(got.voxels, np.stack([RAMP * 2 + 1, RAMP * 10 + 1, RAMP * 4 + 1]))
    assert numbers(saved(ds)) is None
    ds.PerFrameFunctionalGroupsSequence = Sequence([rescaled(10), Dataset(), rescaled(10)])
    ds.SharedFunctionalGroupsSequence = Sequence([rescaled(10)])
    assert np.array_equal(both(ds).voxels, np.stack([RAMP * 10 + 1] * 3))


def test_a_frame_that_is_rescaled_otherwise_than_all_frames_are_said_to_be_is_refused() -> None:
    ds = made(np.stack([RAMP] * 3), Modality="MR", SharedFunctionalGroupsSequence=Sequence([rescaled(1, -1024)]))
    ds.PerFrameFunctionalGroupsSequence = Sequence([rescaled(1, -1024), rescaled(1, 0), rescaled(1, 0)])
    with pytest.raises(UnreadableFile, match=r"Intercept is -1024 for all frames, and 0 in the .* 2 of 3") as refused:
        physical(ds)
    assert refused.value.code == "malformed"


def test_a_shared_rescale_alone_counts_for_every_frame() -> None:
    shared, item = Dataset(), Dataset()
    item.RescaleSlope, item.RescaleIntercept, item.RescaleType = 2, -1024, "HU"
    shared.PixelValueTransformationSequence = Sequence([item])
    for values in (RAMP, np.stack([RAMP, RAMP + 1])):
        got = both(made(values, Modality="CT", SharedFunctionalGroupsSequence=Sequence([shared])))
        assert np.array_equal(got.voxels, values.reshape(-1, *RAMP.shape) * 2.0 - 1024)
        assert got.unit == "HU"


@pytest.mark.parametrize("stored", [4, 7, 8, 10, 12, 15, 16])
@pytest.mark.parametrize("signed", [False, True])
def test_bits_above_the_stored_ones_never_count(stored: int, signed: bool) -> None:
    rng = np.random.default_rng(stored)
    low = -(2 ** (stored - 1)) if signed else 0
    values = rng.integers(low, low + 2**stored, (8, 10))
    words = (values & (2**stored - 1)) | (rng.integers(0, 2**16, (8, 10)) & ~(2**stored - 1) & 0xFFFF)
    ds = made(words.astype(np.uint16), BitsStored=stored, HighBit=stored - 1, PixelRepresentation=int(signed))
    assert np.array_equal(both(ds).voxels[0], values)


def test_a_high_bit_at_the_top_moves_values_down_unless_the_header_lies() -> None:
    up = both(made((RAMP << 4).astype(np.uint16), BitsStored=12, HighBit=15))
    assert np.array_equal(up.voxels[0], RAMP)
    signed = both(
        made(((RAMP.astype(np.int16) - 40) << 4).view(np.uint16), BitsStored=12, HighBit=15, PixelRepresentation=1)
    )
    assert np.array_equal(signed.voxels[0], RAMP.astype(int) - 40)
    lies = both(made(RAMP, BitsStored=12, HighBit=15))
    assert np.array_equal(lies.voxels[0], RAMP)
    assert {"high-bit"} == {code_of(n) for p in (up, signed, lies) for n in p.notes}
    with pytest.raises(UnreadableFile, match="more bits than 12 below high bit 15"):
        both(made((RAMP * 801).astype(np.uint16), BitsStored=12, HighBit=15))
    with pytest.raises(UnreadableFile, match="12 bits stored of 16, the high bit 3"):
        both(made(RAMP, BitsStored=12, HighBit=3))


def test_thirty_two_bits_one_bit_and_floats() -> None:
    wide = (RAMP.astype(np.uint32) * 50_000_000).astype(np.uint32)
    assert np.array_equal(both(made(wide)).voxels[0], wide.astype(np.float32))
    assert np.array_equal(both(made((wide >> 4).astype(np.int32))).voxels[0], wide >> 4)
    ones = (np.arange(128).reshape(8, 16) % 3 == 0).astype(np.uint8)
    ds = made(ones, BitsAllocated=1, BitsStored=1, HighBit=0)
    ds.PixelData = np.packbits(ones.ravel(), bitorder="little").tobytes()
    assert np.array_equal(both(ds).voxels[0], ones)
    for keyword, kind in (("FloatPixelData", "<f4"), ("DoubleFloatPixelData", "<f8")):
        ds = made(RAMP, BitsAllocated=int(kind[-1]) * 8)
        del ds.PixelData, ds.BitsStored, ds.HighBit, ds.PixelRepresentation
        setattr(ds, keyword, (RAMP / 7).astype(kind).tobytes())
        got = both(ds)
        assert got.voxels.dtype == np.float32
        assert np.array_equal(got.voxels[0], (RAMP / 7).astype(kind).astype(np.float32))


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.uint16, np.int16, np.int32])
@pytest.mark.parametrize(
    "syntax",
    [
        uid.ImplicitVRLittleEndian,
        uid.ExplicitVRLittleEndian,
        uid.ExplicitVRBigEndian,
        uid.DeflatedExplicitVRLittleEndian,
    ],
)
def test_every_uncompressed_syntax(kind: type, syntax: uid.UID) -> None:
    values = np.random.default_rng(1).integers(np.iinfo(kind).min, np.iinfo(kind).max, (9, 11), kind)
    ds = made(values, syntax=syntax)
    if values.itemsize == 1:
        ds.PixelData = ds.PixelData + b"\0"
        if syntax == uid.ExplicitVRBigEndian:
            ds["PixelData"].VR = "OB"
    assert np.array_equal(both(ds).voxels[0], values)


def test_a_modality_table_gives_the_values_and_their_unit() -> None:
    lut = Dataset()
    lut.add_new("LUTDescriptor", "SS", [50, -10, 16])
    lut.add_new("LUTData", "US", [int(v) for v in np.arange(50) * 3])
    lut.ModalityLUTType = "OD"
    got = both(made((RAMP.astype(np.int16) - 20).astype(np.int16), ModalityLUTSequence=Sequence([lut])))
    want = (
        np.clip(RAMP.astype(int) - 20 + 10, 0, 49) * 3
    )  # below the first mapped value: the first entry, beyond: the last
    assert np.array_equal(got.voxels[0], want)
    assert got.unit == "OD"


def test_padding_is_kept_and_told_in_the_images_own_unit() -> None:
    """A padding value that the header writes as unsigned is read with the pixels' sign: 63536 is −2000."""
    values = RAMP.astype(np.int16)
    values[0] = -2000
    for said, vr in ((-2000, "SS"), (63536, "US")):
        ds = made(values, Modality="CT", RescaleSlope=1, RescaleIntercept=-24)
        ds.add_new("PixelPaddingValue", vr, said)
        got = both(ds)
        assert got.padding == (-2024, -2024)
        assert got.voxels.min() == -2024
        assert "padding" in map(code_of, got.notes)
    ds = made(RAMP, PhotometricInterpretation="MONOCHROME1", BitsStored=12, HighBit=11)
    ds.add_new("PixelPaddingValue", "US", 4095)
    ds.add_new("PixelPaddingRangeLimit", "US", 4000)
    got = both(ds)
    assert got.padding == (0, 95)
    assert np.array_equal(got.voxels[0], 4095 - RAMP)


@pytest.mark.parametrize(("said", "vr"), [(0x0830, "US"), (0xF830, "US"), (-2000, "SS")])
def test_padding_of_12_signed_bits_has_the_sign_of_its_12_bits(said: int, vr: str) -> None:
    values = RAMP.astype(np.int16)
    values[0] = -2000
    ds = made(values, Modality="CT", BitsStored=12, HighBit=11)
    ds.PixelData = (values.view(np.uint16) & 0x0FFF).astype("<u2").tobytes()
    ds.add_new("PixelPaddingValue", vr, said)
    got = both(ds)
    assert got.padding == (-2000, -2000)
    assert got.voxels.min() == -2000


def test_padding_goes_through_the_modality_table_too() -> None:
    lut = Dataset()
    lut.add_new("LUTDescriptor", "US", [80, 0, 16])
    lut.add_new("LUTData", "US", [int(v) for v in 1000 - 3 * np.arange(80)])
    ds = made(RAMP, ModalityLUTSequence=Sequence([lut]))
    ds.add_new("PixelPaddingValue", "US", 70)
    ds.add_new("PixelPaddingRangeLimit", "US", 75)
    got = both(ds)
    assert got.padding == (1000 - 225, 1000 - 210)
    assert any("padding" in n and "775 to 790" in n for n in got.notes)


def test_frames_with_rescales_of_their_own_tell_the_stored_padding() -> None:
    groups = []
    for slope in (1, 2):
        item, group = Dataset(), Dataset()
        item.RescaleSlope, item.RescaleIntercept, item.RescaleType = slope, 0, "US"
        group.PixelValueTransformationSequence = Sequence([item])
        groups.append(group)
    ds = made(np.stack([RAMP, RAMP]), PerFrameFunctionalGroupsSequence=Sequence(groups))
    ds.add_new("PixelPaddingValue", "US", 3)
    got = both(ds)
    assert got.padding is None
    assert [code_of(n) for n in got.notes if "stored as 3 are padding" in n] == ["padding"]


def test_window_and_voi_table_are_not_applied() -> None:
    voi = Dataset()
    voi.add_new("LUTDescriptor", "US", [80, 0, 16])
    voi.add_new("LUTData", "US", [7] * 80)
    ds = made(RAMP, WindowCenter=5, WindowWidth=2, VOILUTSequence=Sequence([voi]))
    assert np.array_equal(both(ds).voxels[0], RAMP)


# -- compressed frames: where they begin ----------------------------------------------------------------------------------


def test_frames_in_one_or_many_fragments_with_every_kind_of_table() -> None:
    import imagecodecs

    values = np.stack([RAMP, RAMP + 1, RAMP * 3])
    streams = [imagecodecs.jpeg_encode(v, lossless=True, bitspersample=16) for v in values]
    streams = [s + b"\0" * (len(s) % 2) for s in streams]
    ds = made(values, syntax=uid.JPEGLosslessSV1)
    kinds = {
        "one fragment a frame, table": encapsulate(streams, has_bot=True),
        "one fragment a frame, no table": encapsulate(streams, has_bot=False),
        "three fragments a frame, table": encapsulate(streams, fragments_per_frame=3, has_bot=True),
        "three fragments a frame, no table": encapsulate(streams, fragments_per_frame=3, has_bot=False),
    }
    for name, data in kinds.items():
        ds.PixelData = data
        got = both(ds)
        assert np.array_equal(got.voxels, values), name
        assert got.notes == (), name
    table = bytearray(kinds["three fragments a frame, table"])
    table[12:16] = (7).to_bytes(4, "little")  # the second frame's offset
    ds.PixelData = bytes(table)
    got = both(ds)
    assert np.array_equal(got.voxels, values)
    assert list(map(code_of, got.notes)) == ["wrong-offset-table"]
    ds.PixelData, ds.ExtendedOffsetTable, ds.ExtendedOffsetTableLengths = encapsulate_extended(streams)
    assert np.array_equal(both(ds).voxels, values)
    ds.NumberOfFrames = 4
    with pytest.raises(UnreadableFile, match="3 compressed fragments that show where 3 frames begin; expected 4"):
        both(ds)


# -- two readers of the header, one result -------------------------------------------------------------------------------


def test_the_quick_reader_finds_what_the_parser_finds(shared_data: Path) -> None:
    quick = 0
    for path in [*sorted((shared_data / "dicom_codecs").rglob("*")), *sorted(BUNDLED.glob("*.dcm"))]:
        if not path.is_file():
            continue
        raw = path.read_bytes()
        if plain(raw) is None:
            continue
        try:
            slow = physical(parse(raw))
        except UnreadableFile as error:
            if error.code in ("unsupported-object", "no-pixels"):  # the door asks that before it asks for numbers
                continue
            with pytest.raises(UnreadableFile) as caught:
                numbers(raw)
            assert (caught.value.code, str(caught.value)) == (error.code, str(error))
            continue
        assert same(numbers(raw), slow), path.name
        quick += 1
    assert quick > 70


@st.composite
def headers(draw: st.DrawFn) -> tuple[Dataset, np.ndarray]:
    """A legal image, and what its rescaled values must be."""
    allocated = draw(st.sampled_from([8, 16, 32]))
    stored = draw(st.integers(1, allocated))
    signed = draw(st.booleans()) and stored > 1
    shape = (draw(st.integers(8, 12)), draw(st.integers(8, 12)))
    frames = draw(st.sampled_from([1, 1, 3]))
    low = -(2 ** (stored - 1)) if signed else 0
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    values = rng.integers(low, low + 2**stored, (frames, *shape))
    kind = np.dtype(f"{'i' if signed else 'u'}{allocated // 8}")
    syntax = draw(
        st.sampled_from(
            [
                uid.ImplicitVRLittleEndian,
                uid.ExplicitVRLittleEndian,
                uid.ExplicitVRBigEndian,
                uid.DeflatedExplicitVRLittleEndian,
                uid.RLELossless,
            ]
        )
    )
    assume(not (syntax == uid.ExplicitVRBigEndian and allocated == 8))
    coded = syntax == uid.RLELossless
    assume(
        not coded or allocated - 8 < stored <= 16
    )  # pydicom writes no RLE of 32 bits, and fewer segments than it should where a byte is unused
    ds = made(values.astype(kind), syntax=uid.ExplicitVRLittleEndian if coded else syntax)
    ds.BitsStored, ds.HighBit = stored, stored - 1
    slope, intercept = draw(st.sampled_from([(None, None), (1, -1024), (-3, 5), (0.25, 0.5), (2, 0)]))
    if slope is not None:
        ds.RescaleSlope, ds.RescaleIntercept = slope, intercept
    ds.Modality = draw(st.sampled_from(["CT", "MR", "DX", "OT"]))
    if frames == 1 and draw(st.booleans()):
        del ds["NumberOfFrames"]
    if len(ds.PixelData) % 2:
        ds.PixelData += b"\0"
    if coded:
        ds.compress(uid.RLELossless, encoding_plugin="pydicom")
    return ds, values * (1 if slope is None else slope) + (0 if intercept is None else intercept)


@settings(max_examples=150, deadline=None)
@given(headers())
def test_what_pydicom_writes_is_read_back(case: tuple[Dataset, np.ndarray]) -> None:
    ds, want = case
    got = both(ds)
    assert np.array_equal(got.voxels, want if got.voxels.dtype.kind != "f" else want.astype(np.float32))
    assert got.full_range is not None
    assert got.full_range[0] <= want.min() and want.max() <= got.full_range[1]


def test_the_comparison_can_fail() -> None:
    raw = saved(made(RAMP))
    assert not same(numbers(raw), physical(parse(saved(made(RAMP + 1)))))
