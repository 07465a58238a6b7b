"""Where frames lie: the header itself, the groups of each frame, or what all frames share."""

from __future__ import annotations

import pytest
from pydicom import Dataset

from overread.formats.planes import planes
from overread.formats.tellers import told


def shared_only(frames: int) -> Dataset:
    """An enhanced object without groups for each frame: legal where nothing changes from frame to frame."""
    place, turn, size, echo = Dataset(), Dataset(), Dataset(), Dataset()
    place.ImagePositionPatient, turn.ImageOrientationPatient = [1, 2, 3], [1, 0, 0, 0, 1, 0]
    size.PixelSpacing, size.SliceThickness = [0.5, 0.75], 3
    echo.EffectiveEchoTime = 30.0
    group, ds = Dataset(), Dataset()
    group.PlanePositionSequence, group.PlaneOrientationSequence = [place], [turn]
    group.PixelMeasuresSequence, group.MREchoSequence = [size], [echo]
    ds.NumberOfFrames, ds.SharedFunctionalGroupsSequence = frames, [group]
    return ds


@pytest.mark.parametrize("frames", [1, 3])
def test_shared_groups_count_without_groups_for_each_frame(frames: int) -> None:
    found = planes(shared_only(frames))
    assert len(found) == frames
    for plane in found:
        assert (plane.position, plane.pixel_spacing, plane.slice_thickness) == ((1, 2, 3), (0.5, 0.75), 3)
        assert plane.is_placed
    assert told(shared_only(frames), frames) == [{"echo time": 30.0}] * frames
    bare = shared_only(frames)
    del bare.SharedFunctionalGroupsSequence
    assert not any(plane.is_placed for plane in planes(bare))


def test_what_the_header_itself_says_comes_first() -> None:
    ds = shared_only(1)
    ds.PixelSpacing = [2, 2]
    assert planes(ds)[0].pixel_spacing == (2, 2)


@pytest.mark.parametrize("size", [0.0, 1e-9, -1.0])
def test_pixels_smaller_than_any_patient_s_are_no_size(size: float) -> None:
    ds = shared_only(1)
    ds.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing = [1.0, size]
    assert planes(ds)[0].pixel_spacing is None
