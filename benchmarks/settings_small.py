"""Which settings suit small pictures, grades and small volumes: repeated hold-outs inside the published training images.

    python -m benchmarks.settings_small retinamnist --out tried.jsonl --fold 0 --seed 0 --set loss.smoothing=0.1
    python -m benchmarks.settings_small --table tried.jsonl

Each run draws up the plan by today's rules, changes what `--set part.word=value` says, learns from two thirds (or what
`--folds` leaves) of the published training and tuning images, and is judged on the rest. The published testing arrays
are never opened: `learning_images` reads the other four by name. What was concluded stands in docs/decisions/0016.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import defaultdict
from itertools import product
from pathlib import Path

import numpy as np

from benchmarks.data import SHARED

SETS = {"pneumoniamnist": "binary", "retinamnist": "ordinal", "adrenalmnist3d": "binary"}
AXIS = {"left-right": -2, "up-down": -3, "slices": 1}


def learning_images(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the published training and tuning images as a network's input, and the answers as 0, 1, …"""
    with np.load(SHARED / "medmnist" / f"{name}.npz") as kept:
        x = np.concatenate([kept["train_images"], kept["val_images"]])
        y = np.concatenate([kept["train_labels"], kept["val_labels"]])[:, 0].astype(int)
    volumes = name.endswith("3d")
    if x.ndim == (4 if volumes else 3):
        x = x[..., None]
    return ((x / 255.0 - 0.5) / 0.25).astype(np.float32), y


def folds(x: np.ndarray, y: np.ndarray, k: int) -> np.ndarray:
    """Give every image a fold, each answer spread evenly over them; images that are equal stay together."""
    rng = np.random.default_rng(0)
    _, same = np.unique(x.reshape(len(x), -1), axis=0, return_inverse=True)
    first = np.unique(same, return_index=True)[1]
    of = np.zeros(len(first), int)
    for answer in np.unique(y):
        group = rng.permutation(np.flatnonzero(y[first] == answer))
        of[group] = np.arange(len(group)) % k
    return of[same]


def folds_by_looks(x: np.ndarray, k: int) -> np.ndarray:
    """Give every image a fold, images that look alike the same one.

    The two eyes of a person, photographed twice each, are four images, and nobody says which: a division by looks parts
    few of them, and asks for more than one at random does.
    """
    from sklearn.cluster import KMeans

    small = x[:, ::4, ::4].reshape(len(x), -1)
    cluster = KMeans(20 * k, n_init=2, random_state=0).fit_predict(small)
    of, size = np.zeros(20 * k, int), np.zeros(k)
    for one in np.argsort(-np.bincount(cluster)):
        of[one] = size.argmin()
        size[of[one]] += (cluster == one).sum()
    return of[cluster]


def truth_of(y: np.ndarray, kind: str, levels: int) -> np.ndarray:
    """Return the answers as training wants them: one column, or one a level."""
    return y[:, None].astype(float) if kind == "binary" else np.eye(levels)[y]


def plan_of(
    name: str, x: np.ndarray, y: np.ndarray, changes: dict, *, seed: int, flips: list[str], turns: list[str],
    network: str = "residual",
):  # fmt: skip
    """Return today's plan for such a cohort with the changes; the sides as the mirror test found them."""
    from overread.domain import Task
    from overread.learn import plan as planning

    kind, levels = SETS[name], int(y.max()) + 1
    labels = ("label",) if kind == "binary" else tuple(f"label {i}" for i in range(levels))
    shape = x.shape[1:-1] if x.ndim == 5 else (1, *x.shape[1:-1])
    counts = dict(zip(labels if kind != "binary" else ("not label", "label"), np.bincount(y).tolist(), strict=True))
    alike = {"auroc": 0.5, "low": 0.45, "high": 0.55, "n": len(x), "alike": True}
    seen = planning.Fingerprint(
        n=len(x), shape=shape, channels=x.shape[-1], modality="", unit="stored",
        volumes=len(x) if x.ndim == 5 else 0, eight_bit=True, answers=counts,
        sides=dict.fromkeys((*flips, *turns), alike),
    )  # fmt: skip
    plan = planning.draw_up(Task(labels, kind, "label"), seen, network=network, seed=seed)
    for part, values in changes.items():
        plan = planning.changed(plan, part, "tried", **values)
    return plan


