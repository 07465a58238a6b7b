"""What a report says of a label is no more than its figures hold."""

from __future__ import annotations

import pytest

from overread.pages.plots import told
from overread.pages.report import headline
from overread.pages.report_headline import _calls, hardly
from overread.pages.report_labels import alarms, elsewhere, natural, odds, promise, sets_told


def figure(value, low, high, n=100):
    return {"value": value, "low": low, "high": high, "n": n, "n_patients": n, "method": "Wilson"}


def point(specificity=0.8):
    return {
        "threshold": 0.4,
        "rule": "largest threshold",
        "cohort": "calibration",
        "specificity": specificity,
        "promise": {"threshold": 0.4, "sensitivity": 0.95},
    }


def evaluation(*, sensitivity, specificity, floors=None):
    figures = {
        "auroc": figure(0.9, 0.87, 0.93),
        "sensitivity": sensitivity,
        "specificity": specificity,
        "confusion": {"tp": 1, "fp": 1, "fn": 1, "tn": 1},
    }
    return {
        "name": "mass",
        "task": {"labels": ["mass"], "name": "mass"},
        "apart": True,
        "labels": {"mass": figures},
        "operating_points": {"mass": point()},
        "floors": floors or {},
    }


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (figure(0.98, 0.96, 0.99), "the promise was kept"),
        (figure(0.98, 0.90, 0.99), "not contradicted"),
        (figure(0.93, 0.90, 0.96), "not contradicted"),
        (figure(0.80, 0.75, 0.85), "the promise was not kept"),
    ],
)
def test_a_promise_was_kept_only_where_the_whole_interval_keeps_it(found, said):
    assert said in promise(point(), {"sensitivity": found})


def test_a_promise_about_patients_is_judged_by_patients_and_both_sensitivities_are_told():
    """Patients with many images are the harder ones: over all images it falls short, over patients it does not."""
    pooled = {**figure(0.93, 0.91, 0.94, n=900), "n_patients": 300}
    by_patient = {**figure(0.97, 0.952, 0.98, n=900), "n_patients": 300}
    both = {"sensitivity": pooled, "sensitivity_by_patient": by_patient}
    said = promise(point(), both)
    assert "the promise was kept" in said
    assert f"{told(by_patient)}, averaged over patients; over all images {told(pooled)}" in said
    e = evaluation(sensitivity=pooled, specificity=figure(0.9, 0.85, 0.95))
    e["labels"]["mass"] |= both
    assert alarms(e) == []
    e["labels"]["mass"]["sensitivity_by_patient"] = {**by_patient, "high": 0.94, "low": 0.91, "value": 0.93}
    assert "not kept" in alarms(e)[0]
    old = promise(point(), {"sensitivity": pooled})  # never measured by patient: nothing is judged
    assert "promise" not in old and "applied it." in old


def test_an_alarm_stands_where_the_specificity_fell_and_none_where_it_may_not_have():
    fell = alarms(evaluation(sensitivity=figure(0.98, 0.96, 0.99), specificity=figure(0.6, 0.55, 0.65)))
    assert fell == [
        "mass: more false alarms than on the calibration cohort: the specificity fell from 0.80 to 0.60 (0.55–0.65)."
    ]
    assert alarms(evaluation(sensitivity=figure(0.98, 0.96, 0.99), specificity=figure(0.75, 0.68, 0.81))) == []
    both = alarms(evaluation(sensitivity=figure(0.8, 0.75, 0.85), specificity=figure(0.6, 0.55, 0.65)))
    assert len(both) == 2 and "not kept" in both[0]


def test_so_many_of_a_hundred_are_rounded_outward():
    none = figure(None, None, None)
    figures = {"sensitivity": figure(0.9, 0.856, 0.934), "specificity": none, "ppv": none, "npv": none}
    assert natural(figures) == ["Of 100 images with it, about 90 are found (85 to 94)."]
    nearly = {key: figure(v, 0.98, 1.0) for key, v in (("sensitivity", 0.997), ("specificity", 1.0))}
    nearly |= {"ppv": figure(0.996, 0.985, 0.999), "npv": figure(0.003, 0.0, 0.01)}
    assert natural(nearly) == [
        "Of 100 images with it, more than 99 are found (98 to 100).",
        "Of 100 images without it, about 100 are cleared (98 to 100).",
        "Of 100 images that it calls, more than 99 truly have it (98 to 100).",
        "Of 100 images that it clears, fewer than 1 are truly free of it (0 to 1).",
    ]
    there = {"prevalence": 0.02, "ppv": figure(0.2, 0.158, 0.251), "npv": figure(0.9975, 0.9958, 0.9991)}
    assert "about 20 (15 to 26)" in elsewhere(there)[0] and "about 998 (995 to 1,000)" in elsewhere(there)[0]


