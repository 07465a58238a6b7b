"""Pictures: PNG, JPEG, TIFF, BMP, GIF, WebP, in 8 and 16 bit, with the values the file holds."""

from __future__ import annotations

import io
import sys
import warnings

import numpy as np
from PIL import Image as Pillow
from PIL import ImageOps, UnidentifiedImageError

from overread.domain import Image, noted
from overread.errors import UnreadableFile
from overread.formats import tiff
from overread.formats.limits import LARGEST, check_size, finite, one_channel, smallest_integer

KINDS = ("png", "jpeg", "tiff", "bmp", "gif", "webp")
_SUFFIXES = {
    "jpg": "jpeg", "jpeg": "jpeg", "jpe": "jpeg", "jfif": "jpeg", "png": "png", "tif": "tiff", "tiff": "tiff",
    "bmp": "bmp", "dib": "bmp", "gif": "gif", "webp": "webp",
}  # fmt: skip
_BITS = {"1": 1, "I;16": 16, "I;16B": 16, "I;16L": 16, "I": 32, "F": 32}
_GREY_TOLERANCE = 2  # what chroma subsampling and rounding leave of "equal" channels in a JPEG


def read_picture(raw: bytes, *, kind: str, suffix: str = "") -> Image:
    """Read one picture as the values its file holds: (1, rows, columns) for grey, (1, rows, columns, 3) for colour.

    Nothing is scaled: a 16-bit PNG keeps 0–65535, and ``full_range`` says so. A colour picture whose channels are equal
    (for a JPEG: within 2) becomes one channel. What was changed stands in the notes.

    Parameters
    ----------
    raw : bytes
        The whole file.
    kind : str
        A word of ``KINDS``, as ``sniff`` said.
    suffix : str
        The file name's ending without the dot, only to say in a note that it was wrong.

    Raises
    ------
    UnreadableFile
        ``too-small``, ``too-large``, ``truncated``, ``several-pages``, ``unsupported-format``, ``not-finite``,
        ``malformed``.
    """
    notes = []
    claimed = _SUFFIXES.get(suffix.lower())
    if claimed != kind and suffix:
        named = f"named .{suffix.lower()}" if claimed else "not named as a picture"  # "scan.smith" is no suffix
        notes.append(noted("other-format", f"{named}, but it is a {kind.upper()}"))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            picture = _open(raw, kind)
            said = tiff.numbers_of(raw) if kind == "tiff" else None
            attributes = _attributes(raw, picture, kind, said)
            if _halves(picture):
                attributes["bits"], turned = "16", []
                voxels, full_range, changed = _deep_values(raw, kind)
            else:
                picture, turned = _upright(picture)
                if kind == "jpeg":
                    _check_undamaged(raw, picture.mode)
                voxels, full_range, changed = _values(picture, kind, said)
        except UnreadableFile:
            raise
        except (OSError, SyntaxError, ValueError, EOFError, KeyError, IndexError, TypeError, OverflowError) as error:
            raise _refusal(error) from error
    notes += turned + changed
    if any(not issubclass(w.category, Pillow.DecompressionBombWarning) for w in caught):
        notes.append(noted("damaged-metadata", "the picture's metadata is damaged; its pixels were read"))
    if voxels.min() == voxels.max():
        notes.append(noted("constant", "every pixel has the same value"))
    return Image(voxels[np.newaxis], full_range=full_range, attributes=attributes, notes=tuple(notes))


def _open(raw: bytes, kind: str) -> Pillow.Image:
    """Read the header only, and refuse by it."""
    said = tiff.numbers_of(raw) if kind == "tiff" else None
    try:
        picture = Pillow.open(io.BytesIO(raw), formats=[kind.upper(), "MPO"] if kind == "jpeg" else [kind.upper()])
    except Pillow.DecompressionBombError as error:
        raise UnreadableFile(
            f"an image of more than {LARGEST // 1_000_000} million pixels",
            code="too-large",
            expected=f"at most {LARGEST // 1_000_000} million pixels",
            do="reduce it, or cut out the part that matters",
        ) from error
    except UnidentifiedImageError as error:
        raise (tiff.unsupported(said) if said else error) from error
    check_size(picture.height, picture.width)
    pages = getattr(picture, "n_frames", 1)
    if pages > 1 and kind != "jpeg":  # a JPEG's further pictures are previews of the first
        raise UnreadableFile(
            f"a {kind.upper()} with {pages} pages",
            code="several-pages",
            expected="one",
            do="save each page as its own file",
        )
    _refuse_deep_colour(picture, kind)
    if said is not None:
        tiff.check_held(said)
        picture.tile = tiff.in_native_order(picture.tile)
    return picture


