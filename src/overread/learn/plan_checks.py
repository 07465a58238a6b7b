"""What a plan may say: for each word of each part, which values are possible, and how to say so."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from overread.errors import RunError
from overread.imaging.preprocess import DARKEST
from overread.learn import (
    applications,
    applications_rules,
    pretrained_rules,
    pretrained_start,
    slices_rules,
    starts,
    starts_rules,
)
from overread.learn.plan_cohort import AXES
from overread.stats.joined import RULES, UNITS

Check = tuple[Callable[[Any], bool], str]

HEAD = ("question", "cohort", "machine")
"""Parts that tell what was asked and looked at; they choose nothing."""

FLIPS = ("left-right", "up-down", "slices")
TURNS = tuple(a for a in AXES["volumes"] if a not in FLIPS)

STARTS = ("random", pretrained_start.NAME, applications.NAME, *starts.STARTS)
"""What weights may begin with."""


def whole(low: int, high: int) -> Check:
    """A whole number within limits."""
    return lambda v: isinstance(v, int) and not isinstance(v, bool) and low <= v <= high, f"a whole number from {low:,} to {high:,}"  # fmt: skip


def number(low: float, high: float) -> Check:
    """A number within limits."""

    def good(v: Any) -> bool:
        return isinstance(v, (int, float)) and not isinstance(v, bool) and math.isfinite(v) and low <= v <= high

    return good, f"a number from {low:g} to {high:g}"


def one_of(*words: str) -> Check:
    """One of some words."""
    return lambda v: v in words, "one of " + ", ".join(words)


def some_of(words: tuple[str, ...]) -> Check:
    """A list of some words, none of them twice."""
    return (
        lambda v: isinstance(v, list) and all(w in words for w in v) and len(set(v)) == len(v),
        "a list of any of " + ", ".join(words),
    )


def numbers(low: int, high: int, *, lengths: tuple[int, ...]) -> Check:
    """A list of whole numbers."""
    good, told = whole(low, high)
    many = " or ".join(map(str, lengths)) if len(lengths) < 4 else f"{lengths[0]} to {lengths[-1]}"
    return (
        lambda v: isinstance(v, list) and len(v) in lengths and all(good(n) for n in v),
        f"{many} numbers in a list, each {told}",
    )


_YES_OR_NO: Check = (lambda v: isinstance(v, bool), "true or false")
_TEXT: Check = (lambda v: isinstance(v, str) and bool(v), "text in quotes")


def _is_windows(value: Any) -> bool:
    centre, width = number(-1e9, 1e9)[0], number(1e-9, 1e9)[0]
    pairs = isinstance(value, list) and 2 <= len(value) <= 8 and all(isinstance(p, list) and len(p) == 2 for p in value)
    return pairs and all(centre(c) and width(w) for c, w in value)


_CENTRES_AND_WIDTHS: Check = (_is_windows, "2 to 8 pairs [centre, width]")

_THREE_MM: Check = (
    lambda v: isinstance(v, list) and len(v) == 3 and all(number(0.01, 100)[0](mm) for mm in v),
    "three numbers in a list, mm between slices, rows and columns, each from 0.01 to 100",
)
_FILL: Check = (lambda v: v == DARKEST or number(0, 1)[0](v), f'a number from 0 (black) to 1, or "{DARKEST}"')

_STEPS: dict[str, dict[str, Check]] = {
    "channels": {"count": whole(1, 64)},
    "three_slices": {},
    "window": {"center": number(-1e9, 1e9), "width": number(1e-9, 1e9)},
    "windows": {"of": _CENTRES_AND_WIDTHS},
    "body": {"reach": number(0.5, 20)},
    "normalise": {
        "by": one_of("image", "full_range"), "lower": number(0, 100), "upper": number(0, 100), "clip": _YES_OR_NO,
    },
}  # fmt: skip
"""Steps on the numbers of an image that a plan may name, and their settings."""

_STEPS_NEED = {"channels": ("count",), "window": ("center", "width"), "windows": ("of",)}
_TO_ONE = ("window", "windows", "body", "normalise")
"""Steps that bring the numbers of an image to 0 to 1."""


def _is_steps(value: Any) -> bool:
    if not isinstance(value, list) or not value:
        return False
    for step in value:
        if not isinstance(step, dict) or step.get("step") not in _STEPS:
            return False
        known = _STEPS[step["step"]]
        if not all(k == "step" or (k in known and known[k][0](v)) for k, v in step.items()):
            return False
        if any(word not in step for word in _STEPS_NEED.get(step["step"], ())):
            return False
    return any(s["step"] == "channels" for s in value)


PARTS: dict[str, Mapping[str, Check]] = {
    "intensity": {
        "steps": (
            _is_steps,
            "a list of steps, one of them channels: "
            + "; ".join(f"{s} ({', '.join(f'{k}: {c[1]}' for k, c in w.items()) or 'no settings'})" for s, w in _STEPS.items()),
        ),
    },
    "input": {"size": numbers(8, 1024, lengths=(2, 3)), "channels": whole(1, 64), "spacing_mm": _THREE_MM, "fill": _FILL},
    "network": {
        "name": one_of("residual", "features", "fine-tuned", "pair", "slices", "slice-features", "simple-cnn"), "widths": numbers(4, 1024, lengths=(1, 2, 3, 4, 5, 6)),
        "flat": whole(0, 7), "stem_stride": whole(1, 2), "stem_kernel": whole(1, 7), "blocks": whole(1, 8), "dropout": number(0, 0.9),
        "pooled": whole(1, 8),
        "neighbours": whole(0, 7), "attention": whole(1, 1024), "enlarged": whole(1, 8),
    },
    "start": {
        "name": one_of(*STARTS), "held": whole(0, 11), "epochs": whole(0, 10_000), "learning_rate": number(1e-7, 1.0),
        "lower": number(1e-4, 1.0), "path": _TEXT, "sha256": _TEXT, "inflated": _YES_OR_NO,
        "application": one_of(*applications.APPLICATIONS),
    },
    "training": {"batch": whole(1, 4096), "epochs": whole(1, 10_000)},
    "optimiser": {
        "name": one_of("adamw", "adam", "one go"), "learning_rate": number(1e-7, 1.0), "weight_decay": number(0, 1.0),
        "warmup": number(0, 0.9), "lower": number(1e-4, 1.0), "precision": one_of("float32", "bfloat16"),
    },
    "average": {"ema": number(0, 0.99999)},
    "loss": {"smoothing": number(0, 0.5), "weigh_classes": _YES_OR_NO},
    "sides": {"flips": some_of(FLIPS), "turns": some_of(TURNS)},
    "augmentation": {
        "rotation": number(0, 180), "scale": number(0, 0.9), "aspect": number(0, 0.9), "shift": number(0, 0.9),
        "margin": number(0, 0.45), "blur": number(0, 1), "gamma": number(0, 3), "contrast": number(0, 3),
        "brightness": number(0, 1), "noise": number(0, 1),
    },
    "ensemble": {"networks": whole(1, 50), "first_seed": whole(0, 2**31 - 1), "folds": whole(3, 20), "repeats": whole(1, 20)},
    "views": {"mirrored": some_of(FLIPS)},
    "study": {"unit": one_of(*UNITS), "join": one_of("auto", *RULES)},
}  # fmt: skip
"""Every part of a plan that training executes, in the order in which they are read."""

NEEDED = {
    "intensity": ("steps",), "input": ("size", "channels"), "network": ("name",), "training": ("batch", "epochs"),
    "optimiser": ("name",), "average": ("ema",), "loss": ("smoothing", "weigh_classes"), "sides": ("flips", "turns"),
    "ensemble": ("networks", "first_seed"), "views": ("mirrored",),
}  # fmt: skip


def check_together(parts: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse what each word by itself allows, but not together."""
    for name, words in NEEDED.items():
        for word in words:
            if word not in parts[name]:
                raise RunError(f"the plan's [{name}] has no {word}", expected=PARTS[name][word][1], do="put it back")
    for word in ("unit", "join") if "study" in parts else ():
        _must(word in parts["study"], f"[study] without {word}", PARTS["study"][word][1])
    size, name = parts["input"]["size"], parts["network"]["name"]
    steps = parts["intensity"]["steps"]
    _check_steps(steps)
    if name not in ("features", "slice-features"):  # which see each image once, as it is
        _check_augmentation(parts["augmentation"], parts["sides"])
    start = parts.get("start", {})
    unused = sorted(set(start) - {"name", "rule", "reason"}) if start.get("name", "random") == "random" else []
    _must(not unused, f"[start] {', '.join(unused)} of weights drawn by chance", "a name alone")
    count = [s["count"] for s in steps if s["step"] == "channels"][-1]
    shown = [len(s["of"]) for s in steps if s["step"] == "windows"]
    _must(not shown or count == 1, f"several windows of {count} channels", "count = 1 in the step channels")
    count = shown[-1] if shown else count
    _must(count == parts["input"]["channels"], f"intensity makes {count} channels and input takes {parts['input']['channels']}", "the same number")  # fmt: skip
    stated = "spacing_mm" in parts["input"]
    _must(stated == ("fill" in parts["input"]), f"[input] {'spacing_mm' if stated else 'fill'} alone", "spacing_mm and fill, or neither")  # fmt: skip
    _must(
        not stated or len(size) == 3,
        f"a spacing of three axes for an input of {len(size)}",
        "a spacing of volumes only",
    )
    flips, turns, views = parts["sides"]["flips"], parts["sides"]["turns"], parts["views"]["mirrored"]
    if len(size) == 2:
        deep = [a for a in (*flips, *turns) if "slices" in a]
        _must(not deep, f"pictures are to be mirrored or turned along {deep[:1]}, and have no slices", "left-right, up-down, quarter turns")  # fmt: skip
    _must(set(views) <= set(flips), f"views mirrored {', '.join(views)} with flips {', '.join(flips) or 'none'}", "views only along axes that [sides] flips allows")  # fmt: skip
    for turn in turns:
        first, second = {"quarter turns": (-2, -1), "turns rows-slices": (0, -2), "turns columns-slices": (0, -1)}[turn]
        _must(size[first] == size[second], f"{turn} of {size[first]} × {size[second]}", "sides of equal length")
    if parts["optimiser"]["name"] == "adamw":
        for word in ("learning_rate", "weight_decay", "warmup"):
            _must(word in parts["optimiser"], f"adamw without {word}", PARTS["optimiser"][word][1])
    if parts["optimiser"].get("precision") == "bfloat16":
        _must(name == "residual" and "lower" not in parts["optimiser"], f"precision bfloat16 for the network {name}", 'name = "residual", all of it learning at one rate; or precision = "float32"')  # fmt: skip
    if start.get("name") == applications.NAME:
        applications_rules.check(parts)
    if name in _OWN_CHECKS:
        _OWN_CHECKS[name](parts)
    elif name == "simple-cnn":
        _must(size == [64, 64] and parts["input"]["channels"] == 3, f"the article's network on {size} and {parts['input']['channels']} channels", "size = [64, 64], channels = 3")  # fmt: skip
        _must(parts["optimiser"]["name"] == "adam", "the article's network with another optimiser", 'name = "adam"')
        _must(parts["ensemble"]["networks"] == 1 and not views, "several networks or views of the article's network", "networks = 1, mirrored = []")  # fmt: skip
        extra = sorted(set(parts["network"]) - {"name", "rule", "reason"})
        _must(not extra, f"the article's network with {', '.join(extra)}", "its name alone")
    else:
        for word in ("widths", "stem_stride", "stem_kernel", "blocks", "dropout"):
            _must(word in parts["network"], f"a residual network without {word}", PARTS["network"][word][1])
        _must(len(size) == 3 or not parts["network"].get("flat"), "steps within slices (flat) for pictures, which have none", "no flat")  # fmt: skip
        _must(parts["optimiser"]["name"] == "adamw", f"the network {name} without AdamW", 'name = "adamw"')
        start = parts.get("start", {}).get("name", "random")
        if start == pretrained_start.NAME:
            pretrained_rules.check(parts)
        else:
            _must(start == "random", f"the network {name} with a start", 'name = "random"')


