"""What the tests of heat-maps cost, and what they say of each method on a real run.

``python -m benchmarks heat_maps`` times the tests on 100 made-up images of 224² on the small residual network, untrained.
``python -m benchmarks.heat_maps RUN [METHOD …] [--cases N]`` gives the verdicts of a trained run whose archive is here, and of
how many single maps each test would hold.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from overread.domain import Image, Recipe, Step, Task
from overread.imaging import preprocess
from overread.learn import saliency
from overread.learn.predict import Model, open_graph
from overread.learn.saliency_tests import learned, redrawn, trial
from overread.stats import maps
from overread.steps.heatmaps import Case, Panel, judge, panel_of
from overread.steps.progress import progress
from overread.steps.run import archive_of, read_json
from overread.store.archive import Archive

SIDE, IMAGES = 224, 100


def measure(*_) -> list[dict]:
    """Time every test of the default method for 100 images of 224²."""
    with tempfile.TemporaryDirectory() as folder:
        model, panel = _untrained(Path(folder))
        began = time.perf_counter()
        verdict = judge(model, panel, progress=True)
        seconds = time.perf_counter() - began
    return [
        {
            "what": f"all tests of {saliency.DEFAULT} on {IMAGES} images of {SIDE}², small residual network",
            "value": f"{seconds:.0f} s",
            "must": "< 120 s on 2 cores",
        },
        {"what": "verdict on this network, which has learned nothing", "value": verdict["why"], "must": "not passed"},
    ]


def _untrained(folder: Path) -> tuple[SimpleNamespace, Panel]:
    """Return the small residual network with its first weights, as a model; and noise with blobs to look at."""
    from overread.learn import export, networks

    rng = np.random.default_rng(0)
    built = networks.residual(input_shape=(SIDE, SIDE, 1), outputs=1, kind="binary")
    export.export(built, folder / "model.onnx", examples=rng.normal(size=(4, SIDE, SIDE, 1)).astype(np.float32))
    y, x = np.mgrid[:SIDE, :SIDE]
    made, there = [], np.arange(IMAGES) % 2
    for i in range(IMAGES):
        r, c = rng.uniform(40, SIDE - 40, 2)
        blob = 90 * np.exp(-((y - r) ** 2 + (x - c) ** 2) / 300) if there[i] else 0
        made.append(
            Image((rng.normal(90, 20, (SIDE, SIDE)) + blob).clip(0, 255).astype(np.uint8)[None], full_range=(0, 255))
        )
    recipe = Recipe(
        (
            Step("channels", {"count": 1}),
            Step("normalise", {"by": "full_range"}),
            Step("resize", {"size": (SIDE, SIDE)}),
        )
    )
    session = open_graph(folder / "model.onnx")
    model = SimpleNamespace(
        run=folder,
        recipe=recipe,
        task=Task(("blob",), "binary", "blob"),
        tail=export.head(built),
        session=session,
        workers=2,
    )
    model.run_inputs = saliency.Network(session, model.tail).run_inputs
    cases = [Case(partial(made.__getitem__, i), 0, None) for i in range(IMAGES)]
    return model, Panel(cases, [partial(made.__getitem__, i) for i in range(64)], there[:64, None].astype(float))


def verdicts(run: Path, methods: Sequence[str], cases: int | None = None) -> None:
    """Print the verdict on each method for a trained run, and what its single maps would get; nothing is written."""
    model = Model.load(run)
    where = archive_of(run, read_json(run / "plan.json"))
    if where is None:
        raise SystemExit("the archive of this run is not here")
    with Archive.open(where) as archive:
        panel = panel_of(model, archive, seed=0)
        rows = np.random.default_rng(0).permutation(len(panel.cases))[:cases]
        chosen = [panel.cases[i] for i in sorted(rows)]
        for method in methods or saliency.METHODS:
            began, rng = time.perf_counter(), np.random.default_rng(0)
            others = redrawn(model, slopes=saliency.METHODS[method].slopes, rng=rng)
            inputs = [preprocess.apply(model.recipe, image()) for image in panel.images]
            proof = learned(model, inputs, panel.truth, rng=rng)
            how: dict[str, Any] = {"several": model.task.kind in ("multiclass", "ordinal"), "rng": rng}
            trials = []
            for case in progress(chosen, total=len(chosen), what=method, unit="cases"):
                x = preprocess.apply(model.recipe, case.image())
                trials.append(trial(model, x, case.output, method=method, others=others, **how))
            patients = [case.patient for case in chosen]
            verdict = maps.verdict(trials, None if None in patients else patients, rng, learned=proof)
            seconds = time.perf_counter() - began
            word = "passed" if verdict["passed"] else "did not pass"
            print(f"{method}: {word} ({verdict['cases']} cases, {seconds:.0f} s)", flush=True)
            for check in verdict["checks"]:
                print(f"   {'yes' if check['passed'] else 'NO '} {check['told']}", flush=True)
            print(f"   single maps that would pass: {singly(trials)}", flush=True)
    print(maps.CAUTION)


def singly(trials: Sequence[Mapping[str, Any]]) -> str:
    """Return how many single maps lie on the right side of each test's limit, and how many of all at once."""
    held = {
        "randomisation": [t["randomisation"]["head"] < maps.MOST_ALIKE for t in trials],
        "deletion": [t["deletion"]["map"] < min(t["deletion"]["random"], t["deletion"]["centre"]) for t in trials],
        "insertion": [t["insertion"]["map"] > max(t["insertion"]["random"], t["insertion"]["centre"]) for t in trials],
        "stability": [t["stability"] > maps.LEAST_STABLE for t in trials],
        "border": [t["border"] <= maps.MOST_BORDER for t in trials],
    }
    told = ", ".join(f"{name} {sum(rows)}" for name, rows in held.items())
    return f"{told}; all five {sum(map(all, zip(*held.values(), strict=True)))}; of {len(trials)}"


if __name__ == "__main__":
    words = argparse.ArgumentParser(prog="python -m benchmarks.heat_maps")
    words.add_argument("run", type=Path)
    words.add_argument("methods", nargs="*", metavar="METHOD", help=", ".join(saliency.METHODS))
    words.add_argument("--cases", type=int, help="so many, drawn by chance (at least 50 for a verdict)")
    given = words.parse_args()
    verdicts(given.run, given.methods, given.cases)
