"""MedMNIST with no option but the label (the file carries its official split), beside the published table."""

import json
import tempfile
from pathlib import Path

from benchmarks.data import SHARED, overread, told

PUBLISHED = {  # Yang et al., Sci Data 2023, doi:10.1038/s41597-022-01721-8: best of ResNet-18/50, auto-sklearn, AutoKeras; AutoML
    "pneumoniamnist": ".962/.884 (ResNet-50 at 224), AutoML Vision .991/.946",
    "retinamnist": ".719/.503 (AutoKeras), AutoML Vision .750/.531",
    "adrenalmnist3d": ".839/.754 (ResNet-18 + ACS), auto-sklearn .828/.802",
}


def measure() -> list[dict]:
    figures = []
    for name, published in PUBLISHED.items():
        source = SHARED / "medmnist" / f"{name}.npz"
        if not source.is_file():
            figures.append(
                {"what": f"{name} skipped", "value": "the real images (../shared/data) are not on this machine"}
            )
            continue
        with tempfile.TemporaryDirectory() as folder:
            archive, run = Path(folder) / "archive", Path(folder) / "run"
            overread("collect", source, "--into", archive)
            ran = overread("train", archive, "--label", "label", "--out", run)
            metrics = json.loads((run / "metrics.json").read_text())
        ours = metrics["labels"]["label"]
        accuracy = ours.get("accuracy_at_half") or ours["accuracy"]
        figures.append(
            {
                "what": f"{name}: AUC / ACC ({ran.seconds / 60:.1f} min)",
                "value": f"{told(ours['auroc'])} / {told(accuracy)}",
            }
        )
        simple = metrics["floors"]["simple-cnn"]
        figures.append({"what": f"{name}: simple-cnn beside it", "value": told(simple.get("label", simple)["auroc"])})
        figures.append({"what": f"{name}: published", "value": published})
    return figures
