"""Are volumes read better slice by slice, in three dimensions, or by both? Published *training and tuning* volumes only.

    python -m benchmarks.slices adrenalmnist3d --network slices --fold 0 --out folder
    python -m benchmarks.slices adrenalmnist3d --table folder

One of three folds (as `benchmarks.settings_small` draws them) is judged, the others teach; all mirrored views are read.
Each run keeps its scores in the folder, so that networks are compared on the same volumes, and their mean with them.
The published testing volumes are never opened. `thick` is made up: twelve thick slices of 80 × 80, in one of which a small
spot is the finding, beside larger ones that are none. What was concluded stands in docs/decisions/0023.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np

from benchmarks.settings_small import (
    changes_of,
    figures,
    folds,
    learning_images,
    mirrored,
    plan_of,
    truth_of,
    views,
)

FLIPS = ["left-right", "up-down", "slices"]


def thick(*, n: int = 450, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return made-up volumes of thick slices, (n, 12, 80, 80), 0 to 255, and whether a small spot lies in one slice."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    rows, columns = np.mgrid[:80, :80]
    volumes = np.empty((n, 12, 80, 80), np.uint8)
    for i in range(n):
        soft = gaussian_filter(rng.normal(size=(12, 80, 80)), (0, 4, 4))
        volume = 110 + 18 * soft / soft.std() + rng.normal(0, 12, soft.shape)
        for small in [False] * 4 + [True] * int(y[i]):
            k, r, c, width = rng.integers(12), *rng.integers(10, 70, 2), 1.2 if small else rng.uniform(3, 5)
            volume[k] += (120 if small else 75) * np.exp(-((rows - r) ** 2 + (columns - c) ** 2) / (2 * width**2))
        volumes[i] = volume.clip(0, 255)
    return volumes, y


def material(name: str, network: str) -> tuple[np.ndarray, np.ndarray, object]:
    """Return volumes as the network takes them, the answers, and what draws up its plan for some of them."""
    if name != "thick":
        x, y = learning_images(name)
        return x, y, partial(plan_of, name, flips=FLIPS, turns=[], network=network)
    from overread.domain import Image, Task
    from overread.imaging import preprocess
    from overread.learn import plan as planning

    raw, y = thick()
    alike = {"auroc": 0.5, "low": 0.45, "high": 0.55, "n": len(y), "alike": True}
    seen = planning.Fingerprint(
        n=2 * len(y) // 3, shape=raw.shape[1:], channels=1, modality="", unit="stored", volumes=len(y), eight_bit=True,
        spacing_mm=(6.0, 1.0, 1.0), sides=dict.fromkeys(FLIPS, alike),
    )  # fmt: skip

    def drawn(x, y, changes, *, seed):
        plan = planning.draw_up(Task(("spot",), "binary", "spot"), seen, network=network, seed=seed)
        for part, values in changes.items():
            plan = planning.changed(plan, part, "tried", **values)
        return plan

    recipe = drawn(None, None, {}, seed=0).recipe
    x = np.stack([preprocess.apply(recipe, Image(one, full_range=(0, 255))) for one in raw])
    return x, y, drawn


def run(args) -> None:
    """Learn from all folds but one, and keep how the other was answered."""
    from overread.learn import fit

    x, y, drawn = material(args.set_name, args.network)
    of = folds(x, y, args.folds)
    learn, judge = np.flatnonzero(of != args.fold), np.flatnonzero(of == args.fold)
    plan = drawn(x[learn], y[learn], changes_of(args.set), seed=args.seed)
    truth = truth_of(y, "binary", 2)
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        fitted = _trainer(plan)(
            plan, training=(x[learn], truth[learn]), tuning=(x[:0], truth[:0]), score=lambda z, t: 0.0,
            checkpoint=Path(folder) / "checkpoint.npz", tell=partial(_watch, args.trial or args.network),
        )  # fmt: skip
    cpu = time.process_time() - began
    each = views(plan.augmentation.get("flips", ()))
    read = [fit.logits(fitted.built, mirrored(x[judge], axes)) for axes in each]
    prior = np.log(np.bincount(y[learn]) / len(learn))
    args.out.mkdir(parents=True, exist_ok=True)
    name = args.trial or args.network
    np.savez(
        args.out / f"{args.set_name}.{name}.{args.fold}.{args.seed}.npz", one=read[0], views=np.mean(read, axis=0),
        y=y[judge], shift=float(prior[0] - prior[1]) if plan.weigh_classes else 0.0, cpu=cpu,
        told=json.dumps({"epochs": plan.epochs, "loss": fitted.history[-1]["loss"], "changes": args.set}),
    )  # fmt: skip
    print(name, args.fold, args.seed, f"{cpu:.0f} s", figures(read[0], y[judge], 0.0), figures(np.mean(read, axis=0), y[judge], 0.0))  # fmt: skip


def _trainer(plan):
    from overread.learn import fit, slice_features

    return slice_features.fit if plan.network == "slice-features" else fit.fit


def _watch(name: str, news: dict) -> None:
    if news["step"] == news["steps"] and "tuning" in news and news["epoch"] % 4 == 3:
        print(f"{name} epoch {news['epoch'] + 1}/{news['epochs']} loss {news['loss']:.3f}", file=sys.stderr, flush=True)


def table(folder: Path, name: str) -> str:
    """Return what was kept, one line a network (and each mean of two), and the paired differences from the first."""
    kept: dict[str, dict[tuple[str, str], dict]] = {}
    for file in sorted(folder.glob(f"{name}.*.npz")):
        trial, fold, seed = file.name.removeprefix(f"{name}.").removesuffix(".npz").rsplit(".", 2)
        with np.load(file) as held:
            kept.setdefault(trial, {})[fold, seed] = {k: held[k] for k in held.files}
    for first, second in combinations(list(kept), 2):
        both = kept[first].keys() & kept[second].keys()
        if both:
            kept[f"{first} + {second}"] = {key: _mean(kept[first][key], kept[second][key]) for key in sorted(both)}
    lines = ["| | fold, seed | AUROC | ACC | AUROC, views | ACC, views | CPU-s |", "|---|---|---|---|---|---|---|"]
    for trial, runs in kept.items():
        for (fold, seed), held in runs.items():
            told = [figures(held[how], held["y"], float(held["shift"])) for how in ("one", "views")]
            row = " | ".join(f"{f[word]:.3f}" for f in told for word in ("auc", "acc"))
            lines.append(f"| {trial} | {fold}, {seed} | {row} | {float(held['cpu']):.0f} |")
    return "\n".join([*lines, "", *_differences(kept)])


def _mean(first: dict, second: dict) -> dict:
    mean = {how: (first[how] + second[how]) / 2 for how in ("one", "views")}
    return {**first, **mean, "cpu": first["cpu"] + second["cpu"]}


def _differences(kept: dict) -> list[str]:
    """Return the mean difference of AUROC over folds for every two trials, with its standard error (views)."""
    out = []
    for first, second in combinations(kept, 2):
        both = sorted(kept[first].keys() & kept[second].keys())
        gaps = [gap(kept[second][key]["views"][:, 0], kept[first][key]["views"][:, 0], kept[first][key]["y"]) for key in both]  # fmt: skip
        if gaps:
            value = np.mean([g[0] for g in gaps])
            error = np.sqrt(np.sum([g[1] ** 2 for g in gaps])) / len(gaps)
            out.append(f"{second} less {first}: {value:+.4f} (s.e. {error:.4f}, {len(gaps)} runs)")
    return out


def gap(one: np.ndarray, other: np.ndarray, y: np.ndarray, *, draws: int = 300) -> tuple[float, float]:
    """Return the difference of two AUROCs on the same volumes, and its standard error by drawing volumes again."""
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(0)
    found = []
    for _ in range(draws):
        some = rng.integers(0, len(y), len(y))
        found.append(roc_auc_score(y[some], one[some]) - roc_auc_score(y[some], other[some]))
    return float(roc_auc_score(y, one) - roc_auc_score(y, other)), float(np.std(found, ddof=1))


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("set_name", choices=("adrenalmnist3d", "thick"))
    ask.add_argument("--network", default="slices")
    ask.add_argument("--trial", default="", help="what to call it in the table")
    ask.add_argument("--fold", type=int, default=0)
    ask.add_argument("--folds", type=int, default=3)
    ask.add_argument("--seed", type=int, default=0)
    ask.add_argument("--set", action="append", default=[], help="part.word=value of the plan")
    ask.add_argument("--out", type=Path, default=Path("tried-slices"))
    ask.add_argument("--table", type=Path, help="print what an earlier --out holds")
    args = ask.parse_args()
    if args.table:
        print(table(args.table, args.set_name))
        return
    run(args)


if __name__ == "__main__":
    main()
