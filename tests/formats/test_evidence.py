"""The objects a PACS files: valid by two validators, complete by rules of our own, and never signed by the machine."""

from __future__ import annotations

import dataclasses
import datetime
import io
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom import Dataset
from pydicom.data import get_testdata_file

from overread.domain import Answer, Decision, Finding, ModelCard, Report
from overread.errors import IdentityRefused, SignatureRefused, UnreadableFile
from overread.formats.capture import WARNING, stamped
from overread.formats.evidence import draft_sr, secondary_capture, verified_sr

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


# ── the draft ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", SOURCES)
def test_the_draft_is_valid_and_says_that_it_is_one(name, tmp_path):
    ds = draft_sr([source(name)], REPORT, CARD, now=NOW)
    assert errors(ds, tmp_path) == []
    ds = pydicom.dcmread(tmp_path / "object.dcm")
    assert lacks(ds) == []
    origin = pydicom.dcmread(source(name))
    assert (ds.VerificationFlag, ds.PreliminaryFlag, ds.CompletionFlag) == ("UNVERIFIED", "PRELIMINARY", "PARTIAL")
    assert (ds.StudyInstanceUID, ds.PatientID) == (origin.StudyInstanceUID, origin.get("PatientID", ""))
    assert ds.SeriesInstanceUID != origin.SeriesInstanceUID
    evidence = ds.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence
    assert [i.ReferencedSOPInstanceUID for i in evidence] == [origin.SOPInstanceUID]
    assert "VerifyingObserverSequence" not in ds


def test_the_draft_says_what_the_report_says():
    ds = draft_sr([source()], REPORT, CARD, now=NOW)
    for group, finding in zip(named(ds, "Measurement Group"), REPORT.findings, strict=True):
        said = {i.ConceptNameCodeSequence[0].CodeMeaning: i for i in items(group)}
        value = said["Probability"].MeasuredValueSequence[0]
        assert float(value.NumericValue) == pytest.approx(100 * finding.probability, abs=6e-4)
        assert value.MeasurementUnitsCodeSequence[0].CodeValue == "%"
        up = float(said["+, range of upper measurement uncertainty"].MeasuredValueSequence[0].NumericValue)
        down = float(said["-, range of lower measurement uncertainty"].MeasuredValueSequence[0].NumericValue)
        assert float(value.NumericValue) + up == pytest.approx(100 * finding.high, abs=2e-3)
        assert float(value.NumericValue) - down == pytest.approx(100 * finding.low, abs=2e-3)
        assert said["Machine's answer"].ConceptCodeSequence[0].CodeMeaning.lower() == finding.decision
        assert CARD.fingerprint in said["Algorithm Parameters"].TextValue
        if finding.reason:
            assert said["Machine's reason"].TextValue == finding.reason


def test_a_series_is_referenced_whole():
    """Three instances of one study: all in the evidence; another study among them is refused."""
    first = pydicom.dcmread(source())
    paths = []
    for n in range(3):
        first.SOPInstanceUID = first.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{n}"
        paths.append(as_bytes(first))

    def listed(folder: Path) -> list[Path]:
        for n, data in enumerate(paths):
            (folder / str(n)).write_bytes(data)
        return [folder / str(n) for n in range(3)]

    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        ds = draft_sr(listed(Path(folder)), REPORT, CARD, now=NOW)
        evidence = ds.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence
        assert {i.ReferencedSOPInstanceUID for i in evidence} == {"1.2.3.0", "1.2.3.1", "1.2.3.2"}
        with pytest.raises(UnreadableFile, match="several studies"):
            draft_sr([*listed(Path(folder)), source("MR_small.dcm")], REPORT, CARD, now=NOW)


