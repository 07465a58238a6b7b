"""What a worker makes of a job: voxels under a temporary name, and the row that the archive will keep of them."""

from __future__ import annotations

from typing import NamedTuple

from overread.domain import code_of
from overread.errors import IdentityRefused
from overread.formats.door import Job, Origin, Refused, read_job
from overread.formats.facts import IN_PIXELS
from overread.steps.far import far_of_job
from overread.store.objects import Objects, begin_object
from overread.store.rows import row_of


class Written(NamedTuple):
    """An image that a worker has written under the name ``begun``; of few and plain parts, for it travels between processes.

    Parameters
    ----------
    row : tuple
        What the archive keeps of it (``store.rows.row_of``), its hash first.
    begun : str
        See :func:`overread.store.objects.begin_object`.
    may_show : bool
        Its header does not say whether a name stands in the pixels.
    origin : Origin
    """

    row: tuple
    begun: str
    may_show: bool
    origin: Origin


def read_and_write(objects: Objects, job: Job) -> list[Written | Refused]:
    """Read one job and write its voxels; in a worker process, so that pixels need not travel."""
    done: list[Written | Refused] = []
    for result in read_job(job, far_of_job(job)):
        if isinstance(result, Refused):
            done.append(result)
        elif why := result.image.attributes.get(IN_PIXELS):
            done += [_shown(name, why) for name in result.origin.files]
        else:
            record, begun = begin_object(objects, result.image)
            may_show = "may-show-name" in map(code_of, record.notes)
            done.append(Written(row_of(record), begun, may_show, result.origin))
    return done


def _shown(file: str, why: str) -> Refused:
    """Refuse what tells of itself who it is: an archive would keep the name as pixels."""
    told = IdentityRefused(
        f"an image that says {why}",
        expected="Burned In Annotation NO, and no face or label",
        do="blank it in an image editor for DICOM, then say so in its header",
    )
    return Refused(file, code="burned-in", reason=str(told))
