"""A start from an archive: who is left out, what becomes of it in a training, and that nobody who tests was seen."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from overread.domain import Image, Study
from overread.errors import CohortError, IntegrityError, RunError
from overread.learn import plan_file, pretrained_rules, pretrained_start
from overread.learn.plan import fingerprint
from overread.steps import plan as planned
from overread.steps import start as starting
from overread.steps.pretrain import choose, pretrain
from overread.steps.rivals import judged_fairly
from overread.store.archive import Archive
from tests.steps.small_run import NOW, fill, spots


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """200 pictures of 50 patients; of the last 20 nobody has an answer."""
    pictures, there = spots(200, seed=3)
    labels = [{"spot": bool(t)} if i < 120 else {} for i, t in enumerate(there)]
    path = tmp_path_factory.mktemp("pretrain") / "archive"
    fill(path, pictures, labels).close()
    return path


def cohorts(archive, **how):
    with Archive.open(archive) as store:
        told = {"label": "spot", "kind": "auto", "split_column": None, "seed": 0, "progress": False} | how
        return planned.divide(store, **told)


def chosen(archive, **how):
    with Archive.open(archive) as store:
        told = {"label": None, "split_column": None, "kind": "auto", "seed": 0, "progress": False} | how
        return choose(store, **told)


def test_only_unlabelled_and_training_patients_are_learned_from(archive):
    divided, found = cohorts(archive), chosen(archive)
    apart = {p for c in ("tuning", "calibration", "testing") for _, _, p in divided.split.cohorts[c]}
    training = {p for _, _, p in divided.split.cohorts["training"]}
    everybody = {study.patient for study in Archive.open(archive).studies()}
    assert set(found.people) == everybody - apart
    assert training < set(found.people)
    assert len(set(found.people) - training) == 20  # of whom nobody has an answer
    assert found.left_out["patients"] == len(apart) and "'spot'" in found.left_out["in_words"]
    assert set(chosen(archive, seed=1).people) != set(found.people)


def test_who_has_a_near_copy_of_a_testing_picture_is_left_out_too(archive, tmp_path):
    copy = tmp_path / "archive"
    shutil.copytree(archive, copy)
    image, _, _ = cohorts(archive).split.cohorts["testing"][0]
    with Archive.open(copy) as store:
        brighter = np.clip(np.asarray(store.image(image).voxels, int) + 2, 0, 255).astype(np.uint8)
        name = store.put(Image(brighter, full_range=(0, 255), attributes={"format": "PNG"}))
        store.add(Study("Sfffffffffff1", (name,), patient="Pfffffffffff1", labels={}))
        other = store.put(Image(brighter[:, ::-1, ::-1].copy() // 2 + 60, full_range=(0, 255)))
        store.add(Study("Sfffffffffff2", (other,), patient="Pfffffffffff2", labels={}))
    found = chosen(copy)
    assert "Pfffffffffff1" not in found.people
    assert found.left_out["by_near_copies"] == 1


def test_too_few_images_are_refused(tmp_path):
    pictures, there = spots(60, seed=3)
    fill(tmp_path / "a", pictures, [{"spot": bool(t)} for t in there]).close()
    with pytest.raises(CohortError, match="at least 64"):
        chosen(tmp_path / "a")


@pytest.fixture(scope="module")
def start(archive, tmp_path_factory):
    pytest.importorskip("keras")
    out = tmp_path_factory.mktemp("start") / "start"
    return pretrain(archive, out=out, epochs=1, progress=False, now=NOW)


def test_a_start_tells_everything_and_leaves_nothing_behind(start, archive):
    told = start.to_json()
    assert sorted(p.name for p in start.path.iterdir()) == sorted(
        ["start.json", "weights.npz", "seen.npz", "journal.jsonl", "journal.jsonl.head", "journal.jsonl.lock"]
    )
    assert told["images"] == len(chosen(archive).images) and told["epochs"] == 1
    assert 0 < told["studies_with_answers"] < told["studies"]
    assert "licence" in told and "personal data" in told["privacy"]
    lines = [json.loads(line) for line in (start.path / "journal.jsonl").read_text().splitlines()]
    assert [line["kind"] for line in lines] == ["begun", "finished"]
    assert lines[-1]["record"]["start"] == start.sha256 == pretrained_start.read(start.path).sha256


def test_a_start_is_not_written_over(start, archive):
    with pytest.raises(RunError, match="finished start"):
        pretrain(archive, out=start.path, progress=False)


def test_a_folder_that_cannot_be_used_is_refused_before_the_archive_is_opened(start, tmp_path):
    with pytest.raises(RunError, match="finished start"):
        pretrain(tmp_path / "none", out=start.path, progress=False)


def test_two_do_not_learn_into_one_folder(archive, tmp_path, monkeypatch):
    def meanwhile(*_, **__):
        with pytest.raises(RunError, match="another training goes on"):
            pretrain(archive, out=tmp_path / "start", epochs=1, resume=True, progress=False, now=NOW)
        raise KeyboardInterrupt

    monkeypatch.setattr("overread.steps.pretrain._inputs", meanwhile)
    with pytest.raises(KeyboardInterrupt):
        pretrain(archive, out=tmp_path / "start", epochs=1, progress=False, now=NOW)


def test_a_plan_with_a_start_names_it_and_is_read_back(start, archive, tmp_path):
    made = planned.plan(archive, label="spot", start=start.path, out=tmp_path / "p.toml", progress=False)
    head, parts = plan_file.read(tmp_path / "p.toml")
    assert parts["start"]["sha256"] == start.sha256 and parts["start"]["path"] == str(start.path)
    assert parts["network"]["widths"] == start.told["network"]["widths"]
    assert 0 < parts["optimiser"]["lower"] < 1
    inside = plan_file.written(head, parts)
    assert str(start.path) not in inside and start.sha256 in inside  # no user's folders travel with a run
    assert "start" in str(made)


def test_a_start_that_has_seen_a_testing_patient_is_refused(start, archive):
    """The guard, and its twin: the same start with the division it was made for is taken."""
    given = starting.open_start(start.path)
    starting.refuse_seen(given, cohorts(archive).split)
    with pytest.raises(CohortError, match=r"learned from \d+ pictures and [1-9]\d* patients"):
        starting.refuse_seen(given, cohorts(archive, seed=1).split)
    with pytest.raises(CohortError, match="calibration and testing"):
        planned.plan(archive, label="spot", start=start.path, seed=1, progress=False)


def test_a_picture_tells_where_the_pseudonyms_are_others(start, archive, tmp_path):
    """The same pictures in an archive of other patients' names: content is compared as well."""
    pictures, there = spots(200, seed=3)
    fill(tmp_path / "b", pictures, [{"spot": bool(t)} for t in there], others=True).close()
    with pytest.raises(CohortError, match=r"learned from [1-9]\d* pictures and 0 patients"):
        planned.plan(tmp_path / "b", label="spot", start=start.path, progress=False)