def test_the_same_input_gives_the_same_bytes():
    def draft(**other) -> bytes:
        return as_bytes(draft_sr([source()], REPORT, CARD, **({"now": NOW} | other)))

    assert draft() == draft()
    later = pydicom.dcmread(io.BytesIO(draft(now=NOW + datetime.timedelta(days=1))))
    assert later.SOPInstanceUID != pydicom.dcmread(io.BytesIO(draft())).SOPInstanceUID
    capture = [
        as_bytes(secondary_capture(source(), np.zeros((9, 9, 3), np.uint8), label="x", card=CARD, now=NOW))
        for _ in "ab"
    ]
    assert capture[0] == capture[1]


@pytest.mark.parametrize(
    "meaning", ["Procedure reported", "Observer Type", "Tracking Unique Identifier", "Probability"]
)
def test_our_own_rules_see_what_validators_miss(meaning):
    """The twin: an item is taken out, and the rules say so."""
    ds = draft_sr([source()], REPORT, CARD, now=NOW)

    def without(tree: Dataset) -> None:
        if "ContentSequence" in tree:
            kept = [i for i in tree.ContentSequence if i.ConceptNameCodeSequence[0].CodeMeaning != meaning]
            tree["ContentSequence"].value = kept
            for i in kept:
                without(i)

    plain = pydicom.dcmread(io.BytesIO(as_bytes(ds)))
    without(plain)
    assert lacks(ds) == []
    assert lacks(plain) != []


def test_dcmtk_can_read_both(tmp_path):
    reader = shutil.which("dsrdump")
    if reader is None:
        pytest.skip("dcmtk's dsrdump is not on this machine")
    draft = draft_sr([source()], REPORT, CARD, now=NOW)
    for ds, flag in ((draft, "UNVERIFIED"), (verified_sr(draft, DECISION, REPORT, now=NOW), "VERIFIED")):
        (tmp_path / "sr.dcm").write_bytes(as_bytes(ds))
        read = subprocess.run([reader, tmp_path / "sr.dcm"], capture_output=True, encoding="utf-8", errors="replace")
        assert read.returncode == 0
        assert "E:" not in read.stderr
        assert f": {flag}" in read.stdout


# ── the signed report ───────────────────────────────────────────────────────────────────────────────────────────────


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


# ── the picture ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", SOURCES)
def test_the_picture_is_valid_and_filed_under_the_study(name, tmp_path):
    overlay = np.full((61, 75, 3), 90, np.uint8)
    ds = secondary_capture(source(name), overlay, label="pneumonia", card=CARD, now=NOW)
    assert errors(ds, tmp_path) == []
    ds, origin = pydicom.dcmread(tmp_path / "object.dcm"), pydicom.dcmread(source(name))
    assert ds.StudyInstanceUID == origin.StudyInstanceUID
    assert ds.SourceImageSequence[0].ReferencedSOPInstanceUID == origin.SOPInstanceUID
    assert (ds.BurnedInAnnotation, ds.ImageType[0]) == ("YES", "DERIVED")
    assert "BodyPartExamined" in ds
    assert (ds.pixel_array == stamped(overlay, label="pneumonia", model="simple-cnn 3")).all()


def test_the_warning_is_in_the_pixels_and_hides_no_anatomy():
    overlay = np.full((61, 75, 3), 90, np.uint8)
    picture = stamped(overlay, label="pneumonia", model="simple-cnn 3")
    times = -(-512 // 75)
    band = (picture.shape[0] - 61 * times) // 2
    assert (picture[band:-band] == 90).all()  # the overlay is whole
    lit = (picture[:band].max(axis=2) > 128).mean()
    assert 0.02 < lit < 0.5  # letters, not a blank and not a block
    other = stamped(overlay, label="nodule", model="simple-cnn 3")
    assert (picture[:band] == other[:band]).all()
    assert (picture[-band:] != other[-band:]).any()
    assert "not verified" in WARNING


@pytest.mark.parametrize("bad", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)])
def test_a_picture_that_is_none_is_refused(bad):
    with pytest.raises(ValueError, match="expected"):
        secondary_capture(source(), bad, label="x", card=CARD, now=NOW)


