"""Teach a narrower network what another one answers: plans of the students, what they are taught, and how they are trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit, softmax

from overread.learn import plan as planning
from overread.learn.plan import Plan

WIDTHS = (2 / 3, 1 / 2, 1 / 3, 1 / 4)
"""Shares of the plan's own widths that are tried; where several networks or views answer together, also the whole."""

NARROWEST = 4


def students(plan: Plan, shares: tuple[float, ...] = WIDTHS) -> dict[str, Plan]:
    """Return the plans of the students by their widths, widest first: one network each, which reads each image once.

    Parameters
    ----------
    plan : Plan
        Of a residual network, or of a pair: students are like its half from nothing.
    shares : tuple of float
        Of the plan's own widths.

    Examples
    --------
    >>> from overread.domain import Task
    >>> seen = planning.Fingerprint(900, (1, 60, 60), 1, "", "stored", 0, eight_bit=True)
    >>> p = planning.draw_up(Task(("x",), "binary", "x"), seen, network="residual", seed=0)
    >>> p.ensemble, list(students(p))
    (3, ['24-48-96', '16-32-64', '12-24-48', '8-16-32', '6-12-24'])
    """
    several = plan.ensemble > 1 or bool(plan.views) or plan.network == "pair"
    plan = _from_nothing(plan)
    found = {}
    for share in sorted({*shares, *((1.0,) if several else ())}, reverse=True):
        widths = [max(NARROWEST, round(w * share)) for w in plan.build["widths"]]
        one = planning.changed(plan, "network", "taught by another network: see distil.json", widths=widths, rule="distilled")  # fmt: skip
        one = planning.changed(one, "ensemble", "one network, taught by another", networks=1, rule="distilled")
        one = planning.changed(one, "views", "each image is read once", mirrored=[], rule="distilled")
        found["-".join(map(str, widths))] = one
    return found


def _from_nothing(plan: Plan) -> Plan:
    """Return the plan of the half of a pair that begins with nothing, on the pair's own inputs; another plan as it is."""
    if plan.network != "pair":
        return plan
    alone = planning.halves(plan)[0].build
    parts = {**plan.parts, "start": {"name": "random", "rule": "distilled", "reason": "a student begins with nothing"}}
    shown = {"pooled": alone["pooled"]} if "pooled" in alone else {}
    parts["network"] = {**plan.parts["network"], **shown, "name": "residual"}
    return replace(planning.planned(plan.task, parts), head=plan.head)


def answers(kind: str, logits: np.ndarray) -> np.ndarray:
    """Return the teacher's answers as what a student is to say, (n, outputs).

    Examples
    --------
    >>> answers("binary", np.array([[0.0], [2.0]])).round(2).tolist()
    [[0.5], [0.88]]
    """
    return softmax(logits, axis=1) if kind in ("multiclass", "ordinal") else expit(logits)


def teach(
    plan: Plan,
    images: np.ndarray,
    soft: np.ndarray,
    *,
    tuning: tuple[np.ndarray, np.ndarray],
    score: Callable[[np.ndarray, np.ndarray], float],
    checkpoint: Path,
    tell: Callable[[dict[str, Any]], object] = lambda news: None,
):
    """Train a student on the teacher's answers to the training images, and return it as `learn.fit.fit` does.

    The teacher's answers already hold what the rarer class weighed, and are as sure as they are: neither is done twice.
    Where no one knows the answer of an image, the teacher's is learned all the same.

    Parameters
    ----------
    plan : Plan
        One of `students`.
    images : ndarray, (n, …)
    soft : ndarray, (n, outputs)
        `answers` of the teacher.
    tuning, score, checkpoint, tell
        As for `learn.fit.fit`.

    References
    ----------
    Hinton, Vinyals, Dean 2015, arXiv 1503.02531.
    """
    from overread.learn import fit

    # levels in their order are taught as plain classes: the teacher's shares are not spread over neighbours once more
    kind = "multiclass" if plan.task.kind == "ordinal" else plan.task.kind
    taught = replace(plan, task=replace(plan.task, kind=kind), weigh_classes=False, smoothing=0.0)
    return fit.fit(taught, training=(images, soft), tuning=tuning, score=score, checkpoint=checkpoint, tell=tell)
