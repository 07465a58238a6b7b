"""What of a header goes with its pixels: facts of the acquisition, and nothing that could be a name."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom import Dataset

from overread.domain import code_of
from overread.formats.door import Found, scan
from overread.formats.facts import ATTRIBUTES, IN_PIXELS, facts
from overread.formats.terms import has_terms, is_term


def header(**values) -> Dataset:
    ds = Dataset()
    ds.PatientName, ds.PatientID, ds.Modality = "Smith^John", "AB4711", "DX"
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return ds


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("BodyPartExamined", "SMITH JOHN"),
        ("BodyPartExamined", "MILLER"),  # in no other element of this file
        ("ManufacturerModelName", "for SMITH^JOHN 19630217"),
        ("ManufacturerModelName", "made 1963-02-17"),
        ("ManufacturerModelName", "unit 17.02.1963"),
        ("Manufacturer", "Dr Miller private unit"),
        ("Manufacturer", "St Mary Hospital"),
        ("Manufacturer", "johnson"),  # a name of this file within it
        ("Manufacturer", "Box ab4711"),
        ("ViewPosition", "SMITH"),
        ("Laterality", "J"),
        ("ImageLaterality", "JS"),
        ("PatientOrientation", ["L", "SMITH"]),
        ("PatientPosition", "SMITH"),
        ("RescaleType", "Smith"),
        ("PresentationIntentType", "SMITH"),
        ("Modality", "SMITH"),
    ],
)
def test_what_might_identify_is_absent_with_a_note(keyword, value):
    said = facts([header(**{keyword: value})])
    assert keyword not in said.attributes
    assert (keyword != "Modality") or said.modality == ""
    assert len(said.notes) == 1
    assert said.notes[0].endswith("left out: might identify")
    assert not {"smith", "miller", "john"} & set(str(said).lower().replace("'", " ").split())


@pytest.mark.parametrize(
    ("keyword", "value", "kept"),
    [
        ("BodyPartExamined", "CHEST", "CHEST"),
        ("BodyPartExamined", "T L SPINE", "T L SPINE"),
        ("BodyPartExamined", "LSPINE", "LSPINE"),
        ("Manufacturer", "GE MEDICAL SYSTEMS", "GE MEDICAL SYSTEMS"),
        ("ManufacturerModelName", "SOMATOM Definition AS+", "SOMATOM Definition AS+"),
        ("PatientOrientation", ["L", "F"], "L\\F"),
        ("ViewPosition", "PA", "PA"),
        ("KVP", "120", "120"),
        ("WindowCenter", ["40", "400"], "40\\400"),
        ("ImageType", ["ORIGINAL", "PRIMARY", "AXIAL", "JONES"], "ORIGINAL\\PRIMARY\\AXIAL"),
    ],
)
def test_what_the_standard_names_stays(keyword, value, kept):
    assert facts([header(**{keyword: value})]).attributes.get(keyword) == kept


def test_a_name_that_is_a_word_of_the_standard_takes_nothing_away():
    ds = header(PatientName="Chest^Pa", BodyPartExamined="CHEST", ViewPosition="PA")
    assert facts([ds]).attributes["BodyPartExamined"] == "CHEST"
    assert facts([ds]).attributes["ViewPosition"] == "PA"
    assert "Manufacturer" in facts([header(InstitutionName="TOSHIBA", Manufacturer="TOSHIBA_MEC")]).attributes


def test_short_names_are_looked_for_as_words_and_titles_are_no_names():
    assert "Manufacturer" not in facts([header(PatientName="Li^Bo", Manufacturer="Li Imaging")]).attributes
    assert "Manufacturer" in facts([header(PatientName="Li^Bo", Manufacturer="Philips")]).attributes
    assert (
        "ManufacturerModelName"
        in facts([header(PatientName="Doe^J^^Mr", ManufacturerModelName="Signa MR 750")]).attributes
    )


def test_a_name_in_another_slice_counts():
    first, second = header(Manufacturer="for Miller"), header(PatientName="Miller^Ann")
    del first.PatientName
    first.Manufacturer = "Miller AG"
    assert "Manufacturer" in facts([first]).attributes
    assert "Manufacturer" not in facts([first, second]).attributes


def test_a_name_in_letters_that_cannot_be_made_out_still_counts():
    ds = header(Manufacturer="Smith AG")
    ds.SpecificCharacterSet = "ISO_IR 999"
    assert "Manufacturer" not in facts([ds]).attributes


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("BurnedInAnnotation", "YES"),
        ("BurnedInAnnotation", "MAYBE"),
        ("RecognizableVisualFeatures", "YES"),
        ("ImageType", ["ORIGINAL", "PRIMARY", "LABEL"]),
    ],
)
def test_pixels_that_tell_who_it_is_are_marked(keyword, value):
    told = header(**{keyword: value})
    assert IN_PIXELS in facts([told]).attributes
    assert IN_PIXELS in facts([header(), told]).attributes  # one slice is enough
    assert IN_PIXELS not in facts([header(BurnedInAnnotation="NO")]).attributes


def test_every_listed_code_string_has_its_words():
    """What may be a name in capitals is compared with words that are known; a maker's own texts are looked through."""
    free = {k for k in ATTRIBUTES if not has_terms(k)}
    numbers = {"MagneticFieldStrength", "KVP", "SliceThickness", "WindowCenter", "WindowWidth"}
    assert free == {"Manufacturer", "ManufacturerModelName"} | numbers
    assert not any(is_term(k, "SMITH") for k in ATTRIBUTES)


