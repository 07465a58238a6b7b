"""Which function trains the network of a plan, and how many steps it takes. Loads Keras only when it is asked."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any

from overread.learn.plan import Plan
from overread.learn.pretrained_start import NAME


def trainer_of(plan: Plan, *, groups: Sequence[Hashable], n: int) -> tuple[int, Callable[..., Any]]:
    """Return how many steps one network of a plan takes, and what trains it (called as `learn.fit.fit` is).

    Parameters
    ----------
    plan : Plan
    groups : sequence, (n,)
        Patient of each training image: a line on a start's features is chosen by cross-validation over them.
    n : int
        Training images.
    """
    if plan.network == "features":
        from overread.learn import frozen

        return frozen.steps(n), partial(frozen.fit, groups=groups)
    if plan.network == "fine-tuned" or plan.start.get("name") == NAME:
        from overread.learn import fine_tuned

        return plan.epochs * max(1, n // plan.batch), partial(fine_tuned.fit, groups=groups)
    if plan.network == "slice-features":
        from overread.learn import slice_features

        return slice_features.steps(plan, n), partial(slice_features.fit, groups=groups)
    if plan.network == "pair":
        from overread.learn import pair

        return pair.steps(plan, n), partial(pair.fit_pair, groups=groups)
    from overread.learn import fit

    return plan.epochs * max(1, n // plan.batch), fit.fit
