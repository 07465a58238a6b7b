"""Take the person out of a DICOM image by keeping only what is known to be safe, and refuse where that is not certain.

Everything hangs on one table, ``_standard/allowed.csv``: an element that is not in it does not leave. What leaves is
checked against its value representation first, so that a name in a field for a number does not leave either.
"""

from __future__ import annotations

import csv
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import pydicom
from pydicom import DataElement, Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, UID_dictionary

from overread.errors import IdentityRefused
from overread.formats.codestream import scrub_pixels
from overread.formats.pseudonyms import pseudonym, shift_days, shifted, uid
from overread.formats.public_codes import set_public_meaning
from overread.formats.terms import has_terms, is_term
from overread.formats.traces import bears, is_of_equipment, traces

METHOD = (  # PS3.16 CID 7050: what is done here, in the Standard's own codes
    ("113100", "Basic Application Confidentiality Profile"),
    ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
    ("113108", "Retain Patient Characteristics Option"),
)
NEEDED = (
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "SamplesPerPixel",
    "PhotometricInterpretation",
)
__all__ = ["deidentify", "pseudonym", "shift_days", "uid"]
MAX_DEPTH = 32
_IMPLEMENTATION = UID("2.25.302115879134468420817113934225478302817")  # ours; drawn once, so that it names no site


# ── the tables ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _table(name: str) -> list[dict[str, str]]:
    with (files("overread.formats") / "_standard" / name).open(encoding="ascii", newline="") as f:
        return list(csv.DictReader(f))


@lru_cache(1)
def allowed() -> dict[int, tuple[frozenset[str], str]]:
    """Return tag → (value representations it may have, what is done with it) for every element that may leave."""
    return {int(r["tag"], 16): (frozenset(r["vr"].split("|")), r["action"]) for r in _table("allowed.csv")}


@lru_cache(1)
def image_classes() -> dict[str, bool]:
    """Return SOP class UID → True where such images often carry text in their pixels."""
    return {r["uid"]: r["text_in_pixels"] == "yes" for r in _table("image_classes.csv")}


# ── one dataset ─────────────────────────────────────────────────────────────────────────────────────────────────────


def deidentify(ds: Dataset, *, key: bytes) -> Dataset:
    """Return a new DICOM image with the patient, the people and the place gone, ready to be written.

    Parameters
    ----------
    ds : pydicom.Dataset
        As read by ``pydicom.dcmread(path)``, with its file meta information. It is not changed.
    key : bytes
        Secret for pseudonyms, UIDs and the date shift; the same key keeps patients and series together.

    Returns
    -------
    pydicom.Dataset
        Only allow-listed elements, in every nested item too. Patient Name and ID are the pseudonym; UIDs are
        replaced consistently, in references and file meta too; dates are moved back by the patient's own number of
        days and times of day are kept, so intervals hold; sex, size, weight are kept and ages above 89 are "090Y".
        Private elements, overlays, curves, icons, signatures, comments in compressed streams, unused bits, padding
        and preamble are gone. It says of itself what was done (Patient Identity Removed, method codes).

    Raises
    ------
    IdentityRefused
        When that cannot be done for certain: not an image, text or a face in the pixels, a stream that cannot be
        followed, pixel description or UIDs missing. Nothing is half done.

    Notes
    -----
    Pixels are not looked at. A head scan still shows a face when it is rendered (docs/privacy.md).

    References
    ----------
    DICOM PS3.15 Annex E, table E.1-1: Basic Application Level Confidentiality Profile with the Retain Longitudinal
    Temporal Information Modified Dates and Retain Patient Characteristics options; 45 CFR 164.514(b)(2).
    """
    with pydicom.config.disable_value_validation():  # our own checks are stricter, and say nothing of the value
        syntax = _refuse_unfit(ds)
        patient = _text(ds, "PatientID") or _text(ds, "StudyInstanceUID")  # no id: no two studies are one patient
        job = _Job(key, pseudonym("P", patient, key=key), shift_days(patient, key=key), traces(ds))
        out = _clean(ds, job)
        missing = [k for k in NEEDED if k not in out or out[k].is_empty or out[k].VM != 1]
        if missing:
            raise IdentityRefused(
                f"an image without a usable {', '.join(missing)}",
                expected="UIDs and a pixel description that can be read",
                do="export it again from the archive it came from",
            )
        _stamp(out)
        _take_pixels(ds, out, syntax)
    out.preamble = bytes(128)
    out.file_meta = _meta(out, syntax)
    return out


