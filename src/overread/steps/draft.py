"""A study's draft: for each question its strongest image, and what an archive and a reading page show of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from overread.domain import Finding, Image, ModelCard, Report
from overread.errors import OverreadError
from overread.formats.found import Origin
from overread.learn import saliency
from overread.learn.predict import Model
from overread.pages import overlay
from overread.pages.astray import astray

PIECES = ("heat-map", "capture", "report")


@dataclass(frozen=True)
class Read:
    """One image answered: where it came from, and its findings."""

    file: str
    study: str
    image: str
    findings: tuple[Finding, ...]


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


def report_of(model: Model, reads: Sequence[Read]) -> Report:
    """Return the draft report on one study: for each label the finding of its strongest image."""
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
