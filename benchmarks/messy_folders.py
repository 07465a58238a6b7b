"""Folders as users have them: collected and trained with no manual cleaning."""

import json
import tempfile
from pathlib import Path

from benchmarks.data import SHARED, overread, told

SETS = {
    "brain_mri": (("--labels-from-folders",), "yes"),
    "lung_ct": (("--labels-from-folders",), "class"),
    "mammography": (("--labels", "LABELS", "--patient", "patient"), "label"),
}


def measure() -> list[dict]:
    figures = []
    for name, (how, label) in SETS.items():
        source = SHARED / name
        if not source.is_dir():
            figures.append(
                {"what": f"{name} skipped", "value": "the real images (../shared/data) are not on this machine"}
            )
            continue
        with tempfile.TemporaryDirectory() as folder:
            archive, run = Path(folder) / "archive", Path(folder) / "run"
            words = [source / "labels.csv" if w == "LABELS" else w for w in how]
            overread("collect", source, "--into", archive, *words)
            seen = json.loads(overread("inspect", archive, "--json").stdout)
            ran = overread("train", archive, "--label", label, "--out", run)
            metrics = json.loads((run / "metrics.json").read_text())
            report = (run / "report.html").read_text()
        files = seen["files"]
        figures += [
            {"what": f"{name}: files read, refused", "value": f"{files['read']}, {len(files['refused'])}"},
            *({"what": "   refused", "value": f"{r['file']}: {r['reason']}"} for r in files["refused"]),
            {
                "what": f"{name}: AUROC for {label} ({ran.seconds:.0f} s)",
                "value": told(metrics["labels"][label]["auroc"]),
            },
            {
                "what": f"{name}: logistic on thumbnails",
                "value": told(metrics["floors"]["logistic_thumbnails"][label]["auroc"]),
            },
            {
                "what": f"{name}: the report warns of missing patient ids",
                "value": "yes" if "patient identity unknown" in report else "no (they are known)",
            },
        ]
    return figures
