"""What tells volumes apart, read from headers: public elements, makers' private ones, functional groups."""

from __future__ import annotations

import numpy as np
from pydicom import Dataset

from overread.formats.tellers import Division, attributes, told, volumes


def private(group: int, creator: str, offset: int, vr: str, value: object, ds: Dataset | None = None) -> Dataset:
    ds = Dataset() if ds is None else ds  # an empty one is false
    ds.private_block(group, creator, create=True).add_new(offset, vr, value)
    return ds


def test_makers_private_b_values_are_read() -> None:
    assert told(private(0x0019, "SIEMENS MR HEADER", 0x0C, "IS", "1000"), 1) == [{"diffusion b-value": 1000.0}]
    assert told(private(0x2001, "Philips Imaging DD 001", 0x03, "FL", 800.0), 1) == [{"diffusion b-value": 800.0}]
    ge = private(0x0043, "GEMS_PARM_01", 0x39, "IS", ["1000000700", "8", "0", "0"])  # GE's flag is taken off
    assert told(ge, 1) == [{"diffusion b-value": 700.0}]
    assert told(private(0x0019, "SOMEBODY ELSE", 0x0C, "IS", "1000"), 1) == [{}]


def test_makers_private_gradients_are_read_as_text_and_as_bytes() -> None:
    gradient = [0.5, -0.5, 0.25]
    raw = np.array(gradient, "<f8").tobytes()
    assert told(private(0x0019, "SIEMENS MR HEADER", 0x0E, "UN", raw), 1)[0]["diffusion gradient"] == tuple(gradient)
    ge = Dataset()
    for offset, value in zip((0xBB, 0xBC, 0xBD), gradient, strict=True):
        private(0x0019, "GEMS_ACQU_01", offset, "DS", str(value), ge)
    assert told(ge, 1)[0]["diffusion gradient"] == tuple(gradient)


def test_a_frame_s_own_group_comes_before_what_all_share() -> None:
    ds, shared, frame, echo, content = Dataset(), Dataset(), Dataset(), Dataset(), Dataset()
    echo.EffectiveEchoTime = 30
    shared.MREchoSequence = [echo]
    content.TemporalPositionIndex, content.DimensionIndexValues = 2, [1, 7, 3]
    frame.FrameContentSequence = [content]
    ds.SharedFunctionalGroupsSequence, ds.PerFrameFunctionalGroupsSequence = [shared], [frame]
    pointers = []
    for tag in (0x00209056, 0x00209057, 0x00209128):  # stack, position in stack, time
        pointer = Dataset()
        pointer.DimensionIndexPointer = tag
        pointers.append(pointer)
    ds.DimensionIndexSequence = pointers
    (said,) = told(ds, 1)
    assert said == {"echo time": 30.0, "time point": 2.0, "frame": 1, "dimension index": (1, 3)}


def test_the_fewest_facts_that_are_enough_are_used() -> None:
    places = np.tile([0, 1, 2], 2)
    said = [{"echo time": e, "echo number": e / 10, "flip angle": 9.0} for e in (10.0, 20.0) for _ in range(3)]
    assert volumes(places, said) == Division([[0, 1, 2], [3, 4, 5]], "echo time")


def test_nothing_that_tells_is_nothing() -> None:
    places = np.tile([0, 1, 2], 2)
    assert volumes(places, [{}] * 6) is None
    assert volumes(np.zeros(4, int), [{"echo time": float(n)} for n in range(4)]) is None  # one position: no volume
    assert volumes(places, [{"echo time": float(n)} for n in range(6)]) is None  # every slice its own echo: no volume


def test_times_of_day_and_words_are_never_attributes() -> None:
    said = [{"acquisition time": 101500.0, "reconstruction kernel": "B30f", "trigger time": 5.0}, {"trigger time": 9.0}]
    assert attributes([0], said) == {"TriggerTime": "5"}
