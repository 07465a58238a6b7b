"""Map a function over many items on a Ray cluster: the same answers in the same order as from processes here.

Items travel in small blocks, about a second of work each; pixels do not travel, for the function reads and writes what all
hosts see. A Ray worker that is lost, with its host or alone, is nobody's fault: its block is done elsewhere. What a file
does to the process that reads it is told by :mod:`overread.engine.hosted`.
"""

from __future__ import annotations

import itertools
import os
import secrets
import shutil
import socket
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from overread.engine.hosted import FAILED, Order, call, code, do
from overread.engine.workers import PATIENCE_S, Answer, Entry
from overread.errors import SourceError

_BLOCK_S = 1.0  # the work that travels together: a task costs Ray about a millisecond
_DEEP = 2  # blocks at a processor: one in work, one waiting
_LOST = 4  # hosts or Ray workers that may be lost with an item
_COUNT_S = 5.0  # the processors of the cluster are counted again after so long: hosts come and go
_HEAD_S = 10.0  # its head answers within
_NONE_S = 600.0  # and there may be none for so long

INSTALL = "pip install 'overread[cluster]'"


@dataclass(frozen=True)
class _Block:
    """Items that travel together; ``whole``: to a host that does nothing else, as large as the largest (its processors)."""

    entries: tuple[Entry, ...]
    lost: int = 0
    whole: int = 0


def on_cluster(
    fn: Callable[[Any], Any],
    items: Iterable[Any],
    *,
    cluster: str,
    shared: Sequence[str | os.PathLike] = (),
    into: str | os.PathLike | None = None,
    chunk: int = 8,
    ahead: int | None = None,
    patience_s: float = PATIENCE_S,
    none_s: float = _NONE_S,
) -> Iterator[Any]:
    """Yield ``fn(item)`` for each item, in the order of the items, as :func:`overread.engine.map` does.

    Parameters
    ----------
    fn : callable
        Of one argument; a function of a module that every host has (or a ``functools.partial`` of one).
    items : iterable
    cluster : str
        "auto" (the one that this machine belongs to), "local" (one of this machine alone), or "host:port" of its head.
    shared : sequence of paths
        What every host must see under the same path.
    into : path, optional
        The folder that ``fn`` writes into: it must be the same one on all hosts, not another under the same path.
    chunk : int
        Items that travel together, at most.
    ahead : int, optional
        Items that may be begun beyond the one yielded last; at least four chunks for each processor.
    patience_s : float
        Seconds that one item may take.
    none_s : float
        Seconds for which the cluster may have no processor.

    Yields
    ------
    object
        What ``fn`` returned; or an :class:`overread.engine.Failure`.

    Raises
    ------
    SourceError
        When there is no such cluster, it has no processor, or a host has other code or does not see what is shared.
    Exception
        What ``fn`` raised, when its item's turn comes.
    """
    with joined(cluster) as ray, token_in(into) as token:
        seen = tuple(os.path.abspath(path) for path in (*shared, *token))
        order = Order(call(fn), code(), os.getcwd(), seen, patience_s)
        yield from _Run(ray, order, items, chunk=chunk, ahead=ahead, none_s=none_s).answers()


