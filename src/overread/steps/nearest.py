"""The training cases that the network takes to be most like a case, with their labels: what it may have learned it from.

Readers are helped more by similar cases than by heat-maps (medRxiv 2024.07.24.24310920). Alike is what lies near in the
average of the last feature maps, each number in units of its own spread among the training cases.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from overread.domain import Image, Study
from overread.learn import gate as gating
from overread.learn.predict import Model
from overread.stats.splits import Split
from overread.steps.progress import bar
from overread.steps.question import truth as truth_of
from overread.store.archive import Archive

NAME = "neighbours.npz"
SHOWN = 3


@dataclass(frozen=True)
class Near:
    """One training case near another case."""

    image: Image
    study: str
    truth: np.ndarray
    distance: float


@dataclass(frozen=True, eq=False)
class Training:
    """What is known of the training cases that were kept for comparison.

    Parameters
    ----------
    rows : ndarray, (n, maps)
        Averages of the last feature maps.
    images, studies : tuple of str
    truth : ndarray, (n, outputs)
    archive : Archive
    """

    rows: np.ndarray
    images: tuple[str, ...]
    studies: tuple[str, ...]
    truth: np.ndarray
    archive: Archive

    def near(self, features: np.ndarray) -> list[Near]:
        """Return the nearest `SHOWN` training cases, the nearest first; of one study only its nearest image.

        Parameters
        ----------
        features : ndarray, (rows, columns, maps) or (slices, rows, columns, maps)
        """
        row = features.reshape(-1, features.shape[-1]).mean(axis=0)
        spread = np.maximum(self.rows.std(axis=0), 1e-6)
        far = np.sqrt((((self.rows - row) / spread) ** 2).mean(axis=1))
        found: dict[str, int] = {}
        for i in np.argsort(far, kind="stable"):
            found.setdefault(self.studies[i], int(i))
            if len(found) == SHOWN:
                break
        return [Near(self.archive.image(self.images[i]), s, self.truth[i], float(far[i])) for s, i in found.items()]


def kept(
    rows: Sequence[Mapping[str, np.ndarray]], entries: Sequence[tuple[str, str, str | None]]
) -> dict[str, np.ndarray]:
    """Return what stands in ``neighbours.npz``: feature averages of training cases and which images they are of."""
    averages = [row["features"].astype(np.float32) for row in rows]
    return {
        "rows": np.stack(averages) if averages else np.zeros((0, 0), np.float32),
        "images": np.array([image for image, _, _ in entries], dtype=str),
        "studies": np.array([study for _, study, _ in entries], dtype=str),
    }


def training_cases(
    model: Model, archive: Archive, split: Split, studies: Mapping[str, Study], *, progress: bool = False
) -> Training | None:
    """Return the training cases of a run: as it kept them, or from the archive for a run that kept none."""
    held = _held(model) or _computed(model, archive, split, progress=progress)
    here = [i for i, study in enumerate(held["studies"]) if str(study) in studies]
    if not here:
        return None
    names = tuple(str(held["studies"][i]) for i in here)
    known = truth_of([studies[name] for name in names], model.task)
    return Training(held["rows"][here], tuple(str(held["images"][i]) for i in here), names, known, archive)


def _held(model: Model) -> dict[str, np.ndarray]:
    if NAME not in model.files:
        return {}
    with np.load(model.run / NAME, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def _computed(model: Model, archive: Archive, split: Split, *, progress: bool) -> dict[str, np.ndarray]:
    entries = split.cohorts["training"]
    some = np.unique(np.linspace(0, len(entries) - 1, min(len(entries), gating.MOST)).round().astype(int))
    images = (archive.image(entries[i][0]) for i in some)
    passes = bar(model.run_all(images), total=len(some), what="training cases", unit="image", show=progress)
    rows = [{"features": f.reshape(-1, f.shape[-1]).mean(axis=0)} for _, f in passes]
    return kept(rows, [entries[i] for i in some])
