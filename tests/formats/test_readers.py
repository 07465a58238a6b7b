"""A label table with a column for each reader."""

from __future__ import annotations

import pytest

from overread.errors import LabelError
from overread.formats.labels import read_table


def table(tmp_path, *lines: str):
    path = tmp_path / "labels.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return read_table(path)


def test_readers_columns_become_one_label(tmp_path):
    found = table(
        tmp_path,
        "file,Mass:Dr. Meier,mass:B,mass:C,grade@1,grade@2,sex",
        "a.png,1,yes,0,II,II,F",
        "b.png,no,0,,I,II,M",
        "c.png,1,,0,,III,F",
        "d.png,,,,I,I,M",
    )
    assert found.labels == {"Mass": "boolean", "grade": "categorical"} and found.strata == ("sex",)
    assert [r.labels["Mass"] for r in found.rows] == [True, False, None, None]
    assert [r.labels["grade"] for r in found.rows] == ["II", None, "III", "I"]
    mass, grade = found.notes
    assert "'Mass' was read by 3 readers, 3 of 4 files by two or more" in mass and "1 tie is unknown" in mass
    assert "alpha" in grade and "Meier" not in "".join(found.notes)


def test_what_was_agreed_in_the_end_counts(tmp_path):
    found = table(tmp_path, "file,mass,mass:1,mass:2", "a.png,0,1,1", "b.png,1,1,1", "c.png,,0,1")
    assert [r.labels["mass"] for r in found.rows] == [False, True, None]
    assert set(found.labels) == {"mass"} and "itself is what counts" in found.notes[0]


def test_one_column_with_a_colon_is_a_label_of_its_own(tmp_path):
    found = table(tmp_path, "file,mass: left,study:x", "a.png,1,0", "b.png,0,1")
    assert set(found.labels) == {"mass: left", "study:x"} and not found.notes


def test_a_readers_column_cannot_carry_what_a_label_may_not(tmp_path):
    """The twin: merging is no way round the rules for columns."""
    found = table(tmp_path, "file,mass,patient name:1,patient name:2", "a.png,1,x,x", "b.png,0,y,y")
    assert set(found.labels) == {"mass"} and any("may identify a person" in n for n in found.notes)


@pytest.mark.parametrize("line", ["a.png,1", "a.png,1,0,1"])
def test_a_row_of_another_length_is_still_named(tmp_path, line):
    with pytest.raises(LabelError, match="line 2 of the label table has"):
        table(tmp_path, "file,mass:1,mass:2", line)


def test_levels_that_do_not_fit_are_still_refused(tmp_path):
    with pytest.raises(LabelError, match="neither true nor false"):
        table(tmp_path, "file,mass:1,mass:2", "a.png,yes,yes", "b.png,no,no", "c.png,perhaps,perhaps")
