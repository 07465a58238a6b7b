"""A search finds a known optimum, goes on after a kill with the same proposals, and looks at training patients alone."""

import json
import math
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

pytest.importorskip("optuna")

from overread.errors import CohortError, IntegrityError
from overread.learn import search as searching
from overread.stats.metrics import mean_auroc
from overread.stats.splits import Split
from overread.steps.search import Limit, parts_of, refuse_leak, search

SPACE = {"rate": ("log", 0.25, 4.0), "decay": ("log", 0.1, 10.0), "width": ("one of", 0.5, 1.0, 1.5)}
WHERE = {"rate": 2.5, "decay": 0.3, "width": 1.5}
"""The optimum of the simulated objective."""


def hill(settings, part=0, noise=0.0):
    """AUROC of .9 at the optimum, less with the squared distance in octaves; the luck of a part by settings and part."""
    far = math.log(settings["rate"] / WHERE["rate"]) ** 2 + 0.3 * math.log(settings["decay"] / WHERE["decay"]) ** 2
    seed = abs(hash((part, *(round(v, 6) for v in settings.values())))) % 2**32
    return 0.9 - 0.05 * far - 0.03 * abs(settings["width"] - 1.5) + noise * np.random.default_rng(seed).normal()


def judge(asked, noise=0.0):
    return [hill(settings, part, noise) for settings, part in asked]


def tried(tmp_path, name="search.json", how=judge, **limit):
    return search(SPACE, how, limit=Limit(**limit), seed=1, record=tmp_path / name)


def test_a_known_optimum_is_found(tmp_path):
    trials = tried(tmp_path, trials=40)
    found = trials[searching.best(trials, parts=3)]
    assert len(trials) == 40 and found.settings["width"] == 1.5
    assert hill(found.settings) > 0.893 > 0.83 > hill(trials[0].settings)
    assert dict(trials[0].settings) == dict.fromkeys(SPACE, 1.0)


def test_looking_where_it_went_well_beats_chance(tmp_path):
    """The twin: as many drawn by chance come less near, in the mean over seeds."""
    rng, by_search, by_chance = np.random.default_rng(0), [], []
    for seed in range(4):
        t = search(SPACE, judge, limit=Limit(25), seed=seed, record=tmp_path / f"{seed}.json")
        by_search.append(t[searching.best(t, parts=3)].mean)
    for _ in range(400):
        octaves = zip(rng.uniform(math.log(0.25), math.log(4), 25), rng.uniform(math.log(0.1), math.log(10), 25))
        drawn = (
            {"rate": math.exp(r), "decay": math.exp(d), "width": rng.choice(SPACE["width"][1:])} for r, d in octaves
        )
        by_chance.append(max(map(hill, drawn)))
    assert np.mean(by_search) > np.mean(by_chance) + 0.001


def test_most_of_the_time_goes_to_what_went_well(tmp_path):
    trials = tried(tmp_path, trials=40)
    read = [len(t.figures) for t in trials]
    assert read[0] == 3 and 1 in read and 3 in read[5:]
    stopped = [t.mean for t in trials if len(t.figures) < 3]
    assert np.mean(stopped) < np.mean([t.mean for t in trials if len(t.figures) == 3])


@pytest.mark.parametrize("at_once", [1, 4])
def test_stopped_anywhere_it_goes_on_to_the_same_record(tmp_path, at_once):
    tried(tmp_path, trials=11, at_once=at_once)
    whole = json.loads((tmp_path / "search.json").read_text())
    for after in (0, 1, 5, 12, 20):

        def fails(asked, left=[after]):  # noqa: B006
            for settings, part in asked:
                if not left[0]:
                    raise KeyboardInterrupt
                left[0] -= 1
                yield hill(settings, part)

        name = f"stopped-{after}.json"
        with pytest.raises(KeyboardInterrupt):
            tried(tmp_path, name, how=fails, trials=11, at_once=at_once)
        tried(tmp_path, name, trials=11, at_once=at_once)
        again = json.loads((tmp_path / name).read_text())
        assert {k: v for k, v in again.items() if k != "seconds"} == {k: v for k, v in whole.items() if k != "seconds"}


