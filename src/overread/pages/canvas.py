"""A white page to put pictures and words on, measured in inches and points, drawn at its final resolution."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image as Picture
from PIL import ImageDraw, ImageFont

from overread.imaging import fonts

DPI = 110


def px(inches: float) -> int:
    """Return a length in pixels."""
    return round(inches * DPI)


def blank(width: float, height: float) -> Picture.Image:
    """Return a white page of ``width`` by ``height`` inches."""
    return Picture.new("RGB", (px(width), px(height)), "white")


def font(points: float, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Return DejaVu Sans at a size in points."""
    return ImageFont.truetype(str(fonts.path(bold)), points * DPI / 72)


def write(
    page: Picture.Image,
    at: tuple[float, float],
    text: str,
    points: float,
    *,
    colour: str = "#111111",
    bold: bool = False,
    anchor: str = "ls",
    room: float | None = None,
) -> None:
    """Write a text at (column, row); where it is wider than ``room`` pixels smaller, to 6 points, and then cut.

    ``anchor`` is Pillow's: "ls" puts the left end of the base line there.
    """
    draw, text = ImageDraw.Draw(page), " ".join(text.splitlines())
    while room is not None and points > 6 and draw.textlength(text, font=font(points, bold=bold)) > room:
        points -= 0.5
    while room is not None and len(text) > 1 and draw.textlength(text, font=font(points, bold=bold)) > room:
        text = f"{text[:-2]}…"
    draw.text(at, text, fill=colour, font=font(points, bold=bold), anchor=anchor)


def upwards(page: Picture.Image, left: int, middle: float, text: str, points: float, *, colour: str) -> None:
    """Write a text from bottom to top, its middle at row ``middle``, moved where it would leave the page."""
    across = font(points)
    ascent, descent = across.getmetrics()
    length = round(across.getlength(text)) + 2
    mask = Picture.new("L", (length, ascent + descent), 0)
    ImageDraw.Draw(mask).text((1, ascent), text, fill=255, font=across, anchor="ls")
    top = max(2, min(round(middle - length / 2), page.height - length - 2))
    page.paste(colour, (left, top), mask.transpose(Picture.Transpose.ROTATE_90))


def fitted(pixels: np.ndarray, box: tuple[int, int], *, aspect: float, blocky: bool = False) -> Picture.Image:
    """Return a picture as large as a box of (width, height) pixels allows, in its proportions.

    Parameters
    ----------
    pixels : ndarray of uint8, (rows, columns) or (rows, columns, 3)
    box : (int, int)
    aspect : float
        How much higher than wide a pixel is.
    blocky : bool
        Show the pixels of a picture that is enlarged three times or more as squares.
    """
    rows, columns = pixels.shape[:2]
    scale = min(box[0] / columns, box[1] / (rows * aspect))
    size = (max(1, round(columns * scale)), max(1, round(rows * aspect * scale)))
    way = Picture.Resampling.NEAREST if blocky and min(scale, scale * aspect) >= 3 else Picture.Resampling.BILINEAR
    return Picture.fromarray(np.ascontiguousarray(pixels)).convert("RGB").resize(size, way)


def png(picture: Picture.Image) -> bytes:
    """Return a picture as PNG; the same picture gives the same bytes."""
    out = BytesIO()
    picture.save(out, format="png", dpi=(DPI, DPI))
    return out.getvalue()
