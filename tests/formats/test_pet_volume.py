"""A PET volume is in one unit: a dose or a weight that changes half way makes no step in it."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import PositronEmissionTomographyImageStorage
from series_of_slices import one_slice

from overread.domain import Image, code_of
from overread.formats.series import read_series

PIXELS = np.random.default_rng(3).integers(100, 4000, (10, 12))
ONE_HOUR = 0.5 ** (3600 / 6586.2)


def volume(**halves: tuple[object, object]) -> Image:
    """Six slices; ``halves`` gives header values of the first three and of the others."""
    files = []
    for k in range(6):
        info = Dataset()
        info.RadionuclideTotalDose, info.RadionuclideHalfLife = 370e6, 6586.2
        info.RadiopharmaceuticalStartTime = "091500"
        header = {
            "Modality": "PT",
            "SOPClassUID": PositronEmissionTomographyImageStorage,
            "Units": "BQML",
            "DecayCorrection": "START",
            "CorrectedImage": ["ATTN", "DECY"],
            "PatientWeight": 70,
            "SeriesDate": "20200102",
            "SeriesTime": "101500",
            "AcquisitionDate": "20200102",
            "AcquisitionTime": "101500",
            "RescaleSlope": "2",
            "RescaleIntercept": "0",
        }
        for keyword, values in halves.items():
            if keyword.startswith("Radi"):
                setattr(info, keyword, values[k // 3])
            else:
                header[keyword] = values[k // 3]
        header["RadiopharmaceuticalInformationSequence"] = Sequence([info])
        files.append((f"{k}", one_slice(np.array([0, 0, 2.5 * k]), np.eye(3), k + 1, PIXELS + k, **header)))
    (found,) = read_series(files)
    return found.image


ACTIVITY = 2.0 * np.stack([PIXELS + k for k in range(6)])


def test_one_dose_and_weight_is_suv() -> None:
    image = volume()
    assert (image.unit, image.notes) == ("SUVbw", ())
    assert image.voxels == pytest.approx(ACTIVITY * 70_000 / (370e6 * ONE_HOUR), rel=1e-5)


@pytest.mark.parametrize(
    ("halves", "said"),
    [
        ({"PatientWeight": (70, 50)}, "1.4 times"),
        ({"RadionuclideTotalDose": (370e6, 185e6)}, "2 times"),
        ({"RadiopharmaceuticalStartTime": ("091500", "081500")}, "1.46 times"),
        ({"PatientWeight": (70, None)}, "3 of 6 slices lack"),
        ({"AcquisitionTime": ("101200", "101500")}, "3 of 6 slices lack"),
    ],
)
def test_where_slices_differ_all_are_activity(halves: dict, said: str) -> None:
    image = volume(**halves)
    assert image.unit == "Bq/ml"
    assert image.voxels == pytest.approx(ACTIVITY, rel=1e-6)
    assert any(code_of(n) == "no-suv" and said in n for n in image.notes)


def test_a_weight_that_is_rounded_in_some_slices_is_one() -> None:
    assert volume(PatientWeight=(70, "70.01")).unit == "SUVbw"
