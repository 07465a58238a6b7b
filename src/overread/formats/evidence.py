"""What a hospital's archive files: the draft report, the signed report, and a picture that says what it is.

A draft is UNVERIFIED and PRELIMINARY, names the algorithm as its observer, and stays so: nothing here turns a draft
into a signed report without a Decision that names exactly this report and the doctor who made it.
"""

from __future__ import annotations

import copy
import datetime
import re
from pathlib import Path

from highdicom.sr import (
    AlgorithmIdentification,
    CodeContentItem,
    CodedConcept,
    ComprehensiveSR,
    DeviceObserverIdentifyingAttributes,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    NumContentItem,
    ObservationContext,
    ObserverContext,
    PnameContentItem,
    QualitativeEvaluation,
    RelationshipTypeValues,
    SourceImageForMeasurementGroup,
    TextContentItem,
    TrackingIdentifier,
)
from pydicom import Dataset
from pydicom.sr.codedict import codes

from overread.domain import Answer, Decision, Finding, ModelCard, Report, fingerprint
from overread.errors import SignatureRefused, UnreadableFile
from overread.formats.capture import WARNING, secondary_capture
from overread.formats.filing import (
    SCHEME,
    as_bytes,
    check_one_patient,
    dated,
    header,
    machine,
    plain_text,
    quoting_no_values,
    uid_of,
)
from overread.stats.frequency import of_hundred, outward

__all__ = ["WARNING", "as_bytes", "draft_sr", "secondary_capture", "verified_sr"]

_CONTAINS, _PROPERTY = RelationshipTypeValues.CONTAINS, RelationshipTypeValues.HAS_PROPERTIES
_WHAT_WAS_DONE = {
    "CT": codes.SCT.ComputedTomography,
    "CR": codes.SCT.PlainRadiography,
    "DX": codes.SCT.PlainRadiography,
    "MG": codes.SCT.Mammography,
}
_FINDINGS = {  # only codes that the public dictionary holds; any other label is a private code with its own words
    "pneumothorax": codes.SCT.Pneumothorax,
    "pleural effusion": codes.SCT.PleuralEffusion,
    "effusion": codes.SCT.PleuralEffusion,
    "cardiomegaly": codes.SCT.Cardiomegaly,
    "nodule": codes.SCT.Nodule,
    "mass": codes.SCT.Mass,
    "lesion": codes.SCT.Lesion,
    "tumor": codes.SCT.Tumor,
    "tumour": codes.SCT.Tumor,
}
_ANSWERS = {"present": codes.SCT.Present, "absent": codes.SCT.Absent}


def _own(meaning: str) -> CodedConcept:
    """Return overread's private code for a word: 12 digits of its hash, and the word as its meaning."""
    value = fingerprint(meaning)[:12].upper()
    return CodedConcept(value=value, scheme_designator=SCHEME, meaning=plain_text(meaning, 64))


def _answer(word: str) -> CodedConcept:
    return CodedConcept.from_code(_ANSWERS[word]) if word in _ANSWERS else _own(word)


# ── the draft ───────────────────────────────────────────────────────────────────────────────────────────────────────


@quoting_no_values()
def draft_sr(sources: list[Path], report: Report, card: ModelCard, *, now: datetime.datetime) -> Dataset:
    """Return the machine's findings as a DICOM report that says on its face that no doctor has verified it.

    Parameters
    ----------
    sources : list of Path
        The DICOM files that were read, all of one study; the draft is filed under that study and patient.
    report : Report
        The findings. Probabilities are written in percent with the distance to each end of their 95 % interval, and
        in words: they are of one image, the study's strongest.
    card : ModelCard
        The model, written as the algorithm of every finding with the fingerprint of its card.
    now : datetime
        Written as the time of the report. The same arguments give the same bytes.

    Returns
    -------
    pydicom.Dataset
        Comprehensive SR, TID 1500 Measurement Report, ready for ``save_as(path, enforce_file_format=True)``:
        UNVERIFIED, PRELIMINARY, PARTIAL. One measurement group for each finding, with its own tracking UID.

    Raises
    ------
    UnreadableFile
        When a source lacks the UIDs that say where it belongs, or the sources are not of one study.
    IdentityRefused
        When the sources name different patients.
    ValueError
        When the report has no finding, or there is no source.

    References
    ----------
    DICOM PS3.3 A.35.3 (Comprehensive SR), PS3.16 TID 1500, 1501, 300, 310, 4019.
    """
    if not sources or not report.findings:
        raise ValueError("a draft report needs a source and a finding")
    headers = [header(p) for p in sources]
    if len({h.StudyInstanceUID for h in headers}) > 1:
        raise UnreadableFile(
            "files of several studies", code="dicom-several-studies", expected="one study", do="report each by itself"
        )
    check_one_patient(headers)
    device = ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=DeviceObserverIdentifyingAttributes(
            uid=uid_of("device", card.fingerprint),
            name=machine(),
            manufacturer_name="overread",
            model_name=plain_text(f"{card.name} {card.version}", 64),
            serial_number=card.fingerprint,
        ),
    )
    groups = [_group(f, report, card, headers) for f in report.findings]
    content = _measurement_report(device, headers, groups)
    ds = ComprehensiveSR(
        evidence=headers,
        content=content[0],
        series_instance_uid=uid_of("draft series", headers[0].StudyInstanceUID, card.fingerprint),
        series_number=9901,
        sop_instance_uid=uid_of("draft", headers[0].StudyInstanceUID, report.fingerprint, now.isoformat()),
        instance_number=1,
        manufacturer="overread",
        manufacturer_model_name=plain_text(card.name, 64),
        software_versions=machine(),
        device_serial_number=card.fingerprint[:64],
        is_complete=False,
        is_final=False,
        is_verified=False,
        series_description="AI draft - not verified - not for diagnosis",
        specific_character_set="ISO_IR 192",  # labels, reasons and names in any script
    )
    dated(ds, now)
    return ds


