"""Which millimetres a plan states, and why; and where it cannot."""

from dataclasses import replace

import pytest

from overread.domain import Task
from overread.errors import CohortError, RunError
from overread.learn import plan, plan_file, search
from overread.learn.plan_cohort import AXES
from overread.learn.plan_spacing import AUTO, parse_spacing

TASK = Task(("mass",), "binary", "mass")
HEAD = {"question": {"label": "mass"}, "cohort": {"fingerprint": "0"}, "machine": {"cores": 2}}


def cohort(shapes, spacings, **changes):
    """The fingerprint of volumes of these sizes and spacings (mm)."""
    rows = [
        {"shape": shape, "modality": "CT", "unit": "HU", "full_range": None, "spacing_mm": mm}
        for shape, mm in zip(shapes, spacings, strict=True)
    ]
    return replace(plan.fingerprint(rows), intensities=(-200.0, 300.0), **changes)


ALIKE = cohort([(30, 60, 60)] * 20, [(2.0, 1.0, 1.0)] * 20)
THIN = cohort([(200, 512, 512)] * 19 + [(300, 512, 512)], [(1.0, 0.7, 0.7)] * 20)


def test_without_being_asked_nothing_is_stated():
    drawn = plan.draw_up(TASK, ALIKE, network="residual", seed=0)
    assert set(drawn.parts["input"]) == {"size", "channels", "rule", "reason"}
    assert dict(next(s for s in drawn.recipe.steps if s.name == "resize").args) == {"size": (32, 48, 48)}


def test_the_cohorts_own_spacing_is_taken_where_the_volumes_fit():
    drawn = plan.draw_up(
        TASK, cohort([(20, 40, 40)] * 9, [(2.5, 1.5, 1.5)] * 9), network="residual", seed=0, spacing=AUTO
    )
    assert drawn.parts["input"]["spacing_mm"] == [2.5, 1.5, 1.5]
    assert drawn.input_shape == (20, 40, 40, 1)
    step = next(s for s in drawn.recipe.steps if s.name == "resize")
    assert step.args == {"size": (20, 40, 40), "spacing_mm": (2.5, 1.5, 1.5), "fill": 0.0}
    assert "all 9 training volumes lie whole in it" in drawn.parts["input"]["reason"]


def test_it_is_coarser_where_they_do_not_fit_and_says_who_is_cut():
    drawn = plan.draw_up(TASK, THIN, network="residual", seed=0, spacing=AUTO)
    slices, rows, columns = drawn.parts["input"]["spacing_mm"]
    assert rows == columns == pytest.approx(512 * 0.7 / 48, rel=0.01)
    assert slices == pytest.approx(205 / 48, rel=0.01)  # the 95th percentile of 19 of 200 mm and one of 300
    assert max(drawn.input_shape) == 48
    assert "1 of 20 training volumes reach beyond it and are cut round their middle (at worst 68 % of a side is left)" in drawn.parts["input"]["reason"]  # fmt: skip


def test_a_person_names_the_spacing():
    drawn = plan.draw_up(TASK, ALIKE, network="residual", seed=0, spacing=parse_spacing("2"))
    assert drawn.parts["input"]["spacing_mm"] == [2.0, 2.0, 2.0]
    assert drawn.input_shape == (32, 32, 32, 1)
    assert drawn.parts["input"]["rule"] == "spacing: told"
    fine = plan.draw_up(TASK, ALIKE, network="residual", seed=0, spacing=parse_spacing("0.5"))
    assert fine.input_shape == (96, 96, 96, 1)  # at most so many, and the reason says what that cuts off
    assert "20 of 20 training volumes reach beyond it" in fine.parts["input"]["reason"]


def test_thick_voxels_are_not_mixed_and_others_are():
    thick = plan.draw_up(TASK, ALIKE, network="residual", seed=0, spacing=(8.0, 1.0, 1.0))
    assert thick.build["flat"] == 3
    even = plan.draw_up(TASK, cohort([(10, 48, 48)] * 9, [(8.0, 1.0, 1.0)] * 9), network="residual", seed=0)
    assert even.build["flat"] == 3
    stated = plan.draw_up(TASK, cohort([(10, 48, 48)] * 9, [(8.0, 1.0, 1.0)] * 9), network="residual", seed=0, spacing=(2.0,) * 3)  # fmt: skip
    assert "flat" not in stated.build
    assert "slices lie" not in stated.parts["network"]["reason"]


