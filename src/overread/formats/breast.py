"""What a mammogram's header says of side, view and manner: one word each, wherever the header keeps it."""

from __future__ import annotations

from pydicom.dataset import Dataset

from overread.domain import noted
from overread.formats.terms import is_term

_VIEWS = {  # PS3.16 CID 4014: SNOMED CT and, in older files, SNOMED RT
    "399368009": "MLO", "R-10226": "MLO",
    "399162004": "CC", "R-10242": "CC",
    "399260004": "ML", "R-10224": "ML",
    "399352003": "LM", "R-10228": "LM",
    "399099002": "LMO", "R-10230": "LMO",
    "399196006": "FB", "R-10244": "FB",
    "399188001": "SIO", "R-102D0": "SIO",
    "441555000": "ISO", "R-40AAA": "ISO",
    "399192008": "XCCL", "R-1024A": "XCCL",
    "399101009": "XCCM", "R-1024B": "XCCM",
    "399265009": "XCC", "R-102CF": "XCC",
}  # fmt: skip
_MODIFIERS = {  # PS3.16 CID 4015
    "399209000": "ID", "R-102D5": "ID",
    "399163009": "M", "R-102D6": "M",
    "399055006": "S", "R-102D7": "S",
    "399161006": "CV", "R-102D2": "CV",
    "399011000": "AT", "R-102D1": "AT",
    "399110001": "TAN", "R-102C2": "TAN",
    "399197002": "RL", "R-102D3": "RL",
    "399226006": "RM", "R-102D4": "RM",
    "415670009": "RS", "R-102C9": "RS",
    "414493004": "RI", "R-102CA": "RI",
    "442581004": "NP", "R-40AB3": "NP",
    "442593008": "IMF", "R-40ABE": "IMF",
    "441752004": "AC", "P2-00161": "AC",
    "442580003": "AXT", "R-40AB2": "AXT",
}  # fmt: skip
IMPLANT_DISPLACED = "ID"


def breast(ds: Dataset) -> tuple[dict[str, str], list[str]]:
    """Return side, view, view modifiers and implant of a mammogram as attributes, and where its header contradicts itself.

    The side is Image Laterality, else Laterality, else the frame's; the view is View Position, else what View Code Sequence
    codes. ``ViewModifier``: ID implant displaced, M magnified, S spot compression, CV cleavage, AT axillary tail, …

    Examples
    --------
    >>> code = Dataset(); code.CodeValue = "R-10226"
    >>> ds = Dataset(); ds.ViewCodeSequence, ds.Laterality = [code], "R"
    >>> breast(ds)
    ({'ImageLaterality': 'R', 'ViewPosition': 'MLO'}, [])

    References
    ----------
    DICOM PS3.3 C.8.11.7 (Mammography Image), PS3.16 CID 4014 and CID 4015.
    """
    found, notes = {}, []
    image, part = _word(ds, "ImageLaterality"), _word(ds, "Laterality")
    side = image or part or _frame_side(ds)
    if side in ("L", "R", "B"):
        found["ImageLaterality"] = side
    if image and part and image != part and {image, part} <= {"L", "R"}:
        said = f"Image Laterality says {image}, Laterality says {part}; the first was taken"
        notes.append(noted("laterality-contradicted", said))
    codes = list(ds.get("ViewCodeSequence") or [])
    coded = next((_VIEWS[v] for c in codes if (v := _code(c)) in _VIEWS), "")
    named = _word(ds, "ViewPosition")
    named = named if is_term("ViewPosition", named) else ""
    if coded or named:
        found["ViewPosition"] = named or coded
    if coded and named and coded != named:
        said = f"View Position says {named}, View Code Sequence {coded}; the first was taken"
        notes.append(noted("view-contradicted", said))
    modifiers = [m for c in codes for m in c.get("ViewModifierCodeSequence") or []]
    words = [_MODIFIERS[v] for m in modifiers if (v := _code(m)) in _MODIFIERS]
    if words:
        found["ViewModifier"] = "\\".join(dict.fromkeys(words))
    if IMPLANT_DISPLACED in words:
        notes.append(noted("implant-displaced", "an implant was pushed back for this view"))
    return found, notes


def _word(ds: Dataset, keyword: str) -> str:
    return str(ds.get(keyword) or "").strip(" \0").upper()


def _code(item: Dataset) -> str:
    return str(item.get("CodeValue") or item.get("LongCodeValue") or "").strip(" \0")


def _frame_side(ds: Dataset) -> str:
    for shared in ds.get("SharedFunctionalGroupsSequence") or []:
        for anatomy in shared.get("FrameAnatomySequence") or []:
            return _word(anatomy, "FrameLaterality")
    return ""
