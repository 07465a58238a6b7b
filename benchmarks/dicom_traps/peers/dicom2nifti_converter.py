"""dicom2nifti: `convert_directory(dicom_directory, output_folder)` with its defaults, as its README has it.

It converts series of slices and multi-frame objects; single films and pictures are none of its business. It goes on
after a series that it cannot convert and prints why: where nothing at all was converted, that is its refusal.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from pathlib import Path

import dicom2nifti
import nibabel
import numpy as np

READS = ("DICOM frames", "DICOM series")
PACKAGES = ("dicom2nifti", "pydicom", "nibabel")


def read(path: str, kind: str) -> list[dict]:
    source = Path(path) if Path(path).is_dir() else Path(path).parent
    said = io.StringIO()
    with tempfile.TemporaryDirectory() as folder:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            dicom2nifti.convert_directory(str(source), folder)
        stops = [line for line in said.getvalue().splitlines() if line and not line.startswith((" ", "Traceback"))]
        out = []
        for file in sorted(Path(folder).glob("*.nii.gz")):
            image = nibabel.load(file)
            lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.affine
            values, notes = np.asarray(image.get_fdata()), stops
            spacing = dict(zip("xyz", np.linalg.norm(lps[:3, :3], axis=0).tolist()))
            parts = [values] if values.ndim == 3 else [values[..., n] for n in range(values.shape[-1])]
            out += [{"array": p, "axes": "xyz", "affine": lps, "spacing_mm": spacing, "notes": notes} for p in parts]
    if not out:
        raise RuntimeError("nothing was converted: " + ("; ".join(stops) or "no reason given"))
    return out
