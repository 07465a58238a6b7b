"""What only pixels can tell of volumes: were slices exchanged between two, are the slices of one those of two scans?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations, pairwise

import numpy as np

from overread.domain import code_of, noted
from overread.errors import UnreadableFile
from overread.formats.arrange import TOLD, Part

DOUBT = 1.5
"""Two volumes are doubted where neighbouring slices differ by this many times what they would differ by the other way round.

Noise, motion and contrast that comes and goes leave the ratio near 1: neighbouring slices differ far more than two time points of one.
"""
_PIXELS = 64
"""Rows and columns that are compared are thinned out to about this many."""
_FEW = 8
"""Volumes up to which each is compared with each: the phases of a contrast scan, not the moments of a functional one."""


def check_order(volumes: Sequence[np.ndarray]) -> None:
    """Refuse volumes of one place where slices of two were exchanged.

    Each slice is compared with its neighbour in its own volume and in another one (``_pairs``); anatomy and contrast go on
    from slice to slice, so the right neighbour is the more similar one.

    Parameters
    ----------
    volumes : sequence of ndarray, (slices, rows, columns[, channels])
        In their order; they are compared with those of their own length.

    Raises
    ------
    UnreadableFile
        ``duplicate-position``, with the slice and the differences.

    Examples
    --------
    >>> dark, grey, bright = np.full((4, 8, 8), 100), np.full((4, 8, 8), 500), np.full((4, 8, 8), 900)
    >>> check_order([dark, grey, bright])
    >>> dark[2], bright[2] = 900, 100
    >>> check_order([dark, grey, bright])
    Traceback (most recent call last):
    overread.errors.UnreadableFile: 3 volumes at one place whose slices ... 2 and 3 of volumes 1 and 3 differ by 800 on average, and by 0 if exchanged; ...
    """
    thin = [v[:, :: max(1, v.shape[1] // _PIXELS), :: max(1, v.shape[2] // _PIXELS)] for v in volumes]
    for first, second in _pairs(len(thin)):
        if thin[first].shape != thin[second].shape:
            continue
        one, other = thin[first].astype(np.float32), thin[second].astype(np.float32)
        as_dealt = _apart(one[:-1], one[1:]) + _apart(other[:-1], other[1:])
        exchanged = _apart(one[:-1], other[1:]) + _apart(other[:-1], one[1:])
        doubted = np.flatnonzero(as_dealt > DOUBT * exchanged)
        if len(doubted):
            k = int(doubted[0])
            raise UnreadableFile(
                f"{len(volumes)} volumes at one place whose slices nothing but their order tells apart, and the order cannot "
                f"be right: slices {k + 1} and {k + 2} of volumes {first + 1} and {second + 1} differ by {as_dealt[k] / 2:.3g} "
                f"on average, and by {exchanged[k] / 2:.3g} if exchanged",
                code="duplicate-position",
                expected="a fact that tells the volumes apart",
                do="export each time point, echo or diffusion step as its own series",
            )


def _pairs(count: int) -> list[tuple[int, int]]:
    """The volumes that are compared: each with each; of many, those that follow one another, and the first with the last, and so on.

    Among sixty moments of a patient who moves, some two fit better exchanged by chance (measured on a simulated head that
    moves by 3 mm: a factor of 1.8 in all pairs, 1.2 to 1.6 in these).

    Examples
    --------
    >>> _pairs(3), len(_pairs(8)), _pairs(10)[9:]
    ([(0, 1), (0, 2), (1, 2)], 28, [(0, 9), (1, 8), (2, 7), (3, 6)])
    """
    if count <= _FEW:
        return list(combinations(range(count), 2))
    near = list(pairwise(range(count)))
    return near + [(n, count - 1 - n) for n in range(count // 2) if count - 1 - n > n + 1]


def _apart(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Mean absolute difference of each slice of ``one`` from that of ``other``."""
    return np.abs(one - other).reshape(len(one), -1).mean(axis=1)


APART = 2.0
"""Slices that take turns are of two scans where neighbours differ by this many times what the next of the same turn differs by.

Anatomy alone makes the neighbour the more similar one (a ratio below 1).
"""


