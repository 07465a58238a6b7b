"""Facts that tell the label are found and warned of loudly; facts that do not are not."""

from __future__ import annotations

import numpy as np
import pytest

from overread.domain import Image, Study
from overread.formats.raster import read_picture
from overread.stats import splits
from overread.steps import shortcuts
from overread.steps.question import ask
from overread.store.archive import Archive


def archive_of(path, n=240, *, changes) -> Archive:
    """Noise, half of it with the label; ``changes(i, there, rng)`` returns voxels, attributes and strata."""
    rng = np.random.default_rng(0)
    archive, studies = Archive.create(path), []
    for i in range(n):
        there = i % 2 == 0
        pixels = rng.integers(60, 200, (20, 20)).astype(np.uint8)
        pixels, attributes, strata = changes(i, there, pixels, rng)
        name = archive.put(Image(pixels[None], full_range=(0, 255), attributes=attributes))
        studies.append(Study(f"S{i:012x}", (name,), patient=f"P{i // 2:012x}", labels={"mass": there}, strata=strata))
    archive.change(studies, gone=())
    return archive


def found_in(archive: Archive) -> dict:
    studies = list(archive.studies())
    split = splits.divide(studies, labels=["mass"], seed=0)
    by_name = {s.pseudonym: s for s in studies}
    with archive:
        return shortcuts.look_for(archive, split, by_name, ask(studies, "mass"), seed=0)


def test_one_class_in_png_and_the_other_in_jpeg(tmp_path):
    def changes(i, there, pixels, rng):
        attributes = {"format": "PNG"} if there else {"format": "JPEG", "jpeg_quality": "75"}
        return pixels, attributes, {}

    found = found_in(archive_of(tmp_path / "a", changes=changes))
    assert found["file format"]["auroc"].value == 1.0 and found["file format"]["warns"]
    assert found["JPEG quality"]["warns"]
    assert [row[0] for row in found["file format"]["one_sided"]] == ["JPEG", "PNG"]
    told = shortcuts.warnings(found)
    assert told[0].startswith("shortcut: ") and "file format alone tells 'mass' with an AUROC of 1.00" in " ".join(told)
    assert not any(found[name]["warns"] for name in ("brightness", "border contrast"))


def test_one_class_from_another_source_and_a_border_that_one_class_has(tmp_path):
    def changes(i, there, pixels, rng):
        if there and rng.random() < 0.8:
            pixels[:1], pixels[-1:] = 0, 0
        site = "A" if there != (rng.random() < 0.1) else "B"
        return (
            pixels,
            {"format": "PNG", "ManufacturerModelName": f"scanner of {site}"},
            {"site": site, "sex": "FM"[i // 2 % 2]},
        )

    found = found_in(archive_of(tmp_path / "a", changes=changes))
    for name in ("site", "scanner model", "border brightness"):
        assert found[name]["warns"], name
        assert 0.8 < found[name]["auroc"].value < 0.99
    assert not found["sex"]["warns"] and found["sex"]["auroc"].low <= 0.5
    assert "file format" not in found  # it does not vary


def test_facts_that_mean_nothing_raise_no_alarm(tmp_path):
    def changes(i, there, pixels, rng):
        columns = int(rng.integers(16, 20))
        return (
            pixels[:, :columns].copy(),
            {"format": str(rng.choice(["PNG", "JPEG", "BMP"]))},
            {"site": str(rng.choice(["A", "B"]))},
        )

    found = found_in(archive_of(tmp_path / "a", changes=changes))
    assert {"file format", "columns", "width to height", "site", "brightness"} <= set(found)
    assert shortcuts.warnings(found) == []


def test_only_training_is_looked_at(tmp_path):
    """A fact that tells the label in testing only is not known before training."""

    def changes(i, there, pixels, rng):
        return pixels, {"format": "PNG"}, {}

    archive = archive_of(tmp_path / "a", changes=changes)
    studies = list(archive.studies())
    split = splits.divide(studies, labels=["mass"], seed=0)
    tested = {study for _, study, _ in split.cohorts["testing"]}
    by_name = {
        s.pseudonym: Study(
            **{**s.__dict__, "strata": {"site": "AB"[s.labels["mass"]] if s.pseudonym in tested else "A"}}
        )
        for s in studies
    }
    with archive:
        assert "site" not in shortcuts.look_for(archive, split, by_name, ask(studies, "mass"), seed=0)


def test_copies_are_told_together_where_patients_are_not_known(tmp_path):
    """Each picture ten times, with a brightness of its own: on other pictures the brightness says nothing."""
    from overread.stats.certificate import Copies

    rng = np.random.default_rng(2)
    studies, near = [], {}
    with Archive.create(tmp_path / "a") as archive:
        for i in range(60):
            base, there = rng.integers(0, 80, (20, 20)) + rng.integers(0, 150), bool(rng.random() < 0.5)
            for k in range(10):
                name = archive.put(Image((base + k % 3).astype(np.uint8)[None], full_range=(0, 255)))
                near[name] = str(i)
                studies.append(Study(f"S{i}-{k}", (name,), labels={"mass": there}))
        archive.change(studies, gone=())
        split = splits.divide(studies, labels=["mass"], seed=0, alike=near)
        by_name = {s.pseudonym: s for s in studies}
        task = ask(studies, "mass")
        together = shortcuts.look_for(archive, split, by_name, task, copies=Copies({}, near), seed=0)
        alone = shortcuts.look_for(archive, split, by_name, task, seed=0)
    assert not together["brightness"]["warns"] and together["brightness"]["auroc"].n_patients is None
    assert alone["brightness"]["auroc"].value > together["brightness"]["auroc"].value + 0.05  # the twin


def test_brain_mri_has_a_class_in_png_and_shapes_that_tell_the_tumour(shared_data, tmp_path):
    studies = []
    with Archive.create(tmp_path / "a") as archive:
        for path in sorted(
            p for p in (shared_data / "brain_mri").rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png")
        ):
            raw = path.read_bytes()
            name = archive.put(read_picture(raw, kind="png" if raw[:4] == b"\x89PNG" else "jpeg"))
            studies.append(Study(f"S{len(studies):012x}", (name,), labels={"tumour": path.parent.name == "yes"}))
        archive.change(studies, gone=())
        split = splits.divide(studies, labels=["tumour"], seed=0)
        everything = splits.Split(
            {**split.cohorts, "training": tuple(e for rows in split.cohorts.values() for e in rows)}
        )
        by_name = {s.pseudonym: s for s in studies}
        found = shortcuts.look_for(archive, everything, by_name, ask(studies, "tumour"), seed=0)
    assert ["PNG", 0.125, 8] in found["file format"]["one_sided"]  # one of the eight PNG files shows a tumour
    assert found["width to height"]["auroc"].low > 0.5 and found["width to height"]["auroc"].value > 0.65
    assert found["brightness"]["warns"] or found["rows"]["warns"] or found["JPEG quality"]["warns"]


@pytest.mark.parametrize("name", ["sex", "brightness", "file format"])
def test_a_warning_says_what_it_may_mean(name):
    assert shortcuts.meaning(name).endswith(".")
    assert ("finding" in shortcuts.meaning(name)) is True
