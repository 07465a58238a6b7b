"""Apply a recipe: the only road from an image to a network, in training and in the clinic.

A recipe is data (``domain.Recipe``): names of the functions in ``STEPS`` below and their arguments. Every step takes an
array (slices, rows, columns, channels) of float32 and returns one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from overread.domain import Image, Recipe, Step
from overread.errors import UnreadableFile
from overread.imaging import intensity
from overread.imaging.one_thread import one_thread

LUMA = (0.299, 0.587, 0.114)
"""Grey from red, green and blue (ITU-R BT.601)."""

AIR = 0.1
"""Voxels below this share of the 99.5th percentile are taken for air round the body, in MR."""


@dataclass(frozen=True)
class Placement:
    """Where the original picture lies on the network's input grid.

    ``original``, ``resized`` and ``size`` are (slices, rows, columns); ``offset`` is the first voxel of the resized
    picture on the input grid. Slices are 1 for a two-dimensional network.
    """

    original: tuple[int, int, int]
    resized: tuple[int, int, int]
    size: tuple[int, int, int]
    offset: tuple[int, int, int]


def apply(recipe: Recipe, image: Image) -> np.ndarray:
    """Return the network input that the recipe makes of an image.

    Parameters
    ----------
    recipe : Recipe
    image : Image

    Returns
    -------
    ndarray of float32, (rows, columns, channels), or (slices, rows, columns, channels) for a recipe in three dimensions.

    Raises
    ------
    UnreadableFile
        When a volume meets a recipe for single pictures, or the other way round.

    Examples
    --------
    >>> image = Image(np.arange(64, dtype=np.uint8).reshape(1, 8, 8), full_range=(0, 255))
    >>> recipe = Recipe((Step("normalise", {"by": "full_range"}), Step("resize", {"size": (4, 4)})))
    >>> apply(recipe, image).shape
    (4, 4, 1)
    """
    flat = _dimensions(recipe) == 2
    _check_dimensions(recipe, image, flat=flat)
    values = np.asarray(image.voxels, np.float32)
    if values.ndim == 3:
        values = values[..., None]
    for step in recipe.steps:
        values = STEPS[step.name](values, image, **step.args)
    values = np.ascontiguousarray(values, np.float32)
    return values[0] if values.shape[0] == 1 and flat else values


def placement(recipe: Recipe, image: Image) -> Placement:
    """Return where the picture came to lie on the input grid, to map results back onto the original pixels."""
    original = image.voxels.shape[:3]
    if any(s.name == "three_slices" for s in recipe.steps):
        original = (1, *original[1:])
    size = _full_size(_resize_step(recipe).args["size"])
    return _place(original, size)


def back(values: np.ndarray, where: Placement) -> np.ndarray:
    """Return a map on (a coarser version of) the input grid as a map on the original pixel grid.

    Parameters
    ----------
    values : ndarray, (slices, rows, columns)
        One value for each cell; cells divide the input grid evenly (a feature map after pooling).
    where : Placement

    Returns
    -------
    ndarray of float32, (slices, rows, columns) of the original image.

    Examples
    --------
    >>> where = Placement((1, 4, 4), (1, 8, 8), (1, 8, 8), (0, 0, 0))
    >>> back(np.ones((1, 2, 2)), where).shape
    (1, 4, 4)
    """
    on_grid = resample(np.asarray(values, np.float32)[..., None], where.size)[..., 0]
    part = tuple(slice(o, o + n) for o, n in zip(where.offset, where.resized, strict=True))
    return resample(on_grid[part][..., None], where.original)[..., 0]


def resample(values: np.ndarray, size: tuple[int, int, int]) -> np.ndarray:
    """Return an array on another grid: linear when it grows, a triangle filter as wide as the new pixel when it shrinks.

    Grids are aligned by their outer edges, so a picture neither moves nor gains a border.

    Parameters
    ----------
    values : ndarray, (slices, rows, columns, channels)
    size : (int, int, int)
        New (slices, rows, columns).

    Examples
    --------
    >>> resample(np.array([0.0, 1, 2, 3]).reshape(1, 1, 4, 1), (1, 1, 2)).ravel().tolist()  # doctest: +ELLIPSIS
    [0.714..., 2.285...]
    """
    out = values.astype(np.float32, copy=False)
    order = sorted(range(3), key=lambda a: size[a] / out.shape[a])  # where most is left out first: less is left to do
    with one_thread():
        for axis in order:
            if out.shape[axis] != size[axis]:
                out = _along(out, size[axis], axis)
    return np.ascontiguousarray(out, np.float32)


def _along(values: np.ndarray, m: int, axis: int) -> np.ndarray:
    """Take one axis to m samples, band by band: a new sample depends on few old ones, so most of a whole matrix is zero."""
    before, n, after = (
        int(np.prod(values.shape[s])) for s in (slice(axis), slice(axis, axis + 1), slice(axis + 1, None))
    )
    source = np.ascontiguousarray(values).reshape(before, n, after)
    out = np.empty((before, m, after), np.float32)
    for rows, columns, weights in _bands(n, m):
        if after == 1:
            np.matmul(source[:, columns, 0], weights.T, out=out[:, rows, 0])
        else:
            np.matmul(weights, source[:, columns], out=out[:, rows])
    return out.reshape(*values.shape[:axis], m, *values.shape[axis + 1 :])


_BAND = 16
"""Samples of the new grid that are computed at a time."""


@lru_cache(maxsize=64)
def _bands(n: int, m: int) -> tuple[tuple[slice, slice, np.ndarray], ...]:
    """The weights in blocks without the zeros beside them: new samples, the old ones they need, and the weights."""
    weights, out = _weights(n, m), []
    for first in range(0, m, _BAND):
        rows = slice(first, min(m, first + _BAND))
        used = np.flatnonzero(weights[rows].any(axis=0))
        columns = slice(int(used[0]), int(used[-1]) + 1)
        out.append((rows, columns, np.ascontiguousarray(weights[rows, columns])))
    return tuple(out)


@lru_cache(maxsize=64)
def _weights(n: int, m: int) -> np.ndarray:
    """Weights (m, n) that take n samples to m; each row sums to one."""
    scale = n / m
    reach = max(1.0, scale)
    centres = (np.arange(m) + 0.5) * scale - 0.5
    w = np.maximum(0.0, 1.0 - np.abs(np.arange(n)[None, :] - np.clip(centres, 0, n - 1)[:, None]) / reach)
    return (w / w.sum(axis=1, keepdims=True)).astype(np.float32)


def _window(values, image, *, center, width):
    return intensity.window(values, center=center, width=width)


def _windows(values, image, *, of):
    """Several windows of one image, each a channel: lung, soft tissue and bone are never grey at once."""
    shown = [intensity.window(values[..., :1], center=center, width=width) for center, width in of]
    return np.concatenate(shown, axis=-1)


def _body(values, image, *, reach=4.0):
    """Standard deviations from the mean of the body, from −reach to reach, as 0 to 1; air is what is nearly black."""
    top = intensity.percentile_range(values, lower=0.0, upper=99.5)[1]
    inside = values[values > AIR * top]
    if inside.size < 16:
        inside = values
    mean, std = float(inside.mean(dtype=np.float64)), float(inside.std(dtype=np.float64))
    return np.clip(0.5 + intensity.standardise(values, mean=mean, std=std) / (2 * reach), 0.0, 1.0)


def _normalise(values, image, *, by="image", lower=0.0, upper=100.0, clip=False):
    if by == "full_range" and image.full_range is not None:
        low, high = image.full_range
    else:
        low, high = intensity.percentile_range(values, lower=lower, upper=upper)
        if low == high:  # a thin mask: all but a few voxels are background, and the few are what matters
            low, high = float(values.min()), float(values.max())
    out = intensity.normalise(values, low=low, high=high)
    return np.clip(out, 0.0, 1.0) if clip else out


def _standardise(values, image, *, by="image", mean=0.0, std=1.0):
    if by == "image":
        mean, std = float(values.mean(dtype=np.float64)), float(values.std(dtype=np.float64))
    return intensity.standardise(values, mean=mean, std=std)


def _channels(values, image, *, count):
    have = values.shape[-1]
    if have == count:
        return values
    if count == 1:
        return (values[..., :3] @ np.asarray(LUMA, np.float32))[..., None]
    return np.repeat(values[..., :1], count, axis=-1)


def _three_slices(values, image):
    """The slices at 1/4, 1/2 and 3/4 of a volume as the three channels of one picture."""
    n = values.shape[0]
    if n == 1:
        return values
    chosen = values[[n // 4, n // 2, (3 * n) // 4], ..., 0]
    return np.moveaxis(chosen, 0, -1)[None]


def _resize(values, image, *, size):
    where = _place(values.shape[:3], _full_size(size))
    if where.resized == where.size:
        return resample(values, where.size)
    out = np.full((*where.size, values.shape[-1]), values.min(), np.float32)  # a margin as dark as the darkest voxel
    part = tuple(slice(o, o + n) for o, n in zip(where.offset, where.resized, strict=True))
    out[part] = resample(values, where.resized)
    return out


STEPS = {
    "window": _window,
    "windows": _windows,
    "body": _body,
    "normalise": _normalise,
    "standardise": _standardise,
    "channels": _channels,
    "three_slices": _three_slices,
    "resize": _resize,
}
"""What a recipe may name."""


def _place(original: tuple[int, ...], size: tuple[int, int, int]) -> Placement:
    """Keep the aspect in the plane; slices are stretched to the size, since they rarely have the plane's spacing."""
    scale = min(size[1] / original[1], size[2] / original[2])
    rows, columns = (max(1, min(s, round(o * scale))) for o, s in zip(original[1:], size[1:], strict=True))
    offset = (0, (size[1] - rows) // 2, (size[2] - columns) // 2)
    return Placement(tuple(original), (size[0], rows, columns), size, offset)


def _full_size(size) -> tuple[int, int, int]:
    size = tuple(int(n) for n in size)
    return (1, *size) if len(size) == 2 else size


def _resize_step(recipe: Recipe) -> Step:
    return next(s for s in recipe.steps if s.name == "resize")


def _dimensions(recipe: Recipe) -> int:
    return len(_resize_step(recipe).args["size"])


def _check_dimensions(recipe: Recipe, image: Image, *, flat: bool) -> None:
    deep = not flat or any(s.name == "three_slices" for s in recipe.steps)  # three slices stand in for a volume's
    if deep and not image.is_volume:
        raise UnreadableFile(
            "a single picture", code="not-a-volume", expected="a volume of several slices", do="give the whole series"
        )
    if not deep and image.is_volume:
        raise UnreadableFile(
            f"a volume of {image.voxels.shape[0]} slices",
            code="not-a-picture",
            expected="a single picture, which is what this model was trained on",
            do="give a single image, or train a model on volumes",
        )
