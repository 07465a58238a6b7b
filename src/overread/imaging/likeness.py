"""Is this the same picture again? Copies are found when re-encoded, rescaled, mirrored, inverted, or made brighter.

A picture's *signature* is its lowest 24 × 24 cosine coefficients, each multiplied by the square of its spatial
frequency so that fine structure counts more than the outline that all films of one kind share; without the mean
(brightness) and of length one (contrast). The correlation of two signatures is their *likeness*: 1 for the same
picture, above 0.92 for its copies, at most 0.78 between 5,808 different chest films and 0.90 between 322 mammograms
(``benchmarks/near_duplicates.py``).

Not found: copies that were cropped by 2 % or more, turned by 2°, or written over in large letters; and of pictures of
less than about 48 pixels, those that were stored again with loss or reduced: what tells them apart is gone.

References
----------
N. Ahmed, T. Natarajan and K. R. Rao, doi:10.1109/T-C.1974.223784 (the cosine transform);
C. Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions, 2010 (hashes from its low frequencies).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

from overread.imaging.one_thread import one_thread

NEAR = 0.92
"""Likeness from which a picture is called a copy."""

NEAR_TURNED = 0.95
"""The same for mirrored and inverted copies: a left breast is much like the right one in a mirror (0.915)."""

MOST_COMPARED = 500_000
"""Pictures that are compared with each other at most: a hundred billion pairs, some five minutes on one core, and 0.6 GB
of signatures. The time grows with the square of their number: of twice as many, to twenty minutes."""

WAYS = ("the same", "mirrored", "inverted", "mirrored and inverted")
_KEPT = 24  # cosine coefficients along a side
_LENGTH = _KEPT * _KEPT - 1
_ROWS, _COLUMNS = 512, 2048  # signatures compared at a time: what a processor holds near
_AXES, _DRAWN = 64, 4096  # of an outline, and the signatures that they are found on
_FEWEST = 1024  # pictures from which an outline saves time
_FEW = 0.002  # share of pairs that are compared one by one; of more, all are compared at once
_ROUNDING = 1e-3
_NOTHING = np.zeros((4, 0))


@dataclass(frozen=True)
class Pair:
    """Two pictures that are one: their places in what was compared, how alike, and in which way (``WAYS``)."""

    first: int
    second: int
    likeness: float
    way: str


def signature(plane: np.ndarray) -> np.ndarray:
    """Return what stays of a picture when it is re-encoded, rescaled or made brighter.

    Parameters
    ----------
    plane : ndarray, (rows, columns)

    Returns
    -------
    ndarray of float32, (575,)
        Of length one; zeros where every pixel has the same value.

    Examples
    --------
    A picture and its half-size copy, brighter and with less contrast:

    >>> y, x = np.mgrid[:64, :64]
    >>> film = np.sin(x / 9) + np.cos(y / 7 + x / 5)
    >>> small = film.reshape(32, 2, 32, 2).mean(axis=(1, 3)) * 0.6 + 20
    >>> float(signature(film) @ signature(small)) > 0.995
    True
    """
    plane = np.asarray(plane, np.float32)
    if plane.ndim != 2:
        raise ValueError(f"a picture of shape {plane.shape}, expected (rows, columns)")
    rows, columns = plane.shape
    plane = plane - plane.mean(dtype=np.float64).astype(np.float32)  # a large offset would cost the small waves digits
    waves = (_cosines(rows) @ plane @ _cosines(columns).T) * _frequency()
    flat = waves.reshape(-1)[1:]
    length = float(np.linalg.norm(flat))
    least = 1e-5 * float(np.abs(plane).max(initial=0.0))
    return flat / length if length > least else np.zeros(_LENGTH, np.float32)


def mirrored(signatures: np.ndarray) -> np.ndarray:
    """Return the signatures of the same pictures, left and right exchanged; (n, 575) or (575,).

    Examples
    --------
    >>> film = np.random.default_rng(0).random((40, 30))
    >>> bool(np.allclose(mirrored(signature(film)), signature(film[:, ::-1]), atol=1e-5))
    True
    """
    return signatures * _mirror_signs()


@one_thread()
def near_pairs(
    signatures: np.ndarray,
    others: np.ndarray | None = None,
    *,
    at_least: float = NEAR,
    at_least_turned: float = NEAR_TURNED,
    most: int = 32,
    tick: Callable[[int], object] | None = None,
) -> list[Pair]:
    """Find every pair of pictures that are copies of one another: all of them, and no other.

    No pair is missed (no hash decides): see :func:`_outline` for why. The time still grows with the square of their
    number, but by some 2 ns a pair; the memory with their number.

    Parameters
    ----------
    signatures : ndarray, (n, 575)
    others : ndarray, (m, 575), optional
        Compare with these instead of among themselves (training with testing).
    at_least, at_least_turned : float
        Likeness of a copy, and of a mirrored or inverted one.
    most : int
        Copies told of one picture at most: the likest. A thousand frames that are all alike would be half a million
        pairs. Of those left out, each that links what nothing else links is told, so that :func:`groups` is whole.
    tick : callable, optional
        Told how many pairs were compared since.

    Returns
    -------
    list of Pair
        In order of ``first`` and ``second``. Among themselves each pair stands once, ``first`` < ``second``.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> films = [rng.random((32, 32)) for _ in range(3)]
    >>> looks = np.stack([signature(f) for f in [*films, 255 - films[1], films[0][:, ::-1]]])
    >>> [(p.first, p.second, p.way) for p in near_pairs(looks)]
    [(0, 4, 'mirrored'), (1, 3, 'inverted')]
    """
    within = others is None
    others = signatures if others is None else others
    limits = (at_least, at_least_turned)
    axes = _axes(signatures, others) if max(len(signatures), len(others)) >= _FEWEST else None
    outlines = _outline(others, axes)
    chains = _Chains(len(signatures), 0 if within else len(others))
    kept, links = [], []
    for start in range(0, len(signatures), _ROWS):
        rows = np.asarray(signatures[start : start + _ROWS], np.float32)
        ours, best = _outline(rows, axes), _NOTHING
        for after in range(start if within else 0, len(others), _COLUMNS):
            theirs = tuple(part[after : after + _COLUMNS] for part in outlines) if outlines else None
            found = _compared(rows, others[after : after + _COLUMNS], ours, theirs, limits)
            found[1] += after
            if within:
                found = found[:, start + found[0] < found[1]]
            best, rest = _likest(best, found, most)
            rest[0] += start
            links.append(chains.that_link(rest))
            if tick:
                many = len(others[after : after + _COLUMNS])
                tick(len(rows) * many - (len(rows) * (len(rows) + 1) // 2 if within and after == start else 0))
        kept.append(best + np.array([[start], [0], [0], [0]]))
    found = np.concatenate([_NOTHING, *kept], axis=1)
    chains.group = groups(chains.n, chains.ends(found).T)
    found = np.concatenate([found, chains.that_link(np.concatenate([_NOTHING, *links], axis=1))], axis=1)
    order = np.lexsort((found[1], found[0]))
    return [Pair(int(i), int(j), min(1.0, float(alike)), WAYS[int(way)]) for i, j, alike, way in found[:, order].T]


def groups(n: int, pairs: Iterable[tuple[int, int]]) -> np.ndarray:
    """Return for each of ``n`` pictures the number of its group: copies, and copies of copies, share one.

    Examples
    --------
    >>> groups(5, [(0, 3), (3, 4)]).tolist()
    [0, 1, 2, 0, 0]
    """
    ends = np.array(list(pairs), int).reshape(-1, 2)
    links = coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(n, n))
    return connected_components(links, directed=False)[1]


class _Chains:
    """Which pictures are linked with one another, and which pairs it takes to link more."""

    def __init__(self, first: int, second: int) -> None:
        """Take so many pictures that nothing links; the second ones follow the first."""
        self.shift = first if second else 0
        self.n = first + second
        self.group = np.arange(self.n)

    def ends(self, pairs: np.ndarray) -> np.ndarray:
        """Return the places of both pictures of each pair; (2, pairs)."""
        return pairs[:2].astype(int) + np.array([[0], [self.shift]])

    def that_link(self, pairs: np.ndarray) -> np.ndarray:
        """Return as few of these pairs as link all that they link and that was not linked; remember it."""
        linked = np.sort(self.group[self.ends(pairs)], axis=0)
        names = linked[0] * self.n + linked[1]
        new = np.flatnonzero(linked[0] != linked[1])
        if not len(new):
            return _NOTHING
        new = new[np.unique(names[new], return_index=True)[1]]
        links = coo_array((np.ones(len(new)), linked[:, new]), shape=(self.n, self.n))
        tree = minimum_spanning_tree(links.tocsr()).tocoo()
        new = new[np.isin(names[new], tree.row.astype(int) * self.n + tree.col)]
        self.group = groups(self.n, linked[:, new].T)[self.group]
        return pairs[:, new]


def _axes(signatures: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the 64 directions in which pictures differ most: those that a mirror keeps, and those that it turns round."""
    drawn = [part[:: -(-len(part) // _DRAWN) or 1] for part in (signatures, others) if len(part)]
    drawn = np.concatenate(drawn).astype(np.float32)
    found = [np.linalg.eigh(part.T @ part) for part in _halves(drawn)]
    least = np.sort(np.concatenate([strength for strength, _ in found]))[-_AXES]
    even, odd = (axes[:, strength >= least] for strength, axes in found)
    return even, odd


def _outline(signatures: np.ndarray, axes: tuple[np.ndarray, np.ndarray] | None) -> tuple[np.ndarray, ...] | None:
    """Return a signature's share along the axes (what a mirror keeps, what it turns round), and how much is left.

    The likeness of two pictures, in whatever way, is at most that of their outlines plus the product of what is left
    of each: |⟨u, v⟩| ≤ |⟨Pu, Pv⟩| + ‖u − Pu‖ ‖v − Pv‖ (Cauchy and Schwarz). So whoever is not alike by that is no copy,
    and a small product decides nearly every pair; the others are compared in full.
    """
    if axes is None:
        return None
    even, odd, rest = [], [], []
    for start in range(0, len(signatures), 4 * _COLUMNS):
        part = np.asarray(signatures[start : start + 4 * _COLUMNS], np.float32)
        e, o = (half @ axis for half, axis in zip(_halves(part), axes, strict=True))
        left = np.square(part).sum(1) - np.square(e).sum(1) - np.square(o).sum(1)
        even, odd, rest = [*even, e], [*odd, o], [*rest, np.sqrt(np.maximum(left, 0) + _ROUNDING**2)]
    return np.concatenate(even), np.concatenate(odd), np.concatenate(rest)


def _compared(
    rows: np.ndarray,
    others: np.ndarray,
    ours: tuple[np.ndarray, ...] | None,
    theirs: tuple[np.ndarray, ...] | None,
    limits: tuple[float, float],
) -> np.ndarray:
    """Return the copies among these rows and columns: (row, column, likeness, way), a column a pair."""
    least = min(limits)
    if ours is not None and theirs is not None:
        alike = np.abs(ours[0] @ theirs[0].T) + np.abs(ours[1] @ theirs[1].T)
        at = np.flatnonzero(alike >= least - _ROUNDING - ours[2].max() * theirs[2])
        i, j = np.divmod(at, len(others))
        sure = alike.reshape(-1)[at] + ours[2][i] * theirs[2][j] >= least - _ROUNDING
        if np.count_nonzero(sure) <= _FEW * alike.size:
            i, j = i[sure], j[sure]
            u, v = rows[i], np.asarray(others[j], np.float32)
            return _copies(i, j, np.einsum("ij,ij->i", u, v), np.einsum("ij,ij->i", mirrored(u), v), limits)
    (even, odd), (evens, odds) = _halves(rows), _halves(np.asarray(others, np.float32))
    kept, turned = even @ evens.T, odd @ odds.T
    i, j = np.nonzero(np.abs(kept) + np.abs(turned) >= least)
    return _copies(i, j, kept[i, j] + turned[i, j], kept[i, j] - turned[i, j], limits)


def _copies(
    rows: np.ndarray, columns: np.ndarray, straight: np.ndarray, turned: np.ndarray, limits: tuple[float, float]
) -> np.ndarray:
    """Return those pairs that are alike enough, with how much and in which of the ``WAYS``."""
    at_least, at_least_turned = limits
    ways = np.stack([straight, turned, -straight, -turned])
    enough = (straight >= at_least) | (ways[1:] >= at_least_turned).any(0)
    ways[1:][ways[1:] < at_least_turned] = -1.0
    return np.stack([rows, columns, ways.max(0), ways.argmax(0)]).astype(float)[:, enough]


def _likest(best: np.ndarray, found: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the likest pairs of each row, of the best up to here and of those found now, and the others."""
    least = np.full(_ROWS, -1.0)
    rows, many = np.unique(best[0].astype(int), return_counts=True)
    least[rows[many == most]] = best[2, np.cumsum(many)[many == most] - 1]
    hopeless = found[2] <= least[found[0].astype(int)]  # most need not be sorted where there are very many
    both = np.concatenate([best, found[:, ~hopeless]], axis=1)
    both = both[:, np.lexsort((both[1], -both[2], both[0]))]
    begins = np.flatnonzero(np.diff(both[0], prepend=-1))
    place = np.arange(both.shape[1]) - np.repeat(begins, np.diff(begins, append=both.shape[1]))
    return both[:, place < most], np.concatenate([both[:, place >= most], found[:, hopeless]], axis=1)


def _halves(signatures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what a mirror keeps of signatures, and what it turns round: (n, 299) and (n, 276).

    With e and o for the products of two pictures' halves, e + o is the likeness of the two, e − o that of the one and the
    other's mirror image, and |e| + |o| the highest of all four ``WAYS``.
    """
    kept = _mirror_signs() > 0
    return signatures[:, kept], signatures[:, ~kept]


@lru_cache(maxsize=64)
def _cosines(n: int) -> np.ndarray:
    """Return the first cosine waves over n pixels, (24, n); a picture of fewer than 24 pixels has fewer waves."""
    waves = np.cos(np.pi * np.outer(np.arange(_KEPT), (np.arange(n) + 0.5) / n)) / n
    waves[n:] = 0.0
    return waves.astype(np.float32)


@lru_cache(maxsize=1)
def _frequency() -> np.ndarray:
    rows, columns = np.mgrid[:_KEPT, :_KEPT]
    return (rows**2 + columns**2).astype(np.float32)


@lru_cache(maxsize=1)
def _mirror_signs() -> np.ndarray:
    """A wave with an odd number of half periods across changes its sign in a mirror."""
    signs = np.where(np.arange(_KEPT) % 2, -1.0, 1.0)
    return np.tile(signs, (_KEPT, 1)).reshape(-1)[1:].astype(np.float32)
