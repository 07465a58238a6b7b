"""Films hung the way a radiologist hangs them: turned or mirrored where the header says how they lie, and told."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from pydicom.dataset import Dataset

from overread.domain import noted
from overread.formats.breast import breast

_TURNED = ("CR", "DX", "RG", "MG")
_TOLD = ("RF", "XA")  # seen from many sides while they are made: told, and left as they are stored
_TRUNK = frozenset(  # hands and feet hang by their fingers and toes, not by the head
    (
        "CHEST THORAX RIB RIBS LUNG LUNGS STERNUM CLAVICLE HEART ABDOMEN ABDO ABD PELVIS HIP SPINE CSPINE TSPINE LSPINE SSPINE "
        "LSSPINE TLSPINE CERVICAL THORACIC LUMBAR SACRUM COCCYX SACRAL LUMBOSACRAL SKULL HEAD NECK CXR AXR KIDNEY BLADDER "
        "SHOULDER SCAPULA SIJOINT"
    ).split()
)
_TRUNK_CODES = frozenset(  # the same, as SNOMED CT and (older) SNOMED RT code them: PS3.16 CID 4009
    (
        "816094009 51185008 T-D3000 39607008 T-28000 80891009 T-32000 72410000 T-D3300 113197003 T-11300 56873002 T-11210 "
        "51299004 T-12310 818981001 113345001 T-D4000 818982008 416949008 R-FAB57 816092008 12921003 T-D6000 416550000 "
        "R-FAB55 416775004 R-FAB56 417437006 R-FAB52 416152001 R-FAB53 416319003 R-FAB54 421060004 T-D04FF 122494005 "
        "T-11501 122495006 T-11502 122496007 T-11503 1217257000 1217256009 1217253001 1217254007 54735007 T-11AD0 64688005 "
        "T-11BF0 39723000 T-15680 29836001 T-D2500 24136001 T-15710 16982005 T-D2220 79601000 T-12280 89546000 T-11100 "
        "69536005 T-D1100 45048000 T-D1600 774007 T-D1000 64033007 T-71000 89837001 T-74000"
    ).split()
)
_WAYS = {
    "L": np.array([1.0, 0, 0]), "R": np.array([-1.0, 0, 0]),
    "P": np.array([0, 1.0, 0]), "A": np.array([0, -1.0, 0]),
    "H": np.array([0, 0, 1.0]), "F": np.array([0, 0, -1.0]),
}  # fmt: skip
_OPPOSITE = dict(zip("LRAPHF", "RLPAFH", strict=True))
_EDGE = 0.25
"""Share of the border that has one value when that value is the background."""


@dataclass(frozen=True)
class Hanging:
    """A picture as it hangs: voxels (slices, rows, columns[, channels]), Patient Orientation ("" unsaid), and what was done.

    ``transposed``: rows and columns changed places, so a pixel's height is now its width. ``upended``, ``mirrored``: then
    rows, columns were counted from the other end.
    """

    voxels: np.ndarray
    orientation: str = ""
    transposed: bool = False
    upended: bool = False
    mirrored: bool = False
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
    modality, said = str(ds.get("Modality") or ""), _said(ds)
    if modality not in (*_TURNED, *_TOLD) or not said:
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
    if modality != "MG" and (modality in _TOLD or not _is_trunk(ds)):
        why = (
            f"films of its kind ({modality}) are not" if modality in _TOLD else "it is not said to be of head or trunk"
        )
        note = f"rows lead to {said[0]}, columns to {said[1]} (Patient Orientation); not turned, for {why}"
        return Hanging(voxels, notes=(noted("film-orientation", note),))
    out, ways, how = _changed(voxels, said, wanted)
    note = f"Patient Orientation was {shown}: turned or mirrored so that it is {ways[0]}\\{ways[1]}"
    return Hanging(out, "\\".join(ways), *how, notes=(noted("film-turned", note),))


def hang_placed(ds: Dataset, voxels: np.ndarray, affine: np.ndarray, *, side: str) -> tuple[Hanging, np.ndarray]:
    """Turn or mirror planes of a breast that also say where they lie, and return where they lie then.

    Parameters
    ----------
    ds : Dataset
        Where it has no Patient Orientation, the directions of ``affine`` say how it lies; where the two contradict one
        another it is not turned, which is told.
    voxels : ndarray, (slices, rows, columns[, channels])
    affine : ndarray, (4, 4)
        (slice, row, column) to LPS mm.
    side : str

    Returns
    -------
    hanging : Hanging
    affine : ndarray, (4, 4)
        Of its voxels.
    """
    ways = [affine[:3, axis] / np.linalg.norm(affine[:3, axis]) for axis in (2, 1)]
    said = _said(ds)
    by_place = [max(_WAYS, key=lambda letter, way=way: float(way @ _WAYS[letter])) for way in ways]
    if said and any(float(way @ _WAYS[word[0]]) < -0.1 for way, word in zip(ways, said, strict=True)):
        note = (
            f"Patient Orientation is {said[0]}\\{said[1]}; by Image Orientation rows lead to {by_place[0]}, columns to "
            f"{by_place[1]}: not turned"
        )
        return Hanging(voxels, notes=(noted("film-orientation", note),)), affine
    lying = Dataset()
    lying.Modality, lying.PatientOrientation = "MG", said or by_place
    out = hang(lying, voxels, side=side)
    if not said:
        out = replace(out, notes=tuple(n.replace("Patient Orientation", "Image Orientation") for n in out.notes))
    back = np.eye(4)
    if out.transposed:
        back = back[:, [0, 2, 1, 3]]
    turn = np.eye(4)
    for axis, flipped in ((1, out.upended), (2, out.mirrored)):
        if flipped:
            turn[axis, axis], turn[axis, 3] = -1.0, out.voxels.shape[axis] - 1
    return out, affine @ back @ turn


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


def _said(ds: Dataset) -> list[str]:
    """The two words of Patient Orientation; none where they are no directions."""
    value = ds.get("PatientOrientation")
    said = [] if isinstance(value, str) else [str(v).strip(" \0").upper() for v in value or []]
    return said if len(said) == 2 and all(_is_direction(way) for way in said) else []


def _is_trunk(ds: Dataset) -> bool:
    """True where Body Part Examined names head or trunk, or, without it, the code of Anatomic Region does."""
    if named := str(ds.get("BodyPartExamined") or "").strip(" \0").upper():
        return bool(_TRUNK & set(re.split(r"[ _/&+,.-]+", named)))
    regions = ds.get("AnatomicRegionSequence") or []
    return any(str(item.get("CodeValue") or "").strip(" \0") in _TRUNK_CODES for item in regions)


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


def _changed(
    voxels: np.ndarray, said: list[str], wanted: tuple[str, str]
) -> tuple[np.ndarray, tuple[str, str], tuple[bool, bool, bool]]:
    """The one of the eight ways to lay a picture that leads where it should."""
    for transpose, mirror, upend in product((False, True), repeat=3):
        ways = _turn(said[0], said[1], transpose, mirror, upend)
        if (ways[0][0], ways[1][0]) == wanted:
            out = np.swapaxes(voxels, 1, 2) if transpose else voxels
            out = out[:, ::-1] if upend else out
            return np.ascontiguousarray(out[:, :, ::-1] if mirror else out), ways, (transpose, upend, mirror)
    return voxels, (said[0], said[1]), (False, False, False)


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
