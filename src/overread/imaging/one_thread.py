"""Matrix products on one thread: for small ones that is faster, and everywhere the same bits."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np  # loads the products' library, which is looked for below
from threadpoolctl import ThreadpoolController

_door = threading.Lock()
_inside = 0
_before: Any = None


@cache
def _products() -> ThreadpoolController:
    np.zeros(1)
    return ThreadpoolController().select(user_api="blas")


@contextmanager
def one_thread() -> Iterator[None]:
    """Let matrix products run on one thread while inside, in any number of threads of this process.

    A product that is divided among threads adds in another order: its last bits depend on how many cores a machine has,
    and an image would not be the same in training and in the clinic. The setting belongs to the process: the first to
    enter makes it, the last to leave takes it back.

    Examples
    --------
    >>> with one_thread():
    ...     with one_thread():
    ...         pass
    ...     _products().info()[0]["num_threads"] if _products().info() else 1
    1
    """
    global _inside, _before
    with _door:
        if not _inside:
            _before = _products().limit(limits=1)
        _inside += 1
    try:
        yield
    finally:
        with _door:
            _inside -= 1
            if not _inside:
                _before.restore_original_limits()
