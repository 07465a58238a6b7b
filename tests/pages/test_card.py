"""The card says what it lacks."""

from __future__ import annotations

from dataclasses import replace

from made_card import NEEDED, card

from overread.domain.human import HUMAN, blanks
from overread.pages.card import render_card


def test_blank_items_are_named_and_stamp_the_card():
    page = render_card(card())
    assert "**INCOMPLETE**" in page and page.count("**not written yet**") == len(NEEDED)
    assert all(HUMAN[key].words in page for key in NEEDED)


def test_a_card_with_every_item_written_bears_no_stamp():
    full = dict.fromkeys(NEEDED, "written")
    assert blanks(full) == [] and "INCOMPLETE" not in render_card(card(), full)
    assert blanks(full | {"users": "  "}) == ["users"]
    assert "- users: **not written yet**" in render_card(card(), full | {"users": ""})


def test_what_a_human_writes_changes_no_fingerprint():
    assert card().fingerprint in render_card(card(), {"users": "radiologists | residents"})
    assert "radiologists \\| residents" in render_card(card(), {"users": "radiologists | residents"})


def test_what_the_program_knows_is_there():
    page = render_card(card())
    for words in (
        "0.900 (0.800–0.950)",
        "| unknown | 1,234 |",
        "0.2500",
        "1. resize (size 64, 64)",
        "not trained",
        "ab" * 32,
    ):
        assert words in page
    assert "not tested yet" in render_card(replace(card(), performance={}))
    assert card().fingerprint in page


def test_what_figures_are_counted_by_stands_over_them():
    assert "95 % intervals, counted by image" in render_card(card())
    by_study = replace(card(), training={**card().training, "counted_by": "study"})
    assert "95 % intervals, counted by study" in render_card(by_study)
