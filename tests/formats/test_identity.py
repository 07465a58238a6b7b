"""One volume is of one person, and one UID is one image; where headers say otherwise it is refused or told."""

from __future__ import annotations

import numpy as np
import pytest
from series_of_slices import one_slice

from overread.domain import code_of
from overread.formats.found import Found, Refused
from overread.formats.series import read_series

PIXELS = np.random.default_rng(5).integers(0, 4000, (10, 12))


def halves(*said: dict) -> list[tuple[str, bytes]]:
    """Twelve even slices; the headers of the first six and the last six say their own."""
    return [
        (f"{k}", one_slice(np.array([0, 0, 2.5 * k]), np.eye(3), k + 1, PIXELS + k, PatientID="1", **said[k // 6]))
        for k in range(12)
    ]


@pytest.mark.parametrize(
    ("one", "other", "counted"),
    [
        ({"PatientBirthDate": "19500101"}, {"PatientBirthDate": "19900101"}, "2 birth dates"),
        ({"PatientSex": "F"}, {"PatientSex": "M"}, "2 sexes"),
        ({"IssuerOfPatientID": "A"}, {"IssuerOfPatientID": "B"}, "2 issuers"),
    ],
)
def test_slices_of_two_people_are_no_volume(one: dict, other: dict, counted: str) -> None:
    found = read_series(halves(one, other))
    assert [r.code for r in found if isinstance(r, Refused)] == ["two-people"] * 12
    assert counted in found[0].reason
    assert not any(value in found[0].reason.split() for value in (*one.values(), *other.values()))


@pytest.mark.filterwarnings("ignore:Invalid value for VR")  # as it was written before DICOM 3
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"PatientBirthDate": "19500101"}, {}),
        ({"PatientBirthDate": "19500101"}, {"PatientBirthDate": "1950.01.01"}),
        ({"PatientBirthDate": "19500101"}, {"PatientBirthDate": "00000000"}),
        ({"PatientSex": "F"}, {"PatientSex": "O"}),
        ({"PatientSex": "F"}, {"PatientSex": "f "}),
        ({"PatientName": "Doe^Jane"}, {"PatientName": "DOE^JANE^^"}),
        ({"IssuerOfPatientID": "A"}, {}),
    ],
)
def test_twin_the_same_person_written_in_two_ways_is_one_volume_without_a_word(one: dict, other: dict) -> None:
    (found,) = read_series(halves(one, other))
    assert isinstance(found, Found)
    assert found.image.voxels.shape == (12, 10, 12)
    assert not {"two-names", "same-uid"} & set(map(code_of, found.image.notes))
    assert found.origin.person
    assert "19500101" not in repr(found)


def test_two_names_alone_are_told() -> None:
    (found,) = read_series(halves({"PatientName": "A^B"}, {"PatientName": "C^D"}))
    (note,) = [n for n in found.image.notes if code_of(n) == "two-names"]
    assert "12 slices" in note
    assert "in 2 ways" in note


def test_one_uid_for_two_images_of_other_pixels_is_told_and_a_copy_is_none() -> None:
    files = halves({}, {})
    again = [
        (f"{k}", one_slice(np.array([0, 0, 2.5 * k]), np.eye(3), k + 1 - 6 * (k > 5), PIXELS + k)) for k in range(12)
    ]
    (found,) = read_series(again)
    (note,) = [n for n in found.image.notes if code_of(n) == "same-uid"]
    assert "12 of its 12 files" in note
    resent = [(f"again {k}", one_slice(np.array([0, 0, 2.5 * k]), np.eye(3), k + 1, PIXELS + k)) for k in range(2)]
    for some in (files, files + resent):
        one = read_series(some)[0]
        assert "same-uid" not in map(code_of, one.image.notes)
