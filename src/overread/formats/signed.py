"""The report a doctor has signed: made of a draft and of a Decision that names exactly this report, and of nothing less."""

from __future__ import annotations

import copy
import datetime
import re

from highdicom.sr import CodeContentItem, PnameContentItem, RelationshipTypeValues, TextContentItem
from pydicom import Dataset
from pydicom.sr.codedict import codes

from overread.domain import Answer, Decision, Report
from overread.errors import SignatureRefused
from overread.formats.evidence_words import answer_code, own_code, tracking_uid, words_item
from overread.formats.filing import check_one_patient, dated, plain_text, quoting_no_values, uid_of


@quoting_no_values()
def verified_sr(
    draft: Dataset,
    decision: Decision,
    report: Report,
    *,
    now: datetime.datetime,
    organization: str = "not stated",
    amends: Dataset | None = None,
) -> Dataset:
    """Return the report a doctor has signed: the machine's findings, the doctor's answers, and the doctor's name.

    Parameters
    ----------
    draft : pydicom.Dataset
        What :func:`draft_sr` made of this report; it is not changed, and is named as the predecessor.
    decision : Decision
        Which report (by fingerprint), who, what for each finding, when.
    report : Report
        The report that was decided on.
    now : datetime
        When the signed document is made.
    organization : str
        On whose behalf the doctor signs.
    amends : pydicom.Dataset, optional
        The signed document that this one replaces; it is then named as the predecessor instead of the draft.

    Returns
    -------
    pydicom.Dataset
        A new instance in a series of its own: VERIFIED, FINAL, COMPLETE.

    Raises
    ------
    SignatureRefused
        When the decision is about another report, has no reader or the machine as its reader, leaves a finding
        unanswered, answers one twice, contradicts itself, or disagrees without a reason; when the draft is not of
        this report, or is signed already.
    IdentityRefused
        When the document that is amended names another patient.

    References
    ----------
    DICOM PS3.3 C.17.2 (SR Document General), PS3.16 TID 1002, 1003 (person observer).
    """
    _check_signature(draft, decision, report)
    check_one_patient([draft] if amends is None else [draft, amends])
    ds = copy.deepcopy(draft)
    ds.SOPInstanceUID = uid_of("verified", draft.SOPInstanceUID, repr(decision), now.isoformat())
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.SeriesInstanceUID = uid_of("verified series", draft.StudyInstanceUID, report.card)
    ds.SeriesNumber, ds.SeriesDescription = 9902, "AI findings with a doctor's decision"
    ds.CompletionFlag, ds.VerificationFlag, ds.PreliminaryFlag = "COMPLETE", "VERIFIED", "FINAL"
    ds.VerifyingObserverSequence = [_observer(decision, organization)]
    ds.PredecessorDocumentsSequence = [_predecessor(draft if amends is None else amends)]
    dated(ds, now)

    content = list(ds.ContentSequence)
    first = next(i for i, item in enumerate(content) if item.RelationshipType == "HAS OBS CONTEXT")
    ds.ContentSequence = content[:first] + _person(decision, organization) + content[first:]
    groups = {_tracked(g): g for g in _groups(ds)}
    for answer in decision.answers:
        groups[tracking_uid(report, answer.label)].ContentSequence.extend(_doctors_answer(answer))
    return ds


