"""A complete study becomes a draft report: one loop that can be killed anywhere and started again.

Everything a study needs is written beside the old report first; the report itself is replaced last and at once.
A study the machine fails on is not dropped: its report refers every question to the doctor, with the reason.
"""

from __future__ import annotations

import io
import math
import shutil
import sys
import threading
import traceback
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from overread.domain import Finding, Image, ModelCard, Report, canonical_json
from overread.errors import OverreadError
from overread.formats import evidence
from overread.formats.found import Origin, Refused
from overread.learn import saliency
from overread.learn.predict import Model
from overread.pages import overlay
from overread.serve.inbox import Draft, Entry, Inbox
from overread.steps.predict import Read, report_of
from overread.store.objects import content_hash, write_atomically


class Worker(threading.Thread):
    """The loop, in a thread of its own, with what it is doing for all to see.

    Parameters
    ----------
    inbox : Inbox
    model : Machine
    now : callable
        Gives the time.
    pause : float
        Seconds between two looks at the inbox.
    """

    def __init__(self, inbox: Inbox, model: Model, *, now: Callable[[], datetime], pause: float = 1.0) -> None:
        super().__init__(name="overread-worker", daemon=True)
        self.inbox, self.model, self.now, self.pause = inbox, model, now, pause
        self.last_look: datetime | None = None
        self.trouble = ""
        self._stop_asked = threading.Event()

    def run(self) -> None:
        """Look, draft, wait; whatever goes wrong is shown on the worklist and tried again."""
        while not self._stop_asked.is_set():
            try:
                self.once()
            except Exception as error:  # the loop must outlive a full disk; the reason is shown, not swallowed
                tell_log(error)
                self.trouble = in_words(error)
            self._stop_asked.wait(self.pause if not self.trouble else max(self.pause, 10.0))

    def once(self) -> int:
        """One look at the inbox, and a draft for every study that needs one; the number drafted."""
        self.inbox.take(now=self.now())
        self.last_look = self.now()
        done, trouble = 0, ""
        for entry in self.inbox.entries():
            if self._stop_asked.is_set():
                break
            try:
                if needs_draft(self.inbox, entry, self.model.card):
                    make_draft(self.inbox, entry, self.model, now=self.now())
                    done += 1
            except Exception as error:  # the other studies must not wait for this one; it is tried again
                tell_log(error)
                trouble = in_words(error)
        self.trouble = trouble
        return done

    def stop(self) -> None:
        """Ask the loop to end after the study it is at."""
        self._stop_asked.set()


def needs_draft(inbox: Inbox, entry: Entry, card: ModelCard) -> bool:
    """True when a study has no report, has changed since, or was read by another model and is not signed."""
    try:
        draft = inbox.draft(entry.study)
    except OverreadError:  # a damaged report is made anew
        return True
    if draft is None or draft.content != entry.content:
        return True
    signed = any(inbox.home(entry.study).glob("signed-*.json"))
    return draft.report.card != card.fingerprint and not signed


def make_draft(inbox: Inbox, entry: Entry, model: Model, *, now: datetime) -> Draft:
    """Read a study, ask the model, and leave a draft report with its evidence.

    Raises
    ------
    OSError
        If the shelf cannot be written; the study then keeps its old report or none, and is tried again.
    """
    home = inbox.home(entry.study)
    images: list[Image] = []
    origins: list[Origin] = []
    notes: list[str] = []
    try:
        for item in inbox.images(entry):
            if isinstance(item, Refused):
                notes.append(f"A file of this delivery was not read: {item.reason}.")
            else:
                images.append(item.image)
                origins.append(item.origin)
        if not images:
            raise OverreadError(
                "no image of this study could be read", expected="its files as they came", do="send it again"
            )
        shown = keep_images(home, entry, images)
        hashes = [content_hash(image) for image in images]
        report = ask(model, entry.study, images, hashes)
    except OSError:
        raise
    except Exception as error:  # any failure of the machine is an answer: the doctor decides, and sees why
        tell_log(error)
        shown = keep_images(home, entry, images)
        hashes = [content_hash(image) for image in images]
        report = refer_all(model, entry.study, hashes, in_words(error))
    draft = Draft(
        report, entry.content, now.isoformat(), f"{model.card.name} {model.card.version}", shown, notes=tuple(notes)
    )
    draft = add_evidence(inbox, draft, model, images, origins, now=now)
    inbox.journal.append(
        "report",
        {"study": entry.study, "report": report.fingerprint, "card": report.card, "images": list(report.images)},
        now=now,
    )
    inbox.keep(draft)
    return draft


