"""Films hung the way a radiologist hangs them: turned or mirrored where the header says how they lie, and told."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import product

import numpy as np
from pydicom.dataset import Dataset

from overread.domain import noted
from overread.formats.breast import breast

_TURNED = ("CR", "DX", "RG", "MG")
_TRUNK = frozenset(  # hands and feet hang by their fingers and toes, not by the head
    (
        "CHEST THORAX RIB RIBS LUNG LUNGS STERNUM CLAVICLE HEART ABDOMEN ABDO ABD PELVIS HIP SPINE CSPINE TSPINE LSPINE SSPINE "
        "LSSPINE TLSPINE CERVICAL THORACIC LUMBAR SACRUM COCCYX SACRAL LUMBOSACRAL SKULL HEAD NECK CXR AXR KIDNEY BLADDER "
        "SHOULDER SCAPULA SIJOINT"
    ).split()
)
_OPPOSITE = dict(zip("LRAPHF", "RLPAFH", strict=True))
_EDGE = 0.25
"""Share of the border that has one value when that value is the background."""


@dataclass(frozen=True)
class Hanging:
    """A picture as it hangs: voxels (slices, rows, columns[, channels]), Patient Orientation ("" unsaid), and what was done.

    ``transposed``: rows and columns changed places, so a pixel's height is now its width.
    """

    voxels: np.ndarray
    orientation: str = ""
    transposed: bool = False
    notes: tuple[str, ...] = ()


def hang(ds: Dataset, voxels: np.ndarray, *, side: str = "") -> Hanging:
    """Turn or mirror a film so that it hangs as it is read: head up, the patient's left on the right of the picture.

    A breast hangs with the chest wall on the right for the right breast, on the left for the left one. A lateral view is
    only turned, never mirrored, for both ways of hanging it are in use. Limbs are left as they are stored.

    Parameters
    ----------
    ds : Dataset
        Its Patient Orientation says where rows (first value) and columns (second) lead: L/R, A/P, H/F.
    voxels : ndarray, (slices, rows, columns[, channels])
    side : str
        "L" or "R" for a breast; without it a mammogram is not turned, which is told.

    References
    ----------
    DICOM PS3.3 C.7.6.1.1.1 (Patient Orientation); PS3.17 Annex on mammography hanging. Field of View Rotation and
    Horizontal Flip tell what the detector has done already, and are not applied again.
    """
    modality = str(ds.get("Modality") or "")
    value = ds.get("PatientOrientation")
    said = [] if isinstance(value, str) else [str(v).strip(" \0").upper() for v in value or []]
    if modality not in _TURNED or len(said) != 2 or not all(_is_direction(way) for way in said):
        return Hanging(voxels)
    wanted = _breast(said, side) if modality == "MG" else _upright(said)
    shown = "\\".join(said)
    if modality == "MG" and side not in ("L", "R"):
        which = "both sides are" if side == "B" else "no side is"
        note = (
            f"Patient Orientation is {shown}, and {which} named (Image Laterality): not turned, and it may lie mirrored"
        )
        return Hanging(voxels, notes=(noted("side-unknown", note),))
    if wanted is None or wanted == tuple(way[0] for way in said):
        return Hanging(voxels)
    parts = re.split(r"[ _/&+,.-]+", str(ds.get("BodyPartExamined") or "").upper())
    if modality != "MG" and not _TRUNK & set(parts):
        note = f"rows lead to {said[0]}, columns to {said[1]} (Patient Orientation); not turned, for it is not said to be of head or trunk"
        return Hanging(voxels, notes=(noted("film-orientation", note),))
    out, ways, transposed = _changed(voxels, said, wanted)
    note = f"Patient Orientation was {shown}: turned or mirrored so that it is {ways[0]}\\{ways[1]}"
    return Hanging(out, "\\".join(ways), transposed, (noted("film-turned", note),))


def orientation(ds: Dataset) -> list[str]:
    """Return where rows and columns lead after ``hang``, for an object made of the turned picture; [] where nobody says.

    Examples
    --------
    >>> ds = Dataset(); ds.Modality, ds.BodyPartExamined, ds.PatientOrientation = "DX", "CHEST", ["R", "F"]
    >>> orientation(ds)
    ['L', 'F']
    """
    hung = hang(ds, np.zeros((1, 1, 1), np.uint8), side=breast(ds)[0].get("ImageLaterality", "")).orientation
    return hung.split("\\") if hung else list(ds.get("PatientOrientation") or [])


def _is_direction(way: str) -> bool:
    return bool(re.fullmatch("[LRAPHF]{1,3}", way))


def _upright(said: list[str]) -> tuple[str, str] | None:
    """Where rows and columns should lead on a film of the trunk; None for what is not seen from front, back or side."""
    row, column = (way[0] for way in said)
    across = [way for way in (row, column) if way not in "HF"]
    if len(across) != 1:
        return None
    if across[0] in "LR":
        return "L", "F"
    reached = {_turn(row, column, *how)[:2] for how in product((False, True), repeat=3) if sum(how) % 2 == 0}
    return next(ways for ways in sorted(reached) if ways[1] == "F")


def _breast(said: list[str], side: str) -> tuple[str, str] | None:
    row, column = (way[0] for way in said)
    along = [way for way in (row, column) if way not in "AP"]
    if side not in ("L", "R") or len(along) != 1:
        return None
    back = "P" if side == "R" else "A"
    if along[0] in "HF":
        return back, "F"
    return back, "L" if side == "R" else "R"  # cranio-caudal: the outer side is at the top


def _turn(row: str, column: str, transpose: bool, mirror: bool, upend: bool) -> tuple[str, str]:
    row, column = (column, row) if transpose else (row, column)
    flipped = ["".join(_OPPOSITE[c] for c in way) if flip else way for way, flip in ((row, mirror), (column, upend))]
    return flipped[0], flipped[1]


def _changed(voxels: np.ndarray, said: list[str], wanted: tuple[str, str]) -> tuple[np.ndarray, tuple[str, str], bool]:
    """The one of the eight ways to lay a picture that leads where it should."""
    for transpose, mirror, upend in product((False, True), repeat=3):
        ways = _turn(said[0], said[1], transpose, mirror, upend)
        if (ways[0][0], ways[1][0]) == wanted:
            out = np.swapaxes(voxels, 1, 2) if transpose else voxels
            out = out[:, ::-1] if upend else out
            return np.ascontiguousarray(out[:, :, ::-1] if mirror else out), ways, transpose
    return voxels, (said[0], said[1]), False


def background(voxels: np.ndarray, full_range: tuple[float, float] | None) -> list[str]:
    """Tell of a mammogram whose air around the breast is not the lowest value (padding, or values for processing).

    Parameters
    ----------
    voxels : ndarray, (1, rows, columns)
    full_range : (float, float) or None

    Examples
    --------
    >>> film = np.full((1, 20, 20), 70); film[0, 5:15, 10:] = 900
    >>> background(film, (0, 4095))
    ['background-not-zero: 87 % of the border has the value 70, where 0 is the lowest possible: air is not black']
    """
    if voxels.ndim != 3 or full_range is None:
        return []
    plane = voxels[0]
    border = np.concatenate([plane[0], plane[-1], plane[1:-1, 0], plane[1:-1, -1]])
    values, counts = np.unique(border, return_counts=True)
    share, value = counts.max() / border.size, values[counts.argmax()]
    if share < _EDGE or value == full_range[0]:
        return []
    said = f"{share:.0%} of the border has the value {value:g}, where {full_range[0]:g} is the lowest possible: air is not black"
    return [noted("background-not-zero", said.replace("%", " %"))]
