"""NIfTI volumes: nibabel says where a voxel lies in RAS, we must say the same in LPS."""

from __future__ import annotations

import gzip
import time
import tracemalloc
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from overread.domain import Image, code_of
from overread.errors import UnreadableFile
from overread.formats.door import Found, scan
from overread.formats.nifti import read_volumes
from overread.imaging import geometry

VALUES = np.random.default_rng(2).permutation(9 * 10 * 11).reshape(9, 10, 11).astype(np.int16)


def made(
    values: np.ndarray = VALUES, affine: np.ndarray | None = None, kind: type = nib.Nifti1Image
) -> nib.Nifti1Image:
    image = kind(values, np.eye(4) if affine is None else affine)
    image.header.set_xyzt_units("mm")
    return image


def read_nifti(raw: bytes) -> Image:
    (image,) = read_volumes(raw)
    return image


def refused(raw: bytes) -> UnreadableFile:
    with pytest.raises(UnreadableFile) as caught:
        read_volumes(raw)
    return caught.value


@settings(deadline=None, max_examples=40)
@given(st.permutations([0, 1, 2]), st.tuples(*[st.sampled_from([-1.5, 0.5, 2.0])] * 3), st.integers(0, 99))
def test_every_voxel_stays_where_nibabel_puts_it(order: list[int], zooms: tuple, seed: int) -> None:
    rng = np.random.default_rng(seed)
    affine = np.eye(4)
    turn = Rotation.from_rotvec(rng.normal(size=3) * 0.03).as_matrix()
    affine[:3, :3] = turn @ (np.eye(3)[order] * np.array(zooms))
    affine[:3, 3] = rng.normal(size=3) * 40
    source = made(affine=affine)
    image = read_nifti(source.to_bytes())
    ours = np.array(image.geometry.affine)
    for value in rng.choice(VALUES.size, 8):
        x, y, z = nib.affines.apply_affine(source.affine, np.argwhere(value == VALUES)[0])
        at = ours @ [*np.argwhere(image.voxels == value)[0], 1]
        assert np.allclose(at[:3], [-x, -y, z], atol=1e-4)


def test_an_axial_scan_is_upright_as_a_radiologist_looks_at_it() -> None:
    """RAS data: index 0 is the patient's left, posterior, inferior; the patient's right is shown on the left, anterior on top."""
    image = read_nifti(made().to_bytes())
    assert image.voxels.shape == (11, 10, 9)
    assert image.voxels[0, 0, 0] == VALUES[-1, -1, 0]  # inferior slice, anterior row, the patient's right column


def test_both_headers_both_byte_orders_and_gzip_agree() -> None:
    plain = read_nifti(made().to_bytes())
    swapped = nib.Nifti1Image(VALUES, np.eye(4), nib.Nifti1Header(endianness=">"))
    for raw in (made(kind=nib.Nifti2Image).to_bytes(), gzip.compress(made().to_bytes()), swapped.to_bytes()):
        assert np.array_equal(read_nifti(raw).voxels, plain.voxels)


def test_a_scale_factor_is_applied_and_integers_stay_integers() -> None:
    image = made()
    image.header.set_slope_inter(2, -1024)
    raw = bytearray(image.to_bytes())
    raw[112:120] = np.array([2, -1024], "<f4").tobytes()
    scaled = read_nifti(bytes(raw))
    assert scaled.voxels.dtype == np.int16
    assert sorted(scaled.voxels.ravel()) == sorted(2 * VALUES.ravel() - 1024)
    assert scaled.unit == "stored"


def test_sixty_four_bit_values_are_rounded_with_a_note() -> None:
    image = read_nifti(made(VALUES.astype(np.float64) / 3).to_bytes())
    assert image.voxels.dtype == np.float32
    assert "rounded: 64-bit values were rounded to 32-bit floats" in image.notes


def test_four_dimensions_are_one_image_for_each_volume_each_where_nibabel_puts_it() -> None:
    assert read_nifti(made(VALUES[..., np.newaxis]).to_bytes()).voxels.shape == (11, 10, 9)
    rng = np.random.default_rng(5)
    values = rng.integers(0, 999, (9, 10, 11, 3)).astype(np.int16)
    source = made(values, affine=np.diag([-2.0, 1, 3, 1]))
    images = read_volumes(source.to_bytes())
    assert [i.attributes["Volume"] for i in images] == ["1 of 3", "2 of 3", "3 of 3"]
    for n, image in enumerate(images):
        expected, placed = geometry.reorient(
            np.swapaxes(values[..., n], 0, 2), (np.diag([-1.0, -1, 1, 1]) @ source.affine)[:, [2, 1, 0, 3]]
        )
        assert np.array_equal(image.voxels, expected)
        assert np.allclose(image.geometry.affine, placed)
        assert "one-of-several" in map(code_of, image.notes)


