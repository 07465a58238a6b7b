"""AUCMEDI: `image_loader` for pictures and `sitk_loader` for NIfTI, the loaders that its DataGenerator is given.

It documents no loader for DICOM and is not asked for it. `grayscale` is what a user who knows his pictures would say;
`resampling=None` keeps the voxels of the file. No place comes with the array: it is compared in the order z, y, x that its documentation names.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from aucmedi.data_processing.io_loader import image_loader, sitk_loader
from PIL import Image

READS = ("picture", "TIFF picture", "colour picture", "NIfTI")
PACKAGES = ("aucmedi", "tensorflow", "SimpleITK", "pillow", "numpy")


def read(path: str, kind: str) -> list[dict]:
    folder, name = str(Path(path).parent), Path(path).name
    if kind == "NIfTI":
        array = np.asarray(sitk_loader(name, folder, resampling=None))
        return [{"array": array[..., 0], "axes": "zyx"}]
    with Image.open(path) as picture:
        grey = picture.mode in ("1", "L", "I", "F") or picture.mode.startswith("I;")
    array = np.asarray(image_loader(name, folder, grayscale=grey))
    return [{"array": array[..., 0] if grey else array, "axes": "yx" if grey else "yxc"}]