def _refuse_deep_colour(picture: Pillow.Image, kind: str) -> None:
    """Deep colour would be cut to 8 bit by the decoder without a word: what ``_halves`` cannot save is refused by the header."""
    deep = kind == "tiff" and max(picture.tag_v2.get(258, (1,))) > 8 and len(picture.getbands()) > 1
    deep = deep or (kind == "png" and any("16" in str(t[3]) for t in picture.tile) and not picture.mode.startswith("I"))
    if deep and not _halves(picture):
        grey = len(picture.getbands()) == 2 or any("LA;16" in str(t[3]) for t in picture.tile)
        what = "grey picture with an alpha channel and" if grey else "colour picture with"
        raise UnreadableFile(
            f"a {what} more than 8 bits a channel, stored in a way that is not read",
            code="unsupported-format",
            expected="RGB or RGBA with 8 or 16 bits a channel in one plane, or 16 bits in grey",
            do="save it without the alpha channel"
            if grey
            else "save it as a PNG with 16 bits a channel, or as 8-bit colour",
        )


def _halves(picture: Pillow.Image) -> list | None:
    """Return the tiles that decode the lower byte of each 16-bit channel, where the picture's own decode the upper one.

    The decoder keeps one of the two bytes of a channel; told that they lie the other way round, it keeps the other.
    """
    lower = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
    tiles = []
    for tile in picture.tile:
        how = tile.args[0] if isinstance(tile.args, tuple) else tile.args
        if how not in ("RGB;16B", "RGB;16L", "RGB;16N", "RGBA;16B", "RGBA;16L", "RGBA;16N"):
            return None
        swapped = how[:-1] + lower[how[-1]]
        tiles.append(tile._replace(args=(swapped, *tile.args[1:]) if isinstance(tile.args, tuple) else swapped))
    return tiles or None


def _deep_values(raw: bytes, kind: str) -> tuple[np.ndarray, tuple[float, float], list[str]]:
    """Return a 16-bit colour picture (rows, columns[, 3]), its range, and what was changed."""
    upper, lower = _open(raw, kind), _open(raw, kind)
    lower.tile = _halves(lower)
    (high, notes), (low, _) = _upright(upper), _upright(lower)
    values = np.asarray(high).astype(np.uint16) << 8 | np.asarray(low)
    if values.shape[2] == 4:
        alpha, values = values[..., 3:], values[..., :3]
        if alpha.min() == 65535:
            notes.append(noted("alpha-dropped", "a fully opaque alpha channel was dropped"))
        else:
            values = np.round(values * (alpha / 65535)).astype(np.uint16)
            notes.append(noted("alpha-dropped", "transparent parts were laid on black"))
    values, note = one_channel(values, tolerance=0)
    return np.ascontiguousarray(values), (0.0, 65535.0), [*notes, noted("colour-to-grey", note)] if note else notes


def _check_undamaged(jpeg: bytes, mode: str) -> None:
    """Refuse a JPEG that libjpeg has something to remark on, for Pillow passes over it: bytes lost in the middle make half a picture flat.

    What else is remarked is no damage, and Pillow has the last word (decision 7).
    """
    from simplejpeg import decode_jpeg

    try:
        decode_jpeg(jpeg, "CMYK" if mode == "CMYK" else "GRAY", strict=True)
    except ValueError as error:
        if str(error).startswith("Premature end"):
            raise EOFError from error
        if str(error).startswith("Corrupt JPEG data"):
            raise UnreadableFile(
                f"a JPEG whose picture data are damaged ({str(error).partition(': ')[2][:60]})",
                code="malformed",
                expected="data that fill the picture from its first row to its last",
                do="copy or export it again",
            ) from error


def _attributes(raw: bytes, picture: Pillow.Image, kind: str, said: tiff.Numbers | None) -> dict[str, str]:
    bits = said.bits if said else _BITS.get(picture.mode, 8)
    if kind == "png" and len(raw) > 24:
        bits = raw[24]  # IHDR bit depth: Pillow spreads 1, 2 and 4 bits over 0–255
    attributes = {"format": kind.upper(), "mode": picture.mode, "bits": str(bits)}
    tables = getattr(picture, "quantization", None)
    if tables:
        attributes["jpeg_quality"] = str(jpeg_quality(tables[min(tables)]))
    return attributes