def test_the_headline_says_all_only_where_all_were_found():
    above = {"nearest_thumbnail": {"mass": {"auroc": figure(0.7, 0.65, 0.75)}}}
    one_missed = headline(
        evaluation(sensitivity=figure(0.997, 0.98, 1.0), specificity=figure(1.0, 0.98, 1.0), floors=above)
    )
    assert "found more than 99\xa0% (98\xa0% to 100\xa0%)" in one_missed and "cleared 100\xa0%" in one_missed


def test_the_headline_is_held_against_the_small_network_too():
    how = {"sensitivity": figure(0.9, 0.85, 0.95), "specificity": figure(0.9, 0.85, 0.95)}
    thumbnails = {"nearest_thumbnail": {"mass": {"auroc": figure(0.7, 0.65, 0.75)}}}
    assert "clearly above" in headline(evaluation(**how, floors=thumbnails))
    small = {"simple-cnn": {"mass": {"auroc": figure(0.91, 0.88, 0.94)}}}
    said = headline(evaluation(**how, floors=thumbnails | small))
    assert "no better than" in said and "simple-cnn: 0.910" in said


def sets(*, held, chance, behind=50):
    return {
        "coverage": 0.9,
        "covered": {"absent": held, "present": figure(0.95, 0.91, 0.98)},
        "by_chance": {"absent": chance, "present": 0.7},
        "calibration_patients": {"absent": behind, "present": 60},
        "sizes": [1, 90, 9],
        "one_left": 0.9,
    }


@pytest.mark.parametrize(
    ("held", "chance", "said", "loud"),
    [
        (figure(0.39, 0.33, 0.45), 1e-9, "the promise does not hold here: exchangeability is broken", True),
        (figure(0.80, 0.75, 0.85), 0.2, "with 11 calibration patients that can be chance (p = 0.2)", False),
        (figure(0.88, 0.83, 0.92), 0.3, "not contradicted", False),
        (figure(0.97, 0.94, 0.99), 0.9, "kept", False),
        (figure(None, None, None, n=0), 1.0, "no such case", False),
    ],
)
def test_a_broken_promise_of_the_sets_is_said_loudly_and_bad_luck_is_not_called_broken(held, chance, said, loud):
    found = sets(held=held, chance=chance, behind=11)
    row = sets_told(found)["rows"][0]
    assert said in row["says"] and row["broken"] == loud
    assert row["cells"][0] == "90\xa0%" and row["cells"][1] == told(held, 2)
    e = evaluation(sensitivity=figure(0.98, 0.96, 0.99), specificity=figure(0.9, 0.85, 0.95))
    before = alarms({**e, "sets": {"mass": found}})
    assert any("Exchangeability is broken" in line and "absent 0.39 (0.33–0.45)" in line for line in before) == loud


def referring(*, answered, referred, both=True, labels=("mass",)):
    """A model that answers some of 100 images, and finds all in the answered alone."""
    e = evaluation(sensitivity=figure(0.8, 0.7, 0.9, n=40), specificity=figure(0.6, 0.5, 0.7, n=60))
    share = referred / 100
    good, bad = figure(1.0, 0.8, 1.0, n=15), figure(0.7, 0.5, 0.8, n=25)
    e["labels"]["mass"] |= {
        "three_way": {
            "all": 100, "answered": answered, "referred": referred, "sensitivity": good, "specificity": good,
            "share_referred": figure(share, max(share - 0.1, 0), min(share + 0.05, 1)),
        },
        "three_ways": {"referred": {"sensitivity": bad, "specificity": bad}},
    }  # fmt: skip
    e["task"]["labels"] = list(labels)
    return e


def test_the_headline_says_how_much_is_answered_and_how_well_three_ways_before_any_figure_of_all_images():
    said = headline(referring(answered=40, referred=60)).replace("\xa0", " ")
    assert "40 of them (of 40 patients) with mass" in said
    assert "it answers 40.0 % (95 % interval 35.0 % to 50.0 %) and refers 60.0 % to the doctor" in said
    assert "Of the answered, it found 100 % (80 % to 100 %) of the 15 with mass" in said
    assert "Had it answered all, it would have found 80 % (70 % to 90 %) of the 40 with mass" in said
    assert "Of the referred, it would have found 70 % (50 % to 80 %) of the 25 with mass" in said
    assert said.index("answers") < said.index("80 %") < said.index("AUROC")


def test_a_model_that_refers_all_is_not_praised_for_what_it_would_have_said():
    e = referring(answered=0, referred=100)
    said = headline(e).replace("\xa0", " ")
    assert "it answers none (95 % interval 0.0 % to 10.0 %): all are referred to the doctor" in said
    assert "it found" not in said and "Had it answered all" in said
    assert "mass: it answers none of 100 images" in hardly(e)[0]
    assert hardly(referring(answered=10, referred=90)) and not hardly(referring(answered=11, referred=89))


