"""What a hospital's archive files: the draft report, the signed report, and a picture that says what it is.

A draft is UNVERIFIED and PRELIMINARY, names the algorithm as its observer, and stays so: nothing here turns a draft
into a signed report without a Decision that names exactly this report and the doctor who made it.
"""

from __future__ import annotations

import datetime
from pathlib import Path

from highdicom.sr import (
    AlgorithmIdentification,
    ComprehensiveSR,
    DeviceObserverIdentifyingAttributes,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    NumContentItem,
    ObservationContext,
    ObserverContext,
    QualitativeEvaluation,
    RelationshipTypeValues,
    SourceImageForMeasurementGroup,
    TrackingIdentifier,
)
from pydicom import Dataset
from pydicom.sr.codedict import codes

from overread.domain import Finding, ModelCard, Report
from overread.errors import UnreadableFile
from overread.formats.capture import WARNING, secondary_capture
from overread.formats.evidence_words import answer_code, own_code, tracking_uid, words_item
from overread.formats.filing import (
    as_bytes,
    check_one_patient,
    dated,
    header,
    machine,
    plain_text,
    quoting_no_values,
    uid_of,
)
from overread.formats.signed import verified_sr
from overread.stats.frequency import of_hundred, outward

__all__ = ["WARNING", "as_bytes", "draft_sr", "secondary_capture", "verified_sr"]

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
        name=own_code("Probability"),
        value=_percent(finding.probability),
        unit=codes.UCUM.Percent,
        derivation=own_code("Calibrated probability with 95 % interval"),
    )
    inside = probability[0].ContentSequence
    for concept, distance in (
        (codes.SCT.RangeOfUpperMeasurementUncertainty, finding.high - finding.probability),
        (codes.SCT.RangeOfLowerMeasurementUncertainty, finding.probability - finding.low),
    ):
        inside.append(
            NumContentItem(
                name=concept,
                value=_percent(distance),
                unit=codes.UCUM.Percent,
                relationship_type=RelationshipTypeValues.HAS_PROPERTIES,
            )
        )
    measurements = [probability]
    if card.task.get("kind") not in (
        "multiclass",
        "ordinal",
    ):  # there the most probable answer decides, at no threshold
        measurements.append(
            Measurement(name=own_code("Operating point"), value=_percent(finding.threshold), unit=codes.UCUM.Percent)
        )
    group = MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(
            uid=tracking_uid(report, finding.label), identifier=plain_text(finding.label, 64)
        ),
        finding_type=_FINDINGS.get(finding.label.lower().replace("_", " "), own_code(finding.label)),
        algorithm_id=AlgorithmIdentification(
            name=plain_text(card.name, 64),
            version=plain_text(card.version, 64),
            parameters=[f"model card SHA-256 {card.fingerprint}"],
            manufacturer="overread",
        ),
        measurements=measurements,
        qualitative_evaluations=[
            QualitativeEvaluation(name=own_code("Machine's answer"), value=answer_code(finding.decision))
        ],
        source_images=[SourceImageForMeasurementGroup(h.SOPClassUID, h.SOPInstanceUID) for h in headers]
        if len(headers) <= 10
        else None,  # a whole series is in the evidence list; hundreds of links in each group help nobody
    )
    group[0].ContentSequence.append(words_item("Meaning of the probability", _meaning(finding, len(report.images))))
    if finding.reason:
        group[0].ContentSequence.append(words_item("Machine's reason", finding.reason))
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
