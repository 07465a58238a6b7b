"""What lies beside an image: facts that may stay, who it is in a BIDS tree, and companions that are no refusals."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
import warnings
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image as Pillow

from overread.domain import code_of
from overread.errors import LabelError, UnreadableFile
from overread.formats import sidecar
from overread.formats.door import Found, Refused, read, scan
from overread.steps.collect import collect
from overread.store.archive import Archive


def png(seed: int = 0) -> bytes:
    buffer = io.BytesIO()
    Pillow.fromarray(np.random.default_rng(seed).integers(0, 255, (16, 12), np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def volume(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    voxels = np.random.default_rng(seed).integers(0, 999, (12, 11, 10), np.int16)
    nib.save(nib.Nifti1Image(voxels, np.diag([1.0, 1, 2, 1])), path)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small BIDS tree of two patients, one with two sessions."""
    root = tmp_path / "study"
    for n, name in enumerate(("sub-01/ses-a", "sub-01/ses-b", "sub-02/ses-a")):
        stem = root / name / "anat" / f"{name.replace('/', '_')}_T1w"
        volume(Path(f"{stem}.nii.gz"), n)
        said = {"Modality": "MR", "Manufacturer": "Siemens", "MagneticFieldStrength": 3, "InstitutionName": "St. Mary"}
        Path(f"{stem}.json").write_text(json.dumps(said | {"PatientName": "Doe^Jane", "ProtocolName": "Doe brain"}))
    (root / "sub-02" / "ses-a" / "anat" / "sub-02_ses-a_T1w.bval").write_text("0 1000\n")
    (root / "sub-02" / "sub-02_scans.tsv").write_text("filename\tacq_time\n")
    (root / "participants.tsv").write_text("participant_id\tage\tsex\tdisease\nsub-01\t34\tmale\t1\nsub-02\t93\tF\t0\n")
    (root / "dataset_description.json").write_text('{"Name": "A study", "BIDSVersion": "1.10.0"}')
    (root / "README").write_text("About this study.")
    return root


def test_a_bids_tree_says_who_and_when_and_every_file_is_accounted_for(tree: Path) -> None:
    results = list(scan(tree))
    found = [r for r in results if isinstance(r, Found)]
    assert [r.origin.patient_id.partition("/")[2] for r in found] == ["sub-01", "sub-01", "sub-02"]
    assert [r.origin.study_uid.rpartition("/")[2] for r in found] == ["ses-a", "ses-b", "ses-a"]
    assert len({r.origin.study_uid for r in found}) == 3
    assert [r.origin.strata for r in found[1:]] == [
        {"scanner": "Siemens", "sex": "M", "age": "18-39"},
        {"scanner": "Siemens", "sex": "F", "age": "80+"},
    ]
    assert {Path(r.file).name: r.code for r in results if isinstance(r, Refused)} == {
        **{f"sub-0{n}_ses-{s}_T1w.json": "companion" for n, s in ((1, "a"), (1, "b"), (2, "a"))},
        "sub-02_ses-a_T1w.bval": "companion",
        "sub-02_scans.tsv": "companion",
        "participants.tsv": "companion",
        "dataset_description.json": "companion",
        "README": "companion",
    }
    assert len(results) == sum(p.is_file() for p in tree.rglob("*"))


def test_only_what_identifies_nobody_is_taken_from_a_sidecar(tree: Path) -> None:
    image = read(tree)[0]
    assert image.modality == "MR"
    assert image.attributes["Manufacturer"] == "Siemens" and image.attributes["MagneticFieldStrength"] == "3"
    assert not {"InstitutionName", "PatientName", "ProtocolName"} & set(image.attributes)
    assert "Doe" not in str(image.attributes) + str(image.notes)


