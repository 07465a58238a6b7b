"""The signed report: valid by a validator, beside the machine's answers the doctor's, and refused where a decision is not whole."""

from __future__ import annotations

import dataclasses
import io

import pydicom
import pytest
from made_reports import ANSWERS, CARD, DECISION, NOW, REPORT, SOURCES, as_bytes, errors, items, lacks, named, source

from overread.domain import Decision
from overread.errors import SignatureRefused
from overread.formats.evidence import draft_sr, verified_sr


@pytest.mark.parametrize("name", SOURCES)
def test_the_signed_report_is_valid_and_names_doctor_and_draft(name, tmp_path):
    draft = draft_sr([source(name)], REPORT, CARD, now=NOW)
    before = as_bytes(draft)
    ds = verified_sr(draft, DECISION, REPORT, now=NOW, organization="Klinikum Würzburg")
    assert errors(ds, tmp_path) == []
    ds = pydicom.dcmread(tmp_path / "object.dcm")
    assert lacks(ds) == []
    assert (ds.VerificationFlag, ds.PreliminaryFlag, ds.CompletionFlag) == ("VERIFIED", "FINAL", "COMPLETE")
    observer = ds.VerifyingObserverSequence[0]
    assert (observer.VerifyingObserverName, observer.VerifyingOrganization) == ("Röntgen^Conrad", "Klinikum Würzburg")
    assert observer.VerificationDateTime == "20260304050403.000000+0100"
    before_it = ds.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0]
    assert before_it.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == draft.SOPInstanceUID
    assert before_it.SeriesInstanceUID == draft.SeriesInstanceUID != ds.SeriesInstanceUID
    assert ds.SOPInstanceUID == ds.file_meta.MediaStorageSOPInstanceUID != draft.SOPInstanceUID
    assert as_bytes(draft) == before


def test_the_doctors_answers_stand_beside_the_machines():
    draft = pydicom.dcmread(io.BytesIO(as_bytes(draft_sr([source()], REPORT, CARD, now=NOW))))  # as the inbox reads it
    ds = verified_sr(draft, DECISION, REPORT, now=NOW)
    for group, answer, finding in zip(named(ds, "Measurement Group"), ANSWERS, REPORT.findings, strict=True):
        said = {i.ConceptNameCodeSequence[0].CodeMeaning: i for i in items(group)}
        word = {k: i.ConceptCodeSequence[0].CodeMeaning.lower() for k, i in said.items() if i.ValueType == "CODE"}
        assert word["Doctor's own impression before the finding was shown"] == answer.impression
        assert word["Doctor's verdict on the machine's answer"] == answer.verdict
        assert word["Final answer, signed by the doctor"] == answer.final
        assert word["Machine's answer"] == finding.decision
        if answer.reason:
            assert said["Doctor's reason"].TextValue == answer.reason
    assert [i.ConceptCodeSequence[0].CodeMeaning for i in named(ds, "Observer Type")] == ["Person", "Device"]


def _changed(**other) -> Decision:
    return dataclasses.replace(DECISION, **other)


def _answers(n: int, **other) -> Decision:
    return _changed(answers=tuple(dataclasses.replace(a, **other) if i == n else a for i, a in enumerate(ANSWERS)))


@pytest.mark.parametrize(
    ("decision", "why"),
    [
        (_changed(report="0" * 64), "another report"),
        (_changed(reader=""), "without a reader"),
        (_changed(reader=" ^ "), "without a reader"),
        (_changed(reader="overread"), "the machine"),
        (_changed(reader="Overread 0.1.0"), "the machine"),
        (_changed(reader="simple-CNN"), "the machine"),
        (_changed(answers=ANSWERS[:2]), "silence is not agreement"),
        (_changed(answers=(*ANSWERS, ANSWERS[0])), "one answer to each"),
        (_changed(answers=(ANSWERS[0], ANSWERS[1], dataclasses.replace(ANSWERS[2], label="else"))), "one answer"),
        (_answers(0, final="absent"), "contradicts"),
        (_answers(0, verdict="disagree", reason="no"), "contradicts"),
        (_answers(1, reason="  "), "without a reason"),
        (_answers(0, verdict="amend"), "without a reason"),
        (_changed(time="yesterday"), "without a time"),
        (_changed(time="2026-03-04T05:04:03"), "without a time"),
    ],
)
def test_what_may_not_be_signed(decision, why):
    draft = draft_sr([source()], REPORT, CARD, now=NOW)
    with pytest.raises(SignatureRefused, match=why) as said:
        verified_sr(draft, decision, REPORT, now=NOW)
    assert "Röntgen" not in str(said.value)


def test_a_changed_report_or_another_draft_voids_the_signature():
    draft = draft_sr([source()], REPORT, CARD, now=NOW)
    changed = dataclasses.replace(
        REPORT, findings=(dataclasses.replace(REPORT.findings[0], probability=0.9), *REPORT.findings[1:])
    )
    with pytest.raises(SignatureRefused, match="another report"):
        verified_sr(draft, DECISION, changed, now=NOW)
    with pytest.raises(SignatureRefused, match="draft of another report"):
        verified_sr(draft_sr([source()], changed, CARD, now=NOW), DECISION, REPORT, now=NOW)
    with pytest.raises(SignatureRefused, match="signed already"):
        verified_sr(verified_sr(draft, DECISION, REPORT, now=NOW), DECISION, REPORT, now=NOW)
