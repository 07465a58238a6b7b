"""Inspecting tells what lies in an archive, and warns of what would spoil a result."""

from __future__ import annotations

import json
import os
import shutil
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

from overread import cli
from overread.domain import Image, Study
from overread.errors import ArchiveError
from overread.steps.collect import collect
from overread.steps.inspect import inspect
from overread.store.archive import Archive


def image(seed: int, side: int = 16, **more) -> Image:
    voxels = np.random.default_rng(seed).integers(0, 200, (1, side, side), np.uint8)
    return Image(voxels, full_range=(0, 255), **more)


@pytest.fixture
def archive(tmp_path):
    with Archive.create(tmp_path / "archive") as opened:
        hashes = [opened.put(image(i, side=16 + i // 20)) for i in range(40)]
        ct = opened.put(Image(np.full((4, 16, 16), -1024, np.int16), unit="HU", modality="CT"))
        for i, name in enumerate(hashes):
            split = "train" if i % 4 else "test"
            opened.add(
                Study(
                    f"S{i:012}",
                    (name,),
                    f"P{i // 2}",
                    {"mass": i % 2 == 0, "kind": "ab"[i % 2]},
                    {"sex": "FM"[i % 2]},
                    {"part": split},
                )
            )
        opened.add(Study("S9", (ct,), None, {"mass": None, "kind": None}))
        yield opened


@pytest.mark.parametrize("words", [[], ["--quiet"], ["--json"]])
def test_the_command_prints_what_the_function_returns(archive, words, capsys):
    assert cli.main(["inspect", str(archive.path), *words]) == 0
    out = capsys.readouterr().out
    told = inspect(archive, progress=False)
    assert json.loads(out) == told.to_json() if "--json" in words else out == f"{told}\n"


def test_everything_is_counted(archive):
    told = inspect(archive)
    assert (told.images, told.studies, told.patients, told.volumes) == (41, 41, 20, 1)
    assert (told.patients_with_several_images, told.studies_without_patient) == (20, 1)
    assert told.labels == {
        "mass": {"true": 20, "false": 20, "unknown": 1},
        "kind": {"true": 0, "false": 0, "unknown": 1, "kind": "categorical", "values": {"a": 20, "b": 20}},
    }
    assert told.sizes == {"16 × 16": 20, "17 × 17": 20, "4 × 16 × 16": 1}
    assert (told.modalities, told.units) == ({"not said": 40, "CT": 1}, {"stored": 40, "HU": 1})
    assert told.intensities["HU"] == {"low": -1024, "high": -1024}
    assert told.splits == {"part": {"train": 30, "test": 10}}
    assert told.strata == {"sex": {"F": 20, "M": 20}}
    assert json.loads(json.dumps(told.to_json())) == told.to_json()


def test_what_would_spoil_a_result_is_warned_of(archive):
    warnings = " | ".join(inspect(archive).warnings)
    assert "patient identity is unknown for 1 of 41 studies" in warnings
    assert "10 patients stand in several parts of the published split 'part'" in warnings
    assert "images belong to no study" not in warnings
    assert "one answer only" not in warnings
    archive.put(image(999))
    archive.change(
        Study(f"T{i}", (s.images[0],), "P", {"only": True, "rare": i == 0})
        for i, s in enumerate(archive.cohort().studies[:12])
    )
    warnings = " | ".join(inspect(archive).warnings)
    for words in (
        "1 images belong to no study",
        "'only' has one answer only",
        "'rare' is true in 1 studies only",
        "12 images came under several patients",
    ):
        assert words in warnings


def test_the_contact_sheet_shows_some_of_each_answer(archive):
    told = inspect(archive.path)
    picture = Picture.open(BytesIO(Path(told.contact_sheet).read_bytes()))
    assert Path(told.contact_sheet) == archive.path / "contact.png"
    assert picture.size[0] > 1000
    assert "pictures" in str(told)


def test_every_file_offered_is_accounted_for(tmp_path):
    folder = tmp_path / "f"
    (folder / "sub").mkdir(parents=True)
    for i in range(4):
        Picture.fromarray(image(i).voxels[0]).save(folder / "sub" / f"{i}.png")
    shutil.copy(folder / "sub" / "0.png", folder / "again.png")
    (folder / "notes.txt").write_text("text")
    (folder / ".hidden").write_text("x")
    (folder / "l.csv").write_text("file,ill\nsub/0.png,1\nsub/1.png,0\nsub/9.png,1\n")
    rng = np.random.default_rng(0)
    np.savez(
        folder / "set.npz", train_images=rng.integers(0, 9, (6, 9, 9), np.uint8), train_labels=np.arange(6)[:, None] % 2
    )
    collected = collect(folder, into=tmp_path / "a", labels=folder / "l.csv", progress=False, workers=1)
    told = inspect(collected)
    offered = [r for r in told.files["refused"] if r["code"] != "missing-file"]
    assert told.files["read"] + len(offered) == sum(len(names) for _, _, names in os.walk(folder))
    assert {Path(r["file"]).name: r["code"] for r in told.files["refused"]} == {
        "notes.txt": "not-an-image",
        ".hidden": "hidden",
        "l.csv": "label-table",
        "9.png": "missing-file",
    }
    assert all(r["reason"] for r in told.files["refused"])
    assert told.duplicates == 1
    assert "6 read, 1 refused" in str(told)


def test_an_anonymous_archive_can_still_be_inspected(archive):
    shutil.rmtree(archive.names)
    told = inspect(archive)
    assert told.files == {"read": 41, "refused": []}
    assert not archive.names.exists()


def test_an_empty_archive(tmp_path):
    with Archive.create(tmp_path / "a") as archive:
        told = inspect(archive)
    assert (told.images, told.contact_sheet, told.warnings) == (0, "", ())
    assert "0 images" in str(told)


def test_no_archive_is_refused(tmp_path):
    with pytest.raises(ArchiveError, match="no archive here"):
        inspect(tmp_path / "nowhere")


def test_real_films(shared_data, tmp_path):
    folder = shared_data / "mammography"
    told = inspect(collect(folder, into=tmp_path / "a", labels=folder / "labels.csv", progress=False))
    assert (told.images, told.patients, told.patients_with_several_images) == (322, 161, 161)
    assert told.sizes == {"512 × 512": 322}
    assert told.labels["label"]["values"]["malignant"] == 52
