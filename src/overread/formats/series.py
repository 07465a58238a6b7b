"""The files of one DICOM series become images: volumes, or one image each, or refused for a stated reason."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from pydicom.dataset import Dataset

from overread.domain import Geometry, Image, noted
from overread.errors import UnreadableFile
from overread.formats import frames_alone, mosaic, tellers
from overread.formats.arrange import Frame, Part, arrange
from overread.formats.counted import check_order, said_twice, unwoven
from overread.formats.cut_short import doubted, fewer, incomplete, torn
from overread.formats.dicom import parse, told
from overread.formats.facts import facts
from overread.formats.found import Found, Origin, Refused, with_notes
from overread.formats.identity import check_one_person, person_of, told_of_uids
from overread.formats.laid import Put, check_shapes, odd_spacing, over_time, stacked
from overread.formats.limits import check_bytes, check_place, one_channel, refusing, smallest_integer_or_float
from overread.formats.pet_volume import in_one_unit
from overread.formats.planes import Plane, image_type, is_localizer, planes
from overread.formats.rescale import uneven_frames, uneven_mapping
from overread.formats.stack import single
from overread.formats.units import (
    Pixels,
    finished,
    finished_together,
    inverted_window,
    joined,
    numbers,
    of_one_kind,
    physical,
)

_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_MEANING = ("RescaleSlope", "RescaleIntercept", "PhotometricInterpretation", "BitsAllocated", "PixelRepresentation")
_DAMAGED = "a DICOM file with damaged values"


@dataclass
class _File:
    """One parsed file of a series: its data set and bytes (dropped once decoded), planes and digest."""

    name: str
    ds: Dataset
    planes: list[Plane]
    digest: str
    notes: list[str]
    raw: bytes = b""


def read_series(
    files: Iterable[tuple[str, bytes | UnreadableFile]],
    *,
    lost: int = 0,
    missing: Sequence[str] = (),
    divided: int = 0,
) -> list[Found | Refused]:
    """Read the files of one series; every file is in at least one of the results, and in one only unless it holds several volumes.

    Localizers, frames that do not say where they lie, and pictures (CR, DX, MG, US, …) become one image each; an
    enhanced multi-frame object is a series in one file; everything else is stacked by position into volumes.

    Parameters
    ----------
    files : iterable of (name, bytes or UnreadableFile)
        The error says why a file of the series could not be fetched from its disk or archive.
    lost : int
        Files beside these that could not be read, and do not say which series they are of.
    missing : sequence of str
        SOP Instance UIDs of this series that the directory of its disc names, and of which no file was found there; one
        that is among ``files`` all the same (copied flat, under another name) is not missing.
    divided : int
        Other patients or studies that have files with the UID of this series.

    Returns
    -------
    list of Found or Refused
        A volume that is refused gives one ``Refused`` for each of its files, all with the same reason.
    """
    out: list[Found | Refused] = []
    slices: list[_File] = []
    seen: set[str] = set()
    uids: dict[str, str] = {}
    gone = set(missing)
    adrift = 0
    for name, raw in files:
        try:
            if isinstance(raw, UnreadableFile):
                raise raw
            file = _parse(name, raw)
            if file.digest in seen:
                raise UnreadableFile("the same file a second time in its series", code="copy", do="leave it out")
            seen.add(file.digest)
            uids[name] = str(file.ds.get("SOPInstanceUID") or "").strip(" \0")
            gone.discard(uids[name])
            if _is_slice(file):
                check_place(file.planes[0].position, file.planes[0].pixel_spacing)
                slices.append(file)
            else:
                adrift += _is_adrift(file)
                out += _tried(_alone, file)
        except UnreadableFile as error:
            out.append(Refused(name, error.code, str(error)))
    found = [doubted(result, out, lost, adrift) for result in _classic(slices)]
    headers = {file.name: file.ds for file in slices}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom quotes the value that it doubts
        found = [torn(fewer(incomplete(result, len(gone)), headers), headers, divided) for result in found]
        return told_of_uids(out + found, uids)


_UIDS = ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")


def _parse(name: str, raw: bytes) -> _File:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with refusing("a DICOM header with damaged values"):
            ds = parse(raw)
            file = _File(name, ds, planes(ds), hashlib.sha256(raw).hexdigest(), [], raw)
            _is_slice(file)  # pydicom converts values on first touch: let damaged ones fail here
            image_type(ds)
            for keyword in ("PatientID", *_UIDS):
                ds.get(keyword)
    return replace(file, notes=told(caught))


def _is_slice(file: _File) -> bool:
    return _is_of_stack(file) and file.planes[0].is_placed


def _is_adrift(file: _File) -> bool:
    """True for a slice that belongs to a stack by its kind, and does not say where it lies."""
    return _is_of_stack(file) and not file.planes[0].is_placed


def _is_of_stack(file: _File) -> bool:
    return (
        len(file.planes) == 1
        and str(file.ds.get("Modality") or "") in frames_alone.VOLUMES
        and not is_localizer(file.ds)
        and not mosaic.is_mosaic(file.ds)
    )


def _tried(read: Callable[[_File], list[Found | Refused]], file: _File) -> list[Found | Refused]:
    """Run ``read``; a refusal becomes one of the file. What stumbles in our own code is a defect, and goes on."""
    try:
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
            frames = [_frame(file) for file in slices]
    except UnreadableFile as error:
        return [Refused(file.name, error.code, str(error)) for file in slices]
    parts = arrange(frames, same=lambda i, j: _same(slices[i].ds, slices[j].ds))
    made = [(part, _part(slices, part)) for part in parts]
    counted = [one for part, some in made if part.counted for one in some if isinstance(one, Found)]
    try:
        _check_counted(counted)
    except UnreadableFile as error:
        refused = [Refused(name, error.code, str(error)) for one in counted for name in one.origin.files]
        return [one for _, some in made for one in some if not any(one is c for c in counted)] + refused
    return [one for _, some in made for one in some]


def _frame(file: _File) -> Frame:
    """What a slice's header says; all that is asked of it later is touched here, for pydicom converts it on first touch."""
    ds = file.ds
    for keyword in (*_PIXELS, *_MEANING):
        ds.get(keyword)
    (said,) = tellers.told(ds, 1)
    return Frame(file.planes[0], _size(ds), said | {"folder": os.path.dirname(file.name)}, _space(ds))


