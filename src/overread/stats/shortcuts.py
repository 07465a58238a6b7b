"""What a label can be told from although it should not: the file's format, its size, the scanner, the site, the border.

Each fact is asked alone: how well does it rank patients it was not learned from? 0.5 is what it should be. A fact that
ranks well is a shortcut that a network will find too, and the network's figures then measure the fact.

References
----------
Zech et al. 2018, doi:10.1371/journal.pmed.1002683; DeGrave, Janizek, Lee 2021, doi:10.1038/s42256-021-00338-7.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from scipy.stats import binom

from overread.domain import Estimate
from overread.stats.ranking import auroc
from overread.stats.resample import Cases, Z, cases

FOLDS = 3
BINS = 8
"""Numbers are told apart by eighths of their training cases: high, low and in between may each speak for the label."""

WORTH_A_WARNING = 0.6
"""A fact is warned of when even the lower end of its interval is above this."""

SURPRISING, NEARLY_ALL = 0.01, 0.8
"""A value with (nearly) one answer only is told of when chance alone would bring that less often than this."""

UNKNOWN = "not said"


@dataclass(frozen=True)
class Shortcut:
    """How well one fact tells the label.

    Parameters
    ----------
    name : str
        In words: "file format".
    label : str
        The label, or level, that it tells best.
    auroc : Estimate
        In patients it was not learned from.
    values : tuple of (value, share with the label, n)
        The commonest values of the fact, for a reader.
    one_sided : tuple of (value, share with the label, n)
        Values (words, not ranges of numbers) of whose cases nearly all have the label, or nearly none: too rare,
        perhaps, to tell the label of many, but no less strange.
    """

    name: str
    label: str
    auroc: Estimate
    values: tuple[tuple[str, float, int], ...]
    one_sided: tuple[tuple[str, float, int], ...] = ()

    @property
    def warns(self) -> bool:
        """True when the fact clearly tells the label: its whole interval is above `WORTH_A_WARNING`."""
        return bool(self.auroc.low > WORTH_A_WARNING)


def find(
    facts: Mapping[str, Sequence],
    truth: np.ndarray,
    patients: Sequence[str | None] | None,
    *,
    labels: Sequence[str],
    rng: np.random.Generator,
) -> list[Shortcut]:
    """Return how well each fact alone tells the label, the strongest first. A fact with one value only is left out.

    Parameters
    ----------
    facts : mapping of str to sequence, (n,)
        Words or numbers; None or NaN where not said, which is an answer of its own.
    truth : ndarray, (n, outputs)
        1, 0 or NaN; one-hot for labels with several levels.
    patients : sequence of str or None, (n,)
        A patient is never on both sides of a fold.
    labels : sequence of str
        A name for each output.
    rng : numpy.random.Generator

    Examples
    --------
    >>> truth = np.tile([1.0, 0.0], 200)[:, None]
    >>> kinds = ["PNG" if t else "JPEG" for t in truth[:, 0]]
    >>> (only,) = find({"format": kinds, "site": ["A"] * 400}, truth, None, labels=["tumour"], rng=np.random.default_rng(0))
    >>> only.name, only.auroc.value, only.values[0], only.warns
    ('format', 1.0, ('JPEG', 0.0, 200), True)
    """
    truth = np.asarray(truth, float)
    found = []
    for name, said in facts.items():
        tried = []
        for j, label in enumerate(labels):
            shortcut = _one(name, label, said, truth[:, j], patients, rng=rng)
            if shortcut is not None:
                tried.append(shortcut)
        if tried:
            found.append(max(tried, key=lambda s: (np.nan_to_num(s.auroc.low), np.nan_to_num(s.auroc.value))))
    return sorted(found, key=lambda s: -np.nan_to_num(s.auroc.value))


def _one(name, label, said, truth, patients, *, rng) -> Shortcut | None:
    known = np.flatnonzero(~np.isnan(truth))
    kept = [said[i] for i in known]
    values = _words(kept)
    if len(set(values)) < 2:
        return None
    c = cases(truth, np.zeros(len(truth)), patients)
    who = rng.permutation(c.patients) % FOLDS
    parts = [_held_out(c, kept, fold=who[c.patient] == k) for k in range(FOLDS)]
    each = [auroc(part) for part in parts if part is not None]
    each = [e for e in each if np.isfinite(e.value)]
    if not each:
        return None
    numbers = [v for v in kept if _is_number(v)]
    shares = _shares(values, c.truth, numbers=numbers)
    strange = _one_sided(shares, float(c.truth.mean())) if len(set(numbers)) <= BINS else ()
    return Shortcut(name, label, _together(c, each), shares[:8], strange)


def _held_out(c: Cases, said: list, *, fold: np.ndarray) -> Cases | None:
    """Score the cases of a fold by the share of the label among the same value in the other folds."""
    learn, test = np.flatnonzero(~fold), np.flatnonzero(fold)
    if not len(learn) or not len(test):
        return None
    code, numbers = _encode([said[i] for i in learn]), len(c.truth)
    score = np.zeros(numbers)
    overall = c.truth[learn].mean()
    groups: dict[str, list[int]] = {}
    for i in learn:
        groups.setdefault(code(said[i]), []).append(c.truth[i])
    for i in test:
        seen = groups.get(code(said[i]), [])
        score[i] = (sum(seen) + overall) / (len(seen) + 1)  # one case of the ordinary share: a rare value proves little
    return replace(c, score=score).subset(test)


def _encode(said: list):
    """Return a function from a fact to the group it belongs to: the word itself, or which eighth a number lies in."""
    numbers = [v for v in said if _is_number(v)]
    if len(set(numbers)) <= BINS:
        return _word
    edges = np.unique(np.quantile(np.array(numbers, float), np.linspace(0, 1, BINS + 1)[1:-1]))
    return lambda v: str(int(np.searchsorted(edges, float(v), side="right"))) if _is_number(v) else _word(v)


def _is_number(value) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and np.isfinite(value)


def _word(value) -> str:
    if value is None or value == "" or (isinstance(value, (float, np.floating)) and not np.isfinite(value)):
        return UNKNOWN
    return f"{value:g}" if _is_number(value) else str(value)


def _words(said: list) -> list[str]:
    """Return each fact as a reader is told it: numbers with many values as ranges."""
    numbers = sorted(float(v) for v in said if _is_number(v))
    if len(set(numbers)) <= BINS:
        return [_word(v) for v in said]
    edges = np.unique(np.quantile(numbers, np.linspace(0, 1, 5)))
    told = [f"{_short(a)} to {_short(b)}" for a, b in pairwise(edges)]
    inner = edges[1:-1]
    return [told[int(np.searchsorted(inner, float(v), side="right"))] if _is_number(v) else _word(v) for v in said]


def _short(number: float) -> str:
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.3g}"


def _together(c: Cases, each: list[Estimate]) -> Estimate:
    """Return the mean over the folds: cases are only ever compared with cases scored by the same rule.

    The folds' rules share cases, so that their figures are not independent: the spread is widened after Nadeau and
    Bengio 2003, doi:10.1023/A:1024068626366.
    """
    value = float(np.mean([e.value for e in each]))
    errors = [(e.high - e.low) / (2 * Z) for e in each]
    half = Z * float(np.sqrt(np.mean(np.square(errors)) * (1 / len(each) + 1 / max(1, FOLDS - 1))))
    told = f"mean of {len(each)} folds by patient; {each[0].method} within a fold"
    return c.estimate(value, max(0.0, value - half), min(1.0, value + half), told)


def _shares(values: list[str], truth: np.ndarray, *, numbers: list) -> tuple[tuple[str, float, int], ...]:
    """Return how often the label goes with each value: the commonest value first, ranges of numbers in their order."""
    said = np.array(values, dtype=object)
    rows = [(v, float(truth[said == v].mean()), int((said == v).sum())) for v in sorted(set(values))]
    if len(set(numbers)) <= BINS:
        return tuple(sorted(rows, key=lambda row: (-row[2], row[0])))
    lowest = dict(sorted(zip(_words(numbers), numbers, strict=True), key=lambda pair: -pair[1]))
    return tuple(sorted(rows, key=lambda row: lowest.get(row[0], np.inf)))


def _one_sided(shares: tuple[tuple[str, float, int], ...], prevalence: float) -> tuple[tuple[str, float, int], ...]:
    """Return the values with nearly one answer only, of which there are too many for chance (exact binomial).

    Examples
    --------
    >>> _one_sided((("JPEG", 0.6, 90), ("PNG", 0.125, 8), ("BMP", 0.0, 2)), 0.6)
    (('PNG', 0.125, 8),)
    """
    found = []
    for value, share, n in shares:
        with_it = round(share * n)
        if share <= 1 - NEARLY_ALL:
            chance = binom.cdf(with_it, n, prevalence)
        elif share >= NEARLY_ALL:
            chance = binom.sf(with_it - 1, n, prevalence)
        else:
            continue
        if chance < SURPRISING:
            found.append((value, share, n))
    return tuple(found)
