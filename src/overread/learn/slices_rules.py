"""How a plan changes when a volume is read slice by slice instead of in three dimensions. Loads without Keras."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from overread.errors import RunError
from overread.learn import starts, starts_rules
from overread.learn.plan_cohort import Fingerprint

Part = dict[str, Any]

LARGEST_PLANE, MOST_SLICES, FEWEST_SLICES = 96, 48, 8
"""Pixels a side: twice what three dimensions have time for. Slices: at most, and at least, as the plan's smallest grid."""

NEIGHBOURS = 1
"""Slices on either side that are seen together with each slice."""

ATTENTION = 32
"""Hidden units of the attention; half of the maps."""

MOST_PIXELS = 4_000_000
"""Pixels of a batch, over all slices: about a gigabyte of memory in training."""

FEWEST_PASSES = 12
"""Over the volumes, however small a batch is."""


def slices(parts: Mapping[str, Part], seen: Fingerprint, *, plain: Part | None = None) -> dict[str, Part]:
    """Return the parts of a plan for a network that reads slices, from those for one in three dimensions.

    Parameters
    ----------
    parts : mapping
        As `learn.plan_rules.choose` has them for the residual network.
    seen : Fingerprint
    plain : mapping, optional
        Not used: several windows stand in several channels.
    """
    if not seen.volumes:
        return _of_pictures(parts)
    of, plane = _size(seen)
    batch = next((b for b in (32, 16, 8) if b * of * plane**2 <= MOST_PIXELS), 4)
    steps = parts["training"]["epochs"] * max(1, seen.n // parts["training"]["batch"])
    epochs = max(FEWEST_PASSES, min(parts["training"]["epochs"], round(steps / max(1, seen.n // batch))))
    turns = [t for t in parts["sides"]["turns"] if "slices" not in t]
    left = f"; {', '.join(t for t in parts['sides']['turns'] if t not in turns)} left out, since slices are read along one axis only"
    sides = {**parts["sides"], "turns": turns}
    if turns != parts["sides"]["turns"]:
        sides["reason"] = parts["sides"]["reason"] + left
    return {
        **parts,
        "input": {**parts["input"], "size": [of, plane, plane], "rule": "slices", "reason": f"{of} slices of {plane} × {plane}: the volumes' own grid, at most {MOST_SLICES} of {LARGEST_PLANE} × {LARGEST_PLANE}"},
        "network": {"name": "slices", "widths": [16, 32, 64], "stem_stride": 2, "stem_kernel": 4, "blocks": 1, "neighbours": NEIGHBOURS, "attention": ATTENTION, "dropout": 0.2, "rule": "slice by slice", "reason": f"one small network for pictures reads each slice together with {NEIGHBOURS} on either side; attention learns how much each slice counts"},
        "training": {"batch": batch, "epochs": epochs, "rule": parts["training"]["rule"], "reason": f"batch {batch} of {of} slices each for {seen.n} training images; {epochs} epochs of {max(1, seen.n // batch)} steps"},
        "sides": sides,
    }  # fmt: skip


LARGEST_SEEN = 128
"""Pixels a side that a start is shown of each slice."""


def slice_features(
    parts: Mapping[str, Part], seen: Fingerprint, *, plain: Part, name: str = starts.DEFAULT
) -> dict[str, Part]:
    """Return the parts of a plan for a start that sees every slice, and attention over them, from those for three dimensions.

    Parameters
    ----------
    parts : mapping
        As `learn.plan_rules.choose` has them for the residual network.
    seen : Fingerprint
    plain : mapping
        How the numbers of an image become 0 to 1 in one window: a start has no place for several.
    name : str

    Raises
    ------
    RunError
        When the start is not installed.
    """
    starts_rules.installed(name)
    if not seen.volumes:
        return _of_pictures(parts)
    of, side = min(MOST_SLICES, max(FEWEST_SLICES, seen.shape[0])), max(seen.shape[1:])
    times = 4 if side <= 32 else 2 if side <= 64 else 1
    plane = min(LARGEST_SEEN, _multiple(side, 32 if times == 1 else HALVED // times))
    larger = f", enlarged inside the graph to {times * plane}" if times > 1 else ""
    because = {
        "rule": "each slice is seen once",
        "reason": "the start looks once and stays as it came, so nothing is varied",
    }
    return {
        **parts,
        "intensity": plain,
        "input": {**parts["input"], "size": [of, plane, plane], "channels": seen.channels, "rule": "slices", "reason": f"{of} slices of {plane} × {plane}{larger}"},
        "network": {"name": "slice-features", "enlarged": times, "attention": ATTENTION, "dropout": 0.0, "rule": "a start sees each slice", "reason": "the first two thirds of a network that has learned to see from photographs; attention learns how much each slice counts, and a line answers"},
        "start": {"name": name, "rule": "a start", "reason": "what it sees of a slice stays as it came"},
        "training": {"batch": 32, "epochs": PASSES, "rule": "attention and a line", "reason": f"batch 32; a line through the mean of all slices first, then {PASSES} epochs with attention, on numbers that are there already"},
        "optimiser": {**parts["optimiser"], "learning_rate": RATE, "weight_decay": 5e-2, "rule": "AdamW, slowly", "reason": "line and attention begin near the end"},
        "sides": {**parts["sides"], "flips": [], "turns": [], **because},
        "augmentation": {**because},
        "views": {"mirrored": [], "rule": "no views", "reason": "each volume is read once"},
    }  # fmt: skip


PASSES, RATE = 20, 5e-4
HALVED = 16


def _of_pictures(parts: Mapping[str, Part]) -> dict[str, Part]:
    """A picture has no slices."""
    alone = {
        "rule": "slices are for volumes",
        "reason": "a picture has no slices: the small residual network from nothing reads it",
    }
    return {**parts, "network": {**parts["network"], **alone}}


def _multiple(n: int, of: int) -> int:
    return max(of, round(n / of) * of)


def _size(seen: Fingerprint) -> tuple[int, int]:
    """Return slices, and pixels a side."""
    plane = min(LARGEST_PLANE, max(8, _multiple(max(seen.shape[1:]), 4)))
    return min(MOST_SLICES, max(FEWEST_SLICES, seen.shape[0])), plane


WORDS = ("widths", "stem_stride", "stem_kernel", "blocks", "neighbours", "attention", "dropout")
"""What a plan says of a network that reads slices."""


def check(parts: Mapping[str, Part]) -> None:
    """Refuse a plan for slices that says what cannot be done with them.

    Raises
    ------
    RunError
    """
    size, turns, network = parts["input"]["size"], parts["sides"]["turns"], parts["network"]
    missing = [word for word in WORDS if word not in network]
    extra = sorted(set(network) - {*WORDS, "name", "rule", "reason"})
    for good, came, expected in (
        (len(size) == 3, f"an input of {' × '.join(map(str, size))}", "slices, rows and columns: pictures have no slices"),
        (not extra, f"{', '.join(extra)} of the network", "none: every step but the first looks within slices"),
        (not missing, f"a network without {', '.join(missing)}", "every word of it"),
        (not any("slices" in t for t in turns), f"turns of {turns}", "quarter turns within slices, or none"),
        (parts["optimiser"]["name"] == "adamw", f"{parts['optimiser']['name']}", 'name = "adamw"'),
        (parts.get("start", {}).get("name", "random") == "random", "a start", 'name = "random", or the network slice-features'),
    ):  # fmt: skip
        if not good:
            raise RunError(f"the plan says: {came} with slices", expected=expected, do="mend it")


def check_features(parts: Mapping[str, Part]) -> None:
    """Refuse a plan for a start that sees slices that says what cannot be done with it.

    Raises
    ------
    RunError
    """
    size, network = parts["input"]["size"], parts["network"]
    times = network.get("enlarged", 1)
    grid = 32 if times == 1 else HALVED
    words = ("enlarged", "attention", "dropout")
    missing = [word for word in words if word not in network]
    extra = sorted(set(network) - {*words, "name", "rule", "reason"})
    for good, came, expected in (
        (len(size) == 3, f"an input of {' × '.join(map(str, size))}", "slices, rows and columns: pictures have no slices"),
        (not any(n * times % grid for n in size[1:]), f"slices of {' × '.join(map(str, size[1:]))}, {times} times as large", f"sides that are multiples of {grid} then"),
        (parts["input"]["channels"] in (1, 3), f"{parts['input']['channels']} channels", "one or three"),
        (not extra, f"{', '.join(extra)} for a network whose shape its start gives", "name, enlarged, attention and dropout"),
        (not missing, f"a network without {', '.join(missing)}", "every word of it"),
        (parts.get("start", {}).get("name") in starts.STARTS, "no start", "one of " + ", ".join(starts.STARTS)),
        (parts["optimiser"]["name"] == "adamw", f"{parts['optimiser']['name']}", 'name = "adamw"'),
        (not parts["augmentation"].keys() - {"rule", "reason"}, "augmentation", "none: each volume is seen once"),
    ):  # fmt: skip
        if not good:
            raise RunError(f"the plan says: {came} with a start that sees slices", expected=expected, do="mend it")


RULES = {"slices": slices, "slice-features": slice_features}
"""Network → its rule."""
