"""Planes of a breast that say where they lie hang as a film does, and their place hangs with them; what is only told of films."""

from __future__ import annotations

import io
from itertools import product

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence

from overread.domain import code_of
from overread.formats import films, frames_alone
from overread.formats.laid import Put, odd_spacing
from overread.formats.planes import planes
from overread.formats.series import read_series
from overread.formats.units import Pixels

VOXELS = np.arange(5 * 10 * 8).reshape(5, 10, 8)
WAYS = {"A": (0, -1, 0), "P": (0, 1, 0), "F": (0, 0, -1), "H": (0, 0, 1), "L": (1, 0, 0), "R": (-1, 0, 0)}


def lying(row: str, column: str) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, 2], affine[:3, 1] = 0.1 * np.array(WAYS[row]), 0.3 * np.array(WAYS[column])
    affine[:3, 0], affine[:3, 3] = np.cross(WAYS[row], WAYS[column]), (7, -3, 40)
    return affine


def breast(row: str = "", column: str = "") -> Dataset:
    ds = Dataset()
    ds.Modality, ds.PatientOrientation = "MG", [row, column] if row else None
    return ds


def where(voxels: np.ndarray, affine: np.ndarray) -> dict[int, tuple[float, ...]]:
    index = np.stack(np.meshgrid(*map(np.arange, voxels.shape), indexing="ij"), axis=-1)
    places = np.round(index @ affine[:3, :3].T + affine[:3, 3], 9) + 0.0
    return {int(v): tuple(p) for v, p in zip(voxels.ravel(), places.reshape(-1, 3), strict=True)}


@pytest.mark.parametrize("said", [True, False])
@pytest.mark.parametrize(("row", "column"), [*product("AP", "FH"), *product("FH", "AP"), ("A", "L"), ("R", "P")])
@pytest.mark.parametrize("side", ["L", "R"])
def test_every_voxel_keeps_its_place_and_the_chest_wall_its_side(row: str, column: str, side: str, said: bool) -> None:
    ds, affine = breast(row, column) if said else breast(), lying(row, column)
    hung, placed = films.hang_placed(ds, VOXELS, affine, side=side)
    assert where(hung.voxels, placed) == where(VOXELS, affine)
    assert placed[1, 2] == pytest.approx(0.1 if side == "R" else -0.1) or hung.transposed
    assert np.sign(placed[1, 2]) == (1 if side == "R" else -1)
    assert {code_of(n) for n in hung.notes} <= {"film-turned"}
    assert all(("Patient Orientation" in n) == said for n in hung.notes)


def test_two_words_on_how_it_lies_are_told_and_it_is_not_turned() -> None:
    hung, placed = films.hang_placed(breast("A", "F"), VOXELS, lying("P", "F"), side="R")
    assert np.array_equal(hung.voxels, VOXELS)
    assert np.array_equal(placed, lying("P", "F"))
    assert [code_of(n) for n in hung.notes] == ["film-orientation"]
    assert "A\\F" in hung.notes[0]
    assert "rows lead to P" in hung.notes[0]


def tomosynthesis(side: str, row: str) -> bytes:
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    ds.SOPClassUID, ds.SOPInstanceUID = pydicom.uid.BreastTomosynthesisImageStorage, "1.2.3.4"
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.Modality, ds.ImageLaterality = "1.2", "1.2.3", "MG", side
    ds.PatientOrientation = [row, "F"]
    ds.Rows, ds.Columns, ds.NumberOfFrames = 10, 8, 5
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.PixelData = VOXELS.astype("<u2").tobytes()
    groups = []
    for k in range(5):
        position, orientation, measures, group = Dataset(), Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = [k if row == "A" else -k, 0, 0]
        orientation.ImageOrientationPatient = [*WAYS[row], *WAYS["F"]]
        measures.PixelSpacing, measures.SliceThickness = [0.1, 0.1], 1
        group.PlanePositionSequence, group.PlaneOrientationSequence = Sequence([position]), Sequence([orientation])
        group.PixelMeasuresSequence = Sequence([measures])
        groups.append(group)
    ds.PerFrameFunctionalGroupsSequence = Sequence(groups)
    out = io.BytesIO()
    ds.save_as(out, enforce_file_format=True)
    return out.getvalue()


