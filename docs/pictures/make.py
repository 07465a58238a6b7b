"""Make the pictures of the documents: python docs/pictures/make.py (a few seconds, no data needed)."""

from __future__ import annotations

import csv
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

import overread as ov

HERE = Path(__file__).parent
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def phantom_picture(path: Path) -> None:
    """Draw a film without and one with nodules, a lateral view and a CT slice, with the known lesions ringed."""
    with tempfile.TemporaryDirectory() as folder:
        chest = ov.phantom(Path(folder) / "chest", patients=60, size=384, now=NOW, seed=4, progress=False)
        ct = ov.phantom(Path(folder) / "ct", kind="ct", patients=2, size=128, now=NOW, seed=4, progress=False)
        rows = _rows(chest.labels)
        with_nodules = [r for r in rows if r["nodule"] == "1"]
        lateral = next(r["file"] for r in with_nodules if r["view"] == "LL")
        shown = [
            ("PA, no nodule", chest, next(r["file"] for r in rows if r["nodule"] == "0" and r["view"] == "PA")),
            (
                "PA, nodules",
                chest,
                next(r["file"] for r in with_nodules if r["patient"] in _several(chest.lesions) and r["view"] == "PA"),
            ),
            ("lateral, nodules", chest, lateral),
            ("CT, nodule", ct, next(r["file"] for r in _rows(ct.labels) if r["nodule"] == "1")),
        ]
        figure, axes = plt.subplots(1, 4, figsize=(12.8, 3.5), facecolor="black")
        for axis, (title, made, file) in zip(axes, shown, strict=True):
            _one(axis, title, made, file)
        figure.subplots_adjust(left=0.004, right=0.996, top=0.92, bottom=0.005, wspace=0.015)
        figure.savefig(path, dpi=100, facecolor="black")


def _one(axis, title: str, made, file: str) -> None:
    """Draw one film, or the slice of a volume through its largest nodule."""
    image = ov.read(made.folder / file)[0]
    marks = [r for r in _rows(made.lesions) if r["file"] == file]
    at = round(float(max(marks, key=lambda r: float(r["radius"]))["slice"])) if image.is_volume else 0
    window = {"vmin": -1020, "vmax": 250} if image.unit == "HU" else {}
    axis.imshow(image.voxels[at], cmap="gray", interpolation="bicubic", **window)
    for mark in marks:
        if round(float(mark["slice"])) == at:
            ring = plt.Circle((float(mark["column"]), float(mark["row"])), 1.5 * float(mark["radius"]), fill=False)
            ring.set(edgecolor="#ffb000", linewidth=1.4)
            axis.add_patch(ring)
    axis.set_title(title, color="white", fontsize=11)
    axis.axis("off")


def _rows(table: Path) -> list[dict[str, str]]:
    with table.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def _several(lesions: Path) -> set[str]:
    """Return the patients with two or more nodules on one film."""
    files = [r["file"] for r in _rows(lesions)]
    return {f"PHANTOM-{Path(f).name[:4]}" for f in files if files.count(f) > 1}


if __name__ == "__main__":
    phantom_picture(HERE / "phantom.png")
