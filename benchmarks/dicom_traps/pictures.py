"""Traps of what is not DICOM: pictures, and NIfTI files with their own left and right."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
from PIL import Image

from benchmarks.dicom_traps import scene
from benchmarks.dicom_traps.truth import Case, Piece

_DEEP = r"(?i)16|bits?|value .* higher|range"
_FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])


def _picture(path: Path, values: np.ndarray, *, tolerance: float = 0.05, **more: object) -> Case:
    kind = "TIFF picture" if path.suffix == ".tif" else "picture" if values.ndim == 2 else "colour picture"
    return Case(path, kind, ((Piece(values.astype(float), tolerance=tolerance),),), **more)


def png_16_bit(folder: Path) -> Case:
    """A 16-bit PNG: cut to 8 bits, or clipped at 255, a film is white."""
    Image.fromarray((scene.film() * 16).astype(np.uint16)).save(folder / "film.png")
    return _picture(folder / "film.png", scene.film() * 16, topic=_DEEP)


def png_named_jpg(folder: Path) -> Case:
    """A PNG that is called .jpg: files are what they are, not what they are called."""
    Image.fromarray(scene.film8().astype(np.uint8)).save(folder / "film.png")
    (folder / "film.png").rename(folder / "film.jpg")
    return _picture(folder / "film.jpg", scene.film8(), topic=r"(?i)suffix|extension|jpe?g|png|format")


def png_palette(folder: Path) -> Case:
    """A picture with a palette: its numbers are names of colours."""
    picture = Image.fromarray((scene.film() // 16).clip(0, 255).astype(np.uint8)).convert("P")
    steps = np.arange(256)
    table = np.stack([steps * 2 % 256, 255 - steps, steps // 2 + 60], axis=1)
    picture.putpalette(table.astype(np.uint8).ravel().tolist())
    picture.save(folder / "film.png")
    return _picture(
        folder / "film.png", table[(scene.film() // 16).clip(0, 255)], topic=r"(?i)palette", may_refuse=True
    )


def png_transparent(folder: Path) -> Case:
    """An alpha channel is no fourth colour; what it hides must not come to light."""
    rgba = np.dstack([scene.colour(), np.full((scene.ROWS, scene.COLUMNS), 255)]).astype(np.uint8)
    Image.fromarray(rgba).save(folder / "film.png")
    return _picture(folder / "film.png", scene.colour(), topic=r"(?i)alpha|channel", may_refuse=True)


def jpeg_turned(folder: Path) -> Case:
    """A phone's photograph of a film: EXIF says that it must be turned by a quarter to be upright."""
    exif = Image.Exif()
    exif[0x0112] = 6
    lying = np.rot90(scene.film8().astype(np.uint8))
    Image.fromarray(lying).save(folder / "film.jpg", quality=97, exif=exif)
    return _picture(folder / "film.jpg", scene.film8(), tolerance=4, topic=r"(?i)exif|orient|turn|rotat")


def tiff_white_is_zero(folder: Path) -> Case:
    """A TIFF whose 0 is white: read as stored, the film is a negative."""
    path = _tiff(folder / "film.tif", 255 - scene.film8(), bits=8, white_is_zero=True)
    return _picture(path, scene.film8(), topic=r"(?i)white|photometric|invert")


def tiff_16_bit(folder: Path) -> Case:
    """A 16-bit TIFF in big-endian byte order."""
    return _picture(_tiff(folder / "film.tif", scene.film() * 16, bits=16), scene.film() * 16, topic=_DEEP)