@pytest.mark.parametrize("charset", ["ISO_IR 100", "GB18030"])
def test_a_patients_name_keeps_its_letters(charset, tmp_path):
    name = "Größwörth^Änne" if charset == "ISO_IR 100" else "王^小东"
    ds = pydicom.dcmread(source())
    ds.SpecificCharacterSet, ds.PatientName = charset, name
    ds.save_as(tmp_path / "named.dcm")
    draft = draft_sr([tmp_path / "named.dcm"], REPORT, CARD, now=NOW)
    for made in (
        draft,
        verified_sr(draft, DECISION, REPORT, now=NOW),
        secondary_capture(tmp_path / "named.dcm", np.zeros((9, 9, 3), np.uint8), label="x", card=CARD, now=NOW),
    ):
        assert pydicom.dcmread(io.BytesIO(as_bytes(made))).PatientName == name


# ── whose it is ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _of(folder: Path, name: str, **values) -> Path:
    ds = pydicom.dcmread(source())
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{len(list(folder.iterdir()))}"
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    ds.save_as(folder / name)
    return folder / name


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("PatientID", "another"),
        ("PatientID", ""),
        ("PatientName", "Another^Person"),
        ("PatientBirthDate", "19010101"),
        ("IssuerOfPatientID", "Nord"),
    ],
)
def test_two_patients_in_one_study_are_refused_everywhere(tmp_path, keyword, value):
    both = {"PatientBirthDate": "19000101", "IssuerOfPatientID": "Sued"}
    one, other = _of(tmp_path, "a", **both), _of(tmp_path, "b", **{**both, keyword: value})
    picture = np.zeros((9, 9, 3), np.uint8)
    draft = draft_sr([one], REPORT, CARD, now=NOW)
    amended = verified_sr(draft_sr([other], REPORT, CARD, now=NOW), DECISION, REPORT, now=NOW)
    attempts = [
        lambda: draft_sr([one, other], REPORT, CARD, now=NOW),
        lambda: secondary_capture(one, picture, label="x", card=CARD, now=NOW, study_files=[one, other]),
    ]
    if keyword != "IssuerOfPatientID":  # a Structured Report does not carry it
        attempts.append(lambda: verified_sr(draft, DECISION, REPORT, now=NOW, amends=amended))
    for attempt in attempts:
        with pytest.raises(IdentityRefused, match=keyword) as said:
            attempt()
        assert not value or value not in str(said.value)


def test_one_patient_written_in_two_ways_is_one_patient(tmp_path):
    one = _of(tmp_path, "a", PatientName="Doe^Jane")
    other = _of(tmp_path, "b", PatientName="DOE^JANE^^", PatientBirthDate="19000101")
    third = _of(tmp_path, "c", PatientName="", PatientBirthDate="")
    assert draft_sr([one, other, third], REPORT, CARD, now=NOW).PatientID == pydicom.dcmread(one).PatientID


# ── what a number is one of ─────────────────────────────────────────────────────────────────────────────────────────


def test_the_draft_says_that_its_number_is_of_one_image():
    two = dataclasses.replace(REPORT, images=("a" * 64, "b" * 64))
    for report, more in ((REPORT, ""), (two, " Strongest of 2 images.")):
        said = [i.TextValue for i in named(draft_sr([source()], report, CARD, now=NOW), "Meaning of the probability")]
        assert said[0] == f"Of 100 such images about 81 show it (95 % interval: 70 to 90).{more}"
        assert len(said) == len(REPORT.findings)


@pytest.mark.parametrize("kind", ["multiclass", "ordinal", "binary", "multilabel"])
def test_a_draft_tells_a_threshold_only_where_one_decides(kind, tmp_path):
    ds = draft_sr([source()], REPORT, dataclasses.replace(CARD, task={"kind": kind}), now=NOW)
    assert bool(named(ds, "Operating point")) == (kind in ("binary", "multilabel"))
    assert errors(ds, tmp_path) == []
