"""TorchXRayVision: `xrv.utils.load_image(path)`, its loader of chest films, which calls `read_xray_dcm` for DICOM.

Its documentation says that values are scaled to −1024…1024: they are judged up to a positive factor and a shift. It does
not claim to read CT, series, colour or NIfTI, and is not asked for them.
"""

from __future__ import annotations

import sys

import numpy as np

try:
    import torchxrayvision
except RuntimeError:  # a torch without CUDA beside torchvision's usual build: its compiled operators cannot be loaded
    import torch

    for _name in [n for n in sys.modules if n.startswith(("torchvision", "torchxrayvision"))]:
        del sys.modules[_name]  # what the failed import has left half made
    _declared = torch.library.Library("torchvision", "DEF")  # declared only: no loader of pictures uses them
    for _operator in ("nms", "qnms"):
        _declared.define(f"{_operator}(Tensor dets, Tensor scores, float threshold) -> Tensor")
    import torchxrayvision

READS = ("DICOM film", "picture", "TIFF picture")
PACKAGES = ("torchxrayvision", "pydicom", "scikit-image", "torch", "torchvision")


def read(path: str, kind: str) -> list[dict]:
    image = np.asarray(torchxrayvision.utils.load_image(path))
    return [{"array": image[0], "axes": "yx" if image.ndim == 3 else "zyx", "relative": True}]
