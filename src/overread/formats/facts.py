"""What of a DICOM header goes with its pixels: facts of the acquisition that say nothing of the person.

The rules are de-identification's own (``deid.kept``): nothing enters an archive that would not leave in a clean copy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from pydicom.datadict import dictionary_description
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from overread.domain import noted
from overread.formats.ages import age_band
from overread.formats.breast import IMPLANT_DISPLACED, breast
from overread.formats.deid import image_classes, kept
from overread.formats.pixels import transfer_syntax
from overread.formats.terms import has_terms, is_term
from overread.formats.traces import traces
from overread.formats.views import contradictions

ATTRIBUTES = (
    "BodyPartExamined",
    "ViewPosition",
    "Laterality",
    "ImageLaterality",
    "PatientOrientation",
    "Manufacturer",
    "ManufacturerModelName",
    "MagneticFieldStrength",
    "PhotometricInterpretation",
    "PresentationIntentType",
    "BreastImplantPresent",
    "FieldOfViewRotation",
    "FieldOfViewHorizontalFlip",
    "PatientPosition",
    "RescaleType",
    "ImageType",
    "KVP",
    "SliceThickness",
    "WindowCenter",
    "WindowWidth",
)
"""Header facts that may leave this room with an image. No dates, names, UIDs, institutions or comments."""

IN_PIXELS = "IdentityInPixels"
"""The attribute that tells why the pixels themselves name or show the person; ``collect`` refuses such an image."""

MAY_SHOW = "a kind that often shows a name in its pixels, and its header does not say that it has none"
"""The note of a secondary capture, an ultrasound or endoscopy image that leaves this open."""


PRIVATE_SCALE = "Philips' private scale (2005,100E) was not applied: values are after the DICOM rescale, and compare within one series only"
"""The note of an MR image whose maker keeps another scale beside the Standard's."""


@dataclass(frozen=True)
class Facts:
    """What the headers of one image say.

    Parameters
    ----------
    modality : str
        A word of PS3.3 C.7.3.1.1.1, or "".
    attributes : dict of str to str
        Those of ``ATTRIBUTES`` that are there and identify nobody; "format", "bits", "TransferSyntax"; ``IN_PIXELS``.
    strata : dict of str to str
        The groups a result may be broken down by: sex, age band, scanner, view, side, presentation, implant.
    notes : tuple of str
        What was left out because it might identify; where the header contradicts itself on side or view.
    """

    modality: str
    attributes: dict[str, str]
    strata: dict[str, str]
    notes: tuple[str, ...]


def facts(datasets: Sequence[Dataset]) -> Facts:
    """Return what the headers of one image (the slices of a volume) say: values of the first.

    All of them are asked for names, for what their pixels show, and for the side: slices of two sides have none.

    Examples
    --------
    >>> ds = Dataset(); ds.PatientName = "Doe^Jane"; ds.ViewPosition = "PA"; ds.BitsStored = 12; ds.PatientAge = "093Y"
    >>> ds.Manufacturer = "Doe's own"; ds.Modality = "DX"
    >>> said = facts([ds])
    >>> said.modality, said.attributes, said.strata
    ('DX', {'format': 'DICOM', 'bits': '12', 'ViewPosition': 'PA'}, {'age': '80+', 'view': 'PA'})
    >>> said.notes
    ('left-out: Manufacturer left out: might identify',)
    """
    ds = datasets[0]
    names = frozenset[str]().union(*map(traces, datasets))
    found, notes = {"format": "DICOM"}, []
    if isinstance(ds.get("BitsStored"), int):
        found["bits"] = str(ds.BitsStored)
    if hasattr(ds, "file_meta"):
        found["TransferSyntax"] = transfer_syntax(ds)[0].name
    for keyword in ("Modality", *ATTRIBUTES):
        values = kept(ds, keyword, names=names)
        words = [str(v).strip(" \0") for v in values or ()]
        if keyword == "ImageType":  # a vendor's own words stand behind the Standard's
            words = [w for w in words if is_term(keyword, w)]
        elif has_terms(keyword) and not all(is_term(keyword, w) for w in words):
            values, words = None, []
        if values is None:
            notes.append(noted("left-out", f"{dictionary_description(keyword)} left out: might identify"))
        elif any(words):
            found[keyword] = "\\".join(words)[:64]
    modality = found.pop("Modality", "").upper()
    if why := next(filter(None, map(_in_pixels, datasets)), ""):
        found[IN_PIXELS] = why
    elif any(map(_may_show, datasets)):
        notes.append(noted("may-show-name", MAY_SHOW))
    if any(map(_is_scaled_privately, datasets)):
        notes.append(noted("private-scale", PRIVATE_SCALE))
    if modality == "MG":
        said, doubts = breast(ds)
        found |= said
        notes += doubts
    else:
        notes += contradictions(ds)
    notes += _one_side(datasets, found) + _intent(ds, found)
    return Facts(modality, found, _strata(ds, found), tuple(notes))


