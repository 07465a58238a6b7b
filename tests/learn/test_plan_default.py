"""Which network is planned when nobody named one."""

import pytest

from overread.domain import Task
from overread.learn import plan, plan_default, starts
from overread.learn.plan_cohort import Fingerprint


def cohort(n: int, *, channels: int = 1, volumes: int = 0, side: int = 128) -> Fingerprint:
    shape = (28, 28, 28) if volumes else (1, side, side)
    return Fingerprint(n=n, shape=shape, channels=channels, modality="", unit="stored", volumes=volumes, eight_bit=True)


@pytest.fixture
def start(monkeypatch):
    monkeypatch.setattr(starts, "available", lambda: (starts.DEFAULT,))


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (cohort(300), "pair"),
        (cohort(20_000), "pair"),
        (cohort(20_000, channels=3), "pair"),
        (cohort(300, channels=4), "residual"),
        (cohort(300, volumes=300), "residual"),
    ],
)
def test_pictures_take_a_start_along_and_what_it_cannot_see_does_not(start, seen, expected):
    network, reason = plan_default.by_rule(seen)
    assert network == expected
    assert reason
    assert plan.draw_up(Task(("x",), "binary", "x"), seen, network=network, seed=0).network == expected


def test_where_no_start_is_installed_a_network_from_nothing_is_planned_and_the_plan_says_why(monkeypatch):
    monkeypatch.setattr(starts, "available", lambda: ())
    network, reason = plan_default.by_rule(cohort(300))
    assert network == "residual"
    assert "[starts]" in reason


def test_a_reason_against_a_start_is_told(start):
    assert plan_default.by_rule(cohort(300), alone="90 s are for one network") == (
        "residual",
        "90 s are for one network",
    )


@pytest.mark.parametrize(
    ("channels", "side", "learns"), [(3, 28, True), (1, 28, False), (3, 128, False), (1, 128, False)]
)
def test_the_start_of_a_pair_goes_on_learning_on_small_pictures_in_colour_only(start, channels, side, learns):
    seen = cohort(800, channels=channels, side=side)
    parts = plan.draw_up(Task(("x",), "binary", "x"), seen, network="pair", seed=0).parts
    assert (parts["start"]["epochs"] > 0) == learns
