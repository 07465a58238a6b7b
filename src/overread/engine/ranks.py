"""Run one function in several processes of a Ray cluster at once, which talk to each other, and go on when one is lost.

Training is such work: each process needs all the others at every step. So when one is lost, the others end too, and all
begin again from what is kept, as many as the cluster then has room for.
"""

from __future__ import annotations

import os
import pickle
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from overread.engine.cluster import joined, token_in
from overread.engine.hosted import Order, call, code, suits
from overread.errors import SourceError

PATIENCE_S = 900.0
"""So long nothing may be heard; the first step is slow, and so is looking at a large tuning cohort."""

_LOOK_S = 0.5  # how often news are asked for
_GRACE_S = 10.0  # when one process fails, so long is waited to see whether another was lost: that is the cause then
_NONE_S = 600.0  # the cluster may be without room for so long
_JOIN_S = 60.0  # so long as many hosts as were asked for may take to join, before it begins with those there are


@dataclass(frozen=True)
class Place:
    """Where one process runs: a host of the cluster, and what it takes of it."""

    node: str
    host: str
    cpus: int
    gpus: int


@dataclass(frozen=True)
class Round:
    """One beginning: who took part, and how it ended.

    Parameters
    ----------
    hosts : tuple of str
        The host of each process, the first one first.
    gpus : int
        All together.
    lost : tuple of str
        What was lost, in words; none where the work was done.
    """

    hosts: tuple[str, ...]
    gpus: int
    lost: tuple[str, ...] = ()


def jointly(
    fn: Callable[[int, Sequence[str], Callable[[Any], object]], None],
    *,
    cluster: str,
    processes: int | None = None,
    most: int,
    shared: Sequence[str | os.PathLike] = (),
    into: str | os.PathLike | None = None,
    kept: Callable[[], object] = lambda: None,
    tell: Callable[[Any], object] = lambda news: None,
    ended: Callable[[Round], object] = lambda one: None,
    patience_s: float = PATIENCE_S,
    none_s: float = _NONE_S,
) -> None:
    """Run ``fn(rank, addresses, tell)`` in several processes at once, and again until all have finished.

    Parameters
    ----------
    fn : callable
        Of a module that every host has. ``addresses`` ("host:port") are those of all processes, by rank. It raises
        ConnectionError where another one is gone.
    cluster : str
        "auto", "local", or "host:port".
    processes : int, optional
        How many; when not given one for each GPU of the cluster, or for each host where there is none.
    most : int
        Never more than these.
    shared, into
        As in :func:`overread.engine.cluster.on_cluster`.
    kept : callable
        Returns what changes when more is kept. After a loss with nothing new one process fewer begins.
    tell : callable
        Given what the first process tells.
    ended : callable
        Told of every round as it ends.
    patience_s, none_s : float
        Seconds without a word, and without room on the cluster.

    Raises
    ------
    SourceError
        When there is no cluster or no room on it, a host does not fit, or nothing is left to begin with.
    Exception
        What ``fn`` raised where no process was lost.
    """
    with joined(cluster) as ray, token_in(into) as token:
        seen = tuple(os.path.abspath(path) for path in (*shared, *token))
        order = Order(call(fn), code(), os.getcwd(), seen, patience_s)
        join_s = 0.0 if processes is None else _JOIN_S
        while True:
            before = kept()
            crew = _Crew(ray, order, processes, most, none_s=none_s, join_s=join_s)
            join_s = 0.0
            try:
                lost = crew.work(tell)
            finally:
                crew.end()
            ended(Round(tuple(p.host for p in crew.places), sum(p.gpus for p in crew.places), lost))
            if not lost:
                return
            if kept() == before:
                most = len(crew.places) - 1
            if most < 1:
                raise SourceError(
                    f"a process that was lost before anything was kept ({'; '.join(lost)})",
                    expected="one that finishes at least one epoch",
                    do="look at the memory and the logs of that host, then run the same command with --resume",
                )


