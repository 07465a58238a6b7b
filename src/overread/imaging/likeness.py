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

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

NEAR = 0.92
"""Likeness from which a picture is called a copy."""

NEAR_TURNED = 0.95
"""The same for mirrored and inverted copies: a left breast is much like the right one in a mirror (0.915)."""

WAYS = ("the same", "mirrored", "inverted", "mirrored and inverted")
_KEPT = 24  # cosine coefficients along a side
_LENGTH = _KEPT * _KEPT - 1
_ROWS = 1024  # signatures compared with all others at a time


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


def near_pairs(
    signatures: np.ndarray,
    others: np.ndarray | None = None,
    *,
    at_least: float = NEAR,
    at_least_turned: float = NEAR_TURNED,
    most: int = 32,
) -> list[Pair]:
    """Find every pair of pictures that are copies of one another.

    Every picture is compared with every other one (no hash that might miss): the time grows with the square of
    their number.

    Parameters
    ----------
    signatures : ndarray, (n, 575)
    others : ndarray, (m, 575), optional
        Compare with these instead of among themselves (training with testing).
    at_least, at_least_turned : float
        Likeness of a copy, and of a mirrored or inverted one.
    most : int
        Copies told of one picture at most: the likest. A thousand frames that are all alike would be half a million
        pairs; each is still linked with the next, so :func:`groups` is whole.

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
    signatures = np.asarray(signatures, np.float32)
    within = others is None
    others = signatures if others is None else np.asarray(others, np.float32)
    pairs: list[Pair] = []
    for start in range(0, len(signatures), _ROWS):
        block = signatures[start : start + _ROWS]
        after = start if within else 0  # each pair is compared once
        straight, turned = block @ others[after:].T, mirrored(block) @ others[after:].T
        found = np.argwhere(
            (straight >= at_least) | (-straight >= at_least_turned) | (np.abs(turned) >= at_least_turned)
        )
        if within:
            found = found[found[:, 0] < found[:, 1]]
        for row, columns in _by_row(found):
            ways = np.stack([straight[row, columns], turned[row, columns]])
            ways = np.concatenate([ways, -ways])  # in the order of WAYS
            ways[1:][ways[1:] < at_least_turned] = -1.0
            likest = ways.max(axis=0)
            for k in np.sort(np.argsort(-likest, kind="stable")[:most]):
                way = WAYS[int(ways[:, k].argmax())]
                pairs.append(Pair(start + row, after + int(columns[k]), min(1.0, float(likest[k])), way))
    return pairs


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


def _by_row(found: np.ndarray) -> Iterable[tuple[int, np.ndarray]]:
    """Yield each row that has copies, and the columns of these."""
    rows, begins = np.unique(found[:, 0], return_index=True)
    for row, columns in zip(rows, np.split(found[:, 1], begins[1:]), strict=True) if len(rows) else ():
        yield int(row), columns


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