def test_turns_stay_only_where_the_stated_grid_is_square():
    alike = {axis: {"auroc": 0.5, "low": 0.4, "high": 0.55, "alike": True, "n": 9} for axis in AXES["volumes"]}
    cube = cohort([(40, 40, 40)] * 9, [(1.0, 1.0, 1.0)] * 9, sides=alike)
    assert len(plan.draw_up(TASK, cube, network="residual", seed=0).parts["sides"]["turns"]) == 3
    assert plan.draw_up(TASK, cube, network="residual", seed=0, spacing=(2.0, 1.0, 1.0)).parts["sides"]["turns"] == ["quarter turns"]  # fmt: skip


def test_what_is_missing_is_as_dark_as_the_numbers_say():
    mr = replace(cohort([(20, 40, 40)] * 9, [(2.0, 2.0, 2.0)] * 9), modality="MR", unit="stored", intensities=None)
    drawn = plan.draw_up(TASK, mr, network="residual", seed=0, spacing=AUTO)
    assert drawn.parts["input"]["fill"] == "darkest"  # 0 would be four standard deviations below the body


@pytest.mark.parametrize(
    ("seen", "network", "told"),
    [
        (cohort([(30, 60, 60)] * 3, [(2.0, 1.0, 1.0), None, (2.0, 1.0, 1.0)]), "residual", "1 of 3 training volumes do not say"),
        (cohort([(1, 60, 60)] * 3, [(1.0, 1.0, 1.0)] * 3), "residual", "these are pictures"),
        (ALIKE, "simple-cnn", "simple-cnn reads single slices"),
    ],
)  # fmt: skip
def test_where_it_cannot_be_it_is_refused_or_left_with_the_reason(seen, network, told):
    with pytest.raises((CohortError, RunError), match=told):
        plan.draw_up(TASK, seen, network=network, seed=0, spacing=(2.0, 2.0, 2.0))
    drawn = plan.draw_up(TASK, seen, network=network, seed=0, spacing=AUTO)
    assert "spacing_mm" not in drawn.parts["input"]
    assert told in drawn.parts["input"]["reason"]
    plain = plan.draw_up(TASK, seen, network=network, seed=0)
    assert plan.executed(drawn) == plan.executed(plain)


@pytest.mark.parametrize("asked", ["thick", "0", "1,2", "-1", "nan", "1000", ""])
def test_a_spacing_that_is_none_is_refused(asked):
    with pytest.raises(RunError, match=r"write --spacing 2\.5"):
        parse_spacing(asked)


def test_a_person_may_write_it_into_the_file(tmp_path):
    drawn = plan.draw_up(TASK, ALIKE, network="residual", seed=0)
    text = plan_file.written(HEAD, drawn.parts)
    for own, message in (
        ('spacing_mm = [2.5, 2.5, 2.5]\nfill = 0.0\n', None),
        ('spacing_mm = [2.5, 2.5, 2.5]\nfill = "darkest"\n', None),
        ("spacing_mm = [2.5, 2.5, 2.5]\n", "spacing_mm alone"),
        ("fill = 0.0\n", "fill alone"),
        ("spacing_mm = [2.5, 2.5]\nfill = 0.0\n", "three numbers in a list"),
        ("spacing_mm = [0, 1, 1]\nfill = 0.0\n", "three numbers in a list"),
        ('spacing_mm = [1, 1, 1]\nfill = "grey"\n', "a number from 0"),
    ):  # fmt: skip
        (tmp_path / "plan.toml").write_text(text.replace("[input]\n", f"[input]\n{own}"))
        if message is None:
            _, parts = plan_file.read(tmp_path / "plan.toml")
            assert plan.planned(TASK, parts).recipe.steps[-2].args["spacing_mm"] == (2.5, 2.5, 2.5)
        else:
            with pytest.raises(RunError, match=message):
                plan_file.read(tmp_path / "plan.toml")


def test_a_search_for_a_larger_input_looks_finer_at_the_same_part_of_the_patient():
    drawn = plan.draw_up(TASK, ALIKE, network="residual", seed=0, spacing=(2.0, 2.0, 2.0))
    larger = search.applied(drawn, {"side": 1.5})
    before, after = drawn.parts["input"], larger.parts["input"]
    held = [[n * mm for n, mm in zip(i["size"], i["spacing_mm"], strict=True)] for i in (before, after)]
    assert held[0] == pytest.approx(held[1], rel=0.05)
    assert after["size"] > before["size"]
