"""Does a model read what is no finding? One class is changed one way, the other class the other way; the worse counts.

Only the run's *tuning* cohort is read, so the panel may be used for choices; the published testing cohort may not.
Run it on any run: ``python -m benchmarks.shortcut_panel RUN ARCHIVE``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy import ndimage

from overread.learn.predict import Model
from overread.stats.ranking import delong
from overread.store.archive import Archive

MOST = 110  # films of each class: the panel is a comparison of networks on the same films, not an estimate

Change = Callable[[np.ndarray], np.ndarray]


def stretch(across: float, down: float) -> Change:
    def change(v: np.ndarray) -> np.ndarray:
        matrix, middle = np.diag([1 / down, 1 / across]), (np.array(v.shape) - 1) / 2
        return ndimage.affine_transform(v, matrix, middle - matrix @ middle, order=1)

    return change


def clipped(change: Change) -> Change:
    return lambda v: np.clip(change(v), 0, 255)


def soft(v: np.ndarray) -> np.ndarray:
    return ndimage.gaussian_filter(v, 1.5)


def framed(v: np.ndarray) -> np.ndarray:
    edge = round(0.0625 * min(v.shape))
    return np.pad(v[edge:-edge, edge:-edge], edge)


PANEL: dict[str, tuple[Change, Change]] = {
    "shape": (stretch(1.12, 1), stretch(1 / 1.12, 1)),
    "zoom": (stretch(1.12, 1.12), stretch(0.9, 0.9)),
    "brightness": (clipped(lambda v: v + 20), clipped(lambda v: v - 20)),
    "gamma": (lambda v: 255 * (v / 255) ** 0.8, lambda v: 255 * (v / 255) ** 1.25),
    "contrast": (clipped(lambda v: (v - 128) * 1.2 + 128), clipped(lambda v: (v - 128) * 0.8 + 128)),
    "blur": (soft, clipped(lambda v: v + 0.7 * (v - soft(v)))),
    "border": (framed, lambda v: v),
}
"""What one class gets, what the other gets. Values are those of 8-bit pictures."""


def panel(run: Path, archive: Path) -> dict[str, float]:
    """Return the AUROC on plain tuning films, under each pair of changes, and the mean over the pairs."""
    model = Model.load(run)
    label = model.task.labels[0]
    rng = np.random.default_rng(0)
    with Archive.open(archive) as store:
        rows = json.loads((run / "split.json").read_text())["cohorts"]["tuning"]
        studies = {s.pseudonym: s for s in store.studies()}
        truth = np.array([studies[r["study"]].labels[label] is True for r in rows])
        chosen = np.sort(np.concatenate([rng.permutation(np.flatnonzero(truth == t))[:MOST] for t in (True, False)]))
        images, truth = [store.image(rows[i]["image"]) for i in chosen], truth[chosen]

        def score(positive: Change, negative: Change) -> float:
            def changed():
                for image, there in zip(images, truth, strict=True):
                    v = np.asarray(image.voxels[0], np.float32)
                    yield replace(image, voxels=(positive if there else negative)(v)[None].astype(np.float32))

            return delong(truth.astype(int), model.logits(changed())[:, 0])[0]

        found = {"plain": score(lambda v: v, lambda v: v)}
        found |= {name: min(score(a, b), score(b, a)) for name, (a, b) in PANEL.items()}
    return found | {"mean of the pairs": float(np.mean([found[name] for name in PANEL]))}


if __name__ == "__main__":
    for name, figure in panel(Path(sys.argv[1]), Path(sys.argv[2])).items():
        print(f"{name}: {figure:.4f}")