@dataclass(frozen=True)
class _Job:
    key: bytes
    patient: str
    days: int
    names: frozenset[str]


def _get(ds: Dataset, keyword: str) -> object:
    """Return a value of the source, or None; one that cannot be read is a reason to refuse the file."""
    tag = pydicom.tag.Tag(keyword)
    if tag not in ds:
        return None
    for elem in _readable(ds, tag.__eq__):
        return elem.value
    raise IdentityRefused("a damaged header", expected="elements that can be read", do="export the image again")


def _text(ds: Dataset, keyword: str) -> str:
    value = _get(ds, keyword)
    return "" if value is None else str(value).strip(" \0")


def _refuse_unfit(ds: Dataset) -> UID:
    """Return the transfer syntax to write in, or refuse what no table can make safe."""
    kind = _text(ds, "SOPClassUID")
    if kind not in image_classes():
        name = UID(kind).name if kind in UID_dictionary else "something of no standard kind"
        raise IdentityRefused(
            f"{name} in DICOM",
            expected="an image (reports, waveforms, documents, photographs, plans and private objects hold free text)",
            do="leave it out",
        )
    if "PixelData" not in ds:
        raise IdentityRefused("an image without pixel data", expected="pixels", do="leave it out")
    burned = _text(ds, "BurnedInAnnotation").upper()
    if burned not in ("", "NO"):
        raise IdentityRefused(
            "an image that says text is burned into its pixels",
            expected="Burned In Annotation NO",
            do="blank the text in an image editor for DICOM, then say so in that element",
        )
    if image_classes()[kind] and burned != "NO":
        raise IdentityRefused(
            f"{UID(kind).name}, a kind that often shows a name in its pixels, and does not say that it has none",
            expected="Burned In Annotation NO",
            do="look at it, and set that element if there is none",
        )
    if _text(ds, "RecognizableVisualFeatures").upper() == "YES":
        raise IdentityRefused("an image that says a face can be recognised", expected="none", do="deface it first")
    if any(str(v).upper() in ("LABEL", "OVERVIEW") for v in _values(_get(ds, "ImageType"))):
        raise IdentityRefused("a picture of a label", expected="tissue", do="leave it out")
    syntax = UID(str(getattr(getattr(ds, "file_meta", None), "TransferSyntaxUID", "")))  # it may be of any VR
    if UID_dictionary.get(syntax, ("", ""))[1] != "Transfer Syntax":
        raise IdentityRefused(
            "a file without a standard transfer syntax",
            expected="DICOM file meta information",
            do="export it again as a file",
        )
    bits = list(_readable(ds, lambda tag: 0x6000 <= tag.group <= 0x60FF and tag.element == 0x0102))
    if syntax.is_compressed and any(e.value for e in bits):
        raise IdentityRefused(
            "an overlay burned into unused bits of compressed pixels", expected="none", do="export it uncompressed"
        )
    return ExplicitVRLittleEndian if syntax == DeflatedExplicitVRLittleEndian else syntax


def _readable(ds: Dataset, wanted: Callable[[pydicom.tag.BaseTag], bool]) -> Iterator[DataElement]:
    """Yield the wanted elements that can be read without doubt; a warning about a value is a doubt."""
    for tag in sorted(filter(wanted, ds.keys())):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                elem = ds[tag]
            except Exception:  # pydicom raises nine kinds for damaged values; what cannot be read does not leave
                continue
        yield elem


