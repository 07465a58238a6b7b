"""What only pixels tell of volumes: slices that were exchanged between two, and two scans that lie in one another."""

from __future__ import annotations

import io

import numpy as np
import pydicom
import pytest
from series_of_slices import one_slice

from overread.domain import code_of
from overread.errors import UnreadableFile
from overread.formats.counted import check_order
from overread.formats.found import Found
from overread.formats.series import read_series

RNG = np.random.default_rng(3)
HEAD = 400 + 200 * np.sin(np.linspace(0, 5, 24))[:, None] * np.cos(np.linspace(0, 4, 20))


def anatomy(count: int) -> np.ndarray:
    """Slices that change a little from one to the next, with noise."""
    return np.stack([HEAD * (1 + 0.05 * k) for k in range(count)]) + RNG.normal(0, 4, (count, 24, 20))


def scan(pixels: np.ndarray, **said: list) -> list[Found]:
    """Read slices 2 mm apart, of which each header says its own of ``said``."""
    files = []
    for k, picture in enumerate(pixels):
        more = {keyword: values[k] for keyword, values in said.items()}
        files.append((f"{k}", one_slice(np.array([0, 0, 2.0 * k]), np.eye(3), k + 1, picture, **more)))
    found = read_series(files)
    assert all(isinstance(f, Found) for f in found)
    return found


TURNS = {
    "AcquisitionNumber": [1, 2] * 6,
    "TemporalPositionIdentifier": [1, 2] * 6,
    "EchoTime": [10, 80] * 6,
    "RepetitionTime": [500, 3000] * 6,
    "SequenceName": ["*se2d1", "*tse2d1"] * 6,
    "SeriesNumber": [3, 4] * 6,
    "SeriesDescription": ["T1", "T2"] * 6,
    "SliceThickness": ["1", "5"] * 6,
    "Modality": ["MR", "NM"] * 6,
}


@pytest.mark.parametrize("fact", TURNS)
def test_two_scans_that_lie_in_one_another_are_two_volumes(fact: str) -> None:
    pixels = anatomy(12)
    pixels[1::2] += 2000
    low, high = scan(pixels, **{fact: TURNS[fact]})
    for found, own in ((low, pixels[::2]), (high, pixels[1::2])):
        assert np.array_equal(found.image.voxels, own.astype(np.uint16))
        assert found.image.spacing_mm == (4.0, 0.8, 1.25)
        (note,) = [n for n in found.image.notes if code_of(n) == "in-turn"]
        assert "2 volumes, taken apart" in note
        assert "one-of-several" in map(code_of, found.image.notes)
    assert high.image.geometry.affine[2][3] == 2.0


@pytest.mark.parametrize("brighter", [1.0, 1.2])
@pytest.mark.parametrize(
    ("fact", "told"), [("AcquisitionNumber", True), ("TemporalPositionIdentifier", True), ("AcquisitionTime", False)]
)
def test_one_scan_whose_slices_take_turns_stays_one_volume(fact: str, told: bool, brighter: float) -> None:
    """Two packages of slices, of which one is a little brighter, as cross-talk makes it; the anatomy goes on."""
    pixels = anatomy(12) + 60 * RNG.normal(size=(12, 24, 20)).cumsum(axis=0)  # neighbours share more than others do
    pixels = np.clip(pixels, 0, 4000)
    pixels[1::2] *= brighter
    (one,) = scan(pixels, **{fact: ["100000", "100300"] * 6 if fact == "AcquisitionTime" else [1, 2] * 6})
    assert one.image.voxels.shape == (12, 24, 20)
    notes = [n for n in one.image.notes if code_of(n) == "in-turn"]
    assert len(notes) == told
    assert all("kept as one volume" in n and "differ by" in n for n in notes)


