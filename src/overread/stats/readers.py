"""Several readers' labels as one, and how far the readers agreed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from overread.domain import Estimate

UNREAD = -1
"""Answer of a reader who did not read a case."""

SURE = 0.9
"""Probability, in the model of Dawid and Skene, from which a tie is settled by how well each reader agrees with the rest."""

FEWEST = 30
"""Cases read by two readers or more, below which nobody can be said to agree better than another."""


@dataclass(frozen=True)
class Merged:
    """What several readers say together.

    Parameters
    ----------
    answer : ndarray of int, (n,)
        Index of the answer; −1 where nobody read the case, or the readers are divided.
    divided : ndarray of bool, (n,)
        True where as many say one thing as another, and nothing settles it.
    settled : ndarray of bool, (n,)
        True where a tie was settled by the readers' records.
    """

    answer: np.ndarray
    divided: np.ndarray
    settled: np.ndarray


def merge(read: np.ndarray, answers: int) -> Merged:
    """Return the majority's answer; a tie goes to the readers with the better record, or stays unknown.

    Parameters
    ----------
    read : ndarray of int, (n, readers)
        Index of each reader's answer; −1 where a reader did not read the case.
    answers : int

    References
    ----------
    Dawid and Skene 1979, doi:10.2307/2346806.

    Examples
    --------
    >>> merge(np.array([[1, 1, 0], [0, 1, -1], [-1, -1, 2], [-1, -1, -1]]), 3).answer.tolist()
    [1, -1, 2, -1]
    """
    read = np.asarray(read)
    votes = (read[:, :, None] == np.arange(answers)).sum(axis=1)
    most = votes.max(axis=1)
    tied = ((votes == most[:, None]).sum(axis=1) > 1) & (most > 0)
    answer = np.where((most > 0) & ~tied, votes.argmax(axis=1), UNREAD)
    settled = np.zeros(len(read), bool)
    if tied.any() and read.shape[1] > 2 and ((read >= 0).sum(axis=1) >= 2).sum() >= FEWEST:
        p = records(read, answers)[0]
        settled = tied & (p.max(axis=1) >= SURE) & (votes[np.arange(len(p)), p.argmax(axis=1)] == most)
        answer = np.where(settled, p.argmax(axis=1), answer)
    return Merged(answer, tied & ~settled, settled)


def records(read: np.ndarray, answers: int, *, rounds: int = 100) -> tuple[np.ndarray, np.ndarray]:
    """Return how likely each answer is for each case, and how each reader calls each answer, from the readings alone.

    Parameters
    ----------
    read : ndarray of int, (n, readers)
    answers : int
    rounds : int
        At most; it ends when nothing moves any more.

    Returns
    -------
    ndarray, (n, answers), and ndarray, (readers, answers, answers)
        The second: given the first index's answer, the share of times that a reader says the second's.

    References
    ----------
    Dawid and Skene 1979, doi:10.2307/2346806 (expectation and maximisation; one case more of each is added to every
    reader's record, two right, so that a reader of few cases is neither perfect nor useless).
    """
    said = (np.asarray(read)[:, :, None] == np.arange(answers)).astype(float)
    p = said.sum(axis=1) + 1e-9
    p /= p.sum(axis=1, keepdims=True)
    before = np.ones((answers, answers)) + np.eye(answers)
    for _ in range(rounds):
        calls = np.einsum("nk,nrj->rkj", p, said) + before
        calls /= calls.sum(axis=2, keepdims=True)
        share = p[(read >= 0).any(axis=1)].mean(axis=0)
        log = np.log(share + 1e-12) + np.einsum("nrj,rkj->nk", said, np.log(calls))
        new = special.softmax(log, axis=1)
        done = np.abs(new - p).max() < 1e-6
        p = new
        if done:
            break
    return p, calls


def agreement(read: np.ndarray, answers: int) -> Estimate:
    """Return Krippendorff's alpha: 1 where readers always agree, 0 where they agree as often as by chance.

    For any number of readers, of whom not each has read each case. The interval is from leaving out each case in turn.

    Parameters
    ----------
    read : ndarray of int, (n, readers)
        −1 where a reader did not read a case.
    answers : int
        Answers that have no order.

    References
    ----------
    Hayes and Krippendorff 2007, doi:10.1080/19312450709336664.

    Examples
    --------
    >>> print(agreement(np.array([[0, 0], [1, 1], [0, 0], [1, 1]] * 5), 2))
    1.000 (1.000–1.000)
    """
    votes = (np.asarray(read)[:, :, None] == np.arange(answers)).sum(axis=1).astype(float)
    votes = votes[votes.sum(axis=1) >= 2]
    n = len(votes)
    m = votes.sum(axis=1)
    apart = (m**2 - (votes**2).sum(axis=1)) / (m - 1) if n else np.zeros(0)  # pairs of readings that differ
    total = votes.sum(axis=0)
    value = _alpha(apart.sum(), total) if n else np.nan
    if n < 3 or np.isnan(value):
        return Estimate(float(value), np.nan, np.nan, n, None, "too few cases read by two readers for an interval")
    without = np.array([_alpha(apart.sum() - a, total - v) for a, v in zip(apart, votes, strict=True)])
    if np.isnan(without).any():
        return Estimate(float(value), np.nan, np.nan, n, None, "one case decides it: no interval")
    error = np.sqrt((n - 1) / n * ((without - without.mean()) ** 2).sum())
    reach = special.stdtrit(n - 1, 0.975) * error
    return Estimate(float(value), float(value - reach), float(min(1.0, value + reach)), n, None, "jackknife over cases")


def _alpha(apart: float, total: np.ndarray) -> float:
    """One less what was observed to differ over what would differ by chance."""
    readings = total.sum()
    chance = (readings**2 - (total**2).sum()) / (readings - 1) if readings > 1 else 0.0
    return 1 - apart / chance if chance > 0 else np.nan


def in_words(value: float) -> str:
    """Return what an alpha is usually taken to allow.

    References
    ----------
    Krippendorff 2004, Content Analysis, 2nd ed., p. 241: .800, and .667 for tentative conclusions.

    Examples
    --------
    >>> in_words(0.85), in_words(0.7), in_words(0.2)
    ('good', 'fair: for tentative conclusions', 'poor: a model cannot agree better with readers who do not agree')
    """
    if value >= 0.8:
        return "good"
    return (
        "fair: for tentative conclusions"
        if value >= 0.667
        else "poor: a model cannot agree better with readers who do not agree"
    )


def coded(words: Sequence[Sequence[str | None]]) -> tuple[np.ndarray, list[str]]:
    """Return readers' answers as numbers, (n, readers), and the answers' words in order.

    Examples
    --------
    >>> coded([["b", "a"], [None, "b"]])
    (array([[ 1,  0],
           [-1,  1]]), ['a', 'b'])
    """
    known = sorted({w for row in words for w in row if w is not None})
    place = {w: i for i, w in enumerate(known)}
    return np.array([[UNREAD if w is None else place[w] for w in row] for row in words], int), known
