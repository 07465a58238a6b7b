"""A body made of formulas, and the exact line integrals of X-rays through it.

A phantom is what radiology itself uses to commission equipment: a body whose every structure is known. This one is
analytic: soft tissue, lungs, heart and diaphragm are ellipsoids that cut one another, bones and vessels are strings of
balls. All lengths are in mm in the patient's own space (LPS: +x to the Left, +y Posterior, +z Superior) with the
origin in the middle of the field; attenuation is in 1/mm.

``phantom_body`` draws a patient, this file says what a ray meets in it, ``phantom_exposure`` makes a film or a CT.

References
----------
Kak A C, Slaney M. Principles of Computerized Tomographic Imaging, chapter 3 (projections of ellipses; the Fourier
slice theorem, used here for the strings of balls). doi:10.1137/1.9780898719277
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np

SOFT, LUNG, AIR = 0.0200, 0.0055, 0.0
"""Linear attenuation of soft tissue, inflated lung and air at about 65 keV, in 1/mm."""

VIEWS = {
    # rows: the direction of growing columns, of the ray, of decreasing rows; in patient space
    "PA": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    "LL": ((0.0, 1.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)),
}
"""PA shows the patient's left on the right of the film; LL (left lateral) shows the front on its left."""

Interval = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Ellipsoid:
    """A solid ellipsoid.

    Parameters
    ----------
    centre, semi_axes : (float, float, float)
        In mm, along (x, y, z) before the rotation.
    rotation : 3 × 3 nested tuple
        Columns are the directions of the semi-axes; the identity by default.
    delta : float
        Attenuation it *adds* to what is already there, in 1/mm (0 for shapes that cut or fill).
    """

    centre: tuple[float, float, float]
    semi_axes: tuple[float, float, float]
    rotation: tuple[tuple[float, float, float], ...] = ((1, 0, 0), (0, 1, 0), (0, 0, 1))
    delta: float = 0.0

    @property
    def matrix(self) -> np.ndarray:
        """The matrix A of (p − centre)ᵀ A (p − centre) ≤ 1."""
        r = np.asarray(self.rotation, float)
        return r @ np.diag(1.0 / np.square(self.semi_axes)) @ r.T

    def holds(self, points: np.ndarray) -> np.ndarray:
        """Say which of the points (…, 3) in mm lie inside."""
        a = self.matrix.astype(points.dtype)
        x, y, z = (points[..., i] - points.dtype.type(self.centre[i]) for i in range(3))
        square = a[0, 0] * x * x + a[1, 1] * y * y + a[2, 2] * z * z
        return square + 2 * (a[0, 1] * x * y + a[0, 2] * x * z + a[1, 2] * y * z) <= 1


@dataclass(frozen=True, eq=False)
class Tube:
    """A curved tube (a rib, a vessel) as a string of balls.

    Its density is ``delta / (2 radius) × length of the string within one radius``: ``delta`` on the axis of a straight
    tube, falling smoothly to zero at its wall.

    Parameters
    ----------
    points : ndarray (n, 3)
        The string, in mm.
    weights : ndarray (n,)
        Length of string that each point stands for, in mm.
    radius, delta : float
        Of the balls in mm; attenuation added on the axis in 1/mm.
    """

    points: np.ndarray
    weights: np.ndarray
    radius: float
    delta: float


@dataclass(frozen=True, eq=False)
class Body:
    """One simulated patient.

    Parameters
    ----------
    soft : tuple of Ellipsoid
        Their union is filled with soft tissue.
    cage : Ellipsoid
        The inside of the rib cage; filled with lung except where a cutter lies.
    cutters : tuple of Ellipsoid
        Heart, mediastinum, diaphragm: soft tissue within the cage.
    added : tuple of Ellipsoid
        Shapes that add their ``delta`` (vertebrae, trachea, …).
    nodules : tuple of Ellipsoid
        The lesions, which add theirs as well.
    tubes : tuple of Tube
    arms : tuple of Ellipsoid
        Shoulders and arms, with ``delta`` 0 for their soft tissue and above 0 for their bones. They are lifted out of
        the beam for the lateral view and lie outside the field of a CT.
    turn : float
        Rotation of the patient about the long axis at the film, in degrees.
    """

    soft: tuple[Ellipsoid, ...]
    cage: Ellipsoid
    cutters: tuple[Ellipsoid, ...]
    added: tuple[Ellipsoid, ...] = ()
    nodules: tuple[Ellipsoid, ...] = ()
    tubes: tuple[Tube, ...] = ()
    arms: tuple[Ellipsoid, ...] = ()
    turn: float = 0.0


