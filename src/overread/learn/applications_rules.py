"""How a plan changes when a line is fitted on the features of one of Keras' applications. Loads without Keras."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from overread.errors import RunError
from overread.learn import starts_rules
from overread.learn.applications import APPLICATIONS, NAME, Brought

Part = dict[str, Any]


def begun(parts: Mapping[str, Part], given: Brought, *, volumes: bool) -> dict[str, Part]:
    """Return the parts of a plan for frozen features of a file that was brought, from those for a network from nothing.

    Parameters
    ----------
    parts : mapping
        As `learn.plan_rules.choose` has them for the residual network.
    given : Brought
    volumes : bool
        The slices at 1/4, 1/2 and 3/4 then stand in the three channels.
    """
    out = starts_rules.line(parts, volumes=volumes, name=NAME)
    told = APPLICATIONS[given.application]
    steps = [
        {**s, "count": 3} if s["step"] == "channels" and not _windows(out) else s for s in out["intensity"]["steps"]
    ]
    reason = f"{given.in_words}. Input: {told.scale_in_words}, done inside the graph"
    return {
        **out,
        "intensity": {**out["intensity"], "steps": steps},
        "input": {**out["input"], "channels": _windows(out) or 3},
        "network": {"name": "features", "rule": "a start that was named", "reason": f"{told.name} up to {told.last}: {told.maps} maps of a sixteenth of the input's size; only a line through their averages is fitted. The margin of the last halving stands on the other side, so that heat-maps point where they should but for half a pixel"},
        "start": {"name": NAME, "application": given.application, "path": str(given.path), "sha256": given.sha256, "rule": "a start that was named", "reason": reason},
    }  # fmt: skip


def check(parts: Mapping[str, Part]) -> None:
    """Refuse a plan with a file that was brought that says what cannot be done with it.

    Raises
    ------
    RunError
    """
    start = parts["start"]
    for good, came, expected in (
        (parts["network"]["name"] == "features", f"the network {parts['network']['name']}", 'name = "features"'),
        ("sha256" in start, "[start] without sha256", "the SHA-256 of the file"),
        ("application" in start, "[start] without application", "one of " + ", ".join(APPLICATIONS)),
        (parts["input"]["channels"] == 3, f"{parts['input']['channels']} channels", "three"),
    ):
        if not good:
            raise RunError(f"the plan says: {came} with the weights of one of Keras' applications", expected=expected, do="mend it")  # fmt: skip


def _windows(parts: Mapping[str, Part]) -> int:
    """How many windows stand in the channels; 0 for none."""
    return sum(len(s["of"]) for s in parts["intensity"]["steps"] if s["step"] == "windows")
