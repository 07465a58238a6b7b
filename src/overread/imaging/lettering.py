"""Is there writing in the pixels? A flag that a person looks at, never a promise that there is none.

Writing that a machine burned into a picture is many small shapes of one ink (nearly one grey value), much brighter or
darker than what lies around them, about equally high, side by side in a row. Four or more such shapes in a row are
called lettering; no letter is read. A single letter, such as the lead R or L on a film, is not looked for.

How often it is right and wrong is measured by ``benchmarks/lettering.py`` and told in ``docs/inspect.md``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

IN_A_ROW = 4
"""Shapes side by side that are called lettering."""

_LARGEST = 1024  # a side, in pixels; larger pictures are looked at in about this size
_STROKE = 9  # pixels: the stroke of a letter is thinner than this
_CONTRASTS = (
    (64, IN_A_ROW),
    (32, IN_A_ROW + 2),
)  # between ink and what lies around it, of 255; faint letters must be more
_HIGH = (5, 60)  # pixels
_WIDE = (0.08, 1.7)  # of the height
_FILLED = (0.15, 0.92)  # of the box around a letter, but for thin ones ("l", "1")
_SAME_INK = 38  # of 255
_SAME_HEIGHT = 1.9
_GAP = 1.0  # between neighbours, of the height
_UNEVEN = 0.14  # how far letters stand from a common line, of their height
_SMOOTH = 0.4  # what has the thickness of a stroke between and around letters, of the letters' contrast
_LINE = 1.8  # height of a row, of that of its letters
_FULL = 0.45  # of a row's length is letters
_ALONE = 0.7  # of what has contrast in and close around a row belongs to its letters
_MOST_SHAPES = 2000

Box = tuple[int, int, int, int]
"""Top, left, bottom and right, in pixels."""


@dataclass(frozen=True)
class Lettering:
    """Where there may be writing.

    Parameters
    ----------
    lines : tuple of (top, left, bottom, right)
        Rows of at least four letter-like shapes, as shares of the picture's height and width, 0 to 1.
    shapes : int
        How many shapes they are together.
    """

    lines: tuple[tuple[float, float, float, float], ...] = ()
    shapes: int = 0

    def __bool__(self) -> bool:
        return bool(self.lines)


def lettering(plane: np.ndarray) -> Lettering:
    """Return where a picture may have writing burned in, white or black.

    Parameters
    ----------
    plane : ndarray, (rows, columns)
        In any unit.

    Examples
    --------
    >>> letters = np.zeros((40, 90))
    >>> for left in range(10, 70, 10):  # six upright strokes with a foot: "LLLLLL"
    ...     letters[12:24, left : left + 2] = letters[22:24, left : left + 6] = 1
    >>> lettering(letters).shapes, lettering(letters[:, :30]).shapes
    (6, 0)
    """
    grey = _scaled(plane)
    hats = [(ink, ink - _opened(ink)) for ink in (grey, 255 - grey)]
    lines: list[tuple[Box, int]] = []
    for contrast, fewest in _CONTRASTS:
        for ink, hat in hats:
            lines += _lines(_shapes(ink, hat, least=contrast), least=contrast, fewest=fewest)
        if lines:
            break
    lines = _apart(lines)
    rows, columns = grey.shape
    shares = tuple(
        (top / rows, left / columns, bottom / rows, right / columns) for (top, left, bottom, right), _ in lines
    )
    return Lettering(shares, sum(n for _, n in lines))


def _apart(lines: list[tuple[Box, int]]) -> list[tuple[Box, int]]:
    """Keep of rows that lie on each other the one with most shapes: the gaps between black letters look like white ones."""
    kept: list[tuple[Box, int]] = []
    for box, count in sorted(lines, key=lambda line: (-line[1], line[0])):
        row, column = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        if not any(b[0] <= row <= b[2] and b[1] <= column <= b[3] for b, _ in kept):
            kept.append((box, count))
    return kept


def _scaled(plane: np.ndarray) -> np.ndarray:
    """Return the picture from 0 to 255, at most about 1024 pixels high and wide."""
    step = -(-max(plane.shape) // _LARGEST)
    grey = np.asarray(plane, np.float32)
    if step > 1:
        rows, columns = (n // step for n in grey.shape)
        grey = grey[: rows * step, : columns * step].reshape(rows, step, columns, step).mean(axis=(1, 3))
    low, high = (float(v) for v in np.percentile(grey.reshape(-1)[:: max(1, grey.size >> 16)], (0.2, 99.8)))
    if high <= low:
        low, high = float(grey.min()), float(grey.max())
    if high <= low:
        return np.zeros(grey.shape, np.uint8)
    return np.clip((grey - low) * (255.0 / (high - low)), 0, 255).astype(np.uint8)


def _opened(grey: np.ndarray) -> np.ndarray:
    """Return the picture without bright strokes thinner than 9 pixels: the darkest of 9 × 9, then the brightest of these.

    The same as ``scipy.ndimage.grey_opening``, thirty times as fast on bytes.
    """
    half = _STROKE // 2
    for darker in (np.minimum, np.maximum):
        for axis in (0, 1):
            wide = np.pad(grey, [(half, half) if a == axis else (0, 0) for a in (0, 1)], mode="symmetric")
            wide = np.moveaxis(wide, axis, 0)
            for reach in (1, 2, 4, 1):  # the extreme of 2, 4, 8 and 9 neighbours
                wide = darker(wide[:-reach], wide[reach:])
            grey = np.moveaxis(wide, 0, axis)
    return grey


@dataclass(frozen=True)
class _Shapes:
    """Connected thin shapes of high contrast: their boxes and the grey value of their ink."""

    top: np.ndarray
    left: np.ndarray
    bottom: np.ndarray
    right: np.ndarray
    ink: np.ndarray
    contrast: np.ndarray
    area: np.ndarray
    hat: np.ndarray

    @property
    def height(self) -> np.ndarray:
        return self.bottom - self.top

    @property
    def width(self) -> np.ndarray:
        return self.right - self.left


def _shapes(ink: np.ndarray, hat: np.ndarray, *, least: int) -> _Shapes:
    """Return the shapes that could be letters."""
    mask = hat > least
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    area = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    boxes = np.array([(r.start, c.start, r.stop, c.stop) for r, c in ndimage.find_objects(labels)], int).reshape(-1, 4)
    height, width = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    wide, filled = width / np.maximum(height, 1), area / np.maximum(height * width, 1)
    kept = (height >= _HIGH[0]) & (height <= _HIGH[1]) & (wide >= _WIDE[0]) & (wide <= _WIDE[1])
    kept &= (filled >= _FILLED[0]) & ((filled <= _FILLED[1]) | (wide < 0.45))
    chosen = np.flatnonzero(kept)[:_MOST_SHAPES]
    where = np.flatnonzero(mask)
    top_ink, contrast = np.zeros((2, count + 1), np.uint8)
    np.maximum.at(top_ink, labels.flat[where], ink.flat[where])
    np.maximum.at(contrast, labels.flat[where], hat.flat[where])
    top_ink, contrast = (extreme[chosen + 1].astype(int) for extreme in (top_ink, contrast))
    return _Shapes(*boxes[chosen].T, top_ink, contrast, area[chosen], hat)


def _lines(shapes: _Shapes, *, least: int, fewest: int) -> list[tuple[Box, int]]:
    """Return rows of at least four like shapes on a common line, with smooth ground around them."""
    if len(shapes.ink) < fewest:
        return []
    high = np.maximum(shapes.height[:, None], shapes.height[None])
    low = np.minimum(shapes.height[:, None], shapes.height[None])
    gap = shapes.left[None] - shapes.right[:, None]
    beside = (gap >= -0.2 * low) & (gap <= _GAP * high) & (shapes.left[None] > shapes.left[:, None])
    beside &= high <= _SAME_HEIGHT * low
    beside &= np.abs(shapes.ink[:, None] - shapes.ink[None]) <= _SAME_INK
    on_line = np.abs(shapes.bottom[:, None] - shapes.bottom[None]) <= np.maximum(0.2 * high, 1)
    on_line |= np.abs(shapes.top[:, None] - shapes.top[None]) <= np.maximum(0.2 * high, 1)
    beside &= on_line
    if beside.sum() < fewest - 1:
        return []
    groups = connected_components(coo_array(beside), directed=False)[1]
    found = []
    for group in np.flatnonzero(np.bincount(groups) >= fewest):
        members = np.flatnonzero(groups == group)
        box = (
            int(shapes.top[members].min()),
            int(shapes.left[members].min()),
            int(shapes.bottom[members].max()),
            int(shapes.right[members].max()),
        )
        if _is_writing(shapes, members, box, least=least):
            found.append((box, len(members)))
    return found


def _is_writing(shapes: _Shapes, members: np.ndarray, box: Box, *, least: int) -> bool:
    """Say whether shapes stand on a common line, in one ink, on smooth ground."""
    height = float(np.median(shapes.height[members]))
    off_line = min(
        float(np.mean(np.abs(edge - np.median(edge)))) for edge in (shapes.bottom[members], shapes.top[members])
    )
    if off_line > max(_UNEVEN * height, 0.6) or box[2] - box[0] > _LINE * height:
        return False
    if shapes.width[members].sum() < _FULL * (box[3] - box[1]):
        return False  # words leave little room between their letters
    rim = max(2, round(0.25 * height))
    around = (slice(max(0, box[0] - rim), box[2] + rim), slice(max(0, box[1] - rim), box[3] + rim))
    hat = shapes.hat[around]
    mask = hat > least
    if shapes.area[members].sum() < _ALONE * mask.sum():
        return False  # one row of a texture: like things lie above and below
    ground = hat[~ndimage.binary_dilation(mask, iterations=2)]
    return len(ground) > 0 and float(np.percentile(ground, 95)) <= _SMOOTH * float(np.median(shapes.contrast[members]))
