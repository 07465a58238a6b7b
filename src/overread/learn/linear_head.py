"""One linear layer on frozen features, shrunk as much as cross-validation by patient asks for.

For some hundred images the whole of a network has more to learn than they can teach; a line through features that were
learned elsewhere has one number to choose, the penalty, and is fitted in a second. Pure arrays: no framework.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import minimize

PENALTIES = tuple(10.0**k for k in np.arange(-5, 1.5, 0.5))
"""Strengths tried: weight of the squared length of the weights against the mean loss of a case, features in units of
their own spread times the root of their number."""

FOLDS, REPEATS = 5, 3
MANY = 500
"""From so many cases on the folds are drawn once: the choice is steady by itself."""


@dataclass(frozen=True)
class Line:
    """Weights on features as they come, and how they were chosen.

    Parameters
    ----------
    kernel : ndarray, (d, outputs)
    bias : ndarray, (outputs,)
    penalty : float
    loss : mapping of float to float
        Mean loss of cases held out, for each penalty tried.
    """

    kernel: np.ndarray
    bias: np.ndarray
    penalty: float
    loss: dict[float, float]

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Return (n, outputs)."""
        return np.asarray(features, np.float64) @ self.kernel + self.bias


def choose(
    features: np.ndarray,
    targets: np.ndarray,
    *,
    several: bool,
    groups: Sequence[Hashable],
    rng: np.random.Generator,
    positive_weight: np.ndarray | None = None,
    penalties: Sequence[float] = PENALTIES,
    tick: Callable[[int], object] = lambda n: None,
) -> Line:
    """Return the line whose penalty loses least on patients held out, fitted on all.

    Parameters
    ----------
    features : ndarray, (n, d)
    targets : ndarray, (n, outputs)
        What should be said: 0 to 1 for each output (−1 or NaN: unknown), or rows that sum to one.
    several : bool
        True: the outputs are answers that exclude each other (softmax); False: each is a yes or no (sigmoid).
    groups : sequence, (n,)
        Patient of each case; a patient is never on both sides.
    rng : numpy.random.Generator
        Draws the folds.
    positive_weight : ndarray, (outputs,), optional
        How much a yes counts against a no.
    penalties : sequence of float
    tick : callable
        Told 1 after each fold, `ticks(n)` times in all.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(80, 30)); y = (x[:, :1] + 0.1 * rng.normal(size=(80, 1)) > 0).astype(float)
    >>> line = choose(x, y, several=False, groups=range(80), rng=rng)
    >>> bool(np.abs(line.kernel[0, 0]) > 2 * np.abs(line.kernel[1:, 0]).max())
    True
    """
    x, y = np.asarray(features, np.float64), _unknown_out(targets)
    loss = np.zeros(len(penalties))
    for train, test in folds(y, groups, rng=rng, repeats=1 if len(x) >= MANY else REPEATS):
        lines = path(x[train], y[train], several=several, penalties=penalties, positive_weight=positive_weight)
        loss += [
            _loss(line.logits(x[test]), y[test], several=several, positive_weight=positive_weight) for line in lines
        ]
        tick(1)
    best = int(np.argmin(loss))
    (line,) = path(x, y, several=several, penalties=[penalties[best]], positive_weight=positive_weight)
    tick(1)
    return replace(line, loss=dict(zip(penalties, loss / ticks(len(x)), strict=True)))


def out_of_fold(
    features: np.ndarray,
    targets: np.ndarray,
    *,
    several: bool,
    groups: Sequence[Hashable],
    rng: np.random.Generator,
    penalty: float,
    positive_weight: np.ndarray | None = None,
) -> np.ndarray:
    """Return what lines of one penalty say of patients that each of them was not fitted on, (n, outputs)."""
    x, y = np.asarray(features, np.float64), _unknown_out(targets)
    said = np.full(y.shape, np.nan)
    for train, test in folds(y, groups, rng=rng):
        (line,) = path(x[train], y[train], several=several, penalties=[penalty], positive_weight=positive_weight)
        said[test] = line.logits(x[test])
    return said


def ticks(n: int) -> int:
    """How many folds `choose` goes through for n cases, and the last fit.

    Examples
    --------
    >>> ticks(100), ticks(1000)
    (16, 6)
    """
    return FOLDS * (1 if n >= MANY else REPEATS) + 1