@pytest.mark.parametrize(
    ("shape", "code", "said"),
    [((9, 10, 11, 1, 3), "unsupported-format", "vector of 3"), ((9, 10, 11, 2, 3), "several-volumes", "6 volumes")],
)
def test_more_than_four_dimensions_are_refused_by_name(shape: tuple, code: str, said: str) -> None:
    error = refused(made(np.arange(np.prod(shape), dtype=np.int16).reshape(shape)).to_bytes())
    assert error.code == code
    assert said in str(error)


def _changed(at: int, values: list[float], dtype: str, image: nib.Nifti1Image | None = None) -> bytes:
    raw = bytearray((image or made()).to_bytes())
    raw[at : at + len(values) * np.dtype(dtype).itemsize] = np.array(values, dtype).tobytes()
    return bytes(raw)


@pytest.mark.parametrize(("slope", "told"), [(0, False), (np.nan, True), (np.inf, True)])
def test_a_scale_factor_that_means_nothing_leaves_the_values_as_stored(slope: float, told: bool) -> None:
    image = read_nifti(_changed(112, [slope, 0], "<f4"))
    assert sorted(image.voxels.ravel()) == sorted(VALUES.ravel())
    assert ("scale-ignored" in map(code_of, image.notes)) == told


@pytest.mark.parametrize(
    ("code", "told"), [(0, ""), (2001, ""), (1002, "a map of labels"), (22, "a statistic"), (1006, "displacements")]
)
def test_what_the_header_calls_no_picture_is_told(code: int, told: str) -> None:
    notes = read_nifti(_changed(68, [code], "<i2")).notes
    assert [told in n for n in notes if code_of(n) == "no-picture"] == ([True] if told else [])


def test_a_shift_that_is_no_number_is_refused() -> None:
    assert refused(_changed(112, [2, np.nan], "<f4")).code == "malformed"


def _qform_only(pixdim: list[float]) -> bytes:
    """Sizes and qfac (pixdim), with the qform in force and no sform."""
    image = made()
    image.set_qform(np.diag([-1.0, 1, 1, 1]), 1)  # nibabel writes a mirrored affine with qfac -1
    image.set_sform(None, 0)
    return _changed(76, pixdim, "<f4", image)


def test_qfac_mirrors_and_what_is_neither_is_told() -> None:
    left, right = (read_nifti(_qform_only([q, 1, 1, 1])) for q in (1, -1))
    assert np.linalg.det(np.array(left.geometry.affine)[:3, :3]) != 0
    assert np.array_equal(left.voxels, right.voxels[::-1])  # the third axis runs the other way
    assert right.notes == ()
    assert "header-rules" in map(code_of, read_nifti(_qform_only([3, 1, 1, 1])).notes)


@pytest.mark.parametrize("size", [0, -2, np.nan])
def test_a_voxel_without_a_size_is_never_made_up(size: float) -> None:
    error = refused(_qform_only([1, size, 1, 1]))
    assert error.code == "malformed"
    nowhere = made()
    nowhere.set_sform(None, 0)
    nowhere.set_qform(None, 0)
    if size == 0:
        assert read_nifti(_changed(80, [0], "<f4", nowhere)).spacing_mm is None


def test_sizes_that_contradict_the_axes_are_told() -> None:
    image = read_nifti(_changed(80, [1, 1, 7], "<f4"))
    assert np.allclose(image.spacing_mm, (1, 1, 1))
    assert any("the header lists 7 × 1 × 1 mm" in n for n in image.notes)


def test_a_left_handed_affine_keeps_left_left() -> None:
    right, left = (read_nifti(made(affine=np.diag([s, 1.0, 1, 1])).to_bytes()) for s in (1.0, -1.0))
    assert geometry.axis_codes(np.array(right.geometry.affine)) == "SPL"
    assert geometry.axis_codes(np.array(left.geometry.affine)) == "SPL"
    assert np.array_equal(right.voxels, left.voxels[:, :, ::-1])


def test_nan_is_refused_with_the_count() -> None:
    values = VALUES.astype(np.float32)
    values[0, 0, :4] = np.nan
    error = refused(made(values).to_bytes())
    assert error.code == "not-finite"
    assert "4 of 990" in str(error)


