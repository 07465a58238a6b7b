"""One image as a small picture for a page, with what was seen in it marked."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from dataclasses import replace
from io import BytesIO

import numpy as np
from PIL import Image as Picture
from PIL import ImageDraw

from overread.domain import Image
from overread.imaging.glance import flattest_axis
from overread.pages import canvas
from overread.pages.overlay import window

SIDE = 160
"""Pixels of a thumbnail's longer side."""

_MOST_PIXELS = 512  # along a side, before windowing: a thumbnail shows fewer
_MARK = "#E69F00"

Box = tuple[float, float, float, float]
"""Top, left, bottom and right as shares of the picture."""


def as_shown(image: Image) -> np.ndarray:
    """Return the middle slice as shown on a screen, thinned to what a small picture can show; uint8."""
    planes = np.moveaxis(image.voxels, flattest_axis(image), 0)
    middle, step = planes.shape[0] // 2, max(1, -(-max(planes.shape[1:3]) // _MOST_PIXELS))
    return window(replace(image, voxels=planes[middle : middle + 1, ::step, ::step]))[0]


def aspect(image: Image) -> float:
    """Return how much higher than wide a pixel of the middle slice is in the patient; 1 where that is not known."""
    if image.spacing_mm is None:
        return 1.0
    high, wide = (mm for axis, mm in enumerate(image.spacing_mm) if axis != flattest_axis(image))
    return high / wide if high > 0 and wide > 0 else 1.0


def thumbnail(image: Image, *, boxes: Iterable[Box] = (), side: int = SIDE) -> str:
    """Return an image's middle slice as a ``data:`` address, in its proportions, with boxes drawn around what was seen.

    Parameters
    ----------
    image : Image
    boxes : iterable of (top, left, bottom, right)
    side : int

    Examples
    --------
    >>> thumbnail(Image(np.zeros((1, 8, 8), np.uint8), full_range=(0, 255)))[:23]
    'data:image/jpeg;base64,'
    """
    drawn = canvas.fitted(as_shown(image), (side, side), aspect=aspect(image), blocky=True)
    pen = ImageDraw.Draw(drawn)
    for top, left, bottom, right in boxes:
        corners = [left * drawn.width - 2, top * drawn.height - 2, right * drawn.width + 1, bottom * drawn.height + 1]
        pen.rectangle(corners, outline=_MARK, width=2)
    out = BytesIO()
    grey = image.channels == 1 and not boxes
    (drawn.convert("L") if grey else drawn).save(out, format="jpeg", quality=82)
    return "data:image/jpeg;base64," + b64encode(out.getvalue()).decode()


def tile(image: Image, side: int) -> Picture.Image:
    """Return a square black tile with the middle slice in it, in its proportions."""
    square = Picture.new("RGB", (side, side), "black")
    drawn = canvas.fitted(as_shown(image), (side, side), aspect=aspect(image), blocky=True)
    square.paste(drawn, ((side - drawn.width) // 2, (side - drawn.height) // 2))
    return square