def _one_side(datasets: Sequence[Dataset], found: dict[str, str]) -> list[str]:
    """Take the side away where slices name several, and say so."""
    notes = []
    for keyword in ("ImageLaterality", "Laterality"):
        counts = Counter(str(ds.get(keyword) or "").strip(" \0").upper() for ds in datasets)
        named = sorted(set(counts) & {"L", "R", "B"})
        if len(named) > 1:
            found.pop(keyword, None)
            said = " and ".join(f"{side} in {counts[side]}" for side in named)
            word = dictionary_description(keyword)
            notes.append(noted("laterality-contradicted", f"{word} is {said} of {len(datasets)} slices: no side taken"))
    return notes


_FOR_PROCESSING = (
    "1.2.840.10008.5.1.4.1.1.1.1.1",
    "1.2.840.10008.5.1.4.1.1.1.2.1",
    "1.2.840.10008.5.1.4.1.1.1.3.1",
    "1.2.840.10008.5.1.4.1.1.13.1.5",
)
"""Digital X-Ray, Mammography, Intra-Oral and Breast Projection X-Ray Image Storage – For Processing (PS3.4 B.5)."""


def _intent(ds: Dataset, found: dict[str, str]) -> list[str]:
    """Tell of the detector's own values, by its word or by its kind of object, which is believed where the two differ."""
    kind, said = str(ds.get("SOPClassUID") or "") in _FOR_PROCESSING, found.get("PresentationIntentType", "")
    notes = []
    if kind and said not in ("", "FOR PROCESSING"):
        words = (
            f"Presentation Intent Type says {said}, the kind of object (SOP Class) says FOR PROCESSING: taken as that"
        )
        notes.append(noted("presentation-contradicted", words))
    if kind:
        found["PresentationIntentType"] = "FOR PROCESSING"
    if found.get("PresentationIntentType") == "FOR PROCESSING":
        notes.append(noted("for-processing", "the detector's own values, for processing: not what a reader is shown"))
    return notes


def _strata(ds: Dataset, found: dict[str, str]) -> dict[str, str]:
    sex, age = str(ds.get("PatientSex") or "").strip(), str(ds.get("PatientAge") or "").strip()
    said = {
        "sex": sex if sex in ("F", "M", "O") else "",
        "age": age_band(age) or "" if age[-1:] in tuple("DWMY") else "",  # an Age String has a unit
        "scanner": found.get("Manufacturer", ""),
        "view": found.get("ViewPosition", ""),
        "side": found.get("ImageLaterality") or found.get("Laterality", ""),
        "presentation": found.get("PresentationIntentType", ""),
        "implant": _implant(found),
    }
    return {name: value for name, value in said.items() if value}


def _implant(found: dict[str, str]) -> str:
    """Whether a mammogram shows an implant; "" where the header does not say."""
    if IMPLANT_DISPLACED in found.get("ViewModifier", "").split("\\"):
        return "displaced"
    return {"YES": "present", "NO": "none"}.get(found.get("BreastImplantPresent", ""), "")


def _is_scaled_privately(ds: Dataset) -> bool:
    """True where Philips' scale slope stands in the header, or in the first frame's private item."""
    places = [ds]
    for frame in list(ds.get("PerFrameFunctionalGroupsSequence") or [])[:1]:
        places += list(frame[0x2005140F].value or []) if 0x2005140F in frame else []
    return any("Philips" in str(d.get(0x20050010).value) for d in places if 0x2005100E in d and 0x20050010 in d)


def _may_show(ds: Dataset) -> bool:
    said = str(ds.get("BurnedInAnnotation") or "").strip(" \0").upper()
    return said != "NO" and image_classes().get(str(ds.get("SOPClassUID") or ""), False)


def _in_pixels(ds: Dataset) -> str:
    """Say how the pixels themselves tell who it is, as far as the header admits it; "" where it does not."""
    image_type = ds.get("ImageType")
    words = list(image_type) if isinstance(image_type, (MultiValue, list)) else [image_type]
    if str(ds.get("BurnedInAnnotation") or "").strip(" \0").upper() not in ("", "NO"):
        return "text is burned into its pixels"
    if str(ds.get("RecognizableVisualFeatures") or "").strip(" \0").upper() == "YES":
        return "a face can be recognised in it"
    if any(str(w).strip(" \0").upper() in ("LABEL", "OVERVIEW") for w in words):
        return "it shows a label, not tissue"
    return ""
