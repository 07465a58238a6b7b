"""`train --folds`: everybody is tested by what never saw them, and what is exported is all networks as one."""

from __future__ import annotations

import json
import re
import shutil
from datetime import UTC, datetime
from types import SimpleNamespace

import numpy as np
import pytest

from overread.errors import CohortError, IntegrityError, RunError
from overread.learn import applications, linear_head, precision, starts
from overread.learn.plan_checks import check_together
from overread.steps import crossed, crossed_asked, crossed_networks, crossed_scores
from overread.steps.collect import collect
from overread.steps.compare import compare
from overread.steps.evaluate import evaluate
from overread.steps.plan_printed import few_advice
from overread.steps.pretrain import pretrain
from overread.steps.run import read_json
from overread.steps.scores import CROSSED, read_scores
from overread.steps.train import train
from overread.steps.verify import verify
from tests.steps.small_run import fill, spots
from tests.steps.test_spacing import volumes

STARTED = pytest.mark.skipif(not starts.available(), reason="the extra [starts] is not installed")
NOW = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    pictures, there = spots(96, seed=5)
    home = tmp_path_factory.mktemp("crossed")
    with fill(home / "archive", pictures, [{"spot": bool(t)} for t in there]):
        pass
    return home / "archive"


@pytest.fixture(scope="module")
def whole(cohort):
    """A run of 24 patients, 96 pictures: 3 parts, drawn twice."""
    out = cohort.parent / "run"
    train(cohort, label="spot", out=out, folds=3, repeats=2, progress=False, now=NOW)
    return out


@STARTED
def test_every_patient_is_tested_and_no_patient_is_in_two_parts(whole):
    told = read_json(whole / "folds.json")
    assert told["networks"] == 6 and not any(told["in_two_parts"].values())
    rows = read_scores(whole / "scores.csv", ("spot",)).of(CROSSED)
    patients = np.array([e[3] for e in rows.entries])
    assert len(rows.entries) == 96 and len(set(patients)) == 24
    parts = np.load(whole / "folds.npz")["parts"]
    assert parts.shape == (2, 96)
    assert all(len(set(row[patients == p])) == 1 for row in parts for p in set(patients))


@STARTED
def test_the_figures_are_said_to_be_of_the_procedure(whole):
    metrics = read_json(whole / "metrics.json")
    assert metrics["on"] == CROSSED and metrics["cross_validated"]["folds"] == 3
    assert metrics["unit"]["patients"] == 24
    assert "widened by the spread over 2 repeats" in metrics["labels"]["spot"]["auroc"]["method"]
    page = (whole / "report.html").read_text()
    assert "The figures are of this procedure" in page and "cross-validated" in page
    assert "of the procedure, cross-validated" in (whole / "card.md").read_text()
    assert any("none of them had seen" in line for line in read_json(whole / "card.json")["limits"])


@STARTED
def test_verify_compare_and_predict_take_the_run_as_any_other(whole, cohort, tmp_path):
    assert verify(whole, progress=False).figures >= 1
    again = tmp_path / "again"
    train(cohort, label="spot", out=again, folds=4, repeats=1, seed=7, progress=False, now=NOW)
    found = compare(whole, again, now=NOW)
    assert found.images == 96 and any("cross-validated answers" in note for note in found.notes)
    assert evaluate(again, now=NOW).metrics["on"] == CROSSED


@STARTED
def test_rows_that_are_not_the_runs_own_are_refused(whole):
    scores = read_scores(whole / "scores.csv", ("spot",))
    moved = scores.at(list(range(len(scores.entries)))[::-1])
    with pytest.raises(IntegrityError, match="do not belong together"):
        crossed_scores.crossed_rows(whole, moved)


def test_an_answer_changed_in_one_part_moves_no_probability_of_that_part():
    """A patient's own answer has no hand in its probability: inside the other parts all is learned without it."""
    rng = np.random.default_rng(0)
    y = (np.arange(60) % 2).astype(float)[:, None]
    x = rng.normal(size=(60, 20)) + y * np.r_[np.full(3, 1.5), np.zeros(17)]
    part = np.arange(60) // 2 % 5

    def tested(answers):
        from overread.stats import crossing

        rest, test = np.flatnonzero(part != 0), np.flatnonzero(part == 0)
        how = {"several": False, "groups": rest}
        line = linear_head.choose(x[rest], answers[rest], **how, rng=np.random.default_rng(1))
        inside = linear_head.out_of_fold(
            x[rest], answers[rest], **how, rng=np.random.default_rng(1), penalty=line.penalty
        )
        held = (inside, answers[rest], [f"P{i}" for i in rest])
        return crossing.answer(line.logits(x[test]), held, kind="binary", sensitivity=0.9, rng=np.random.default_rng(2))

    own, others = y.copy(), y.copy()
    own[part == 0] = 1 - own[part == 0]
    others[part == 1] = 1 - others[part == 1]
    before = tested(y)
    assert np.array_equal(before.probability, tested(own).probability)
    assert np.array_equal(before.threshold, tested(own).threshold)
    assert not np.array_equal(before.probability, tested(others).probability)  # the twin: of the others all is known


