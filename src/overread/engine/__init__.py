"""Map a function over many items, in worker processes, in order, and survive the death of a worker.

A decoder is C code that a broken file can crash, and a huge image can have a process killed for memory. Neither may end
a run over ten thousand files: the item is tried once more, alone in a fresh process, and then given back as a
:class:`Failure`. An item that holds its process for ever is stopped with it after a quarter of an hour. Results stream in the order of the items; only a few are in flight at any time.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import wait
from typing import Any

from overread.engine.forked import forks
from overread.engine.workers import PATIENCE_S, Answer, Entry, Starting, Worker, context_of, quiet_start, stopped

__all__ = ["INLINE", "Failure", "cores", "forks", "map", "warm"]

INLINE = 16  # fewer items are done in this process: starting others costs about a second
_AHEAD_S = 0.2  # a worker has so much work waiting, for the time that we are busy; but not more, or others had none
_TOGETHER = 16  # quick items that travel in one letter, and so do their answers
_LOOK_S = 1.0  # so often a worker that says nothing is looked at
_WORTH_S = 2.0  # less work than this is done here: others would hardly have started


@dataclass(frozen=True)
class Failure:
    """An item that could not be finished: it killed its process, or took all memory, twice, or was not done in time."""

    item: Any
    reason: str


def cores() -> int:
    """Return how many processor cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def map(
    fn: Callable[[Any], Any],
    items: Iterable[Any],
    *,
    workers: int | None = None,
    chunk: int = 8,
    ahead: int | None = None,
    inline: int = INLINE,
    here: Callable[[Any], bool] | None = None,
    left: Callable[[], int] | None = None,
    cluster: str | None = None,
    shared: Sequence[str | os.PathLike] = (),
    into: str | os.PathLike | None = None,
    crew: list[Worker] | None = None,
    patience_s: float = PATIENCE_S,
) -> Iterator[Any]:
    """Yield ``fn(item)`` for each item, in the order of the items.

    Parameters
    ----------
    fn : callable
        Of one argument; a function of a module (or a ``functools.partial`` of one), so that worker processes find it.
    items : iterable
        Read as it is needed.
    workers : int, optional
        Processes, at most; as many as there are cores when not given. 1 does all the work in this process.
    chunk : int
        Items that wait at a process, at most; those that take long are handed out one by one.
    ahead : int, optional
        Items that may be done or begun beyond the one yielded last, and wait in memory while that one takes long;
        ``4 * workers * chunk`` when not given.
    inline : int
        Fewer items than this are done in this process, whatever ``workers`` says.
    here : callable, optional
        True for an item that this process may do itself while the others start, as it is small and harmless.
    left : callable, optional
        Returns how many items there may still be. With it, and ``here``, others are started only once the rest would take
        longer than two seconds.
    cluster : str, optional
        "auto", "local" or "host:port" of a Ray cluster: the work is done there, whatever else is said, however few the
        items are (:mod:`overread.engine.cluster`).
    shared : sequence of paths
        What every host of that cluster must see.
    into : path, optional
        The folder that ``fn`` writes into, the same one for every host of that cluster.
    crew : list of Worker, optional
        From :func:`forks`: these do the work, if there are any, and are taken out of the list.
    patience_s : float
        Seconds that one item may take in another process; what this process does itself cannot be stopped.

    Yields
    ------
    object
        What ``fn`` returned; or a :class:`Failure` where the process that did the item died (killed for memory, crashed
        in a decoder) and died again when it did this item alone, or was stopped because the item took too long.

    Raises
    ------
    Exception
        What ``fn`` raised, when its item's turn comes; the rest is then given up.

    Examples
    --------
    >>> list(map(abs, [-1, 2, -3], workers=1))
    [1, 2, 3]
    """
    if cluster is not None:
        from overread.engine.cluster import on_cluster  # only for those who have one

        return on_cluster(
            fn, items, cluster=cluster, shared=shared, into=into, chunk=chunk, ahead=ahead, patience_s=patience_s
        )
    workers = cores() if workers is None else workers
    if workers < 1 or chunk < 1:
        raise ValueError(f"{workers} workers and a chunk of {chunk}, expected at least 1 of each")
    items = iter(items)
    first = list(itertools.islice(items, inline))
    nested = multiprocessing.current_process().daemon  # a worker may not have workers of its own
    if workers == 1 or nested or len(first) < inline:
        return _here(fn, itertools.chain(first, items))
    ahead = max(workers, 4 * workers * chunk if ahead is None else ahead)
    items = itertools.chain(first, items)
    if crew:
        taken, crew[:] = crew[:], []
        return _in_processes(fn, items, crew=taken, chunk=chunk, ahead=ahead, patience_s=patience_s)
    if here is None:
        crew = [Worker(fn) for _ in range(workers)]
        return _in_processes(fn, items, crew=crew, chunk=chunk, ahead=ahead, patience_s=patience_s)
    far = partial(_in_processes, fn, chunk=chunk, ahead=ahead, patience_s=patience_s)
    return _as_needed(fn, items, far, workers=workers, here=here, left=left)


