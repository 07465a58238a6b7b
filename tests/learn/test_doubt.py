"""What a model says of an image that is none of its business."""

from dataclasses import replace

import numpy as np
import pytest

from overread.domain import Image
from overread.learn.plan import fingerprint
from overread.learn.predict import Model

NOISE = np.random.default_rng(0).integers(0, 255, (1, 24, 20))
PICTURE = Image(NOISE.astype(np.uint8), full_range=(0, 255))


def test_a_picture_like_those_it_learned_from_is_answered(run):
    assert Model.load(run).doubt(PICTURE) == ""


@pytest.mark.parametrize(
    ("image", "word"),
    [
        (Image(NOISE.astype(np.int16), unit="HU", modality="CT"), "Hounsfield"),
        (Image((NOISE * 16).astype(np.uint16), full_range=(0, 4095), modality="DX"), "256 levels"),
        (Image(np.full((1, 24, 20), 7, np.uint8), full_range=(0, 255)), "no contrast"),
    ],
)
def test_other_numbers_than_it_learned_from_are_referred_with_the_reason(run, image, word):
    model = Model.load(run)
    assert word in model.doubt(image)
    for finding in model.findings(image):
        assert finding.decision == "refer"
        assert word in finding.reason


def test_another_modality_is_referred(run):
    model = Model.load(run)
    model.task = replace(model.task, modality="CR+DX")
    assert "CR and DX only" in model.doubt(replace(PICTURE, modality="MG"))
    assert model.doubt(replace(PICTURE, modality="DX")) == ""


@pytest.mark.parametrize(
    ("learned", "says", "told"),
    [
        ({"body_part": "CHEST"}, {"BodyPartExamined": "ABDOMEN"}, "the image says ABDOMEN; this model has learned from CHEST only"),
        ({"body_part": "CHEST"}, {"BodyPartExamined": "Chest "}, ""),
        ({"body_part": "CHEST"}, {}, ""),
        ({}, {"BodyPartExamined": "ABDOMEN", "ViewPosition": "LL"}, ""),
        ({"view": "AP+PA"}, {"ViewPosition": "LL"}, "the image says view LL; this model has learned from AP and PA only"),
        ({"view": "AP+PA"}, {"ViewPosition": "PA"}, ""),
    ],
)  # fmt: skip
def test_another_body_part_or_view_is_referred_and_an_image_that_names_none_is_not(run, learned, says, told):
    model = Model.load(run)
    model.task = replace(model.task, **learned)
    image = replace(PICTURE, attributes=says)
    assert model.doubt(image) == told
    assert all((f.reason == told and f.decision == "refer") for f in model.findings(image)) or not told


def test_the_plan_learns_body_part_and_view_from_the_headers_that_all_name_one():
    row = {"shape": (1, 8, 8), "modality": "DX", "unit": "stored", "full_range": (0, 4095)}
    told = [
        row | {"attributes": {"BodyPartExamined": "CHEST", **({"ViewPosition": "PA"} if i else {})}} for i in (0, 1)
    ]
    seen = fingerprint(told)
    assert (seen.body_part, seen.view) == ("CHEST", "")
    assert fingerprint([row]).body_part == ""


def test_a_model_of_hounsfield_units_does_not_read_a_picture(run):
    model = Model.load(run)
    model.task = replace(model.task, unit="HU", eight_bit=False)
    assert "Hounsfield" in model.doubt(PICTURE)


def test_uptake_without_a_patients_weight_is_not_read_as_standardised_uptake(run):
    """A PET file whose header lacks the weight comes in Bq/ml: other numbers than a model of SUV has learned from."""
    model = Model.load(run)
    model.task = replace(model.task, unit="SUVbw", eight_bit=False)
    assert "becquerels" in model.doubt(replace(PICTURE, unit="Bq/ml"))
    assert model.doubt(replace(PICTURE, unit="SUVbw", full_range=None)) == ""
