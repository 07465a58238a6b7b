"""What lies beside an image and speaks of it: a JSON file of facts, a table of participants, the tree that it lies in.

Only facts of the acquisition and groups of patients enter, by the rules that hold for a DICOM header, too; what a public
library says of its picture enters by a list of its own. Nothing else of such a file is kept.
"""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
import json
import os
import posixpath
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from pydicom.dataset import Dataset

from overread.domain import noted
from overread.errors import UnreadableFile
from overread.formats.ages import age_band
from overread.formats.facts import facts

PUBLIC = (
    "source", "source_number", "credit", "content_provider", "description", "categories", "created", "links", "copyright",
    "copyright_checked", "address", "picture",
)  # fmt: skip
"""What a public library says of a picture that was fetched from it, and that stays with the picture."""
LONGEST = 4000
"""Characters of one such value."""

_NUMBERS = ("MagneticFieldStrength", "EchoTime", "RepetitionTime", "InversionTime", "FlipAngle")
_KEYWORDS = {
    "Modality": "Modality", "BodyPartExamined": "BodyPartExamined", "BodyPart": "BodyPartExamined",
    "Manufacturer": "Manufacturer", "ManufacturersModelName": "ManufacturerModelName",
    "ManufacturerModelName": "ManufacturerModelName", "PatientPosition": "PatientPosition", "ImageType": "ImageType",
    "PatientSex": "PatientSex", "PatientAge": "PatientAge", "KVP": "KVP", "SliceThickness": "SliceThickness",
}  # fmt: skip
_SUBJECT = re.compile(r"(?:^|/)(sub-[A-Za-z0-9]+)/(?:(ses-[A-Za-z0-9]+)/)?(?:[^/]+/)*\1_[^/]*$")
_NO_NAME = re.compile(
    r"\W*(todo|unnamed|unspecified|untitled|unknown)\b", re.IGNORECASE
)  # what tools write for a person to replace
_COMPANIONS = (".json", ".tsv", ".bval", ".bvec")
_OF_A_VOLUME = (".json", ".bval", ".bvec")  # not a table: it may hold anybody's labels
_OF_A_TREE = ("dataset_description.json", "participants.tsv", "participants.json", "readme", "readme.md", "changes")
_SEGMENTS = ("mask", "dseg", "probseg")
_ENTITIES = 7  # of a name whose every combination is looked for
_SEX = {"m": "M", "male": "M", "f": "F", "female": "F", "o": "O", "other": "O"}

Beside = Callable[[str], bytes | None]
Lies = Callable[[str], bool]


@dataclass(frozen=True)
class Told:
    """What lies beside an image says of it; ``patient`` and ``study`` are raw and belong in an Origin."""

    modality: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    strata: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    patient: str | None = None
    study: str | None = None


def is_companion(name: str, head: bytes, beside: Beside, lies: Lies) -> bool:
    """True for a text file that goes with an image, and is read with it.

    Such are ``scan.nii.gz``'s ``scan.json``, ``scan.bval`` and ``scan.bvec``; the tables and descriptions of a BIDS tree;
    and ``picture.tif.json`` where it says that overread wrote it for ``picture.tif``.

    Parameters
    ----------
    name : str
        Its path, or its name inside an archive.
    head : bytes
    beside : callable
        Returns the small file of a name; here only asked for names that are not images.
    lies : callable
        True where a file of that name lies there, however large.

    Examples
    --------
    >>> [is_companion(n, b"0 1000", {}.get, {"dwi.nii.gz"}.__contains__) for n in ("dwi.bval", "dwi.txt", "t1.bval")]
    [True, False, False]
    """
    name = name.replace("\\", "/")
    stem, suffix = posixpath.splitext(name)
    if suffix.lower() == ".json" and posixpath.splitext(stem)[1] and b'"overread"' in head:
        return _public(beside(name)) is not None
    if suffix.lower() in _OF_A_VOLUME and any(lies(stem + end) for end in (".nii", ".nii.gz", ".NII", ".NII.GZ")):
        return True
    if posixpath.basename(name).lower() in _OF_A_TREE or suffix.lower() in _COMPANIONS:
        if _SUBJECT.search(name):
            return True
        tree = beside(posixpath.join(posixpath.dirname(name), "dataset_description.json"))
        return tree is not None and _object(tree) is not None
    return False


