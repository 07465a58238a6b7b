"""A split is stratified, drawn from content and seed alone, and says what is wrong with it."""

from __future__ import annotations

import json
import random

import pytest

from overread.domain import COHORTS, Study
from overread.errors import CohortError, IntegrityError, LabelError
from overread.stats.splits import Split, divide
from overread.stats.units import apportion


def study(i, label, *, patient=True, split=None, image=None):
    return Study(
        f"S{i:05d}", (image or f"{i * 7919 % 99991:064x}",), patient=f"P{i:05d}" if patient else None, labels=label,
        splits={} if split is None else {"published": split},
    )  # fmt: skip


def share(split, studies, name, value):
    by_name = {s.pseudonym: s for s in studies}
    return {c: sum(by_name[e[1]].labels[name] == value for e in rows) for c, rows in split.cohorts.items()}


def test_shares_are_the_fractions_for_each_answer():
    studies = [study(i, {"mass": i % 5 == 0}) for i in range(500)]
    split = divide(studies, labels=["mass"], seed=3)
    assert share(split, studies, "mass", True) == {"training": 60, "tuning": 10, "calibration": 10, "testing": 20}
    assert share(split, studies, "mass", False) == {"training": 240, "tuning": 40, "calibration": 40, "testing": 80}


def test_a_rare_answer_lands_in_every_cohort():
    studies = [study(i, {"rare": i < 8, "common": i % 2 == 0}) for i in range(300)]
    split = divide(studies, labels=["rare", "common"], seed=0)
    assert min(share(split, studies, "rare", True).values()) >= 1
    levels = [study(i, {"class": "a" if i < 9 else "bc"[i % 2]}) for i in range(300)]
    assert min(share(divide(levels, labels=["class"], seed=0), levels, "class", "a").values()) >= 1


def test_the_order_of_the_studies_does_not_matter_and_the_seed_does():
    studies = [study(i, {"mass": i % 3 == 0}) for i in range(200)]
    mixed = studies.copy()
    random.Random(1).shuffle(mixed)
    assert divide(studies, labels=["mass"], seed=0) == divide(mixed, labels=["mass"], seed=0)
    assert divide(studies, labels=["mass"], seed=0).hash != divide(studies, labels=["mass"], seed=1).hash


def test_other_pseudonyms_give_the_same_split():
    studies = [study(i, {"mass": i % 3 == 0}) for i in range(200)]
    other = [Study(f"Sx{i}", s.images, patient=f"Px{i}", labels=s.labels) for i, s in enumerate(studies)]
    assert divide(studies, labels=["mass"], seed=0).hash == divide(other, labels=["mass"], seed=0).hash


def test_unknown_patients_are_warned_about_and_copies_kept_together():
    studies = [study(i, {"mass": i % 2 == 0}, patient=False) for i in range(60)]
    studies.append(study(60, {"mass": True}, patient=False, image=studies[0].images[0]))
    split = divide(studies, labels=["mass"], seed=0)
    assert split.warnings[0].startswith("patient identity unknown: 61 of 61 studies")
    assert not split.patients_known and split.unit == "study" and split.overlap["images"] == 0
    assert split.counts()["training"]["patients"] is None


def test_unknown_labels_are_left_out_and_counted():
    studies = [study(i, {"mass": None if i >= 80 else i % 2 == 0}) for i in range(100)]
    split = divide(studies, labels=["mass"], seed=0)
    assert sum(len(e) for e in split.cohorts.values()) == 80
    assert any(w.startswith("20 of 100 studies left out") for w in split.warnings)


def test_a_published_split_is_kept_and_what_it_lacks_is_carved_from_training():
    studies = [study(i, {"mass": i % 2 == 0}, split="Train" if i < 200 else "TEST") for i in range(300)]
    split = divide(studies, labels=["mass"], seed=0, published="published")
    assert {e[1] for e in split.cohorts["testing"]} == {s.pseudonym for s in studies[200:]}
    assert [len(split.cohorts[c]) for c in COHORTS] == [160, 20, 20, 100]
    assert split.source == "published column 'published', tuning and calibration carved from training"
    values = [s.splits["published"] for s in studies]
    assert divide(studies, labels=["mass"], seed=0, published=values).cohorts == split.cohorts
    only = [study(i, {"mass": i % 2 == 0}, split="train" if i < 200 else "val") for i in range(220)]
    carved = divide(only, labels=["mass"], seed=0, published="published")
    assert [len(carved.cohorts[c]) for c in COHORTS] == [140, 20, 20, 40]


