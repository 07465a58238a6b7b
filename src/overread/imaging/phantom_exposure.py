"""Expose a phantom: the film a radiography system would store, the volume a CT scanner would.

Photons follow Beer and Lambert, scatter adds a veil, the detector blurs, counting is Poisson. What is stored is then
processed for presentation as such systems do it.

References
----------
Burgess A E. Mammographic lesion detection: anatomical noise follows a power law. Med Phys 1999;26:2263.
doi:10.1118/1.598737 (the same form is used here for the fine structure of the lung).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import ndimage, sparse

from overread.imaging.phantom import (
    SOFT,
    Body,
    attenuation,
    film_axes,
    line_integrals,
    lung_length,
    tube_density,
    view_matrix,
)

FIELD_MM = 320.0
"""Width and height of the film."""

CT_FIELD_MM, CT_HEIGHT_MM = 360.0, 300.0
"""Width and height of the CT's field of view, and height of the volume."""


@dataclass(frozen=True)
class Detector:
    """A radiography system.

    Parameters
    ----------
    photons : float
        Per square mm at the detector without a patient.
    blur_mm : float
        Standard deviation of the detector's point spread.
    scatter : float
        Scattered share added to the primary beam (after the grid).
    edge : float
        Strength of the edge enhancement in the presentation.
    latitude : float
        Widens (> 1) or narrows (< 1) the range of attenuation that the grey scale shows.
    """

    photons: float = 12000.0
    blur_mm: float = 0.9
    scatter: float = 0.35
    edge: float = 0.8
    latitude: float = 1.0


@dataclass(frozen=True)
class Mark:
    """Where a nodule lies on one film or in one volume, in pixels (fractional; the first pixel's centre is 0).

    ``radius`` is the mean in-plane radius in pixels; ``contrast`` is the attenuation added by its longest chord (film,
    dimensionless) or its difference from lung in HU (CT). ``slice`` is 0 on a film.
    """

    slice: float
    row: float
    column: float
    radius: float
    contrast: float


def expose(
    body: Body, *, view: str, size: int, detector: Detector, dose: float = 1.0, rng: np.random.Generator
) -> np.ndarray:
    """Make the film of a phantom, bright where much was absorbed (MONOCHROME2).

    Parameters
    ----------
    body : Body
    view : {"PA", "LL"}
    size : int
        Pixels along rows and columns.
    detector : Detector
    dose : float
        Relative exposure of this patient.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray (size, size), uint16
        12 bits: 0 … 4095.

    Examples
    --------
    >>> from overread.imaging.phantom_body import draw_body
    >>> body = draw_body(np.random.default_rng(1), sex="M")
    >>> film = expose(body, view="PA", size=64, detector=Detector(), rng=np.random.default_rng(2))
    >>> film.shape, film.dtype, bool(film.max() <= 4095)
    ((64, 64), dtype('uint16'), True)
    """
    pixel = FIELD_MM / size
    line = line_integrals(body, view=view, size=size, field_mm=FIELD_MM)
    line += _fine_structure(body, view=view, size=size, rng=rng)
    primary = ndimage.gaussian_filter(np.exp(-line), detector.blur_mm / pixel, truncate=3)
    open_beam = detector.photons * dose * pixel**2 * (2.0 if view == "LL" else 1.0)
    counts = rng.poisson(open_beam * (primary + _veil(primary, share=detector.scatter, pixel=pixel)))
    measured = -np.log((counts + 0.5) / open_beam).astype(np.float32)
    return _present(measured, detector=detector, pixel=pixel)


def _fine_structure(body: Body, *, view: str, size: int, rng: np.random.Generator) -> np.ndarray:
    """Return the texture of small vessels and septa below the phantom's resolution: power-law noise, in the lung only."""
    pixel = FIELD_MM / size
    f = np.hypot(np.fft.fftfreq(size, pixel)[:, None], np.fft.rfftfreq(size, pixel)[None, :])
    falloff = 1 / np.maximum(f, 1 / 80) ** 1.3 * np.exp(-((f * 3.0) ** 2))
    falloff[0, 0] = 0
    white = np.fft.rfft2(rng.standard_normal((size, size), dtype=np.float32))
    texture = np.fft.irfft2(white * falloff, s=(size, size)).astype(np.float32)
    columns, rows = film_axes(size, FIELD_MM)
    air = lung_length(body, view_matrix(view, turn=body.turn), columns[None, :], rows[:, None])
    return texture / texture.std() * np.float32(0.020) * np.sqrt(air / 150)