def _measurement_report(device: ObserverContext, headers: list[Dataset], groups: list) -> MeasurementReport:
    first = headers[0]
    done = _WHAT_WAS_DONE.get(first.get("Modality", ""), codes.SCT.ImagingProcedure)

    def build(images: list[Dataset] | None) -> MeasurementReport:
        return MeasurementReport(
            observation_context=ObservationContext(observer_device_context=device),
            procedure_reported=done,
            imaging_measurements=groups,
            title=codes.DCM.ImagingMeasurementReport,
            referenced_images=images,
        )

    try:
        return build(headers)
    except (AttributeError, KeyError, IndexError, TypeError, ValueError):
        return build(None)  # the library of images wants spacing and orientation, which not every film has


def _group(finding: Finding, report: Report, card: ModelCard, headers: list[Dataset]):
    """Return TID 1501 for one finding: what, by whom, how probable, and what the machine says of it."""
    probability = Measurement(
        name=_own("Probability"),
        value=_percent(finding.probability),
        unit=codes.UCUM.Percent,
        derivation=_own("Calibrated probability with 95 % interval"),
    )
    inside = probability[0].ContentSequence
    for concept, distance in (
        (codes.SCT.RangeOfUpperMeasurementUncertainty, finding.high - finding.probability),
        (codes.SCT.RangeOfLowerMeasurementUncertainty, finding.probability - finding.low),
    ):
        inside.append(
            NumContentItem(name=concept, value=_percent(distance), unit=codes.UCUM.Percent, relationship_type=_PROPERTY)
        )
    measurements = [probability]
    if card.task.get("kind") not in (
        "multiclass",
        "ordinal",
    ):  # there the most probable answer decides, at no threshold
        measurements.append(
            Measurement(name=_own("Operating point"), value=_percent(finding.threshold), unit=codes.UCUM.Percent)
        )
    group = MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(
            uid=_tracking(report, finding.label), identifier=plain_text(finding.label, 64)
        ),
        finding_type=_FINDINGS.get(finding.label.lower().replace("_", " "), _own(finding.label)),
        algorithm_id=AlgorithmIdentification(
            name=plain_text(card.name, 64),
            version=plain_text(card.version, 64),
            parameters=[f"model card SHA-256 {card.fingerprint}"],
            manufacturer="overread",
        ),
        measurements=measurements,
        qualitative_evaluations=[QualitativeEvaluation(name=_own("Machine's answer"), value=_answer(finding.decision))],
        source_images=[SourceImageForMeasurementGroup(h.SOPClassUID, h.SOPInstanceUID) for h in headers]
        if len(headers) <= 10
        else None,  # a whole series is in the evidence list; hundreds of links in each group help nobody
    )
    group[0].ContentSequence.append(_words("Meaning of the probability", _meaning(finding, len(report.images))))
    if finding.reason:
        group[0].ContentSequence.append(_words("Machine's reason", finding.reason))
    return group


def _meaning(finding: Finding, images: int) -> str:
    """Return what the probability is one of: the calibration is by image, the report is on a study.

    Examples
    --------
    >>> _meaning(Finding("nodule", .834, .742, .901, .5, "present"), 2)
    'Of 100 such images about 83 show it (95 % interval: 74 to 91). Strongest of 2 images.'
    """
    low, high = outward(finding.low, finding.high)
    many = f" Strongest of {images} images." if images > 1 else ""
    return f"Of 100 such images {of_hundred(finding.probability)} show it (95 % interval: {low} to {high}).{many}"


def _percent(share: float) -> float:
    return round(100 * float(share), 3) + 0.0  # + 0.0: no minus zero


def _tracking(report: Report, label: str) -> str:
    return uid_of("finding", report.fingerprint, label)


def _words(concept: str, text: str) -> TextContentItem:
    return TextContentItem(name=_own(concept), value=text, relationship_type=_CONTAINS)


# ── the signed report ───────────────────────────────────────────────────────────────────────────────────────────────


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
        groups[_tracking(report, answer.label)].ContentSequence.extend(_doctors_answer(answer))
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
    if {_tracked(g) for g in _groups(draft)} != {_tracking(report, label) for label in wanted}:
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
        CodeContentItem(name=_own(name), value=_answer(word), relationship_type=_CONTAINS)
        for name, word in (
            ("Doctor's own impression before the finding was shown", answer.impression),
            ("Doctor's verdict on the machine's answer", answer.verdict),
            ("Final answer, signed by the doctor", answer.final),
        )
    ]
    return said + ([_words("Doctor's reason", answer.reason.strip())] if answer.reason.strip() else [])
