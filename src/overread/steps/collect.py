"""Collect: folders, files, zip archives and arrays of images become an archive without names."""

from __future__ import annotations

import functools
import os
import sys
import time
from dataclasses import replace

from overread import engine
from overread.errors import LabelError, NothingToDo
from overread.formats.door import are_many
from overread.steps.collected import Collected, telling
from overread.steps.collecting import Collecting
from overread.steps.far import on_this_disk
from overread.steps.fetched import fetch, is_remote, told
from overread.steps.offered import offered_jobs
from overread.steps.published import begun, claim, publish
from overread.steps.said import Said
from overread.steps.written import read_and_write
from overread.store.archive import Archive
from overread.store.crosswalk import Crosswalk
from overread.store.places import storable


def collect(
    *sources: str | os.PathLike,
    into: str | os.PathLike = "archive",
    labels: str | os.PathLike | None = None,
    labels_from_folders: bool = False,
    patient: str | None = None,
    workers: int | None = None,
    cluster: str | None = None,
    progress: bool = True,
) -> Collected:
    """Read every image in some folders, files, zip archives or arrays into an archive that holds no names.

    A file that is known already (same place, size and time, or the same bytes under the same name elsewhere) is not read
    again. A file that cannot be read is listed with its reason and stops nothing. What is stored stays stored, whatever
    happens: run the same command again to go on. Labels of an earlier run stay until a later one says otherwise.

    Parameters
    ----------
    *sources : paths or words
        A word such as ``dicomweb:https://…`` or ``dimse://…`` names images elsewhere: they are fetched first, into
        ``<into>.names/fetched``, and stay there (:mod:`overread.steps.fetched`).
    into : path
        The archive; made when it is not there. The folder ``<into>.names`` beside it holds the identities. Or
        ``s3://BUCKET/FOLDER``: identities then stay on this machine (:mod:`overread.steps.published`).
    labels : path, optional
        A label table (see :func:`overread.formats.labels.read_table`).
    labels_from_folders : bool
        True: the folder a file lies in is its ``class``, and each class is a label of its own.
    patient : str, optional
        Who the patient is: a column of the label table, or a regular expression on the file's path whose first group is
        the patient. DICOM files say it themselves.
    workers : int, optional
        Processes that read; all cores when not given.
    cluster : str, optional
        "auto", "local" or "host:port": read on that Ray cluster instead (:mod:`overread.engine.cluster`, docs/scale.md).
    progress : bool
        Draw a bar on stderr.

    Returns
    -------
    Collected
        What was read, what was there already, what was refused and why; printed, it is the closing summary.

    Raises
    ------
    NothingToDo
        When the sources hold no file, or none that is an image.
    UnreadableFile, LabelError, ArchiveError
        For a source that does not exist, a label table that cannot be used, a place that cannot be written.
    """
    began = time.monotonic()
    if labels is not None and labels_from_folders:
        raise LabelError("a label table and labels from folders", expected="one of the two", do="leave one out")
    if labels_from_folders and any(map(is_remote, sources)):
        raise LabelError("labels from folders, and a source without", expected="a label table", do="give --labels")
    goal = begun(into, hosts=cluster is not None)
    fetched = fetch(sources, goal.folder, show=progress)
    here = [s for s in sources if not is_remote(s)]
    several = cluster is None and workers != 1
    hands = (workers or engine.cores()) if several and are_many([*here, *(f.root for f in fetched)]) else 0
    with engine.forks(functools.partial(read_and_write, goal.objects), hands) as crew:
        jobs = offered_jobs(here, fetched, goal.folder, warm=several and not crew, show=progress)
        roots = [*here, *(f.root for f in fetched)]
        studies = {name: folder for f in fetched for name, folder in f.studies.items()}
        said = Said(roots, jobs, labels=labels, folders=labels_from_folders, patient=patient, studies=studies)
        said.notes += told(fetched, [row.file.strip() for row in said.matched.missing])
        claim(goal)
        with Archive.create(goal.folder, remote=goal.remote) as archive, Crosswalk(archive.shelf()) as book:
            said.key = archive.key
            lost = book.forget_lost(archive.stored, withdrawn=[storable(str(p)) for f in fetched for p in f.withdrawn])
            if lost:
                said.notes.append(
                    f"{lost:,} images that were known are no longer in the archive: their files are read anew"
                )
            run = Collecting(archive, book, said, jobs)
            interrupted = False
            try:
                run.read(crew, workers=workers, cluster=cluster, shared=on_this_disk(roots), show=progress)
            except KeyboardInterrupt:
                interrupted = True
            missed = [m for f in fetched for m in f.missed]
            book.note_elsewhere(
                [(m.name, m.code, m.reason) for m in missed], named=[name for f in fetched for name in f.named]
            )
            studies, duplicates, notes = run.make_studies()
            publish(goal)
            said.notes += goal.told()
            if interrupted:
                print(
                    f"stopped: {run.read_now:,} files are stored; run the same command again to go on", file=sys.stderr
                )
                raise KeyboardInterrupt
            collected = run.summary(studies, duplicates, notes, seconds=time.monotonic() - began)
            elsewhere = [{"file": m.name, "code": m.code, "reason": m.reason} for m in missed]
            collected = replace(collected, refused=(*elsewhere, *collected.refused))
    if not collected.read and not collected.already:
        raise NothingToDo(
            f"{len(collected.refused)} file{'s' * (len(collected.refused) != 1)} and no image among them "
            f"({telling(collected.refused)})",
            expected="at least one image that can be read",
            do="point to the folder, archive or file that holds the images",
        )
    return collected