def _veil(primary: np.ndarray, *, share: float, pixel: float) -> np.ndarray:
    """Return the scattered light: a wide blur of the primary, made on a coarse grid because it has no detail."""
    step = max(1, round(10 / pixel))
    coarse = ndimage.gaussian_filter(primary[step // 2 :: step, step // 2 :: step], 28 / (pixel * step), mode="nearest")
    where = [(np.arange(n) - step // 2) / step for n in primary.shape]
    smooth = ndimage.map_coordinates(coarse, np.meshgrid(*where, indexing="ij"), order=1, mode="nearest")
    return share * smooth


def _present(measured: np.ndarray, *, detector: Detector, pixel: float) -> np.ndarray:
    """Return the measured attenuation as grey values: exposure-independent range, S-shaped curve, edges enhanced."""
    middle = measured[
        measured.shape[0] // 8 : -measured.shape[0] // 8, measured.shape[1] // 8 : -measured.shape[1] // 8
    ]
    low, high = np.percentile(middle, (3, 99.3))
    centre, half = (low + high) / 2, (high - low) / 2 * 1.12 * detector.latitude
    sharp = measured + detector.edge * (measured - ndimage.gaussian_filter(measured, 4.0 / pixel, truncate=2.5))
    grey = np.tanh(0.7 * (sharp - centre) / half)
    foot, head = np.tanh(-0.85), np.tanh(0.85)
    return np.clip(np.round(4095 * (grey - foot) / (head - foot)), 0, 4095).astype(np.uint16)


def film_marks(body: Body, *, view: str, size: int) -> list[Mark]:
    """Return where the nodules lie on a film.

    Examples
    --------
    >>> from overread.imaging.phantom import Ellipsoid
    >>> ball = Ellipsoid((0.0, 0.0, 0.0), (9.0, 9.0, 9.0), delta=0.01)
    >>> body = Body(soft=(), cage=ball, cutters=(), nodules=(ball,))
    >>> film_marks(body, view="PA", size=320)
    [Mark(slice=0.0, row=159.5, column=159.5, radius=9.0, contrast=0.18)]
    """
    pixel, matrix = FIELD_MM / size, view_matrix(view, turn=body.turn)
    marks = []
    for nodule in body.nodules:
        u, _, v = matrix @ np.asarray(nodule.centre)
        reach = np.sqrt(np.diag(matrix @ np.linalg.inv(nodule.matrix) @ matrix.T))
        chord = 2 * nodule.delta / np.sqrt((matrix @ nodule.matrix @ matrix.T)[1, 1])
        row, column = size / 2 - 0.5 - v / pixel, size / 2 - 0.5 + u / pixel
        radius = float(np.sqrt(reach[0] * reach[2]) / pixel)
        marks.append(Mark(0.0, round(float(row), 2), round(float(column), 2), round(radius, 2), round(float(chord), 4)))
    return marks


def ct_spacing(size: int, slices: int) -> tuple[float, float, float]:
    """Return the distance between voxels along (slices, rows, columns) in mm.

    Examples
    --------
    >>> ct_spacing(64, 24)
    (12.5, 5.625, 5.625)
    """
    return CT_HEIGHT_MM / slices, CT_FIELD_MM / size, CT_FIELD_MM / size


def scan(body: Body, *, size: int, slices: int, photons: float = 2e5, rng: np.random.Generator) -> np.ndarray:
    """Make the CT volume of a phantom in HU.

    The voxels are averages of the analytic body over 2 × 2 × 2 points. The noise is that of counting: each ray's
    Poisson error is reconstructed by filtered back-projection, so it streaks through the shoulders as it should.

    Parameters
    ----------
    body : Body
    size : int
        Rows and columns.
    slices : int
    photons : float
        Per ray without a patient.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray (slices, rows, columns), int16
        HU; slice 0 is the lowest, rows run from front to back, columns from the patient's right to left.

    Examples
    --------
    >>> from overread.imaging.phantom_body import draw_body
    >>> volume = scan(draw_body(np.random.default_rng(1), sex="M"), size=32, slices=8, rng=np.random.default_rng(2))
    >>> volume.shape, volume.dtype
    ((8, 32, 32), dtype('int16'))
    """
    spacing = ct_spacing(size, slices)
    axes = [((np.arange(2 * n) + 0.5) / 2 - n / 2) * d for n, d in zip((slices, size, size), spacing, strict=True)]
    z, y, x = np.meshgrid(*(a.astype(np.float32) for a in axes), indexing="ij")
    fine = attenuation(body, np.stack([x, y, z], axis=-1))
    mu = fine.reshape(slices, 2, size, 2, size, 2).mean(axis=(1, 3, 5))
    mu += tube_density(body.tubes, shape=mu.shape, voxel_mm=spacing)
    mu += _counting_noise(mu, photons=photons, pixel=spacing[1], rng=rng)
    return np.clip(np.round(1000 * (mu / SOFT - 1)), -1024, 3071).astype(np.int16)


def _counting_noise(mu: np.ndarray, *, photons: float, pixel: float, rng: np.random.Generator) -> np.ndarray:
    """Return the error that Poisson counting leaves in a parallel-beam reconstruction, in 1/mm."""
    slices, size, _ = mu.shape
    rays = _ray_matrix(size)
    line = (rays @ mu.reshape(slices, -1).T).T.reshape(slices, -1, size) * pixel
    mean = photons * np.exp(-np.maximum(line, 0))
    error = -np.log(np.maximum(rng.poisson(mean), 1) / mean)
    return _back_projected(error, pixel=pixel).astype(np.float32)


def _back_projected(line: np.ndarray, *, pixel: float) -> np.ndarray:
    """Return slices from their line integrals (slices, angles, detectors): ramp filter, soft kernel, back-projection."""
    slices, angles, size = line.shape
    wide = 4 * size  # zeros beside the detector, for the ramp reaches far
    frequency = np.fft.rfftfreq(wide, pixel)
    ramp = frequency * np.cos(np.pi / 2 * frequency / frequency[-1]) ** 2
    filtered = np.fft.irfft(np.fft.rfft(line, wide) * ramp, wide)[..., :size]
    back = (_ray_matrix(size).T @ filtered.reshape(slices, -1).T).T * (np.pi / angles)
    return back.reshape(slices, size, size)


@lru_cache(maxsize=4)
def _ray_matrix(size: int) -> sparse.csr_matrix:
    """Return the matrix that sums the pixels of a slice along parallel rays: (angles × detectors, pixels)."""
    angles = np.arange(size) * np.pi / size
    y, x = np.meshgrid(*(np.arange(size) - (size - 1) / 2,) * 2, indexing="ij")
    at = np.cos(angles)[:, None] * x.ravel() + np.sin(angles)[:, None] * y.ravel() + (size - 1) / 2
    low = np.floor(at).astype(int)
    pixel = np.broadcast_to(np.arange(size * size), at.shape)
    first = np.broadcast_to(np.arange(size)[:, None] * size, at.shape)
    rows, columns, values = [], [], []
    for detector, share in ((low, 1 - (at - low)), (low + 1, at - low)):
        inside = (detector >= 0) & (detector < size)
        rows.append((first + detector)[inside])
        columns.append(pixel[inside])
        values.append(share[inside])
    parts = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    return sparse.csr_matrix(parts, shape=(size * size, size * size))


def volume_marks(body: Body, *, size: int, slices: int) -> list[Mark]:
    """Return where the nodules lie in a CT volume (``slice`` counts from the lowest)."""
    spacing = np.asarray(ct_spacing(size, slices))
    marks = []
    for nodule in body.nodules:
        at = np.asarray(nodule.centre)[::-1] / spacing + np.array([slices, size, size]) / 2 - 0.5
        radius = float(np.sqrt(nodule.semi_axes[0] * nodule.semi_axes[1]) / spacing[1])
        marks.append(Mark(*(round(float(v), 2) for v in (*at, radius)), round(1000 * nodule.delta / SOFT, 1)))
    return marks
