"""Whole studies of several series: one answer each, counted and calibrated as that, and what it rests on."""

import csv
import json
from dataclasses import replace

import numpy as np
import pydicom
import pytest
from films_of_studies import film, one_film, studies
from small_run import small_run

from overread.domain import Image
from overread.errors import RunError, UnreadableFile
from overread.formats import door
from overread.learn import plan_file
from overread.learn.predict import Model
from overread.serve.worker import ask as served
from overread.steps import plan as planned
from overread.steps.collect import collect
from overread.steps.draft import report_of, rests_on, together
from overread.steps.evaluate import evaluate
from overread.steps.predict import answer, joined, predict
from overread.store.archive import Archive
from overread.store.objects import content_hash


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """160 studies of three films; the finding is seen in one film of a study. A run that answers images, one that answers studies."""
    home = tmp_path_factory.mktemp("studies")
    studies(home / "in", n=160, seen_in="one")
    collect(home / "in", into=home / "a", labels=home / "in/labels.csv", workers=1, progress=False)
    with Archive.open(home / "a") as store:
        for unit in ("image", "study"):
            (home / unit).mkdir()
            small_run(home / unit, store, "spot", study={"unit": unit, "join": "auto"} if unit == "study" else None)
    return home


@pytest.fixture(scope="module")
def figures(home):
    return {unit: evaluate(home / unit / "run-spot") for unit in ("image", "study")}


def test_figures_count_studies_where_the_answer_is_the_studys(home, figures):
    told = figures["study"].metrics
    auroc = told["labels"]["spot"]["auroc"]
    assert told["unit"] == {"counted": "study", "images": 96, "joined": "one answer a study: the largest raw score of its images", "studies": 32, "patients": 32}  # fmt: skip
    assert auroc["n"] == auroc["n_patients"] == 32
    assert "32 studies of 32 patients" in str(figures["study"])
    page = (home / "study/run-spot/report.html").read_text()
    assert "counted by study" in page
    assert "Its AUROC over all studies" in page
    assert "choose the rule that joins images" in page
    assert "one answer a study: the largest raw score of its images" in page
    assert "How well whole examinations are read was not measured" not in page
    assert told["labels"]["spot"]["sensitivity"]["n"] == 16


def test_the_check_can_fail(home, figures):
    """Twin: by image two of three films of a sick patient show nothing, and count as missed or as luck."""
    by_image, by_study = (figures[u].metrics["labels"]["spot"]["auroc"] for u in ("image", "study"))
    assert by_image["n"] == 96
    assert by_study["value"] > by_image["value"] + 0.1
    assert "was not measured" in (home / "image/run-spot/report.html").read_text()


def test_the_rule_is_chosen_on_tuning_and_kept_with_the_calibration(home):
    kept = json.loads((home / "study/run-spot/calibration.json").read_text())["joining"]
    split = json.loads((home / "study/run-spot/split.json").read_text())
    tuning = {study for _, study, _ in (tuple(e.values()) for e in split["cohorts"]["tuning"])}
    assert kept["units"] == len(tuning)
    assert kept["rule"] == max(kept["auroc"], key=lambda rule: (kept["auroc"][rule], rule == "mean"))
    assert Model.load(home / "study/run-spot").joining.rule == kept["rule"]
    assert Model.load(home / "image/run-spot").joining is None


def test_testing_answers_have_no_part_in_the_rule_nor_in_the_line(home, tmp_path):
    """All testing answers turned over: the same rule, calibration and operating point, to the last digit."""
    split = json.loads((home / "study/run-spot/split.json").read_text())
    testing = {e["study"] for e in split["cohorts"]["testing"]}
    with Archive.open(home / "a") as store:
        turned = [
            replace(s, labels={"spot": not s.labels["spot"]}) if s.pseudonym in testing else s for s in store.studies()
        ]
        other = Archive.create(tmp_path / "b")
        for study in turned:
            for image in study.images:
                other.put(store.image(image))
            other.add(replace(study, splits={"split": next(c for c, e in split["cohorts"].items() if study.pseudonym in {x["study"] for x in e})}))  # fmt: skip
    run = small_run(tmp_path, other, "spot", published="split", study={"unit": "study", "join": "auto"})
    before, after = (json.loads((r / "calibration.json").read_text()) for r in (home / "study/run-spot", run))
    assert before["joining"] == after["joining"]
    assert before["operating_points"] == after["operating_points"]


@pytest.fixture
def new(home, tmp_path):
    """Four new studies, and a film of another modality in the second one."""
    folder = studies(tmp_path / "new", n=4, seen_in="one", seed=7)
    (folder / "labels.csv").unlink()
    one_film(folder / "other.dcm", film(np.random.default_rng(3), spot=0), study=7001, number=9, patient="N7-1", modality="MR")  # fmt: skip
    model = Model.load(home / "study/run-spot")
    model.task = replace(model.task, modality="CR")
    return folder, model


