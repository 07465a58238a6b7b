"""Pixels in physical units, and where they lie in the patient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Geometry:
    """Where each voxel lies: an affine from (slice, row, column) indices to millimetres in LPS.

    LPS is DICOM's patient space: +x to the patient's Left, +y Posterior, +z Superior (PS3.3 C.7.6.2.1.1).

    Parameters
    ----------
    affine : tuple of 4 tuples of 4 floats
        Maps the column vector (slice, row, column, 1) to (x, y, z, 1) in mm.

    Examples
    --------
    >>> g = Geometry(((0, 0, .5, 0), (0, .5, 0, 0), (2, 0, 0, 0), (0, 0, 0, 1)))
    >>> g.spacing_mm
    (2.0, 0.5, 0.5)
    """

    affine: tuple[tuple[float, float, float, float], ...]

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between neighbouring voxels along (slices, rows, columns), in mm."""
        a = np.asarray(self.affine, float)[:3, :3]
        slices, rows, columns = (float(round(v, 9)) for v in np.sqrt((a**2).sum(axis=0)))
        return slices, rows, columns


@dataclass(frozen=True, eq=False)
class Image:
    """One image or one volume: voxels, their unit, where they lie. It has no field for a name.

    Parameters
    ----------
    voxels : ndarray, (slices, rows, columns) or (slices, rows, columns, channels)
        A plain picture has one slice. Row 0 is the top, column 0 the left of the picture as displayed.
    unit : str
        "HU" (CT), "SUVbw" or else "Bq/ml" (PET), another of the Standard's words ("OD"), "stored" (a number with no
        physical meaning: MR, X-ray, pictures).
    full_range : (float, float) or None
        Lowest and highest value the file format could have said, e.g. (0, 255); None where unbounded.
    geometry : Geometry or None
        None where the file does not say. A PNG has no geometry: never a made-up 1 mm.
    spacing_mm : (float, float, float) or None
        Between (slices, rows, columns) when known without an orientation (a projection film's imager
        pixel spacing); taken from ``geometry`` when that is there.
    modality : str
        The DICOM word (CT, MR, DX, CR, MG, US, …); "" for pictures, arrays and NIfTI that do not say.
    attributes : mapping of str to str
        Acquisition facts that identify nobody: BodyPartExamined, ViewPosition, Laterality, Manufacturer,
        format, mode, bits, … (allow-listed by the reader).
    notes : tuple of str
        What the reader changed or doubts, each with its code
        (:func:`overread.domain.noted`: "inverted: MONOCHROME1 inverted to MONOCHROME2").
    """

    voxels: np.ndarray
    unit: str = "stored"
    full_range: tuple[float, float] | None = None
    geometry: Geometry | None = None
    spacing_mm: tuple[float, float, float] | None = None
    modality: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.voxels.ndim not in (3, 4):
            raise ValueError(f"voxels have shape {self.voxels.shape}, expected (slices, rows, columns[, channels])")
        if self.geometry is not None and self.spacing_mm is None:
            object.__setattr__(self, "spacing_mm", self.geometry.spacing_mm)

    @property
    def channels(self) -> int:
        """1 for grey, 3 for colour."""
        return 1 if self.voxels.ndim == 3 else self.voxels.shape[3]

    @property
    def is_volume(self) -> bool:
        """True when there is more than one slice."""
        return self.voxels.shape[0] > 1