def test_real_headers_lose_nothing_they_need(shared_data: Path):
    found = [r for r in scan(shared_data / "dicom_series", shared_data / "dicom_codecs") if isinstance(r, Found)]
    read = [r for r in found if r.image.attributes["format"] == "DICOM"]
    notes = [n for r in read for n in r.image.notes if "might identify" in n]
    assert len(read) > 5
    assert all(r.image.modality for r in read)
    assert notes == []


def test_philips_private_scale_is_told_and_others_are_not() -> None:
    def mr(creator: str) -> Dataset:
        ds = Dataset()
        ds.Modality = "MR"
        ds.private_block(0x2005, creator, create=True).add_new(0x0E, "FL", 0.0075)
        return ds

    plain = Dataset()
    plain.Modality = "MR"
    enhanced, inner, frame = Dataset(), mr("Philips MR Imaging DD 001"), Dataset()
    frame.add_new(0x20050014, "LO", "Philips MR Imaging DD 005")
    frame.add_new(0x2005140F, "SQ", [inner])
    enhanced.Modality, enhanced.PerFrameFunctionalGroupsSequence = "MR", [frame]
    for ds in (mr("Philips MR Imaging DD 001"), enhanced):
        assert "private-scale" in map(code_of, facts([plain, ds]).notes)
    for ds in (mr("SOMEBODY ELSE"), plain):
        assert "private-scale" not in map(code_of, facts([ds]).notes)


RAW, SHOWN = "1.2.840.10008.5.1.4.1.1.1.2.1", "1.2.840.10008.5.1.4.1.1.1.2"


@pytest.mark.parametrize(
    ("kind", "word", "taken", "codes"),
    [
        (RAW, "FOR PROCESSING", "FOR PROCESSING", ["for-processing"]),
        (RAW, "", "FOR PROCESSING", ["for-processing"]),
        (RAW, "FOR PRESENTATION", "FOR PROCESSING", ["presentation-contradicted", "for-processing"]),
        (SHOWN, "FOR PROCESSING", "FOR PROCESSING", ["for-processing"]),
        (SHOWN, "FOR PRESENTATION", "FOR PRESENTATION", []),
        (SHOWN, "", None, []),
    ],
)
def test_the_detectors_own_values_are_known_by_the_kind_of_object_too(kind, word, taken, codes):
    said = facts([header(Modality="MG", SOPClassUID=kind, PresentationIntentType=word)])
    assert said.attributes.get("PresentationIntentType") == said.strata.get("presentation") == taken
    assert list(map(code_of, said.notes)) == codes


@pytest.mark.parametrize("keyword", ["Laterality", "ImageLaterality"])
def test_slices_of_two_sides_have_no_side(keyword):
    sides = [header(Modality="MR", **{keyword: side}) for side in ("R", "R", "L", "")]
    said = facts(sides)
    assert said.notes[-1].endswith("Laterality is L in 1 and R in 2 of 4 slices: no side taken")
    assert keyword not in said.attributes
    assert "side" not in said.strata
    one = facts([sides[0], sides[1], sides[3]])
    assert (one.attributes[keyword], one.strata["side"], one.notes) == ("R", "R", ())
