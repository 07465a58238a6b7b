"""Show an image as a reader would see it, and lay a heat-map over it, the right way up and with its scale.

Orange and yellow speak for the finding, blue speaks against it and is ruled with lines, so that a print in grey tells
them apart; nothing is drawn where the map is near zero. The
colours ("managua", Crameri) are perceptually uniform and differ for readers who cannot tell red from green.

References
----------
F. Crameri, Scientific colour maps, doi:10.5281/zenodo.1243862 (MIT licence).
"""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image as Picture

from overread.domain import Image
from overread.imaging import intensity
from overread.imaging.preprocess import resample
from overread.pages import canvas
from overread.pages.canvas import px

CT_WINDOWS = {"lung": (-600.0, 1500.0), "brain": (40.0, 80.0), "soft tissue": (40.0, 400.0)}
"""Window centre and width in HU by what is looked at, when the file names no window."""

UNITS = "contribution to the score (logit)"
MOST_OPAQUE = 0.72
THINNED = 0.5
"""Share of its strength that every other line of what speaks against keeps: a print in grey shows it ruled."""

CAUTION = "A heat-map is evidence about the model, not an outline of disease"
# "managua" backwards, every sixteenth of its 256 colours: from against, over zero in the middle, to for
_ANCHORS = (
    *((129, 231, 255), (118, 199, 236), (107, 170, 218), (97, 143, 199), (87, 117, 180), (80, 93, 156)),
    *((76, 70, 128), (78, 51, 97), (87, 41, 72), (105, 44, 59), (129, 57, 57), (154, 76, 61)),
    *((177, 98, 67), (197, 121, 74), (216, 147, 83), (235, 176, 93), (255, 207, 103)),
)


def window(image: Image) -> np.ndarray:
    """Return the image as shown on a screen: grey or colour, 0 to 255.

    The window that the file names (Window Center and Window Width), else a CT window by body part, else 8-bit
    pictures as they are, else the 0.5th to the 99.5th percentile.

    Parameters
    ----------
    image : Image

    Returns
    -------
    ndarray of uint8, (slices, rows, columns), or (slices, rows, columns, 3) for colour.

    References
    ----------
    DICOM PS3.3 C.11.2.1.2.

    Examples
    --------
    >>> ct = Image(np.array([[[-1000.0, -160, 40, 240, 3000]]]), unit="HU", modality="CT")
    >>> window(ct).tolist()
    [[[0, 0, 128, 255, 255]]]
    """
    voxels = np.nan_to_num(np.asarray(image.voxels, np.float32))
    if voxels.ndim == 4:
        voxels = voxels[..., :3] if voxels.shape[-1] >= 3 else voxels[..., 0]
    low, high = display_range(image)
    shown = intensity.normalise(voxels, low=low, high=high)
    return np.floor(np.clip(shown, 0, 1) * 255 + 0.5).astype(np.uint8)


def display_range(image: Image) -> tuple[float, float]:
    """Return the values shown black and white at first, on every page and picture.

    The first window that the file names, else a CT window by body part, else the whole range of an 8-bit or colour
    picture, else the 0.5th to the 99.5th percentile.

    Examples
    --------
    >>> display_range(Image(np.zeros((1, 2, 2)), unit="HU", attributes={"BodyPartExamined": "CHEST"}))
    (-1350.0, 150.0)
    """
    named = _named_window(image)
    if named is not None:
        return named[0] - named[1] / 2, named[0] + named[1] / 2
    voxels = np.nan_to_num(np.asarray(image.voxels, np.float32))
    if image.channels > 2 or (image.full_range == (0, 255) and not image.is_volume):
        low, high = image.full_range or (voxels.min(), voxels.max())
        return float(low), float(high)
    return intensity.percentile_range(voxels, lower=0.5, upper=99.5)


