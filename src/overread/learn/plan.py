"""A cohort's fingerprint → the plan: all that training does, decided before it starts, each choice with its reason.

The rules stand in ``plan_rules.py``, what they look at in ``plan_cohort.py``, the file a person reads and edits in
``plan_file.py``. Loads without Keras, so that listing networks and planning stay light.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from overread.domain import Recipe, Step, Task
from overread.domain import fingerprint as fingerprint_of
from overread.domain.canonical import plain
from overread.errors import RunError
from overread.learn.plan_cohort import Fingerprint, fingerprint
from overread.learn.plan_rules import Part, choose
from overread.learn.plan_spacing import Asked, stated
from overread.learn.starts_rules import LARGEST_SMALL

__all__ = [
    "ABOUT",
    "CENTRED",
    "Fingerprint",
    "Part",
    "Plan",
    "changed",
    "draw_up",
    "executed",
    "fingerprint",
    "halves",
    "planned",
    "record",
    "with_epochs",
]

ABOUT = {
    "residual": "a small residual network, global average and one linear head; the default for volumes",
    "features": "frozen features of a start that a package carries, and a linear head: for some hundred images",
    "fine-tuned": "the same start, the upper layers of which go on learning from these images, slowly",
    "pair": "a small residual network and such a start side by side in one graph; the default for pictures",
    "slices": "volumes slice by slice: one network for pictures reads each, attention says how much each counts",
    "slice-features": "the same with the frozen features of a start for each slice",
    "simple-cnn": "the article's network: Conv 32 3×3, max-pool, dense 128, dense 1; the baseline of every report",
}
"""What each network is for, in a line."""

CENTRED = {"by": "given", "mean": 0.5, "std": 0.25}
"""[0, 1] → [−2, 2]: about mean 0 and standard deviation 1 for most images, and the same for each of them."""


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
    ensemble : int
        Networks that differ by their seed only (seed, seed + 1, …) and answer together.
    views : tuple of str
        Axes along which an image is also read mirrored.
    start : mapping
        ``name`` of what the weights begin with: "random", one in ``learn.starts.STARTS``, or "pretrained" with the
        ``path`` where it lies and its ``sha256``.
    reasons : tuple of str
        Why, in words.
    parts : mapping
        The plan as a person reads it: part → its values, rule and reason.
    head : mapping
        What the file says of question, cohort and machine.
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
    ensemble: int = 1
    views: tuple[str, ...] = ()
    start: Mapping[str, Any] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()
    parts: Mapping[str, Part] = field(default_factory=dict)
    head: Mapping[str, Any] = field(default_factory=dict)


def draw_up(task: Task, seen: Fingerprint, *, network: str, seed: int, spacing: Asked = None) -> Plan:
    """Return the plan for a task on a cohort.

    Parameters
    ----------
    task : Task
    seen : Fingerprint
        Of the training cohort.
    network : str
    seed : int
    spacing : "auto" or (float, float, float), optional
        State the spacing of volumes: what the cohort suggests, or mm between (slices, rows, columns).
    """
    if network not in ABOUT:
        raise RunError(f"the network {network!r}", expected="one of " + ", ".join(ABOUT), do="see `overread networks`")
    parts = choose(task, seen, network=network, seed=seed)
    return planned(task, parts if spacing is None else stated(parts, seen, spacing))


def planned(task: Task, parts: Mapping[str, Part]) -> Plan:
    """Return what training executes, from the parts that a person reads."""
    values = {name: {k: v for k, v in part.items() if k not in ("rule", "reason")} for name, part in parts.items()}
    flips, turns = values["sides"]["flips"], values["sides"]["turns"]
    network = dict(values["network"])
    training, loss, ensemble = values["training"], values["loss"], values["ensemble"]
    augmentation = values["augmentation"]
    if augmentation:
        augmentation = {**augmentation, "flips": tuple(flips), **({"turns": tuple(turns)} if turns else {})}
    return Plan(
        task=replace(task, side_matters="left-right" not in flips),
        recipe=_recipe(values["intensity"]["steps"], values["input"]),
        network=network.pop("name"),
        input_shape=(*values["input"]["size"], values["input"]["channels"]),
        build={k: tuple(v) if isinstance(v, list) else v for k, v in network.items()},
        batch=training["batch"],
        epochs=training["epochs"],
        seed=ensemble["first_seed"],
        optimiser=values["optimiser"],
        ema=values["average"]["ema"],
        smoothing=loss["smoothing"],
        weigh_classes=loss["weigh_classes"],
        augmentation=augmentation,
        ensemble=ensemble["networks"],
        views=tuple(values["views"]["mirrored"]),
        start=values.get("start", {"name": "random"}),
        reasons=tuple(f"{name}: {part['reason']}" for name, part in parts.items() if part.get("reason")),
        parts=parts,
    )


def _recipe(intensity: list[Mapping[str, Any]], size: Mapping[str, Any]) -> Recipe:
    """Return the steps from an image to the network's input: the numbers first, then the grid, in voxels or in mm."""
    steps = [Step(s["step"], {k: v for k, v in s.items() if k != "step"}) for s in intensity]
    in_mm = {"spacing_mm": tuple(size["spacing_mm"]), "fill": size["fill"]} if "spacing_mm" in size else {}
    return Recipe((*steps, Step("resize", {"size": tuple(size["size"]), **in_mm}), Step("standardise", CENTRED)))


def changed(plan: Plan, part: str, reason: str, **values: Any) -> Plan:
    """Return the plan with other values in one part, and why."""
    parts = {**plan.parts, part: {**plan.parts[part], **values, "reason": reason}}
    return replace(planned(plan.task, parts), head=plan.head)


def record(plan: Plan) -> dict[str, Any]:
    """Return a plan as it is kept in ``plan.json``: all that prediction and repetition need."""
    told = {k: v for k, v in plain(plan).items() if k not in ("parts", "head")}
    return {**told, "start": {k: v for k, v in told["start"].items() if k != "path"}}  # no user's folders


def executed(plan: Plan) -> str:
    """Return the SHA-256 of what training does: equal for plans that differ in words only."""
    return fingerprint_of({k: v for k, v in record(plan).items() if k != "reasons"})


def halves(plan: Plan) -> tuple[Plan, Plan]:
    """Return the plans of the two networks of a pair: from nothing, and from a start.

    The last maps of both have one grid: a small picture is enlarged for the start four times, a larger one is halved
    for the network from nothing.
    """
    small = max(plan.input_shape[:2]) <= LARGEST_SMALL
    start = dict(plan.start)
    learning = {k: start.pop(k) for k in ("learning_rate", "lower")}
    first = replace(
        plan, network="residual", start={"name": "random"}, build={**plan.build, **({} if small else {"pooled": 2})}
    )
    second = replace(
        plan,
        network="fine-tuned",
        epochs=start.pop("epochs"),
        start=start,
        build={"dropout": plan.build.get("dropout", 0.2), **({"enlarged": 4} if small else {})},
        optimiser={**plan.optimiser, **learning},
    )
    return first, second


def with_epochs(plan: Plan, epochs: int, reason: str) -> Plan:
    """Return the plan with another number of epochs, and why."""
    return changed(plan, "training", reason, epochs=max(1, epochs))