def run(args) -> dict:
    """Learn from all folds but one, and return how the other was answered."""
    from overread.learn import fit

    x, y = learning_images(args.set_name)
    of = folds_by_looks(x, args.folds) if args.by_looks else folds(x, y, args.folds)
    learn, judge = np.flatnonzero(of != args.fold)[:: args.thin], of == args.fold
    kind, levels = SETS[args.set_name], int(y.max()) + 1
    plan = plan_of(args.set_name, x[learn], y[learn], changes_of(args.set), seed=args.seed, flips=args.flips, turns=args.turns)  # fmt: skip
    truth = truth_of(y, kind, levels)
    began, cpu = time.monotonic(), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        fitted = fit.fit(
            plan, training=(x[learn], truth[learn]), tuning=(x[:0], truth[:0]), score=lambda z, t: 0.0,
            checkpoint=Path(folder) / "checkpoint.npz", tell=watch(args),
        )  # fmt: skip
    seconds, cpu = time.monotonic() - began, time.process_time() - cpu
    read = [fit.logits(fitted.built, mirrored(x[judge], axes)) for axes in views(plan.augmentation.get("flips", ()))]
    prior = np.log(np.bincount(y[learn], minlength=levels) / len(learn))
    shift = float(prior[0] - prior[1]) if kind == "binary" and plan.weigh_classes else 0.0
    found = {
        "set": args.set_name, "trial": args.trial, "fold": args.fold, "folds": args.folds, "seed": args.seed, "thin": args.thin, "by_looks": args.by_looks,
        "changes": args.set, "flips": args.flips, "turns": args.turns, "epochs": plan.epochs, "n": len(learn),
        "loss": fitted.history[-1]["loss"], "seconds": round(seconds, 1), "cpu": round(cpu, 1),
    }  # fmt: skip
    found |= {"one": figures(read[0], y[judge], shift), "views": figures(np.mean(read, axis=0), y[judge], shift)}
    if args.scores:
        args.scores.mkdir(parents=True, exist_ok=True)
        np.savez(
            args.scores / f"{args.set_name}.{args.trial}.{args.fold}.{args.seed}.npz",
            one=read[0], views=np.mean(read, axis=0), y=y[judge], shift=shift,
        )  # fmt: skip
    return found


def watch(args):
    """Return what is told of each step: a line an epoch, on stderr."""

    def tell(news: dict) -> None:
        if news["step"] == news["steps"] and "tuning" not in news and news["epoch"] % 5 == 4:
            print(f"{args.trial} epoch {news['epoch'] + 1}/{news['epochs']} loss {news['loss']:.3f}", file=sys.stderr)

    return tell


def views(flips) -> list[tuple[int, ...]]:
    """Return the axes of each mirrored view: none, then every combination."""
    return [tuple(AXIS[f] for f, on in zip(flips, which, strict=True) if on) for which in product((0, 1), repeat=len(flips))]  # fmt: skip


def mirrored(x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """Return images mirrored along some axes."""
    return np.flip(x, axis=axes) if axes else x


def figures(z: np.ndarray, y: np.ndarray, shift: float) -> dict:
    """Return AUC (mean of one level against the rest) and shares of right answers.

    ``acc`` decides by the likelier answer with the class weights undone, ``acc_balanced`` as if both were as frequent.
    """
    from sklearn.metrics import roc_auc_score

    if z.shape[1] == 1:
        z = z[:, 0]
        return {
            "auc": round(float(roc_auc_score(y, z)), 4),
            "acc": round(float(((z - shift > 0) == y).mean()), 4),
            "acc_balanced": round(float(((z > 0) == y).mean()), 4),
        }
    p = np.exp(z - z.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    auc = np.mean([roc_auc_score(y == k, p[:, k]) for k in range(z.shape[1])])
    median = (p.cumsum(axis=1) < 0.5).sum(axis=1)
    return {
        "auc": round(float(auc), 4),
        "acc": round(float((p.argmax(axis=1) == y).mean()), 4),
        "acc_median": round(float((median == y).mean()), 4),
    }


def changes_of(told: list[str]) -> dict:
    """Return part → word → value from "part.word=value", the value as JSON.

    Examples
    --------
    >>> changes_of(["loss.smoothing=0.1", "network.widths=[16, 32]"])
    {'loss': {'smoothing': 0.1}, 'network': {'widths': [16, 32]}}
    """
    out: dict = defaultdict(dict)
    for one in told:
        where, _, value = one.partition("=")
        part, _, word = where.partition(".")
        out[part][word] = json.loads(value)
    return dict(out)


def table(path: Path) -> str:
    """Return what was tried, one line a trial, the means over folds and seeds."""
    rows = defaultdict(list)
    for line in path.read_text().splitlines():
        one = json.loads(line)
        rows[(one["set"], one["trial"])].append(one)
    lines = [
        "| set | trial | runs | AUC | ACC | AUC, views | ACC, views | s a run |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (name, trial), runs in rows.items():
        mean = [np.mean([r[how][what] for r in runs]) for how in ("one", "views") for what in ("auc", "acc")]
        each = " | ".join(f"{v:.3f}" for v in mean)
        lines.append(f"| {name} | {trial} | {len(runs)} | {each} | {np.mean([r['cpu'] for r in runs]):.0f} |")
    return "\n".join(lines)


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("set_name", nargs="?", choices=tuple(SETS))
    ask.add_argument("--trial", default="today's rules", help="what to call it in the table")
    ask.add_argument("--fold", type=int, default=0)
    ask.add_argument("--folds", type=int, default=3)
    ask.add_argument("--seed", type=int, default=0)
    ask.add_argument("--thin", type=int, default=1, help="learn from one image in so many, as a small cohort would")
    ask.add_argument("--by-looks", action="store_true", help="images that look alike into the same fold")
    ask.add_argument("--set", action="append", default=[], help="part.word=value of the plan")
    ask.add_argument("--flips", nargs="*", default=[])
    ask.add_argument("--turns", nargs="*", default=[])
    ask.add_argument("--out", type=Path, default=Path("tried.jsonl"))
    ask.add_argument("--scores", type=Path, help="folder for the raw scores")
    ask.add_argument("--table", type=Path, help="print the table of an earlier --out")
    args = ask.parse_args()
    if args.table:
        print(table(args.table))
        return
    if args.set_name is None:
        ask.error("name a set, or --table")
    found = run(args)
    with args.out.open("a") as out:
        out.write(json.dumps(found) + "\n")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