def test_a_patient_on_both_sides_of_a_published_split_is_counted_not_moved():
    studies = [
        Study(f"S{i}", (f"{i:064x}",), patient=f"P{i % 150}", labels={"mass": i % 2 == 0},
              splits={"p": "train" if i < 150 else "test"}) for i in range(160)
    ]  # fmt: skip
    split = divide(studies, labels=["mass"], seed=0, published="p")
    assert split.overlap["patients"] == 10 and len(split.cohorts["testing"]) == 10
    assert any(w.startswith("10 patients stand in more than one cohort") for w in split.warnings)
    # and nobody who is in testing was carved into calibration, where the threshold is chosen
    tested = {e[2] for e in split.cohorts["testing"]}
    assert not tested & {e[2] for c in ("tuning", "calibration") for e in split.cohorts[c]}


@pytest.mark.parametrize(
    ("labels", "error", "words"),
    [
        ({"mass": True}, CohortError, r"one answer only \(40 patients with it\)"),
        ({"mass": None}, LabelError, "no study has the label 'mass'"),
    ],
)
def test_one_answer_and_no_answer_are_refused(labels, error, words):
    with pytest.raises(error, match=words):
        divide([study(i, labels) for i in range(40)], labels=["mass"], seed=0)


def test_three_positives_are_refused_with_numbers():
    with pytest.raises(CohortError, match=r"3 patients with it, 37 patients without it.*at least 8"):
        divide([study(i, {"mass": i < 3}) for i in range(40)], labels=["mass"], seed=0)


def test_strange_words_in_a_split_column_are_named_unless_they_may_be_names():
    studies = [study(i, {"mass": i % 2 == 0}, split="train" if i else "holdout") for i in range(60)]
    with pytest.raises(LabelError, match=r"holds holdout \(1\)"):
        divide(studies, labels=["mass"], seed=0, published="published")
    named = [study(i, {"mass": i % 2 == 0}, split=f"Doe^{i}") for i in range(60)]
    with pytest.raises(LabelError, match="60 different words") as caught:
        divide(named, labels=["mass"], seed=0, published="published")
    assert "Doe" not in str(caught.value)
    with pytest.raises(LabelError, match="no study has the split column 'other'"):
        divide(studies, labels=["mass"], seed=0, published="other")


def test_a_published_cohort_without_cases_is_told():
    studies = [study(i, {"mass": i % 2 == 0 and i < 200}, split="train" if i < 200 else "test") for i in range(240)]
    split = divide(studies, labels=["mass"], seed=0, published="published")
    assert "the testing cohort has no case of 'mass' with it." in split.warnings


def test_a_split_is_read_back_and_a_changed_one_refused():
    split = divide([study(i, {"mass": i % 2 == 0}) for i in range(80)], labels=["mass"], seed=0)
    record = json.loads(json.dumps(split.to_json()))
    assert Split.from_json(record) == split
    record["cohorts"]["testing"].append(record["cohorts"]["training"].pop())
    with pytest.raises(IntegrityError):
        Split.from_json(record)


@pytest.mark.parametrize("count", range(40))
def test_shares_add_up_and_leave_no_cohort_empty_while_there_is_enough(count):
    shares = apportion(count, {"training": 0.6, "tuning": 0.1, "calibration": 0.1, "testing": 0.2})
    assert sum(shares.values()) == count and min(shares.values()) >= (1 if count >= 4 else 0)


def test_every_word_that_makes_a_split_column_names_a_cohort_of_it():
    from overread.formats.labels import SPLIT_WORDS

    assert {"tune", "dev"} <= SPLIT_WORDS
    for word in SPLIT_WORDS - {"train", "training"}:
        studies = [study(i, {"mass": i % 2 == 0}, split="train" if i < 200 else word) for i in range(240)]
        split = divide(studies, labels=["mass"], seed=0, published="published")
        assert sum(len(rows) for rows in split.cohorts.values()) == 240


