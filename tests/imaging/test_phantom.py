"""The phantom's physics against numerical integration, closed forms and reconstruction."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from overread.imaging.phantom import (
    SOFT,
    VIEWS,
    Body,
    Ellipsoid,
    Tube,
    attenuation,
    covered,
    crossing,
    film_axes,
    line_integrals,
    lung_length,
    tube_density,
    tube_integrals,
    view_matrix,
)
from overread.imaging.phantom_body import draw_body
from overread.imaging.phantom_exposure import (
    FIELD_MM,
    Detector,
    _back_projected,
    _ray_matrix,
    expose,
    film_marks,
    scan,
    volume_marks,
)

WATER = Body(soft=(Ellipsoid((0, 0, 0), (100, 100, 400)),), cage=Ellipsoid((0, 0, 0), (0.01, 0.01, 0.01)), cutters=())


@pytest.mark.parametrize("view", list(VIEWS))
@pytest.mark.parametrize("sex", ["F", "M"])
def test_closed_form_equals_integration_along_the_ray(view, sex):
    """The film's line integrals against the sum of the attenuation met step by step (no arms, no tubes)."""
    body = dataclasses.replace(draw_body(np.random.default_rng(5), sex=sex, nodules=3), tubes=(), arms=())
    film = line_integrals(body, view=view, size=96, field_mm=FIELD_MM)
    columns, rows = film_axes(96, FIELD_MM)
    step = 0.25
    depth = np.arange(-200, 200, step) + step / 2
    back = view_matrix(view, turn=body.turn).T
    met = 0
    for r, c in np.random.default_rng(6).integers(8, 88, (60, 2)):
        ray = np.stack([np.full_like(depth, columns[c]), depth, np.full_like(depth, rows[r])], axis=1) @ back.T
        summed = attenuation(body, ray).sum() * step
        assert film[r, c] == pytest.approx(summed, abs=12 * step * SOFT / 2)
        met += lung_length(body, back.T, columns[c : c + 1], rows[r : r + 1])[0] > 0
    assert met > 20  # the rays did cross lungs, or the test would say little


def test_the_comparison_can_fail():
    """Twin: a body whose heart is 6 mm wider no longer agrees."""
    body = dataclasses.replace(draw_body(np.random.default_rng(5), sex="M"), tubes=(), arms=())
    heart = body.cutters[0]
    wider = dataclasses.replace(heart, semi_axes=tuple(s + 6 for s in heart.semi_axes))
    changed = dataclasses.replace(body, cutters=(wider, *body.cutters[1:]))
    films = [line_integrals(b, view="PA", size=96, field_mm=FIELD_MM) for b in (body, changed)]
    assert np.abs(films[0] - films[1]).max() > 12 * 0.25 * SOFT / 2


@given(
    st.lists(st.tuples(st.integers(-20, 20), st.integers(0, 15)), max_size=5),
    st.tuples(st.integers(-20, 20), st.integers(0, 30)),
)
def test_covered_counts_every_place_once(pieces, span):
    """Against a count of unit cells."""
    cells = {c for start, length in pieces for c in range(start, start + length)}
    expected = len(cells & set(range(span[0], sum(span))))
    as_interval = lambda p: (np.array([float(p[0])]), np.array([float(sum(p))]))
    assert covered(as_interval(span), [as_interval(p) for p in pieces])[0] == expected


@given(st.integers(0, 10_000))
def test_rays_enter_and_leave_on_the_surface(seed):
    """Both ends of a crossing lie on the ellipsoid, whatever its place, shape, direction and the patient's turn."""
    rng = np.random.default_rng(seed)
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    shape = Ellipsoid(tuple(rng.uniform(-50, 50, 3)), tuple(rng.uniform(5, 60, 3)), tuple(map(tuple, rotation)))
    view = view_matrix("PA", turn=rng.uniform(-30, 30))
    u, _, v = view @ (np.asarray(shape.centre) + rng.uniform(-2, 2, 3))
    near, far = crossing(shape, view, np.array(u), np.array(v))
    for depth in (near, far):
        point = view.T @ np.array([u, float(depth), v]) - shape.centre
        assert point @ shape.matrix @ point == pytest.approx(1, abs=2e-3)


def _string(radius: float) -> Tube:
    angle = np.linspace(0.3, 2.6, 400)
    points = np.stack([80 * np.cos(angle), 40 * np.sin(angle), 60 * np.cos(2 * angle)], axis=1)
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    return Tube(points, (np.append(steps, 0) + np.insert(steps, 0, 0)) / 2, radius, 0.03)


def test_tubes_equal_the_sum_of_their_balls():
    """The Fourier road against the chords of all balls, added up one by one."""
    tube = _string(6.0)
    film = tube_integrals((tube,), view_matrix("PA"), size=240, field_mm=240.0)
    columns, rows = film_axes(240, 240.0)
    square = (columns[None, :, None] - tube.points[:, 0]) ** 2 + (rows[:, None, None] - tube.points[:, 2]) ** 2
    direct = (2 * np.sqrt(np.maximum(tube.radius**2 - square, 0)) * tube.weights).sum(-1) * tube.delta / (2 * 6.0)
    pixel_wide = gaussian_filter(direct, np.sqrt(1 / 6 + 0.35**2))  # the film's value is an average over a pixel
    assert np.abs(film - pixel_wide).max() < 0.03 * direct.max()


