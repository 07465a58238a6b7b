"""The one door through which images enter: folders, files, archives and arrays in; images or reasons out."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from overread.domain import Image
from overread.errors import SourceError, UnreadableFile
from overread.formats import arrays, raster, series, sidecar
from overread.formats.far import AllKnown, Far
from overread.formats.found import Found, Origin, Refused
from overread.formats.jobs import Job, Jobs, Part
from overread.formats.limits import refusing
from overread.formats.packed import contents
from overread.formats.sniff import HEAD, sniff
from overread.formats.walk import Skip, are_many, walk

__all__ = [
    "Found",
    "Job",
    "Jobs",
    "Origin",
    "Part",
    "Refused",
    "are_many",
    "candidates",
    "ignored",
    "read",
    "read_job",
    "scan",
]


def candidates(
    sources: Iterable[str | os.PathLike] | str | os.PathLike,
    *,
    tick: Callable[[], object] | None = None,
    skip: Skip | None = None,
    far: Far | None = None,
    all_known: AllKnown | None = None,
) -> Jobs:
    """Find what could be read in folders, files, archives and .npz files, by first bytes and headers only.

    Every file is in exactly one job. Hidden files and what operating systems leave behind are in the "ignored" job.
    A million files take no more memory than a thousand: the jobs lie on disk.

    Parameters
    ----------
    sources : paths
    tick : callable, optional
        Called once for each file, and each member of an archive, that was looked at: a folder of a hospital's
        size takes minutes.
    skip : callable, optional
        True for the absolute path of a folder that is not to be entered.
    far : Far, optional
        Where sources lie that are not on this disk.
    all_known : callable, optional
        True for files of such a place that need not be looked at again.

    Returns
    -------
    Jobs
        Sorted by source and path; a DICOM series stands where its first file stands. ``len`` does not count the job of
        hidden files.

    Raises
    ------
    UnreadableFile
        ``no-such-file`` for a source that does not exist.
    """
    named = [sources] if isinstance(sources, (str, os.PathLike)) else sources
    return walk(named, tick=tick, skip=skip, far=far, all_known=all_known)


def ignored(jobs: Iterable[Job]) -> int:
    """Count the hidden files and operating-system litter that were passed over."""
    if isinstance(jobs, Jobs):
        return jobs.ignored
    return sum(len(job.parts) for job in jobs if job.kind == "ignored")


def read_job(job: Job, far: Far | None = None) -> list[Found | Refused]:
    """Read one job: heavy, and without side effects, so that worker processes can do it.

    Parameters
    ----------
    job : Job
    far : Far, optional
        Where its files lie, if not on this disk.

    Returns
    -------
    list of Found or Refused
        Together they name every file of the job (none for an "ignored" job): once, unless it holds several volumes.
    """
    try:
        return _read_job(job, far)
    except (UnreadableFile, SourceError, MemoryError):
        raise
    except Exception as fault:  # ours, met by one file in a hundred thousand: told, and the others are still read
        why = f"a fault of overread itself ({type(fault).__name__}) in reading it; expected an image or a reason; please report it"
        return [Refused(part.name, "our-fault", why) for part in job.parts]


def _read_job(job: Job, far: Far | None) -> list[Found | Refused]:
    if job.kind == "ignored":
        return []
    if job.refusal is not None:
        return [job.refusal]
    if job.kind == "array":
        return _read_array(job)
    if job.kind == "dicom":
        files = ((part.name, raw) for part, raw, _ in contents(job.parts, far))
        return series.read_series(files, lost=job.lost, missing=job.missing, divided=job.divided)
    return [one for part, raw, beside in contents(job.parts, far) for one in _read_one(part, raw, beside)]


def scan(*sources: str | os.PathLike) -> Iterator[Found | Refused]:
    """Read everything in ``sources``, one result at a time.

    Yields
    ------
    Found or Refused
    """
    for job in candidates(sources):
        yield from read_job(job)


def read(path: str | os.PathLike) -> list[Image]:
    """Read the images of a file, a folder, an archive, a disc's DICOMDIR or an .npz file.

    Files that are no images (a table, a readme), and copies within a series, are passed over where at least one image was read.

    Parameters
    ----------
    path : path

    Returns
    -------
    list of Image
        A DICOM series, and a NIfTI file, is one image with several slices, or several where it holds several volumes.

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
        elif result.code in ("not-an-image", "no-pixels", "companion", "directory", "copy"):
            passed = passed or result
        else:
            raise UnreadableFile(result.reason, code=result.code)
    if not images:
        if passed is None:
            raise UnreadableFile("a source without files", code="not-an-image", expected="at least one image")
        raise UnreadableFile(passed.reason, code=passed.code)
    return images


def _read_one(part: Part, raw: bytes | UnreadableFile, beside: sidecar.Beside) -> list[Found | Refused]:
    """One picture, or the volumes of one NIfTI file. A parser's stumble is a refusal, never a crash."""
    try:
        if isinstance(raw, UnreadableFile):
            raise raw
        with refusing("a damaged file"):
            images, where = _images(part, raw), part.member or part.path
            if images[0].attributes.get("format") == "NIfTI":
                told = sidecar.of_volume(where, part.path if part.member else "", beside)
            else:
                told = sidecar.of_picture(where, raw, beside)
            digest = hashlib.sha256(raw).hexdigest()
            together = digest if len(images) > 1 else None  # volumes of one file are of one person: one examination
            origin = Origin((part.name,), digest, told.patient, told.study or together, strata=told.strata)
            return [
                Found(
                    replace(
                        image,
                        modality=image.modality or told.modality,
                        attributes={**told.attributes, **image.attributes},
                        notes=(*image.notes, *told.notes),
                    ),
                    origin,
                )
                for image in images
            ]
    except UnreadableFile as error:
        return [Refused(part.name, error.code, str(error))]


def _images(part: Part, raw: bytes) -> list[Image]:
    kind = sniff(raw[:HEAD])
    if kind == "nifti":
        from overread.formats import nifti  # its reader loads when a volume comes: most prediction starts see none

        return nifti.read_volumes(raw)
    if kind in raster.KINDS:
        return [raster.read_picture(raw, kind=kind, suffix=Path(part.member or part.path).suffix[1:])]
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
