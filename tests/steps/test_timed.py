"""A training with time to spend: what the search says of itself, an early answer, and who is never asked."""

import json
import math
import re
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest

from overread.domain import Estimate, Task
from overread.errors import RunError
from overread.learn import plan as planning
from overread.learn import plan_budget
from overread.learn import search as searching
from overread.learn.search import Trial
from overread.pages import section_search
from overread.steps.begin import Asked, check_options
from overread.steps.timed import conclude, takes_time


def drawn(n=900, side=60, **change):
    seen = planning.Fingerprint(n, (1, side, side), 1, "", "stored", 0, eight_bit=True)
    return planning.draw_up(Task(("x",), "binary", "x"), seen, network="residual", seed=0)


TRIALS = [
    Trial({"rate": 1.0, "width": 1.0}, (0.80, 0.82, 0.84), True),
    Trial({"rate": 2.0, "width": 0.5}, (0.70,), True),
    Trial({"rate": 0.5, "width": 1.5}, (0.84, 0.85, 0.87), True),
]


def told(own=0.9, best=0.91, *, taken=True):
    apart = Estimate(best - own, best - own - 0.02, best - own + 0.02, 120, 60, "paired")
    return conclude(TRIALS, 2, {"own": own, "best": best, "difference": apart}, taken=taken)


def test_a_search_says_how_many_configurations_were_tried_and_how_far_that_flatters():
    found = told()
    assert (found["configurations"], found["trainings"], found["taken"]) == (3, 7, 2)
    assert "3 configurations were tried" in found["in_words"] and "it is taken" in found["in_words"]
    assert found["flattery"] == pytest.approx(searching.flattery(TRIALS, parts=3), abs=1e-6)
    assert found["tuning"]["flattery"] == pytest.approx(0.04 / 3.92 / math.sqrt(2 * math.pi), abs=1e-5)
    assert "the plan stays" in told(own=0.95, taken=False)["in_words"]


def test_choosing_between_two_equal_networks_flatters_as_told():
    """The twin of the sentence: two networks of one worth, the better one on a cohort taken, seen by simulation."""
    rng = np.random.default_rng(0)
    apart = rng.normal(0, 0.01, 20_000)  # the spread of the paired difference
    gained = np.maximum(apart, 0).mean()
    spread = (2 * 1.96 * 0.01) / 3.92
    assert gained == pytest.approx(spread / math.sqrt(2 * math.pi), rel=0.03)


def test_the_page_names_every_setting_and_the_one_taken():
    trials = [{"settings": dict(t.settings), "figures": list(t.figures)} for t in TRIALS]
    page = {"search": {**told(), "trials": trials, "space": {"rate": [], "width": []}, "parts": 3}}
    html = section_search.section(page)
    assert "<h2>3 configurations tried</h2>" in html and "<b>number 3</b>" in html and "rate ×" in html
    assert html.count("<circle") == 3
    assert section_search.section({}) == ""


def test_every_setting_that_may_be_searched_changes_what_is_executed_and_nothing_else():
    plan = drawn(side=200)
    space = searching.space_of(plan, side=200)
    assert set(space) == {"rate", "decay", "exposure", "width", "length", "side"}
    assert searching.applied(plan, dict.fromkeys(space, 1.0)) is plan
    seen = {planning.executed(plan)}
    for name in space:
        other = searching.applied(plan, {name: 1.5})
        seen.add(planning.executed(other))
        apart = {k for k in plan.parts if plan.parts[k] != other.parts[k]}
        part = {"rate": "optimiser", "decay": "optimiser", "width": "network", "length": "training", "side": "input"}
        assert apart == {part.get(name, "augmentation")}
    assert len(seen) == 7
    assert "side" not in searching.space_of(plan, side=100)


def test_a_found_plan_is_written_and_read_again_as_it_is():
    from overread.learn import plan_file

    found = searching.applied(drawn(), {"rate": 1.7, "decay": 0.2, "exposure": 2.2, "width": 0.5, "length": 2.0})
    import tomllib

    read = tomllib.loads(plan_file.written({}, found.parts))
    again = planning.planned(found.task, {k: v for k, v in read.items() if isinstance(v, dict)})
    assert planning.executed(again) == planning.executed(found)


def test_time_goes_to_a_search_only_where_ten_configurations_fit_into_half_of_it():
    plan = drawn()
    one = 0.01 * (900 // plan.batch) * plan.epochs
    enough = 2 * 10 * plan_budget.TRIAL * one / 0.8
    assert plan_budget.for_search(plan, 0.99 * enough, step=0.01, n=900) == 0
    assert plan_budget.for_search(plan, 1.01 * enough, step=0.01, n=900) == pytest.approx(0.4 * 1.01 * enough)
    assert plan_budget.for_search(plan, 10, step=0.01, n=900, asked=True) == pytest.approx(4)


def test_a_plain_training_and_a_short_one_have_no_part_in_this():
    assert not takes_time(None, None, drawn()) and not takes_time(None, 300, drawn())
    assert takes_time(None, 3600, drawn()) and takes_time(5, None, drawn())


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (Asked(search=1), "1 configurations; expected 2 to 1,000"),
        (Asked(search=2000), "2000 configurations"),
        (Asked(search=5, network="simple-cnn"), "a search with the network simple-cnn"),
    ],
)
def test_a_search_that_cannot_be_is_refused(asked, said):
    with pytest.raises(RunError, match=said):
        check_options(asked, 0.95)


