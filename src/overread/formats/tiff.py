"""What the numbers of a TIFF are by its own tags, before its decoder, which takes some for others, sees them."""

from __future__ import annotations

import io
import struct
import warnings
from dataclasses import dataclass

import numpy as np
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from overread.domain import noted
from overread.errors import UnreadableFile
from overread.formats.limits import finite, smallest_integer

_WIDTH, _LENGTH, _BITS, _PHOTOMETRIC, _SAMPLES, _FORMAT = 256, 257, 258, 262, 277, 339
_FORMATS = {1: "unsigned", 2: "signed", 3: "floating-point", 4: "undefined", 5: "complex", 6: "complex"}
_COLOURS = {0: "grey (white is zero)", 1: "grey", 2: "RGB", 3: "palette", 4: "mask", 5: "CMYK", 6: "YCbCr", 8: "CIELAB"}


@dataclass(frozen=True)
class Numbers:
    """What a TIFF says of one sample of its pixels.

    Parameters
    ----------
    bits : int
        Bits of a sample; of the deepest, where they differ.
    samples : int
        Samples of a pixel.
    kind : str
        "unsigned", "signed", "floating-point", "undefined", "complex", or "unknown".
    photometric : int
        Photometric Interpretation; 0 is white-is-zero.
    order : str
        "little-endian" or "big-endian".

    References
    ----------
    TIFF 6.0: BitsPerSample (258), PhotometricInterpretation (262), SampleFormat (339).
    """

    bits: int
    samples: int
    kind: str
    photometric: int
    order: str = "little-endian"

    @property
    def grey(self) -> bool:
        """True for one number a pixel, whose direction of brightness the file says."""
        return self.samples == 1 and self.photometric in (0, 1)


def numbers_of(raw: bytes) -> Numbers | None:
    """Return what a TIFF's first page says of its numbers; None where its tags cannot be read.

    Examples
    --------
    >>> from PIL import Image
    >>> out = io.BytesIO(); Image.new("I;16", (9, 9)).save(out, "tiff")
    >>> numbers_of(out.getvalue())
    Numbers(bits=16, samples=1, kind='unsigned', photometric=1, order='little-endian')
    """
    head = raw[: 16 if raw[2:4] in (b"+\0", b"\0+") else 8]
    try:
        tags = ImageFileDirectory_v2(head)
        stream = io.BytesIO(raw)
        stream.seek(tags.next)
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", UserWarning
            )  # Pillow warns of damaged tags once more when it opens the picture
            tags.load(stream)
        bits, said = tags.get(_BITS, (1,)), tags.get(_FORMAT, (1,))
        samples = int(tags.get(_SAMPLES, len(bits)))
        kinds = {_FORMATS.get(int(f), "unknown") for f in said}
        if min(tags[_WIDTH], tags[_LENGTH]) < 1:
            return None
        kind = kinds.pop() if len(kinds) == 1 else "unknown"
        order = "big-endian" if raw[:2] == b"MM" else "little-endian"
        return Numbers(max(int(b) for b in bits), samples, kind, int(tags.get(_PHOTOMETRIC, 0)), order)
    except (SyntaxError, OSError, ValueError, TypeError, KeyError, IndexError, OverflowError, struct.error):
        return None


def unsupported(said: Numbers) -> UnreadableFile:
    """Return the refusal of numbers that the decoder does not hold, with what they are."""
    colour = _COLOURS.get(said.photometric, "of an unknown colour space")
    many = f"{said.samples} × " if said.samples > 1 else ""
    return UnreadableFile(
        f"a TIFF whose pixels are {many}{said.bits}-bit {said.kind} {said.order} numbers, {colour}",
        code="unsupported-format",
        expected="grey (black is zero) of 1 to 16 bits unsigned, 8 to 32 bits signed or 32-bit floating-point, or colour of 8 or 16 bits a channel",
        do="save it as one of these",
    )


def check_held(said: Numbers) -> None:
    """Refuse what the decoder would take for something else without a word.

    Raises
    ------
    UnreadableFile
        ``unsupported-format``: numbers below zero in colour; floating-point and signed numbers whose zero is white.
    """
    if said.kind != "unsigned" and (said.photometric != 1 or said.samples > 1):
        raise unsupported(said)


def in_native_order(tiles: list) -> list:
    """Return a TIFF's tiles so that packed big-endian numbers come out right: libtiff has turned their bytes already."""
    return [
        tile._replace(args=(_NATIVE.get(tile.args[0], tile.args[0]), *tile.args[1:]))
        if tile.codec_name == "libtiff"
        else tile
        for tile in tiles
    ]


_NATIVE = {"I;16BS": "I;16NS", "I;32BS": "I;32NS", "F;32BF": "F;32NF"}


def grey_values(values: np.ndarray, said: Numbers) -> tuple[np.ndarray, tuple[float, float] | None, list[str]]:
    """Return decoded grey numbers as what they are, the range that they could have had, and what was changed.

    Parameters
    ----------
    values : ndarray, (rows, columns)
        As the decoder gives them: bits are right, their meaning may not be; white-is-zero is turned over up to 8 bits.
    said : Numbers

    Raises
    ------
    UnreadableFile
        ``not-finite``.

    Examples
    --------
    >>> grey_values(np.array([[156]], np.uint8), Numbers(8, 1, "signed", 1))
    (array([[-100]], dtype=int16), (-128.0, 127.0), [])
    """
    turned = [noted("inverted", "white-is-zero TIFF inverted")] if said.photometric == 0 else []
    if said.kind == "floating-point":
        return finite(values.astype(np.float32)), None, []
    if said.kind == "signed" and said.bits == 8:
        return smallest_integer(values.view(np.int8), -128, 127), (-128.0, 127.0), []
    if said.kind == "signed":
        return smallest_integer(values), None, []
    if said.bits <= 8:
        return values, (0.0, 255.0), turned
    if said.bits <= 16:
        top = (1 << said.bits) - 1
        values = values.astype(np.uint16)
        return top - values if turned else values, (0.0, float(top)), turned
    whole = np.ascontiguousarray(values).view(np.uint32)
    out = smallest_integer(whole)
    rounded = out.dtype.kind == "f" and not np.array_equal(out.astype(np.float64), whole)
    note = noted("rounded", "32-bit whole numbers rounded to 32-bit floating point, which holds 24 bits")
    return out, None, [note] if rounded else []
