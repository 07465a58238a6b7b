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
        frozen.fit_head(built, plan, training=training, groups=groups)
    return fitting.fit(
        plan, training=training, tuning=tuning, score=score, checkpoint=checkpoint, tell=tell, built=built
    )
