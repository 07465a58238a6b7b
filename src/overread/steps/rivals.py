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
from overread.errors import CohortError, RunError
from overread.learn import linear_head, starts
from overread.learn.applications import Brought
from overread.learn.pretrained_start import Given
from overread.learn.trainer import trainer_of
from overread.stats.folds import difference
from overread.stats.metrics import mean_auroc
from overread.steps import plan as planned
from overread.steps.opened import open_archive
from overread.steps.progress import bar
from overread.steps.question import truth
from overread.steps.scores import whose
from overread.steps.start import open_start, unseen
from overread.store.archive import Archive

NETWORKS = ("residual", "features", "fine-tuned", "pair")
"""Tried against each other."""

FOR_VOLUMES = ("residual", "features", "fine-tuned", "slices", "slice-features")
"""The same, where there are volumes: those that read slices in place of the pair."""

BEFORE = "pretrained"
"""What the residual network is called that begins with a start which was named."""

QUICKEST = ("features", "slice-features", "residual", "pretrained", "slices", "fine-tuned", "pair")
"""Which is taken first where neither is better."""

TIE = 0.002
"""Differences of AUROC below this are none: two seeds of one network differ by as much."""

FEWEST_ANSWERS = 3
"""Of each answer, in each part, for a start to be judged on images alone that it has not looked at."""

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
        How much better the network that is taken is than the best of the others, over the same parts.
    chosen, reason : str
    images : int
        Of training and tuning patients.
    """

    figures: Mapping[str, tuple[float, ...]]
    gain: Estimate
    chosen: str
    reason: str
    images: int

    def to_json(self) -> dict[str, Any]:
        """Return it for ``--json``."""
        return {
            "figures": plain(self.figures),
            "gain": plain(self.gain),
            "chosen": self.chosen,
            "reason": self.reason,
            "images": self.images,
            "tried": len(self.figures),
        }

    @property
    def told(self) -> str:
        """How many were tried on what, and each one's figure, in a line."""
        each = ", ".join(
            f"{name} {np.mean([v for v in f if v == v] or [np.nan]):.3f}" for name, f in self.figures.items()
        )
        return f"{len(self.figures)} networks were tried on {self.images:,} training and tuning images: AUROC {each}"

    def __str__(self) -> str:
        lines = [f"{name:<14}  AUROC {np.mean(f):.3f}  ({', '.join(f'{v:.3f}' for v in f)})" for name, f in self.figures.items()]  # fmt: skip
        return "\n".join([*lines, self.reason])


def rivals(
    archive: object, *, label: str, split_column: str | None = None, kind: str = "auto", seed: int = 0,
    repeats: int = 1, most: int = linear_head.FOLDS, start: str | Path | None = None, progress: bool = True,
) -> Rivals:  # fmt: skip
    """Train a network from nothing, a line on a start, a start that learns on, a pair (of volumes: slices); compare them.

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
    start : path, optional
        What `pretrain` wrote, or a run: the residual network that begins with it is one of the rivals.
    progress : bool

    Raises
    ------
    CohortError
        When there are too few images.
    RunError
        When the extras [train] and [starts] are not installed.
    """
    given = None if start is None else open_start(start)
    if isinstance(given, Brought):
        raise RunError("weights of one of Keras' applications among rivals", expected="a start of the residual network", do="train with --start alone, and compare the runs with `overread compare`")  # fmt: skip
    with open_archive(archive) as store:
        divided = planned.divide(store, label=label, kind=kind, split_column=split_column, seed=seed, progress=progress)
        return compare(store, divided, repeats=repeats, most=most, start=given, progress=progress)


def compare(
    store: Archive,
    divided: planned.Divided,
    *,
    side_matters: bool | None = None,
    repeats: int = 1,
    most: int = linear_head.FOLDS,
    start: Given | None = None,
    progress: bool = True,
) -> Rivals:
    """Compare the networks on patients that were divided already; as `rivals` otherwise."""
    entries = [e for cohort in ("training", "tuning") for e in divided.split.cohorts[cohort]]
    if len(entries) < FEWEST:
        raise CohortError(
            f"{len(entries)} training and tuning images", expected=f"at least {FEWEST}", do="collect more"
        )
    how = partial(planned.draw_up, store, divided, side_matters=side_matters, progress=progress)
    plans = {NETWORKS[0]: how(network=NETWORKS[0])}
    others = FOR_VOLUMES if len(plans[NETWORKS[0]].input_shape) == 4 else NETWORKS
    if starts.available() or start is None:
        plans |= {name: how(network=name) for name in others[1:]}
    if start is not None:
        plans[BEFORE] = how(network=NETWORKS[0], start=start)
    known = truth([divided.by_name[study] for _, study, _ in entries], divided.task)
    who = np.array([str(w) for w in whose(entries, divided.certificate["copies"])])
    rng = np.random.default_rng(divided.seed)
    parts = list(linear_head.folds(known, who, rng=rng, repeats=repeats))[: most * repeats]
    parts, told = judged_fairly(parts, known, unseen(start, entries) if start is not None else None)
    figures: dict[str, list[float]] = {name: [] for name in plans}
    with (
        tempfile.TemporaryDirectory() as cache,
        bar(total=len(parts) * len(plans), what="try networks", unit="training", show=progress) as line,
    ):
        for name, plan in plans.items():
            inputs = _inputs(store, entries, plan, Path(cache) / name)
            for number, (train, test) in enumerate(parts):
                home = Path(cache) / f"{name}-{number}.npz"
                logits = _trained(plan, inputs[train], known[train], who[train], home)(inputs[test])
                figures[name].append(mean_auroc(known[test], logits))
                line.update(1)
    share = len(parts[0][1]) / len(parts[0][0])
    found = decide({name: tuple(f) for name, f in figures.items()}, n=len(entries), test_over_train=share)
    return replace(found, reason=f"{found.reason}{told}")


