"""What every object that overread files has in common: where it belongs, when it was made, by what."""

from __future__ import annotations

import datetime
import hashlib
import io
import logging
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import pydicom
from pydicom import Dataset

from overread.errors import IdentityRefused, UnreadableFile
from overread.formats.parser import read_dataset

SCHEME = "99OVERREAD"  # DICOM PS3.16 section 8.2: private schemes begin with 99
_TYPE_2 = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
)


_WHO = ("PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate")

for _name in ("pydicom", "highdicom"):  # what they log quotes header values, names among them
    logging.getLogger(_name).addHandler(logging.NullHandler())
    logging.getLogger(_name).propagate = False


@contextmanager
def quoting_no_values() -> Iterator[None]:
    """Keep the libraries from warning about a header's odd values: their warnings quote them, names among them.

    What cannot be written is an error still.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def uid_of(*parts: str) -> str:
    """Return a UID that follows from its parts alone, so that the same report gives the same bytes."""
    number = bytearray(hashlib.sha256("\0".join(parts).encode()).digest()[:16])
    number[6], number[8] = number[6] & 0x0F | 0x80, number[8] & 0x3F | 0x80  # RFC 9562: version 8, custom
    return f"2.25.{int.from_bytes(number, 'big')}"


def plain_text(text: str, most: int) -> str:
    r"""Return ``text`` on one line, without a backslash (DICOM's own separator), never empty, at most so long.

    ``most`` counts bytes: the Standard counts characters, but some readers and validators do not.

    Examples
    --------
    >>> plain_text("Größe\n\\ 3", 64), plain_text(" ", 64)
    ('Größe 3', '-')
    """
    line = re.sub(r"[\\\s\x00-\x1f]+", " ", text).strip()
    return line.encode()[:most].decode(errors="ignore").strip() or "-"  # a letter cut in two is left out


@quoting_no_values()
def header(path: Path) -> Dataset:
    """Return a source's header, its texts in UTF-8, with the attributes that every DICOM object must have, empty where it lacks them."""
    with path.open("rb") as stream:
        ds = read_dataset(stream, force=False, stop_before_pixels=True)
    ds.decode()
    ds.walk(_fresh_name)
    ds.SpecificCharacterSet = "ISO_IR 192"
    lacking = [k for k in ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID") if not ds.get(k)]
    if lacking:
        raise UnreadableFile(
            f"a DICOM file without {', '.join(lacking)}",
            code="dicom-no-uid",
            expected="the UIDs that say which study a report belongs to",
            do="export it again from the archive it came from",
        )
    for keyword in _TYPE_2:
        if keyword not in ds:
            setattr(ds, keyword, "")
    _leave_out_invalid(ds)
    return ds


def _fresh_name(_: Dataset, elem: pydicom.DataElement) -> None:
    """Let go of a name's bytes in the source's alphabet: what overread files is in UTF-8."""
    if elem.VR == "PN" and elem.value is not None:
        many = isinstance(elem.value, pydicom.multival.MultiValue)
        elem.value = [str(v) for v in elem.value] if many else str(elem.value)


@quoting_no_values()
def identity(path: Path) -> Dataset:
    """Return only those attributes of a file that say whose it is: quicker than the whole header."""
    with path.open("rb") as stream:
        return read_dataset(stream, force=False, stop_before_pixels=True, specific_tags=list(_WHO))


def check_one_patient(headers: Sequence[Dataset]) -> None:
    """Refuse headers that name different patients: a report is filed under one.

    Two patients are different when their ids differ (an id beside none, too), or when both say a name, a date of
    birth or an issuer of the id and these differ. Upper and lower case, and the signs between the parts of a name, do not count.

    Raises
    ------
    IdentityRefused

    References
    ----------
    DICOM PS3.3 C.2.2 (Patient Identification), PS3.5 6.2.1 (person names).

    Examples
    --------
    >>> one, other = Dataset(), Dataset()
    >>> one.PatientID = other.PatientID = "7"; one.PatientName, other.PatientName = "Doe^Jane", "DOE^JANE^"
    >>> check_one_patient([one, other])
    >>> other.PatientID = "8"; check_one_patient([one, other])
    Traceback (most recent call last):
    overread.errors.IdentityRefused: files of one study whose headers differ in PatientID; expected one patient; correct the study in the archive it came from
    """
    for keyword in _WHO:
        told = {_plain_identity(h.get(keyword)) for h in headers}
        if len(told if keyword == "PatientID" else told - {""}) > 1:
            raise IdentityRefused(
                f"files of one study whose headers differ in {keyword}",
                expected="one patient",
                do="correct the study in the archive it came from",
            )


def _plain_identity(value: object) -> str:
    """Return an id, a date or the first spelling of a name, without what only its writing differs in."""
    return " ".join(re.split(r"[\s^]+", str(value or "").split("=")[0].casefold())).strip()


def _leave_out_invalid(ds: Dataset) -> None:
    """Take out of a header what would make a new object invalid: it is left empty, never guessed.

    Old files write dates and times with points and colons (ACR-NEMA); these are the same dates and times.
    """
    ds.StudyDate = str(ds.StudyDate or "").replace(".", "")
    ds.StudyTime = str(ds.StudyTime or "").replace(":", "")
    for keyword, form in (("StudyDate", r"\d{8}"), ("StudyTime", r"(\d{2}){1,3}(\.\d{1,6})?")):
        if not re.fullmatch(form, ds[keyword].value):
            ds[keyword].value = ""
    if "PatientAge" in ds and not re.fullmatch(r"\d{3}[DWMY]", str(ds.PatientAge or "")):
        del ds.PatientAge
    if "PatientIdentityRemoved" in ds and "DeidentificationMethod" not in ds:
        del ds.PatientIdentityRemoved  # it may be said only together with how


def machine() -> str:
    """Return the name and version overread gives itself."""
    return plain_text(f"overread {version('overread')}", 64)


def dated(ds: Dataset, now: datetime.datetime) -> None:
    """Write ``now`` wherever the library has written the time of the wall clock, and name the private codes."""
    day, clock = now.strftime("%Y%m%d"), now.strftime("%H%M%S.%f")
    ds.ContentDate, ds.ContentTime = day, clock
    ds.InstanceCreationDate, ds.InstanceCreationTime = day, clock
    ds.SeriesDate, ds.SeriesTime = day, clock
    if now.utcoffset() is not None and "TimezoneOffsetFromUTC" in ds:
        del ds.TimezoneOffsetFromUTC
    for equipment in ds.get("ContributingEquipmentSequence", []):
        if "ContributionDateTime" in equipment:
            equipment.ContributionDateTime = day + clock
    item = Dataset()
    item.CodingSchemeDesignator, item.CodingSchemeName = SCHEME, "overread private codes"
    item.CodingSchemeResponsibleOrganization = "overread"
    ds.CodingSchemeIdentificationSequence = [item]


@quoting_no_values()
def as_bytes(ds: Dataset) -> bytes:
    """Return a DICOM object, with its file meta information, as the bytes of its file."""
    out = io.BytesIO()
    ds.save_as(out, enforce_file_format=True)
    return out.getvalue()
