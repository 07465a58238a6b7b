"""The one door through which images enter: folders, files, zip archives and arrays in; images or reasons out."""

from __future__ import annotations

import hashlib
import os
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from overread.domain import Image
from overread.errors import UnreadableFile
from overread.formats import arrays, nifti, raster, series
from overread.formats.found import Found, Origin, Refused
from overread.formats.limits import refusing
from overread.formats.sniff import HEAD, sniff
from overread.formats.walk import Job, Part, walk

__all__ = ["Found", "Job", "Origin", "Part", "Refused", "candidates", "ignored", "read", "read_job", "scan"]


def candidates(
    sources: Iterable[str | os.PathLike] | str | os.PathLike, *, tick: Callable[[], object] | None = None
) -> list[Job]:
    """Find what could be read in folders, files, zip archives and .npz files, by first bytes and headers only.

    Every file is in exactly one job. Hidden files and what operating systems leave behind are in the "ignored" job.

    Parameters
    ----------
    sources : paths
    tick : callable, optional
        Called once for each file, and each member of a zip archive, that was looked at: a folder of a hospital's
        size takes minutes.

    Returns
    -------
    list of Job
        Sorted by source and path; a DICOM series stands where its first file stands.

    Raises
    ------
    UnreadableFile
        ``no-such-file`` for a source that does not exist.
    """
    return walk([sources] if isinstance(sources, (str, os.PathLike)) else sources, tick=tick)


def ignored(jobs: Iterable[Job]) -> int:
    """Count the hidden files and operating-system litter that were passed over."""
    return sum(len(job.parts) for job in jobs if job.kind == "ignored")


def read_job(job: Job) -> list[Found | Refused]:
    """Read one job: heavy, and without side effects, so that worker processes can do it.

    Returns
    -------
    list of Found or Refused
        Together they name every file of the job once (none for an "ignored" job).
    """
    if job.kind == "ignored":
        return []
    if job.refusal is not None:
        return [job.refusal]
    if job.kind == "array":
        return _read_array(job)
    refused: list[Found | Refused] = []
    if job.kind == "dicom":
        return series.read_series(_bytes(job.parts, refused)) + refused
    return [_read_one(part, raw) for part, raw in _contents(job.parts, refused)] + refused


def scan(*sources: str | os.PathLike) -> Iterator[Found | Refused]:
    """Read everything in ``sources``, one result at a time.

    Yields
    ------
    Found or Refused
    """
    for job in candidates(sources):
        yield from read_job(job)


def read(path: str | os.PathLike) -> list[Image]:
    """Read the images of a file, a folder, a zip archive or an .npz file.

    Files that are no images (a table, a readme) are passed over where at least one image was read.

    Parameters
    ----------
    path : path

    Returns
    -------
    list of Image
        A DICOM series, and a NIfTI file, is one image with several slices.

    Raises
    ------
    UnreadableFile
        For the first file that cannot be read, with its reason.

    Examples
    --------
    >>> read("nowhere.png")
    Traceback (most recent call last):
    overread.errors.UnreadableFile: a path that does not exist; expected a file or a folder; check its spelling
    """
    images, passed = [], None
    for result in scan(path):
        if isinstance(result, Found):
            images.append(result.image)
        elif result.code in ("not-an-image", "no-pixels"):
            passed = passed or result
        else:
            raise UnreadableFile(result.reason, code=result.code)
    if not images:
        if passed is None:
            raise UnreadableFile("a source without files", code="not-an-image", expected="at least one image")
        raise UnreadableFile(passed.reason, code=passed.code)
    return images


def _contents(parts: Iterable[Part], refused: list[Found | Refused]) -> Iterator[tuple[Part, bytes]]:
    """Each part's bytes, opening a zip archive once; what cannot be read goes to ``refused``."""
    opened: tuple[str, zipfile.ZipFile] | None = None
    try:
        for part in parts:
            try:
                if part.member and (opened is None or opened[0] != part.path):
                    if opened is not None:
                        opened[1].close()
                    opened = (part.path, zipfile.ZipFile(part.path))
                raw = opened[1].read(part.member) if part.member and opened else Path(part.path).read_bytes()
            except (OSError, zipfile.BadZipFile, zlib.error, EOFError, ValueError, KeyError, NotImplementedError):
                gone = UnreadableFile(
                    "a file that can no longer be read", code="unreadable", do="check the disk or the archive"
                )
                refused.append(Refused(part.name, gone.code, str(gone)))
                continue
            yield part, raw
    finally:
        if opened is not None:
            opened[1].close()


def _bytes(parts: Iterable[Part], refused: list[Found | Refused]) -> Iterator[tuple[str, bytes]]:
    return ((part.name, raw) for part, raw in _contents(parts, refused))


def _read_one(part: Part, raw: bytes) -> Found | Refused:
    """One picture or NIfTI file. A parser's stumble is a refusal, never a crash."""
    try:
        with refusing("a damaged file"):
            return Found(_image(part, raw), Origin((part.name,), hashlib.sha256(raw).hexdigest()))
    except UnreadableFile as error:
        return Refused(part.name, error.code, str(error))


def _image(part: Part, raw: bytes) -> Image:
    kind = sniff(raw[:HEAD])
    if kind == "nifti":
        return nifti.read_nifti(raw)
    if kind in raster.KINDS:
        return raster.read_picture(raw, kind=kind, suffix=Path(part.member or part.path).suffix[1:])
    raise UnreadableFile(
        kind, code="not-an-image", expected="the image that was there a moment ago", do="offer it again"
    )


def _read_array(job: Job) -> list[Found | Refused]:
    part, out = job.parts[0], []
    try:
        for name, image, raw, facts in arrays.read_chunk(Path(part.path), job.chunk):
            file = f"{part.name}!{name}"
            if isinstance(image, UnreadableFile):
                out.append(Refused(file, image.code, str(image)))
            else:
                out.append(Found(image, Origin((file,), hashlib.sha256(raw).hexdigest(), facts=facts)))
    except UnreadableFile as error:
        out.append(Refused(f"{part.name}!{job.chunk.split}", error.code, str(error)))
    return out