_OWN_CHECKS = {
    "features": starts_rules.check, "fine-tuned": starts_rules.check_fine_tuned, "pair": starts_rules.check_pair,
    "slices": slices_rules.check, "slice-features": slices_rules.check_features,
}  # fmt: skip
"""Network → what refuses a plan that says what cannot be done with it."""


def _check_steps(steps: list[Mapping[str, Any]]) -> None:
    """Refuse steps that do not bring an image's numbers to 0 to 1 exactly once, in a grid of known channels."""
    names = [s["step"] for s in steps]
    scaled = [name for name in names if name in _TO_ONE]
    _must(len(scaled) == 1, f"{', '.join(scaled) or 'no step'} to bring the numbers of an image to 0 to 1", "one of " + ", ".join(_TO_ONE))  # fmt: skip
    _must(names.count("channels") == 1, f"{names.count('channels')} steps channels", "one")
    _must(names[-1] in _TO_ONE, f"{names[-1]} after {scaled[0]}", f"{scaled[0]} as the last step")
    for s in steps:
        low, high = s.get("lower", 0.0), s.get("upper", 100.0)
        _must(low < high, f"percentiles from {low:g} to {high:g}", "lower below upper")


def _check_augmentation(augmentation: Mapping[str, Any], sides: Mapping[str, Any]) -> None:
    """Refuse a part of which some words were taken out: they would be filled with numbers that nobody sees."""
    words = [word for word in PARTS["augmentation"] if word in augmentation]
    missing = [word for word in PARTS["augmentation"] if word not in augmentation]
    _must(not words or not missing, f"[augmentation] without {', '.join(missing)}", "every word of it; 0 for none")
    mirrored = [*sides["flips"], *sides["turns"]]
    _must(bool(words) or not mirrored, f"an empty [augmentation] with images mirrored or turned ({', '.join(mirrored)})", "every word of it, 0 for none; or no flips and turns")  # fmt: skip


def _must(true: bool, came: str, expected: str) -> None:
    if not true:
        raise RunError(f"the plan says: {came}", expected=expected, do="mend one of the two")