@contextmanager
def joined(cluster: str) -> Iterator[Any]:
    """Join the cluster, and leave it afterwards."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a hospital's machine tells nobody what it does
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # Ray's coming default; else it warns of it
    here: dict[str, Any] = {}
    if cluster == "local":
        here = {"include_dashboard": False, "num_cpus": _cores()}
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    try:
        import ray  # reads its environment now
    except ModuleNotFoundError as error:
        raise SourceError("a cluster needs Ray, which is not installed", do=INSTALL) from error
    if ray.is_initialized():
        yield ray
        return
    with _token_for(cluster):
        yield from _session(ray, cluster, here)


def _session(ray: Any, cluster: str, here: Mapping[str, Any]) -> Iterator[Any]:
    own = tempfile.mkdtemp(prefix="ray") if cluster == "local" else None  # its logs may hold a file's name
    try:
        _ask_head(cluster)
        ray.init(address=cluster, log_to_driver=False, logging_level="error", _temp_dir=own, **here)
    except (ConnectionError, ValueError, RuntimeError, ImportError, OSError) as error:
        where = "no Ray cluster on this machine" if cluster == "auto" else f"no Ray cluster that answers at {cluster}"
        raise SourceError(
            where,
            expected="this machine to be one of its hosts (ray start --address=HEAD:PORT), with its token (RAY_AUTH_MODE=token)",
            do="start it here as docs/scale.md shows, or use --cluster local or none",
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()
        if own:
            shutil.rmtree(own, ignore_errors=True)


@contextmanager
def _token_for(cluster: str) -> Iterator[None]:
    """Give a cluster of this machine's own a secret for as long as it lives; Ray keeps what it read first, unless told to forget it."""
    names = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
    own = cluster == "local" and os.environ["RAY_AUTH_MODE"] == "token" and not any(n in os.environ for n in names)
    if own:
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)  # else one is left in the home folder
    try:
        _forget_token()
        yield
    finally:
        if own:
            del os.environ["RAY_AUTH_TOKEN"]
        _forget_token()


def _forget_token() -> None:
    try:
        from ray._raylet import AuthenticationTokenLoader
    except ImportError:  # a Ray that keeps none
        return
    AuthenticationTokenLoader.instance().reset_cache()


def _ask_head(cluster: str) -> None:
    """Raise OSError at once where nobody answers; Ray would try for minutes."""
    host, _, port = cluster.rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=_HEAD_S).close()


def _cores() -> int:
    from overread.engine import cores

    return cores()


@contextmanager
def token_in(folder: str | os.PathLike | None) -> Iterator[list[Path]]:
    """Put a file into a folder that was there nowhere before: who sees it sees the same folder."""
    files = [] if folder is None else [Path(folder, f".seen-by-all-{secrets.token_hex(8)}")]
    try:
        for file in files:
            file.touch()
        yield files
    finally:
        for file in files:
            file.unlink(missing_ok=True)