def test_a_published_testing_part_without_labels_is_carved_from_training_and_told():
    studies = [
        study(i, {"mass": None if i >= 200 else i % 2 == 0}, split="train" if i < 200 else "test") for i in range(300)
    ]
    split = divide(studies, labels=["mass"], seed=0, published="published")
    assert [len(split.cohorts[c]) for c in COHORTS] == [120, 20, 20, 40]
    assert split.warnings[0].startswith("the published testing part has no labels")
    assert split.source.endswith("tuning and calibration and testing carved from training")
    labelled = [study(i, {"mass": i % 2 == 0}, split="train" if i < 200 else "test") for i in range(300)]
    assert not divide(labelled, labels=["mass"], seed=0, published="published").warnings
    hidden = [
        study(i, {"mass": None if i < 200 else i % 2 == 0}, split="train" if i < 200 else "test") for i in range(300)
    ]
    with pytest.raises(CohortError, match="without a training cohort; expected rows named train, with labels"):
        divide(hidden, labels=["mass"], seed=0, published="published")


def test_near_copies_stay_on_one_side_as_a_patient_does():
    studies = [study(i, {"mass": i % 2 == 0}, patient=i % 3 > 0) for i in range(200)]
    pairs = [(studies[i].images[0], studies[i + 100].images[0]) for i in range(0, 100, 3)]
    alike = {image: pair[0] for pair in pairs for image in pair}

    def apart(split):
        side = {e[0]: cohort for cohort, rows in split.cohorts.items() for e in rows}
        return sum(side[a] != side[b] for a, b in pairs)

    assert apart(divide(studies, labels=["mass"], seed=0, alike=alike)) == 0
    assert apart(divide(studies, labels=["mass"], seed=0)) > 10  # the twin: without being told, they are torn apart


def test_published_tuning_cases_that_stand_elsewhere_are_set_aside_and_told():
    def part(i):
        return "train" if i < 150 else "val" if i < 190 else "test"

    studies = [
        Study(f"S{i}", (f"{i:064x}",), patient=f"P{i - 150 if 150 <= i < 158 else i}", labels={"mass": i % 2 == 0},
              splits={"p": part(i)}) for i in range(260)
    ]  # fmt: skip
    alike = {studies[160].images[0]: "g", studies[200].images[0]: "g"}  # a tuning film that is a testing one
    split = divide(studies, labels=["mass"], seed=0, published="p", alike=alike)
    assert len(split.aside["tuning"]) == 9 and len(split.cohorts["tuning"]) == 31
    assert len(split.cohorts["testing"]) == 70  # testing keeps its cases
    assert any(w.startswith("9 of 40 studies of the published tuning part were set aside") for w in split.warnings)
    assert split.overlap == {"patients": 0, "studies": 0, "images": 0}
    assert Split.from_json(json.loads(json.dumps(split.to_json()))) == split


def test_a_published_tuning_part_that_is_all_copies_is_carved_from_training_instead():
    studies = [
        Study(f"S{i}", (f"{i:064x}",), patient=f"P{i % 200}", labels={"mass": i % 2 == 0},
              splits={"p": "train" if i < 200 else "val" if i < 240 else "test"}) for i in range(300)
    ]  # fmt: skip
    only = [s for s in studies if s.splits["p"] != "test"] + [
        Study(f"T{i}", (f"{i + 5000:064x}",), patient=f"Q{i}", labels={"mass": i % 2 == 0}, splits={"p": "test"})
        for i in range(60)
    ]
    split = divide(only, labels=["mass"], seed=0, published="p")
    assert len(split.aside["tuning"]) == 40 and "tuning and calibration carved from training" in split.source
    kept = {e[2] for e in split.cohorts["tuning"]}
    assert kept and not kept & {e[2] for c in ("training", "calibration", "testing") for e in split.cohorts[c]}
    assert any("carved from training instead" in w for w in split.warnings)
