"""Two processes that share each batch learn what one learns, on two hosts of one machine, and outlive each other."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest

if importlib.util.find_spec("ray") is None:  # not imported here: it reads its environment once, when it is
    pytest.skip("Ray is not installed: pip install 'overread[cluster]'", allow_module_level=True)
pytest.importorskip("keras")

sys.path.append(str(Path(__file__).parents[1]))
from hosts import Hosts

from overread.domain import Task
from overread.engine.ranks import Round, places
from overread.errors import RunError
from overread.learn import fit as fitting
from overread.learn import plan as planning
from overread.steps import jointly
from overread.steps.fitting import watched
from overread.store.journal import Journal

pytestmark = pytest.mark.timeout(240)
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="hosts on one machine are made as Linux does it")

SIDE, IMAGES, BATCH, EPOCHS = 16, 90, 15, 6
"""A batch of 15 leaves two processes unequal shares, 8 images and 7."""
SAME = 2e-3
"""Logits of two networks, from about -2 to 5, that differ by rounding alone."""


SLOWLY = """
import time
from overread.steps.fitting import watched

def score(logits, truth):
    time.sleep(1)  # an epoch of this size is over in a tenth of that: whoever is to be lost in the middle would have finished
    return watched(logits, truth)
"""


@pytest.fixture(scope="module")
def hosts(tmp_path_factory):
    home = tmp_path_factory.mktemp("hosts")
    (home / "slowly.py").write_text(SLOWLY)
    before = dict(os.environ)
    made = Hosts(home, path=str(home))
    made.join()
    os.environ.update(made.secret)
    sys.path.insert(0, str(home))
    yield made
    sys.path.remove(str(home))
    os.environ.clear()
    os.environ.update(before)
    made.end()


@pytest.fixture
def slow(material, hosts):
    """The same material, with a second in each epoch in which somebody can be lost."""
    from slowly import score

    return {**material, "score": score}


@pytest.fixture(scope="module")
def plan():
    task = Task(("x",), "binary", "x")
    seen = planning.Fingerprint(IMAGES, (1, SIDE, SIDE), 1, "", "stored", 0)
    drawn = planning.with_epochs(planning.draw_up(task, seen, network="residual", seed=0), EPOCHS, "a test")
    # nothing random beside the order of the images, so that a difference is one of rounding
    return dataclasses.replace(drawn, batch=BATCH, augmentation={}, build={**drawn.build, "dropout": 0.0})


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """Images in a file, of which some have a bright corner, and a share of wrong labels, so that the loss stays."""
    home, rng = tmp_path_factory.mktemp("material"), np.random.default_rng(0)
    truth = (rng.random((IMAGES, 1)) < 0.5).astype(float)
    images = rng.normal(size=(IMAGES, SIDE, SIDE, 1)).astype("f") + truth[:, :, None, None] * 0.3
    np.save(home / "images.npy", images)
    images = np.load(home / "images.npy", mmap_mode="r")
    return {"training": (images, truth), "tuning": (images, truth), "score": watched}


@pytest.fixture(scope="module")
def one(plan, material, tmp_path_factory):
    return fitting.fit(plan, **material, checkpoint=tmp_path_factory.mktemp("one") / "c.npz")


def apart(a, b) -> float:
    """The largest difference between two networks' logits."""
    return float(np.abs(a - b).max())


@on_linux
@pytest.mark.slow
def test_two_processes_learn_what_one_learns_though_one_is_killed_in_the_middle(
    hosts, plan, material, slow, one, tmp_path, capsys
):
    killed = []

    def kill(news):
        if news["epoch"] == 2 and not killed:
            killed.append(max(hosts.workers()))
            os.kill(killed[0], signal.SIGKILL)

    cluster = jointly.Cluster(hosts.address, 2)
    how = {"checkpoint": tmp_path / "c.npz", "cluster": cluster, "out": tmp_path, "progress": True}
    two = jointly.fit(plan, **slow, tell=kill, **how)
    x = material["training"][0]
    wanted = fitting.logits(one.built, x)
    assert apart(fitting.logits(two.built, x), wanted) < SAME
    for mine, theirs in zip(two.history, one.history, strict=True):
        assert mine["loss"] == pytest.approx(theirs["loss"], abs=1e-4)
    # the twin: another order of the same images is another network, and would be seen
    other = fitting.fit(dataclasses.replace(plan, seed=1), **material, checkpoint=tmp_path / "other.npz")
    assert apart(fitting.logits(other.built, x), wanted) > 100 * SAME

    assert killed and "lost: process" in capsys.readouterr().err
    lost, done = jointly.rounds(tmp_path)
    assert (lost["ended"], done["ended"]) == ("lost", "done")
    assert 1 <= lost["epochs"][1] < EPOCHS and done["epochs"] == [lost["epochs"][1], EPOCHS]
    assert len(lost["hosts"]) == len(done["hosts"]) == 2 and Journal(tmp_path / jointly.NAME).verify() == 2


@on_linux
@pytest.mark.slow
def test_when_a_host_is_lost_the_one_that_is_left_goes_on_alone(hosts, plan, material, slow, one, tmp_path):
    lost = []

    def lose(news):
        if news["epoch"] == 2 and not lost:
            lost.append(True)
            hosts.lose(1)

    cluster = jointly.Cluster(hosts.address, 2)
    how = {"checkpoint": tmp_path / "c.npz", "cluster": cluster, "out": tmp_path, "progress": False}
    began = time.monotonic()
    two = jointly.fit(plan, **slow, tell=lose, **how)
    *before, last = jointly.rounds(tmp_path)
    assert len(before[0]["hosts"]) == 2 and len(last["hosts"]) == 1 and last["ended"] == "done"
    x = material["training"][0]
    assert apart(fitting.logits(two.built, x), fitting.logits(one.built, x)) < SAME
    assert time.monotonic() - began < 200


def node(name, cpus, gpus=0, alive=True):
    gives = {"CPU": float(cpus)} | ({"GPU": float(gpus)} if gpus else {})
    return {"NodeID": name, "NodeManagerHostname": f"host {name}", "Alive": alive, "Resources": gives}


def test_a_process_on_each_gpu_or_on_each_host_where_there_is_none():
    found = places([node("a", 8, 2), node("b", 8, 1), node("c", 8)], processes=None, most=99)
    assert sorted((p.node, p.gpus, p.cpus) for p in found) == [("a", 1, 4), ("a", 1, 4), ("b", 1, 8)]
    found = places([node("a", 8), node("b", 2), node("c", 4, alive=False)], processes=None, most=99)
    assert [(p.node, p.gpus, p.cpus) for p in found] == [("a", 0, 8), ("b", 0, 2)]


@pytest.mark.parametrize(("processes", "most", "found"), [(3, 99, 3), (99, 99, 4), (3, 2, 2), (None, 99, 2)])
def test_never_more_processes_than_were_asked_for_or_than_there_is_room(processes, most, found):
    assert len(places([node("a", 2), node("b", 2)], processes=processes, most=most)) == found
    assert places([], processes=processes, most=most) == []


def test_processes_need_a_cluster():
    with pytest.raises(RunError, match="without --cluster"):
        jointly.asked(None, 2)
    with pytest.raises(RunError, match="1 to 1,024"):
        jointly.asked("auto", 0)


def test_what_was_lost_is_told():
    assert jointly.told(Round(("a", "b"), 2, ("process 2 of 2, on b",)), 4).endswith("training goes on from epoch 5")
    assert jointly.told(Round(("a",), 0), 1) == "  1 process on 1 host: 1 epoch done"
