"""Rare levels are counted by patient, left out where they are few, and never where that would change the question."""

from __future__ import annotations

import pytest

from overread.domain import Study
from overread.errors import CohortError
from overread.stats import splits
from overread.stats.rare import rare_levels
from overread.steps.question import ask, without_rare


def cohort(**counts):
    return [
        Study(f"S{k}-{i}", (f"{k}{i}",), labels={"class": level})
        for k, (level, n) in enumerate(counts.items())
        for i in range(n)
    ]


def test_seven_are_rare_and_eight_are_not():
    assert rare_levels(cohort(a=90, b=60, c=7, d=8), "class", alike={}) == {"c": 7}


def test_studies_of_one_patient_and_copies_are_one_case():
    shown = cohort(a=90, b=60, c=9)
    assert rare_levels(shown, "class", alike={}) == {}
    copies = {f"2{i}": "one" for i in range(3)}
    assert rare_levels(shown, "class", alike=copies) == {"c": 7}
    one = [
        Study(s.pseudonym, s.images, patient="P" if s.labels["class"] == "c" else s.pseudonym, labels=s.labels)
        for s in shown
    ]
    assert rare_levels(one, "class", alike={}) == {"c": 1}


@pytest.mark.parametrize("counts", [{"a": 90, "c": 7}, {"a": 20, "b": 20, "c": 7}, {"a": 20, "b": 20, "c": 3, "d": 3}])
def test_what_is_no_small_part_is_refused_as_before(counts):
    shown = cohort(**counts)
    assert rare_levels(shown, "class", alike={}) == {}
    kept, task, told = without_rare(shown, ask(shown, "class"), alike={})
    assert kept == shown and task == ask(shown, "class") and told == ()
    with pytest.raises(CohortError, match="too few cases"):
        splits.divide(kept, labels=["class"], seed=0)


def test_a_long_tail_can_be_divided_and_is_told():
    shown = cohort(a=90, b=60, c=7, d=1)
    with pytest.raises(CohortError, match="too few cases"):
        splits.divide(shown, labels=["class"], seed=0)
    kept, task, told = without_rare(shown, ask(shown, "class"), alike={})
    assert task.labels == ("class=a", "class=b") and len(kept) == 150
    assert told[0].startswith(
        "2 levels of 'class' are too rare to be learned and tested ('c' 7, 'd' 1): 8 studies are left out"
    )
    assert sum(map(len, splits.divide(kept, labels=["class"], seed=0).cohorts.values())) == 150


def test_no_grade_of_an_order_is_left_out():
    shown = cohort(g1=90, g2=60, g3=7)
    task = ask(shown, "class", kind="ordinal")
    assert without_rare(shown, task, alike={}) == (shown, task, ())