def places(nodes: Sequence[Mapping[str, Any]], *, processes: int | None, most: int) -> list[Place]:
    """Return where processes run: one a GPU where the cluster has any, else spread evenly over the hosts.

    Parameters
    ----------
    nodes : sequence of mapping
        As Ray lists them.
    processes : int or None
    most : int

    Examples
    --------
    >>> two = [{"NodeID": n, "NodeManagerHostname": n, "Alive": True, "Resources": {"CPU": 4.0}} for n in "ab"]
    >>> [(p.host, p.cpus) for p in places(two, processes=3, most=9)]
    [('a', 2), ('b', 4), ('a', 2)]
    """
    alive = sorted((n for n in nodes if n["Alive"] and n["Resources"].get("CPU")), key=lambda n: n["NodeID"])
    what = "GPU" if any(n["Resources"].get("GPU") for n in alive) else "CPU"
    room = {n["NodeID"]: int(n["Resources"].get(what, 0)) for n in alive}
    wanted = sum(room.values()) if what == "GPU" else len(alive)
    wanted = min(wanted if processes is None else processes, most, sum(room.values()))
    taken = dict.fromkeys(room, 0)
    order = []
    while len(order) < wanted:
        for node in room:
            if taken[node] < room[node] and len(order) < wanted:
                taken[node] += 1
                order.append(node)
    told = {n["NodeID"]: n for n in alive}
    return [
        Place(
            node,
            told[node]["NodeManagerHostname"],
            max(1, int(told[node]["Resources"]["CPU"]) // taken[node]),
            int(what == "GPU"),
        )
        for node in order
    ]


class _Crew:
    """The processes of one round."""

    def __init__(
        self, ray: Any, order: Order, processes: int | None, most: int, *, none_s: float, join_s: float
    ) -> None:
        self.ray, self.order = ray, order
        self.actors: list[Any] = []
        self.places: list[Place] = []
        began = time.monotonic()
        until = began + none_s
        while True:
            self.places = places(ray.nodes(), processes=processes, most=most)
            all_there = len(self.places) >= min(processes or 0, most) or time.monotonic() - began >= join_s
            if self.places and all_there and self._start(max(1.0, until - time.monotonic())):
                return
            self.end()
            if time.monotonic() > until:
                raise SourceError(
                    f"a cluster that has had no room for {none_s:.0f} s",
                    expected="hosts with processors that nothing else uses",
                    do="start hosts (ray start --address=HEAD:PORT), then run the same command with --resume",
                )
            time.sleep(min(1.0, none_s))

    def _start(self, seconds: float) -> bool:
        """Start a process at each place and learn its address; False where a host went away meanwhile."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        made = self.ray.remote(max_concurrency=2, max_restarts=0, max_task_retries=0)(_Process)
        for place in self.places:
            there = NodeAffinitySchedulingStrategy(place.node, soft=False)
            how = made.options(num_cpus=place.cpus, num_gpus=place.gpus, scheduling_strategy=there)
            self.actors.append(how.remote())
        try:
            self.addresses = self.ray.get([a.address.remote() for a in self.actors], timeout=seconds)
        except self.ray.exceptions.RayError:  # too late, too, is one
            return False
        return True

    def work(self, tell: Callable[[Any], object]) -> tuple[str, ...]:
        """Let all begin; return what was lost, in words, and nothing when all have finished."""
        begun = {actor.work.remote(self.order, rank, self.addresses): rank for rank, actor in enumerate(self.actors)}
        raised: list[Exception] = []
        heard, until = time.monotonic(), None
        while begun and (until is None or time.monotonic() < until):
            for ref in self.ray.wait(list(begun), timeout=_LOOK_S)[0]:
                rank = begun.pop(ref)
                try:
                    self.ray.get(ref)
                except self.ray.exceptions.RayTaskError as error:  # what the function raised
                    raised.append(getattr(error, "cause", None) or error)
                    until = until or time.monotonic() + _GRACE_S
                except self.ray.exceptions.RayError:
                    return (f"process {rank + 1} of {len(self.actors)}, on {self.places[rank].host}",)
            if self._news(tell):
                heard = time.monotonic()
            if time.monotonic() - heard > self.order.patience_s:
                return (f"all {len(self.actors)} processes: nothing was heard for {self.order.patience_s:.0f} s",)
        self._news(tell)
        if raised and not all(isinstance(error, ConnectionError) for error in raised):
            raise next(error for error in raised if not isinstance(error, ConnectionError))
        return ("the connection between the processes",) if raised else ()

    def _news(self, tell: Callable[[Any], object]) -> bool:
        try:
            news = self.ray.get(self.actors[0].news.remote(), timeout=_GRACE_S)
        except self.ray.exceptions.RayError:
            return False  # it is lost, which its work will tell, or it has no time to speak
        for one in news:
            tell(one)
        return bool(news)

    def end(self) -> None:
        """Stop every process of this round."""
        for actor in self.actors:
            self.ray.kill(actor)
        self.actors = []


class _Process:
    """One of the processes, in a Ray worker of its own; it works in one thread and answers in another."""

    def __init__(self) -> None:
        self.told: deque[Any] = deque()
        self.held = socket.socket()
        self.held.bind(("", 0))  # a free port, held until it is needed

    def address(self) -> str:
        """Return where the others reach this process."""
        import ray

        return f"{ray.util.get_node_ip_address()}:{self.held.getsockname()[1]}"

    def work(self, order: Order, rank: int, addresses: Sequence[str]) -> None:
        """Do the work; runs until all of it is done."""
        suits(order)
        os.chdir(order.folder)
        self.held.close()
        pickle.loads(order.fn)(rank, addresses, self.told.append if rank == 0 else _nobody)

    def news(self) -> list[Any]:
        """Return what was told since this was last asked."""
        return [self.told.popleft() for _ in range(len(self.told))]


def _nobody(news: Any) -> None:
    """Hear nothing: only the first process tells."""
