"""One progress bar for every step: on stderr, with the time left, and silent where nobody looks or nothing takes long."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

SILENT_S = 2.0
T = TypeVar("T")


class _Bar(tqdm):
    """A bar that looks at the clock at each step, so that no thread has to: where threads are, nothing is forked."""

    monitor_interval = 0


def progress(
    items: Iterable[T], *, total: int | None = None, what: str, unit: str = "", show: bool = True
) -> Iterator[T]:
    """Yield the items, and draw a bar on stderr when it takes longer than two seconds.

    Where stderr is no terminal (a log file), a line is written every half minute instead of ten a second.

    Parameters
    ----------
    items : iterable
    total : int, optional
        How many there are; without it there is no time left to tell.
    what : str
        In words: "collecting".
    unit : str
        What one item is: "files".
    show : bool
        False draws nothing.

    Examples
    --------
    >>> list(progress([1, 2], what="counting", show=False))
    [1, 2]
    """
    yield from bar(items, total=total, what=what, unit=unit, show=show)


def bar(items: Iterable[T] | None = None, *, total: int | None, what: str, unit: str = "", show: bool = True) -> tqdm:
    """Return the bar itself, for a step that moves it by hand (``update``) and shows figures beside it."""
    watched = sys.stderr.isatty()
    return _Bar(
        items,
        total=total,
        desc=what,
        unit=f" {unit}" if unit else "it",
        disable=not show,
        file=sys.stderr,
        delay=SILENT_S,
        mininterval=0.1 if watched else 30.0,
        miniters=1,
        dynamic_ncols=watched,
        leave=False,
    )


def say(show: bool, text: str) -> None:
    """Tell the person a line of the story, on stderr."""
    if show:
        print(text, file=sys.stderr, flush=True)
