"""A signature: what it writes, what it names, and what a crash in the middle of it leaves."""

from __future__ import annotations

import hashlib
import json
import re

import pydicom
import pytest
from PIL import Image as Picture
from small_hospital import LABEL, deliver, film

from overread.domain import Answer, ModelCard
from overread.errors import IntegrityError, SignatureRefused
from overread.serve.answers import checked, person
from overread.serve.signing import Desk
from overread.steps.verify import verify

CARD = ModelCard("brightness", "1", {}, {}, {}, {}, {}, {}, {}, {})


def signed_house(house, inbox, *, brightness: float = 0.7):
    deliver(inbox, 1, brightness)
    hospital = house()
    (study,) = hospital.work()
    visitor = hospital.visitor().introduce()
    visitor.look(study)
    return hospital, study, visitor


def home(hospital, study):
    return hospital.room.inbox.home(study)


def test_signing_writes_a_verified_report_that_names_reader_and_predecessor(house, inbox):
    hospital, study, visitor = signed_house(house, inbox)
    form = visitor.form(study, **{f"answer:{LABEL}": "disagree:absent", f"reason:{LABEL}": "a rib"})
    answer = visitor.post(f"/study/{study}/sign", form)
    assert answer.status == 303
    draft = pydicom.dcmread(home(hospital, study) / hospital.room.inbox.draft(study).sr)
    ds = pydicom.dcmread(home(hospital, study) / "signed-1.dcm")
    assert (draft.VerificationFlag, ds.VerificationFlag) == ("UNVERIFIED", "VERIFIED")
    assert ds.VerifyingObserverSequence[0].VerifyingObserverName == "Curie^Marie"
    named = ds.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
    assert named.ReferencedSOPInstanceUID == draft.SOPInstanceUID
    assert ds.StudyInstanceUID == draft.StudyInstanceUID and ds.PatientID == "PH-001"


def test_the_journal_tells_the_whole_story_in_order(house, inbox):
    hospital, study, visitor = signed_house(house, inbox)
    visitor.post(f"/study/{study}/heatmap", {"token": visitor.token(f"/study/{study}"), "label": LABEL})
    visitor.post(f"/study/{study}/sign", visitor.form(study))
    records = list(hospital.journal.records())
    assert [r["kind"] for r in records] == ["report", "impression", "heat-map", "signed"]
    signed = records[-1]["record"]
    assert signed["answers"] == [{"label": LABEL, "impression": "absent", "verdict": "agree", "final": "present"}]
    assert signed["shown"]["heat_maps"] == LABEL and float(signed["shown"]["seconds_from_impression"]) > 0
    assert signed["reader"] == "Curie^Marie" and signed["report"] == records[0]["record"]["report"]
    told = verify(inbox)
    assert (told.records, told.signatures, told.reports) == (4, 1, 1) and told.head == records[-1]["hash"]


def test_the_journal_holds_no_identity(house, inbox):
    hospital, study, visitor = signed_house(house, inbox)
    reason = "as in the film of Phantom 001"
    visitor.post(
        f"/study/{study}/sign", visitor.form(study, **{f"answer:{LABEL}": "amend:unsure", f"reason:{LABEL}": reason})
    )
    text = hospital.journal.path.read_text()
    ds = pydicom.dcmread(next(inbox.glob("delivery-001/*")))
    for identity in (ds.PatientID, ds.StudyInstanceUID, ds.SOPInstanceUID, str(ds.PatientName), "delivery-001", reason):
        assert identity not in text
    assert reason in (home(hospital, study) / "signed-1.json").read_text()  # the twin: the shelf itself does hold it


def test_a_changed_document_or_a_missing_one_is_noticed(house, inbox):
    hospital, study, visitor = signed_house(house, inbox)
    visitor.post(f"/study/{study}/sign", visitor.form(study))
    document = home(hospital, study) / "signed-1.dcm"
    content = document.read_bytes()
    document.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(IntegrityError, match="document of record 3 was changed"):
        verify(inbox)
    document.unlink()
    with pytest.raises(IntegrityError, match="document of record 3 is missing"):
        verify(inbox)


