"""Numbers that lie in the patient: slices in their order get their place, and a leaning stack is straightened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from overread.domain import noted
from overread.errors import UnreadableFile
from overread.formats.arrange import Part
from overread.formats.lean import upright
from overread.formats.planes import Plane
from overread.formats.units import Pixels


@dataclass(frozen=True)
class Put:
    """Numbers and where they lie: all that an image needs beside its header."""

    voxels: np.ndarray
    pixels: Pixels
    affine: np.ndarray | None = None
    spacing: tuple[float, float, float] | None = None
    notes: tuple[str, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)


def check_shapes(parts: Sequence[Pixels]) -> None:
    """Refuse decoded slices of one volume some of which are in grey, others in colour.

    Raises
    ------
    UnreadableFile
        ``mixed-size``.
    """
    shapes = sorted({p.voxels.shape[1:] for p in parts})
    if len(shapes) > 1:
        raise UnreadableFile(
            f"slices of {len(shapes)} kinds in one volume ({' and '.join(' × '.join(map(str, s)) for s in shapes)} numbers)",
            code="mixed-size",
            expected="all in grey, or all in colour",
            do="export each reconstruction as its own series",
        )


def over_time(put: Put, part: Part, plane: Plane) -> Put:
    """Give the moments of one slice the size of their pixels, and no distance from one moment to the next.

    Parameters
    ----------
    put : Put
        Its voxels are the frames of ``part``, in its order.
    part : Part
        Without a stack.
    plane : Plane
        Of one of them.
    """
    spacing = None if plane.pixel_spacing is None else (0.0, *plane.pixel_spacing)
    return replace(put, spacing=spacing, notes=(*put.notes, *part.notes), attributes=part.attributes)


def odd_spacing(put: Put, modality: str) -> list[str]:
    """Tell of pixels, or of slices, that are farther apart or nearer than any scanner of patients makes them.

    The depth of a single slice is not asked: a projection, or a slab of bile ducts, may be as thick as a patient.

    Examples
    --------
    >>> one = Put(np.zeros((1, 4, 4)), None, spacing=(0.0, 800.0, 700.0))
    >>> odd_spacing(one, "DX"), odd_spacing(one, "SM")
    (["odd-spacing: voxels of 800 × 700 mm: hardly a patient's; the unit of length may be wrong"], [])
    """
    if modality not in _OF_PATIENTS or (put.affine is None and put.spacing is None):
        return []
    sizes = np.array(put.spacing if put.affine is None else np.linalg.norm(put.affine[:3, :3], axis=0))
    sizes = sizes[1:] if len(put.voxels) == 1 or not sizes[0] else sizes
    if sizes.min() >= SMALLEST_MM and sizes.max() <= LARGEST_MM:
        return []
    said = " × ".join(f"{size:.3g}" for size in sizes)
    return [noted("odd-spacing", f"voxels of {said} mm: hardly a patient's; the unit of length may be wrong")]


_OF_PATIENTS = (
    "CT",
    "MR",
    "PT",
    "NM",
    "CR",
    "DX",
    "MG",
    "XA",
    "RF",
    "PX",
    "US",
)  # not microscopes, nor the eye's layers
SMALLEST_MM, LARGEST_MM = 0.02, 50.0


def stacked(put: Put, part: Part, *, tilt: float | None, image_type: Sequence[str]) -> Put:
    """Give slices in their order the place of their stack; a leaning stack is straightened, which is told.

    Parameters
    ----------
    put : Put
        Its voxels are the slices of ``part``, in its order.
    part : Part
        With a stack.
    tilt : float or None
        Gantry/Detector Tilt, degrees, as the header says it.
    image_type : sequence of str
        Image Type: only an ORIGINAL must not contradict its header's tilt.

    Raises
    ------
    UnreadableFile
        ``gantry-tilt``; ``too-large`` where the straightened grid would be.
    """
    voxels, affine, notes = put.voxels, part.stack.affine, [*put.notes, *part.notes]
    if part.stack.lean_degrees:
        voxels, affine, note = upright(voxels, affine, lean_degrees=part.stack.lean_degrees, padding=put.pixels.padding)
        notes.append(note)
    else:
        notes += _tilt_contradicted(affine, tilt or 0.0, image_type)
    return replace(
        put, voxels=voxels, affine=affine, notes=tuple(notes), attributes={**put.attributes, **part.attributes}
    )


def _tilt_contradicted(affine: np.ndarray, tilt: float, image_type: Sequence[str]) -> list[str]:
    """An upright, axial stack whose header tells of a tilted gantry: a reformat, or positions that are wrong."""
    across = np.abs(np.cross(affine[:3, 1], affine[:3, 2]))
    leaning = float(np.degrees(np.arccos(min(1.0, across.max() / np.linalg.norm(across)))))
    if abs(tilt) <= 1.0 or leaning > abs(tilt) / 2:
        return []
    said = f"the header says that the gantry was tilted by {tilt:.1f}°; by their positions and directions the slices are upright"
    if "ORIGINAL" in image_type:
        raise UnreadableFile(
            said,
            code="gantry-tilt",
            expected="positions and directions that show the tilt, in images that were not reformatted",
            do="export a reconstruction without gantry tilt",
        )
    return [noted("tilt-contradicted", said)]
