"""Say something of every label, or of every level, by its name: never of the first alone as if it were all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

MOST = 6
"""Labels that are told in a line; of more the others are counted, and stand in their own sections."""


def short(label: str, task: Mapping[str, Any]) -> str:
    """Return a level without the label's name before it."""
    return label.removeprefix(task["name"] + "=")


def each(evaluation: Mapping[str, Any], words: Callable[[str], str]) -> str:
    """Return ``words(label)`` of each label with its name before it; without a name where there is one label only.

    Returns
    -------
    str
        "" where there is nothing to say of any.

    Examples
    --------
    >>> two = {"task": {"name": "grade", "labels": ["grade=low", "grade=high"]}}
    >>> each(two, {"grade=low": "0.7", "grade=high": "0.8"}.get)
    'low: 0.7; high: 0.8'
    >>> each(two, {"grade=low": "0.7", "grade=high": ""}.get), each(two, lambda label: "")
    ('low: 0.7; high: not defined', '')
    >>> each({"task": {"name": "mass", "labels": ["mass"]}}, lambda label: "0.9")
    '0.9'
    """
    task = evaluation["task"]
    told = [(short(label, task), words(label)) for label in task["labels"]]
    if not any(said for _, said in told):
        return ""
    if len(told) == 1:
        return told[0][1]
    lines = [f"{name}: {said or 'not defined'}" for name, said in told[:MOST]]
    more = len(told) - len(lines)
    return "; ".join([*lines, *([f"{more:,} others in their own sections"] if more else [])])
