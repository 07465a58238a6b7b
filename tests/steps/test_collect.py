"""Collecting: every file accounted for, twice the same, and no name in the archive."""

from __future__ import annotations

import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pydicom
import pytest
from painted import content, paint, run
from pydicom.data import get_testdata_file

from overread.errors import LabelError
from overread.steps import written
from overread.steps.inspect import inspect
from overread.store.archive import Archive

pytestmark = pytest.mark.timeout(90)


# -- the whole of it ----------------------------------------------------------------------------------------------


def test_a_folder_with_a_label_table(films, tmp_path):
    done = run(films, into=tmp_path / "a", labels=films / "labels.csv")
    assert (done.read, done.already, done.images, done.studies, done.patients, done.duplicates) == (9, 0, 8, 9, 4, 1)
    assert done.labels == {"ill": {"true": 5, "false": 4, "unknown": 0}}
    assert {Path(r["file"]).name: r["code"] for r in done.refused} == {
        "readme.txt": "not-an-image",
        "labels.csv": "label-table",
    }
    assert done.read + len(done.refused) == sum(p.is_file() for p in films.rglob("*"))
    with Archive.open(tmp_path / "a") as archive:
        for study in archive.studies():
            assert study.patient[0] == "P"
            assert len(study.patient) == 13
    text = str(done)
    for words in (
        "9 read",
        "0 there already",
        "1 refused",
        "ill: true 5 · false 4 · unknown 0",
        "1 file holds a picture",
    ):
        assert words in text


def test_an_archive_that_was_deleted_beside_its_names_is_made_again(films, tmp_path):
    first = run(films, into=tmp_path / "a", labels=films / "labels.csv")
    before = content(tmp_path / "a")
    shutil.rmtree(tmp_path / "a")
    again = run(films, into=tmp_path / "a", labels=films / "labels.csv")
    assert (again.read, again.already, again.images, again.studies) == (9, 0, first.images, first.studies)
    assert any("8 images that were known are no longer in the archive" in note for note in again.notes)
    assert content(tmp_path / "a") == before
    third = run(films, into=tmp_path / "a", labels=films / "labels.csv")  # the twin: what is there is not read again
    assert (third.read, third.already) == (0, 9) and not any("no longer" in note for note in third.notes)


def test_a_second_run_reads_nothing_and_changes_nothing(films, tmp_path, monkeypatch):
    run(films, into=tmp_path / "a", labels=films / "labels.csv")
    before = content(tmp_path / "a")
    monkeypatch.setattr(written, "read_job", None)  # would fail when called
    again = run(films, into=tmp_path / "a", labels=films / "labels.csv")
    assert (again.read, again.already, again.images) == (0, 9, 8)
    assert {r["code"] for r in again.refused} == {"not-an-image", "label-table"}
    assert content(tmp_path / "a") == before


def test_class_folders_are_labels(films, tmp_path):
    done = run(films / "sick", films / "well", into=tmp_path / "a", labels_from_folders=True)
    assert done.labels["class"] == {
        "true": 0,
        "false": 0,
        "unknown": 0,
        "kind": "categorical",
        "values": {"sick": 5, "well": 4},
    }
    assert done.labels["sick"] == {"true": 5, "false": 4, "unknown": 0}
    assert "patients   not known" in str(done) and "none known" not in str(done)


def test_an_archive_without_a_label_says_how_one_is_given(films, tmp_path):
    told = str(run(films / "sick", films / "well", into=tmp_path / "a"))
    assert "label      none known" in told and "--labels-from-folders" in told
    told = str(run(films, into=tmp_path / "b"))
    assert "labels.csv is the table of labels, give it with --labels" in told


def test_a_picture_beside_the_class_folders_has_no_class(films, tmp_path):
    paint(films / "loose.png", seed=99)
    done = run(films, into=tmp_path / "a", labels_from_folders=True)
    assert done.labels["class"]["unknown"] == 1
    assert done.labels["sick"] == {"true": 5, "false": 4, "unknown": 1}


def test_zip_files_can_be_the_class_folders(tmp_path):
    for name, seeds in (("ill", range(3)), ("well", range(3, 5))):
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as packed:
            for seed in seeds:
                packed.write(paint(tmp_path / "p" / f"{seed}.png", seed), f"{seed}.png")
    done = run(tmp_path / "ill.zip", tmp_path / "well.zip", into=tmp_path / "a", labels_from_folders=True)
    assert done.labels["class"]["values"] == {"ill": 3, "well": 2}


