"""A note is one string that a machine counts and a person reads."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overread.domain import code_of, noted, sentence_of

CODES = st.from_regex(r"[a-z][a-z0-9]{0,8}(-[a-z0-9]{1,8}){0,3}", fullmatch=True)


@given(CODES, st.text(min_size=1))
def test_a_note_keeps_its_code_and_its_sentence(code, sentence):
    note = noted(code, sentence)
    assert (code_of(note), sentence_of(note)) == (code, sentence)


@pytest.mark.parametrize("free", ["every pixel has the same value", "Image: too long", "two words: and more", ""])
def test_a_free_sentence_is_a_remark_and_stays_whole(free):
    assert (code_of(free), sentence_of(free)) == ("remark", free)


@pytest.mark.parametrize(("code", "sentence"), [("Two Words", "x"), ("", "x"), ("a--b", "x"), ("a", ""), ("a: b", "x")])
def test_a_note_that_could_not_be_read_back_is_refused(code, sentence):
    with pytest.raises(ValueError, match="of a note"):
        noted(code, sentence)
