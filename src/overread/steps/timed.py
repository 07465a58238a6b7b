"""A training with time to spend: one good network early, then a search over settings, then more networks of the best.

While it goes on `best-so-far` in the run answers for new images. Whatever is killed goes on where it was.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from overread.domain import Estimate, Study, fingerprint
from overread.domain.canonical import plain
from overread.learn import plan as planning
from overread.learn import plan_budget, plan_file
from overread.learn import search as searching
from overread.learn.pretrained_start import NAME
from overread.learn.search import Trial
from overread.stats.metrics import mean_auroc
from overread.stats.paired import difference_mean_auroc
from overread.stats.splits import Split
from overread.steps import jointly, search
from overread.steps import plan as planned
from overread.steps.fitting import fit, make_material
from overread.steps.held_out import Material
from overread.steps.plan import Divided
from overread.steps.progress import bar, say
from overread.steps.run import read_json, write, write_json
from overread.steps.scores import whose
from overread.steps.so_far import keep_so_far
from overread.store.archive import Archive

TOGETHER = 4
"""Configurations that are proposed together for a cluster, whatever its size: the same search on any of them."""

HOME = "search"
"""Folder in the run for what a search needs until it is over."""

SEARCHED = ("residual", "pair")
"""Networks with settings to search over; of a pair it is the half from nothing that is tried."""


@dataclass(frozen=True)
class Wanted:
    """What was asked beside the plan.

    Parameters
    ----------
    trials : int, optional
        Configurations to try; None: as many as the budget allows, if any.
    budget : float, optional
        Seconds in all, counted from ``started``.
    started : float
        Of the monotonic clock.
    seeds : int, optional
        Networks that answer together.
    cluster : jointly.Cluster, optional
        Where configurations are tried, several beside one another.
    """

    trials: int | None
    budget: float | None
    started: float
    seeds: int | None = None
    cluster: jointly.Cluster | None = None

    @property
    def left(self) -> float:
        """Seconds that are left of the budget; infinite without one."""
        return math.inf if self.budget is None else self.budget - (time.monotonic() - self.started)


def takes_time(trials: int | None, budget: float | None, plan: planning.Plan) -> bool:
    """Say whether a training is one of these: a search was asked for, or there is time for more than a few networks."""
    plain = plan.start.get("name") != NAME
    return trials is not None or (
        budget is not None and plain and budget >= plan_budget.LONG and plan.network in SEARCHED
    )


def fit_in_time(
    store: Archive, split: Split, by_name: Mapping[str, Study], drawn: planning.Plan, out: Path, *,
    budget: float | None, started: float, seeds: int | None = None, cluster: jointly.Cluster | None = None, progress: bool,
    divided: Divided, trials: int | None, archive: Path, sensitivity: float, now: datetime,
):  # fmt: skip
    """Train within a time, or with a search; return what was fitted, the inputs, and the plan that was followed.

    It stands in for `steps.fitting.fit`, and is told besides: who is divided how, how many configurations to try, and
    what the best so far needs to answer.

    Raises
    ------
    RunError
        When a search was asked for and Optuna is not installed, or the network has no settings to search.
    CohortError
        When there are too few training images to judge settings on.
    """
    wanted = Wanted(trials, budget, started, seeds, cluster)
    home = out / HOME
    home.mkdir(exist_ok=True)
    drawn = _as_begun(home / planned.NAME, drawn)
    to_all = (store, split, by_name)
    material = make_material(*to_all, drawn, out / "cache", progress=progress)
    drawn, seconds, most = _shared_out(home / "time.json", drawn, material, wanted, progress=progress)
    how = {"budget": None, "started": wanted.started, "cache": out / "cache", "cluster": cluster, "progress": progress}
    one = planning.changed(drawn, "ensemble", "the first network", networks=1)
    first, material, _ = fit(*to_all, one, _made(home / "first"), **how)
    kept = {"archive": archive, "sensitivity": sensitivity, "now": now, "progress": progress}
    chosen, best, where = drawn, first, "first"
    if wanted.trials is not None or seconds or most > 1:
        keep_so_far(out, first, one, divided, material, **kept)
    if wanted.trials is not None or seconds:
        tried = _searched(store, divided, drawn, material, out, wanted, seconds=seconds, progress=progress)
        number = searching.best(tried, parts=search.PARTS)
        figures: dict[str, Any] = {}
        if number:
            theirs = planning.changed(searching.applied(drawn, tried[number].settings), "ensemble", "the first network", networks=1)  # fmt: skip
            second, its, _ = fit(*to_all, theirs, _made(home / "winner"), **how)
            found = _on_tuning(first, material, second, its, divided)
            figures = {"own": found[0], "best": found[1], "difference": found[2]}
            if found[1] >= found[0]:
                chosen, best, material, where = searching.applied(drawn, tried[number].settings), second, its, "winner"
                keep_so_far(out, second, theirs, divided, its, **kept)
        told = conclude(tried, number, figures, taken=where == "winner")
        write_json(out / search.NAME, {**read_json(out / search.NAME), **told})
        say(progress, told["in_words"])
    chosen = _networks(chosen, wanted, best.seconds, most)
    _take(home / where / "checkpoint", drawn.network, out / "checkpoint")
    write(out / planned.NAME, plan_file.written(chosen.head, chosen.parts))
    write_json(out / "plan.json", planning.record(chosen))
    return fit(*to_all, chosen, out, **{**how, "budget": budget})


def _as_begun(file: Path, drawn: planning.Plan) -> planning.Plan:
    """Return the plan as it was when this began: the run's own is another once a search has ended."""
    if file.exists():
        head, parts = plan_file.read(file)
        return replace(planning.planned(drawn.task, parts), head=head)
    write(file, plan_file.written(drawn.head, drawn.parts))
    return drawn


