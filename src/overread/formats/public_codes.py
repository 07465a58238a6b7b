"""Which codes are public, and what they mean in the public's own words: the text beside a code is anybody's."""

from __future__ import annotations

import re
from functools import lru_cache

from pydicom import Dataset

_DIHEDRAL = (  # multiplication in the dihedral group of the pentagon, row by row (Verhoeff 1969)
    *("0123456789", "1234067895", "2340178956", "3401289567", "4012395678"),
    *("5987604321", "6598710432", "7659821043", "8765932104", "9876543210"),
)
_PERMUTED = (
    *("0123456789", "1576283094", "5803796142", "8916043527"),
    *("9453126870", "4286573901", "2793806415", "7046913258"),
)


def set_public_meaning(item: Dataset) -> bool:
    """Say whether a sequence item may stay as far as codes go, and write a code's meaning anew.

    Parameters
    ----------
    item : pydicom.Dataset
        Any item; one that is no code stays. A code of a coding scheme that DICOM uses gets the meaning of the public
        dictionary. Codes of SNOMED CT (by their check digit) and SRT (by their form) that the dictionary lacks get
        the code itself as meaning. Any other code is somebody's own.

    Returns
    -------
    bool
        False: the item has to go.

    Examples
    --------
    >>> item = Dataset()
    >>> item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "39607008", "SCT", "the lung of Mr Smith"
    >>> set_public_meaning(item), item.CodeMeaning
    (True, 'Lung')

    References
    ----------
    DICOM PS3.3 section 8 (coded entries), PS3.16 section 8 (coding schemes).
    """
    if "CodeMeaning" not in item and "CodingSchemeDesignator" not in item:
        return True
    value, scheme = str(item.get("CodeValue") or "").strip(), str(item.get("CodingSchemeDesignator") or "").strip()
    known = _meanings().get((scheme, value))
    if known:
        if item.get("CodeMeaning") not in known:
            item.CodeMeaning = min(known, key=lambda m: (len(m), m))[:64]
        return True
    srt = scheme in ("SRT", "SNM3", "99SDM") and re.fullmatch(r"[A-Z][0-9A-Z]?-[0-9A-F]{4,6}", value)
    if srt or (scheme == "SCT" and is_snomed(value)):
        item.CodeMeaning = f"code {value}"
        return True
    return False


def is_snomed(value: str) -> bool:
    """Return True for the identifier of a SNOMED CT concept: right length, partition and check digit.

    One random number of this length in 500 passes.

    Examples
    --------
    >>> is_snomed("816094009"), is_snomed("816094008"), is_snomed("12345")
    (True, False, False)

    References
    ----------
    SNOMED CT Release File Specifications, section 6 (identifiers); Verhoeff, Error Detecting Decimal Codes, 1969.
    """
    if not re.fullmatch(r"[1-9][0-9]{2,14}[01]0[0-9]", value) or len(value) < 6:
        return False
    check = 0
    for i, digit in enumerate(reversed(value)):
        check = int(_DIHEDRAL[check][int(_PERMUTED[i % 8][int(digit)])])
    return check == 0


@lru_cache(1)
def _meanings() -> dict[tuple[str, str], frozenset[str]]:
    """Return (scheme, value) → meanings of every code in pydicom's extract of PS3.16."""
    from pydicom.sr.codedict import codes  # 0.3 s to walk, so only when a code is met

    found: dict[tuple[str, str], set[str]] = {}
    for scheme in codes.schemes():
        concepts = getattr(codes, scheme)
        for word in concepts.dir():
            code = getattr(concepts, word)
            found.setdefault((scheme, code.value), set()).add(code.meaning)
    return {k: frozenset(v) for k, v in found.items()}