def test_a_tree_in_a_zip_reads_as_on_disk(tree: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for file in sorted(tree.rglob("*")):
            archive.write(file, file.relative_to(tree))
    inside, outside = ([r for r in scan(p) if isinstance(r, Found)] for p in (tmp_path / "a.zip", tree))
    assert [(r.origin.patient_id, r.origin.study_uid, r.origin.strata) for r in inside] == [
        (r.origin.patient_id, r.origin.study_uid, r.origin.strata) for r in outside
    ]
    assert {r.code for r in scan(tmp_path / "a.zip") if isinstance(r, Refused)} == {"companion"}


def test_what_is_derived_is_of_the_same_patient_and_a_segmentation_is_no_image(tree: Path) -> None:
    derived = tree / "derivatives" / "pipeline"
    volume(derived / "sub-01" / "anat" / "sub-01_desc-preproc_T1w.nii.gz", 7)
    volume(derived / "sub-01" / "anat" / "sub-01_desc-brain_mask.nii.gz", 8)
    (derived / "dataset_description.json").write_text('{"Name": "A pipeline", "BIDSVersion": "1.10.0"}')
    results = list(scan(tree))
    of_one = {r.origin.patient_id for r in results if isinstance(r, Found) and r.origin.patient_id.endswith("/sub-01")}
    assert len(of_one) == 1 and sum(isinstance(r, Found) for r in results) == 4
    (refused,) = [r for r in results if isinstance(r, Refused) and r.code == "unsupported-object"]
    assert refused.file.endswith("_mask.nii.gz") and "_mask" in refused.reason
    with pytest.raises(UnreadableFile, match="segmentation"):
        read(derived / "sub-01" / "anat" / "sub-01_desc-brain_mask.nii.gz")


def test_facts_are_inherited_from_above_and_the_nearer_ones_hold(tree: Path) -> None:
    (tree / "T1w.json").write_text(json.dumps({"Manufacturer": "GE", "FlipAngle": 9, "EchoTime": 0.003}))
    (tree / "sub-01" / "ses-a" / "sub-01_T1w.json").write_text(json.dumps({"EchoTime": 0.004}))
    (tree / "sub-02_T1w.json").write_text(json.dumps({"FlipAngle": 20}))
    one, _, two = read(tree)
    assert [
        (i.attributes["Manufacturer"], i.attributes["FlipAngle"], i.attributes["EchoTime"]) for i in (one, two)
    ] == [
        ("Siemens", "9", "0.004"),
        ("Siemens", "20", "0.003"),
    ]


def test_patients_of_two_trees_are_never_one(tree: Path, tmp_path: Path) -> None:
    volume(tmp_path / "other" / "sub-01" / "anat" / "sub-01_T1w.nii", 9)
    volume(tmp_path / "third" / "sub-01" / "anat" / "sub-01_T1w.nii", 10)
    found = [r for p in ("other", "study", "third") for r in scan(tmp_path / p) if isinstance(r, Found)]
    assert len({r.origin.patient_id for r in found if r.origin.patient_id.endswith("sub-01")}) == 3


@pytest.mark.parametrize(
    "said", [None, '{"Name": "", "BIDSVersion": "1.8.0"}', '{"Name": "TODO: name of the dataset"}']
)
def test_two_sites_whose_trees_look_alike_have_two_people(said: str | None, tmp_path: Path) -> None:
    for seed, site in enumerate(("A", "B")):
        volume(tmp_path / site / "bids" / "sub-01" / "anat" / "sub-01_T1w.nii.gz", seed)
        if said:
            (tmp_path / site / "bids" / "dataset_description.json").write_text(said)
    done = collect(tmp_path / "A", tmp_path / "B", into=tmp_path / "z", progress=False, workers=1)
    assert (done.patients, done.studies) == (2, 2)


def test_trees_of_one_name_hold_one_person_and_that_is_told(tree: Path, tmp_path: Path) -> None:
    volume(tmp_path / "more" / "sub-01" / "anat" / "sub-01_T1w.nii.gz", 9)
    shutil.copy(tree / "dataset_description.json", tmp_path / "more")
    alone = collect(tree, into=tmp_path / "z", progress=False, workers=1)
    both = collect(tmp_path / "more", into=tmp_path / "z", progress=False, workers=1)
    assert alone.patients == both.patients == 2
    assert not any("BIDS" in note for note in alone.notes)
    assert any(note.startswith("1 person stands in several BIDS trees of one name") for note in both.notes)


def test_a_description_that_grows_does_not_make_two_people_of_one(tree: Path, tmp_path: Path) -> None:
    collect(tree, into=tmp_path / "z", progress=False, workers=1)
    (tree / "dataset_description.json").write_text('{"Name": "A study", "BIDSVersion": "1.10.0", "Authors": ["a"]}')
    volume(tree / "sub-01" / "ses-c" / "anat" / "sub-01_ses-c_T1w.nii.gz", 11)
    assert collect(tree, into=tmp_path / "z", progress=False, workers=1).patients == 2


def test_text_that_comes_after_its_images_is_told_of(tree: Path, tmp_path: Path) -> None:
    (tree / "participants.tsv").rename(tmp_path / "later.tsv")
    first = collect(tree, into=tmp_path / "z", progress=False, workers=1)
    (tmp_path / "later.tsv").rename(tree / "participants.tsv")
    second = collect(tree, into=tmp_path / "z", progress=False, workers=1)
    third = collect(tree, into=tmp_path / "z", progress=False, workers=1)
    told = [any(note.startswith("text beside 3 images") for note in done.notes) for done in (first, second, third)]
    assert told == [False, True, False]


def test_text_beside_images_in_a_tar_is_not_called_read(tree: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(tree, "study")
    codes = {r.code for r in scan(tmp_path / "a.tar") if isinstance(r, Refused)}
    assert "companion-unread" in codes and "companion" not in codes


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_of_two_members_of_one_name_the_first_is_read_and_the_second_told(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{kind}"
    with warnings.catch_warnings(action="ignore"):
        if kind == "zip":
            with zipfile.ZipFile(path, "w") as archive:
                [archive.writestr("a.png", png(seed)) for seed in (1, 2)]
        else:
            with tarfile.open(path, "w") as archive:
                for seed in (1, 2):
                    about = tarfile.TarInfo("a.png")
                    about.size = len(png(seed))
                    archive.addfile(about, io.BytesIO(png(seed)))
    (tmp_path / "one.png").write_bytes(png(1))
    (first,) = [r for r in scan(path) if isinstance(r, Found)]
    assert (first.image.voxels == read(tmp_path / "one.png")[0].voxels).all()
    assert [r.code for r in scan(path) if isinstance(r, Refused)] == ["same-name"]
    done, again = (collect(path, into=tmp_path / "z", progress=False, workers=1) for _ in range(2))
    assert [(d.read, d.already, len(d.refused), d.duplicates) for d in (done, again)] == [(1, 0, 1, 0), (0, 1, 1, 0)]


def test_a_volume_outside_a_tree_has_no_patient_but_its_sidecar_speaks(tmp_path: Path) -> None:
    volume(tmp_path / "sub-1.nii.gz", 0)
    (tmp_path / "sub-1.json").write_text(
        '{"Modality": "CT", "KVP": "high", "ImageType": ["ORIGINAL", "PRIMARY"], "SliceThickness": 2.0}'
    )
    (found,) = (r for r in scan(tmp_path) if isinstance(r, Found))
    assert found.origin.patient_id is None
    assert found.image.modality == "CT" and found.image.attributes["SliceThickness"] == "2.0"
    assert "KVP" not in found.image.attributes


def test_what_goes_with_a_volume_outside_a_tree_is_no_refusal(tmp_path: Path) -> None:
    root = tmp_path / "loose"
    root.mkdir()
    volume(root / "scan.nii.gz", 5)
    for name, text in {
        "scan.json": "{}",
        "scan.bval": "0 1000",
        "scan.bvec": "0 1",
        "scan.tsv": "a\tb",
        "other.bval": "0",
    }.items():
        (root / name).write_text(text)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for path in root.iterdir():
            archive.write(path, path.name)
    for source in (root, tmp_path / "a.zip"):
        codes = {r.file.rpartition("/")[2].rpartition("!")[2]: r.code for r in scan(source) if isinstance(r, Refused)}
        goes = dict.fromkeys(("scan.json", "scan.bval", "scan.bvec"), "companion")
        assert codes == goes | dict.fromkeys(("scan.tsv", "other.bval"), "not-an-image")


@pytest.mark.parametrize(
    "said", [b"", b"{", b"[]", b'{"Manufacturer": {"a": 1}, "EchoTime": "soon"}', b"[" * 100_000, b"\xff\xfe"]
)
def test_a_sidecar_that_makes_no_sense_says_nothing(tmp_path: Path, said: bytes) -> None:
    volume(tmp_path / "a.nii", 0)
    before = read(tmp_path / "a.nii")[0]
    (tmp_path / "a.json").write_bytes(said)
    (after,) = read(tmp_path / "a.nii")
    assert (after.attributes, after.notes) == (before.attributes, before.notes)


# -- pictures of a public library ------------------------------------------------------------------------------------


def public(picture: bytes, **attributes: str) -> str:
    digest = hashlib.sha256(picture).hexdigest()
    return json.dumps({"overread": "picture", "version": 1, "sha256": digest, "attributes": attributes})


def test_what_a_library_says_stays_with_its_picture(tmp_path: Path) -> None:
    (tmp_path / "1.tif").write_bytes(png())
    (tmp_path / "1.tif.json").write_text(public(png(), source="PHIL", credit="CDC", secret="x", description="d" * 9000))
    results = list(scan(tmp_path))
    (found,) = (r for r in results if isinstance(r, Found))
    assert found.image.attributes["credit"] == "CDC" and len(found.image.attributes["description"]) == sidecar.LONGEST
    assert "secret" not in found.image.attributes
    assert [r.code for r in results if isinstance(r, Refused)] == ["companion"]
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("1.tif", "1.tif.json"):
            archive.write(tmp_path / name, name)
    assert read(tmp_path / "a.zip")[0].attributes["credit"] == "CDC"


def test_a_sidecar_of_other_bytes_is_not_believed(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(png(1))
    (tmp_path / "1.png.json").write_text(public(png(2), credit="CDC"))
    (image,) = read(tmp_path)
    assert "credit" not in image.attributes
    assert [code_of(note) for note in image.notes] == ["sidecar-mismatch"]


def test_an_ordinary_json_is_no_companion(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(png())
    (tmp_path / "1.png.json").write_text('{"credit": "CDC"}')
    (tmp_path / "notes.json").write_text('{"overread": "picture"}')
    results = list(scan(tmp_path))
    assert [r.code for r in results if isinstance(r, Refused)] == ["not-an-image", "not-an-image"]
    assert "credit" not in read(tmp_path)[0].attributes


# -- the table of participants as a label table -----------------------------------------------------------------------


def test_the_table_of_participants_gives_labels_to_all_files_of_a_patient(tree: Path, tmp_path: Path) -> None:
    done = collect(tree, into=tmp_path / "a", labels=tree / "participants.tsv", workers=1, progress=False)
    assert (done.read, done.images, done.patients) == (3, 3, 2)
    assert done.labels["disease"] == {"true": 2, "false": 1, "unknown": 0}
    with Archive.open(tmp_path / "a") as archive:
        assert {(s.labels["disease"], s.strata["sex"], s.strata["age"]) for s in archive.studies()} == {
            (True, "male", "18-39"),  # the table's own word
            (False, "F", "80+"),
        }
    assert "companion" not in {r["code"] for r in done.refused if r["file"].endswith("participants.tsv")}


def test_a_patient_of_two_trees_is_ambiguous(tree: Path, tmp_path: Path) -> None:
    volume(tmp_path / "other" / "sub-01" / "anat" / "sub-01_T1w.nii", 9)
    with pytest.raises(LabelError, match="fits 2 folders"):
        collect(tree, tmp_path / "other", into=tmp_path / "a", labels=tree / "participants.tsv", progress=False)
