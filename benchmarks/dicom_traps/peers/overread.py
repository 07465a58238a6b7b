"""overread: `overread.read(path)`, the one door (docs/walk.md)."""

from __future__ import annotations

import numpy as np

import overread

READS = (
    "DICOM film",
    "DICOM slice",
    "DICOM colour",
    "DICOM frames",
    "DICOM series",
    "picture",
    "TIFF picture",
    "colour picture",
    "NIfTI",
)
PACKAGES = ("overread", "pydicom", "numpy")


def read(path: str, kind: str) -> list[dict]:
    out = []
    for image in overread.read(path):
        axes = "zyx" if image.voxels.ndim == 3 else "zyxc"
        out.append(
            {
                "array": np.asarray(image.voxels),
                "axes": axes,
                "affine": None if image.geometry is None else np.array(image.geometry.affine),
                "spacing_mm": dict(zip("zyx", image.spacing_mm)) if image.spacing_mm else {},
                "unit": image.unit,
                "facts": dict(image.attributes),
                "notes": list(image.notes),
            }
        )
    return out
