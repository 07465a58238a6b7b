"""Apply a recipe: the only road from an image to a network, in training and in the clinic.

A recipe is data (``domain.Recipe``): names of the functions in ``STEPS`` below and their arguments. Every step takes an
array (slices, rows, columns, channels) of float32 and returns one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from overread.domain import Image, Recipe, Step
from overread.errors import UnreadableFile
from overread.imaging import intensity
from overread.imaging.resampling import covered, resample, spaced

LUMA = (0.299, 0.587, 0.114)
"""Grey from red, green and blue (ITU-R BT.601)."""

AIR = 0.1
"""Voxels below this share of the 99.5th percentile are taken for air round the body, in MR."""


DARKEST = "darkest"
"""In place of a number for what lies outside an image: the darkest of its own voxels."""


@dataclass(frozen=True)
class Placement:
    """Where the original picture lies on the network's input grid.

    ``original``, ``resized`` and ``size`` are (slices, rows, columns); ``offset`` is the first voxel of the resized
    picture on the input grid. Slices are 1 for a two-dimensional network. ``step`` says how many original voxels lie
    between neighbouring ones of the grid, where the recipe states millimetres; ``resized`` is then what of the grid the
    picture covers, and the picture may reach beyond the grid.
    """

    original: tuple[int, int, int]
    resized: tuple[int, int, int]
    size: tuple[int, int, int]
    offset: tuple[int, int, int]
    step: tuple[float, float, float] | None = None

    @property
    def cells(self) -> float:
        """How many voxels of the grid there are for one of the original."""
        if self.step is not None:
            return 1.0 / math.prod(self.step)
        return float(np.prod(self.resized) / np.prod(self.original))

    @property
    def cut_off(self) -> tuple[float, float, float]:
        """Share of the original (slices, rows, columns) that lies beyond the grid, and is not read."""
        if self.step is None:
            return 0.0, 0.0, 0.0
        z, y, x = (max(0.0, 1 - m * s / n) for n, m, s in zip(self.original, self.size, self.step, strict=True))
        return z, y, x


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
    args = _resize_step(recipe).args
    size = _full_size(args["size"])
    if args.get("spacing_mm") is None:
        return _place(original, size)
    return _place_in_mm(original, size, _steps(image, args["spacing_mm"]))


MOST_UNREAD = 0.5
"""Share of a volume along one axis; where more lies beyond the grid, an answer would be one about the middle alone."""


def unread(recipe: Recipe, image: Image) -> str:
    """Say that most of a volume lies beyond what a recipe in millimetres reads; "" where it does not.

    Examples
    --------
    >>> at = Recipe((Step("resize", {"size": (8, 8, 8), "spacing_mm": (2, 2, 2), "fill": 0.0}),))
    >>> unread(at, Image(np.zeros((40, 8, 8)), spacing_mm=(1.0, 1.0, 1.0)))
    'the volume reaches over 40 mm along its slices, of which this model reads the middle 16 mm'
    >>> unread(at, Image(np.zeros((20, 8, 8)), spacing_mm=(1.0, 1.0, 1.0)))
    ''
    """
    where = placement(recipe, image)
    axes = zip(("slices", "rows", "columns"), where.cut_off, where.original, image.spacing_mm or (0, 0, 0), strict=True)
    share, name, mm = max(((cut, name, n * mm) for name, cut, n, mm in axes), key=lambda axis: axis[0])
    if share <= MOST_UNREAD:
        return ""
    return f"the volume reaches over {mm:.0f} mm along its {name}, of which this model reads the middle {(1 - share) * mm:.0f} mm"


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
    if where.step is not None:  # what lies beyond the grid was not read, and has no part in the answer
        slices, rows, columns = (1 / s for s in where.step)
        return spaced(on_grid[..., None], where.original, step=(slices, rows, columns), fill=0.0)[..., 0]
    part = tuple(slice(o, o + n) for o, n in zip(where.offset, where.resized, strict=True))
    return resample(on_grid[part][..., None], where.original)[..., 0]


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


def _resize(values, image, *, size, spacing_mm=None, fill=DARKEST):
    if spacing_mm is not None:
        fill = float(values.min()) if fill == DARKEST else fill
        return spaced(values, _full_size(size), step=_steps(image, spacing_mm), fill=fill)
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


def _place_in_mm(original, size: tuple[int, int, int], step: tuple[float, float, float]) -> Placement:
    """Lay the middle of the volume on the middle of the grid."""
    parts = [covered(n, m, s) for n, m, s in zip(original, size, step, strict=True)]
    offset, resized = zip(*parts, strict=True)
    return Placement(tuple(original), resized, size, offset, step)


def _steps(image: Image, spacing_mm) -> tuple[float, float, float]:
    """How many voxels of an image lie between neighbouring voxels of a grid of this spacing."""
    have = image.spacing_mm
    if have is None or not all(math.isfinite(v) and v > 0 for v in have):
        raise UnreadableFile(
            "a volume that does not say how far its voxels lie apart",
            code="no-spacing",
            expected=f"its spacing in mm, since this model reads voxels of {' × '.join(f'{v:g}' for v in spacing_mm)} mm",
            do="give the original series (DICOM or NIfTI), or train a model on the grid alone, without --spacing",
        )
    slices, rows, columns = (want / own for want, own in zip(spacing_mm, have, strict=True))
    return slices, rows, columns


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
