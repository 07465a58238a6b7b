"""What only pixels can tell of volumes: were slices exchanged between two, are the slices of one those of two scans?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from overread.domain import code_of, noted
from overread.errors import UnreadableFile
from overread.formats.arrange import Part

DOUBT = 1.5
"""Two volumes are doubted where neighbouring slices differ by this many times what they would differ by the other way round.

Noise, motion and contrast that comes and goes leave the ratio near 1: neighbouring slices differ far more than two time points of one.
"""
_PIXELS = 64
"""Rows and columns that are compared are thinned out to about this many."""
_WORK = 1e9
"""Pixels that are compared between volumes: a second or two."""


def check_order(volumes: Sequence[np.ndarray]) -> None:
    """Refuse volumes of one place where slices of any two were exchanged.

    Each slice is compared with its neighbour in its own volume and in every other one; anatomy and contrast go on from
    slice to slice, so the right neighbour is the more similar one.

    Parameters
    ----------
    volumes : sequence of ndarray, (slices, rows, columns[, channels])
        In their order; one of another length than the others is compared with those of its own.

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
    for shape in dict.fromkeys(v.shape for v in volumes):
        alike = [n for n, v in enumerate(volumes) if v.shape == shape]
        side = _side(len(alike), shape[0])
        thin = [
            volumes[n][:, :: max(1, shape[1] // side), :: max(1, shape[2] // side)].reshape(shape[0], -1) for n in alike
        ]
        for k in range(shape[0] - 1 if len(alike) > 1 else 0):
            doubt = _exchanged([v[k] for v in thin], [v[k + 1] for v in thin])
            if doubt is not None:
                one, other, as_dealt, if_exchanged = doubt
                raise UnreadableFile(
                    f"{len(volumes)} volumes at one place whose slices nothing but their order tells apart, and the order "
                    f"cannot be right: slices {k + 1} and {k + 2} of volumes {alike[one] + 1} and {alike[other] + 1} differ "
                    f"by {as_dealt / 2:.3g} on average, and by {if_exchanged / 2:.3g} if exchanged",
                    code="duplicate-position",
                    expected="a fact that tells the volumes apart",
                    do="export each time point, echo or diffusion step as its own series",
                )


def _side(volumes: int, slices: int) -> int:
    """Return about how many rows and columns are compared: fewer of many volumes, for each is compared with each."""
    return int(np.clip(np.sqrt(_WORK / (volumes**2 * slices)), 8, _PIXELS))


def _exchanged(below: list[np.ndarray], above: list[np.ndarray]) -> tuple[int, int, float, float] | None:
    """The two volumes whose upper slices fit best if they are exchanged, with both differences; None where none do."""
    from scipy.spatial.distance import cdist

    apart = cdist(np.stack(below), np.stack(above), "cityblock") / below[0].size
    own = np.diagonal(apart)
    as_dealt, if_exchanged = own[:, None] + own, apart + apart.T
    doubt = as_dealt - DOUBT * if_exchanged
    one, other = (int(n) for n in np.unravel_index(doubt.argmax(), doubt.shape))
    if doubt[one, other] <= 0:
        return None
    return one, other, float(as_dealt[one, other]), float(if_exchanged[one, other])


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
        return [part]
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
