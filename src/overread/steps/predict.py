"""Predict: read images through the same door and the same recipe as training, and answer, or say why not."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from overread.domain import Finding, Image, Report, fingerprint
from overread.domain.canonical import plain
from overread.errors import NothingToDo, OverreadError
from overread.formats import door, evidence
from overread.learn import saliency
from overread.learn.predict import Model
from overread.pages import overlay
from overread.steps.progress import bar
from overread.steps.run import write, write_json
from overread.store.objects import content_hash

COLUMNS = ("file", "study", "label", "probability", "decision", "reason", "low", "high", "threshold", "image")


@dataclass(frozen=True)
class Read:
    """One image answered: where it came from, and its findings."""

    file: str
    study: str
    image: str
    findings: tuple[Finding, ...]


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
    """

    run: Path
    out: Path
    reads: tuple[Read, ...]
    refused: tuple[tuple[str, str, str], ...]
    evidence: tuple[str, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """Return all answers for ``--json``."""
        return {
            "run": str(self.run),
            "predictions": [
                {"file": r.file, "study": r.study, "image": r.image, **plain(f)} for r in self.reads for f in r.findings
            ],
            "refused": [{"file": f, "code": c, "reason": why} for f, c, why in self.refused],
            "evidence": list(self.evidence),
        }

    def __str__(self) -> str:
        counts: dict[str, int] = {}
        for r in self.reads:
            for f in r.findings:
                counts[f.decision] = counts.get(f.decision, 0) + 1
        told = ", ".join(f"{n} {what}" for what, n in sorted(counts.items()))
        lines = [f"{len(self.reads)} images read ({told}); {len(self.refused)} refused"]
        lines += [f"  refused {f}: {why}" for f, _, why in self.refused[:10]]
        if len(self.refused) > 10:
            lines.append(f"  … and {len(self.refused) - 10} more in {self.out / 'predictions.csv'}")
        if self.evidence:
            lines.append(f"{len(self.evidence)} DICOM objects (draft SR, Secondary Capture) in {self.out / 'evidence'}")
        lines.append(f"answers: {self.out / 'predictions.csv'}   a second reader's opinion: the doctor decides")
        return "\n".join(lines)


def predict(
    run: object,
    *sources: str | Path,
    out: str | Path,
    dicom: bool = True,
    progress: bool = True,
    now: datetime | None = None,
) -> Predictions:
    """Answer the run's question for every image in the sources.

    Writes ``predictions.csv`` and, for DICOM, a draft Structured Report and a Secondary Capture of the heat-map for
    each study under ``OUT/evidence``. The CSV depends on the input and the run alone: the same bytes today or next
    year, alone or in a batch. A file that cannot be read has a line too, with the decision "refused" and its reason.

    Parameters
    ----------
    run : path, Run or Model
    sources : paths
        Files, folders, zip files, ``.npz``.
    out : path
    dicom : bool
        False: no DICOM objects.
    progress : bool
    now : datetime, optional
        The time that the DICOM objects carry.

    Raises
    ------
    NothingToDo
        When the sources hold no file at all.
    RunError, IntegrityError
        When the run is unfinished or its files are not the trained ones.
    """
    model = run if isinstance(run, Model) else Model.load(getattr(run, "path", run))
    out, now = Path(out), now or datetime.now().astimezone()
    out.mkdir(parents=True, exist_ok=True)
    reads, refused, written = [], [], []
    studies: dict[str, list[tuple[door.Found, Read, Image]]] = {}
    with bar(total=None, what="predict", unit="image", show=progress) as line:
        for found in _found(sources, refused):
            try:
                read = answer(model, found)
            except OverreadError as error:
                refused.append((found.origin.files[0], getattr(error, "code", "refused"), str(error)))
                continue
            reads.append(read)
            line.update(1)
            if dicom and found.origin.study_uid and _on_disk(found):
                studies.setdefault(read.study, []).append((found, read, found.image))
                # a study's images come together; what is complete is written and let go
                for name in [n for n in studies if n != read.study]:
                    written += _file_evidence(model, studies.pop(name), out, now)
        for some in studies.values():
            written += _file_evidence(model, some, out, now)
    if not reads and not refused:
        raise NothingToDo("no files", expected="images in the sources", do="name a folder or files that hold some")
    result = Predictions(
        model.run,
        out,
        tuple(sorted(reads, key=lambda r: (r.file, r.image))),
        tuple(sorted(refused)),
        tuple(sorted(written)),
    )
    write(out / "predictions.csv", _sheet(result))
    write_json(out / "predictions.json", result.to_json())
    return result


def answer(model: Model, found: door.Found) -> Read:
    """Return the findings for one image that came through the door."""
    image = found.image
    name = content_hash(image)
    origin = found.origin
    # a joining key for rows of one study, not a protection: this file stays where the images are
    study = "S" + fingerprint([model.card.hashes, origin.study_uid or origin.digest])[:12]
    return Read(origin.files[0], study, name, model.findings(image, hash=name))


def report_of(model: Model, reads: Sequence[Read]) -> Report:
    """Return the draft report on one study: for each label the finding of its highest-scoring image."""
    best = [max((r.findings[k] for r in reads), key=_weight) for k in range(len(model.task.labels))]
    return Report(reads[0].study, model.card.fingerprint, tuple(r.image for r in reads), tuple(best))


def _weight(finding: Finding) -> tuple[int, float]:
    """What one view shows, another does not take back: present before refer, and a doubt before absent."""
    return (("absent", "refer", "present").index(finding.decision), finding.probability)


def _found(sources: Sequence[str | Path], refused: list[tuple[str, str, str]]) -> Iterator[door.Found]:
    for item in door.scan(*sources):
        if isinstance(item, door.Refused):
            refused.append((item.file, item.code, item.reason))
        else:
            yield item


def _on_disk(found: door.Found) -> bool:
    return all("!" not in f and Path(f).is_file() for f in found.origin.files)


def _file_evidence(model: Model, some: list, out: Path, now: datetime) -> list[str]:
    """Write the draft SR of one study and a Secondary Capture of the heat-map for its leading image."""
    home = out / "evidence"
    home.mkdir(exist_ok=True)
    reads = [read for _, read, _ in some]
    report = report_of(model, reads)
    files = [Path(f) for found, _, _ in some for f in found.origin.files]
    sr = evidence.draft_sr(files, report, model.card, now=now)
    names = [f"{report.study}-draft-sr.dcm"]
    evidence.save(sr, home / names[0])
    lead = max(report.findings, key=_weight)
    found, _, image = next(s for s in some if s[1].image == lead.image)
    heat = saliency.grad_cam(model, image, lead.label)
    picture = overlay.overlay_rgb(image, heat)
    sc = evidence.secondary_capture(Path(found.origin.files[0]), picture, label=lead.label, card=model.card, now=now)
    names.append(f"{report.study}-heat-map-sc.dcm")
    evidence.save(sc, home / names[1])
    return names


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
                    f"{f.threshold:.6f}",
                    r.image[:16],
                ]
            )
    for file, code, reason in result.refused:
        sheet.writerow([file, "", "", "", "refused", f"{code}: {reason}", "", "", "", ""])
    return out.getvalue()
