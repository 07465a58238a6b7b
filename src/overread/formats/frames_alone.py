"""Frames that make no stack: one slice, a film, frames over time. What is known of their size in mm, and what is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from pydicom.dataset import Dataset

from overread.domain import noted
from overread.errors import UnreadableFile
from overread.formats import films
from overread.formats.breast import breast
from overread.formats.frame_vectors import SLICES, Sliced, counted_by, in_volume, pointers, sliced
from overread.formats.laid import Put
from overread.formats.planes import Plane, is_localizer
from overread.formats.stack import single
from overread.formats.units import Pixels

VOLUMES = ("CT", "MR", "PT", "NM", "OT", "")
"""Modalities whose single-frame series are stacks; a series of CR, DX, MG or US is several pictures."""

Spacing = tuple[float, float, float]

_OVER_TIME = (0x00181063, 0x00181065)  # Frame Time, Frame Time Vector: what Frame Increment Pointer may point to
_TOMOSYNTHESIS = "1.2.840.10008.5.1.4.1.1.13.1.3"
_PROJECTIONS = ("1.2.840.10008.5.1.4.1.1.13.1.4", "1.2.840.10008.5.1.4.1.1.13.1.5")
"""Breast Tomosynthesis, and Breast Projection X-Ray (for presentation, for processing)."""
_FILMS = ("CR", "DX", "MG", "RG", "RF", "XA", "PX", "IO")
_SLIDES = ("US", "XA", "RF", "ES", "IVUS", "XC", "GM")
"""Modalities whose frames follow one another in time."""


def picture(ds: Dataset, planes: Sequence[Plane], pixels: Pixels) -> Put:
    """Return what is no stack: one slice, films hung upright, or frames over time, with what is known of its size in mm.

    Parameters
    ----------
    ds : Dataset
    planes : sequence of Plane
        Of its frames.
    pixels : Pixels
        Of all of them.
    """
    voxels, notes, attributes, plane = pixels.voxels, [*pixels.notes], {}, planes[0]
    affine, turned = None, False
    if len(voxels) == 1 and str(ds.get("Modality") or "") in VOLUMES:
        affine, said = one_slice(plane)
        notes += said
    if affine is None:
        hung = films.hang(ds, voxels, side=breast(ds)[0].get("ImageLaterality", ""))
        voxels, attributes = hung.voxels, {"PatientOrientation": hung.orientation} if hung.orientation else {}
        notes, turned = [*notes, *hung.notes], hung.transposed
    if len(voxels) > 1:
        laid = sliced(ds, len(voxels), plane.spacing_between)
        voxels = voxels if laid is None or _is_stored(laid) else voxels[list(laid.order)]
        spacing, said = unplaced(ds, len(voxels), plane, lacking=sum(not p.is_placed for p in planes))
        spacing = (spacing[0], spacing[2], spacing[1]) if spacing and turned else spacing
    else:
        spacing, said = film_spacing(ds, plane, turned=turned) if affine is None else (None, [])
    notes += said
    if len(voxels) == 1 and affine is None and ds.get("Modality") == "MG":
        notes += films.background(voxels, pixels.full_range)
    notes += _regions(ds, spacing)
    if is_localizer(ds):
        notes.append(noted("localizer", "a localizer"))
    return Put(voxels, pixels, affine, spacing, tuple(notes), attributes)


def hung(ds: Dataset, put: Put) -> Put:
    """Turn or mirror the planes of a breast that say where they lie as a single film of it hangs; its place turns with it."""
    if put.affine is None or str(ds.get("Modality") or "") != "MG":
        return put
    out, affine = films.hang_placed(ds, put.voxels, put.affine, side=breast(ds)[0].get("ImageLaterality", ""))
    attributes = {**put.attributes, "PatientOrientation": out.orientation} if out.orientation else put.attributes
    return replace(put, voxels=out.voxels, affine=affine, notes=(*put.notes, *out.notes), attributes=attributes)


def check_whole(ds: Dataset) -> None:
    """Refuse a part of a concatenation: one object that was cut into several files, whether or not it says how many.

    Raises
    ------
    UnreadableFile
        ``missing-slices``.

    References
    ----------
    DICOM PS3.3 C.7.6.16.2.2.4 (Concatenations).
    """
    parts, number = int(ds.get("InConcatenationTotalNumber") or 0), int(ds.get("InConcatenationNumber") or 1)
    if parts > 1 or number > 1 or (ds.get("ConcatenationUID") and not parts):
        raise UnreadableFile(
            f"part {number} of {parts if parts > 1 else 'an untold number of'} parts of one multi-frame object",
            code="missing-slices",
            expected="the whole object in one file",
            do="export it without concatenation",
        )


def one_slice(plane: Plane) -> tuple[np.ndarray | None, list[str]]:
    """Return where a single slice lies in LPS mm, with the header's slice distance as its depth, and what is to be told."""
    affine = single(plane)
    if affine is not None:
        return affine, [noted("one-slice", "one slice: its depth is the header's slice spacing or thickness")]
    missing = [
        name
        for name, value in (
            ("Image Position", plane.position),
            ("Image Orientation", plane.orientation),
            ("Pixel Spacing", plane.pixel_spacing),
            ("Slice Thickness", plane.thickness),
        )
        if value is None
    ]
    return None, [noted("no-place", f"the header lacks {', '.join(missing)}: a picture without a place in the patient")]