def unwoven(part: Part, slices: Sequence[np.ndarray]) -> list[Part]:
    """Return a stack whose slices take turns in a fact as it is, or as several volumes where the pixels take turns, too.

    Two packages of slices, or an acquisition number for each slice, are one scan: anatomy goes on from slice to slice. Where
    each slice is far more like the one after the next than like its neighbour, two scans lie in one another.

    Parameters
    ----------
    part : Part
    slices : sequence of ndarray, (rows, columns[, channels])
        In the order of ``part.frames``.

    Returns
    -------
    list of Part
        ``part`` itself, or its ``woven.parts``; with what was measured among their notes.
    """
    if part.woven is None:
        return [_told_of_joints(part, slices)]
    many = len(part.woven.parts)
    flat = [_coarse(s) for s in slices]
    near, far = (float(np.median(_steps(flat, by))) for by in (1, many))
    said = (
        f"its slices take turns in {many} values of the {part.woven.words}; neighbours differ by {near:.3g} on average, "
        f"and each by {far:.3g} from the next of its own"
    )
    if near > APART * far and all(p.stack is not None for p in part.woven.parts):
        note = noted(
            "in-turn", f"{said.replace('its slices', 'the slices of its series')}: {many} volumes, taken apart"
        )
        return [replace(p, notes=(*p.notes, *_kept(part), note), copies=part.copies) for p in part.woven.parts]
    if part.woven.told:
        return [replace(part, notes=(*part.notes, noted("in-turn", f"{said}: kept as one volume")))]
    return [part]


def _told_of_joints(part: Part, slices: Sequence[np.ndarray]) -> Part:
    """Say of a stack where its acquisitions meet, and how its pixels go on there; of times of day only where they do not."""
    if part.joined is None:
        return part
    starts, values, words = part.joined.starts, part.joined.values, part.joined.words
    steps = np.array(_steps([_coarse(s) for s in slices], 1))
    border = np.zeros(len(steps), bool)
    border[[k - 1 for k in starts[1:]]] = True
    there, elsewhere = float(steps[border].max()), float(np.median(steps[~border]))
    if (words not in TOLD or not part.joined.sure) and there <= APART * elsewhere:
        return part
    if not part.joined.sure and there <= float(steps[~border].max()):
        return part
    named = values if len(values) == len(starts) else (None,) * len(starts)
    blocks = [
        f"{a + 1} to {b}" + ("" if value is None else f" of {value:g}")
        for a, b, value in zip(starts, (*starts[1:], len(slices)), named, strict=True)
    ]
    some = blocks if len(blocks) <= _FEW else [*blocks[:2], "…", blocks[-1]]
    jump = " (a jump: they may be two examinations)" if there > APART * elsewhere else ""
    said = (
        f"its slices lie end to end in {len(starts)} {'values' if part.joined.sure else 'blocks'} of the {words} ({', '.join(some)}); where two meet, neighbours "
        f"differ by up to {there:.3g} on average{jump}, elsewhere by {elsewhere:.3g}: kept as one volume"
    )
    return replace(part, notes=(*part.notes, noted("end-to-end", said)))


def said_twice(voxels: np.ndarray) -> list[str]:
    """Tell of neighbouring slices with the very same pixels, in a volume of which most neighbours differ.

    Noise never repeats itself: one of the two was lost, and another is in its place. Slices of one value are air.

    Examples
    --------
    >>> volume = np.arange(24).reshape(6, 2, 2); volume[3] = volume[2]
    >>> said_twice(volume)
    ['same-slices: slices 3 and 4 have the very same pixels at two places (1 such pair in 6 slices): one may stand for another that was lost']
    >>> said_twice(np.zeros((6, 2, 2))), said_twice(np.tile(volume[0], (6, 1, 1)))
    ([], [])
    """
    same = [k for k in range(len(voxels) - 1) if np.array_equal(voxels[k], voxels[k + 1])]
    same = [k for k in same if voxels[k].min() < voxels[k].max()]
    if not same or 2 * len(same) >= len(voxels) - 1:
        return []
    pairs = f"{len(same)} such pair{'s' * (len(same) > 1)} in {len(voxels)} slices"
    said = f"slices {same[0] + 1} and {same[0] + 2} have the very same pixels at two places ({pairs})"
    return [noted("same-slices", f"{said}: one may stand for another that was lost")]


def _kept(part: Part) -> list[str]:
    """What was told of the whole and is true of its parts."""
    return [note for note in part.notes if code_of(note) in ("copies-dropped", "separated-geometry")]


def _coarse(picture: np.ndarray) -> np.ndarray:
    """Return a slice in blocks of about 64 × 64, each the mean of its pixels: noise, which has no neighbours, is less."""
    down, right = (max(1, size // _PIXELS) for size in picture.shape[:2])
    rows, columns = picture.shape[0] // down * down, picture.shape[1] // right * right
    whole = picture[:rows, :columns].astype(np.float32).reshape(rows // down, down, columns // right, right, -1)
    return whole.mean(axis=(1, 3))


def _steps(slices: Sequence[np.ndarray], by: int) -> list[float]:
    return [float(np.abs(one - other).mean()) for one, other in zip(slices, slices[by:], strict=False)]
