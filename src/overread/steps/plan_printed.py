"""A plan as a person reads it on the screen: what was looked at, what was chosen, and why."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from overread.domain.canonical import plain
from overread.stats import crossing, splits


@dataclass(frozen=True)
class Planned:
    """What `plan` found and chose.

    Parameters
    ----------
    head : mapping
        question, cohort and machine: what was asked and looked at.
    parts : mapping
        What was chosen: values, rule and reason.
    out : str
        The file it was written to; "" for none.
    """

    head: Mapping[str, Any]
    parts: Mapping[str, Any]
    out: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the plan for ``--json``."""
        return {**plain(self.head), **plain(self.parts), "out": self.out}

    def __str__(self) -> str:
        lines = [*_told(self.head), ""]
        for name, part in self.parts.items():
            values = ", ".join(f"{k} {_short(v)}" for k, v in part.items() if k not in ("rule", "reason"))
            lines += _wrapped(f"{name:<13} {values or 'none'}", indent=14)
            lines += _wrapped(f"{'':<16} {part.get('rule', '')}: {part.get('reason', '')}", indent=17)
        for advice in (kinds_advice(self.head), few_advice(self.head, self.parts)):
            lines += ["", *_wrapped(advice, indent=14)] if advice else []
        end = f"written to {self.out}; edit it, then: overread train ARCHIVE --label … --plan {self.out} --out RUN"
        return "\n".join([*lines, "", end] if self.out else lines)


def kinds_advice(head: Mapping[str, Any]) -> str:
    """Advise to keep kinds of images apart where a cohort holds several; "" elsewhere.

    Examples
    --------
    >>> print(kinds_advice({"cohort": {"modality": "CT+MR"}})[14:64])
    CT and MR images in one cohort: a network tells th
    >>> kinds_advice({"cohort": {"modality": "CT"}})
    ''
    """
    kinds = head["cohort"].get("modality", "").split("+")
    if len(kinds) < 2:
        return ""
    return (
        f"advice        {' and '.join(kinds)} images in one cohort: a network tells them apart at a glance, and reads the answer "
        "from that where one kind has it more often; what is written in Hounsfield units or uptake is lost, since all are "
        "read by one recipe. One archive for each kind is safer"
    )


def few_advice(head: Mapping[str, Any], parts: Mapping[str, Any]) -> str:
    """Advise to cross-validate where a fifth of the patients says too little; "" elsewhere.

    Examples
    --------
    >>> "--folds 5" in few_advice({"cohort": {"patients": 96, "division": "drawn"}}, {"ensemble": {}})
    True
    >>> few_advice({"cohort": {"patients": 900, "division": "drawn"}}, {"ensemble": {}})
    ''
    """
    cohort = head["cohort"]
    n = cohort.get("patients", cohort.get("images", 0))
    share = splits.FRACTIONS["training"]
    if n >= crossing.FEW * share or cohort.get("division") != "drawn" or "folds" in parts["ensemble"]:
        return ""
    return (
        f"advice        {n} training patients: about {round(n / share * splits.FRACTIONS['testing'])} will be tested, which "
        "leaves the interval of a figure too wide to decide much; overread train … --folds 5 --repeats 3 tests every "
        "patient by networks that never saw it (docs/starts.md)"
    )


def _told(head: Mapping[str, Any]) -> list[str]:
    """Say what was looked at, in a few lines."""
    question, cohort, computer = head["question"], head["cohort"], head["machine"]
    who = f"{cohort['patients']:,} patients" if "patients" in cohort else "patients not known"
    low, high = (" × ".join(map(str, s)) for s in (cohort["sizes"] or [cohort["size"]] * 2))
    size = " × ".join(map(str, cohort["size"]))
    lines = [
        f"question      {question['label']} ({question['kind']})",
        f"cohort        {cohort['images']:,} training images, {who}; "
        + ", ".join(f"{name} {n:,}" for name, n in cohort["answers"].items()),
        f"images        {cohort['modality']}, {size} (slices × rows × columns"
        + (f"; from {low} to {high}" if low != high else "")
        + f"), {'colour' if cohort['channels'] == 3 else 'grey'}, unit {cohort['unit']}",
    ]
    if "spacing_mm" in cohort:
        lines.append(f"spacing       {' × '.join(f'{v:g}' for v in cohort['spacing_mm'])} mm")
    if "range" in cohort:
        lines.append(
            f"range         99 % of the voxels from {cohort['range'][0]:g} to {cohort['range'][1]:g} {cohort['unit']}"
        )
    memory = f", {computer['memory_gb']:g} GB of memory" if "memory_gb" in computer else ""
    cards = "".join(f"; {card}" for card in computer.get("gpus", ()))
    return [*lines, f"machine       {computer['cores']} cores{memory}{cards}"]


def _wrapped(text: str, *, indent: int) -> list[str]:
    return textwrap.wrap(text, width=118, subsequent_indent=" " * indent, break_on_hyphens=False)


def _short(value: Any) -> str:
    if isinstance(value, list):
        inner = ", ".join(f"[{_short(v)}]" if isinstance(v, list) else _short(v) for v in value)
        return inner if value else "none"
    if isinstance(value, Mapping):
        return " ".join(_short(v) if k == "step" else f"{k} {_short(v)}" for k, v in value.items())
    return str(value)
