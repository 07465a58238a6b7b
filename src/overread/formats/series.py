"""The files of one DICOM series become images: volumes, or one image each, or refused for a stated reason."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from pydicom.dataset import Dataset

from overread.domain import Geometry, Image, noted
from overread.errors import UnreadableFile
from overread.formats import films, frames_alone, mosaic, tellers
from overread.formats.arrange import Frame, Part, arrange
from overread.formats.breast import breast
from overread.formats.dicom import parse, told
from overread.formats.facts import facts
from overread.formats.found import Found, Origin, Refused
from overread.formats.limits import check_bytes, check_place, one_channel, refusing, smallest_integer_or_float
from overread.formats.planes import Plane, is_localizer, planes
from overread.formats.stack import single
from overread.formats.units import Pixels, finished, finished_together, inverted_window, numbers, physical
from overread.imaging import geometry

VOLUMES = ("CT", "MR", "PT", "NM", "OT", "")
"""Modalities whose single-frame series are stacks; a series of CR, DX, MG or US is several pictures."""

_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")


@dataclass
class _File:
    """One parsed file of a series: its data set and bytes (dropped once decoded), planes and digest."""

    name: str
    ds: Dataset
    planes: list[Plane]
    digest: str
    notes: list[str]
    raw: bytes = b""


@dataclass(frozen=True)
class _Put:
    """Numbers and where they lie: all that an image needs beside its header."""

    voxels: np.ndarray
    pixels: Pixels
    affine: np.ndarray | None = None
    spacing: tuple[float, float, float] | None = None
    notes: tuple[str, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)


def read_series(files: Iterable[tuple[str, bytes | UnreadableFile]], *, lost: int = 0) -> list[Found | Refused]:
    """Read the files of one series; every file is in at least one of the results, and in one only unless it holds several volumes.

    Localizers, frames that do not say where they lie, and pictures (CR, DX, MG, US, …) become one image each; an
    enhanced multi-frame object is a series in one file; everything else is stacked by position into volumes.

    Parameters
    ----------
    files : iterable of (name, bytes or UnreadableFile)
        The error says why a file of the series could not be fetched from its disk or archive.
    lost : int
        Files beside these that could not be read, and do not say which series they are of.

    Returns
    -------
    list of Found or Refused
        A volume that is refused gives one ``Refused`` for each of its files, all with the same reason.
    """
    out: list[Found | Refused] = []
    slices: list[_File] = []
    seen: set[str] = set()
    for name, raw in files:
        try:
            if isinstance(raw, UnreadableFile):
                raise raw
            file = _parse(name, raw)
            if file.digest in seen:
                raise UnreadableFile("the same file a second time in its series", code="copy", do="leave it out")
            seen.add(file.digest)
            if _is_slice(file):
                slices.append(file)
            else:
                out += _tried(_alone, file)
        except UnreadableFile as error:
            out.append(Refused(name, error.code, str(error)))
    return out + [_doubted(result, out, lost) for result in _classic(slices)]


def _doubted(result: Found | Refused, others: list[Found | Refused], beside: int) -> Found | Refused:
    """Say on a volume that files of its series could not be read: a slice at one of its ends may be missing."""
    if isinstance(result, Refused):
        return result
    lost = sum(isinstance(r, Refused) and r.code != "copy" for r in others)
    for count, whose in ((lost, "of this series"), (beside, "beside it, of a series that is not known,")):
        if count:
            said = f"{count} more file{'s' if count > 1 else ''} {whose} could not be read; the volume may be cut short"
            result = _with(result, noted("files-lost", said))
    return result


def _with(found: Found, *notes: str) -> Found:
    return replace(found, image=replace(found.image, notes=tuple(dict.fromkeys((*found.image.notes, *notes)))))


def _parse(name: str, raw: bytes) -> _File:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with refusing("a DICOM header with damaged values"):
            ds = parse(raw)
            file = _File(name, ds, planes(ds), hashlib.sha256(raw).hexdigest(), [], raw)
            _is_slice(file)  # pydicom converts values on first touch: let damaged ones fail here
            for keyword in ("PatientID", "StudyInstanceUID", "SeriesInstanceUID"):
                ds.get(keyword)
    return replace(file, notes=told(caught))


def _is_slice(file: _File) -> bool:
    return (
        len(file.planes) == 1
        and str(file.ds.get("Modality") or "") in VOLUMES
        and not is_localizer(file.ds)
        and not mosaic.is_mosaic(file.ds)
        and file.planes[0].is_placed
    )


def _tried(read: Callable[[_File], list[Found | Refused]], file: _File) -> list[Found | Refused]:
    """Run ``read``; what a foreign file makes the decoders raise becomes one refusal of the file."""
    try:
        with refusing("a DICOM file with damaged values"):
            return read(file)
    except UnreadableFile as error:
        return [Refused(file.name, error.code, str(error))]


# ── a file a slice ──────────────────────────────────────────────────────────────────────────────────────────────────


def _classic(slices: list[_File]) -> list[Found | Refused]:
    """The volumes of a series whose slices are files; a single slice is an image."""
    if len(slices) < 2:
        return [one for file in slices for one in _tried(_alone, file)]
    try:
        with refusing("a DICOM series with damaged values"):
            parts = arrange([_frame(file) for file in slices], same=lambda i, j: _same(slices[i].ds, slices[j].ds))
    except UnreadableFile as error:
        return [Refused(file.name, error.code, str(error)) for file in slices]
    return [one for part in parts for one in _part(slices, part)]


def _frame(file: _File) -> Frame:
    size = (int(file.ds.Rows), int(file.ds.Columns), int(file.ds.get("SamplesPerPixel") or 1))
    (said,) = tellers.told(file.ds, 1)
    return Frame(file.planes[0], size, said | {"folder": os.path.dirname(file.name)})


def _same(one: Dataset, other: Dataset) -> bool:
    """True where two files hold the same pixels: the same bytes, which mean the same."""
    meaning = ("RescaleSlope", "RescaleIntercept", "PhotometricInterpretation", "BitsAllocated", "PixelRepresentation")
    return all(one.get(k) == other.get(k) for k in (*_PIXELS, *meaning)) and (
        one.file_meta.get("TransferSyntaxUID") == other.file_meta.get("TransferSyntaxUID")
    )


def _part(slices: list[_File], part: Part) -> list[Found | Refused]:
    files = [slices[i] for i in part.frames]
    if part.refusal is not None:
        return [Refused(file.name, part.refusal.code, str(part.refusal)) for file in files]
    why = "the same pixels at the same position of its series a second time; leave it out"
    copies = [Refused(slices[i].name, "copy", why) for i in part.copies]
    if part.stack is None:
        singles = [one for file in files for one in _tried(_alone, file)]
        return [_with(one, *part.notes) if isinstance(one, Found) else one for one in singles] + copies
    try:
        with refusing("a DICOM series with damaged values"):
            volume = _volume(files, part)
    except UnreadableFile as error:
        return [Refused(file.name, error.code, str(error)) for file in files] + copies
    return volume + copies


def _volume(files: list[_File], part: Part) -> list[Found | Refused]:
    """Decode the files of a stack, in its order. A slice that cannot be decoded is refused by its name, the others with it."""
    rows, columns, samples = _frame(files[0]).size
    check_bytes(rows * columns * samples * len(files) * 2)
    parts: list[Pixels] = []
    for file in files:
        try:
            with refusing("a DICOM file with damaged values"):
                parts.append(_numbers(file))
        except UnreadableFile as error:
            others = f"a slice of a series in which another cannot be read ({error})"
            return [Refused(f.name, error.code, str(error) if f is file else others) for f in files]
    units = sorted({p.unit for p in parts})
    if len(units) > 1:
        raise UnreadableFile(
            f"slices in {len(units)} units in one volume ({' and '.join(units)})",
            code="mixed-size",
            expected="one unit",
            do="export each reconstruction as its own series",
        )
    parts = finished_together(parts)
    full_range = parts[0].full_range
    voxels = np.concatenate([p.voxels for p in parts])  # NumPy widens to a dtype that holds them all
    if voxels.ndim == 3 and full_range is not None and voxels.dtype.kind in "iu":
        voxels = smallest_integer_or_float(voxels, full_range)
    voxels = voxels.astype(np.float32) if voxels.dtype == np.float64 else voxels
    notes = tuple(note for p in parts for note in p.notes)
    return [_found(files, _stacked(_Put(voxels, parts[0], notes=notes), part, files[0]))]


def _stacked(put: _Put, part: Part, file: _File) -> _Put:
    """Slices in their order get their place; a leaning stack is straightened, which is told."""
    laid = part.stack
    voxels, affine, notes = put.voxels, laid.affine, [*put.notes, *part.notes]
    if laid.lean_degrees:
        shape = voxels.shape
        tilt = np.tan(np.radians(laid.lean_degrees)) * np.linalg.norm(affine[:3, 0])
        check_bytes(voxels.nbytes * 2)
        voxels, affine = geometry.straighten(voxels, affine)
        said = (
            f"the stack leaned by {laid.lean_degrees:.1f}° (gantry tilt): every slice was shifted within its plane, "
            f"{tilt:.2f} mm further than the one before, with linear interpolation; rows × columns grew from "
            f"{shape[1]} × {shape[2]} to {voxels.shape[1]} × {voxels.shape[2]}"
        )
        notes.append(noted("straightened", said))
    else:
        notes += _tilt_contradicted(file, affine)
    return replace(
        put, voxels=voxels, affine=affine, notes=tuple(notes), attributes={**put.attributes, **part.attributes}
    )


def _tilt_contradicted(file: _File, affine: np.ndarray) -> list[str]:
    """An upright, axial stack whose header tells of a tilted gantry: a reformat, or positions that are wrong."""
    tilt = file.planes[0].tilt or 0.0
    across = np.abs(np.cross(affine[:3, 1], affine[:3, 2]))
    leaning = float(np.degrees(np.arccos(min(1.0, across.max() / np.linalg.norm(across)))))
    if abs(tilt) <= 1.0 or leaning > abs(tilt) / 2:
        return []
    said = f"the header says that the gantry was tilted by {tilt:.1f}°; by their positions and directions the slices are upright"
    if "ORIGINAL" in [str(v) for v in file.ds.get("ImageType") or []]:
        raise UnreadableFile(
            said,
            code="gantry-tilt",
            expected="positions and directions that show the tilt, in images that were not reformatted",
            do="export a reconstruction without gantry tilt",
        )
    return [noted("tilt-contradicted", said)]


# ── a file of its own ───────────────────────────────────────────────────────────────────────────────────────────────


def _numbers(file: _File) -> Pixels:
    """Decode one file and let go of its bytes; the decoder's warnings become notes."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pixels = numbers(file.raw) or physical(file.ds)
    file.raw = b""
    for keyword in _PIXELS:
        if keyword in file.ds:
            del file.ds[keyword]
    return replace(pixels, notes=tuple(dict.fromkeys([*file.notes, *pixels.notes, *told(caught)])))