def test_tubes_lose_no_mass_on_the_way_to_film_or_volume():
    """What a film and a volume hold in all is the mass of the string, to rounding."""
    tube = _string(5.0)
    mass = tube.weights.sum() * tube.delta / 10 * 4 / 3 * np.pi * 5.0**3
    film = tube_integrals((tube,), view_matrix("LL"), size=120, field_mm=240.0)
    volume = tube_density((tube,), shape=(40, 60, 60), voxel_mm=(6.0, 4.0, 4.0))
    assert film.sum() * 4 == pytest.approx(mass, rel=1e-3)
    assert volume.sum() * 96 == pytest.approx(mass, rel=1e-3)


@pytest.mark.parametrize("view", list(VIEWS))
def test_marks_lie_where_the_nodules_are_seen(view):
    """The brightest pixel that a nodule adds is its mark, and the added attenuation its contrast."""
    body = draw_body(np.random.default_rng(11), sex="M", nodules=1, radius_mm=(12, 13))
    without = dataclasses.replace(body, nodules=())
    added = line_integrals(body, view=view, size=256, field_mm=FIELD_MM)
    added -= line_integrals(without, view=view, size=256, field_mm=FIELD_MM)
    (mark,) = film_marks(body, view=view, size=256)
    weight = added / added.sum()
    rows, columns = np.indices(added.shape)
    assert ((rows * weight).sum(), (columns * weight).sum()) == pytest.approx((mark.row, mark.column), abs=0.1)
    assert added.max() == pytest.approx(mark.contrast, rel=0.03)
    assert (added > 0).sum() == pytest.approx(np.pi * mark.radius**2, rel=0.06)


def test_every_nodule_lies_in_the_lung():
    """Its centre has the attenuation of lung before it is added, and of nearly soft tissue after."""
    for seed in range(20):
        body = draw_body(np.random.default_rng(seed), sex="F", nodules=3)
        places = np.array([n.centre for n in body.nodules], np.float32)
        bare = attenuation(dataclasses.replace(body, nodules=(), added=()), places)
        assert (bare < 0.3 * SOFT).all()


def test_a_film_is_the_same_again_and_another_with_another_seed():
    body = draw_body(np.random.default_rng(3), sex="F")
    films = [
        expose(body, view="PA", size=96, detector=Detector(), rng=np.random.default_rng(seed)) for seed in (1, 1, 2)
    ]
    assert (films[0] == films[1]).all() and (films[0] != films[2]).any()
    assert films[0].dtype == np.uint16 and films[0].max() <= 4095


def test_four_times_the_dose_halves_the_noise():
    """Poisson: noise goes with one over the root of the exposure."""
    detector = Detector(edge=0.0, scatter=0.0, photons=2000)
    noise = []
    for dose in (1.0, 4.0):
        rng = np.random.default_rng(0)
        films = [
            expose(WATER, view="PA", size=96, detector=detector, dose=dose, rng=rng).astype(float) for _ in range(8)
        ]
        noise.append(np.std(np.array(films)[:, 40:56, 40:56], axis=0).mean())
    assert noise[0] / noise[1] == pytest.approx(2.0, rel=0.15)


def test_rays_through_a_disc_measure_its_chords():
    """The CT's ray sums against 2 √(r² − s²)."""
    size, radius = 64, 24.0
    y, x = np.meshgrid(*(np.arange(size) - (size - 1) / 2,) * 2, indexing="ij")
    sums = (_ray_matrix(size) @ (np.hypot(x, y) <= radius).ravel().astype(float)).reshape(size, size)
    s = np.arange(size) - (size - 1) / 2
    chords = 2 * np.sqrt(np.maximum(radius**2 - s**2, 0))
    assert np.abs(sums.mean(axis=0) - chords).max() < 1.5


def test_reconstruction_returns_the_disc():
    """Filtered back-projection of a disc's ray sums is the disc: the noise has the right size in 1/mm."""
    size, pixel = 64, 5.0
    y, x = np.meshgrid(*(np.arange(size) - (size - 1) / 2,) * 2, indexing="ij")
    disc = SOFT * (np.hypot(x, y) <= 20)
    line = (_ray_matrix(size) @ disc.ravel()).reshape(1, size, size) * pixel
    again = _back_projected(line, pixel=pixel)[0]
    assert again[np.hypot(x, y) <= 14].mean() == pytest.approx(SOFT, rel=0.03)
    assert abs(again[(np.hypot(x, y) > 24) & (np.hypot(x, y) < 30)].mean()) < 0.03 * SOFT


def test_a_scan_measures_hounsfield_units():
    """Water is 0, air −1000, lung −725; and the nodule stands out of the lung where the table says."""
    body = draw_body(np.random.default_rng(2), sex="M", nodules=1, radius_mm=(14, 15))
    volume = scan(body, size=64, slices=24, rng=np.random.default_rng(0))
    assert volume[:, :3, :3].mean() == pytest.approx(-1000, abs=15)
    (mark,) = volume_marks(body, size=64, slices=24)
    at = tuple(round(v) for v in (mark.slice, mark.row, mark.column))
    without = scan(dataclasses.replace(body, nodules=()), size=64, slices=24, rng=np.random.default_rng(0))
    assert without[at] < -550 and volume[at] - without[at] == pytest.approx(mark.contrast, rel=0.35)
    water = scan(WATER, size=64, slices=6, rng=np.random.default_rng(0))
    assert water[:, 24:40, 24:40].mean() == pytest.approx(0, abs=5)


def test_fewer_photons_make_a_noisier_scan():
    noise = [
        scan(WATER, size=48, slices=4, photons=n, rng=np.random.default_rng(0))[:, 16:32, 16:32].std()
        for n in (4e4, 4e5)
    ]
    assert noise[0] / noise[1] == pytest.approx(np.sqrt(10), rel=0.25)