def ask(model: Model, study: str, images: list[Image], hashes: list[str]) -> Report:
    """The model's report on a study, put together as ``overread predict`` does it."""
    reads = [
        Read("", study, name, model.findings(image, hash=name)) for image, name in zip(images, hashes, strict=True)
    ]
    return report_of(model, reads)


def refer_all(model: Model, study: str, hashes: list[str], why: str) -> Report:
    """A report that leaves every question to the doctor, because the machine failed."""
    nan = float("nan")
    reason = f"the machine could not read this study: {why}"
    findings = tuple(Finding(label, nan, nan, nan, nan, "refer", reason) for label in model.task.labels)
    return Report(study, model.card.fingerprint, tuple(hashes), findings)


def keep_images(home: Path, entry: Entry, images: Iterable[Image]) -> str:
    """Write the pixels as the reading page will show them, and give the name of their folder below ``home``."""
    name = f"images-{entry.content[:12]}"
    if (home / name / "images.json").exists():  # written last, so all of it is there
        return name
    folder = home / name
    folder.mkdir(exist_ok=True)
    facts = []
    for k, image in enumerate(images):
        voxels = displayable(image.voxels)
        with (folder / f"{k}.npy").open("wb") as file:
            np.save(file, voxels, allow_pickle=False)
        low, high = first_window(image)
        facts.append(
            {
                "slices": voxels.shape[0],
                "rows": voxels.shape[1],
                "columns": voxels.shape[2],
                "channels": image.channels,
                "dtype": voxels.dtype.str,
                "unit": image.unit,
                "modality": image.modality,
                "spacing_mm": image.spacing_mm,
                "low": low,
                "high": high,
                "letters": letters(image),
                "view": view(image),
                "notes": image.notes,
            }
        )
    write_atomically(folder / "images.json", canonical_json(facts).encode())
    return name


def displayable(voxels: np.ndarray) -> np.ndarray:
    """Voxels as the browser can take them: 8- or 16-bit whole numbers where that loses nothing, else float32."""
    if voxels.dtype == bool:
        return voxels.astype("|u1")
    for kind in ("|u1", "<i2", "<u2"):
        info = np.iinfo(kind)
        if voxels.dtype.kind in "iu" and voxels.min() >= info.min and voxels.max() <= info.max:
            return np.ascontiguousarray(voxels, dtype=kind)
    return np.ascontiguousarray(voxels, dtype="<f4")


