"""The rules of an answer and of a signature's name; they need no memory and no disk."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

from overread.domain import Answer, Finding, ModelCard, Report
from overread.errors import OverreadError, SignatureRefused

STATES = ("present", "absent", "unsure")
VERDICTS = ("agree", "disagree", "amend")
MACHINE_WORDS = frozenset(
    [
        "overread",
        "ai",
        "a.i.",
        "algorithm",
        "machine",
        "model",
        "computer",
        "software",
        "program",
        "robot",
        "system",
        "bot",
        "cad",
        "auto",
    ]
)
CHANGED = "the report has changed since it was shown to you"
SIGNED = "this version was signed already"


def person(name: str, card: ModelCard) -> str:
    """The reader's name as DICOM writes it (family^given), or a refusal.

    Raises
    ------
    SignatureRefused
        If a part is empty or not a name, or if it is the name of a machine.

    Examples
    --------
    >>> card = ModelCard("simple-cnn", "1", {}, {}, {}, {}, {}, {}, {}, {})
    >>> person(" Curie ^ Marie", card)
    'Curie^Marie'
    """
    parts = [" ".join(unicodedata.normalize("NFC", p).split()) for p in str(name).split("^")]
    if len(parts) != 2 or not all(any(c.isalpha() for c in p) for p in parts):
        raise SignatureRefused("no reader's name", expected="a family name and a given name", do="type your name")
    if (
        any(unicodedata.category(c).startswith("C") or c in "\\=" for p in parts for c in p)
        or len("^".join(parts)) > 64
    ):
        raise SignatureRefused(
            "a name that DICOM cannot hold", expected="at most 64 letters, no control signs", do="type your name"
        )
    machine = MACHINE_WORDS | {card.name.casefold(), f"{card.name} {card.version}".casefold()} - {""}
    if any(p.casefold() in machine for p in parts) or " ".join(parts).casefold() in machine:
        raise SignatureRefused(
            "the name of a machine", expected="the person who has looked at the images", do="type your own name"
        )
    return "^".join(parts)


def checked(report: Report, impressions: Mapping[str, str], answers: Iterable[Any]) -> tuple[Answer, ...]:
    """One answer for each finding, in the report's order, each one consistent with the finding.

    Raises
    ------
    SignatureRefused
        If one is missing, twice there, not of the report, or contradicts itself.
    """
    told = [dict(a) if isinstance(a, Mapping) else dict(a.__dict__) for a in answers]
    by_label = {a.get("label"): a for a in told}
    if len(by_label) != len(told) or set(by_label) != {f.label for f in report.findings}:
        raise SignatureRefused(
            "not one answer for each finding",
            expected=f"{len(report.findings)}, as silence is not agreement",
            do="answer each finding",
        )
    return tuple(_answer(f, impressions[f.label], by_label[f.label]) for f in report.findings)


def _answer(finding: Finding, impression: str, told: Mapping[str, str]) -> Answer:
    verdict, final, reason = (str(told.get(k) or "").strip() for k in ("verdict", "final", "reason"))
    if verdict not in VERDICTS or final not in STATES:
        raise SignatureRefused(
            "a finding is not answered",
            expected="agree, disagree or amend, and what is signed",
            do="answer each finding",
        )
    decided = finding.decision != "refer"
    if verdict == "agree" and decided and final != finding.decision:
        raise SignatureRefused(
            f"you agree with {finding.decision!r} but sign {final!r}",
            expected="the same",
            do="disagree or amend, with a reason",
        )
    if verdict == "disagree" and not decided:
        raise SignatureRefused(
            "the machine left this to you: there is nothing to disagree with",
            expected="your own answer",
            do="choose it",
        )
    if verdict == "disagree" and final == finding.decision:
        raise SignatureRefused(
            f"you disagree with {finding.decision!r} but sign it",
            expected="another answer",
            do="agree, or sign another answer",
        )
    if verdict != "agree" and sum(c.isalnum() for c in reason) < 3:
        raise SignatureRefused(
            "no reason given", expected="a reason for each disagreement or amendment", do="write it in a few words"
        )
    return Answer(finding.label, impression, verdict, final, reason)


def status_of(error: OverreadError) -> int:
    """The HTTP status that tells a page why a signature was refused."""
    return 409 if error.came in (CHANGED, SIGNED) else 400
