"""What a reader of foreign files may do to this machine: read what it was offered, write where it was told, no more."""

from __future__ import annotations

import os
import re
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CHANGES = {
    "os.rename": (0, 1), "os.mkdir": (0,), "os.remove": (0,), "os.rmdir": (0,), "os.link": (1,), "os.symlink": (1,),
    "os.truncate": (0,), "os.chmod": (0,), "os.chown": (0,), "os.utime": (0,), "os.setxattr": (0,), "shutil.rmtree": (0,),
    "shutil.copyfile": (1,), "shutil.move": (0, 1), "sqlite3.connect": (0,),
}  # fmt: skip
_NEVER = (
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.startfile",
    "socket.connect",
    "socket.bind",
    "pty.spawn",
)
_READABLE = tuple(
    {
        *(os.path.join(sysconfig.get_path(p), "") for p in ("stdlib", "platstdlib", "purelib", "platlib")),
        os.path.join(sys.prefix, ""), os.path.join(sys.base_prefix, ""), "/proc/", "/sys/", "/dev/", "/usr/", "/lib",
        os.path.join(str(Path(__file__).resolve().parents[2]), ""), "/etc/localtime", "/etc/mime.types",
    }
)  # fmt: skip
MEMORY_BOUND = 4 << 30
"""Bytes of address space that one input may ask for."""


class Guard:
    """Sees every file that Python opens, makes, moves or removes in this process (an audit hook cannot be taken out).

    Parameters
    ----------
    source : Path
        The folder that is being read.
    """

    def __init__(self, source: Path) -> None:
        self.source = os.path.join(os.path.abspath(source), "")
        self.into: tuple[str, ...] = ()
        self.active = False
        self.seen: list[str] = []
        sys.addaudithook(self._hook)

    @contextmanager
    def watching(self, *into: Path) -> Iterator[None]:
        """Note what is done while the block runs; writing is allowed below ``into`` alone."""
        self.into = tuple(os.path.abspath(p) for p in into)
        self.active = True
        try:
            yield
        finally:
            self.active = False

    def take(self) -> list[str]:
        """Return what was seen that may not be, and forget it."""
        seen, self.seen = self.seen, []
        return seen

    def _hook(self, event: str, arguments: tuple) -> None:
        if not self.active:
            return
        if event == "open":
            path, _, flags = arguments
            if not isinstance(path, int):
                self._opened(os.fsdecode(path), bool((flags or 0) & _WRITING))
        elif event in _CHANGES:
            for place in _CHANGES[event]:
                if not isinstance(arguments[place], int):
                    self._written(event, os.fsdecode(arguments[place]))
        elif event in _NEVER:
            self.seen.append(f"{event} was called")
        elif event == "ctypes.dlopen" and not _installed(arguments[0]):
            self.seen.append(f"a library was loaded that nobody installed: {arguments[0]}")
        elif event == "subprocess.Popen" and "overread.formats.decoder" not in arguments[1]:
            self.seen.append("a program was started")

    def _opened(self, path: str, writing: bool) -> None:
        if writing:
            self._written("open", path)
        elif not (path := os.path.abspath(path)).startswith((self.source, *self.into, *_READABLE)):
            self.seen.append(f"a file was read that was not offered: {path}")

    def _written(self, event: str, path: str) -> None:
        if path in ("", ":memory:", os.devnull):  # a database without a name, and nowhere
            return
        path = os.path.abspath(path)
        if not path.startswith(self.into or ("\0",)):
            self.seen.append(f"{event} outside the archive: {path}")


def _installed(library: str | bytes | None) -> bool:
    """Say whether a library is this process itself (``None``), or lies where packages and the system keep theirs.

    Examples
    --------
    >>> _installed(None), _installed("/tmp/offered/libevil.so"), _installed("libevil.so")
    (True, False, False)
    """
    return library is None or os.fsdecode(library).startswith(_READABLE)


def bound_memory() -> None:
    """Give this process no more address space than one input may ask for; its children may set their own bound."""
    try:
        import resource
    except ImportError:  # not on Windows: there only time is bounded
        return
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BOUND, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def forget_peak() -> None:
    """Begin to measure this process's largest memory anew, where the system can."""
    try:
        Path("/proc/self/clear_refs").write_bytes(b"5")
    except OSError:
        return


def peak_mib() -> float:
    """Return the largest memory since ``forget_peak``, in MiB (of the whole life where the system cannot forget)."""
    try:
        return int(re.search(rb"VmHWM:\s+(\d+)", Path("/proc/self/status").read_bytes())[1]) / 1024
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def tree(folder: Path) -> set[str]:
    """Every path below a folder."""
    return {os.path.join(where, name) for where, folders, names in os.walk(folder) for name in (*folders, *names)}
