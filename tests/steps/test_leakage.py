"""Leaks that were put in are named and do not count; what is no leak is left alone."""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image as Picture
from scipy import ndimage
from small_run import NOW, fill, sealed_again, small_run, spots

from overread.domain import Image, Study
from overread.errors import CohortError
from overread.learn.predict import Model
from overread.stats import splits
from overread.steps import leakage
from overread.steps.compare import compare
from overread.steps.evaluate import evaluate
from overread.steps.heatmaps import panel_of
from overread.steps.run import read_json, write_json
from overread.steps.scores import read_scores
from overread.store.archive import Archive


def films(n: int, seed: int = 0) -> np.ndarray:
    """Pictures that share an outline and differ in what lies in it, (n, 96, 96), 8 bits."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[-1:1:96j, -1:1:96j]
    body = 150 * np.exp(-(((x / 0.8) ** 2 + (y / 0.9) ** 2) ** 3))
    parts = [sum(ndimage.gaussian_filter(rng.normal(size=(96, 96)), s) * s * 40 for s in (1.5, 4)) for _ in range(n)]
    return np.array([np.clip(body + body / 150 * p + 20, 0, 255) for p in parts]).astype(np.uint8)


def jpeg(film):
    held = io.BytesIO()
    Picture.fromarray(film).save(held, "JPEG", quality=60)
    return np.asarray(Picture.open(held))


COPIES = {
    "exact": lambda f: f.copy(),
    "re-encoded": jpeg,
    "rescaled": lambda f: np.asarray(Picture.fromarray(f).resize((64, 64), Picture.Resampling.BICUBIC)),
    "mirrored": lambda f: f[:, ::-1].copy(),
    "brighter": lambda f: np.clip(f.astype(int) + 35, 0, 255).astype(np.uint8),
    "less contrast": lambda f: (f * 0.6 + 30).astype(np.uint8),
}


def archive_of(path, pictures, parts, *, patients=None, labels=None) -> Archive:
    archive = Archive.create(path)
    for i, picture in enumerate(pictures):
        name = archive.put(Image(picture[None], full_range=(0, 255)))
        patient = f"P{i:012x}" if patients is None else patients[i]
        mass = bool(i % 2) if labels is None else labels[i]
        archive.add(Study(f"S{i:012x}", (name,), patient=patient, labels={"mass": mass}, splits={"part": parts[i]}))
    return archive


def certificate(archive: Archive, *, published=None):
    studies = list(archive.studies())
    copies = leakage.find_copies(archive)
    split = splits.divide(studies, labels=["mass"], seed=0, published=published, alike=copies.near)
    return split, leakage.certify(split, copies, studies=studies, labels=["mass"])


@pytest.fixture(scope="module")
def injected(tmp_path_factory):
    """200 films to train and 100 to test on; of ten training films each, a copy of every kind under another patient."""
    known = films(300)
    copies = [change(known[10 * k + i]) for k, change in enumerate(COPIES.values()) for i in range(10)]
    with archive_of(tmp_path_factory.mktemp("injected") / "a", [*known, *copies], [""] * 360) as archive:
        return list(archive.studies()), leakage.find_copies(archive)


@pytest.mark.parametrize("share", [0.01, 0.1])
@pytest.mark.parametrize("kind", COPIES)
def test_copies_of_training_films_in_testing_are_all_named_and_nothing_else_is(kind, share, injected):
    """Injected under other patients, 1 and 10 of 100 testing films; none of the 100 true testing films is blamed."""
    studies, copies = injected
    first = 300 + 10 * list(COPIES).index(kind)
    put = range(first, first + round(100 * share))
    chosen = sorted((s for s in studies if int(s.pseudonym[1:], 16) in {*range(300), *put}), key=lambda s: s.pseudonym)
    parts = ["train"] * 200 + ["test"] * (100 + len(put))
    split = splits.divide(chosen, labels=["mass"], seed=0, published=parts, alike=copies.near)
    found = leakage.certify(split, copies, studies=chosen, labels=["mass"])
    assert {row["study"] for row in found["excluded"]["testing"]} == {f"S{i:012x}" for i in put}
    pairs = found["overlaps"]
    exact = sum(pairs[f"{c}|testing"]["exact"] for c in ("training", "tuning", "calibration"))
    near = sum(pairs[f"{c}|testing"]["near"] for c in ("training", "tuning", "calibration"))
    assert (exact, near) == ((len(put), 0) if kind == "exact" else (0, len(put)))
    assert leakage.clean(found)


def test_films_that_only_look_alike_are_not_called_copies(tmp_path):
    with archive_of(tmp_path / "a", films(200), ["train"] * 200) as archive:
        assert leakage.find_copies(archive).near == {}


def test_an_archive_of_things_that_all_look_the_same_is_not_one_patient(tmp_path):
    """One object, a little noise: likeness says nothing of them, and a split can still be drawn."""
    rng = np.random.default_rng(0)
    base = films(1)[0].astype(float)
    pictures = [np.clip(base + rng.normal(0, 6, base.shape), 0, 255).astype(np.uint8) for _ in range(80)]
    with archive_of(tmp_path / "a", [*pictures, pictures[3]], ["x"] * 81) as archive:
        split, found = certificate(archive)
    assert found["within"][next(c for c in split.cohorts if found["within"][c]["exact"])]["exact"] == 1
    assert len(split.cohorts["testing"]) >= 14


def test_one_patient_under_two_ids_is_kept_on_one_side_by_the_pixels(tmp_path):
    known = films(120)
    again = [COPIES["brighter"](film) for film in known[:30]]
    patients = [f"P{i:012x}" for i in range(150)]  # every film has a patient of its own, also the thirty copies
    with archive_of(tmp_path / "a", [*known, *again], ["x"] * 150, patients=patients) as archive:
        split, found = certificate(archive)
    side = {study: cohort for cohort, rows in split.cohorts.items() for _, study, _ in rows}
    assert all(side[f"S{i:012x}"] == side[f"S{120 + i:012x}"] for i in range(30))
    assert found["near_duplicates_kept_together"] == 30 and found["source"] == "drawn"


def test_the_same_pixels_in_another_container_are_an_exact_copy(tmp_path):
    """A different spacing gives another hash; the picture is the same, and is counted as such."""
    pictures = films(40)
    with archive_of(tmp_path / "a", pictures, ["x"] * 40) as archive:
        name = archive.put(Image(pictures[7][None], full_range=(0, 255), spacing_mm=(1, 0.2, 0.2)))
        archive.add(Study("Sagain", (name,), labels={"mass": True}))
        copies = leakage.find_copies(archive)
    assert len(copies.exact) == 2 and name in copies.exact


def test_a_conflict_of_labels_is_named(tmp_path):
    pictures = films(60)
    labels = [bool(i % 2) for i in range(60)] + [True]
    with archive_of(tmp_path / "a", [*pictures, jpeg(pictures[0])], ["x"] * 61, labels=labels) as archive:
        _, found = certificate(archive)
    (conflict,) = found["label_conflicts"]
    assert conflict["answers"] == ["no", "yes"] and conflict["studies"] == [f"S{0:012x}", f"S{60:012x}"]
    assert any("two answers to one label" in w for w in leakage.warnings(found))


def test_a_split_that_leaves_nothing_to_test_on_is_refused_before_training(tmp_path):
    known = films(90)
    with archive_of(tmp_path / "a", [*known, *known[:40]], ["train"] * 90 + ["test"] * 40) as archive:
        split, found = certificate(archive, published="part")
    with pytest.raises(
        CohortError, match=r"40 of the 40 testing images .* also stand in training.*0 patients are left"
    ):
        leakage.refuse_too_little(found, split)


def copied(home):
    """A run without known patients in which 60 pictures stand three times, each time under a name of its own."""
    pictures, there = spots(240, seed=4, contrast=60)
    every = np.concatenate([pictures, pictures[:60], pictures[:60]])
    labels = [{"spot": bool(t)} for t in np.concatenate([there, there[:60], there[:60]])]
    for i in range(60):  # one grey level in one pixel: another hash, the same picture
        every[240 + i, 0, 0] ^= 1
        every[300 + i, 0, 1] ^= 1
    with fill(home / "archive", every, labels, patients=False) as archive:
        found = leakage.find_copies(archive)
        run = small_run(home, archive, "spot", copies=found)
    return run


def test_copies_and_images_of_one_study_are_one_case_where_nobody_knows_the_patient(tmp_path):
    run = copied(tmp_path)
    scores = leakage.apart(read_json(run / leakage.NAME), read_scores(run / "scores.csv", ["spot"]))
    testing = scores.of("testing")
    alone = replace(testing, copies={})
    units, images = len(set(testing.patients)), len(testing.entries)
    assert units < images == len(set(alone.patients))
    assert testing.at([0]).copies is testing.copies
    figures = evaluate(run, now=NOW).metrics["labels"]["spot"]
    assert figures["auroc"]["n"] == images and figures["auroc"]["n_patients"] is None
    assert "over patients" in figures["auroc"]["method"]  # copies are one case, not several
    kept = read_json(run / "calibration.json")["operating_points"]["spot"]["promise"]
    there = scores.of("calibration")
    there = there.at(np.flatnonzero(there.truth[:, 0] == 1))
    assert kept["patients"] == len(set(there.patients)) < len(there.entries)


def test_no_group_of_cases_shows_a_picture_twice(tmp_path):
    run = copied(tmp_path)
    group = read_json(run / leakage.NAME)["copies"]
    studies = {
        study: group.get(image, image) for _, image, study, _ in read_scores(run / "scores.csv", ["spot"]).entries
    }
    for part in evaluate(run, now=NOW).page["gallery"]:
        shown = [studies[case["study"]] for case in part["cases"]]
        assert len(shown) == len(set(shown))


@pytest.fixture(scope="module")
def leaky(tmp_path_factory):
    """A finished run on a published split in which 30 testing pictures are training ones under other names."""
    home = tmp_path_factory.mktemp("leaky")
    pictures, there = spots(360, seed=1, contrast=60)
    pictures = np.concatenate([pictures, pictures[:30]])
    there = np.concatenate([there, there[:30]])
    parts = ["train"] * 240 + ["test"] * 150
    archive = fill(home / "archive", pictures, [{"spot": bool(t)} for t in there], splits_as=parts)
    run = small_run(home, archive, "spot", published="split")
    split = splits.Split.from_json(json.loads((run / "split.json").read_text()))
    write_json(
        run / leakage.NAME, leakage.certify(split, leakage.find_copies(archive), studies=list(archive.studies()))
    )
    archive.close()
    sealed_again(run)
    return run


def test_what_overlaps_does_not_count_in_the_headline_and_both_figures_stand(leaky):
    figures = evaluate(leaky, now=NOW).metrics
    headline, other = figures["labels"]["spot"]["auroc"], figures["with_overlaps"]["spot"]["auroc"]
    assert (headline["n"], other["n"]) == (120, 150)
    assert figures["leakage"]["overlaps"]["training|testing"]["exact"] == 30
    assert sum(figures["leakage"]["excluded"]["testing"].values()) == 30
    assert figures["floors"]["majority"]["spot"]["auroc"]["n"] == 120
    page = (leaky / "report.html").read_text()
    assert "30 of 150 testing images also stand in what the network learned from" in page
    assert "headline (120 images)" in page and "with overlaps (150 images)" in page


def test_what_overlaps_counts_in_no_comparison_and_tests_no_heat_map(leaky, tmp_path):
    told = compare(leaky, shutil.copytree(leaky, tmp_path / "copy"))
    assert told.images == 120 and "30 testing images also stand in what a run learned from" in told.notes[0]
    gone = {row["image"] for row in read_json(leaky / leakage.NAME)["excluded"]["testing"]}
    with Archive.open(read_json(leaky / "plan.json")["archive"]) as archive:
        panel = panel_of(Model.load(leaky), archive, seed=0)
    used = {source.args[0] for source in (*panel.images, *(case.image for case in panel.cases))}
    assert used and not used & gone


def test_a_run_without_a_certificate_is_judged_by_what_its_split_says(leaky):
    (leaky / leakage.NAME).rename(leaky / "away")
    sealed_again(leaky)
    try:
        figures = evaluate(leaky, now=NOW).metrics
    finally:
        (leaky / "away").rename(leaky / leakage.NAME)
        sealed_again(leaky)
    assert figures["labels"]["spot"]["auroc"]["n"] == 120  # the same hashes on both sides need no comparing
    assert figures["leakage"]["near_duplicates"] == "not looked for"


def test_another_archive_is_measured_without_what_the_run_has_learned_from(leaky, tmp_path):
    """Forty new pictures, ten training ones as they are, ten brighter: the last twenty do not count."""
    new, there = spots(40, seed=9, contrast=60)
    old, known = spots(360, seed=1, contrast=60)
    again = np.concatenate([old[40:50], np.clip(old[50:60].astype(int) + 15, 0, 255).astype(np.uint8)])
    labels = [{"spot": bool(t)} for t in (*there, *known[40:60])]
    fill(tmp_path / "other", np.concatenate([new, again]), labels, others=True).close()
    evaluation = evaluate(leaky, on=tmp_path / "other", now=NOW)
    auroc = evaluation.metrics["labels"]["spot"]["auroc"]
    split = splits.Split.from_json(json.loads((leaky / "split.json").read_text()))
    learned = {e[0] for c, rows in split.cohorts.items() if c != "testing" for e in rows}
    assert len(learned) == 240 and auroc["n"] == 40
    assert any(
        w.startswith("20 of the 60 images of this archive were seen in training") for w in evaluation.page["warnings"]
    )
