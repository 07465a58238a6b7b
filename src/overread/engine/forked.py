"""Workers that are forks of this very process: there in two milliseconds, with all that it has loaded."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from overread.engine.workers import Worker


@contextmanager
def forks(fn: Callable[[Any], Any], workers: int) -> Iterator[list[Worker]]:
    """Fork workers that :func:`overread.engine.map` may take out of the list; those it has not taken are ended.

    A fork copies every lock, but not the threads that would open it again. So there are none (the list is empty, and
    ``map`` starts other processes) where this process has threads, and beyond Linux, where the system's own libraries
    start some. Open no database before, for a fork must not touch it.

    Parameters
    ----------
    fn : callable
        What they do with an item.
    workers : int

    Examples
    --------
    >>> with forks(abs, 0) as crew:
    ...     crew
    []
    """
    crew: list[Worker] = []
    try:
        if workers and _alone():
            _fork(fn, crew, workers)
        yield crew
    finally:
        _end(crew)


def _fork(fn: Callable, crew: list[Worker], workers: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python's, of threads: they are counted here
        for _ in range(workers):
            try:
                crew.append(Worker(fn, beside=crew))
            except OSError:  # the system lends no more memory, or processes
                return _end(crew)
            if _threads() > 1:  # NumPy's have ended for the fork: this one was there, and unknown
                return _end(crew)


def _end(crew: list[Worker]) -> None:
    while crew:
        crew.pop().end()


def _alone() -> bool:
    """True where no thread is known here but the one that asks, and those of NumPy's library, which end before a fork."""
    if sys.platform != "linux" or threading.active_count() > 1 or multiprocessing.current_process().daemon:
        return False
    from threadpoolctl import threadpool_info

    pools = [pool for pool in threadpool_info() if pool["internal_api"] == "openblas"]
    return _threads() <= 1 + sum(pool["num_threads"] - 1 for pool in pools)


def _threads() -> int:
    return len(os.listdir("/proc/self/task"))
