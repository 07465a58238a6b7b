"""A contact sheet: many small pictures on one page, so that a person sees at a glance what was collected."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from overread.domain import Image
from overread.pages import canvas
from overread.pages.canvas import px
from overread.pages.thumbnail import tile

_TILE_IN = 1.7
_CAPTION_IN = 0.42


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
    >>> import numpy as np
    >>> contact_sheet([Image(np.zeros((1, 8, 8), np.uint8), full_range=(0, 255))])[1:4]
    b'PNG'
    """
    side = px(_TILE_IN - 0.08)
    tiles = [tile(image, side) for image in images]
    if not tiles:
        raise ValueError("no image for a contact sheet")
    columns = min(columns, len(tiles))
    rows = -(-len(tiles) // columns)
    top = 0.45 if title else 0.1
    width, height = columns * _TILE_IN + 0.2, rows * (_TILE_IN + _CAPTION_IN) + top
    page = canvas.blank(width, height)
    if title:
        canvas.write(page, (px(0.1), px(0.22)), title, 10, anchor="lm", room=page.width - 2 * px(0.1))
    for i, picture in enumerate(tiles):
        row, column = divmod(i, columns)
        left, above = px(0.1 + column * _TILE_IN), px(top + row * (_TILE_IN + _CAPTION_IN) + 0.08)
        page.paste("black", (left - 1, above - 1, left + side + 1, above + side + 1))  # white pictures end somewhere
        page.paste(picture, (left, above))
        lines = captions[i].split("\n")[:2] if i < len(captions) else ()
        for j, line in enumerate(lines):
            canvas.write(page, (left + 2, above + side + 13 + 13 * j), _cut(line), 6.5)
    return canvas.png(page)


def _cut(line: str) -> str:
    return line if len(line) <= 34 else f"{line[:33]}…"
