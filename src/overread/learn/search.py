"""Which settings of a plan may be searched over, what is tried next, and how far the choice may flatter.

A configuration is a few factors on the plan's own values: the plan itself is the configuration in which all are 1.
Proposals are Optuna's (tree-structured Parzen estimator); what was tried is kept by the caller, so that a search that
was killed goes on with the same proposals. Loads without Keras, and without Optuna until something is proposed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from overread.errors import RunError
from overread.learn import plan as planning
from overread.learn.plan import Plan

Space = Mapping[str, tuple[Any, ...]]
"""Setting → ("log", lowest, highest), or ("one of", value, …)."""

Settings = Mapping[str, float]

AT_FIRST = 8
"""So many configurations are drawn by chance before those that went well say where to look."""

STRETCH = {"rate": ("log", 0.25, 4.0), "decay": ("log", 0.1, 10.0), "exposure": ("log", 1 / 3, 3.0)}
WIDTHS = ("one of", 0.5, 1.0, 1.5)
LENGTHS = ("one of", 0.5, 1.0, 2.0)
LARGER = 1.5
"""A picture, or volume, that is larger than the plan's input is also tried at so many times its side."""

EXPOSURE = {"gamma": 3.0, "contrast": 3.0, "brightness": 1.0, "noise": 1.0}
"""What exposure means in a plan, and the most that a plan may say of it."""


@dataclass(frozen=True)
class Trial:
    """A configuration that was tried.

    Parameters
    ----------
    settings : mapping of str to float
        Factors on the plan's own values.
    figures : tuple of float
        AUROC of each part held out that has been read, in the order of the parts; NaN where it could not be read.
    over : bool
        No further part is read: all were, or the first ones went worse than most.
    round : int
        Configurations of one round were proposed together.
    """

    settings: Settings
    figures: tuple[float, ...] = ()
    over: bool = False
    round: int = 0

    @property
    def mean(self) -> float:
        """Mean over the parts that were read."""
        return float(np.mean(self.figures)) if self.figures else math.nan


def space_of(plan: Plan, *, side: int) -> dict[str, tuple[Any, ...]]:
    """Return what may be searched over for a plan.

    Parameters
    ----------
    plan : Plan
        Of a residual network, or of a pair, one half of which is one.
    side : int
        Longer side of the images themselves, in pixels.

    Raises
    ------
    RunError
        When the plan's network has nothing to search over.
    """
    if plan.network not in ("residual", "pair", "slices"):
        raise RunError(
            f"a search with the network {plan.network}", expected="the residual network, a pair or slices", do="leave --search or --network out"
        )  # fmt: skip
    space: dict[str, tuple[Any, ...]] = {"rate": STRETCH["rate"]}
    if plan.optimiser["weight_decay"] > 0:
        space["decay"] = STRETCH["decay"]
    if any(plan.augmentation.get(word) for word in EXPOSURE):
        space["exposure"] = STRETCH["exposure"]
    space |= {"width": WIDTHS, "length": LENGTHS}
    if plan.network == "residual" and side >= LARGER * max(plan.input_shape[:-1]):  # a pair's two grids are one
        space["side"] = ("one of", 1.0, LARGER)
    return space


def applied(plan: Plan, settings: Settings) -> Plan:
    """Return the plan with a configuration in it; the plan itself where all factors are 1.

    Examples
    --------
    >>> from overread.domain import Task
    >>> seen = planning.Fingerprint(900, (1, 60, 60), 1, "", "stored", 0, eight_bit=True)
    >>> p = planning.draw_up(Task(("x",), "binary", "x"), seen, network="residual", seed=0)
    >>> applied(p, {"rate": 2.0, "width": 0.5}).build["widths"], applied(p, {"rate": 1.0}) is p
    ((12, 24, 48), True)
    """
    why = "found by trying: see search.json"

    def by(name: str) -> float:
        return float(settings.get(name, 1.0))

    if by("rate") != 1 or by("decay") != 1:
        rate = plan.optimiser["learning_rate"] * by("rate")
        decay = min(1.0, plan.optimiser["weight_decay"] * by("decay"))
        plan = planning.changed(plan, "optimiser", why, learning_rate=_short(min(1.0, rate)), weight_decay=_short(decay), rule="search")  # fmt: skip
    if by("exposure") != 1:
        words = {w: _short(min(most, plan.augmentation[w] * by("exposure"))) for w, most in EXPOSURE.items() if w in plan.augmentation}  # fmt: skip
        plan = planning.changed(plan, "augmentation", why, **words, rule="search")
    if by("width") != 1:
        widths = [max(4, round(w * by("width"))) for w in plan.build["widths"]]
        plan = planning.changed(plan, "network", why, widths=widths, rule="search")
    if by("length") != 1:
        plan = planning.changed(plan, "training", why, epochs=max(1, round(plan.epochs * by("length"))), rule="search")
    if by("side") != 1:
        size = [max(8, 4 * round(n * by("side") / 4)) for n in plan.input_shape[:-1]]
        mm = plan.parts["input"].get("spacing_mm")  # a finer grid over the same part of the patient
        finer = {} if mm is None else {"spacing_mm": [_short(v / by("side")) for v in mm]}
        plan = planning.changed(plan, "input", why, size=size, **finer, rule="search")
    return plan


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def propose(space: Space, tried: Sequence[Trial], *, seed: int, count: int = 1) -> list[dict[str, float]]:
    """Return what to try next, from what was tried: the same for the same trials and seed, also after a restart.

    Parameters
    ----------
    space : mapping
    tried : sequence of Trial
    seed : int
    count : int
        Configurations that are tried at the same time.

    Raises
    ------
    RunError
        When Optuna is not installed.

    References
    ----------
    Bergstra et al. 2011, "Algorithms for hyper-parameter optimization"; Akiba et al. 2019,
    doi:10.1145/3292500.3330701 (Optuna).
    """
    optuna = needed()
    known = {name: _distribution(optuna, how) for name, how in space.items()}
    own = int(np.random.SeedSequence((seed, len(tried))).generate_state(1)[0])
    sampler = optuna.samplers.TPESampler(seed=own, n_startup_trials=AT_FIRST, constant_liar=True)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for trial in tried:
        if trial.figures and math.isfinite(trial.mean):
            given = {name: trial.settings.get(name, 1.0) for name in space}
            study.add_trial(optuna.trial.create_trial(params=given, distributions=known, value=trial.mean))
    return [{name: float(v) for name, v in study.ask(known).params.items()} for _ in range(count)]


