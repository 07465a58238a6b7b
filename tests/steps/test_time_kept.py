"""A time that was named is kept, also where the machine turns out slower than the steps that were timed."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("keras")

from overread.domain import Task
from overread.learn import members, plan_budget
from overread.learn import plan as planning
from overread.stats.splits import Split
from overread.steps import fitting, timed
from overread.steps.held_out import Material

N = 320
PLAN = planning.draw_up(
    Task(("x",), "binary", "x"),
    planning.Fingerprint(N, (1, 28, 28), 1, "", "stored", 0, eight_bit=True),
    network="residual",
    seed=0,
)
SPLIT = Split({c: () for c in ("training", "tuning", "calibration", "testing")})
MATERIAL = Material(dict.fromkeys(SPLIT.cohorts, np.zeros((N, 2))), dict.fromkeys(SPLIT.cohorts, np.zeros((N, 1))))


@dataclasses.dataclass
class Trained:
    """What a network that learns by the clock alone leaves behind."""

    built: str
    history: list
    seconds: float
    alone: dict = dataclasses.field(default_factory=dict)


@pytest.fixture
def clock(monkeypatch):
    """A clock that only trainings move, and trainings whose epochs take ``clock.epoch`` seconds."""
    clock = SimpleNamespace(now=1000.0, epoch=1.0)

    def train(own, *, tell, **_):
        history = []
        for epoch in range(own.epochs):
            clock.now += clock.epoch
            history.append({"epoch": epoch + 1, "loss": 0.5, "tuning": 0.9})
            if tell({"epoch": epoch, "epochs": own.epochs, "step": 1, "steps": 1, "loss": 0.5, "tuning": 0.9}) is True:
                break
        return Trained(f"seed {own.seed}", history, len(history) * clock.epoch)

    monkeypatch.setattr(fitting, "time", SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setattr(fitting, "make_material", lambda *_, **__: MATERIAL)
    monkeypatch.setattr(fitting, "trainer_of", lambda plan, **_: (plan.epochs, train))
    monkeypatch.setattr(members, "together", lambda built, views: "+".join(built))
    monkeypatch.setattr(fitting.planned, "within", lambda plan, seconds, *, n, seeds: plan_budget.within(plan, seconds, step=0.01, n=n, networks=seeds))  # fmt: skip
    return clock


def trained(out, clock, *, budget):
    return fitting.fit(None, SPLIT, {}, PLAN, out, budget=budget, started=clock.now, progress=False)


def test_a_network_that_is_slower_than_was_timed_ends_when_the_time_is_up(clock, tmp_path):
    began, planned = clock.now, plan_budget.within(PLAN, 90, step=0.01, n=N)
    clock.epoch = 1.0  # ten times as long as the steps that were timed
    fitted, _, plan = trained(tmp_path, clock, budget=90)
    assert planned.epochs > 90 and len(fitted.history) == 82  # the first epoch that ends after nine tenths of the time
    assert clock.now - began == 82
    assert "ended after 82 of" in plan.parts["training"]["reason"] and plan.epochs == planned.epochs
    assert "ended after 82 of" in (tmp_path / "plan.toml").read_text().replace("\\\n", "")


def test_a_network_that_is_as_quick_as_was_timed_is_whole(clock, tmp_path):
    """The twin: nothing is cut, and nothing is said, where the time is enough."""
    clock.epoch = 0.1
    fitted, _, plan = trained(tmp_path, clock, budget=90)
    assert len(fitted.history) == plan.epochs > PLAN.epochs and "ended after" not in plan.parts["training"]["reason"]


def test_another_network_is_begun_only_when_it_can_be_whole_in_time(clock, tmp_path):
    began, clock.epoch = clock.now, 0.5  # five times as long as was timed: six networks of ten fit
    fitted, _, plan = trained(tmp_path, clock, budget=300)
    assert plan.ensemble == len(fitted.alone) == 5 and clock.now - began == 250
    assert {len(f.history) for f in fitted.alone.values()} == {PLAN.epochs}
    assert "5 of 10 networks" in plan.parts["ensemble"]["reason"]


def test_half_a_network_does_not_answer_beside_whole_ones(clock, tmp_path, monkeypatch):
    """The second network is slow: it is left out, for the first is whole."""
    clock.epoch = 0.1
    slow = fitting.plan_budget.of_one

    def of_one(plan, number):
        clock.epoch = 10.0 if number else 0.1
        return slow(plan, number)

    monkeypatch.setattr(fitting.plan_budget, "of_one", of_one)
    fitted, _, plan = trained(tmp_path, clock, budget=300)
    assert plan.ensemble == 1 and not fitted.alone and fitted.built == "seed 0"


def test_without_a_time_nothing_is_ended(clock, tmp_path):
    clock.epoch = 1e6
    fitted, _, plan = trained(tmp_path, clock, budget=None)
    assert len(fitted.history) == PLAN.epochs == plan.epochs


@pytest.mark.parametrize(("step", "seeds"), [(10.0, None), (0.2, 5), (0.001, None)])
def test_a_long_time_that_is_not_enough_for_one_training_shortens_it(step, seeds, tmp_path, monkeypatch):
    """Ten minutes and more were taken for enough, whatever a step takes."""
    from overread.learn import fit

    monkeypatch.setattr(fit, "step_seconds", lambda plan: step)
    wanted = timed.Wanted(None, 600.0, timed.time.monotonic(), seeds)
    plan, search, most = timed._shared_out(tmp_path / "time.json", PLAN, MATERIAL, wanted, progress=False)
    steps = N // PLAN.batch
    assert plan.epochs * steps * step * (seeds or 1) <= 0.8 * 600 or plan.epochs == 1
    assert (plan.epochs == PLAN.epochs) == (step == 0.001)
    if step != 0.001:
        assert search == 0.0 and "epochs instead of" in plan.parts["training"]["reason"]
    again = timed._shared_out(tmp_path / "time.json", PLAN, MATERIAL, wanted, progress=False)
    assert (planning.executed(again[0]), again[1:]) == (planning.executed(plan), (search, most))  # decided once


def test_a_pair_that_ended_early_counts_the_epochs_of_both_halves():
    halves = (SimpleNamespace(epochs=20), SimpleNamespace(epochs=5))
    plan = SimpleNamespace(network="pair", epochs=20, parts={"training": {"reason": "told"}})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan_budget, "halves", lambda _: halves)
        patch.setattr(plan_budget, "changed", lambda _, part, reason: reason)
        assert "ended after 22 of 25 epochs" in plan_budget.ended_early(plan, 22)
