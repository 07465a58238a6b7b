"""Palettes and luminance with chroma, against pydicom and against closed forms."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.pixels import apply_color_lut, convert_color_space

from overread.errors import UnreadableFile
from overread.formats.colours import palette_to_rgb, table_of, ybr_to_rgb

COLOURS = ("Red", "Green", "Blue")
ALL = np.stack(np.meshgrid(*[np.arange(0, 256, 5, dtype=np.uint8)] * 3), -1).reshape(1, -1, 3)


def test_full_range_luminance_is_as_pydicom_has_it() -> None:
    assert np.array_equal(ybr_to_rgb(ALL, bits=8), convert_color_space(ALL, "YBR_FULL", "RGB"))


def test_partial_range_luminance_is_the_closed_form() -> None:
    """PS3.3 C.7.6.3.1.2 gives RGB → YBR_PARTIAL; the way back must end within rounding."""
    forth = np.array([[0.2568, 0.5041, 0.0979], [-0.1482, -0.2910, 0.4392], [0.4392, -0.3678, -0.0714]])
    ybr = np.rint(ALL @ forth.T + [16, 128, 128]).astype(np.uint8)
    assert np.abs(ybr_to_rgb(ybr, bits=8, partial=True).astype(int) - ALL).max() <= 2


def palette(
    tables: np.ndarray, *, first: int = 0, bits: int = 8, vr: str = "US", segments: bytes | None = None
) -> Dataset:
    ds = Dataset()
    ds.set_original_encoding(False, True)
    for colour, table in zip(COLOURS, tables, strict=True):
        ds.add_new(f"{colour}PaletteColorLookupTableDescriptor", vr, [len(table) % 65536, first, bits])
        if segments is None:
            ds.add_new(
                f"{colour}PaletteColorLookupTableData", "OW", table.astype("<u2" if bits > 8 else "u1").tobytes()
            )
        else:
            ds.add_new(f"Segmented{colour}PaletteColorLookupTableData", "OW", segments)
    ds.PhotometricInterpretation, ds.PixelRepresentation = "PALETTE COLOR", 0
    return ds


@pytest.mark.parametrize("bits", [8, 16])
def test_a_palette_is_as_pydicom_has_it(bits: int) -> None:
    tables = np.random.default_rng(bits).integers(0, 2**bits, (3, 256))
    ds, values = palette(tables, bits=bits), np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert np.array_equal(palette_to_rgb(values, ds), apply_color_lut(values, ds))
    assert np.array_equal(palette_to_rgb(values, ds), np.moveaxis(tables[:, values], 0, -1))


def test_a_first_value_may_be_negative_or_high_and_what_lies_outside_gets_the_ends() -> None:
    tables = np.stack([np.arange(10), np.arange(10) + 50, np.arange(10) + 100])
    signed = palette_to_rgb(np.array([[-20, -5, 0, 4, 30]], np.int16), palette(tables, first=-5, vr="SS"))
    assert signed[0, :, 0].tolist() == [0, 0, 5, 9, 9]
    high = palette_to_rgb(np.array([[0, 60000, 60003, 65535]], np.uint16), palette(tables, first=60000))
    assert high[0, :, 2].tolist() == [100, 100, 103, 109]


def test_65536_entries_are_written_as_none() -> None:
    table = np.arange(65536) ^ 0x5A5A
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    got = palette_to_rgb(values, palette(np.stack([table] * 3), bits=16))
    assert np.array_equal(got[..., 1].ravel(), table)


def test_segments_expand_as_the_standard_says() -> None:
    """A run, a ramp up, a ramp down, and both ramps again (pydicom takes that offset, in bytes, for one in words)."""
    run, up, down = (0, 2, 10, 20), (1, 5, 45), (1, 6, 3)
    again = (2, 2, 4, 0)  # two segments from word 4 on: its place in 16-bit words, low word first
    words = [*run, *up, *down, *(again[0], again[1], 4 * 2, 0)]
    ds = palette(np.zeros((3, 24)), bits=16, segments=struct.pack(f"<{len(words)}H", *words))
    values = np.arange(24, dtype=np.uint8).reshape(4, 6)
    got = palette_to_rgb(values, ds)
    want = [10, 20, 25, 30, 35, 40, 45, 38, 31, 24, 17, 10, 3, 11, 20, 28, 37, 45, 38, 31, 24, 17, 10, 3]
    assert np.abs(got[..., 0].ravel().astype(int) - want).max() <= 1
    plain = palette(np.zeros((3, 13)), bits=16, segments=struct.pack("<10H", *run, *up, *down))
    values = np.arange(13, dtype=np.uint8).reshape(1, 13)
    assert np.abs(palette_to_rgb(values, plain).astype(int) - apply_color_lut(values, plain)).max() <= 1


@pytest.mark.parametrize("words", [[2, 1, 99, 0], [1, 3, 7], [5, 1, 1], [0, 3, 1, 2, 3]])
def test_damaged_segments_are_refused(words: list[int]) -> None:
    ds = palette(np.zeros((3, 24)), bits=16, segments=struct.pack(f"<{len(words)}H", *words))
    with pytest.raises(UnreadableFile):
        palette_to_rgb(np.zeros((8, 8), np.uint8), ds)


def test_tables_come_as_bytes_words_or_numbers() -> None:
    assert table_of(7, 1, 16).tolist() == [7]
    assert table_of(b"\1\0\2\0\3\0", 3, 8).tolist() == [1, 2, 3]  # 8 bits, one entry a word
    assert table_of(b"\0\1\0\2", 2, 16, little=False).tolist() == [1, 2]
    with pytest.raises(UnreadableFile, match=r"3 bytes; expected 5 entries of 8 bits"):
        table_of(b"abc", 5, 8)


def test_entries_of_8_bits_in_the_upper_byte_of_words_are_found_there() -> None:
    upper = (np.arange(256) << 8).astype("<u2").tobytes()
    assert np.array_equal(table_of(upper, 256, 8), np.arange(256))
    assert np.array_equal(table_of(np.arange(256, dtype="<u2").tobytes(), 256, 8), np.arange(256))
    assert not table_of(bytes(512), 256, 8).any()