def _clean(ds: Dataset, job: _Job, depth: int = 0) -> Dataset:
    """Return the allow-listed elements of a dataset or item, each one done with as the table says."""
    if depth > MAX_DEPTH:
        raise IdentityRefused(f"items nested deeper than {MAX_DEPTH}", expected="fewer", do="leave it out")
    out, table = Dataset(), allowed()
    for elem in _readable(ds, table.__contains__):
        vrs, action = table[elem.tag]
        if not set(elem.VR.split(" or ")) <= vrs:  # a text in place of a number
            continue
        if elem.VR == "SQ":
            given = [] if action == "empty" else list(elem.value)
            out.add_new(
                elem.tag, "SQ", [i for i in (_clean(g, job, depth + 1) for g in given) if set_public_meaning(i)]
            )
        elif elem.is_empty:
            out.add_new(elem.tag, elem.VR, None)
        else:  # a value that is not what it should be leaves its element empty, as Type 2 ones must stay
            out.add_new(elem.tag, elem.VR, _ACTIONS[action](elem, job))
    return out


# ── one value ───────────────────────────────────────────────────────────────────────────────────────────────────────

_SYNTAX = {
    "CS": re.compile(r"[A-Z0-9 _]{0,16}"),
    "DS": re.compile(r" *[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)? *"),
    "IS": re.compile(r" *[+-]?\d{1,12} *"),
}


def _values(value: object) -> list:
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple, pydicom.multival.MultiValue)) else [value]


def _keep(elem: DataElement, job: _Job) -> object:
    """Keep numbers that are numbers and words that are code strings; anything else is gone."""
    values = _values(elem.value)
    if elem.VR in _SYNTAX:
        written = [getattr(v, "original_string", None) or str(v) for v in values]
        if elem.VR == "CS":
            return elem.value if all(_is_public(elem, w, job) for w in written) else None
        return elem.value if all(_SYNTAX[elem.VR].fullmatch(w) for w in written) else None
    if elem.VR in ("US", "SS", "UL", "SL", "SV", "FD", "FL", "AT"):
        return elem.value if all(isinstance(v, (int, float)) for v in values) else None
    if elem.VR in ("OW", "OF", "US or OW"):  # lookup tables
        return elem.value if isinstance(elem.value, bytes) else None
    return None


def _is_public(elem: DataElement, word: str, job: _Job) -> bool:
    """A word of the Standard says nothing of a person; where its words are not all known, it must not be a name."""
    if is_term(elem.keyword, word):
        return True
    open_list = not has_terms(elem.keyword) or elem.keyword == "ImageType"
    return open_list and bool(_SYNTAX["CS"].fullmatch(word)) and not bears(word, job.names)


def _public_text(elem: DataElement, job: _Job) -> object:
    """Keep a short plain text about the equipment, unless a name in this file, or what looks like an id, is in it."""
    for text in map(str, _values(elem.value)):
        code = elem.keyword == "CodeValue" and re.fullmatch(r"[ -~]{0,64}", text) and not re.search(r"[\^@]", text)
        if is_term(elem.keyword, text):
            continue
        if not (code or is_of_equipment(text)) or bears(text, job.names):  # codes are numbers, and looked up later
            return None
    return elem.value


def _uids(elem: DataElement, job: _Job) -> object:
    """Replace every UID but those that DICOM itself registers (classes, syntaxes)."""
    new = [v if str(v).strip(" \0") in UID_dictionary else uid(str(v), key=job.key) for v in _values(elem.value)]
    return new if len(new) > 1 else new[0]


def _dates(elem: DataElement, job: _Job) -> object:
    """Move dates back by the patient's number of days; one that is no date is left empty."""
    new = []
    for text in (str(v).strip(" \0") for v in _values(elem.value)):
        whole = re.fullmatch(r"(\d{8})((\d{2}){0,3}(?:\.\d{1,6})?)([+-]\d{4})?", text)
        date_only = elem.VR == "DA" and text[8:]
        day = shifted(whole[1], job.days) if whole and not date_only else None
        if day is None:
            return ""
        new.append(day + text[8:])
    return new if len(new) > 1 else new[0]


def _times(elem: DataElement, job: _Job) -> object:
    """Keep a time of day; one that is no time is left empty."""
    texts = [str(v).strip(" \0") for v in _values(elem.value)]
    good = all(re.fullmatch(r"(\d{2}){1,3}(\.\d{1,6})?", t) for t in texts)
    return (texts if len(texts) > 1 else texts[0]) if good else ""