@pytest.mark.parametrize(
    ("side", "row", "turned"), [("R", "A", True), ("R", "P", False), ("L", "A", False), ("L", "P", True)]
)
def test_a_tomosynthesis_with_positions_hangs_as_one_without(side: str, row: str, turned: bool) -> None:
    (found,) = read_series([("a", tomosynthesis(side, row))])
    image = found.image
    assert np.array_equal(image.voxels, VOXELS[:, :, ::-1] if turned else VOXELS)
    assert image.attributes["PatientOrientation"] == ("P\\F" if side == "R" else "A\\F")
    assert ("film-turned" in map(code_of, image.notes)) == turned
    assert np.array(image.geometry.affine)[1, 2] == pytest.approx(0.1 if side == "R" else -0.1)


def test_fluoroscopy_that_lies_mirrored_is_told_and_left() -> None:
    ds = Dataset()
    ds.Modality, ds.BodyPartExamined, ds.PatientOrientation = "RF", "CHEST", ["R", "F"]
    hung = films.hang(ds, VOXELS[:1])
    assert np.array_equal(hung.voxels, VOXELS[:1])
    assert [code_of(n) for n in hung.notes] == ["film-orientation"]
    assert "films of its kind (RF) are not" in hung.notes[0]
    ds.PatientOrientation = ["L", "F"]
    assert films.hang(ds, VOXELS[:1]).notes == ()


@pytest.mark.parametrize(
    ("code", "part", "turned"),
    [("T-D3000", "", True), ("816094009", "", True), ("T-D8700", "", False), ("T-D3000", "HAND", False)],
)
def test_a_chest_may_be_known_by_its_code(code: str, part: str, turned: bool) -> None:
    item, ds = Dataset(), Dataset()
    item.CodeValue = code
    ds.Modality, ds.BodyPartExamined, ds.PatientOrientation = "DX", part, ["R", "F"]
    ds.AnatomicRegionSequence = Sequence([item])
    hung = films.hang(ds, VOXELS[:1])
    assert [code_of(n) for n in hung.notes] == ["film-turned" if turned else "film-orientation"]
    assert np.array_equal(hung.voxels, VOXELS[:1, :, ::-1] if turned else VOXELS[:1])


def ultrasound(delta: float, *, units: int = 3, form: int = 1) -> list[str]:
    region, ds = Dataset(), Dataset()
    region.PhysicalDeltaX, region.PhysicalDeltaY, region.RegionSpatialFormat = delta, 0.03, form
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = units
    ds.Modality, ds.PixelSpacing, ds.SequenceOfUltrasoundRegions = "US", [0.3, 0.3], Sequence([region])
    put = frames_alone.picture(ds, planes(ds), Pixels(VOXELS[:1], "stored", (0.0, 255.0), ()))
    assert put.spacing == (0.0, 0.3, 0.3)
    return list(put.notes)


def test_a_region_of_another_size_than_pixel_spacing_is_told() -> None:
    (note,) = ultrasound(0.06)
    assert code_of(note) == "spacing-contradicted"
    assert "0.3 × 0.3 mm" in note
    assert "0.3 × 0.6 mm a pixel" in note
    for quiet in (ultrasound(0.03), ultrasound(0.06, units=4), ultrasound(0.06, form=2)):
        assert quiet == []


@pytest.mark.parametrize(
    ("modality", "sizes", "slices", "told"),
    [
        ("CT", (2.5, 0.0008, 0.0007), 4, True),
        ("CT", (2.5, 800, 700), 4, True),
        ("CT", (2.5, 0.8, 0.7), 4, False),
        ("MR", (80, 0.8, 0.7), 1, False),
        ("MR", (80, 0.8, 0.7), 3, True),
        ("DX", (0, 0.1, 0.1), 1, False),
        ("SM", (0, 0.0002, 0.0002), 1, False),
    ],
)
def test_pixels_of_no_patient_s_size_are_told(modality: str, sizes: tuple, slices: int, told: bool) -> None:
    voxels = np.zeros((slices, 4, 4))
    flat = Put(voxels, Pixels(voxels, "stored", None, ()), spacing=sizes)
    placed = Put(voxels, Pixels(voxels, "stored", None, ()), affine=np.diag([*[s or 1 for s in sizes], 1.0]))
    for put in (flat, placed):
        assert [code_of(n) for n in odd_spacing(put, modality)] == ["odd-spacing"] * told
