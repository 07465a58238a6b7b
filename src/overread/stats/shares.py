"""Shares of cases, and what is made of several of them: sums, differences and ratios, with several images a patient.

A share has Wilson's interval. Of several, each one's interval says how far it may be off, and what they share by coming
from the same patients says how far these errors go together (the method of variance estimates recovery, MOVER).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from overread.domain import Estimate
from overread.stats.jackknife import freedom, student
from overread.stats.resample import Cases, Z, per_patient


def wilson(successes: float, n: float) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a proportion.

    References
    ----------
    Wilson 1927, doi:10.1080/01621459.1927.10502953.

    Examples
    --------
    >>> [round(v, 4) for v in wilson(8, 10)]
    [0.4902, 0.9433]
    """
    if n == 0:
        return np.nan, np.nan
    low, high = _wilson(np.asarray(successes / n), np.asarray(float(n)))
    return float(low), float(high)


def _wilson(p: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    centre = (p + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * np.sqrt(p * (1 - p) / n + Z**2 / (4 * n**2))
    return np.clip(np.minimum(centre - half, p), 0, 1), np.clip(np.maximum(centre + half, p), 0, 1)


@dataclass(frozen=True)
class Shares:
    """Several shares of the same patients' cases.

    Parameters
    ----------
    value, low, high : ndarray, (k,)
        Each share with its interval.
    pull : ndarray, (patients, k)
        What each patient adds to the share, less the share itself.
    n, patients, single : ndarray, (k,)
        Cases and patients behind each, and how many single images these count as.
    """

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    pull: np.ndarray
    n: np.ndarray
    patients: np.ndarray
    single: np.ndarray


def shares(hits: np.ndarray, of: np.ndarray) -> Shares:
    """Return the shares Σ hits / Σ of, over patients.

    Parameters
    ----------
    hits, of : ndarray, (patients, k)
        How many of a patient's cases are hits, of how many. Each share is of one case or more.

    Notes
    -----
    Several images of one patient bear witness for fewer: Wilson's interval is taken on n / design effect, which is the
    variance between patients over that of as many single images, and never below 1. Where that
    variance is itself a guess by few patients, fewer still; but no fewer than if every patient's images were copies of
    one another, for then nothing has to be guessed: (Σ of)² / Σ of² patients of one size (Kish), less by the same share
    again for the chance of who is large. Drawing patients with replacement would miss shares near 1
    in one study of ten, as a sample without an error cannot tell of one.

    References
    ----------
    Korn and Graubard 1998, Survey Methodology 24:193 (design effect and Student's t in a proportion's interval); Rao
    and Scott 1992, doi:10.2307/2532311; Kish 1965, Survey Sampling (patients of unequal size).
    """
    n, patients = of.sum(0), (of > 0).sum(0)
    p = hits.sum(0) / n
    with np.errstate(divide="ignore", invalid="ignore"):
        pull = (hits - p * of) / n
        effect = (pull**2).sum(0) * patients / (patients - 1) / (p * (1 - p) / n)
        single = n / effect * (Z / student(freedom(pull, patients))) ** 2
    all_alike = (n**2 / (of**2).sum(0)) ** 2 / patients
    single = np.where(effect > 1, np.maximum(single, all_alike), n.astype(float))
    single = np.where(
        (p == 0) | (p == 1), patients, single
    )  # no variance to be seen: patients bear witness, not images
    single = np.maximum(np.where(patients == n, n, np.where(patients == 1, 1, single)), 1.0)
    low, high = _wilson(p, single)
    return Shares(p, low, high, pull, n, patients, single)


def counted(c: Cases, *parts: np.ndarray) -> np.ndarray:
    """Return how many of each patient's cases are in each part (boolean, (n,)): (patients, parts)."""
    return np.stack([per_patient(c, part.astype(float)) for part in parts], axis=1)


def proportion(c: Cases, hit: np.ndarray, of: np.ndarray, *, nobody: str) -> Estimate:
    """Return the share of the cases ``of`` that are ``hit`` (both boolean, (n,)), over the patients behind them.

    The interval is Wilson's, on as many single images as the patients' images count as (`shares`).

    Examples
    --------
    >>> from overread.stats.resample import cases
    >>> twice = cases([1] * 20, np.zeros(20), [f"P{i // 2}" for i in range(20)])
    >>> e = proportion(twice, np.arange(20) < 16, np.ones(20, bool), nobody="no cases")
    >>> print(e, "|", e.method)
    0.800 (0.490–0.943) | Wilson on 20 images that count as 10.0 single ones
    """
    part = c.subset(np.flatnonzero(of))
    if not of.any():
        return part.undefined(nobody)
    s = shares(counted(part, hit[of]), counted(part, np.ones(int(of.sum()), bool)))
    told = "Wilson"
    if not part.alone:
        told = f"Wilson on {int(s.n[0]):,} images that count as {s.single[0]:,.1f} single ones"
        if s.value[0] in (0.0, 1.0):
            told = f"Wilson on {part.patients:,} patients, as no case differs"
    return part.estimate(s.value[0], s.low[0], s.high[0], told)


def together(pull: np.ndarray) -> np.ndarray:
    """Return how far the errors of several figures go together: correlations (…, k, k) of pulls (patients, …, k)."""
    error = np.sqrt((pull**2).sum(0))
    cross = np.einsum("g...i,g...j->...ij", pull, pull)
    scale = error[..., :, None] * error[..., None, :]
    found = np.divide(cross, scale, out=np.zeros_like(cross), where=scale > 0)
    k = pull.shape[-1]
    found[..., np.arange(k), np.arange(k)] = 1.0
    return found


def mover(
    value: np.ndarray, low: np.ndarray, high: np.ndarray, weight: np.ndarray, alike: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the sum of weight × figure, and its interval made from the intervals of the figures.

    Parameters
    ----------
    value, low, high, weight : ndarray, (…, k)
    alike : ndarray, (…, k, k)
        How far their errors go together, as `together` finds it.

    References
    ----------
    Zou and Donner 2008, doi:10.1002/sim.3095; with what is in common, Zou 2007, doi:10.1037/1082-989X.12.4.399.

    Examples
    --------
    The difference of two shares of different people: Newcombe's interval.

    >>> p, (l, u) = np.array([0.9, 0.7]), np.array([wilson(72, 80), wilson(70, 100)]).T
    >>> v, low, high = mover(p, l, u, np.array([1.0, -1.0]), np.eye(2))
    >>> f"{v:.3f} ({low:.3f} to {high:.3f})"
    '0.200 (0.082 to 0.307)'
    """
    down = weight * np.where(weight > 0, value - low, high - value)  # signed: two that fall together widen a sum
    up = weight * np.where(weight > 0, high - value, value - low)
    middle = (weight * value).sum(-1)
    short, long = (np.sqrt(np.maximum(np.einsum("...i,...ij,...j->...", d, alike, d), 0)) for d in (down, up))
    return middle, middle - short, middle + long


def ratio(s: Shares, above: int, below: int) -> tuple[float, float, float]:
    """Return the ratio of two of the shares, and its interval made from theirs; ∞ where the lower share is 0.

    References
    ----------
    Zou and Donner 2008, doi:10.1002/sim.3095: the ratio for which the limit of the difference is 0.

    Examples
    --------
    Two shares of different patients.

    >>> hits, of = np.zeros((200, 2)), np.repeat(np.eye(2), 100, axis=0)
    >>> hits[:90, 0] = hits[100:120, 1] = 1
    >>> "{:.2f} ({:.2f}–{:.2f})".format(*ratio(shares(hits, of), 0, 1))
    '4.50 (3.08–6.76)'
    """
    a, b = s.value[above], s.value[below]
    alike = together(s.pull[:, [above, below]])[0, 1]
    ends = []
    for x, y in ((s.low[above], s.high[below]), (s.high[above], s.low[below])):
        # solve (a − r b)² = (a − x)² + r² (y − b)² − 2 r alike (a − x)(y − b) for r
        square, line, rest = y * (2 * b - y), a * b - alike * (a - x) * (y - b), x * (2 * a - x)
        root = np.sqrt(max(line**2 - square * rest, 0.0))
        ends.append((square, line, rest, root))
    (_, line, rest, root), (square, upper, _, upper_root) = ends
    low = rest / (line + root) if line + root > 0 else 0.0
    high = (upper + upper_root) / square if square > 0 else np.inf
    value = a / b if b else np.inf if a else np.nan
    return float(value), float(low), float(high)
