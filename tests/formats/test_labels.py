"""A label table says true, false or unknown; what it says unclearly is refused with its line."""

from __future__ import annotations

import csv
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overread.errors import LabelError
from overread.formats.labels import read_table, truth


@pytest.fixture
def table(tmp_path):
    def write(text: str, *, encoding: str = "utf-8", **options):
        path = tmp_path / "labels.csv"
        path.write_bytes(text.encode(encoding))
        return read_table(path, **options)

    return write


def answers(table, name: str) -> list:
    return [row.labels[name] for row in table.rows]


# -- what the words mean ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("yes", "no"),
    [
        ("1", "0"),
        ("true", "False"),
        ("YES", "no"),
        ("y", "N"),
        ("positive", "negative"),
        ("present", "absent"),
        ("1.0", "0.0"),
    ],
)
def test_yes_and_no_in_every_dress(table, yes, no):
    read = table(f"file,mass\na.png,{yes}\nb.png,{no}\nc.png,\n")
    assert read.labels == {"mass": "boolean"}
    assert answers(read, "mass") == [True, False, None]


@pytest.mark.parametrize("word", ["", " ", "NA", "n/a", "NaN", "null", "?", "Unknown", "uncertain"])
def test_unknown_is_not_absent(table, word):
    assert answers(table(f"file,mass\na.png,1\nb.png,0\nc.png,{word}\n"), "mass") == [True, False, None]
    assert answers(table(f"file,kind\na.png,cyst\nb.png,abscess\nc.png,{word}\n"), "kind") == ["cyst", "abscess", None]


def test_minus_one_is_unknown_beside_0_and_1_and_a_level_beside_others(table):
    assert answers(table("file,mass\na,1.0\nb,0.0\nc,-1.0\n"), "mass") == [True, False, None]
    assert answers(table("file,grade\na,1\nb,2\nc,-1\n"), "grade") == ["1", "2", "-1"]


@pytest.mark.parametrize(
    "levels", [["benign", "malignant"], ["0", "1", "2"], ["no", "mild", "severe"], ["A", "b", "C d"]]
)
def test_other_words_and_whole_numbers_are_levels(table, levels):
    read = table("file,grade\n" + "".join(f"{i}.png,{v}\n" for i, v in enumerate(levels)))
    assert read.labels == {"grade": "categorical"}
    assert answers(read, "grade") == levels


def test_a_word_among_yes_and_no_is_refused_with_its_line(table):
    with pytest.raises(LabelError, match=r"line 4 of the label table, column 'mass': neither true nor false"):
        table("file,mass\na.png,yes\nb.png,no\nc.png,perhaps\n")


def test_a_column_that_nobody_filled_in_is_unknown(table):
    read = table("file,mass\na.png,\nb.png,NA\n")
    assert answers(read, "mass") == [None, None]


@given(st.booleans(), st.sampled_from(["1", "true", "yes", "y", "positive", "present"]), st.data())
def test_case_and_spaces_do_not_change_the_truth(upper, word, data):
    spaced = data.draw(st.sampled_from(["{}", " {}", "{} "])).format(word.upper() if upper else word)
    assert truth(spaced) is True


# -- what a column is ---------------------------------------------------------------------------------------------


def test_split_strata_patient_and_study_columns_are_known(table):
    read = table(
        "File,Patient,study,published_split,Sex,age,Site,mass\na.png,Anna 1,X1,train,F,63,north,1\nb.png,,,test,M,94,south,0\n"
    )
    assert (read.labels, read.splits, set(read.strata)) == (
        {"mass": "boolean"},
        ("published_split",),
        {"Sex", "age", "Site"},
    )
    first, second = read.rows
    assert (first.patient, first.study, second.patient, second.study) == ("Anna 1", "X1", None, None)
    assert (first.splits, second.splits) == ({"published_split": "train"}, {"published_split": "test"})
    assert first.strata == {"Sex": "F", "age": "40-64", "Site": "north"}
    assert second.strata["age"] == "80+"


def test_no_age_above_89_comes_through(table):
    rows = "".join(f"{i}.png,{i},{i % 2}\n" for i in range(121))
    read = table(f"file,age,mass\n{rows}")
    assert {row.strata["age"] for row in read.rows} == {"<18", "18-39", "40-64", "65-79", "80+"}


def test_the_patient_column_may_have_another_name(table):
    text = "file,subject_no,mass\na.png,77,1\nb.png,78,0\n"
    assert [row.patient for row in table(text, patient="subject_no").rows] == ["77", "78"]
    with pytest.raises(LabelError, match=r"no such patient column.*file, subject_no, mass"):
        table(text, patient="who")


@pytest.mark.parametrize(
    ("column", "cells"),
    [
        ("name", ["Anna", "Bert"]),
        ("Patient Name", ["a", "b"]),
        ("date_of_birth", ["x", "y"]),
        ("MRN", ["1", "2"]),
        ("comment", ["fine", "ok"]),
        ("seen", ["2020-01-02", "2021-03-04"]),
        ("who", ["Doe^Jane", "Roe^Rick"]),
        ("contact", ["a@b.org", "c@d.org"]),
        ("hu", ["12.5", "-3.25"]),
        ("site", ["Doe^Jane", "Roe^Rick"]),
    ],
)
def test_what_may_identify_a_person_or_is_no_answer_is_left_out_and_told(table, column, cells):
    read = table(f"file,mass,{column}\na.png,1,{cells[0]}\nb.png,0,{cells[1]}\n")
    assert read.labels == {"mass": "boolean"}
    assert not read.strata
    assert len(read.notes) == 1
    assert "left out" in read.notes[0]
    assert not any(cell in read.notes[0] for cell in cells if len(cell) > 3)


