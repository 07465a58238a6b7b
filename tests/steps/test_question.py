"""A question is asked of labels as they are: what was never learned is unknown, and nothing is guessed from words."""

from __future__ import annotations

import numpy as np
import pytest

from overread.domain import Study, Task
from overread.errors import LabelError
from overread.steps.question import as_said, ask, never_learned, truth

LEVELS = Task(("class=benign", "class=malignant"), "multiclass", "class")
MASS = Task(("mass",), "binary", "mass")


def studies(name, *values):
    return [Study(f"S{i:012x}", (), labels={name: v}) for i, v in enumerate(values)]


def test_a_level_never_learned_is_unknown_and_counted():
    cohort = studies("class", "benign", "malignant", "other", "other", None)
    known = truth(cohort, LEVELS)
    assert known[:2].tolist() == [[1, 0], [0, 1]] and np.isnan(known[2:]).all()
    assert never_learned(cohort, LEVELS).startswith(
        "2 studies have levels the model never learned: 'other' (2). They are left out"
    )
    assert never_learned(cohort[:2], LEVELS) == "" == never_learned(studies("mass", True), MASS)


@pytest.mark.parametrize("word", ["0", "benign", "false", ""])
def test_words_are_refused_where_yes_or_no_is_asked(word):
    with pytest.raises(LabelError, match="1 of 2 studies answer 'mass' with words; expected yes or no"):
        truth(studies("mass", True, word, None), MASS)
    with pytest.raises(LabelError, match="'mass' with words"):
        truth(studies("mass", word), Task(("mass", "nodule"), "multilabel", "mass,nodule"))


def test_yes_and_no_are_refused_where_a_level_is_asked():
    with pytest.raises(LabelError, match="1 of 2 studies answer 'class' with yes or no"):
        truth(studies("class", "benign", False), LEVELS)


def test_what_was_asked_of_a_cohort_is_known_of_all_of_it():
    for name, values in (("mass", (True, False)), ("class", ("10", "2", "benign"))):
        cohort = studies(name, *values)
        task = ask(cohort, name)
        assert not np.isnan(truth(cohort, task)).any() and never_learned(cohort, task) == ""


@pytest.mark.parametrize(
    ("levels", "kind", "expected"),
    [
        (("10", "9", "-1", "2.5"), "ordinal", ("-1", "2.5", "9", "10")),
        (("grade 10", "grade 9", "grade 2"), "ordinal", ("grade 2", "grade 9", "grade 10")),
        (("T2", "T1", "T2a"), "ordinal", ("T1", "T2", "T2a")),
        (("Stage IX", "Stage IV", "Stage I"), "ordinal", ("Stage I", "Stage IV", "Stage IX")),
        (("severe", "none", "mild", "moderate"), "ordinal: none < mild < moderate < severe", ("none", "mild", "moderate", "severe")),
        (("low", "high"), "ordinal:low,high", ("low", "high")),
        (("a, b", "c"), "ordinal: c < a, b", ("c", "a, b")),
    ],
)  # fmt: skip
def test_levels_that_have_an_order_are_in_that_order(levels, kind, expected):
    task = ask(studies("sev", *levels), "sev", kind=kind)
    assert task.kind == "ordinal" and task.labels == tuple(f"sev={level}" for level in expected)
    assert ask(studies("sev", *levels), "sev", kind=as_said(task.kind, task.name, task.labels)) == task


@pytest.mark.parametrize(
    "levels",
    [("mild", "moderate", "none"), ("0", "1", "many"), ("T1", "N2"), ("1-3", "4-6"), ("nan", "1"), ("grade 1", "Grade 1", "grade 2")],
)  # fmt: skip
def test_an_order_that_the_words_do_not_say_is_asked_for_and_never_the_alphabets(levels):
    with pytest.raises(LabelError, match=r'which is more than which .*--kind "ordinal: .* < '):
        ask(studies("sev", *levels), "sev", kind="ordinal")
    assert ask(studies("sev", *levels), "sev").kind == "multiclass"


@pytest.mark.parametrize("order", ["none, mild", "none, mild, mild", "none, mild, severe, worst", "none < mild,severe"])
def test_an_order_that_is_not_of_these_levels_is_refused(order):
    with pytest.raises(LabelError, match="each level once, the least first"):
        ask(studies("sev", "none", "mild", "severe"), "sev", kind=f"ordinal:{order}")


def test_a_label_named_twice_is_one_question():
    assert ask(studies("mass", True, False), "mass,mass").kind == "binary"
