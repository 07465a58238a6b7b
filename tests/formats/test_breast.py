"""Mammograms: side, view and manner, wherever a header keeps them; contradictions are told."""

from __future__ import annotations

import pytest
from pydicom import Dataset
from pydicom.sr.codedict import codes

from overread.domain import code_of
from overread.formats.breast import breast
from overread.formats.facts import facts


def mammogram(**values: object) -> Dataset:
    ds = Dataset()
    ds.Modality = "MG"
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return ds


def coded(value: str, *modifiers: str) -> list[Dataset]:
    item = Dataset()
    item.CodeValue = value
    item.ViewModifierCodeSequence = [Dataset() for _ in modifiers]
    for modifier, code in zip(item.ViewModifierCodeSequence, modifiers, strict=True):
        modifier.CodeValue = code
    return [item]


@pytest.mark.parametrize("value", [codes.cid4014.MedioLateralObliqueProjection.value, "R-10226"])
def test_the_view_is_found_in_its_code(value: str) -> None:
    said = facts([mammogram(ViewCodeSequence=coded(value), ImageLaterality="R")])
    assert said.attributes["ViewPosition"] == "MLO"
    assert (said.strata["view"], said.strata["side"]) == ("MLO", "R")


def test_every_view_that_the_standard_s_own_table_lists_has_a_word() -> None:
    """pydicom's copy of CID 4014 is the second author; a specimen is no view of a breast."""
    for name in codes.cid4014.dir():
        found, _ = breast(mammogram(ViewCodeSequence=coded(getattr(codes.cid4014, name).value)))
        assert ("ViewPosition" in found) == (name != "TissueSpecimenFromBreast"), name
    for name in codes.cid4015.dir():
        found, _ = breast(mammogram(ViewCodeSequence=coded("R-10242", getattr(codes.cid4015, name).value)))
        assert "ViewModifier" in found, name


def test_contradictions_are_told_and_the_nearer_word_is_taken() -> None:
    found, notes = breast(
        mammogram(ImageLaterality="R", Laterality="L", ViewPosition="CC", ViewCodeSequence=coded("R-10226"))
    )
    assert found == {"ImageLaterality": "R", "ViewPosition": "CC"}
    assert [code_of(n) for n in notes] == ["laterality-contradicted", "view-contradicted"]


def test_the_side_of_a_tomosynthesis_is_that_of_its_frames() -> None:
    anatomy, shared = Dataset(), Dataset()
    anatomy.FrameLaterality = "L"
    shared.FrameAnatomySequence = [anatomy]
    assert breast(mammogram(SharedFunctionalGroupsSequence=[shared]))[0] == {"ImageLaterality": "L"}


def test_implants_are_a_stratum() -> None:
    displaced = mammogram(BreastImplantPresent="YES", ViewCodeSequence=coded("399162004", "399209000", "399163009"))
    said = facts([displaced])
    assert said.attributes["ViewModifier"] == "ID\\M"
    assert said.strata["implant"] == "displaced"
    assert "implant-displaced" in map(code_of, said.notes)
    assert facts([mammogram(BreastImplantPresent="YES")]).strata["implant"] == "present"
    assert facts([mammogram(BreastImplantPresent="NO")]).strata["implant"] == "none"
    assert "implant" not in facts([mammogram()]).strata


def test_raw_values_are_told_and_are_a_stratum() -> None:
    raw = facts([mammogram(PresentationIntentType="FOR PROCESSING")])
    assert raw.strata["presentation"] == "FOR PROCESSING"
    assert "for-processing" in map(code_of, raw.notes)
    assert facts([mammogram(PresentationIntentType="FOR PRESENTATION")]).notes == ()


def test_words_that_are_none_stay_out() -> None:
    found, notes = breast(mammogram(ViewPosition="SMITH", Laterality="J", ViewCodeSequence=coded("SMITH", "JOHN")))
    assert (found, notes) == ({}, [])
