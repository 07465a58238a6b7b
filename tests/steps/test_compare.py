"""Runs side by side: paired on the same images, each at its own operating point."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, cohen_kappa_score, roc_auc_score
from small_run import NOW, fill, sealed_again, small_run, spots

from overread.cli import main
from overread.errors import OverreadError, RunError
from overread.learn.predict import Model
from overread.steps.asked import check_questions
from overread.steps.compare import compare
from overread.steps.evaluate import evaluate
from overread.steps.reads import NAME as READS
from overread.steps.run import read_json
from overread.steps.scores import read_scores
from overread.store.journal import Journal


def noisier(run, out, *, noise, seed=0, outputs=("spot",)):
    """The same run with scores that are less sure: as if its network were worse."""
    shutil.copytree(run, out)
    rng = np.random.default_rng(seed)
    with open(run / "scores.csv", newline="") as sheet:
        rows = list(csv.DictReader(sheet))
    with open(out / "scores.csv", "w", newline="") as sheet:
        writer = csv.DictWriter(sheet, rows[0].keys())
        writer.writeheader()
        for row in rows:
            moved = {f"logit:{name}": float(row[f"logit:{name}"]) + rng.normal(0, noise) for name in outputs}
            writer.writerow(row | {key: f"{value:.6f}" for key, value in moved.items()})
    sealed_again(out)
    return out


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    home = tmp_path_factory.mktemp("compared")
    pictures, there = spots(400, seed=1, contrast=80)
    with fill(home / "archive", pictures, [{"spot": bool(t)} for t in there]) as archive:
        run = small_run(home, archive, "spot")
    return run, noisier(run, home / "worse", noise=6.0), noisier(run, home / "same", noise=1e-6)


def test_the_figures_are_those_of_scikit_learn_on_the_same_images(runs):
    told = compare(*runs[:2])
    for run, figures in zip(runs, told.figures, strict=False):
        rows, model = read_scores(run / "scores.csv", ["spot"]).of("testing"), Model.load(run)
        p, y = model.probabilities(rows.logits)[:, 0], rows.truth[:, 0]
        assert figures["auroc"].value == pytest.approx(roc_auc_score(y, p))
        assert figures["brier"].value == pytest.approx(brier_score_loss(y, p))
        call = p >= model.thresholds["spot"]
        assert figures["sensitivity"].value == pytest.approx(call[y == 1].mean())
        assert figures["specificity"].value == pytest.approx(1 - call[y == 0].mean())
    for name, gap in told.differences[0].items():
        assert gap.value == pytest.approx(told.figures[1][name].value - told.figures[0][name].value)
        assert gap.low <= gap.value <= gap.high


def test_a_worse_run_is_told_as_worse_and_an_equal_one_is_not(runs):
    run, worse, same = runs
    told = compare(run, worse, same)
    assert told.differences[0]["auroc"].high < 0
    assert told.differences[1]["auroc"].low <= 0 <= told.differences[1]["auroc"].high
    assert told.spread["seeds"] == 3 and "AUROC over 3 runs" in str(told)
    assert "runs on the same 80 testing images of 20 patients" in str(told)


def reads_of(folder):
    return [entry["record"] for entry in Journal(folder / READS).records() if entry["kind"] == "read"]


def test_a_comparison_is_counted_as_a_read_of_the_testing_cohort(runs):
    def counted():
        return [[r["by"] for r in reads_of(run)].count("compare") for run in runs[:2]]

    before = counted()
    told = compare(*runs[:2], now=NOW)
    assert counted() == [n + 1 for n in before]
    line = reads_of(runs[0])[-1]
    evaluate(runs[0], now=NOW)
    assert reads_of(runs[0])[-1]["cohort"] == line["cohort"]  # the same cohort, as evaluate counts it
    where = read_json(runs[0] / "plan.json")["archive"]
    known = [read["by"] for read in reads_of(Path(where))]
    assert known.count("compare") >= 2 and known[-1] == "evaluate"
    assert not any("not counted" in note for note in told.notes)


def test_it_is_a_verb_with_json(runs, capsys):
    assert main(["compare", str(runs[0]), str(runs[1]), "--json", "--quiet"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["images"] == 80 and set(told["differences"][0]) == {
        "auroc",
        "ap",
        "sensitivity",
        "specificity",
        "brier",
    }


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda runs: runs[:1], "two or more"),
        (lambda runs: (*runs[:1], "nowhere"), "not a finished run"),
        (lambda runs: (runs[0], runs[1], runs[0].parent / "worse" / ".." / runs[0].name), "named twice"),
    ],
)
def test_what_cannot_be_compared_is_refused(runs, change, said):
    with pytest.raises(RunError, match=said):
        compare(*change(runs))
    with pytest.raises(RunError, match="label 'heart'"):
        compare(*runs, label="heart")


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    home = tmp_path_factory.mktemp("graded")
    pictures, there = spots(400, seed=1, contrast=80)
    labels = [{"grade": str(int(t) + int(i % 3 == 0))} for i, t in enumerate(there)]
    with fill(home / "archive", pictures, labels) as archive:
        run = small_run(home, archive, "grade", kind="ordinal")
    return run, noisier(run, home / "worse", noise=8.0, outputs=[f"grade={v}" for v in "012"])


def test_runs_with_levels_are_compared_by_figures_of_levels(graded, runs, tmp_path):
    told = compare(*graded, out=tmp_path / "levels.html")
    assert told.label == "grade" and told.images == 80
    for run, figures in zip(graded, told.figures, strict=True):
        names = [f"grade={v}" for v in "012"]
        rows, model = read_scores(run / "scores.csv", names).of("testing"), Model.load(run)
        p, level = model.probabilities(rows.logits), rows.truth.argmax(1)
        assert figures["auroc"].value == pytest.approx(roc_auc_score(level, p, multi_class="ovr"))
        assert figures["accuracy"].value == pytest.approx((p.argmax(1) == level).mean())
        agreed = cohen_kappa_score(level, p.argmax(1), weights="quadratic")
        assert figures["kappa_quadratic"].value == pytest.approx(agreed)
    for name, gap in told.differences[0].items():
        assert gap.value == pytest.approx(told.figures[1][name].value - told.figures[0][name].value)
    assert told.differences[0]["auroc"].high < 0
    page = (tmp_path / "levels.html").read_text()
    assert "quadratic kappa" in page and "accuracy" in str(told)
    for mixed in ((graded[0], runs[0]), (runs[0], graded[0])):
        with pytest.raises(RunError, match="compare runs of one label"):
            compare(*mixed)


def test_another_prevalence_and_a_published_figure_are_told_when_asked(runs, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(runs[0], copy)
    metrics = evaluate(copy, prevalence=0.02, published={"auroc": 0.999999}, now=NOW).metrics
    se, sp = (metrics["labels"]["spot"][k]["value"] for k in ("sensitivity", "specificity"))
    ppv = metrics["at_prevalence"]["spot"]["ppv"]
    assert ppv["value"] == pytest.approx(se * 0.02 / (se * 0.02 + (1 - sp) * 0.98))
    assert ppv["value"] < metrics["labels"]["spot"]["ppv"]["value"]
    (claim,) = metrics["claims"]
    assert not claim["may_claim"] and "may not be called better" in claim["in_words"]
    figures = metrics["labels"]["spot"]
    assert {"lr_plus", "lr_minus", "mcc", "slope", "intercept", "decision_curve"} <= set(figures)
    assert metrics["floors"]["nearest_thumbnail"]["spot"]["auroc"]["value"] > 0.4


@pytest.mark.parametrize("wrong", [{"prevalence": 1.2}, {"published": {"auroc": 97.0}}, {"published": {"f1": 0.9}}])
def test_what_cannot_be_asked_is_refused_before_anything_is_read(wrong):
    with pytest.raises(OverreadError, match="share between 0 and 1"):
        check_questions(wrong.get("prevalence"), wrong.get("published", {}))


def test_one_model_under_two_names_counts_once_and_differs_by_nothing(runs, tmp_path):
    shutil.copytree(runs[0], tmp_path / "copy")
    told = compare(runs[0], runs[1], tmp_path / "copy", now=NOW)
    assert any("copy is" in note and "counts once" in note for note in told.notes)
    assert told.spread["seeds"] == 2 and "over 3 runs" not in str(told) and "AUROC over" not in str(told)
    assert all((e.value, e.low, e.high) == (0, 0, 0) for e in told.differences[1].values())
    twin = compare(*runs, now=NOW)  # hardly another one, but another one
    assert twin.spread["seeds"] == 3 and "AUROC over 3 runs" in str(twin)
    assert not any("counts once" in note for note in twin.notes) and twin.differences[1]["auroc"].low < 0
