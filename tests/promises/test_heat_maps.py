"""No picture is shown as an explanation before it has passed a test, and a randomised network's maps fail."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from overread.domain import Image
from overread.imaging import preprocess
from overread.learn import saliency, saliency_redraw, saliency_tests
from overread.learn.predict import Model, open_graph, run_graph
from overread.stats.maps import MOST_LUCKY
from overread.steps.heatmaps import Case, Panel, judge
from overread.steps.run import read_json, seal


def images(n: int, *, scattered: bool = True) -> tuple[list[Image], np.ndarray]:
    """Films as those of the session's run: noise and waves, in half of them a bright blob.

    In the others the blob's pixels are strewn over the film: how bright a film is tells nothing. Without that, one network
    in a hundred that was drawn by chance tells them apart without a mistake.
    """
    rng = np.random.default_rng(77)
    y, x = np.mgrid[:24, :20]
    made, there = [], np.arange(n) % 2
    for i in range(n):
        pixels = rng.normal(90, 20, (24, 20)) + 20 * np.sin(x / 3 + i)
        r, c = rng.integers(5, 15, 2)
        blob = 90 * np.exp(-((y - r) ** 2 + (x - c) ** 2) / 8)
        if there[i]:
            pixels += blob
        elif scattered:
            pixels += rng.permutation(blob.ravel()).reshape(blob.shape)
        made.append(Image(pixels.clip(0, 255).astype(np.uint8)[None], full_range=(0, 255)))
    return made, there


def panel() -> Panel:
    made, there = images(120)
    cases = [Case(partial(made.__getitem__, i), 0, None) for i in np.flatnonzero(there)]
    return Panel(cases, [partial(made.__getitem__, i) for i in range(64)], there[:64, None].astype(float))


def randomised(run: Path, into: Path, *, seed: int) -> Model:
    """The same run with every weight redrawn by chance, sealed as if it had been trained so."""
    shutil.copytree(run, into)
    graph = (into / "model.onnx").read_bytes()
    new = saliency_redraw.drawn(graph, share=1.0, rng=np.random.default_rng(seed))
    with np.load(into / "head.npz") as head:
        tail = saliency_redraw.tail_replaced({k: head[k] for k in head.files}, graph, new)
    (into / "model.onnx").write_bytes(saliency_redraw.replaced(graph, new))
    np.savez(into / "head.npz", **tail)
    (into / "gradient.onnx").unlink(missing_ok=True)
    seal(into, card=read_json(into / "manifest.json")["card"])
    return Model.load(into)


def test_a_randomised_networks_maps_fail(run, tmp_path):
    """The network itself has shown nothing, whatever its map looks like: that is the check that fails."""
    for seed in range(2):
        found = judge(randomised(run, tmp_path / f"{seed}", seed=seed), panel())
        failed = [c["name"] for c in found["checks"] if not c["passed"]]
        assert found["tested"] and not found["passed"] and "learned" in failed, seed


def proof(model: Model, made: list[Image], there: np.ndarray) -> tuple[dict, list[np.ndarray]]:
    inputs = [preprocess.apply(model.recipe, image) for image in made]
    return saliency_tests.learned(model, inputs, there[:, None].astype(float), rng=np.random.default_rng(0)), inputs


def test_a_network_drawn_by_chance_is_not_taken_for_one_that_has_learned(run):
    """The check alone, on the first 100 draws, which nobody chose: the best of 20 would let five of them through."""
    model, (made, there) = Model.load(run), images(64)
    learned, inputs = proof(model, made, there)
    graph, through = (run / "model.onnx").read_bytes(), 0
    for seed in range(100):
        new = saliency_redraw.drawn(graph, share=1.0, rng=np.random.default_rng(seed))
        session = open_graph(saliency_redraw.replaced(graph, new))
        logits = np.array([z for z, _ in run_graph(session, inputs, workers=1)])
        through += saliency_tests.mean_aurocs(there[:, None], logits[:, :, None])[0] > learned["rarely"]
    assert through <= 1  # 0.05 are expected


def test_a_question_that_chance_answers_as_well_shows_no_learning(run):
    """Only the films with a blob are brighter: a perfect answer is then no proof, and a tie fails."""
    learned, _ = proof(Model.load(run), *images(64, scattered=False))
    assert learned["auroc"] > 0.95 and learned["as_good"] > MOST_LUCKY


def test_the_trained_networks_maps_are_better_than_that(run):
    """The twin: the same tests on the same images, with the weights that were learned."""
    checks = {c["name"]: c["passed"] for c in judge(Model.load(run), panel())["checks"]}
    assert checks["learned"] and checks["deletion"] and checks["insertion"]


@pytest.mark.parametrize("method", ["grad-cam", "rise"])
def test_what_nobody_has_tested_has_not_passed(method):
    assert saliency.failing({}, method) == "has not been tested"