def first_window(image: Image) -> tuple[float, float]:
    """Darkest and brightest value to show at first: as the file says, else soft tissue in HU, else the middle 99 %."""
    try:  # what the file names; several windows are separated by a backslash, and the first is shown first
        center, width = (float(image.attributes[k].split("\\")[0]) for k in ("WindowCenter", "WindowWidth"))
    except (KeyError, ValueError):
        width = 0.0
    if width > 0:
        return center - width / 2, center + width / 2
    if image.unit == "HU":
        return -160.0, 240.0
    if image.channels > 1 and image.voxels.dtype == np.uint8:
        return 0.0, 255.0
    step = max(1, image.voxels.size // 500_000)
    sample = image.voxels.reshape(-1)[::step]
    low, high = np.nanpercentile(sample, (0.5, 99.5))
    return float(low), float(high if high > low else low + 1)


def view(image: Image) -> str:
    """What part of the body, and from where, as far as the file says."""
    told = (image.attributes.get(k, "") for k in ("BodyPartExamined", "ViewPosition", "ImageLaterality", "Laterality"))
    return " ".join(dict.fromkeys(word for word in told if word not in ("", "U")))  # U: unpaired part of the body


def letters(image: Image) -> dict[str, str]:
    """Which side of the patient lies at each edge of the picture; empty where the file does not say.

    References
    ----------
    DICOM PS3.3 C.7.6.1.1.1 (Patient Orientation): L, R, A, P, H, F.

    Examples
    --------
    >>> from overread.domain import Geometry
    >>> axial = Geometry(((0, 0, .5, 0), (0, .5, 0, 0), (2, 0, 0, 0), (0, 0, 0, 1)))
    >>> letters(Image(np.zeros((1, 2, 2)), geometry=axial))
    {'right': 'L', 'left': 'R', 'bottom': 'P', 'top': 'A'}
    """
    if image.geometry is None:
        return {}
    towards, away = ("L", "P", "H"), ("R", "A", "F")
    axes = np.asarray(image.geometry.affine, float)[:3, :3]
    told = {}
    for ahead, behind, axis in (("right", "left", 2), ("bottom", "top", 1)):
        main = int(np.argmax(np.abs(axes[:, axis])))
        up = axes[main, axis] > 0
        told[ahead] = (towards if up else away)[main]
        told[behind] = (away if up else towards)[main]
    return told


def add_evidence(
    inbox: Inbox, draft: Draft, model: Model, images: list[Image], origins: list[Origin], *, now: datetime
) -> Draft:
    """Heat-maps, the draft Structured Report and the Secondary Captures of one report, or why there are none."""
    report = draft.report
    folder = inbox.home(report.study) / f"draft-{report.fingerprint[:12]}"
    if folder.exists():  # left by a crash before the report was kept, or the same report again
        shutil.rmtree(folder)
    folder.mkdir()
    overlays: dict[str, str] = {}
    captures: list[str] = []
    notes = list(draft.notes)

    def attempt(what: str, make: Callable[[], None]) -> None:
        try:
            make()
        except OSError:
            raise
        except Exception as error:  # without it the finding still stands; the page says what is missing
            tell_log(error)
            notes.append(f"No {what}: {in_words(error)}.")

    def explain(i: int, finding: Finding, k: int) -> None:
        heat = saliency.grad_cam(model, images[k], finding.label)
        png = overlay.overlay_png(images[k], heat, title=f"{finding.label} · {draft.model}")
        write_atomically(folder / f"heatmap-{i}.png", png)
        overlays[finding.label] = f"{folder.name}/heatmap-{i}.png"
        if on_disk([origins[k]]):
            files = origins[k].files
            source = Path(files[min(overlay.strongest_slice(heat), len(files) - 1)])
            rgb = overlay.overlay_rgb(images[k], heat)
            capture = evidence.secondary_capture(source, rgb, label=finding.label, card=model.card, now=now)
            write_atomically(folder / f"capture-{i}.dcm", as_bytes(capture))
            captures.append(f"{folder.name}/capture-{i}.dcm")

    for i, finding in enumerate(report.findings):
        if finding.image in report.images and math.isfinite(finding.probability):
            k = report.images.index(finding.image)
            attempt(f"heat-map for {finding.label}", lambda i=i, f=finding, k=k: explain(i, f, k))

    def report_document() -> None:
        files = [Path(file) for origin in origins for file in origin.files]
        write_atomically(folder / "draft.dcm", as_bytes(evidence.draft_sr(files, report, model.card, now=now)))

    if on_disk(origins) and all(math.isfinite(f.probability) for f in report.findings):
        attempt("draft Structured Report", report_document)
    sr = f"{folder.name}/draft.dcm" if (folder / "draft.dcm").exists() else ""
    return replace(draft, overlays=overlays, sr=sr, captures=tuple(captures), notes=tuple(notes))


def on_disk(origins: list[Origin]) -> bool:
    """True when these are DICOM files of their own, which other objects can refer to."""
    return bool(origins) and all(o.study_uid and all(Path(f).is_file() for f in o.files) for o in origins)


def as_bytes(ds: Any) -> bytes:
    """A DICOM dataset as the bytes of its file."""
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def tell_log(error: Exception) -> None:
    """A refusal in one line, any other error with its whole story, for whoever runs the server."""
    if isinstance(error, OverreadError):
        print(f"overread: {error}", file=sys.stderr)
    else:
        traceback.print_exception(error, file=sys.stderr)


def in_words(error: Exception) -> str:
    """An error for a person: our own refusals as they are, others by their kind (their text may hold a name)."""
    return (
        str(error) if isinstance(error, OverreadError) else f"an error of kind {type(error).__name__}, told in the log"
    )
