"""Frames that a header counts by slices, detectors, windows or beats: put in order, or told for what they are."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from overread.domain import code_of
from overread.errors import UnreadableFile
from overread.formats.frame_vectors import counted_by, sliced
from overread.formats.frames_alone import picture
from overread.formats.planes import planes
from overread.formats.units import Pixels

SLICES, WINDOWS, DETECTORS, BEATS = 0x00540080, 0x00540010, 0x00540020, 0x00540060


def nuclear(pointer: object, **vectors: object) -> Dataset:
    ds = Dataset()
    ds.Modality, ds.PixelSpacing, ds.SpacingBetweenSlices, ds.FrameIncrementPointer = "NM", [2, 2], -4, pointer
    for keyword, value in vectors.items():
        setattr(ds, keyword, value)
    return ds


def read(ds: Dataset, frames: int) -> tuple[list[float], tuple | None, str]:
    stored = np.arange(frames, dtype=np.int16)[:, None, None] * np.ones((1, 3, 4), np.int16)
    put = picture(ds, planes(ds) * frames, Pixels(stored, "stored", (0.0, 4095.0), ()))
    (note,) = put.notes
    return put.voxels[:, 0, 0].tolist(), put.spacing, note


@pytest.mark.parametrize(
    ("vector", "order", "said"),
    [
        ([1, 2, 3, 4, 5], [0, 1, 2, 3, 4], "in stored order"),
        ([1, 3, 5, 2, 4], [0, 3, 1, 4, 2], "in the order of Slice Vector"),
        ([5, 4, 3, 2, 1], [4, 3, 2, 1, 0], "in the order of Slice Vector"),
    ],
)
def test_slices_lie_in_the_order_of_their_numbers(vector: list[int], order: list[int], said: str) -> None:
    voxels, spacing, note = read(nuclear(SLICES, SliceVector=vector), 5)
    assert voxels == order
    assert spacing == (4.0, 2, 2)
    assert code_of(note) == "stored-order"
    assert said in note


def test_a_slice_that_the_vector_leaves_out_is_missing() -> None:
    with pytest.raises(UnreadableFile, match="1 missing") as refused:
        read(nuclear(SLICES, SliceVector=[1, 2, 4]), 3)
    assert refused.value.code == "missing-slices"


@pytest.mark.parametrize(
    ("pointer", "vectors", "said"),
    [
        ([WINDOWS, DETECTORS], {"EnergyWindowVector": [1, 1], "DetectorVector": [1, 2]}, "2 frames by detectors:"),
        ([WINDOWS, DETECTORS], {"EnergyWindowVector": [1, 2], "DetectorVector": [1, 1]}, "2 frames by energy windows:"),
        ([WINDOWS, DETECTORS, BEATS], {"RRIntervalVector": [1, 2]}, "energy windows and detectors and R-R intervals"),
        ([SLICES, BEATS], {"SliceVector": [1, 1], "RRIntervalVector": [1, 1]}, ""),
        ([SLICES, BEATS], {"SliceVector": [1, 2], "RRIntervalVector": [1, 2]}, "by slices and R-R intervals"),
    ],
)
def test_views_windows_and_beats_are_no_slices(pointer: list[int], vectors: dict, said: str) -> None:
    """Every bone scan is two views of one patient, in an object that has room for slices."""
    _, spacing, note = read(nuclear(pointer, **vectors), 2)
    assert spacing == (0.0, 2, 2)
    assert (code_of(note), said in note) == ("frames-mixed" if said else "stored-order", True)


def test_a_vector_with_one_value_for_all_frames_divides_nothing() -> None:
    gated = nuclear([SLICES, BEATS], SliceVector=[3, 1, 2], RRIntervalVector=[1, 1, 1])
    assert counted_by(gated, 3) == ["slices"]
    assert read(gated, 3)[0] == [1, 2, 0]
    twice = nuclear([SLICES, BEATS], SliceVector=[1, 2, 1, 2], RRIntervalVector=[1] * 4)
    assert code_of(read(twice, 4)[2]) == "frames-mixed"


@pytest.mark.parametrize(
    ("vector", "order"), [([7.0, 1.5, 4.25], [1, 2, 0]), ([0.0, 3.0, 6.0], [0, 1, 2]), ([6.0, 3.0, 0.0], [0, 1, 2])]
)
def test_a_slice_location_vector_orders_and_measures(vector: list[float], order: list[int]) -> None:
    ds = nuclear(0x00182005, SliceLocationVector=vector)
    ds.Modality = "OT"
    voxels, spacing, note = read(ds, 3)
    assert voxels == order
    assert spacing == pytest.approx((np.diff(sorted(vector)).mean(), 2, 2))
    assert "Slice Location Vector" in note
    with pytest.raises(UnreadableFile, match=r"1\.00 to 5\.00 mm apart"):
        sliced(nuclear(0x00182005, SliceLocationVector=[0, 1, 6]), 3, None)


def ultrasound(places: list[float]) -> Dataset:
    groups = []
    for z in places:
        position, orientation, group = Dataset(), Dataset(), Dataset()
        position.ImagePositionVolume, orientation.ImageOrientationVolume = [0, 0, z], [1, 0, 0, 0, 1, 0]
        group.PlanePositionVolumeSequence, group.PlaneOrientationVolumeSequence = (
            Sequence([position]),
            Sequence([orientation]),
        )
        groups.append(group)
    ds = Dataset()
    ds.Modality, ds.PerFrameFunctionalGroupsSequence = "US", Sequence(groups)
    measures, shared = Dataset(), Dataset()
    measures.PixelSpacing = [2, 2]
    shared.PixelMeasuresSequence = Sequence([measures])
    ds.SharedFunctionalGroupsSequence = Sequence([shared])
    return ds


def test_the_planes_of_an_ultrasound_volume_are_no_moments() -> None:
    voxels, spacing, note = read(ultrasound([0.0, 4.0, 2.0]), 3)
    assert (voxels, spacing, code_of(note)) == ([0, 2, 1], (2.0, 2, 2), "stored-order")
    assert code_of(read(ultrasound([0.0, 2.0, 0.0, 2.0]), 4)[2]) == "frames-mixed"


def test_one_place_for_many_frames_is_not_called_none() -> None:
    ds = nuclear(None, ImagePositionPatient=[0, 0, 0], ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    ds.Modality = "OT"
    assert "one place for all of them, Spacing Between Slices 4.00 mm" in read(ds, 3)[2]


def test_a_place_by_the_detector_is_told_of() -> None:
    item = Dataset()
    item.ImagePositionPatient = [0, 0, 0]
    assert "were not used" in read(nuclear(SLICES, DetectorInformationSequence=Sequence([item])), 3)[2]