def test_predict_answers_each_study_once_and_says_what_it_rests_on(new, tmp_path):
    folder, model = new
    told = predict(model, folder, out=tmp_path / "p", progress=False)
    assert "4 studies answered from 13 images" in str(told)
    assert "left out" in str(told)
    with open(tmp_path / "p/predictions.csv", newline="") as sheet:
        rows = list(csv.DictReader(sheet))
    assert len(rows) == len({r["study"] for r in rows}) == 4
    high = [float(r["probability"]) for r in sorted(rows, key=lambda r: r["file"])]
    assert min(high[1], high[3]) > max(high[0], high[2])
    answers = json.loads((tmp_path / "p/predictions.json").read_text())["predictions"]
    parts = {len(a["rests_on"]): a["rests_on"] for a in answers}
    assert sorted(len(a["rests_on"]) for a in answers) == [3, 3, 3, 4]
    (out,) = [p for p in parts[4] if p["left_out"]]
    assert out["file"].endswith("other.dcm")
    assert out["left_out"] == "the image is MR; this model has learned from CR only"
    assert all(p["told"] == "CR, 32 × 32" for p in parts[3])
    draft = next((tmp_path / "p/evidence").glob("*-draft-sr.dcm"))
    text = str(pydicom.dcmread(draft))
    assert "1.2.9.7001.9.1" not in text  # what was left out is no evidence


def test_an_answer_alone_or_in_a_batch_is_the_same(new, tmp_path):
    folder, model = new
    every = {r.study: r.findings for r in predict(model, folder, out=tmp_path / "p", dicom=False, progress=False).reads}
    one = predict(model, *sorted(folder.glob("s003-*")), out=tmp_path / "q", dicom=False, progress=False).reads
    assert {r.study: r.findings for r in one}.items() <= every.items()


def test_served_and_predicted_are_one(new):
    """The reading page's draft is put together as predict's answer; it says what it rests on, and what was left out."""
    folder, model = new
    found = [f for f in door.scan(*sorted(folder.glob("s001-*")), folder / "other.dcm") if isinstance(f, door.Found)]
    reads = [answer(model, f)[0] for f in found]
    images, names = [f.image for f in found], [content_hash(f.image) for f in found]
    report, notes = served(model, reads[0].study, images, names)
    assert report.findings == joined(model, reads)[0].findings == report_of(model, reads).findings
    assert notes[0].startswith("This answer is one for the study. It rests on 3 of its 4 images (CR, 32 × 32")
    assert any("the image is MR" in n for n in notes)
    volume = Image(np.zeros((5, 8, 8), np.uint8), full_range=(0, 255), modality="CR")
    again, notes = served(model, "S1", [*images[:3], volume], [*names[:3], "v"])
    assert again.findings == report.findings
    assert any("a volume of 5 slices" in n for n in notes)
    with pytest.raises(UnreadableFile, match="a volume of 5 slices"):
        served(model, "S1", [volume], ["v"])


def test_a_study_of_nothing_but_another_kind_is_referred_not_dropped(new):
    folder, model = new
    (found,) = door.scan(folder / "other.dcm")
    one = together(model, [answer(model, found)[0]])
    assert {f.decision for f in one.findings} == {"refer"}
    assert "the image is MR" in one.findings[0].reason
    assert "1 of its 1 images" in rests_on(one)[0]


def test_by_patient_all_studies_of_one_are_one(home, tmp_path):
    studies(tmp_path / "in", n=96, seen_in="one", two_each=True)
    rows = (tmp_path / "in/labels.csv").read_text().splitlines()
    names = [line.split(",")[0] for line in rows[1:]]  # four studies of a patient have one answer
    (tmp_path / "in/labels.csv").write_text("\n".join(["file,spot", *(f"{n},{'yes' if int(n[1:4]) // 4 % 2 else 'no'}" for n in names)]))  # fmt: skip
    collect(tmp_path / "in", into=tmp_path / "a", labels=tmp_path / "in/labels.csv", workers=1, progress=False)
    with Archive.open(tmp_path / "a") as store:
        run = small_run(tmp_path, store, "spot", study={"unit": "patient", "join": "mean"})
    told = evaluate(run).metrics["unit"]
    assert told["counted"] == "patient"
    assert told["studies"] == 4 * told["patients"]
    assert told["images"] == 12 * told["patients"]


def test_the_plan_says_it_and_a_person_may_edit_it(home, tmp_path):
    ask = {"label": "spot", "side_matters": True, "progress": False, "network": "residual"}
    assert "study" not in planned.plan(home / "a", **ask).parts
    told = planned.plan(home / "a", **ask, unit="study", out=tmp_path / "plan.toml")
    assert told.parts["study"]["unit"] == "study"
    text = (tmp_path / "plan.toml").read_text()
    assert plan_file.read(tmp_path / "plan.toml")[1]["study"]["join"] == "auto"
    (tmp_path / "plan.toml").write_text(text.replace('join = "auto"', 'join = "loudest"'))
    with pytest.raises(RunError, match="one of auto, mean, max"):
        plan_file.read(tmp_path / "plan.toml")
    (tmp_path / "plan.toml").write_text(text.replace('join = "auto"\n', ""))
    with pytest.raises(RunError, match=r"\[study\] without join"):
        plan_file.read(tmp_path / "plan.toml")
    with pytest.raises(RunError, match="the unit 'breast'"):
        planned.plan(home / "a", **ask, unit="breast")
