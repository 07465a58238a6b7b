"""Map a function over many items, in worker processes, in order, and survive the death of a worker.

A decoder is C code that a broken file can crash, and a huge image can have a process killed for memory. Neither may end
a run over ten thousand files: the item is tried once more, alone in a fresh process, and then given back as a
:class:`Failure`. Results stream in the order of the items; only a few are in flight at any time.
"""

from __future__ import annotations

import itertools
import multiprocessing
import multiprocessing.context
import os
import signal
import sys
import time
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
_AHEAD_S = 0.2  # a worker has so much work waiting, for the time that we are busy with something else; but not more,
_AHEAD_BYTES = 32 << 10  # or another one would have none; and never so much that the pipe to it could be full


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
    ahead: int | None = None,
    inline: int = INLINE,
) -> Iterator[Any]:
    """Yield ``fn(item)`` for each item, in the order of the items.

    Parameters
    ----------
    fn : callable
        Of one argument; a function of a module (or a ``functools.partial`` of one), so that worker processes find it.
    items : iterable
        Read as it is needed.
    workers : int, optional
        Processes; as many as there are cores when not given. 1 does all the work in this process.
    chunk : int
        Items that wait at a process, at most; those that take long are handed out one by one.
    ahead : int, optional
        Items that may be done or begun beyond the one yielded last, and wait in memory while that one takes long;
        ``4 * workers * chunk`` when not given.
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
    ahead = max(workers, 4 * workers * chunk if ahead is None else ahead)
    return _in_processes(fn, itertools.chain(first, items), workers=workers, chunk=chunk, ahead=ahead)


def _here(fn: Callable, items: Iterable) -> Iterator:
    for item in items:
        try:
            answer = fn(item)
        except MemoryError:
            answer = Failure(item, "it needs more memory than there is")
        yield answer


def warm(fn: Callable[[Any], Any]) -> None:
    """Begin to load what workers will need for ``fn``, beside this process, which is still busy finding the items."""
    if _context(fn).get_start_method() == "forkserver" and not multiprocessing.current_process().daemon:
        from multiprocessing import forkserver  # only where the system has it

        with _quiet_start(fn):
            forkserver.ensure_running()


# -- processes ----------------------------------------------------------------------------------------------------


def _context(fn: Callable) -> multiprocessing.context.BaseContext:
    """Return how processes are started: never as forks of this one, which would copy the threads and locks of TensorFlow.

    On Linux they are forks of a small process that has loaded the function's module once for all of them.
    """
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    module = getattr(getattr(fn, "func", fn), "__module__", None)
    if module and module != "__main__":
        context.set_forkserver_preload([module])
    return context


class _Worker:
    """One process, the pipe to it, and what it has been given and not yet answered."""

    def __init__(self, fn: Callable) -> None:
        context = _context(fn)
        self.pipe, theirs = context.Pipe()
        self.given: deque[tuple[int, Any, int]] = deque()  # index, item, bytes on the way to it
        self.started = False
        self.process: BaseProcess = context.Process(target=_serve, args=(theirs, fn), daemon=True)
        with _quiet_start(fn):
            self.process.start()
        theirs.close()  # so that the pipe ends when the process does

    def give(self, index: int, item: Any) -> bool:
        """Hand over an item; False where that might have to wait until the process has read what it was given before."""
        raw = ForkingPickler.dumps((index, item))
        if self.given and sum(size for *_, size in self.given) + len(raw) > _AHEAD_BYTES:
            return False
        self.given.append((index, item, len(raw)))
        try:
            self.pipe.send_bytes(raw)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it has died; reading from its pipe will say so
        return True

    def answer(self) -> tuple[str, Any, float] | None:
        """Wait for the next answer: (how it went, value, seconds); None when the process has died."""
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
    """Answer items until the pipe ends; runs in the worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    try:
        pipe.send("ready")
        while True:
            _, item = pipe.recv()
            pipe.send_bytes(_answer(item, fn))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the parent has ended


def _answer(item: Any, fn: Callable) -> memoryview:
    """Do one item and return the answer as bytes; an answer that cannot be pickled is an error like another."""
    began = time.monotonic()
    try:
        value = fn(item)
        return ForkingPickler.dumps(("done", value, time.monotonic() - began))
    except MemoryError:
        return ForkingPickler.dumps(("memory", None, 0.0))
    except Exception as error:  # carried to the parent, which raises it in the item's turn
        try:
            return ForkingPickler.dumps(("raised", error, 0.0))
        except Exception:  # it cannot be carried: its words can
            told = RuntimeError(f"{type(error).__name__} in a worker: {error}")
            return ForkingPickler.dumps(("raised", told, 0.0))


class _Work:
    """The items to be done, each with its index: those handed back by a dead worker first, and never too far ahead."""

    def __init__(self, items: Iterable, *, ahead: int) -> None:
        self.items, self.ahead, self.handed_out = enumerate(items), ahead, 0
        self.again: deque[tuple[int, Any]] = deque()

    def next(self, turn: int) -> tuple[int, Any] | None:
        """Return the next item; None where there is none, or ``turn`` is too far behind."""
        if self.again:
            return self.again.popleft()
        if self.handed_out >= turn + self.ahead:
            return None
        fresh = next(self.items, None)
        self.handed_out += fresh is not None
        return fresh

    def hand_out(self, crew: list[_Worker], turn: int, *, depth: int) -> None:
        """Give each worker that has less than half of ``depth`` items so many, in turns."""
        hungry = [w for w in crew if 2 * len(w.given) < depth]
        while hungry:
            for worker in list(hungry):
                entry = self.next(turn)
                if entry is None:
                    return
                if not worker.give(*entry):
                    self.again.appendleft(entry)
                if len(worker.given) >= depth or (self.again and self.again[0] is entry):
                    hungry.remove(worker)


def _in_processes(fn: Callable, items: Iterator, *, workers: int, chunk: int, ahead: int) -> Iterator:
    work = _Work(items, ahead=ahead)
    crew = [_Worker(fn) for _ in range(workers)]
    finished: dict[int, tuple[str, Any]] = {}  # answers that wait for their turn
    suspects: deque[tuple[int, Any]] = deque()  # what a worker died of
    turn, each = 0, _AHEAD_S  # ``each``: the seconds an item takes, of late
    try:
        while True:
            while turn in finished:
                how, value = finished.pop(turn)
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
                index, item = suspects.popleft()
                finished[index] = _alone(fn, index, item)
            for pipe in wait(list(busy)) if busy else ():
                worker = busy[pipe]
                answer = worker.answer()
                index, item, _ = worker.given.popleft()  # answers come in the order of the items
                if answer is None:
                    worker.end(died=True)
                    work.again.extend((i, one) for i, one, _ in worker.given)
                    crew[crew.index(worker)] = _Worker(fn)
                if answer is None or answer[0] == "memory":
                    suspects.append((index, item))
                else:
                    finished[index] = answer[:2]
                    each += (answer[2] - each) / 8
    finally:
        for worker in crew:
            worker.end()


def _alone(fn: Callable, index: int, item: Any) -> tuple[str, Any]:
    """Try an item once more with a process, and the memory, all to itself."""
    worker = _Worker(fn)
    died = True
    try:
        worker.give(index, item)
        answer = worker.answer()
        died = answer is None
    finally:
        reason = worker.end(died=died)
    if answer is None:
        return "done", Failure(item, reason)
    if answer[0] == "memory":
        return "done", Failure(item, "it needs more memory than there is")
    return answer[:2]


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
