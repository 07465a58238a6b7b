"""The rules that draw up a plan: what a cohort's numbers lead to."""

import dataclasses

import pytest

from overread.domain import Task
from overread.errors import CohortError, RunError
from overread.learn import plan
from overread.learn.plan_rules import choose

BINARY = Task(("x",), "binary", "x")
ALIKE = {"auroc": 0.51, "low": 0.47, "high": 0.55, "n": 900, "alike": True}
SIDED = {"auroc": 0.99, "low": 0.98, "high": 0.995, "n": 900, "alike": False}


def films(n=4156, **changes):
    return plan.Fingerprint(n, (1, 224, 224), 1, "", "stored", 0, **{"eight_bit": True, **changes})


def volumes(n=900, **changes):
    return plan.Fingerprint(n, (28, 28, 28), 1, "", "stored", n, **{"eight_bit": True, **changes})


def drawn(seen, task=BINARY, network="residual"):
    return plan.draw_up(task, seen, network=network, seed=0)


def test_the_default_for_films_is_what_was_measured():
    """docs/decisions/0005, number by number: nothing measured may move by accident."""
    p = drawn(films())
    assert [(s.name, dict(s.args)) for s in p.recipe.steps] == [
        ("channels", {"count": 1}),
        ("normalise", {"by": "full_range"}),
        ("resize", {"size": (96, 96)}),
        ("standardise", {"by": "given", "mean": 0.5, "std": 0.25}),
    ]
    assert p.input_shape == (96, 96, 1)
    assert p.build == {"widths": (24, 48, 96), "stem_stride": 2, "stem_kernel": 4, "blocks": 1, "dropout": 0.2}
    assert (p.batch, p.epochs, p.ema, p.smoothing, p.weigh_classes) == (64, 44, 0.995, 0.05, True)
    assert p.optimiser == {"name": "adamw", "learning_rate": 2e-3, "weight_decay": 5e-3, "warmup": 0.05}
    assert p.augmentation == {
        "rotation": 12.0, "scale": 0.12, "aspect": 0.15, "shift": 0.09, "margin": 0.1, "blur": 0.5, "gamma": 0.6,
        "contrast": 0.4, "brightness": 0.2, "noise": 0.08, "flips": (),
    }  # fmt: skip
    assert (p.ensemble, p.views, p.seed) == (1, (), 0)


def steps(seen, **how):
    return [s["step"] for s in drawn(seen, **how).parts["intensity"]["steps"]]


def test_the_numbers_decide_how_they_are_read():
    def seen(unit="stored", modality="", of=None):
        return plan.Fingerprint(700, (40, 256, 256), 1, modality, unit, 700, intensities=of)

    assert steps(seen("HU", "CT", (-150.0, 250.0))) == ["channels", "window"]
    wide = drawn(seen("HU", "CT", (-1000.0, 900.0)))
    assert wide.parts["intensity"]["steps"][1] == {
        "step": "windows", "of": [[-50.0, 1900.0], [-600.0, 1500.0], [40.0, 400.0], [400.0, 1800.0]],
    }  # fmt: skip
    assert wide.input_shape[-1] == wide.parts["input"]["channels"] == 4
    assert len(drawn(seen("HU", "CT", (-1000.0, 300.0))).parts["intensity"]["steps"][1]["of"]) == 3  # no bone
    assert steps(seen("HU", "CT", (-1000.0, 900.0)), network="simple-cnn") == ["three_slices", "channels", "window"]
    pet = drawn(seen("SUVbw", "PT", (0.01, 9.5))).parts["intensity"]["steps"][1]
    assert (pet["center"] - pet["width"] / 2, pet["center"] + pet["width"] / 2) == (0, 9.5)
    assert steps(seen(modality="MR")) == ["channels", "body"]
    assert steps(seen(modality="DX")) == ["channels", "normalise"]


def test_numbers_of_several_units_are_not_said_to_have_none():
    """CT and MR in one cohort: one of them is in Hounsfield units."""

    def why(unit, modality):
        return drawn(plan.Fingerprint(700, (40, 64, 64), 1, modality, unit, 700)).parts["intensity"]["reason"]

    assert "several units" in why("", "CT+MR") and "no physical unit" not in why("", "CT+MR")
    assert "no physical unit" in why("stored", "XA")


