"""The files of one DICOM series become images: one volume, or one image each, or refused for a stated reason."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
from pydicom.dataset import Dataset

from overread.domain import Geometry, Image
from overread.errors import UnreadableFile
from overread.formats.dicom import Pixels, inverted_window, parse, physical, told
from overread.formats.facts import facts
from overread.formats.found import Found, Origin, Refused
from overread.formats.limits import check_bytes, one_channel, refusing, smallest_integer_or_float
from overread.formats.planes import Plane, is_localizer, planes
from overread.formats.stack import is_placed, single, stack

VOLUMES = ("CT", "MR", "PT", "NM", "OT", "")
"""Modalities whose single-frame series are stacks; a series of CR, DX, MG or US is several pictures."""


WHOLE = ""
"""In place of a file's name: the refusal is of the whole stack, not of one of its slices."""


@dataclass
class _File:
    """One parsed file of a series: its data set (dropped once decoded), planes and digest."""

    name: str
    ds: Dataset
    planes: list[Plane]
    digest: str
    notes: list[str]


def read_series(files: Iterable[tuple[str, bytes]]) -> list[Found | Refused]:
    """Read the files of one series; every file is in exactly one of the results.

    Localizers, frames that do not say where they lie, and pictures (CR, DX, MG, US, …) become one image each; an
    enhanced multi-frame object is a series in one file; everything else is stacked by position into one volume.

    Parameters
    ----------
    files : iterable of (name, bytes)

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
            file = _parse(name, raw)
            if file.digest in seen:
                raise UnreadableFile("the same file a second time in its series", code="copy", do="leave it out")
            seen.add(file.digest)
            if _is_slice(file):
                slices.append(file)
            else:
                out.append(_tried(_alone, [file]))
        except UnreadableFile as error:
            out.append(Refused(name, error.code, str(error)))
    return out + [_doubted(result, out) for result in _stacks(slices)]


def _doubted(result: Found | Refused, others: list[Found | Refused]) -> Found | Refused:
    """Say on a volume that files of its series could not be read: a slice at one of its ends may be missing."""
    lost = sum(
        isinstance(r, Refused) and r.code in ("truncated", "malformed", "too-large", "no-pixels") for r in others
    )
    if isinstance(result, Refused) or not lost:
        return result
    note = f"{lost} more file{'s' if lost > 1 else ''} of this series could not be read; the volume may be cut short"
    return replace(result, image=replace(result.image, notes=(*result.image.notes, note)))


def _stacks(slices: list[_File]) -> list[Found | Refused]:
    """One volume; where positions are taken twice and the files lie in several folders, one for each folder.

    (A person who offers a folder with two exports of one series means two volumes, not one with doubled slices.)
    """
    if len(slices) < 2:
        return [_tried(_alone, [file]) for file in slices]
    result = _tried(_volume, slices)
    if isinstance(result, Found):
        return [result]
    folders: dict[str, list[_File]] = {}
    for file in slices:
        folders.setdefault(os.path.dirname(file.name), []).append(file)
    if result.code == "duplicate-position" and len(folders) > 1:
        return [one for files in folders.values() for one in _stacks(files)]
    if result.file == WHOLE:
        return [Refused(file.name, result.code, result.reason) for file in slices]
    others = f"a slice of a series in which another cannot be read ({result.reason})"
    return [Refused(f.name, result.code, result.reason if f.name == result.file else others) for f in slices]


def _parse(name: str, raw: bytes) -> _File:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with refusing("a DICOM header with damaged values"):
            ds = parse(raw)
            file = _File(name, ds, planes(ds), hashlib.sha256(raw).hexdigest(), [])
            _is_slice(file)  # pydicom converts values on first touch: let damaged ones fail here
            for keyword in ("PatientID", "StudyInstanceUID", "SeriesInstanceUID"):
                ds.get(keyword)
    return replace(file, notes=told(caught))


def _is_slice(file: _File) -> bool:
    return (
        len(file.planes) == 1
        and "PerFrameFunctionalGroupsSequence" not in file.ds
        and str(file.ds.get("Modality") or "") in VOLUMES
        and not is_localizer(file.ds)
        and is_placed(file.planes[0])
    )


def _tried(read: Callable[[list[_File]], Found | Refused], files: list[_File]) -> Found | Refused:
    """Run ``read``; what a foreign file makes the decoders raise becomes one refusal: of the file, or of the WHOLE."""
    try:
        with refusing("a DICOM file with damaged values"):
            return read(files)
    except UnreadableFile as error:
        return Refused(files[0].name if len(files) == 1 else WHOLE, error.code, str(error))


def _numbers(file: _File) -> Pixels:
    """Decode one file and let go of its bytes; the decoder's warnings become notes."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pixels = physical(file.ds, file.planes)
    for keyword in ("PixelData", "FloatPixelData", "DoubleFloatPixelData"):
        if keyword in file.ds:
            del file.ds[keyword]
    return replace(pixels, notes=tuple(dict.fromkeys([*file.notes, *pixels.notes, *told(caught)])))