def unplaced(ds: Dataset, frames: int, plane: Plane, *, lacking: int | None = None) -> tuple[Spacing | None, list[str]]:
    """Say what the frames of a multi-frame object are when not all have a place of their own: moments, or slices in stored order.

    Parameters
    ----------
    ds : Dataset
    frames : int
    plane : Plane
        Of the first frame.
    lacking : int, optional
        How many do not say where they lie; all, where it is not given.

    Returns
    -------
    spacing : (float, float, float) or None
        Between frames (0 where these are moments), rows, columns.
    notes : list of str

    References
    ----------
    DICOM PS3.3 C.7.6.5 (Cine), C.7.6.6.1.1 (Frame Increment Pointer), C.8.4.8 (NM multi-frame).
    """
    vectors, pixel = counted_by(ds, frames), plane.pixel_spacing
    laid = sliced(ds, frames, plane.spacing_between)
    if laid is not None and (laid.step is not None or not _is_stored(laid)):
        return _as_slices(ds, frames, laid, pixel)
    flat = (0.0, *pixel) if pixel is not None else None
    if str(ds.get("SOPClassUID") or "") in _PROJECTIONS:
        said = f"{frames} frames are projections from several angles: not the slices of a volume"
        return flat, [noted("frames-mixed", said)]
    if str(ds.get("SOPClassUID") or "") == _TOMOSYNTHESIS and pixel is not None and plane.thickness is not None:
        said = f"{frames} frames are planes {plane.thickness:.2f} mm apart, in stored order; where they lie is not said"
        return (plane.thickness, *pixel), [noted("stored-order", said)]
    if vectors and vectors != [SLICES]:
        return flat, [noted("frames-mixed", f"{frames} frames by {' and '.join(vectors)}: not the slices of a volume")]
    if (vectors or in_volume(ds)) and laid is None:
        said = f"{frames} frames, of which several are of one slice: not the slices of one volume"
        return flat, [noted("frames-mixed", said)]
    timed = set(pointers(ds)) & set(_OVER_TIME) or ds.get("FrameTime") or ds.get("CineRate")
    if timed or str(ds.get("Modality") or "") in _SLIDES:
        rate = _milliseconds(ds)
        said = f"{frames} frames over time{f', {rate:g} ms apart' if rate else ''}: not the slices of a volume"
        return flat, [noted("frames-over-time", said)]
    if lacking == 0 and "PerFrameFunctionalGroupsSequence" not in ds:
        apart = f", Spacing Between Slices {plane.spacing_between:.2f} mm" if plane.spacing_between is not None else ""
        said = (
            f"{frames} frames and one place for all of them{apart}: slices in stored order; which end is up is not said"
        )
        return flat, [noted("stored-order", said)]
    some = f"{lacking} of {frames}" if lacking and lacking < frames else f"{frames}"
    return flat, [
        noted("stored-order", f"{some} frames without a place in the patient: all are slices in stored order")
    ]


def _is_stored(laid: Sliced) -> bool:
    return laid.order == tuple(range(len(laid.order)))


def _as_slices(
    ds: Dataset, frames: int, laid: Sliced, pixel: tuple[float, ...] | None
) -> tuple[Spacing | None, list[str]]:
    """Say of frames that are slices without a place in the patient how far apart they lie, and in which order."""
    up = "which end is up is not said"
    if in_volume(ds):
        up = "where that volume lies in the patient is not said"
    elif any("ImagePositionPatient" in item for item in ds.get("DetectorInformationSequence") or []):
        up = "the place of the first (Detector Information) and the sign of Spacing Between Slices were not used"
    if pixel is None or laid.step is None:
        said = f"{frames} frames are slices {laid.words}; how far apart they lie is not said, and {up}"
        return None if pixel is None else (0.0, *pixel), [noted("stored-order", said)]
    said = f"{frames} frames are slices {laid.step:.2f} mm apart {laid.words}; {up}"
    return (laid.step, *pixel), [noted("stored-order", said)]


