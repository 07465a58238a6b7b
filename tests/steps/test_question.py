"""A question is asked of labels as they are: what was never learned is unknown, and nothing is guessed from words."""

from __future__ import annotations

import numpy as np
import pytest

from overread.domain import Study, Task
from overread.errors import LabelError
from overread.steps.question import ask, never_learned, truth

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
