"""Made slices: a small DICOM file for each, placed and numbered as a test wants them."""

from __future__ import annotations

import io

import numpy as np
import pydicom


def one_slice(position: np.ndarray, turn: np.ndarray, number: int, pixels: np.ndarray, **more: object) -> bytes:
    ds = pydicom.Dataset()
    ds.file_meta = pydicom.dataset.FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    ds.SOPClassUID, ds.SOPInstanceUID = pydicom.uid.MRImageStorage, f"1.2.3.{number}"
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.Modality = "1.2", "1.2.3", "MR"
    ds.InstanceNumber = number
    ds.ImagePositionPatient = [f"{v:.6f}" for v in position]
    ds.ImageOrientationPatient = [f"{v:.9f}" for v in (*turn[:, 0], *turn[:, 1])]
    ds.PixelSpacing = ["0.8", "1.25"]
    ds.Rows, ds.Columns = pixels.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.PixelData = pixels.astype("<u2").tobytes()
    for keyword, value in more.items():
        setattr(ds, keyword, value)
    out = io.BytesIO()
    ds.save_as(out, enforce_file_format=True)
    return out.getvalue()


def stack_of(count: int, **more: object) -> list[tuple[str, bytes]]:
    pixels = np.random.default_rng(5).integers(0, 4096, (10, 12))
    return [(f"{k}", one_slice(np.array([0, 0, 2.5 * k]), np.eye(3), k + 1, pixels + k, **more)) for k in range(count)]
