"""A run on disk: its files by name, written whole or not at all."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from overread.domain.canonical import plain
from overread.errors import ArchiveError, IntegrityError, RunError, SourceError
from overread.learn.predict import NEEDED, sha256
from overread.learn.unfinished import unfinished
from overread.steps.far import is_far
from overread.steps.opened import at_hand
from overread.store.journal import Journal
from overread.store.objects import write_atomically

READS = "testing-reads.jsonl"
"""The journal of reads; it also holds what the manifest said when testing was first read (`steps.reads`)."""

LATER = ("heatmaps.json", "floor.npz", "label_errors.json")
"""Files that are written, and sealed, after training; one that lies there without a seal is not read."""

_SEALED = (*NEEDED, "gate.npz", "gradient.onnx", "heatmaps.json", "neighbours.npz", "split.json", "history.json")
_SEALED += ("weights.keras", "scores.csv", "scores.simple-cnn.csv", "leakage.json", "shortcuts.json", "probes.json")
_SEALED += (
    "corruptions.json",
    "exchangeability.json",
    "seen.npz",
    "search.json",
    "distil.json",
    "folds.npz",
    "folds.json",
)

LEFT_OUT = "left_out"
"""In the manifest of a copy that only answers (`steps.export`): what stayed with the run it was made from."""


@dataclass(frozen=True)
class Run:
    """A finished training: a folder that predicts, explains and reports.

    Parameters
    ----------
    path : Path
    metrics : mapping
        What stands in ``metrics.json``.
    summary : str
        The closing lines.
    """

    path: Path
    metrics: Mapping[str, Any]
    summary: str = ""

    @property
    def report(self) -> Path:
        """The page to open."""
        return self.path / "report.html"

    def to_json(self) -> dict[str, Any]:
        """Return the run for ``--json``."""
        return {"run": str(self.path), "report": str(self.report), "metrics": plain(self.metrics)}

    def __str__(self) -> str:
        return self.summary


def write(path: Path, content: str | bytes) -> None:
    """Write a file whole or not at all."""
    write_atomically(path, content.encode() if isinstance(content, str) else content)


def write_json(path: Path, value: Any) -> None:
    """Write a value as readable JSON, whole or not at all."""
    write(path, as_json(value))


def as_json(value: Any) -> str:
    """Return a value as the readable JSON that a run keeps."""
    return json.dumps(plain(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def read_json(path: Path) -> Any:
    """Read a JSON file of a run; refuse a damaged one in one line."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        refuse_unfinished(path.parent)
        raise RunError(
            f"{path.parent} has no {path.name}", expected="a finished run", do="train one with `overread train`"
        ) from None
    except ValueError:
        raise RunError(
            f"{path.name} is damaged", expected="a JSON file as `overread train` wrote it", do="train again"
        ) from None


def refuse_unfinished(run: Path) -> None:
    """Refuse a folder in which a training was begun and not ended.

    Raises
    ------
    RunError
    """
    if (run / "unfinished").is_file():
        raise unfinished(run) from None


def archive_of(run: Path, plan: Mapping[str, Any]) -> Path | None:
    """Return where the training archive is, or None where it is not: a run may be carried away from it."""
    named = plan.get("archive")
    if is_far(named):
        return _in_bucket(named)
    places = (run / named, Path(named)) if named else ()
    return next((place for place in places if (place / "archive.sqlite").is_file()), None)


def _in_bucket(address: str) -> Path | None:
    """Return the books of an archive in a bucket; None where nobody here can read it, as of one that is on another machine."""
    try:
        return at_hand(address)
    except (SourceError, ArchiveError):
        return None


def write_scores(
    path: Path,
    rows: Iterable[tuple[str, str, str, str | None]],
    truth: np.ndarray,
    logits: np.ndarray,
    *,
    labels: Sequence[str],
    unlike: Sequence[str] | None = None,
) -> None:
    """Write raw scores beside what is known, one image a line.

    Parameters
    ----------
    path : Path
    rows : iterable of (cohort, image, study, patient)
    truth, logits : ndarray, (n, outputs)
        truth is 1, 0 or NaN (unknown, written as an empty field).
    labels : sequence of str
    unlike : sequence of str, optional
        Why an image is referred unanswered, "" where it is not.
    """
    out = io.StringIO()
    sheet = csv.writer(out, lineterminator="\n")
    head = ["cohort", "image", "study", "patient", *(["unlike"] if unlike is not None else [])]
    sheet.writerow([*head, *(f"truth:{n}" for n in labels), *(f"logit:{n}" for n in labels)])
    for i, (row, t, z) in enumerate(zip(rows, truth, logits, strict=True)):
        known = ["" if np.isnan(v) else int(v) for v in t]
        why = [unlike[i]] if unlike is not None else []
        sheet.writerow([*("" if v is None else v for v in row), *why, *known, *(f"{v:.6f}" for v in z)])
    write(path, out.getvalue())


def seal(run: Path, *, card: str = "") -> dict[str, str]:
    """Record the SHA-256 of every file that a prediction, a figure or a repetition depends on; return the record.

    Parameters
    ----------
    run : Path
    card : str
        Fingerprint of the model card, which may gain figures later but never change what the model is.
    """
    files = {name: sha256(run / name) for name in _deciding(run)}
    write_json(run / "manifest.json", {"files": files, "card": card})
    return files


