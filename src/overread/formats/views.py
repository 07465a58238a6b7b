"""Where the header of a film that is no mammogram names two sides, or two views."""

from __future__ import annotations

from pydicom.dataset import Dataset

from overread.domain import noted

_CODES = {  # PS3.16 CID 4010: SNOMED CT and, in older files, SNOMED RT
    "399348003": "AP", "R-10206": "AP",
    "272479007": "PA", "R-40888": "PA", "R-10214": "PA",
    "399033003": "frontal", "R-10202": "frontal",
    "399067008": "lateral", "R-102CD": "lateral",
    "399173006": "LL", "R-10236": "LL",
    "399198007": "RL", "R-10232": "RL",
    "399135007": "LAO", "R-10220": "LAO",
    "399356000": "RAO", "R-40985": "RAO", "R-10218": "RAO",
    "399006002": "LPO", "R-10212": "LPO",
    "399038007": "RPO", "R-10210": "RPO",
}  # fmt: skip
_WORDS = {word: word for word in ("AP", "PA", "LL", "RL", "LAO", "RAO", "LPO", "RPO")}
_WORDS |= {"LLAT": "LL", "RLAT": "RL", "LAT": "lateral", "LATERAL": "lateral", "LATERALE": "lateral"}
_KINDS = {"frontal": {"AP", "PA"}, "lateral": {"LL", "RL"}}


def contradictions(ds: Dataset) -> list[str]:
    """Return the notes on a side or a view that the header gives twice, and not the same; the first one of each is taken.

    Examples
    --------
    >>> code = Dataset(); code.CodeValue = "R-10236"
    >>> ds = Dataset(); ds.ViewPosition, ds.ViewCodeSequence, ds.ImageLaterality, ds.Laterality = "AP", [code], "L", "R"
    >>> contradictions(ds)[0]
    'laterality-contradicted: Image Laterality says L, Laterality says R; the first was taken'
    >>> contradictions(ds)[1]
    'view-contradicted: View Position says AP, View Code Sequence LL; the first was taken'

    References
    ----------
    DICOM PS3.3 C.8.11.5 (DX Positioning), PS3.16 CID 4010 (DX View).
    """
    notes = []
    image, part = _word(ds, "ImageLaterality"), _word(ds, "Laterality")
    if {image, part} == {"L", "R"}:
        said = f"Image Laterality says {image}, Laterality says {part}; the first was taken"
        notes.append(noted("laterality-contradicted", said))
    named = _WORDS.get(word := _word(ds, "ViewPosition"), "")
    coded = next((_CODES[v] for c in ds.get("ViewCodeSequence") or [] if (v := _code(c)) in _CODES), "")
    if named and coded and not _agree(named, coded):
        said = f"View Position says {word}, View Code Sequence {coded}; the first was taken"
        notes.append(noted("view-contradicted", said))
    return notes


def _agree(one: str, other: str) -> bool:
    return one == other or one in _KINDS.get(other, ()) or other in _KINDS.get(one, ())


def _word(ds: Dataset, keyword: str) -> str:
    return str(ds.get(keyword) or "").strip(" \0").upper()


def _code(item: Dataset) -> str:
    return str(item.get("CodeValue") or item.get("LongCodeValue") or "").strip(" \0")