def test_files_of_a_series_that_the_table_contradicts_are_unknown_and_told(tmp_path):
    paths = []
    for i in range(4):
        ds = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"{ds.SeriesInstanceUID}.{i}"
        ds.ImagePositionPatient, ds.InstanceNumber = [0, 0, 5 * i], i
        paths.append(tmp_path / "s" / f"{i}.dcm")
        paths[0].parent.mkdir(exist_ok=True)
        ds.save_as(paths[-1])
    (tmp_path / "l.csv").write_text("file,ill,cyst\n0.dcm,1,0\n1.dcm,0,0\n")
    done = run(tmp_path / "s", into=tmp_path / "a", labels=tmp_path / "l.csv")
    assert (done.read, done.images, done.studies) == (4, 1, 1)
    assert done.labels == {"cyst": {"true": 0, "false": 1, "unknown": 0}, "ill": {"true": 0, "false": 0, "unknown": 1}}
    assert any("does not agree on" in note for note in done.notes)


def test_folders_of_patients_are_not_taken_for_classes(tmp_path):
    for i in range(51):
        paint(tmp_path / "f" / f"patient{i}" / "a.png", seed=i)
    with pytest.raises(LabelError, match="51 folders as classes; expected at most 50"):
        run(tmp_path / "f", into=tmp_path / "a", labels_from_folders=True)


def test_a_zip_file_and_a_folder_of_the_same_pictures(films, tmp_path):
    packed = tmp_path / "films.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for p in sorted(films.rglob("*")):
            archive.write(p, p.relative_to(films))
    by_folder = run(films, into=tmp_path / "a", labels_from_folders=True)
    by_zip = run(packed, into=tmp_path / "b", labels_from_folders=True)
    assert by_zip.labels == by_folder.labels
    assert by_zip.read == by_folder.read
    assert content(tmp_path / "a") == content(tmp_path / "b")
    assert run(packed, into=tmp_path / "b").already == 9


