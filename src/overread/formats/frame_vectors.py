"""What the frames of one object count by: slices, detectors, energy windows, beats; and in which order its slices lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset

from overread.errors import UnreadableFile
from overread.formats.stack import GAP_TOLERANCE, GAP_TOLERANCE_MM, SAME_PLACE_MM
from overread.imaging import geometry

SLICES = "slices"
_VECTORS = {
    0x00540010: ("EnergyWindowVector", "energy windows"),
    0x00540020: ("DetectorVector", "detectors"),
    0x00540030: ("PhaseVector", "phases"),
    0x00540050: ("RotationVector", "rotations"),
    0x00540060: ("RRIntervalVector", "R-R intervals"),
    0x00540070: ("TimeSlotVector", "time slots"),
    0x00540080: ("SliceVector", SLICES),
    0x00540090: ("AngularViewVector", "angular views"),
    0x00540100: ("TimeSliceVector", "time slices"),
}
"""What Frame Increment Pointer of a nuclear medicine object may point to (PS3.3 C.8.4.8)."""
_LOCATIONS = 0x00182005  # Slice Location Vector, of multi-frame secondary captures


@dataclass(frozen=True)
class Sliced:
    """Frames that are slices: which frame comes first, how many mm lie between two (None unsaid), and by which word they are ordered."""

    order: tuple[int, ...]
    step: float | None
    words: str


def pointers(ds: Dataset) -> list[int]:
    """Return the tags to which Frame Increment Pointer points."""
    said = ds.get("FrameIncrementPointer")
    several = isinstance(said, (list, tuple)) or hasattr(said, "insert")
    return [int(tag) for tag in (said if several else [said]) if tag]


def counted_by(ds: Dataset, frames: int) -> list[str]:
    """Return in what the frames of a nuclear medicine object differ: a vector that has one value for all is not named.

    Examples
    --------
    >>> ds = Dataset(); ds.FrameIncrementPointer = [0x00540010, 0x00540020]
    >>> ds.EnergyWindowVector, ds.DetectorVector = [1, 1], [1, 2]
    >>> counted_by(ds, 2)
    ['detectors']
    """
    named = [_VECTORS[tag] for tag in pointers(ds) if tag in _VECTORS]
    return [words for keyword, words in named if len(set(_vector(ds, keyword, frames) or (0, 1))) > 1]


def sliced(ds: Dataset, frames: int, spacing: float | None) -> Sliced | None:
    """Return in which order the frames of an object are slices; None where they are none, or share places.

    Parameters
    ----------
    ds : Dataset
    frames : int
    spacing : float or None
        Spacing Between Slices, mm.

    Raises
    ------
    UnreadableFile
        ``missing-slices`` where Slice Vector leaves out a slice; ``uneven-spacing`` where slices do not lie evenly.

    Examples
    --------
    >>> ds = Dataset(); ds.FrameIncrementPointer, ds.SliceVector = 0x00540080, [1, 3, 2]
    >>> sliced(ds, 3, 4.0)
    Sliced(order=(0, 2, 1), step=4.0, words='in the order of Slice Vector')

    References
    ----------
    DICOM PS3.3 C.8.4.8 (NM Multi-frame), C.8.6.3 (SC Multi-frame Vector), C.8.24.3 (Enhanced US: Plane Position (Volume)).
    """
    if counted_by(ds, frames) == [SLICES]:
        numbers = _vector(ds, "SliceVector", frames)
        return _numbered(numbers, spacing) if numbers else Sliced(tuple(range(frames)), spacing, "in stored order")
    locations = _vector(ds, "SliceLocationVector", frames) if _LOCATIONS in pointers(ds) else None
    if locations:
        return _located(np.array(locations, float), "in the order of Slice Location Vector")
    along = _in_volume(ds, frames)
    return None if along is None else _located(along, "in the order of Plane Position (Volume)")


def in_volume(ds: Dataset) -> bool:
    """True where each frame says where it lies in the coordinates of its own volume (an enhanced ultrasound volume)."""
    groups = list(ds.get("PerFrameFunctionalGroupsSequence") or [])
    return bool(groups) and all(group.get("PlanePositionVolumeSequence") for group in groups)


def _vector(ds: Dataset, keyword: str, frames: int) -> tuple[float, ...] | None:
    said = ds.get(keyword)
    values = tuple(float(v) for v in said) if hasattr(said, "__iter__") and not isinstance(said, str) else ()
    return values if len(values) == frames else None


def _numbered(numbers: Sequence[float], spacing: float | None) -> Sliced | None:
    order = tuple(int(i) for i in np.argsort(numbers, kind="stable"))
    low, high, count = min(numbers), max(numbers), len(numbers)
    if len(set(numbers)) < count:
        return None
    if high - low >= count:
        raise UnreadableFile(
            f"{count} frames that are the slices {low:g} to {high:g} (Slice Vector): {high - low + 1 - count:g} missing",
            code="missing-slices",
            expected="every slice",
            do="export it again, whole",
        )
    return Sliced(order, spacing, "in stored order" if order == tuple(range(count)) else "in the order of Slice Vector")


def _located(along: np.ndarray, words: str) -> Sliced | None:
    order = np.argsort(along, kind="stable")
    gaps = np.diff(along[order])
    if (gaps < SAME_PLACE_MM).any():
        return None
    usual = float(np.median(gaps))
    if np.abs(gaps - usual).max() > max(GAP_TOLERANCE_MM, GAP_TOLERANCE * usual):
        raise UnreadableFile(
            f"{len(along)} frames that are slices {gaps.min():.2f} to {gaps.max():.2f} mm apart",
            code="uneven-spacing",
            expected=f"equal gaps of {usual:.2f} mm",
            do="export an evenly spaced reconstruction",
        )
    if (np.diff(along) < 0).all():  # from the other end: as good an order as any
        order = order[::-1]
    return Sliced(tuple(int(i) for i in order), usual, words)


def _in_volume(ds: Dataset, frames: int) -> np.ndarray | None:
    """How far along their common normal the frames of an ultrasound volume lie; None where they are not parallel planes."""
    groups = list(ds.get("PerFrameFunctionalGroupsSequence") or [])
    if len(groups) != frames or not in_volume(ds):
        return None
    shared = (list(ds.get("SharedFunctionalGroupsSequence") or []) or [Dataset()])[0]
    ways = [_first(g, "PlaneOrientationVolumeSequence", "ImageOrientationVolume") for g in (*groups, shared)]
    said = [w for w in ways if len(w) == 6]
    places = [_first(g, "PlanePositionVolumeSequence", "ImagePositionVolume") for g in groups]
    if not said or any(len(p) != 3 for p in places) or np.abs(np.array(said) - said[0]).max() > 1e-3:
        return None
    return np.array(places) @ geometry.normal(np.array(said[0]))


def _first(group: Dataset, sequence: str, keyword: str) -> list[float]:
    items = list(group.get(sequence) or [])
    return [float(v) for v in (items[0].get(keyword) or [])] if items else []
