"""A picture is resized to the same bytes on any number of cores."""

import os
import threading

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from overread.imaging import preprocess, resampling
from overread.imaging.one_thread import _products, one_thread

PICTURES = np.random.default_rng(0).random((1, 512, 512, 3)).astype(np.float32)


def threads() -> set[int]:
    return {library["num_threads"] for library in _products().info()}


def on(cores: int, make) -> np.ndarray:
    with threadpool_limits(cores):
        return make()


def test_the_bytes_do_not_depend_on_the_number_of_threads():
    one, two = (on(cores, lambda: preprocess.resample(PICTURES, (1, 224, 224))) for cores in (1, 2))
    assert one.tobytes() == two.tobytes()


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one core: products are never divided")
def test_the_check_can_fail():
    """Products left to themselves do depend on it, here and with this library; where they do not, nothing is lost."""
    one, two = (on(cores, lambda: resampling._along(PICTURES, 224, 1, resampling._bands(512, 224))) for cores in (1, 2))
    if one.tobytes() == two.tobytes():
        pytest.skip("this library gives the same bits on two threads")
    assert np.allclose(one, two, atol=1e-5)


def test_what_was_set_before_is_set_again_when_the_last_has_left():
    before, seen = threads(), []

    def work():
        for _ in range(200):
            with one_thread():
                seen.append(threads() <= {1})

    crew = [threading.Thread(target=work) for _ in range(4)]
    for one in crew:
        one.start()
    for one in crew:
        one.join()
    assert all(seen) and len(seen) == 800 and threads() == before


def test_an_error_inside_takes_the_setting_back():
    before = threads()
    with pytest.raises(ValueError), one_thread():
        raise ValueError
    assert threads() == before
