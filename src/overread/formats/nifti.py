"""NIfTI volumes: .nii and .nii.gz, turned from RAS to LPS once, shown as a radiologist looks at them."""

from __future__ import annotations

import logging
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import nibabel as nib
import numpy as np

from overread.domain import Geometry, Image, noted
from overread.errors import OverreadError, UnreadableFile
from overread.formats.lean import leans, slice_axis, upright
from overread.formats.limits import FARTHEST_MM, check_bytes, check_size, finite, lost_in_single, smallest_integer
from overread.formats.nifti_header import FIRST, begin_of, check_dimensions, faults_of, intent_told
from overread.imaging import geometry

_MM = {"meter": 1000.0, "mm": 1.0, "micron": 0.001}


def read_volumes(raw: bytes) -> list[Image]:
    """Read the volumes of a NIfTI file, each as (slices, rows, columns), upright for an axial scan, with its place in LPS mm.

    The grid is turned and flipped by whole axes to slices → Superior, rows → Posterior, columns → Left; no value is
    interpolated, except where slices lean (a tilted gantry in the sform): these are shifted within their planes. A scale factor in the header is applied. NIfTI does not say what its numbers mean: unit "stored".
    A file of four dimensions gives one image for each volume; its attribute "Volume" says which ("2 of 4").

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
        ``several-volumes`` (in more than four dimensions), ``conflicting-geometry``, ``sheared``, ``gantry-tilt``, ``not-finite``, ``too-small``,
        ``too-large``, ``truncated``, ``unsupported-format``, ``malformed``.

    References
    ----------
    NIfTI-1.1, https://nifti.nimh.nih.gov/nifti-1 ; NIfTI-2 (544-byte header).
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            image, listed_mm, notes = _open(raw)
            volumes, affine, spacing, said = _on_lps_grid(image, listed_mm)
        except OverreadError:
            raise
        except zlib.error as error:
            raise UnreadableFile("a damaged gzip file", code="malformed", do="copy it again") from error
        except Exception as error:  # a parser of foreign bytes: whatever it stumbles on is one refusal, not a crash
            raise UnreadableFile("a damaged NIfTI file", code="malformed", do="convert it again") from error
    notes += said
    if caught:
        notes.append(noted("header-rules", "the header breaks rules of NIfTI; it could still be read"))
    placed = Geometry(tuple(tuple(float(v) for v in row) for row in affine)) if affine is not None else None
    out = []
    for number, voxels in enumerate(volumes, start=1):
        check_size(*sorted(voxels.shape[:3])[1:])  # whichever way it was cut: a sagittal slab has few columns
        attributes, own = {"format": "NIfTI", "bits": str(image.get_data_dtype().itemsize * 8)}, list(notes)
        if voxels.min() == voxels.max():
            own.append(noted("constant", "every voxel has the same value"))
        if len(volumes) > 1:
            attributes["Volume"] = f"{number} of {len(volumes)}"
            own.append(noted("one-of-several", f"volume {number} of {len(volumes)} in this file, in its own order"))
        out.append(Image(voxels, geometry=placed, spacing_mm=spacing, attributes=attributes, notes=tuple(own)))
    return out


def _open(raw: bytes) -> tuple[nib.Nifti1Image, np.ndarray, list[str]]:
    """Read the header, check what it promises against what is there, and only then hand over the bytes.

    Returns the image, the voxel sizes that the header lists (slices, rows, columns, in mm), and notes.
    """
    start = _plain(raw, _HEADER)
    kind = nib.Nifti2Image if start[4:7] == b"n+2" else nib.Nifti1Image
    header = kind.header_class(start[: kind.header_class.sizeof_hdr], check=False)  # without what may stand behind it
    shape = [int(n) for n in header.get_data_shape()]
    if not shape or min(shape) < 1:
        raise UnreadableFile("a NIfTI file without voxels", code="malformed", do="convert it again")
    check_dimensions(shape)
    count = int(np.prod(shape, dtype=np.float64))
    check_bytes(count * max(header.get_data_dtype().itemsize, 4))
    offset, want = max(0, int(header.get_data_offset())), count * header.get_data_dtype().itemsize
    check_bytes(offset + want)
    raw = _plain(raw, max(offset, FIRST[kind]) + want + 1)
    notes = []
    if offset < FIRST[kind]:
        begin, notes = begin_of(len(raw) - want, offset, FIRST[kind])
        offset = header["vox_offset"] = FIRST[kind]
        raw = header.binaryblock + bytes(offset - len(header.binaryblock)) + raw[begin:]
    have = len(raw) - offset
    if have < want:
        raise UnreadableFile(
            f"a NIfTI file with {max(have, 0):,} bytes of voxels",
            code="truncated",
            expected=f"{want:,}",
            do="copy it again",
        )
    notes += faults_of(header) + intent_told(int(header["intent_code"]))
    unit = header.get_xyzt_units()[0]
    if unit in ("meter", "micron"):
        notes.append(noted("length-unit", f"lengths given in {unit}s were turned into mm"))
    listed = np.abs(np.asarray(header["pixdim"][3:0:-1], float)) * _MM.get(unit, 1.0)
    with _quiet():  # it logs what it repairs, which is told above
        return kind.from_bytes(raw), listed, notes


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep nibabel from logging its repairs; each is told on the image, or refused, before."""
    log = logging.getLogger("nibabel.global")
    before, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = before


