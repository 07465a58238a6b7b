"""Two networks that see differently, side by side: one from nothing and a start, which answer with their mean.

Each is wrong where the other is not: together they read pictures of other looks better than either (docs/decisions/0020).
Their last maps have one grid, so that the pair is again a network with a global average and one linear layer.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from overread.learn import fine_tuned, fit, frozen
from overread.learn.members import together
from overread.learn.plan import Plan, halves


def fit_pair(
    plan: Plan,
    *,
    training: tuple[np.ndarray, np.ndarray],
    tuning: tuple[np.ndarray, np.ndarray],
    score: Callable[[np.ndarray, np.ndarray], float],
    groups: Sequence[Hashable] | None = None,
    checkpoint: Path,
    tell: Callable[[dict[str, Any]], object] = lambda news: None,
) -> fit.Fitted:
    """Train both halves of a pair, one after the other, each with its own checkpoint; return them as one network.

    Parameters
    ----------
    plan, training, tuning, score, tell
        As for `learn.fit.fit`. Tuning figures are those of the half that is being trained.
    groups : sequence, (n,), optional
        Patient of each training image, for the line of the start.
    checkpoint : Path
        Each half adds its name.
    """
    first, second = halves(plan)
    epochs = first.epochs + second.epochs
    told = {"training": training, "tuning": tuning, "score": score}
    one = fit.fit(
        first, **told, checkpoint=checkpoint.with_suffix(".nothing.npz"), tell=lambda news: tell({**news, "epochs": epochs})
    )  # fmt: skip
    if second.epochs:
        two = fine_tuned.fit(
            second, **told, groups=groups, checkpoint=checkpoint.with_suffix(".start.npz"),
            tell=lambda news: tell({**news, "epoch": news["epoch"] + first.epochs, "epochs": epochs}),
        )  # fmt: skip
    else:
        two = frozen.fit(second, **told, groups=groups)
    later = [{**story, "epoch": story["epoch"] + first.epochs} for story in two.history]
    return fit.Fitted(together([one.built, two.built]), [*one.history, *later], one.seconds + two.seconds)


def steps(plan: Plan, n: int) -> int:
    """How many steps `fit_pair` tells of for n training images."""
    return sum(half.epochs for half in halves(plan)) * max(1, n // plan.batch)
