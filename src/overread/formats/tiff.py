"""What the numbers of a TIFF are by its own tags, before its decoder, which takes some for others, sees them."""

from __future__ import annotations

import io
import math
import re
import struct
import warnings
from dataclasses import dataclass

import numpy as np
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from overread.domain import noted
from overread.errors import UnreadableFile
from overread.formats.limits import finite, smallest_integer

_WIDTH, _LENGTH, _BITS, _PHOTOMETRIC, _DESCRIPTION, _SAMPLES = 256, 257, 258, 262, 270, 277
_EXTRA, _FORMAT, _DEPTH = 338, 339, 32997
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
    planes : int
        Pictures that lie behind one another in this page, as programs for microscopes write them; 1 in a plain TIFF.
    unnamed : int
        Samples beyond the colour's that are not said to be alpha.

    References
    ----------
    TIFF 6.0: BitsPerSample (258), PhotometricInterpretation (262), SampleFormat (339).
    """

    bits: int
    samples: int
    kind: str
    photometric: int
    order: str = "little-endian"
    planes: int = 1
    unnamed: int = 0

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
    Numbers(bits=16, samples=1, kind='unsigned', photometric=1, order='little-endian', planes=1, unnamed=0)
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
        colour = int(tags.get(_PHOTOMETRIC, 0))
        named = sum(int(e) in (1, 2) for e in tags.get(_EXTRA, ()))
        unnamed = max(0, samples - {2: 3, 5: 4, 6: 3, 8: 3}.get(colour, 1) - named)
        return Numbers(max(int(b) for b in bits), samples, kind, colour, order, _planes(tags), unnamed)
    except (SyntaxError, OSError, ValueError, TypeError, KeyError, IndexError, OverflowError, struct.error):
        return None


def _planes(tags: ImageFileDirectory_v2) -> int:
    """Return how many pictures one page holds by its depth, or by what ImageJ and tifffile write into its description."""
    words = str(tags.get(_DESCRIPTION, ""))[:10_000]
    shape = re.match(r'\{"shape": \[([\d, ]+)\]', words)
    if words.startswith("ImageJ="):
        found = re.search(r"^images=(\d{1,9})\s*$", words, re.MULTILINE)
        behind = int(found[1]) if found else 1
    elif shape and '"truncated": true' in words:
        sizes = [int(n) for n in shape[1].split(",") if n.strip()]
        behind = max(1, math.prod(sizes) // max(1, tags[_WIDTH] * tags[_LENGTH] * int(tags.get(_SAMPLES, 1))))
    else:
        behind = 1
    return max(behind, int(tags.get(_DEPTH, 1)))


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
        ``unsupported-format``: numbers below zero in colour; floating-point and signed numbers whose zero is white; a
        second channel of grey that nobody named. ``several-pages``: pictures behind one another in one page.
    """
    if said.planes > 1:
        raise UnreadableFile(
            f"a TIFF with {said.planes} pictures in one page, of which a reader of pictures sees the first",
            code="several-pages",
            expected="one",
            do="save each as its own file, or the stack as NIfTI",
        )
    if said.unnamed and said.photometric in (0, 1):
        raise UnreadableFile(
            f"a TIFF of {said.samples} channels of grey",
            code="unsupported-format",
            expected="1, or an alpha channel that is said to be one",
            do="save each channel as its own file",
        )
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