def _alone(file: _File) -> list[Found | Refused]:
    """One file: a picture, a single slice, or a multi-frame object."""
    frames_alone.check_whole(file.ds)
    parts, refused = _enhanced(file)
    pixels = finished(_numbers(file))
    if parts:
        many = [_found([file], _of_frames(file, pixels, part)) for part in parts]
        return [_with(found, *refused) for found in many]
    if mosaic.is_mosaic(file.ds):
        voxels, affine, note = mosaic.split(file.ds, pixels.voxels, file.planes[0])
        return [_found([file], _Put(voxels, pixels, affine, None, (*pixels.notes, note)))]
    voxels, notes, attributes = pixels.voxels, [*pixels.notes], {}
    affine, spacing = None, None
    if len(voxels) > 1:
        spacing, said = frames_alone.unplaced(file.ds, len(voxels), file.planes[0])
        notes += said
    elif str(file.ds.get("Modality") or "") in VOLUMES:
        affine, said = frames_alone.one_slice(file.planes[0])
        notes += said
    if affine is None and spacing is None:
        spacing, said = frames_alone.film_spacing(file.ds, file.planes[0])
        notes += said
    if len(voxels) == 1 and affine is None:
        side = breast(file.ds)[0].get("ImageLaterality", "")
        hung = films.hang(file.ds, voxels, side=side)
        voxels, attributes = hung.voxels, {"PatientOrientation": hung.orientation} if hung.orientation else {}
        spacing = (0.0, spacing[2], spacing[1]) if spacing and hung.transposed else spacing
        notes += hung.notes
        if file.ds.get("Modality") == "MG":
            notes += films.background(voxels, pixels.full_range)
    if is_localizer(file.ds):
        notes.append(noted("localizer", "a localizer"))
    return [_found([file], _Put(voxels, pixels, affine, spacing, tuple(notes), attributes))]


