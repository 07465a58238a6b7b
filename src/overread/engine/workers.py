"""Worker processes: how they are started, given work, and told of when they die."""

from __future__ import annotations

import gc
import multiprocessing
import multiprocessing.context
import pickle
import signal
import sys
import threading
import time
import types
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import ForkingPickler
from typing import Any

_FIRST_TO_GO = 500  # of -1000 to 1000: where memory runs out, Linux ends a worker, not the program that waits for it
_AHEAD_BYTES = 32 << 10  # never so much is on the way to a worker that the pipe to it could be full
PATIENCE_S = 900.0
"""So long one item may take; a volume of a gigabyte takes a minute."""

_TELL_S = 0.05  # a worker tells after so long what it has done of a letter

Answer = tuple[str, Any, float]
"""How it went ("done", "raised", "memory"), the value, and how many seconds it took."""


@dataclass(frozen=True)
class Entry:
    """An item and its place; ``watched``: it travels alone, for a process has died with it in its hands."""

    index: int
    item: Any
    watched: bool = False


def context_of(fn: Callable) -> multiprocessing.context.BaseContext:
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


class Worker:
    """One process, the pipe to it, and what it has been given and not yet answered.

    Parameters
    ----------
    fn : callable
        What it does with an item.
    beside : sequence of Worker, optional
        Makes it a fork of this process (see :mod:`overread.engine.forked`); these were forked before it.
    """

    def __init__(self, fn: Callable, *, beside: Sequence[Worker] | None = None) -> None:
        context = context_of(fn) if beside is None else multiprocessing.get_context("fork")
        self.pipe, theirs = context.Pipe()
        self.given: deque[tuple[Entry, int, bool]] = deque()  # its share of the bytes on the way; whether it went alone
        self.started = False
        self.heard = time.monotonic()  # when it last said something, or was given something to do
        ours = () if beside is None else (self.pipe, *(worker.pipe for worker in beside))
        self.process: BaseProcess = context.Process(target=_serve, args=(theirs, fn, ours), daemon=True)
        with quiet_start(fn):
            self.process.start()
        theirs.close()  # so that the pipe ends when the process does

    def give(self, entries: list[Entry]) -> bool:
        """Hand over some items; False where that might have to wait until the process has read what it was given before."""
        raw = ForkingPickler.dumps([entry.item for entry in entries])
        if self.given and sum(size for _, size, _ in self.given) + len(raw) > _AHEAD_BYTES:
            return False
        if not self.given:
            self.heard = time.monotonic()
        self.given.extend((entry, -(-len(raw) // len(entries)), len(entries) == 1) for entry in entries)
        try:
            self.pipe.send_bytes(raw)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it has died; reading from its pipe will say so
        return True

    def ready(self) -> None:
        """Wait for the word that the process has started."""
        try:
            self.pipe.recv()
        except (EOFError, ConnectionResetError) as error:
            raise RuntimeError("a worker process could not start; its own message stands above") from error
        self.started, self.heard = True, time.monotonic()

    def answers(self) -> list[Answer]:
        """Wait for the next answers, in the order of what was given; none when the process has died."""
        if not self.started:
            self.ready()
        try:
            answers = self.pipe.recv()
        except (EOFError, ConnectionResetError):
            return []
        self.heard = time.monotonic()
        return answers

    def late(self, patience_s: float) -> bool:
        """True where it has been at work on one item for longer than that, and has no answer waiting in the pipe."""
        return bool(self.given) and time.monotonic() - self.heard > patience_s and not self.pipe.poll()

    def end(self, *, died: bool = False) -> str:
        """Stop the process and say how it ended."""
        self.pipe.close()
        if not died:
            self.process.kill()  # nothing in it, nor in a program that it is a fork of, has a say in this
        self.process.join()
        code = self.process.exitcode or 0
        self.process.close()
        name = signal.Signals(-code).name if code < 0 else f"exit {code}"
        if name == "SIGKILL":
            return "the process that read it was killed, probably because the memory ran out"
        return f"the process that read it crashed ({name})"


def stopped(patience_s: float) -> str:
    """Say of an item that its time was over.

    Examples
    --------
    >>> stopped(900.0)
    'it was not done in 15 minutes, and was stopped'
    """
    long = f"{patience_s / 60:.0f} minutes" if patience_s >= 120 else f"{patience_s:g} s"
    return f"it was not done in {long}, and was stopped"


class Starting:
    """Processes that start while this one goes on."""

    def __init__(self, fn: Callable, workers: int) -> None:
        self.fn, self.workers = fn, workers
        self.begun = False
        self._failed: list[Exception] = []
        self._crew: list[Worker] = []
        self._thread = threading.Thread(target=self._start, daemon=True)

    def begin(self) -> None:
        """Start them, if that has not begun."""
        if not self.begun:
            self.begun = True
            self._thread.start()

    def _start(self) -> None:
        try:
            for _ in range(self.workers):
                self._crew.append(Worker(self.fn))
        except Exception as error:  # raised by ``crew``
            self._failed.append(error)

    def over(self) -> bool:
        """True once they have started, or could not."""
        return self.begun and not self._thread.is_alive() and (bool(self._failed) or self._crew[0].pipe.poll())

    def crew(self) -> list[Worker]:
        """Wait for them, and hand them over."""
        self._thread.join()
        if self._failed:
            raise self._failed[0]
        crew, self._crew = self._crew, []
        return crew

    def end(self) -> None:
        """Stop what was started and not handed over."""
        if self.begun:
            self._thread.join()
        for worker in self._crew:
            worker.end()


def _serve(pipe: Connection, fn: Callable, inherited: Sequence[Connection] = ()) -> None:
    """Answer items until the pipe ends; runs in the worker process.

    A fork has ``inherited`` the parent's ends of the pipes: while it held them, none would end with the parent.
    """
    for end in inherited:
        end.close()
    if inherited:
        gc.freeze()  # what the parent has made is not ours to sweep; looking at it alone would copy it
        _forget_signals()
    _go_first()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    try:
        pipe.send("ready")
        while True:
            answers: list[Answer] = []
            items, told = pipe.recv(), time.monotonic()
            for item in items:
                answers.append(_answer(item, fn))
                if time.monotonic() - told > _TELL_S:
                    pipe.send_bytes(_letter(answers))
                    answers, told = [], time.monotonic()
            if answers:
                pipe.send_bytes(_letter(answers))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the parent has ended


def _go_first() -> None:
    """Be the one that the system ends where memory runs out: a worker is replaced, the program is not."""
    try:
        with open("/proc/self/oom_score_adj", "r+") as score:
            if int(score.read()) < _FIRST_TO_GO:
                score.seek(0)
                score.write(str(_FIRST_TO_GO))
    except OSError:  # not Linux, or not allowed
        pass


def _forget_signals() -> None:
    """Answer no signal as the program would that this process is a fork of."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)


def _answer(item: Any, fn: Callable) -> Answer:
    """Do one item."""
    began = time.monotonic()
    try:
        return "done", fn(item), time.monotonic() - began
    except MemoryError:
        return "memory", None, 0.0
    except Exception as error:  # carried to the parent, which raises it in the item's turn
        return "raised", error, 0.0


def _letter(answers: list[Answer]) -> bytes | memoryview:
    """Return answers as bytes; one that cannot be pickled is an error like another."""
    try:
        return ForkingPickler.dumps(answers)
    except Exception:  # one of them cannot be carried
        return ForkingPickler.dumps([_carried(answer) for answer in answers])


def _carried(answer: Answer) -> Answer:
    try:
        pickle.loads(ForkingPickler.dumps(answer))
        return answer
    except MemoryError:
        return "memory", None, 0.0
    except Exception as error:  # an error of ours that cannot be carried: its words can
        told = answer[1] if answer[0] == "raised" else error
        return "raised", RuntimeError(f"{type(told).__name__} in a worker: {told}"), 0.0


@contextmanager
def quiet_start(fn: Callable) -> Iterator[None]:
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
