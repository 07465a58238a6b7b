"""A search over settings: what is tried, on whom it is judged, what is kept of it, and how far the choice flatters.

Every configuration is judged on parts of the *training* cohort, each read by a network that learned from the others,
divided by patient. Nothing else is opened here: the winner is then held against the plan's own settings once, on tuning
(`steps.timed`); calibration and testing take no part.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from overread import engine
from overread.engine import Failure
from overread.errors import CohortError, IntegrityError
from overread.learn import linear_head
from overread.learn import search as searching
from overread.learn.plan import Plan, halves
from overread.learn.search import Settings, Space, Trial
from overread.stats.metrics import mean_auroc
from overread.stats.resample import Who
from overread.stats.splits import Split
from overread.steps.run import read_json, write_json

NAME = "search.json"
"""What was tried and what came of it, in the run's folder."""

PARTS = 3
"""Of five parts of the patients so many are read, each by a network that learned from the other four."""

FEWEST = 40
"""Training images below which parts say nothing of settings."""

PATIENCE_S = 6 * 3600.0
"""So long one training may take on a cluster."""

Judge = Callable[[Sequence[tuple[Settings, int]]], Iterable[float]]
"""(settings, number of the part) → AUROC of that part, in the same order; NaN where it could not be trained."""

Parts = Sequence[tuple[np.ndarray, np.ndarray]]
"""(rows learned from, rows read) of the training cohort, for each part."""


@dataclass(frozen=True)
class Limit:
    """How long to search: by the number of configurations, by the clock, or both.

    Parameters
    ----------
    trials : int, optional
        The plan's own settings count as one.
    seconds : float, optional
        Of training in the search alone.
    at_once : int
        Configurations that are proposed together, to be tried beside one another.
    """

    trials: int | None = None
    seconds: float | None = None
    at_once: int = 1


def parts_of(split: Split, known: np.ndarray, who: Sequence[Who], *, seed: int) -> Parts:
    """Return the parts of the training cohort on which configurations are judged, by patient.

    Raises
    ------
    CohortError
        When there are too few images, or too few patients with an answer, to judge anything.
    """
    n = len(split.cohorts["training"])
    named = [str(w) if w is not None else f"?{i}" for i, w in enumerate(who)]
    found = list(linear_head.folds(known, named, rng=np.random.default_rng(seed)))[:PARTS] if n >= FEWEST else []
    if not found or any(not _both_answers(known[test]) for _, test in found):
        raise CohortError(
            f"{n} training images, too few with each answer to judge settings on parts of them",
            expected=f"at least {FEWEST} images, and both answers in each part",
            do="leave --search out, or collect more",
        )
    refuse_leak(split, [[split.cohorts["training"][i] for i in rows] for part in found for rows in part], named)
    return found


def _both_answers(known: np.ndarray) -> bool:
    return not math.isnan(mean_auroc(known, np.zeros(known.shape)))


def refuse_leak(split: Split, sides: Sequence[Sequence[tuple[str, str, str | None]]], who: Sequence[str]) -> None:
    """Raise unless all that a search looks at is of the training cohort, and no patient is on both sides of a part.

    Parameters
    ----------
    split : Split
    sides : sequence
        Learned from, read, learned from, read, …: (image, study, patient) of each.
    who : sequence of str
        Whose image each of the training cohort is.

    Raises
    ------
    IntegrityError
    """
    owner = dict(zip(split.cohorts["training"], who, strict=True))
    strange = [entry for side in sides for entry in side if entry not in owner]
    if strange:
        raise IntegrityError(
            f"a search that would look at {len(strange):,} images outside the training cohort",
            expected="training images alone",
            do="report this: it is our fault",
        )
    for learned, read in zip(sides[::2], sides[1::2], strict=True):
        both = {owner[e] for e in learned} & {owner[e] for e in read}
        if both:
            raise IntegrityError(
                f"{len(both):,} patients on both sides of a part", expected="none", do="report this: it is our fault"
            )


def search(
    space: Space, judge: Judge, *, limit: Limit, seed: int, record: Path, of: str = "", parts: int = PARTS,
    tell: Callable[[Sequence[Trial]], object] = lambda trials: None,
) -> list[Trial]:  # fmt: skip
    """Try configurations until the limit is reached, and return them; the first is the plan's own.

    After every figure all there is to know is written to ``record``; a search that was killed goes on from it with the
    same proposals, so that the same seed and number of configurations give the same record.

    Parameters
    ----------
    space : mapping
    judge : callable
    limit : Limit
    seed : int
    record : Path
        ``search.json``
    of : str
        What is searched round: a record of something else is not gone on with.
    parts : int
        Parts that a configuration may be judged on.
    tell : callable
        Told all trials after each figure.
    """
    head = {"of": of, "space": {k: list(v) for k, v in space.items()}, "parts": parts, "seed": seed, "at_once": limit.at_once}  # fmt: skip
    trials, spent = _read(record, head)
    while True:
        while pending := _pending(_decide(trials, parts), parts):
            began = time.monotonic()
            asked = [(trials[i].settings, len(trials[i].figures)) for i in pending]
            for i, figure in zip(pending, judge(asked), strict=True):
                trials[i] = replace(trials[i], figures=(*trials[i].figures, float(figure)))
                spent, began = spent + time.monotonic() - began, time.monotonic()
                _write(record, head, trials, spent)
                tell(trials)
        _write(record, head, trials, spent)
        if not _another(trials, limit, spent):
            return trials
        room = len(trials) + limit.at_once if limit.trials is None else limit.trials
        count = 1 if not trials else min(limit.at_once, room - len(trials))
        number = trials[-1].round + 1 if trials else 0
        settings = searching.propose(space, trials, seed=seed, count=count) if trials else [dict.fromkeys(space, 1.0)]
        trials += [Trial(s, round=number) for s in settings]
        _write(record, head, trials, spent)