def view_matrix(view: str, *, turn: float = 0.0) -> np.ndarray:
    """Return the 3 × 3 matrix from patient space to (column direction, ray, up) for a view and a turn in degrees.

    Examples
    --------
    >>> view_matrix("PA") @ (1, 2, 3)
    array([1., 2., 3.])
    """
    c, s = np.cos(np.deg2rad(turn)), np.sin(np.deg2rad(turn))
    return np.asarray(VIEWS[view]) @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def film_axes(size: int, field_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the place of each column and each row on the film in mm, from its centre, pixel centres.

    Examples
    --------
    >>> film_axes(4, 8.0)[1].tolist()
    [3.0, 1.0, -1.0, -3.0]
    """
    steps = ((np.arange(size) + 0.5) * field_mm / size - field_mm / 2).astype(np.float32)
    return steps, -steps


def crossing(shape: Ellipsoid, view: np.ndarray, u: np.ndarray, v: np.ndarray) -> Interval:
    """Return where parallel rays enter and leave an ellipsoid, in closed form.

    Parameters
    ----------
    shape : Ellipsoid
    view : ndarray (3, 3)
        From ``view_matrix``.
    u, v : ndarray
        Column and row positions on the film in mm; broadcast against each other.

    Returns
    -------
    near, far : ndarray
        Depths in mm along the ray; (+inf, −inf) where it misses.

    Examples
    --------
    >>> ball = Ellipsoid((0, 5, 0), (3, 3, 3))
    >>> near, far = crossing(ball, view_matrix("PA"), np.array([0.0, 4.0]), np.array(0.0))
    >>> near.tolist(), far.tolist()
    ([2.0, inf], [8.0, -inf])
    """
    m = view @ shape.matrix @ view.T
    cu, cw, cv = view @ np.asarray(shape.centre, float)
    du, dv, a = u - np.float32(cu), v - np.float32(cv), m[1, 1]
    uu, uv, vv = m[0, 0] - m[0, 1] ** 2 / a, m[0, 2] - m[0, 1] * m[1, 2] / a, m[2, 2] - m[1, 2] ** 2 / a
    room = np.float32(1 / a) - du * du * np.float32(uu / a) - dv * dv * np.float32(vv / a)
    if uv:
        room = room - du * dv * np.float32(2 * uv / a)
    half = np.where(room > 0, np.sqrt(np.maximum(room, 0)), np.float32(-np.inf))
    middle = np.float32(cw) - du * np.float32(m[0, 1] / a) - dv * np.float32(m[1, 2] / a)
    return middle - half, middle + half


def covered(span: Interval, intervals: list[Interval]) -> np.ndarray:
    """Return how much of a span the union of intervals covers, each ray by itself, exactly.

    Each interval counts less what the earlier ones already covered of it, so overlaps are never counted twice.

    Examples
    --------
    >>> one = lambda a, b: (np.array([float(a)]), np.array([float(b)]))
    >>> covered(one(0, 10), [one(-1, 3), one(2, 5), one(8, 20)]).tolist()
    [7.0]
    """
    low, high = span
    total = np.zeros(np.broadcast(low, high).shape, np.float32)
    for i, (near, far) in enumerate(intervals):
        a, b = np.maximum(low, near), np.minimum(high, far)
        length = np.maximum(b - a, 0)
        if length.any():
            total += length
            if i:
                total -= covered((a, b), intervals[:i])
    return total


def lung_length(body: Body, view: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return the length of lung, in mm, that each ray crosses: the cage less heart, mediastinum and diaphragm."""
    near, far = crossing(body.cage, view, u, v)
    cut = covered((near, far), [crossing(c, view, u, v) for c in body.cutters])
    return np.maximum(np.maximum(far - near, 0) - cut, 0)


def line_integrals(body: Body, *, view: str, size: int, field_mm: float) -> np.ndarray:
    """Return the attenuation that each ray of a film meets (dimensionless: its −ln of transmission).

    Parameters
    ----------
    body : Body
    view : {"PA", "LL"}
    size : int
        Pixels along rows and columns.
    field_mm : float
        Width and height of the film.

    Returns
    -------
    ndarray (size, size), float32
        Row 0 is the patient's top; parallel rays, one through each pixel's centre.

    Examples
    --------
    >>> block = Body(soft=(Ellipsoid((0, 0, 0), (50, 50, 50)),), cage=Ellipsoid((0, 0, 0), (9, 9, 9)), cutters=())
    >>> film = line_integrals(block, view="PA", size=101, field_mm=101.0)
    >>> round(float(film[50, 50]), 4)                                       # 82 mm of tissue and 18 mm of lung
    1.739
    """
    matrix = view_matrix(view, turn=body.turn)
    columns, rows = film_axes(size, field_mm)
    u, v = columns[None, :], rows[:, None]
    everywhere = (np.full((size, size), -np.inf, np.float32), np.full((size, size), np.inf, np.float32))
    arms = body.arms if view == "PA" else ()
    filled = (*body.soft, *(s for s in arms if not s.delta))
    total = SOFT * covered(everywhere, [crossing(s, matrix, u, v) for s in filled])
    box = _shadow(body.cage, matrix, columns, rows)
    total[box] -= (SOFT - LUNG) * lung_length(body, matrix, u[:, box[1]], v[box[0]])
    for shape in (*body.added, *body.nodules, *(s for s in arms if s.delta)):
        box = _shadow(shape, matrix, columns, rows)
        if total[box].size:
            near, far = crossing(shape, matrix, u[:, box[1]], v[box[0]])
            total[box] += np.float32(shape.delta) * np.maximum(far - near, 0)
    return total + tube_integrals(body.tubes, matrix, size=size, field_mm=field_mm)


def _shadow(shape: Ellipsoid, view: np.ndarray, columns: np.ndarray, rows: np.ndarray) -> tuple[slice, slice]:
    """Return the rows and columns of the film that an ellipsoid can touch."""
    spread = view @ np.asarray(shape.rotation, float) @ np.diag(np.square(shape.semi_axes))
    reach = np.sqrt(np.einsum("ij,ij->i", spread, view @ np.asarray(shape.rotation, float)))
    cu, _, cv = view @ np.asarray(shape.centre, float)
    first, last = np.searchsorted(columns, (cu - reach[0], cu + reach[0]))
    top, bottom = np.searchsorted(-rows, (-cv - reach[2], -cv + reach[2]))
    return slice(int(top), int(bottom)), slice(int(first), int(last))


def tube_integrals(tubes: tuple[Tube, ...], view: np.ndarray, *, size: int, field_mm: float) -> np.ndarray:
    """Return the line integrals through strings of balls, by the Fourier slice theorem.

    The points are laid on the film as masses and convolved with the shadow of one ball, whose transform is known in
    closed form. Each result pixel is an average over about one pixel, where ``line_integrals`` of an ellipsoid is the
    value at its centre.

    Returns
    -------
    ndarray (size, size), float32
    """
    pixel = field_mm / size
    places = [(t, np.stack([-(t.points @ view[2]), t.points @ view[0]], 1) / pixel + size / 2 - 0.5) for t in tubes]
    return _strung(places, (size, size), (pixel, pixel))


def tube_density(tubes: tuple[Tube, ...], *, shape: tuple[int, int, int], voxel_mm: tuple) -> np.ndarray:
    """Return the attenuation of strings of balls in the voxels of a volume centred on the origin, in 1/mm.

    Axes are (slices upwards, rows backwards, columns to the left), as in ``phantom_exposure.scan``.

    Returns
    -------
    ndarray (slices, rows, columns), float32
    """
    to_index = np.asarray(shape) / 2 - 0.5
    places = [(t, t.points[:, ::-1] / np.asarray(voxel_mm) + to_index) for t in tubes]
    return _strung(places, shape, tuple(voxel_mm))


def _strung(places: list[tuple[Tube, np.ndarray]], shape: tuple[int, ...], step_mm: tuple[float, ...]) -> np.ndarray:
    """Lay the balls of tubes on a grid and convolve them with their own shape or shadow, radius by radius."""
    margin = 16 if len(shape) == 2 else 4  # balls just outside still reach in, and nothing wraps around
    wide = tuple(n + 2 * margin for n in shape)
    spectrum = np.zeros((*wide[:-1], wide[-1] // 2 + 1), complex)
    for radius in sorted({t.radius for t, _ in places}):
        same = [(t, at) for t, at in places if t.radius == radius]
        at = np.concatenate([at for _, at in same]) + margin
        mass = np.concatenate([t.weights * (t.delta / (2 * radius)) for t, _ in same])
        spectrum += np.fft.rfftn(_laid_on_grid(at, mass, wide)) * _ball_transform(wide, step_mm, radius)
    grid = np.fft.irfftn(spectrum, s=wide, axes=tuple(range(len(wide)))) / np.prod(step_mm)
    return grid[(slice(margin, -margin),) * len(shape)].astype(np.float32)


def _laid_on_grid(at: np.ndarray, mass: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Share each mass among its nearest grid points, linearly; what falls off the grid is dropped."""
    inside = ((at >= 0) & (at < np.asarray(shape) - 1)).all(axis=1)
    at, mass = at[inside], mass[inside]
    floor = at.astype(int)
    part = at - floor
    flat = np.zeros(int(np.prod(shape)))
    for corner in product((0, 1), repeat=len(shape)):
        share = np.where(corner, part, 1 - part).prod(axis=1) * mass
        where = np.ravel_multi_index(tuple((floor + corner).T), shape)
        flat += np.bincount(where, weights=share, minlength=flat.size)
    return flat.reshape(shape)


@lru_cache(maxsize=64)
def _ball_transform(shape: tuple[int, ...], step_mm: tuple[float, ...], radius: float) -> np.ndarray:
    """Return the Fourier transform of a ball, 4π (sin kr − kr cos kr) / k³, lightly smoothed.

    Over two axes the same formula is the transform of the ball's shadow: that is the slice theorem.
    """
    axes = [np.fft.fftfreq(n, d) for n, d in zip(shape[:-1], step_mm[:-1], strict=True)]
    axes.append(np.fft.rfftfreq(shape[-1], step_mm[-1]))
    grid = np.meshgrid(*axes, indexing="ij")
    k = 2 * np.pi * np.sqrt(sum(f**2 for f in grid))
    safe = np.where(k == 0, 1.0, k)
    ball = 4 * np.pi * (np.sin(safe * radius) - safe * radius * np.cos(safe * radius)) / safe**3
    ball[k == 0] = 4 / 3 * np.pi * radius**3
    smooth = sum((2 * np.pi * f * 0.35 * d) ** 2 for f, d in zip(grid, step_mm, strict=True))
    return ball * np.exp(-smooth / 2)


def attenuation(body: Body, points: np.ndarray) -> np.ndarray:
    """Return the attenuation at points in the body, in 1/mm: what a perfect CT would measure, less tubes and arms.

    The tubes have no sharp wall; ``tube_density`` gives theirs.

    Parameters
    ----------
    points : ndarray (…, 3)
        In mm.

    Returns
    -------
    ndarray (…), float32
    """
    value = np.full(points.shape[:-1], AIR, np.float32)
    for shape in body.soft:
        value[shape.holds(points)] = SOFT
    lung = body.cage.holds(points)
    for shape in body.cutters:
        lung &= ~shape.holds(points)
    value[lung] = LUNG
    for shape in (*body.added, *body.nodules):
        value[shape.holds(points)] += np.float32(shape.delta)
    return value
