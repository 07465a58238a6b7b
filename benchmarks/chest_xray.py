"""chest_xray with its published split: one command, default settings, the label named."""

import json
import tempfile
from pathlib import Path

from benchmarks.data import SHARED, overread, told
from benchmarks.shortcut_panel import panel


def measure() -> list[dict]:
    source = SHARED / "chest_xray"
    if not source.is_dir():
        return [{"what": "skipped", "value": "the real images (../shared/data) are not on this machine"}]
    with tempfile.TemporaryDirectory() as folder:
        archive, run = Path(folder) / "archive", Path(folder) / "run"
        collected = overread(
            "collect", source, "--labels", source / "labels.csv", "--patient", "patient", "--into", archive
        )
        trained = overread("train", archive, "--label", "pneumonia", "--split-column", "published_split", "--out", run)
        metrics = json.loads((run / "metrics.json").read_text())
        shortcuts = panel(run, archive)
    ours, simple = metrics["labels"]["pneumonia"], metrics["floors"]["simple-cnn"]
    simple = simple.get("pneumonia", simple)
    return [
        {"what": "collect 5,840 films", "value": f"{collected.seconds:.0f} s, {collected.gigabytes:.1f} GB"},
        {
            "what": "train and evaluate, the baseline included",
            "value": f"{trained.seconds / 60:.1f} min",
            "must": "≤ 20 min",
        },
        {"what": "memory", "value": f"{trained.gigabytes:.1f} GB", "must": "< 4 GB"},
        {"what": "testing AUROC", "value": told(ours["auroc"]), "must": "≥ 0.97"},
        {
            "what": "sensitivity, specificity at the operating point",
            "value": f"{told(ours['sensitivity'])}, {told(ours['specificity'])}",
        },
        {"what": "accuracy at 0.5", "value": told(ours["accuracy_at_half"])},
        {"what": "simple-cnn beside it, testing AUROC", "value": told(simple["auroc"])},
        {
            "what": "logistic on thumbnails, testing AUROC",
            "value": told(metrics["floors"]["logistic_thumbnails"]["pneumonia"]["auroc"]),
        },
        {
            "what": "tuning AUROC when one class is changed one way and the other the other (worst of each pair)",
            "value": ", ".join(f"{name} {figure:.3f}" for name, figure in shortcuts.items()),
        },
    ]
