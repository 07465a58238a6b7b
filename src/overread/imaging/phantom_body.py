"""Draw one simulated patient: a chest of plausible size, with or without nodules.

Measures are round figures of an adult chest in mm; every patient differs in size, heart, diaphragm, ribs, vessels and
turn. Nothing here depends on whether there is a nodule, except the nodules themselves.
"""

from __future__ import annotations

import numpy as np

from overread.imaging.phantom import LUNG, SOFT, Body, Ellipsoid, Tube, lung_length, view_matrix

BONE, CANCELLOUS = 0.020, 0.009
"""Added attenuation of cortical and of cancellous bone over soft tissue, in 1/mm (on the axis of a tube, in a body)."""

PLAIN_MM, PLAIN = (11.5, 17.5), (1.4, 2.1)
"""Radius and density of nodules that a reader sees."""

SUBTLE_MM, SUBTLE = (5.0, 8.0), (0.7, 1.0)
"""… and of those that most readers miss."""

RADII_VESSELS = (5.5, 3.8, 2.6, 1.8)
"""Of the four generations of lung vessels, in mm."""


def draw_body(
    rng: np.random.Generator, *, sex: str, nodules: int = 0, radius_mm: tuple = PLAIN_MM, density: tuple = PLAIN
) -> Body:
    """Draw a patient's chest.

    Parameters
    ----------
    rng : numpy.random.Generator
    sex : {"F", "M"}
        Decides breasts and mean size.
    nodules : int
        How many round lesions lie in the lungs, where an upright film can show them.
    radius_mm : (float, float)
        Range of the nodules' mean radius.
    density : (float, float)
        Range of what they add, in units of the difference between soft tissue and lung: 1 is soft tissue, 2 is
        calcified.

    Returns
    -------
    Body

    Examples
    --------
    >>> body = draw_body(np.random.default_rng(0), sex="F", nodules=2)
    >>> len(body.nodules)
    2
    """
    a, b, c = np.array([1.0, 1.0, 1.0]) * rng.normal(1.0 if sex == "M" else 0.93, 0.035) * rng.normal(1, 0.025, 3)
    cage = Ellipsoid((0, 0, -55), (128 * a, 88 * b, 192 * c))
    heart_width = rng.normal(1.0, 0.09)
    breath = rng.normal(0, 7)  # the diaphragm's height: how deep the patient breathed in
    fat = float(np.clip(rng.normal(9, 5), 2, 24))
    slope = np.deg2rad(rng.normal(32, 5))
    along = np.array([np.cos(slope), -0.25, -np.sin(slope)])
    heart = Ellipsoid(
        (22 * a, -22 * b, -72 * c + breath / 2),
        (66 * heart_width * a, 47 * heart_width, 50 * heart_width),
        _axes(along),
    )
    cutters = (
        heart,
        Ellipsoid((0, 22, 30), (rng.normal(28, 1.5) * a, 68 * b, 190)),  # mediastinum
        Ellipsoid((18 * a, 14, 50 * c), (20, 34, rng.normal(16, 1.5))),  # aortic arch
        Ellipsoid((13 * a, 42, -40), (20, 15, 110)),  # descending aorta
        Ellipsoid((-16 * a, -5, 34), (19, 25, 85)),  # superior vena cava
        Ellipsoid((-54 * a, 4, -250 * c + breath), (98 * a, 108 * b, rng.normal(157, 3) * c)),  # right dome
        Ellipsoid((58 * a, 4, -258 * c + breath), (98 * a, 108 * b, rng.normal(155, 3) * c)),  # left dome
    )
    body = Body(
        soft=_trunk(a, b, sex=sex, fat=fat),
        cage=cage,
        cutters=cutters,
        added=_spine_and_airways(a, b, rng=rng),
        arms=_arms(a, fat=fat, rng=rng),
        turn=float(rng.normal(0, 2.0)),
    )
    tubes = (*_ribs(cage, rng=rng), *_clavicles(a, b, rng=rng), *_vessels(body, rng=rng))
    body = Body(**{**body.__dict__, "tubes": tubes})
    lesions = tuple(_nodule(body, rng=rng, radius_mm=radius_mm, density=density) for _ in range(nodules))
    return Body(**{**body.__dict__, "nodules": lesions})


