"""What the figures of a page count: images, or studies and patients that are answered as one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

BY_IMAGE = (
    "Every figure counts images, not examinations or patients: an examination with several images counts several "
    "times. How well whole examinations are read was not measured."
)


def counted_by(unit: Mapping[str, Any]) -> str:
    """Return the limit that follows from what is counted.

    Examples
    --------
    >>> counted_by({"counted": "study", "images": 96, "joined": "one answer a study: the mean raw score of its images"})[:74]
    'Every figure counts one answer a study: the mean raw score of its images. '
    """
    if unit.get("counted", "image") == "image":
        return BY_IMAGE
    return (
        f"Every figure counts {unit['joined']}. The rule was chosen on the tuning cohort. Where a figure on this page speaks "
        f"of images it means answers, one a {unit['counted']}; the floors beside it read the first image of each."
    )


def word(unit: Mapping[str, Any] | None, n: int) -> str:
    """Return the word for what is counted.

    Examples
    --------
    >>> word({"counted": "study"}, 2), word({"counted": "image"}, 1)
    ('studies', 'image')
    """
    one = (unit or {}).get("counted", "image")
    return one if n == 1 else {"study": "studies"}.get(one, f"{one}s")


def use_of(cohort: str, unit: Mapping[str, Any], *, told: str) -> str:
    """Return what a cohort is used for; where images are joined, the rule is chosen on the tuning cohort.

    Examples
    --------
    >>> use_of("tuning", {"joined": "one answer a study"}, told="watch the training; nothing is chosen on it")
    'watch the training, choose the rule that joins images'
    """
    return (
        "watch the training, choose the rule that joins images" if cohort == "tuning" and unit.get("joined") else told
    )
