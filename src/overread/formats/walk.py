"""From what a person names to what a worker reads: folders, zip archives and arrays become jobs, by headers only."""

from __future__ import annotations

import os
import stat
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import pydicom

from overread.errors import UnreadableFile
from overread.formats import arrays
from overread.formats.dicom import is_deflated
from overread.formats.found import Refused
from overread.formats.limits import refusing
from overread.formats.sniff import HEAD, READABLE, sniff

LARGEST_FILE = 4 << 30
"""Bytes of one file, or of one zip member once unpacked, above which it is refused unread."""
LARGEST_RATIO = 1100
"""Unpacked bytes for one packed byte above which a zip archive is a bomb (honest deflate cannot pass 1,032)."""
_MEMBERS_A_JOB = 128  # each job opens its zip archive and reads the directory once

_LITTER = ("thumbs.db", "desktop.ini", "ehthumbs.db", "__macosx")
_ZIP_FAULTS = (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, NotImplementedError, RuntimeError)
_PICTURES_WE_DO_NOT_READ = ("picture", "NIfTI", "NumPy", "volume", "MetaImage", "DICOM")


@dataclass(frozen=True)
class Part:
    """One file, or one member of a zip archive.

    Parameters
    ----------
    name : str
        As the user named it: "folder/a.png", "a.zip!x/y.png".
    path : str
        The file on disk.
    member : str
        Its name inside the zip archive; "" for a plain file.
    """

    name: str
    path: str
    member: str = ""


@dataclass(frozen=True)
class Job:
    """What one worker reads at a time: a picture, a series, some zip members, a chunk of an array. It can be pickled.

    Parameters
    ----------
    kind : {"files", "dicom", "array", "refused", "ignored"}
    parts : tuple of Part
        The files it accounts for.
    chunk : arrays.Chunk or None
        For "array".
    refusal : Refused or None
        For "refused": what the walk alone could tell.
    """

    kind: str
    parts: tuple[Part, ...] = ()
    chunk: arrays.Chunk | None = None
    refusal: Refused | None = None


@dataclass
class _Harvest:
    """What has been gathered so far; a series' key stands in ``jobs`` where its first file was met."""

    jobs: list[Job | tuple] = field(default_factory=list)
    series: dict[tuple, list[Part]] = field(default_factory=dict)
    litter: list[Part] = field(default_factory=list)
    tick: Callable[[], object] | None = None

    def looked(self) -> None:
        """Tell whoever waits that one more file, or zip member, was looked at."""
        if self.tick is not None:
            self.tick()

    def refuse(self, part: Part, code: str, came: str, *, expected: str = "", do: str = "") -> None:
        reason = str(UnreadableFile(came, code=code, expected=expected, do=do))
        self.jobs.append(Job("refused", (part,), refusal=Refused(part.name, code, reason)))


def walk(sources: Iterable[str | os.PathLike], *, tick: Callable[[], object] | None = None) -> list[Job]:
    """Return the jobs of ``sources``; see ``door.candidates``."""
    harvest, seen = _Harvest(tick=tick), set[str]()
    sources = list(sources)
    for n, source in enumerate(sources, start=1):
        path = Path(source)
        if not path.exists():
            which = f" (number {n} of {len(sources)})" if len(sources) > 1 else ""
            raise UnreadableFile(
                f"a path that does not exist{which}",
                code="no-such-file",
                expected="a file or a folder",
                do="check its spelling",
            )
        for part in _files(path):
            if os.path.abspath(part.path) in seen:
                continue  # offered twice: by a folder and by its own name
            seen.add(os.path.abspath(part.path))
            if path.is_dir() and _is_litter(os.path.relpath(part.path, path)):
                harvest.litter.append(part)
            else:
                _offer(part, harvest)
    jobs = [e if isinstance(e, Job) else Job("dicom", tuple(harvest.series[e])) for e in harvest.jobs]
    return [*jobs, Job("ignored", tuple(harvest.litter))] if harvest.litter else jobs


def _files(path: Path) -> Iterator[Part]:
    """Every file below a folder, in sorted order; a file is itself. Linked folders are not followed."""
    if not path.is_dir():
        yield Part(str(path), str(path))
        return
    for folder, folders, names in os.walk(path):
        folders.sort()
        for name in sorted(names):
            yield Part(os.path.join(folder, name), os.path.join(folder, name))


def _is_litter(name: str) -> bool:
    """True for hidden files and what operating systems leave in folders.

    Examples
    --------
    >>> _is_litter("a/.DS_Store"), _is_litter("__MACOSX/._a.png"), _is_litter("a/b.png")
    (True, True, False)
    """
    return any(p.startswith(".") or p.lower() in _LITTER for p in PurePosixPath(name).parts if p not in (".", ".."))


def _offer(part: Part, harvest: _Harvest) -> None:
    """Look at one file on disk."""
    harvest.looked()
    try:
        about = os.stat(part.path)
        if not stat.S_ISREG(about.st_mode):
            harvest.refuse(part, "not-an-image", "a device or a pipe", expected="a file", do="leave it out")
            return
        if about.st_size > LARGEST_FILE:
            _refuse_large(part, about.st_size, harvest)
            return
        with open(part.path, "rb") as stream:
            head = stream.read(HEAD)
            kind = sniff(head)
            if kind != "zip":
                _sort(part, kind, stream, harvest)
                return
    except OSError:
        harvest.refuse(
            part,
            "unreadable",
            "a file that cannot be opened",
            do="check its permissions, and whether a link points to nothing",
        )
        return
    _unpack(part, harvest)


