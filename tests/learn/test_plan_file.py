"""A plan as a file: what is written is read back the same, and every mistake in it is named in one line."""

import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overread.domain import Task
from overread.errors import RunError
from overread.learn import plan, plan_file
from overread.learn.plan_rules import choose

ALIKE = {"auroc": 0.51, "low": 0.47, "high": 0.55, "n": 900, "alike": True}
HEAD = {
    "question": {"label": "x", "kind": "binary", "labels": ["x"]},
    "cohort": {"fingerprint": "ab" * 32, "seed": 0, "images": 700},
    "machine": {"cores": 2},
}
KINDS = {
    "binary": Task(("x",), "binary", "x"),
    "ordinal": Task(("g=0", "g=1"), "ordinal", "g"),
    "multiclass": Task(("g=0", "g=1"), "multiclass", "g"),
    "multilabel": Task(("a", "b"), "multilabel", "a,b"),
}

values = st.recursive(
    st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.text(max_size=8), values, max_size=5))
def test_whatever_is_written_is_read_back_the_same(part):
    assert tomllib.loads(plan_file.written({"question": part}, {})) == {"format": 1, "question": part}


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text('ab"\\ \n\t.é', min_size=1, max_size=9), min_size=30, max_size=60))
def test_long_text_over_several_lines_is_the_same_text(words):
    text = " ".join(words)
    assert tomllib.loads(f"x = {plan_file.toml(text)}") == {"x": text}


def test_a_reason_is_wrapped_so_that_it_can_be_read():
    text = plan_file.toml("many words " * 40)
    assert max(map(len, text.splitlines())) <= 120


@st.composite
def cohorts(draw):
    deep = draw(st.booleans())
    n = draw(st.integers(8, 20_000))
    side = st.integers(8, 600)
    shape = (draw(st.integers(2, 200)) if deep else 1, draw(side), draw(side))
    axes = draw(st.lists(st.sampled_from(("left-right", "up-down", "quarter turns")), unique=True))
    unit = draw(st.sampled_from(("HU", "stored", "SUVbw")))
    low = draw(st.floats(-2000, 1000))
    return plan.Fingerprint(
        n, shape, draw(st.sampled_from((1, 3))), draw(st.sampled_from(("", "CT", "MR", "DX", "US"))), unit,
        n if deep else 0, eight_bit=unit == "stored" and draw(st.booleans()), sides=dict.fromkeys(axes, ALIKE),
        intensities=(low, low + draw(st.floats(1, 4000))) if unit != "stored" else None,
    )  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(cohorts(), st.sampled_from(sorted(KINDS)), st.sampled_from(sorted(plan.ABOUT)), st.integers(0, 2**31 - 1))
def test_every_plan_that_is_drawn_up_passes_its_own_checks_and_is_the_same_when_read(seen, kind, network, seed):
    task = KINDS[kind]
    parts = choose(task, seen, network=network, seed=seed)
    text = plan_file.written(HEAD, parts)
    head, again = plan_file.checked(tomllib.loads(text))
    assert head == HEAD
    assert again == parts
    drawn = plan.planned(task, parts)
    assert plan.executed(plan.planned(task, again)) == plan.executed(drawn)


