"""What the tests of heat-maps cost, and what they say of each method on a real run.

``python -m benchmarks heat_maps`` times the tests on 100 made-up images of 224² on the small residual network, untrained.
``python -m benchmarks.heat_maps RUN [METHOD …]`` gives the verdicts of a trained run whose archive is here.
"""

from __future__ import annotations

import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from overread.domain import Image, Recipe, Step, Task
from overread.learn import saliency
from overread.learn.predict import Model, open_graph
from overread.stats import maps
from overread.steps.heatmaps import Case, Panel, judge, panel_of
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


def verdicts(run: Path, methods: list[str]) -> None:
    """Print the verdict on each method for a trained run; nothing is written."""
    model = Model.load(run)
    where = archive_of(run, read_json(run / "plan.json"))
    if where is None:
        raise SystemExit("the archive of this run is not here")
    with Archive.open(where) as archive:
        panel = panel_of(model, archive, seed=0)
        for method in methods or saliency.METHODS:
            began = time.perf_counter()
            verdict = judge(model, panel, method=method, progress=True)
            seconds = time.perf_counter() - began
            word = "passed" if verdict["passed"] else "did not pass"
            print(f"{method}: {word} ({verdict['cases']} cases, {seconds:.0f} s)", flush=True)
            for check in verdict["checks"]:
                print(f"   {'yes' if check['passed'] else 'NO '} {check['told']}", flush=True)
    print(maps.CAUTION)


if __name__ == "__main__":
    verdicts(Path(sys.argv[1]), sys.argv[2:])
