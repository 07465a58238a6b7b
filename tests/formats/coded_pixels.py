"""Pixels as numbers, the compressed object that holds them, and what is read back."""

from __future__ import annotations

import io

import numpy as np
import pydicom
from pydicom import uid
from pydicom.encaps import encapsulate

from overread.formats import pixels
from overread.formats.dicom import parse


def coded(values: np.ndarray, frames: list[bytes], syntax: uid.UID, bits: int, **header: object) -> pydicom.Dataset:
    """A secondary capture of nobody, with compressed frames."""
    ds = pydicom.Dataset()
    ds.file_meta = pydicom.dataset.FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = uid.UID("1.2.840.10008.5.1.4.1.1.7")
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = uid.UID("2.25.1")
    ds.Modality, ds.Rows, ds.Columns = "OT", values.shape[0], values.shape[1]
    ds.SamplesPerPixel = 3 if values.ndim == 3 else 1
    ds.PhotometricInterpretation = "RGB" if values.ndim == 3 else "MONOCHROME2"
    if values.ndim == 3:
        ds.PlanarConfiguration = 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8 * values.dtype.itemsize, bits, bits - 1
    ds.PixelRepresentation = int(values.dtype.kind == "i")
    if len(frames) > 1:
        ds.NumberOfFrames = len(frames)
    ds.PixelData = encapsulate(frames)
    for keyword, value in header.items():
        setattr(ds, keyword, value)
    return ds


def read(ds: pydicom.Dataset) -> tuple[np.ndarray, list[str]]:
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return pixels.decode(parse(buffer.getvalue()))


def picture(bits: int, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    smooth = (2**bits - 1) * (0.5 + 0.4 * np.sin(y / 5) * np.cos(x / 7))
    grey = np.clip(smooth + rng.normal(0, 2**bits / 64 + 0.6, shape[:2]), 0, 2**bits - 1)
    values = grey if len(shape) == 2 else np.stack([grey, grey[::-1], 2**bits - 1 - grey], -1)
    return values.astype(np.uint8 if bits <= 8 else np.uint16)


GREY, COLOUR = (21, 34), (21, 34, 3)
