"""The rules that draw up a plan: what is chosen for a cohort like this one, and why, one function a choice.

Each rule looks at a `Fingerprint` and returns a part of the plan: its values, the name of the rule that chose them and
the reason in words. A number stands here and nowhere else. Loads without Keras.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from overread.domain import Task
from overread.learn import slices_rules, starts_rules
from overread.learn.plan_cohort import AXES, Fingerprint
from overread.learn.plan_together import ensemble, views

Part = dict[str, Any]
"""Values of one part of a plan, beside them ``rule`` and ``reason``."""

LARGEST_PICTURE, LARGEST_VOLUME = 96, 48
"""Most pixels a side; docs/decisions/0005 for pictures, memory and time on two cores for volumes."""

THICK = 3.0
"""Slices that lie so many times further apart than pixels are not mixed with their neighbours until pixels are as coarse."""

MANY, FEW = 1000, 600
"""From so many training images: larger batches, more steps; below: gentle changes of exposure."""

STEPS = {"volumes": 400, "mirrored volumes": 1000, "many": 2800, "few": 1200}
"""Volumes that are not mirrored are soon known by heart: of two lengths the shorter read others better
(docs/decisions/0016)."""

LEAST_EPOCHS, MOST_EPOCHS = 12, 100

TINY = {64: 8, 128: 16}
"""Below so many training pictures a batch is so small: else 100 passes over 40 were 100 steps, with which a network reads
others worse. Volumes gained nothing by it (docs/decisions/0016)."""

STRONG = {
    "rotation": 12.0, "scale": 0.12, "aspect": 0.15, "shift": 0.09, "margin": 0.1, "blur": 0.5, "gamma": 0.6,
    "contrast": 0.4, "brightness": 0.2, "noise": 0.08,
}  # fmt: skip
GENTLE = {
    "aspect": 0.05, "margin": 0.0, "blur": 0.0, "gamma": 0.2, "contrast": 0.15, "brightness": 0.04, "noise": 0.03,
}  # fmt: skip
"""Below ``FEW`` training images the exposure is changed less. On simulated films a few hundred images stayed at chance
after 360 steps of the strong changes, which take several thousand steps to be learned through (docs/decisions/0005)."""

VOLUME = {**GENTLE, "scale": 0.05, "aspect": 0.0}
"""A volume is measured in space: how large and how thick a thing is may be the finding (docs/decisions/0016)."""


def choose(task: Task, seen: Fingerprint, *, network: str, seed: int) -> dict[str, Part]:
    """Return all parts of the plan but the question and the cohort, in the order in which they are read."""
    if network == "simple-cnn":
        return _article(task, seen, seed)
    if network == "pair" and seen.volumes:
        parts = choose(task, seen, network="residual", seed=seed)
        alone = {
            "rule": "a pair is for pictures",
            "reason": "a start reads three slices of a volume, a network from nothing all of them: it is trained alone",
        }
        return {**parts, "network": {**parts["network"], **alone}}  # fmt: skip
    if network in slices_rules.RULES:
        parts, plain = choose(task, seen, network="residual", seed=seed), intensity(seen, several=False)
        return slices_rules.RULES[network](parts, seen, plain=plain)
    if network in ("features", "fine-tuned", "pair"):
        parts = choose(task, seen, network="residual", seed=seed)
        plain = {"intensity": intensity(seen, several=False), "input": {**parts["input"], "channels": seen.channels}}
        if network == "fine-tuned":
            return starts_rules.fine_tuned(
                {**parts, **plain}, n=seen.n, side=max(seen.shape[1:]), volumes=bool(seen.volumes)
            )
        if network == "pair":
            return starts_rules.pair({**parts, **plain}, n=seen.n)
        alone = {
            "networks": 1, "first_seed": seed, "rule": "one line", "reason": "a line learned in one go has no chance in it",
        }  # fmt: skip
        features = starts_rules.features({**parts, **plain}, volumes=bool(seen.volumes))
        return {**features, "ensemble": alone, "views": views(seen, [])}
    size = _input(seen)
    batch = _batch(seen)
    sides = _sides(task, seen)
    return {
        "intensity": intensity(seen),
        "input": size,
        "network": _network(seen, size["size"]),
        "start": {"name": "random", "rule": "no start", "reason": "weights drawn by the seed: nothing was learned before"},
        "training": {**batch, **_length(seen, batch["batch"], mirrored=bool(sides["flips"]))},
        "optimiser": _optimiser(),
        "average": {"ema": 0.995, "rule": "average of the weights", "reason": "the network that is kept is a moving average over about the last 200 steps, over fewer while few were taken"},
        "loss": _loss(task),
        "sides": sides,
        "augmentation": _augmentation(seen),
        "ensemble": ensemble(seen, seed, fewest=FEW),
        "views": views(seen, sides["flips"]),
    }  # fmt: skip


def _article(task: Task, seen: Fingerprint, seed: int) -> dict[str, Part]:
    because = {"rule": "the article", "reason": "the article's network and settings, nothing added"}
    first = [{"step": "three_slices"}] if seen.volumes else []
    slices = "; a volume's slices at 1/4, 1/2 and 3/4 stand in the three colour channels" if seen.volumes else ""
    values = intensity(seen, several=False)
    return {
        "intensity": {**values, "steps": [*first, {"step": "channels", "count": 3}, *values["steps"][1:]]},
        "input": {"size": [64, 64], "channels": 3, "rule": "the article", "reason": "64 × 64 × 3 as in the article" + slices},
        "network": {"name": "simple-cnn", **because},
        "training": {"epochs": 10, "batch": 32, **because},
        "optimiser": {"name": "adam", **because},
        "average": {"ema": 0.0, **because},
        "loss": {"smoothing": 0.0, "weigh_classes": False, **because},
        "sides": {"flips": [], "turns": [], **because},
        "augmentation": {**because},
        "ensemble": {"networks": 1, "first_seed": seed, **because},
        "views": {"mirrored": [], **because},
    }  # fmt: skip


# --- what goes in -----------------------------------------------------------------------------------------------------


def intensity(seen: Fingerprint, *, several: bool = True) -> Part:
    """How the numbers of an image become 0 to 1, by what the numbers are.

    Parameters
    ----------
    several : bool
        Where the numbers of CT reach far, show several windows as channels.
    """
    low, high = seen.intensities or (0.0, 0.0)
    if seen.unit == "HU" and seen.intensities is not None:
        shown = _windows(low, high) if several and seen.channels == 1 else []
        if shown:
            steps = [{"step": "windows", "of": [[center, width] for _, center, width in shown]}]
            rule = "windows as channels"
            reason = (
                f"99 % of the training voxels lie in {low:.0f} to {high:.0f} HU, too far for one window: "
                + ", ".join(
                    f"{name} ({center - width / 2:.0f} to {center + width / 2:.0f})" for name, center, width in shown
                )
            )
        else:
            steps = [{"step": "window", "center": (low + high) / 2, "width": max(high - low, 1.0)}]
            rule = "physical window"
            reason = f"window {low:.0f} to {high:.0f} HU: 99 % of the training voxels lie in it"
    elif seen.unit == "SUVbw" and seen.intensities is not None:
        steps = [{"step": "window", "center": high / 2, "width": max(high, 1e-3)}]
        rule = "physical window"
        reason = f"uptake from 0 to {high:g} SUV: 99.5 % of the training voxels lie below it"
    elif seen.eight_bit:
        steps = [{"step": "normalise", "by": "full_range"}]
        rule = "8-bit as it is"
        reason = "8-bit pictures are taken as they are: whoever made them has windowed them"
    elif seen.modality == "MR":
        steps = [{"step": "body", "reach": 4.0}]
        rule = "z-score inside the body"
        reason = "MR has no unit: each image is read in standard deviations from the mean of its body, air left out"
    else:
        steps = [{"step": "normalise", "by": "image", "lower": 0.5, "upper": 99.5, "clip": True}]
        rule = "percentiles of the image"
        why = "these images have several units" if not seen.unit else "the numbers have no physical unit"
        reason = f"0.5th to 99.5th percentile of each image: {why}"
    return {"steps": [{"step": "channels", "count": seen.channels}, *steps], "rule": rule, "reason": reason}


WIDE = 1000.0
"""Hounsfield units: where 99 % of the voxels lie in a wider range, one window shows too little of each tissue."""

WINDOWS = (
    ("lung", -600.0, 1500.0, -700.0, None),
    ("soft tissue", 40.0, 400.0, None, None),
    ("bone", 400.0, 1800.0, None, 700.0),
)
"""Name, centre, width; shown where the range begins below the fourth number, or ends above the fifth."""


def _windows(low: float, high: float) -> list[tuple[str, float, float]]:
    """Return the windows that show a wide range of Hounsfield units, the whole of it first; none where it is narrow."""
    if high - low <= WIDE:
        return []
    tissues = [
        (name, center, width)
        for name, center, width, below, above in WINDOWS
        if (below is None or low < below) and (above is None or high > above)
    ]
    return [("all", (low + high) / 2, high - low), *tissues]


def _channels(seen: Fingerprint) -> int:
    of = [s["of"] for s in intensity(seen)["steps"] if s["step"] == "windows"]
    return len(of[0]) if of else seen.channels


def _input(seen: Fingerprint) -> Part:
    side = max(seen.shape[1:])
    if seen.volumes:
        plane = min(LARGEST_VOLUME, _multiple(side, 4))
        slices = min(LARGEST_VOLUME, max(8, _multiple(seen.shape[0], 4)))
        reason = f"{slices} × {plane} × {plane}: at most {LARGEST_VOLUME} a side in three dimensions"
        voxel = _voxel(seen, slices, plane)
        reason += f"; a voxel is about {voxel[0]:.1f} × {voxel[1]:.1f} × {voxel[1]:.1f} mm then" if voxel else ""
        return {"size": [slices, plane, plane], "channels": _channels(seen), "rule": "volumes", "reason": reason}
    plane = min(LARGEST_PICTURE, _multiple(side, 4))
    reason = f"{plane} × {plane}: the images' own longer side ({side}), at most {LARGEST_PICTURE}"
    return {"size": [plane, plane], "channels": _channels(seen), "rule": "pictures", "reason": reason}


def _voxel(seen: Fingerprint, slices: int, plane: int) -> tuple[float, float] | None:
    """Return the distance of slices and of pixels on the input grid, in mm, of the median volume."""
    if seen.spacing_mm is None:
        return None
    between, row, column = seen.spacing_mm
    return between * seen.shape[0] / slices, max(row * seen.shape[1], column * seen.shape[2]) / plane


def _flat(seen: Fingerprint, size: list[int]) -> int:
    """How many of the first stages look within slices only, since the slices lie much further apart than the pixels."""
    voxel = _voxel(seen, size[0], size[1]) if seen.volumes else None
    if voxel is None or voxel[0] < THICK * voxel[1]:
        return 0
    return min(3, round(math.log2(voxel[0] / voxel[1])))


def _multiple(n: int, of: int) -> int:
    return max(of, round(n / of) * of)


# --- what learns ------------------------------------------------------------------------------------------------------


def _network(seen: Fingerprint, size: list[int]) -> Part:
    if seen.volumes:
        build = {"widths": [16, 32, 64], "stem_stride": 2, "stem_kernel": 4}
        reason = "a small residual network in three dimensions: two cores train it in minutes"
        if flat := _flat(seen, size):
            build["flat"] = flat
            reason += f"; slices lie further apart than pixels, so its first {flat} steps look within slices only"
    else:
        small = max(size) <= 64
        build = {"widths": [24, 48, 96], "stem_stride": 1 if small else 2, "stem_kernel": 3 if small else 4}
        reason = "a small residual network; " + (
            "no pixel of so small a picture is skipped at the first step"
            if small
            else "its last grid of 12 × 12 cells is fine enough for a heat-map"
        )
    return {"name": "residual", **build, "blocks": 1, "dropout": 0.2, "rule": "small residual", "reason": reason}


def _batch(seen: Fingerprint) -> Part:
    for below, batch in TINY.items():
        if seen.n < below and not seen.volumes:
            return {"batch": batch}
    return {"batch": 64 if seen.n >= MANY and not seen.volumes else 32}


def _length(seen: Fingerprint, batch: int, *, mirrored: bool) -> Part:
    """As many steps as the recipe was tried with, within 12 to 100 passes over the images."""
    volumes = "mirrored volumes" if mirrored else "volumes"
    wanted = STEPS[volumes if seen.volumes else "many" if seen.n >= MANY else "few"]
    steps = max(1, seen.n // batch)
    epochs = min(max(round(wanted / steps), LEAST_EPOCHS), MOST_EPOCHS)
    reason = f"batch {batch} for {seen.n} training images; {epochs} epochs of {steps} steps"
    return {"epochs": epochs, "rule": "steps the recipe was tried with", "reason": reason}


def _optimiser() -> Part:
    return {
        "name": "adamw", "learning_rate": 2e-3, "weight_decay": 5e-3, "warmup": 0.05,
        "rule": "AdamW, warm-up and cosine",
        "reason": "rises over the first twentieth of the steps and falls to zero, as the recipe was tried with",
    }  # fmt: skip


def _loss(task: Task) -> Part:
    """What is minimised follows from the kind of label; only its softness and the weights are chosen."""
    weigh = task.kind in ("binary", "multilabel")
    what = {
        "binary": "cross-entropy on the logit",
        "multilabel": "cross-entropy on each logit, unknown answers left out",
        "multiclass": "cross-entropy over the levels",
        "ordinal": "cross-entropy with the truth spread over neighbouring levels: a mistake by one costs less than by four",
    }[task.kind]
    balance = "the rarer answer counts more, by the ratio" if weigh else "every level counts as often as it comes"
    return {"smoothing": 0.05, "weigh_classes": weigh, "rule": f"by kind: {task.kind}", "reason": f"{what}; {balance}"}


# --- how the images are varied ----------------------------------------------------------------------------------------


def _augmentation(seen: Fingerprint) -> Part:
    if seen.volumes:
        reason = (
            "gentle, and nearly no change of size: in a volume the size of a thing is measured, and may be the finding"
        )
        return {**STRONG, **VOLUME, "rule": "volumes keep their size", "reason": reason}
    if seen.n < FEW:
        reason = f"gentle: {seen.n} images give too few steps to learn through a strong one"
        return {**STRONG, **GENTLE, "rule": "gentle augmentation", "reason": reason}
    if seen.channels >= 3:
        reason = "gentle: in a picture in colour brightness and small spots belong to what is read"
        return {**STRONG, **GENTLE, "rule": "gentle augmentation of colour", "reason": reason}
    reason = "strong changes of exposure, place, shape and border: what differs between departments and is no finding"
    return {**STRONG, "rule": "strong augmentation", "reason": reason}


def _sides(task: Task, seen: Fingerprint) -> Part:
    """Along which axes images may be mirrored, and in which planes they may be turned by quarters."""
    axes = AXES["volumes" if seen.volumes else "pictures"]
    if seen.side_told is True:
        return {
            "flips": [],
            "turns": [],
            "rule": "side matters: told",
            "reason": "whoever asked says that side matters",
        }
    if seen.side_told is False:
        flips = ["left-right", "up-down", "slices"] if seen.volumes else ["left-right"]
        reason = "whoever asked says that side does not matter"
        return {"flips": flips, "turns": [], "rule": "side does not matter: told", "reason": reason}
    if seen.side_words:
        reason = f"{seen.side_words} names a side: no image is mirrored or turned"
        return {"flips": [], "turns": [], "rule": "a word names a side", "reason": reason}
    if not seen.sides:
        reason = "it was not looked at whether images can be told from mirrored ones, so none is mirrored"
        return {"flips": [], "turns": [], "rule": "not looked at", "reason": reason}
    alike = [a for a in axes if a in seen.sides and seen.sides[a]["alike"]]
    flips, turns = ([a for a in alike if (a in _FLIPS) is flip] for flip in (True, False))
    helps = max(filter(_surely, seen.gains), key=_at_least, default=None)
    if helps is None or set(helps["axes"]) <= set(flips):
        rule, more = "told from its mirror image or not", _gained(seen.gains, None)
    else:
        flips = [a for a in _FLIPS if a in {*flips, *helps["axes"]}]
        rule, more = "mirrored twins help", _gained(seen.gains, helps)
    return {"flips": flips, "turns": turns, "rule": rule, "reason": _told(seen.sides, alike) + more}


LEAST_GAIN = 0.005
"""In AUROC: less is no reason to mirror images that can be told from mirrored ones."""

ONE_SIDED = 1.645 / 1.96
"""From the 95 % interval to a limit that the gain lies above with a confidence of 95 %."""


def _at_least(gain: Mapping[str, Any]) -> float:
    """What a gain in AUROC is at least, with a confidence of 95 %; of 97.5 % where it was seen on few images."""
    return gain["auroc"] - (ONE_SIDED if gain["n"] >= FEW else 1.0) * (gain["auroc"] - gain["low"])


def _surely(gain: Mapping[str, Any]) -> bool:
    return gain["auroc"] >= LEAST_GAIN and _at_least(gain) > 0


def _gained(gains: Sequence[Mapping[str, Any]], helps: Mapping[str, Any] | None) -> str:
    """Say by how much images are read better when an image and its mirror image are taken for the same."""
    if not gains:
        return ""
    most = helps or max(gains, key=_at_least)
    axes = " and ".join(most["axes"])
    figure = f"AUROC {most['auroc']:+.3f} ({most['low']:+.3f} to {most['high']:+.3f})"
    asked = ". Taking images for the same as their mirror images, asked of other training images as they are, by a line on patches"
    if helps:
        return f"{asked}, helps most with {axes}: {figure}; so these are mirrored"
    return f"{asked}, shows no gain that is sure (the best is {axes}: {figure})"


_FLIPS = ("left-right", "up-down", "slices")


def _told(sides: Mapping[str, Mapping[str, Any]], allowed: list[str]) -> str:
    """Say of each axis how well mirrored images are told from the others."""
    each = "; ".join(
        f"{name}: AUROC {s['auroc']:.3f} ({s['low']:.3f}–{s['high']:.3f}), {'allowed' if name in allowed else 'not allowed'}"
        if not math.isnan(s["auroc"])
        else f"{name}: too few patients to tell, not allowed"
        for name, s in sides.items()
    )
    return (
        "how well training images are told from mirrored or turned ones (allowed where the interval ends below .6): "
        + each
    )
