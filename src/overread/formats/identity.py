"""Whose image it is: what tells persons apart whom one number stands for, and images that one UID stands for."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset

from overread.domain import noted
from overread.errors import UnreadableFile
from overread.formats.found import Found, Refused, with_notes

_WORDS = {"issuer": "IssuerOfPatientID", "born": "PatientBirthDate", "sex": "PatientSex", "name": "PatientName"}
_TAGS = {word: tag_for_keyword(keyword) for word, keyword in _WORDS.items()}


def person_of(headers: Sequence[Dataset]) -> dict[str, str]:
    """Return what the headers of one image say of a person beside the Patient ID: ``issuer``, ``born``, ``sex``, ``name``.

    It is never shown, and leaves the names shelf as a pseudonym only. What is not said is not there.

    Examples
    --------
    >>> ds = Dataset(); ds.PatientBirthDate, ds.PatientSex, ds.PatientName = "19500101", "F ", "A^B"
    >>> person_of([ds])
    {'born': '19500101', 'sex': 'F', 'name': 'A B'}
    """
    said = {word: _spellings(headers, word) for word in _WORDS}
    return {word: values[0] for word, values in said.items() if values}


def check_one_person(headers: Sequence[Dataset]) -> list[str]:
    """Refuse slices of one volume that name two birth dates, two sexes or two issuers; tell of two names only.

    A name is written differently by two machines, and corrected between two scans; a birth date is not.

    Raises
    ------
    UnreadableFile
        ``two-people``.
    """
    several = {word: len(values) for word in _WORDS if len(values := _spellings(headers, word)) > 1}
    names = several.pop("name", 0)
    if several:
        counts = " and ".join(f"{n} {_COUNTED[word]}" for word, n in several.items())
        raise UnreadableFile(
            f"{len(headers)} slices of one series and one Patient ID that name {counts}",
            code="two-people",
            expected="one person",
            do="export each person on their own, or correct the header",
        )
    if not names:
        return []
    return [noted("two-names", f"its {len(headers)} slices name their patient in {names} ways, under one Patient ID")]


_COUNTED = {"issuer": "issuers of that number", "born": "birth dates", "sex": "sexes"}


def _spellings(headers: Sequence[Dataset], word: str) -> list[str]:
    """Return the different values that headers hold, the unsaid left out; converted only once for each spelling.

    Examples
    --------
    >>> one, other, third = Dataset(), Dataset(), Dataset()
    >>> one.PatientName, other.PatientName = "DOE^Jane", "Doe^Jane^ "
    >>> _spellings([one, other, third], "name")
    ['DOE JANE']
    """
    tag, first = _TAGS[word], {}
    for ds in headers:
        if tag in ds:
            first.setdefault(str(ds.get_item(tag).value), ds)
    values = (_PLAIN[word](str(ds.get(_WORDS[word]) or "").strip(" \0")) for ds in first.values())
    return list(dict.fromkeys(value for value in values if value))


def _day(value: str) -> str:
    """A date as eight digits, whether or not it was written with points; "" for what is none."""
    digits = re.sub(r"\D", "", value)
    return digits if len(digits) == 8 and digits.strip("0") else ""


def _sex(value: str) -> str:
    """Only what excludes the other: O and unknown words are said of anybody."""
    return value[:1].upper() if value[:1].upper() in ("M", "F") else ""


def _name(value: str) -> str:
    """The first way of writing a name, in capitals, its parts with one space between."""
    return " ".join(value.split("=")[0].replace("^", " ").upper().split())


_PLAIN = {"issuer": str, "born": _day, "sex": _sex, "name": _name}


def told_of_uids(found: Sequence[Found | Refused], uids: dict[str, str]) -> list[Found | Refused]:
    """Say on images whose files have a SOP Instance UID that another file of the series has, too, with other pixels.

    Parameters
    ----------
    found : sequence of Found or Refused
        What the files of one series became; a copy is refused as such.
    uids : mapping of str to str
        File → its SOP Instance UID, "" unsaid.
    """
    names = {name for one in found if isinstance(one, Found) for name in one.origin.files}
    times = Counter(uid for name in names if (uid := uids.get(name)))
    if all(n == 1 for n in times.values()):
        return list(found)
    out = []
    for one in found:
        shared = sum(times[uids.get(n, "")] > 1 for n in one.origin.files) if isinstance(one, Found) else 0
        if shared:
            said = f"{shared} of its {len(one.origin.files)} files share a SOP Instance UID with another file of the series"
            one = with_notes(one, noted("same-uid", f"{said}: a copy in another encoding, or an image of another scan"))
        out.append(one)
    return out
