"""NIfTI volumes: .nii and .nii.gz, turned from RAS to LPS once, shown as a radiologist looks at them."""

from __future__ import annotations

import io
import warnings
import zlib

import nibabel as nib
import numpy as np

from overread.domain import Geometry, Image
from overread.errors import OverreadError, UnreadableFile
from overread.formats.limits import LARGEST_BYTES, check_bytes, check_size, finite, smallest_integer
from overread.imaging import geometry

_MM = {"meter": 1000.0, "mm": 1.0, "micron": 0.001}


def read_nifti(raw: bytes) -> Image:
    """Read one NIfTI volume as (slices, rows, columns), upright for an axial scan, with its place in LPS mm.

    The grid is turned and flipped by whole axes to slices → Superior, rows → Posterior, columns → Left; no value is
    interpolated. A scale factor in the header is applied. NIfTI does not say what its numbers mean: unit "stored".

    Where the header holds two geometries (qform and sform): if they point the axes the same way, the sform is taken and
    a disagreement of more than half a voxel is noted with its size; if they differ in direction (left and right might
    be changed over), the file is refused.

    Parameters
    ----------
    raw : bytes
        The whole file, gzip-compressed or not.

    Raises
    ------
    UnreadableFile
        ``several-volumes``, ``conflicting-geometry``, ``not-finite``, ``too-small``, ``too-large``, ``truncated``,
        ``unsupported-format``, ``malformed``.

    References
    ----------
    NIfTI-1.1, https://nifti.nimh.nih.gov/nifti-1 ; NIfTI-2 (544-byte header).
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            image, notes = _open(raw)
            voxels, affine, spacing, said = _on_lps_grid(image)
        except OverreadError:
            raise
        except zlib.error as error:
            raise UnreadableFile("a damaged gzip file", code="malformed", do="copy it again") from error
        except Exception as error:  # a parser of foreign bytes: whatever it stumbles on is one refusal, not a crash
            raise UnreadableFile("a damaged NIfTI file", code="malformed", do="convert it again") from error
    notes += said
    if caught:
        notes.append("the header breaks rules of NIfTI; it could still be read")
    check_size(*sorted(voxels.shape[:3])[1:])  # whichever way it was cut: a sagittal slab has few columns
    if voxels.min() == voxels.max():
        notes.append("every voxel has the same value")
    attributes = {"format": "NIfTI", "bits": str(image.get_data_dtype().itemsize * 8)}
    placed = Geometry(tuple(tuple(float(v) for v in row) for row in affine)) if affine is not None else None
    return Image(voxels, geometry=placed, spacing_mm=spacing, attributes=attributes, notes=tuple(notes))


def _open(raw: bytes) -> tuple[nib.Nifti1Image, list[str]]:
    """Read the header, check what it promises against what is there, and only then hand over the bytes."""
    raw = _plain(raw)
    kind = nib.Nifti2Image if raw[4:7] == b"n+2" else nib.Nifti1Image
    header = kind.header_class.from_fileobj(io.BytesIO(raw), check=False)
    shape = [int(n) for n in header.get_data_shape()]
    if not shape or min(shape) < 1:
        raise UnreadableFile("a NIfTI file without voxels", code="malformed", do="convert it again")
    if int(np.prod(shape[3:], dtype=np.int64)) > 1:
        many = " × ".join(str(n) for n in shape)
        raise UnreadableFile(
            f"a NIfTI file of {many} voxels, {int(np.prod(shape[3:]))} volumes",
            code="several-volumes",
            expected="one volume (three dimensions)",
            do="save each volume as its own file",
        )
    count = int(np.prod(shape, dtype=np.int64))
    check_bytes(count * max(header.get_data_dtype().itemsize, 4))
    have, want = len(raw) - int(header.get_data_offset()), count * header.get_data_dtype().itemsize
    if have < want:
        raise UnreadableFile(
            f"a NIfTI file with {max(have, 0):,} bytes of voxels",
            code="truncated",
            expected=f"{want:,}",
            do="copy it again",
        )
    return kind.from_bytes(raw), []


def _plain(raw: bytes) -> bytes:
    """Undo gzip, but never beyond what one volume may hold (a small file can promise terabytes)."""
    if raw[:2] != b"\x1f\x8b":
        return raw
    engine = zlib.decompressobj(wbits=31)
    out = engine.decompress(raw, LARGEST_BYTES + 4096)
    if len(out) > LARGEST_BYTES:
        check_bytes(len(out))
    return out


def _on_lps_grid(
    image: nib.Nifti1Image,
) -> tuple[np.ndarray, np.ndarray | None, tuple[float, float, float] | None, list[str]]:
    """Return voxels (slices, rows, columns[, 3]), their affine in LPS mm, their spacing, and notes."""
    values, notes = _values(image)
    values = np.transpose(values, (2, 1, 0, *range(3, values.ndim)))  # (i, j, k) → (slices, rows, columns)
    header = image.header
    unit = header.get_xyzt_units()[0]
    scale = _MM.get(unit, 1.0)
    if unit in ("meter", "micron"):
        notes.append(f"lengths given in {unit}s were turned into mm")
    affine, said = _affine(header, values.shape)
    notes += said
    if affine is None:
        zooms = [float(z) * scale for z in header.get_zooms()[:3]] + [0.0] * (3 - min(3, len(header.get_zooms())))
        notes.append("the file does not say how it lies in the patient; shown as stored")
        return np.ascontiguousarray(values), None, (zooms[2], zooms[1], zooms[0]), notes
    affine = geometry.flip_ras_lps(affine)
    affine[:3] *= scale
    affine = affine[:, [2, 1, 0, 3]]
    if abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise UnreadableFile("a NIfTI file whose axes do not span space", code="malformed", do="convert it again")
    voxels, affine = geometry.reorient(values, affine)
    return voxels, affine, None, notes


def _values(image: nib.Nifti1Image) -> tuple[np.ndarray, list[str]]:
    """The voxels as numbers in their smallest exact dtype, (i, j, k[, 3])."""
    dtype = image.get_data_dtype()
    if dtype.names:
        parts = [np.asarray(image.dataobj.get_unscaled()[name]) for name in ("R", "G", "B")]
        values = np.stack([_three_axes(p) for p in parts], axis=-1)
        return values, ["the fourth colour channel (alpha) was dropped"] if "A" in dtype.names else []
    if dtype.kind == "c" or dtype.itemsize > 8:
        raise UnreadableFile(
            f"a NIfTI file of {dtype.name} voxels",
            code="unsupported-format",
            expected="whole or floating-point numbers of at most 64 bits",
            do="save magnitudes as 32-bit floats",
        )
    values = finite(_three_axes(np.asarray(image.dataobj)))
    if values.dtype.kind in "iu":
        return smallest_integer(values), []
    if np.abs(values).max(initial=0) < 2**31 and not np.any(values % 1):
        return smallest_integer(values), []
    single = values.astype(np.float32)
    exact = np.array_equal(single, values)
    return finite(single), [] if exact else ["64-bit values were rounded to 32-bit floats"]


def _three_axes(values: np.ndarray) -> np.ndarray:
    return values.reshape((*values.shape[:3], *[1] * (3 - values.ndim)) if values.ndim < 3 else values.shape[:3])


def _affine(header: nib.Nifti1Header, shape: tuple[int, ...]) -> tuple[np.ndarray | None, list[str]]:
    """Choose between sform and qform; see ``read_nifti`` for the rule."""
    sform, s_code = header.get_sform(coded=True)
    qform, q_code = header.get_qform(coded=True)
    if not s_code and not q_code:
        return None, []
    if not (s_code and q_code):
        return (sform if s_code else qform), []
    corners = np.array([[i, j, k, 1] for i in (0, shape[2] - 1) for j in (0, shape[1] - 1) for k in (0, shape[0] - 1)])
    apart = float(np.linalg.norm((corners @ (sform - qform).T)[:, :3], axis=1).max())
    if nib.aff2axcodes(sform) != nib.aff2axcodes(qform):
        raise UnreadableFile(
            f"a NIfTI file with two geometries that differ in direction (by up to {apart:.1f} mm)",
            code="conflicting-geometry",
            expected="qform and sform that agree which side is left",
            do="convert it again from the original images",
        )
    voxel = float(np.linalg.norm(sform[:3, :3], axis=0).min())
    if apart > voxel / 2:
        return sform, [f"qform and sform differ by up to {apart:.1f} mm; the sform was taken"]
    return sform, []
