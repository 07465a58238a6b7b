"""The words of our reports, coded: what the draft and the signed report say alike, so that one finds the other's findings."""

from __future__ import annotations

from highdicom.sr import CodedConcept, RelationshipTypeValues, TextContentItem
from pydicom.sr.codedict import codes

from overread.domain import Report, fingerprint
from overread.formats.filing import SCHEME, plain_text, uid_of

_ANSWERS = {"present": codes.SCT.Present, "absent": codes.SCT.Absent}


def own_code(meaning: str) -> CodedConcept:
    """Return overread's private code for a word: 12 digits of its hash, and the word as its meaning."""
    value = fingerprint(meaning)[:12].upper()
    return CodedConcept(value=value, scheme_designator=SCHEME, meaning=plain_text(meaning, 64))


def answer_code(word: str) -> CodedConcept:
    """Return the code of an answer: the public one of present and absent, else our own."""
    return CodedConcept.from_code(_ANSWERS[word]) if word in _ANSWERS else own_code(word)


def tracking_uid(report: Report, label: str) -> str:
    """Return by which number a finding of a report is found again in its documents."""
    return uid_of("finding", report.fingerprint, label)


def words_item(concept: str, text: str) -> TextContentItem:
    """Return a sentence under a heading of our own."""
    return TextContentItem(name=own_code(concept), value=text, relationship_type=RelationshipTypeValues.CONTAINS)