def _size(ds: Dataset) -> tuple[int, int, int]:
    return int(ds.Rows), int(ds.Columns), int(ds.get("SamplesPerPixel") or 1)


def _space(ds: Dataset) -> str:
    return str(ds.get("FrameOfReferenceUID") or "").strip(" \0")


def _check_counted(founds: list[Found]) -> None:
    """Refuse volumes that were dealt out by counting where their pixels contradict it."""
    by_place: dict[object, list[np.ndarray]] = {}
    for found in founds:
        by_place.setdefault(found.image.geometry, []).append(found.image.voxels)
    for volumes in by_place.values():
        check_order(volumes)


def _same(one: Dataset, other: Dataset) -> bool:
    """True where two files hold the same pixels: the same bytes, which mean the same."""
    return all(one.get(k) == other.get(k) for k in (*_PIXELS, *_MEANING)) and (
        one.file_meta.get("TransferSyntaxUID") == other.file_meta.get("TransferSyntaxUID")
    )


def _part(slices: list[_File], part: Part) -> list[Found | Refused]:
    files = [slices[i] for i in part.frames]
    if part.refusal is not None:
        return [Refused(file.name, part.refusal.code, str(part.refusal)) for file in files]
    why = "the same pixels at the same position of its series a second time; leave it out"
    copies = [Refused(slices[i].name, "copy", why) for i in part.copies]
    if part.stack is None and len(files) == 1:
        singles = [one for file in files for one in _tried(_alone, file)]
        return [with_notes(one, *part.notes) if isinstance(one, Found) else one for one in singles] + copies
    try:
        volume = _volume(files, part)
    except UnreadableFile as error:
        return [Refused(file.name, error.code, str(error)) for file in files] + copies
    return volume + copies