def jpeg_quality(table: list[int]) -> int:
    """Estimate the 1–100 quality a JPEG was saved with, from its luminance quantisation table.

    The reference encoder scales the example table of ITU-T T.81 Annex K, whose 64 entries sum to 3,689; the scale is
    undone here from the sum, which is exact to about a point between 10 and 95.

    Examples
    --------
    >>> jpeg_quality([1] * 64), jpeg_quality([58] * 64)
    (99, 50)
    """
    scale = 100 * sum(table) / 3689
    return int(np.clip(round((200 - scale) / 2 if scale <= 100 else 5000 / scale), 1, 100))


def _upright(picture: Pillow.Image) -> tuple[Pillow.Image, list[str]]:
    """Decode a picture, and turn it as its header says it is to be seen."""
    code = picture.tag_v2.get(0x0112, 1) if picture.format == "TIFF" else 1
    picture.load()  # which turns a TIFF by itself
    if code == 1:
        try:
            code = picture.getexif().get(0x0112, 1)
        except (OSError, SyntaxError, ValueError, KeyError, TypeError):
            told = noted("damaged-metadata", "its EXIF block is damaged; the picture was taken as it lies")
            return picture, [told]
    if code not in (2, 3, 4, 5, 6, 7, 8):
        return picture, []
    return ImageOps.exif_transpose(picture), [
        noted("picture-turned", f"turned upright as its EXIF orientation {code} says")
    ]


def _values(
    picture: Pillow.Image, kind: str, said: tiff.Numbers | None
) -> tuple[np.ndarray, tuple[float, float] | None, list[str]]:
    """Return voxels (rows, columns[, 3]), the range the format could have said, and what was changed."""
    notes: list[str] = []
    if said is not None and said.grey:
        return tiff.grey_values(np.array(picture.convert("L") if picture.mode == "1" else picture), said)
    if picture.mode.startswith("I;16"):
        return np.asarray(picture).astype(np.uint16), (0.0, 65535.0), notes
    if picture.mode == "I":
        return smallest_integer(np.asarray(picture)), None, notes
    if picture.mode == "F":
        return finite(np.array(picture, np.float32)), None, notes
    if picture.mode in ("1", "L"):
        if "transparency" in picture.info:
            notes.append(noted("alpha-dropped", "a transparent grey value was taken as that grey"))
        return np.array(picture.convert("L")), (0.0, 255.0), notes
    return _colour(picture, kind, said.unnamed if said else 0)


def _colour(picture: Pillow.Image, kind: str, unnamed: int) -> tuple[np.ndarray, tuple[float, float] | None, list[str]]:
    notes = []
    if picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
        picture, notes = _without_alpha(picture.convert("RGBA"))
    elif picture.mode in ("P", "CMYK", "YCbCr", "RGBX"):
        named = {"P": "palette", "RGBX": "RGB"}.get(picture.mode, picture.mode)
        notes = [noted("palette" if picture.mode == "P" else "to-rgb", f"{named} converted to RGB")]
        picture = picture.convert("RGB")
    if picture.mode != "RGB":
        raise UnreadableFile(
            f"a picture in the {picture.mode} colour space",
            code="unsupported-format",
            expected="grey, RGB, RGBA, palette or CMYK",
            do="save it as RGB",
        )
    if unnamed:
        notes.append(
            noted("alpha-dropped", f"{unnamed} further channel{'s' * (unnamed > 1)} of no said meaning left out")
        )
    values = np.array(picture)
    values, note = one_channel(values, tolerance=_GREY_TOLERANCE if kind in ("jpeg", "webp") else 0)
    return values, (0.0, 255.0), [*notes, noted("colour-to-grey", note)] if note else notes


def _without_alpha(picture: Pillow.Image) -> tuple[Pillow.Image, list[str]]:
    lowest = picture.getextrema()[3][0]
    if lowest == 255:
        return picture.convert("RGB"), [noted("alpha-dropped", "a fully opaque alpha channel was dropped")]
    black = Pillow.new("RGBA", picture.size, (0, 0, 0, 255))
    black.alpha_composite(picture)
    return black.convert("RGB"), [noted("alpha-dropped", "transparent parts were laid on black")]


def _refusal(error: Exception) -> UnreadableFile:
    """Turn the decoder's complaint into one of our reasons."""
    said = str(error).lower()
    if "truncated" in said or isinstance(error, EOFError) or "unexpected end" in said:
        return UnreadableFile(
            "a picture that ends before its last pixel", code="truncated", do="copy or export it again"
        )
    if isinstance(error, UnidentifiedImageError):
        return UnreadableFile("a picture whose header is damaged", code="malformed", do="export it again")
    return UnreadableFile("a damaged picture", code="malformed", do="export it again")