KILLED = """
import sys, time
sys.path.insert(0, {here!r})
from test_search import SPACE, hill
from overread.steps.search import Limit, search
from pathlib import Path
def slow(asked):
    for settings, part in asked:
        time.sleep(0.02)
        yield hill(settings, part)
search(SPACE, slow, limit=Limit(14), seed=1, record=Path(sys.argv[1]))
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kill -9 is a signal of POSIX systems")
def test_kill_9_leaves_a_whole_record_that_is_gone_on_with(tmp_path):
    record = tmp_path / "killed.json"
    code = KILLED.format(here=os.path.dirname(__file__))
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    with subprocess.Popen([sys.executable, "-c", code, str(record)], env=environment) as killed:
        end = time.monotonic() + 60
        while time.monotonic() < end and not (record.exists() and len(json.loads(record.read_text())["trials"]) > 6):
            time.sleep(0.01)
        killed.send_signal(signal.SIGKILL)
    before = json.loads(record.read_text())["trials"]
    assert 6 < len(before) < 14
    tried(tmp_path, "whole.json", trials=14)
    tried(tmp_path, "killed.json", trials=14)
    after, whole = (json.loads((tmp_path / n).read_text())["trials"] for n in ("killed.json", "whole.json"))
    assert after == whole and after[: len(before) - 1] == before[:-1]


def test_a_record_of_another_plan_is_not_gone_on_with(tmp_path):
    tried(tmp_path, trials=5)
    calls = []
    search(SPACE, lambda asked: [calls.append(a) or 0.5 for a in asked], limit=Limit(2), seed=1, record=tmp_path / "search.json", of="other")  # fmt: skip
    assert len(calls) >= 4


def test_a_time_ends_it_between_two_configurations(tmp_path):
    def slow(asked):
        time.sleep(0.05)
        return judge(asked)

    trials = search(SPACE, slow, limit=Limit(seconds=0.6), seed=0, record=tmp_path / "s.json")
    assert 2 <= len(trials) < 10 and all(t.over for t in trials)


def test_what_cannot_be_trained_is_no_winner_and_ends_nothing(tmp_path):
    def sometimes(asked):
        return [math.nan if s["width"] == 1.5 else hill(s, part) for s, part in asked]

    trials = tried(tmp_path, trials=15, how=sometimes)
    assert len(trials) == 15 and trials[searching.best(trials, parts=3)].settings["width"] != 1.5
    assert None in [f for t in json.loads((tmp_path / "search.json").read_text())["trials"] for f in t["figures"]]


def test_how_far_the_choice_flatters_is_what_luck_alone_gives(tmp_path):
    """Configurations that are all the same: the best of n looks better by the expected largest of n, as told."""
    rng, looked, told = np.random.default_rng(0), [], []
    for _ in range(60):
        noise = rng.normal(0, 0.02, (12, 3)) + rng.normal(0, 0.1, 3)  # the luck of a part is shared, and does not count
        trials = [searching.Trial({}, tuple(row), True) for row in 0.8 + noise]
        looked.append(max(t.mean for t in trials) - np.mean([t.mean for t in trials]))
        told.append(searching.flattery(trials, parts=3))
    assert np.mean(looked) == pytest.approx(0.02 / 3**0.5 * 1.63, rel=0.1)  # the expected largest of twelve is 1.63
    assert np.mean(looked) <= np.mean(told) <= 1.6 * np.mean(looked)
    assert math.isnan(searching.flattery(trials[:1], parts=3))


# --- on whom -----------------------------------------------------------------------------------------------------------


def divided(n=120, images=2):
    entries = [(f"i{k}", f"s{k}", f"p{k // images}") for k in range(n)]
    named = {"training": entries[: n // 2], "tuning": entries[n // 2 : n // 2 + 20], "calibration": [], "testing": entries[n // 2 + 20 :]}  # fmt: skip
    return Split(cohorts=named)


def test_parts_are_of_training_patients_alone_and_no_patient_is_on_two_sides():
    split = divided()
    who = [p for _, _, p in split.cohorts["training"]]
    known = np.array([[float(int(p[1:]) % 3 == 0)] for p in who])
    for learned, read in parts_of(split, known, who, seed=0):
        assert not {who[i] for i in learned} & {who[i] for i in read}
        assert max(*learned, *read) < len(who) and len(learned) + len(read) == len(who)


def test_a_search_that_would_look_elsewhere_is_caught():
    """The twin: a testing image among those judged, a tuning image learned from, and a patient on both sides."""
    split = divided()
    training = split.cohorts["training"]
    who = [p for _, _, p in training]
    refuse_leak(split, [training[:20], training[20:30]], who)
    with pytest.raises(IntegrityError, match="1 images outside the training cohort"):
        refuse_leak(split, [training[:20], [*training[20:30], split.cohorts["testing"][0]]], who)
    with pytest.raises(IntegrityError, match="outside the training cohort"):
        refuse_leak(split, [[*training[:20], split.cohorts["tuning"][0]], training[20:30]], who)
    with pytest.raises(IntegrityError, match="1 patients on both sides"):
        refuse_leak(split, [training[:21], training[21:30]], who)


def test_too_few_images_are_refused_with_their_number():
    split = divided(60)
    who = [p for _, _, p in split.cohorts["training"]]
    with pytest.raises(CohortError, match="30 training images"):
        parts_of(split, np.zeros((30, 1)), who, seed=0)
    split = divided()
    with pytest.raises(CohortError, match="too few with each answer"):
        parts_of(split, np.zeros((60, 1)), [p for _, _, p in split.cohorts["training"]], seed=0)


def test_choosing_on_noise_flatters_the_parts_and_not_tuning():
    """Answers drawn by chance: the best of 30 lines looks better than .5 on its parts; on patients it was not chosen on it
    is .5. The twin is a choice made on those patients themselves: there it looks as good, and is not."""
    rng, inside, outside, leaking = np.random.default_rng(0), [], [], []
    for _ in range(80):
        scores = rng.normal(size=(30, 200))
        y = (rng.random((200, 1)) < 0.5).astype(float)
        first, second = slice(0, 120), slice(120, 200)
        chosen = max(range(30), key=lambda k: mean_auroc(y[first], scores[k, first, None]))
        inside.append(mean_auroc(y[first], scores[chosen, first, None]))
        outside.append(mean_auroc(y[second], scores[chosen, second, None]))
        leaking.append(max(mean_auroc(y[second], s[second, None]) for s in scores))
    assert np.mean(inside) > 0.58 and np.mean(leaking) > 0.6
    assert np.mean(outside) == pytest.approx(0.5, abs=0.025)
