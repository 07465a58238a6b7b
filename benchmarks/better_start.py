"""Does a start help, and should it go on learning? Networks tried on published *training and tuning* images only.

    python -m benchmarks.better_start retinamnist --network fine-tuned --fold 0 --set optimiser.lower=0.1 --out tried.jsonl
    python -m benchmarks.better_start chest --network residual --fold virus --out tried.jsonl
    python -m benchmarks.better_start --table tried.jsonl

Pictures of 28 × 28 are judged on folds as `benchmarks.settings_small` draws them; chest films on the worlds of
docs/decisions/0005, each beside a random tenth of the other patients, on which the threshold is chosen: the share of
healthy films called healthy there is what a threshold is worth that has to travel. Testing images are never opened.
What was concluded stands in docs/decisions/0020.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np

from benchmarks.data import SHARED
from benchmarks.settings_small import SETS, changes_of, figures, folds, folds_by_looks, truth_of

WORLDS = ("numbers", "style", "virus")
SENSITIVITY = 0.95


def small_pictures(name: str) -> tuple[list[np.ndarray], np.ndarray]:
    """Return the published training and tuning images as they came, and the answers."""
    with np.load(SHARED / "medmnist" / f"{name}.npz") as kept:
        x = np.concatenate([kept["train_images"], kept["val_images"]])
        y = np.concatenate([kept["train_labels"], kept["val_labels"]])[:, 0].astype(int)
    return list(x), y


def films() -> tuple[list[np.ndarray], np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return films published as training: pixels, answers, patients, family and number in the file's name."""
    from PIL import Image as Opened

    with open(SHARED / "chest_xray" / "labels.csv", newline="") as table:
        rows = [r for r in csv.DictReader(table) if r["published_split"] == "train"]
    x = [np.asarray(Opened.open(SHARED / "chest_xray" / r["file"]).convert("L")) for r in rows]
    y = np.array([int(r["pneumonia"]) for r in rows])
    who = np.array([r["patient"] for r in rows])
    family = np.array([_family(r["file"]) for r in rows])
    number = np.array([_number(r["patient"]) for r in rows])
    return x, y, who, family, number


def _family(file: str) -> str:
    name = Path(file).name.lower()
    for word in ("virus", "bacteria", "normal2"):
        if word in name:
            return word
    return "normal"


def _number(patient: str) -> int:
    digits = "".join(c if c.isdigit() else " " for c in patient).split()
    return int(digits[-1]) if digits else 0


def world(name: str, x, y, who, family, number) -> np.ndarray:
    """Return which films a world holds out (docs/decisions/0005), whole patients."""
    if name == "numbers":
        held = np.zeros(len(y), bool)
        for one in np.unique(family):
            mine = family == one
            held |= mine & (number <= np.quantile(number[mine], 0.15))
    elif name == "virus":
        sevens = (y == 0) & (number % 7 == 0)
        held = (family == "virus") | sevens
    else:
        held = _of_another_style(x, y)
    return held if name == "virus" else np.isin(who, np.unique(who[held]))


def _of_another_style(x, y) -> np.ndarray:
    """One of four clusters of low-level looks, counted from the mean of the answer's own."""
    from sklearn.cluster import KMeans

    looks = np.array([_looks(one) for one in x])
    for answer in (0, 1):
        mine = y == answer
        looks[mine] = (looks[mine] - looks[mine].mean(0)) / looks[mine].std(0)
    cluster = KMeans(4, n_init=4, random_state=0).fit_predict(looks)
    sizes = np.bincount(cluster, minlength=4)
    share = np.array([y[cluster == k].mean() for k in range(4)])
    whole = [k for k in range(4) if 0.1 < share[k] < 0.97]
    return cluster == min(whole, key=lambda k: abs(sizes[k] - 935))