def _sort(part: Part, kind: str, stream: BinaryIO, harvest: _Harvest) -> None:
    """Put one file, or one zip member, where its kind belongs."""
    if kind == "dicom":
        key = series_key(stream)
        if key is None:
            harvest.jobs.append(Job("dicom", (part,)))
            return
        if key not in harvest.series:
            harvest.jobs.append(key)
        harvest.series.setdefault(key, []).append(part)
    elif kind == "zip":
        harvest.refuse(part, "nested-archive", "an archive inside an archive", expected="images", do="unpack it first")
    elif kind in READABLE:
        last = harvest.jobs[-1] if harvest.jobs else None
        together = part.member and isinstance(last, Job) and last.kind == "files" and last.parts[0].path == part.path
        if together and last.parts[0].member and len(last.parts) < _MEMBERS_A_JOB:
            harvest.jobs[-1] = Job("files", (*last.parts, part))
        else:
            harvest.jobs.append(Job("files", (part,)))
    else:
        code = "unsupported-format" if any(w in kind for w in _PICTURES_WE_DO_NOT_READ) else "not-an-image"
        code = "empty-file" if kind == "an empty file" else code
        harvest.refuse(
            part,
            code,
            kind,
            expected="DICOM, NIfTI, PNG, JPEG, TIFF, BMP, GIF, WebP, a zip archive or a MedMNIST .npz",
            do="export it again"
            if code == "empty-file"
            else "convert it"
            if code == "unsupported-format"
            else "leave it out",
        )


def _refuse_large(part: Part, size: int, harvest: _Harvest) -> None:
    expected = f"at most {LARGEST_FILE >> 30} GiB"
    harvest.refuse(part, "too-large", f"{size / (1 << 30):.1f} GiB", expected=expected, do="divide it into parts")


def _unpack(part: Part, harvest: _Harvest) -> None:
    """Look into a zip archive. Members are read in memory, one at a time; nothing is ever written to disk."""
    try:
        with zipfile.ZipFile(part.path) as archive:
            members = [m for m in archive.infolist() if not m.is_dir()]
            if arrays.is_npz([m.filename for m in members]):
                for chunk in arrays.chunks(Path(part.path)):
                    harvest.jobs.append(Job("array", (part,), chunk=chunk))
            elif any(m.filename == "[Content_Types].xml" for m in members):
                harvest.refuse(part, "not-an-image", "an Office document", expected="images", do="leave it out")
            elif sum(m.file_size for m in members) > LARGEST_RATIO * max(1, os.path.getsize(part.path)):
                harvest.refuse(
                    part, "too-large", "a zip archive that unpacks to more than deflate can hold", do="pack it again"
                )
            elif not members:
                harvest.refuse(part, "empty-file", "an empty zip archive", expected="images", do="pack it again")
            else:
                for member in members:
                    _member(part, member, archive, harvest)
    except UnreadableFile as error:
        harvest.jobs.append(Job("refused", (part,), refusal=Refused(part.name, error.code, str(error))))
    except _ZIP_FAULTS:
        harvest.refuse(part, "malformed", "a damaged zip archive", do="copy or pack it again")


def _member(archive_part: Part, member: zipfile.ZipInfo, archive: zipfile.ZipFile, harvest: _Harvest) -> None:
    harvest.looked()
    part = Part(f"{archive_part.name}!{member.filename}", archive_part.path, member.filename)
    where = PurePosixPath(member.filename.replace("\\", "/"))
    if _is_litter(str(where)):
        harvest.litter.append(part)
    elif where.is_absolute() or ".." in where.parts or ":" in member.filename[:3]:
        harvest.refuse(part, "unsafe-name", "a zip member whose name leads out of the archive", do="pack it again")
    elif member.flag_bits & 1:
        harvest.refuse(part, "encrypted", "an encrypted zip member", expected="a plain one", do="unpack it first")
    elif member.file_size > LARGEST_FILE:
        _refuse_large(part, member.file_size, harvest)
    else:
        try:
            with archive.open(member) as stream:
                head = stream.read(HEAD)
                stream.seek(0)
                _sort(part, sniff(head), stream, harvest)
        except _ZIP_FAULTS:
            harvest.refuse(part, "malformed", "a damaged zip member", do="copy or pack the archive again")


_KEY = ["PatientID", "StudyInstanceUID", "SeriesInstanceUID"]


def series_key(stream: BinaryIO) -> tuple[str, ...] | None:
    """Return what a DICOM file belongs to (patient, study, series), from its header alone; None where it names no series."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # read_job reads the header again, and tells
        try:
            with refusing("a damaged DICOM header"):
                stream.seek(0)
                if is_deflated(stream.read(HEAD)):
                    return None  # inflating needs a bound, which only read_job keeps: such a file is read alone
                stream.seek(0)
                ds = pydicom.dcmread(stream, force=True, stop_before_pixels=True, specific_tags=_KEY)
                values = tuple(str(ds.get(k) or "") for k in _KEY)
        except UnreadableFile:
            return None  # read_job says what is wrong with it
    return values if values[2] else None
