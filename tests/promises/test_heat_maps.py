"""No picture is shown as an explanation before it has passed a test, and a randomised network's maps fail."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from overread.domain import Image
from overread.learn import saliency_redraw
from overread.learn.predict import Model
from overread.steps.heatmaps import Case, Panel, failing, judge
from overread.steps.run import read_json, seal


def images(n: int) -> tuple[list[Image], np.ndarray]:
    """Films as those of the session's run: noise and waves, in half of them a bright blob."""
    rng = np.random.default_rng(77)
    y, x = np.mgrid[:24, :20]
    made, there = [], np.arange(n) % 2
    for i in range(n):
        pixels = rng.normal(90, 20, (24, 20)) + 20 * np.sin(x / 3 + i)
        if there[i]:
            r, c = rng.integers(5, 15, 2)
            pixels += 90 * np.exp(-((y - r) ** 2 + (x - c) ** 2) / 8)
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
    for seed in (1, 2, 3):
        found = judge(randomised(run, tmp_path / f"{seed}", seed=seed), panel())
        assert found["tested"] and not found["passed"], seed


def test_the_trained_networks_maps_are_better_than_that(run):
    """The twin: the same tests on the same images, with the weights that were learned."""
    checks = {c["name"]: c["passed"] for c in judge(Model.load(run), panel())["checks"]}
    assert checks["learned"] and checks["deletion"] and checks["insertion"]


@pytest.mark.parametrize("method", ["grad-cam", "rise"])
def test_what_nobody_has_tested_has_not_passed(method):
    assert failing({}, method) == "has not been tested"
