"""DICOM series that make no volume: refused with their numbers, never stacked by guess; what makes two is never one."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pydicom
import pytest
from series_of_slices import one_slice, stack_of

from overread.domain import code_of
from overread.formats import series, stack
from overread.formats.door import Refused, scan
from overread.formats.series import read_series

REFUSED = {
    "notavolume/001": ("duplicate-position", "4 slices at 1 position"),
    "slicecount/001": ("missing-slices", "2 slices"),
    "sliceincrement/001": ("uneven-spacing", "from 5.00 to 10.00 mm"),  # instance numbers run on: the step changed
    "sliceincrement/002": ("missing-slices", "1 slice missing"),  # instance 4 is not there
    "sliceorientation/001": ("mixed-orientation", "2 of 4 slices"),
}


@pytest.mark.parametrize("folder", sorted(REFUSED))
def test_a_stack_that_is_none_is_refused_with_its_numbers(shared_data: Path, folder: str) -> None:
    code, said = REFUSED[folder]
    path = shared_data / "dicom_series" / "failing" / folder
    results = list(scan(path))
    assert len(results) == len(list(path.iterdir()))
    assert {r.code for r in results} == {code}
    assert all(said in r.reason for r in results)


def test_one_broken_slice_refuses_its_volume(shared_data: Path) -> None:
    folder = shared_data / "dicom_series" / "hitachi" / "anatomical" / "001"
    files = [(p.name, p.read_bytes()) for p in sorted(folder.iterdir())]
    files[1] = (files[1][0], files[1][1][:-100])
    results = read_series(files)
    assert len(results) == 4
    assert all(isinstance(r, Refused) for r in results)
    assert {r.code for r in results} == {"truncated"}
    assert ["another cannot be read" in r.reason for r in sorted(results, key=lambda r: r.file)] == [1, 0, 1, 1]


def test_the_raw_stack_of_a_tilted_gantry_never_passes_as_straight() -> None:
    turn, pixels = np.eye(3), np.arange(120).reshape(10, 12)
    ct = {"Modality": "CT", "GantryDetectorTilt": "15", "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"]}
    upright = [(f"{k}", one_slice(np.array([0, 0, 5.0 * k]), turn, k + 1, pixels + k, **ct)) for k in range(4)]
    assert {(r.code, "15.0°" in r.reason) for r in read_series(upright)} == {("gantry-tilt", True)}
    derived = ct | {"ImageType": ["DERIVED", "SECONDARY", "MPR"]}
    reformatted = [(f"{k}", one_slice(np.array([0, 0, 5.0 * k]), turn, k + 1, pixels + k, **derived)) for k in range(4)]
    (found,) = read_series(reformatted)
    assert "tilt-contradicted" in map(code_of, found.image.notes)


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({"ConcatenationUID": "1.2.9", "InConcatenationNumber": 2, "InConcatenationTotalNumber": 3}, "part 2 of 3"),
        ({"ConcatenationUID": "1.2.9", "InConcatenationNumber": 1}, "part 1 of an untold number"),
        ({"ConcatenationUID": "1.2.9"}, "part 1 of an untold number"),
        ({"InConcatenationNumber": 2}, "part 2 of an untold number"),
        ({"ConcatenationUID": "1.2.9", "InConcatenationNumber": 1, "InConcatenationTotalNumber": 1}, None),
    ],
)
def test_one_part_of_a_divided_object_is_refused_whether_or_not_it_says_of_how_many(about: dict, said: str) -> None:
    (result,) = read_series([("a", one_slice(np.zeros(3), np.eye(3), 1, np.ones((10, 12)), **about))])
    assert (getattr(result, "code", None), said is None or said in result.reason) == (said and "missing-slices", True)


def test_slices_of_two_frames_of_reference_never_make_one_volume() -> None:
    one, other = stack_of(10, FrameOfReferenceUID="1.2.9"), stack_of(10, FrameOfReferenceUID="1.2.8")
    assert [len(f.image.voxels) for f in read_series(one)] == [10]
    halves = read_series([*one[:5], *other[5:]])
    assert [len(f.image.voxels) for f in halves] == [5, 5]
    for found in halves:
        assert any("2 directions, sizes or frames of reference" in n for n in found.image.notes)
        assert not any(uid in repr(found.image) for uid in ("1.2.9", "1.2.8"))


def _two_contrasts(*exchanged: int, **more: object) -> list[tuple[str, bytes]]:
    """Two contrasts at each position, the dark one first, but for the positions that were exchanged."""
    rng, files = np.random.default_rng(3), []
    for k in range(6):
        for t in range(2):
            pixels = rng.integers(0, 200, (10, 12)) + (100 + 800 * ((1 - t) if k in exchanged else t))
            position = np.array([0, 0, 2.5 * k])
            files.append((f"{k} {t}", one_slice(position, np.eye(3), 1 + 2 * k + t, pixels, **more)))
    return files


@pytest.mark.parametrize("exchanged", [(3,), (0,), (5,), (1, 4), (2, 3)])
def test_volumes_told_apart_by_counting_are_refused_where_their_pixels_contradict_it(exchanged: tuple) -> None:
    dark, bright = read_series(_two_contrasts())
    for found in (dark, bright):
        assert {"counted", "one-of-several"} <= set(map(code_of, found.image.notes))
    assert (dark.image.voxels.max() < 400, bright.image.voxels.min() > 800) == (True, True)
    refused = read_series(_two_contrasts(*exchanged))
    assert {r.code for r in refused} == {"duplicate-position"}
    assert len(refused) == 12
    for reason in (r.reason for r in refused):
        as_dealt, swapped = (
            float(v) for v in re.search(r"differ by (\d+) on average, and by ([\d.]+)", reason).groups()
        )
        assert abs(as_dealt - 800) < 20
        assert swapped < 100


def test_volumes_that_a_fact_tells_apart_are_believed_whatever_their_pixels_are() -> None:
    files = []
    for k, t in [(k, t) for k in range(6) for t in range(2)]:
        pixels = np.full((10, 12), 900 if (k + t) % 2 else 100) + np.arange(12)
        files.append((f"{k} {t}", one_slice(np.array([0, 0, k]), np.eye(3), 2 * k + t, pixels, EchoTime=str(10 + t))))
    assert [len(f.image.voxels) for f in read_series(files)] == [6, 6]


def test_what_stumbles_in_our_own_code_is_a_defect_and_no_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    def stumble(*_: object, **__: object) -> None:
        raise IndexError("ours")

    for module, name in ((series, "arrange"), (series, "stacked"), (series, "check_order"), (stack, "_laid")):
        with monkeypatch.context() as patched:
            patched.setattr(module, name, stumble)
            with pytest.raises(IndexError, match="ours"):
                read_series(_two_contrasts())
    with monkeypatch.context() as patched:
        patched.setattr(series, "_usable", stumble)
        with pytest.raises(IndexError, match="ours"):
            read_series(stack_of(1))
    with monkeypatch.context() as patched:  # a foreign value that a parser stumbles on stays a refusal
        patched.setattr(series, "facts", stumble)
        assert {r.code for r in read_series(stack_of(4))} == {"malformed"}


def test_grey_and_colour_are_no_one_volume() -> None:
    files = stack_of(4)
    ds = pydicom.dcmread(io.BytesIO(files[2][1]))
    ds.PhotometricInterpretation, ds.PixelData = "PALETTE COLOR", bytes(2 * 120)
    for colour in ("Red", "Green", "Blue"):
        ds.add_new(f"{colour}PaletteColorLookupTableDescriptor", "US", [256, 0, 16])
        setattr(ds, f"{colour}PaletteColorLookupTableData", np.arange(256, dtype="<u2").tobytes())
    buffer = io.BytesIO()
    ds.save_as(buffer, implicit_vr=False, little_endian=True)
    files[2] = ("2", buffer.getvalue())
    assert {(r.code, "2 kinds" in r.reason) for r in read_series(files)} == {("mixed-size", True)}


def test_a_lean_of_tiny_pixels_asks_for_no_terabytes() -> None:
    pixels = np.arange(120).reshape(10, 12)
    many = [
        (f"{k}", one_slice(np.array([k / 2, k / 2, k]), np.eye(3), k + 1, pixels + k, PixelSpacing=["0.000002"] * 2))
        for k in range(4)
    ]
    assert {r.code for r in read_series(many)} == {"too-large"}
    none = [
        (f"{k}", one_slice(np.array([0, 0, k]), np.eye(3), k, pixels + k, PixelSpacing=["1e-9"] * 2)) for k in (1, 2, 3)
    ]
    assert all("no-place" in map(code_of, f.image.notes) for f in read_series(none))