def _here(fn: Callable, items: Iterable) -> Iterator:
    return (_do_here(fn, item) for item in items)


def _do_here(fn: Callable, item: Any) -> Any:
    try:
        return fn(item)
    except MemoryError:
        return Failure(item, "it needs more memory than there is")


def _as_needed(
    fn: Callable,
    items: Iterator,
    far: Callable[..., Iterator],
    *,
    workers: int,
    here: Callable[[Any], bool],
    left: Callable[[], int] | None,
) -> Iterator:
    """Do what is small here until it shows that others are worth their start, and until they have started: then ``far`` goes on."""
    starting = Starting(fn, workers)
    done, each = 0, 0.0  # the first item, which loads libraries, does not count; then the later ones weigh most
    try:
        for item in items:
            if left is None or not here(item) or (done > 1 and each * left() > _WORTH_S):
                starting.begin()
            if starting.over() or (starting.begun and not here(item)):
                crew, rest = starting.crew(), itertools.chain((item,), items)
                yield from far(rest, crew=crew)
                return
            began = time.monotonic()
            answer = _do_here(fn, item)
            took = time.monotonic() - began
            each = took if done < 2 else min(each, took) if done == 2 else each + (took - each) / 16
            done += 1
            yield answer
    finally:
        starting.end()


def warm(fn: Callable[[Any], Any]) -> None:
    """Begin to load what workers will need for ``fn``, beside this process, which is still busy finding the items."""
    if context_of(fn).get_start_method() == "forkserver" and not multiprocessing.current_process().daemon:
        from multiprocessing import forkserver  # only where the system has it

        with quiet_start(fn):
            forkserver.ensure_running()


# -- processes ----------------------------------------------------------------------------------------------------


