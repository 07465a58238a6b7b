"""A volume of which the header counts more, or whose series is torn apart, says so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from series_of_slices import one_slice, stack_of

from overread.domain import code_of
from overread.formats.door import scan
from overread.formats.found import Found
from overread.formats.series import read_series

PIXELS = np.random.default_rng(7).integers(0, 4000, (10, 12))


def notes_of(found: list, code: str) -> list[str]:
    assert found
    assert all(isinstance(one, Found) for one in found)
    return [note for one in found for note in one.image.notes if code_of(note) == code]


COUNTED = [
    ({"NumberOfSlices": 47, "Modality": "PT"}, "6 of 47 slices"),
    ({"ImagesInAcquisition": 20}, "6 of the 20 images"),
    ({"NumberOfTemporalPositions": 10, "TemporalPositionIdentifier": 1}, "1 of 10 time points"),
]


@pytest.mark.parametrize(("said", "words"), COUNTED)
def test_a_header_that_counts_more_than_there_are(said: dict, words: str) -> None:
    (note,) = notes_of(read_series(stack_of(6, **said)), "fewer-than-counted")
    assert words in note


@pytest.mark.parametrize(
    "said",
    [
        {"NumberOfSlices": 6, "Modality": "PT"},
        {"NumberOfSlices": 47},
        {"ImagesInAcquisition": 6},
        {"ImagesInAcquisition": 3},
        {"NumberOfTemporalPositions": 10},
        {"NumberOfTemporalPositions": 1, "TemporalPositionIdentifier": 1},
    ],
)
def test_twin_what_is_whole_says_nothing(said: dict) -> None:
    assert not notes_of(read_series(stack_of(6, **said)), "fewer-than-counted")


def test_images_of_one_acquisition_in_two_volumes_of_the_series_are_all_there() -> None:
    files = [
        (
            f"{k}{e}",
            one_slice(np.array([0, 0, 2.0 * k]), np.eye(3), 2 * k + e, PIXELS + k + 9 * e, EchoTime=str(10 + e)),
        )
        for k in range(6)
        for e in range(2)
    ]
    both = read_series(files)
    assert len(both) == 2
    assert not notes_of(both, "fewer-than-counted")


def test_parts_of_a_concatenation_that_are_not_there_are_told() -> None:
    def parts(numbers: range) -> list[tuple[str, bytes]]:
        more = {"ConcatenationUID": "1.7", "InConcatenationTotalNumber": 6}
        return [
            (f"{k}", one_slice(np.array([0, 0, 2.0 * k]), np.eye(3), k, PIXELS + k, InConcatenationNumber=k, **more))
            for k in numbers
        ]

    (note,) = notes_of(read_series(parts(range(1, 5))), "fewer-than-counted")
    assert "4 of 6 parts" in note
    assert not notes_of(read_series(parts(range(1, 7))), "fewer-than-counted")


@pytest.mark.parametrize("keyword", ["PatientID", "StudyInstanceUID"])
def test_a_series_that_changes_its_patient_or_study_half_way_says_so(keyword: str, tmp_path: Path) -> None:
    for k in range(8):
        raw = one_slice(np.array([0, 0, 2.0 * k]), np.eye(3), k, PIXELS + k, **{keyword: f"1.{k // 4}"})
        (tmp_path / f"{k}.dcm").write_bytes(raw)
    found = list(scan(tmp_path))
    assert [one.image.voxels.shape[0] for one in found] == [4, 4]
    assert len(notes_of(found, "series-divided")) == 2
    for k in range(4, 8):
        (tmp_path / f"{k}.dcm").unlink()
    assert not notes_of(list(scan(tmp_path)), "series-divided")


def test_slices_without_a_series_say_why_they_are_no_volume(tmp_path: Path) -> None:
    for k in range(3):
        raw = one_slice(np.array([0, 0, 2.0 * k]), np.eye(3), k, PIXELS + k, SeriesInstanceUID="")
        (tmp_path / f"{k}.dcm").write_bytes(raw)
    assert len(notes_of(list(scan(tmp_path)), "no-series")) == 3


def test_a_slice_that_stands_twice_is_told() -> None:
    slices = [PIXELS + np.random.default_rng(k).integers(0, 90, PIXELS.shape) for k in range(8)]
    slices[5] = slices[4]
    files = [(f"{k}", one_slice(np.array([0, 0, 2.0 * k]), np.eye(3), k, s)) for k, s in enumerate(slices)]
    (note,) = notes_of(read_series(files), "same-slices")
    assert "slices 5 and 6" in note