def _made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


def _take(checkpoints: Path, network: str, into: Path) -> None:
    """Put the checkpoints of the network that was chosen (a pair has one a half) where the run's first one is gone on from."""
    into.mkdir(exist_ok=True)
    for checkpoint in sorted(checkpoints.glob(f"{network}.*npz")):
        if not (into / checkpoint.name).exists():
            shutil.copy(checkpoint, into / "taken.part")
            (into / "taken.part").replace(into / checkpoint.name)


def _shared_out(
    file: Path, drawn: planning.Plan, material: Material, wanted: Wanted, *, progress: bool
) -> tuple[planning.Plan, float | None, int]:
    """Return the plan, shortened where the time is not even for one of it; the seconds for a search (None: no limit; 0: none)
    and the most networks; decided once, when it begins.
    """
    if wanted.budget is None:
        return drawn, None, drawn.ensemble
    if not file.exists():
        n, left = len(material.inputs["training"]), wanted.left
        from overread.learn.framework import natives_to

        with natives_to(None):
            from overread.learn import fit as fitting

            step = fitting.step_seconds(drawn)
        seconds = plan_budget.for_search(drawn, left, step=step, n=n, asked=wanted.trials is not None)
        if seconds and not searching.installed() and wanted.trials is None:
            say(progress, 'no search over settings, for Optuna is not installed (pip install "overread[search]"): the time is for more networks')  # fmt: skip
            seconds = 0.0
        networks = plan_budget.within(drawn, left - seconds, step=step, n=n, networks=wanted.seeds).ensemble
        short = plan_budget.no_longer_than(drawn, left - seconds, step=step, n=n, networks=wanted.seeds)
        write_json(file, {"search": seconds, "networks": networks, "epochs": short.epochs, "why": short.parts["training"]["reason"]})  # fmt: skip
    kept = read_json(file)
    if kept.get("epochs", drawn.epochs) != drawn.epochs:
        drawn = planning.changed(drawn, "training", kept["why"], epochs=kept["epochs"])
    return drawn, kept["search"], kept["networks"]


def _networks(chosen: planning.Plan, wanted: Wanted, each: float, most: int) -> planning.Plan:
    """Return the plan with as many networks as were asked for, or as the time that is left allows."""
    if wanted.budget is None or wanted.seeds is not None:
        return chosen
    usable = wanted.left - plan_budget.KEPT_BACK * wanted.budget
    fit_in = max(1, min(plan_budget.MOST_NETWORKS, max(1, most), 1 + int(usable / max(each, 1e-3))))
    told = "one network" if fit_in == 1 else f"{fit_in} networks, which differ by their seed only"
    reason = f"{told}: one takes {each:.0f} s and {max(0, wanted.left):.0f} s are left"
    return planning.changed(chosen, "ensemble", reason, networks=fit_in, rule="as many as the budget allows")


# --- the search ----------------------------------------------------------------------------------------------------------