def test_arrays_bring_their_labels_and_splits(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {}
    for split, n in (("train", 20), ("val", 5), ("test", 7)):
        arrays[f"{split}_images"] = rng.integers(0, 256, (n, 12, 12), np.uint8)
        arrays[f"{split}_labels"] = (np.arange(n) % 2)[:, None]
    np.savez(tmp_path / "two.npz", **arrays)
    done = run(tmp_path / "two.npz", into=tmp_path / "a")
    assert (done.read, done.studies) == (1, 32)
    assert done.labels == {"label": {"true": 15, "false": 17, "unknown": 0}}
    with Archive.open(tmp_path / "a") as archive:
        assert sorted({s.splits["split"] for s in archive.studies()}) == ["test", "train", "val"]
    np.savez(
        tmp_path / "five.npz",
        **{k: (v if "images" in k else np.arange(len(v))[:, None] % 5) for k, v in arrays.items()},
    )
    assert run(tmp_path / "five.npz", into=tmp_path / "b").labels["label"]["kind"] == "categorical"
    assert run(tmp_path / "two.npz", into=tmp_path / "a").already == 1


# -- who the patient is -------------------------------------------------------------------------------------------


def test_a_pattern_on_the_path_names_the_patient(films, tmp_path):
    done = run(films, into=tmp_path / "a", patient=r"/(p\d)_")
    assert (done.patients, done.studies_without_patient) == (4, 0)
    with_table = run(films, into=tmp_path / "b", labels=films / "labels.csv")
    assert [row[1] for row in content(tmp_path / "a") if isinstance(row, tuple)] == [
        row[1] for row in content(tmp_path / "b") if isinstance(row, tuple)
    ]
    assert with_table.patients == 4


def test_a_pattern_that_finds_nobody_in_a_path_is_told(films, tmp_path):
    done = run(films, into=tmp_path / "a", patient="^(never)")
    assert any("found nobody in 9 of 9 paths" in note for note in done.notes) and done.patients == 0
    found = run(films, into=tmp_path / "b", patient=r"([^/]+)$")  # the twin
    assert not any("found nobody" in note for note in found.notes)


@pytest.mark.parametrize("pattern", ["p[", "p.", "who"])
def test_a_pattern_that_names_nobody_is_refused(films, tmp_path, pattern):
    with pytest.raises(LabelError, match="pattern"):
        run(films, into=tmp_path / "a", patient=pattern)
    assert not (tmp_path / "a").exists()


def test_no_name_reaches_the_archive(tmp_path):
    ds = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    ds.PatientName, ds.PatientID, ds.PatientBirthDate = "Mustermann^Erika", "GEHEIM4711", "19521230"
    ds.InstitutionName, ds.StudyDescription = "Charite-Geheim", "Mustermann knee"
    (tmp_path / "Mustermann").mkdir()
    ds.save_as(tmp_path / "Mustermann" / "erika.dcm")
    paint(tmp_path / "Mustermann" / "film.png", seed=1)
    (tmp_path / "l.csv").write_text("file,patient,name,ill\nfilm.png,Mustermann Erika,Erika Mustermann,1\n")
    done = run(tmp_path / "Mustermann", into=tmp_path / "a", labels=tmp_path / "l.csv")
    assert (done.read, done.patients) == (2, 2)
    needles = [b"Mustermann", b"Erika", b"erika", b"GEHEIM", b"19521230", b"Geheim", ds.StudyInstanceUID.encode()]
    found = {n for p in (tmp_path / "a").rglob("*") if p.is_file() for n in needles if n in p.read_bytes()}
    assert found == set()
    shelf = b"".join(p.read_bytes() for p in (tmp_path / "a.names").iterdir())
    assert b"Mustermann" in shelf  # the same search does find it where names may be: the file's path
    assert b"GEHEIM" not in shelf
    assert (tmp_path / "a.names" / "crosswalk.sqlite").stat().st_mode & 0o777 == 0o600


# -- again, elsewhere, otherwise ----------------------------------------------------------------------------------


def test_the_same_folder_at_another_place_is_already_there(films, tmp_path):
    run(films, into=tmp_path / "a", labels=films / "labels.csv")
    before = content(tmp_path / "a")
    moved = films.rename(tmp_path / "moved")
    again = run(moved, into=tmp_path / "a", labels=moved / "labels.csv")
    assert again.studies == 9
    assert content(tmp_path / "a") == before


def test_a_copy_under_another_patient_is_another_examination_as_in_one_run(tmp_path):
    first, second = tmp_path / "a" / "p1" / "1.png", tmp_path / "b" / "p2" / "1.png"
    paint(first, seed=1)
    paint(second, seed=1)
    table = tmp_path / "l.csv"
    table.write_text("file,m,split\na/p1/1.png,1,train\nb/p2/1.png,0,test\n")
    told = {"labels": table, "patient": r"/(p\d)/"}
    run(first.parents[1], into=tmp_path / "z", **told)
    later = run(second.parents[1], into=tmp_path / "z", **told)
    once = run(first.parents[1], second.parents[1], into=tmp_path / "y", **told)
    assert (later.studies, later.patients) == (once.studies, once.patients) == (2, 2)
    assert later.labels == once.labels
    assert content(tmp_path / "z") == content(tmp_path / "y")


def test_a_changed_file_is_read_anew_and_replaces_what_it_was(films, tmp_path):
    run(films, into=tmp_path / "a", labels=films / "labels.csv")
    changed = paint(films / "well" / "p1_view2.png", seed=77)
    os.utime(changed, (1, 1))
    again = run(films, into=tmp_path / "a", labels=films / "labels.csv")
    assert (again.read, again.already, again.studies) == (1, 8, 9)
    fresh = run(films, into=tmp_path / "b", labels=films / "labels.csv")
    assert again.labels == fresh.labels
    assert [c for c in content(tmp_path / "a") if isinstance(c, tuple)] == [
        c for c in content(tmp_path / "b") if isinstance(c, tuple)
    ]


def test_an_emptied_cell_takes_back_a_group_and_a_division_as_it_does_a_label(films, tmp_path):
    table, told = films / "labels.csv", []
    for row in ("1,F,test", ",,"):
        table.write_text(f"file,ill,sex,split\nwell/p0_view0.png,{row}\nwell/p1_view2.png,0,M,train\n")
        run(films, into=tmp_path / "a", labels=table)
        with Archive.open(tmp_path / "a") as archive:
            told.append(
                sorted(
                    ((s.labels["ill"] is None, dict(s.strata), dict(s.splits)) for s in archive.studies() if s.strata),
                    key=repr,
                )
            )
    assert told == [
        [(False, {"sex": "F"}, {"split": "test"}), (False, {"sex": "M"}, {"split": "train"})],
        [(False, {"sex": "M"}, {"split": "train"})],
    ]


def test_labels_may_come_later(films, tmp_path):
    assert run(films, into=tmp_path / "a").labels == {}
    later = run(films, into=tmp_path / "a", labels=films / "labels.csv")
    assert (later.read, later.labels) == (0, {"ill": {"true": 5, "false": 4, "unknown": 0}})
    run(films, into=tmp_path / "b", labels=films / "labels.csv")
    assert content(tmp_path / "a") == content(tmp_path / "b")


def test_copies_that_contradict_each_other_are_unknown_and_told(films, tmp_path):
    shutil.copy(films / "sick" / "p1_view3.png", films / "well" / "copy.png")
    done = run(films, into=tmp_path / "a", labels_from_folders=True)
    assert done.labels["sick"] == {"true": 4, "false": 4, "unknown": 2}
    assert any("contradict" in note for note in done.notes)


def test_a_file_in_no_row_is_unknown_and_a_row_without_its_file_is_listed(films, tmp_path):
    rows = (films / "labels.csv").read_text().splitlines()
    (films / "labels.csv").write_text("\n".join([*rows[:-1], "sick/gone.png,p9,1"]) + "\n")
    done = run(films, into=tmp_path / "a", labels=films / "labels.csv")
    assert done.labels["ill"]["unknown"] == 1
    missing = [r for r in done.refused if r["code"] == "missing-file"]
    assert [(r["file"], r["reason"][:24]) for r in missing] == [("sick/gone.png", "line 10 of the label tab")]
    assert "sick/gone.png" in str(done)


def test_a_study_column_joins_files(films, tmp_path):
    names = sorted(p.relative_to(films) for p in films.rglob("*view*.png"))
    rows = "\n".join(f"{n},{n.name[:2]},exam {n.name[:2]},{int(n.name[:2] == 'p1')}" for n in names)
    (films / "l.csv").write_text(f"file,patient,study,ill\n{rows}\n")
    done = run(*(films / n for n in names), into=tmp_path / "a", labels=films / "l.csv")
    assert (done.images, done.studies) == (8, 4)
    assert done.labels["ill"] == {"true": 1, "false": 3, "unknown": 0}


def test_files_of_one_study_with_other_labels_are_other_examinations(films, tmp_path):
    (films / "l.csv").write_text(
        "file,study,ill\nwell/p0_view0.png,e,0\nsick/p0_view1.png,e,1\nwell/p1_view2.png,e,0\n"
    )
    done = run(films / "well", films / "sick" / "p0_view1.png", into=tmp_path / "a", labels=films / "l.csv")
    with Archive.open(tmp_path / "a") as archive:
        joined = [s for s in archive.studies() if s.labels["ill"] is not None]
    assert (
        sorted((len(s.images), s.labels["ill"], s.pseudonym[13:]) for s in joined if s.labels["ill"] is False)[0][0]
        == 2
    )
    assert len({s.pseudonym[:13] for s in joined}) == 1
    assert done.studies == 4  # two examinations of the study, and two films without a row


# -- real files ---------------------------------------------------------------------------------------------------


def test_a_real_messy_folder(shared_data, tmp_path):
    done = run(shared_data / "brain_mri", into=tmp_path / "a", labels_from_folders=True)
    assert (done.read, done.images, done.duplicates) == (253, 228, 25)
    assert done.labels["yes"] == {"true": 155, "false": 98, "unknown": 0}


def test_real_films_with_a_table(shared_data, tmp_path):
    folder = shared_data / "mammography"
    done = run(folder, into=tmp_path / "a", labels=folder / "labels.csv")
    assert (done.read, done.patients, done.studies_without_patient) == (322, 161, 0)
    assert done.labels["label"]["values"] == {"benign": 63, "malignant": 52, "normal": 207}


def test_real_series_become_volumes_of_pseudonyms(shared_data, tmp_path):
    folder = shared_data / "dicom_series"
    done = run(folder, into=tmp_path / "a")
    assert done.read + len(done.refused) == sum(p.is_file() for p in folder.rglob("*"))
    with Archive.open(tmp_path / "a") as archive:
        assert any(record.shape[0] > 1 and record.modality == "MR" for record in archive.images())


def test_an_image_that_may_show_a_name_is_told_of_and_one_that_says_no_is_not(tmp_path):
    """An ultrasound machine writes the patient's name into the picture; its header should say so and often does not."""
    for name, said in (("a", None), ("b", "NO")):
        ds = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
        ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.6.1"
        ds.Modality, ds.SeriesInstanceUID, ds.SOPInstanceUID = "US", f"1.2.3.{ord(name)}", f"1.2.3.4.{ord(name)}"
        if said:
            ds.BurnedInAnnotation = said
            ds.PixelData = ds.PixelData[::-1]
        (tmp_path / "films").mkdir(exist_ok=True)
        ds.save_as(tmp_path / "films" / f"{name}.dcm")
    shutil.copy(tmp_path / "films" / "a.dcm", tmp_path / "copy.dcm")
    done = run(tmp_path / "films", tmp_path / "copy.dcm", into=tmp_path / "a")
    assert done.images == 2
    assert [note[:17] for note in done.notes if "name in its pixels" in note] == ["1 of the images r"]
    told = inspect(tmp_path / "a", progress=False)
    assert [c["count"] for c in told.codes if c["code"] == "may-show-name"] == [1]
    assert "1 × may-show-name: a kind that often shows a name" in str(told)
