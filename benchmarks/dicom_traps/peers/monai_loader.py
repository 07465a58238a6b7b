"""MONAI: `monai.transforms.LoadImage()(path)` with its defaults, as the tutorial "load_medical_images" has it.

A folder is given for a DICOM series ("If passing directory path instead of file path, will treat it as DICOM images
series and read": ITKReader, PydicomReader). Which reader does it depends on what is installed: with itk the ITKReader,
without it the PydicomReader. The affine is in RAS, as the documentation of both says; the array's axes are x, y[, z].
"""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
from monai.transforms import LoadImage

READS = (
    "DICOM film",
    "DICOM slice",
    "DICOM colour",
    "DICOM frames",
    "DICOM series",
    "picture",
    "colour picture",
    "NIfTI",
)
if find_spec("itk"):  # the PILReader is documented for png, jpg and bmp
    READS += ("TIFF picture",)
PACKAGES = ("monai", "itk", "pydicom", "nibabel", "pillow", "torch")
_TAGS = {
    "ImageLaterality": "0020|0062",
    "ViewPosition": "0018|5101",
    "PresentationIntentType": "0008|0068",
}


def read(path: str, kind: str) -> list[dict]:
    image = LoadImage()(path)
    array, affine = np.asarray(image), np.asarray(image.affine, float)
    if affine.shape == (3, 3):
        affine = np.block([[affine[:2, :2], np.zeros((2, 1)), affine[:2, 2:]], [0, 0, 1, 0], [0, 0, 0, 1]])
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    flat = kind in ("DICOM film", "DICOM slice", "DICOM colour", "picture", "TIFF picture", "colour picture")
    colour = array.ndim == 4 or (array.ndim == 3 and flat and array.shape[-1] in (3, 4))
    spacing = dict(zip("xyz"[: array.ndim - colour], np.linalg.norm(lps[:3, :3], axis=0).tolist()))
    facts = {name: str(image.meta[tag]).strip() for name, tag in _TAGS.items() if tag in image.meta}
    said = {"affine": lps, "spacing_mm": spacing, "facts": facts or None}
    if kind == "NIfTI" and array.ndim == 4:  # channels last, by its documentation: each is a volume
        return [{"array": array[..., n], "axes": "xyz", **said} for n in range(array.shape[-1])]
    return [{"array": array, "axes": "xyz"[: array.ndim - colour] + "c" * colour, **said}]