def test_two_geometries() -> None:
    """They agree: fine. One is moved: noted with its size. One is a mirror image: refused, for left might be right."""
    image = made()
    image.set_qform(np.eye(4), 1)
    image.set_sform(np.eye(4), 1)
    assert read_nifti(image.to_bytes()).notes == ()
    moved = np.eye(4)
    moved[0, 3] = 12.5
    image.set_qform(moved, 1)
    said = "two-geometries: qform and sform differ by up to 12.5 mm and 0.0°; the sform was taken"
    assert said in read_nifti(image.to_bytes()).notes
    turned = np.eye(4)
    turned[:3, :3] = Rotation.from_euler("z", 10, degrees=True).as_matrix()
    image.set_qform(turned, 1)
    assert any("and 10.0°" in n for n in read_nifti(image.to_bytes()).notes)
    image.set_qform(np.diag([-1.0, 1, 1, 1]), 1)
    assert refused(image.to_bytes()).code == "conflicting-geometry"


def test_no_geometry_is_none_and_not_made_up() -> None:
    image = made()
    image.header.set_zooms((1, 2, 3))
    raw = bytearray(image.to_bytes())
    raw[252:256] = bytes(4)  # qform_code and sform_code: neither says anything
    read = read_nifti(bytes(raw))
    assert read.geometry is None
    assert read.spacing_mm == (3, 2, 1)
    assert any("does not say how it lies" in n for n in read.notes)


def test_metres_become_millimetres() -> None:
    image = made(affine=np.diag([0.001, 0.002, 0.003, 1]))
    image.header.set_xyzt_units("meter")
    assert np.allclose(read_nifti(image.to_bytes()).spacing_mm, (3, 2, 1), atol=1e-5)


