"""Names planted in a header where names have been seen, and the search for what is left of them."""

from __future__ import annotations

import io

import pydicom
from pydicom import Dataset
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid


def marker(n: int, length: int = 10) -> str:
    """A word that is in no header by chance: PERSON plus a number in letters."""
    return "QXZ" + "".join(chr(ord("A") + (n // 26**i) % 26) for i in range(3)) + "KWJV"[: length - 6]


# Every place a name has been seen in, by kind. VR decides what may be planted: a code string is 16 capital letters.
STANDARD = (
    "PatientName PatientID OtherPatientIDs OtherPatientNames PatientBirthName PatientMotherBirthName PatientAddress "
    "PatientTelephoneNumbers MedicalRecordLocator MilitaryRank BranchOfService CountryOfResidence RegionOfResidence "
    "PatientReligiousPreference Occupation EthnicGroup ResponsiblePerson ResponsibleOrganization PatientInsurancePlan"
    "CodeSequence AccessionNumber StudyID InstitutionName InstitutionAddress InstitutionalDepartmentName StationName "
    "ReferringPhysicianName ReferringPhysicianAddress ReferringPhysicianTelephoneNumbers PerformingPhysicianName "
    "NameOfPhysiciansReadingStudy PhysiciansOfRecord OperatorsName RequestingPhysician RequestingService "
    "ScheduledPerformingPhysicianName DeviceSerialNumber PlateID DetectorID CassetteID GantryID IssuerOfPatientID "
    "AdmissionID IssuerOfAdmissionID CurrentPatientLocation ServiceEpisodeID RequestedProcedureID "
    "ScheduledProcedureStepID PerformedProcedureStepID PerformedStationName PerformedLocation "
    "ClinicalTrialSubjectID ClinicalTrialSponsorName ClinicalTrialSiteName VerifyingObserverName PersonName "
    "ContentCreatorName ScheduledStationAETitle PerformedStationAETitle RetrieveAETitle"
).split()


FREE_TEXT = (
    "StudyDescription SeriesDescription ImageComments PatientComments AdditionalPatientHistory "
    "RequestedProcedureDescription PerformedProcedureStepDescription ProtocolName AdmittingDiagnosesDescription "
    "DerivationDescription AcquisitionComments StudyComments ReasonForStudy VisitComments DischargeDiagnosis"
    "Description ContrastBolusAgent MedicalAlerts Allergies PatientState SpecialNeeds CommentsOnThePerformedProcedure"
    "Step ImagePresentationComments AcquisitionDeviceProcessingDescription"
).split()


UNLISTED = (  # E.1-1 does not name these; some stand in the allow-list as equipment text
    "StorageMediaFileSetID ImageID FrameOfInterestDescription PixelSpacingCalibrationDescription FieldOfViewDescription "
    "MaskOperationExplanation PartialViewDescription DetectorDescription InterventionDescription LUTExplanation "
    "StageName ViewName TransducerData RTImageLabel ApplicatorDescription"
).split()


DATES = {
    "StudyDate": "19630217",
    "SeriesDate": "19630218",
    "AcquisitionDate": "19630219",
    "ContentDate": "19630220",
    "PatientBirthDate": "19210309",
    "InstanceCreationDate": "19630221",
    "AcquisitionDateTime": "19630222101112",
}


UIDS = "SOPInstanceUID StudyInstanceUID SeriesInstanceUID FrameOfReferenceUID DeviceUID IrradiationEventUID".split()


def _plant(ds: Dataset, keyword: str, text: str) -> None:
    vr = pydicom.datadict.dictionary_VR(keyword)
    if vr == "SQ":
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "X1", "99LOCAL", text
        setattr(ds, keyword, [item])
    else:
        setattr(ds, keyword, text)


def planted_ct() -> tuple[Dataset, dict[str, bytes]]:
    """Return a CT with a marker in every corner, and what each marker looks like in bytes."""
    ds = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    ds.remove_private_tags()
    found: dict[str, bytes] = {}

    def add(where: str, length: int = 10) -> str:
        word = marker(len(found), length)
        found[where] = word.encode()
        return word

    for keyword in (*STANDARD, *FREE_TEXT, *UNLISTED):
        _plant(ds, keyword, add(keyword))
    for keyword in ("Manufacturer", "ConvolutionKernel", "SequenceName"):  # allowed texts: a name of this file in them
        setattr(ds, keyword, f"for {found['PatientName'].decode()}")
    for keyword, value in DATES.items():
        setattr(ds, keyword, value)
        found[keyword] = value.encode()
    for keyword in UIDS:
        value = generate_uid()
        setattr(ds, keyword, value)
        found[keyword] = value.encode()

    block = ds.private_block(0x0029, "SIEMENS CSA HEADER", create=True)
    block.add_new(0x10, "OB", add("private OB").encode())
    block.add_new(0x11, "LO", add("private LO"))
    inner = Dataset()
    inner.PatientName = add("private sequence")
    block.add_new(0x12, "SQ", [inner])
    creator = ds.private_block(0x0031, add("private creator"), create=True)
    creator.add_new(0x01, "UN", add("private UN").encode())

    _plant_nested(ds, add, found)
    _plant_corners(ds, add)
    meta = ds.file_meta
    meta.SourceApplicationEntityTitle = add("source AE")
    meta.SendingApplicationEntityTitle = add("sending AE")
    meta.ReceivingApplicationEntityTitle = add("receiving AE")
    meta.ImplementationVersionName = add("implementation")
    meta.PrivateInformationCreatorUID = "1.2.3.4.5.6.7.8.9.77"
    meta.PrivateInformation = add("private information").encode()
    ds.preamble = add("preamble").encode().ljust(128, b"\0")
    return ds, found


def _plant_nested(ds: Dataset, add, found: dict[str, bytes]) -> None:
    """Names in items: references, requests, codes, functional groups, three levels deep."""
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = ds.SOPClassUID, generate_uid()
    found["referenced UID"] = reference.ReferencedSOPInstanceUID.encode()
    reference.ImageComments = add("comment in a reference")
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator = "121322", "DCM"
    code.CodeMeaning = add("free text as the meaning of a public code")
    private_code = Dataset()
    private_code.CodeValue, private_code.CodingSchemeDesignator = add("private code value"), "99HOSPITAL"
    private_code.CodeMeaning = add("meaning of a private code")
    reference.PurposeOfReferenceCodeSequence = [code, private_code]
    deep = Dataset()
    deep.PatientName = add("three items deep")
    reference.ReferencedImageSequence = [Dataset()]
    reference.ReferencedImageSequence[0].ReferencedImageSequence = [deep]
    ds.SourceImageSequence = [reference]
    request = Dataset()
    request.AccessionNumber = add("request accession")
    request.RequestedProcedureDescription = add("request description")
    ds.RequestAttributesSequence = [request]
    other = Dataset()
    other.PatientID = add("other patient id")
    ds.OtherPatientIDsSequence = [other]
    anatomy = Dataset()
    anatomy.CodeValue, anatomy.CodingSchemeDesignator = add("SRT value that is no code"), "SRT"
    anatomy.CodeMeaning = add("anatomy meaning")
    ds.AnatomicRegionSequence = [anatomy]
    original = Dataset()
    original.ModifyingSystem = add("modifying system")
    original.ModifiedAttributesSequence = [Dataset()]
    original.ModifiedAttributesSequence[0].PatientName = add("former name")
    ds.OriginalAttributesSequence = [original]
    equipment = Dataset()
    equipment.InstitutionName, equipment.OperatorsName = add("equipment institution"), add("equipment operator")
    ds.ContributingEquipmentSequence = [equipment]
    request = Dataset()
    request.NameOfPhysiciansReadingStudy = add("physician in an unlisted sequence")
    ds.ExposureSequence = [request]


def _plant_corners(ds: Dataset, add) -> None:
    """Overlays, curves, icon, signature, padding, text in numbers, bytes behind the pixels."""
    ds.add_new(0x60000010, "US", 8)
    ds.add_new(0x60000011, "US", 8)
    ds.add_new(0x60000022, "LO", add("overlay description"))
    ds.add_new(0x60001500, "LO", add("overlay label"))
    ds.add_new(0x60004000, "LT", add("overlay comments"))
    ds.add_new(0x60003000, "OW", add("overlay data").encode())
    ds.add_new(0x50003000, "OW", add("curve data").encode())
    ds.add_new(0x50000020, "CS", add("curve type"))
    ds.add_new(0x50002600, "SH", add("curve label"))
    icon = Dataset()
    icon.PixelData = add("icon").encode()
    icon["PixelData"].VR = "OB"
    ds.IconImageSequence = [icon]
    signature = Dataset()
    signature.CertificateOfSigner = add("certificate").encode()
    ds.DigitalSignaturesSequence = [signature]
    ds.ICCProfile = add("ICC profile").encode()
    ds.add_new(0x00281201, "OW", b"\0" * 4)
    ds.add_new(0x00180060, "UN", add("tube voltage as UN").encode())  # a known tag under an unknown representation
    ds.add_new(0x00181151, "LO", add("tube current as text"))
    ds.add_new(0x00180022, "CS", add("scan options as a sentence").lower() + " x")
    ds.add_new(0xFFFCFFFC, "OB", add("trailing padding").encode())
    ds.PixelData = ds.PixelData + add("behind the pixels").encode()


def as_bytes(ds: Dataset) -> bytes:
    out = io.BytesIO()
    ds.save_as(out, enforce_file_format=True)
    return out.getvalue()


def survivors(data: bytes, markers: dict[str, bytes]) -> list[str]:
    """Where a marker is still found: as it is, in lower case, in UTF-16 either way, or reversed in pairs."""
    low = data.lower()
    left = []
    for where, word in markers.items():
        text = word.decode().lower()
        swapped = b"".join(word[i : i + 2][::-1] for i in range(0, len(word) - len(word) % 2, 2)).lower()
        if any(f in low for f in (text.encode(), text.encode("utf-16-le"), text.encode("utf-16-be"), swapped)):
            left.append(where)
    return left