def _alone(files: list[_File]) -> Found:
    """One file: a picture, a single slice, or a multi-frame object."""
    (file,) = files
    pixels = _numbers(file)
    voxels, notes = pixels.voxels, list(pixels.notes)
    affine, spacing = None, None
    if len(voxels) > 1 and all(is_placed(p) for p in file.planes) and "PerFrameFunctionalGroupsSequence" in file.ds:
        order, affine = stack(file.planes)
        voxels = voxels[order]
    elif len(voxels) > 1:
        notes.append(f"{len(voxels)} frames without a place in the patient: taken as slices in stored order")
    elif str(file.ds.get("Modality") or "") in VOLUMES:
        affine = single(file.planes[0])
        if affine is not None:
            notes.append("one slice: its depth is the header's slice spacing or thickness")
    if affine is None:
        spacing = _film_spacing(file.ds, file.planes[0])
    if is_localizer(file.ds):
        notes.append("a localizer")
    return _found([file], voxels, pixels, affine, spacing, notes)


def _volume(files: list[_File]) -> Found | Refused:
    """A classic series: one file a slice. A slice that cannot be decoded is refused by its name."""
    sizes = sorted({(int(f.ds.Rows), int(f.ds.Columns), int(f.ds.get("SamplesPerPixel") or 1)) for f in files})
    if len(sizes) > 1:
        raise UnreadableFile(
            f"slices of {len(sizes)} sizes in one series ({' and '.join(f'{r} × {c}' for r, c, _ in sizes[:3])})",
            code="mixed-size",
            expected="one",
            do="export each reconstruction as its own series",
        )
    check_bytes(sizes[0][0] * sizes[0][1] * sizes[0][2] * len(files) * 2)
    order, affine = stack([f.planes[0] for f in files])
    files = [files[i] for i in order]
    parts: list[Pixels] = []
    for file in files:
        try:
            with refusing("a DICOM file with damaged values"):
                parts.append(_numbers(file))
        except UnreadableFile as error:
            return Refused(file.name, error.code, str(error))
    if len({p.unit for p in parts}) > 1:
        raise UnreadableFile("slices in different units in one series", code="mixed-size", expected="one unit")
    ranges = [p.full_range for p in parts]
    full_range = None if None in ranges else (min(r[0] for r in ranges), max(r[1] for r in ranges))
    voxels = np.concatenate([p.voxels for p in parts])  # NumPy widens to a dtype that holds them all
    if voxels.ndim == 3 and full_range is not None and voxels.dtype.kind in "iu":
        voxels = smallest_integer_or_float(voxels, full_range)
    first = replace(parts[0], full_range=full_range)
    notes = [note for part in parts for note in part.notes]
    return _found(
        files, voxels.astype(np.float32) if voxels.dtype == np.float64 else voxels, first, affine, None, notes
    )


def _film_spacing(ds: Dataset, plane: Plane) -> tuple[float, float, float] | None:
    """Pixel size of a projection, in the detector's plane where the header does not correct it; 0 between slices."""
    said = plane.pixel_spacing or ds.get("ImagerPixelSpacing")
    if not said or len(said) != 2 or min(float(v) for v in said) <= 0:
        return None
    return (0.0, float(said[0]), float(said[1]))


def _found(
    files: list[_File],
    voxels: np.ndarray,
    pixels: Pixels,
    affine: np.ndarray | None,
    spacing: tuple[float, float, float] | None,
    notes: list[str],
) -> Found:
    ds = files[0].ds
    full_range = pixels.full_range
    if voxels.ndim == 4:
        voxels, note = one_channel(voxels, tolerance=0)
        notes += [note] if note else []
    if voxels.min() == voxels.max():
        notes.append("every pixel has the same value")
    said = facts([file.ds for file in files])
    attributes = said.attributes
    if pixels.inverted and full_range is not None:
        attributes = inverted_window(attributes, full_range)
    image = Image(
        np.ascontiguousarray(voxels),
        unit=pixels.unit,
        full_range=full_range,
        geometry=None if affine is None else Geometry(tuple(tuple(float(v) for v in row) for row in affine)),
        spacing_mm=spacing,
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
