"""Forty items, each answered, not measured with the reason, or blank by name."""

from __future__ import annotations

import pytest

from overread.domain.human import HUMAN, blanks
from overread.pages import checklist_words as words
from overread.pages.checklist import ITEMS, row_of, rows_of


def test_there_are_forty_in_order_and_each_can_be_answered_by_somebody():
    assert [item.number for item in ITEMS] == list(range(1, 41))
    assert all(item.text and item.sources and item.section and (item.fill or item.keys) for item in ITEMS)


def test_every_needed_question_belongs_to_one_item():
    asked = [key for item in ITEMS for key in item.keys]
    assert sorted(asked) == sorted(key for key, item in HUMAN.items() if item.needed)


def test_nothing_known_and_nothing_written_is_told_as_such():
    rows = rows_of([""] * 40, {})
    assert {row.state for row in rows if row.item.keys} == {"blank"}
    assert [key for row in rows for key in row.blank] == [k for item in ITEMS for k in item.keys]
    assert all(row.told for row in rows if row.item.without or row.item.keys)


def test_an_item_of_both_needs_both():
    known = [""] * 40
    known[7] = "the labels as they were given"
    row = rows_of(known, {})[7]
    assert row.state == "blank" and row.told == "the labels as they were given; to be written: reference standard"
    row = rows_of(known, {"reference_standard": "two radiologists"})[7]
    assert row.state == "answered" and row.told == "the labels as they were given; two radiologists"


@pytest.mark.parametrize("key", [key for key, item in HUMAN.items() if item.needed])
def test_each_answer_fills_its_blank(key):
    """The twin: with all written but one, that one is missing, and no other."""
    answers = {k: "written" for k, item in HUMAN.items() if item.needed and k != key}
    missing = [k for row in rows_of(["known"] * 40, answers) for k in row.blank]
    assert missing == blanks(answers) == [key]
    assert not any(row.blank for row in rows_of(["known"] * 40, answers | {key: "written"}))


def test_what_the_program_says_of_copies_shortcuts_and_maps_is_counted():
    pair = {"patients": 3, "studies": 0, "exact": 2, "near": 5}
    found = {"overlaps": {"training|testing": pair, "training|tuning": pair}, "patients_known": True}
    leakage = {
        **found,
        "near_duplicates": "looked for",
        "excluded": {"testing": {"the same patient stands in training": 7}},
    }
    said = words.overlaps({"leakage": leakage})
    assert said.startswith("between cohorts: 6 patients, 0 studies, 4 same pictures, 10 near copies; 7 testing images")
    nobody = {**leakage, "patients_known": False, "excluded": {}, "near_duplicates": "not looked for"}
    assert words.overlaps({"leakage": nobody}).endswith(
        "patients unknown, 0 studies, 4 same pictures, near copies not looked for"
    )
    facts = {"file format": {"warns": True}, "rows": {"warns": False}}
    assert (
        words.shortcuts({"shortcuts": facts})
        == "2 facts looked at before training, of which 1 clearly tells the answer"
    )
    assert "of which none clearly tell" in words.shortcuts({"shortcuts": {"rows": {"warns": False}}})
    maps = {"grad-cam": {"passed": True, "tested": True}, "rise": {"passed": False, "tested": False}}
    assert words.maps({"heatmaps": maps}) == "grad-cam passed its tests; rise was not tested and is grey"
    assert words.maps({}) == words.shortcuts({}) == ""


@pytest.mark.parametrize(
    ("gate", "said"),
    [
        (None, "training images; 12 images (6.0\xa0%) refused here"),  # an older run
        ({"patients": 9, "asked": 0.01, "promised": None, "limits": {"look": 2.0}}, "training images; 12 images"),
        (
            {"patients": 420, "asked": 0.01, "promised": 0.01, "limits": {"look": 2.0, "features": None}},
            "limits by patient: of new patients like the 420 patients of calibration at most 1.0\xa0% have an image refused; 12",
        ),
        (
            {"patients": 2, "asked": 0.01, "promised": 1.0, "limits": {"look": None}},
            "without a limit: the 2 patients of calibration are too few to learn one from; 12 images",
        ),
    ],
)
def test_the_gate_is_answered_by_patient(gate, said):
    account = {"all": 200, "reasons": {"unlike": 12}}
    task = {"kind": "binary", "labels": ["spot"]}
    known = {"name": "spot", "task": task, "labels": {"spot": {"three_way": account}}, "gate": gate}
    assert said in words.gate({**known, "split": {"unit": "patient"}})
    nobody = words.gate({**known, "split": {"unit": "study"}})
    assert "patients" not in nobody.replace("patients unknown", "") and "by patient" not in nobody


@pytest.mark.parametrize(
    ("hashes", "said"),
    [
        ("model.onnx code lock environment", "SHA-256 of weights, code, lock file"),
        ("model.onnx code environment", "SHA-256 of weights, code, installed versions; no lock file"),
        ("model.onnx environment", "not measured: no SHA-256 of code in the card"),
        ("model.onnx code", "not measured: no SHA-256 of lock file or installed versions in the card"),
        ("split", "not measured: no SHA-256 of weights and of code and of lock file or installed versions"),
    ],
)
def test_half_of_the_hashes_is_no_answer(hashes, said):
    card = {"name": "spot", "version": "1", "hashes": dict.fromkeys(hashes.split(), "ab")}
    known = words.identity({"card": card})
    assert said in known
    state = row_of(ITEMS[0], known, {}).state
    assert state == ("not measured" if said.startswith("not") else "answered")
