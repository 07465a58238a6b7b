"""A contact sheet: many small pictures on one page, so that a person sees at a glance what was collected."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from io import BytesIO

import numpy as np
from matplotlib.figure import Figure

from overread.domain import Image
from overread.pages.overlay import window

_TILE_IN = 1.7
_CAPTION_IN = 0.42
_DPI = 110
_MOST_PIXELS = 512  # along a side, before windowing: a tile shows fewer


def contact_sheet(images: Iterable[Image], *, captions: Sequence[str] = (), title: str = "", columns: int = 6) -> bytes:
    """Return a page of small pictures as PNG, each with a caption of one or two lines.

    A volume shows its middle slice; pixels that are not square in the patient are shown so.

    Parameters
    ----------
    images : iterable of Image
        At least one; taken one at a time.
    captions : sequence of str
        One for each image, or none.
    title : str
    columns : int
        Pictures in a row.

    Returns
    -------
    bytes
        PNG.

    Raises
    ------
    ValueError
        When there is no image.

    Examples
    --------
    >>> contact_sheet([Image(np.zeros((1, 8, 8), np.uint8), full_range=(0, 255))])[1:4]
    b'PNG'
    """
    tiles = [(_middle(image), _aspect(image)) for image in images]
    if not tiles:
        raise ValueError("no image for a contact sheet")
    columns = min(columns, len(tiles))
    rows = -(-len(tiles) // columns)
    top = 0.45 if title else 0.1
    width, height = columns * _TILE_IN + 0.2, rows * (_TILE_IN + _CAPTION_IN) + top
    figure = Figure(figsize=(width, height), dpi=_DPI, facecolor="white")
    if title:
        figure.text(0.1 / width, 1 - 0.22 / height, title, fontsize=10, va="center", parse_math=False)
    for i, (pixels, aspect) in enumerate(tiles):
        row, column = divmod(i, columns)
        left, below = 0.1 + column * _TILE_IN, height - top - row * (_TILE_IN + _CAPTION_IN) - _TILE_IN
        axes = figure.add_axes((left / width, below / height, (_TILE_IN - 0.08) / width, (_TILE_IN - 0.08) / height))
        axes.set_facecolor("black")
        axes.set_xticks([])
        axes.set_yticks([])
        axes.imshow(pixels, cmap="gray", vmin=0, vmax=255, aspect=aspect, interpolation="antialiased")
        axes.set_adjustable("datalim")  # the frame stays square, the picture keeps its proportions
        if i < len(captions):
            figure.text(
                (left + 0.02) / width,
                (below - 0.03) / height,
                "\n".join(_cut(line) for line in captions[i].split("\n")[:2]),
                fontsize=6.5,
                va="top",
                linespacing=1.3,
                parse_math=False,
            )
    out = BytesIO()
    figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()


def _flattest(image: Image) -> int:
    """Return the axis to look along: across the slices, unless the volume is much thinner another way."""
    shape = image.voxels.shape[:3]
    thinnest = int(np.argmin(shape))
    return thinnest if image.is_volume and 3 * shape[thinnest] < shape[0] else 0


def _middle(image: Image) -> np.ndarray:
    """Return the middle slice as shown on a screen, thinned to what a tile can show."""
    planes = np.moveaxis(image.voxels, _flattest(image), 0)
    middle, step = planes.shape[0] // 2, max(1, -(-max(planes.shape[1:3]) // _MOST_PIXELS))
    return window(replace(image, voxels=planes[middle : middle + 1, ::step, ::step]))[0]


def _aspect(image: Image) -> float:
    """Return how much higher than wide a pixel is."""
    if image.spacing_mm is None:
        return 1.0
    high, wide = (mm for axis, mm in enumerate(image.spacing_mm) if axis != _flattest(image))
    return high / wide if high > 0 and wide > 0 else 1.0


def _cut(line: str) -> str:
    return line if len(line) <= 34 else f"{line[:33]}…"