def test_a_column_with_an_answer_of_its_own_for_each_file_is_no_label(table):
    read = table("file,code,mass\n" + "".join(f"{i}.png,case {i},{i % 2}\n" for i in range(40)))
    assert read.labels == {"mass": "boolean"}


# -- the file itself ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_encodings_and_separators(table, encoding, separator):
    read = table("file,lésion\nà.png,1\nb.png,0\n".replace(",", separator), encoding=encoding)
    assert [row.file for row in read.rows] == ["à.png", "b.png"]
    assert answers(read, "lésion") == [True, False]


def test_windows_paths_quotes_and_blank_lines(table):
    read = table('file,mass\r\n\r\n".\\train\\a, b.png",1\r\n\r\n"c.png",0\r\n')
    assert [(row.file, row.line) for row in read.rows] == [("train/a, b.png", 3), ("c.png", 5)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,mass\na.png,1\n", "columns image, mass; expected one named file"),
        ("file,mass\na.png,1\nb.png,0\na.png,1\n", "lines 2 and 4 .* the same file, with the same answers"),
        ("file,mass\na.png,1\nb.png,0\n./a.png,0\n", "lines 2 and 4 .* the same file, with other answers"),
        ("file,mass\na.png,1,7\n", "line 2 .* has 3 cells; expected 2"),
        ("file,mass\na.png\n", "line 2 .* has 1 cells; expected 2"),
        ("file,mass\n ,1\n", "line 2 .* names no file"),
        ("file,mass,Mass\na.png,1,0\n", "'mass' twice"),
        ("file,mass\n", "without rows"),
        ("", "without rows"),
        ('file,mass\n"a.png,1\n', "breaks off"),
        ("file,mass\na\0.png,1\n", "zero bytes"),
    ],
)
def test_an_unclear_table_is_refused_with_its_line(table, text, message):
    with pytest.raises(LabelError, match=message):
        table(text)


def test_a_table_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(LabelError, match="cannot be read"):
        read_table(tmp_path / "nowhere.csv")


WORDS = st.sampled_from(["0", "1", "yes", "no", "cyst", "-1", "", "NA", "2", "malignant", "perhaps"])


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=12))
def test_whatever_the_answers_a_table_is_understood_or_refused(tmp_path_factory, cells):
    path = tmp_path_factory.mktemp("t") / "labels.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("file", "a", "b"), *((f"{i}.png", *c) for i, c in enumerate(cells))])
    try:
        read = read_table(path)
    except LabelError as error:
        assert re.search(r"line \d+", str(error))
        return
    for at, name in enumerate("ab"):
        for row, cell in zip(read.rows, cells, strict=True):
            value = row.labels[name]
            if read.labels[name] == "boolean":
                assert value is truth(cell[at])
            else:
                assert value == (None if cell[at] in ("", "NA") else cell[at])


def test_real_tables(shared_data):
    chest = read_table(shared_data / "chest_xray" / "labels.csv")
    assert (len(chest.rows), chest.labels, chest.splits) == (5840, {"pneumonia": "boolean"}, ("published_split",))
    film = read_table(shared_data / "mammography" / "labels.csv")
    assert set(film.labels.values()) == {"categorical"}
    assert sorted(answers(film, "label"))[::100] == ["benign", "malignant", "normal", "normal"]


@pytest.mark.parametrize("word", ["#N/A", "<NA>", "n.a.", "-", "–"])
def test_every_word_for_unknown_is_no_level(table, word):
    read = table(f"file,finding\na.png,benign\nb.png,malignant\nc.png,{word}\n")
    assert [row.labels["finding"] for row in read.rows] == ["benign", "malignant", None]


def test_decimal_commas_are_measurements(table):
    read = table("file;score;mass\na.png;0,12;1\nb.png;0,93;0\n")
    assert list(read.labels) == ["mass"] and "measurements" in read.notes[0]


def test_capitals_and_blanks_make_no_level(table):
    rows = ["benign", "Benign", "benign", "BENIGN", "Mild  disease", "Mild disease", "Mild disease"]
    read = table("file,finding\n" + "".join(f"{i}.png,{w}\n" for i, w in enumerate(rows)))
    assert {row.labels["finding"] for row in read.rows} == {"benign", "Mild disease"}
    assert "in several ways (BENIGN, Benign, Mild  disease, Mild disease, benign)" in read.notes[0]


def test_a_spreadsheets_word_on_its_separator_is_heeded(table):
    read = table('sep=;\nfile;"mass, any, kind, at all"\na.png;1\nb.png;0\n')
    assert [row.labels["mass, any, kind, at all"] for row in read.rows] == [True, False]


def test_a_separator_inside_quotes_is_none(table):
    read = table('file;"a, b, c, d";x\na.png;1;0\n')
    assert read.rows[0].labels == {"a, b, c, d": True, "x": False}
