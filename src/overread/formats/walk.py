"""From what a person names to what a worker reads: folders and archives become jobs, by first bytes and headers only."""

from __future__ import annotations

import itertools
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from overread.errors import UnreadableFile
from overread.formats import dicomdir, offer
from overread.formats.far import AllKnown, Far, walk_far
from overread.formats.jobs import Job, Jobs, Part, Spool
from overread.formats.offer import Harvest, is_litter
from overread.formats.packed import beside_on_disk, read_directory, unpack_tar, unpack_zip
from overread.formats.sniff import HEAD, sniff

__all__ = ["Job", "Jobs", "Part", "are_many", "walk"]

_MANY, _MUCH = 256, 32 << 20  # files, and bytes
_FEW = 10_000  # names of one folder that are sorted in memory; more are sorted on disk

Skip = Callable[[str], bool]


def walk(
    sources: Iterable[str | os.PathLike],
    *,
    tick: Callable[[], object] | None = None,
    skip: Skip | None = None,
    far: Far | None = None,
    all_known: AllKnown | None = None,
) -> Jobs:
    """Return the jobs of ``sources``; see ``door.candidates``."""
    harvest, before = Harvest(tick), _Before()
    named = [os.fspath(s) for s in sources]
    for n, path in enumerate(map(Path, named), start=1):
        if far is not None and far.holds(named[n - 1]):
            walk_far(named[n - 1], far, harvest, all_known=all_known)
            continue
        if not named[n - 1] or not path.exists():  # an empty word would be the current folder
            which = f" (number {n} of {len(named)})" if len(named) > 1 else ""
            raise UnreadableFile(
                f"{'a path that does not exist' if named[n - 1] else 'an empty path'}{which}",
                code="no-such-file",
                expected="a file or a folder",
                do="check its spelling",
            )
        for part in _files(path, skip):
            if not before.holds(part.path):
                _offer(part, path, harvest)
        before.add(path)
    return harvest.jobs


class _Before:
    """The sources before this one: a file may be offered twice, by a folder and by its own name."""

    def __init__(self) -> None:
        self.files: set[str] = set()
        self.folders: set[str] = set()

    def add(self, path: Path) -> None:
        (self.folders if path.is_dir() else self.files).add(os.path.abspath(path))

    def holds(self, path: str) -> bool:
        """True when an earlier source was this file, or a folder in which a walk has met it."""
        if not self.files and not self.folders:
            return False
        path = os.path.abspath(path)
        if path in self.files:
            return True
        folder = os.path.dirname(path)
        while self.folders:
            if folder in self.folders:
                return True
            if os.path.islink(folder) or folder == os.path.dirname(folder):
                return False  # a walk does not follow links
            folder = os.path.dirname(folder)
        return False


def _files(path: Path, skip: Skip | None) -> Iterator[Part]:
    """Every file below a folder, in sorted order, those of a folder before those of its subfolders; a file is itself.

    Linked folders are not followed. Of a folder with a million files only a few names are in memory at any time.
    """
    if not path.is_dir():
        yield Part(str(path), str(path))
        return
    folders = [str(path)]
    while folders:
        folder = folders.pop()
        if skip is not None and skip(os.path.abspath(folder)):
            continue
        below: list[str] = []
        within = os.path.join(folder, "")
        names = _names(folder, below)
        if _is_ours(names, below):
            yield Part(within, within)  # told of by its own name
            continue
        for name in names:
            yield Part(within + name, within + name)
        folders += [os.path.join(folder, name) for name in sorted(below, reverse=True)]


def _is_ours(names: Iterable[str], below: list[str]) -> bool:
    """True for an archive that overread made, or its names shelf: its contact sheet is no film, its originals are another's."""
    few = names if isinstance(names, list) else ()
    return ("archive.sqlite" in few and "objects" in below) or ("crosswalk.sqlite" in few and "key" in few)


def are_many(sources: Iterable[str | os.PathLike]) -> bool:
    """True for sources in which 256 files, or 32 MB, are met at once: no more of them is looked at."""
    folders, met, size = [], 0, 0
    for source in map(os.fspath, sources):
        if os.path.isdir(source):
            folders.append(source)
        elif os.path.isfile(source):
            size += os.path.getsize(source)
    while folders and met < _MANY and size < _MUCH:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in itertools.islice(entries, _MANY - met):
                    met += 1
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    else:
                        size += entry.stat().st_size
        except OSError:
            continue  # told when it is read
    return met >= _MANY or size >= _MUCH


def _names(folder: str, below: list[str]) -> Iterable[str]:
    """Return the names of a folder's files, sorted; its subfolders are added to ``below``."""
    names, many = [], None
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if _is_folder(entry):
                    below.append(entry.name)
                    continue
                names.append(entry.name)
                if len(names) == _FEW:
                    many = many or Spool()
                    many.add(names)
                    names = []
    except OSError:
        names.append("")  # the folder itself cannot be listed: it is told by its own name
    if many is None:
        return sorted(names)
    many.add(names)
    return many


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir() and not entry.is_symlink()
    except OSError:
        return False


def _offer(part: Part, source: Path, harvest: Harvest) -> None:
    """Look at one file on disk."""
    if part.path != str(source) and is_litter(_within(part.path, source)):
        harvest.jobs.ignore(part)
        return
    harvest.looked()
    try:
        about = os.stat(part.path)
        if stat.S_ISDIR(about.st_mode) and part.path.endswith(os.sep):
            if os.path.isfile(f"{part.path}archive.sqlite") or os.path.isfile(f"{part.path}crosswalk.sqlite"):
                came = "an archive that overread made, or its names shelf"
                harvest.refuse(part, "not-an-image", came, expected="the images it was made from", do="leave it out")
                return
            raise PermissionError
        if stat.S_ISDIR(about.st_mode):
            return  # a link to a folder, which is not followed
        if not stat.S_ISREG(about.st_mode):
            harvest.refuse(part, "not-an-image", "a device or a pipe", expected="a file", do="leave it out")
            return
        if about.st_size > offer.LARGEST_FILE:
            harvest.refuse_large(part, about.st_size)
            return
        with open(part.path, "rb") as stream:
            head = stream.read(HEAD)
            kind = sniff(head)
            if kind == "dicom" and dicomdir.is_directory(head):
                _read_directory(part, source, stream.seek(0) or stream.read(), harvest)
                return
            if kind not in ("zip", "tar"):
                offer.offer(part, head, stream, harvest, kind=kind, beside=beside_on_disk, lies=os.path.lexists)
                return
    except OSError:
        harvest.refuse(
            part,
            "unreadable",
            f"a {'folder' if part.path.endswith(os.sep) else 'file'} that cannot be opened",
            do="check its permissions, and whether a link points to nothing",
        )
        harvest.jobs.lose(part)
        return
    (unpack_zip if kind == "zip" else unpack_tar)(part, harvest)


def _within(path: str, source: Path) -> str:
    """Return the part of a path that lies below a source."""
    above = f"{source}{os.sep}"
    return path[len(above) :] if path.startswith(above) else os.path.relpath(path, source)


def _read_directory(part: Part, source: Path, raw: bytes, harvest: Harvest) -> None:
    """Read a disc's DICOMDIR: name what is missing, and offer what it names where it was offered alone."""
    for file in read_directory(part, raw, dicomdir.on_disk(Path(part.path).parent), harvest):
        if part.path == str(source):
            _offer(Part(file, file), Path(file), harvest)
