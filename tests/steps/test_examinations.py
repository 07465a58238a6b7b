"""Sources become examinations in one way only, whatever the order in which they came."""

from __future__ import annotations

import random

import pytest

from overread.errors import LabelError
from overread.steps.examinations import examinations
from overread.store.entries import Source

KEY = bytes(32)


def source(name: str, image: str, own: dict | None = None, **said) -> Source:
    return Source(f"/s/{name}", f"d-{image}", image, own or {}, said)


def made(*sources: Source):
    return examinations(sorted(sources, key=lambda s: s.file), key=KEY)


def test_each_picture_is_an_examination_and_copies_share_their_image():
    got = made(source("a", "i1"), source("b", "i1"), source("c", "i2"))
    assert got.duplicates == 1
    names = [s.pseudonym for s in got.studies if s.images == ("i1",)]
    assert names[1] == f"{names[0]}-2"
    assert len(got.studies) == 3


def test_images_of_one_study_are_one_examination():
    study = {"study": "S1", "patient": "P1", "strata": {"sex": "F"}}
    got = made(source("a", "i1", study), source("b", "i2", study), source("b2", "i2", study))
    assert [(s.pseudonym, s.images, s.patient, s.strata) for s in got.studies] == [
        ("S1", ("i1", "i2"), "P1", {"sex": "F"})
    ]


def test_other_labels_within_a_study_divide_it():
    own = {"study": "S1"}
    got = made(
        source("a", "i1", own, labels={"x": True}), source("b", "i2", own, labels={"x": False}), source("c", "i3", own)
    )
    assert [(s.pseudonym, s.images, s.labels) for s in got.studies] == [
        ("S1", ("i1",), {"x": True}),
        ("S1-2", ("i2",), {"x": False}),
        ("S1-3", ("i3",), {"x": None}),
    ]
    assert got.notes[0].startswith("1 study was divided into 3 examinations")
    assert made(source("a", "i1", own), source("b", "i2", own)).notes == ()


@pytest.mark.parametrize(("answers", "agreed"), [((True, False), None), ((True, True), True), ((True, None), True)])
def test_copies_must_agree(answers, agreed):
    got = made(
        *(source(f"f{i}", "i1", labels={"x": a}) for i, a in enumerate(answers)),
        source("other", "i2", labels={"x": False}),
    )
    copies = [s.labels["x"] for s in got.studies if s.images == ("i1",)]
    if agreed is None:
        assert copies == [None, None]
        assert "contradict" in got.notes[0]
    else:
        assert copies == list(answers)
        assert got.notes == ()
    assert [s.labels["x"] for s in got.studies if s.images == ("i2",)] == [False]


def test_numbers_of_an_array_are_yes_or_no_only_when_there_are_two():
    two = made(*(source(str(i), f"i{i}", {"labels": {"label": str(i % 2)}}) for i in range(4)))
    assert {s.labels["label"] for s in two.studies} == {True, False}
    three = made(*(source(str(i), f"i{i}", {"labels": {"label": str(i % 3)}}) for i in range(4)))
    assert {s.labels["label"] for s in three.studies} == {"0", "1", "2"}


def test_what_a_table_says_comes_before_what_the_file_says():
    got = made(
        source("a", "i1", {"patient": "P1", "strata": {"sex": "M", "site": "x"}}, patient="P2", strata={"sex": "F"})
    )
    assert (got.studies[0].patient, got.studies[0].strata) == ("P2", {"sex": "F", "site": "x"})


def test_every_study_has_every_label():
    got = made(
        source("a", "i1", labels={"x": True}), source("b", "i2", folder="cyst"), source("c", "i3", folder="mass")
    )
    assert {tuple(sorted(s.labels)) for s in got.studies} == {("class", "cyst", "mass", "x")}


def test_the_order_of_the_sources_of_other_files_does_not_matter():
    sources = [
        source(f"f{i:02}", f"i{i % 7}", {"study": f"S{i % 4}"} if i % 2 else {}, labels={"x": i % 3 == 0})
        for i in range(30)
    ]
    whole = {s.pseudonym: s for s in made(*sources).studies}
    shuffled = random.Random(0).sample(sources, len(sources))
    assert {s.pseudonym: s for s in made(*shuffled).studies} == whole


def test_too_many_classes_are_refused():
    with pytest.raises(LabelError, match="51 folders"):
        made(*(source(str(i), f"i{i}", folder=f"c{i}") for i in range(51)))
