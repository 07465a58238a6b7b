"""What a rescaled number is called: HU only where it can be one."""

from __future__ import annotations

import numpy as np
import pytest
from one_image import RAMP, both, made
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from overread.domain import code_of

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
