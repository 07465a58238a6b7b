"""What the machine found, and what the doctor said of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from overread.domain.canonical import fingerprint

Verdict = Literal["present", "absent", "refer"]


@dataclass(frozen=True)
class Finding:
    """One label answered.

    Parameters
    ----------
    label : str
        What was asked ("pneumonia").
    probability, low, high : float
        Calibrated probability and its 95 % interval; in [0, 1].
    threshold : float
        The operating point the decision was made at, fixed on the calibration cohort.
    decision : {"present", "absent", "refer"}
        "refer" is an answer: the machine leaves it to the doctor, and says why.
    reason : str
        In words; never empty when the decision is "refer".
    image : str
        Content hash of the image that carries the evidence (the highest-scoring one of the study).
    """

    label: str
    probability: float
    low: float
    high: float
    threshold: float
    decision: Verdict
    reason: str = ""
    image: str = ""


@dataclass(frozen=True)
class Report:
    """The findings of one model card on one study. It has no status: it is a draft until a Decision names it.

    Parameters
    ----------
    study : str
        Pseudonym.
    card : str
        Fingerprint of the model card.
    images : tuple of str
        Content hashes of the images that were read.
    findings : tuple of Finding
    """

    study: str
    card: str
    images: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the whole content: a changed report has another, and no signature fits it."""
        return fingerprint(self)


@dataclass(frozen=True)
class Answer:
    """What the doctor said of one finding.

    ``impression`` is the doctor's own, entered before the finding was shown ("present", "absent", "unsure");
    ``verdict`` is what they said after it; ``final`` is what is signed. A disagreement or an amendment has a reason.
    """

    label: str
    impression: Literal["present", "absent", "unsure"]
    verdict: Literal["agree", "disagree", "amend"]
    final: Literal["present", "absent", "unsure"]
    reason: str = ""


@dataclass(frozen=True)
class Decision:
    """What one doctor said of exactly one report, finding by finding. The machine cannot make one.

    Parameters
    ----------
    report : str
        Fingerprint of the report decided on; a changed report voids the signature.
    reader : str
        Who decided, as they gave it at the reading page (name^given, DICOM PN).
    answers : tuple of Answer
        One for each finding; silence is not agreement.
    time : str
        ISO 8601 with offset.
    shown : mapping
        What had been shown before the signature: heat-map opened, seconds spent.
    """

    report: str
    reader: str
    answers: tuple[Answer, ...]
    time: str
    shown: Mapping[str, str] = field(default_factory=dict)
