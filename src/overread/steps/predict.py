"""Predict: read images through the same door and the same recipe as training, and answer, or say why not."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from itertools import tee
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from overread.domain import Image, fingerprint
from overread.domain.canonical import plain
from overread.errors import NothingToDo, OverreadError, UnreadableFile
from overread.formats import door
from overread.learn.gate import Rows
from overread.learn.predict import Model
from overread.learn.saliency import DEFAULT, failing
from overread.steps.draft import Read, in_words, on_disk, pieces, read_image, report_of, together, weight
from overread.steps.far import far_of, far_of_job, on_this_disk
from overread.steps.progress import bar
from overread.steps.reads import opened
from overread.steps.run import write, write_json
from overread.store.objects import content_hash

COLUMNS = ("file", "study", "label", "probability", "decision", "reason", "low", "high", "threshold", "image")

MOST_COMPARED = 5000
"""Studies of a batch that are compared with the calibration cohort: more would show no more, and take memory."""

_CHUNK = 32  # files that travel together to a host of a cluster, at most


@dataclass(frozen=True)
class Predictions:
    """What came out: an answer for each image and label, and every file that was refused with its reason.

    Parameters
    ----------
    run : Path
    out : Path
    reads : tuple of Read
    refused : tuple of (file, code, reason)
    evidence : tuple of str
        DICOM objects written, by file name.
    notes : tuple of (file, code, reason)
        Images that were answered, but for which DICOM objects could not be written: the first file of each study; and
        what is to be told of the run itself.
    several : bool
        True for a question with many answers: the most probable one decides, at no threshold.
    batch : mapping or None
        Whether the images come as those of the calibration cohort did (`overread.stats.exchangeability.compared`); None
        for fewer than 30 studies, or where the run does not know.
    """

    run: Path
    out: Path
    reads: tuple[Read, ...]
    refused: tuple[tuple[str, str, str], ...]
    evidence: tuple[str, ...] = field(default=())
    notes: tuple[tuple[str, str, str], ...] = field(default=())
    several: bool = False
    batch: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return all answers for ``--json``."""
        return {
            "run": str(self.run),
            "predictions": [
                {"file": r.file, "study": r.study, "image": r.image, **plain(f)}
                | ({"threshold": None} if self.several else {})
                | ({"rests_on": [plain(p) for p in r.parts]} if r.parts else {})
                for r in self.reads
                for f in r.findings
            ],
            "refused": [{"file": f, "code": c, "reason": why} for f, c, why in self.refused],
            "evidence": list(self.evidence),
            "notes": [{"file": f, "code": c, "reason": why} for f, c, why in self.notes],
            "batch": plain(self.batch),
        }

    @property
    def came_to_nothing(self) -> bool:
        """True when no image could be read; each file and its reason stand in the table nevertheless."""
        return not self.reads

    def __str__(self) -> str:
        counts: dict[str, int] = {}
        for r in self.reads:
            for f in r.findings:
                counts[f.decision] = counts.get(f.decision, 0) + 1
        told = ", ".join(f"{n} {what}" for what, n in sorted(counts.items()))
        parts = sum(len(r.parts) for r in self.reads)
        what = f"{len(self.reads)} studies answered from {parts} images" if parts else f"{len(self.reads)} images read"
        read = f"{what} ({told})" if self.reads else "no image could be read"
        lines = [f"{read}; {len(self.refused)} refused"]
        out = [(p.file, p.left_out) for r in self.reads for p in r.parts if p.left_out]
        lines += [f"  left out {f}: {why}" for f, why in out[:10]]
        lines += [f"  refused {f}: {why}" for f, _, why in self.refused[:10]]
        if len(self.refused) > 10:
            lines.append(f"  … and {len(self.refused) - 10} more in {self.out / 'predictions.csv'}")
        if self.evidence:
            lines.append(f"{len(self.evidence)} DICOM objects (draft SR, Secondary Capture) in {self.out / 'evidence'}")
        for file, code, why in self.notes[:10]:
            told = {"no-heat-map": f"  {why}", "edited-figures": f"! {why}"}
            lines.append(told.get(code, f"  answered, but no DICOM object for {file}: {why}"))
        if len(self.notes) > 10:
            lines.append(f"  … and {len(self.notes) - 10} more in {self.out / 'predictions.json'}")
        if self.batch and self.batch["alarm"]:
            lines.append(f"! {self.batch['in_words']}")
        lines.append(f"answers: {self.out / 'predictions.csv'}   a second reader's opinion: the doctor decides")
        return "\n".join(lines)


