"""Rivals: try networks against each other on training and tuning patients, and say in words which to take."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from overread.domain import Estimate
from overread.domain.canonical import plain
from overread.errors import CohortError
from overread.learn import linear_head
from overread.stats.folds import difference
from overread.stats.metrics import mean_auroc
from overread.steps import plan as planned
from overread.steps.progress import bar
from overread.steps.question import truth
from overread.steps.scores import whose
from overread.store.archive import Archive

NETWORKS = ("residual", "features")

FEWEST = 40
"""Images of training and tuning together, below which five parts say nothing."""


@dataclass(frozen=True)
class Rivals:
    """What trying found.

    Parameters
    ----------
    figures : mapping of str to tuple of float
        Network → AUROC of each part held out (mean over the labels).
    gain : Estimate
        How much better the second network is than the first, over the same parts.
    chosen, reason : str
    """

    figures: Mapping[str, tuple[float, ...]]
    gain: Estimate
    chosen: str
    reason: str

    def to_json(self) -> dict[str, Any]:
        """Return it for ``--json``."""
        return {"figures": plain(self.figures), "gain": plain(self.gain), "chosen": self.chosen, "reason": self.reason}

    def __str__(self) -> str:
        lines = [f"{name:<10} AUROC {np.mean(f):.3f}  ({', '.join(f'{v:.3f}' for v in f)})" for name, f in self.figures.items()]  # fmt: skip
        return "\n".join([*lines, self.reason])


def rivals(
    archive: object, *, label: str, split_column: str | None = None, kind: str = "auto", seed: int = 0,
    repeats: int = 1, most: int = linear_head.FOLDS, progress: bool = True,
) -> Rivals:  # fmt: skip
    """Train a network from nothing and a line on frozen features on the same parts of the patients, and compare them.

    Five parts by patient, of the training and tuning cohorts only: each part is read by networks that learned from the
    others. Calibration and testing patients are not looked at, so that their figures stay what they are.

    Parameters
    ----------
    archive : path, Archive, or what ``collect`` returned
    label, split_column, kind, seed
        As for `train`: the patients are divided the same way.
    repeats : int
        How often the parts are drawn.
    most : int
        Parts that are tried, for those who cannot wait: each takes a training.
    progress : bool

    Raises
    ------
    CohortError
        When there are too few images.
    RunError
        When the extras [train] and [starts] are not installed.
    """
    with Archive.open(planned.path_of(archive)) as store, tempfile.TemporaryDirectory() as cache:
        divided = planned.divide(store, label=label, kind=kind, split_column=split_column, seed=seed, progress=progress)
        entries = [e for cohort in ("training", "tuning") for e in divided.split.cohorts[cohort]]
        if len(entries) < FEWEST:
            raise CohortError(
                f"{len(entries)} training and tuning images", expected=f"at least {FEWEST}", do="collect more"
            )
        plans = {
            name: planned.draw_up(store, divided, network=name, side_matters=None, progress=progress)
            for name in NETWORKS
        }
        known = truth([divided.by_name[study] for _, study, _ in entries], divided.task)
        who = np.array([str(w) for w in whose(entries, divided.certificate["copies"])])
        parts = list(linear_head.folds(known, who, rng=np.random.default_rng(seed), repeats=repeats))[: most * repeats]
        figures: dict[str, list[float]] = {name: [] for name in NETWORKS}
        with bar(total=len(parts) * len(NETWORKS), what="try networks", unit="training", show=progress) as line:
            for name, plan in plans.items():
                inputs = _inputs(store, entries, plan, Path(cache) / name)
                for number, (train, test) in enumerate(parts):
                    home = Path(cache) / f"{name}-{number}.npz"
                    logits = _trained(plan, inputs[train], known[train], who[train], home)(inputs[test])
                    figures[name].append(mean_auroc(known[test], logits))
                    line.update(1)
    share = len(parts[0][1]) / len(parts[0][0])
    return decide({name: tuple(f) for name, f in figures.items()}, n=len(entries), test_over_train=share)


def decide(figures: Mapping[str, Sequence[float]], *, n: int, test_over_train: float) -> Rivals:
    """Return which of two networks to take: the better one where that is sure, else the one that is there in seconds.

    Examples
    --------
    >>> found = decide({"residual": (0.80, 0.82, 0.81), "features": (0.91, 0.92, 0.90)}, n=100, test_over_train=0.25)
    >>> found.chosen
    'features'
    """
    first, second = figures
    a, b = (np.asarray(figures[name], float) for name in (first, second))
    defined = ~(np.isnan(a) | np.isnan(b))
    gain = difference(b[defined] - a[defined], test_over_train=test_over_train, n=n)
    chosen = first if gain.high < 0 else second
    words = f"{second} less {first}: AUROC {gain.value:+.3f} ({gain.low:+.3f} to {gain.high:+.3f}) on {int(defined.sum())} parts held out"
    if gain.low > 0:
        reason = f"{words}: what was learned elsewhere helps here; take {second}"
    elif gain.high < 0:
        reason = (
            f"{words}: these images teach a network more than a line on photographs' features can say; take {first}"
        )
    else:
        reason = (
            f"{words}: neither is surely better; take {second}, which is there in seconds and has one number to choose"
        )
    return Rivals({k: tuple(float(v) for v in f) for k, f in figures.items()}, gain, chosen, reason)


def _inputs(store: Archive, entries, plan, into: Path) -> np.ndarray:
    from overread.learn.batches import preprocess_once

    images = (store.image(image) for image, _, _ in entries)
    return preprocess_once(images, recipe=plan.recipe, count=len(entries), into=into.with_suffix(".npy"))


def _trained(plan, inputs: np.ndarray, known: np.ndarray, who: np.ndarray, checkpoint: Path):
    """Train one network on one side of a part; return what gives its logits."""
    from overread.learn import fit as fitting  # Keras comes in here
    from overread.learn import frozen
    from overread.learn.framework import natives_to

    inputs = np.asarray(inputs)
    nothing = (inputs[:0], known[:0])
    how = partial(frozen.fit, groups=who) if plan.network == "features" else fitting.fit
    with natives_to(None):
        fitted = how(replace(plan, ensemble=1), training=(inputs, known), tuning=nothing, score=lambda z, t: float("nan"), checkpoint=checkpoint)  # fmt: skip
    return lambda images: fitting.logits(fitted.built, np.asarray(images))