def _distribution(optuna: Any, how: tuple[Any, ...]) -> Any:
    if how[0] == "log":
        return optuna.distributions.FloatDistribution(how[1], how[2], log=True)
    return optuna.distributions.CategoricalDistribution(how[1:])


def installed() -> bool:
    """Say whether there is anything to search with."""
    from importlib.util import find_spec

    return find_spec("optuna") is not None


def needed() -> Any:
    """Return Optuna, or say that it is to be installed.

    Raises
    ------
    RunError
    """
    if not installed():
        raise RunError(
            "a search needs Optuna, which is not installed", expected="the extra [search]", do='run: pip install "overread[search]"'
        )  # fmt: skip
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)  # what it has to say is told by us
    return optuna


def goes_on(trial: Trial, others: Sequence[Trial], *, parts: int) -> bool:
    """Say whether a configuration is worth another part: all are not read, and the first did not go worse than most.

    Half of the earlier ones are better than their median; below that a configuration is given up. The plan's own
    settings, in which nothing is changed, are read on every part, for the others to be held against.
    """
    n = len(trial.figures)
    if n >= parts or not all(map(math.isfinite, trial.figures)):
        return False
    if n == 0 or all(v == 1.0 for v in trial.settings.values()):
        return True
    held = [np.mean(other.figures[:n]) for other in others if len(other.figures) >= n]
    return len(held) < 4 or trial.mean >= float(np.median(held))


def best(trials: Sequence[Trial], *, parts: int) -> int:
    """Return the number of the configuration that read all parts best; the earlier of two that are alike.

    Examples
    --------
    >>> best([Trial({}, (0.8, 0.8), True), Trial({"rate": 2.0}, (0.9, 0.9), True), Trial({"rate": 3.0}, (0.99,), True)], parts=2)
    1
    """
    whole = [i for i, t in enumerate(trials) if len(t.figures) == parts and math.isfinite(t.mean)]
    return max(whole, key=lambda i: (trials[i].mean, -i)) if whole else 0


def flattery(trials: Sequence[Trial], *, parts: int) -> float:
    """Return by how much the best of several configurations looks better than it is, were all equally good.

    The largest of n figures that differ by luck alone lies above their mean by a known number of standard errors. The
    luck of one is taken from how the difference to the plan's own settings varies from part to part. It is an upper
    end: configurations that are alike share their luck, and those that really differ are not chosen by it.

    Returns
    -------
    float
        In units of the figure; NaN with fewer than two configurations that were read on every part.

    References
    ----------
    Blom 1958 (expected largest of n normal values); Cawley and Talbot 2010, JMLR 11:2079 (what selection flatters).
    """
    from statistics import NormalDist

    own = trials[0] if trials else None
    whole = [t for t in trials[1:] if len(t.figures) == parts and math.isfinite(t.mean)]
    if own is None or len(own.figures) < parts or not whole or parts < 2:
        return math.nan
    apart = np.array([np.subtract(t.figures, own.figures) for t in whole])
    luck = float(np.sqrt((apart.var(axis=1, ddof=1) / parts).mean()))
    n = len(trials)
    return luck * NormalDist().inv_cdf((n - 0.375) / (n + 0.25)) if n > 1 else 0.0
