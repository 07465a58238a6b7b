"""Map a function over many items, in worker processes, in order, and survive the death of a worker.

A decoder is C code that a broken file can crash, and a huge image can have a process killed for memory. Neither may end
a run over ten thousand files: the item is tried once more, alone in a fresh process, and then given back as a
:class:`Failure`. Results stream in the order of the items; only a few are in flight at any time.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import sys
import types
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import ForkingPickler
from typing import Any

INLINE = 16  # fewer items are done in this process: starting others costs about a second


@dataclass(frozen=True)
class Failure:
    """An item that could not be finished because it killed its process, or took all memory, twice."""

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
    inline: int = INLINE,
) -> Iterator[Any]:
    """Yield ``fn(item)`` for each item, in the order of the items.

    Parameters
    ----------
    fn : callable
        Of one argument; a function of a module (or a ``functools.partial`` of one), so that worker processes find it.
    items : iterable
        Read as it is needed; at most ``4 * workers * chunk`` items are ahead of the one yielded last.
    workers : int, optional
        Processes; as many as there are cores when not given. 1 does all the work in this process.
    chunk : int
        Items handed to a process at a time.
    inline : int
        Fewer items than this are done in this process, whatever ``workers`` says.

    Yields
    ------
    object
        What ``fn`` returned; or a :class:`Failure` where the process that did the item died (killed for memory, crashed
        in a decoder) and died again when it did this item alone.

    Raises
    ------
    Exception
        What ``fn`` raised, when its item's turn comes; the rest is then given up.

    Examples
    --------
    >>> list(map(abs, [-1, 2, -3], workers=1))
    [1, 2, 3]
    """
    workers = cores() if workers is None else workers
    if workers < 1 or chunk < 1:
        raise ValueError(f"{workers} workers and a chunk of {chunk}, expected at least 1 of each")
    items = iter(items)
    first = list(itertools.islice(items, inline))
    nested = multiprocessing.current_process().daemon  # a worker may not have workers of its own
    if workers == 1 or nested or len(first) < inline:
        return _here(fn, itertools.chain(first, items))
    return _in_processes(fn, itertools.chain(first, items), workers=workers, chunk=chunk)


def _here(fn: Callable, items: Iterable) -> Iterator:
    for item in items:
        try:
            answer = fn(item)
        except MemoryError:
            answer = Failure(item, "it needs more memory than there is")
        yield answer


# -- processes ----------------------------------------------------------------------------------------------------


class _Worker:
    """One process, the pipe to it, and what it has been given and not yet answered."""

    def __init__(self, fn: Callable) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would copy the threads and locks of TensorFlow
        self.pipe, theirs = context.Pipe()
        self.given: deque[tuple[int, Any]] = deque()
        self.started = False
        self.process: BaseProcess = context.Process(target=_serve, args=(theirs, fn), daemon=True)
        with _quiet_start(fn):
            self.process.start()
        theirs.close()  # so that the pipe ends when the process does

    def give(self, work: list[tuple[int, Any]]) -> None:
        """Hand over some items, each with its index."""
        self.given.extend(work)
        try:
            self.pipe.send(work)
        except (BrokenPipeError, ConnectionResetError):
            return  # it has died; reading from its pipe will say so

    def answer(self) -> tuple[int, str, Any] | None:
        """Wait for the next answer: (index, how it went, value); None when the process has died."""
        try:
            if not self.started:
                self.pipe.recv()
                self.started = True
            return self.pipe.recv()
        except (EOFError, ConnectionResetError) as error:
            if not self.started:
                raise RuntimeError("a worker process could not start; its own message stands above") from error
            return None

    def end(self, *, died: bool = False) -> str:
        """Stop the process and say how it ended."""
        self.pipe.close()
        if not died:
            self.process.terminate()
        self.process.join()
        code = self.process.exitcode or 0
        self.process.close()
        name = signal.Signals(-code).name if code < 0 else f"exit {code}"
        if name == "SIGKILL":
            return "the process that read it was killed, probably because the memory ran out"
        return f"the process that read it crashed ({name})"


def _serve(pipe: Connection, fn: Callable) -> None:
    """Answer chunks of work until the pipe ends; runs in the worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    try:
        pipe.send("ready")
        while True:
            for index, item in pipe.recv():
                pipe.send_bytes(_answer(index, item, fn))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the parent has ended


