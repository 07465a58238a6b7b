"""What a time allows: how long the first network trains, and how many more may join it. Loads without Keras."""

from __future__ import annotations

from dataclasses import replace

from overread.learn.plan import Plan, changed, halves

KEPT_BACK = 0.2
"""Share of the time for what comes after training: export, scores, calibration, report."""

SHORT = 120.0
"""Seconds; a shorter time is for one network, which may then train longer than planned."""

MOST_NETWORKS = 10
MOST_EPOCHS = 3.0
"""At most so many times the planned epochs: more time than that is better spent otherwise."""


def within(plan: Plan, seconds: float, *, step: float, n: int, networks: int | None = None) -> Plan:
    """Return the plan that a time allows: a good network first, then more of them.

    Parameters
    ----------
    plan : Plan
        As drawn up without regard to time.
    seconds : float
        Left for training and what comes after it.
    step : float
        Seconds that a training step takes on this machine, as measured.
    n : int
        Training images.
    networks : int, optional
        So many were asked for; the time is divided among them.
    """
    usable = max(0.0, (1 - KEPT_BACK) * seconds)
    epoch = step * max(1, n // plan.batch)
    told = f"a step takes {1000 * step:.0f} ms and {seconds:.0f} s are left"
    if networks is None and plan.ensemble > 1:
        plan = changed(plan, "ensemble", "one network first: the budget says how many more", networks=1, rule="budget")
    wanted = networks or 1
    epochs = int(usable / (epoch * wanted))
    if networks is None and seconds >= SHORT and epochs > plan.epochs:
        fit_in = min(MOST_NETWORKS, int(usable / (epoch * plan.epochs)))
        if fit_in < 2:
            return changed(plan, "training", f"{plan.parts['training']['reason']}; {told}")
        reason = f"{fit_in} networks of {plan.epochs} epochs each, which differ by their seed only: {told}"
        return changed(plan, "ensemble", reason, networks=fit_in, rule="as many as the budget allows")
    epochs = max(1, min(epochs, round(MOST_EPOCHS * plan.epochs)))
    return changed(plan, "training", f"{epochs} epochs instead of {plan.epochs}: {told}", epochs=epochs)


def stopped_at(plan: Plan, networks: int) -> Plan:
    """Return the plan as far as the time allowed it after all."""
    reason = f"{networks} of {plan.ensemble} networks were trained when the time was up"
    return changed(plan, "ensemble", reason, networks=networks)


LATEST = 0.9
"""Share of the time at which a network that still trains ends; what comes after training has the rest."""


def ended_early(plan: Plan, epochs: int) -> Plan:
    """Return the plan with the number of epochs after which the time was up; its values stay those that were followed."""
    words = plan.parts["training"]["reason"]
    whole = (
        sum(half.epochs or 1 for half in halves(plan)) if plan.network == "pair" else plan.epochs
    )  # a line is one pass
    return changed(plan, "training", f"{words}; ended after {epochs} of {whole} epochs, for the time was up")


def no_longer_than(plan: Plan, seconds: float, *, step: float, n: int, networks: int | None = None) -> Plan:
    """Return the plan, shortened where one training of it does not fit into a time; never lengthened, or with other networks.

    Examples
    --------
    A plan of 100 epochs, in a time for 40:

    >>> from overread.domain import Task
    >>> from overread.learn.plan import Fingerprint, draw_up
    >>> p = draw_up(Task(("x",), "binary", "x"), Fingerprint(320, (1, 28, 28), 1, "", "", 0), network="residual", seed=0)
    >>> p.epochs, no_longer_than(p, 500, step=1.0, n=320).epochs, no_longer_than(p, 5000, step=1.0, n=320).epochs
    (100, 40, 100)
    """
    fits = within(plan, seconds, step=step, n=n, networks=networks or 1)
    return (
        changed(plan, "training", fits.parts["training"]["reason"], epochs=fits.epochs)
        if fits.epochs < plan.epochs
        else plan
    )


def of_one(plan: Plan, number: int) -> Plan:
    """Return the plan of one of several networks: its own seed, by itself."""
    return replace(plan, seed=plan.seed + number, ensemble=1, views=())


LONG = 600.0
"""Seconds; from here on a first network answers early (`best-so-far`), and more time may go to a search."""

LEAST_TRIALS = 10
"""Fewer configurations find little: then the time is better spent on more networks, which cannot overfit tuning."""

TRIAL = 1.6
"""A configuration costs as much as so many trainings of the plan: up to three parts with four fifths of the images each,
but most are given up after the first."""


def for_search(plan: Plan, seconds: float, *, step: float, n: int, asked: bool = False) -> float:
    """Return how many seconds of a time go to a search over settings: half of what is usable, or none.

    Parameters
    ----------
    plan : Plan
    seconds : float
        Left for training and what comes after it.
    step : float
        Seconds that a training step takes on this machine.
    n : int
        Training images.
    asked : bool
        A search was asked for: then half of the time is its own, however few configurations that allows.
    """
    half = max(0.0, (1 - KEPT_BACK) * seconds) / 2
    one = step * max(1, n // plan.batch) * plan.epochs
    return half if asked or half >= LEAST_TRIALS * TRIAL * one else 0.0