def _searched(
    store, divided: Divided, drawn, material: Material, out: Path, wanted: Wanted, *, seconds, progress
) -> list[Trial]:
    """Try configurations on parts of the training cohort."""
    entries, home = divided.split.cohorts["training"], out / HOME
    who = whose(entries, divided.certificate["copies"])
    parts = search.parts_of(divided.split, material.truth["training"], who, seed=divided.seed)
    space = searching.space_of(drawn, side=max(drawn.head["cohort"]["size"]) if drawn.head else 0)

    def inputs_of(plan: planning.Plan) -> Path:
        return training_inputs(store, entries, plan, out / "cache")

    address = wanted.cluster.address if wanted.cluster else None
    judge = search.networks_judge(drawn, inputs_of, material.truth["training"], parts, home, cluster=address)
    limit = search.Limit(wanted.trials, seconds, TOGETHER if wanted.cluster else 1)
    total = None if wanted.trials is None else wanted.trials * search.PARTS
    with bar(total=total, what="search over settings", unit="training", show=progress) as line:

        def tell(trials) -> None:
            done = sum(search.PARTS if t.over else len(t.figures) for t in trials)
            line.update(done - line.n)
            line.set_postfix({"configurations": len(trials), "best AUROC": f"{trials[searching.best(trials, parts=search.PARTS)].mean:.3f}"}, refresh=False)  # fmt: skip

        of = planning.executed(drawn)
        return search.search(
            space, judge, limit=limit, seed=drawn.seed, record=out / search.NAME, of=of, parts=len(parts), tell=tell
        )


def training_inputs(store: Archive, entries, plan: planning.Plan, cache: Path) -> Path:
    """Return the file of the training cohort's inputs as a plan's recipe makes them; made when it is not there."""
    from overread.learn.batches import preprocess_once

    key = fingerprint([plain(plan.recipe), [image for image, _, _ in entries]])[:16]
    file = cache / f"training-{key}.npy"
    if not file.exists():
        preprocess_once(
            (store.image(image) for image, _, _ in entries), recipe=plan.recipe, count=len(entries), into=file
        )
    return file


def _on_tuning(first, material: Material, second, its: Material, divided: Divided) -> tuple[float, float, Estimate]:
    """Return how two networks read the tuning cohort, and the paired difference (second less first)."""
    from overread.learn.fit import logits

    known = material.truth["tuning"]
    if not len(known):
        return math.nan, math.nan, Estimate(math.nan, math.nan, math.nan, 0, None, "no tuning cohort")
    own, other = logits(first.built, material.inputs["tuning"]), logits(second.built, its.inputs["tuning"])
    who = whose(divided.split.cohorts["tuning"], divided.certificate["copies"])
    return mean_auroc(known, own), mean_auroc(known, other), difference_mean_auroc(known, other, own, who)


def conclude(trials, number: int, figures: Mapping[str, Any], *, taken: bool) -> dict[str, Any]:
    """Return what came of a search: how many configurations were tried, which was taken, and what that flatters.

    Examples
    --------
    >>> told = conclude([Trial({"rate": 1.0}, (0.8, 0.9, 0.85), True)], 0, {}, taken=False)
    >>> told["configurations"], told["in_words"]
    (1, "1 configuration was tried, the plan's own settings: there was nothing to choose")
    """
    flattery = searching.flattery(trials, parts=search.PARTS)
    told: dict[str, Any] = {
        "configurations": len(trials),
        "trainings": sum(len(t.figures) for t in trials),
        "best": number,
        "taken": number if taken else 0,
        "flattery": _or_none(flattery),
    }
    if len(trials) < 2:
        return {
            **told,
            "tuning": {},
            "in_words": "1 configuration was tried, the plan's own settings: there was nothing to choose",
        }
    words = (
        f"{len(trials)} configurations were tried on {search.PARTS} parts of the training patients; the plan's own settings read them "
        f"with a mean AUROC of {trials[0].mean:.3f}, the best with {trials[number].mean:.3f}"
    )
    if math.isfinite(flattery):
        words += f". The best of so many looks up to {flattery:.3f} better than it is, by luck alone"
    if number == 0:
        return {**told, "tuning": {}, "in_words": f"{words}: none was better than the plan's own settings, which stay"}
    apart: Estimate = figures["difference"]
    spread = (apart.high - apart.low) / 3.92
    told["tuning"] = {
        "own": _or_none(figures["own"]),
        "best": _or_none(figures["best"]),
        "difference": plain(apart),
        "flattery": _or_none(spread / math.sqrt(2 * math.pi)),
    }
    end = f"; choosing between the two on it flatters the tuning figure by {spread / math.sqrt(2 * math.pi):.3f} at most" if math.isfinite(spread) else ""  # fmt: skip
    words += (
        f". On tuning patients, on whom nothing had been chosen, its network reads {figures['best']:.3f} and that of the plan's own "
        f"settings {figures['own']:.3f}: {'it is taken' if taken else 'the plan stays'}{end}. Calibration and testing "
        "patients took no part"
    )
    return {**told, "in_words": words}


def _or_none(value: float) -> float | None:
    return float(np.round(value, 6)) if math.isfinite(value) else None


def clear(out: Path) -> None:
    """Take away what a search needed until it was over; ``search.json`` stays."""
    shutil.rmtree(out / HOME, ignore_errors=True)
