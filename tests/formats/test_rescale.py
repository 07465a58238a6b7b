"""What a rescaled number is called: HU only where it can be one."""

from __future__ import annotations

import numpy as np
import pytest
from one_image import RAMP, both, made
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from overread.domain import code_of
from overread.errors import UnreadableFile

CT = {"Modality": "CT", "RescaleSlope": "1", "RescaleIntercept": "-1024"}
SCREEN = ["DERIVED", "SECONDARY", "SCREEN SAVE"]


@pytest.mark.parametrize(
    "how",
    [
        {"SOPClassUID": uid.SecondaryCaptureImageStorage},
        {"SOPClassUID": uid.MultiFrameGrayscaleWordSecondaryCaptureImageStorage},
        {"SOPClassUID": uid.SecondaryCaptureImageStorage, "RescaleType": "HU", "BitsStored": 8, "HighBit": 7},
        {"ImageType": SCREEN},
        {"ImageType": SCREEN, "RescaleType": "HU"},
    ],
)
def test_a_picture_of_ct_slices_has_no_hu(how: dict) -> None:
    got = both(made(RAMP, **CT | how))
    assert got.unit == "stored"
    assert got.voxels.min() == -1024
    assert "capture" in map(code_of, got.notes)


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"ImageType": ["DERIVED", "SECONDARY", "MPR"]},
        {"SOPClassUID": uid.SecondaryCaptureImageStorage, "RescaleType": "HU"},
        {"SOPClassUID": uid.EnhancedCTImageStorage},
    ],
)
def test_a_ct_slice_has_hu_and_so_has_a_reformat(how: dict) -> None:
    got = both(made(RAMP, **CT | how))
    assert (got.unit, got.notes) == ("HU", ())


def framed(types: list[str | None], shared: str | None = None) -> Dataset:
    """An enhanced CT of frames whose own Frame Types are given."""

    def group(word: str | None) -> Dataset:
        out, item = Dataset(), Dataset()
        if word is not None:
            item.FrameType = ["ORIGINAL", "PRIMARY", word, "NONE"]
            out.CTImageFrameTypeSequence = Sequence([item])
        return out

    frames = {"PerFrameFunctionalGroupsSequence": Sequence(map(group, types))}
    both_groups = frames | {"SharedFunctionalGroupsSequence": Sequence([group(shared)])}
    mixed = ["ORIGINAL", "PRIMARY", "MIXED", "NONE"]
    return made(
        np.stack([RAMP] * len(types)), ImageType=mixed, SOPClassUID=uid.EnhancedCTImageStorage, **CT, **both_groups
    )


@pytest.mark.parametrize(
    ("ds", "said"),
    [
        (framed(["LOCALIZER"] * 3), "localizer: a localizer"),
        (framed([None] * 3, shared="LOCALIZER"), "localizer: a localizer"),
        (framed(["VOLUME", "LOCALIZER", "VOLUME"]), "localizer: 1 of 3 frames are localizers: no HU"),
    ],
)
def test_frames_that_call_themselves_localizers_have_no_hu(ds: Dataset, said: str) -> None:
    got = both(ds)
    assert got.unit == "stored"
    assert said in got.notes
    assert both(framed(["VOLUME"] * 3, shared="VOLUME")).unit == "HU"


def deep(values: np.ndarray, **header: object) -> Dataset:
    return made(values.reshape(8, 10), **header)


BEYOND = 2**24 + 1 + np.arange(80)


def rounded(ds: Dataset) -> list[str]:
    return [n for n in both(ds).notes if code_of(n) == "rounded"]


@pytest.mark.parametrize(
    ("ds", "said"),
    [
        (deep(BEYOND.astype(np.uint32), RescaleSlope="1.5", RescaleIntercept="0"), "25 bits"),
        (deep((np.arange(80) * (2**25 + 2)).astype(np.uint32)), "32 bits"),
        (deep(BEYOND.astype(np.int32), RescaleSlope="-256", RescaleIntercept="0"), "33 bits"),
    ],
)
def test_what_32_bit_floats_do_not_hold_is_told_and_is_off_by_no_more(ds: Dataset, said: str) -> None:
    (note,) = rounded(ds)
    assert said in note
    off = np.abs(both(ds).voxels[0] - ds.pixel_array * float(ds.get("RescaleSlope") or 1)).max()
    assert 0 < off <= float(note.split("by up to ")[1])


@pytest.mark.parametrize(
    "ds",
    [
        deep(np.arange(80).astype(np.uint32) * 2**24),  # few bits, far up
        deep(BEYOND.astype(np.uint32)),  # int32 holds it
        deep(BEYOND.astype(np.uint32), RescaleSlope="1", RescaleIntercept="-16777000"),
        deep(np.arange(80).astype(np.uint16), RescaleSlope="0.001", RescaleIntercept="-1024"),
        deep(np.arange(80).astype(np.uint16) + 60000, RescaleSlope="1.2345678", RescaleIntercept="0"),
    ],
)
def test_what_they_hold_or_hold_to_a_tenth_of_a_step_is_not_called_rounded(ds: Dataset) -> None:
    assert rounded(ds) == []


def doubles(values: np.ndarray) -> Dataset:
    ds = deep(np.zeros(80, np.uint16))
    del ds.PixelData, ds.BitsStored, ds.HighBit, ds.PixelRepresentation
    ds.BitsAllocated, ds.DoubleFloatPixelData = 64, values.astype("<f8").tobytes()
    return ds


def test_doubles_that_are_rounded_are_told_and_those_that_all_become_one_are_refused() -> None:
    assert rounded(doubles(BEYOND)) == ["rounded: 64-bit values were rounded to 32-bit floats"]
    assert rounded(doubles(np.arange(80) / 4)) == []
    with pytest.raises(UnreadableFile, match="cannot tell apart") as caught:
        both(doubles(2.0**40 + np.arange(80)))
    assert caught.value.code == "unsupported-format"