def predict(
    run: object,
    *sources: str | Path,
    out: str | Path,
    dicom: bool = True,
    cluster: str | None = None,
    progress: bool = True,
    now: datetime | None = None,
) -> Predictions:
    """Answer the run's question for every image in the sources.

    Writes ``predictions.csv`` and, for DICOM, a draft Structured Report and a Secondary Capture of the heat-map for
    each study (of one patient) under ``OUT/evidence``. The answers are written first: a study whose DICOM objects cannot
    be made has a note in ``predictions.json``, and takes no other answer with it. The CSV depends on the input and the run alone: the same bytes today or next
    year, alone or in a batch. Of 30 studies or more the summary and ``predictions.json`` say where they do not come as the
    calibration cohort's did. A file that cannot be read has a line too, with the decision "refused" and its reason.

    Parameters
    ----------
    run : path, Run or Model
    sources : paths
        Files, folders, zip files, ``.npz``.
    out : path
    dicom : bool
        False: no DICOM objects.
    cluster : str, optional
        "auto", "local" or "host:port": read and answer on that Ray cluster (docs/scale.md); the same bytes.
    progress : bool
    now : datetime, optional
        The time that the DICOM objects carry.

    Raises
    ------
    NothingToDo
        When the sources hold no file at all.
    RunError, IntegrityError
        When the run is unfinished or its files are not the trained ones, by its manifest, its card and its journal
        (`steps.reads.opened`); a loaded Model is taken as it is.
    """
    model, edits = (run, []) if isinstance(run, Model) else opened(Path(getattr(run, "path", run)))
    out, now = Path(out), now or datetime.now().astimezone()
    out.mkdir(parents=True, exist_ok=True)
    reads: list[Read] = []
    refused: list[tuple[str, str, str]] = []
    batch: dict[str, tuple[str, Rows]] = {}
    studies: dict[str, list[tuple[door.Origin, Read]]] = {}  # not their voxels: the files of studies come in any order
    with bar(total=None, what="predict", unit="image", show=progress) as line:
        for one in _answered(model, sources, cluster):
            if isinstance(one, door.Refused):
                refused.append((one.file, one.code, one.reason))
                continue
            reads.append(one.read)
            _remember(batch, one.read, one.seen)
            line.update(1)
            if one.dicom:
                studies.setdefault(one.read.study, []).append((one.origin, one.read))
    if model.joining is not None:
        reads = joined(model, reads)
    if not reads and not refused:
        raise NothingToDo("no files", expected="images in the sources", do="name a folder or files that hold some")
    result = Predictions(
        model.run,
        out,
        tuple(sorted(reads, key=lambda r: (r.file, r.image))),
        tuple(sorted(refused)),
        notes=tuple((model.run.name, "edited-figures", why) for why in edits),
        several=model.task.kind in ("multiclass", "ordinal"),
        batch=model.gate.compared([seen for _, seen in batch.values()], of="studies")
        if model.gate is not None
        else None,
    )
    write(out / "predictions.csv", _sheet(result))  # the answers first: what follows may fail for one study or another
    write_json(out / "predictions.json", result.to_json())
    if dicom and studies:
        made = _with_evidence(model, result, studies, now, progress)
        result = replace(made, notes=(*result.notes, *made.notes))
        write_json(out / "predictions.json", result.to_json())
    return result


def answer(model: Model, found: door.Found) -> tuple[Read, Rows]:
    """Return the findings for one image that came through the door, and the image as the gate sees it."""
    image = found.image
    name = content_hash(image)
    origin = found.origin
    # a joining key for rows of one study, not a protection: this file stays where the images are
    own = [origin.patient_id, origin.study_uid] if origin.study_uid else origin.digest
    if model.joining is not None and model.joining.unit == "patient" and origin.patient_id:
        own = [origin.patient_id]
    study = "S" + fingerprint([model.card.hashes, own])[:12]
    return read_image(model, image, file=origin.files[0], study=study, name=name)


def joined(model: Model, reads: Sequence[Read]) -> list[Read]:
    """Return one answer for each study, or patient, from what each of its images adds to it."""
    studies: dict[str, list[Read]] = {}
    for read in sorted(reads, key=lambda r: (r.file, r.image)):
        studies.setdefault(read.study, []).append(read)
    return [together(model, some) for some in studies.values()]


def _remember(batch: dict[str, tuple[str, Rows]], read: Read, seen: Rows) -> None:
    """Keep one image of each study to compare the batch by: that with the lowest content hash, as good as drawn."""
    first = batch.get(read.study)
    if seen and (read.image < first[0] if first else len(batch) < MOST_COMPARED):
        batch[read.study] = (read.image, {kind: np.asarray(row, np.float32) for kind, row in seen.items()})


class Answered(NamedTuple):
    """One image answered: where it came from, the findings, how the gate sees it, and whether it is a DICOM image."""

    origin: door.Origin
    read: Read
    seen: Rows
    dicom: bool


