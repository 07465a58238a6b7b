"""What comes through the door: an image with its origin, or a file refused with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from overread.domain import Image, LabelValue


@dataclass(frozen=True)
class Origin:
    """Where an image came from. Identity lives here, and never enters an Image.

    Parameters
    ----------
    files : tuple of str
        The paths as the user named them; members as ``a.zip!x/y.png`` and ``set.npz!train/12``.
        For a volume in the order of its slices.
    digest : str
        SHA-256 of the source bytes (of all files of a series, in that order; of an array's own bytes for a member).
    patient_id, study_uid, series_uid : str or None
        Raw, as the DICOM header, or a tree's names, say; None for pictures and arrays. The volumes of one NIfTI file
        have its digest as their study: they are of one person.
    facts : mapping of str to LabelValue
        What the source itself says: ``{"label": "3", "split": "test"}`` of a MedMNIST file.
    strata : mapping of str to str
        sex, age band, scanner, view. Never an exact age.
    person : mapping of str to str
        What a DICOM header says of the person beside the Patient ID: ``issuer`` of that number, ``born``, ``sex``, ``name``.
    """

    files: tuple[str, ...]
    digest: str
    patient_id: str | None = None
    study_uid: str | None = None
    series_uid: str | None = None
    facts: Mapping[str, LabelValue] = field(default_factory=dict)
    strata: Mapping[str, str] = field(default_factory=dict)
    person: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Found:
    """An image that was read, and where it came from."""

    image: Image
    origin: Origin


@dataclass(frozen=True)
class Refused:
    """A file that was offered and not read.

    Parameters
    ----------
    file : str
        As the user named it.
    code : str
        One word of ``docs/reasons.md``.
    reason : str
        One line: what came, what was expected, what to do. It holds no identifier.
    """

    file: str
    code: str
    reason: str


def with_notes(found: Found, *notes: str) -> Found:
    """Return an image with more notes; none is there twice."""
    return replace(found, image=replace(found.image, notes=tuple(dict.fromkeys((*found.image.notes, *notes)))))