def judged_fairly(parts, known: np.ndarray, unseen: np.ndarray | None):
    """Return the parts so that only images judge which a start has not looked at, and what to say of it.

    Where too few of these have an answer all images judge, which flatters the start, and it is said.

    Examples
    --------
    >>> known, seen = np.tile([[0.0], [1.0]], (8, 1)), np.arange(16) < 8
    >>> judged_fairly([(np.arange(8), np.arange(8, 16))], known, seen)[1]
    '. The start had looked at 8 of the 16 images, without their answers, and all of them judged: that flatters it'
    >>> [test.tolist() for _, test in judged_fairly([(np.arange(8), np.arange(16))], known, seen)[0]]
    [[0, 1, 2, 3, 4, 5, 6, 7]]
    """
    if unseen is None or unseen.all():
        return parts, ""
    seen = (
        f". The start had looked at {int((~unseen).sum()):,} of the {len(unseen):,} images, without their answers, and "
    )
    fair = [(train, test[unseen[test]]) for train, test in parts]
    if min(min((known[test] == v).sum(axis=0).min() for v in (0, 1)) for _, test in fair) >= FEWEST_ANSWERS:
        return fair, f"{seen}only the others judged"
    return parts, f"{seen}all of them judged: that flatters it"


def decide(figures: Mapping[str, Sequence[float]], *, n: int, test_over_train: float) -> Rivals:
    """Return which of several networks to take: the best on average, or where it is a tie the quickest of the best.

    Examples
    --------
    >>> found = decide({"residual": (0.80, 0.82, 0.81), "features": (0.91, 0.92, 0.90)}, n=100, test_over_train=0.25)
    >>> found.chosen
    'features'
    """
    values = {name: np.asarray(f, float) for name, f in figures.items()}
    defined = ~np.isnan(np.stack(list(values.values()))).any(axis=0)
    mean = {name: float(v[defined].mean()) if defined.any() else 0.0 for name, v in values.items()}
    best = max(mean.values())
    order = sorted(values, key=lambda name: QUICKEST.index(name) if name in QUICKEST else len(QUICKEST))
    chosen = next(name for name in order if mean[name] >= best - TIE)
    other = max((name for name in values if name != chosen), key=mean.__getitem__)
    gain = difference((values[chosen] - values[other])[defined], test_over_train=test_over_train, n=n)
    words = f"{chosen} less {other}: AUROC {gain.value:+.3f} ({gain.low:+.3f} to {gain.high:+.3f}) on {int(defined.sum())} parts held out"  # fmt: skip
    if gain.low > 0:
        reason = f"{words}: {SURELY[chosen]}; take {chosen}"
    elif abs(mean[chosen] - mean[other]) < TIE or not defined.any():
        reason = f"{words}: neither is surely better, and it is the quicker one; take {chosen}"
    else:
        reason = f"{words}: neither is surely better; take {chosen}, which was the better one here"
    return Rivals({k: tuple(float(v) for v in f) for k, f in figures.items()}, gain, chosen, reason, n)


SURELY = {
    "features": "what was learned elsewhere helps here",
    "residual": "these images teach a network more than what was learned from photographs can say",
    "fine-tuned": "what was learned elsewhere helps here, and more so where it goes on learning",
    "pair": "a network from nothing and a start are wrong in different cases",
    "pretrained": "what was learned before helps here",
    "slices": "what is to be seen lies in single slices",
    "slice-features": "what was learned elsewhere helps here, slice by slice",
}
"""Why a network is surely better, in words."""


def _inputs(store: Archive, entries, plan, into: Path) -> np.ndarray:
    from overread.learn.batches import preprocess_once

    images = (store.image(image) for image, _, _ in entries)
    return preprocess_once(images, recipe=plan.recipe, count=len(entries), into=into.with_suffix(".npy"))


def _trained(plan, inputs: np.ndarray, known: np.ndarray, who: np.ndarray, checkpoint: Path):
    """Train one network on one side of a part; return what gives its logits."""
    from overread.learn import fit as fitting  # Keras comes in here
    from overread.learn.framework import natives_to

    inputs = np.asarray(inputs)
    nothing = (inputs[:0], known[:0])
    _, how = trainer_of(plan, groups=who, n=len(inputs))
    with natives_to(None):
        fitted = how(replace(plan, ensemble=1), training=(inputs, known), tuning=nothing, score=lambda z, t: float("nan"), checkpoint=checkpoint)  # fmt: skip
    return lambda images: fitting.logits(fitted.built, np.asarray(images))
