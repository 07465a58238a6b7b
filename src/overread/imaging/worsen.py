"""Make an image worse on purpose, as a bad exposure, a soft lens, a tilted patient or a careless export would.

Five severities of each kind, from hardly visible to bad. Values are shares of the range of the training images, so that
they mean the same for a film and for a window of a CT.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from PIL import Image as Picture
from scipy import ndimage

Worse = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]
"""A plane (rows, columns, channels) with values from 0 to 1, a strength, and chance → the plane made worse."""


def noisy(plane: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Add noise of this standard deviation."""
    return plane + strength * rng.standard_normal(plane.shape, np.float32)


def blurred(plane: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Blur with a Gaussian; its standard deviation is this share of the longer side.

    Examples
    --------
    >>> dot = np.zeros((9, 9, 1)); dot[4, 4] = 1
    >>> bool(blurred(dot, 0.1, np.random.default_rng(0)).max() < 0.3)
    True
    """
    sigma = strength * max(plane.shape[:2])
    return ndimage.gaussian_filter(plane, (sigma, sigma, 0), mode="nearest")


def flat(plane: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Leave this share of the contrast, about the mean of the plane."""
    middle = plane.mean()
    return middle + strength * (plane - middle)


def lit(plane: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Add this much everywhere: brighter, or darker below zero."""
    return plane + strength


def turned(plane: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Turn by this many degrees, one way or the other by chance; the corners repeat the edge."""
    angle = strength * rng.choice((-1.0, 1.0))
    return ndimage.rotate(plane, angle, reshape=False, order=1, mode="nearest")


def stored(plane: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Store as JPEG of this quality, 8 bits a channel.

    Examples
    --------
    >>> grey = np.full((8, 8, 1), 0.5)
    >>> bool(abs(stored(grey, 50, np.random.default_rng(0)) - 0.5).max() < 0.01)
    True
    """
    eight = np.round(255 * np.clip(plane, 0, 1)).astype(np.uint8)
    if eight.shape[-1] == 3:
        return np.asarray(_jpeg(eight, int(strength)), np.float32) / 255
    each = [np.asarray(_jpeg(eight[..., c], int(strength)), np.float32) / 255 for c in range(eight.shape[-1])]
    return np.stack(each, axis=-1)


def coarse(plane: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Reduce both sides to this share, and enlarge again: what is fine is gone."""
    rows, columns = plane.shape[:2]
    small = (max(2, round(strength * columns)), max(2, round(strength * rows)))
    each = [Picture.fromarray(np.ascontiguousarray(plane[..., c], np.float32)) for c in range(plane.shape[-1])]
    way = Picture.Resampling.BILINEAR
    return np.stack([np.asarray(p.resize(small, way).resize((columns, rows), way)) for p in each], axis=-1)


KINDS: dict[str, tuple[Worse, tuple[float, ...]]] = {
    "noise": (noisy, (0.02, 0.04, 0.08, 0.12, 0.18)),
    "blur": (blurred, (0.005, 0.01, 0.015, 0.02, 0.03)),
    "less contrast": (flat, (0.8, 0.65, 0.5, 0.35, 0.2)),
    "brighter": (lit, (0.05, 0.1, 0.15, 0.2, 0.3)),
    "darker": (lit, (-0.05, -0.1, -0.15, -0.2, -0.3)),
    "turned": (turned, (3.0, 6.0, 10.0, 15.0, 20.0)),
    "JPEG": (stored, (60.0, 40.0, 20.0, 10.0, 5.0)),
    "coarser": (coarse, (0.75, 0.5, 0.375, 0.25, 0.15)),
}
"""Name → what is done, and its five strengths: D. Hendrycks and T. Dietterich 2019 (arXiv 1903.12261), in the clinic's kinds."""

SEVERITIES = 5


def worsened(
    x: np.ndarray, kind: str, severity: int, *, low: float, high: float, rng: np.random.Generator
) -> np.ndarray:
    """Return a network input made worse; what leaves the range is cut off, as a detector does.

    Parameters
    ----------
    x : ndarray, ([slices,] rows, columns, channels)
    kind : str
        Of `KINDS`.
    severity : int
        1 to 5.
    low, high : float
        The range of the training images' inputs.
    rng : numpy.random.Generator

    Examples
    --------
    >>> x = np.linspace(-1, 1, 5, dtype=np.float32).reshape(1, 5, 1)
    >>> worsened(x, "less contrast", 3, low=-1, high=1, rng=np.random.default_rng(0)).ravel().tolist()
    [-0.5, -0.25, 0.0, 0.25, 0.5]
    """
    change, strengths = KINDS[kind]
    share = (np.asarray(x, np.float32) - low) / (high - low)
    planes = share[None] if share.ndim == 3 else share
    worse = np.stack([change(plane, strengths[severity - 1], rng) for plane in planes])
    return (low + (high - low) * np.clip(worse.reshape(share.shape), 0, 1)).astype(np.float32)


def _jpeg(eight: np.ndarray, quality: int) -> Picture.Image:
    held = io.BytesIO()
    Picture.fromarray(eight).save(held, "JPEG", quality=quality)
    return Picture.open(held)