def _milliseconds(ds: Dataset) -> float | None:
    if ds.get("FrameTime"):
        return float(ds.FrameTime)
    rate = float(ds.get("CineRate") or ds.get("RecommendedDisplayFrameRate") or 0)
    return round(1000 / rate, 1) if rate > 0 else None


def film_spacing(ds: Dataset, plane: Plane, *, turned: bool = False) -> tuple[Spacing | None, list[str]]:
    """Return the pixel size of a projection, 0 between slices, and what it refers to: the patient, or the detector.

    Pixel Spacing is taken where it is given, else that of the detector (Imager Pixel Spacing) or of a film scanner. A
    detector sees a magnified shadow; the factor, where the header estimates it, is told and not applied. ``turned``: the film
    was turned by a quarter, so a pixel's height is now its width.

    References
    ----------
    DICOM PS3.3 10.7.1.3 (Pixel Spacing Calibration), C.8.11.3 (DX Detector).
    """
    notes = []
    imager = _pair(ds, "ImagerPixelSpacing")
    spacing = plane.pixel_spacing or imager or _pair(ds, "NominalScannedPixelSpacing")
    film = str(ds.get("Modality") or "") in _FILMS
    factor = float(ds.get("EstimatedRadiographicMagnificationFactor") or 0)
    if film and plane.pixel_spacing and imager and not np.allclose(plane.pixel_spacing, imager, rtol=1e-3):
        said = (
            f"Pixel Spacing {plane.pixel_spacing[0]:.4g} mm was taken; at the detector it is {imager[0]:.4g} mm "
            f"(a factor of {imager[0] / plane.pixel_spacing[0]:.3f})"
        )
        notes.append(noted("calibrated-spacing", said))
    elif film and imager and spacing == imager and factor > 1:
        said = (
            f"pixels of {imager[0]:.4g} mm at the detector; the header estimates a magnification of {factor:.3f}, "
            f"so {imager[0] / factor:.4g} mm in the patient"
        )
        notes.append(noted("detector-spacing", said))
    spacing = spacing[::-1] if spacing and turned else spacing
    shape = (spacing[0] / spacing[1]) if spacing else _aspect(ds) ** (-1 if turned else 1)
    if abs(shape - 1) > 0.01:
        notes.append(noted("non-square-pixels", f"pixels are {shape:.3f} times as high as they are wide"))
    return (0.0, *spacing) if spacing else None, notes


def _pair(ds: Dataset, keyword: str) -> tuple[float, float] | None:
    said = ds.get(keyword)
    if not said or isinstance(said, (str, float, int)) or len(said) != 2 or min(float(v) for v in said) <= 0:
        return None
    return float(said[0]), float(said[1])


def _aspect(ds: Dataset) -> float:
    """Height of a pixel for one unit of its width (Pixel Aspect Ratio); 1 where the header does not say."""
    pair = _pair(ds, "PixelAspectRatio")
    return pair[0] / pair[1] if pair else 1.0


_CENTIMETRES, _TWO_DIMENSIONAL = 3, 1


def _regions(ds: Dataset, spacing: Spacing | None) -> list[str]:
    """Tell where an ultrasound picture's regions are calibrated to another size than its Pixel Spacing (PS3.3 C.8.5.5)."""
    if spacing is None:
        return []
    sizes = set[tuple[float, float]]()
    for region in ds.get("SequenceOfUltrasoundRegions") or []:
        units = {region.get("PhysicalUnitsXDirection"), region.get("PhysicalUnitsYDirection")}
        deltas = [abs(float(region.get(k) or 0)) * 10 for k in ("PhysicalDeltaY", "PhysicalDeltaX")]
        if region.get("RegionSpatialFormat") == _TWO_DIMENSIONAL and units == {_CENTIMETRES} and min(deltas) > 0:
            sizes.add((deltas[0], deltas[1]))
    if not sizes or any(np.allclose(size, spacing[1:], rtol=0.02) for size in sizes):
        return []
    said = " and ".join(f"{row:.3g} × {column:.3g}" for row, column in sorted(sizes))
    taken = f"{spacing[1]:.3g} × {spacing[2]:.3g}"
    words = f"Pixel Spacing says {taken} mm, the calibrated regions {said} mm a pixel: the first was taken"
    return [noted("spacing-contradicted", words)]
