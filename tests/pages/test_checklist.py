"""Forty items, each answered, not measured with the reason, or blank by name."""

from __future__ import annotations

import pytest

from overread.domain.human import HUMAN, blanks
from overread.pages.checklist import ITEMS, rows_of


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
