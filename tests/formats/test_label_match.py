"""Each row of a label table speaks of exactly one file, or the person is told."""

from __future__ import annotations

import unicodedata

import pytest

from overread.errors import LabelError
from overread.formats.label_match import match
from overread.formats.labels import read_table


@pytest.fixture
def matched(tmp_path):
    def run(names: list[str], files: list[str], roots: tuple[str, ...] = (), folder: str = "table"):
        (tmp_path / folder).mkdir(exist_ok=True)
        path = tmp_path / folder / "labels.csv"
        path.write_text("file,mass\n" + "".join(f"{n},1\n" for n in names))
        found = match(
            read_table(path),
            [f.replace("@", str(tmp_path)) for f in files],
            roots=[r.replace("@", str(tmp_path)) for r in roots],
        )
        return {f.replace(str(tmp_path), "@"): row.file for f, row in found.rows.items()}, [
            r.file for r in found.missing
        ]

    return run


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("a.png", "@/table/a.png"),
        ("x/a.png", "@/table/x/a.png"),
        ("a.png", "@/images/deep/a.png"),
        ("x/a.png", "@/images/x/a.png"),
        ("../other/a.png", "@/other/a.png"),
        ("x/a.png", "@/set.zip!x/a.png"),
        ("a", "@/images/a.png"),
        ("x/scan", "@/images/x/scan.nii.gz"),
        ("train/12", "@/set.npz!train/12"),
    ],
)
def test_a_file_is_found_wherever_it_is_kept(matched, name, file):
    assert matched([name], [file, "@/elsewhere/other.png"]) == ({file: name}, [])


def test_the_path_from_the_tables_folder_wins_over_the_bare_name(matched):
    assert matched(["a.png"], ["@/table/a.png", "@/table/x/a.png"])[0] == {"@/table/a.png": "a.png"}


def test_the_path_from_a_source_wins_over_the_bare_name(matched):
    rows, _ = matched(["a.png"], ["@/s/a.png", "@/s/x/a.png"], roots=("@/s",))
    assert rows == {"@/s/a.png": "a.png"}


def test_a_folder_stands_for_its_series(matched):
    files = [f"@/s/ct7/{i}.dcm" for i in range(3)] + ["@/s/ct8/0.dcm"]
    assert matched(["ct7"], files)[0] == dict.fromkeys(files[:3], "ct7")


def test_a_name_that_fits_several_files_is_refused(matched):
    with pytest.raises(LabelError, match="line 2 of the label table fits 2 files; expected exactly one"):
        matched(["a.png"], ["@/s/x/a.png", "@/s/y/a.png"])
    with pytest.raises(LabelError, match="fits 2 folders"):
        matched(["ct"], ["@/s/x/ct/0.dcm", "@/s/y/ct/0.dcm"])


def test_another_patients_file_of_the_same_name_is_not_taken(matched):
    rows, missing = matched(["x/1.png", "y/2.png"], ["@/s/z/1.png", "@/s/y/2.png"])
    assert (rows, missing) == ({"@/s/y/2.png": "y/2.png"}, ["x/1.png"])


def test_two_rows_for_one_file_are_refused(matched):
    with pytest.raises(LabelError, match="lines 2 and 3 of the label table speak of the same file"):
        matched(["x/a.png", "a.png"], ["@/s/x/a.png"])


def test_a_table_that_fits_nothing_is_refused(matched):
    with pytest.raises(LabelError, match="whose 2 rows fit none of the 1 files offered"):
        matched(["a.png", "b.png"], ["@/s/c.png"])


def test_accents_written_in_two_ways_are_one(matched):
    name = "été.png"
    file = "@/s/" + unicodedata.normalize("NFD", name)
    assert matched([name], [file])[0] == {file: name}


def test_every_real_row_finds_its_file(shared_data):
    for folder, count in (("chest_xray", 5840), ("mammography", 322)):
        table = read_table(shared_data / folder / "labels.csv")
        files = [str(p) for p in (shared_data / folder).rglob("*.*") if p.suffix in (".jpeg", ".png")]
        found = match(table, files)
        assert (len(found.rows), found.missing) == (count, ())
        assert all(file.endswith(row.file) for file, row in found.rows.items())
