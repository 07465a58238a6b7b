"""Slices at one place or two: a cine, single slices, or refused."""

from __future__ import annotations

import numpy as np
import pytest
from series_of_slices import one_slice

from overread.domain import code_of
from overread.formats.found import Found, Refused
from overread.formats.moments import at_few_places
from overread.formats.series import read_series

PIXELS = np.random.default_rng(7).integers(0, 2000, (10, 12))


def at(k: int, place: float = 0.0, **more: object) -> tuple[str, bytes]:
    return f"{k}", one_slice(np.array([0, 0, place]), np.eye(3), k + 1, PIXELS + k, SliceThickness=8, **more)


def first_pixels(found: Found) -> list[int]:
    return (found.image.voxels[:, 0, 0].astype(int) - PIXELS[0, 0]).tolist()


def test_a_long_axis_cine_is_one_image_over_time_in_the_order_of_its_trigger_times() -> None:
    times = [60, 0, 90, 30, 120]
    (cine,) = read_series([at(k, TriggerTime=t) for k, t in enumerate(times)])
    assert first_pixels(cine) == [1, 3, 0, 2, 4]
    assert (cine.image.geometry, cine.image.spacing_mm) == (None, (0.0, 0.8, 1.25))
    assert [code_of(n) for n in cine.image.notes] == ["frames-over-time"]
    assert cine.origin.files == ("1", "3", "0", "2", "4")


def test_two_places_and_two_kinds_are_cines_of_their_own() -> None:
    kinds = (["ORIGINAL", "PRIMARY", "M"], ["ORIGINAL", "PRIMARY", "P"])
    slices = [at(k, 10.0 * (k % 2), TriggerTime=k // 4, ImageType=kinds[k // 2 % 2]) for k in range(12)]
    cines = read_series(slices)
    assert sorted(map(first_pixels, cines)) == [[0, 4, 8], [1, 5, 9], [2, 6, 10], [3, 7, 11]]


def test_two_echoes_of_one_slice_are_two_slices() -> None:
    one, other = read_series([at(k, EchoTime=20 * k + 10) for k in range(2)])
    for k, found in enumerate((one, other)):
        assert first_pixels(found) == [k]
        assert found.image.geometry is not None
        assert {code_of(n) for n in found.image.notes} == {"one-slice", "few-slices"}
        assert "told apart by the echo time" in found.image.notes[-1]


@pytest.mark.parametrize(
    "facts",
    [
        lambda k: {},
        lambda k: {"AcquisitionTime": f"10{k:02d}00", "AcquisitionNumber": k},
        lambda k: {"TriggerTime": k // 2},
        lambda k: {"TriggerTime": None if k == 3 else k},
    ],
)
def test_a_scan_whose_places_were_lost_is_no_cine(facts) -> None:
    """Every slice of a scan has its own time of day and number; where all name one place, nobody knows their order."""
    results = read_series([at(k, **facts(k)) for k in range(6)])
    assert all(isinstance(r, Refused) and r.code == "duplicate-position" for r in results)
    assert len(results) == 6


def test_three_places_are_a_volume_s_business() -> None:
    assert at_few_places(np.array([0, 1, 2, 0, 1, 2]), [{"trigger time": float(k)} for k in range(6)]) == []
