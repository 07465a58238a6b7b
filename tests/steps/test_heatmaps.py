"""The tests of heat-maps on a real but small run: kept, sealed, and seen wherever a map is shown."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image as Pillow
from small_run import NOW, fill, small_run, spots

from overread.domain import Finding, Image, Report, Task
from overread.errors import ExportError, IntegrityError, OverreadError, RunError
from overread.learn import saliency
from overread.learn.predict import Model
from overread.steps import heatmaps
from overread.steps.draft import pieces
from overread.steps.evaluate import evaluate
from overread.steps.explain import explain
from overread.steps.reads import NAME as READS
from overread.steps.report import report
from overread.steps.run import read_json, seal, write_json
from overread.store.archive import Archive
from overread.store.journal import Journal


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("maps")
    pictures, there = spots(640, seed=1, contrast=170)
    with fill(folder / "archive", pictures, [{"spot": bool(t)} for t in there]) as archive:
        small_run(folder, archive, "spot")
    return folder


@pytest.fixture
def run(home, tmp_path) -> Path:
    """A copy of the run, to be changed."""
    shutil.copytree(home / "run-spot", tmp_path / "run")
    plan = read_json(tmp_path / "run" / "plan.json")
    write_json(tmp_path / "run" / "plan.json", {**plan, "archive": str(home / "archive")})
    seal(tmp_path / "run", card=read_json(tmp_path / "run" / "manifest.json")["card"])
    return tmp_path / "run"


def judged(run: Path, home: Path, **how) -> dict:
    model = Model.load(run)
    with Archive.open(home / "archive") as archive:
        return heatmaps.judge(model, heatmaps.panel_of(model, archive, seed=0), **how)


def test_the_same_seed_gives_the_same_verdict(run, home):
    assert judged(run, home) == judged(run, home)


def test_the_verdict_is_sealed_with_the_run_and_a_changed_one_is_refused(run):
    verdicts = {"grad-cam": {"passed": False, "tested": True, "cases": 60, "why": "no", "checks": []}}
    assert heatmaps.keep(run, verdicts) == verdicts and Model.load(run).heat_maps == verdicts
    both = heatmaps.keep(run, {"rise": {**verdicts["grad-cam"], "passed": True}})
    assert set(both) == {"grad-cam", "rise"} and Model.load(run).heat_maps == both
    before = (run / "manifest.json").read_bytes()
    heatmaps.keep(run, verdicts)
    assert (run / "manifest.json").read_bytes() == before
    forged = json.loads((run / heatmaps.NAME).read_text())
    forged["grad-cam"]["passed"] = True
    (run / heatmaps.NAME).write_text(json.dumps(forged))
    with pytest.raises(IntegrityError, match=r"heatmaps\.json"):
        Model.load(run)


def test_evaluate_tests_the_maps_and_the_report_and_gallery_say_so(run):
    found = evaluate(run, now=NOW)
    verdict = found.metrics["heatmaps"]["grad-cam"]
    assert verdict["cases"] >= 50 and {"passed", "why", "randomisation", "deletion", "insertion", "stability"} <= set(
        verdict
    )
    assert read_json(run / "metrics.json")["heatmaps"] == read_json(run / heatmaps.NAME)
    page = (run / "report.html").read_text()
    assert "evidence about the model, not an outline of disease" in page
    groups = {g["title"].split(":")[0]: g["cases"] for g in found.page["gallery"]}
    assert all(bool(c["failed"]) != verdict["passed"] for cases in groups.values() for c in cases)
    wrong = groups["Missed"] + groups["False alarm"]
    assert wrong and all(len(c["near"]) == 3 for c in wrong)
    assert {n["was"] for c in wrong for n in c["near"]} <= {"there", "not there"}
    assert all(n["picture"].startswith("data:image/png") for c in wrong for n in c["near"])
    assert all(c["near"] == [] for c in groups["Found"])


def test_few_cases_are_not_tested_and_their_maps_are_grey(tmp_path):
    pictures, there = spots(160, seed=2)
    with fill(tmp_path / "archive", pictures, [{"spot": bool(t)} for t in there]) as archive:
        small = small_run(tmp_path, archive, "spot")
    found = evaluate(small, now=NOW)
    verdict = found.metrics["heatmaps"]["grad-cam"]
    assert not verdict["passed"] and "at least 50 are needed" in verdict["why"]
    assert {c["failed"] for g in found.page["gallery"] for c in g["cases"]} == {"has not been tested"}


@pytest.mark.parametrize("passed", [True, False])
def test_a_doctor_sees_colours_only_of_a_map_that_passed_and_only_that_is_filed(passed):
    import tempfile

    from small_hospital import LABEL, deliver, write_run

    from overread.formats import door

    with tempfile.TemporaryDirectory() as folder:
        model = Model.load(write_run(Path(folder) / "run", maps_passed=passed))
        (Path(folder) / "in").mkdir()
        deliver(Path(folder) / "in", 1, 0.7)
        (found,) = door.scan(Path(folder) / "in")
        finding = Finding(LABEL, 0.9, 0.8, 0.95, 0.5, "present", "", "h")
        report = Report("S0123456789ab", model.card.fingerprint, ("h",), (finding,))
        made = {p.kind: p for p in pieces(model, report, [found.origin], lambda _: found.image, now=NOW)}
    assert not any(p.error for p in made.values())
    assert set(made) == ({"heat-map", "capture", "report"} if passed else {"heat-map", "report"})
    picture = np.asarray(Pillow.open(io.BytesIO(made["heat-map"].content)).convert("RGB")).astype(int)
    colour = (picture.max(-1) - picture.min(-1)) > 8
    assert colour.mean() > 0.02 if passed else not colour.any()


def test_explain_tests_on_the_runs_own_cohort_and_tells_what_failed(run, home, tmp_path):
    pictures, _ = spots(2, seed=5)
    Pillow.fromarray(pictures[0]).save(tmp_path / "a.png")
    told = explain(run, tmp_path / "a.png", out=tmp_path / "out", methods=("grad-cam++",), progress=False)
    assert "has not been tested, shown in grey" in str(told) and not told.maps[0]["passed"]
    told = explain(run, tmp_path / "a.png", out=tmp_path / "out", methods=("grad-cam++",), test=True, progress=False)
    verdict = read_json(run / heatmaps.NAME)["grad-cam++"]
    assert [r["record"]["by"] for r in Journal(run / READS).records() if r["kind"] == "read"][-1] == "explain"
    assert told.maps[0]["passed"] == verdict["passed"] and verdict["cases"] >= 50
    assert json.loads((tmp_path / "out" / "maps.json").read_text())["tests"]["grad-cam++"] == verdict
    plan = read_json(run / "plan.json")
    write_json(run / "plan.json", {**plan, "archive": "gone"})
    seal(run, card=read_json(run / "manifest.json")["card"])
    with pytest.raises(RunError, match="archive that this run was trained from is not here"):
        explain(Model.load(run), tmp_path / "a.png", out=tmp_path / "out", test=True, progress=False)


def test_every_method_lies_on_the_original_pixels(run, tmp_path):
    """A picture three times as large and not square; a spot of known place."""
    y, x = np.mgrid[:84, :96]
    picture = 90 + 150 * np.exp(-((y - 24) ** 2 + (x - 66) ** 2) / 54)
    Pillow.fromarray(picture.astype(np.uint8)).save(tmp_path / "a.png")
    told = explain(run, tmp_path / "a.png", out=tmp_path / "out", methods=tuple(saliency.METHODS), progress=False)
    assert {m["method"] for m in told.maps} == set(saliency.METHODS)
    for m in told.maps:
        heat = np.load(tmp_path / "out" / m["map"])
        assert heat.shape == (1, 84, 96) and heat.dtype == np.float32 and np.isfinite(heat).all()
        peak = np.unravel_index(np.abs(heat[0]).argmax(), (84, 96))
        assert np.hypot(peak[0] - 24, peak[1] - 66) < 20, m["method"]


def test_integrated_gradients_keep_their_sum_on_finer_pixels(run):
    model = Model.load(run)
    picture, _ = spots(1, seed=6)
    image = Image(np.kron(picture, np.ones((1, 3, 3), np.uint8)), full_range=(0, 255))
    from overread.imaging import preprocess

    x = preprocess.apply(model.recipe, image)
    low, high = (z[0] for z, _ in model.run_inputs([saliency.baseline(x), x]))
    heat = saliency.heat_map(model, image, "spot", method="integrated-gradients")
    assert heat.sum() == pytest.approx(high - low, rel=0.06, abs=0.1)


def test_a_network_without_slopes_is_refused_for_that_method_alone(run, tmp_path):
    network = onnx.load(run / "model.onnx")
    for node in network.graph.node:
        node.op_type = "Sin" if node.op_type == "Relu" else node.op_type
    onnx.save(network, run / "model.onnx")
    seal(run, card=read_json(run / "manifest.json")["card"])
    Pillow.fromarray(spots(1, seed=7)[0][0]).save(tmp_path / "a.png")
    network = Model.load(run)  # a run whose journal tells of another network answers nothing
    with pytest.raises(ExportError, match="holds Sin"):
        explain(network, tmp_path / "a.png", out=tmp_path / "o", methods=("integrated-gradients",), progress=False)
    assert not (tmp_path / "o").exists()
    assert explain(network, tmp_path / "a.png", out=tmp_path / "o", methods=("grad-cam",), progress=False).maps


def test_what_is_tested_is_what_a_map_would_be_opened_for():
    rng = np.random.default_rng(0)
    p = np.linspace(0, 1, 400)[:, None]
    task = Task(("a",), "binary", "a")
    chosen = heatmaps.choose(p, {"a": {"threshold": 0.5}}, task, rng)
    assert len(chosen) == heatmaps.MOST and all(p[i, 0] >= 0.5 for i, _ in chosen)
    few = heatmaps.choose(p, {"a": {"threshold": 0.99}}, task, rng)
    assert len(few) == 50 and min(i for i, _ in few) == 350  # filled up with the next highest
    levels = Task(("c=a", "c=b"), "multiclass", "c")
    assert all(k == i % 2 for i, k in heatmaps.choose(np.eye(2)[np.arange(60) % 2], {}, levels, rng))


def test_known_lesions_join_the_verdict(run, tmp_path):
    import csv

    pictures, _ = spots(60, seed=8)
    rng, lines = np.random.default_rng(0), []
    y, x = np.mgrid[:32, :32]
    (tmp_path / "films").mkdir()
    for i in range(24):
        r, c = rng.uniform(6, 26, 2)
        film = pictures[2 * i + 1] + 140 * np.exp(-((y - r) ** 2 + (x - c) ** 2) / 6)
        Pillow.fromarray(film.clip(0, 255).astype(np.uint8)).save(tmp_path / "films" / f"{i}.png")
        lines.append((f"films/{i}.png", r, c, 3.0))
    with open(tmp_path / "lesions.csv", "w", newline="") as out:
        csv.writer(out).writerows([("file", "row", "column", "radius"), *lines])
    evaluate(run, now=NOW)
    told = explain(
        run, tmp_path / "films", out=tmp_path / "out", methods=("grad-cam",), test=True,
        lesions=tmp_path / "lesions.csv", progress=False,
    )  # fmt: skip
    game = told.verdicts["grad-cam"]["pointing"]
    assert game["hits"]["value"] > 0.7 > 0.5 > game["others"]["value"] and game["hits"]["n"] == 24
    assert 0 < game["overlap"]["value"] <= 1
    assert read_json(run / heatmaps.NAME)["grad-cam"]["pointing"] == game
    assert "Pointing game on 24 images with known lesions: passed. Its hottest point lies on" in str(told)
    asked = report(run)  # the page was measured before: it tells of the game all the same
    page = asked.report.read_text()
    assert (
        "Does it point at lesions whose place is known?" in page and "Its hottest point lies on a known lesion" in page
    )
    untested = explain(
        run, tmp_path / "films", out=tmp_path / "o2", methods=("grad-cam++",),
        lesions=tmp_path / "lesions.csv", progress=False,
    )  # fmt: skip
    assert "and not kept, as this kind of map was not tested" in str(untested)
    assert untested.to_json()["pointing"]["grad-cam++"]["hits_of_cases"] > 12
    assert "pointing" not in read_json(run / heatmaps.NAME).get("grad-cam++", {})
    with pytest.raises(OverreadError, match="none of them in the sources"):
        explain(run, tmp_path / "a.png", out=tmp_path / "o3", lesions=tmp_path / "lesions.csv", progress=False)
    assert not (tmp_path / "o3").exists()
