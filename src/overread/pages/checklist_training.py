"""What a report says of the training: which networks answer, what was minimised and how, what it took, which weights stand."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

E = Mapping[str, Any]

LOSSES = {
    "binary": "cross-entropy",
    "multilabel": "cross-entropy of each label, unknown answers left out",
    "multiclass": "cross-entropy over the levels",
    "ordinal": "cross-entropy over the levels, the truth spread over its neighbours",
}
"""What is minimised, by kind of question."""


def plan_of(e: E) -> Mapping[str, Any]:
    """Return the plan that the card holds; empty for a card without one."""
    plan: Mapping[str, Any] = e["card"]["training"].get("plan", {})
    return plan


def training(e: E) -> str:
    """Say augmentation, loss, optimiser, schedule, seed, time and energy; "" where the plan is not known."""
    plan = plan_of(e)
    if "optimiser" not in plan:
        return ""
    parts = [_steps(plan), _loss(e, plan), _schedule(plan), _augmentation(plan)]
    seconds = e["card"]["training"].get("seconds")
    parts += [f"{seconds:,.0f} s"] if seconds else []
    return "; ".join([*(part for part in parts if part), _energy(e)])


def together(e: E) -> str:
    """Say how many networks answer, and of how many that were asked for; "" for one that was asked for.

    Examples
    --------
    >>> plan = {"ensemble": 2, "reasons": ["ensemble: 2 of 3 networks were trained when the time was up"]}
    >>> together({"card": {"training": {"plan": plan}}})
    '2 networks, which differ by their seed only, answer together: 2 of 3 networks were trained when the time was up'
    """
    n, short = int(plan_of(e).get("ensemble", 1)), shortened(e)
    if n < 2:
        return short
    return f"{n} networks, which differ by their seed only, answer together" + (f": {short}" if short else "")


def shortened(e: E) -> str:
    """Say that fewer networks were trained than were asked for, as the plan does; "" where all were."""
    for reason in plan_of(e).get("reasons", ()):
        if found := re.fullmatch(r"ensemble: (\d+ of \d+ networks were trained when the time was up)", reason):
            return found[1]
    return ""


def weights(e: E) -> str:
    """Say which weights are those of the model."""
    plan = plan_of(e)
    if plan.get("optimiser", {}).get("name") == "one go":
        return "the weights are those of one fit"
    if plan.get("ema"):
        return (
            f"the weights are a moving average over the steps (decay {plan['ema']:g}), as it stood after the last epoch"
        )
    return "the weights are those after the last epoch"


def _steps(plan: E) -> str:
    if plan["optimiser"]["name"] == "one go":
        return f"a linear layer fitted in one go, seed {plan['seed']}"
    seeds = f"seed {plan['seed']}"
    if int(plan.get("ensemble", 1)) > 1:
        seeds = f"seeds {plan['seed']} to {plan['seed'] + plan['ensemble'] - 1}, a network each"
    return f"{plan['optimiser']['name']}, {plan['epochs']} epoch{'' if plan['epochs'] == 1 else 's'} of batches of {plan['batch']}, {seeds}"


def _loss(e: E, plan: E) -> str:
    if plan["optimiser"]["name"] == "one go":
        return "loss: cross-entropy and a penalty on the weights, chosen by cross-validation inside the training cohort"
    parts = [LOSSES.get(e["task"]["kind"], "cross-entropy")]
    parts += ["towards a larger network's answers"] if e.get("distil") else []
    parts += [f"labels smoothed by {plan['smoothing']:g}"] if plan.get("smoothing") else []
    parts += ["the rarer answer counts more"] if plan.get("weigh_classes") else []
    return f"loss: {', '.join(parts)}"


def _schedule(plan: E) -> str:
    optimiser = plan["optimiser"]
    if optimiser["name"] == "one go":
        return ""
    if "learning_rate" not in optimiser:
        return "learning rate: constant, the framework's own"
    rise = f"rises to {optimiser['learning_rate']:g} over the first {100 * optimiser.get('warmup', 0):g} % of the steps"
    lower = ", lower layers with less" if "lower" in optimiser else ""
    decay = f"; weight decay {optimiser['weight_decay']:g}" if "weight_decay" in optimiser else ""
    return f"learning rate: {rise} and falls to 0 along a cosine{lower}{decay}"


def _augmentation(plan: E) -> str:
    if "augmentation" not in plan:
        return "augmentation: not recorded"
    values = plan["augmentation"]
    moved = [f"{name} {value:g}" if isinstance(value, float) else name for name, value in values.items() if value]
    return f"augmentation: {', '.join(moved) or 'none'}"


def _energy(e: E) -> str:
    cost = e["card"]["training"].get("cost", {}).get("training", {})
    if cost.get("joules") is None:
        why = f": {cost['joules_from']}" if cost.get("joules_from") else ""
        return f"energy was not metered{why}"
    return f"{cost['joules']:,.0f} J of energy ({cost['joules_from']})"
