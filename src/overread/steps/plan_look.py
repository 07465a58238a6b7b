"""What a plan needs to know of the training cohort: sizes, numbers, answers, and whether a side can be told."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from itertools import combinations
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from overread.domain import Estimate, Image, Recipe, Step, Study, Task
from overread.imaging import patches, preprocess
from overread.learn.plan_cohort import AXES, TWINS, Fingerprint, fingerprint
from overread.stats import mirrors, twins
from overread.stats.certificate import Copies
from overread.stats.resample import Who
from overread.stats.splits import Split
from overread.steps.progress import progress as bar
from overread.steps.question import truth
from overread.steps.scores import whose
from overread.store.archive import Archive
from overread.store.objects import ImageRecord

MOST_SEEN = {"pictures": 1200, "volumes": 1200}
"""Training images that are looked at for their sides; more would take longer than they tell."""

SMALL = {"pictures": (28, 28), "volumes": (16, 16, 16)}
"""Size at which patches are looked at; sides are looked for at half of it and less."""

THUMBNAIL = {"pictures": (16, 16), "volumes": (8, 8, 8)}
_SIDE = 96  # pixels a side from which a thumbnail is made; more are stepped over

SIDE_WORDS = frozenset(
    """
    left right lat laterality sidedness sinister dexter sinistrum dextrum
    links linke linker linkes linken linkem rechts rechte rechter rechtes rechten rechtem linksseitig rechtsseitig
    gauche gauches droite droit droites droits latéralité linkse rechtse lateraliteit
    izquierda izquierdo izquierdas izquierdos derecha derecho derechas derechos lateralidad lateralidade lateralità
    sinistra sinistro destra destro esquerda esquerdo direita direito
    vänster höger venstre høyre højre vasen oikea lewa lewy lewe lewej prawa prawy prawe prawej
    levý levá levé pravý pravá pravé ľavý ľavá stâng stânga drept dreapta
    левый левая левое слева правый правая правое справа лівий ліва правий права αριστερά αριστερός δεξιά δεξιός
    يسار يمين أيسر أيمن שמאל ימין 왼쪽 오른쪽 좌측 우측
    """.split()
)
"""Words that name a side, wherever they stand by themselves in the name of a label or in a header's value. A wrong one
costs little (nothing is mirrored), a missing one teaches a mirrored finding: so each language's forms stand here."""

SIDE_SIGNS = ("左", "右")
"""They name a side in any word that has them, for such words are written without a space."""

SIDE_CODES = frozenset("L R LT RT OD OS LCC RCC LMLO RMLO".split())
"""What names a side as a whole value: sides, eyes, views of a breast."""


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
        intensities=intensities(store, [r.hash for r in records]) if seen.unit in ("HU", "SUVbw") else None,
    )
    if not sides:
        return seen
    words = side_words((by_name[study] for study in dict.fromkeys(study for _, study, _ in entries)), records)
    if words:
        return replace(seen, side_words=words)
    who = whose(entries, {image: copies.near_of(image) for image, _, _ in entries})
    kind = "volumes" if seen.volumes else "pictures"
    some = np.unique(np.linspace(0, len(entries) - 1, min(len(entries), MOST_SEEN[kind])).round().astype(int))
    shown = bar(some, total=len(some), what="looking for a side", unit="images", show=progress)
    small = np.stack([_thumbnail(store.image(records[i].hash), kind) for i in shown])
    known, who = known[some], [who[i] for i in some]
    with threadpool_limits(1):  # products this small are slower, not faster, on two threads
        told = _sides(small, known, who, kind, seed=seed)
        if all(told[axis]["alike"] for axis in TWINS[kind][-1]):
            return replace(seen, sides=told)
        return replace(seen, sides=told, gains=_gains(small, known, who, kind, seed=seed))


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


