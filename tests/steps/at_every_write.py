"""Run collect again and again, and kill it each time at another of the calls by which it changes the disk.

What lies on a disk changes by system calls alone, so killing a process before each of them in turn leaves every state that
``kill -9`` can leave at any instruction. Started by ``test_crash.py`` as a program of its own: it forks and traces.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import shutil
import signal
import sys
from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path

from overread.errors import ArchiveError
from overread.steps import collect as step
from overread.steps import collecting, written
from overread.store import objects
from overread.store.archive import Archive
from overread.store.crosswalk import Crosswalk

_TRACE_ME, _SYSCALL, _OPTIONS, _SYSCALL_INFO = 0, 24, 0x4200, 0x420E
_ENTRY, _SYSGOOD, _EXITKILL = 1, 1, 0x100000
_OPENAT = {"x86_64": 257, "aarch64": 56}
_CHANGING = {
    "x86_64": {
        *(
            1,
            18,
            20,
            26,
            40,
            74,
            75,
            76,
            77,
            82,
            83,
            84,
            85,
            86,
            87,
            88,
            90,
            91,
        ),  # write … fsync … rename … link … chmod
        *(258, 263, 264, 265, 266, 268, 285, 296, 306, 316, 326, 328),  # 306: syncfs
    },
    "aarch64": {33, 34, 35, 36, 37, 38, 45, 46, 47, 52, 53, 64, 66, 68, 70, 71, 82, 83, 227, 267, 276, 285, 287},
}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


class _Info(ctypes.Structure):
    _fields_ = (
        ("op", ctypes.c_uint8), ("pad", ctypes.c_uint8 * 3), ("arch", ctypes.c_uint32), ("ip", ctypes.c_uint64),
        ("sp", ctypes.c_uint64), ("number", ctypes.c_uint64), ("arguments", ctypes.c_uint64 * 6),
    )  # fmt: skip


_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
_libc.ptrace.restype = ctypes.c_long


def _ptrace(request: int, pid: int, address: int = 0, data: object = None) -> int:
    answer = _libc.ptrace(request, pid, address, data)
    if answer < 0:
        raise OSError(ctypes.get_errno(), f"ptrace {request}")
    return answer


def run_until(work: Callable[[], object], stop: int) -> int:
    """Do ``work`` in a process of its own, which is killed before its ``stop``-th change; return how many there were."""
    pid = os.fork()
    if pid == 0:
        _ptrace(_TRACE_ME, 0)
        os.kill(os.getpid(), signal.SIGSTOP)
        try:
            work()
        except BaseException as error:
            os.write(2, f"{type(error).__name__}: {error}\n".encode())
            os._exit(1)
        os._exit(0)
    os.waitpid(pid, 0)
    _ptrace(_OPTIONS, pid, 0, ctypes.c_void_p(_SYSGOOD | _EXITKILL))
    machine, info, seen, pass_on = platform.machine(), _Info(), 0, 0
    while True:
        _ptrace(_SYSCALL, pid, 0, ctypes.c_void_p(pass_on))
        _, status = os.waitpid(pid, 0)
        if os.WIFEXITED(status) or os.WIFSIGNALED(status):
            if status != 0:
                raise RuntimeError(f"the collector ended with {status}")
            return seen
        pass_on = os.WSTOPSIG(status)
        if pass_on != signal.SIGTRAP | 0x80:
            continue
        pass_on = 0
        _ptrace(_SYSCALL_INFO, pid, ctypes.sizeof(info), ctypes.byref(info))
        opens = info.number == _OPENAT[machine] and info.arguments[2] & _WRITING
        if info.op == _ENTRY and (opens or info.number in _CHANGING[machine]):
            seen += 1
            if seen == stop:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                return seen


def content(path: Path) -> list:
    """What an archive holds, without what depends on its key."""
    with Archive.open(path) as archive:
        archive.verify()
        studies = [(s.images, s.labels, s.strata, s.splits, s.patient is None) for s in archive.studies()]
        return sorted(studies, key=repr) + [r.hash for r in archive.images()]


def _collect(source: Path, into: Path) -> step.Collected:
    return step.collect(source, into=into, labels_from_folders=True, workers=1, progress=False)


def _recorded(into: Path) -> set[str]:
    """The files that the book knows to be read, as they are now."""
    if not (into.with_name(into.name + ".names") / "crosswalk.sqlite").exists():
        return set()
    with Crosswalk(into.with_name(into.name + ".names")) as book:
        read = [o for o in book.offered().values() if o.code is None and os.path.exists(o.within)]
        return {
            o.name for o in read if (about := os.stat(o.within)).st_mtime_ns == o.mtime_ns and about.st_size == o.size
        }


def _after(source: Path, into: Path, whole: list, *, must_open: bool) -> list[str]:
    """Say what is wrong with an archive whose collector was killed, and with what collecting again makes of it."""
    wrong: list[str] = []
    try:
        with Archive.open(into) as archive:
            archive.verify()
    except ArchiveError as error:  # before the archive's first byte there is none to open
        wrong += [f"it does not open: {error}"] if must_open else []
    recorded, read, read_job = _recorded(into), [], written.read_job

    def counted(job, *more):
        read.extend(part.name for part in job.parts)
        return read_job(job, *more)

    written.read_job = counted
    try:
        _collect(source, into)
    finally:
        written.read_job = read_job
    wrong += [f"read twice: {Path(name).name}" for name in recorded.intersection(read)]
    wrong += ["the archive is not the same"] if content(into) != whole else []
    left = {p.name for p in into.iterdir()} - {"archive.sqlite", "archive.sqlite-wal", "archive.sqlite-shm", "objects"}
    return wrong + [f"something else lies in the archive: {name}" for name in left]


def _late() -> None:
    """The twin: voxels are written when all is said already, so that a kill in between leaves a broken promise."""
    honest, collect, later = os.replace, step.collect, []

    def replaced(there: Path, here: Path) -> None:
        if "objects" in Path(here).parts:
            later.append((Path(there).read_bytes(), Path(here)))
        else:
            honest(there, here)

    def collected(*words, **how):
        done = collect(*words, **how)
        for raw, here in later:
            here.write_bytes(raw)
        return done

    os.replace = replaced
    step.collect = collected


def _begin(base: str, into: Path) -> None:
    """Copy the archive to begin with, its names shelf with it; without one, begin with nothing."""
    for end in ("", ".names") if base else ():
        shutil.copytree(f"{base}{end}", f"{into}{end}")


class _Here(Executor):
    """What a thread would do while we go on is done at once: only this thread is watched, and killed."""

    def __init__(self, _: int) -> None:
        pass

    def submit(self, fn, /, *args, **kwargs) -> Future:
        done: Future = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except Exception as error:
            done.set_exception(error)
        return done


def main(source: Path, base: str, scratch: Path, every: int, few: int, broken: bool) -> dict:
    """Kill a collector of ``source`` at every ``every``-th change.

    ``base`` is an archive to begin with, or "". More than ``few`` objects wait for the disk together, by another call.
    """
    collecting.ThreadPoolExecutor = _Here
    objects._FEW = few
    collecting._KEEP_AFTER_S = 0.0  # what was read is recorded file by file: more states to be killed in
    _begin(base, scratch / "whole")
    _collect(source, scratch / "whole")
    whole = content(scratch / "whole")
    failures, stop, points, changes = {}, 1, 0, 1 << 30

    def work() -> None:
        if broken:
            _late()
        _collect(source, into)

    while stop <= changes:
        into = scratch / str(stop) / "archive"
        into.parent.mkdir()
        _begin(base, into)
        seen = run_until(work, stop)
        if seen < stop:
            changes = seen
            break
        points += 1
        try:
            wrong = _after(source, into, whole, must_open=bool(base))
        except Exception as error:
            wrong = [f"{type(error).__name__}: {error}"]
        if wrong:
            failures[stop] = wrong
        shutil.rmtree(into.parent)
        stop += every
    return {"changes": changes, "points": points, "failures": failures}


if __name__ == "__main__":
    print(
        json.dumps(
            main(
                Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]), len(sys.argv) > 6
            )
        )
    )
