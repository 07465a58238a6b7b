"""How a plan changes when its residual network begins with weights that were learned before. Loads without Keras."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from overread.errors import RunError
from overread.learn.plan_cohort import Fingerprint
from overread.learn.pretrained_start import NAME, Given

Part = dict[str, Any]

LOWER = 0.3
"""The first layer's share of the learning rate (docs/decisions/0025)."""

BUILD = ("widths", "blocks", "stem_stride", "stem_kernel")
"""What of the network's shape a start decides."""


def begun(parts: Mapping[str, Part], seen: Fingerprint, given: Given) -> dict[str, Part]:
    """Return the parts of a plan that begins with a start, from those for a network from nothing.

    Parameters
    ----------
    parts : mapping
        As `learn.plan_rules.choose` has them for the residual network.
    seen : Fingerprint
        Of the training cohort.
    given : Given

    Raises
    ------
    RunError
        When the start is of volumes and the cohort of pictures.
    """
    told, volumes = given.told, bool(seen.volumes)
    if told["dimensions"] == 3 and not volumes:
        raise RunError("a start that was learned on volumes, for pictures", expected="a start for pictures", do="learn one from pictures, or leave out --start")  # fmt: skip
    deep = volumes and told["dimensions"] == 2
    like = not deep and _alike(told, seen)
    shape = {k: told["network"][k] for k in BUILD}
    words = f"its shape is that of the start: widths {', '.join(map(str, shape['widths']))}"
    network = {**parts["network"], **shape, "rule": "as the start", "reason": words}
    if deep:
        network["reason"] += "; what was learned on pictures is inflated: each kernel is repeated along the slices and divided by their number"  # fmt: skip
    out = {**parts, "network": network, "start": _start(given, deep=deep)}
    if like:
        same = {"rule": "as the start", "reason": "the start has learned on images whose numbers were read so"}
        out["intensity"] = {"steps": told["intensity"], **same}
    if like and not volumes:
        out["input"] = {"size": list(told["input_shape"][:-1]), "channels": told["input_shape"][-1], "rule": "as the start", "reason": "the size at which the start has learned to see"}  # fmt: skip
    lower = f"{parts['optimiser']['reason']}; the line through the averages is fitted first, and lower layers learn with less, the first with {LOWER:g} of the rate"  # fmt: skip
    out["optimiser"] = {**parts["optimiser"], "lower": LOWER, "rule": "AdamW, rates that fall with depth", "reason": lower}  # fmt: skip
    return out


def check(parts: Mapping[str, Part]) -> None:
    """Refuse a plan that begins with a start and says what cannot be done with it.

    Raises
    ------
    RunError
    """
    start = parts["start"]
    for good, came, expected in (
        ("sha256" in start, "[start] without sha256", "the SHA-256 of the start"),
        ("widths" in parts["network"], "[network] without widths", "those of the start"),
        (parts["optimiser"]["name"] == "adamw", f"{parts['optimiser']['name']}", 'name = "adamw"'),
    ):
        if not good:
            raise RunError(f"the plan says: {came} with a start that was learned before", expected=expected, do="mend it")  # fmt: skip


def _start(given: Given, *, deep: bool) -> Part:
    reason = f"{given.in_words}. None of the calibration and testing patients was among them"
    return {
        "name": NAME,
        "path": str(given.path),
        "sha256": given.sha256,
        **({"inflated": True} if deep else {}),
        "rule": "a start that was named",
        "reason": reason,
    }


def _alike(told: Mapping[str, Any], seen: Fingerprint) -> bool:
    """Say whether the start's images are of the cohort's kind, so that its way of reading their numbers holds here."""
    of = told["images_are"]
    return (of["unit"], of["channels"], of["eight_bit"], of["modality"]) == (seen.unit, seen.channels, seen.eight_bit, seen.modality)  # fmt: skip