def test_a_report_or_a_draft_that_somebody_edited_is_noticed(house, inbox):
    hospital, study, visitor = signed_house(house, inbox)
    visitor.post(f"/study/{study}/sign", visitor.form(study))
    report = home(hospital, study) / "report.json"
    draft = home(hospital, study) / json.loads(report.read_bytes())["sr"]
    for file, told in (
        (report, "report of study S[0-9a-f]+ was changed"),
        (draft, "a file of the report .* was changed"),
    ):
        content = file.read_bytes()
        file.write_bytes(content.replace(b"present", b"absent ", 1) if file == report else content + b"\0")
        with pytest.raises(IntegrityError, match=told):
            verify(inbox)
        file.write_bytes(content)
    assert verify(inbox).reports == 1  # the twin: put back, it is whole


def test_a_signed_study_whose_report_was_edited_is_to_be_read_again(house, inbox):
    hospital, study, visitor = signed_house(house, inbox)
    visitor.post(f"/study/{study}/sign", visitor.form(study))
    report = home(hospital, study) / "report.json"
    report.write_bytes(report.read_bytes().replace(b'"present"', b'"absent"', 1))
    assert "changed after it was signed: read again" in visitor.get("/").text
    assert "changed after" in visitor.get(f"/study/{study}").text


def test_a_signed_document_that_no_record_names_is_refused(house, inbox):
    hospital, study, visitor = signed_house(house, inbox)
    visitor.post(f"/study/{study}/sign", visitor.form(study))
    copy = home(hospital, study) / "signed-2.dcm"
    copy.write_bytes((home(hospital, study) / "signed-1.dcm").read_bytes())
    with pytest.raises(IntegrityError, match="1 signed document that no record"):
        verify(inbox)


def test_without_the_journal_nobody_reads_on_as_if_nothing_was_signed(house, inbox):
    hospital, study, visitor = signed_house(house, inbox)
    visitor.post(f"/study/{study}/sign", visitor.form(study))
    for file in hospital.room.inbox.shelf.glob("journal.jsonl*"):
        file.unlink()
    with pytest.raises(IntegrityError, match="2 signed documents that no record of the journal names"):
        Desk(hospital.room.inbox, CARD, now=hospital.clock())
    with pytest.raises(IntegrityError, match="2 signed documents that no record of the journal names"):
        verify(inbox)


def test_a_version_that_is_signed_already_is_told_as_such(house, inbox):
    _, study, visitor = signed_house(house, inbox)
    form = visitor.form(study)
    visitor.post(f"/study/{study}/sign", form)
    again = visitor.post(f"/study/{study}/sign", form)
    assert again.status == 409 and "This version is signed already" in again.text
    assert "The report has changed" not in again.text


def test_a_picture_is_signed_as_a_record_without_a_dicom_report(house, inbox):
    Picture.fromarray((film(0.7) >> 4).astype("uint8")).save(inbox / "film.png")
    hospital = house()
    (study,) = hospital.work()
    visitor = hospital.visitor().introduce()
    visitor.look(study)
    assert visitor.post(f"/study/{study}/sign", visitor.form(study)).status == 303
    assert not (home(hospital, study) / "signed-1.dcm").exists()
    kept = json.loads((home(hospital, study) / "signed-1.json").read_bytes())
    assert kept["decision"]["answers"][0]["final"] == "present" and kept["decision"]["report"]
    assert "film.png" in visitor.get("/").text and verify(inbox).signatures == 1


def test_an_amendment_is_a_new_version_and_names_the_one_before(house, inbox):
    hospital, study, visitor = signed_house(house, inbox)
    visitor.post(f"/study/{study}/sign", visitor.form(study))
    form = visitor.form(study, **{f"answer:{LABEL}": "amend:unsure", f"reason:{LABEL}": "second thoughts"})
    assert form["version"] == "2"
    assert visitor.post(f"/study/{study}/sign", form).status == 303
    first, second = (pydicom.dcmread(home(hospital, study) / f"signed-{n}.dcm") for n in (1, 2))
    named = second.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
    assert named.ReferencedSOPInstanceUID == first.SOPInstanceUID != second.SOPInstanceUID
    page = visitor.get(f"/study/{study}").text
    assert page.index("Signed, version 2") < page.index("Signed, version 1")
    assert "signed, version 2" in visitor.get("/").text


def test_a_report_that_changes_after_the_signature_is_a_draft_again(house, inbox):
    hospital, study, visitor = signed_house(house, inbox)
    visitor.post(f"/study/{study}/sign", visitor.form(study))
    deliver(inbox, 1, 0.3, view="LL", film_number=2)  # a second film of the same study comes late
    hospital.work()
    page = visitor.get(f"/study/{study}").text
    assert "changed after" in page and "Your own impression" in page
    assert "changed after it was signed: read again" in visitor.get("/").text


