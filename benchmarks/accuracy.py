"""Accuracy on official testing cohorts: the label named and three networks that differ by their seed, beside the published figures.

    python -m benchmarks accuracy
    python -m benchmarks accuracy --only retinamnist --keep FOLDER

What one network reads stands first (mean, standard deviation, least and most over three seeds), then what the three
answer together, with its 95 % interval over patients. Nothing is chosen here: the default plan is executed.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.data import SHARED, overread, told

SEEDS = 3

LABELLED = ("--labels", "labels.csv", "--patient", "patient")

SETS: dict[str, dict[str, Any]] = {
    "pneumoniamnist": {"file": "medmnist/pneumoniamnist.npz", "label": "label", "published": ".973/.866 (honest multi-seed best at 28²), AutoML Vision .991/.946", "must": "mean ≥ .985, together ≥ .991, ACC ≥ .95, ≤ 20 min"},
    "retinamnist": {"file": "medmnist/retinamnist.npz", "label": "label", "published": ".754/.542 (multi-seed best at 28²), AutoML Vision .750/.531", "must": "≥ .77 / .58"},
    "adrenalmnist3d": {"file": "medmnist/adrenalmnist3d.npz", "label": "label", "published": ".839/.754 (ResNet-18 + ACS), auto-sklearn .828/.802", "must": "≥ .92 / .87"},
    "chest_xray": {"file": "chest_xray", "collect": LABELLED, "label": "pneumonia", "train": ("--split-column", "published_split"), "published": "ResNet-class networks at 224² .98/.91", "must": "≥ .99, specificity ≥ .90 at the point of sensitivity ≥ .95"},
    "mammography": {"file": "mammography", "collect": LABELLED, "label": "label", "published": "none by patient", "must": "above every floor by its interval, or the report says that these images do not allow it"},
}  # fmt: skip


def measure(words: Sequence[str] = ()) -> list[dict]:
    asked = argparse.ArgumentParser(prog="python -m benchmarks accuracy")
    asked.add_argument("--only", action="append", choices=SETS, help="this set (may be repeated)")
    asked.add_argument("--keep", type=Path, help="leave archives and runs here, to look at; what was cut short goes on")
    given = asked.parse_args(list(words))
    figures = []
    for name in given.only or SETS:
        if not (SHARED / SETS[name]["file"]).exists():
            figures.append({"what": f"{name} skipped", "value": "the real images (../shared/data) are not there"})
            continue
        with tempfile.TemporaryDirectory() as folder:
            figures += one(name, Path(given.keep or folder) / name)
    return figures


def one(name: str, folder: Path) -> list[dict]:
    """Collect, train and measure one set, and return its lines."""
    how, source = SETS[name], SHARED / SETS[name]["file"]
    words = [source / w if w.endswith(".csv") else w for w in how.get("collect", ())]
    run = folder / "run"
    if not run.exists():
        overread("collect", source, "--into", folder / "archive", *words)
    if not (run / "metrics.json").exists():
        asked = ("--label", how["label"], *how.get("train", ()), "--seeds", SEEDS)
        overread("train", folder / "archive", *asked, "--out", run, *(("--resume",) if run.exists() else ()))
    metrics, card = (json.loads((run / kept).read_text()) for kept in ("metrics.json", "card.json"))
    return lines(name, metrics, card["training"]["cost"]["training"])


def lines(name: str, metrics: dict, cost: dict) -> list[dict]:
    """Return what is told of a set: one network, several together, the operating point, and what stands beside them."""
    figures = []
    asked = {label: ours for label, ours in metrics["labels"].items() if label == SETS[name]["label"]}
    for label, ours in (asked or metrics["labels"]).items():  # of several levels: their mean, not each by itself
        what = name if len(metrics["labels"]) == 1 else f"{name} {label}"
        alone = metrics["seed_spread"].get(label)
        accuracy = ours.get("accuracy_at_half") or ours["accuracy"]
        if alone:
            spread = f"{alone['mean']:.3f} ± {alone['sd']:.3f} ({alone['low']:.3f}–{alone['high']:.3f})"
            figures.append({"what": f"{what}: AUC of one network, mean of {alone['n']} seeds", "value": spread, "must": SETS[name]["must"]})  # fmt: skip
        figures.append({"what": f"{what}: AUC / ACC together ({cost['processor_seconds'] / 60:.1f} processor minutes)", "value": f"{told(ours['auroc'])} / {told(accuracy)}"})  # fmt: skip
        if "specificity" in ours:
            point = f"{told(ours['sensitivity'])}, {told(ours['specificity'])}"
            figures.append({"what": f"{what}: sensitivity, specificity at the point chosen without them", "value": point})  # fmt: skip
        for floor, by in metrics["floors"].items():
            beside = by.get(label, by)
            if "auroc" in beside:
                figures.append({"what": f"{what}: {floor} beside it", "value": told(beside["auroc"])})
        figures.append({"what": f"{what}: published", "value": SETS[name]["published"]})
    return figures
