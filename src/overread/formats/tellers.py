"""What tells volumes apart that share one series: echo, time, diffusion, kind of image; and which frame is of which."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

SMALLEST_VOLUME = 3
"""Slices below which even spacing cannot be seen."""


@dataclass(frozen=True)
class Teller:
    """One fact of a frame: in words, the header elements that hold it, and the attribute under which an image keeps it.

    ``firm``: it never changes within one volume. ``counts``: it grows from one volume to the next, so that frames of one
    position can be ranked by it.
    """

    words: str
    keywords: tuple[str, ...]
    attribute: str = ""
    firm: bool = False
    counts: bool = False


@dataclass(frozen=True)
class Division:
    """Volumes (the frames of each), what told them apart in words, and whether that was only their order (``counted``)."""

    volumes: list[list[int]]
    words: str
    counted: bool = False


TELLERS = (
    Teller("stack", ("StackID",), firm=True),
    Teller("echo time", ("EchoTime", "EffectiveEchoTime"), "EchoTime", firm=True),
    Teller("echo number", ("EchoNumbers",), "EchoNumbers", firm=True),
    Teller(
        "time point", ("TemporalPositionIdentifier", "TemporalPositionIndex"), "TemporalPositionIdentifier", counts=True
    ),
    Teller("diffusion b-value", ("DiffusionBValue",), "DiffusionBValue", firm=True),
    Teller("diffusion gradient", ("DiffusionGradientOrientation",), "DiffusionGradientOrientation", firm=True),
    Teller("kind of image", ("ImageType", "FrameType"), firm=True),
    Teller("complex component", ("ComplexImageComponent",), "ComplexImageComponent", firm=True),
    Teller("reconstruction kernel", ("ConvolutionKernel",), firm=True),
    Teller("tube voltage", ("KVP",), "KVP", firm=True),
    Teller("inversion time", ("InversionTime", "InversionTimes"), "InversionTime", firm=True),
    Teller("flip angle", ("FlipAngle",), "FlipAngle", firm=True),
    Teller(
        "trigger time",
        ("TriggerTime", "NominalCardiacTriggerDelayTime", "NominalPercentageOfCardiacPhase"),
        "TriggerTime",
        counts=True,
    ),
    Teller("frame reference time", ("FrameReferenceTime",), "FrameReferenceTime", counts=True),
    Teller("acquisition number", ("AcquisitionNumber", "FrameAcquisitionNumber"), "AcquisitionNumber", counts=True),
    Teller("modality", ("Modality",)),
    Teller("series number", ("SeriesNumber",)),
    Teller("series description", ("SeriesDescription",)),
    Teller("sequence name", ("SequenceName", "PulseSequenceName")),
    Teller("repetition time", ("RepetitionTime",)),
    Teller("slice thickness", ("SliceThickness",)),
    Teller("dimension index", ()),
    Teller("folder", ()),
    Teller("acquisition time", ("AcquisitionDateTime", "FrameAcquisitionDateTime", "AcquisitionTime"), counts=True),
    Teller("instance number", ("InstanceNumber",), counts=True),
)
"""In the order in which they are tried. Times of day tell frames apart, and are told to nobody."""

_NESTED = (
    "FrameContentSequence MREchoSequence MRDiffusionSequence DiffusionGradientDirectionSequence CardiacSynchronizationSequence "
    "MRImageFrameTypeSequence CTImageFrameTypeSequence PETFrameTypeSequence CTReconstructionSequence CTXRayDetailsSequence "
    "MRTimingAndRelatedParametersSequence MRModifierSequence TemporalPositionSequence"
).split()
_PRIVATE = {  # where makers wrote it before the Standard had a place: element (group, offset), and its private creator
    "diffusion b-value": (
        (0x0019, 0x0C, "SIEMENS MR HEADER"),
        (0x2001, 0x03, "Philips Imaging DD 001"),
        (0x0043, 0x39, "GEMS_PARM_01"),
    ),
    "diffusion gradient": ((0x0019, 0x0E, "SIEMENS MR HEADER"),),
}
_GE_GRADIENT = (0xBB, 0xBC, 0xBD)
_GE_FLAG = 100_000  # GE adds 10^9 to b-values of some protocols
_PLACES = (0x00209057, 0x00200032, 0x00209113, 0x00201041)  # dimensions that say where a frame lies, not which volume


def told(ds: Dataset, frames: int) -> list[dict[str, Hashable]]:
    """Return what a header says of each of its frames, in the words of ``TELLERS``.

    Examples
    --------
    >>> ds = Dataset(); ds.EchoTime = "30"; ds.InstanceNumber = 7
    >>> told(ds, 1)
    [{'echo time': 30.0, 'instance number': 7.0}]
    """
    groups = list(ds.get("PerFrameFunctionalGroupsSequence") or [])
    shared = [item for group in ds.get("SharedFunctionalGroupsSequence") or [] for item in _items(group)]
    if not groups:
        return [_said([ds, *shared])] * frames
    pointers = [int(d.get("DimensionIndexPointer") or 0) for d in ds.get("DimensionIndexSequence") or []]
    out = []
    for number, group in enumerate(groups[:frames], start=1):
        items = list(_items(group))
        said = _said([*items, *shared]) | {"frame": number}
        indices = next((list(i.DimensionIndexValues) for i in items if "DimensionIndexValues" in i), [])
        if len(indices) == len(pointers):
            said["dimension index"] = tuple(int(v) for v, p in zip(indices, pointers, strict=True) if p not in _PLACES)
        out.append(said)
    return out


def _items(group: Dataset) -> Iterator[Dataset]:
    for keyword in _NESTED:
        for item in group.get(keyword) or []:
            yield item
            yield from _items(item)


def _said(items: Sequence[Dataset]) -> dict[str, Hashable]:
    out = {}
    for teller in TELLERS:
        found = (_plain(item.get(k)) for k in teller.keywords for item in items if k in item)
        value = next((v for v in found if v is not None), None)
        if value is None:
            value = next((v for item in items for v in _private(item, teller.words)), None)
        if value is not None:
            out[teller.words] = value
    return out


def _private(ds: Dataset, words: str) -> Iterator[Hashable]:
    for group, offset, creator in _PRIVATE.get(words, ()):
        value = _plain(_element(ds, group, offset, creator))
        if value is not None and creator == "GEMS_PARM_01":  # the first of several numbers, as text
            value = _plain(str(value[0] if isinstance(value, tuple) else value).split("\\")[0])
            value = value % _GE_FLAG if isinstance(value, float) else None
        if value is not None:
            yield value
    if words == "diffusion gradient":
        value = tuple(_plain(_element(ds, 0x0019, offset, "GEMS_ACQU_01")) for offset in _GE_GRADIENT)
        if None not in value:
            yield value


def _element(ds: Dataset, group: int, offset: int, creator: str) -> object:
    try:
        value = ds.private_block(group, creator)[offset].value
    except (KeyError, ValueError, TypeError):  # absent, or damaged: a private element must not cost the series
        return None
    if isinstance(value, bytes):  # implicit little endian: the type of a private element is not written down
        value = (
            np.frombuffer(value, "<f8").tolist() if len(value) == 24 else value.decode("ascii", "replace").strip(" \0")
        )
    return value


def _plain(value: object) -> Hashable:
    """A header value as a number, a word, or a tuple of these; None where it says nothing."""
    if value is None or value == "":
        return None
    if isinstance(value, (MultiValue, list, tuple)):
        said = [_plain(v) for v in value]
        while said and said[-1] is None:  # "B30f" and "B30f\\" are one kernel
            said.pop()
        return (tuple(said) or None) if len(said) != 1 or len(value) == 1 else said[0]
    try:
        number = float(str(value))
    except ValueError:
        return str(value)
    return round(number, 6) if np.isfinite(number) else None


def changes(words: str, values: Sequence[Hashable]) -> bool:
    """True where a firm fact is said of all slices and is not the same, beyond how it was rounded; nor a ramp of flip angles (TONE).

    Examples
    --------
    >>> changes("echo time", [30.0, 80.0]), changes("echo time", [2.46, 2.461]), changes("tube voltage", [80.0, None])
    (True, False, False)
    >>> changes("flip angle", [10.0, 10.0, 15.0, 20.0]), changes("flip angle", [10.0, 10.0, 90.0])
    (False, True)
    """
    if None in values or len(set(values)) < 2:
        return False
    numbers = [v for v in values if isinstance(v, float)]
    if len(numbers) < len(values):
        return True
    if max(numbers) - min(numbers) <= _ROUNDED * max(map(abs, numbers)):
        return False
    ordered = numbers in (sorted(numbers), sorted(numbers, reverse=True))
    return not (words == "flip angle" and ordered and len(set(numbers)) > 2)


_ROUNDED = 0.01  # two numbers are one
_PAUSE_S = 600  # between two acquisitions of one scan there is less


def after_a_pause(times: Sequence[Hashable]) -> list[int]:
    """Where slices with a time each begin, and go on after a pause of ten minutes and ten times the usual one; else nothing.

    Examples
    --------
    >>> after_a_pause([100001.0, 100002.0, 100003.0, 120004.0, 120005.0]), after_a_pause([100001.0, 100002.0, 100003.0])
    ([0, 3], [])
    """
    clock = [_second(t) for t in times]
    if None in clock or len(clock) < 2:
        return []
    apart = np.abs(np.diff(np.array(clock, float)))
    long = np.flatnonzero(apart > max(_PAUSE_S, 10 * float(np.median(apart))))
    return [0, *(int(k) + 1 for k in long)] if len(long) else []


def _second(time: Hashable) -> float | None:
    """The second of the day that an acquisition time, or a date and time, says."""
    digits = (
        str(int(time)) if isinstance(time, float) else str(time).partition(".")[0].partition("+")[0].partition("-")[0]
    )
    digits = (digits[8:14] if len(digits) >= 14 else digits).zfill(6)
    if not digits.isdigit() or len(digits) != 6:
        return None
    return int(digits[:2]) * 3600 + int(digits[2:4]) * 60 + int(digits[4:])


def volumes(places: np.ndarray, said: Sequence[Mapping[str, Hashable]]) -> Division | None:
    """Divide frames that share positions into volumes in which each position is taken once.

    First by facts that say what a volume is: the fewest that are enough, in the order of ``TELLERS``. Where none are,
    by what counts on from volume to volume (times, instance numbers): a new volume begins where a position comes again.
    Such a division holds only if no firm fact changes within one of its volumes.

    Parameters
    ----------
    places : ndarray of int, (frames,)
        Which position each frame takes.
    said : sequence of mapping
        What ``told`` returns, one for each frame.

    Returns
    -------
    Division or None
        The volumes in the order of their first instance numbers, else of what tells them apart; None where nothing does.

    Examples
    --------
    >>> volumes(np.array([0, 0, 1, 1, 2, 2]), [{"echo time": t} for t in (20.0, 80.0) * 3])
    Division(volumes=[[0, 2, 4], [1, 3, 5]], words='echo time', counted=False)
    """
    if len(np.unique(places)) < SMALLEST_VOLUME:
        return None
    most = int(np.bincount(places).max())
    codes = {t.words: c for t in TELLERS if (c := _codes([s.get(t.words) for s in said])).max() > 0}
    spare = None
    for count in (1, 2, 3):
        for chosen in combinations(codes, count):
            groups = np.unique(np.stack([codes[w] for w in chosen]), axis=1, return_inverse=True)[1].reshape(-1)
            if _once_each(groups, places):
                found = Division(_members(groups, said), " and ".join(chosen))
                if groups.max() + 1 <= most:
                    return found
                spare = spare or found
    return spare or _by_counting(places, said, codes, most)


def _by_counting(
    places: np.ndarray, said: Sequence[Mapping[str, Hashable]], codes: Mapping[str, np.ndarray], most: int
) -> Division | None:
    firm = [codes[t.words] for t in TELLERS if t.firm and t.words in codes]
    for teller in TELLERS:
        if not teller.counts or teller.words not in codes or any(s.get(teller.words) is None for s in said):
            continue
        order = np.lexsort((places, codes[teller.words]))  # of one time: from low to high
        for groups in (_cut(places, order), _dealt(places, order)):
            whole = groups.max() + 1 == most and _once_each(groups, places)
            whole &= int((np.bincount(groups) >= SMALLEST_VOLUME).sum()) > 1  # else it is one volume and a stray slice
            if whole and all(len(np.unique(c[groups == g])) == 1 for c in firm for g in range(most)):
                if len(np.unique(codes[teller.words] * (places.max() + 1) + places)) == len(places):
                    return Division(_members(groups, said), f"order of the {teller.words}s", counted=True)
    return None


def _cut(places: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Volume after volume: a new one begins where a position comes again.

    All must take the positions in one order, which only the last may break off: else a repeated slice would be a volume.
    """
    runs: list[list[int]] = [[]]
    taken = set[int]()
    for i in order:
        if int(places[i]) in taken:
            runs.append([])
            taken = set()
        taken.add(int(places[i]))
        runs[-1].append(int(i))
    first = places[runs[0]]
    groups = np.zeros(len(places), int)
    if all(np.array_equal(places[run], first[: len(run)]) for run in runs) and len({len(r) for r in runs[:-1]}) == 1:
        for volume, run in enumerate(runs):
            groups[run] = volume
    return groups


