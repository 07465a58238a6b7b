"""Say of one picture when its heat-map lies mostly where nothing is imaged: the kind passed its tests only on average."""

from __future__ import annotations

import numpy as np
import scipy  # its filters load when they are first asked for: most answers ask for none

from overread.domain import Image
from overread.pages.overlay import scale_of, strongest_slice, window
from overread.stats.maps import MOST_BORDER, border_share

DARK = 16
"""Of 255 as displayed: at most this, and joined to the edge of the picture, is what lies around the body."""

HOT = 0.5
"""Share of full colour from which a place counts: below, the map is hardly seen."""


def astray(image: Image, heat: np.ndarray, *, slice: int | None = None) -> str:
    """Return a warning when most of a map's strong colour lies on the frame of the picture or outside the body.

    Parameters
    ----------
    image : Image
    heat : ndarray, (slices, rows, columns)
        On the image's grid.
    slice : int, optional
        Which slice is shown; the one that speaks loudest when left out.

    Returns
    -------
    str
        Empty when the map lies where something is imaged.

    Examples
    --------
    >>> film = Image(np.full((1, 32, 32), 128, np.uint8), full_range=(0, 255))
    >>> heat = np.zeros((1, 32, 32))
    >>> heat[0, 16, 16] = 1
    >>> astray(film, heat)
    ''
    >>> astray(film, np.roll(heat, 16, axis=1))
    'This map lies mostly on the frame of the picture: believe it less.'
    """
    k = strongest_slice(heat) if slice is None else slice
    size = np.abs(np.nan_to_num(heat[k]))
    size = np.where(size >= HOT * scale_of(heat), size, 0)
    total = float(size.sum())
    if total <= 0:
        return ""
    if border_share(size) > MOST_BORDER:
        return "This map lies mostly on the frame of the picture: believe it less."
    if float(size[around(window(image)[k])].sum()) > MOST_BORDER * total:
        return "This map lies mostly outside the imaged body: believe it less."
    return ""


def around(shown: np.ndarray) -> np.ndarray:
    """Return which places of a displayed slice are dark and joined to its edge: the air around a body, or a margin.

    Dark places inside, as lungs, are not. A bright ground (a photograph, a slide) is not known from what is imaged.

    Examples
    --------
    >>> head = np.zeros((9, 9), np.uint8)
    >>> head[2:7, 2:7], head[4, 4] = 200, 0
    >>> int(around(head).sum()), bool(around(head)[4, 4])
    (56, False)
    """
    dark = shown <= DARK if shown.ndim == 2 else (shown <= DARK).all(axis=-1)
    pieces, _ = scipy.ndimage.label(dark)
    edge = np.concatenate([pieces[0], pieces[-1], pieces[:, 0], pieces[:, -1]])
    return np.isin(pieces, edge[edge > 0])
