"""However many models are measured on one testing cohort, each of them is counted where they all meet."""

from __future__ import annotations

import os
from datetime import UTC, datetime

import pytest

from overread.steps.reads import NAME, count

NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
def places(tmp_path):
    runs = [tmp_path / f"run{i}" for i in range(3)]
    for folder in [*runs, tmp_path / "archive"]:
        folder.mkdir()
    return runs, tmp_path / "archive"


def test_the_third_model_says_so_and_reading_again_counts_no_model(places):
    runs, archive = places
    for i, run in enumerate(runs):
        found = count(run, archive, ["a", "b"], model=f"m{i}", own=True, now=NOW)
        assert (found.times, found.place, found.models) == (1, i + 1, i + 1)
    assert str(found) == "the 3rd model measured on this testing cohort"
    assert "the 3rd model measured" in found.warnings()[0]
    again = count(runs[0], archive, ["b", "a"], model="m0", own=True, now=NOW)
    assert (again.times, again.place, again.models) == (2, 1, 3)
    assert str(again).endswith("the 1st model measured on this testing cohort, of 3 by now")
    other = count(runs[0], archive, ["a", "c"], model="m0", own=True, now=NOW)
    assert (other.times, other.models, other.warnings()) == (1, 1, [])


def test_a_torn_line_is_told_and_harms_no_other(places):
    runs, archive = places
    count(runs[0], archive, ["a"], model="m0", own=True, now=NOW)
    with open(archive / NAME, "a") as out:
        out.write('{"cohort": "torn')
    found = count(runs[1], archive, ["a"], model="m1", own=True, now=NOW)
    assert found.models == 2 and "1 lines" in found.notes[0]


def test_where_the_archive_is_absent_or_cannot_be_written_it_is_said(places):
    runs, archive = places
    assert "archive is not here" in count(runs[0], None, ["a"], model="m", own=True, now=NOW).warnings()[0]
    (archive / NAME).mkdir()  # refuses to be written, even for an administrator
    found = count(runs[1], archive, ["a"], model="m", own=True, now=NOW)
    assert found.models == 1 and "counted in the run only" in found.warnings()[0]
    assert os.listdir(archive) == [NAME]
