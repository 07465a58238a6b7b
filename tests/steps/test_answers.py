"""What a human writes beside a run."""

from __future__ import annotations

import tomllib

import pytest

from overread.domain.human import HUMAN, blanks
from overread.errors import RunError
from overread.steps.answers import MOST, NAME, read_answers, template


def test_the_blank_file_asks_every_question_and_is_written_once(tmp_path):
    assert read_answers(tmp_path, intended_use='triage of "chest" films') == {"intended_use": 'triage of "chest" films'}
    text = (tmp_path / NAME).read_text()
    assert set(tomllib.loads(text)) == set(HUMAN) and all(item.hint in text for item in HUMAN.values())
    (tmp_path / NAME).write_text('users = """\nradiologists,\nresidents"""\n')
    assert read_answers(tmp_path)["users"] == "radiologists, residents"
    assert (tmp_path / NAME).read_text().startswith("users")


def test_an_answer_replaces_what_train_was_told_and_a_blank_does_not(tmp_path):
    (tmp_path / NAME).write_text('intended_use = "second reading"\nusers = ""\n')
    assert read_answers(tmp_path, intended_use="other") == {"intended_use": "second reading"}
    (tmp_path / NAME).write_text('intended_use = ""\n')
    assert read_answers(tmp_path, intended_use="other") == {"intended_use": "other"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("users = radiologists", "cannot be read"),
        ('readers = "us"', "names that are not asked for, the first 'readers'"),
        ("users = 3", "'users' is int"),
        (f'users = "{"x" * (MOST + 1)}"', "4,001 characters"),
        ('users = "\\ud800"', "cannot be read"),
        ('users = "\\u202e\\u0000x"', r"U\+0000, U\+202E"),
        ('users = "us\\u2066ers"', r"U\+2066"),
    ],
)
def test_what_cannot_be_an_answer_is_refused_with_what_to_do(tmp_path, text, told):
    (tmp_path / NAME).write_text(text)
    with pytest.raises(RunError, match=told):
        read_answers(tmp_path)


@pytest.mark.parametrize("said", ['"""', "back\\slash", "tab\t", "\x7f\x00", "日本", "'''", "#"])
def test_any_text_survives_the_file(said):
    assert tomllib.loads(template({"users": said}))["users"] == said.replace("\x7f", " ")


@pytest.mark.parametrize("said", [".", "TODO", "tbd", "n/a", "-", "xx", "to be decided by Ann"])
def test_a_mark_that_an_answer_is_still_to_come_is_none(tmp_path, said):
    (tmp_path / NAME).write_text("".join(f'{key} = "{said}"\n' for key in HUMAN))
    found = read_answers(tmp_path, intended_use="triage")
    assert found == {"intended_use": "triage"}
    assert blanks(found) == [key for key, item in HUMAN.items() if item.needed and key != "intended_use"]
    (tmp_path / NAME).write_text("".join(f'{key} = "{item.hint}"\n' for key, item in HUMAN.items()))
    assert blanks(read_answers(tmp_path)) == []  # the twin: what says something is an answer


def test_persian_with_its_joiners_is_an_answer(tmp_path):
    (tmp_path / NAME).write_text('users = "رادیولوژیست\u200cها"\n', encoding="utf-8")
    assert "\u200c" in read_answers(tmp_path)["users"]
