"""Does learning from images without answers help? Tried on published *training and tuning* images only.

    python -m benchmarks.pretraining learn pneumoniamnist --steps 600 --into start.npz
    python -m benchmarks.pretraining judge pneumoniamnist --labelled 100 --start start.npz --seed 0 --out tried.jsonl

A third of the images is held out for judging: neither their pixels nor their answers are learned from. Of the others all are
looked at, and a hundred have an answer. What was concluded stands in docs/decisions/0025.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.better_start import plan_of, small_pictures
from benchmarks.data import SHARED
from benchmarks.settings_small import SETS

MOST = 4000


def pictures(name: str) -> tuple[list[np.ndarray], np.ndarray, str, list[str]]:
    """Return pictures, answers, the kind of question and along which axes they may be mirrored."""
    if name == "brain_mri":
        from PIL import Image as Opened

        files = sorted(p for kind in ("no", "yes") for p in (SHARED / name / kind).iterdir())
        x = [np.asarray(Opened.open(p).convert("L").resize((96, 96))) for p in files]
        return x, np.array([int(p.parent.name == "yes") for p in files]), "binary", ["left-right"]
    x, y = small_pictures(name)
    return x, y, SETS[name], ["left-right", "up-down"] if name == "retinamnist" else []


def divided(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return which images are learned from, at most ``MOST``, and which judge."""
    order = np.random.default_rng(99).permutation(n)
    return order[n // 3 :][:MOST], order[: n // 3]


def inputs(x, plan) -> np.ndarray:
    """Return what the network sees."""
    from overread.domain import Image
    from overread.imaging import preprocess

    return np.stack([preprocess.apply(plan.recipe, Image(one[None], full_range=(0, 255))) for one in x])


def learn(name: str, steps: int, into: Path, seed: int) -> dict:
    """Learn from the images that do not judge, without their answers."""
    from overread.learn import pretrain, pretrained

    x, y, kind, flips = pictures(name)
    plan = plan_of(x, y, kind, {}, network="residual", seed=seed, flips=flips)
    seen, _ = divided(len(x))
    rows = inputs([x[i] for i in seen], plan)
    epochs = max(1, round(steps / (len(rows) // 64)))
    began = time.process_time()
    with tempfile.TemporaryDirectory() as home:
        settings = pretrain.Settings(epochs=epochs, seed=seed)
        learned = pretrain.learn(rows, plan.build, settings, checkpoint=Path(home) / "c.npz")
    np.savez(into, **pretrained.taken(learned.built.trained))
    return {"set": name, "steps": steps, "cpu_s": round(time.process_time() - began), "history": learned.history[-1]}


def judge(name: str, labelled: int, start: Path | None, seed: int, changes: dict) -> dict:
    """Train with few answers, from nothing or from a start; judge on images that nothing was learned from."""
    from overread.learn import fine_tuned, fit, frozen, pretrained
    from overread.learn.framework import keras
    from overread.stats.metrics import mean_auroc

    x, y, kind, flips = pictures(name)
    seen, held = divided(len(x))
    few = np.random.default_rng((7, seed)).permutation(seen)[:labelled]
    levels = int(y.max()) + 1
    known = (y[:, None] == np.arange(levels)).astype(float) if kind != "binary" else y[:, None].astype(float)
    plan = plan_of([x[i] for i in few], y, kind, {}, network="residual", seed=seed, flips=flips)
    plan = replace(plan, ensemble=1, views=(), optimiser={**plan.optimiser, **changes})
    rows, tests = inputs([x[i] for i in few], plan), inputs([x[i] for i in held], plan)
    keras.utils.set_random_seed(seed)
    built = fit.build(plan)
    told = {}
    if start is not None:
        with np.load(start) as kept:
            pretrained.fill(built.trained, dict(kept))
        fine_tuned.settle(built, rows, seed=seed)
    line = frozen.fit_head(built, plan, training=(rows, known[few]))
    told["line"] = mean_auroc(known[held], fit.logits(built, tests))
    if start is None:
        keras.utils.set_random_seed(seed)
        built = fit.build(plan)
    began = time.process_time()
    with tempfile.TemporaryDirectory() as home:
        fitted = fit.fit(
            plan, training=(rows, known[few]), tuning=(rows[:0], known[:0]), score=lambda z, t: 0.0,
            checkpoint=Path(home) / "c.npz", built=built,
        )  # fmt: skip
    told["trained"] = mean_auroc(known[held], fit.logits(fitted.built, tests))
    return {
        "set": name, "labelled": labelled, "start": start.name if start else None, "seed": seed, "changes": changes,
        "cpu_s": round(time.process_time() - began), "penalty": line.penalty, **{k: round(float(v), 4) for k, v in told.items()},
    }  # fmt: skip


def main() -> None:
    """Do one thing and print what came of it."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("what", choices=("learn", "judge"))
    p.add_argument("set")
    p.add_argument("--steps", type=int, default=600)
    p.add_argument("--into", type=Path)
    p.add_argument("--labelled", type=int, default=100)
    p.add_argument("--start", type=Path)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--rate", type=float)
    p.add_argument("--lower", type=float)
    p.add_argument("--out", type=Path)
    o = p.parse_args()
    changes = {k: v for k, v in (("learning_rate", o.rate), ("lower", o.lower)) if v is not None}
    told = learn(o.set, o.steps, o.into, o.seed) if o.what == "learn" else judge(o.set, o.labelled, o.start, o.seed, changes)  # fmt: skip
    print(json.dumps(told))
    if o.out:
        with open(o.out, "a") as out:
            out.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()
