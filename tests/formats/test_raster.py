"""Pictures keep the values they hold, whatever their name, depth, colour or damage."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from overread.domain import Image, code_of
from overread.errors import UnreadableFile
from overread.formats.door import Found, Refused, scan
from overread.formats.raster import KINDS, jpeg_quality, read_picture
from overread.formats.sniff import sniff

GREY = np.arange(8 * 12, dtype=np.uint8).reshape(8, 12) * 2


def encoded(values: np.ndarray | Pillow.Image, kind: str, **how: object) -> bytes:
    buffer = io.BytesIO()
    picture = values if isinstance(values, Pillow.Image) else Pillow.fromarray(values)
    picture.save(buffer, kind.upper(), **how)
    return buffer.getvalue()


def read(raw: bytes, suffix: str = "") -> Image:
    return read_picture(raw, kind=sniff(raw), suffix=suffix)


def refused(raw: bytes) -> UnreadableFile:
    with pytest.raises(UnreadableFile) as caught:
        read(raw)
    return caught.value


@pytest.mark.parametrize("kind", ["png", "tiff", "bmp"])
def test_grey_pixels_come_back_exactly(kind: str) -> None:
    image = read(encoded(GREY, kind))
    assert np.array_equal(image.voxels, GREY[np.newaxis])
    assert image.full_range == (0, 255)
    assert image.geometry is None
    assert image.spacing_mm is None


@pytest.mark.parametrize("kind", ["png", "tiff"])
def test_sixteen_bit_values_are_kept(kind: str) -> None:
    """The failure this guards against: a 16-bit picture turned into all-255 and trained on."""
    values = (GREY.astype(np.uint16) * 251) + 7
    image = read(encoded(values, kind))
    assert image.voxels.dtype == np.uint16
    assert np.array_equal(image.voxels[0], values)
    assert image.full_range == (0, 65535)
    assert image.attributes["bits"] == "16"


def test_float_and_integer_tiffs_are_kept() -> None:
    values = GREY.astype(np.float32) / 7 - 3
    image = read(encoded(values, "tiff"))
    assert np.array_equal(image.voxels[0], values)
    assert image.full_range is None
    counts = GREY.astype(np.int32) * 1000 - 70000
    assert np.array_equal(read(encoded(counts, "tiff")).voxels[0], counts)


def test_a_float_tiff_with_nan_is_refused_with_the_count() -> None:
    values = GREY.astype(np.float32)
    values[0, :3] = np.nan
    values[1, 0] = np.inf
    error = refused(encoded(values, "tiff"))
    assert error.code == "not-finite"
    assert "4 of 96" in str(error)


def test_colour_stays_colour_and_grey_in_colour_becomes_grey() -> None:
    colour = np.stack([GREY, GREY[::-1], GREY], axis=-1)
    assert np.array_equal(read(encoded(colour, "png")).voxels[0], colour)
    grey = read(encoded(np.stack([GREY] * 3, axis=-1), "png"))
    assert np.array_equal(grey.voxels[0], GREY)
    assert any("one grey channel" in n for n in grey.notes)


def test_a_single_coloured_pixel_keeps_a_lossless_picture_in_colour() -> None:
    colour = np.stack([GREY] * 3, axis=-1)
    colour[3, 3, 0] += 1
    assert read(encoded(colour, "png")).channels == 3


def test_alpha_is_dropped_when_opaque_and_composited_when_not() -> None:
    colour = np.stack([GREY, GREY[::-1], GREY, np.full_like(GREY, 255)], axis=-1)
    opaque = read(encoded(colour, "png"))
    assert np.array_equal(opaque.voxels[0], colour[..., :3])
    assert "alpha-dropped: a fully opaque alpha channel was dropped" in opaque.notes
    colour[2, :, 3] = 0
    clear = read(encoded(colour, "png"))
    assert np.all(clear.voxels[0, 2] == 0)
    assert np.array_equal(clear.voxels[0, 3:], colour[3:, :, :3])


def test_palette_bilevel_cmyk_and_gif() -> None:
    palette = Pillow.fromarray(GREY).convert("P")
    assert np.array_equal(read(encoded(palette, "png")).voxels[0], GREY)
    assert np.array_equal(read(encoded(palette, "gif")).voxels[0], GREY)
    bilevel = Pillow.fromarray(GREY).point(lambda v: 255 * (v > 90)).convert("1")
    assert set(np.unique(read(encoded(bilevel, "png")).voxels)) == {0, 255}
    cmyk = read(encoded(Pillow.fromarray(np.stack([GREY] * 3, -1)).convert("CMYK"), "tiff"))
    assert "to-rgb: CMYK converted to RGB" in cmyk.notes


def test_white_is_zero_is_inverted_in_sixteen_bit_tiffs() -> None:
    values = GREY.astype(np.uint16) * 100
    raw = bytearray(encoded(values, "tiff"))
    at = raw.index(struct.pack("<HHIH", 262, 3, 1, 1))
    struct.pack_into("<HHIH", raw, at, 262, 3, 1, 0)
    image = read(bytes(raw))
    assert np.array_equal(image.voxels[0], 65535 - values)
    assert "inverted: white-is-zero TIFF inverted" in image.notes


@pytest.mark.parametrize("code", range(1, 9))
def test_exif_orientation_is_honoured(code: int) -> None:
    exif = Pillow.Exif()
    exif[0x0112] = code
    shown = {
        1: GREY, 2: GREY[:, ::-1], 3: GREY[::-1, ::-1], 4: GREY[::-1], 5: GREY.T, 6: np.rot90(GREY, -1),
        7: GREY[::-1, ::-1].T, 8: np.rot90(GREY),
    }[code]  # fmt: skip
    image = read(encoded(GREY, "png", exif=exif))
    assert np.array_equal(image.voxels[0], shown)
    assert bool([n for n in image.notes if "EXIF" in n]) is (code != 1)


def test_a_wrong_ending_is_noted_and_a_right_one_is_not() -> None:
    raw = encoded(GREY, "png")
    assert read(raw, "JPG").notes[0] == "other-format: named .jpg, but it is a PNG"
    assert (
        read(raw, "smith").notes[0] == "other-format: not named as a picture, but it is a PNG"
    )  # "film.smith": no suffix, a name
    assert read(raw, "png").notes == ()


def test_jpeg_quality_is_estimated() -> None:
    for quality in (20, 50, 75, 90):
        said = int(read(encoded(GREY, "jpeg", quality=quality)).attributes["jpeg_quality"])
        assert abs(said - quality) <= 2
    assert jpeg_quality([255] * 64) < jpeg_quality([2] * 64)


def test_sizes_are_bounded_before_decoding() -> None:
    assert refused(encoded(GREY[:1, :1], "png")).code == "too-small"
    header = struct.pack(">IIBBBBB", 20000, 20000, 8, 0, 0, 0, 0)
    chunk = b"IHDR" + header
    raw = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    raw += struct.pack(">I", 4) + b"IDAT" + bytes(4) + struct.pack(">I", zlib.crc32(b"IDAT" + bytes(4)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert refused(raw).code == "too-large"
    assert refused(raw.replace(header, struct.pack(">IIBBBBB", 10001, 10000, 8, 0, 0, 0, 0))).code in (
        "too-large",
        "malformed",
    )


@pytest.mark.parametrize("kind", ["png", "jpeg", "bmp"])
def test_half_a_picture_is_truncated(kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
    raw = encoded(noise, kind)
    assert refused(raw[: len(raw) // 2]).code == "truncated"


def test_several_pages_are_refused() -> None:
    pages = [Pillow.fromarray(GREY)] * 3
    error = refused(encoded(pages[0], "tiff", save_all=True, append_images=pages[1:]))
    assert error.code == "several-pages"
    assert "3 pages" in str(error)


DEEP = np.random.default_rng(5).integers(0, 65536, (19, 11, 4)).astype(np.uint16)


@pytest.mark.parametrize("write", ["png", "tiff <", "tiff >", "tiff < deflate", "tiff > deflate"])
@pytest.mark.parametrize("channels", [3, 4])
def test_deep_colour_keeps_all_of_its_bits(write: str, channels: int) -> None:
    """The failure this guards against: 16-bit colour cut to 8 bit without a word."""
    kind, *how = write.split()
    deep = DEEP[..., :channels].copy()
    for opaque in (True, False):
        if channels == 4 and opaque:
            deep[..., 3] = 65535
        elif channels == 4:
            deep[..., 3] = DEEP[..., 3]
        image = read_picture(_png16(deep) if kind == "png" else _tiff16(deep, *how), kind=kind)
        expected = deep[..., :3] if channels == 3 or opaque else np.round(deep[..., :3] * (deep[..., 3:] / 65535))
        assert image.voxels.dtype == np.uint16
        assert np.array_equal(image.voxels[0], expected)
        assert (image.full_range, image.attributes["bits"]) == ((0.0, 65535.0), "16")
        assert [code_of(note) for note in image.notes] == ["alpha-dropped"] * (channels == 4)


def test_deep_colour_that_is_grey_becomes_one_channel_and_is_turned_upright() -> None:
    deep = np.repeat(DEEP[..., :1], 3, axis=2)
    assert np.array_equal(read_picture(_png16(deep), kind="png").voxels[0], DEEP[..., 0])
    turned = read_picture(_tiff16(DEEP[..., :3], "<", orientation=6), kind="tiff")
    assert np.array_equal(turned.voxels[0], np.rot90(DEEP[..., :3], -1))
    assert [code_of(n) for n in turned.notes] == ["picture-turned"]


def test_deep_colour_that_is_damaged_or_stored_otherwise_is_refused() -> None:
    assert refused(_png16(DEEP[..., :3])[:600]).code == "truncated"
    grey = refused(_png16(DEEP[..., :2]))
    assert grey.code == "unsupported-format"
    assert "a grey picture with an alpha channel" in str(grey)
    assert "colour picture" not in str(grey)
    assert refused(_tiff16(DEEP[..., :3], "<", planes=2)).code in ("unsupported-format", "malformed")


def _tiff16(deep: np.ndarray, order: str, packed: str = "", *, orientation: int = 1, planes: int = 1) -> bytes:
    """A colour TIFF with 16 bits a channel, written by hand."""
    rows, columns, channels = deep.shape
    body = deep.astype(f"{order}u2").tobytes()
    body = zlib.compress(body) if packed else body
    entries = {256: (4, columns), 257: (4, rows), 258: (3, 0), 259: (3, 8 if packed else 1), 262: (3, 2), 273: (4, 0)}
    entries |= {274: (3, orientation), 277: (3, channels), 278: (4, rows), 279: (4, len(body)), 284: (3, planes)}
    entries |= {338: (3, 2)} if channels == 4 else {}
    after = 8 + 2 + 12 * len(entries) + 4
    bits = struct.pack(f"{order}{channels}H", *[16] * channels)
    out = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, len(entries))
    for tag, (kind, value) in entries.items():
        count, value = {258: (channels, after), 273: (1, after + len(bits))}.get(tag, (1, value))
        short = kind == 3 and count == 1
        out += struct.pack(
            f"{order}HHIHH" if short else f"{order}HHII", tag, kind, count, *((value, 0) if short else (value,))
        )
    return out + bytes(4) + bits + body


def _png16(deep: np.ndarray) -> bytes:
    """A colour PNG with 16 bits a channel, written by hand: no writer here makes one."""
    lines = b"".join(b"\0" + row.tobytes() for row in deep.astype(">u2"))
    out = b"\x89PNG\r\n\x1a\n"
    colour = {2: 4, 3: 2, 4: 6}[deep.shape[2]]
    header = struct.pack(">IIBBBBB", deep.shape[1], deep.shape[0], 16, colour, 0, 0, 0)
    for name, body in ((b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b"")):
        out += struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    return out


def test_a_constant_picture_is_read_with_a_note() -> None:
    assert "constant: every pixel has the same value" in read(encoded(np.full((8, 8), 9, np.uint8), "png")).notes


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["png", "jpeg", "tiff", "bmp", "gif", "webp"]), st.data())
def test_a_damaged_picture_is_read_or_refused_and_never_crashes(kind: str, data: st.DataObject) -> None:
    raw = bytearray(encoded(np.stack([GREY, GREY[::-1], GREY], -1), kind))
    for _ in range(data.draw(st.integers(1, 5))):
        raw[data.draw(st.integers(4, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        image = read_picture(bytes(raw[: data.draw(st.integers(12, len(raw)))]), kind=kind)
    except UnreadableFile as error:
        assert error.code in {"truncated", "malformed", "too-small", "too-large", "several-pages", "unsupported-format"}
    else:
        assert image.voxels.dtype in (np.uint8, np.uint16, np.int16, np.int32, np.float32)


def test_every_picture_of_a_messy_folder_is_read_or_refused_by_name(shared_data: Path) -> None:
    results = list(scan(shared_data / "brain_mri"))
    assert len(results) == 253
    assert all(isinstance(r, Found) for r in results)
    assert sum("other-format: named .jpg, but it is a PNG" in r.image.notes for r in results) == 6


def test_chest_radiographs_decode_as_pillow_does(shared_data: Path) -> None:
    folder = next(p for p in sorted((shared_data / "chest_xray").rglob("*")) if p.suffix in (".jpg", ".jpeg")).parent
    for path in sorted(folder.glob("*.jp*g"))[:20]:
        (result,) = scan(path)
        assert not isinstance(result, Refused)
        expected = np.asarray(Pillow.open(path).convert("L"), int)
        assert np.abs(result.image.voxels[0].astype(int) - expected).max() <= 1


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_with_bytes_lost_in_the_middle_is_refused(colour: bool, progressive: bool) -> None:
    values = np.random.default_rng(0).integers(0, 256, (128, 128, 3) if colour else (128, 128)).astype(np.uint8)
    whole = encoded(values, "jpeg", progressive=progressive, quality=90)
    assert read(whole).voxels.shape[1:3] == (128, 128)
    at = len(whole) * 2 // 3
    with pytest.raises(UnreadableFile) as refusal:
        read(whole[:at] + bytes(len(whole) - at - 2) + whole[-2:])
    assert refusal.value.code in ("malformed", "truncated")
    plain = Pillow.open(io.BytesIO(whole[:at] + bytes(len(whole) - at - 2) + whole[-2:]))
    assert plain.convert("L").size == (128, 128)  # Pillow alone takes it without a word


def test_real_jpegs_of_every_folder_pass(shared_data: Path) -> None:
    files = [p for n in ("chest_xray", "brain_mri") for p in sorted((shared_data / n).rglob("*.jp*g"))[::40]]
    assert len(files) > 100 and all(isinstance(r, Found) for p in files for r in scan(p))


@pytest.mark.parametrize(
    ("tags", "code", "said"),
    [
        ({270: "ImageJ=1.11a\nimages=5\nslices=5\n"}, "several-pages", "5 pictures in one page"),
        ({270: '{"shape": [7, 8, 12], "truncated": true}'}, "several-pages", "7 pictures in one page"),
        ({32997: 16}, "several-pages", "16 pictures in one page"),
        ({270: "ImageJ=1.11a\nimages=1\n"}, "", ""),
        ({270: '{"shape": [8, 12]}'}, "", ""),
        ({270: "a CT of images=5"}, "", ""),
    ],
)
def test_pictures_behind_one_another_in_a_page_are_not_lost_without_a_word(tags: dict, code: str, said: str) -> None:
    raw = encoded(GREY, "tiff", tiffinfo=tags)
    if not code:
        assert read(raw).voxels.shape == (1, 8, 12)
        return
    with pytest.raises(UnreadableFile, match=said) as refusal:
        read(raw)
    assert refusal.value.code == code


def test_channels_that_nobody_named_are_told_or_refused() -> None:
    four = Pillow.fromarray(np.random.default_rng(0).integers(0, 256, (8, 12, 4)).astype(np.uint8), "RGBX")
    image = read(encoded(four, "tiff"))
    assert any("1 further channel of no said meaning left out" in note for note in image.notes)
    assert np.array_equal(image.voxels[0], np.asarray(four)[..., :3])
    two = encoded(Pillow.merge("LA", [Pillow.fromarray(GREY), Pillow.fromarray(GREY[::-1])]), "tiff")
    assert any(code_of(note) == "alpha-dropped" for note in read(two).notes)  # said to be alpha
    extra = struct.pack("<HHI", 338, 3, 1) + struct.pack("<HH", 2, 0)
    assert two.count(extra) == 1
    with pytest.raises(UnreadableFile, match="2 channels of grey"):
        read(two.replace(extra, extra[:8] + bytes(4)))


def test_every_kind_has_a_reader() -> None:
    assert {sniff(encoded(GREY, k)) for k in KINDS} == set(KINDS)