def _axes(first: np.ndarray) -> tuple[tuple[float, ...], ...]:
    """Return a rotation whose first column points along a direction."""
    first = first / np.linalg.norm(first)
    second = np.cross([0, 0, 1], first)
    second /= np.linalg.norm(second)
    return tuple(map(tuple, np.stack([first, second, np.cross(first, second)], axis=1)))


def _trunk(a: float, b: float, *, sex: str, fat: float) -> tuple[Ellipsoid, ...]:
    """Trunk, neck and, in women, breasts pressed against the detector."""
    shapes = [
        Ellipsoid((0, 4, -120), ((143 + fat) * a, (97 + fat) * b, 420)),
        Ellipsoid((0, 8, 215), (58 + fat / 2, 60, 150)),
    ]
    if sex == "F":
        shapes += [Ellipsoid((side * 74 * a, -84 * b, -66), (60, 28 + fat, 52)) for side in (-1, 1)]
    return tuple(shapes)


def _arms(a: float, *, fat: float, rng: np.random.Generator) -> tuple[Ellipsoid, ...]:
    """Shoulders and upper arms with shoulder blade and humerus."""
    shapes = []
    spread = rng.normal(122, 4)
    for side in (-1, 1):
        tilt = _axes(np.array([side * 0.93, 0, -0.37]))
        shapes.append(Ellipsoid((side * 108 * a, 22, 118), (95 + fat, 62 + fat / 2, 46 + fat / 2), tilt))
        shapes.append(Ellipsoid((side * 190 * a, 16, 0), (38 + fat / 2, 42, 150)))
        plate = _axes(np.array([side * 0.55, -0.15, 0.8]))
        shapes.append(Ellipsoid((side * spread * a, 74, 66), (62, 33, 4), plate, CANCELLOUS))
        shapes.append(Ellipsoid((side * 168 * a, 18, 112), (23, 23, 24), delta=CANCELLOUS))
        shapes.append(Ellipsoid((side * 178 * a, 18, 0), (11, 11, 120), delta=CANCELLOUS))
    return tuple(shapes)


def _spine_and_airways(a: float, b: float, *, rng: np.random.Generator) -> tuple[Ellipsoid, ...]:
    """Vertebrae one by one and sternum; the trachea and main bronchi as air."""
    pitch = rng.normal(24.5, 0.8)
    back = 60 * b
    spine = [Ellipsoid((0, back, 176 - i * pitch), (17 * a, 15, 0.43 * pitch), delta=CANCELLOUS) for i in range(16)]
    spine += [Ellipsoid((0, back + 34, 172 - i * pitch), (5, 15, 8), delta=CANCELLOUS) for i in range(16)]
    sternum = Ellipsoid((0, -84 * b, 20), (17, 5, 85), delta=CANCELLOUS / 2)
    air = [Ellipsoid((rng.normal(-2, 2), 14, 118), (8.5, 8.5, 82), delta=-0.8 * SOFT)]
    for side in (-1, 1):
        bronchus = _axes(np.array([side * 0.8, 0, -0.6]))
        air.append(Ellipsoid((side * 17, 14, 26), (22, 5.5, 5.5), bronchus, -0.8 * SOFT))
    return (*spine, sternum, *air)


def _along(points: np.ndarray) -> np.ndarray:
    """Return the length that each point of a string stands for."""
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    return (np.append(steps, 0) + np.insert(steps, 0, 0)) / 2


def _bone(points: np.ndarray, radius: float) -> tuple[Tube, Tube]:
    """Return a bone as a tube with a thinner core: its shadow has a flat top and firm margins, as a cortex gives."""
    weights = _along(points)
    return Tube(points, weights, radius, BONE), Tube(points, weights, round(radius * 0.62, 2), -0.62 * BONE)


def _ribs(cage: Ellipsoid, *, rng: np.random.Generator) -> list[Tube]:
    """Ten pairs, each running from the spine around the side, then forwards and down."""
    (_, _, z0), (ax, ay, az) = cage.centre, cage.semi_axes
    pitch, fall, rise = rng.normal(0.124, 0.003) * az, rng.normal(78, 9), rng.normal(10, 5)
    tubes: list[Tube] = []
    for number in range(10):
        for side in (-1, 1):
            end = np.deg2rad(158 - 3.0 * max(0, number - 4) + rng.normal(0, 3))
            turn = np.linspace(np.deg2rad(9), end, 160)
            top = 126 - number * pitch + rng.normal(0, 1.0)
            sink = fall * (0.62 + 0.05 * number)
            z = top + rise * np.sin(np.minimum(2.2 * turn, np.pi)) - sink * ((1 - np.cos(turn)) / 2) ** 1.25
            wide = np.sqrt(np.clip(1 - ((z - z0) / az) ** 2, 0.10, 1))
            points = np.stack([side * (ax * wide + 3) * np.sin(turn), (ay * wide + 3) * np.cos(turn), z], axis=1)
            tubes += _bone(points, 5.6)
    return tubes


