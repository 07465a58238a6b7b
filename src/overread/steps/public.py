"""Public libraries as sources of collect: ``phil:…`` and ``medmnist:…`` become files on the names shelf."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from overread.sources.brought import Brought
from overread.steps.progress import bar, progress
from overread.steps.shelved import private
from overread.store.journal import exclusive


def phil(word: str, root: Path, *, show: bool) -> Brought:
    """Fetch records of the CDC's Public Health Image Library.

    Parameters
    ----------
    word : str
        ``phil:2423,2424-2430`` or ``phil:chest x-ray?most=50``.
    root : Path
        The folder that belongs to this library.
    show : bool
        Draw a bar, and tell why it takes long.
    """
    from overread.sources.phil import fetch, understand

    understand(word)  # refused before anything is made on the disk

    def each(numbers: Iterable[str]) -> Iterator[str]:
        numbers = list(numbers)
        return progress(numbers, total=len(numbers), what="asking PHIL", unit="records", show=show)

    def tell(line: str) -> None:
        if show:
            print(line, file=sys.stderr)

    with _alone(private(root)):
        return fetch(word, into=root, tell=tell, each=each)


def medmnist(word: str, root: Path, *, show: bool) -> Brought:
    """Download a published MedMNIST set.

    Parameters
    ----------
    word : str
        ``medmnist:pneumoniamnist`` or ``medmnist:pneumoniamnist_64``.
    root : Path
        The folder that belongs to this library.
    show : bool
        Draw a bar.
    """
    from overread.sources.medmnist import fetch, known

    known(word.partition(":")[2])  # refused before anything is made on the disk
    with _alone(private(root)), bar(total=None, what="downloading", unit="B", show=show) as moved:
        return fetch(word.partition(":")[2], into=root, moved=moved.update)


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Ask a library by one run at a time: two would ask twice as often, and write the same half files."""
    with ExitStack() as held:
        try:
            held.enter_context(exclusive(root / "lock", wait=False))
        except BlockingIOError:
            print("another run is fetching into the same archive; waiting for it", file=sys.stderr)
            held.enter_context(exclusive(root / "lock"))
        yield