def _volume(files: list[_File], part: Part) -> list[Found | Refused]:
    """Decode the files of a stack, in its order. A slice that cannot be decoded is refused by its name, the others with it."""
    with warnings.catch_warnings(), refusing(_DAMAGED):
        warnings.simplefilter("ignore")  # of a name's spelling, which nobody is shown
        people = check_one_person([file.ds for file in files])
    rows, columns, samples = _size(files[0].ds)
    check_bytes(rows * columns * samples * len(files) * 2)
    parts: list[Pixels] = []
    for file in files:
        try:
            parts.append(_numbers(file))
        except UnreadableFile as error:
            others = f"a slice of a series in which another cannot be read ({error})"
            return [Refused(f.name, error.code, str(error) if f is file else others) for f in files]
    of = dict(zip(part.frames, zip(files, parts, strict=True), strict=True))
    divided = unwoven(replace(part, notes=(*part.notes, *people)), [p.voxels[0] for p in parts])
    return [_joined(*(list(some) for some in zip(*(of[i] for i in one.frames), strict=True)), one) for one in divided]


def _joined(files: list[_File], parts: list[Pixels], part: Part) -> Found:
    """One volume of decoded slices, in the order of its stack."""
    parts = in_one_unit(parts, [file.ds for file in files])
    of_one_kind(parts)
    check_shapes(parts)
    parts = finished_together(parts)
    full_range = parts[0].full_range
    voxels, lost = joined(parts)
    if voxels.ndim == 3 and full_range is not None and voxels.dtype.kind in "iu":
        voxels = smallest_integer_or_float(voxels, full_range)
    with refusing(_DAMAGED):
        uneven = uneven_mapping([file.ds for file in files], [p.step for p in parts])
    notes = (*(note for p in parts for note in p.notes), *lost, *uneven, *said_twice(voxels))
    return _found(files, _stacked(Put(voxels, parts[0], notes=notes), part, files[0]))


def _stacked(put: Put, part: Part, file: _File) -> Put:
    if part.stack is None:
        return over_time(put, part, file.planes[part.frames[0] if len(file.planes) > 1 else 0])
    return stacked(put, part, tilt=file.planes[0].tilt, image_type=image_type(file.ds))


# ── a file of its own ───────────────────────────────────────────────────────────────────────────────────────────────