class _Work:
    """The items to be done, each with its index: those handed back by a dead worker first, and never too far ahead."""

    def __init__(self, items: Iterable, *, ahead: int) -> None:
        self.items, self.ahead, self.handed_out = enumerate(items), ahead, 0
        self.again: deque[Entry] = deque()

    def next(self, turn: int, count: int) -> list[Entry]:
        """Return the next few items; none where there are none, or ``turn`` is too far behind."""
        if self.again:
            together = [self.again.popleft()]
            while self.again and len(together) < count and not (together[0].watched or self.again[0].watched):
                together.append(self.again.popleft())
            return together
        count = min(count, turn + self.ahead - self.handed_out)
        fresh = [Entry(index, item) for index, item in itertools.islice(self.items, max(0, count))]
        self.handed_out += len(fresh)
        return fresh

    def hand_out(self, crew: list[Worker], turn: int, *, depth: int) -> None:
        """Give each worker that has less than half of ``depth`` items so many, a few at a time, in turns."""
        together = max(1, min(_TOGETHER, depth // 4))
        hungry = [w for w in crew if 2 * len(w.given) < depth]
        while hungry:
            for worker in list(hungry):
                entries = self.next(turn, together)
                if not entries:
                    return
                taken = worker.give(entries)
                if not taken:
                    self.again.extendleft(reversed(entries))
                if not taken or len(worker.given) >= depth:
                    hungry.remove(worker)


def _in_processes(
    fn: Callable, items: Iterator, *, crew: list[Worker], chunk: int, ahead: int, patience_s: float
) -> Iterator:
    work = _Work(items, ahead=ahead)
    finished: dict[int, Answer] = {}  # answers that wait for their turn
    suspects: deque[Entry] = deque()  # what a worker died of
    turn, each = 0, _AHEAD_S  # ``each``: the seconds an item takes, of late
    try:
        while True:
            while turn in finished:
                how, value, _ = finished.pop(turn)
                turn += 1
                if how == "raised":
                    raise value
                yield value
            if not suspects:  # while something is suspect nothing new starts: it is to have all the memory
                work.hand_out(crew, turn, depth=max(1, min(chunk, int(_AHEAD_S / max(each, 1e-6)))))
            busy = {w.pipe: w for w in crew if w.given}
            if not busy and not suspects:
                return
            if not busy:
                entry = suspects.popleft()
                finished[entry.index] = _alone(fn, entry, patience_s)
            for pipe in wait(list(busy), min(_LOOK_S, patience_s)) if busy else ():
                worker = busy[pipe]
                if not worker.started:
                    worker.ready()
                    continue
                answers = worker.answers()
                if not answers:
                    _bury(worker, work, suspects)
                    crew[crew.index(worker)] = Worker(fn)
                for answer in answers:  # in the order of the items
                    entry, *_ = worker.given.popleft()
                    if answer[0] == "memory":
                        suspects.append(entry)
                    else:
                        finished[entry.index] = answer
                        each += (answer[2] - each) / 8
            for worker in [w for w in crew if w.late(patience_s)]:
                finished |= _stop(worker, work, suspects, patience_s)
                crew[crew.index(worker)] = Worker(fn)
    finally:
        for worker in crew:
            worker.end()


def _stop(worker: Worker, work: _Work, suspects: deque[Entry], patience_s: float) -> dict[int, Answer]:
    """End a worker whose item takes too long, and say so of it where it travelled alone: it is not tried again."""
    entry, _, alone = worker.given[0]
    blamed = alone and worker.started
    if blamed:
        worker.given.popleft()
        worker.end()
        work.again.extend(Entry(e.index, e.item, watched=True) for e, *_ in worker.given)
        return {entry.index: ("done", Failure(entry.item, stopped(patience_s)), 0.0)}
    _bury(worker, work, suspects, died=False)
    return {}


def _bury(worker: Worker, work: _Work, suspects: deque[Entry], *, died: bool = True) -> None:
    """Take back what a dead worker has not answered: it died of the first item, where that one travelled alone."""
    worker.end(died=died)
    left = [entry for entry, *_ in worker.given]
    if worker.given[0][2]:  # else any of those that travelled with it may be to blame
        suspects.append(left.pop(0))
    work.again.extend(Entry(entry.index, entry.item, watched=True) for entry in left)


def _alone(fn: Callable, entry: Entry, patience_s: float) -> Answer:
    """Try an item once more with a process, and the memory, all to itself."""
    worker = Worker(fn)
    answers: list[Answer] = []
    late = False
    try:
        worker.ready()
        worker.give([entry])
        late = not worker.pipe.poll(patience_s)
        answers = [] if late else worker.answers()
    finally:
        reason = worker.end(died=not answers and not late)
    if late:
        return "done", Failure(entry.item, stopped(patience_s)), 0.0
    if not answers:
        return "done", Failure(entry.item, reason), 0.0
    if answers[0][0] == "memory":
        return "done", Failure(entry.item, "it needs more memory than there is"), 0.0
    return answers[0]
