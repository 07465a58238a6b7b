"""One picture under two answers is named and counted, from the folders to the certificate and the page."""

from __future__ import annotations

import shutil

import pytest
from painted import paint, run

from overread.errors import ArchiveError
from overread.pages.checklist_words import standard
from overread.pages.section_certificate import certificate_section
from overread.steps import leakage
from overread.steps.contradicted import NAME, conflicts_of, keep_contradicted, read_contradicted
from overread.steps.plan import divide
from overread.store.archive import Archive


@pytest.fixture
def both(tmp_path):
    """Two folders of thirty pictures, three of which lie byte for byte in both."""
    for i in range(60):
        paint(tmp_path / "films" / ("benign" if i % 2 else "malignant") / f"{i}.png", seed=i)
    for i in (0, 2, 5):
        ours, theirs = ("benign", "malignant") if i % 2 else ("malignant", "benign")
        shutil.copy(tmp_path / "films" / ours / f"{i}.png", tmp_path / "films" / theirs / f"again{i}.png")
    return tmp_path / "films"


def test_a_picture_in_two_class_folders_is_a_label_conflict(both, tmp_path):
    told = run(both, into=tmp_path / "a", labels_from_folders=True)
    assert any("3 images came several times" in note for note in told.notes)
    with Archive.open(tmp_path / "a") as store:
        found = read_contradicted(store)
        assert len(found) == 3 and all(labels["class"] == ["benign", "malignant"] for labels in found.values())
        assert all(labels["benign"] == ["no", "yes"] for labels in found.values())
        divided = divide(store, label="class", kind="auto", split_column=None, seed=0, progress=False)
    rows = divided.certificate["label_conflicts"]
    assert len(rows) == 3 and {row["label"] for row in rows} == {"class"}
    assert all(len(row["studies"]) == 2 and row["answers"] == ["benign", "malignant"] for row in rows)
    out = {image for row in rows for image in row["images"]}
    assert not any(
        entry[0] in out for rows in divided.split.cohorts.values() for entry in rows
    )  # nobody learns from it
    assert any("3 label conflicts" in line for line in leakage.warnings(divided.certificate))
    figure = {"auroc": {"n": 1}}
    page = {
        "leakage": leakage.told(divided.certificate), "external": False, "reads": 1, "measured_before": "it",
        "name": "class", "labels": {"class": figure}, "task": {"labels": []}, "cohorts": {},
    }  # fmt: skip
    assert "Label conflicts" in certificate_section(page) and "counts as unknown under both" in certificate_section(
        page
    )
    assert "3 label conflicts" in standard(page)


def test_what_is_mended_and_collected_again_is_a_conflict_no_more(both, tmp_path):
    run(both, into=tmp_path / "a", labels_from_folders=True)
    with Archive.open(tmp_path / "a") as store:
        keep_contradicted(store, {})
        assert not (store.path / NAME).exists() and read_contradicted(store) == {}
        assert conflicts_of(store.studies(), ["class"], read_contradicted(store)) == []
    run(both, into=tmp_path / "a", labels_from_folders=True)
    with Archive.open(tmp_path / "a") as store:
        assert len(read_contradicted(store)) == 3  # an archive from before is healed by collecting again
        (store.path / NAME).write_text("[")
        with pytest.raises(ArchiveError, match="collect again"):
            read_contradicted(store)


def test_pictures_that_agree_are_no_conflict(both, tmp_path):
    for again in both.glob("*/again*.png"):
        again.unlink()
    run(both, into=tmp_path / "a", labels_from_folders=True)
    with Archive.open(tmp_path / "a") as store:
        assert not (store.path / NAME).exists()
        divided = divide(store, label="class", kind="auto", split_column=None, seed=0, progress=False)
    assert divided.certificate["label_conflicts"] == []
