"""One patient number that stands for several people is told, and two hospitals that count alike are two patients."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from series_of_slices import one_slice

from overread.formats.deid import pseudonym
from overread.formats.found import Origin
from overread.steps.collect import collect
from overread.steps.examinations import Examinations, examinations
from overread.steps.inspect import inspect
from overread.steps.offered import own_words
from overread.store.entries import Source

KEY = bytes(32)
PATIENT = pseudonym("P", "ANONYMOUS", key=KEY)


def made(*people: dict, said: dict | None = None) -> Examinations:
    """A study of each person, all under one Patient ID."""
    sources = []
    for n, person in enumerate(people):
        own = own_words(Origin((f"{n}",), "d", "ANONYMOUS", f"1.2.{n}", f"1.2.{n}.1", person=person), key=KEY)
        sources.append(Source(f"{n}", "d", f"image {n}", own, said or {}))
    return examinations(sources, key=KEY)


@pytest.mark.parametrize(
    "people",
    [
        ({}, {"born": "19500101", "sex": "F", "name": "DOE JANE", "issuer": "A"}),
        ({"issuer": "A"}, {"issuer": "A"}, {}),
        ({"name": "DOE JANE"}, {"name": "ROE JANE"}, {"name": "ROE J"}),
    ],
)
def test_twin_what_is_not_said_contradicts_nothing_and_the_pseudonym_stays(people: tuple[dict, ...]) -> None:
    one = made(*people)
    assert {study.patient for study in one.studies} == {PATIENT}
    assert (one.shared, one.notes) == ({}, ())


def test_birth_dates_and_sexes_under_one_number_are_counted_and_told() -> None:
    four = made(*({"born": f"19{50 + k}0101", "sex": "MF"[k % 2], "name": f"P{k} X{k}"} for k in range(4)))
    assert four.shared == {PATIENT: {"birth dates": 4, "sexes": 2, "names": 4}}
    (note,) = four.notes
    assert "stands for several people (up to 4 birth dates under one)" in note
    assert {study.patient for study in four.studies} == {PATIENT}  # one typing error would put one person on both sides


def test_names_that_share_no_word_are_told_as_what_they_are() -> None:
    (note,) = made({"name": "A B"}, {"name": "C D"}).notes
    assert "one person under two names, or several people" in note


def test_two_issuers_of_one_number_are_two_patients_and_who_names_none_is_a_third() -> None:
    three = made({"issuer": "A"}, {"issuer": "B"}, {}, {"issuer": "A"})
    patients = [study.patient for study in sorted(three.studies, key=lambda s: s.images)]
    assert len(set(patients)) == 3
    assert patients[0] == patients[3]
    assert patients[2] == PATIENT
    assert "several issuers" in three.notes[0]


def test_what_a_table_says_of_the_patient_holds() -> None:
    told = made({"issuer": "A", "sex": "M"}, {"issuer": "B", "sex": "F"}, said={"patient": "Pgiven"})
    assert {study.patient for study in told.studies} == {"Pgiven"}
    assert told.notes == ()


def test_collect_and_inspect_say_that_the_patients_are_not_one(tmp_path: Path) -> None:
    pixels = np.random.default_rng(2).integers(0, 4000, (10, 12))
    for n, day in enumerate(("19500101", "19900101")):
        for k in range(3):
            more = {"StudyInstanceUID": f"1.{n}", "SeriesInstanceUID": f"1.{n}.1", "SOPInstanceUID": f"1.{n}.{k}"}
            more |= {"PatientID": "ANONYMOUS", "PatientBirthDate": day}
            (tmp_path / "in").mkdir(exist_ok=True)
            raw = one_slice(np.array([0, 0, 2.0 * k]), np.eye(3), k + 1, pixels + 9 * n + k, **more)
            (tmp_path / "in" / f"{n}{k}.dcm").write_bytes(raw)
    came = collect(tmp_path / "in", into=tmp_path / "archive", workers=1, progress=False)
    assert (came.patients, came.shared_numbers) == (1, 1)
    assert "1, 1 of them a number that stands for several people" in str(came)
    assert any("up to 2 birth dates" in note for note in came.notes)
    told = inspect(tmp_path / "archive", progress=False)
    assert told.shared_numbers == 1
    assert any("up to 2 birth dates" in warning for warning in told.warnings)
    assert "stands for several people" in str(told)
    kept = (tmp_path / "archive" / "people.json").read_text()
    assert "1950" not in kept
    assert "ANONYMOUS" not in kept


def test_a_series_that_was_offered_in_two_parts_is_told_and_one_offered_twice_is_not(tmp_path: Path) -> None:
    pixels = np.random.default_rng(2).integers(0, 4000, (10, 12))
    for k in range(8):
        folder = tmp_path / f"half{k // 4}"
        folder.mkdir(exist_ok=True)
        (folder / f"{k}.dcm").write_bytes(one_slice(np.array([0, 0, 2.0 * k]), np.eye(3), k + 1, pixels + k))
    into = {"workers": 1, "progress": False}
    for half in (0, 1):
        came = collect(tmp_path / f"half{half}", into=tmp_path / "torn", **into)
    assert came.images == 2
    assert [note for note in came.notes if "1 series came in parts" in note]
    assert any("1 series came in parts" in warning for warning in inspect(tmp_path / "torn", progress=False).warnings)
    for _ in range(2):
        whole = collect(tmp_path / "half0", tmp_path / "half1", into=tmp_path / "whole", **into)
        assert whole.images == 1
        assert not any("in parts" in note for note in whole.notes)
