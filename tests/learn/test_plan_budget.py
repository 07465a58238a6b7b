"""What a time allows, by arithmetic."""

import pytest

from overread.domain import Task
from overread.learn import plan, plan_budget

BINARY = Task(("x",), "binary", "x")


def drawn(n=4156):
    return plan.draw_up(BINARY, plan.Fingerprint(n, (1, 224, 224), 1, "", "stored", 0, eight_bit=True), network="residual", seed=3)  # fmt: skip


def test_a_short_time_shortens_the_one_network_and_a_little_more_lengthens_it():
    p = drawn()
    steps = 4156 // 64
    few = plan_budget.within(p, 10, step=0.1, n=4156)
    assert (few.epochs, few.ensemble) == (int(0.8 * 10 / (0.1 * steps)), 1)
    more = plan_budget.within(p, 100, step=0.001, n=4156)
    assert (more.epochs, more.ensemble) == (3 * p.epochs, 1)
    assert plan_budget.within(p, 0.1, step=1, n=4156).epochs == 1
    assert "ms" in few.parts["training"]["reason"]


@pytest.mark.parametrize(("seconds", "networks"), [(700, 1), (1000, 2), (3600, 10), (28800, 10)])
def test_a_longer_time_is_for_more_networks(seconds, networks):
    p = drawn()
    one = p.epochs * (4156 // 64) * 0.1
    allowed = plan_budget.within(p, seconds, step=0.1, n=4156)
    assert allowed.ensemble == networks == max(1, min(10, int(0.8 * seconds / one)))
    assert allowed.epochs == p.epochs
    assert allowed.seed == p.seed


def test_a_time_decides_also_where_several_networks_would_be_trained_without_one():
    three = plan.changed(drawn(), "ensemble", "three by rule", networks=3)
    assert plan_budget.within(three, 10, step=0.1, n=4156).ensemble == 1
    assert plan_budget.within(three, 1000, step=0.1, n=4156).ensemble == 2


def test_the_networks_that_were_asked_for_share_the_time():
    p = plan.changed(drawn(), "ensemble", "asked", networks=5)
    shared = plan_budget.within(p, 1000, step=0.1, n=4156, networks=5)
    assert shared.ensemble == 5
    assert shared.epochs == int(0.8 * 1000 / (0.1 * 64 * 5))


def test_each_network_has_its_own_seed_and_the_same_plan_whatever_their_number():
    p = plan.changed(drawn(), "ensemble", "asked", networks=5)
    assert [plan_budget.of_one(p, k).seed for k in range(3)] == [3, 4, 5]
    assert plan.executed(plan_budget.of_one(p, 1)) == plan.executed(plan_budget.of_one(plan_budget.stopped_at(p, 2), 1))
