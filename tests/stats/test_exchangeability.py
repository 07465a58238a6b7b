"""The alarm goes off as rarely as it says, and where the images come from elsewhere it does go off."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from overread.stats.exchangeability import FEWEST, compared, one_each


def distances(rng, n, *, scale=1.0, shift=0.0, strange=0.0):
    """Distances of three kinds, which are related: images of a cloud, some of it stretched, moved or strange."""
    x = rng.normal(size=(n, 8)) * scale
    x[:, 0] += shift
    x[rng.random(n) < strange] *= 2.5
    parts = {"look": x[:, :5], "features": x[:, 2:8], "quality": x[:, :3]}
    return {kind: np.sqrt((part**2).mean(axis=1)) for kind, part in parts.items()}


def share_of_alarms(n, m, trials, seed=0, **change):
    rng = np.random.default_rng(seed)
    return np.mean([compared(distances(rng, m), distances(rng, n, **change))["alarm"] for _ in range(trials)])


@pytest.mark.parametrize(("n", "m"), [(30, 40), (30, 400), (300, 60), (500, 500)])
def test_false_alarms_are_at_most_as_many_as_stated(n, m):
    assert share_of_alarms(n, m, 300) <= 0.025  # 1 in 100 is stated; 7 of 300 would come by chance in 1 of 40 tests


@pytest.mark.parametrize(
    ("n", "change", "least"),
    [
        (30, {"scale": 1.5}, 0.9),  # another scanner
        (100, {"scale": 1.2}, 0.8),
        (100, {"strange": 0.3}, 0.8),  # a third of the images of something else
        (300, {"scale": 0.85}, 0.9),  # nearer than they should: copies, or images of the training
        (1000, {"shift": 0.8}, 0.7),
    ],
)
def test_images_from_elsewhere_are_noticed(n, change, least):
    assert share_of_alarms(n, 300, 60, **change) >= least


def test_several_images_of_a_patient_taken_for_patients_would_alarm_far_too_often():
    """Why one image of each patient is compared: the twin with all images alarms without a cause."""
    rng = np.random.default_rng(1)
    all_of_them, one_of_each = [], []
    for _ in range(100):
        sides = []
        for patients in (40, 40):
            who = np.arange(patients).repeat(6)
            sides.append((who, rng.gamma(4, size=patients)[who] + 0.1 * rng.normal(size=len(who))))
        (a, x), (b, y) = sides
        all_of_them.append(compared({"look": x}, {"look": y})["alarm"])
        first = [one_each(w.tolist(), [f"{v:.9f}" for v in rng.random(len(w))]) for w in (a, b)]
        one_of_each.append(compared({"look": x[first[0]]}, {"look": y[first[1]]})["alarm"])
    assert np.mean(all_of_them) > 0.2 and np.mean(one_of_each) <= 0.04


def test_how_much_further_is_mann_and_whitneys_share():
    rng = np.random.default_rng(2)
    x, y = np.round(rng.normal(size=80), 1), np.round(rng.normal(0.6, size=50), 1)
    found = compared({"look": x}, {"look": y})["kinds"]["look"]["further"]
    assert found == pytest.approx(mannwhitneyu(y, x).statistic / (80 * 50))


def test_too_few_are_not_asked_and_kinds_that_are_not_known_are_left_out():
    few, enough = np.arange(FEWEST - 1.0), np.arange(100.0)
    assert compared({"look": enough}, {"look": few}) is None
    assert compared({"look": few}, {"look": enough}) is None
    assert compared({}, {"look": enough}) is None
    assert set(compared({"look": enough, "quality": enough}, {"look": enough})["kinds"]) == {"look"}
    flat = compared({"look": np.ones(50)}, {"look": np.ones(50)})
    assert flat["p_value"] == 1 and not flat["alarm"]


def test_the_words_say_what_is_strange_and_hold_the_numbers():
    rng = np.random.default_rng(3)
    held, new = distances(rng, 200), distances(rng, 200)
    assert "nothing shows" in compared(held, new)["in_words"]
    told = compared(held, new | {"quality": new["quality"] * 3})["in_words"]
    assert "their quality" in told and "how they look" not in told
    assert "200 patients, against 200" in told and "p < 0.001" in told and "further from" in told