def _named_window(image: Image) -> tuple[float, float] | None:
    """Return the centre and width that the file names, or a CT default; None when there is neither."""
    try:  # several windows are separated by a backslash: the first is the one shown first
        center = float(image.attributes["WindowCenter"].split("\\")[0])
        width = float(image.attributes["WindowWidth"].split("\\")[0])
    except (KeyError, ValueError):
        center, width = 0.0, 0.0
    if width > 0:
        return center, width
    if image.unit != "HU":
        return None
    part = image.attributes.get("BodyPartExamined", "").upper()
    if any(word in part for word in ("CHEST", "LUNG", "THORAX")):
        return CT_WINDOWS["lung"]
    return CT_WINDOWS["brain" if any(word in part for word in ("HEAD", "BRAIN")) else "soft tissue"]


def strongest_slice(heat: np.ndarray) -> int:
    """Return the slice of a map (slices, rows, columns) that speaks loudest for the finding; of several the middle one.

    Where a network was shown a few slices, the same map stands over all of them: the first is often empty.

    Examples
    --------
    >>> strongest_slice(np.array([[[0.0, 1]], [[0, 3]], [[-9, 0]]]))
    1
    >>> strongest_slice(np.ones((28, 4, 4)))
    14
    """
    loudest = np.nan_to_num(heat).reshape(len(heat), -1).max(axis=1)
    alike = np.flatnonzero(loudest >= loudest.max() - 1e-6 * abs(loudest.max()))
    return int(alike[len(alike) // 2])


def scale_of(heat: np.ndarray) -> float:
    """Return the value shown in full colour: the 99.9th percentile of the map's size, 1 for a map of zeros."""
    top = float(np.percentile(np.abs(np.nan_to_num(heat)), 99.9))
    return top if top > 0 else float(np.abs(np.nan_to_num(heat)).max()) or 1.0


def colours(level: np.ndarray) -> np.ndarray:
    """Return the colour of each level from -1 (against) over 0 to 1 (for): (..., 3), 0 to 1.

    Straight lines between 17 colours of Crameri's "managua", as sampled from Matplotlib's table of 256 (reversed);
    nowhere more than 2 of 255 away from that table. Lightness rises from zero to both ends.

    Examples
    --------
    >>> (colours(np.array([-1.0, 0, 1])) * 255).round().tolist()
    [[129.0, 231.0, 255.0], [87.0, 41.0, 72.0], [255.0, 207.0, 103.0]]
    """
    at = np.linspace(-1, 1, len(_ANCHORS))
    return np.stack([np.interp(level, at, np.array(channel) / 255) for channel in zip(*_ANCHORS)], axis=-1)


def _blend(grey: np.ndarray, heat: np.ndarray, top: float, *, failed: bool = False) -> np.ndarray:
    """Lay one slice of a map (rows, columns) over a displayed slice: (rows, columns, 3), 0 to 1.

    A map that has not passed its tests is hatched in grey, without a for and against: a grey veil alone could be taken
    for something in the image.
    """
    base = grey.astype(np.float32) / 255
    base = np.repeat(base[..., None], 3, axis=-1) if base.ndim == 2 else base
    level = np.clip(np.nan_to_num(heat) / top, -1, 1)
    alpha = (MOST_OPAQUE * np.abs(level))[..., None]
    rows, columns = np.indices(heat.shape)
    period = max(4, min(heat.shape) // 24)
    if not failed:
        line = (level < 0) & (
            rows % period >= period / 2
        )  # without colour, both ends are as light: lines tell them apart
        alpha = alpha * np.where(line, THINNED, 1.0)[..., None].astype(np.float32)
        return base * (1 - alpha) + colours(level) * alpha
    stripe = (((rows + columns) % period) < period / 2)[..., None]
    return base * (1 - alpha * stripe) + np.float32(0.62) * alpha * stripe


def overlay_rgb(image: Image, heat: np.ndarray, *, slice: int | None = None, failed: bool = False) -> np.ndarray:
    """Return one slice of the image with the map over it, on the original pixel grid and with nothing around it.

    Parameters
    ----------
    image : Image
    heat : ndarray, (slices, rows, columns)
        On the image's grid.
    slice : int, optional
        Which slice; the one that speaks loudest when left out.
    failed : bool
        True for a map that has not passed its tests: it is hatched in grey.

    Returns
    -------
    ndarray of uint8, (rows, columns, 3)

    Examples
    --------
    >>> image = Image(np.full((1, 2, 2), 128, np.uint8), full_range=(0, 255))
    >>> overlay_rgb(image, np.zeros((1, 2, 2)))[0, 0].tolist()
    [128, 128, 128]
    """
    _check(image, heat)
    k = strongest_slice(heat) if slice is None else slice
    return _bytes(_blend(window(image)[k], heat[k], scale_of(heat), failed=failed))


def _bytes(picture: np.ndarray) -> np.ndarray:
    return np.floor(picture * 255 + 0.5).astype(np.uint8)


def small_png(picture: np.ndarray, *, spacing_mm: tuple[float, float, float] | None = None, side: int = 288) -> bytes:
    """Return a displayed slice as a PNG of square pixels whose longer side is at most ``side``.

    Parameters
    ----------
    picture : ndarray of uint8, (rows, columns) or (rows, columns, 3)
    spacing_mm : (float, float, float), optional
        Of the image it came from; rows are stretched where pixels are not square.
    side : int
    """
    rows, columns = picture.shape[:2]
    tall = rows * (spacing_mm[1] / spacing_mm[2] if spacing_mm and min(spacing_mm[1:]) > 0 else 1.0)
    scale = min(1.0, side / max(tall, columns))
    size = (1, max(1, round(tall * scale)), max(1, round(columns * scale)))
    flat = resample(picture.reshape(1, rows, columns, -1).astype(np.float32), size)[0]
    shown = np.floor(np.clip(flat, 0, 255) + 0.5).astype(np.uint8)
    out = BytesIO()
    Picture.fromarray(shown[..., 0] if shown.shape[-1] == 1 else shown).convert("RGB").save(out, format="png")
    return out.getvalue()


def overlay_png(
    image: Image,
    heat: np.ndarray,
    *,
    title: str,
    slice: int | None = None,
    unit: str = UNITS,
    failed: str = "",
    warning: str = "",
) -> bytes:
    """Return a picture of the image beside the same image under its map, with a colour bar, as PNG.

    A volume is shown at the slice that speaks loudest (or at ``slice``), with a strip of slices around it below.

    Parameters
    ----------
    image : Image
    heat : ndarray, (slices, rows, columns)
        On the image's grid.
    title : str
    slice : int, optional
    unit : str
        What the map's values are.
    failed : str
        In a few words, why the map may not be believed ("did not pass its tests"): it is then hatched in grey and has no
        scale. Empty for one that has passed.
    warning : str
        A line on this one map, in place of what stands above it (`pages.astray`).

    Returns
    -------
    bytes
    """
    _check(image, heat)
    shown, top = window(image), scale_of(heat)
    k = strongest_slice(heat) if slice is None else slice
    spacing = image.spacing_mm or (1.0, 1.0, 1.0)
    aspect = spacing[1] / spacing[2] if spacing[2] > 0 and spacing[1] > 0 else 1.0
    # height of a panel whose width is 1; a very long or very wide picture stands in a margin
    high = float(np.clip(shown.shape[1] * aspect / shown.shape[2], 0.3, 1.6))
    strip = _strip(len(heat), k) if image.is_volume else []
    pad, wide, bar = 0.25, 3.6, 0.95
    tall = wide * high
    small = (2 * wide + pad - 0.1 * 5) / 6
    below = small * high + 0.45 if strip else 0.0
    width, height = 2 * wide + 3 * pad + bar, tall + below + 1.05
    page = canvas.blank(width, height)

    def panel(left: float, top: float, w: float, picture: np.ndarray) -> Picture.Image:
        drawn = canvas.fitted(picture, (px(w), px(w * high)), aspect=aspect)
        page.paste(drawn, (px(left), px(top)))
        return drawn

    ceiling = 0.75
    canvas.write(page, (px(pad), px(0.29)), title, 12, bold=True, room=page.width - 2 * px(pad))
    where = f"slice {k + 1} of {len(heat)}" if image.is_volume else ""
    for left, picture, told in (
        (pad, shown[k], f"as displayed  {where}".strip()),
        (
            2 * pad + wide,
            _bytes(_blend(shown[k], heat[k], top, failed=bool(failed))),
            f"this map {failed}" if failed else warning or "what spoke for and against",
        ),
    ):
        panel(left, ceiling, wide, picture)
        said = {"colour": "#a33b00", "bold": True} if told == warning else {"colour": "#444444"}
        canvas.write(page, (px(left), px(ceiling) - 6), told, 9, room=px(wide), **said)
    if failed:
        _stamp(page, px(2 * pad + 1.5 * wide), px(ceiling + tall / 2), failed, room=px(0.94 * wide))
    else:
        _colour_bar(page, px(2 * wide + 2.6 * pad), px(ceiling), px(tall), top, unit)
    for i, s in enumerate(strip):
        left, above = pad + i * (small + 0.1), height - 0.3 - small * high
        drawn = panel(left, above, small, _bytes(_blend(shown[s], heat[s], top, failed=bool(failed))))
        middle = px(left) + drawn.width / 2
        colour, bold = ("#0072B2", True) if s == k else ("#444444", False)
        canvas.write(page, (middle, px(above) - 4), f"{s + 1}", 8, colour=colour, bold=bold, anchor="ms")
    canvas.write(
        page,
        (px(pad), px(height - 0.1)),
        f"{CAUTION} · not for diagnosis · L and R as in the file",
        7,
        colour="#555555",
        room=page.width - 2 * px(pad),
    )
    return canvas.png(page)


def _strip(n: int, k: int) -> list[int]:
    """Return six slices spread over the volume, with ``k`` among them."""
    slices = sorted({round(v) for v in np.linspace(0, n - 1, min(n, 8))[1:-1]} or {0})
    if k not in slices:
        slices[int(np.argmin([abs(s - k) for s in slices]))] = k
    return sorted(slices)[:6]


def _stamp(page: Picture.Image, middle: int, row: int, words: str, *, room: int) -> None:
    """Write across a map that it may not be believed, on a band that nothing shines through."""
    half = px(0.2)
    band = Picture.new("RGB", (room, 2 * half), "#ffffff")
    page.paste(band, (middle - room // 2, row - half))
    canvas.write(page, (middle, row + 5), words, 12, colour="#333333", bold=True, anchor="ms", room=room - 10)


def _colour_bar(page: Picture.Image, left: int, upper: int, tall: int, top: float, unit: str) -> None:
    """Draw the scale as it looks over mid-grey, labelled with its unit."""
    steps = np.linspace(1, -1, tall)[:, None]
    over_grey = _bytes(_blend(np.full((tall, 1), 128, np.uint8), steps * top, top))
    page.paste(Picture.fromarray(over_grey).resize((px(0.16), tall)), (left, upper))
    right, line, lower = left + px(0.16) + 5, 15, upper + tall
    words = (f"+{top:.2g}", "for", "0", f"−{top:.2g}", "against")
    rows = (upper + 10, upper + 10 + line, (upper + lower) / 2 + 4, lower - line - 1, lower - 1)
    for row, text in zip(rows, words):
        canvas.write(page, (right, row), text, 8, colour="#222222")
    beyond = right + round(max(canvas.font(8).getlength(text) for text in words)) + 5
    canvas.upwards(page, beyond, (upper + lower) / 2, unit, 8, colour="#444444")


def _check(image: Image, heat: np.ndarray) -> None:
    if heat.shape != image.voxels.shape[:3]:
        raise ValueError(f"a map of shape {heat.shape} on an image of shape {image.voxels.shape[:3]}")
