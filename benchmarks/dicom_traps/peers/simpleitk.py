"""SimpleITK: `ReadImage(path)` for a file; for a folder ImageSeriesReader, once for each series that it finds.

As the documentation's examples "DicomSeriesReader" and "DicomSeriesReadModifyWrite" have it: GetGDCMSeriesIDs, then
GetGDCMSeriesFileNames, SetFileNames, Execute. Arrays come as z, y, x[, c]; origin, spacing and direction are LPS mm.
"""

from __future__ import annotations

import numpy as np
import SimpleITK

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
PACKAGES = ("SimpleITK",)
_TAGS = {
    "ImageLaterality": "0020|0062",
    "ViewPosition": "0018|5101",
    "PresentationIntentType": "0008|0068",
}


def read(path: str, kind: str) -> list[dict]:
    if kind != "DICOM series":
        return _told(SimpleITK.ReadImage(path))
    out = []
    for series in SimpleITK.ImageSeriesReader.GetGDCMSeriesIDs(path):
        reader = SimpleITK.ImageSeriesReader()
        reader.SetFileNames(SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(path, series))
        out += _told(reader.Execute())
    return out


def _told(image: SimpleITK.Image) -> list[dict]:
    array, n = SimpleITK.GetArrayFromImage(image), image.GetDimension()
    if n == 4:  # a file of several volumes: each by itself
        return [one for k in range(image.GetSize()[3]) for one in _told(image[:, :, :, k])]
    spacing = np.array(image.GetSpacing())
    affine = None
    if n == 3:
        axes = np.array(image.GetDirection()).reshape(3, 3) * spacing
        affine = np.eye(4)
        affine[:3, :3], affine[:3, 3] = axes[:, ::-1], image.GetOrigin()
    facts = {k: image.GetMetaData(t).strip() for k, t in _TAGS.items() if image.HasMetaDataKey(t)}
    letters = "zyx"[-n:] + ("c" if image.GetNumberOfComponentsPerPixel() > 1 else "")
    stated = dict(zip("xyz", spacing.tolist()))
    return [{"array": array, "axes": letters, "affine": affine, "spacing_mm": stated, "facts": facts or None}]