def enhanced(pixels: np.ndarray, moments: list[int]) -> bytes:
    """One multi-frame object of slices 2 mm apart, each of a moment."""
    ds = pydicom.dcmread(io.BytesIO(one_slice(np.zeros(3), np.eye(3), 1, pixels[0])))
    ds.SOPClassUID, ds.NumberOfFrames = pydicom.uid.EnhancedMRImageStorage, len(pixels)
    ds.PixelData = pixels.astype("<u2").tobytes()
    shared, turn, size = pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
    turn.ImageOrientationPatient, size.PixelSpacing = [1, 0, 0, 0, 1, 0], [1, 1]
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [turn], [size]
    ds.SharedFunctionalGroupsSequence, ds.PerFrameFunctionalGroupsSequence = [shared], []
    for k, moment in enumerate(moments):
        group, place, content = pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
        place.ImagePositionPatient, content.TemporalPositionIndex = [0, 0, 2 * k], moment
        group.PlanePositionSequence, group.FrameContentSequence = [place], [content]
        ds.PerFrameFunctionalGroupsSequence.append(group)
    out = io.BytesIO()
    ds.save_as(out, enforce_file_format=True)
    return out.getvalue()


@pytest.mark.parametrize(("brighter", "shapes"), [(2000, [(6, 24, 20)] * 2), (0, [(12, 24, 20)])])
def test_frames_of_one_object_that_take_turns_are_asked_of_their_pixels(brighter: int, shapes: list) -> None:
    pixels = anatomy(12)
    pixels[1::2] += brighter
    found = read_series([("a", enhanced(pixels, [1, 2] * 6))])
    assert [f.image.voxels.shape for f in found] == shapes
    assert all("in-turn" in map(code_of, f.image.notes) for f in found)
    assert np.array_equal(found[0].image.voxels, pixels[:: len(shapes)].astype(np.uint16))


def test_a_number_for_each_slice_or_for_each_slab_is_no_turn() -> None:
    pixels = anatomy(12)
    for numbers in (list(range(12)), [1] * 6 + [2] * 6, [1, 1, 2, 2] * 3):
        (one,) = scan(pixels, AcquisitionNumber=numbers)
        assert "in-turn" not in map(code_of, one.image.notes)


def test_slices_exchanged_between_any_two_volumes_are_found() -> None:
    """Instance numbers that run to and fro: volumes 1 and 3 change places at every second position, 2 stays."""
    volumes = [anatomy(6) + 1000 * t for t in range(3)]
    check_order(volumes)
    volumes[0][1::2], volumes[2][1::2] = volumes[2][1::2].copy(), volumes[0][1::2].copy()
    with pytest.raises(UnreadableFile, match="slices 1 and 2 of volumes 1 and 3 differ") as refused:
        check_order(volumes)
    assert refused.value.code == "duplicate-position"


@pytest.mark.parametrize(("one", "other"), [(7, 8), (7, 292)])
def test_of_many_moments_neighbours_are_compared_and_those_that_run_to_and_fro(one: int, other: int) -> None:
    volumes = [np.tile(HEAD, (4, 1, 1)) + RNG.normal(0, 9, (4, 24, 20)) + 500 * (k == 7) for k in range(300)]
    check_order(volumes)
    volumes[one][2], volumes[other][2] = volumes[other][2].copy(), volumes[one][2].copy()
    with pytest.raises(UnreadableFile, match=f"slices 2 and 3 of volumes {one + 1} and {other + 1}"):
        check_order(volumes)


BLOCKS = {"AcquisitionNumber": [3] * 5 + [7] * 7, "TemporalPositionIdentifier": [3] * 5 + [7] * 7}
TIMES = {"AcquisitionTime": ["100000"] * 5 + ["101500"] * 7}