def _tiff(path: Path, values: np.ndarray, *, bits: int, white_is_zero: bool = False) -> Path:
    """Write a grey TIFF of one strip, big-endian, by the book (TIFF 6.0, section 4)."""
    rows, columns = values.shape
    tags = {
        256: (3, columns), 257: (3, rows), 258: (3, bits), 259: (3, 1), 262: (3, 0 if white_is_zero else 1),
        273: (4, 8 + 2 + 9 * 12 + 4), 277: (3, 1), 278: (3, rows), 279: (4, rows * columns * bits // 8),
    }  # fmt: skip
    body = len(tags).to_bytes(2, "big")
    for tag, (kind, value) in tags.items():
        told = value.to_bytes(2, "big") + b"\0\0" if kind == 3 else value.to_bytes(4, "big")
        body += tag.to_bytes(2, "big") + kind.to_bytes(2, "big") + (1).to_bytes(4, "big") + told
    path.write_bytes(b"MM\0*" + (8).to_bytes(4, "big") + body + bytes(4) + values.astype(f">u{bits // 8}").tobytes())
    return path


def png_truncated(folder: Path) -> Case:
    """A PNG that ends half way: its lower half would be black."""
    noise = (scene.film() * 7919 % 251).astype(np.uint8)
    Image.fromarray(noise).save(folder / "whole.png")
    raw = (folder / "whole.png").read_bytes()
    (folder / "whole.png").unlink()
    (folder / "film.png").write_bytes(raw[: len(raw) // 2])
    return Case(
        folder / "film.png",
        "picture",
        (),
        topic=r"(?i)trunc|ends|incomplete|not processed|broken|corrupt|read error|end of",
    )


def _nifti(
    path: Path,
    affine: np.ndarray,
    *,
    values: np.ndarray | None = None,
    q: np.ndarray | None = None,
    codes: tuple[int, int] = (1, 1),
    dtype: str = "<i2",
) -> Case:
    """Write the volume on an LPS grid as NIfTI (i, j, k), with its sform and qform; say what is true of it."""
    truth = scene.volume(affine)
    ras = _FLIP @ affine[:, [2, 1, 0, 3]]
    stored = (truth if values is None else values).transpose(2, 1, 0).astype(dtype)
    image = nib.Nifti1Image(stored, ras)
    image.set_sform(ras, codes[0])
    image.set_qform(ras if q is None else q, codes[1])
    nib.save(image, path)
    return Case(path, "NIfTI", ((Piece(truth, affine, tolerance=0.2),),))


def nifti_ras(folder: Path) -> Case:
    """NIfTI counts to the Right and Front where DICOM counts to the Left and Back: forgotten, the patient is turned round."""
    return _nifti(folder / "v.nii.gz", scene.placed())


def nifti_left_handed(folder: Path) -> Case:
    """First axis from right to left (as most converters write): the array looks mirrored, and its affine says so."""
    return _nifti(folder / "v.nii", scene.placed((-1, 0, 0, 0, -1, 0)))


def nifti_qform_only(folder: Path) -> Case:
    """Only the qform (quaternions) is set; the sform is empty."""
    return _nifti(folder / "v.nii", scene.placed(scene.CORONAL), codes=(0, 1))


def nifti_conflict(folder: Path) -> Case:
    """sform and qform name different sides as left: whichever is taken, half of the readers take the other."""
    affine = scene.placed()
    ras = _FLIP @ affine[:, [2, 1, 0, 3]]
    mirrored = np.diag([-1.0, 1, 1, 1]) @ ras
    case = _nifti(folder / "v.nii", affine, q=mirrored)
    return Case(
        case.path, case.kind, (), topic=r"(?i)sform|qform|conflict|geometr|orientation|differ", numbers=(r"\d+\.\d mm",)
    )


def nifti_scaled(folder: Path) -> Case:
    """Stored numbers times 0.5 minus 600: without scl_slope the HU are twice as large."""
    affine = scene.placed()
    path = folder / "v.nii"
    case = _nifti(path, affine, values=(scene.volume(affine) + 600) * 2)
    _patch(path, (112, "<f4", 0.5), (116, "<f4", -600.0))
    return case


def nifti_slope_zero(folder: Path) -> Case:
    """scl_slope = 0 means "not scaled"; multiplied by, everything is 0."""
    path = folder / "v.nii"
    case = _nifti(path, scene.placed())
    _patch(path, (112, "<f4", 0.0), (116, "<f4", 0.0))
    return case


def _patch(path: Path, *changes: tuple[int, str, float]) -> None:
    raw = bytearray(path.read_bytes())
    for at, kind, value in changes:
        part = np.array(value, kind).tobytes()
        raw[at : at + len(part)] = part
    path.write_bytes(bytes(raw))


def nifti_big_endian(folder: Path) -> Case:
    """A NIfTI file in big-endian byte order, as old workstations wrote it."""
    affine = scene.placed()
    case = _nifti(folder / "little.nii", affine)
    image = nib.load(folder / "little.nii")
    swapped = nib.Nifti1Image(np.asarray(image.dataobj), None, image.header.as_byteswapped(">"))
    nib.save(swapped, folder / "v.nii")
    (folder / "little.nii").unlink()
    return Case(folder / "v.nii", case.kind, case.answers)


def nifti_metres(folder: Path) -> Case:
    """Lengths in metres, as xyzt_units says: taken as millimetres the head is 0.2 mm wide."""
    path = folder / "v.nii"
    affine = scene.placed()
    case = _nifti(path, affine)
    image = nib.load(path)
    ras = image.affine.copy()
    ras[:3] /= 1000
    small = nib.Nifti1Image(np.asarray(image.dataobj), ras)
    small.set_sform(ras, 1)
    small.set_qform(ras, 1)
    small.header.set_xyzt_units("meter", "sec")
    nib.save(small, folder / "metres.nii")
    path.unlink()
    return Case(folder / "metres.nii", case.kind, case.answers, topic=r"(?i)met(?:er|re)|unit", may_refuse=True)


def nifti_four_dimensions(folder: Path) -> Case:
    """Two volumes in one file: the first alone, or both as channels, is another examination."""
    affine = scene.placed()
    truth = scene.volume(affine)
    ras = _FLIP @ affine[:, [2, 1, 0, 3]]
    both = np.stack([truth, truth + 200], axis=-1).transpose(2, 1, 0, 3).astype("<i2")
    nib.save(nib.Nifti1Image(both, ras), folder / "v.nii.gz")
    pair = (Piece(truth, affine), Piece(truth + 200, affine))
    topic = r"(?i)volumes|dimension|4-?D|time points"
    return Case(folder / "v.nii.gz", "NIfTI", (pair,), topic=topic, numbers=(r"\b2\b",), may_refuse=True)


def nifti_truncated(folder: Path) -> Case:
    """A .nii.gz whose download stopped: what is missing would be air."""
    case = _nifti(folder / "whole.nii", scene.placed())
    raw = case.path.read_bytes()
    case.path.unlink()
    (folder / "v.nii.gz").write_bytes(gzip.compress(raw[: len(raw) - 4000], mtime=0))
    topic = r"(?i)trunc|bytes|expected|end|short|read|size|incomplete"
    return Case(folder / "v.nii.gz", "NIfTI", (), topic=topic, numbers=(r"\d[\d,]+ bytes",))


def nifti_not_a_number(folder: Path) -> Case:
    """NaN outside the head: one of them makes every mean, and every weight of a network, NaN."""
    affine = scene.placed()
    values = scene.volume(affine)
    values[0, :3, :5] = np.nan
    case = _nifti(folder / "v.nii", affine, values=values, dtype="<f4")
    path = case.path
    kept = Piece(values, affine, tolerance=0.2)
    return Case(path, "NIfTI", ((kept,),), topic=r"(?i)nan|finite|infinite", numbers=(r"\b15\b",), may_refuse=True)


def nifti_leaning(folder: Path) -> Case:
    """A gantry's tilt of 15° in the sform alone: the array is slanted anatomy, and a network sees arrays."""
    affine = scene.placed(step=np.array([0.0, 2.5 * np.tan(np.radians(15)), 2.5]))
    values = scene.hu(scene.points(affine, scene.SHAPE), lesion=False)  # without edges, so that it may be made upright
    path = _nifti(folder / "v.nii.gz", affine, values=values, codes=(1, 0)).path
    border = np.zeros(scene.SHAPE, bool)
    border[:, [0, -1]] = True  # a stack that was made upright has nothing to interpolate with there
    straight = Piece(values, affine, tolerance=2, padding=(border, np.inf), upright=True)
    return Case(path, "NIfTI", ((straight,),), topic=r"(?i)tilt|shear|ortho|lean|perpendicular", may_refuse=True)


def nifti_sheared(folder: Path) -> Case:
    """Axes that are nowhere perpendicular (an affine registration in the header): no box of voxels is what it seems."""
    affine = scene.placed() @ np.array([[1, 0.1, 0.3, 0], [0.2, 1, 0.3, 0], [0.1, 0.4, 1, 0], [0, 0, 0, 1]])
    case = _nifti(folder / "v.nii.gz", affine, codes=(1, 0))
    topic = r"(?i)tilt|shear|ortho|perpendicular"
    return Case(case.path, case.kind, (), topic=topic, numbers=(r"\d+\.\d°",))


def nifti_voxels_in_header(folder: Path) -> Case:
    """vox_offset is 0, as some programs leave it: the header's own bytes are read as the first voxels, all others shifted."""
    case = _nifti(folder / "v.nii", scene.placed())
    _patch(case.path, (108, "<f4", 0.0))
    return Case(case.path, case.kind, case.answers, topic=r"(?i)vox.?offset|byte|header", may_refuse=True)


def nifti_64_bits(folder: Path) -> Case:
    """Whole numbers beyond 2 to the 40th: as 32-bit floats they all become one."""
    affine = scene.placed()
    values = scene.volume(affine) + 2.0**40
    ras = _FLIP @ affine[:, [2, 1, 0, 3]]
    image = nib.Nifti1Image(values.transpose(2, 1, 0).astype(np.int64), ras, dtype=np.int64)
    nib.save(image, folder / "v.nii.gz")
    exact = Piece(values, affine, tolerance=0.2 - 1e-6 * 2.0**40)  # the judge allows a millionth
    topic = r"(?i)round|precision|float|64|bits"
    return Case(folder / "v.nii.gz", "NIfTI", ((exact,),), topic=topic, may_refuse=True)


TRAPS = (
    png_16_bit,
    png_named_jpg,
    png_palette,
    png_transparent,
    jpeg_turned,
    tiff_white_is_zero,
    tiff_16_bit,
    png_truncated,
    nifti_ras,
    nifti_left_handed,
    nifti_qform_only,
    nifti_conflict,
    nifti_scaled,
    nifti_slope_zero,
    nifti_big_endian,
    nifti_metres,
    nifti_four_dimensions,
    nifti_truncated,
    nifti_not_a_number,
    nifti_leaning,
    nifti_sheared,
    nifti_voxels_in_header,
    nifti_64_bits,
)
