"""A study's draft: for each question its strongest image, and what an archive and a reading page show of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np

from overread.domain import Finding, Image, ModelCard, Report
from overread.errors import OverreadError
from overread.formats.found import Origin
from overread.learn import saliency
from overread.learn.gate import Rows
from overread.learn.predict import Model
from overread.pages import overlay
from overread.pages.astray import astray

PIECES = ("heat-map", "capture", "report")


@dataclass(frozen=True)
class Part:
    """One image of what is answered as one: what it is, its raw scores, and why it is left out ("" where it counts).

    ``unlike`` says why it would be referred. What could not be shown to the network has no scores.
    """

    file: str
    image: str
    told: str
    logits: tuple[float, ...] = ()
    unlike: str = ""
    left_out: str = ""


@dataclass(frozen=True)
class Read:
    """One image answered, or one study: where it came from, its findings, and of a study what the answer rests on."""

    file: str
    study: str
    image: str
    findings: tuple[Finding, ...]
    parts: tuple[Part, ...] = ()

    @property
    def counts(self) -> tuple[Part, ...]:
        """The images that the answer rests on."""
        return tuple(p for p in self.parts if not p.left_out)


@dataclass(frozen=True)
class Piece:
    """One piece of a draft's evidence, or the error that stands in its place.

    Parameters
    ----------
    kind : {"heat-map", "capture", "report"}
        A PNG beside the image; a DICOM Secondary Capture; the draft DICOM Structured Report.
    label : str
        The finding it explains; "" for the report, which holds them all.
    content : bytes
        Of the file.
    error : Exception or None
        Why it could not be made; ``content`` is then empty.
    """

    kind: str
    label: str
    content: bytes = b""
    error: Exception | None = None


def read_image(model: Model, image: Image, *, file: str, study: str, name: str) -> tuple[Read, Rows]:
    """Return what the model says of one image; where it answers studies, what the image adds to the answer.

    Parameters
    ----------
    model : Model
    image : Image
    file : str
        As the user named it; may be empty.
    study : str
        Pseudonym.
    name : str
        Content hash of the image.

    Raises
    ------
    UnreadableFile
        When the image is not what the model's recipe takes.
    """
    if model.joining is None:
        findings, seen = model.answer(image, hash=name)
        return Read(file, study, name, findings), seen
    logits, unlike, seen = next(model.looked([image]))
    part = Part(file, name, in_short(image), tuple(map(float, logits)), unlike, model.other_kind(image))
    return Read(file, study, name, (), (part,)), seen


def together(model: Model, reads: Sequence[Read]) -> Read:
    """Return one answer from what the images of one study add to it.

    An image of another kind than those learned from is left out, with the reason, as long as others stay; so is what
    could not be shown to the network.
    """
    parts = [part for read in reads for part in read.parts]
    scored = [part for part in parts if part.logits]
    fit = [part for part in scored if not part.left_out]
    if not fit:  # nothing else there: it is looked at, and referred for what it is
        parts = [replace(part, left_out="") if part.logits else part for part in parts]
        fit = [part for part in parts if part.logits]
    found = model.join(np.array([p.logits for p in fit]), [p.unlike for p in fit], [p.image for p in fit])
    lead = max(found, key=weight).image
    file = next(part.file for part in fit if part.image == lead)
    return Read(file, reads[0].study, lead, found, tuple(parts))


def rests_on(read: Read) -> list[str]:
    """Say on how many images a study's answer rests, and which were left out and why.

    Examples
    --------
    >>> t1, ct = Part("", "a", "MR, 24 slices", (1.0,)), Part("", "b", "CT, 90 slices", (2.0,), left_out="the image is CT")
    >>> rests_on(Read("", "S1", "a", (), (t1, ct)))
    ['This answer is one for the study. It rests on 1 of its 2 images (MR, 24 slices).', 'Left out: CT, 90 slices: the image is CT.']
    """
    told = "; ".join(dict.fromkeys(part.told for part in read.counts))
    first = (
        f"This answer is one for the study. It rests on {len(read.counts)} of its {len(read.parts)} images ({told})."
    )
    return [first, *(f"Left out: {part.told}: {part.left_out}." for part in read.parts if part.left_out)]


def in_short(image: Image) -> str:
    """Say in a few words which image of a study this is, from its header and its size.

    Examples
    --------
    >>> in_short(Image(np.zeros((24, 8, 9)), modality="MR", attributes={"BodyPartExamined": "BRAIN"}))
    'MR BRAIN, 24 slices of 8 × 9'
    """
    keys = ("BodyPartExamined", "ImageLaterality", "ViewPosition")
    words = " ".join(filter(None, (image.modality, *(image.attributes.get(k, "") for k in keys))))
    slices, rows, columns = image.voxels.shape[:3]
    size = f"{slices} slices of {rows} × {columns}" if slices > 1 else f"{rows} × {columns}"
    return ", ".join(filter(None, (words, size)))


def report_of(model: Model, reads: Sequence[Read]) -> Report:
    """Return the draft report on one study: its images' answers joined as the model learned to, else the strongest image's."""
    if model.joining is not None:
        one = together(model, reads)
        return Report(one.study, model.card.fingerprint, tuple(r.image for r in reads), one.findings)
    best = [max((r.findings[k] for r in reads), key=weight) for k in range(len(model.task.labels))]
    return Report(reads[0].study, model.card.fingerprint, tuple(r.image for r in reads), tuple(best))


def weight(finding: Finding) -> tuple[int, float]:
    """Return how strong a finding is: present before refer before absent, then the higher probability.

    What one view shows, another does not take back, and a doubt outweighs an absence.

    Examples
    --------
    >>> doubt, none = Finding("x", .3, .2, .4, .5, "refer", "why"), Finding("x", .4, .3, .45, .5, "absent")
    >>> max(none, doubt, key=weight) is doubt
    True
    """
    return (("absent", "refer", "present").index(finding.decision), finding.probability)


def pieces(
    model: Model,
    report: Report,
    origins: Sequence[Origin],
    image_of: Callable[[str], Image],
    *,
    now: datetime,
    kinds: Collection[str] = PIECES,
    labels: Collection[str] | None = None,
) -> Iterator[Piece]:
    """Make a draft's evidence piece by piece; one that cannot be made does not take the others with it.

    DICOM objects are made only of DICOM files of their own, which they can refer to. A finding without a number has
    no picture, and a report with such a finding is not written as DICOM.

    Parameters
    ----------
    model : Model
    report : Report
    origins : sequence of Origin
        Of ``report.images``, in that order.
    image_of : callable
        Gives the image of a content hash.
    now : datetime
        The time that the DICOM objects carry.
    kinds : collection of str
        Which pieces are wanted.
    labels : collection of str, optional
        Findings that are to be explained; all when left out.

    Yields
    ------
    Piece

    Raises
    ------
    OSError
        When a disk fails: that concerns the whole study.
    """
    filed = on_disk(origins)
    files = [Path(file) for file in dict.fromkeys(file for origin in origins for file in origin.files)]
    for finding in report.findings:
        known = finding.image in report.images and math.isfinite(finding.probability)
        if known and (labels is None or finding.label in labels):
            origin = origins[report.images.index(finding.image)] if filed and "capture" in kinds else None
            yield from _pictures(model, finding, origin, files, image_of, now=now, png="heat-map" in kinds)
    if filed and "report" in kinds and all(math.isfinite(f.probability) for f in report.findings):
        yield _tried("report", "", lambda: _draft_sr(files, report, model.card, now))


def _pictures(model, finding, origin, files, image_of, *, now: datetime, png: bool) -> Iterator[Piece]:
    """Yield the heat-map of one finding as a page shows it, and as an archive files it.

    A map of a kind that has not passed its tests is hatched in grey on the page, where it says so beside the finding. It
    is not filed: in an archive it would stand alone, and be looked at for what it does not show.
    """
    failed = saliency.failing(model.heat_maps)
    try:
        image = image_of(finding.image)
        heat = saliency.grad_cam(model, image, finding.label)
    except OSError:
        raise
    except Exception as error:  # without it the finding still stands; the piece says what is missing
        yield Piece("heat-map", finding.label, error=error)
        return

    def capture() -> bytes:
        # a volume's files stand in the order of its slices: the picture refers to the slice that it shows
        k = min(overlay.strongest_slice(heat), len(origin.files) - 1)
        picture = overlay.overlay_rgb(image, heat)
        source, about = Path(origin.files[k]), {"label": finding.label, "card": model.card, "now": now}
        from overread.formats import evidence  # loads only where DICOM is written: it takes as long as an answer

        return evidence.as_bytes(evidence.secondary_capture(source, picture, study_files=files, **about))

    if png:
        title = f"{finding.label} · {model.card.name} {model.card.version}"
        warning = "" if failed else astray(image, heat)
        how = {"title": title, "failed": failed, "warning": warning}
        yield _tried("heat-map", finding.label, lambda: overlay.overlay_png(image, heat, **how))
    if origin is not None and not failed:
        yield _tried("capture", finding.label, capture)


def _draft_sr(files: Sequence[Path], report: Report, card: ModelCard, now: datetime) -> bytes:
    from overread.formats import evidence

    return evidence.as_bytes(evidence.draft_sr(files, report, card, now=now))


def _tried(kind: str, label: str, make: Callable[[], bytes]) -> Piece:
    try:
        return Piece(kind, label, make())
    except OSError:
        raise
    except Exception as error:  # the other pieces do not need this one; the piece says what is missing
        return Piece(kind, label, error=error)


def on_disk(origins: Sequence[Origin]) -> bool:
    """Return True when these are DICOM files of their own, which other objects can refer to."""
    return bool(origins) and all(o.series_uid and all(Path(f).is_file() for f in o.files) for o in origins)


def in_words(error: Exception) -> str:
    """Return an error for a person: our own refusals as they are, others by their kind (their text may hold a name).

    Examples
    --------
    >>> in_words(ValueError("invalid value 'DOE^JANE'"))
    'an error of kind ValueError'
    """
    return str(error) if isinstance(error, OverreadError) else f"an error of kind {type(error).__name__}"
