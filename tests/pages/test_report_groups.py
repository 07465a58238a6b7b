"""Groups of a label with several levels have their own columns, and where there is no group one true reason stands."""

from __future__ import annotations

from overread.pages import checklist_words
from overread.pages.checklist import ITEMS, row_of
from overread.pages.report_groups import in_order, none_because, subgroup_columns, subgroup_rows


def figure(value, n=40):
    return {"value": value, "low": value - 0.1, "high": value + 0.1, "n": n, "n_patients": n, "method": "Wilson"}


def test_levels_are_told_by_their_own_figures_and_not_by_a_finding_that_they_lack():
    few = {"accuracy": figure(0.5, n=9), "auroc": figure(0.5), "kappa_quadratic": figure(0.5), "few": True}
    row = {
        "stratum": "sex", "value": "F", "label": "grade", "few": False,
        "auroc": figure(0.8), "accuracy": figure(0.7), "kappa_quadratic": figure(0.6),
        "gap": {"accuracy": figure(0.3)}, "three_ways": {"answered": few},
    }  # fmt: skip
    e = {"subgroups": [row]}
    assert subgroup_columns(e) == ["AUROC", "accuracy", "quadratic kappa"]
    (told,) = subgroup_rows(e)
    assert told["whom"] == ["40", "40"] and len(told["cells"]) == 3 and told["cells"][1]["gap"]["sure"]
    assert told["parts"] == [{"way": "answered", "few": True, "whom": ["9", "9"], "cells": []}]


def test_each_reason_why_there_is_no_group_is_the_true_one_on_the_page_and_in_the_forty_items():
    bare = {"subgroups": [], "external": False, "strata_known": True, "strata": []}
    away = {**bare, "strata_known": False}
    other = {**away, "external": True}  # another archive was looked at, wherever that of the training is
    one_sex = {
        **bare,
        "strata": [{"stratum": "sex", "value": v, "counts": {"testing": n}} for v, n in (("F", 9), ("M", 0))],
    }
    said = [none_because(e) for e in (bare, away, other, one_sex)]
    assert "training archive is not here" in said[1] and not any("not here" in s for s in (said[0], said[2], said[3]))
    assert "other archive" in said[2] and said[3].endswith("(sex has one)") and len(set(said)) == 4
    assert not any(" or the " in s or "levels" in s for s in said)
    item = ITEMS[32]
    row = row_of(item, checklist_words.subgroups(away), {})
    assert (row.state, row.told) == ("not measured", "the training archive is not here")


def test_ages_stand_by_age_and_strata_as_they_came():
    rows = [
        {"stratum": s, "value": v}
        for s, v in (("sex", "M"), ("age", "18-39"), ("age", "80+"), ("age", "<18"), ("sex", "F"))
    ]
    told = [(row["stratum"], row["value"]) for row in in_order(rows)]
    assert told == [("sex", "F"), ("sex", "M"), ("age", "<18"), ("age", "18-39"), ("age", "80+")]
