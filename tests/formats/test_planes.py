"""Where frames lie: the header itself, the groups of each frame, or what all frames share."""

from __future__ import annotations

import pytest
from pydicom import Dataset

from overread.errors import UnreadableFile
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


def with_own(macro: str, keyword: str, values: list) -> Dataset:
    """Two frames; each has a description of its own, beside what both share."""
    ds = shared_only(2)
    frames = []
    for value in values:
        item, group = Dataset(), Dataset()
        if value is not None:
            setattr(item, keyword, value)
            setattr(group, macro, [item])
        frames.append(group)
    ds.PerFrameFunctionalGroupsSequence = frames
    return ds


@pytest.mark.parametrize(
    ("macro", "keyword", "other", "said"),
    [
        (
            "PixelMeasuresSequence",
            "PixelSpacing",
            [3, 3],
            r"Pixel Spacing is 0\.5\\0\.75 for all .* 3\\3 .* 1 of 2",
        ),
        ("PlaneOrientationSequence", "ImageOrientationPatient", [0, 1, 0, 1, 0, 0], "Image Orientation"),
        ("PlanePositionSequence", "ImagePositionPatient", [1, 2, 30], "Image Position"),
    ],
)
def test_a_frame_that_lies_otherwise_than_all_frames_are_said_to_is_refused(
    macro: str, keyword: str, other: list, said: str
) -> None:
    same = list(shared_only(1).SharedFunctionalGroupsSequence[0][macro][0][keyword].value)
    assert len(planes(with_own(macro, keyword, [same, None]))) == 2
    with pytest.raises(UnreadableFile, match=said) as refused:
        planes(with_own(macro, keyword, [same, other]))
    assert refused.value.code == "malformed"
