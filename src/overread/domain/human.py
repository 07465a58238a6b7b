"""What no program can know of a model: the questions that only a human answers, each with a name to answer it under."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class HumanItem:
    """One thing that only a human can say of a model.

    Parameters
    ----------
    words : str
        What is asked, in a few words.
    hint : str
        What a good answer holds.
    needed : bool
        True where a blank stamps the report and the card INCOMPLETE.
    """

    words: str
    hint: str
    needed: bool = True


_TO_COME = re.compile(
    r"(to ?do|tb[acd]|fixme|na|placeholder|fill (this )?in|lorem ipsum)$"
    r"|(todo|tb[acd]|fixme|to be (written|done|decided|defined|determined|filled|added|confirmed))\b"
)
"""What is written where an answer is still to come."""


HUMAN: dict[str, HumanItem] = {
    "intended_use": HumanItem("intended use", "What for, at which step of care, and what the answer changes."),
    "users": HumanItem("users", "Who reads with it, and what training they need."),
    "population": HumanItem("population", "In whom: ages, symptoms, setting, prevalence expected."),
    "out_of_scope": HumanItem("out of scope", "In whom and for what it must not be used."),
    "role": HumanItem("role of the machine", "Second reader, triage, or concurrent reader."),
    "regulatory_status": HumanItem("regulatory status", "For example: not a medical device, for research only."),
    "contact": HumanItem("contact", "Who is responsible for it, and how they are reached."),
    "licence": HumanItem("licence", "Of the model and of the images it was trained on."),
    "funding": HumanItem("funding", "Who paid, and who has an interest in the result."),
    "data_sources": HumanItem(
        "dates and places", "When and where the images were acquired; dates are removed from an archive."
    ),
    "reference_standard": HumanItem(
        "reference standard", "Who said what is true, how many readers, with what, and how well they agree."
    ),
    "monitoring": HumanItem("monitoring", "What is watched in use, what raises an alarm, and how it is taken back."),
    "oversight": HumanItem("oversight", "Who reads first, how the machine is overruled, what is done if they differ."),
    "change_control": HumanItem("change control", "Who may change the model, and what is tested again then."),
    "developer": HumanItem("developer", "Who made the model.", needed=False),
    "release_stage": HumanItem("release stage", "Research, pilot, in routine use.", needed=False),
    "clinical_risk": HumanItem("clinical risk level", "What happens when it is wrong.", needed=False),
    "ethics": HumanItem("bias and ethics", "Known biases, consent of the patients, ethics approval.", needed=False),
    "stakeholders": HumanItem("stakeholders consulted", "Doctors, patients, others who were asked.", needed=False),
    "publications": HumanItem("publications", "Peer-reviewed papers about this model.", needed=False),
}
"""Name of an answer → what is asked. The names are the keys of ``answers.toml``."""


def blanks(answers: Mapping[str, object]) -> list[str]:
    """Return the names of the needed items that nobody has answered yet.

    Examples
    --------
    >>> blanks(dict.fromkeys(HUMAN, "written") | {"users": "  ", "role": "TODO"})
    ['users', 'role']
    """
    return [key for key, item in HUMAN.items() if item.needed and not says_something(str(answers.get(key) or ""))]


def says_something(text: str) -> bool:
    """Say whether a text is an answer, and not a mark that one is still to come: "TODO", "tbd", "…", "x".

    Examples
    --------
    >>> [says_something(text) for text in ("radiologists", "none", "無", "MR")]
    [True, True, True, True]
    >>> [says_something(text) for text in (".", "TODO", "t.b.d.", "to be written: ask Ann", "n/a", "xxx", "-", "???")]
    [False, False, False, False, False, False, False, False]
    """
    letters = [c for c in text if c.isalnum()]
    if len(letters) < 2 and not any(c.isalpha() and not c.isascii() for c in letters):
        return False
    plain = re.sub(r"[^\w\s]", "", text).strip().lower()
    return not (len(set(plain)) < 2 and plain.isascii()) and not _TO_COME.match(plain)
