"""`--network auto`: the plan of the network that read patients held out best, and why; nothing is decided by its name."""

from __future__ import annotations

import pytest

from overread.errors import RunError
from overread.learn import starts
from overread.steps import begin, rivals
from overread.steps import plan as planning

STARTED = pytest.mark.skipif(not starts.available(), reason="the extra [starts] is not installed")


def planned(archive):
    return planning.plan(archive, label="blob", network="auto", side_matters=True, progress=False).parts["network"]


@STARTED
@pytest.mark.parametrize("best", rivals.NETWORKS)
def test_the_best_is_planned_with_the_figures_of_all(archive, monkeypatch, best):
    figures = {name: (0.9, 0.91, 0.9) if name == best else (0.8, 0.82, 0.8) for name in rivals.NETWORKS}
    asked = []

    def compare(store, divided, **how):
        asked.append(how["side_matters"])
        return rivals.decide(figures, n=80, test_over_train=0.25)

    monkeypatch.setattr(rivals, "compare", compare)
    found = planned(archive)
    assert found["name"] == best and asked == [True]
    assert f"{len(rivals.NETWORKS)} networks were tried on 80 training and tuning images" in found["reason"]
    assert all(f"{name} 0." in found["reason"] for name in rivals.NETWORKS)


@STARTED
def test_too_few_images_to_try_on_get_the_line_that_has_least_to_learn(archive, monkeypatch):
    monkeypatch.setattr(rivals, "FEWEST", 10_000)
    found = planned(archive)
    assert found["name"] == "features" and "too few to try" in found["reason"]


def test_without_a_start_nothing_is_tried(archive, monkeypatch):
    monkeypatch.setattr(starts, "available", lambda: ())
    found = planned(archive)
    assert found["name"] == "residual" and "no start is installed" in found["reason"]


def test_auto_is_a_word_and_its_neighbours_are_none():
    assert begin.check_options(begin.Asked(network="auto"), 0.95) is None
    with pytest.raises(RunError, match="or auto"):
        begin.check_options(begin.Asked(network="automatic"), 0.95)


@pytest.mark.parametrize(
    ("figures", "chosen", "word"),
    [
        ({"residual": 0.900, "features": 0.899, "fine-tuned": 0.9005}, "features", "the quicker one"),
        ({"residual": 0.900, "features": 0.850, "fine-tuned": 0.9005}, "residual", "the quicker one"),
        ({"residual": 0.900, "features": 0.850, "fine-tuned": 0.950}, "fine-tuned", "goes on learning"),
    ],
)
def test_a_tie_goes_to_the_quicker(figures, chosen, word):
    each = {name: (f - 0.001, f, f + 0.001, f, f) for name, f in figures.items()}
    found = rivals.decide(each, n=200, test_over_train=0.25)
    assert found.chosen == chosen and word in found.reason and found.to_json()["tried"] == 3


def test_without_a_part_that_can_be_counted_the_quickest_is_taken():
    found = rivals.decide(dict.fromkeys(rivals.NETWORKS, (float("nan"),) * 5), n=50, test_over_train=0.25)
    assert found.chosen == "features" and "0 parts" in found.reason