def _clavicles(a: float, b: float, *, rng: np.random.Generator) -> list[Tube]:
    """Two S-shaped bones from the breastbone to the shoulders."""
    tubes: list[Tube] = []
    lift = rng.normal(20, 6)
    for side in (-1, 1):
        t = np.linspace(0, 1, 130)
        x = side * (14 + 132 * a * t)
        y = -70 * b + 78 * t + 14 * np.sin(2 * np.pi * t)
        z = 104 + rng.normal(0, 1.5) + lift * np.sin(np.pi * t**0.8) * 0.7 + 8 * np.sin(2 * np.pi * t)
        tubes += _bone(np.stack([x, y, z], axis=1), 6.2)
    return tubes


def _vessels(body: Body, *, rng: np.random.Generator) -> list[Tube]:
    """Four generations of vessels that fork from each hilum and thin out towards the wall."""
    tubes: list[Tube] = []
    for side in (-1, 1):
        count = 7
        start = np.array([side * 30.0, 8.0, 4.0 if side > 0 else -4.0]) + rng.normal(0, (3, 10, 14), (count, 3))
        angle = np.linspace(-1.35, 1.25, count) + rng.normal(0, 0.12, count)
        heading = np.stack([side * np.cos(angle), rng.normal(0, 0.45, count), np.sin(angle)], axis=1)
        for generation, radius in enumerate(RADII_VESSELS):
            length = rng.uniform(26, 40, len(start)) * (1.0 - 0.08 * generation)
            heading /= np.linalg.norm(heading, axis=1, keepdims=True)
            t = np.linspace(0, 1, 20)[None, :, None]
            bend = rng.normal(0, 4, (len(start), 1, 3))
            path = start[:, None] + heading[:, None] * length[:, None, None] * t + bend * t * (1 - t)
            weights = np.repeat(length / 20, 20)
            points = path.reshape(-1, 3)
            inside = _inside_lung(body, points)
            tubes.append(Tube(points[inside], weights[inside], radius, SOFT - LUNG))
            start = np.repeat(path[:, -1], 2, axis=0)
            heading = np.repeat(heading, 2, axis=0) + rng.normal(0, 0.36, (len(start), 3))
    return tubes


def _inside_lung(body: Body, points: np.ndarray, margin: float = 2.0) -> np.ndarray:
    """Say which points lie in lung and at least ``margin`` mm from its border."""
    inside = _grown(body.cage, -margin).holds(points)
    for cutter in body.cutters:
        inside &= ~_grown(cutter, margin).holds(points)
    return inside


def _grown(shape: Ellipsoid, by: float) -> Ellipsoid:
    """Return an ellipsoid whose semi-axes are longer by some mm."""
    return Ellipsoid(shape.centre, tuple(s + by for s in shape.semi_axes), shape.rotation)


def _nodule(body: Body, *, rng: np.random.Generator, radius_mm: tuple, density: tuple) -> Ellipsoid:
    """Place one round lesion in the lung where at least 60 mm of lung lie in the beam of an upright film."""
    radius = float(rng.uniform(*radius_mm))
    semi = np.clip(rng.normal(radius, 0.10 * radius, 3), 0.8 * radius, 1.2 * radius)
    centre, axes = np.asarray(body.cage.centre), np.asarray(body.cage.semi_axes)
    view = view_matrix("PA", turn=body.turn)
    while True:
        points = centre + rng.uniform(-1, 1, (256, 3)) * axes
        places = view @ points.T
        good = _inside_lung(body, points, margin=float(semi.max()) + 1.0)
        good &= lung_length(body, view, places[0].astype(np.float32), places[2].astype(np.float32)) >= 60
        if good.any():
            place = points[np.flatnonzero(good)[0]]
            break
    solid = rng.uniform(*density)
    return Ellipsoid(tuple(map(float, place)), tuple(map(float, semi)), delta=float(solid * (SOFT - LUNG)))
