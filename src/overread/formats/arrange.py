"""The frames of a series become stacks: parallel ones together, volumes told apart, copies dropped, or refused.

Nothing here knows pixels or files: it works on what headers say, so that classic series (a file a slice) and enhanced
objects (a file a series) are cut by the same rules.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from overread.domain import noted
from overread.errors import UnreadableFile
from overread.formats import tellers
from overread.formats.moments import at_few_places
from overread.formats.planes import Plane
from overread.formats.stack import Stack, alike, doubled, places, stack


@dataclass(frozen=True)
class Frame:
    """One slice: where it lies, its size in pixels (rows, columns, samples), and what its header says of it.

    ``space`` is its Frame of Reference, "" unsaid: positions of two of them cannot be compared. It is never shown.
    """

    plane: Plane
    size: tuple[int, int, int]
    said: Mapping[str, Hashable] = field(default_factory=dict)
    space: str = field(default="", repr=False)


@dataclass(frozen=True)
class Part:
    """What becomes of some frames: a stack, a single image or a cine (no stack and no refusal), or a refusal.

    Parameters
    ----------
    frames : tuple of int
        Indices; for a stack in its order.
    stack : Stack or None
    refusal : UnreadableFile or None
    attributes : mapping of str to str
        Which of several volumes it is.
    notes : tuple of str
    copies : tuple of int
        Frames that hold the same pixels at the same place as one of ``frames``.
    counted : bool
        True for one of several volumes that no fact tells apart, only the order of times or instance numbers: their
        pixels have to be compared (``check_order``).
    woven : Woven or None
        Set for a stack whose slices take turns in a fact: whether they are one scan, their pixels have to say (``unwoven``).
    joined : Joined or None
        Set for a stack of several acquisitions that lie end to end: how well they join, their pixels have to say.
    """

    frames: tuple[int, ...]
    stack: Stack | None = None
    refusal: UnreadableFile | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    copies: tuple[int, ...] = ()
    counted: bool = False
    woven: Woven | None = None
    joined: Joined | None = None


@dataclass(frozen=True)
class Joined:
    """Where the acquisitions of one even stack lie end to end, and what changes there.

    ``starts``: the first slice of each, from 0, in the order of the stack. ``values``: each one's number, none for what
    is told to nobody (times of day). A helical scan in two blocks of the table lies so, and so do a chest and an abdomen.
    ``sure``: each is long enough for a volume and comes once; else it is worth a word only where the pixels jump there.
    """

    words: str
    starts: tuple[int, ...]
    values: tuple[float, ...]
    sure: bool = True


@dataclass(frozen=True)
class Woven:
    """What the slices of an even stack take turns in (an acquisition number 1, 2, 1, 2, …), and the volumes it would be apart.

    Scanners number the slices of one scan so, or lay two packages of slices into one another; two scans can lie so, too.
    ``told``: that they take turns is worth a word even where the pixels go on from slice to slice.
    """

    words: str
    parts: tuple[Part, ...]
    told: bool


def arrange(frames: list[Frame], *, same: Callable[[int, int], bool]) -> list[Part]:
    """Say which frames make a volume together, by where they lie and what their headers say; every frame is in one part.

    Frames of another direction, size or frame of reference than the rest are separated: three or more make a stack of
    their own, one or two (a scout) are single images beside it. Frames that share a position are copies, or volumes that a fact tells apart
    (``tellers``), or refused.

    Parameters
    ----------
    frames : list of Frame
        All with a place (``Plane.is_placed``).
    same : callable
        True where two frames, given by index, hold the same pixels. Asked only of frames at one position.
    """
    try:
        groups = _parallel(frames)
    except UnreadableFile as error:
        return [Part(tuple(range(len(frames))), refusal=error)]
    if len(groups) == 1:
        return _stacks(frames, groups[0], same)
    large = [g for g in groups if len(g) >= tellers.SMALLEST_VOLUME]
    if not large:
        return [Part(tuple(range(len(frames))), refusal=_mixed(frames, groups))]
    out = []
    for group in groups:
        note = noted(
            "separated-geometry",
            f"{len(group)} of the {len(frames)} slices of this series, which lie in {len(groups)} "
            f"{'directions, sizes or frames of reference' if len({f.space for f in frames}) > 1 else 'directions or sizes'}",
        )
        small = len(group) < tellers.SMALLEST_VOLUME
        parts = [Part((i,)) for i in group] if small else _stacks(frames, group, same)
        out += [replace(part, notes=(*part.notes, note)) for part in parts]
    return out


def _parallel(frames: list[Frame]) -> list[list[int]]:
    """Indices of frames of one size and frame of reference that lie parallel.

    Where all that say it name one frame of reference, those that do not say it are taken to share it.
    """
    several = len({f.space for f in frames} - {""}) > 1
    by_size: dict[tuple[tuple[int, int, int], str], list[int]] = {}
    for i, frame in enumerate(frames):
        by_size.setdefault((frame.size, frame.space if several else ""), []).append(i)
    return [[of[i] for i in group] for of in by_size.values() for group in alike([frames[i].plane for i in of])]


def _mixed(frames: list[Frame], groups: list[list[int]]) -> UnreadableFile:
    sizes = sorted({f.size for f in frames})
    first = np.array(frames[0].plane.orientation)
    apart = np.abs(np.array([f.plane.orientation for f in frames]) - first).max(axis=1)
    turned = int((apart > 1e-3).sum())
    if turned:
        return UnreadableFile(
            f"{turned} of {len(frames)} slices are turned otherwise than the first "
            f"(direction cosines differ by up to {apart.max():.3f}), and no three are parallel",
            code="mixed-orientation",
            expected="parallel slices",
            do="export each plane as its own series",
        )
    if len({f.space for f in frames} - {""}) > 1:
        return UnreadableFile(
            f"{len(frames)} slices in {len({f.space for f in frames})} frames of reference, no three in one",
            code="mixed-reference",
            expected="one: positions of two cannot be compared",
            do="export each scan as its own series",
        )
    spacings = np.array([f.plane.pixel_spacing for f in frames])
    said = " and ".join(f"{r} × {c}" for r, c, _ in sizes[:3])
    return UnreadableFile(
        f"{len(frames)} slices of {len(groups)} sizes in one series ({said}; pixels of {spacings.min():.3f} to "
        f"{spacings.max():.3f} mm), no three alike",
        code="mixed-size",
        expected="one",
        do="export each reconstruction as its own series",
    )


def _stacks(frames: list[Frame], group: list[int], same: Callable[[int, int], bool]) -> list[Part]:
    """The volumes that parallel frames of one size make."""
    taken = places([frames[i].plane for i in group])
    if len(np.unique(taken)) == len(group):
        return _even(frames, group, taken)
    kept, copies = _without_copies(group, taken, same)
    if kept:
        note = noted("copies-dropped", f"{len(copies)} slices with the same pixels at the same place were left out")
        return [replace(p, notes=(*p.notes, note), copies=copies) for p in _even(frames, kept, None)]
    said = [frames[i].said for i in group]
    if shown := at_few_places(taken, said):
        return [
            Part(tuple(group[i] for i in s.frames), attributes=tellers.attributes(s.frames, said), notes=(s.note,))
            for s in shown
        ]
    division = tellers.volumes(taken, said)
    if division is None:
        return [Part(tuple(group), refusal=doubled(len(group), len(np.unique(taken))))]
    return _divided(frames, group, division)


def _even(frames: list[Frame], group: list[int], taken: np.ndarray | None) -> list[Part]:
    """One volume; where it is uneven because two were laid into one another or end to end, those two."""
    part = _one(frames, group)
    if part.stack is not None:
        if apart := _end_to_end(frames, part.frames):
            return apart
        notes = (*part.notes, *_skipped(frames, part.frames))
        return [replace(part, notes=notes, woven=_woven(frames, part.frames), joined=_joined(frames, part.frames))]
    uneven = part.refusal is not None and part.refusal.code in ("uneven-spacing", "missing-slices")
    if taken is None or not uneven:
        return [part]
    said = [{w: v for w, v in frames[i].said.items() if w not in _ALONG} for i in group]
    division = tellers.volumes(taken, said)
    if division is None or len(division.volumes) < 2:
        return [part]
    parts = _divided(frames, group, division)
    return parts if all(p.stack is not None for p in parts) else [part]


def _blocks(said: Sequence[Hashable]) -> list[int]:
    """Where each value begins, if each is said of three or more slices that follow one another, and of no others; else nothing.

    Examples
    --------
    >>> _blocks([1, 1, 1, 2, 2, 2, 2]), _blocks([1, 1, 1, 2, 2, 2, 1]), _blocks([1, 1, 1, 2, 2])
    ([0, 3], [], [])
    """
    starts = [k for k in range(len(said)) if k == 0 or said[k] != said[k - 1]]
    long_enough = all(b - a >= tellers.SMALLEST_VOLUME for a, b in pairwise([*starts, len(said)]))
    return starts if len(starts) == len(set(said)) > 1 and long_enough else []


def _end_to_end(frames: list[Frame], order: tuple[int, ...]) -> list[Part]:
    """The scans that lie end to end in an even stack and differ in what never changes within one; none where nothing does so."""
    said_of = {t.words: [frames[i].said.get(t.words) for i in order] for t in tellers.TELLERS if t.firm}
    changing = [words for words, values in said_of.items() if tellers.changes(words, values)]
    for words in dict.fromkeys([tuple(changing), *((w,) for w in changing)]):
        starts = _blocks([tuple(frames[i].said.get(w) for w in words) for i in order])
        if starts:
            ends = [*starts[1:], len(order)]
            named = " and ".join(words)
            division = tellers.Division([list(range(a, b)) for a, b in zip(starts, ends, strict=True)], named)
            parts = _divided(frames, list(order), division)
            said = f"of {len(order)} that lie end to end and differ in {named}"
            notes = [noted("end-to-end", f"slices {a + 1} to {b} {said}") for a, b in zip(starts, ends, strict=True)]
            return [replace(p, notes=(*p.notes, note)) for p, note in zip(parts, notes, strict=True)]
    return []


def _joined(frames: list[Frame], order: tuple[int, ...]) -> Joined | None:
    """The first fact that changes from one acquisition to the next in a stack whose acquisitions lie end to end."""
    said = {words: [frames[i].said.get(words) for i in order] for words in (*TOLD, "acquisition time")}
    for sure, begun in ((True, _blocks), (False, _runs)):
        for words, values in said.items():
            starts = begun(values) if sure or words in TOLD else tellers.after_a_pause(values)
            if starts:
                shown = tuple(v for k in starts if words in TOLD and isinstance(v := values[k], float))
                return Joined(words, tuple(starts), shown, sure)
    return None


def _runs(said: Sequence[Hashable]) -> list[int]:
    """Where a value begins, or comes back, if that is seldom: runs of three and more, on average.

    Examples
    --------
    >>> _runs([1] * 4 + [2] * 4 + [1] * 4), _runs([1] * 8 + [2]), _runs([1, 2, 1, 2, 1, 2]), _runs([1] * 9)
    ([0, 4, 8], [0, 8], [], [])
    """
    starts = [k for k in range(len(said)) if k == 0 or said[k] != said[k - 1]]
    return starts if 1 < len(starts) <= len(said) / tellers.SMALLEST_VOLUME else []


_ALONG = ("acquisition time", "instance number", "trigger time", "frame reference time", "time point")
"""What may change from slice to slice within one volume: no reason to divide an uneven one."""


def _skipped(frames: list[Frame], order: tuple[int, ...]) -> list[str]:
    """Tell of an even stack whose instance numbers rise by two, three, …, where nothing of its series has those between."""
    numbers = [frames[i].plane.number for i in order]
    if None in numbers:
        return []
    steps = {abs(after - before) for before, after in pairwise(numbers)}
    step = steps.pop()
    between = set(range(min(numbers), max(numbers) + 1)) - set(numbers)
    if steps or step < 2 or between & {f.plane.number for f in frames}:
        return []
    said = (
        f"instance numbers go by {step} from slice to slice ({numbers[0]}, {numbers[1]} … {numbers[-1]}), and no other slice of the "
        f"series has the {len(between)} between: the scan may have had {step} times as many slices"
    )
    return [noted("numbers-skip", said)]


def _woven(frames: list[Frame], order: tuple[int, ...]) -> Woven | None:
    """The first fact in which the slices of a stack, in its order, take turns; None where none does."""
    for teller in tellers.TELLERS:
        said = [frames[i].said.get(teller.words) for i in order]
        many = len(set(said))
        if many < 2 or len(said) < many * tellers.SMALLEST_VOLUME:
            continue
        if all(one == said[k % many] for k, one in enumerate(said)):
            volumes = [list(range(first, len(order), many)) for first in range(many)]
            parts = _divided(frames, list(order), tellers.Division(volumes, teller.words))
            return Woven(teller.words, tuple(parts), told=teller.words in TOLD)
    return None


TOLD = (
    *("acquisition number", "time point", "modality", "series number", "series description", "sequence name"),
    *("repetition time", "slice thickness"),
)
"""Facts that alternate, or change half way, in few scans. A firm one is told as ``facts-change``; the times of slices are nobody's business."""