def _enhanced(file: _File) -> tuple[list[Part], list[str]]:
    """The volumes of an enhanced multi-frame object; nothing where its frames have no place.

    Raises
    ------
    UnreadableFile
        Where none of them can be used.
    """
    many = len(file.planes) > 1 and "PerFrameFunctionalGroupsSequence" in file.ds
    if not many or not all(p.is_placed for p in file.planes):
        return [], []
    size = (int(file.ds.Rows), int(file.ds.Columns), int(file.ds.get("SamplesPerPixel") or 1))
    said = tellers.told(file.ds, len(file.planes))
    frames = [Frame(plane, size, words) for plane, words in zip(file.planes, said, strict=True)]
    parts = arrange(frames, same=lambda i, j: False)  # two equal frames of one object are two measurements
    good = [part for part in parts if part.refusal is None]
    if not good:
        raise parts[0].refusal
    bad = [part for part in parts if part.refusal is not None]
    return good, [noted("frames-refused", f"{len(p.frames)} other frames: {p.refusal}") for p in bad]


def _of_frames(file: _File, pixels: Pixels, part: Part) -> _Put:
    put = _Put(pixels.voxels[list(part.frames)], pixels, notes=pixels.notes)
    if part.stack is not None:
        return _stacked(put, part, file)
    return replace(put, affine=single(file.planes[part.frames[0]]), notes=(*pixels.notes, *part.notes))