def test_slices_far_apart_are_not_mixed_until_pixels_are_as_coarse():
    def flat(spacing, shape=(24, 512, 512)):
        return drawn(plan.Fingerprint(700, shape, 1, "CT", "HU", 700, spacing_mm=spacing)).build.get("flat", 0)

    assert flat((5.0, 5.0, 5.0), (40, 40, 40)) == 0
    assert flat((5.0, 0.7, 0.7)) == 0  # 5 mm against 7.5 mm on the input grid
    assert flat((9.0, 0.2, 0.2)) == 2  # 9 mm against 2.1
    assert flat((20.0, 0.2, 0.2)) == 3
    assert flat(None) == 0
    reason = drawn(plan.Fingerprint(700, (24, 512, 512), 1, "CT", "HU", 700, spacing_mm=(9.0, 0.2, 0.2))).parts
    assert "9.0 × 2.1 × 2.1 mm" in reason["input"]["reason"] and "within slices" in reason["network"]["reason"]


def test_the_articles_network_is_the_articles():
    for seen in (films(), films(100), volumes(), films(sides={"left-right": ALIKE})):
        p = drawn(seen, network="simple-cnn")
        assert p.input_shape == (64, 64, 3)
        assert (p.batch, p.epochs, p.optimiser, p.build) == (32, 10, {"name": "adam"}, {})
        assert (p.ema, p.smoothing, p.weigh_classes, dict(p.augmentation), p.ensemble) == (0, 0, False, {}, 1)


def test_every_choice_names_its_rule_and_its_reason():
    for seen in (films(), films(100), volumes()):
        for network in plan.ABOUT:
            for name, part in choose(BINARY, seen, network=network, seed=0).items():
                assert part["rule"] and part["reason"], name


def test_images_are_mirrored_only_along_axes_where_they_are_their_own_mirror_image():
    mixed = {"left-right": ALIKE, "up-down": SIDED, "quarter turns": SIDED}
    p = drawn(films(sides=mixed))
    assert p.augmentation["flips"] == ("left-right",)
    assert "turns" not in p.augmentation
    assert not p.task.side_matters
    reason = p.parts["sides"]["reason"]
    assert "left-right: AUROC 0.510 (0.470–0.550), allowed" in reason
    assert "up-down: AUROC 0.990 (0.980–0.995), not allowed" in reason
    assert drawn(films(sides=dict.fromkeys(mixed, SIDED))).augmentation["flips"] == ()
    every = drawn(volumes(sides=dict.fromkeys(("left-right", "up-down", "slices", "turns rows-slices"), ALIKE)))
    assert every.augmentation["flips"] == ("left-right", "up-down", "slices")
    assert every.augmentation["turns"] == ("turns rows-slices",)


def test_images_that_can_be_told_from_mirrored_ones_are_mirrored_only_where_it_is_shown_to_help():
    sides = dict.fromkeys(("left-right", "up-down", "slices"), SIDED)
    helps = {"axes": ["left-right", "slices"], "auroc": 0.04, "low": 0.02, "high": 0.06, "n": 900}
    less = {"axes": ["up-down"], "auroc": 0.05, "low": 0.01, "high": 0.09, "n": 900}
    doubt = {"axes": ["up-down"], "auroc": 0.03, "low": -0.02, "high": 0.07, "n": 900}
    p = drawn(volumes(sides=sides, gains=(less, helps)))
    assert p.augmentation["flips"] == ("left-right", "slices")
    assert p.parts["sides"]["rule"] == "mirrored twins help"
    assert "left-right and slices: AUROC +0.040 (+0.020 to +0.060)" in p.parts["sides"]["reason"]
    q = drawn(volumes(sides=sides, gains=(doubt,)))
    assert q.augmentation["flips"] == ()
    assert "no gain that is sure (the best is up-down: AUROC +0.030 (-0.020 to +0.070)" in q.parts["sides"]["reason"]
    sure = {"axes": ["up-down"], "auroc": 0.024, "low": -0.001, "high": 0.049, "n": 900}  # above 0 at one-sided 95 %
    assert drawn(volumes(sides=sides, gains=(sure,))).augmentation["flips"] == ("up-down",)
    assert drawn(volumes(sides=sides, gains=({**sure, "n": 150},))).augmentation["flips"] == ()  # few images: stricter
    tiny = {"axes": ["up-down"], "auroc": 0.003, "low": 0.002, "high": 0.004, "n": 900}
    assert drawn(volumes(sides=sides, gains=(tiny,))).augmentation["flips"] == ()
    assert drawn(volumes(sides=sides, gains=(helps,), side_told=True)).augmentation["flips"] == ()
    assert drawn(volumes(sides=sides, gains=(helps,), side_words="left")).augmentation["flips"] == ()


def test_small_images_are_read_by_three_networks_and_others_by_one():
    def networks(n, shape, volumes=0):
        return drawn(plan.Fingerprint(n, shape, 1, "", "stored", volumes, eight_bit=True)).ensemble

    assert networks(4000, (1, 28, 28)) == networks(700, (28, 28, 28), 700) == 3
    assert networks(4000, (1, 224, 224)) == networks(300, (1, 28, 28)) == networks(700, (40, 28, 28), 700) == 1
    for network in ("simple-cnn",):
        seen = plan.Fingerprint(4000, (1, 28, 28), 1, "", "stored", 0, eight_bit=True)
        assert drawn(seen, network=network).ensemble == 1


