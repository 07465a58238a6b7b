"""A card, a report with three findings, a doctor's answers, and what a made document is held against."""

from __future__ import annotations

import datetime
import io
import subprocess
import sys
from pathlib import Path

from pydicom import Dataset
from pydicom.data import get_testdata_file

from overread.domain import Answer, Decision, Finding, ModelCard, Report

NOW = datetime.datetime(2026, 3, 4, 5, 6, 7, 89, tzinfo=datetime.UTC)


VALIDATOR = Path(sys.executable).parent / "dciodvfy"


CARD = ModelCard("simple-cnn", "3", {"name": "pneumonia"}, {}, {}, {}, {}, {}, {}, {})


REPORT = Report(
    study="S0123456789ab",
    card=CARD.fingerprint,
    images=("a" * 64,),
    findings=(
        Finding("pneumonia", 0.8123456789, 0.7, 0.9, 0.5, "present"),
        Finding("nodule", 1 / 3, 0.1, 2 / 3, 0.4, "refer", "too close to call – größer als üblich"),
        Finding(
            "Erguss ß, a very long label of a finding that goes on and on for more than 64",
            0.0,
            0.0,
            0.1,
            0.5,
            "absent",
        ),
    ),
)


ANSWERS = (
    Answer("pneumonia", "present", "agree", "present"),
    Answer("nodule", "unsure", "disagree", "absent", "a vessel, seen end on"),
    Answer(REPORT.findings[2].label, "absent", "agree", "absent"),
)


DECISION = Decision(REPORT.fingerprint, "Röntgen^Conrad", ANSWERS, "2026-03-04T05:04:03+01:00", {"heat-map": "opened"})


SOURCES = (
    "CT_small.dcm",
    "MR_small.dcm",
    "693_J2KI.dcm",
    "examples_overlay.dcm",
    "examples_ybr_color.dcm",
    "JPGExtended.dcm",
)


def source(name: str = "CT_small.dcm") -> Path:
    return Path(get_testdata_file(name))


def as_bytes(ds: Dataset) -> bytes:
    out = io.BytesIO()
    ds.save_as(out, enforce_file_format=True)
    return out.getvalue()


def errors(ds: Dataset, folder: Path) -> list[str]:
    (folder / "object.dcm").write_bytes(as_bytes(ds))
    said = subprocess.run([VALIDATOR, "-new", folder / "object.dcm"], capture_output=True).stderr.decode("latin-1")
    assert said, "the validator said nothing at all"
    return [line for line in said.splitlines() if line.startswith("Error")]


def items(ds: Dataset):
    """Every content item of a report, depth first, with its relationship."""
    for item in ds.get("ContentSequence", []):
        yield item
        yield from items(item)


def named(ds: Dataset, meaning: str) -> list[Dataset]:
    return [i for i in items(ds) if i.ConceptNameCodeSequence[0].CodeMeaning == meaning]


def lacks(ds: Dataset) -> list[str]:
    """What no validator notices (each was tried): the rules of TID 1500 a report must hold to be of use."""
    wrong = []
    if not named(ds, "Procedure reported"):
        wrong.append("no procedure reported")
    if not named(ds, "Observer Type"):
        wrong.append("no observer")
    groups = named(ds, "Measurement Group")
    if len(groups) != len(REPORT.findings):
        wrong.append("not one group for each finding")
    tracked = [[i.UID for i in g.ContentSequence if i.ValueType == "UIDREF"] for g in groups]
    if any(len(t) != 1 for t in tracked) or len({t[0] for t in tracked if t}) != len(groups):
        wrong.append("a finding without a tracking UID of its own")
    for g in groups:
        inside = {i.ConceptNameCodeSequence[0].CodeMeaning for i in items(g)}
        for word in ("Finding", "Algorithm Name", "Algorithm Version", "Probability", "Machine's answer"):
            if word not in inside:
                wrong.append(f"a group without {word}")
    for i in items(ds):
        for value in i.get("MeasuredValueSequence", []):
            if len(str(value["NumericValue"].value.original_string)) > 16:
                wrong.append("a decimal string of more than 16 characters")
        for code in (*i.get("ConceptNameCodeSequence", []), *i.get("ConceptCodeSequence", [])):
            if not (0 < len(code.CodeValue) <= 16 and 0 < len(code.CodeMeaning) <= 64):
                wrong.append("a code that does not fit its element")
    return wrong
