"""Words by which a file names its people, to be looked for in the few texts that may leave with an image."""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Iterator

from pydicom import Dataset
from pydicom.multival import MultiValue

_IDS = {  # accession, institution, station, department, study id, patient ids, serial number
    *(0x00080050, 0x00080080, 0x00081010, 0x00081040, 0x00200010, 0x00100020, 0x00101000, 0x00181000),
}
_PEOPLE = (0x0008, 0x0010, 0x0032, 0x0040)  # groups that name people
_TITLES = frozenset("mr mrs ms miss dr md prof phd jr sr ii iii iv frau herr mme mlle sir von van de der la le".split())
_SAID_OF_PEOPLE = re.compile(
    r"\b(dr|drs|doctor|prof|professor|mrs|miss|frau|herr|mme|patient|name|born|dob|hospital|hopital|clinic|clinica|klinik|"
    r"klinikum|praxis|practice|private|privat|ward|infirmary|university|institute|department|dept|for|of|by)\b",
    re.IGNORECASE,
)
_DATE = re.compile(r"\d{8}|(?<!\d)(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{4})(?!\d)")


def traces(ds: Dataset) -> frozenset[str]:
    """Return the words of all names in a header, and its identifiers, in lower case.

    A value that breaks the rules of its type still gives its words: a damaged name is a name.

    Parameters
    ----------
    ds : pydicom.Dataset

    Returns
    -------
    frozenset of str
        Words of four letters and more are looked for anywhere in a text, shorter ones as whole words; see :func:`bears`.

    Examples
    --------
    >>> ds = Dataset(); ds.PatientName = "Li^Johanna^^Dr"; ds.PatientID = "4711"
    >>> sorted(traces(ds))
    ['4711', 'johanna', 'li']
    """
    found: set[str] = set()
    for tag in ds.keys():
        if tag not in _IDS and tag.group not in _PEOPLE:
            continue
        vr, values = _told(ds, tag)
        for value in values:
            if vr == "PN":
                found |= {w for w in re.split(r"[^0-9a-z]+", value) if len(w) >= 4}
                found |= {w for w in re.split(r"[\W_]+", value) if len(w) >= 2}
            elif tag in _IDS and len(value.strip(" \0")) >= 4:
                found.add(value.strip(" \0"))
    return frozenset(found - _TITLES)


def _told(ds: Dataset, tag) -> tuple[str, Iterator[str] | list[str]]:
    """Return an element's VR and its values in lower case; from its bytes where they cannot be made out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            elem = ds[tag]
            value = elem.value
            several = value if isinstance(value, (MultiValue, list, tuple)) else [] if value is None else [value]
            return elem.VR, [str(v).lower() for v in several] if elem.VR != "SQ" else []
        except Exception:  # pydicom raises nine kinds for damaged values
            try:
                raw = ds.get_item(tag)
            except Exception:  # the file ends before its bytes: there is none that could be looked for
                return "PN", []
            data = raw.value if isinstance(raw.value, bytes) else b""
            return str(raw.VR or "PN"), [data.decode("latin-1").lower()]


def bears(text: str, names: Collection[str]) -> bool:
    """Return True when a text holds one of the names or identifiers.

    Examples
    --------
    >>> bears("SOMATOM Force", {"li", "roma"}), bears("for LI", {"li"}), bears("unit of Dr Smithson", {"smith"})
    (False, True, True)
    """
    low = text.lower()
    words = set(re.split(r"[\W_]+", low))
    return any(name in (low if len(name) >= 4 else words) for name in names)


def is_of_equipment(text: str) -> bool:
    """Return True for a short plain text that speaks of no person, place or day, as far as its words can tell.

    Examples
    --------
    >>> is_of_equipment("LightSpeed VCT"), is_of_equipment("Dr Smith private unit"), is_of_equipment("SMITH^JOHN 19630217")
    (True, False, False)
    """
    plain = re.fullmatch(r"[ -~]{0,64}", text) and not re.search(r"[\^@]", text)
    return bool(plain) and not _SAID_OF_PEOPLE.search(text) and not _DATE.search(text)