def seal_later(run: Path, name: str, content: str | bytes) -> None:
    """Write a file that is made after training, and its SHA-256 into the manifest.

    At no moment does the manifest name a file that is not the one beside it.
    """
    data = content.encode() if isinstance(content, str) else content
    manifest, digest = read_json(run / "manifest.json"), hashlib.sha256(data).hexdigest()
    if manifest["files"].get(name) == digest and (run / name).is_file() and sha256(run / name) == digest:
        return
    files = {k: v for k, v in manifest["files"].items() if k != name}
    record_seal(run, name, digest)
    if name in manifest["files"]:
        write_json(run / "manifest.json", {**manifest, "files": files})
    write(run / name, data)
    write_json(run / "manifest.json", {**manifest, "files": {**files, name: digest}})


def is_sealed(run: Path, name: str) -> bool:
    """Say whether a run's manifest knows of a file."""
    return (run / "manifest.json").is_file() and name in read_json(run / "manifest.json")["files"]


def record_seal(run: Path, name: str, digest: str) -> None:
    """Write into the journal of reads what a file that is made after training will be, before it is sealed.

    A run that was never read has no journal yet: the first read records the whole manifest.
    """
    journal = Journal(run / READS)
    if _recorded(journal):
        journal.append("sealed", {"files": {name: digest}}, now=datetime.now().astimezone())


def record_manifest(run: Path, *, now: datetime) -> None:
    """Write the whole manifest into the journal of reads, once, so that a new one beside changed files is found out."""
    journal = Journal(run / READS)
    if not _recorded(journal) and (run / "manifest.json").is_file():
        manifest = read_json(run / "manifest.json")
        journal.append("sealed", {"files": manifest["files"], "card": manifest["card"]}, now=now)


def refuse_unsealed(run: Path) -> None:
    """Refuse a run in which a file that would decide a figure was laid beside the sealed ones, or sealed anew.

    The journal of reads is asked what was sealed, so its chain is followed first.

    Raises
    ------
    IntegrityError
    """
    journal = Journal(run / READS)
    if journal.begun:
        journal.verify()
    strange = [name for name in _deciding(run) if name not in LATER and not is_sealed(run, name)]
    if strange:
        raise IntegrityError(
            f"{', '.join(strange)} {'lies' if len(strange) == 1 else 'lie'} in the run without a seal",
            expected="only files that the run's manifest records",
            do="take it out, or restore the run from a copy you trust",
        )
    _refuse_resealed(run)


def _recorded(journal: Journal) -> list[dict[str, Any]]:
    """Return what the journal says was sealed; empty where the whole manifest is not among it."""
    records = [entry["record"] for entry in journal.records() if entry["kind"] == "sealed"]
    return records if any("card" in record for record in records) else []


def _refuse_resealed(run: Path) -> None:
    """Refuse a manifest that names other files than those of the training, by the card and by the journal of reads.

    Whoever changes a file can also write its new hash into the manifest. The card holds the hash, too, and the first
    read of testing wrote the manifest into the journal.

    Raises
    ------
    IntegrityError
    """
    manifest = read_json(run / "manifest.json")
    files, records = manifest["files"], _recorded(Journal(run / READS))
    left = manifest.get(LEFT_OUT, ())
    known: dict[str, set[str]] = {}
    for record in records:
        for name, digest in record["files"].items():
            known.setdefault(name, set()).add(digest)
    trained = {k: v for k, v in read_json(run / "card.json").get("hashes", {}).items() if k in _SEALED or k in files}
    wrong = [n for n, v in trained.items() if n not in LATER and files.get(n) != v and n not in left]
    wrong += [n for n, v in files.items() if records and v not in known.get(n, ())]
    wrong += [n for n in known if n not in files and n not in LATER]
    wrong += ["card.json" for record in records if record.get("card", manifest["card"]) != manifest["card"]]
    if wrong:
        names = sorted(set(wrong))
        raise IntegrityError(
            f"{', '.join(names)} {'was' if len(names) == 1 else 'were'} sealed anew: the manifest has another hash than the "
            "card, or the journal of reads, recorded when the run was made",
            expected="the files that were trained",
            do="restore the run from a copy you trust, and find out who changed it",
        )


def _deciding(run: Path) -> list[str]:
    """Return which files of a run, of those that are there, decide an answer or a figure."""
    names = (*_SEALED, *sorted(path.name for path in run.glob("scores.seed-*.csv")))
    return [name for name in dict.fromkeys((*names, *LATER)) if (run / name).exists()]


def code_fingerprint() -> str:
    """Return the SHA-256 over this package's own source files, in the order of their names."""
    root = Path(__file__).resolve().parents[1]
    total = hashlib.sha256()
    for source in sorted(root.rglob("*.py")):
        total.update(str(source.relative_to(root)).encode() + b"\0" + source.read_bytes())
    return total.hexdigest()


def lock_fingerprint() -> str | None:
    """Return the SHA-256 of the lock file beside a checkout; None for an installed package, which has none."""
    lock = Path(__file__).resolve().parents[3] / "requirements.lock"
    return sha256(lock) if lock.is_file() else None


def environment() -> dict[str, str]:
    """Return the versions of the packages that decide what a number comes out as."""
    names = (
        "numpy",
        "scipy",
        "scikit-learn",
        "pillow",
        "pydicom",
        "nibabel",
        "onnxruntime",
        "keras",
        "onnx",
        "tf2onnx",
        "tensorflow",
        "tensorflow-cpu",
    )
    have = {}
    for name in names:
        try:
            have[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return have
