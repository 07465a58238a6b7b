"""A contact sheet: many small pictures on one page, so that a person sees at a glance what was collected."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from PIL import Image as Picture

from overread.domain import Image
from overread.pages import canvas
from overread.pages.canvas import px
from overread.pages.overlay import window

_TILE_IN = 1.7
_CAPTION_IN = 0.42
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
    page = canvas.blank(width, height)
    if title:
        canvas.write(page, (px(0.1), px(0.22)), title, 10, anchor="lm", room=page.width - 2 * px(0.1))
    side = px(_TILE_IN - 0.08)
    for i, (pixels, aspect) in enumerate(tiles):
        row, column = divmod(i, columns)
        left, above = px(0.1 + column * _TILE_IN), px(top + row * (_TILE_IN + _CAPTION_IN) + 0.08)
        tile = Picture.new("RGB", (side, side), "black")  # the frame is square, the picture keeps its proportions
        drawn = canvas.fitted(pixels, (side, side), aspect=aspect, blocky=True)
        tile.paste(drawn, ((side - drawn.width) // 2, (side - drawn.height) // 2))
        page.paste("black", (left - 1, above - 1, left + side + 1, above + side + 1))  # white pictures end somewhere
        page.paste(tile, (left, above))
        lines = captions[i].split("\n")[:2] if i < len(captions) else ()
        for j, line in enumerate(lines):
            canvas.write(page, (left + 2, above + side + 13 + 13 * j), _cut(line), 6.5)
    return canvas.png(page)


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