def test_a_start_beside_another_network_or_a_search_is_refused(start, archive):
    for told in ({"network": "simple-cnn"}, {"network": "features"}):
        with pytest.raises(RunError, match="a start for the network"):
            planned.plan(archive, label="spot", start=start.path, progress=False, **told)


def test_a_changed_start_is_refused(start, archive, tmp_path):
    other = tmp_path / "start"
    shutil.copytree(start.path, other)
    np.savez(other / "weights.npz", **{k: v * 1.01 for k, v in starting.open_start(start.path).weights().items()})
    with pytest.raises(IntegrityError, match="weights"):
        planned.plan(archive, label="spot", start=other, progress=False)


def test_a_start_of_pictures_is_inflated_for_volumes_and_the_plan_says_so(start, tmp_path):
    """And one of volumes is refused for pictures."""
    archive = Archive.create(tmp_path / "volumes")
    rng = np.random.default_rng(0)
    for i in range(60):
        voxels = rng.integers(0, 256, (16, 16, 16)).astype(np.uint8)
        name = archive.put(Image(voxels, full_range=(0, 255)))
        archive.add(Study(f"Se{i:011x}", (name,), patient=f"Pe{i:011x}", labels={"spot": i % 2 == 0}))
    archive.close()
    drawn = planned.plan(tmp_path / "volumes", label="spot", start=start.path, side_matters=True, progress=False)
    assert drawn.parts["start"]["inflated"] is True and "inflated" in drawn.parts["network"]["reason"]
    assert (
        drawn.parts["network"]["widths"] == start.told["network"]["widths"] and len(drawn.parts["input"]["size"]) == 3
    )
    given = starting.open_start(start.path)
    deep = replace(given, told={**given.told, "dimensions": 3})
    seen = fingerprint([{"shape": (1, 16, 16), "modality": "", "unit": "stored", "full_range": (0, 255)}] * 2)
    with pytest.raises(RunError, match="learned on volumes, for pictures"):
        pretrained_rules.begun(drawn.parts, seen, deep)


def test_only_images_judge_that_the_start_has_not_looked_at():
    known, unseen = np.tile([[0.0], [1.0]], (10, 1)), np.arange(20) >= 10
    parts = [(np.arange(10), np.arange(4, 20))]
    fair, told = judged_fairly(parts, known, unseen)
    assert fair[0][1].tolist() == list(range(10, 20)) and "only the others judged" in told
    few, told = judged_fairly(parts, known, np.arange(20) >= 17)
    assert few is parts and "flatters" in told
    assert judged_fairly(parts, known, None) == (parts, "")


@pytest.mark.slow
def test_a_training_from_a_start_survives_the_start_and_names_it(start, archive, tmp_path):
    from overread.steps.train import train

    first = tmp_path / "start"
    shutil.copytree(start.path, first)
    planned.plan(archive, label="spot", start=first, out=tmp_path / "p.toml", progress=False)
    text = (tmp_path / "p.toml").read_text()
    epochs = next(line for line in text.splitlines() if line.startswith("epochs"))
    (tmp_path / "p.toml").write_text(text.replace(epochs, "epochs = 2"))
    run = train(archive, label="spot", plan=tmp_path / "p.toml", out=tmp_path / "run", baseline=False, progress=False)
    card = json.loads((run.path / "card.json").read_text())
    assert start.sha256[:16] in card["network"]["start"] and "self-supervised" in card["network"]["start"]
    assert json.loads((run.path / "plan.json").read_text())["start"] == {"name": "pretrained", "sha256": start.sha256}
    assert pretrained_start.read(run.path / "start").sha256 == start.sha256
    history = json.loads((run.path / "history.json").read_text())["epochs"]
    # the line was fitted with the statistics of all images, a step sees those of its batch: with so few images the first
    # losses lie above one; with the statistics that came along from pretraining it was in the ten thousands
    assert history[0]["loss"] < 50

    given = starting.open_start(run.path)  # and this run is a start again: the same one each time
    assert starting.open_start(run.path).sha256 == given.sha256
    starting.refuse_seen(given, cohorts(archive).split)
    with pytest.raises(CohortError, match="learned from"):
        starting.refuse_seen(given, cohorts(archive, seed=1).split)
