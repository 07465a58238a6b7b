"""A complete study becomes a draft report: one loop that can be killed anywhere and started again.

Everything a study needs is written beside the old report first; the report itself is replaced last and at once.
A study the machine fails on is not dropped: its report refers every question to the doctor, with the reason.
"""

from __future__ import annotations

import shutil
import sys
import threading
import traceback
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np

from overread.domain import Finding, Image, ModelCard, Report, canonical_json
from overread.errors import OverreadError, UnreadableFile
from overread.formats.found import Origin, Refused
from overread.learn.predict import Model
from overread.pages import overlay
from overread.serve.inbox import Draft, Entry, Inbox
from overread.steps.draft import Part, Read, in_short, in_words, pieces, read_image, report_of, rests_on, together
from overread.store.objects import content_hash, write_atomically

OPPOSITE = {"L": "R", "R": "L", "A": "P", "P": "A", "H": "F", "F": "H"}
"""Directions in the patient, as letters of PS3.3 C.7.6.1.1.1."""

MISSING = {
    "heat-map": "heat-map for {label}",
    "capture": "Secondary Capture for {label}",
    "report": "draft Structured Report",
}


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
        report, told = ask(model, entry.study, images, hashes)
        notes += told
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
    inbox.keep(draft, now=now)
    return draft


def ask(model: Model, study: str, images: list[Image], hashes: list[str]) -> tuple[Report, list[str]]:
    """The model's report on a study, put together as ``overread predict`` does it, and on which images it rests.

    Where the model answers studies, an image that it cannot be shown is left out, as long as others stay.
    """
    reads: list[Read] = []
    refused: UnreadableFile | None = None
    for image, name in zip(images, hashes, strict=True):
        try:
            reads.append(read_image(model, image, file="", study=study, name=name)[0])
        except UnreadableFile as error:
            if model.joining is None or len(images) == 1:
                raise
            out = Part("", name, in_short(image), left_out=str(error))
            reads.append(Read("", study, name, (), (out,)))
            refused = error
    if model.joining is None:
        return report_of(model, reads), []
    if refused is not None and not any(part.logits for read in reads for part in read.parts):
        raise refused
    return report_of(model, reads), rests_on(together(model, reads))


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
        low, high = overlay.display_range(image)
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
                "high": high if high > low else low + 1,
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


def view(image: Image) -> str:
    """What part of the body, and from where, as far as the file says."""
    told = (image.attributes.get(k, "") for k in ("BodyPartExamined", "ViewPosition", "ImageLaterality", "Laterality"))
    return " ".join(dict.fromkeys(word for word in told if word not in ("", "U")))  # U: unpaired part of the body


def letters(image: Image) -> dict[str, str]:
    """Which side of the patient lies at each edge of the picture; empty where the file does not say.

    References
    ----------
    DICOM PS3.3 C.7.6.1.1.1 (Patient Orientation): L, R, A, P, H, F, the main direction first; to the right, then down.

    Examples
    --------
    >>> from overread.domain import Geometry
    >>> axial = Geometry(((0, 0, .5, 0), (0, .5, 0, 0), (2, 0, 0, 0), (0, 0, 0, 1)))
    >>> letters(Image(np.zeros((1, 2, 2)), geometry=axial))
    {'right': 'L', 'left': 'R', 'bottom': 'P', 'top': 'A'}
    >>> letters(Image(np.zeros((1, 2, 2)), attributes={"PatientOrientation": "L\\\\F"}))
    {'right': 'L', 'left': 'R', 'bottom': 'F', 'top': 'H'}
    """
    if image.geometry is None:
        ways = [way[:1] for way in image.attributes.get("PatientOrientation", "").split("\\")]
        if len(ways) != 2 or any(way not in OPPOSITE for way in ways):
            return {}
        right, bottom = ways
        return {"right": right, "left": OPPOSITE[right], "bottom": bottom, "top": OPPOSITE[bottom]}
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
    numbers = {finding.label: i for i, finding in enumerate(report.findings)}
    overlays, captures, sr, notes = {}, [], "", list(draft.notes)
    by_hash = dict(zip(report.images, images, strict=True))
    for piece in pieces(model, report, origins, by_hash.__getitem__, now=now):
        if piece.error is not None:
            tell_log(piece.error)
            notes.append(f"No {MISSING[piece.kind].format(label=piece.label)}: {in_words(piece.error)}.")
            continue
        i = numbers.get(piece.label)
        file = {"heat-map": f"heatmap-{i}.png", "capture": f"capture-{i}.dcm", "report": "draft.dcm"}[piece.kind]
        write_atomically(folder / file, piece.content)
        name = f"{folder.name}/{file}"
        if piece.kind == "heat-map":
            overlays[piece.label] = name
        elif piece.kind == "capture":
            captures.append(name)
        else:
            sr = name
    return replace(draft, overlays=overlays, sr=sr, captures=tuple(captures), notes=tuple(notes))


def tell_log(error: BaseException) -> None:
    """A refusal in one line, any other error by its kind and place, for whoever runs the server.

    Without the error's own text: other people's libraries quote the value they stumbled over, and it may be a name.
    """
    if isinstance(error, OverreadError):
        print(f"overread: {error}", file=sys.stderr)
    else:
        print(*traceback.format_tb(error.__traceback__), type(error).__name__, sep="", file=sys.stderr)
