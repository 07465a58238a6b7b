"""What is answered with one answer: an image, a study of several series, or a patient; a part of the plan when asked for."""

from __future__ import annotations

from dataclasses import replace

from overread.errors import RunError
from overread.learn.plan import Plan, planned
from overread.stats.joined import UNITS

IMAGE = "image"
"""What is answered where nothing is said: every image by itself, and a study by its strongest image."""

ASKED = (IMAGE, *UNITS)


def check_unit(unit: str | None) -> None:
    """Refuse a unit that is none.

    Raises
    ------
    RunError
    """
    if unit is not None and unit not in ASKED:
        raise RunError(f"the unit {unit!r}", expected="one of " + ", ".join(ASKED), do="name one of these with --unit")


def answered_by(plan: Plan, unit: str | None) -> Plan:
    """Return the plan with [study] in it: one answer for all images of a study, or of a patient.

    Examples
    --------
    >>> from overread.domain import Task
    >>> from overread.learn import plan as planning
    >>> seen = planning.Fingerprint(90, (1, 60, 60), 1, "", "stored", 0, eight_bit=True)
    >>> drawn = planning.draw_up(Task(("x",), "binary", "x"), seen, network="residual", seed=0)
    >>> answered_by(drawn, "study").parts["study"]["join"], "study" in answered_by(drawn, None).parts
    ('auto', False)
    """
    if unit in (None, IMAGE):
        return plan
    reason = (
        f"the answer belongs to the {unit}: the network learns from every image of it with the {unit}'s label, and the raw "
        "scores of its images are joined. auto: of mean and max the one that ranks the tuning cohort better, the mean where "
        "they are equal; probabilities, operating point and every figure are then counted by "
        f"{unit}. The testing cohort takes no part in the choice"
    )
    part = {"unit": unit, "join": "auto", "rule": f"one answer a {unit}: told", "reason": reason}
    return replace(planned(plan.task, {**plan.parts, "study": part}), head=plan.head)
