"""Stacks of slices: random scans in random order come out the same; what is no stack is divided, or refused with its numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from overread.domain import code_of
from overread.formats.arrange import Frame, Part, arrange
from overread.formats.planes import Plane
from overread.imaging import geometry

NEVER = lambda i, j: False


def plane(
    position: tuple, orientation: tuple = (1, 0, 0, 0, 1, 0), *, pixel: float = 1.0, number: int | None = None
) -> Plane:
    return Plane(tuple(map(float, position)), tuple(map(float, orientation)), (pixel, pixel), None, None, number=number)


def upright(heights: list[float], *, numbers: bool = True, **said: object) -> list[Frame]:
    return [
        Frame(plane((0, 0, z), number=n if numbers else None), (16, 16, 1), {"instance number": float(n)} | said)
        for n, z in enumerate(heights, start=1)
    ]


def only(parts: list[Part]) -> Part:
    (part,) = parts
    return part


def said_of(part: Part) -> str:
    assert part.refusal is not None
    return f"{part.refusal.code}: {part.refusal}"


@settings(max_examples=80, deadline=None)
@given(st.integers(3, 40), st.floats(0.3, 9), st.integers(0, 10_000), st.booleans())
def test_any_scan_in_any_order_is_the_same_volume_at_the_same_place(
    count: int, step: float, seed: int, back: bool
) -> None:
    rng = np.random.default_rng(seed)
    turn = Rotation.random(random_state=seed).as_matrix()
    orientation = np.concatenate([turn[:, 0], turn[:, 1]])
    corner = rng.normal(size=3) * 100
    places = [corner + turn[:, 2] * step * k for k in range(count)]
    frames = [
        Frame(Plane(tuple(p), tuple(orientation), (0.7, 0.9), None, None, number=count - k if back else k), (9, 9, 1))
        for k, p in enumerate(places)
    ]
    shuffled = rng.permutation(count)
    part = only(arrange([frames[i] for i in shuffled], same=NEVER))
    assert part.refusal is None
    assert [int(shuffled[i]) for i in part.frames] == list(range(count))
    expected = geometry.plane_affine(
        corner, orientation=orientation, pixel_spacing_mm=np.array([0.7, 0.9]), slice_step_mm=turn[:, 2] * step
    )
    assert np.allclose(part.stack.affine, expected, atol=1e-6)
    assert part.stack.lean_degrees == 0


@settings(max_examples=60, deadline=None)
@given(
    st.integers(3, 8), st.integers(2, 6), st.integers(0, 10_000), st.sampled_from(["echo time", "diffusion b-value"])
)
def test_volumes_that_share_positions_are_told_apart_by_one_fact(slices: int, many: int, seed: int, fact: str) -> None:
    rng = np.random.default_rng(seed)
    values = np.sort(rng.choice(1000, many, replace=False)).astype(float)
    frames = [
        f for v in values for f in upright(list(range(slices)), **{fact: float(v), "acquisition time": rng.random()})
    ]
    order = rng.permutation(len(frames))
    parts = arrange([frames[i] for i in order], same=NEVER)
    assert len(parts) == many
    assert not any(p.counted or "counted" in map(code_of, p.notes) for p in parts)
    attribute = {"echo time": "EchoTime", "diffusion b-value": "DiffusionBValue"}[fact]
    assert sorted(float(p.attributes[attribute]) for p in parts) == values.tolist()
    for part in parts:
        chosen = [frames[order[i]] for i in part.frames]
        assert [f.plane.position[2] for f in chosen] == list(range(slices))
        assert {f.said[fact] for f in chosen} == {float(part.attributes[attribute])}


@settings(max_examples=40, deadline=None)
@given(st.integers(3, 8), st.integers(2, 6), st.booleans(), st.integers(0, 99))
def test_time_points_are_counted_by_instance_numbers_where_nothing_else_tells(
    slices: int, many: int, together: bool, seed: int
) -> None:
    """Volume after volume, or (``together``) all time points of one position after one another."""
    frames = []
    for t in range(many):
        for z in range(slices):
            number = float(1 + (z * many + t if together else t * slices + z))
            frames.append(Frame(plane((0, 0, z)), (8, 8, 1), {"instance number": number, "true": t}))
    order = np.random.default_rng(seed).permutation(len(frames))
    parts = arrange([frames[i] for i in order], same=NEVER)
    assert [{frames[order[i]].said["true"] for i in p.frames} for p in parts] == [{t} for t in range(many)]
    assert all("order of the instance numbers" in " ".join(p.notes) for p in parts)
    assert all(p.counted and "counted" in map(code_of, p.notes) for p in parts)


def test_counting_is_refused_where_a_firm_fact_would_change_within_a_volume() -> None:
    first = upright([0, 1, 2, 3])
    second = [replace(f, said={"instance number": f.said["instance number"] + 4}) for f in first]
    assert len(arrange(first + second, same=NEVER)) == 2
    muddled = [replace(f, said=f.said | {"echo time": float(n % 4 // 2)}) for n, f in enumerate(first + second)]
    assert "duplicate-position: 8 slices at 4 positions" in said_of(only(arrange(muddled, same=NEVER)))


def test_diffusion_steps_need_two_facts() -> None:
    steps = [(0.0, None), (900.0, (1.0, 0.0, 0.0)), (900.0, (0.0, 1.0, 0.0)), (2000.0, (1.0, 0.0, 0.0))]
    frames = [f for b, g in steps for f in upright([0, 2, 4], **{"diffusion b-value": b, "diffusion gradient": g})]
    parts = arrange(frames, same=NEVER)
    assert len(parts) == 4
    assert {p.attributes["DiffusionBValue"] for p in parts} == {"0", "900", "2000"}
    assert "diffusion b-value and diffusion gradient" in parts[0].notes[0]


def test_copies_are_dropped_and_others_are_not() -> None:
    frames = upright([0, 1, 2, 3]) + upright([1, 2])
    part = only(arrange(frames, same=lambda i, j: True))
    assert (part.frames, part.copies) == ((0, 1, 2, 3), (4, 5))
    assert "copies-dropped" in map(code_of, part.notes)
    half = only(arrange(frames, same=lambda i, j: j == 4))
    assert "duplicate-position: 6 slices at 4 positions" in said_of(half)


def test_a_scout_in_the_series_is_a_picture_beside_the_volume() -> None:
    scout = Frame(plane((0, 0, 50), (1, 0, 0, 0, 0, -1)), (16, 16, 1))
    large = Frame(plane((0, 0, 9)), (99, 99, 1))
    parts = arrange([*upright([0, 5, 10, 15]), scout, large], same=NEVER)
    assert [(p.frames, p.stack is not None) for p in parts] == [((0, 1, 2, 3), True), ((4,), False), ((5,), False)]
    assert all("separated-geometry" in map(code_of, p.notes) for p in parts)


def test_three_planes_of_three_are_three_volumes_and_three_of_two_are_refused() -> None:
    ways = [(1, 0, 0, 0, 1, 0), (1, 0, 0, 0, 0, -1), (0, 1, 0, 0, 0, -1)]
    survey = [
        Frame(plane(tuple(geometry.normal(np.array(w)) * k * 10), w), (16, 16, 1)) for w in ways for k in range(3)
    ]
    assert [len(p.frames) for p in arrange(survey, same=NEVER) if p.stack] == [3, 3, 3]
    few = [f for n, f in enumerate(survey) if n % 3 < 2]
    assert "mixed-orientation: 4 of 6 slices are turned otherwise" in said_of(only(arrange(few, same=NEVER)))
    spin = [Frame(plane((0, 0, 0), (np.cos(a), np.sin(a), 0, 0, 0, -1)), (16, 16, 1)) for a in np.linspace(0, 3, 60)]
    assert said_of(only(arrange(spin, same=NEVER))).startswith("mixed-orientation: 60 slices in more than")


def test_sizes_no_three_alike_are_refused_with_the_sizes() -> None:
    frames = [Frame(plane((0, 0, z), pixel=1 + z), (10 + z, 16, 1)) for z in range(4)]
    refused = said_of(only(arrange(frames, same=NEVER)))
    assert "mixed-size: 4 slices of 4 sizes" in refused
    assert "1.000 to 4.000 mm" in refused


@pytest.mark.parametrize(
    ("heights", "numbers", "said"),
    [
        ([0, 5, 10, 25, 30], False, "missing-slices: 2 slices missing: 1 of 4 gaps differ from the usual 5.00 mm"),
        ([0, 5, 10, 25, 30], False, "after slice 3 from the lowest of 5"),
        ([0, 5, 10, 20, 25], True, "uneven-spacing: 1 of 4 gaps"),  # the numbers run on: the increment changed
        ([0, 5, 10, 17, 22], False, "from 5.00 to 7.00 mm, median 5.00"),
        ([0, 5], False, "missing-slices: a series of 2 slices, 5.00 mm apart"),
    ],
)
def test_gaps_are_refused_with_how_many_and_where(heights: list, numbers: bool, said: str) -> None:
    assert said in said_of(only(arrange(upright(heights, numbers=numbers), same=NEVER)))


def test_instance_numbers_that_nothing_else_has_are_told() -> None:
    def numbered(numbers: list[int]) -> list[Frame]:
        slices = upright([2.0 * k for k in range(len(numbers))])
        return [replace(f, plane=replace(f.plane, number=n)) for f, n in zip(slices, numbers, strict=True)]

    for numbers in ([1, 3, 5, 7], [7, 5, 3, 1]):
        (note,) = only(arrange(numbered(numbers), same=NEVER)).notes
        assert code_of(note) == "numbers-skip"
        assert "go by 2" in note
        assert "the 3 between" in note
    for numbers in ([1, 2, 3, 4], [4, 3, 2, 1], [1, 3, 6, 8], [5, 5, 5, 5]):
        assert only(arrange(numbered(numbers), same=NEVER)).notes == ()
    scout = Frame(replace(plane((0, 0, 50), (1, 0, 0, 0, 0, -1)), number=4), (16, 16, 1))
    volume = arrange([*numbered([1, 3, 5, 7]), scout], same=NEVER)[0]
    assert "numbers-skip" not in map(code_of, volume.notes)  # another file of the series has one of them


def test_two_acquisitions_laid_into_one_another_are_two_volumes() -> None:
    frames = [
        *upright([0, 5, 10, 15], **{"acquisition number": 1.0}),
        *upright([2, 7, 12, 17], **{"acquisition number": 2.0}),
    ]
    assert "uneven" in said_of(only(arrange([replace(f, said={}) for f in frames], same=NEVER)))
    assert [p.attributes["AcquisitionNumber"] for p in arrange(frames, same=NEVER)] == ["1", "2"]


@pytest.mark.parametrize("heights", [[4], [0], [9], [2, 3], [0, 9]])
@pytest.mark.parametrize("fact", ["acquisition number", "echo time"])
def test_slices_scanned_again_are_pictures_beside_the_volume(heights: list[int], fact: str) -> None:
    again = [replace(f, said=f.said | {"instance number": 50.0 + n}) for n, f in enumerate(upright(heights))]
    again = [replace(f, said=f.said | {fact: 2.0}) for f in again]
    frames = [*upright(list(range(10)), **{fact: 1.0}), *again]
    volume, *pictures = arrange(frames, same=NEVER)
    assert (volume.frames, volume.refusal) == (tuple(range(10)), None)
    assert list(map(code_of, volume.notes)) == ["few-slices"]
    assert "Volume" not in volume.attributes
    assert [(p.frames, p.stack, p.refusal) for p in pictures] == [((10 + n,), None, None) for n in range(len(heights))]
    assert all(f"{fact}: too few for a volume" in p.notes[0] for p in pictures)
    nothing_tells = [replace(f, said={}) for f in frames]
    assert "duplicate-position" in said_of(only(arrange(nothing_tells, same=NEVER)))


def test_two_slices_scanned_again_by_themselves_are_two_pictures_and_three_are_not() -> None:
    def again(*heights: int) -> list[Frame]:
        return [f for n, z in enumerate(heights) for f in upright([z], **{"acquisition number": 2.0 + n})]

    frames = upright(list(range(10)), **{"acquisition number": 1.0})
    assert [len(p.frames) for p in arrange([*frames, *again(3, 4)], same=NEVER)] == [10, 1, 1]
    assert "duplicate-position" in said_of(only(arrange([*frames, *again(3, 4, 5)], same=NEVER)))


def test_slices_of_two_frames_of_reference_are_never_one_volume() -> None:
    def of(*spaces: str) -> list[Frame]:
        frames = upright(list(range(len(spaces))))
        return [replace(f, space=s) for f, s in zip(frames, spaces, strict=True)]

    one, two = "1.2.9", "1.2.8"
    assert only(arrange(of(*[one] * 10), same=NEVER)).stack is not None
    halves = arrange(of(*[one] * 5, *[two] * 5), same=NEVER)
    assert [p.frames for p in halves] == [(0, 1, 2, 3, 4), (5, 6, 7, 8, 9)]
    assert all(
        "in 2 directions, sizes or frames of reference" in p.notes[-1] and one not in p.notes[-1] for p in halves
    )
    assert [len(p.frames) for p in arrange(of(*[one] * 9, two), same=NEVER)] == [9, 1]
    assert only(arrange(of(*[one] * 4, "", *[one] * 5), same=NEVER)).stack is not None  # one did not say it
    refused = said_of(only(arrange(of("1", "1", "2", "2"), same=NEVER)))
    assert "mixed-reference: 4 slices in 2 frames of reference" in refused
    assert "'1.2.9'" not in repr(halves) + repr(of(one))


def test_a_volume_that_was_stopped_is_told_and_stands() -> None:
    frames = [*upright([0, 1, 2, 3, 4], **{"time point": 1.0}), *upright([0, 1, 2], **{"time point": 2.0})]
    whole, short = arrange(frames, same=NEVER)
    assert "shorter-volume" not in map(code_of, whole.notes)
    assert any("3 slices, the longest of its series 5" in n for n in short.notes)


@given(st.floats(0.6, 44.9))
def test_a_lean_is_measured(degrees: float) -> None:
    aside = 5 * np.tan(np.radians(degrees))
    frames = [Frame(plane((0, aside * k, 5 * k), pixel=0.1), (16, 16, 1)) for k in range(5)]
    part = only(arrange(frames, same=NEVER))
    assert np.isclose(part.stack.lean_degrees, degrees, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.integers(3, 40), st.floats(0.4, 6), st.integers(0, 10_000), st.floats(0, 0.49))
def test_a_shift_of_less_than_half_a_pixel_from_end_to_end_is_no_tilt(
    count: int, step: float, seed: int, pixels: float
) -> None:
    """Positions rounded to a tenth of a pixel on a stack that drifts a little: upright, each slice where its file says."""
    rng = np.random.default_rng(seed)
    way = rng.normal(size=2)
    drift = np.outer(np.linspace(0, pixels, count), way / np.linalg.norm(way))
    drift += rng.uniform(-0.02, 0.02, drift.shape) * (0.5 - pixels)
    truth = np.column_stack([drift, step * np.arange(count)])
    part = only(arrange([Frame(plane(tuple(p)), (16, 16, 1)) for p in truth], same=NEVER))
    assert part.stack.lean_degrees == 0
    assert geometry.lean_degrees(part.stack.affine) < 1e-6
    placed = part.stack.affine[:3, 3] + np.outer(np.arange(count), part.stack.affine[:3, 0])
    assert np.linalg.norm(placed - truth, axis=1).max() < 0.3


def test_rounding_is_no_tilt_and_a_shift_of_a_pixel_is_one() -> None:
    def ends_aside(by: float) -> Part:
        return only(arrange([Frame(plane((by * k / 2, 0, k)), (16, 16, 1)) for k in range(3)], same=NEVER))

    assert (ends_aside(0.02).stack.lean_degrees, ends_aside(0.02).notes) == (0, ())
    assert ends_aside(0.49).stack.lean_degrees == 0
    assert np.isclose(ends_aside(1.0).stack.lean_degrees, np.degrees(np.arctan(0.5)))


def test_slices_that_swing_from_side_to_side_are_told_in_pixels_or_refused() -> None:
    def swinging(by: float) -> Part:
        frames = [Frame(plane((by * (k % 2), 0, 2.5 * k)), (16, 16, 1)) for k in range(6)]
        return only(arrange(frames, same=NEVER))

    told = swinging(0.45)
    assert told.stack.lean_degrees == 0
    assert "slices-aside: slices lie up to 0.28 mm (0.28 of a pixel)" in told.notes[0]
    assert swinging(0.05).notes == ()
    assert "uneven-spacing: slice 2 of 6 lies 0.75 mm" in said_of(swinging(1.2))


def test_more_lean_than_a_gantry_has_and_a_slice_aside_are_refused() -> None:
    frames = [Frame(plane((0, 6 * k, 5 * k)), (16, 16, 1)) for k in range(5)]
    assert "gantry-tilt: a stack that leans by 50.2°" in said_of(only(arrange(frames, same=NEVER)))
    frames = upright([0, 1, 2, 3, 4])
    frames[2] = replace(frames[2], plane=replace(frames[2].plane, position=(4.0, 0.0, 2.0)))
    assert "uneven-spacing: slice 3 of 5 lies 3.20 mm from" in said_of(only(arrange(frames, same=NEVER)))


@pytest.mark.parametrize(
    ("between", "thick", "codes"),
    [(5, 5, set()), (3, 5, {"spacing-contradicted"}), (5, 3, {"slices-apart"}), (5, 8, {"slices-overlap"})],
)
def test_what_the_header_says_of_spacing_is_compared(between: float, thick: float, codes: set) -> None:
    frames = [
        replace(f, plane=replace(f.plane, spacing_between=between, slice_thickness=thick)) for f in upright([0, 5, 10])
    ]
    part = only(arrange(frames, same=NEVER))
    assert set(map(code_of, part.notes)) == codes
    assert np.isclose(part.stack.affine[2, 0], 5)


def test_facts_that_change_within_a_stack_are_told() -> None:
    frames = [
        replace(f, said=f.said | {"tube voltage": v})
        for f, v in zip(upright([0, 1, 2, 3]), (80.0, 80.0, 140.0, 140.0), strict=True)
    ]
    assert any("differ in tube voltage" in n for n in only(arrange(frames, same=NEVER)).notes)


def test_directions_that_are_none_are_refused_with_the_number() -> None:
    frames = [Frame(plane((0, 0, z), (1, 0, 0, 0, 1.2, 0)), (16, 16, 1)) for z in range(3)]
    assert "malformed: direction cosines" in said_of(only(arrange(frames, same=NEVER)))
    assert "off by 0.200" in said_of(only(arrange(frames, same=NEVER)))