def _looks(film: np.ndarray) -> np.ndarray:
    f = film / 255.0
    border = np.concatenate([f[:8].ravel(), f[-8:].ravel(), f[:, :8].ravel(), f[:, -8:].ravel()])
    return np.array([f.mean(), f.std(), border.mean(), np.abs(np.diff(f, axis=1)).mean(), np.abs(np.diff(f, n=2, axis=0)).mean()])  # fmt: skip


def plan_of(x, y, kind: str, changes: dict, *, network: str, seed: int, flips: list[str]):
    """Return the plan that such a cohort gets, with the changes; the sides as told."""
    from overread.domain import Task
    from overread.learn import plan as planning

    levels = int(y.max()) + 1
    labels = ("label",) if kind == "binary" else tuple(f"label {i}" for i in range(levels))
    shape = (1, *np.median([one.shape[:2] for one in x], axis=0).astype(int).tolist())
    alike = {"auroc": 0.5, "low": 0.45, "high": 0.55, "n": len(x), "alike": True}
    channels = 3 if x[0].ndim == 3 else 1
    seen = planning.Fingerprint(
        n=len(x), shape=shape, channels=channels, modality="", unit="stored", volumes=0, eight_bit=True,
        sides=dict.fromkeys(flips, alike),
    )  # fmt: skip
    plan = planning.draw_up(Task(labels, kind, "label"), seen, network=network, seed=seed)
    for part, values in changes.items():
        plan = planning.changed(plan, part, "tried", **values)
    return plan


def inputs(x, plan) -> np.ndarray:
    """Return images as the plan's network takes them."""
    from overread.domain import Image
    from overread.imaging import preprocess

    return np.stack([preprocess.apply(plan.recipe, Image(one[None], full_range=(0, 255))) for one in x])


def run(args) -> dict:
    """Learn from some patients, and return how others were answered."""
    from overread.learn import fit
    from overread.learn.trainer import trainer_of

    x, y, who, kind, learn, tune, judge = _material(args)
    plan = plan_of([x[i] for i in learn], y[learn], kind, changes_of(args.set), network=args.network, seed=args.seed, flips=args.flips)  # fmt: skip
    truth = truth_of(y, kind, int(y.max()) + 1)
    began, cpu = time.monotonic(), time.process_time()
    _, how = trainer_of(plan, groups=who[learn], n=len(learn))
    with tempfile.TemporaryDirectory() as folder:
        fitted = how(
            plan, training=(inputs([x[i] for i in learn], plan), truth[learn]), tuning=(np.zeros((0, *plan.input_shape), "f4"), truth[:0]),
            score=lambda z, t: 0.0, checkpoint=Path(folder) / "checkpoint.npz", tell=_watch(args),
        )  # fmt: skip
    seconds, cpu = time.monotonic() - began, time.process_time() - cpu
    z = {name: fit.logits(fitted.built, inputs([x[i] for i in rows], plan)) for name, rows in (("tune", tune), ("judge", judge)) if len(rows)}  # fmt: skip
    if args.scores:
        args.scores.mkdir(parents=True, exist_ok=True)
        where = (
            args.scores
            / f"{args.set_name}.{args.network}.{args.trial}.{args.fold}.{args.seed}{'.looks' * args.by_looks}.npz"
        )
        np.savez(where, judge=judge, y=y[judge], tune_rows=tune, y_tune=y[tune], **{f"z_{k}": v for k, v in z.items()})
    prior = np.log(np.bincount(y[learn]) / len(learn))
    shift = float(prior[0] - prior[1]) if kind == "binary" and plan.weigh_classes else 0.0
    return {
        "set": args.set_name, "network": args.network, "trial": args.trial, "fold": args.fold, "folds": args.folds, "seed": args.seed,
        "by_looks": args.by_looks, "thin": args.thin, "changes": args.set, "flips": args.flips, "epochs": plan.epochs, "n": len(learn),
        "judged": len(judge), "loss": fitted.history[-1]["loss"], "seconds": round(seconds, 1), "cpu": round(cpu, 1),
        **figures(z["judge"], y[judge], shift), **(travelled(z["tune"], y[tune], z["judge"], y[judge]) if len(tune) else {}),
    }  # fmt: skip