def _divided(frames: list[Frame], group: list[int], division: tellers.Division) -> list[Part]:
    """A part for each volume; slices of one that has too few for a volume are single images beside the others."""
    said = [frames[i].said for i in group]
    whole = [v for v in division.volumes if len(v) >= tellers.SMALLEST_VOLUME]
    most, few, out = max(map(len, whole)), len(group) - sum(map(len, whole)), []
    for n, volume in enumerate(whole, start=1):
        about = tellers.attributes(volume, said)
        notes = []
        if len(whole) > 1:
            about = {"Volume": f"{n} of {len(whole)}"} | about
            said_so = f"volume {n} of {len(whole)} in this series, told apart by the {division.words}"
            notes.append(noted("one-of-several", said_so))
        if few:
            more = f"{few} more slice{'s' if few > 1 else ''} at its places"
            note = f"{more}, told apart by the {division.words}: pictures of their own, too few for a volume"
            notes.append(noted("few-slices", note))
        if len(volume) < most:
            notes.append(noted("shorter-volume", f"it has {len(volume)} slices, the longest of its series {most}"))
        if division.counted:
            notes.append(noted("counted", f"{_COUNTED} {division.words}"))
        part = _one(frames, [group[i] for i in volume])
        out.append(replace(part, attributes=about, notes=(*part.notes, *notes), counted=division.counted))
    for volume in division.volumes:
        if len(volume) < tellers.SMALLEST_VOLUME:
            many = f"{len(volume)} slice{'s' if len(volume) > 1 else ''} beside the {most} of a volume of this series"
            note = noted("few-slices", f"{many}, told apart by the {division.words}: too few for a volume of their own")
            out += [Part((group[i],), notes=(note,)) for i in volume]
    return out


_COUNTED = "no fact of the header tells which slice is of which volume; they were dealt by the"


def _one(frames: list[Frame], group: list[int]) -> Part:
    try:
        laid = stack([frames[i].plane for i in group])
    except UnreadableFile as error:
        return Part(tuple(group), refusal=error)
    changing = [t.words for t in tellers.TELLERS if t.firm and len({frames[i].said.get(t.words) for i in group}) > 1]
    notes = [noted("facts-change", f"its slices differ in {' and '.join(changing)}")] if changing else []
    return Part(tuple(group[i] for i in laid.order), stack=laid, notes=(*laid.notes, *notes))


def _without_copies(
    group: list[int], taken: np.ndarray, same: Callable[[int, int], bool]
) -> tuple[list[int], tuple[int, ...]]:
    """One frame for each position where all others there are its copies; nothing where only some are."""
    kept: dict[int, int] = {}
    copies = []
    for i, place in zip(group, taken, strict=True):
        if int(place) not in kept:
            kept[int(place)] = i
        elif same(kept[int(place)], i):
            copies.append(i)
        else:
            return [], ()
    return list(kept.values()), tuple(copies)