def _age(elem: DataElement, job: _Job) -> object:
    """Keep an age up to 89 years; above that it is "090Y" (45 CFR 164.514(b)(2)(i)(C))."""
    text = str(elem.value).strip(" \0")
    if not re.fullmatch(r"\d{3}[DWMY]", text):
        return None
    years = int(text[:3]) / {"D": 365.25, "W": 52.18, "M": 12, "Y": 1}[text[3]]
    return "090Y" if years >= 90 else text


_ACTIONS: dict[str, Callable[[DataElement, _Job], object]] = {
    "keep": _keep,
    "text": _public_text,
    "uid": _uids,
    "date": _dates,
    "datetime": _dates,
    "time": _times,
    "age": _age,
    "sex": lambda elem, job: str(elem.value).strip() if str(elem.value).strip() in ("M", "F", "O") else "",
    "empty": lambda elem, job: "",
    "dummy": lambda elem, job: "REMOVED",
    "patient": lambda elem, job: job.patient,
    "walk": lambda elem, job: None,  # only a sequence is walked
}


def kept(ds: Dataset, keyword: str, *, names: frozenset[str]) -> list | None:
    """Return the values of an element that may leave as they are by the rules above, or None where one of them may not.

    Parameters
    ----------
    ds : pydicom.Dataset
    keyword : str
    names : frozenset of str
        What ``traces`` found in the file, and in the others of its series.

    Examples
    --------
    >>> ds = Dataset(); ds.BodyPartExamined = "CHEST"; ds.Manufacturer = "for SMITH"; ds.PatientName = "Smith"
    >>> kept(ds, "BodyPartExamined", names=traces(ds)), kept(ds, "Manufacturer", names=traces(ds)), kept(ds, "KVP", names=traces(ds))
    (['CHEST'], None, [])
    """
    tag = pydicom.tag.Tag(keyword)
    if tag not in ds:
        return []
    vrs, action = allowed()[tag]
    with pydicom.config.disable_value_validation():
        for elem in _readable(ds, tag.__eq__):
            if elem.is_empty:
                return []
            if set(elem.VR.split(" or ")) <= vrs and action in ("keep", "text"):
                value = _ACTIONS[action](elem, _Job(b"", "", 0, names))
                return None if value is None else _values(value)
    return None


# ── what the file says of itself ────────────────────────────────────────────────────────────────────────────────────


def _take_pixels(ds: Dataset, out: Dataset, syntax: UID) -> None:
    """Put the cleaned pixel data beside their description, which has been checked by now."""
    for keyword in ("NumberOfFrames", "PlanarConfiguration"):
        if _text(ds, keyword) and (not _text(out, keyword) or out[keyword].VM != 1):
            raise IdentityRefused(f"an image without a usable {keyword}", expected="a number", do="export it again")
    data = _get(ds, "PixelData")
    if not data:
        raise IdentityRefused("an image without a single byte of pixels", expected="pixels", do="export it again")
    given = ds["PixelData"].VR  # kept: in big endian, OW bytes are swapped and OB bytes are not
    vr = "OB" if syntax.is_compressed else given if given in ("OB", "OW") else "OW"
    out.add_new("PixelData", vr, data)
    out["PixelData"].value = scrub_pixels(out, syntax)


def _stamp(out: Dataset) -> None:
    """Say that the identity is gone and by which method (PS3.3 C.7.1.1, C.12.1)."""
    out.PatientIdentityRemoved = "YES"
    out.DeidentificationMethod = "overread: allow-list from PS3.15 E.1-1"
    out.DeidentificationMethodCodeSequence = [_code(value, meaning) for value, meaning in METHOD]
    out.LongitudinalTemporalInformationModified = "MODIFIED"


def _code(value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
    return item


def _meta(out: Dataset, syntax: UID) -> FileMetaDataset:
    """Return fresh file meta information: no AE titles, no implementation but ours, nothing private."""
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\0\1"
    meta.MediaStorageSOPClassUID = out.SOPClassUID
    meta.MediaStorageSOPInstanceUID = out.SOPInstanceUID
    meta.TransferSyntaxUID = syntax
    meta.ImplementationClassUID = _IMPLEMENTATION
    meta.ImplementationVersionName = "OVERREAD"
    return meta