def _numbers(file: _File) -> Pixels:
    """Decode one file and let go of its bytes; the decoder's warnings become notes."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with refusing(_DAMAGED):
            pixels = numbers(file.raw) or physical(file.ds)
    file.raw = b""
    for keyword in _PIXELS:
        if keyword in file.ds:
            del file.ds[keyword]
    return replace(pixels, notes=tuple(dict.fromkeys([*file.notes, *pixels.notes, *told(caught)])))


def _alone(file: _File) -> list[Found | Refused]:
    """One file: a picture, a single slice, or a multi-frame object."""
    with refusing(_DAMAGED):
        frames_alone.check_whole(file.ds)
        frames = _frames(file)
    parts, refused = _usable(frames)
    pixels = finished(_numbers(file))
    if parts:
        if len(pixels.voxels) < len(frames):
            raise UnreadableFile(
                f"{len(pixels.voxels)} frames of pixels",
                code="truncated",
                expected=f"{len(frames)}, of which the header says where they lie",
                do="export it again",
            )
        parts = [one for part in parts for one in unwoven(part, pixels.voxels[list(part.frames)])]
        many = [_found([file], _of_frames(file, pixels, part)) for part in parts]
        _check_counted([found for found, part in zip(many, parts, strict=True) if part.counted])
        return [with_notes(found, *refused) for found in many]
    of_one_kind([pixels])
    if mosaic.is_mosaic(file.ds):
        with refusing(_DAMAGED):
            voxels, affine, note = mosaic.split(file.ds, pixels.voxels, file.planes[0])
        return [_found([file], Put(voxels, pixels, affine, None, (*pixels.notes, note)))]
    with refusing(_DAMAGED):
        put = frames_alone.picture(file.ds, file.planes, pixels)
    return [_found([file], put)]


def _frames(file: _File) -> list[Frame]:
    """The frames of an enhanced multi-frame object; none where they do not all say where they lie."""
    many = len(file.planes) > 1 and "PerFrameFunctionalGroupsSequence" in file.ds
    if not many or not all(p.is_placed for p in file.planes):
        return []
    said, size = tellers.told(file.ds, len(file.planes)), _size(file.ds)
    for plane in file.planes:
        check_place(plane.position, plane.pixel_spacing)
    return [Frame(plane, size, words) for plane, words in zip(file.planes, said, strict=True)]


def _usable(frames: list[Frame]) -> tuple[list[Part], list[str]]:
    """The volumes that the frames of one object make, and what is told of the others.

    Raises
    ------
    UnreadableFile
        Where none of them can be used.
    """
    if not frames:
        return [], []
    parts = arrange(frames, same=lambda i, j: False)  # two equal frames of one object are two measurements
    good = [part for part in parts if part.refusal is None]
    if not good:
        raise parts[0].refusal
    bad = [part for part in parts if part.refusal is not None]
    return good, [noted("frames-refused", f"{len(p.frames)} other frames: {p.refusal}") for p in bad]


def _of_frames(file: _File, pixels: Pixels, part: Part) -> Put:
    pixels = replace(pixels, unit=of_one_kind([pixels], part.frames))
    with refusing(_DAMAGED):
        pixels = replace(pixels, notes=(*pixels.notes, *uneven_frames(file.ds, part.frames)))
    put = Put(pixels.voxels[list(part.frames)], pixels, notes=pixels.notes)
    if part.stack is not None or len(part.frames) > 1:
        put = _stacked(put, part, file)
    else:
        put = replace(put, affine=single(file.planes[part.frames[0]]), notes=(*pixels.notes, *part.notes))
    with refusing(_DAMAGED):
        return frames_alone.hung(file.ds, put)


def _found(files: list[_File], put: Put) -> Found:
    ds, pixels, notes, voxels = files[0].ds, put.pixels, list(put.notes), put.voxels
    check_place(put.affine, put.spacing)
    if voxels.ndim == 4:
        voxels, note = one_channel(voxels, tolerance=0)
        notes += [noted("colour-to-grey", note)] if note else []
    if voxels.min() == voxels.max():
        notes.append(noted("constant", "every pixel has the same value"))
    notes += odd_spacing(put, str(ds.get("Modality") or ""))
    with refusing(_DAMAGED):
        said = facts([file.ds for file in files])
    attributes = {**said.attributes, **put.attributes}
    if pixels.inverted and pixels.full_range is not None:
        attributes = inverted_window(attributes, pixels.full_range)
        attributes["PhotometricInterpretation"] = "MONOCHROME2"  # of these voxels; the note says what the file had
    if pixels.padding is not None:
        attributes["PixelPadding"] = "\\".join(f"{v:g}" for v in pixels.padding)
    affine = put.affine
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
    identity = {k: str(ds.get(w) or "").strip(" \0") or None for k, w in _IDENTITY.items()}
    with warnings.catch_warnings(), refusing(_DAMAGED):
        warnings.simplefilter("ignore")
        person = person_of([file.ds for file in files])
    return Found(image, Origin(tuple(f.name for f in files), digest, strata=said.strata, person=person, **identity))


_IDENTITY = {"patient_id": "PatientID", "study_uid": "StudyInstanceUID", "series_uid": "SeriesInstanceUID"}
