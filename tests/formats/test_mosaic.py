"""Siemens mosaics: nibabel's own example, its own reader as the oracle."""

from __future__ import annotations

import gzip
import io
import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest

from overread.domain import code_of
from overread.formats.found import Found, Refused
from overread.formats.series import read_series


@pytest.fixture(scope="module")
def example() -> bytes:
    """A diffusion image of a phantom-free scanner test, bundled with nibabel; its pixels are zero, so values are put in."""
    path = Path(nib.__file__).parent / "nicom" / "tests" / "data" / "siemens_dwi_1000.dcm.gz"
    if not path.is_file():
        pytest.skip("this nibabel comes without its test images")
    ds = pydicom.dcmread(io.BytesIO(gzip.decompress(path.read_bytes())))
    values = np.random.default_rng(0).integers(0, 4096, (ds.Rows, ds.Columns))
    ds.PixelData = values.astype("<u2").tobytes()
    out = io.BytesIO()
    ds.save_as(out)
    return out.getvalue()


def test_a_mosaic_is_divided_as_nibabel_divides_it(example: bytes) -> None:
    (found,) = read_series([("a", example)])
    assert isinstance(found, Found)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from nibabel.nicom import dicomwrappers
    theirs = dicomwrappers.wrapper_from_data(pydicom.dcmread(io.BytesIO(example)))
    assert np.array_equal(found.image.voxels, np.moveaxis(theirs.get_data(), 2, 0))  # theirs: rows, columns, slices
    assert np.allclose(np.array(found.image.geometry.affine)[:, [1, 2, 0, 3]], theirs.affine, atol=1e-4)
    assert "mosaic-divided" in map(code_of, found.image.notes)


def test_without_the_private_header_it_is_refused_by_name(example: bytes) -> None:
    ds = pydicom.dcmread(io.BytesIO(example))
    ds.remove_private_tags()
    out = io.BytesIO()
    ds.save_as(out)
    (refused,) = read_series([("a", out.getvalue())])
    assert isinstance(refused, Refused)
    assert refused.code == "mosaic"
    assert "896 × 896" in refused.reason


def test_slices_that_are_laid_their_thickness_apart_are_told(example: bytes) -> None:
    ds = pydicom.dcmread(io.BytesIO(example))
    (whole,) = read_series([("a", example)])
    assert all("thickness" not in note for note in whole.image.notes)
    between, thickness = float(ds.SpacingBetweenSlices), float(ds.SliceThickness)
    del ds.SpacingBetweenSlices
    out = io.BytesIO()
    ds.save_as(out)
    (found,) = read_series([("a", out.getvalue())])
    assert found.image.geometry.spacing_mm[0] == pytest.approx(thickness)
    assert thickness != between
    (note,) = (n for n in found.image.notes if code_of(n) == "mosaic-divided")
    assert f"their thickness of {thickness:.2f} mm apart" in note