@STARTED
@pytest.mark.slow
def test_random_answers_are_read_no_better_than_chance(cohort, tmp_path):
    pictures, _ = spots(96, seed=11)
    drawn = np.random.default_rng(3).permutation(24) % 2
    with fill(tmp_path / "archive", pictures, [{"coin": bool(drawn[i // 4])} for i in range(96)]):
        pass
    found = train(tmp_path / "archive", label="coin", out=tmp_path / "run", folds=3, repeats=2, progress=False, now=NOW)
    auroc = found.metrics["labels"]["coin"]["auroc"]
    assert auroc["low"] <= 0.5 <= auroc["high"] if isinstance(auroc, dict) else auroc.low <= 0.5 <= auroc.high


@pytest.mark.parametrize(
    ("folds", "repeats", "beside", "words"),
    [
        (2, None, {}, "2 parts"),
        (21, None, {}, "21 parts"),
        (5, 0, {}, "0 repeats"),
        (None, 3, {}, "--repeats without --folds"),
        (5, 3, {"--budget": "1h", "--seeds": None}, "--budget beside --folds"),
        (5, 3, {"network": "auto"}, "--network auto beside --folds.*tested later"),
        (5, 3, {"network": "simple-cnn"}, "--network simple-cnn beside --folds"),
    ],
)
def test_what_cannot_be_cross_validated_is_refused_before_any_work(folds, repeats, beside, words):
    with pytest.raises(RunError, match=words):
        crossed_asked.check(folds, repeats, **beside)


def test_trying_networks_beside_it_is_refused_before_the_archive_is_opened(tmp_path):
    with pytest.raises(RunError, match="--network auto beside --folds"):
        train(tmp_path / "none", label="spot", out=tmp_path / "run", network="auto", folds=5, progress=False)


@STARTED
def test_a_plan_that_a_person_changed_stands_in_every_part(whole, cohort, tmp_path, monkeypatch):
    """Its twin: a plan that nobody handed over is drawn up anew on the patients outside each part."""
    seen = []

    def caught(store, divided, drawn, *_, **__):
        seen.append((store, divided, drawn))
        raise KeyboardInterrupt

    monkeypatch.setattr(crossed, "learn", caught)
    for plan in (None, whole / "plan.toml"):
        with pytest.raises(KeyboardInterrupt):
            train(cohort, label="spot", out=tmp_path / f"run{len(seen)}", plan=plan, folds=3, repeats=1, progress=False)
    redrawn = []
    monkeypatch.setattr(crossed_networks.planned, "draw_up", lambda *_, **__: redrawn.append(1) or seen[0][2])
    of_rules, of_a_person = (crossed_networks._for_part(*one, seed=5) for one in seen)
    assert redrawn == [1] and of_rules.seed == of_a_person.seed == 5
    assert of_a_person.parts == seen[1][2].parts


@pytest.mark.parametrize(("pictures", "people"), [(0, 1), (1, 0)])
def test_a_start_that_has_seen_anybody_who_is_tested_is_refused(pictures, people, monkeypatch):
    """Its twin: one that has seen none of them is taken."""
    split = SimpleNamespace(cohorts={"training": (("image", "S1", "P1"),), "testing": (("other", "S2", None),)})

    class Start:
        def __init__(self, *seen):
            self.seen = seen

        def knows(self, images, people):
            assert (list(images), list(people)) == (["image", "other"], ["P1", "S2"])
            return self.seen

    crossed_asked.refuse_start(None, split)
    crossed_asked.refuse_start(Start(0, 0), split)
    with pytest.raises(CohortError, match=f"{pictures} pictures and {people} patients of this cohort"):
        crossed_asked.refuse_start(Start(pictures, people), split)
    monkeypatch.setattr(crossed_asked, "of_plan", lambda _: Start(pictures, people))
    drawn = SimpleNamespace(start={"name": "pretrained"}, parts={}, network="residual")
    with pytest.raises(CohortError, match="tested in turn"):
        crossed_asked.refuse_plan(drawn, split)


def test_weights_of_a_file_whose_patients_nobody_knows_are_refused():
    drawn = SimpleNamespace(start={"name": applications.NAME}, parts={}, network="features")
    with pytest.raises(RunError, match="nobody here knows whom they have seen, beside --folds"):
        crossed_asked.refuse_plan(drawn, None)


@pytest.fixture
def caught(monkeypatch):
    """Called with a training, returns the plan of the run, and that of its first part."""

    def run(*args, **how):
        seen = []

        def stop(store, divided, drawn, *_, **__):
            seen.append((drawn, crossed_networks._for_part(store, divided, drawn, seed=5)))
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(crossed, "learn", stop)
            with pytest.raises(KeyboardInterrupt):
                train(*args, **how, progress=False)
        return seen[0]

    return run


def test_a_stated_spacing_is_the_grid_of_every_part(tmp_path, caught):
    """Its twin: without a word the parts share the grid that the plan chooses, and none is in millimetres."""
    collect(volumes(tmp_path / "in"), into=tmp_path / "a", labels_from_folders=True, workers=1, progress=False)
    ask = {"label": "ball", "folds": 3, "side_matters": False}
    drawn, own = caught(tmp_path / "a", **ask, out=tmp_path / "r", spacing=(3, 3, 4))
    assert drawn.network == "residual" and drawn.parts["input"]["spacing_mm"] == [3.0, 3.0, 4.0]
    assert own.parts["input"] == drawn.parts["input"]
    assert not own.parts["sides"]["turns"]  # of voxels of 3 × 4 mm no quarter turn is one
    check_together(own.parts)
    _, plain = caught(tmp_path / "a", **ask, out=tmp_path / "s", network="residual")
    assert "spacing_mm" not in plain.parts["input"]


def test_precision_is_that_of_every_part(cohort, tmp_path, caught, monkeypatch):
    monkeypatch.setattr(precision, "refuse", lambda: None)
    ask = {"label": "spot", "folds": 3, "network": "residual", "side_matters": True}
    for k, asked in enumerate(("bfloat16", None)):  # the second is the twin
        drawn, own = caught(cohort, **ask, out=tmp_path / f"r{k}", precision=asked)
        assert drawn.optimiser.get("precision") == own.optimiser.get("precision") == asked


@pytest.mark.slow
def test_a_start_of_other_patients_is_where_every_part_begins(cohort, tmp_path, caught):
    """Its twin: what was learned from pictures of this very cohort is refused, for all of them are tested."""
    pytest.importorskip("keras")
    for name, seed in (("start", 8), ("seen", 5)):
        fill(tmp_path / f"of-{name}", spots(72, seed=seed)[0], [{}] * 72, others=True).close()
        pretrain(tmp_path / f"of-{name}", out=tmp_path / name, epochs=1, progress=False, now=NOW)
    ask = {"label": "spot", "folds": 3, "side_matters": True}
    drawn, own = caught(cohort, **ask, out=tmp_path / "r", start=tmp_path / "start")
    assert own.start == drawn.start and own.start["name"] == "pretrained" and own.network == "residual"
    assert own.start["path"] == str((tmp_path / "r/start").resolve()) and "lower" in own.optimiser
    again, _ = caught(cohort, **ask, out=tmp_path / "r", start=tmp_path / "start", resume=True)
    assert again.start == drawn.start
    text = re.sub(r"(?m)^epochs = \d+", "epochs = 1", (tmp_path / "r/plan.toml").read_text())
    where = json.dumps(str(tmp_path / "start"))  # a run's own plan names no folder of its user
    (tmp_path / "plan.toml").write_text(text.replace("[start]\n", f"[start]\npath = {where}\n"))
    found = train(
        cohort, label="spot", out=tmp_path / "s", plan=tmp_path / "plan.toml", folds=3, progress=False, now=NOW
    )
    assert found.metrics["on"] == CROSSED
    with pytest.raises(CohortError, match="from 72 pictures and 0 patients of this cohort, beside --folds"):
        train(cohort, **ask, out=tmp_path / "t", start=tmp_path / "seen", progress=False)
    assert not (tmp_path / "t").exists()


def test_a_plan_for_few_patients_advises_it_and_one_that_does_it_does_not():
    few = {"cohort": {"patients": 60, "division": "drawn"}}
    assert "--folds 5" in few_advice(few, {"ensemble": {}})
    assert not few_advice(few, {"ensemble": {"folds": 5}})
    assert not few_advice({"cohort": {"patients": 60, "division": "published column 'split'"}}, {"ensemble": {}})


@STARTED
@pytest.mark.slow
def test_a_killed_training_goes_on_to_the_same_answers(whole, cohort, tmp_path, monkeypatch):
    out = tmp_path / "run"

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(crossed, "_finish", killed)
        with pytest.raises(KeyboardInterrupt):
            train(cohort, label="spot", out=out, folds=3, repeats=2, progress=False, now=NOW)
    with pytest.raises(RunError, match="unfinished"):
        train(cohort, label="spot", out=out, folds=3, repeats=2, progress=False, now=NOW)
    train(cohort, label="spot", out=out, folds=3, repeats=2, resume=True, progress=False, now=NOW)
    assert (out / "scores.csv").read_text() == (whole / "scores.csv").read_text()
    assert json.loads((out / "calibration.json").read_text()) == json.loads((whole / "calibration.json").read_text())
    shutil.rmtree(out)