def test_the_memory_of_the_desk_is_the_journal_alone(house, inbox):
    hospital, study, visitor = signed_house(house, inbox)
    visitor.post(f"/study/{study}/sign", visitor.form(study))
    again = Desk(hospital.room.inbox, CARD, now=hospital.clock())
    assert again.reading(study, "Curie^Marie") == hospital.room.desk.reading(study, "Curie^Marie")
    assert again.signatures(study) == hospital.room.desk.signatures(study)


@pytest.mark.parametrize("in_journal", [False, True])
def test_a_crash_in_the_middle_of_signing_leaves_all_or_nothing(house, inbox, in_journal):
    """kill -9 before the journal's record: nothing is signed. After it, before the names: everything is."""
    hospital, study, visitor = signed_house(house, inbox)
    folder = home(hospital, study)
    if in_journal:
        visitor.post(f"/study/{study}/sign", visitor.form(study))
        for name in ("signed-1.json", "signed-1.dcm"):
            (folder / name).rename(folder / f"{name}.pending")
    else:
        (folder / "signed-1.dcm.pending").write_bytes(b"never signed")
    after = Desk(hospital.room.inbox, CARD, now=hospital.clock())
    assert len(after.signatures(study)) == int(in_journal)
    assert not list(folder.glob("*.pending"))
    assert bool(list(folder.glob("unsigned-*"))) is not in_journal
    assert verify(inbox).records == hospital.journal.head[0]


def test_a_signed_record_that_was_touched_is_not_shown_as_signed(house, inbox):
    hospital, study, visitor = signed_house(house, inbox)
    visitor.post(f"/study/{study}/sign", visitor.form(study))
    record = home(hospital, study) / "signed-1.json"
    record.write_bytes(record.read_bytes().replace(b'"present"', b'"absent"'))
    assert visitor.get(f"/study/{study}").status == 400
    assert "not as it was signed" in visitor.get(f"/study/{study}").text


def test_a_journal_that_was_cut_stops_the_server_from_opening(house, inbox, model):
    hospital, study, visitor = signed_house(house, inbox)
    visitor.post(f"/study/{study}/sign", visitor.form(study))
    hospital.close()
    lines = hospital.journal.path.read_bytes().splitlines(keepends=True)
    hospital.journal.path.write_bytes(b"".join(lines[:-1]))
    with pytest.raises(IntegrityError):
        house()


# --- rules that need no server ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Curie^Marie", "Ærø^Å", "山田^太郎", "O'Brien^Mary Jo", "Machin^Ada"])
def test_a_person_may_sign(name):
    assert person(name, CARD) == name


@pytest.mark.parametrize(
    "name",
    ["", "^", "Curie", "Curie^", "^Marie", "  ^  ", "1^2", "AI^Model", "overread^1", "Brightness^X", "brightness^1",
     "Curie^Marie^Dr", "Cu\\rie^Marie", "Cu\u202erie^Marie", "x" * 70 + "^y", "the^machine", "AUTO^Sign"],
)  # fmt: skip
def test_what_is_no_persons_name_may_not(name):
    with pytest.raises(SignatureRefused):
        person(name, CARD)


def test_disagreement_needs_words_not_signs():
    from overread.domain import Finding, Report

    report = Report("S", "c", (), (Finding(LABEL, 0.9, 0.8, 0.95, 0.5, "present"),))
    for reason in ("", "  ", "...", "-", "no"):
        with pytest.raises(SignatureRefused, match="reason"):
            checked(
                report,
                {LABEL: "absent"},
                [{"label": LABEL, "verdict": "disagree", "final": "absent", "reason": reason}],
            )
    given = checked(
        report, {LABEL: "absent"}, [{"label": LABEL, "verdict": "disagree", "final": "absent", "reason": "a rib"}]
    )
    assert given == (Answer(LABEL, "absent", "disagree", "absent", "a rib"),)


def test_the_hash_in_the_journal_is_that_of_the_file(house, inbox):
    hospital, study, visitor = signed_house(house, inbox)
    visitor.post(f"/study/{study}/sign", visitor.form(study))
    files = list(hospital.journal.records())[-1]["record"]["files"]
    for name, digest in files.items():
        assert hashlib.sha256((inbox / ".overread" / name).read_bytes()).hexdigest() == digest
        assert re.fullmatch(r"studies/S[0-9a-f]{12}/signed-1\.(json|dcm)", name)