def _answer(index: int, item: Any, fn: Callable) -> memoryview:
    """Do one item and return the answer as bytes; an answer that cannot be pickled is an error like another."""
    try:
        return ForkingPickler.dumps((index, "done", fn(item)))
    except MemoryError:
        return ForkingPickler.dumps((index, "memory", None))
    except Exception as error:  # carried to the parent, which raises it in the item's turn
        try:
            return ForkingPickler.dumps((index, "raised", error))
        except Exception:  # it cannot be carried: its words can
            return ForkingPickler.dumps((index, "raised", RuntimeError(f"{type(error).__name__} in a worker: {error}")))


def _in_processes(fn: Callable, items: Iterator, *, workers: int, chunk: int) -> Iterator:
    todo = enumerate(items)
    crew = [_Worker(fn) for _ in range(workers)]
    finished: dict[int, tuple[str, Any]] = {}  # answers that wait for their turn
    again: deque[tuple[int, Any]] = deque()  # handed back by a dead worker without having been tried
    suspects: deque[tuple[int, Any]] = deque()  # what a worker died of
    turn = handed_out = 0
    try:
        while True:
            while turn in finished:
                how, value = finished.pop(turn)
                turn += 1
                if how == "raised":
                    raise value
                yield value
            if not suspects:  # while something is suspect nothing new starts: it is to have all the memory
                for worker in (w for w in crew if not w.given):
                    work = [again.popleft() for _ in range(min(chunk, len(again)))]
                    room = turn + 4 * workers * chunk - handed_out
                    fresh = list(itertools.islice(todo, max(0, min(chunk - len(work), room))))
                    handed_out += len(fresh)
                    if work or fresh:
                        worker.give(work + fresh)
            busy = {w.pipe: w for w in crew if w.given}
            if not busy and not suspects:
                return
            if not busy:
                index, item = suspects.popleft()
                finished[index] = _alone(fn, index, item)
            for pipe in wait(list(busy)) if busy else ():
                worker = busy[pipe]
                answer = worker.answer()
                index, item = worker.given.popleft()  # answers come in the order of the items
                if answer is None:
                    worker.end(died=True)
                    again.extend(worker.given)
                    crew[crew.index(worker)] = _Worker(fn)
                if answer is None or answer[1] == "memory":
                    suspects.append((index, item))
                else:
                    finished[index] = answer[1:]
    finally:
        for worker in crew:
            worker.end()


def _alone(fn: Callable, index: int, item: Any) -> tuple[str, Any]:
    """Try an item once more with a process, and the memory, all to itself."""
    worker = _Worker(fn)
    died = True
    try:
        worker.give([(index, item)])
        answer = worker.answer()
        died = answer is None
    finally:
        reason = worker.end(died=died)
    if answer is None:
        return "done", Failure(item, reason)
    if answer[1] == "memory":
        return "done", Failure(item, "it needs more memory than there is")
    return answer[1:]


@contextmanager
def _quiet_start(fn: Callable) -> Iterator[None]:
    """Start a process that neither runs the user's script again nor prints a traceback at Ctrl-C while it starts.

    A spawned process imports the main script, which would collect once more where the script has no
    ``if __name__ == "__main__"``. Our functions do not live there, so it is hidden for the moment of the start.
    """
    main = sys.modules["__main__"]
    if getattr(getattr(fn, "func", fn), "__module__", "") != "__main__":
        sys.modules["__main__"] = types.ModuleType("__main__")
    masked = hasattr(signal, "pthread_sigmask")  # the mask is inherited by the new process
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if masked else set()
    try:
        yield
    finally:
        sys.modules["__main__"] = main
        if masked:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