def of_picture(name: str, raw: bytes, beside: Beside) -> Told:
    """Return what a public library's sidecar says of a picture; nothing where there is none that speaks of these bytes."""
    public = _public(beside(f"{name}.json"))
    if public is None:
        return Told()
    if public.get("sha256") != hashlib.sha256(raw).hexdigest():
        return Told(notes=(noted("sidecar-mismatch", "the sidecar beside it speaks of other bytes; it was not taken"),))
    said = public["attributes"]
    return Told(attributes={k: said[k][:LONGEST] for k in PUBLIC if isinstance(said.get(k), str) and said[k]})


def of_volume(name: str, archive: str, beside: Beside) -> Told:
    """Return what the sidecar of a NIfTI volume, and the BIDS tree it lies in, say of it.

    In a tree such as ``sub-01/ses-02/anat/sub-01_ses-02_T1w.nii.gz`` the patient is ``sub-01`` of this data set, the study
    ``ses-02``. The data set is known by the ``Name`` that it gives itself, whatever else its description says by now; one
    without a name is known by the place where it lies: every site has its ``sub-01``, and two of them are two people. Sex
    and age band come from ``participants.tsv``. What lies in its ``derivatives`` is of the same patients.
    Facts of the acquisition are inherited: those of a JSON file nearer to the volume hold before those of one above it.

    Parameters
    ----------
    name : str
        The volume's path, or its name inside an archive.
    archive : str
        Path of the archive it lies in; "" for a file on the disk.
    beside : callable
        Returns a small file of the same folder or archive by its name, or None.

    Raises
    ------
    UnreadableFile
        For a segmentation in such a tree (``_mask``, ``_dseg``, ``_probseg``): its voxels are somebody's answer.

    References
    ----------
    Brain Imaging Data Structure 1.10, "Common principles" (the inheritance principle), "Participants file", "Imaging data
    type derivatives"; doi:10.1038/sdata.2016.44.
    """
    name = name.replace("\\", "/")
    stem = re.sub(r"\.nii(\.gz)?$", "", name, flags=re.IGNORECASE)
    found = _SUBJECT.search(name)
    if not found:
        return _facts(_object(beside(f"{stem}.json")) or {})
    _refuse_segmentation(stem)
    root = name[: found.start(1)]
    told = _facts(_inherited(root, stem, beside))
    root = _raw(root, beside)
    patient = f"{_which(root, archive, beside)}/{found[1]}"
    strata = {**told.strata, **_participants(beside(f"{root}participants.tsv")).get(found[1], {})}
    return Told(
        told.modality, told.attributes, strata, told.notes, patient, f"{patient}/{found[2]}" if found[2] else patient
    )


def _which(root: str, archive: str, beside: Beside) -> str:
    """Return what tells a tree from others: the name it gives itself, or else where it lies."""
    said = (_object(beside(f"{root}dataset_description.json")) or {}).get("Name")
    name = " ".join(said.split()) if isinstance(said, str) else ""
    if not name or _NO_NAME.match(name):
        place = f"{archive}!{tree_of(root)}" if archive else tree_of(root)
        name = place if "://" in place else os.path.abspath(place)
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def tree_of(place: str) -> str:
    """Return the root of the BIDS tree that a volume, or a pipeline's folder in it, lies in; "" where it lies in none.

    Examples
    --------
    >>> tree_of("/a/bids/sub-01/anat/sub-01_T1w.nii.gz"), tree_of("/a/bids/derivatives/x/sub-1/sub-1_T1w.nii"), tree_of("x.nii")
    ('/a/bids/', '/a/bids/', '')
    """
    found = _SUBJECT.search(place)
    root = place[: found.start(1)] if found else place if place.endswith("/") else ""
    return re.sub(r"(^|/)derivatives/[^/]+/$", r"\1", root)