def written(tmp_path, change=lambda text: text):
    seen = plan.Fingerprint(700, (1, 224, 224), 1, "", "stored", 0, eight_bit=True)
    text = plan_file.written(HEAD, choose(KINDS["binary"], seen, network="residual", seed=0))
    path = tmp_path / "plan.toml"
    path.write_text(change(text))
    return path


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("batch = 32", "bacth = 32", "in .training. the word 'bacth'.*did you mean 'batch'"),
        ("[optimiser]", "[optimizer]", "the part 'optimizer'.*did you mean 'optimiser'"),
        ("batch = 32", "batch = 0", "batch = 0; expected a whole number from 1"),
        ("batch = 32", "batch = true", "batch = true"),
        ("learning_rate = 0.002", "learning_rate = nan", "learning_rate = nan"),
        ("batch = 32", 'batch = "many"', "many"),
        ("size = [96, 96]", "size = [96]", "2 or 3 numbers"),
        ("channels = 1\n", "channels = 3\n", "intensity makes 1 channels and input takes 3"),
        ("flips = []", 'flips = ["diagonal"]', "left-right, up-down"),
        ("flips = []", 'flips = ["slices"]', "have no slices"),
        ("mirrored = []", 'mirrored = ["left-right"]', "only along axes that .sides. flips allows"),
        (
            'name = "residual"',
            'name = "resnet"',
            "one of residual, features, fine-tuned, pair, slices, slice-features, simple-cnn",
        ),
        ('name = "residual"', 'name = "simple-cnn"', "the article's network"),
        ('"normalise", by', '"normalise", upper = 120, by', "a list of steps"),
        ("format = 1", "format = 2", "another format"),
        ("batch = 32", "batch = ", "not TOML"),
        ("batch = 32", "", "has no batch"),
        ('"channels", count = 1', '"channels"', "channels .count: a whole number"),
        (
            'by = "full_range"',
            'by = "image", lower = 99, upper = 1',
            "percentiles from 99 to 1; expected lower below upper",
        ),
        (', {step = "normalise", by = "full_range"}', "", "no step to bring the numbers of an image to 0 to 1"),
        ('{step = "normalise", by = "full_range"}', '{step = "window"}', "window .center: a number"),
        ('{step = "normalise", by = "full_range"}', '{step = "window", center = 100}', "window .center: a number"),
        ('{step = "normalise", by = "full_range"}', '{step = "windows"}', "windows .of: 2 to 8 pairs"),
        ('{step = "normalise"', '{step = "body"}, {step = "normalise"', "body, normalise to bring the numbers"),
        (
            '{step = "channels", count = 1}, ',
            '{step = "channels", count = 1}, {step = "channels", count = 1}, ',
            "2 steps channels",
        ),
        ("noise = ", "# noise = ", "augmentation. without noise; expected every word of it; 0 for none"),
        ("widths = ", "# widths = ", "a residual network without widths"),
        ("dropout = ", "flat = 1\ndropout = ", "within slices .flat. for pictures"),
        ('[start]\nname = "random"', '[start]\nname = "random"\nheld = 3', "held of weights drawn by chance"),
    ],
)
def test_a_mistake_is_named_in_one_line(tmp_path, old, new, said):
    path = written(tmp_path, lambda text: text.replace(old, new, 1))
    with pytest.raises(RunError, match=said) as refused:
        plan_file.read(path)
    assert "\n" not in str(refused.value)


def test_an_empty_augmentation_does_not_quietly_undo_the_mirroring(tmp_path):
    def without(text, flips):
        before, _, after = text.partition("[augmentation]")
        text = before + "[augmentation]\n\n[" + after.partition("\n[")[2]
        return text.replace("flips = []", f"flips = [{flips}]")

    with pytest.raises(RunError, match=r"an empty \[augmentation\] with images mirrored or turned \(left-right\)"):
        plan_file.read(written(tmp_path, lambda text: without(text, '"left-right"')))
    assert not plan_file.read(written(tmp_path, lambda text: without(text, "")))[1]["augmentation"]


def test_a_whole_part_that_is_missing_is_named(tmp_path):
    def without(text):
        before, _, after = text.partition("[loss]")
        return before + "[" + after.partition("\n[")[2]

    with pytest.raises(RunError, match=r"has no \[loss\]"):
        plan_file.read(written(tmp_path, without))


def test_a_plan_that_nobody_touched_is_taken(tmp_path):
    """Twin of all refusals above."""
    head, parts = plan_file.read(written(tmp_path))
    assert head["question"]["label"] == "x"
    assert parts["training"]["batch"] == 32


def test_no_file_is_a_line_too(tmp_path):
    with pytest.raises(RunError, match=r"no plan at gone\.toml"):
        plan_file.read(tmp_path / "gone.toml")
