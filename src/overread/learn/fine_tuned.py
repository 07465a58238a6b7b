"""A start that goes on learning: first the line on frozen features, then, from there, the layers below it, slowly.

The line comes first because a head that knows nothing would send large and senseless changes down into what the start
has learned; networks fine-tuned from the line read images of other departments better (Kumar et al. 2022).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from overread.learn import fit as fitting
from overread.learn import frozen
from overread.learn.framework import keras
from overread.learn.networks import Built
from overread.learn.plan import Plan


def fit(
    plan: Plan,
    *,
    training: tuple[np.ndarray, np.ndarray],
    tuning: tuple[np.ndarray, np.ndarray],
    score: Callable[[np.ndarray, np.ndarray], float],
    groups: Sequence[Hashable] | None = None,
    checkpoint: Path,
    tell: Callable[[dict[str, Any]], object] = lambda news: None,
) -> fitting.Fitted:
    """Fit the head on the start's own features, then train it together with the layers that the plan does not hold.

    Parameters
    ----------
    plan : Plan
        ``start`` names the weights and how many blocks stay as they came, ``optimiser`` how slowly the first ones learn.
    training, tuning, score, checkpoint, tell
        As for `learn.fit.fit`.
    groups : sequence, (n,), optional
        Patient of each training image, for the penalty of the line.

    References
    ----------
    Kumar et al. 2022, arXiv 2202.10054.
    """
    keras.utils.set_random_seed(plan.seed)
    built = fitting.build(plan)
    if not checkpoint.exists():  # else the head is kept there, with everything else
        settle(built, training[0], seed=plan.seed)
        frozen.fit_head(built, plan, training=training, groups=groups)
    return fitting.fit(
        plan, training=training, tuning=tuning, score=score, checkpoint=checkpoint, tell=tell, built=built
    )


SETTLED = 20
"""Batches from which the statistics of normalisation are taken anew."""


def settle(built: Built, images: np.ndarray, *, seed: int, batch: int = 32) -> None:
    """Take the statistics of each normalisation from the images that are learned from now; nothing else changes.

    Those that came with the weights are of other images, changed more strongly: with them a line would be fitted to
    averages that are others as soon as the layers go on learning. A network without normalisation stays as it is.
    """
    own = [layer for layer in built.trained.layers if isinstance(layer, keras.layers.BatchNormalization)]
    if not own or len(images) < 2:
        return
    order, before = np.random.default_rng(seed).permutation(len(images)), [layer.momentum for layer in own]
    for number in range(min(SETTLED, max(1, len(images) // batch))):
        for layer in own:
            layer.momentum = number / (number + 1)  # the mean over the batches, each counting the same
        built.trained(np.asarray(images[np.sort(order[number * batch : (number + 1) * batch])]), training=True)
    for layer, momentum in zip(own, before, strict=True):
        layer.momentum = momentum