def travelled(z_tune, y_tune, z, y) -> dict:
    """Return what a threshold is worth elsewhere that gives the sensitivity asked for on tuning images."""
    at = np.quantile(z_tune[y_tune == 1, 0], 1 - SENSITIVITY, method="lower")
    return {
        "tuning_specificity": round(float((z_tune[y_tune == 0, 0] < at).mean()), 4),
        "sensitivity": round(float((z[y == 1, 0] >= at).mean()), 4),
        "specificity": round(float((z[y == 0, 0] < at).mean()), 4),
    }


def _material(args):
    """Return images, answers, patients, the kind of answer, and the rows that teach, tune and judge."""
    rng = np.random.default_rng(1)
    if args.set_name == "chest":
        x, y, who, family, number = films()
        held = world(args.fold, x, y, who, family, number)
        others = np.unique(who[~held])
        tuning = np.isin(who, rng.choice(others, len(others) // 10, replace=False)) & ~held
        learn = np.flatnonzero(~held & ~tuning & ~np.isin(who, who[held]))[:: args.thin]
        return x, y, who, "binary", learn, np.flatnonzero(tuning), np.flatnonzero(held)
    x, y = small_pictures(args.set_name)
    stacked = np.stack(x)
    stacked = stacked[..., None] if stacked.ndim == 3 else stacked
    of = folds_by_looks(stacked / 255.0, args.folds) if args.by_looks else folds(stacked, y, args.folds)
    rest = np.flatnonzero(of != int(args.fold))
    return (
        x,
        y,
        np.arange(len(y)),
        SETS[args.set_name],
        rest[:: args.thin],
        rest[:0],
        np.flatnonzero(of == int(args.fold)),
    )


def _watch(args):
    def tell(news: dict) -> None:
        if news["step"] == news["steps"] and news["epoch"] % 5 == 4:
            print(f"{args.trial} epoch {news['epoch'] + 1}/{news['epochs']} loss {news['loss']:.3f}", file=sys.stderr)

    return tell


def table(path: Path) -> str:
    """Return what was tried, one line a trial: means over folds and seeds, and their standard error where there are several."""
    rows = defaultdict(list)
    for line in path.read_text().splitlines():
        one = json.loads(line)
        rows[(one["set"] + (" by looks" if one["by_looks"] else ""), one["network"], one["trial"])].append(one)
    words = ("auc", "acc", "acc_median", "tuning_specificity", "sensitivity", "specificity", "cpu")
    lines = ["| set | network | trial | runs | " + " | ".join(words) + " |", "|---" * (4 + len(words)) + "|"]
    for (name, network, trial), runs in sorted(rows.items()):
        each = []
        for word in words:
            v = [r[word] for r in runs if word in r]
            each.append("–" if not v else f"{np.mean(v):.3f}" if word != "cpu" else f"{np.mean(v):.0f}")
        lines.append(f"| {name} | {network} | {trial} | {len(runs)} | " + " | ".join(each) + " |")
    return "\n".join(lines)


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("set_name", nargs="?", choices=("pneumoniamnist", "retinamnist", "chest"))
    ask.add_argument("--network", default="fine-tuned", choices=("residual", "features", "fine-tuned", "pair"))
    ask.add_argument("--trial", default="today's rules", help="what to call it in the table")
    ask.add_argument("--fold", default="0", help="a number, or a world: " + ", ".join(WORLDS))
    ask.add_argument("--folds", type=int, default=3)
    ask.add_argument("--seed", type=int, default=0)
    ask.add_argument("--thin", type=int, default=1, help="learn from one image in so many")
    ask.add_argument("--by-looks", action="store_true", help="images that look alike into the same fold")
    ask.add_argument("--set", action="append", default=[], help="part.word=value of the plan")
    ask.add_argument("--flips", nargs="*", default=[])
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
