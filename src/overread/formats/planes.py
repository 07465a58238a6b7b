"""Where each frame of a DICOM object lies, as its header says it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from overread.errors import UnreadableFile
from overread.formats.groups import check_places


@dataclass(frozen=True)
class Plane:
    """Where one frame lies, as far as its header says.

    Parameters
    ----------
    position : (3,) tuple or None
        Image Position (Patient), mm.
    orientation : (6,) tuple or None
        Image Orientation (Patient).
    pixel_spacing : (2,) tuple or None
        Between rows, between columns, mm.
    spacing_between, slice_thickness : float or None
        Spacing Between Slices and Slice Thickness, mm: what the header says; positions say what is so.
    number : int or None
        Instance Number; never used for order.
    tilt : float or None
        Gantry/Detector Tilt, degrees: what the header says.
    """

    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    pixel_spacing: tuple[float, ...] | None
    spacing_between: float | None
    slice_thickness: float | None
    number: int | None = None
    tilt: float | None = None

    @property
    def thickness(self) -> float | None:
        """The distance between slices that the header gives, else the thickness of one, in mm."""
        return self.spacing_between or self.slice_thickness

    @property
    def is_placed(self) -> bool:
        """True when a frame says where it lies, how it is turned, and how large its pixels are."""
        return self.position is not None and self.orientation is not None and self.pixel_spacing is not None


def planes(ds: Dataset) -> list[Plane]:
    """Say where each frame lies: from the functional groups of an enhanced object, else from the header itself.

    Without groups for each frame, the shared ones are all that is said.

    Raises
    ------
    UnreadableFile
        ``truncated`` where the header claims more frames than there are bytes of pixels; ``malformed`` where a frame's own
        group places it otherwise than the group that all frames share.

    References
    ----------
    DICOM PS3.3 C.7.6.2 (Image Plane), C.7.6.16 (Multi-frame Functional Groups: what is shared is not said again of a frame).
    """
    frames = int(ds.get("NumberOfFrames") or 1)
    _check_claim(ds, frames)
    groups = list(ds.get("PerFrameFunctionalGroupsSequence") or [])
    shared = (list(ds.get("SharedFunctionalGroupsSequence") or []) or [Dataset()])[0]
    if not groups:
        return [_plane((ds, shared), ds)] * frames
    check_places(groups[:frames], shared)
    return [_plane((group, shared), ds) for group in groups[:frames]]


def _check_claim(ds: Dataset, frames: int) -> None:
    """Refuse two billion frames before a list of them is made; no encoding puts a frame into less than a byte."""
    keyword = next((k for k in ("PixelData", "FloatPixelData", "DoubleFloatPixelData") if k in ds), None)
    have = len(ds[keyword].value or b"") if keyword else frames
    if frames > max(1, have):
        raise UnreadableFile(
            f"{frames:,} frames in {have:,} bytes of pixels",
            code="truncated",
            expected="at least a byte for each frame",
            do="copy or export it again",
        )


_SMALLEST_PIXEL_MM = 1e-6  # a nanometre: nothing smaller is a patient's, and a grid of such pixels fits no memory
_MACROS = (
    "PlanePositionSequence",
    "PlaneOrientationSequence",
    "PixelMeasuresSequence",
    "CTAcquisitionDetailsSequence",
)


def _plane(groups: tuple[Dataset, ...], ds: Dataset) -> Plane:
    items = [ds] if groups[0] is ds else []
    for group in groups:
        items += [group[m].value[0] for m in _MACROS if m in group and len(group[m].value)]

    def first(keyword: str, count: int) -> tuple[float, ...] | None:
        for item in items:
            value = item.get(keyword)
            values = value if isinstance(value, MultiValue) else [value]
            if value not in (None, "") and len(values) == count:
                out = tuple(float(v) for v in values)
                return out if np.isfinite(out).all() else None
        return None

    def length(keyword: str) -> float | None:
        """A length in mm; nuclear medicine's sign says a direction, and positions say it better."""
        said = first(keyword, 1)
        return abs(said[0]) or None if said else None

    spacing = first("PixelSpacing", 2)
    number = ds.get("InstanceNumber") if groups[0] is ds else None
    return Plane(
        position=first("ImagePositionPatient", 3),
        orientation=first("ImageOrientationPatient", 6),
        pixel_spacing=spacing if spacing and min(spacing) > _SMALLEST_PIXEL_MM else None,
        spacing_between=length("SpacingBetweenSlices"),
        slice_thickness=length("SliceThickness"),
        number=int(number) if number not in (None, "") else None,
        tilt=(first("GantryDetectorTilt", 1) or (None,))[0],
    )


def is_localizer(ds: Dataset) -> bool:
    """True for the overview a scan is planned on (Image Type value 3, as a rule); it belongs to no volume and has no HU."""
    frames = int(ds.get("NumberOfFrames") or 1)
    return localizers(ds, frames) >= frames


_SCOUTS = frozenset(("LOCALIZER", "SCOUT", "TOPOGRAM", "SCANOGRAM", "SURVIEW", "SCOUT MODE"))
"""The Standard's word for an overview, and the makers' own: in Image Type, or (GE, Philips) in Scan Options of a CT."""
FRAME_TYPES = ("CTImageFrameTypeSequence", "MRImageFrameTypeSequence", "PETFrameTypeSequence")


def localizers(ds: Dataset, frames: int) -> int:
    """Count the frames that are localizers: all where Image Type or Scan Options say so, else those whose own Frame Type does.

    Parameters
    ----------
    ds : Dataset or dict
    frames : int
        How many it has.

    References
    ----------
    DICOM PS3.3 C.8.16.1 (Image Type and Frame Type of multi-frame objects).

    Examples
    --------
    >>> ds = Dataset(); ds.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    >>> localizers(ds, 3), localizers(Dataset(), 3)
    (3, 0)
    """
    if _SCOUTS.intersection(image_type(ds)):
        return frames
    if ds.get("Modality") == "CT" and _SCOUTS.intersection(image_type(ds, "ScanOptions")):
        return frames
    (shared,) = list(ds.get("SharedFunctionalGroupsSequence") or [])[:1] or [Dataset()]
    groups = list(ds.get("PerFrameFunctionalGroupsSequence") or [])[:frames]
    common = _is_overview(shared)
    return sum(common or _is_overview(group) for group in groups) if groups else frames * common


def _is_overview(group: Dataset) -> bool:
    return any(_SCOUTS.intersection(image_type(item, "FrameType")) for k in FRAME_TYPES for item in group.get(k) or [])


def image_type(ds: Dataset, keyword: str = "ImageType") -> list[str]:
    """Return the words of Image Type (0008,0008), or of a frame's; a value of another kind, which a damaged header can hold, as text.

    Examples
    --------
    >>> ds = Dataset(); ds.ImageType = ["ORIGINAL", "PRIMARY"]
    >>> image_type(ds), image_type(Dataset())
    (['ORIGINAL', 'PRIMARY'], [])
    """
    value = ds.get(keyword)
    if value is None or value == "":
        return []
    return [str(word) for word in (value if isinstance(value, (MultiValue, list, tuple)) else [value])]
