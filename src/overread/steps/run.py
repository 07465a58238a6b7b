"""A run on disk: its files by name, written whole or not at all."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from overread.domain.canonical import plain
from overread.errors import IntegrityError, RunError
from overread.learn.predict import NEEDED, sha256

LATER = ("heatmaps.json", "floor.npz", "label_errors.json")
"""Files that are written, and sealed, after training; one that lies there without a seal is not read."""

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
    data = content.encode() if isinstance(content, str) else content
    part = path.with_name(path.name + ".part")
    try:
        with open(part, "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)  # on a full disk the half file would keep the disk full
        raise


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
        raise RunError(
            f"{path.parent} has no {path.name}", expected="a finished run", do="train one with `overread train`"
        ) from None
    except ValueError:
        raise RunError(
            f"{path.name} is damaged", expected="a JSON file as `overread train` wrote it", do="train again"
        ) from None


def archive_of(run: Path, plan: Mapping[str, Any]) -> Path | None:
    """Return where the training archive is, or None where it is not: a run may be carried away from it."""
    named = plan.get("archive")
    places = (run / named, Path(named)) if named else ()
    return next((place for place in places if (place / "archive.sqlite").is_file()), None)


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
    if name in manifest["files"]:
        write_json(run / "manifest.json", {**manifest, "files": files})
    write(run / name, data)
    write_json(run / "manifest.json", {**manifest, "files": {**files, name: digest}})


def is_sealed(run: Path, name: str) -> bool:
    """Say whether a run's manifest knows of a file."""
    return (run / "manifest.json").is_file() and name in read_json(run / "manifest.json")["files"]


def refuse_unsealed(run: Path) -> None:
    """Refuse a run in which a file that would decide a figure was laid beside the sealed ones.

    Raises
    ------
    IntegrityError
    """
    strange = [name for name in _deciding(run) if name not in LATER and not is_sealed(run, name)]
    if strange:
        raise IntegrityError(
            f"{', '.join(strange)} {'lies' if len(strange) == 1 else 'lie'} in the run without a seal",
            expected="only files that the run's manifest records",
            do="take it out, or restore the run from a copy you trust",
        )


def _deciding(run: Path) -> list[str]:
    """Return which files of a run, of those that are there, decide an answer or a figure."""
    names = (*NEEDED, "gate.npz", "gradient.onnx", "heatmaps.json", "neighbours.npz", "split.json", "history.json")
    names += ("weights.keras", "scores.csv", "scores.simple-cnn.csv", "leakage.json", "shortcuts.json", "probes.json")
    names += ("corruptions.json", "exchangeability.json", "seen.npz")
    names += tuple(sorted(path.name for path in run.glob("scores.seed-*.csv")))
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
