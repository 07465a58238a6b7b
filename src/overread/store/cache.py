"""What was fetched from elsewhere, kept on this disk for the next time: never more than it is given room for.

``OVERREAD_CACHE`` names the folder (``~/.cache/overread`` when it is not set), ``OVERREAD_CACHE_GB`` its room (20). What
was used longest ago goes first. Nothing but copies lies there: it may be deleted at any moment.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

from overread.errors import ArchiveError
from overread.store.journal import exclusive
from overread.store.objects import write_atomically

FOLDER, ROOM = "OVERREAD_CACHE", "OVERREAD_CACHE_GB"
USUAL_GB = 20

_LEFT = 0.9  # of the room that is used after some of it was freed
_STEP = 32  # it is looked at again after this part of the room was written
_SINCE_S = 60.0  # a file's last use is noted no oftener

_written: dict[Path, int] = {}  # by this process since it last looked


@dataclass(frozen=True)
class Cache:
    """A folder with a bounded number of bytes, that several processes share.

    Parameters
    ----------
    folder : Path
    room : int
        Bytes. Each process may go beyond it by a thirty-second part before it looks again.

    Examples
    --------
    >>> import tempfile
    >>> home = tempfile.TemporaryDirectory()
    >>> cache = Cache(Path(home.name), room=100)
    >>> for name in "abc":
    ...     cache.keep(name, bytes(40))
    >>> [cache.find(name, 40) is not None for name in "abc"]
    [False, True, True]
    >>> home.cleanup()
    """

    folder: Path
    room: int

    def find(self, name: str, size: int) -> Path | None:
        """Return where something that was kept lies, and note that it is used; None where it does not lie there whole."""
        file = self.folder / name
        try:
            about = file.stat()
            if about.st_size != size:
                return None
            if time.time() - about.st_mtime > _SINCE_S:
                os.utime(file)
        except OSError:  # never kept, or made room
            return None
        return file

    def keep(self, name: str, data: bytes) -> None:
        """Keep something, whole or not at all; it is not kept where it is too large, or the disk does not take it."""
        if len(data) > self.room * _LEFT:
            return
        with contextlib.suppress(OSError):  # what is not kept is fetched again
            file = self.folder / name
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomically(file, data, mode=0o600, wait=False)
            if self.folder not in _written:
                self._make_room()
            _written[self.folder] = _written.get(self.folder, 0) + len(data)
            if _written[self.folder] > self.room / _STEP:
                self._make_room()

    def _make_room(self) -> None:
        """Remove what was used longest ago, until a tenth of the room is free; nothing where another process does so."""
        _written[self.folder] = 0
        with contextlib.suppress(BlockingIOError), exclusive(self.folder / ".lock", wait=False):
            files = sorted(_files(self.folder))
            total = sum(size for _, size, _ in files)
            if total <= self.room:
                return
            for _, size, path in files:
                if total <= self.room * _LEFT:
                    return
                with contextlib.suppress(OSError):
                    os.unlink(path)
                total -= size


def _files(folder: str | Path) -> list[tuple[float, int, str]]:
    """Return last use, size and path of every file below a folder."""
    found: list[tuple[float, int, str]] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):  # another process was faster
                if entry.is_dir(follow_symlinks=False):
                    found += _files(entry.path)
                elif entry.name != ".lock":
                    about = entry.stat(follow_symlinks=False)
                    found.append((about.st_mtime, about.st_size, entry.path))
    return found


def place() -> Path:
    """Return the folder on this machine where copies of what lies elsewhere are kept."""
    return Path(os.environ.get(FOLDER) or Path.home() / ".cache" / "overread")


def room() -> int:
    """Return how many bytes of voxels may be kept there.

    Raises
    ------
    ArchiveError
        When ``OVERREAD_CACHE_GB`` is no number.
    """
    said = os.environ.get(ROOM) or str(USUAL_GB)
    try:
        gigabytes = float(said)
        if not 0 <= gigabytes < float("inf"):
            raise ValueError("no room")
    except ValueError:
        raise ArchiveError(f"{ROOM}={said!r}", expected="gigabytes, 0 or more", do="write a number") from None
    return int(gigabytes * 1e9)
