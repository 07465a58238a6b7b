"""Can images be told from their mirror images? Only where they cannot may a network learn from mirrored ones too.

A chest film has the heart on one side: mirrored, it is another anatomy. The pictures of as many left eyes as right ones
are, as a set, their own mirror image. Which of the two a cohort is can be seen in its training images: a line through
thumbnails is asked which of them have been mirrored, for patients whom it has not learned from.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.preprocessing import StandardScaler

from overread.domain import Estimate
from overread.stats.resample import Who, Z

LIMIT = 0.6
"""The upper end of the AUROC's interval must lie below this before images count as the same as their mirror images."""

LEAST = 20
"""Fewer patients tell nothing: with so few no interval ends below the limit."""

FOLDS = 5
COMPONENTS = 24
"""Directions in which thumbnails differ most that are looked at, with the products of the first of them."""

PRODUCTS = 6
MOST_LEVELS = 6
"""Answers that are looked at one by one; with more of them each has too few images."""


@dataclass(frozen=True)
class Sides:
    """How well images are told from mirrored ones: by looks alone, and knowing the answer to the question.

    Both matter. Where the answer itself is a side (a left hand or a right one, written as 0 and 1) the images as a whole
    are their own mirror image, and those with one answer are not.
    """

    looks: Estimate
    answered: Estimate

    @property
    def worst(self) -> Estimate:
        """The one whose interval reaches further up."""
        return max((self.looks, self.answered), key=lambda e: e.high)

    @property
    def alike(self) -> bool:
        """True when neither tells the images from their mirror images, with the interval's upper end as witness."""
        return all(e.high < LIMIT for e in (self.looks, self.answered))


def told_apart(
    images: np.ndarray, mirrored: np.ndarray, truth: np.ndarray, patients: list[Who], *, rng: np.random.Generator
) -> Sides:
    """Return how well a line tells images from the same images mirrored (or turned), cross-validated by patient.

    Parameters
    ----------
    images, mirrored : ndarray, (n, d)
        Thumbnails as rows of numbers; row i of both is the same image.
    truth : ndarray, (n, outputs)
        1, 0 or NaN; one-hot for labels with several levels.
    patients : list
        Who is shown; the images of one patient, and their twins, are judged by a line that has seen none of them.
    rng : numpy.random.Generator
        Divides the patients.

    Notes
    -----
    What tells x from its mirror image Mx best is the log of p(x)/p(Mx). Here it is sought among the first principal
    components of the thumbnails and the products of the first few, by linear discriminant analysis with the shrinkage
    of Ledoit and Wolf, so that nothing has to be chosen. A sign that a thumbnail does not show (a small letter) is
    not found by it.

    References
    ----------
    Ledoit & Wolf 2004, doi:10.1016/S0047-259X(03)00096-4.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(400, 4))
    >>> heart = x + [3, 0, 0, 0]
    >>> known, who = np.zeros((400, 1)), list(range(400))
    >>> told_apart(x, x[:, ::-1], known, who, rng=np.random.default_rng(0)).alike
    True
    >>> told_apart(heart, heart[:, ::-1], known, who, rng=np.random.default_rng(0)).alike
    False
    """
    n = len(images)
    own = [f"image {i}" if p is None else repr(p) for i, p in enumerate(patients)]
    names, group = np.unique(own, return_inverse=True)
    fold = (rng.permutation(len(names)) % FOLDS)[group]
    x = np.concatenate([images, mirrored]).astype(np.float64)
    is_mirrored = np.repeat([0, 1], n)
    answers = np.tile(_answers(truth), (2, 1))
    fold = np.tile(fold, 2)
    plain, knowing = np.zeros(2 * n), np.zeros(2 * n)
    for k in range(min(FOLDS, len(names))):
        learn, judge = fold != k, fold == k
        seen, asked = _described(x[learn], x[judge])
        plain[judge] = _line(seen, is_mirrored[learn], asked)
        knowing[judge] = _line(_with(seen, answers[learn]), is_mirrored[learn], _with(asked, answers[judge]))
    return Sides(*(_auroc(score[:n], score[n:], group) for score in (plain, knowing)))


def _auroc(original: np.ndarray, mirrored: np.ndarray, patient: np.ndarray) -> Estimate:
    """Return how often a mirrored image scores above another one; an image and its twin are one patient's."""
    n, people = len(original), int(patient.max()) + 1
    ranks = stats.rankdata(np.concatenate([original, mirrored]))
    over = (ranks[n:] - stats.rankdata(mirrored)) / n
    under = 1 - (ranks[:n] - stats.rankdata(original)) / n
    value = float(over.mean())
    pull = np.bincount(patient, over + under - 2 * value, minlength=people) / n
    method = "jackknife over patients (logit scale)"
    if people < LEAST or np.ptp(ranks) == 0:
        return Estimate(value, 0.0, 1.0, n=n, n_patients=people, method="too few patients to tell, or nothing to tell")
    inside = np.clip(value, 0.5 / n, 1 - 0.5 / n)
    half = Z * np.sqrt(people / (people - 1) * (pull**2).sum()) / (inside * (1 - inside))
    low, high = 1 / (1 + np.exp(-(np.log(inside / (1 - inside)) + half * np.array([-1.0, 1.0]))))
    return Estimate(value, min(float(low), value), max(float(high), value), n=n, n_patients=people, method=method)


def _answers(truth: np.ndarray) -> np.ndarray:
    """Return one column for each answer (1 where it is given), about its mean; none where there are too many."""
    truth = np.asarray(truth, float)
    known = ~np.isnan(truth)
    mean = np.where(known, truth, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    given = np.where(known, truth - mean, 0.0)  # an unknown answer is none
    return given[:, given.std(axis=0) > 0][:, :MOST_LEVELS]


def _described(seen: np.ndarray, asked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Describe thumbnails by the principal components of those seen, and by products of the first few."""
    middle = seen.mean(axis=0)
    _, size, ways = np.linalg.svd(seen - middle, full_matrices=False)
    ways = ways[: int((size > 1e-9 * max(size[0], 1e-300)).sum())][:COMPONENTS]
    pairs = np.triu_indices(min(PRODUCTS, len(ways)))
    out = []
    for rows in (seen, asked):
        along = (rows - middle) @ ways.T
        out.append(np.concatenate([along, along[:, pairs[0]] * along[:, pairs[1]]], axis=1))
    scale = StandardScaler().fit(out[0])
    return scale.transform(out[0]), scale.transform(out[1])


def _with(rows: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """Return the description once more for each answer, weighed by it: another line for each of them."""
    return np.concatenate([rows, *(rows * column[:, None] for column in answers.T)], axis=1)


def _line(seen: np.ndarray, target: np.ndarray, asked: np.ndarray) -> np.ndarray:
    if seen.shape[1] == 0:
        return np.zeros(len(asked))
    line = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(seen, target)
    return line.decision_function(asked)