def test_the_first_of_several_labels_is_called_so_and_set_apart():
    said = headline(referring(answered=40, referred=60, labels=("mass", "node")))
    assert "with mass (the first of 2 labels), it answers" in said


def ratios(plus, minus):
    keys = ("value", "low", "high")
    return {"lr_plus": dict(zip(keys, plus, strict=True)), "lr_minus": dict(zip(keys, minus, strict=True))}


@pytest.mark.parametrize(
    ("plus", "minus", "said", "cautions"),
    [
        ((1.06, 0.9, 2.0), (0.0, 0.0, 6.0), "a negative one multiplies them by at most 6.0.", ["positive", "negative"]),
        ((0.0, 0.0, 1.5), (1.68, 0.7, 2.1), "by at most 1.5, a negative one multiplies them by 1.7 (0.70 to 2.1).", ["positive", "negative"]),
        ((4.0, 2.0, 8.0), (0.5, 0.3, 0.8), "a negative one divides them by 2.0 (1.2 to 3.3).", []),
        ((4.0, 2.0, 8.0), (0.5, 0.3, 1.1), "a negative one multiplies them by 0.50 (0.30 to 1.1).", ["negative"]),
        ((0.5, 0.3, 0.8), (2.0, 1.2, 3.0), "by 0.50 (0.30 to 0.80), a negative one multiplies them by 2.0 (1.2 to 3.0).", ["against", "for"]),
        ((None, 0.8, None), (0.4, 0.2, 0.9), "multiplies the odds that it is there by at least 0.80", ["positive"]),
    ],
)  # fmt: skip
def test_odds_are_divided_only_by_what_is_above_1_and_cautions_stand_for_both_answers(plus, minus, said, cautions):
    first, *others = odds(ratios(plus, minus))
    assert said in first and "0.0" not in first
    assert len(others) == len(cautions) and all(c in line for c, line in zip(cautions, others, strict=True))


def test_a_level_no_better_than_chance_is_named_with_its_label():
    e = evaluation(sensitivity=figure(0.9, 0.8, 1.0), specificity=figure(0.9, 0.8, 1.0))
    low = {"auroc": figure(0.5, 0.4, 0.6)}
    labels = {"grade": {"auroc": figure(0.8, 0.7, 0.9)}, "grade=1": {"auroc": figure(0.8, 0.7, 0.9)}, "grade=2": low}
    task = {"name": "grade", "labels": ["grade=1", "grade=2"]}
    e |= {"name": "grade", "task": task, "labels": labels, "operating_points": {}}
    assert alarms(e) == ["No better than chance on these images: grade at level 2."]


def test_one_figure_has_one_interval_in_whole_numbers_wherever_it_stands():
    nothing = figure(None, None, None, n=0)
    figures = {
        "sensitivity": nothing,
        "specificity": figure(0.125, 0.0667, 0.2213, n=72),
        "ppv": nothing,
        "npv": nothing,
    }
    assert natural(figures) == ["Of 100 images without it, about 12 are cleared (6 to 23)."]
    assert "cleared 12 % (6 % to 23 %) of the 72 without" in _calls(figures, "mass").replace("\xa0", " ")


def test_no_thousand_of_a_thousand_where_one_may_be_missed():
    npv, ppv = {"value": 0.9998, "low": 0.9867, "high": 0.99999}, {"value": 0.31, "low": 0.2, "high": 0.44}
    said = elsewhere({"prevalence": 0.05, "ppv": ppv, "npv": npv})
    assert "of 100 that it calls, about 31 (20 to 44) truly have it" in said[0]
    assert "of 1,000 that it clears, more than 999 (986 to 1,000) are free of it" in said[0]
    certain = elsewhere({"prevalence": 0.05, "ppv": ppv, "npv": {**npv, "value": 1.0, "high": 1.0}})
    assert "about 1,000 (986 to 1,000) are free" in certain[0]  # the twin: none was missed


@pytest.mark.parametrize(
    ("lead", "said"),
    [
        (figure(0.05, 0.025, 0.089), "clearly above"),  # their own intervals overlap; they go together, image by image
        (figure(0.05, -0.01, 0.11), "not clearly above"),
        (figure(0.05, None, None), "not clearly above"),
    ],
)
def test_the_headline_is_held_against_the_floor_image_by_image(lead, said):
    how = {"sensitivity": figure(0.9, 0.85, 0.95), "specificity": figure(0.9, 0.85, 0.95)}
    floor = {"nearest_thumbnail": {"mass": {"auroc": figure(0.85, 0.80, 0.90), "lead": lead}}}
    line = headline(evaluation(**how, floors=floor))
    assert f"That is {said} the best" in line and ("the difference is 0.050 (0.025–0.089)" in line) == (
        said == "clearly above"
    )
    without = {"nearest_thumbnail": {"mass": {"auroc": figure(0.85, 0.80, 0.90)}}}
    assert "That is not clearly above" in headline(evaluation(**how, floors=without))
