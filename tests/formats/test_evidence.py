"""The objects a PACS files: valid by two validators, complete by rules of our own, and never signed by the machine."""

from __future__ import annotations

import dataclasses
import datetime
import io
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
from made_reports import CARD, DECISION, NOW, REPORT, SOURCES, as_bytes, errors, items, lacks, named, source
from pydicom import Dataset

from overread.errors import IdentityRefused, UnreadableFile
from overread.formats.evidence import draft_sr, secondary_capture, verified_sr

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
