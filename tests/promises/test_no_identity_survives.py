"""Promise: whatever a header, its corners and its nested items say of a person does not leave with the image."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image as Picture
from PIL import PngImagePlugin
from pydicom import Dataset
from pydicom.data import get_testdata_file
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit, generate_uid

from overread.domain import Image
from overread.formats.deid import deidentify
from overread.formats.door import read
from overread.steps.collect import collect
from overread.steps.inspect import inspect
from overread.store.archive import Archive

KEY = b"a key that is only for the tests"


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


@pytest.fixture(scope="module")
def planted() -> tuple[Dataset, dict[str, bytes], bytes]:
    """The planted CT, its markers and its bytes. Values are planted as hostile files hold them: unchecked."""
    with pydicom.config.disable_value_validation(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(pydicom.config, "replace_un_with_known_vr", False)  # so that UN can be planted
        ds, markers = planted_ct()
        return ds, markers, as_bytes(ds)


def test_every_marker_is_in_the_file_before(planted):
    """The twin: the search finds each of the planted markers where nothing was removed."""
    _, markers, raw = planted
    assert len(markers) >= 90
    assert set(survivors(raw, markers)) == set(markers)


def test_no_marker_is_in_the_file_after(planted):
    _, markers, raw = planted
    clean = deidentify(pydicom.dcmread(io.BytesIO(raw)), key=KEY)
    assert survivors(as_bytes(clean), markers) == []


def test_no_marker_is_left_in_memory_built_datasets_either(planted):
    ds, markers, _ = planted
    assert survivors(as_bytes(deidentify(ds, key=KEY)), markers) == []


def test_a_leak_would_be_seen(planted):
    """The twin of the twin: one element put back by hand is found."""
    ds, markers, raw = planted
    clean = deidentify(pydicom.dcmread(io.BytesIO(raw)), key=KEY)
    clean.StationName = ds.StationName
    assert survivors(as_bytes(clean), markers) == ["StationName"]


@pytest.mark.parametrize("charset", ["ISO_IR 100", "ISO_IR 192", "ISO 2022 IR 87", "GB18030"])
def test_names_in_other_alphabets(charset):
    ds = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    ds.SpecificCharacterSet = ["", charset] if charset.startswith("ISO 2022") else charset
    name = {"ISO_IR 100": "Größwörth^Änne", "GB18030": "王^小东"}.get(charset, "山田^太郎")
    ds.PatientName = name
    ds.StudyDescription = name
    raw = as_bytes(ds)
    words = [
        w
        for part in name.split("^")
        for w in [
            part.encode(
                {"ISO_IR 100": "latin-1", "ISO_IR 192": "utf-8", "ISO 2022 IR 87": "iso2022_jp", "GB18030": "gb18030"}[
                    charset
                ]
            )
        ]
    ]
    words = [w.removeprefix(b"\x1b$B").removesuffix(b"\x1b(B") for w in words]
    assert all(w in raw for w in words)
    clean = as_bytes(deidentify(pydicom.dcmread(io.BytesIO(raw)), key=KEY))
    assert not any(w in clean for w in words)


_words = st.integers(0, 26**3 - 1).map(marker)
_keywords = st.sampled_from(
    [
        "PatientName",
        "ImageComments",
        "AccessionNumber",
        "SeriesDescription",
        "CodeMeaning",
        "TextValue",
        "OperatorsName",
    ]
)
_sequences = st.sampled_from(
    [
        "SourceImageSequence",
        "ReferencedImageSequence",
        "SharedFunctionalGroupsSequence",
        "PurposeOfReferenceCodeSequence",
        "AnatomicRegionSequence",
        "RequestAttributesSequence",
        "DerivationImageSequence",
        "ExposureSequence",
    ]
)
_items = st.recursive(
    st.dictionaries(_keywords, _words, max_size=3),
    lambda inner: st.dictionaries(_sequences, st.lists(inner, min_size=1, max_size=2), max_size=2),
    max_leaves=8,
)


def _item(tree: dict) -> Dataset:
    ds = Dataset()
    for keyword, value in tree.items():
        setattr(ds, keyword, [_item(i) for i in value] if isinstance(value, list) else value)
    return ds


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(tree=_items, sequence=_sequences)
def test_no_word_survives_any_nesting(tree, sequence):
    ds = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    setattr(ds, sequence, [_item(tree)])
    raw = as_bytes(ds)
    clean = as_bytes(deidentify(pydicom.dcmread(io.BytesIO(raw)), key=KEY))
    assert b"QXZ" not in clean


def test_comments_in_compressed_pixels():
    """A JPEG comment with a name in it is gone, and the picture is the same."""
    ds = pydicom.dcmread(get_testdata_file("SC_rgb_jpeg_dcmtk.dcm"))
    ds.BurnedInAnnotation = "NO"
    before = ds.pixel_array
    frame = next(pydicom.encaps.generate_frames(ds.PixelData, number_of_frames=1))
    word = marker(7).encode()
    comment = b"\xff\xfe" + (len(word) + 2).to_bytes(2, "big") + word
    exif = b"\xff\xe1" + (len(word) + 8).to_bytes(2, "big") + b"Exif\0\0" + word
    ds.PixelData = encapsulate([frame[:2] + comment + exif + frame[2:] + word])
    raw = as_bytes(ds)
    assert raw.count(word) == 3
    clean = deidentify(pydicom.dcmread(io.BytesIO(raw)), key=KEY)
    data = as_bytes(clean)
    assert word not in data
    assert clean.file_meta.TransferSyntaxUID == JPEGBaseline8Bit
    assert (pydicom.dcmread(io.BytesIO(data)).pixel_array == before).all()


def test_an_overlay_burned_into_unused_bits():
    """Bits beyond BitsStored are cleared; the pixel values are the same."""
    ds = pydicom.dcmread(get_testdata_file("MR_small.dcm"))
    values = ds.pixel_array.copy() & 0x0FFF
    ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 12, 11, 0
    ds.SmallestImagePixelValue = None
    ds.PixelData = (values.astype("<u2") | 0x8000).tobytes()
    clean = deidentify(ds, key=KEY)
    assert clean.PixelData == values.astype("<u2").tobytes()
    assert isinstance(clean.file_meta, FileMetaDataset)


# ── the archive ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _everything_in(folder: Path) -> bytes:
    """Every byte of every file, the names of files, and what pictures hold compressed (text, profiles)."""
    told = b""
    for path in sorted(folder.rglob("*")):
        told += str(path.relative_to(folder)).encode() + b"\n"
        if path.is_file():
            told += path.read_bytes()
        if path.suffix == ".png":
            with Picture.open(path) as picture:
                told += repr(picture.info).encode()
    return told


@pytest.fixture(scope="module")
def collected(planted, tmp_path_factory) -> Path:
    """An archive of the planted CT, under a file's and a folder's name that are markers too, and inspected."""
    home = tmp_path_factory.mktemp("planted")
    _, markers, raw = planted
    ds = pydicom.dcmread(io.BytesIO(raw))
    name = markers["PatientName"].decode()
    ds.BodyPartExamined, ds.ViewPosition, ds.Manufacturer = name, name, f"Dr {name} private unit"
    ds.ManufacturerModelName = f"for {name} 19630217"
    folder = home / markers["PatientID"].decode()
    folder.mkdir()
    (folder / f"{markers['AccessionNumber'].decode()}.dcm").write_bytes(as_bytes(ds))
    picture = io.BytesIO()
    Picture.new("L", (32, 24), 7).save(picture, "PNG", pnginfo=_text(markers["OperatorsName"].decode()))
    (folder / f"{markers['StudyID'].decode()}.{markers['StationName'].decode()[:8]}").write_bytes(picture.getvalue())
    done = collect(folder, into=home / "archive", workers=1, progress=False)
    assert (done.read, done.refused) == (2, ())
    inspect(home / "archive", progress=False)
    return home / "archive"


def _text(word: str) -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", word)
    return info


def test_no_marker_is_in_the_archive(planted, collected):
    assert (collected / "contact.png").is_file()
    left = survivors(_everything_in(collected), planted[1])
    assert left == []
    assert planted[1]["StationName"][:8].lower() not in _everything_in(collected).lower()  # a "suffix" that was a name


def test_the_search_sees_what_is_in_an_archive(planted, collected, tmp_path):
    """The twin: the shelf beside the archive has the names, and a study under the patient's own name is found."""
    _, markers, _ = planted
    assert {"PatientID", "AccessionNumber"} <= set(survivors(_everything_in(Path(f"{collected}.names")), markers))
    leaky = tmp_path / "archive"
    with Archive.create(leaky) as archive:
        word = markers["StationName"].decode()
        archive.put(Image(np.zeros((1, 8, 8), np.uint8), attributes={"Manufacturer": word}))
    assert survivors(_everything_in(leaky), markers) == ["StationName"]
    Picture.new("L", (8, 8)).save(leaky / "contact.png", pnginfo=_text(markers["OperatorsName"].decode()))
    assert set(survivors(_everything_in(leaky), markers)) == {"StationName", "OperatorsName"}


@pytest.mark.parametrize(("said", "code"), [("YES", "burned-in"), ("NO", None)])
def test_text_in_the_pixels_does_not_enter_an_archive_but_can_be_read_in_the_clinic(tmp_path, said, code):
    ds = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    ds.BurnedInAnnotation = said
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "a.dcm").write_bytes(as_bytes(ds))
    Picture.new("L", (32, 24), 7).save(tmp_path / "films" / "b.png")
    done = collect(tmp_path / "films", into=tmp_path / "archive", workers=1, progress=False)
    assert [r["code"] for r in done.refused] == ([code] if code else [])
    assert done.images == (1 if code else 2)
    assert len(read(tmp_path / "films" / "a.dcm")) == 1