class _Run:
    """One run over the cluster: what is on its way, what came back, whose turn it is."""

    def __init__(
        self, ray: Any, order: Order, items: Iterable[Any], *, chunk: int, ahead: int | None, none_s: float
    ) -> None:
        self.ray, self.order, self.chunk, self.least_ahead, self.none_s = ray, order, chunk, ahead or 0, none_s
        self.items = enumerate(items)
        self.again: deque[_Block] = deque()  # what was lost
        self.heavy: deque[_Block] = deque()  # what is to have a host to itself
        self.under_way: dict[Any, _Block] = {}
        self.finished: dict[int, Answer] = {}
        self.by_index: dict[int, Any] = {}  # the items begun and not yet yielded, for a Failure to name
        self.turn = self.begun = 0
        self.each = _BLOCK_S  # seconds an item takes, of late
        self.cpus = self.largest = 0
        self.counted, self.some_at = -_COUNT_S, time.monotonic()
        self.task = ray.remote(max_retries=0)(do)

    def answers(self) -> Iterator[Any]:
        """Yield the answers, in the order of the items."""
        try:
            while True:
                yield from self._whose_turn()
                self._count()
                self._hand_out()
                if self.under_way:
                    self._take_back()
                elif self.cpus:
                    return
                else:
                    time.sleep(min(0.2, self.none_s))  # for hosts
        finally:
            for ref in self.under_way:
                self.ray.cancel(ref, force=True)

    def _whose_turn(self) -> Iterator[Any]:
        from overread.engine import Failure

        while self.turn in self.finished:
            how, value, _ = self.finished.pop(self.turn)
            item = self.by_index.pop(self.turn)
            self.turn += 1
            if how == "raised":
                raise value
            yield Failure(item, value) if how == FAILED else value

    # -- out ----------------------------------------------------------------------------------------------------

    def _hand_out(self) -> None:
        """Keep every processor busy; but while something needs a host to itself, nothing else starts."""
        while self.heavy and self.cpus:
            self._send(replace(self.heavy.popleft(), whole=self.largest))
        if any(block.whole for block in self.under_way.values()):
            return
        while len(self.under_way) < _DEEP * self.cpus:
            block = self.again.popleft() if self.again else self._fresh(self._together())
            if block is None:
                return
            self._send(block)

    def _together(self) -> int:
        return max(1, min(self.chunk, int(_BLOCK_S / max(self.each, 1e-6))))

    def _fresh(self, count: int) -> _Block | None:
        ahead = max(self.least_ahead, 4 * self.chunk * max(1, self.cpus))
        entries = [
            Entry(*one) for one in itertools.islice(self.items, max(0, min(count, self.turn + ahead - self.begun)))
        ]
        self.begun += len(entries)
        self.by_index.update((entry.index, entry.item) for entry in entries)
        return _Block(tuple(entries)) if entries else None

    def _send(self, block: _Block) -> None:
        ref = self.task.options(num_cpus=block.whole or 1).remote(self.order, [entry.item for entry in block.entries])
        self.under_way[ref] = block

    def _count(self) -> None:
        """Count the cluster's processors now and then, and wait for some for ten minutes, not for ever."""
        now = time.monotonic()
        if now - self.counted < (_COUNT_S if self.cpus else 0.5):
            return
        sizes = [int(node["Resources"].get("CPU", 0)) for node in self.ray.nodes() if node["Alive"]]
        self.cpus, self.largest, self.counted = sum(sizes), max(sizes, default=0), now
        if self.cpus:
            self.some_at = now
        elif now - self.some_at > self.none_s:
            raise SourceError(
                f"a cluster that has had no processor for {self.none_s:.0f} s",
                expected="at least one host",
                do="start hosts (ray start --address=HEAD:PORT), then run the same command again to go on",
            )
        for ref, block in self.under_way.items():
            if block.whole > self.largest:
                self.ray.cancel(ref)  # no host is so large any more: it will be asked for as large a one as there is

    # -- back ---------------------------------------------------------------------------------------------------

    def _take_back(self) -> None:
        """Wait for the next answers, and take all that have come."""
        refs = list(self.under_way)
        ready, _ = self.ray.wait(refs, num_returns=1, timeout=_COUNT_S if self.cpus else 0.5)
        if ready:
            ready, _ = self.ray.wait(refs, num_returns=len(refs), timeout=0)
        for ref in ready:
            block = self.under_way.pop(ref)
            try:
                answers = self.ray.get(ref)
            except self.ray.exceptions.RayTaskError as error:  # ours, raised in a Ray worker: the host does not fit
                raise getattr(error, "cause", None) or error from None
            except self.ray.exceptions.OutOfMemoryError:
                answers = [("memory", "it needs more memory than there is", 0.0)] * len(block.entries)
            except self.ray.exceptions.RayError:
                self._was_lost(block)
                continue
            self._sort(block, answers)

    def _sort(self, block: _Block, answers: Sequence[Answer]) -> None:
        for entry, (how, value, seconds) in zip(block.entries, answers, strict=True):
            if how == "memory" and not block.whole:
                self.heavy.append(_Block((entry,), whole=1))
            elif how == "memory":
                self.finished[entry.index] = (FAILED, value or "it needs more memory than there is", 0.0)
            else:
                self.finished[entry.index] = (how, value, seconds)
                self.each += (seconds - self.each) / 8 if how == "done" else 0.0

    def _was_lost(self, block: _Block) -> None:
        """Have a block that was lost with its Ray worker or its host done again, its items on their own the second time."""
        block = replace(block, lost=block.lost + 1)
        if block.lost >= _LOST:
            why = f"the {block.lost} workers of the cluster that read it were lost"
            for entry in block.entries:
                self.finished[entry.index] = (FAILED, why, 0.0)
        elif block.whole:
            self.heavy.append(block)
        else:
            self.again.extend(replace(block, entries=(entry,)) for entry in block.entries)
