"""A cohort's fingerprint → the plan: input size, channels, network, batch, augmentation, epochs, each with its reason.

Loads without Keras, so that listing networks and planning stay light.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from overread.domain import Recipe, Step, Task
from overread.errors import CohortError, RunError

ABOUT = {
    "residual": "default: small residual network, global average and one linear head; two and three dimensions",
    "simple-cnn": "the article's network: Conv 32 3×3, max-pool, dense 128, dense 1; the baseline of every report",
}
"""What each network is for, in a line."""

CENTRED = {"by": "given", "mean": 0.5, "std": 0.25}
"""[0, 1] → [−2, 2]: about mean 0 and standard deviation 1 for most images, and the same for each of them."""


FEW = 600
GENTLE = {
    "aspect": 0.05, "margin": 0.0, "blur": 0.0, "gamma": 0.2, "contrast": 0.15, "brightness": 0.04, "noise": 0.03,
}  # fmt: skip
"""Below so many training images the exposure is changed less. On simulated films a few hundred images stayed at chance
after 360 steps of the strong changes, which take several thousand steps to be learned through (docs/decisions/0005)."""


@dataclass(frozen=True)
class Fingerprint:
    """What the training images of a cohort look like, taken from the archive's records without reading pixels.

    ``shape`` is the median (slices, rows, columns); ``channels`` is 3 when any image is in colour;
    ``eight_bit`` says that every image is a picture of 256 levels, windowed by whoever made it; ``body_part`` and
    ``view`` hold what the headers name, where every one of them names one.
    """

    n: int
    shape: tuple[int, int, int]
    channels: int
    modality: str
    unit: str
    volumes: int
    eight_bit: bool = False
    body_part: str = ""
    view: str = ""


@dataclass(frozen=True)
class Plan:
    """Everything that training does, decided before it starts; ``train`` executes a plan and nothing else.

    Parameters
    ----------
    task : Task
    recipe : Recipe
    network : str
        A name in ``ABOUT``.
    input_shape : tuple of int
        Without the batch.
    build : mapping
        Arguments for the network's builder.
    batch, epochs, seed : int
    optimiser : mapping
        name, learning_rate, weight_decay, warmup (share of all steps); the article's network has plain Adam.
    ema : float
        Decay of the moving average of the weights; 0 for none.
    smoothing : float
        Label smoothing.
    weigh_classes : bool
        Count the rarer class more.
    augmentation : mapping
        Arguments for ``learn.augment.Augment``; empty for none.
    reasons : tuple of str
        Why, in words.
    """

    task: Task
    recipe: Recipe
    network: str
    input_shape: tuple[int, ...]
    build: Mapping[str, Any]
    batch: int
    epochs: int
    seed: int
    optimiser: Mapping[str, Any]
    ema: float
    smoothing: float
    weigh_classes: bool
    augmentation: Mapping[str, Any] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()


def fingerprint(records: Iterable[Mapping[str, Any]]) -> Fingerprint:
    """Return what a cohort's images look like.

    Parameters
    ----------
    records : iterable of mapping
        For each image ``shape`` (slices, rows, columns[, channels]), ``modality``, ``unit``, ``full_range`` and, where
        they are known, ``attributes``.

    Raises
    ------
    CohortError
        When pictures and volumes are mixed: one network reads one or the other.
    """
    rows = list(records)
    if not rows:
        raise CohortError("a cohort without images", expected="images with a known label", do="collect some first")
    shapes = np.array([r["shape"][:3] for r in rows])
    volumes = int((shapes[:, 0] > 1).sum())
    if 0 < volumes < len(rows):
        raise CohortError(
            f"{len(rows) - volumes} single pictures and {volumes} volumes in one cohort",
            expected="one or the other",
            do="collect them into two archives",
        )
    colour = any(len(r["shape"]) == 4 and r["shape"][3] >= 3 for r in rows)
    return Fingerprint(
        n=len(rows),
        shape=tuple(int(v) for v in np.median(shapes, axis=0)),
        channels=3 if colour else 1,
        modality="+".join(sorted({r["modality"] for r in rows if r["modality"]})),
        unit=rows[0]["unit"] if len({r["unit"] for r in rows}) == 1 else "",
        volumes=volumes,
        eight_bit=all(r["unit"] == "stored" and r["full_range"] and tuple(r["full_range"]) == (0, 255) for r in rows),
        body_part=_named(rows, "BodyPartExamined"),
        view=_named(rows, "ViewPosition"),
    )


def _named(rows: Iterable[Mapping[str, Any]], keyword: str) -> str:
    """Return the words that headers have for one thing, joined by "+"; empty where one of them has none.

    Examples
    --------
    >>> _named([{"attributes": {"ViewPosition": "PA"}}, {"attributes": {"ViewPosition": "AP"}}], "ViewPosition")
    'AP+PA'
    >>> _named([{"attributes": {"ViewPosition": "PA"}}, {"attributes": {}}], "ViewPosition")
    ''
    """
    words = {r.get("attributes", {}).get(keyword, "").strip().upper() for r in rows}
    return "" if "" in words else "+".join(sorted(words))


def draw_up(
    task: Task, seen: Fingerprint, *, network: str, seed: int, intensities: tuple[float, float] | None = None
) -> Plan:
    """Return the plan for a task on a cohort.

    Parameters
    ----------
    task : Task
    seen : Fingerprint
        Of the training cohort.
    network : str
    seed : int
    intensities : (float, float) or None
        0.5th and 99.5th percentile over the training voxels; used where the unit is physical (HU).
    """
    if network not in ABOUT:
        raise RunError(f"the network {network!r}", expected="one of " + ", ".join(ABOUT), do="see `overread networks`")
    return (_article if network == "simple-cnn" else _residual)(task, seen, seed, intensities)


def with_epochs(plan: Plan, epochs: int, reason: str) -> Plan:
    """Return the plan with another number of epochs, and why."""
    return replace(plan, epochs=max(1, epochs), reasons=(*plan.reasons, reason))


def _article(task: Task, seen: Fingerprint, seed: int, intensities) -> Plan:
    first = (Step("three_slices"),) if seen.volumes else ()
    steps = (*first, Step("channels", {"count": 3}), *_intensity(seen, intensities), Step("resize", {"size": (64, 64)}))
    why = ["the article's network and settings, nothing added: 64 × 64 × 3, Adam, 10 epochs, batch 32"]
    if seen.volumes:
        why.append("a volume's slices at 1/4, 1/2 and 3/4 stand in the three colour channels")
    return Plan(
        task=task, recipe=Recipe((*steps, Step("standardise", CENTRED))), network="simple-cnn",
        input_shape=(64, 64, 3), build={}, batch=32, epochs=10, seed=seed, optimiser={"name": "adam"},
        ema=0.0, smoothing=0.0, weigh_classes=False, reasons=tuple(why),
    )  # fmt: skip


def _residual(task: Task, seen: Fingerprint, seed: int, intensities) -> Plan:
    size, why = _input_size(seen)
    steps = (
        Step("channels", {"count": seen.channels}),
        *_intensity(seen, intensities),
        Step("resize", {"size": size}),
        Step("standardise", CENTRED),
    )
    batch = 64 if seen.n >= 1000 else 32
    epochs, reason = _epochs(seen.n, batch, volume=bool(seen.volumes))
    small = max(size[-2:]) <= 64
    if seen.volumes:
        build = {"widths": (16, 32, 64), "stem_stride": 2, "stem_kernel": 4}
    else:
        build = {"widths": (24, 48, 96), "stem_stride": 1 if small else 2, "stem_kernel": 3 if small else 4}
    flips = () if task.side_matters else (("left-right", "up-down", "slices") if seen.volumes else ("left-right",))
    why += [
        _intensity_reason(seen, intensities),
        f"batch {batch} for {seen.n} training images",
        *([f"gentle augmentation: {seen.n} images give too few steps to learn through a strong one"] * (seen.n < FEW)),
        reason,
        "no left-right flip in augmentation: side matters in this task"
        if task.side_matters
        else "left-right flips in augmentation: the task says that side does not matter",
    ]
    return Plan(
        task=task, recipe=Recipe(steps), network="residual", input_shape=(*size, seen.channels), build=build,
        batch=batch, epochs=epochs, seed=seed,
        optimiser={"name": "adamw", "learning_rate": 2e-3, "weight_decay": 5e-3, "warmup": 0.05},
        ema=0.995, smoothing=0.05, weigh_classes=task.kind in ("binary", "multilabel"),
        augmentation={"flips": flips, **(GENTLE if seen.n < FEW else {})}, reasons=tuple(why),
    )  # fmt: skip


def _input_size(seen: Fingerprint) -> tuple[tuple[int, ...], list[str]]:
    side = max(seen.shape[1:])
    if seen.volumes:
        plane = min(48, _multiple(side, 4))
        slices = min(48, max(8, _multiple(seen.shape[0], 4)))
        return (slices, plane, plane), [f"input {slices} × {plane} × {plane}: at most 48 a side in three dimensions"]
    plane = min(96, _multiple(side, 4))
    return (plane, plane), [f"input {plane} × {plane}: the images' own longer side ({side}), at most 96"]


def _multiple(n: int, of: int) -> int:
    return max(of, round(n / of) * of)


def _intensity(seen: Fingerprint, intensities) -> tuple[Step, ...]:
    if seen.unit == "HU" and intensities is not None:
        low, high = intensities
        return (Step("window", {"center": (low + high) / 2, "width": max(high - low, 1.0)}),)
    if seen.eight_bit:
        return (Step("normalise", {"by": "full_range"}),)
    return (Step("normalise", {"by": "image", "lower": 0.5, "upper": 99.5, "clip": True}),)


def _intensity_reason(seen: Fingerprint, intensities) -> str:
    if seen.unit == "HU" and intensities is not None:
        return f"window {intensities[0]:.0f} to {intensities[1]:.0f} HU: 99 % of the training voxels lie in it"
    if seen.eight_bit:
        return "8-bit pictures are taken as they are: whoever made them has windowed them"
    return "0.5th to 99.5th percentile of each image: the numbers have no physical unit"


def _epochs(n: int, batch: int, *, volume: bool) -> tuple[int, str]:
    """As many steps as the recipe was tried with, within 12 to 100 passes over the images."""
    wanted = 1400 if volume else 2800 if n >= 1000 else 1200
    steps = max(1, n // batch)
    epochs = int(np.clip(round(wanted / steps), 12, 100))
    return epochs, f"{epochs} epochs of {steps} steps"