def _pending(trials: Sequence[Trial], parts: int) -> list[int]:
    """Return which configurations wait for their next part: those of the last round that are as far as the least far."""
    waiting = [i for i, t in enumerate(trials) if not t.over]
    least = min((len(trials[i].figures) for i in waiting), default=0)
    return [i for i in waiting if len(trials[i].figures) == least]


def _decide(trials: list[Trial], parts: int) -> list[Trial]:
    """End the configurations that are not worth another part, once all of their round are equally far.

    It can be asked again at any time, and decides the same: a search may be killed between a figure and its decision.
    """
    waiting = [i for i, t in enumerate(trials) if not t.over]
    if len({len(trials[i].figures) for i in waiting}) == 1:
        before = list(trials)
        for i in waiting:
            others = [t for j, t in enumerate(before) if j != i]
            if not searching.goes_on(before[i], others, parts=parts):
                trials[i] = replace(before[i], over=True)
    return trials


def _another(trials: Sequence[Trial], limit: Limit, spent: float) -> bool:
    if not trials:
        return True
    if limit.trials is not None and len(trials) >= limit.trials:
        return False
    return limit.seconds is None or spent + spent / len(trials) <= limit.seconds


def _read(record: Path, head: Mapping[str, Any]) -> tuple[list[Trial], float]:
    if not record.exists():
        return [], 0.0
    kept = read_json(record)
    if any(kept.get(k) != v for k, v in head.items()):
        return [], 0.0  # of another plan: nothing of it says anything of this one
    trials = [
        Trial(t["settings"], tuple(math.nan if f is None else f for f in t["figures"]), t["over"], t["round"])
        for t in kept["trials"]
    ]
    return trials, kept["seconds"]


def _write(record: Path, head: Mapping[str, Any], trials: Sequence[Trial], spent: float) -> None:
    rows = [
        {"settings": dict(t.settings), "figures": [None if math.isnan(f) else f for f in t.figures], "over": t.over, "round": t.round}
        for t in trials
    ]  # fmt: skip
    write_json(record, {**head, "trials": rows, "seconds": round(spent, 1)})


# --- with networks -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Order:
    """One training of a search: a plan, and which rows of which file it learns from and reads."""

    plan: Plan
    inputs: str
    known: str
    part: int
    checkpoint: str


def networks_judge(
    plan: Plan, inputs_of: Callable[[Plan], Path], known: np.ndarray, parts: Parts, home: Path, *,
    cluster: str | None = None,
) -> Judge:  # fmt: skip
    """Return what judges configurations by training their networks, here or on a cluster: the same figures.

    Parameters
    ----------
    plan : Plan
    inputs_of : callable
        A plan → the file of the training cohort's network inputs as its recipe makes them.
    known : ndarray, (n, outputs)
        Answers of the training cohort.
    parts : sequence of (rows learned from, rows read)
    home : Path
        For what lies between: answers and rows, checkpoints.
    cluster : str, optional
    """
    file = home / "parts.npz"
    rows = {f"{side}{i}": r for i, part in enumerate(parts) for side, r in zip(("train", "test"), part, strict=True)}
    np.savez(file, known=known, **rows)

    def judge(asked: Sequence[tuple[Settings, int]]) -> Iterator[float]:
        orders = []
        for settings, part in asked:
            one = replace(searching.applied(plan, settings), ensemble=1, views=())
            name = "-".join(f"{k}{v:.6g}" for k, v in settings.items())
            inputs = inputs_of(one).resolve()
            orders.append(
                Order(one, str(inputs), str(file.resolve()), part, str(home.resolve() / f"{name}-{part}.npz"))
            )
        if cluster is not None:
            from overread.engine.cluster import on_cluster  # only for those who have one

            far = partial(on_cluster, cluster=cluster, shared=[file, inputs.parent], into=home, chunk=1)
            answers = far(judged, orders, patience_s=PATIENCE_S)
        else:
            answers = engine.map(judged, orders, workers=1)
        for order, answer in zip(orders, answers, strict=True):
            yield math.nan if isinstance(answer, Failure) else answer
            Path(order.checkpoint).unlink(missing_ok=True)

    return judge


def judged(order: Order) -> float:
    """Train one configuration on one part and return how well it reads the rest of the training cohort."""
    from overread.learn import fit  # Keras comes in here
    from overread.learn.framework import forget, natives_to

    inputs = np.load(order.inputs, mmap_mode="r")
    with np.load(order.known, allow_pickle=False) as kept:
        known, train, test = kept["known"], kept[f"train{order.part}"], kept[f"test{order.part}"]
    nothing = (inputs[:0], known[:0])
    with natives_to(None):
        fitted = fit.fit(
            halves(order.plan)[0] if order.plan.network == "pair" else order.plan,  # what chance and settings decide
            training=(np.asarray(inputs[train]), known[train]),
            tuning=nothing,
            score=lambda logits, truth: math.nan,
            checkpoint=Path(order.checkpoint),
        )
        figure = mean_auroc(known[test], fit.logits(fitted.built, inputs[test]))
        forget()
    return figure