def _found(files: list[_File], put: _Put) -> Found:
    ds, pixels, notes, voxels = files[0].ds, put.pixels, list(put.notes), put.voxels
    if voxels.ndim == 4:
        voxels, note = one_channel(voxels, tolerance=0)
        notes += [noted("colour-to-grey", note)] if note else []
    if voxels.min() == voxels.max():
        notes.append(noted("constant", "every pixel has the same value"))
    said = facts([file.ds for file in files])
    attributes = {**said.attributes, **put.attributes}
    if pixels.inverted and pixels.full_range is not None:
        attributes = inverted_window(attributes, pixels.full_range)
        attributes["PhotometricInterpretation"] = "MONOCHROME2"  # of these voxels; the note says what the file had
    if pixels.padding is not None:
        attributes["PixelPadding"] = "\\".join(f"{v:g}" for v in pixels.padding)
    affine = put.affine
    check_place(affine, put.spacing)
    image = Image(
        np.ascontiguousarray(voxels),
        unit=pixels.unit,
        full_range=pixels.full_range,
        geometry=None if affine is None else Geometry(tuple(tuple(float(v) for v in row) for row in affine)),
        spacing_mm=put.spacing,
        modality=said.modality,
        attributes=attributes,
        notes=tuple(dict.fromkeys([*notes, *said.notes])),
    )
    digest = (
        files[0].digest if len(files) == 1 else hashlib.sha256("".join(f.digest for f in files).encode()).hexdigest()
    )
    identity = {k: str(ds.get(w) or "") or None for k, w in _IDENTITY.items()}
    return Found(image, Origin(tuple(f.name for f in files), digest, strata=said.strata, **identity))


_IDENTITY = {"patient_id": "PatientID", "study_uid": "StudyInstanceUID", "series_uid": "SeriesInstanceUID"}
