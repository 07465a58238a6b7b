"""What tests of pixel values share: an image of nobody whose stored values are given, read in both ways."""

from __future__ import annotations

import io

import numpy as np
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset

from overread.formats.dicom import parse
from overread.formats.units import Pixels, finished, numbers, physical


def made(values: np.ndarray, *, syntax: uid.UID = uid.ExplicitVRLittleEndian, **header: object) -> Dataset:
    """An image of nobody whose stored values are given."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    sop = uid.CTImageStorage if header.get("Modality") == "CT" else uid.SecondaryCaptureImageStorage
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = sop
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = uid.UID("2.25.1")
    ds.Modality = "OT"
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = values.shape[-2:]
    if values.ndim == 3:
        ds.NumberOfFrames = len(values)
    bits = 8 * values.dtype.itemsize
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = bits, bits, bits - 1
    ds.PixelRepresentation = int(values.dtype.kind == "i")
    order = ">" if syntax == uid.ExplicitVRBigEndian else "<"
    ds.PixelData = values.astype(values.dtype.newbyteorder(order)).tobytes()
    ds["PixelData"].VR = "OW" if bits > 8 else "OB"
    for keyword, value in header.items():
        setattr(ds, keyword, value)
    return ds


def saved(ds: Dataset) -> bytes:
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def same(one: Pixels, other: Pixels) -> bool:
    return (
        one.voxels.dtype == other.voxels.dtype
        and np.array_equal(one.voxels, other.voxels)
        and (one.unit, one.full_range, one.notes, one.dark_is_high, one.padding, one.stored_padding)
        == (other.unit, other.full_range, other.notes, other.dark_is_high, other.padding, other.stored_padding)
    )


def both(ds: Dataset) -> Pixels:
    """Read with the parser; where the quick way reads it too, it must have found the same."""
    raw = saved(ds)
    slow, quick = physical(parse(raw)), numbers(raw)
    assert quick is None or same(quick, slow)
    return finished(slow)


RAMP = np.arange(80, dtype=np.uint16).reshape(8, 10)