def _refuse_segmentation(stem: str) -> None:
    suffix = stem.rpartition("_")[2].lower()
    if suffix in _SEGMENTS:
        raise UnreadableFile(
            f"a segmentation: its name ends in _{suffix}, as those of a BIDS tree do",
            code="unsupported-object",
            expected="the image that was drawn on",
            do="leave it out",
        )


def _raw(root: str, beside: Beside) -> str:
    """Return the root of the tree that a pipeline's folder belongs to; ``root`` itself where it is no such folder."""
    within = re.search(r"(?:^|/)derivatives/[^/]+/$", root)
    outer = root[: within.start()] + "/" if within and within.start() else ""
    return outer if within and beside(f"{outer}dataset_description.json") else root


def _inherited(root: str, stem: str, beside: Beside) -> dict[str, Any]:
    """Join the JSON files that speak of a volume, from the tree's root down to its own folder.

    One applies when it ends in the same suffix and all it names besides (``task-rest``) is in the volume's name.
    """
    folder, own = posixpath.split(stem)
    *entities, suffix = own.split("_")
    below = folder[len(root) :].split("/")
    said: dict[str, Any] = {}
    for depth in range(len(below) + 1):
        place = root + "".join(f"{part}/" for part in below[:depth])
        for names in _fewer(entities):
            said |= _object(beside(f"{place}{'_'.join((*names, suffix))}.json")) or {}
    return said


def _fewer(entities: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Yield the choices among a name's parts, the fewest first; of a very long name only none, one, all but one, all."""
    sizes = range(len(entities) + 1)
    for size in sizes if len(entities) <= _ENTITIES else {0, 1, len(entities) - 1, len(entities)}:
        yield from itertools.combinations(entities, size)


def _public(raw: bytes | None) -> dict[str, Any] | None:
    said = _object(raw)
    ours = said is not None and said.get("overread") == "picture" and isinstance(said.get("attributes"), dict)
    return said if ours else None


def _object(raw: bytes | None) -> dict[str, Any] | None:
    """Return a JSON object; None where there is none, or it is nested beyond reason."""
    try:
        said = json.loads(raw) if raw else None
    except (ValueError, RecursionError):
        return None
    return said if isinstance(said, dict) else None


def _facts(said: Mapping[str, Any]) -> Told:
    """Pass what a sidecar says through the rules for a DICOM header: the same words may leave, and no others."""
    ds = Dataset()
    for key, keyword in _KEYWORDS.items():
        value = said.get(key)
        if isinstance(value, (str, int, float)) and not isinstance(value, bool):
            if keyword == "PatientAge" and not isinstance(value, str):
                value = f"{int(min(abs(value), 999)):03d}Y"
            _set(ds, keyword, str(value))
        elif isinstance(value, list) and all(isinstance(v, str) for v in value):
            _set(ds, keyword, "\\".join(value))
    found = facts([ds])
    attributes = {k: v for k, v in found.attributes.items() if k != "format"}
    for key in _NUMBERS:
        if isinstance(said.get(key), (int, float)) and not isinstance(said[key], bool) and abs(said[key]) < 1e9:
            attributes[key] = f"{said[key]:g}"
    return Told(found.modality, attributes, found.strata, found.notes)


def _set(ds: Dataset, keyword: str, value: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            if len(value) <= 64:
                setattr(ds, keyword, value)
        except (ValueError, TypeError, OverflowError, UserWarning):
            return  # not a value of its kind ("KVP": "high"): as if it were not there


@lru_cache(maxsize=4)
def _participants(table: bytes | None) -> dict[str, dict[str, str]]:
    """Return sex and age band of each participant of a BIDS tree."""
    if table is None:
        return {}
    rows = csv.DictReader(io.StringIO(table.decode("utf-8-sig", "replace"), newline=""), delimiter="\t")
    out = {}
    try:
        for row in rows:
            said = {str(k).strip().lower(): (v or "").strip() for k, v in row.items() if isinstance(v, str)}
            strata = {"sex": _SEX.get(said.get("sex", said.get("gender", "")).lower(), "")}
            strata["age"] = age_band(said.get("age", "")) or ""
            out[said.get("participant_id", "")] = {k: v for k, v in strata.items() if v}
    except csv.Error:
        return {}
    return out
