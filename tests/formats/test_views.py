"""A film's header that names two sides or two views is told of, whatever kind of film it is."""

from __future__ import annotations

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from overread.domain import code_of
from overread.formats.facts import facts


def film(view: str = "", code: str = "", image: str = "", part: str = "", modality: str = "DX") -> Dataset:
    item, ds = Dataset(), Dataset()
    item.CodeValue = code
    ds.Modality, ds.ViewPosition, ds.ImageLaterality, ds.Laterality = modality, view, image, part
    ds.ViewCodeSequence = Sequence([item])
    return ds


@pytest.mark.parametrize(
    ("view", "code", "told"),
    [
        ("AP", "R-10236", True),
        ("AP", "272479007", True),
        ("PA", "R-10206", True),
        ("LL", "399198007", True),
        ("LATERAL", "399033003", True),
        ("AP", "399348003", False),
        ("PA", "R-10202", False),
        ("LAT", "R-10236", False),
        ("RL", "R-102CD", False),
        ("LLD", "R-10206", False),
        ("AP", "R-102C2", False),
        ("", "R-10206", False),
        ("AP", "", False),
    ],
)
def test_two_views(view: str, code: str, told: bool) -> None:
    said = facts([film(view, code)])
    assert [code_of(n) for n in said.notes] == ["view-contradicted"] * told
    assert said.attributes.get("ViewPosition", "") == view


@pytest.mark.parametrize(
    ("image", "part", "told"),
    [("L", "R", True), ("R", "L", True), ("L", "L", False), ("B", "R", False), ("U", "R", False), ("", "R", False)],
)
@pytest.mark.parametrize("modality", ["DX", "CR", "MG"])
def test_two_sides(image: str, part: str, told: bool, modality: str) -> None:
    said = facts([film(image=image, part=part, modality=modality)])
    assert [code_of(n) for n in said.notes] == ["laterality-contradicted"] * told
    if told:
        assert said.strata["side"] == image


def test_a_rotation_may_be_written_with_a_point() -> None:
    for angle in ("90", "90.0", "0", "0.000"):
        ds = film()
        ds.FieldOfViewRotation = angle
        said = facts([ds])
        assert said.notes == ()
        assert float(said.attributes["FieldOfViewRotation"]) == float(angle)
    ds.FieldOfViewRotation = "17"
    assert facts([ds]).notes == ("left-out: Field of View Rotation left out: might identify",)
