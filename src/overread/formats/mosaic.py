"""Siemens mosaics: one volume whose slices were tiled into one large picture. Divided, or refused by name."""

from __future__ import annotations

import math
import warnings

import numpy as np
from pydicom.dataset import Dataset

from overread.domain import noted
from overread.errors import UnreadableFile
from overread.formats.planes import Plane, image_type
from overread.imaging import geometry


def is_mosaic(ds: Dataset) -> bool:
    """True for a picture that holds the slices of a volume side by side (Image Type names it MOSAIC)."""
    return "MOSAIC" in image_type(ds)


def split(ds: Dataset, voxels: np.ndarray, plane: Plane) -> tuple[np.ndarray, np.ndarray, str]:
    """Divide a mosaic into its slices, and say where they lie.

    How many slices there are, and which way they follow one another, stands in Siemens' private CSA header; tiles are
    laid out row by row in a square as small as holds them all. Image Position is the corner of a slice as large as the
    mosaic around the first slice's centre, so the first slice's own corner lies further in.

    Parameters
    ----------
    ds : Dataset
    voxels : ndarray, (1, rows, columns)
    plane : Plane

    Returns
    -------
    voxels : ndarray, (slices, rows, columns)
    affine : ndarray, (4, 4)
        In LPS mm.
    note : str

    Raises
    ------
    UnreadableFile
        ``mosaic`` where the header no longer says how many slices there are, or where they lie.
    """
    count, forwards = _csa(ds)
    across = math.ceil(math.sqrt(count))
    _, rows, columns = voxels.shape[:3]
    if count < 2 or rows % across or columns % across or not plane.is_placed or plane.thickness is None:
        raise UnreadableFile(
            f"a Siemens mosaic of {rows} × {columns} pixels whose header does not say how many slices it holds, or where",
            code="mosaic",
            expected="Siemens' private CSA header, Image Position, Image Orientation and a slice spacing",
            do="export it as enhanced multi-frame images, or with its private elements",
        )
    high, wide = rows // across, columns // across
    tiles = voxels[0].reshape(across, high, across, wide, *voxels.shape[3:])
    slices = np.moveaxis(tiles, 2, 1).reshape(across * across, high, wide, *voxels.shape[3:])[:count]
    orientation, spacing = np.array(plane.orientation), np.array(plane.pixel_spacing)
    corner = (
        np.array(plane.position)
        + orientation[:3] * spacing[1] * (columns - wide) / 2
        + orientation[3:] * spacing[0] * (rows - high) / 2
    )
    normal = geometry.normal(orientation)
    step = normal * plane.thickness * np.sign(normal @ forwards)
    affine = geometry.plane_affine(corner, orientation=orientation, pixel_spacing_mm=spacing, slice_step_mm=step)
    said = f"a Siemens mosaic was divided into its {count} slices"
    if plane.spacing_between is None:
        said += f"; Spacing Between Slices is missing, and they were laid their thickness of {plane.thickness:.2f} mm apart: a gap is not known"
    return np.ascontiguousarray(slices), affine, noted("mosaic-divided", said)


def _csa(ds: Dataset) -> tuple[int, np.ndarray]:
    """The number of slices and the direction in which they follow; 0 where the private header does not say."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nibabel's reader of private headers warns that it is young
        from nibabel.nicom import csareader
    try:
        tags = csareader.read(ds.private_block(0x0029, "SIEMENS CSA HEADER")[0x10].value)["tags"]
        count, normal = tags["NumberOfImagesInMosaic"]["items"], tags["SliceNormalVector"]["items"]
    except (KeyError, csareader.CSAReadError):
        return 0, np.zeros(3)
    return (int(count[0]), np.array(normal, float)) if count and len(normal) == 3 else (0, np.zeros(3))
