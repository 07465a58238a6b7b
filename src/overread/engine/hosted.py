"""What a Ray worker does: it has a process beside it do the work, and tells how each item went.

A file that kills its decoder, or holds it for ever, then takes that process alone and is told of in the same words as on
one machine. The Ray worker lives on, so that where one is lost its items are not to blame.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import overread
from overread.engine.workers import Answer, Entry, Worker, stopped
from overread.errors import SourceError

FAILED = "failed"
"""How an item went whose process crashed or was stopped each time; beside "done", "raised" and "memory"."""


@dataclass(frozen=True)
class Order:
    """What a Ray worker must know to do its part.

    Parameters
    ----------
    fn : bytes
        The pickled function.
    code : str
        Fingerprint of the driver's code (:func:`code`).
    folder : str
        Where the driver was started: paths may be meant from there.
    shared : tuple of str
        What must be seen from here, too.
    patience_s : float
        One item may take so long.
    """

    fn: bytes
    code: str
    folder: str
    shared: tuple[str, ...]
    patience_s: float


@cache
def code() -> str:
    """Return a fingerprint of all that an answer depends on: Python, this package's source, and the versions of its libraries."""
    digest = hashlib.sha256(".".join(map(str, sys.version_info[:2])).encode())
    home = Path(overread.__file__).parent
    for file in sorted(home.rglob("*.py")):
        digest.update(f"\0{file.relative_to(home).as_posix()}\0".encode() + file.read_bytes())
    for needed in sorted(metadata.requires("overread") or ()):
        if "extra ==" not in needed:
            name = re.split(r"[^\w.-]", needed)[0]
            digest.update(f"\0{name} {metadata.version(name)}".encode())
    return digest.hexdigest()[:16]


def do(order: Order, items: Sequence[Any]) -> list[Answer]:
    """Answer some items, in their order; runs in a Ray worker.

    Returns
    -------
    list of (how, value, seconds)
        As a process here answers; and (``FAILED``, reason, 0) for an item that crashed its process, or was not done in
        time, each time, and ("memory", reason, 0) for one that was killed or found no memory: alone on a host it may do.

    Raises
    ------
    SourceError
        When this host has other code, or does not see what is shared.
    """
    suits(order)
    answers, _ = _ask(order, items)
    for item in items[len(answers) :]:  # any of those that travelled together may be to blame
        answers.append(_alone(order, item))
    return answers


def _alone(order: Order, item: Any) -> Answer:
    """Do one item that nothing travels with; twice, if its process crashes."""
    for _ in range(2):
        answers, how = _ask(order, [item])
        if answers:
            return answers[0]
        if how[0] == "memory" or "stopped" in how[1]:
            break
    return how


_beside: dict[tuple[bytes, str], Worker] = {}  # the one process of this Ray worker, by what it does and where


def _ask(order: Order, items: Sequence[Any]) -> tuple[list[Answer], Answer]:
    """Return the answers to the first items, all unless the process died; and then how the next one went."""
    answers: list[Answer] = []
    what = (order.fn, order.folder)
    worker = _worker(what)
    worker.give([Entry(i, item) for i, item in enumerate(items)])
    while len(answers) < len(items):
        if not worker.pipe.poll(order.patience_s):
            worker.process.kill()
            _end(what)
            return answers, (FAILED, stopped(order.patience_s), 0.0)
        if not worker.started:
            _started(worker)
            continue
        some = worker.answers()
        if not some:
            reason = _end(what)
            return answers, ("memory" if "memory" in reason else FAILED, reason, 0.0)
        answers += some
    return answers, ("done", None, 0.0)


def _started(worker: Worker) -> None:
    """Take the word that the process is ready."""
    try:
        worker.pipe.recv()
    except EOFError as error:
        raise RuntimeError(
            "a process on a host of the cluster could not start; see Ray's log of that worker"
        ) from error
    worker.started = True


def _worker(what: tuple[bytes, str]) -> Worker:
    if what not in _beside:
        for other in list(_beside):
            _end(other, died=False)
        fn, folder = what
        os.chdir(folder)  # where it starts, it stays
        _beside[what] = Worker(pickle.loads(fn))
    return _beside[what]


def _end(what: tuple[bytes, str], *, died: bool = True) -> str:
    return _beside.pop(what).end(died=died)


_checked: set[Order] = set()


def suits(order: Order) -> None:
    """Refuse a host whose answers could be others, or that would write beside the archive instead of into it."""
    if order in _checked:
        return
    if code() != order.code:
        raise SourceError(
            "a host of the cluster with another overread, Python or library than this machine",
            expected="the same everywhere, so that every host gives the same bytes",
            do="install the same versions on all hosts (pip install with one lock file)",
        )
    for path in (order.folder, *order.shared):
        if not os.path.exists(path):
            raise SourceError(
                f"a host of the cluster that does not see {path}",
                expected="the images, the archive and this folder under the same paths on all hosts",
                do="mount them there, or leave that host out",
            )
    _checked.add(order)


def call(fn: Callable[[Any], Any]) -> bytes:
    """Return a function as it travels: by name, with what is bound to it."""
    return pickle.dumps(fn)