@pytest.mark.parametrize("said", [BLOCKS, TIMES])
@pytest.mark.parametrize("brighter", [0, 900])
def test_acquisitions_end_to_end_are_one_volume_that_says_where_they_meet(said: dict, brighter: int) -> None:
    """A scan in two blocks of the table, and two examinations under one number: the header is the same, the pixels are not."""
    pixels = anatomy(12)
    pixels[5:] += brighter
    for keyword, values in said.items():
        (one,) = scan(pixels, **{keyword: values})
        assert one.image.voxels.shape == (12, 24, 20)
        notes = [n for n in one.image.notes if code_of(n) == "end-to-end"]
        assert len(notes) == (said is BLOCKS or brighter > 0)  # times of day are told of only where the pixels jump
        for note in notes:
            assert ("a jump" in note) == (brighter > 0)
            assert ("(1 to 5 of 3, 6 to 12 of 7)" if said is BLOCKS else "(1 to 5, 6 to 12)") in note
            assert "1000" not in note


def test_twin_slabs_of_one_scan_and_turns_are_not_called_end_to_end() -> None:
    for numbers in (list(range(12)), [1] * 12, [1, 1, 2, 2] * 3, [1] * 10 + [2] * 2, [1] * 4 + [2] * 4 + [1] * 4):
        (one,) = scan(anatomy(12), AcquisitionNumber=numbers)
        assert "end-to-end" not in map(code_of, one.image.notes)


def test_scans_end_to_end_of_two_kernels_are_two_volumes() -> None:
    pixels = anatomy(12)
    soft, sharp = scan(pixels, ConvolutionKernel=["SOFT"] * 5 + ["SHARP"] * 7, KVP=[80] * 5 + [140] * 7)
    assert np.array_equal(soft.image.voxels, pixels[:5].astype(np.uint16))
    assert np.array_equal(sharp.image.voxels, pixels[5:].astype(np.uint16))
    assert sharp.image.geometry.affine[2][3] == 10.0
    assert any(
        "slices 6 to 12 of 12 that lie end to end and differ in reconstruction kernel and tube voltage" in n
        for n in sharp.image.notes
    )
    for kernels in (
        ["SOFT"] * 10 + ["SHARP"] * 2,
        ["SOFT"] * 6 + [None] * 6,
    ):  # too few for a volume; half do not say it
        (one,) = scan(pixels, ConvolutionKernel=kernels)
        assert "facts-change" in map(code_of, one.image.notes)


LOOSE = {
    "a tail too short for a volume": {"AcquisitionNumber": [1] * 5 + [2] * 5 + [3] * 2},
    "a number that comes back": {"AcquisitionNumber": [1] * 4 + [2] * 4 + [1] * 4},
    "a time for each slice, and two hours between": {
        "AcquisitionTime": [f"{10 + 2 * (k > 5)}00{k:02d}" for k in range(12)]
    },
    "a date and a time for each": {
        "AcquisitionDateTime": [f"20240101{10 + 2 * (k > 5)}00{k:02d}+0100" for k in range(12)]
    },
}


@pytest.mark.parametrize("why", LOOSE)
@pytest.mark.parametrize("brighter", [0, 900])
def test_blocks_of_any_length_are_told_where_the_pixels_jump(why: str, brighter: int) -> None:
    (said,) = LOOSE[why].items()
    pixels = anatomy(12)
    second = {"a tail too short for a volume": slice(5, None), "a number that comes back": slice(4, 8)}
    pixels[second.get(why, slice(6, None))] += brighter
    (one,) = scan(pixels, **dict([said]))
    assert one.image.voxels.shape == (12, 24, 20)
    assert len([n for n in one.image.notes if code_of(n) == "end-to-end" and "a jump" in n]) == (brighter > 0)


@pytest.mark.parametrize(
    ("keyword", "values"),
    [
        ("EchoTime", ["2.46"] * 6 + ["2.461"] * 6),
        ("FlipAngle", [10] * 4 + [15] * 4 + [20] * 4),
        ("ConvolutionKernel", ["B30f"] * 6 + [["B30f", ""]] * 6),
    ],
)
def test_twin_rounding_a_ramp_of_flip_angles_and_an_empty_word_divide_no_scan(keyword: str, values: list) -> None:
    (one,) = scan(anatomy(12), **{keyword: values})
    assert one.image.voxels.shape == (12, 24, 20)