def _dealt(places: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Position after position: each one's first frame is of the first volume; all positions must be taken equally often."""
    seen, groups = np.zeros(places.max() + 1, int), np.empty(len(places), int)
    runs = places[order]
    if len(set(np.bincount(places))) > 1 or (np.diff(runs) != 0).sum() != places.max():
        return np.zeros(len(places), int)
    for i in order:
        groups[i] = seen[places[i]]
        seen[places[i]] += 1
    return groups


def _codes(values: list[Hashable]) -> np.ndarray:
    """Number values in their order: numbers by size, words by letters, none first."""
    ordered = sorted(
        set(values), key=lambda v: (v is not None, *((1, str(v)) if isinstance(v, (str, tuple)) else (0, v or 0)))
    )
    numbers = {v: i for i, v in enumerate(ordered)}
    return np.array([numbers[v] for v in values])


def _once_each(groups: np.ndarray, places: np.ndarray) -> bool:
    """Each volume takes each position at most once, and no more slices are over than are too few for a volume."""
    taken = groups * (int(places.max()) + 1) + places
    sizes = np.bincount(groups)
    return (
        len(np.unique(taken)) == len(taken)
        and int(sizes[sizes < SMALLEST_VOLUME].sum()) < SMALLEST_VOLUME
        and int(sizes.max()) >= SMALLEST_VOLUME
    )


def _members(groups: np.ndarray, said: Sequence[Mapping[str, Hashable]]) -> list[list[int]]:
    found = [[int(i) for i in np.flatnonzero(groups == g)] for g in range(int(groups.max()) + 1)]
    numbers = [s.get("frame", s.get("instance number")) for s in said]
    return found if None in numbers else sorted(found, key=lambda volume: min(numbers[i] for i in volume))


def attributes(members: Sequence[int], said: Sequence[Mapping[str, Hashable]]) -> dict[str, str]:
    """Return the numbers that name one volume among those of its series: those that differ between them, not within it.

    Examples
    --------
    >>> attributes([0, 1], [{"echo time": 20.0}, {"echo time": 20.0}, {"echo time": 80.0}])
    {'EchoTime': '20'}
    """
    out = {}
    for teller in TELLERS:
        within = {said[i].get(teller.words) for i in members}
        if not teller.attribute or len(within) != 1 or within == {s.get(teller.words) for s in said}:
            continue
        (value,) = within
        if isinstance(value, float):
            out[teller.attribute] = f"{value:g}"
        elif isinstance(value, tuple) and all(isinstance(v, float) for v in value):
            out[teller.attribute] = "\\".join(f"{v:g}" for v in value)
    return out
