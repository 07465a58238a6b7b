"""Sources in object storage: what collect, predict and explain read straight from a bucket (``s3://…``)."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable

from overread.formats.door import Job
from overread.formats.far import Far

SCHEME = "s3://"


def is_far(source: str | os.PathLike) -> bool:
    """True for an address in object storage.

    Examples
    --------
    >>> is_far("s3://scans/ct"), is_far("scans/ct")
    (True, False)
    """
    return isinstance(source, str) and source.startswith(SCHEME)


def far_of(sources: Iterable[str | os.PathLike]) -> Far | None:
    """Return where such sources lie; None when all of them lie on this disk."""
    if not any(map(is_far, sources)):
        return None
    from overread.sources.s3 import Bucket  # only here: nobody else needs the network

    return Bucket()


def far_of_job(job: Job) -> Far | None:
    """Return where a job's files lie; all of them lie at one place."""
    return far_of([part.path for part in job.parts[:1]])


def on_this_disk(sources: Iterable[str | os.PathLike]) -> list[str | os.PathLike]:
    """Return the sources that every host of a cluster must see under the same path."""
    return [source for source in sources if not is_far(source)]


def version(stamp: tuple[int, str]) -> tuple[int, int]:
    """Return size and version as the book keeps them of a file on disk, whose version is its time of change.

    Examples
    --------
    >>> version((10, '"a1"')) == version((10, '"a1"')), version((10, '"a1"')) == version((10, '"a2"'))
    (True, False)
    """
    return stamp[0], int.from_bytes(hashlib.sha256(stamp[1].encode()).digest()[:8], "big") >> 1