def answer_job(model: Model, job: door.Job) -> list[Answered | door.Refused]:
    """Read one job and answer each of its images; on a cluster in a worker process, so that pixels need not travel."""
    done: list[Answered | door.Refused] = []
    for found in door.read_job(job, far_of_job(job)):
        if isinstance(found, door.Refused):
            done.append(found)
            continue
        try:
            read, seen = answer(model, found)
        except OverreadError as error:
            done.append(door.Refused(found.origin.files[0], getattr(error, "code", "refused"), str(error)))
        else:
            done.append(Answered(found.origin, read, seen, found.image.attributes.get("format") == "DICOM"))
    return done


def _answered(model: Model, sources: Sequence[str | Path], cluster: str | None) -> Iterator[Answered | door.Refused]:
    """Yield an answer or a refusal for each image, in the order of the sources."""
    jobs, one = door.candidates(sources, far=far_of(sources)), partial(answer_job, model)
    if cluster is None:
        for job in jobs:
            yield from one(job)
        return
    from overread import engine  # a single picture needs none, and is to be answered at once

    again, jobs = tee(jobs)
    shared = (*on_this_disk(sources), model.run)
    for job, answers in zip(again, engine.map(one, jobs, cluster=cluster, shared=shared, chunk=_CHUNK), strict=True):
        if isinstance(answers, engine.Failure):
            yield from (door.Refused(part.name, "reader-died", answers.reason) for part in job.parts)
        else:
            yield from answers


def _with_evidence(
    model: Model,
    result: Predictions,
    studies: Mapping[str, list[tuple[door.Origin, Read]]],
    now: datetime,
    progress: bool,
) -> Predictions:
    """Write each study's draft SR and the heat-map of its leading finding; a study that fails leaves a note."""
    home = result.out / "evidence"
    home.mkdir(exist_ok=True)
    written: list[str] = []
    notes: set[tuple[str, str, str]] = set()
    for some in bar(studies.values(), total=len(studies), what="evidence", unit="study", show=progress):
        contents: dict[str, bytes] = {}
        try:
            contents, failed = _study_evidence(model, some, now)
        except OSError:
            failed = {"a file that can no longer be read; check the disk"}
        except Exception as error:  # a header can be odd in more ways than we know; the answers stand
            failed = {in_words(error)}
        notes |= {(some[0][0].files[0], "no-evidence", why) for why in failed}
        for name, content in contents.items():
            write(home / name, content)
            written.append(name)
    left_out = failing(model.heat_maps)
    if left_out and written:
        why = f"no heat-map is filed: this model's {DEFAULT} {left_out} (overread explain --test)"
        notes.add((model.run.name, "no-heat-map", why))
    return replace(result, evidence=tuple(sorted(written)), notes=tuple(sorted(notes)))


def _study_evidence(
    model: Model, some: Sequence[tuple[door.Origin, Read]], now: datetime
) -> tuple[dict[str, bytes], set[str]]:
    """Return one study's DICOM objects by file name, and why others could not be made."""
    origins = [origin for origin, _ in some]
    if not on_disk(origins):
        raise UnreadableFile(
            "a DICOM image inside an archive, or without a Study Instance UID",
            code="no-evidence",
            expected="DICOM files of their own, to which a report can refer",
            do="unpack it, or export it again",
        )
    if model.joining is not None:  # the report refers to the images that the answer rests on
        counts = {part.image for part in together(model, [read for _, read in some]).counts}
        some = [(origin, read) for origin, read in some if read.image in counts]
        origins = [origin for origin, _ in some]
    report = report_of(model, [read for _, read in some])
    lead = max(report.findings, key=weight)

    def again(name: str) -> Image:
        """The leading image, read a second time."""
        for item in door.scan(*origins[report.images.index(name)].files):
            if isinstance(item, door.Found) and content_hash(item.image) == name:
                return item.image
        raise UnreadableFile("a file that changed while it was read", code="unreadable", do="offer it again")

    names = {"report": f"{report.study}-draft-sr.dcm", "capture": f"{report.study}-heat-map-sc.dcm"}
    contents, failed = {}, set()
    for piece in pieces(model, report, origins, again, now=now, kinds=tuple(names), labels=(lead.label,)):
        if piece.error is None:
            contents[names[piece.kind]] = piece.content
        else:
            failed.add(in_words(piece.error))
    return contents, failed


def _sheet(result: Predictions) -> str:
    out = io.StringIO()
    sheet = csv.writer(out, lineterminator="\n")
    sheet.writerow(COLUMNS)
    for r in result.reads:
        for f in r.findings:
            sheet.writerow(
                [
                    r.file,
                    r.study,
                    f.label,
                    f"{f.probability:.6f}",
                    f.decision,
                    f.reason,
                    f"{f.low:.6f}",
                    f"{f.high:.6f}",
                    "" if result.several else f"{f.threshold:.6f}",
                    r.image[:16],
                ]
            )
    for file, code, reason in result.refused:
        sheet.writerow([file, "", "", "", "refused", f"{code}: {reason}", "", "", "", ""])
    return out.getvalue()