_HEADER = 544
"""Bytes of the longer of the two headers."""


def _plain(raw: bytes, size: int) -> bytes:
    """Undo gzip, but not further than ``size`` bytes: a small file can promise terabytes."""
    if raw[:2] != b"\x1f\x8b":
        return raw
    out, at, view = bytearray(), 0, memoryview(raw)
    want = size + _TRAILER if size > _HEADER else size  # beyond the end: the check sum, where the stream ends here
    while (
        len(out) < want and raw[at : at + 2] == b"\x1f\x8b"
    ):  # a file may be several streams, one after another (bgzip)
        engine = zlib.decompressobj(wbits=31)
        while not engine.eof and at < len(raw) and len(out) < want:
            given = view[at : at + _CHUNK]
            out += engine.decompress(given, want - len(out))
            at += len(given) - len(engine.unused_data) - len(engine.unconsumed_tail)
    return bytes(out[:size])


_TRAILER = 4096
_CHUNK = 1 << 14
"""Bytes that are unpacked at a time: what a stream leaves over of them is copied at the end of each."""


def _on_lps_grid(
    image: nib.Nifti1Image, listed_mm: np.ndarray
) -> tuple[list[np.ndarray], np.ndarray | None, tuple[float, float, float] | None, list[str]]:
    """Return the volumes (slices, rows, columns[, 3]), their affine in LPS mm, their spacing, and notes."""
    values, notes = _values(image)
    colour = values.ndim == 5
    values = np.transpose(values, (3, 2, 1, 0, *([4] if colour else [])))  # (i, j, k, t) → (t, slices, rows, columns)
    header = image.header
    scale = _MM.get(header.get_xyzt_units()[0], 1.0)
    affine, said = _affine(header, values.shape[1:4], scale)
    notes += said
    if affine is None:
        notes.append(noted("no-place", "the file does not say how it lies in the patient; shown as stored"))
        known = np.isfinite(listed_mm).all() and (listed_mm > 0).all()
        spacing = tuple(float(n) for n in listed_mm) if known else None
        return [np.ascontiguousarray(v) for v in values], None, spacing, notes
    affine = geometry.flip_ras_lps(affine)
    affine[:3] *= scale
    affine = affine[:, [2, 1, 0, 3]]
    if (
        abs(np.linalg.det(affine[:3, :3])) < 1e-9 or not np.abs(affine).max() < FARTHEST_MM
    ):  # NaN is not below it either
        raise UnreadableFile(
            f"a NIfTI file whose axes do not span space (voxels of {_lengths(affine)} mm)",
            code="malformed",
            expected="three axes of more than 0 mm",
            do="convert it again",
        )
    before = affine
    values, affine, said = _straight(values, affine, header)
    notes += [*_odd_sizes(before, affine, listed_mm), *said]
    turned = [geometry.reorient(volume, affine) for volume in values]
    return [voxels for voxels, _ in turned], turned[0][1], None, notes


def _straight(
    volumes: np.ndarray, affine: np.ndarray, header: nib.Nifti1Header
) -> tuple[np.ndarray | list[np.ndarray], np.ndarray, list[str]]:
    """Make a leaning stack upright, as slices in files of their own are made; a grid that is no stack is refused.

    An sform can hold what a tilted gantry did to the slices. Networks look at voxels, not at an affine: left as it is,
    they would see slanted anatomy.

    Parameters
    ----------
    volumes : ndarray, (t, slices, rows, columns[, 3])
    affine : ndarray, (4, 4)
        In LPS mm.
    header : Nifti1Header
        For the axis that it says slices lie along.
    """
    third = header.get_dim_info()[2]
    axis = slice_axis(affine, volumes.shape[1:4], said=None if third is None else 2 - third)
    order = (axis, *(a for a in range(3) if a != axis))
    lean = leans(affine[:, [*order, 3]], volumes.shape[1 + axis])
    if not lean:
        return volumes, affine, []
    stacks = [np.transpose(v, (*order, *range(3, v.ndim))) for v in volumes]
    done = [upright(v, affine[:, [*order, 3]], lean_degrees=lean) for v in stacks]
    return [voxels for voxels, *_ in done], done[0][1], [done[0][2]]


