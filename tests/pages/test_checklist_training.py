"""What a report says of the training is what the plan did, and nothing that it did not."""

from __future__ import annotations

import pytest

from overread.domain import Task
from overread.domain.canonical import plain
from overread.learn import plan as planning
from overread.learn.plan_budget import stopped_at
from overread.pages import checklist_training as about
from overread.pages import checklist_words as words
from overread.pages.checklist import ITEMS, row_of

SEEN = planning.Fingerprint(900, (1, 60, 60), 1, "", "stored", 0, eight_bit=True)


def drawn(network: str, kind: str = "binary") -> planning.Plan:
    labels = ("x",) if kind == "binary" else ("c=0", "c=1", "c=2")
    return planning.draw_up(Task(labels, kind, "x"), SEEN, network=network, seed=4)


def evaluated(plan, kind: str = "binary", **of_training) -> dict:
    """What the words are made from: a card with the plan that ``plan.json`` keeps."""
    kept = plain(planning.record(plan))
    network = {"name": kept["network"], "input_shape": kept["input_shape"], "parameters": 1000, "start": "random"}
    card = {"training": {"plan": kept, "seconds": 61.0, **of_training}, "network": network}
    return {
        "card": card,
        "task": {"kind": kind, "name": "x", "labels": ["x"]},
        "measured_before": "the 1st model",
        "network": kept["network"],
        "name": "x",
    }


def test_a_plan_without_augmentation_is_said_to_have_none_and_one_with_it_names_it():
    bare = about.training(evaluated(drawn("simple-cnn")))
    assert "augmentation: none" in bare and "default" not in bare
    rich = about.training(evaluated(drawn("residual")))
    assert "augmentation: rotation 12, " in rich and "none" not in rich


@pytest.mark.parametrize(
    ("kind", "said"),
    [("binary", "loss: cross-entropy, labels smoothed by 0.05, the rarer answer counts more;"),
     ("ordinal", "the truth spread over its neighbours, labels smoothed by 0.05;")],
)  # fmt: skip
def test_loss_and_schedule_are_told(kind, said):
    told = about.training(evaluated(drawn("residual", kind), kind))
    assert said in told
    assert "learning rate: rises to 0.002 over the first 5 % of the steps and falls to 0 along a cosine" in told
    article = about.training(evaluated(drawn("simple-cnn", kind), kind))
    assert "learning rate: constant" in article and "smoothed" not in article and "61 s" in article


def test_the_weights_are_the_average_where_one_is_kept():
    assert "moving average over the steps (decay 0.995)" in words.selection(evaluated(drawn("residual")))
    assert "the weights are those after the last epoch" in words.selection(evaluated(drawn("simple-cnn")))


def test_energy_is_told_where_it_was_metered_and_why_not_where_it_was_not():
    metered = {"training": {"joules": 5321.0, "joules_from": "energy counters of the processors"}}
    assert about.training(evaluated(drawn("residual"), cost=metered)).endswith(
        "5,321 J of energy (energy counters of the processors)"
    )
    blind = {"training": {"joules": None, "joules_from": "this system shows no energy counter"}}
    told = about.training(evaluated(drawn("residual"), cost=blind))
    assert told.endswith("energy was not metered: this system shows no energy counter")


def test_fewer_networks_than_were_asked_for_are_told_and_the_advice_is_not_what_was_done():
    asked = planning.changed(drawn("residual"), "ensemble", "3 networks were asked for", networks=3)
    short = evaluated(stopped_at(asked, 2))
    assert (
        "2 networks, which differ by their seed only, answer together: 2 of 3 networks were trained"
        in words.network(short)
    )
    told = row_of(ITEMS[24], words.seeds(short), {})
    assert told.state == "not measured" and "2 of 3 networks were trained when the time was up" in told.told
    assert "--seeds 3" not in told.told and "--budget" in told.told
    whole = evaluated(asked)
    assert words.network(whole).endswith("3 networks, which differ by their seed only, answer together")
    assert about.shortened(whole) == "" and "seeds 4 to 6, a network each" in about.training(whole)
    alone = evaluated(drawn("simple-cnn"))
    assert about.together(alone) == "" and "--seeds 3" in row_of(ITEMS[24], words.seeds(alone), {}).told
    one = evaluated(stopped_at(asked, 1))
    assert about.together(one) == "1 of 3 networks were trained when the time was up"


def test_one_epoch_is_one():
    made = evaluated(drawn("residual"))
    made["card"]["training"]["plan"] = {**made["card"]["training"]["plan"], "epochs": 1}
    assert "1 epoch of batches" in about.training(made)
    assert " epochs of batches" in about.training(evaluated(drawn("residual")))