def intensities(store: Archive, hashes: Sequence[str]) -> tuple[float, float]:
    """Return the range that 99 % of the voxels lie in, from about a hundred images."""
    sample = [store.image(h).voxels for h in hashes[:: max(1, len(hashes) // 100)]]
    values = np.concatenate([v.ravel()[:: max(1, v.size // 20_000)] for v in sample])
    low, high = (float(v) for v in np.percentile(values, (0.5, 99.5)))
    return (float(round(low)), float(round(high))) if high - low > 50 else (round(low, 3), round(high, 3))


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
                if isinstance(value, str) and (_names_side(value) or value.strip().upper() in SIDE_CODES):
                    return f"the {what} {name!r} ({value})"
    for record in records:
        for name, value in record.attributes.items():
            if "laterality" in name.lower() and value.strip():
                return f"the header's {name}"
    return ""


def _names_side(text: str) -> bool:
    words = re.findall(r"[^\W\d_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", unicodedata.normalize("NFC", text)))
    return any(word.lower() in SIDE_WORDS for word in words) or any(sign in text for sign in SIDE_SIGNS)


def _sides(small: np.ndarray, known: np.ndarray, who: list[Who], kind: str, *, seed: int) -> dict[str, dict[str, Any]]:
    """Ask for each axis how well training images are told from their mirror images."""
    rows, found = _smaller(small, THUMBNAIL[kind]), {}
    for axis in AXES[kind]:
        flat = (a.reshape(len(rows), -1) for a in (rows, _mirrored(rows, axis)))
        told = mirrors.told_apart(*flat, known, who, rng=np.random.default_rng(seed))
        found[axis] = {**_rounded(told.worst), "alike": told.alike}
    return found


def _gains(small: np.ndarray, known: np.ndarray, who: list[Who], kind: str, *, seed: int) -> tuple[dict[str, Any], ...]:
    """Ask for several axes whether the finding is read better when mirror images are taken for the same."""
    bank = patches.filters(small, rng=np.random.default_rng(seed))
    described = {(): patches.described(small, bank)}
    found = []
    for axes in TWINS[kind]:
        every = [c for k in range(len(axes) + 1) for c in combinations(axes, k)]
        for some in every:
            if some not in described:
                described[some] = patches.described(reduce(_mirrored, some, small), bank)
        mean = np.mean([described[some] for some in every], axis=0)
        told = twins.gain(described[()], mean, known, who, rng=np.random.default_rng(seed))
        if np.isfinite(told.low):
            found.append({"axes": list(axes), **_rounded(told)})
    return tuple(found)


def _rounded(told: Estimate) -> dict[str, Any]:
    return {"auroc": round(told.value, 3), "low": round(told.low, 3), "high": round(told.high, 3), "n": told.n}


def _thumbnail(image: Image, kind: str) -> np.ndarray:
    """Return an image small and grey, in [0, 1], as the network would be shown it."""
    step = [slice(None, None, max(1, n // _SIDE)) for n in image.voxels.shape[:3]]
    small = replace(image, voxels=np.asarray(image.voxels[tuple(step)]), geometry=None, spacing_mm=None)
    recipe = Recipe(
        (
            Step("channels", {"count": 1}),
            Step("normalise", {"by": "image", "lower": 0.5, "upper": 99.5, "clip": True}),
            Step("resize", {"size": SMALL[kind]}),
        )
    )
    return preprocess.apply(recipe, small)[..., 0]


def _smaller(images: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    full = (1, *size) if len(size) == 2 else size
    volumes = images.reshape(len(images), *((1,) if images.ndim == 3 else ()), *images.shape[1:], 1)
    return np.stack([preprocess.resample(v, full)[..., 0].reshape(size) for v in volumes])


def _mirrored(rows: np.ndarray, axis: str) -> np.ndarray:
    """Return images (n, rows, columns) or (n, slices, rows, columns) mirrored along an axis, or turned."""
    if axis in (flips := {"left-right": -1, "up-down": -2, "slices": 1}):
        return np.flip(rows, axis=flips[axis])
    planes = {"quarter turns": (-2, -1), "turns rows-slices": (1, -2), "turns columns-slices": (1, -1)}
    return np.rot90(rows, axes=planes[axis])
