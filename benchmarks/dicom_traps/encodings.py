"""Traps of the encoding: how the same film lies in the file, and files that lie about it."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate

from benchmarks.dicom_traps import scene, writing
from benchmarks.dicom_traps.truth import Case, Piece
from benchmarks.dicom_traps.writing import CAPTURE, CR, US, US_CINE

_CODED = r"(?i)transfer syntax|unsupported|not supported|jpeg|decod|codec|plugin|encoded|compress"
_STREAMS = json.loads(Path(__file__).with_name("codestreams.json").read_text())


def _stream(name: str) -> bytes:
    return base64.b64decode(_STREAMS[name])


def _file(ds: Dataset, folder: Path, *pieces: Piece, syntax: str = uid.ExplicitVRLittleEndian, **more: object) -> Case:
    streams = more.pop("streams", None)
    path = writing.save(ds, folder / "image.dcm", syntax, streams=streams)
    return Case(path, writing.kind(ds), tuple((p,) for p in pieces), **more)


def _grey(name: str, **how: int) -> Dataset:
    return writing.plain(name, CR, "CR", scene.film(), **how)


def _rgb(name: str) -> Dataset:
    return writing.plain(name, CAPTURE, "OT", scene.colour(), bits=8, allocated=8, samples=3)


def _coded(
    folder: Path, stream: str, syntax: str, values: np.ndarray, *, tolerance: float = 0.05, mode: str = "", **how: int
) -> Case:
    """One compressed frame whose values are known; a refusal that names the encoding is honest too."""
    ds = writing.plain(stream, CAPTURE, "OT", values, **how)
    if mode:
        ds.PhotometricInterpretation = mode
    piece = Piece(values.astype(float), tolerance=tolerance)
    return _file(ds, folder, piece, syntax=syntax, streams=[_stream(stream)], topic=_CODED, may_refuse=True)


def _ybr(rgb: np.ndarray) -> np.ndarray:
    """RGB → YCbCr of full range (PS3.3 C.7.6.3.1.2)."""
    matrix = np.array([[0.299, 0.587, 0.114], [-0.1687, -0.3313, 0.5], [0.5, -0.4187, -0.0813]])
    return (rgb @ matrix.T + [0, 128, 128]).round().clip(0, 255)


def palette_8(folder: Path) -> Case:
    """Palette numbers are names of colours; read as grey they are nonsense with sharp edges."""
    index = (scene.film() // 16).clip(0, 255)
    ds = writing.plain("palette", US, "US", index, bits=8, allocated=8)
    table = _palette(ds, np.arange(256), first=0)
    return _file(ds, folder, *_in_8_or_16_bits(table[index]), topic="(?i)palette", may_refuse=True)


def palette_offset(folder: Path) -> Case:
    """A palette may begin at 100: everything below takes its first colour, not the colour 100 places further on."""
    index = (scene.film() // 16).clip(0, 255)
    ds = writing.plain("palette offset", US, "US", index, bits=8, allocated=8)
    table = _palette(ds, np.arange(100), first=100)
    truth = table[(index - 100).clip(0, 99)]
    return _file(ds, folder, *_in_8_or_16_bits(truth), topic="(?i)palette", may_refuse=True)


def _in_8_or_16_bits(colours: np.ndarray) -> tuple[Piece, Piece]:
    return Piece(colours, tolerance=1.01), Piece(colours * 257)


def _palette(ds: Dataset, steps: np.ndarray, *, first: int) -> np.ndarray:
    """Write a palette of 8-bit colours as 16-bit entries (both bytes alike); return them as 8 bits, (n, 3)."""
    colours = np.stack([steps * 2 % 256, 255 - steps, steps // 2 + 60], axis=1).astype(np.uint16)
    ds.PhotometricInterpretation = "PALETTE COLOR"
    for name, column in zip(("Red", "Green", "Blue"), colours.T):
        setattr(ds, f"{name}PaletteColorLookupTableDescriptor", [len(steps), first, 16])
        setattr(ds, f"{name}PaletteColorLookupTableData", (column * 257).astype("<u2").tobytes())
    return colours.astype(float)


def ybr_full(folder: Path) -> Case:
    """YBR stored plainly: shown as RGB everything is green and pink."""
    ds = writing.plain("ybr", US, "US", _ybr(scene.colour()), bits=8, allocated=8, samples=3)
    ds.PhotometricInterpretation = "YBR_FULL"
    return _file(ds, folder, Piece(scene.colour(), tolerance=3), topic="(?i)ybr", may_refuse=True)


def ybr_full_422(folder: Path) -> Case:
    """YBR with half the colour samples: two thirds of the bytes, in another order; a plain reshape shears the picture."""
    full = _ybr(scene.colour()).astype(np.uint8)
    packed = np.stack([full[:, 0::2, 0], full[:, 1::2, 0], full[:, 0::2, 1], full[:, 0::2, 2]], axis=-1)
    ds = writing.plain("ybr 422", US, "US", full, bits=8, allocated=8, samples=3)
    ds.PhotometricInterpretation = "YBR_FULL_422"
    writing.put(ds, packed.tobytes())
    return _file(ds, folder, Piece(scene.colour(), tolerance=8), topic="(?i)ybr", may_refuse=True)


def planar_colour(folder: Path) -> Case:
    """All reds, then all greens, then all blues: read pixel by pixel it is three small grey pictures."""
    ds = _rgb("planar")
    ds.PlanarConfiguration = 1
    writing.put(ds, np.moveaxis(scene.colour(), -1, 0).astype(np.uint8).tobytes())
    return _file(ds, folder, Piece(scene.colour()))


def big_endian(folder: Path) -> Case:
    """Big endian 16-bit: with the bytes swapped, 256 becomes 1."""
    ds = _grey("big endian")
    ds.PixelData = scene.film().astype(">u2").tobytes()
    return _file(ds, folder, Piece(scene.film()), syntax=uid.ExplicitVRBigEndian)


def big_endian_bytes(folder: Path) -> Case:
    """Big endian 8-bit pixels kept as words (OW): neighbouring pixels lie in swapped order."""
    ds = writing.plain("big endian 8", CAPTURE, "OT", scene.film8(), bits=8, allocated=8)
    ds.PixelData = scene.film8().astype(np.uint8).tobytes()
    ds["PixelData"].VR = "OW"
    swapped = scene.film8().astype(np.uint8).reshape(-1, 2)[:, ::-1].tobytes()
    ds.PixelData = swapped
    return _file(
        ds, folder, Piece(scene.film8()), syntax=uid.ExplicitVRBigEndian, topic="(?i)endian|OW", may_refuse=True
    )


def deflated(folder: Path) -> Case:
    """The whole data set is zipped; a reader that does not know it finds no header at all."""
    return _file(
        _grey("deflated"), folder, Piece(scene.film()), syntax=uid.DeflatedExplicitVRLittleEndian, topic=_CODED
    )


def implicit_vr(folder: Path) -> Case:
    """The default encoding of DICOM, without types in the file."""
    return _file(_grey("implicit"), folder, Piece(scene.film()), syntax=uid.ImplicitVRLittleEndian)


def rle(folder: Path) -> Case:
    """RLE keeps the high bytes before the low ones; swapped, a smooth film becomes noise."""
    ds = _grey("rle")
    high, low = scene.film() >> 8, scene.film() & 255
    return _file(ds, folder, Piece(scene.film()), syntax=uid.RLELossless, streams=[runs([high, low])], topic=_CODED)


def rle_colour(folder: Path) -> Case:
    """RLE colour is always plane after plane, whatever Planar Configuration says."""
    planes = np.moveaxis(scene.colour().astype(int), -1, 0)
    return _file(
        _rgb("rle rgb"), folder, Piece(scene.colour()), syntax=uid.RLELossless, streams=[runs(planes)], topic=_CODED
    )


def runs(planes: list[np.ndarray] | np.ndarray) -> bytes:
    """Encode byte planes as literal runs (PS3.5 Annex G), row by row."""
    segments = []
    for plane in planes:
        rows = (bytes([plane.shape[1] - 1]) + row.astype(np.uint8).tobytes() for row in plane)
        segment = b"".join(rows)
        segments.append(segment + b"\x80" * (len(segment) % 2))
    offsets = 64 + np.cumsum([0, *(len(s) for s in segments[:-1])])
    head = np.zeros(16, "<u4")
    head[0], head[1 : 1 + len(segments)] = len(segments), offsets
    return head.tobytes() + b"".join(segments)


def jpeg_baseline(folder: Path) -> Case:
    """The commonest JPEG, 8 bits."""
    return _coded(folder, "jpeg-baseline", uid.JPEGBaseline8Bit, scene.film8(), tolerance=4, bits=8, allocated=8)


def jpeg_colour(folder: Path) -> Case:
    """JPEG colour is YBR inside; whether a decoder has already turned it to RGB must be known, not guessed."""
    how = {"bits": 8, "allocated": 8, "samples": 3}
    return _coded(folder, "jpeg-ybr-422", uid.JPEGBaseline8Bit, scene.colour(), tolerance=8, mode="YBR_FULL_422", **how)


def jpeg_rgb(folder: Path) -> Case:
    """JPEG whose components really are RGB, as its header says: a decoder that converts regardless makes it green."""
    how = {"bits": 8, "allocated": 8, "samples": 3}
    return _coded(folder, "jpeg-rgb", uid.JPEGBaseline8Bit, scene.colour(), tolerance=4, mode="RGB", **how)


def jpeg_extended(folder: Path) -> Case:
    """12-bit JPEG: an 8-bit decoder gives a sixteenth of the values, or none."""
    return _coded(folder, "jpeg-extended-12", uid.JPEGExtended12Bit, scene.film(), tolerance=8)


def jpeg_lossless(folder: Path) -> Case:
    """Lossless JPEG must give back every bit."""
    return _coded(folder, "jpeg-lossless-sv1", uid.JPEGLosslessSV1, scene.film())


def jpeg_lossless_signed(folder: Path) -> Case:
    """The codestream knows no sign; only the header says that 65,535 is −1."""
    stream = "jpeg-lossless-sv1-signed"
    return _coded(folder, stream, uid.JPEGLosslessSV1, scene.film() - 2000, bits=16, sign=1)


def jpeg_ls(folder: Path) -> Case:
    """JPEG-LS, lossless."""
    return _coded(folder, "jpeg-ls", uid.JPEGLSLossless, scene.film())


def jpeg_ls_near(folder: Path) -> Case:
    """JPEG-LS that allows an error of 2: no value may be further off."""
    return _coded(folder, "jpeg-ls-near-2", uid.JPEGLSNearLossless, scene.film(), tolerance=2.01, bits=16)


def j2k(folder: Path) -> Case:
    """JPEG 2000, lossless, 12 bits in the codestream."""
    return _coded(folder, "j2k", uid.JPEG2000Lossless, scene.film())


def j2k_signed(folder: Path) -> Case:
    """JPEG 2000 with signed samples."""
    return _coded(folder, "j2k-signed", uid.JPEG2000Lossless, scene.film() - 2000, bits=16, sign=1)


def j2k_lossy(folder: Path) -> Case:
    """JPEG 2000 with loss: near, not equal."""
    return _coded(folder, "j2k-lossy", uid.JPEG2000, scene.film8(), tolerance=6, bits=8, allocated=8)


def j2k_colour(folder: Path) -> Case:
    """JPEG 2000 colour (YBR_RCT): the codestream undoes its own transform; done twice, colours are wrong."""
    how = {"bits": 8, "allocated": 8, "samples": 3}
    return _coded(folder, "j2k-rgb", uid.JPEG2000Lossless, scene.colour(), mode="YBR_RCT", **how)


def htj2k(folder: Path) -> Case:
    """High-throughput JPEG 2000, what cloud archives send today."""
    return _coded(folder, "htj2k", uid.HTJ2KLossless, scene.film(), bits=16)


def htj2k_signed(folder: Path) -> Case:
    """High-throughput JPEG 2000 with signed samples."""
    return _coded(folder, "htj2k-signed", uid.HTJ2KLossless, scene.film() - 2000, bits=16, sign=1)


def j2k_sign_conflict(folder: Path) -> Case:
    """The codestream says unsigned, the header signed: a known fault of one writer, half the values wrap."""
    ds = writing.plain("sign conflict", CAPTURE, "OT", scene.film() - 2000, bits=12, sign=1)
    told = "(?i)sign"
    signed = Piece(np.where(scene.film() > 2047, scene.film() - 4096, scene.film()), told=told)
    piece = Piece(scene.film(), told=told)
    return _file(
        ds, folder, piece, signed, syntax=uid.JPEG2000Lossless, streams=[_stream("j2k")], topic=told, may_refuse=True
    )


def fragments(folder: Path) -> Case:
    """Two frames in two fragments each and no offset table: counted by fragments there are four."""
    ds = writing.plain("fragments", US_CINE, "US", np.stack([scene.film8()] * 2), bits=8, allocated=8)
    ds.FrameTime = "40"
    ds.PixelData = encapsulate([_stream("jpeg-baseline")] * 2, fragments_per_frame=2, has_bot=False)
    ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    path = writing.save(ds, folder / "image.dcm", uid.JPEGBaseline8Bit)
    piece = Piece(np.stack([scene.film8()] * 2), tolerance=4)
    return Case(path, "DICOM frames", ((piece,),), topic=_CODED + "|fragment|offset", may_refuse=True)


def odd_length(folder: Path) -> Case:
    """An odd number of bytes is padded by one; that byte is no pixel."""
    film = scene.film8(11, 13)
    return _file(writing.plain("odd", CAPTURE, "OT", film, bits=8, allocated=8), folder, Piece(film))


def too_many_bytes(folder: Path) -> Case:
    """More bytes than the header needs: the film is whole, and is the first of them."""
    ds = _grey("too long")
    ds.PixelData += b"\x7f" * 500
    return _file(ds, folder, Piece(scene.film()), topic="(?i)bytes|length|size", may_refuse=True)


_SHORT = r"(?i)trunc|length|size|bytes|too short|end of|less than|expected|incomplete|not enough"


def truncated_pixels(folder: Path) -> Case:
    """The copy was cut off: the lower part of the film would be black, or what lay in memory."""
    ds = _grey("short")
    ds.PixelData = ds.PixelData[:2400]
    return _file(ds, folder, topic=_SHORT, numbers=("2,400", "3,840"))


def truncated_file(folder: Path) -> Case:
    """The file ends in the middle of its pixels, though the header promises them all."""
    path = writing.save(_grey("cut"), folder / "image.dcm")
    raw = path.read_bytes()
    path.write_bytes(raw[: len(raw) - 1440])
    return Case(path, "DICOM film", (), topic=_SHORT + "|EOF", numbers=("2,400", "3,840"))


def rows_lie(folder: Path) -> Case:
    """The header says twice as many rows as there are pixels."""
    ds = _grey("rows")
    ds.Rows = 2 * scene.ROWS
    return _file(ds, folder, topic=_SHORT, numbers=("3,840", "7,680"))


def frames_lie(folder: Path) -> Case:
    """The header says five frames, four are there: the fifth would be nothing."""
    ds = writing.plain("frames", US_CINE, "US", np.stack([scene.film8()] * 4), bits=8, allocated=8)
    ds.NumberOfFrames, ds.FrameTime = 5, "40"
    return _file(ds, folder, topic=_SHORT + "|frame", numbers=("7,680", "9,600"))


def no_preamble(folder: Path) -> Case:
    """A data set without preamble and file header, as old software writes it."""
    ds = _grey("bare")
    path = writing.save(ds, folder / "image.dcm", uid.ImplicitVRLittleEndian)
    raw = path.read_bytes()
    start = 128 + 4 + 12 + int.from_bytes(raw[140:144], "little")
    path.write_bytes(raw[start:])
    topic = r"(?i)preamble|DICM|header|not a dicom|invalid dicom|transfer syntax|cannot identify"
    return Case(path, "DICOM film", ((Piece(scene.film()),),), topic=topic, may_refuse=True)


def syntax_lie(folder: Path) -> Case:
    """The file says explicit VR and is implicit: followed to the letter, lengths are read as types."""
    path = writing.save(_grey("lie"), folder / "image.dcm", uid.ImplicitVRLittleEndian)
    raw = path.read_bytes()
    at, implicit = raw.index(b"1.2.840.10008.1.2\0"), 18
    length = int.from_bytes(raw[140:144], "little") + 2
    said = (20).to_bytes(2, "little") + b"1.2.840.10008.1.2.1\0"
    path.write_bytes(raw[:140] + length.to_bytes(4, "little") + raw[144 : at - 2] + said + raw[at + implicit :])
    return Case(path, "DICOM film", ((Piece(scene.film()),),), topic=r"(?i)VR|syntax|header|malformed", may_refuse=True)


def no_suffix(folder: Path) -> Case:
    """A scanner names its files by UID, without an ending; the last part of a UID is no ending either."""
    path = writing.save(_grey("suffix"), folder / "1.2.840.99.7")
    return Case(path, "DICOM film", ((Piece(scene.film()),),), topic=r"(?i)suffix|extension|format|reader|cannot")


def wrong_suffix(folder: Path) -> Case:
    """A DICOM file that was renamed .jpg on its way."""
    path = writing.save(_grey("suffix"), folder / "film.jpg")
    topic = r"(?i)suffix|extension|format|reader|cannot|identify|image file|not a jpeg"
    return Case(path, "DICOM film", ((Piece(scene.film()),),), topic=topic)


def no_photometric(folder: Path) -> Case:
    """Without Photometric Interpretation nobody knows whether low values are dark."""
    ds = _grey("photometric")
    del ds.PhotometricInterpretation
    told = Piece(scene.film(), told="(?i)photometric")
    return _file(ds, folder, told, topic="(?i)photometric", may_refuse=True)


TRAPS = (
    palette_8,
    palette_offset,
    ybr_full,
    ybr_full_422,
    planar_colour,
    big_endian,
    big_endian_bytes,
    deflated,
    implicit_vr,
    rle,
    rle_colour,
    jpeg_baseline,
    jpeg_colour,
    jpeg_rgb,
    jpeg_extended,
    jpeg_lossless,
    jpeg_lossless_signed,
    jpeg_ls,
    jpeg_ls_near,
    j2k,
    j2k_signed,
    j2k_lossy,
    j2k_colour,
    htj2k,
    htj2k_signed,
    j2k_sign_conflict,
    fragments,
    odd_length,
    too_many_bytes,
    truncated_pixels,
    truncated_file,
    rows_lie,
    frames_lie,
    no_preamble,
    syntax_lie,
    no_suffix,
    wrong_suffix,
    no_photometric,
)