def test_colour_is_kept() -> None:
    rgb = np.zeros((9, 10, 11), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    rgb["G"] = 7
    image = read_nifti(made(rgb).to_bytes())
    assert image.voxels.shape == (11, 10, 9, 3)
    assert image.voxels[0, 0, 0].tolist() == [0, 7, 0]


def test_damage_has_its_reason() -> None:
    raw = made().to_bytes()
    assert refused(raw[:-100]).code == "truncated"
    assert refused(gzip.compress(raw)[:300]).code in ("truncated", "malformed")
    assert refused(made(VALUES.astype(np.complex64)).to_bytes()).code == "unsupported-format"
    assert refused(made(VALUES[:2, :2, :2]).to_bytes()).code == "too-small"
    flat = made()
    flat.header["srow_x"][:3] = 0
    assert refused(_with_sform(raw, np.zeros((3, 4)))).code == "malformed"


def _with_sform(raw: bytes, rows: np.ndarray) -> bytes:
    out = bytearray(raw)
    out[252:256] = np.array([0, 1], "<i2").tobytes()
    out[280:328] = rows.astype("<f4").tobytes()
    return bytes(out)


def test_a_header_that_asks_for_terabytes_is_refused() -> None:
    raw = bytearray(made().to_bytes())
    raw[40:48] = np.array([3, 32000, 32000, 32000], "<i2").tobytes()
    assert refused(bytes(raw)).code == "too-large"


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_damaged_header_is_read_or_refused_and_never_crashes(data: st.DataObject) -> None:
    raw = bytearray(made().to_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        raw[data.draw(st.integers(0, 351))] = data.draw(st.integers(0, 255))
    try:
        image = read_nifti(bytes(raw))
    except UnreadableFile as error:
        assert error.code
    else:
        assert image.voxels.ndim in (3, 4)


def test_a_wrong_ending_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "scan.png").write_bytes(gzip.compress(made().to_bytes()))
    (found,) = scan(tmp_path)
    assert isinstance(found, Found)
    assert found.image.voxels.shape == (11, 10, 9)


def test_the_volumes_of_one_file_are_one_examination(tmp_path: Path) -> None:
    values = np.random.default_rng(1).integers(0, 99, (9, 10, 11, 3)).astype(np.int16)
    (tmp_path / "scan.nii.gz").write_bytes(gzip.compress(made(values).to_bytes()))
    found = list(scan(tmp_path))
    assert len(found) == 3
    assert len({f.origin.study_uid for f in found}) == 1
    assert found[0].origin.study_uid
    (tmp_path / "scan.nii.gz").write_bytes(gzip.compress(made().to_bytes()))
    (single,) = scan(tmp_path)
    assert single.origin.study_uid is None


@pytest.mark.parametrize("cuts", [[1000], [1], [100, 300, 348, 352, 353], [], list(range(0, 2000, 7))])
def test_a_file_of_several_gzip_streams_is_read_whole(cuts: list[int]) -> None:
    """As bgzip writes it: blocks one after another, an empty one at the end; nibabel is the second reader."""
    plain = made().to_bytes()
    ends = [0, *cuts, len(plain)]
    packed = b"".join(gzip.compress(plain[a:b]) for a, b in pairwise(ends))
    for raw in (packed, packed + gzip.compress(b""), packed + bytes(512)):
        assert gzip.decompress(raw) == plain
        assert np.array_equal(read_nifti(raw).voxels, read_nifti(plain).voxels)
    cut = gzip.compress(plain[:1000]) + gzip.compress(plain[1000:2000])
    assert refused(cut).code == "truncated"
    damaged = bytearray(packed)
    damaged[-5] ^= 0xFF  # the length at the end of the last block
    assert refused(bytes(damaged)).code == "malformed"


def test_many_streams_take_no_more_time_than_one() -> None:
    plain = made().to_bytes()
    raw = gzip.compress(b"") * 50_000 + gzip.compress(plain)
    began = time.process_time()
    assert read_nifti(raw).voxels.shape == (11, 10, 9)
    assert time.process_time() - began < 10


def test_no_more_is_inflated_than_the_header_promises() -> None:
    """Sixty megabytes of zeros behind a small honest volume: read, without unpacking the rest."""
    raw = gzip.compress(made().to_bytes() + bytes(60_000_000))
    tracemalloc.start()
    assert read_nifti(raw).voxels.shape == (11, 10, 9)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("squeeze", [bytes, gzip.compress])
def test_voxels_that_begin_within_the_header_are_read_behind_it(kind: type, order: str, squeeze: Callable) -> None:
    """vox_offset 0: the header's own bytes are no voxels. They are where they end with the file, or nowhere."""
    source = kind(VALUES, np.eye(4), kind.header_class(endianness=order))
    source.header.set_xyzt_units("mm")
    whole = source.to_bytes()
    at, dtype = (108, order + "f4") if kind is nib.Nifti1Image else (168, order + "i8")
    for said in (0, 100, 348):
        raw = bytearray(whole)
        raw[at : at + np.dtype(dtype).itemsize] = np.array(said, dtype).tobytes()
        image = read_nifti(squeeze(bytes(raw)))
        assert np.array_equal(image.voxels, read_nifti(whole).voxels)
        assert [n for n in image.notes if f"byte {said} " in n and code_of(n) == "header-rules"]
        for wrong in (raw + bytes(16), raw[:-100]):
            error = refused(squeeze(bytes(wrong)))
            assert error.code == "malformed"
            assert f"byte {said} " in str(error)
    assert read_nifti(squeeze(whole)).notes == read_nifti(squeeze(whole + bytes(16))).notes == ()


def test_voxels_without_the_four_bytes_before_them_are_read() -> None:
    raw = made().to_bytes()
    short = bytearray(raw[:348] + raw[352:])
    short[108:112] = np.array(348, "<f4").tobytes()
    assert np.array_equal(read_nifti(bytes(short)).voxels, read_nifti(raw).voxels)


@pytest.mark.parametrize("size", [10, 100_000])
def test_what_stands_between_header_and_voxels_is_passed_over(size: int) -> None:
    source = made()
    source.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"x" * size))
    assert np.array_equal(read_nifti(source.to_bytes()).voxels, read_nifti(made().to_bytes()).voxels)


@pytest.mark.parametrize("dtype", [np.int64, np.uint64])
def test_whole_numbers_of_64_bits_are_exact_told_or_refused(dtype: type) -> None:
    def deep(values: np.ndarray) -> nib.Nifti1Image:
        return nib.Nifti1Image(values, np.eye(4), dtype=dtype)

    values = VALUES.astype(dtype)
    assert read_nifti(deep(values * 2**40).to_bytes()).notes == ()  # ten bits, far up
    image = read_nifti(deep(values * (2**30 + 1)).to_bytes())
    (note,) = image.notes
    assert code_of(note) == "rounded" and "40 bits" in note
    error = refused(deep(values + 2**40).to_bytes())
    assert error.code == "unsupported-format"
    assert "cannot tell apart" in str(error) and "1,099,511,628,765" in str(error)