def test_without_optuna_it_is_said_what_to_install():
    code = (
        "import sys; sys.modules['optuna'] = None\n"
        "from overread.steps.begin import Asked, check_options\n"
        "check_options(Asked(search=5), 0.95)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1 and 'pip install "overread[search]"' in done.stderr


# --- with networks -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def short(archive, tmp_path_factory):
    """A plan of one epoch, of one network."""
    from overread.steps.plan import plan

    path = tmp_path_factory.mktemp("short") / "plan.toml"
    plan(archive, label="blob", network="residual", side_matters=True, out=path, progress=False)
    path.write_text(re.sub(r"epochs = \d+", "epochs = 1", path.read_text()))
    return path


@pytest.fixture
def needs():
    pytest.importorskip("keras")
    pytest.importorskip("optuna")


@pytest.mark.slow
def test_a_search_goes_the_whole_way_and_answers_early(archive, pictures, short, tmp_path, monkeypatch, needs):
    from overread.steps import timed
    from overread.steps.predict import predict
    from overread.steps.train import train

    early, before = [], timed.keep_so_far

    def watched(out, *more, **how):
        folder = before(out, *more, **how)
        predict(folder, pictures / "film000.png", out=tmp_path / f"p{len(early)}", progress=False)
        early.append(json.loads((folder / "card.json").read_text())["limits"])
        assert not {"scores.csv", "neighbours.npz", "split.json"} & {p.name for p in folder.iterdir()}
        return folder

    monkeypatch.setattr(timed, "keep_so_far", watched)
    out = tmp_path / "run"
    run = train(archive, label="blob", plan=short, search=2, out=out, baseline=False, progress=False)
    kept = {name: json.loads((out / name).read_text()) for name in ("search.json", "card.json", "manifest.json")}
    assert early and "testing cohort was not read" in early[0][0]
    assert kept["search.json"]["configurations"] == 2 and len(kept["search.json"]["trials"]) == 2
    assert run.metrics["search"]["configurations"] == kept["card.json"]["training"]["search"]["configurations"] == 2
    assert "2 configurations were tried" in str(run) and "2 configurations tried" in (out / "report.html").read_text()
    assert "search.json" in kept["manifest.json"]["files"]
    assert not {"search", "best-so-far", "cache", "unfinished"} & {p.name for p in out.iterdir()}


class Enough(Exception):
    """The search is over: the rest of the training is not needed."""


@pytest.mark.slow
def test_turned_answers_of_calibration_and_testing_change_nothing_of_a_search(archive, short, tmp_path, monkeypatch, needs):  # fmt: skip
    """The twin: a search whose parts came from those cohorts would show it, as one on turned training answers does."""
    from overread.steps import timed
    from overread.steps.train import train

    def stop(*_, **__):
        raise Enough

    monkeypatch.setattr(timed, "keep_so_far", lambda *_, **__: None)
    monkeypatch.setattr(timed, "conclude", stop)
    monkeypatch.setattr(timed.search, "PARTS", 1)  # one part is enough to tell, and takes a third of the time
    before, found = timed.make_material, {}
    for turned in ((), ("calibration", "testing"), ("training",)):

        def material(*more, turned=turned, **how):
            made = before(*more, **how)
            made.truth |= {cohort: 1 - made.truth[cohort] for cohort in turned}
            return made

        for module in (timed, sys.modules["overread.steps.fitting"]):
            monkeypatch.setattr(module, "make_material", material)
        out = tmp_path / "-".join(("run", *turned))
        with pytest.raises(Enough):
            train(archive, label="blob", plan=short, search=2, out=out, baseline=False, progress=False)
        told = json.loads((out / "search.json").read_text())
        found[turned] = {k: v for k, v in told.items() if k != "seconds"}
    assert found[()] == found[("calibration", "testing")] != found[("training",)]


@pytest.mark.slow
def test_a_cluster_judges_as_this_process_does(tmp_path, needs):
    """Trainings as tasks of a local Ray: the same figures, to the last bit."""
    if not find_spec("ray"):  # not imported here: Ray reads its environment when it is
        pytest.skip("Ray is not installed")
    from overread.steps.search import networks_judge

    plan = planning.changed(drawn(100, 12), "network", "small", widths=[4, 8])
    plan = planning.changed(plan, "training", "short", epochs=1, batch=16)
    rng, y = np.random.default_rng(0), (np.arange(100) % 2).astype(float)[:, None]
    np.save(tmp_path / "x.npy", rng.normal(size=(100, 12, 12, 1)).astype(np.float32) + y[:, :, None, None])
    parts = [(np.arange(70), np.arange(70, 100)), (np.arange(30, 100), np.arange(30))]
    asked = [({"rate": 1.0}, 0), ({"rate": 2.0}, 1)]
    here, there = (
        list(networks_judge(plan, lambda p: tmp_path / "x.npy", y, parts, tmp_path, cluster=c)(asked))
        for c in (None, "local")
    )
    assert here == there and len(set(here)) == 2
    assert not list(tmp_path.glob("rate*"))