def folds(
    targets: np.ndarray, groups: Sequence[Hashable], *, rng: np.random.Generator, repeats: int = 1
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (training rows, test rows): five parts by patient, with about the same share of each answer.

    Patients are dealt out in order of their commonest answer, the rarest first, so that each part gets its share even
    of an answer that only five patients have.

    Examples
    --------
    >>> y = np.array([[0.0]] * 8 + [[1.0]] * 2); who = [0, 0, 1, 2, 3, 4, 5, 6, 7, 8]
    >>> parts = [set(test) for _, test in folds(y, who, rng=np.random.default_rng(0))]
    >>> sum(len(p) for p in parts), any({0, 1} <= p for p in parts)
    (10, True)
    """
    names, who = np.unique([str(g) for g in groups], return_inverse=True)
    answer = _answers(targets)
    kinds, kind = np.unique(answer, return_inverse=True)
    rarity = np.argsort(np.argsort(np.bincount(kind), kind="stable"))
    of = np.full(len(names), len(kinds))
    np.minimum.at(of, who, rarity[kind])  # a patient counts under the rarest answer it has
    for _ in range(repeats):
        dealt = np.lexsort((rng.random(len(names)), of))
        part = np.empty(len(names), int)
        part[dealt] = np.arange(len(names)) % FOLDS
        for number in range(min(FOLDS, len(names))):
            held = part[who] == number
            yield np.flatnonzero(~held), np.flatnonzero(held)


def path(
    features: np.ndarray,
    targets: np.ndarray,
    *,
    several: bool,
    penalties: Sequence[float],
    positive_weight: np.ndarray | None = None,
) -> list[Line]:
    """Return a line for each penalty; the strongest is found first, and each starts from the one before.

    With fewer cases than features the weights lie in the span of the cases (the penalty lets them grow nowhere else),
    so that the search is for as many numbers as there are cases, not features: the same line, many times faster.
    """
    x, y = np.asarray(features, np.float64), _unknown_out(targets)
    centre, spread = x.mean(axis=0), x.std(axis=0)
    scale = np.where(spread > 1e-9, spread, np.inf) * np.sqrt(x.shape[1])
    z = (x - centre) / scale
    short, back = _shortened(z)
    found: dict[float, np.ndarray] = {}
    start = np.zeros((short.shape[1] + 1) * y.shape[1])
    for penalty in sorted(penalties, reverse=True):
        start = _fit(short, y, penalty, several, positive_weight, start)
        found[penalty] = start
    out = []
    for penalty in penalties:
        w = found[penalty].reshape(-1, y.shape[1])
        kernel = (back @ w[1:]) / scale[:, None]
        out.append(Line(kernel, w[0] - centre @ kernel, float(penalty), {}))
    return out


def _shortened(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the cases in as many numbers as they span, (n, r), and the directions these count along, (d, r)."""
    wide = z.shape[0] < z.shape[1]
    values, vectors = np.linalg.eigh(z @ z.T if wide else z.T @ z)
    kept = values > 1e-10 * max(values[-1], 1e-300)
    values, vectors = np.sqrt(values[kept]), vectors[:, kept]
    return (vectors * values, (z.T @ vectors) / values) if wide else (z @ vectors, vectors)


def _fit(x: np.ndarray, y: np.ndarray, penalty: float, several: bool, positive_weight, start: np.ndarray) -> np.ndarray:
    shape = (x.shape[1] + 1, y.shape[1])

    def cost(flat: np.ndarray) -> tuple[float, np.ndarray]:
        w = flat.reshape(shape)
        loss, slope = _loss_and_slope(w[0] + x @ w[1:], y, several, positive_weight)
        grad = np.concatenate([slope.sum(axis=0)[None], x.T @ slope + penalty * w[1:]])
        return loss + 0.5 * penalty * float((w[1:] ** 2).sum()), grad.ravel()

    return minimize(cost, start, jac=True, method="L-BFGS-B", options={"maxiter": 500, "ftol": 1e-10, "gtol": 1e-6}).x


def _loss(logits: np.ndarray, y: np.ndarray, *, several: bool, positive_weight) -> float:
    return _loss_and_slope(logits, y, several, positive_weight)[0]


def _loss_and_slope(z: np.ndarray, y: np.ndarray, several: bool, positive_weight) -> tuple[float, np.ndarray]:
    """Mean cross-entropy of the answers known, and its slope in each logit."""
    known = ~np.isnan(y)
    t = np.where(known, y, 0.0)
    if several:
        known = known.all(axis=1, keepdims=True)
        top = z - z.max(axis=1, keepdims=True)
        log_p = top - np.log(np.exp(top).sum(axis=1, keepdims=True))
        n = max(int(known.sum()), 1)
        return float(-(t * log_p * known).sum() / n), (np.exp(log_p) * t.sum(1, keepdims=True) - t) * known / n
    w = 1.0 if positive_weight is None else 1.0 + t * (np.asarray(positive_weight) - 1.0)
    n = max(int(known.sum()), 1)
    p = np.exp(-np.logaddexp(0, -z))
    loss = (np.logaddexp(0, z) - z * t) * w * known
    return float(loss.sum() / n), (p - t) * w * known / n


def _unknown_out(targets: np.ndarray) -> np.ndarray:
    y = np.asarray(targets, np.float64)
    return np.where(y < 0, np.nan, y)


def _answers(targets: np.ndarray) -> np.ndarray:
    """One number for what is known of a case: its level, or the pattern of its yeses."""
    y = np.nan_to_num(_unknown_out(targets), nan=0.0)
    return np.where(y.shape[1] > 1, y.argmax(axis=1) + (y.max(axis=1) > 0), y[:, 0] > 0.5).astype(int)
