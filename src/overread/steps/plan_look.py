"""What a plan needs to know of the training cohort: sizes, numbers, answers, and whether a side can be told."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from overread.domain import Image, Recipe, Step, Study, Task
from overread.imaging import preprocess
from overread.learn.plan_cohort import AXES, Fingerprint, fingerprint
from overread.stats import mirrors
from overread.stats.certificate import Copies
from overread.stats.splits import Split
from overread.steps.progress import progress as bar
from overread.steps.question import truth
from overread.steps.scores import whose
from overread.store.archive import Archive
from overread.store.objects import ImageRecord

MOST_SEEN = {"pictures": 1000, "volumes": 400}
"""Training images that are looked at for their sides: more tell no more."""

LEAST_SEEN = 20
THUMBNAIL = {"pictures": (16, 16), "volumes": (8, 8, 8)}
_SIDE = 96  # pixels a side from which a thumbnail is made; more are stepped over

SIDE_WORDS = frozenset(
    "left right lat laterality sidedness links rechts gauche droite izquierda derecha sinistra destra 左 右".split()
)
"""Words that name a side, wherever they stand by themselves in the name of a label or in a header's value."""


def look(
    store: Archive,
    split: Split,
    by_name: Mapping[str, Study],
    task: Task,
    copies: Copies,
    *,
    sides: bool,
    seed: int,
    progress: bool,
) -> Fingerprint:
    """Return what the training cohort looks like; nothing of the other cohorts is read.

    Parameters
    ----------
    sides : bool
        Also find out whether images can be told from mirrored ones, which reads up to 1,000 of them.
    """
    entries = split.cohorts["training"]
    records = [store.describe(image) for image, _, _ in entries]
    seen = fingerprint(
        {
            "shape": r.shape,
            "modality": r.modality,
            "unit": r.unit,
            "full_range": r.full_range,
            "attributes": r.attributes,
            "spacing_mm": r.spacing_mm,
        }
        for r in records
    )
    known = truth([by_name[study] for _, study, _ in entries], task)
    seen = replace(
        seen,
        patients=len({p for _, _, p in entries}) if split.patients_known else None,
        answers=_answers(known, task),
        intensities=_intensities(store, [r.hash for r in records]) if seen.unit == "HU" else None,
    )
    if not sides:
        return seen
    words = side_words(by_name.values(), records)
    if words:
        return replace(seen, side_words=words)
    who = whose(entries, {image: copies.near_of(image) for image, _, _ in entries})
    return replace(seen, sides=_sides(store, seen, [r.hash for r in records], known, who, seed=seed, progress=progress))


def _answers(known: np.ndarray, task: Task) -> dict[str, int]:
    """Count the answers as a person would name them.

    Examples
    --------
    >>> _answers(np.array([[1.0], [0], [np.nan]]), Task(("mass",), "binary", "mass"))
    {'mass': 1, 'not mass': 1, 'unknown': 1}
    """
    if task.kind in ("multiclass", "ordinal"):
        counts = {label: int((known[:, k] == 1).sum()) for k, label in enumerate(task.labels)}
    else:
        counts = {}
        for k, label in enumerate(task.labels):
            counts |= {label: int((known[:, k] == 1).sum()), f"not {label}": int((known[:, k] == 0).sum())}
    unknown = int(np.isnan(known).any(axis=1).sum())
    return {**counts, "unknown": unknown} if unknown else counts


def _intensities(store: Archive, hashes: Sequence[str]) -> tuple[float, float]:
    """Return the range that 99 % of the voxels lie in, from about a hundred images."""
    sample = [store.image(h).voxels for h in hashes[:: max(1, len(hashes) // 100)]]
    values = np.concatenate([v.ravel()[:: max(1, v.size // 20_000)] for v in sample])
    low, high = (round(float(v)) for v in np.percentile(values, (0.5, 99.5)))
    return float(low), float(high)


def side_words(studies: Iterable[Study], records: Iterable[ImageRecord]) -> str:
    """Return a word of labels, columns or headers that names a side; empty where none does.

    Examples
    --------
    >>> side_words([Study("S1", (), labels={"side": "left"})], [])
    "the label 'side' (left)"
    >>> side_words([Study("S1", (), labels={"leftover": "bright"})], [])
    ''
    """
    for study in studies:
        for what, named in (("label", study.labels), ("column", study.strata)):
            for name, value in named.items():
                if _names_side(name):
                    return f"the {what} {name!r}"
                if isinstance(value, str) and (_names_side(value) or value.strip().upper() in ("L", "R")):
                    return f"the {what} {name!r} ({value})"
    for record in records:
        for name, value in record.attributes.items():
            if "laterality" in name.lower() and value.strip():
                return f"the header's {name}"
    return ""


def _names_side(text: str) -> bool:
    words = re.findall(r"[^\W\d_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text))
    return any(word.lower() in SIDE_WORDS for word in words)


def _sides(store, seen: Fingerprint, hashes, known, who, *, seed: int, progress: bool) -> dict[str, dict]:
    """Ask for each axis how well training images are told from their mirror images."""
    kind = "volumes" if seen.volumes else "pictures"
    some = np.unique(np.linspace(0, len(hashes) - 1, min(len(hashes), MOST_SEEN[kind])).round().astype(int))
    unknown = {"auroc": float("nan"), "low": float("nan"), "high": float("nan"), "n": len(some), "alike": False}
    if len(some) < LEAST_SEEN:
        return {axis: unknown for axis in AXES[kind]}
    shown = bar(some, total=len(some), what="looking for a side", unit="images", show=progress)
    rows = np.stack([_thumbnail(store.image(hashes[i]), kind) for i in shown])
    found = {}
    for axis in AXES[kind]:
        told = mirrors.told_apart(
            rows.reshape(len(rows), -1),
            _mirrored(rows, axis).reshape(len(rows), -1),
            known[some],
            [who[i] for i in some],
            rng=np.random.default_rng(seed),
        )
        worst = told.worst
        found[axis] = {
            "auroc": round(worst.value, 3), "low": round(worst.low, 3), "high": round(worst.high, 3), "n": len(some),
            "alike": told.alike,
        }  # fmt: skip
    return found


def _thumbnail(image: Image, kind: str) -> np.ndarray:
    """Return an image small and grey, as the network would be shown it."""
    step = [slice(None, None, max(1, n // _SIDE)) for n in image.voxels.shape[:3]]
    small = replace(image, voxels=np.asarray(image.voxels[tuple(step)]), geometry=None, spacing_mm=None)
    recipe = Recipe(
        (
            Step("channels", {"count": 1}),
            Step("normalise", {"by": "image", "lower": 0.5, "upper": 99.5, "clip": True}),
            Step("resize", {"size": THUMBNAIL[kind]}),
        )
    )
    return preprocess.apply(recipe, small)[..., 0]


def _mirrored(rows: np.ndarray, axis: str) -> np.ndarray:
    """Return thumbnails (n, rows, columns) or (n, slices, rows, columns) mirrored along an axis, or turned."""
    if axis in (flips := {"left-right": -1, "up-down": -2, "slices": 1}):
        return np.flip(rows, axis=flips[axis])
    planes = {"quarter turns": (-2, -1), "turns rows-slices": (1, -2), "turns columns-slices": (1, -1)}
    return np.rot90(rows, axes=planes[axis])