def test_volumes_are_read_mirrored_along_the_axes_that_training_was_and_pictures_once():
    alike = dict.fromkeys(("left-right", "slices"), ALIKE)
    assert drawn(volumes(sides=alike)).views == ("left-right", "slices")
    assert drawn(volumes(sides=dict.fromkeys(alike, SIDED))).views == ()
    assert drawn(films(sides={"left-right": ALIKE})).views == ()


def test_what_a_person_says_of_sides_stands_above_the_images_and_a_word_too():
    alike = {"left-right": ALIKE}
    assert drawn(films(sides=alike, side_told=True)).augmentation["flips"] == ()
    assert drawn(films(side_told=False)).augmentation["flips"] == ("left-right",)
    assert drawn(volumes(side_told=False)).augmentation["flips"] == ("left-right", "up-down", "slices")
    worded = drawn(films(sides=alike, side_words="the label 'side'"))
    assert worded.augmentation["flips"] == () and worded.task.side_matters
    assert "the label 'side'" in worded.parts["sides"]["reason"]


def test_other_words_are_the_same_plan_and_other_numbers_are_not():
    p = drawn(films())
    again = plan.changed(p, "training", "because I say so")
    assert plan.executed(again) == plan.executed(p)
    assert plan.executed(plan.with_epochs(p, 3, "short")) != plan.executed(p)
    assert plan.with_epochs(p, 3, "short").epochs == 3


def test_pictures_and_volumes_in_one_cohort_are_refused():
    rows = [{"shape": s, "modality": "", "unit": "stored", "full_range": None} for s in ((1, 9, 9), (5, 9, 9))]
    with pytest.raises(CohortError, match="1 single pictures and 1 volumes"):
        plan.fingerprint(rows)


def test_spacing_is_known_only_where_every_image_knows_its_own():
    row = {"shape": (4, 8, 8), "modality": "CT", "unit": "HU", "full_range": None}
    assert plan.fingerprint([{**row, "spacing_mm": (3.0, 1, 1)}, {**row, "spacing_mm": (5.0, 1, 1)}]).spacing_mm == (
        4,
        1,
        1,
    )
    assert plan.fingerprint([{**row, "spacing_mm": (3.0, 1, 1)}, {**row, "spacing_mm": None}]).spacing_mm is None


def test_an_unknown_network_is_refused():
    with pytest.raises(RunError, match="resnet-9000"):
        drawn(films(), network="resnet-9000")


def test_a_plan_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        drawn(films()).batch = 3


def test_volumes_keep_their_size_and_are_shown_more_often_where_they_may_be_mirrored():
    """docs/decisions/0016: sizes are the finding in a volume, and what is not mirrored is soon known by heart."""
    plain, mirrored = drawn(volumes(1188)), drawn(volumes(1188, side_told=False))
    assert (plain.augmentation["scale"], plain.augmentation["aspect"]) == (0.05, 0.0)
    assert drawn(films()).augmentation["scale"] == 0.12
    assert (plain.batch, plain.epochs, mirrored.epochs) == (32, 12, 27)


def test_pictures_in_colour_are_changed_gently_and_grey_ones_strongly():
    """docs/decisions/0016: read better where the judged pictures look unlike those learned from."""
    colour = drawn(dataclasses.replace(films(), channels=3))
    assert (colour.augmentation["gamma"], colour.augmentation["blur"]) == (0.2, 0.0)
    assert (drawn(films()).augmentation["gamma"], drawn(films()).augmentation["blur"]) == (0.6, 0.5)


def test_forty_pictures_are_shown_in_small_batches_and_so_take_hundreds_of_steps():
    """With batches of 32 a hundred passes over 40 pictures were a hundred steps; volumes gained nothing by it."""
    for n, batch in ((40, 8), (63, 8), (64, 16), (127, 16), (128, 32)):
        p = drawn(films(n=n))
        assert p.batch == batch
        assert p.epochs * max(1, n // batch) >= 400
    assert drawn(volumes(n=40)).batch == 32


def test_very_many_small_pictures_are_learned_by_one_network():
    """The fewest passes over them take longer than the recipe's steps; three networks would take an hour."""
    small = {"shape": (1, 28, 28)}
    many, few = (drawn(dataclasses.replace(films(n=n), **small)) for n in (90_000, 14_000))
    assert (many.ensemble, few.ensemble) == (1, 3)
    assert "90,000 images" in many.parts["ensemble"]["reason"]
    assert "pictures" in few.parts["ensemble"]["reason"] and "volumes" not in few.parts["ensemble"]["reason"]