def _lengths(affine: np.ndarray) -> str:
    return " × ".join(f"{n:.3g}" for n in np.linalg.norm(affine[:3, :3], axis=0))


def _values(image: nib.Nifti1Image) -> tuple[np.ndarray, list[str]]:
    """The voxels as numbers in their smallest exact dtype, (i, j, k, volume[, 3])."""
    dtype = image.get_data_dtype()
    if dtype.names:
        parts = [np.asarray(image.dataobj.get_unscaled()[name]) for name in ("R", "G", "B")]
        values = np.stack([_four_axes(p) for p in parts], axis=-1)
        return values, [
            noted("alpha-dropped", "the fourth colour channel (alpha) was dropped")
        ] if "A" in dtype.names else []
    if dtype.kind == "c" or dtype.itemsize > 8:
        raise UnreadableFile(
            f"a NIfTI file of {dtype.name} voxels",
            code="unsupported-format",
            expected="whole or floating-point numbers of at most 64 bits",
            do="save magnitudes as 32-bit floats",
        )
    values = finite(_four_axes(np.asarray(image.dataobj)))
    if values.dtype.kind in "iu":
        whole = smallest_integer(values)
        return whole, lost_in_single(values, whole)
    if np.abs(values).max(initial=0) < 2**31 and not np.any(values % 1):
        return smallest_integer(values), []
    single = finite(values.astype(np.float32))
    return single, lost_in_single(values, single)


def _four_axes(values: np.ndarray) -> np.ndarray:
    return values.reshape((*values.shape[:4], *[1] * (4 - values.ndim)))


def _affine(header: nib.Nifti1Header, shape: tuple[int, ...], scale: float) -> tuple[np.ndarray | None, list[str]]:
    """Choose between sform and qform, in the file's own unit; see ``read_volumes`` for the rule."""
    sform, s_code = header.get_sform(coded=True)
    qform, q_code = header.get_qform(coded=True)
    if not s_code and not q_code:
        return None, []
    if not (s_code and q_code):
        return (sform if s_code else qform), []
    corners = np.array([[i, j, k, 1] for i in (0, shape[2] - 1) for j in (0, shape[1] - 1) for k in (0, shape[0] - 1)])
    apart = float(np.linalg.norm((corners @ (sform - qform).T)[:, :3], axis=1).max()) * scale
    turned = _angle(sform, qform)
    if nib.aff2axcodes(sform) != nib.aff2axcodes(qform):
        raise UnreadableFile(
            f"a NIfTI file with two geometries that differ in direction (by {turned:.1f}° and up to {apart:.1f} mm)",
            code="conflicting-geometry",
            expected="qform and sform that agree which side is left",
            do="convert it again from the original images",
        )
    voxel = float(np.linalg.norm(sform[:3, :3], axis=0).min()) * scale
    if apart > voxel / 2:
        said = f"qform and sform differ by up to {apart:.1f} mm and {turned:.1f}°; the sform was taken"
        return sform, [noted("two-geometries", said)]
    return sform, []


def _angle(one: np.ndarray, other: np.ndarray) -> float:
    """The largest angle between corresponding axes of two affines, in degrees; 0 where an axis has no length."""
    a, b = one[:3, :3], other[:3, :3]
    lengths = np.linalg.norm(a, axis=0) * np.linalg.norm(b, axis=0)
    if not lengths.all():
        return 0.0
    return float(np.degrees(np.arccos(np.clip((a * b).sum(axis=0) / lengths, -1, 1))).max())


def _odd_sizes(before: np.ndarray, affine: np.ndarray, listed_mm: np.ndarray) -> list[str]:
    """Tell where voxel sizes are no patient's, or contradict the header's own list of them.

    Of a stack that was straightened, the list may hold the distance from slice to slice, or along the lean.
    """
    notes, sizes = [], np.linalg.norm(before[:3, :3], axis=0)
    if sizes.min() < 0.02 or sizes.max() > 50:
        said = f"voxels of {_lengths(before)} mm: hardly a patient's; the unit of length may be wrong"
        notes.append(noted("odd-spacing", said))
    straight = np.sort(np.linalg.norm(affine[:3, :3], axis=0))
    either = affine is not before and np.allclose(np.sort(listed_mm), straight, rtol=0.01)
    if not either and not np.allclose(listed_mm, sizes, rtol=0.01):
        listed = " × ".join(f"{n:.3g}" for n in listed_mm)
        said = f"voxels measure {_lengths(before)} mm by their axes; the header lists {listed} mm"
        notes.append(noted("spacing-contradicted", said))
    return notes