def _check_signature(draft: Dataset, decision: Decision, report: Report) -> None:
    def refuse(came: str, expected: str, do: str) -> None:
        raise SignatureRefused(came, expected=expected, do=do)

    if decision.report != report.fingerprint:
        refuse("a decision about another report", "one about this report", "read the changed report and decide again")
    reader = re.sub(r"[^\w]+", "", decision.reader).casefold()
    if not reader:
        refuse("a decision without a reader", "the name of the doctor", "sign with your name")
    machines = [draft.get("ManufacturerModelName", ""), draft.get("SoftwareVersions", ""), "overread", report.card]
    if any(reader == re.sub(r"[^\w]+", "", str(m)).casefold() for m in machines) or reader.startswith("overread"):
        refuse("the machine as the reader", "a doctor", "let a doctor read and sign; the machine cannot")
    wanted, given = sorted(f.label for f in report.findings), sorted(a.label for a in decision.answers)
    if wanted != given:
        refuse(
            f"{len(given)} answers to {len(wanted)} findings, or to others",
            "one answer to each finding",
            "answer every finding; silence is not agreement",
        )
    said = {f.label: f.decision for f in report.findings}
    for answer in decision.answers:
        same = answer.final == said[answer.label]
        if said[answer.label] != "refer" and ((answer.verdict == "agree") != same) and answer.verdict != "amend":
            refuse(f"a verdict ({answer.verdict}) that its final answer contradicts", "the two to fit", "choose again")
        if answer.verdict != "agree" and not answer.reason.strip():
            refuse("a disagreement or an amendment without a reason", "the reason in words", "write it")
    if draft.get("VerificationFlag") != "UNVERIFIED":
        refuse("a report that is signed already", "a draft", "open the draft, or amend by a new report")
    if {_tracked(g) for g in _groups(draft)} != {tracking_uid(report, label) for label in wanted}:
        refuse("a draft of another report", "the draft of this one", "make the draft again")
    try:
        moment = datetime.datetime.fromisoformat(decision.time)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        refuse("a decision without a time", "ISO 8601 with its offset from UTC", "sign again")


def _groups(ds: Dataset) -> list[Dataset]:
    """Return the measurement groups of a TID 1500 document."""
    measured = [i for i in ds.ContentSequence if _named(i, codes.DCM.ImagingMeasurements)]
    return [g for m in measured for g in m.ContentSequence if _named(g, codes.DCM.MeasurementGroup)]


def _named(item: Dataset, code) -> bool:
    names = item.get("ConceptNameCodeSequence") or [Dataset()]
    return names[0].get("CodeValue") == code.value


def _tracked(group: Dataset) -> str:
    return next((str(i.UID) for i in group.ContentSequence if i.ValueType == "UIDREF"), "")


def _observer(decision: Decision, organization: str) -> Dataset:
    item = Dataset()
    item.VerifyingObserverName = decision.reader.strip()
    item.VerifyingOrganization = plain_text(organization, 64)
    moment = datetime.datetime.fromisoformat(decision.time)
    item.VerificationDateTime = moment.strftime("%Y%m%d%H%M%S.%f%z")
    item.VerifyingObserverIdentificationCodeSequence = []
    return item


def _predecessor(draft: Dataset) -> Dataset:
    instance, series, study = Dataset(), Dataset(), Dataset()
    instance.ReferencedSOPClassUID, instance.ReferencedSOPInstanceUID = draft.SOPClassUID, draft.SOPInstanceUID
    series.SeriesInstanceUID, series.ReferencedSOPSequence = draft.SeriesInstanceUID, [instance]
    study.StudyInstanceUID, study.ReferencedSeriesSequence = draft.StudyInstanceUID, [series]
    return study


def _person(decision: Decision, organization: str) -> list[Dataset]:
    context = RelationshipTypeValues.HAS_OBS_CONTEXT
    name = PnameContentItem(name=codes.DCM.PersonObserverName, value=decision.reader.strip(), relationship_type=context)
    return [
        CodeContentItem(name=codes.DCM.ObserverType, value=codes.DCM.Person, relationship_type=context),
        name,
        TextContentItem(name=codes.DCM.PersonObserverOrganizationName, value=organization, relationship_type=context),
    ]


def _doctors_answer(answer: Answer) -> list[Dataset]:
    said = [
        CodeContentItem(name=own_code(name), value=answer_code(word), relationship_type=RelationshipTypeValues.CONTAINS)
        for name, word in (
            ("Doctor's own impression before the finding was shown", answer.impression),
            ("Doctor's verdict on the machine's answer", answer.verdict),
            ("Final answer, signed by the doctor", answer.final),
        )
    ]
    return said + ([words_item("Doctor's reason", answer.reason.strip())] if answer.reason.strip() else [])
